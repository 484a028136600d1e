#include <criterion/criterion.h>

#include <complex.h>
#include <math.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_dice(graph, "x", in[0], in[1], 0.99);
}

/* x = 1, 3 (mean 2, sd √(1 + 1e-9)) and a padded −50, which gives 0; a = 0.5. */
Test(dice, by_hand) {
  double sd = sqrt(1 + 1e-9), expected[3] = {0}, x[] = {1, 3, -50};
  for (int i = 0; i < 2; i++) {
    double s = 1 / (1 + exp(-(x[i] - 2) / (sd + 1e-9)));
    expected[i] = x[i] * (s + 0.5 * (1 - s));
  }
  harness_run(
      &(harness_case){.build = build,
                      .batch = 3,
                      .n_valid = 2,
                      .input = {{"in", {2, {3, 1}}, .values = x, .differentiable = true},
                                {"valid", {1, {3}}, .values = (double[]){1, 1, 0}, .keep = true}},
                      .value = {{"x.alpha", (double[]){0.5}}},
                      .expected = expected,
                      .expected_state = {{"x.mean", (double[]){0.01 * 2}}, {"x.sd", (double[]){0.99 + 0.01 * sd}}}});
}

Test(dice, gradients) {
  static double valid[70];
  for (int i = 0; i < 67; i++) valid[i] = 1;
  harness_run(&(harness_case){
      .build = build,
      .batch = 70,
      .n_valid = 67,
      .input = {{"in", {2, {70, 3}}, .differentiable = true}, {"valid", {1, {70}}, .values = valid, .keep = true}}});
}

/* [B, L, d] with a flag per slot: x = 1, 3 as above, the two other slots are none. */
Test(dice, slots_of_sequences) {
  double sd = sqrt(1 + 1e-9), expected[4] = {0}, x[] = {1, -50, 3, 70};
  for (int i = 0; i < 4; i += 2) expected[i] = x[i] / (1 + exp(-(x[i] - 2) / (sd + 1e-9)));
  harness_run(&(harness_case){.build = build,
                              .batch = 2,
                              .input = {{"in", {3, {2, 2, 1}}, .values = x, .differentiable = true},
                                        {"valid", {2, {2, 2}}, .values = (double[]){1, 0, 1, 0}, .keep = true}},
                              .value = {{"x.alpha", (double[]){0}}},
                              .expected = expected,
                              .expected_state = {{"x.mean", (double[]){0.01 * 2}}}});
}

Test(dice, wider_than_a_chunk) {
  harness_run(&(harness_case){.build = build,
                              .batch = 3,
                              .input = {{"in", {2, {3, 260}}, .differentiable = true},
                                        {"valid", {1, {3}}, .values = (double[]){1, 1, 1}, .keep = true}}});
}

Test(dice, evaluation) { /* z = (x − 1)/(2 + 1e-9) from the averages, which stay */
  double x[] = {1, 3}, expected[2];
  for (int i = 0; i < 2; i++) expected[i] = x[i] / (1 + exp(-(x[i] - 1) / (2 + 1e-9)));
  harness_run(&(harness_case){.build = build,
                              .batch = 2,
                              .evaluate = true,
                              .input = {{"in", {2, {2, 1}}, .values = x, .differentiable = true},
                                        {"valid", {1, {2}}, .values = (double[]){1, 1}, .keep = true}},
                              .value = {{"x.alpha", (double[]){0}}, {"x.mean", (double[]){1}}, {"x.sd", (double[]){2}}},
                              .expected = expected,
                              .expected_state = {{"x.mean", (double[]){1}}, {"x.sd", (double[]){2}}}});
}

/* A column that is constant except for its last digits: the gradient stays finite (term inside the root). */
Test(dice, nearly_constant_column) {
  harness_run(&(harness_case){.build = build,
                              .batch = 3,
                              .evaluate = false,
                              .input = {{"in", {2, {3, 1}}, .values = (double[]){4, 4, 4}},
                                        {"valid", {1, {3}}, .values = (double[]){1, 1, 1}, .keep = true}},
                              .value = {{"x.alpha", (double[]){0}}},
                              .expected = (double[]){2, 2, 2}});
}

/* Σ y of one channel for complex x: Im at x + ih of one element is h times its derivative, without rounding error. */
static double complex sum_of(int n, const double complex *x, double alpha) {
  double complex mean = 0, variance = 0, sum = 0;
  for (int i = 0; i < n; i++) mean += x[i] / n;
  for (int i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean) / n;
  const double complex width = csqrt(variance + 1e-9) + 1e-9;
  for (int i = 0; i < n; i++) {
    const double complex s = 1 / (1 + cexp(-(x[i] - mean) / width));
    sum += x[i] * (s + alpha * (1 - s));
  }
  return sum;
}

/* A narrow column, where the width D = sd + 1e-9 of the normalisation differs from sd by 3e-5: the factor D/sd of its
 * derivative counts. Too narrow for central differences. */
Test(dice, gradient_of_a_narrow_column) {
  enum { N = 5 };
  double x[N] = {-2e-5, 1e-5, 4e-5, -5e-5, 3e-5}, expected[N];
  for (int j = 0; j < N; j++) {
    double complex moved[N];
    for (int i = 0; i < N; i++) moved[i] = x[i] + (i == j ? 1e-30 * I : 0);
    expected[j] = cimag(sum_of(N, moved, 0.25)) / 1e-30;
  }
  harness_run(&(harness_case){.build = build,
                              .batch = N,
                              .surrogate = true,
                              .input = {{"in", {2, {N, 1}}, .values = x, .differentiable = true},
                                        {"valid", {1, {N}}, .values = (double[]){1, 1, 1, 1, 1}, .keep = true}},
                              .value = {{"x.alpha", (double[]){0.25}}},
                              .expected_gradient = expected});
}

Test(dice, wrong_shapes) {
  harness_case test = {.build = build, .batch = 2, .input = {{"in", {1, {2}}}, {"valid", {1, {2}}}}};
  harness_fails(&test, "x is [2], expected real [B, .., d]");
}
