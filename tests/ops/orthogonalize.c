#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

#include "facet/rng.h"
#include "harness.h"

#ifdef FACET_DOUBLE
#define ROUNDING 1e-13
#else
#define ROUNDING 2e-6
#endif

enum { MAX_C = 8, MAX_D = 32, MAX_B = 8 };

/* Builders take nothing but the graph, so the numbers of the case are here. */
static int64_t channels;
static facet_qr_sign sign;
static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_orthogonalize(graph, "x", in[0], channels, sign, NULL);
}

static harness_case case_of(int64_t batch, int64_t c, int64_t d, facet_qr_sign s, const double *values) {
  channels = c;
  sign = s;
  return (harness_case){
      .build = build, .batch = batch, .input = {{"a", {2, {batch, d * c}}, .values = values, .differentiable = true}}};
}

static void fill_normal(int64_t n, const char *purpose, double *x) {
  facet_rng_key key = facet_rng_key_make(11, purpose);
  for (int64_t i = 0; i < n; i++) x[i] = (double)(float)facet_rng_normal(key, (uint64_t)i);
}

/* ---- properties of a finished call ------------------------------------------------------------------------------ */

typedef struct sizes {
  int64_t b, c, d;
} sizes;
static sizes sizes_of(const facet_op_call *call) {
  return (sizes){call->out_shape[0].dim[0], call->out_shape[0].dim[1], call->out_shape[0].dim[2]};
}
static double a_at(const facet_op_call *call, int64_t b, int64_t row, int64_t column) {
  sizes s = sizes_of(call);
  return (double)((const facet_real *)call->in[0])[(b * s.d + row) * s.c + column];
}
static double q_at(const facet_op_call *call, int64_t b, int64_t column, int64_t row) {
  sizes s = sizes_of(call);
  return (double)((const facet_real *)call->out[0])[(b * s.c + column) * s.d + row];
}
/* Entry (j, k) of QᵀA: R where no column was replaced. */
static double r_at(const facet_op_call *call, int64_t b, int64_t j, int64_t k) {
  double sum = 0;
  for (int64_t i = 0; i < sizes_of(call).d; i++) sum += q_at(call, b, j, i) * a_at(call, b, i, k);
  return sum;
}

static void check_orthonormal(const facet_op_call *call) {
  sizes s = sizes_of(call);
  for (int64_t b = 0; b < s.b; b++)
    for (int64_t j = 0; j < s.c; j++)
      for (int64_t k = 0; k < s.c; k++) {
        double sum = 0;
        for (int64_t i = 0; i < s.d; i++) sum += q_at(call, b, j, i) * q_at(call, b, k, i);
        cr_assert(fabs(sum - (j == k)) < fmax(ROUNDING / 2, 1e-15), "sample %d, q_%d · q_%d is %.17g", (int)b, (int)j,
                  (int)k, sum);
      }
}

/* A = Q R with R upper triangular, and the sign of its diagonal; the ratio. */
static void check_factors(const facet_op_call *call) {
  sizes s = sizes_of(call);
  check_orthonormal(call);
  for (int64_t b = 0; b < s.b; b++) {
    double min_ratio = INFINITY;
    for (int64_t k = 0; k < s.c; k++) {
      double norm = 0;
      for (int64_t i = 0; i < s.d; i++) norm += a_at(call, b, i, k) * a_at(call, b, i, k);
      norm = sqrt(norm);
      min_ratio = fmin(min_ratio, fabs(r_at(call, b, k, k)) / norm);
      cr_assert(sign == FACET_QR_LAPACK || r_at(call, b, k, k) > 0, "R[%d, %d] is negative", (int)k, (int)k);
      for (int64_t j = k + 1; j < s.c; j++)
        cr_assert(fabs(r_at(call, b, j, k)) < ROUNDING * norm, "R[%d, %d] is not 0", (int)j, (int)k);
      for (int64_t i = 0; i < s.d; i++) {
        double product = 0;
        for (int64_t j = 0; j <= k; j++) product += q_at(call, b, j, i) * r_at(call, b, j, k);
        cr_assert(fabs(product - a_at(call, b, i, k)) < ROUNDING * norm, "QR differs from A at (%d, %d)", (int)i,
                  (int)k);
      }
    }
    double ratio = (double)((const facet_real *)call->out[1])[b];
    cr_assert(fabs(ratio - min_ratio) < 10 * ROUNDING, "ratio %.17g, expected %.17g", ratio, min_ratio);
  }
}

