#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_row_dot(graph, "x", in[0], in[1]);
}
static facet_tensor *square(facet_graph *graph, facet_tensor *const *in) {
  return facet_row_dot(graph, "x", in[0], in[0]);
}

Test(row_dot, by_hand) {
  harness_run(
      &(harness_case){.build = build,
                      .batch = 2,
                      .input = {{"a", {2, {2, 3}}, .values = (double[]){1, 2, 3, 4, 5, 6}, .differentiable = true},
                                {"b", {2, {2, 3}}, .values = (double[]){1, 0, -1, 2, 2, 2}, .differentiable = true}},
                      .expected = (double[]){-2, 30},
                      .expected_gradient = (double[]){1, 0, -1, 2, 2, 2}});
}

Test(row_dot, gradients) {
  harness_run(&(harness_case){
      .build = build,
      .batch = 5,
      .n_valid = 4,
      .input = {{"a", {3, {5, 3, 18}}, .differentiable = true}, {"b", {3, {5, 3, 18}}, .differentiable = true}}});
}

static void check_square(const facet_op_call *call, void *context) {
  (void)context;
  for (int i = 0; i < 2; i++) {
    const facet_real *x = call->in[0];
    for (int k = 0; k < 2; k++) cr_assert_eq(call->d_in[i][k], call->d_out[0][0] * x[k]);
  }
}
Test(row_dot, of_a_tensor_with_itself) {
  harness_call(&(harness_case){.build = square, .batch = 1, .input = {{"a", {2, {1, 2}}, .differentiable = true}}},
               check_square, NULL);
}

Test(row_dot, wrong_arguments) {
  harness_fails(&(harness_case){.build = build, .batch = 2, .input = {{"a", {2, {2, 3}}}, {"b", {2, {2, 4}}}}},
                "y is [2, 4], expected real [2, 3] like x");
  harness_fails(&(harness_case){.build = square, .batch = 2, .input = {{"a", {1, {2}}}}}, "expected real [B, .., d]");
}
