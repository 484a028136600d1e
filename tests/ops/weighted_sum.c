#include <criterion/criterion.h>
#include <math.h>

#include "harness.h"

static facet_tensor *plain(facet_graph *graph, facet_tensor *const *in) {
  return facet_weighted_sum(graph, "x", in[0], in[1], in[2], false);
}
static facet_tensor *softmax(facet_graph *graph, facet_tensor *const *in) {
  return facet_weighted_sum(graph, "x", in[0], in[1], in[2], true);
}

/* Lengths 2, 0 and 3 of 3 slots; slots beyond the length hold junk. */
static const harness_input lengths = {"length", {1, {3}}, .ids = (int32_t[]){2, 0, 3}};
static const double events[] = {1, 2, 3, 4, 70, 71, 72, 73, 74, 75, 76, 77, 1, 0, 0, 1, 2, 2};

Test(weighted_sum, by_hand) {
  harness_run(&(harness_case){
      .build = plain,
      .batch = 3,
      .input = {{"weight", {2, {3, 3}}, .values = (double[]){2, -1, 50, 51, 52, 53, 3, 0, 1}, .differentiable = true},
                {"events", {3, {3, 3, 2}}, .values = events, .differentiable = true},
                lengths},
      .expected = (double[]){-1, 0, 0, 0, 5, 2},
      .expected_gradient = (double[]){3, 7, 0, 0, 0, 0, 1, 1, 4}});
}

/* Equal weights give the mean; log 3 against 0 gives 3/4 and 1/4. */
Test(weighted_sum, softmax_by_hand) {
  harness_run(&(harness_case){.build = softmax,
                              .batch = 3,
                              .input = {{"weight",
                                         {3, {3, 3, 1}},
                                         .values = (double[]){log(3), 0, 50, 51, 52, 53, 7, 7, 7},
                                         .differentiable = true},
                                        {"events", {3, {3, 3, 2}}, .values = events, .differentiable = true},
                                        lengths},
                              .expected = (double[]){1.5, 2.5, 0, 0, 1, 1},
                              .expected_gradient = (double[]){-.75, .75, 0, 0, 0, 0, -1. / 3, -1. / 3, 2. / 3}});
}

Test(weighted_sum, padded_rows) {
  facet_tensor *(*const builders[])(facet_graph *, facet_tensor *const *) = {plain, softmax};
  for (int i = 0; i < 2; i++)
    harness_run(&(harness_case){.build = builders[i],
                                .batch = 6,
                                .n_valid = 4,
                                .input = {{"weight", {2, {6, 5}}, .differentiable = true},
                                          {"events", {3, {6, 5, 17}}, .differentiable = true},
                                          {"length", {1, {6}}, .ids = (int32_t[]){5, 1, 0, 3, 2, 0}}}});
}

/* Weights of 1e4 and more do not overflow: the largest takes all. */
Test(weighted_sum, softmax_of_large_weights) {
  harness_run(&(harness_case){
      .build = softmax,
      .batch = 1,
      .input = {{"weight", {2, {1, 3}}, .values = (double[]){1e4, 3e4, 2e4}},
                {"events", {3, {1, 3, 2}}, .values = (double[]){1, 2, 3, 4, 5, 6}, .differentiable = true},
                {"length", {1, {1}}, .ids = (int32_t[]){3}}},
      .expected = (double[]){3, 4}});
}

Test(weighted_sum, wrong_shapes) {
  const harness_input x = {.name = "x", .shape = {3, {2, 3, 4}}},
                      length = {"length", {1, {2}}, .ids = (int32_t[]){1, 1}};
  harness_fails(&(harness_case){.build = plain, .batch = 2, .input = {{"w", {2, {2, 3}}}, {"x", {2, {2, 3}}}, length}},
                "x is [2, 3], expected real [B, L, d]");
  harness_fails(&(harness_case){.build = plain, .batch = 2, .input = {{"w", {2, {2, 4}}}, x, length}},
                "the weight is [2, 4], expected real [B, L] or [B, L, 1] for x [2, 3, 4]");
  harness_fails(&(harness_case){.build = plain, .batch = 2, .input = {{"w", {3, {2, 3, 2}}}, x, length}},
                "the weight is [2, 3, 2]");
  harness_fails(&(harness_case){.build = plain, .batch = 2, .input = {{"w", {2, {2, 3}}}, x, {"l", {1, {2}}}}},
                "length is [2], expected int32 [B] for x [2, 3, 4]");
}
