#include <criterion/criterion.h>

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "facet/executor.h"
#include "facet/rng.h"
#include "harness.h"

static double temperature = 1;

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_info_nce(graph, "x", in[0], in[1], in[2], in[3], in[4], temperature);
}

/* a = 1, p = log 3 and 0: logits (log 3, 0) in both rows, P = (3/4, 1/4), losses log 4/3 and log 4, weights 1 and 3.
 * da_b = ω_b/4 Σ (P − I) p: −1/4 log 3 · 1/4 and 3/4 log 3 · 3/4. */
Test(info_nce, by_hand) {
  harness_run(
      &(harness_case){.build = build,
                      .batch = 3,
                      .n_valid = 2,
                      .input = {{"a", {3, {3, 1, 1}}, .values = (double[]){1, 1, 9}, .differentiable = true},
                                {"p", {3, {3, 1, 1}}, .values = (double[]){log(3), 0, 9}, .differentiable = true},
                                {"weight", {2, {3, 1}}, .values = (double[]){1, 3, 5}},
                                {"valid", {1, {3}}, .values = (double[]){1, 1, 0}, .keep = true}},
                      .expected = (double[]){(log(4.0 / 3) + 3 * log(4)) / 4},
                      .expected_gradient = (double[]){-log(3) / 16, 9 * log(3) / 16, 0}});
}

/* The same users 7, 7, 8 with logits (log 3, 0, log 5): rows 0 and 1 do not see each other. */
Test(info_nce, same_user_by_hand) {
  double losses = log((3 + 5) / 3.0) + log(1 + 5) + log((3 + 1 + 5) / 5.0);
  harness_run(
      &(harness_case){.build = build,
                      .batch = 3,
                      .input = {{"a", {3, {3, 1, 1}}, .values = (double[]){1, 1, 1}, .differentiable = true},
                                {"p", {3, {3, 1, 1}}, .values = (double[]){log(3), 0, log(5)}, .differentiable = true},
                                {"weight", {2, {3, 1}}, .values = (double[]){1, 1, 1}},
                                {"valid", {1, {3}}, .values = (double[]){1, 1, 1}, .keep = true},
                                {.name = "user", .shape = {1, {3}}, .ids = (int32_t[]){7, 7, 8}}},
                      .expected = (double[]){losses / 3}});
}

Test(info_nce, gradients_over_several_tiles) { /* three tiles of rows, two of columns */
  enum { B = 140 };
  static double weight[B * 2], valid[B];
  static int32_t user[B];
  for (int i = 0; i < B; i++) user[i] = i * 5 % 60, valid[i] = i < 137;
  for (int i = 0; i < B * 2; i++) weight[i] = i % 5 ? 0.5 + i % 3 : 0;
  harness_run(&(harness_case){.build = build,
                              .batch = B,
                              .n_valid = 137,
                              .input = {{"a", {3, {B, 2, 1}}, .differentiable = true},
                                        {"p", {3, {B, 2, 1}}, .differentiable = true},
                                        {"weight", {2, {B, 2}}, .values = weight},
                                        {"valid", {1, {B}}, .values = valid, .keep = true},
                                        {.name = "user", .shape = {1, {B}}, .ids = user}}});
}

