#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_masked_mean(graph, "x", in[0], in[1]);
}

Test(masked_mean, by_hand) { /* lengths 2, 0, 3 of 3 slots, width 2; slots beyond the length hold junk */
  harness_run(
      &(harness_case){.build = build,
                      .batch = 3,
                      .input = {{"sequence",
                                 {3, {3, 3, 2}},
                                 .values = (double[]){1, 2, 3, 6, 77, 78, 79, 80, 81, 82, 83, 84, 1, 1, 2, 2, 6, 9},
                                 .differentiable = true},
                                {"length", {1, {3}}, .ids = (int32_t[]){2, 0, 3}}},
                      .expected = (double[]){2, 4, 0, 0, 3, 4},
                      .expected_gradient = (double[]){.5, .5, .5, .5, 0, 0, 0, 0, 0, 0, 0, 0, 1. / 3, 1. / 3, 1. / 3,
                                                      1. / 3, 1. / 3, 1. / 3}});
}

Test(masked_mean, padded_rows) {
  harness_run(&(harness_case){.build = build,
                              .batch = 5,
                              .n_valid = 3,
                              .input = {{"sequence", {3, {5, 4, 3}}, .differentiable = true},
                                        {"length", {1, {5}}, .ids = (int32_t[]){4, 1, 2, 0, 0}}}});
}

Test(masked_mean, wrong_shapes) {
  harness_fails(&(harness_case){.build = build,
                                .batch = 2,
                                .input = {{"sequence", {2, {2, 3}}}, {"length", {1, {2}}, .ids = (int32_t[]){1, 1}}}},
                "x is [2, 3], expected real [B, L, d]");
  harness_fails(
      &(harness_case){.build = build,
                      .batch = 2,
                      .input = {{"sequence", {3, {2, 3, 1}}}, {"length", {1, {3}}, .ids = (int32_t[]){1, 1, 1}}}},
      "length is [3], expected int32 [B] for x [2, 3, 1]");
}
