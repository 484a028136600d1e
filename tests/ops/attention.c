#include <criterion/criterion.h>

#include <math.h>

#include "facet/rng.h"
#include "harness.h"

static int64_t heads, n_always;
static double scale;

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_attention(graph, "x", in[0], in[1], in[2], in[3], heads, n_always, scale);
}
static facet_tensor *build_self(facet_graph *graph, facet_tensor *const *in) {
  return facet_self_attention(graph, "x", in[0], in[1], in[2], in[3], heads, n_always, scale);
}
static facet_tensor *build_one(facet_graph *graph, facet_tensor *const *in) { /* one tensor in three roles */
  return facet_attention(graph, "x", in[0], in[0], in[0], in[1], heads, n_always, scale);
}

static void set(int64_t h, int64_t always, double s) {
  heads = h;
  n_always = always;
  scale = s;
}

/* One sample, one query (1, 0) with scale 1: scores 0 and log 3 of the two valid keys, weights 1/4 and 3/4. */
Test(attention, by_hand) {
  double q[] = {1, 0}, k[] = {0, 5, log(3), -7, NAN, INFINITY}, v[] = {8, 0, 0, 4, NAN, NAN};
  set(1, 1, 1);
  harness_run(&(harness_case){.build = build,
                              .batch = 1,
                              .input = {{"q", {3, {1, 1, 2}}, .values = q, .differentiable = true},
                                        {"k", {3, {1, 3, 2}}, .values = k, .differentiable = true},
                                        {"v", {3, {1, 3, 2}}, .values = v, .differentiable = true},
                                        {"length", {1, {1}}, .ids = (int32_t[]){1}}},
                              .expected = (double[]){2, 3},
                              /* dS = P (dP − P·dP), dP = (8, 4): 1/4 · (8 − 5), 3/4 · (4 − 5); dq = Σ dS k */
                              .expected_gradient = (double[]){-0.75 * log(3), 0.75 * 5 + 0.75 * 7}});
}

enum { B = 5, MAX = B * 140 * 8 };
static double q[MAX], k[MAX], v[MAX], expected[MAX];

static void fill(double *x, int64_t n, const char *purpose) {
  facet_rng_key key = facet_rng_key_make(3, purpose);
  for (int64_t i = 0; i < n; i++) x[i] = (double)facet_rng_normal(key, (uint64_t)i);
}

/* softmax(scale · q kᵀ) v by its definition, over n keys. */
static void reference_row(const double *query, const double *keys, const double *values, int64_t n, int64_t width,
                          int64_t d, double *y) {
  double sum = 0;
  for (int64_t e = 0; e < width; e++) y[e] = 0;
  for (int64_t j = 0; j < n; j++) {
    double s = 0;
    for (int64_t e = 0; e < width; e++) s += query[e] * keys[j * d + e];
    sum += exp(scale * s);
    for (int64_t e = 0; e < width; e++) y[e] += exp(scale * s) * values[j * d + e];
  }
  for (int64_t e = 0; e < width && n; e++) y[e] /= sum;
}

static int64_t clamp(int64_t n, int64_t most) {
  return n < most ? n : most;
}

/* Values from the reference, and all checks of the harness; masked keys and values hold NaN and infinities, and so do
 * the queries of masked rows in self-attention. */
static void run_built(facet_tensor *(*how)(facet_graph *, facet_tensor *const *), int64_t n_queries, int64_t n_keys,
                      int64_t d, const int32_t *length) {
  cr_assert(B * n_queries * d <= MAX && B * n_keys * d <= MAX);
  fill(q, B * n_queries * d, "q");
  fill(k, B * n_keys * d, "k");
  fill(v, B * n_keys * d, "v");
  for (int64_t b = 0; b < B; b++) {
    int64_t n = length ? clamp(n_always + length[b], n_keys) : n_keys;
    for (int64_t i = n * d; i < n_keys * d; i++)
      k[b * n_keys * d + i] = NAN, v[b * n_keys * d + i] = i % 2 ? INFINITY : NAN;
    for (int64_t i = 0; i < n_queries; i++)
      for (int64_t h = 0; h < heads; h++) {
        int64_t column = h * (d / heads), row = (b * n_queries + i) * d + column, key = b * n_keys * d + column;
        const bool masked = how == build_self && i >= n;
        reference_row(q + row, k + key, v + key, masked ? 0 : n, d / heads, d, expected + row);
        for (int64_t e = 0; e < d / heads && masked; e++) q[row + e] = NAN;
      }
  }
  harness_case test = {.build = how,
                       .batch = B,
                       .input = {{"q", {3, {B, n_queries, d}}, .values = q, .differentiable = true},
                                 {"k", {3, {B, n_keys, d}}, .values = k, .differentiable = true},
                                 {"v", {3, {B, n_keys, d}}, .values = v, .differentiable = true}},
                       .expected = expected};
  if (length) test.input[3] = (harness_input){.name = "length", .shape = {1, {B}}, .ids = length};
  harness_run(&test);
}

static void run(int64_t n_queries, int64_t n_keys, int64_t d, const int32_t *length) {
  run_built(build, n_queries, n_keys, d, length);
}

