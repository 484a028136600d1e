#include <criterion/criterion.h>

#include "harness.h"

enum { B = 5, L = 4, D = 3, H = 18 };

static facet_tensor *one(facet_graph *graph, facet_tensor *const *in) {
  return facet_pair_linear(graph, "x", in[0], in[1], in[2], 1);
}
static facet_tensor *wide(facet_graph *graph, facet_tensor *const *in) {
  return facet_pair_linear(graph, "x", in[0], in[1], in[2], H);
}

/* q = (1, 2), k = (3, 5) and junk beyond the length; W = (1, 2, 3, 4, 5, 6, 7, 8), b = 100:
 * [1, 2; 3, 5; −2, −3; 3, 10] · W = 5 + 29 − 28 + 101. By 5 and 6 of q − k, 7 and 8 of q ⊙ k:
 * dq = (1 + 5 + 7·3, 2 + 6 + 8·5). The second sample has no event. */
Test(pair_linear, by_hand) {
  harness_run(&(harness_case){
      .build = one,
      .batch = 2,
      .input = {{"q", {2, {2, 2}}, .values = (double[]){1, 2, 9, 9}, .differentiable = true},
                {"k", {3, {2, 2, 2}}, .values = (double[]){3, 5, 70, 71, 72, 73, 74, 75}, .differentiable = true},
                {"length", {1, {2}}, .ids = (int32_t[]){1, 0}}},
      .value = {{"x.weight", (double[]){1, 2, 3, 4, 5, 6, 7, 8}}, {"x.bias", (double[]){100}}},
      .expected = (double[]){207, 0, 0, 0},
      .expected_gradient = (double[]){27, 48, 0, 0}});
}

/* The formula as it stands, with [q, k, q − k, q ⊙ k] of every slot. */
static void reference(const harness_inputs *now, const harness_inputs *before, double *z) {
  static const int32_t length[B] = {4, 1, 0, 3, 2};
  const double *q = harness_values(now, "q"), *k = harness_values(now, "k");
  const double *weight = harness_values(now, "x.weight"), *bias = harness_values(now, "x.bias");
  (void)before;
  for (int row = 0; row < B * L; row++)
    for (int j = 0; j < H; j++) {
      const int b = row / L;
      double sum = bias[j];
      for (int i = 0; i < D; i++) {
        const double x = q[b * D + i], y = k[row * D + i];
        sum += x * weight[i * H + j] + y * weight[(D + i) * H + j] + (x - y) * weight[(2 * D + i) * H + j] +
               x * y * weight[(3 * D + i) * H + j];
      }
      z[row * H + j] = row % L < length[b] ? sum : 0;
    }
}

Test(pair_linear, as_the_formula) {
  harness_run(&(harness_case){.build = wide,
                              .batch = B,
                              .n_valid = 4,
                              .input = {{"q", {2, {B, D}}, .differentiable = true},
                                        {"k", {3, {B, L, D}}, .differentiable = true},
                                        {"length", {1, {B}}, .ids = (int32_t[]){4, 1, 0, 3, 2}}},
                              .reference = reference});
}

/* More samples than parts, in which their gradients are added up. */
Test(pair_linear, many_samples) {
  static int32_t length[37];
  for (int b = 0; b < 37; b++) length[b] = b % 4;
  harness_run(&(harness_case){.build = wide,
                              .batch = 37,
                              .n_valid = 35,
                              .input = {{"q", {2, {37, 2}}, .differentiable = true},
                                        {"k", {3, {37, 3, 2}}, .differentiable = true},
                                        {"length", {1, {37}}, .ids = length}}});
}

Test(pair_linear, wrong_shapes) {
  const harness_input q = {.name = "q", .shape = {2, {2, 3}}}, k = {.name = "k", .shape = {3, {2, 4, 3}}};
  const harness_input length = {"length", {1, {2}}, .ids = (int32_t[]){1, 1}};
  harness_fails(&(harness_case){.build = one, .batch = 2, .input = {q, {"k", {2, {2, 3}}}, length}},
                "k is [2, 3], expected real [B, L, d]");
  harness_fails(&(harness_case){.build = one, .batch = 2, .input = {{"q", {2, {2, 2}}}, k, length}},
                "q is [2, 2], expected real [B, d] for k [2, 4, 3]");
  harness_fails(&(harness_case){.build = one, .batch = 2, .input = {q, k, {"length", {1, {2}}}}},
                "length is [2], expected int32 [B] for k [2, 4, 3]");
}
