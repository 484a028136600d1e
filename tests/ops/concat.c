#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  int n = 0;
  while (in[n]) n++;
  return facet_concat(graph, "x", in, n);
}
static facet_tensor *nothing(facet_graph *graph, facet_tensor *const *in) {
  return facet_concat(graph, "x", in, 0);
}

Test(concat, by_hand) {
  harness_run(&(harness_case){.build = build,
                              .batch = 2,
                              .input = {{"a", {2, {2, 1}}, .values = (double[]){1, 2}, .differentiable = true},
                                        {"b", {2, {2, 2}}, .values = (double[]){3, 4, 5, 6}},
                                        {"c", {2, {2, 1}}, .values = (double[]){7, 8}, .differentiable = true}},
                              .expected = (double[]){1, 3, 4, 7, 2, 5, 6, 8},
                              .expected_gradient = (double[]){1, 1}});
}

Test(concat, sequences) {
  harness_run(&(harness_case){
      .build = build,
      .batch = 4,
      .n_valid = 3,
      .input = {{"a", {3, {4, 3, 2}}, .differentiable = true}, {"b", {3, {4, 3, 5}}, .differentiable = true}}});
}

Test(concat, wrong_shapes) {
  harness_fails(&(harness_case){.build = build, .batch = 2, .input = {{"a", {2, {2, 1}}}, {"b", {2, {3, 1}}}}},
                "input 1 is [3, 1], input 0 is [2, 1]");
  harness_fails(&(harness_case){.build = build, .batch = 2, .input = {{"a", {2, {2, 1}}}, {"b", {1, {2}}}}},
                "input 1 is [2]");
  harness_fails(&(harness_case){.build = nothing, .batch = 2}, "concat of 0 tensors");
}
