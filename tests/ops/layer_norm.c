#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_layer_norm(graph, "x", in[0], 1e-6);
}
static facet_tensor *eps_four(facet_graph *graph, facet_tensor *const *in) {
  return facet_layer_norm(graph, "x", in[0], 4);
}
static facet_tensor *eps_zero(facet_graph *graph, facet_tensor *const *in) {
  return facet_layer_norm(graph, "x", in[0], 0);
}
static facet_tensor *shared(facet_graph *graph, facet_tensor *const *in) {
  return facet_add_norm(graph, "x", "other", in[0], NULL, 4);
}
static facet_tensor *of_sum(facet_graph *graph, facet_tensor *const *in) {
  return facet_add_norm(graph, "x", "x", in[0], in[1], 4);
}

Test(layer_norm, by_hand) { /* rows 0 2 4 6: mean 3, variance 5, √(5 + 4) = 3; and a constant row */
  harness_run(&(harness_case){
      .build = eps_four,
      .batch = 2,
      .input = {{"in", {2, {2, 4}}, .values = (double[]){0, 2, 4, 6, 9, 9, 9, 9}, .differentiable = true}},
      .value = {{"x.gamma", (double[]){3, 3, 3, 6}}, {"x.beta", (double[]){0, 0, 1, 0}}},
      .expected = (double[]){-3, -1, 2, 6, 0, 0, 1, 0}});
}

Test(layer_norm, parameters_of_another_name) {
  harness_run(
      &(harness_case){.build = shared,
                      .batch = 1,
                      .input = {{"in", {2, {1, 4}}, .values = (double[]){0, 2, 4, 6}, .differentiable = true}},
                      .value = {{"other.gamma", (double[]){3, 3, 3, 6}}, {"other.beta", (double[]){0, 0, 1, 0}}},
                      .expected = (double[]){-3, -1, 2, 6}});
}

Test(layer_norm, of_a_sum_by_hand) {
  harness_run(&(harness_case){.build = of_sum,
                              .batch = 1,
                              .input = {{"in", {2, {1, 4}}, .values = (double[]){1, 2, 3, 4}, .differentiable = true},
                                        {"z", {2, {1, 4}}, .values = (double[]){-1, 0, 1, 2}, .differentiable = true}},
                              .value = {{"x.gamma", (double[]){3, 3, 3, 6}}, {"x.beta", (double[]){0, 0, 1, 0}}},
                              .expected = (double[]){-3, -1, 2, 6}});
}

Test(layer_norm, gradients_of_a_sum) { /* more rows than a block, columns that are no multiple of the lanes */
  harness_run(&(harness_case){
      .build = of_sum,
      .batch = 11,
      .input = {{"in", {3, {11, 4, 13}}, .differentiable = true}, {"z", {3, {11, 4, 13}}, .differentiable = true}}});
}

Test(layer_norm, gradients) {
  harness_run(&(harness_case){
      .build = build, .batch = 70, .n_valid = 66, .input = {{"in", {2, {70, 5}}, .differentiable = true}}});
}

Test(layer_norm, sequences) {
  harness_run(&(harness_case){.build = build, .batch = 2, .input = {{"in", {3, {2, 3, 4}}, .differentiable = true}}});
}

Test(layer_norm, wrong_arguments) {
  harness_fails(&(harness_case){.build = build, .batch = 1, .input = {{"in", {1, {1}}, .ids = (int32_t[]){1}}}},
                "expected real [.., d]");
  harness_fails(&(harness_case){.build = eps_zero, .batch = 1, .input = {{"in", {2, {1, 2}}}}}, "eps 0");
  harness_fails(&(harness_case){.build = of_sum, .batch = 1, .input = {{"in", {2, {1, 2}}}, {"z", {2, {1, 1}}}}},
                "z is [1, 1], expected real [1, 2]");
}
