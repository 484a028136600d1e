#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_reshape(graph, "x", in[0], facet_shape_make(3, 2, 3, 2));
}
static facet_tensor *flat(facet_graph *graph, facet_tensor *const *in) {
  return facet_reshape(graph, "x", in[0], facet_shape_make(1, 4));
}
static facet_tensor *empty(facet_graph *graph, facet_tensor *const *in) {
  return facet_reshape(graph, "x", in[0], facet_shape_make(3, 2, 6, 0));
}
static facet_tensor *scalar(facet_graph *graph, facet_tensor *const *in) {
  return facet_reshape(graph, "x", in[0], facet_shape_make(0));
}

Test(reshape, keeps_the_order) {
  harness_run(&(harness_case){.build = build,
                              .batch = 2,
                              .input = {{"in",
                                         {2, {2, 6}},
                                         .values = (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
                                         .differentiable = true}},
                              .expected = (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
                              .expected_gradient = (double[]){1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}});
}

Test(reshape, drops_dimensions) {
  harness_run(&(harness_case){
      .build = flat, .batch = 4, .n_valid = 3, .input = {{"in", {3, {4, 1, 1}}, .differentiable = true}}});
}

Test(reshape, wrong_arguments) {
  harness_fails(&(harness_case){.build = build, .batch = 2, .input = {{"in", {2, {2, 5}}}}}, "x is [2, 5]");
  harness_fails(&(harness_case){.build = build, .batch = 4, .input = {{"in", {2, {4, 3}}}}},
                "not the first dimension or not the number of elements of [2, 3, 2]");
  harness_fails(&(harness_case){.build = empty, .batch = 2, .input = {{"in", {2, {2, 6}}}}}, "a dimension below 1");
  harness_fails(&(harness_case){.build = scalar, .batch = 1, .input = {{"in", {2, {1, 1}}}}}, "rank 0");
  harness_fails(&(harness_case){.build = flat, .batch = 4, .input = {{"in", {1, {4}}, .ids = (int32_t[4]){0}}}},
                "expected real [B, ..]");
}