/* Q does not depend on positive scales of columns, nor on multiples of earlier columns in later ones: the upper triangle
 * of AᵀĀ, with its diagonal, is 0. */
static void check_gradient_directions(const facet_op_call *call) {
  sizes s = sizes_of(call);
  for (int64_t b = 0; b < s.b; b++)
    for (int64_t j = 0; j < s.c; j++)
      for (int64_t k = j; k < s.c; k++) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < s.d; i++) {
          double gradient = (double)call->d_in[0][(b * s.d + i) * s.c + k];
          sum += a_at(call, b, i, j) * gradient;
          size += fabs(a_at(call, b, i, j) * gradient);
        }
        cr_assert(fabs(sum) <= 100 * ROUNDING * (1 + size), "a_%d · Ā_%d is %g of %g", (int)j, (int)k, sum, size);
      }
}

static void check_all(const facet_op_call *call, void *context) {
  (void)context;
  check_factors(call);
  check_gradient_directions(call);
}

/* Columns (3, 4), (5, 0): q_0 = (3, 4)/5, and (5, 0) − 3 q_0 = (3.2, −2.4) of length 4. For Q̄ = 1 the products q̄_i · q_j,
 * i ≥ j, are 1.4, 1.4, 0.2; X = (−0.96, 0.72), (0, 0); Ā_1 = 0, Ā_0 = X_0/5. */
Test(orthogonalize, by_hand) {
  harness_case test = case_of(1, 2, 2, FACET_QR_POSITIVE, (double[]){3, 5, 4, 0});
  test.expected = (double[]){0.6, 0.8, 0.8, -0.6};
  test.expected_other[0] = (double[]){0.8};
  test.expected_gradient = (double[]){-0.192, 0, 0.144, 0};
  harness_run(&test);
}

