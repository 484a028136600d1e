#include <criterion/criterion.h>

#include "harness.h"

enum { B = 5, HEADS = 3, N = 5, D = 6, WIDTH = D / HEADS };

static int64_t d, heads;

static facet_tensor *narrow(facet_graph *graph, facet_tensor *const *in) {
  return facet_head_linear(graph, "x", in[0], d);
}
static facet_tensor *wide(facet_graph *graph, facet_tensor *const *in) {
  return facet_head_linear_transposed(graph, "x", in[0], N, heads);
}
static facet_tensor *wide_by_two(facet_graph *graph, facet_tensor *const *in) {
  return facet_head_linear_transposed(graph, "x", in[0], 2, heads);
}

/* W = (1, 2; 3, 4), whose columns (1, 3) and (2, 4) are the heads. */
static double weight[] = {1, 2, 3, 4};

Test(head_linear, by_hand) { /* (5, 6) · (1, 3) and (7, 8) · (2, 4) */
  d = 2;
  harness_run(
      &(harness_case){.build = narrow,
                      .batch = 1,
                      .input = {{"in", {3, {1, 2, 2}}, .values = (double[]){5, 6, 7, 8}, .differentiable = true}},
                      .value = {{"x.weight", weight}},
                      .expected = (double[]){23, 46},
                      .expected_gradient = (double[]){1, 3, 2, 4}});
}

Test(head_linear, transposed_by_hand) { /* 5 (1, 3) and 7 (2, 4) */
  heads = 2;
  harness_run(&(harness_case){.build = wide_by_two,
                              .batch = 1,
                              .input = {{"in", {3, {1, 1, 2}}, .values = (double[]){5, 7}, .differentiable = true}},
                              .value = {{"x.weight", weight}},
                              .expected = (double[]){5, 15, 14, 28},
                              .expected_gradient = (double[]){4, 6}});
}

static void narrow_reference(const harness_inputs *now, const harness_inputs *before, double *y) {
  const double *x = harness_values(now, "in"), *w = harness_values(now, "x.weight");
  (void)before;
  for (int b = 0; b < B; b++)
    for (int j = 0; j < D; j++) {
      y[b * D + j] = 0;
      for (int i = 0; i < N; i++) y[b * D + j] += x[(b * HEADS + j / WIDTH) * N + i] * w[i * D + j];
    }
}

static void wide_reference(const harness_inputs *now, const harness_inputs *before, double *y) {
  const double *x = harness_values(now, "in"), *w = harness_values(now, "x.weight");
  (void)before;
  for (int i = 0; i < B * HEADS * N; i++) y[i] = 0;
  for (int b = 0; b < B; b++)
    for (int i = 0; i < N; i++)
      for (int j = 0; j < D; j++) y[(b * HEADS + j / WIDTH) * N + i] += x[b * D + j] * w[i * D + j];
}

Test(head_linear, as_the_formula) {
  d = D;
  harness_run(&(harness_case){.build = narrow,
                              .batch = B,
                              .n_valid = 4,
                              .input = {{"in", {3, {B, HEADS, N}}, .differentiable = true}},
                              .reference = narrow_reference});
}

Test(head_linear, transposed_as_the_formula) {
  heads = HEADS;
  harness_run(&(harness_case){.build = wide,
                              .batch = B,
                              .n_valid = 4,
                              .input = {{"in", {3, {B, 1, D}}, .differentiable = true}},
                              .reference = wide_reference});
}

Test(head_linear, wrong_arguments) {
  d = 4;
  heads = 3;
  harness_fails(&(harness_case){.build = narrow, .batch = 2, .input = {{"in", {2, {2, 6}}}}},
                "x is [2, 6], expected real [B, heads, n]");
  harness_fails(&(harness_case){.build = narrow, .batch = 2, .input = {{"in", {3, {2, 3, 6}}}}},
                "3 heads do not divide the columns of the weight [6, 4]");
  harness_fails(&(harness_case){.build = wide, .batch = 2, .input = {{"in", {3, {2, 2, 6}}}}},
                "x is [2, 2, 6], expected real [B, 1, d]");
  harness_fails(&(harness_case){.build = wide, .batch = 2, .input = {{"in", {3, {2, 1, 4}}}}}, "3 heads do not divide");
  heads = 0;
  harness_fails(&(harness_case){.build = wide, .batch = 2, .input = {{"in", {3, {2, 1, 4}}}}}, "0 heads");
  harness_fails(&(harness_case){.build = narrow, .batch = 1, .input = {{"in", {3, {1, 1, 1}}, .ids = (int32_t[]){1}}}},
                "x is [1, 1, 1], expected real");
}

Test(head_linear, cost) { /* one product [3, 6] × [6, 4] split in two by columns */
  d = 4;
  facet_cost cost = harness_cost(&(harness_case){.build = narrow, .batch = 3, .input = {{"in", {3, {3, 2, 6}}}}});
  cr_assert_eq(cost.forward_flops, 2 * 3 * 6 * 4);
  cr_assert_eq(cost.backward_flops, 4 * 3 * 6 * 4);
  cr_assert_eq(cost.forward_bytes, (3 * 2 * 6 + 6 * 4 + 3 * 4) * sizeof(facet_real));
}