Test(info_nce, gradients_of_wide_vectors) {
  static const double ones[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  temperature = 0.7;
  harness_run(&(harness_case){.build = build,
                              .batch = 4,
                              .input = {{"a", {3, {4, 3, 5}}, .differentiable = true},
                                        {"p", {3, {4, 3, 5}}, .differentiable = true},
                                        {"weight", {2, {4, 3}}, .values = ones},
                                        {"valid", {1, {4}}, .values = ones, .keep = true}}});
}

/* ---- against the whole matrix ---- */

enum { N = 300, C = 4, D = 24, ALL = N * C * D };

typedef struct batch {
  facet_real a[ALL], p[ALL], da[ALL], dp[ALL];
  facet_real weight[N * C], valid[N];
  int32_t user[N];
  bool with_user;
  double tau, loss;
} batch;

/* Unit vectors, p near a; every 7th row is invalid and full of NaN, every 11th weight is 0, users repeat. */
static void fill(batch *x) {
  facet_rng_key key = facet_rng_key_make(5, "info_nce");
  for (int i = 0; i < ALL; i++) {
    x->a[i] = (facet_real)facet_rng_normal(key, (uint64_t)i);
    x->p[i] = x->a[i] + (facet_real)(1.5 * (double)facet_rng_normal(key, (uint64_t)(i + ALL)));
  }
  for (int r = 0; r < N * C; r++)
    for (int k = 0; k < 2; k++) {
      facet_real *v = (k ? x->p : x->a) + r * D;
      double square = 0;
      for (int j = 0; j < D; j++) square += (double)v[j] * (double)v[j];
      for (int j = 0; j < D; j++) v[j] = r / C % 7 == 3 ? (facet_real)NAN : (facet_real)((double)v[j] / sqrt(square));
    }
  for (int b = 0; b < N; b++) {
    x->valid[b] = b % 7 != 3;
    x->user[b] = b % 90;
    for (int i = 0; i < C; i++) x->weight[b * C + i] = (facet_real)((b * C + i) % 11 ? 0.25 + b % 5 : 0);
  }
}

/* The operator, through a graph: loss and gradients. */
static void run(batch *x) {
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  facet_device *device = NULL;
  facet_executor *executor = NULL;
  cr_assert_eq(facet_device_open("cpu", &device), FACET_OK);
  cr_assert_eq(facet_parameters_create(&parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, N, 0, parameters, &graph), FACET_OK);
  facet_tensor *a = facet_graph_input(graph, "a", FACET_DTYPE_REAL, facet_shape_make(3, N, C, D), true);
  facet_tensor *p = facet_graph_input(graph, "p", FACET_DTYPE_REAL, facet_shape_make(3, N, C, D), true);
  facet_tensor *weight = facet_graph_input(graph, "weight", FACET_DTYPE_REAL, facet_shape_make(2, N, C), false);
  facet_tensor *valid = facet_graph_input(graph, "valid", FACET_DTYPE_REAL, facet_shape_make(1, N), false);
  facet_tensor *user = facet_graph_input(graph, "user", FACET_DTYPE_INT32, facet_shape_make(1, N), false);
  facet_graph_loss(graph, "cl", facet_info_nce(graph, "cl", a, p, weight, valid, x->with_user ? user : NULL, x->tau),
                   2);
  cr_assert_eq(facet_parameters_allocate(parameters, 1, true), FACET_OK);
  cr_assert_eq(facet_executor_create(graph, device, true, &executor), FACET_OK, "%s", facet_error_get()->message);
  memcpy(facet_executor_input(executor, "a"), x->a, sizeof x->a);
  memcpy(facet_executor_input(executor, "p"), x->p, sizeof x->p);
  memcpy(facet_executor_input(executor, "weight"), x->weight, sizeof x->weight);
  memcpy(facet_executor_input(executor, "valid"), x->valid, sizeof x->valid);
  memcpy(facet_executor_input(executor, "user"), x->user, sizeof x->user);
  facet_run run = {.training = true};
  cr_assert_eq(facet_executor_forward(executor, NULL, &run), FACET_OK);
  x->loss = facet_executor_loss(executor, 0);
  cr_assert_eq(facet_executor_backward(executor, 1), FACET_OK);
  memcpy(x->da, facet_executor_input_gradient(executor, "a"), sizeof x->da);
  memcpy(x->dp, facet_executor_input_gradient(executor, "p"), sizeof x->dp);
  facet_executor_destroy(&executor);
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
  facet_device_close(&device);
}

static bool is_pair(const batch *x, int b, int other) {
  return x->valid[other] != 0 && (b == other || !x->with_user || x->user[b] != x->user[other]);
}

/* The formulas of include/facet/ops.h in double, with every logit of the batch: loss, and twice its gradients. */
static double reference(const batch *x, double *da, double *dp) {
  double loss = 0, sum_weights = 0, *logit = malloc(N * sizeof *logit);
  for (int i = 0; i < N * C; i++) sum_weights += x->valid[i / C] * (double)x->weight[i];
  for (int b = 0; b < N; b++)
    for (int i = 0; i < C; i++) {
      const facet_real *a = x->a + (b * C + i) * D;
      double weight = (double)x->weight[b * C + i], sum = 0;
      if (x->valid[b] == 0) continue;
      for (int o = 0; o < N; o++) {
        logit[o] = 0;
        for (int j = 0; j < D; j++) logit[o] += (double)a[j] * (double)x->p[(o * C + i) * D + j] / x->tau;
        if (is_pair(x, b, o)) sum += exp(logit[o]);
      }
      loss += weight * (log(sum) - logit[b]);
      for (int o = 0; o < N; o++) {
        if (!is_pair(x, b, o)) continue;
        double delta = 2 * weight / sum_weights / x->tau * (exp(logit[o]) / sum - (o == b));
        for (int j = 0; j < D; j++) {
          da[(b * C + i) * D + j] += delta * (double)x->p[(o * C + i) * D + j];
          dp[(o * C + i) * D + j] += delta * (double)a[j];
        }
      }
    }
  free(logit);
  return loss / sum_weights;
}

static void compare(const char *what, const facet_real *x, const double *expected) {
  double size = 0;
  for (int i = 0; i < ALL; i++) size += expected[i] * expected[i] / ALL;
  size = sqrt(size);
  cr_assert_gt(size, 0);
  for (int i = 0; i < ALL; i++)
    cr_assert(fabs((double)x[i] - expected[i]) <= 2000 * FACET_REAL_EPSILON * size,
              "%s, element %d: %.9g, expected %.9g (size %.3g)", what, i, (double)x[i], expected[i], size);
}

static void run_whole(bool with_user) {
  static batch x;
  double *da = calloc(ALL, sizeof *da), *dp = calloc(ALL, sizeof *dp);
  x.with_user = with_user;
  x.tau = 0.05;
  fill(&x);
  run(&x);
  double loss = reference(&x, da, dp);
  cr_assert(fabs(x.loss - loss) <= 20 * FACET_REAL_EPSILON * loss, "%.12g, expected %.12g", x.loss, loss);
  compare("da", x.da, da);
  compare("dp", x.dp, dp);
  free(da);
  free(dp);
}
Test(info_nce, whole_matrix) {
  run_whole(false);
}
Test(info_nce, whole_matrix_without_other_rows_of_the_user) {
  run_whole(true);
}

Test(info_nce, a_channel_without_weight_counts_nothing) {
  static batch x = {.tau = 0.05};
  fill(&x);
  for (int i = 0; i < N * C; i++)
    if (i % C == 2) x.weight[i] = 0;
  run(&x);
  cr_assert(isfinite(x.loss));
  for (int r = 0; r < N * C; r++)
    for (int j = 0; j < D && r % C == 2; j++) cr_assert(x.da[r * D + j] == 0 && x.dp[r * D + j] == 0, "row %d", r);
  double *unused = calloc(2 * ALL, sizeof *unused);
  double loss = reference(&x, unused, unused + ALL);
  cr_assert(fabs(x.loss - loss) <= 20 * FACET_REAL_EPSILON * loss);
  free(unused);
}

static void expect_nothing(batch *x) {
  run(x);
  cr_assert_eq(x->loss, 0);
  for (int i = 0; i < ALL; i++) cr_assert(x->da[i] == 0 && x->dp[i] == 0, "element %d: %g", i, (double)x->da[i]);
}
Test(info_nce, one_user_in_the_whole_batch_has_no_loss) {
  static batch x = {.tau = 0.05, .with_user = true};
  fill(&x);
  for (int b = 0; b < N; b++) x.user[b] = 1;
  expect_nothing(&x);
}
Test(info_nce, no_weight_has_no_loss) {
  static batch x = {.tau = 0.05};
  fill(&x);
  memset(x.weight, 0, sizeof x.weight);
  expect_nothing(&x);
}
Test(info_nce, no_valid_row_has_no_loss) {
  static batch x = {.tau = 0.05};
  fill(&x);
  memset(x.valid, 0, sizeof x.valid);
  expect_nothing(&x);
}
Test(info_nce, one_row_has_no_loss) {
  static batch x = {.tau = 0.05};
  fill(&x);
  memset(x.valid, 0, sizeof x.valid);
  x.valid[N - 1] = 1;
  expect_nothing(&x);
}

Test(info_nce, large_logits) { /* logits of ±4e4: the loss of the wrong pair is their difference */
  temperature = 0.05;
  harness_run(
      &(harness_case){.build = build,
                      .batch = 2,
                      .input = {{"a", {3, {2, 1, 1}}, .values = (double[]){1000, 1000}, .differentiable = false},
                                {"p", {3, {2, 1, 1}}, .values = (double[]){-2, 2}, .differentiable = true},
                                {"weight", {2, {2, 1}}, .values = (double[]){1, 1}},
                                {"valid", {1, {2}}, .values = (double[]){1, 1}, .keep = true}},
                      .expected = (double[]){40000}});
}

Test(info_nce, threads_do_not_matter) {
  static batch x = {.tau = 0.1, .with_user = true}, y;
  fill(&x);
  y = x;
  omp_set_num_threads(1);
  run(&x);
  omp_set_num_threads(3);
  run(&y);
  cr_assert_eq(x.loss, y.loss);
  cr_assert_eq(memcmp(x.da, y.da, sizeof x.da), 0);
  cr_assert_eq(memcmp(x.dp, y.dp, sizeof x.dp), 0);
}

Test(info_nce, wrong_arguments) {
  harness_case test = {.build = build,
                       .batch = 2,
                       .input = {{"a", {3, {2, 3, 4}}},
                                 {"p", {3, {2, 3, 4}}},
                                 {"weight", {2, {2, 3}}},
                                 {"valid", {1, {2}}},
                                 {.name = "user", .shape = {1, {2}}, .ids = (int32_t[]){1, 1}}}};
  temperature = 0;
  harness_fails(&test, "the temperature is 0, expected a positive number");
  temperature = 1;
  test.input[1].shape.dim[2] = 5;
  harness_fails(&test, "p is [2, 3, 5], expected [2, 3, 4] for a [2, 3, 4]");
  test.input[1].shape.dim[2] = 4;
  test.input[2].shape.dim[1] = 2;
  harness_fails(&test, "weight is [2, 2], expected [2, 3]");
  test.input[2].shape.dim[1] = 3;
  test.input[2].differentiable = true;
  harness_fails(&test, "weight needs a gradient");
  test.input[2].differentiable = false;
  test.input[4].ids = NULL;
  harness_fails(&test, "user is real, expected int32");
  test.input[4].name = NULL;
  test.input[3].shape.dim[0] = 3;
  harness_fails(&test, "valid is [3], expected [2]");
  test.input[0].shape.rank = 2;
  harness_fails(&test, "a is [2, 3], expected [B, c, d]");
}

Test(info_nce, cost) {
  facet_cost cost = harness_cost(&(harness_case){
      .build = build,
      .batch = 5,
      .input = {
          {"a", {3, {5, 3, 4}}}, {"p", {3, {5, 3, 4}}}, {"weight", {2, {5, 3}}}, {"valid", {1, {5}}, .values = NULL}}});
  cr_assert_eq(cost.forward_flops, 5 * 5 * 3 * (2 * 4 + 22));
  cr_assert_eq(cost.backward_bytes, 6 * 5 * 3 * 4 * sizeof(facet_real));
}
