#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *plain(facet_graph *graph, facet_tensor *const *in) {
  return facet_linear(graph, "x", in[0], 2, true, FACET_ACTIVATION_NONE);
}
static facet_tensor *no_bias(facet_graph *graph, facet_tensor *const *in) {
  return facet_linear(graph, "x", in[0], 4, false, FACET_ACTIVATION_NONE);
}
static facet_tensor *relu(facet_graph *graph, facet_tensor *const *in) {
  return facet_linear(graph, "x", in[0], 2, true, FACET_ACTIVATION_RELU);
}
static facet_tensor *sigmoid(facet_graph *graph, facet_tensor *const *in) {
  return facet_linear(graph, "x", in[0], 4, true, FACET_ACTIVATION_SIGMOID);
}
static facet_tensor *swish(facet_graph *graph, facet_tensor *const *in) {
  return facet_linear(graph, "x", in[0], 4, true, FACET_ACTIVATION_SWISH);
}
static facet_tensor *tanh_no_bias(facet_graph *graph, facet_tensor *const *in) {
  return facet_linear(graph, "x", in[0], 4, false, FACET_ACTIVATION_TANH);
}

/* W = [1 2; 3 4; 5 6], b = [10, -20]. */
static const harness_value weight = {"x.weight", (double[]){1, 2, 3, 4, 5, 6}}, bias = {"x.bias", (double[]){10, -20}};

Test(linear, by_hand) {
  harness_run(
      &(harness_case){.build = plain,
                      .batch = 2,
                      .input = {{"in", {2, {2, 3}}, .values = (double[]){1, 1, 1, 1, 0, -1}, .differentiable = true}},
                      .value = {weight, bias},
                      .expected = (double[]){19, -8, 6, -24},
                      .expected_gradient = (double[]){3, 7, 11, 3, 7, 11}});
}

Test(linear, relu_by_hand) {
  harness_run(
      &(harness_case){.build = relu,
                      .batch = 2,
                      .input = {{"in", {2, {2, 3}}, .values = (double[]){1, 1, 1, 1, 0, -1}, .differentiable = true}},
                      .value = {weight, bias},
                      .expected = (double[]){19, 0, 6, 0},
                      .expected_gradient = (double[]){1, 3, 5, 1, 3, 5}});
}

static void run_random(facet_tensor *(*build)(facet_graph *, facet_tensor *const *)) {
  harness_run(&(harness_case){
      .build = build, .batch = 41, .n_valid = 38, .input = {{"in", {2, {41, 3}}, .differentiable = true}}});
}
Test(linear, padded_rows) {
  run_random(plain);
}
Test(linear, no_bias) {
  run_random(no_bias);
}
Test(linear, sigmoid) {
  run_random(sigmoid);
}
Test(linear, swish) {
  run_random(swish);
}
Test(linear, tanh) {
  run_random(tanh_no_bias);
}

Test(linear, sequences) { /* x [B, L, n]; the gradient of x is not wanted */
  harness_run(&(harness_case){.build = swish, .batch = 3, .input = {{"in", {3, {3, 5, 2}}}}});
}

Test(linear, wrong_shapes) {
  harness_fails(&(harness_case){.build = plain, .batch = 2, .input = {{"in", {0}}}}, "expected real [.., n]");
  harness_fails(&(harness_case){.build = plain, .batch = 2, .input = {{"in", {1, {2}}, .ids = (int32_t[]){1, 1}}}},
                "expected real [.., n]");
}

Test(linear, cost) {
  facet_cost cost = harness_cost(&(harness_case){.build = plain, .batch = 5, .input = {{"in", {2, {5, 3}}}}});
  cr_assert_eq(cost.forward_flops, 2 * 5 * 3 * 2 + 5 * 2);
  cr_assert_eq(cost.backward_flops, 4 * 5 * 3 * 2 + 5 * 2);
  cr_assert_eq(cost.forward_bytes, (5 * 3 + 3 * 2 + 5 * 2) * sizeof(facet_real));
}
