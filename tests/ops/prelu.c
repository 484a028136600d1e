#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_prelu(graph, "x", in[0]);
}

Test(prelu, by_hand) {
  harness_run(&(harness_case){
      .build = build,
      .batch = 3,
      .input = {{"in", {2, {3, 2}}, .values = (double[]){1, -2, -3, 4, -5, -6}, .differentiable = true}},
      .value = {{"x.slope", (double[]){0.5, 0.25}}},
      .expected = (double[]){1, -0.5, -1.5, 4, -2.5, -1.5},
      .expected_gradient = (double[]){1, 0.25, 0.5, 1, 0.5, 0.25}});
}

Test(prelu, padded_rows) { /* more rows than one block of the column sums */
  harness_run(&(harness_case){
      .build = build, .batch = 71, .n_valid = 66, .input = {{"in", {2, {71, 3}}, .differentiable = true}}});
}

Test(prelu, wrong_type) {
  harness_fails(&(harness_case){.build = build, .batch = 1, .input = {{"in", {1, {1}}, .ids = (int32_t[]){1}}}},
                "expected real [.., d] and [d]");
}
