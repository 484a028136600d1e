#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_slice(graph, "x", in[0], 1, 2);
}

Test(slice, by_hand) {
  harness_run(&(harness_case){
      .build = build,
      .batch = 2,
      .input = {{"in", {2, {2, 4}}, .values = (double[]){1, 2, 3, 4, 5, 6, 7, 8}, .differentiable = true}},
      .expected = (double[]){2, 3, 6, 7},
      .expected_gradient = (double[]){0, 1, 1, 0, 0, 1, 1, 0}});
}

Test(slice, sequences) {
  harness_run(&(harness_case){
      .build = build, .batch = 4, .n_valid = 2, .input = {{"in", {3, {4, 2, 3}}, .differentiable = true}}});
}

Test(slice, outside) {
  harness_fails(&(harness_case){.build = build, .batch = 2, .input = {{"in", {2, {2, 2}}}}},
                "columns 1 to 2 of x [2, 2]");
}
