#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_mse(graph, "x", in[0], in[1], in[2]);
}

/* Rows with mean squared errors (1 + 9)/2, 4/2 and weights 1, 3: (5 + 6)/4; the third row does not count. */
Test(mse, by_hand) {
  harness_run(
      &(harness_case){.build = build,
                      .batch = 3,
                      .n_valid = 2,
                      .input = {{"p", {3, {3, 1, 2}}, .values = (double[]){1, 3, 0, 2, 9, 9}, .differentiable = true},
                                {"t", {3, {3, 1, 2}}, .values = (double[]){0, 0, 0, 0, 1, 1}, .differentiable = true},
                                {"w", {2, {3, 1}}, .values = (double[]){1, 3, 0}, .keep = true}},
                      .expected = (double[]){11.0 / 4},
                      .expected_gradient = (double[]){1.0 / 4, 3.0 / 4, 0, 3.0 * 2 / 4, 0, 0}});
}

Test(mse, gradients) { /* more rows than a block of the sums */
  static double weight[50 * 3];
  for (int i = 0; i < 50 * 3; i++) weight[i] = i >= 45 * 3 || i % 4 == 1 ? 0 : 0.5 + i % 3;
  harness_run(&(harness_case){.build = build,
                              .batch = 50,
                              .n_valid = 45,
                              .input = {{"p", {3, {50, 3, 4}}, .differentiable = true},
                                        {"t", {3, {50, 3, 4}}, .differentiable = true},
                                        {"w", {2, {50, 3}}, .values = weight, .keep = true}}});
}

Test(mse, no_weight) {
  harness_run(&(harness_case){.build = build,
                              .batch = 2,
                              .input = {{"p", {2, {2, 2}}, .differentiable = true},
                                        {"t", {2, {2, 2}}},
                                        {"w", {1, {2}}, .values = (double[]){0, 0}}},
                              .expected = (double[]){0},
                              .expected_gradient = (double[]){0, 0, 0, 0}});
}

Test(mse, wrong_arguments) {
  harness_case shape = {
      .build = build, .batch = 2, .input = {{"p", {3, {2, 3, 4}}}, {"t", {3, {2, 4, 3}}}, {"w", {2, {2, 3}}}}};
  harness_fails(&shape, "the target is [2, 4, 3], expected the same for the prediction [2, 3, 4]");
  harness_case weight = {
      .build = build, .batch = 2, .input = {{"p", {3, {2, 3, 4}}}, {"t", {3, {2, 3, 4}}}, {"w", {2, {2, 4}}}}};
  harness_fails(&weight, "the weight is [2, 4], expected [B, ..] for the prediction [2, 3, 4]");
  harness_case type = {.build = build,
                       .batch = 1,
                       .input = {{"p", {2, {1, 1}}}, {"t", {2, {1, 1}}, .ids = (int32_t[]){1}}, {"w", {1, {1}}}}};
  harness_fails(&type, "the target is int32");
  harness_case gradient = {.build = build,
                           .batch = 1,
                           .input = {{"p", {2, {1, 1}}}, {"t", {2, {1, 1}}}, {"w", {1, {1}}, .differentiable = true}}};
  harness_fails(&gradient, "w needs a gradient");
}