static const int32_t length[B] = {0, 1, 3, 4, 9}; /* none, some, all but one, all, more than there are */

Test(attention, one_head) {
  set(1, 0, 0.5);
  run(3, 4, 4, length);
}
Test(attention, two_heads_with_a_key_for_all) {
  set(2, 1, 0.7);
  run(3, 5, 4, length);
}
Test(attention, four_heads_one_query) {
  set(4, 0, -0.4);
  run(1, 6, 8, length);
}
Test(attention, heads_as_wide_as_one) {
  set(4, 2, 1);
  run(2, 5, 4, length);
}
Test(attention, no_length) {
  set(2, 0, 0.3);
  run(4, 3, 6, NULL);
}
Test(attention, scale_zero_is_the_mean) {
  set(1, 0, 0);
  run(2, 4, 2, length);
}
Test(attention, more_queries_than_a_tile) {
  set(1, 0, 0.5);
  run(65, 3, 2, length);
}

Test(attention, queries_of_masked_rows_are_not_read) {
  set(2, 0, 0.6);
  run_built(build_self, 4, 4, 6, length);
}
Test(attention, rows_that_are_both_without_a_length) {
  set(1, 0, 0.6);
  run_built(build_self, 3, 3, 2, NULL);
}

Test(attention, more_pairs_than_blocks) { /* 70 samples of 2 heads */
  static int32_t lengths[70];
  for (int i = 0; i < 70; i++) lengths[i] = i % 4;
  set(2, 0, 0.6);
  harness_run(&(harness_case){.build = build,
                              .batch = 70,
                              .input = {{"q", {3, {70, 1, 2}}, .differentiable = true},
                                        {"k", {3, {70, 3, 2}}, .differentiable = true},
                                        {"v", {3, {70, 3, 2}}, .differentiable = true},
                                        {"length", {1, {70}}, .ids = lengths}}});
}

Test(attention, large_scores) { /* scores of ±10,000: no overflow, the larger key takes all */
  set(1, 0, 1);
  harness_run(&(harness_case){.build = build,
                              .batch = 1,
                              .input = {{"q", {3, {1, 2, 1}}, .values = (double[]){100, -100}},
                                        {"k", {3, {1, 2, 1}}, .values = (double[]){100, -100}},
                                        {"v", {3, {1, 2, 1}}, .values = (double[]){3, 5}, .differentiable = true}},
                              .expected = (double[]){3, 5}});
}

Test(attention, one_tensor_as_queries_keys_and_values) {
  set(2, 1, 0.5);
  harness_run(&(harness_case){
      .build = build_one,
      .batch = 3,
      .input = {{"in", {3, {3, 4, 4}}, .differentiable = true}, {"length", {1, {3}}, .ids = (int32_t[]){0, 3, 1}}}});
}

Test(attention, wrong_arguments) {
  harness_input real_length = {.name = "length", .shape = {1, {2}}};
  harness_case test = {.build = build, .batch = 2, .input = {{"q", {3, {2, 3, 4}}}, {"k", {3, {2, 5, 4}}}}};
  set(2, 0, 1);
  test.input[2] = (harness_input){.name = "v", .shape = {3, {2, 6, 4}}};
  harness_fails(&test, "q is [2, 3, 4], k [2, 5, 4] and v [2, 6, 4], expected");
  test.input[2].shape = test.input[1].shape;
  test.input[3] = real_length;
  harness_fails(&test, "the length is [2], expected int32 [B]");
  test.input[3] = (harness_input){.name = "length", .shape = {1, {3}}, .ids = (int32_t[]){1, 1, 1}};
  harness_fails(&test, "the length is [3], expected int32 [B] for q [2, 3, 4]");
  test.input[3] = (harness_input){0};
  set(3, 0, 1);
  harness_fails(&test, "3 heads do not divide q [2, 3, 4]");
  set(0, 0, 1);
  harness_fails(&test, "0 heads");
  set(2, -1, 1);
  harness_fails(&test, "n_always is -1");
  set(2, 0, INFINITY);
  harness_fails(&test, "the scale is inf");
  set(2, 0, 1);
  test.input[0].shape.dim[2] = 6;
  harness_fails(&test, "q is [2, 3, 6], k [2, 5, 4]");
  test.input[0] = (harness_input){.name = "q", .shape = {3, {2, 1, 1}}, .ids = (int32_t[]){1, 1}};
  harness_fails(&test, "q is int32");
  test.input[0] = (harness_input){.name = "q", .shape = {3, {2, 3, 4}}};
  test.build = build_self;
  harness_fails(&test, "q is [2, 3, 4] and k [2, 5, 4], expected the same rows in both");
}

Test(attention, cost) {
  set(2, 0, 1);
  facet_cost cost = harness_cost(&(harness_case){
      .build = build, .batch = 3, .input = {{"q", {3, {3, 2, 4}}}, {"k", {3, {3, 5, 4}}}, {"v", {3, {3, 5, 4}}}}});
  cr_assert_eq(cost.forward_flops, 3 * 2 * 2 * 5 * (4 * 2 + 24));
  cr_assert_eq(cost.forward_bytes, 2 * 3 * (2 + 5) * 4 * sizeof(facet_real));
}