static const int64_t shapes[][2] = {{1, 1}, {1, 5}, {2, 2}, {3, 7}, {4, 4}, {4, 20}, {8, 9}, {8, 32}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

Test(orthogonalize, factors_of_random_matrices) {
  for (int i = 0; i < N_SHAPES; i++)
    for (int s = 0; s < 2; s++) {
      harness_case test = case_of(MAX_B, shapes[i][0], shapes[i][1], (facet_qr_sign)s, NULL);
      harness_call(&test, check_all, NULL);
    }
}

Test(orthogonalize, gradients) {
  for (int i = 0; i < N_SHAPES; i++) {
    /* matrices of condition about 3: diagonal entries outweigh the noise, so that differences in float are good enough */
    double values[3 * MAX_C * MAX_D];
    int64_t c = shapes[i][0], d = shapes[i][1];
    fill_normal(3 * c * d, "gradients", values);
    for (int64_t k = 0; k < 3 * c * d; k++) values[k] = 0.3 * values[k] + ((k / c) % d == k % c ? -1.5 : 0);
    for (int s = 0; s < 2; s++) {
      harness_case test = case_of(3, c, d, (facet_qr_sign)s, values);
      test.n_valid = 2;
      harness_run(&test);
    }
  }
}

Test(orthogonalize, more_samples_than_blocks) {
  harness_case test = case_of(131, 2, 3, FACET_QR_LAPACK, NULL);
  harness_call(&test, check_all, NULL);
}

/* ---- the signs of LAPACK ---------------------------------------------------------------------------------------- */

/* a [d, c] row-major → Q in q [c, d] as dgeqr2 and dorg2r make it: H_j = I − τ v vᵀ, v_j = 1, R_jj = −sign(α)‖x‖; with
 * nothing below the diagonal (j = d − 1) H_j = I. */
static void householder(int64_t c, int64_t d, double *a, double *q) {
  double tau[MAX_C];
  for (int64_t j = 0; j < c; j++) {
    double below = 0, alpha = a[j * c + j];
    for (int64_t i = j + 1; i < d; i++) below += a[i * c + j] * a[i * c + j];
    tau[j] = 0;
    if (below == 0) continue;
    double beta = -copysign(sqrt(alpha * alpha + below), alpha);
    tau[j] = (beta - alpha) / beta;
    for (int64_t i = j + 1; i < d; i++) a[i * c + j] /= alpha - beta;
    a[j * c + j] = beta;
    for (int64_t k = j + 1; k < c; k++) {
      double sum = a[j * c + k];
      for (int64_t i = j + 1; i < d; i++) sum += a[i * c + j] * a[i * c + k];
      a[j * c + k] -= tau[j] * sum;
      for (int64_t i = j + 1; i < d; i++) a[i * c + k] -= tau[j] * sum * a[i * c + j];
    }
  }
  for (int64_t k = 0; k < c; k++) { /* q_k = H_0 … H_{c−1} e_k */
    for (int64_t i = 0; i < d; i++) q[k * d + i] = i == k;
    for (int64_t j = c - 1; j >= 0; j--) {
      double sum = q[k * d + j];
      for (int64_t i = j + 1; i < d; i++) sum += a[i * c + j] * q[k * d + i];
      q[k * d + j] -= tau[j] * sum;
      for (int64_t i = j + 1; i < d; i++) q[k * d + i] -= tau[j] * sum * a[i * c + j];
    }
  }
}

static void check_lapack(const facet_op_call *call, void *context) {
  int *n_negative = context;
  sizes s = sizes_of(call);
  for (int64_t b = 0; b < s.b; b++) {
    double a[MAX_C * MAX_D], q[MAX_C * MAX_D];
    for (int64_t i = 0; i < s.d * s.c; i++) a[i] = a_at(call, b, i / s.c, i % s.c);
    householder(s.c, s.d, a, q);
    for (int64_t i = 0; i < s.d * s.c; i++)
      cr_assert(fabs(q[i] - q_at(call, b, i / s.d, i % s.d)) < 100 * ROUNDING,
                "sample %d, %d of %d x %d: %g, LAPACK %g", (int)b, (int)i, (int)s.d, (int)s.c,
                q_at(call, b, i / s.d, i % s.d), q[i]);
    for (int64_t j = 0; j < s.c; j++) *n_negative += r_at(call, b, j, j) < 0;
  }
}

Test(orthogonalize, signs_of_lapack) {
  static double values[64 * MAX_C * MAX_D];
  for (int i = 0; i < N_SHAPES; i++) {
    int n_negative = 0;
    int64_t n = 64 * shapes[i][0];
    fill_normal(64 * shapes[i][0] * shapes[i][1], "lapack", values);
    harness_case test = case_of(64, shapes[i][0], shapes[i][1], FACET_QR_LAPACK, values);
    harness_call(&test, check_lapack, &n_negative);
    cr_assert(n_negative > n / 10 && n_negative < n - n / 10, "%d of %d signs are negative", n_negative, (int)n);
  }
}

/* ---- scale and condition ---------------------------------------------------------------------------------------- */

static void keep_output(const facet_op_call *call, void *context) {
  for (int64_t i = 0; i < facet_shape_elements(&call->out_shape[0]); i++)
    ((double *)context)[i] = (double)((const facet_real *)call->out[0])[i];
}

Test(orthogonalize, positive_scales_of_columns_change_nothing) {
  double a[2 * 4 * 6], q[2 * 4 * 6], q_scaled[2 * 4 * 6];
  const double scale[] = {1e-3, 7, 1e4, 0.3};
  fill_normal(48, "scales", a);
  harness_case test = case_of(2, 4, 6, FACET_QR_POSITIVE, a);
  harness_call(&test, keep_output, q);
  for (int i = 0; i < 48; i++) a[i] *= scale[i % 4];
  harness_call(&test, keep_output, q_scaled);
  for (int i = 0; i < 48; i++) cr_assert(fabs(q[i] - q_scaled[i]) < 100 * ROUNDING, "element %d", i);
}

static void check_ill_conditioned(const facet_op_call *call, void *context) {
  (void)context;
  sizes s = sizes_of(call);
  double worst = 0, ratio = (double)((const facet_real *)call->out[1])[0];
  for (int64_t j = 0; j < s.c; j++)
    for (int64_t k = 0; k < s.c; k++) {
      double sum = 0;
      for (int64_t i = 0; i < s.d; i++) sum += q_at(call, 0, j, i) * q_at(call, 0, k, i);
      worst = fmax(worst, fabs(sum - (j == k)));
    }
  /* one projection instead of two would leave condition · ε */
  cr_assert(worst < 8 * FACET_REAL_EPSILON, "max |QᵀQ − I| is %g", worst);
  cr_assert(ratio > 1e-4 && ratio < 3e-4, "ratio %g: the case is not what it should be", ratio);
}

/* Columns u_j + s_j w of a common direction, then noise of 1e-4 (condition about 1e4), just above the guard. */
Test(orthogonalize, orthogonal_at_condition_1e4) {
  double a[40 * 4], common[40];
  fill_normal(160, "noise", a);
  fill_normal(40, "common", common);
  for (int i = 0; i < 160; i++) a[i] = common[i / 4] + 2.2e-4 * a[i];
  harness_case test = case_of(1, 4, 40, FACET_QR_POSITIVE, a);
  harness_call(&test, check_ill_conditioned, NULL);
}

/* ---- guard ------------------------------------------------------------------------------------------------------ */

enum { GC = 3, GD = 5, GN = GC * GD };
static const double guard[GN] = {0.3, -1.2, 0.7, 0.1, 0.9, -0.4, 0.2, 1.1, -0.8, 0.5, 1.3, 0.6, -0.2, -0.9, 0.4};

typedef struct results {
  double q[GN], gradient[GN], ratio;
} results;
static void keep_results(const facet_op_call *call, void *context) {
  results *out = context;
  check_orthonormal(call);
  for (int i = 0; i < GN; i++) {
    out->q[i] = (double)((const facet_real *)call->out[0])[i];
    out->gradient[i] = (double)call->d_in[0][i];
  }
  out->ratio = (double)((const facet_real *)call->out[1])[0];
}

/* The columns `replaced` (bits) of `a` must be replaced: results are those of the matrix that has the guard vectors
 * there, but for the gradient, which is 0 in these columns. */
static void check_guard(const double *a, unsigned replaced) {
  for (int s = 0; s < 2; s++) {
    results degenerate, stand_in;
    double with_guard[GN];
    for (int i = 0; i < GN; i++) with_guard[i] = replaced >> i % GC & 1 ? guard[i % GC * GD + i / GC] : a[i];
    harness_case test = case_of(1, GC, GD, (facet_qr_sign)s, a);
    test.value[0] = (harness_value){"x.guard", guard};
    harness_call(&test, keep_results, &degenerate);
    test.input[0].values = with_guard;
    harness_call(&test, keep_results, &stand_in);
    cr_assert(degenerate.ratio < 1e-4 && stand_in.ratio > 1e-3, "ratios %g, %g", degenerate.ratio, stand_in.ratio);
    for (int i = 0; i < GN; i++) {
      cr_assert_eq(degenerate.q[i], stand_in.q[i], "q, element %d", i);
      cr_assert_eq(degenerate.gradient[i], replaced >> i % GC & 1 ? 0 : stand_in.gradient[i], "gradient, element %d",
                   i);
    }
  }
}

Test(orthogonalize, zero_columns_are_replaced) {
  check_guard((double[GN]){1, 0, 2, -1, 0, 1, 0.5, 0, 0.3, 2, 0, -2, 1, 0, 1}, 2);
  check_guard((double[GN]){0, 1, 2, 0, -1, 1, 0, 0.5, 0.3, 0, 2, -2, 0, 1, 1}, 1);
  check_guard((double[GN]){0}, 7);
}

Test(orthogonalize, multiples_of_earlier_columns_are_replaced) {
  check_guard((double[GN]){1, -3, 2, -1, 3, 1, 0.5, -1.5, 0.3, 2, -6, -2, 1, -3, 1}, 2);
  check_guard((double[GN]){1, 2, 3, -1, 1, 0, 0.5, 0.3, 0.8, 2, -2, 0, 1, 1, 2}, 4); /* the sum of both */
  check_guard((double[GN]){1, 1, 1, 2, 2, 2, 3, 3, 3, -1, -1, -1, 0.5, 0.5, 0.5}, 6);
}

/* The gradient's size in column 1 = scale · (1, ratio, 0, …) beside column 0 = (1, 0, …): R_11 = scale · ratio. */
static double guarded_gradient(double ratio, double scale) {
  const double a[GN] = {1, scale, 0, 0, scale * ratio, 0, 0, 0, 1};
  results out;
  harness_case test = case_of(1, GC, GD, FACET_QR_POSITIVE, a);
  test.value[0] = (harness_value){"x.guard", guard};
  harness_call(&test, keep_results, &out);
  double sum = 0;
  for (int i = 0; i < GD; i++) sum += fabs(out.gradient[i * GC + 1]);
  return sum;
}
Test(orthogonalize, limits_of_the_guard) {
  cr_assert_eq(guarded_gradient(0.99e-4, 1), 0);
  cr_assert_neq(guarded_gradient(1.01e-4, 1), 0);
  cr_assert_eq(guarded_gradient(0.9, 1e-12), 0);
  cr_assert_neq(guarded_gradient(1.1, 1e-12), 0);
}

/* Numeric gradients stay on one side of the guard: the replaced column is so long that the step of the differences is
 * far below 1e-4 of it. In float the step is not. */
#ifdef FACET_DOUBLE
Test(orthogonalize, gradients_beside_replaced_columns) {
  double a[2 * GN];
  fill_normal(2 * GN, "beside", a);
  for (int i = 0; i < GN; i++)
    if (i % GC == 1) a[i] = -2 * a[i - 1]; /* sample 0: a_1 = −2 a_0 */
  for (int i = GN; i < 2 * GN; i++)
    if (i % GC == 2) a[i] = a[i - 2] + 3 * a[i - 1];
  for (int s = 0; s < 2; s++) {
    harness_case test = case_of(2, GC, GD, (facet_qr_sign)s, a);
    test.value[0] = (harness_value){"x.guard", guard};
    harness_run(&test);
  }
}
#endif

Test(orthogonalize, guard_vectors_are_normal_numbers_of_the_run) {
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  channels = 4, sign = FACET_QR_POSITIVE;
  cr_assert_eq(facet_parameters_create(&parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 2, 0, parameters, &graph), FACET_OK);
  facet_tensor *a = facet_graph_input(graph, "a", FACET_DTYPE_REAL, facet_shape_make(2, 2, 4 * 50), true), *ratio;
  facet_tensor *o = facet_orthogonalize(graph, "x", a, 4, FACET_QR_POSITIVE, &ratio);
  cr_assert(o && ratio && o->needs_gradient && !ratio->needs_gradient);
  cr_assert_eq(facet_parameters_allocate(parameters, 3, true), FACET_OK);
  cr_assert_eq(facet_parameters_n_states(parameters), 1);
  const facet_parameter_info *info = facet_parameters_state(parameters, 0);
  cr_assert_str_eq(info->name, "x.guard");
  cr_assert(info->shape.rank == 2 && info->shape.dim[0] == 4 && info->shape.dim[1] == 50);
  double sum = 0, square = 0;
  for (int i = 0; i < 200; i++) {
    double v = (double)facet_parameters_state_values(parameters)[info->offset + i];
    sum += v;
    square += v * v;
  }
  cr_assert(fabs(sum / 200) < 0.2 && fabs(square / 200 - 1) < 0.3, "mean %g, square %g", sum / 200, square / 200);
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
}

Test(orthogonalize, wrong_arguments) {
  harness_case wide = case_of(2, 4, 3, FACET_QR_POSITIVE, NULL);
  harness_fails(&wide, "4 channels of width 3 (a is [2, 12])");
  harness_case rest = case_of(2, 4, 5, FACET_QR_POSITIVE, NULL);
  channels = 3;
  harness_fails(&rest, "a is [2, 20], whose last dimension is not a multiple of 3 channels");
  channels = 0;
  harness_fails(&rest, "not a multiple of 0 channels");
  harness_case unknown = case_of(2, 2, 5, (facet_qr_sign)2, NULL);
  harness_fails(&unknown, "sign 2, expected positive or lapack");
  harness_case rank = case_of(2, 2, 5, FACET_QR_POSITIVE, NULL);
  rank.input[0].shape = (facet_shape){3, {2, 5, 2}};
  harness_fails(&rank, "a is [2, 5, 2], expected real [B, d * c]");
}
