#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_l2_normalize(graph, "x", in[0], 1e-6);
}
static facet_tensor *eps_ten(facet_graph *graph, facet_tensor *const *in) {
  return facet_l2_normalize(graph, "x", in[0], 10);
}
static facet_tensor *eps_zero(facet_graph *graph, facet_tensor *const *in) {
  return facet_l2_normalize(graph, "x", in[0], 0);
}

/* (3, 4)/5, with (1 − y (y·1))/5 as gradient: y·1 = 1.4; and zeros, with the gradient 1/eps. */
Test(l2_normalize, by_hand) {
  harness_run(&(harness_case){.build = build,
                              .batch = 1,
                              .input = {{"in", {2, {1, 2}}, .values = (double[]){3, 4}, .differentiable = true}},
                              .expected = (double[]){0.6, 0.8},
                              .expected_gradient = (double[]){(1 - 0.84) / 5, (1 - 1.12) / 5}});
  harness_run(&(harness_case){.build = eps_ten,
                              .batch = 2,
                              .input = {{"in", {2, {2, 2}}, .values = (double[]){3, 4, 0, 0}, .differentiable = true}},
                              .expected = (double[]){0.3, 0.4, 0, 0},
                              .expected_gradient = (double[]){0.1, 0.1, 0.1, 0.1}});
}

/* At n = eps exactly the row is normalised: (6, 8)/10 has the gradient of n ≥ eps. */
static void check_boundary(const facet_op_call *call, void *context) {
  (void)context;
  const facet_real *dy = call->d_out[0];
  double along = 0.6 * dy[0] + 0.8 * dy[1];
  cr_assert_float_eq(call->d_in[0][0], (dy[0] - 0.6 * along) / 10, 1e-7);
  cr_assert_float_eq(call->d_in[0][1], (dy[1] - 0.8 * along) / 10, 1e-7);
}
Test(l2_normalize, a_norm_of_eps_is_normalised) {
  harness_call(&(harness_case){.build = eps_ten,
                               .batch = 1,
                               .input = {{"in", {2, {1, 2}}, .values = (double[]){6, 8}, .differentiable = true}}},
               check_boundary, NULL);
}

Test(l2_normalize, gradients) {
  harness_run(&(harness_case){
      .build = build, .batch = 7, .n_valid = 5, .input = {{"in", {3, {7, 2, 19}}, .differentiable = true}}});
}

Test(l2_normalize, large_values_do_not_overflow) {
  harness_run(&(harness_case){.build = build,
                              .batch = 1,
                              .input = {{"in", {2, {1, 2}}, .values = (double[]){3e30, -4e30}}},
                              .no_gradient = true,
                              .expected = (double[]){0.6, -0.8}});
}

Test(l2_normalize, wrong_arguments) {
  harness_fails(&(harness_case){.build = eps_zero, .batch = 1, .input = {{"in", {2, {1, 2}}}}}, "eps 0");
  harness_fails(&(harness_case){.build = build, .batch = 1, .input = {{"in", {1, {1}}, .ids = (int32_t[]){1}}}},
                "expected real [.., d]");
}
