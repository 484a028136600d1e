/* Row kernels of every instruction set that this CPU has, against double code. */
#include "cpu/rows.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/vector.h"
#include "facet/rng.h"

static void for_each(void (*check)(const facet_rows *)) {
  static const char *const names[] = {"portable", "avx2", "avx512"};
  for (int i = 0; i < 3; i++) {
    const facet_vector *vector = facet_vector_find(names[i]);
    if (vector) check(vector->rows);
  }
}

/* Random numbers in an array of exactly n elements, so that sanitizers see a step outside. */
static facet_real *random_array(const char *purpose, int64_t n) {
  facet_real *x = malloc((size_t)n * sizeof *x);
  facet_rng_key key = facet_rng_key_make(3, purpose);
  for (int64_t i = 0; i < n; i++) x[i] = (facet_real)facet_rng_normal(key, (uint64_t)i);
  return x;
}

static void expect_close(const char *what, int64_t i, facet_real value, double expected, double size) {
  cr_assert(fabs((double)value - expected) <= 8 * FACET_REAL_EPSILON * size, "%s, element %lld: %.9g, expected %.9g",
            what, (long long)i, (double)value, expected);
}

/* ---- product ---- */

static void check_product_of(const facet_rows *rows, bool transpose, bool add, int64_t m, int64_t n, int64_t k) {
  facet_real *a = random_array("a", m * k), *b = random_array("b", k * n), *c = random_array("c", m * n);
  facet_real *before = random_array("c", m * n);
  rows->product(transpose, add, m, n, k, a, b, c);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = add ? (double)before[i * n + j] : 0, size = 1;
      for (int64_t p = 0; p < k; p++) {
        double term = (double)a[transpose ? p * m + i : i * k + p] * (double)b[p * n + j];
        sum += term;
        size += fabs(term);
      }
      expect_close("product", i * n + j, c[i * n + j], sum, size);
    }
  free(a), free(b), free(c), free(before);
}

static void check_product(const facet_rows *rows) {
  static const int64_t sizes[] = {1, 3, 8, 16, 17, 24, 40, 61};
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++)
      for (int flags = 0; flags < 4; flags++)
        check_product_of(rows, flags & 1, flags & 2, sizes[i], sizes[j], sizes[(i + j) % 8]);
}
Test(rows, product) {
  for_each(check_product);
}

/* The bits of a row do not depend on the other rows. */
static void check_product_by_row(const facet_rows *rows) {
  enum { M = 13, N = 43, K = 19 };
  facet_real *a = random_array("a", M * K), *b = random_array("b", K * N), *c = random_array("c", M * N), row[N];
  rows->product(false, false, M, N, K, a, b, c);
  for (int64_t i = 0; i < M; i++) {
    rows->product(false, false, 1, N, K, a + i * K, b, row);
    cr_assert(!memcmp(row, c + i * N, sizeof row), "row %lld", (long long)i);
  }
  free(a), free(b), free(c);
}
Test(rows, product_by_row) {
  for_each(check_product_by_row);
}

/* ---- LayerNorm ---- */

static void
check_norm(const facet_rows *rows) { /* rows 0 2 4 6: mean 3, variance 5, √(5 + 4) = 3; and a constant row */
  facet_real x[] = {0, 2, 4, 6, 9, 9, 9, 9}, gamma[] = {3, 3, 3, 6}, beta[] = {0, 0, 1, 0}, normal[8], inverse[2];
  static const double expected[] = {-3, -1, 2, 6, 0, 0, 1, 0};
  rows->norm(2, 4, 4, x, gamma, beta, normal, inverse, x);
  for (int i = 0; i < 8; i++) expect_close("norm", i, x[i], expected[i], 4);
  expect_close("inverse", 0, inverse[0], 1.0 / 3, 1);
  expect_close("normal", 3, normal[3], 1, 1);
}
Test(rows, norm_by_hand) {
  for_each(check_norm);
}

/* Σ w y of the norm of x. */
static double norm_objective(int64_t d, const facet_real *x, const facet_real *gamma, const facet_real *w) {
  double mean = 0, variance = 0, sum = 0;
  for (int64_t j = 0; j < d; j++) mean += (double)x[j] / (double)d;
  for (int64_t j = 0; j < d; j++) variance += ((double)x[j] - mean) * ((double)x[j] - mean) / (double)d;
  for (int64_t j = 0; j < d; j++) sum += (double)w[j] * (double)gamma[j] * ((double)x[j] - mean) / sqrt(variance + 0.5);
  return sum;
}

static void check_norm_backward(const facet_rows *rows) {
  enum { D = 43 };
  facet_real *x = random_array("x", D), *gamma = random_array("gamma", D), *w = random_array("w", D);
  facet_real zero[D] = {0}, normal[D], inverse, y[D], dx[D], d_gamma[D] = {0}, d_beta[D] = {0};
  rows->norm(1, D, (facet_real)0.5, x, gamma, zero, normal, &inverse, y);
  rows->norm_backward(1, D, w, normal, &inverse, gamma, dx, d_gamma, d_beta);
  for (int64_t j = 0; j < D; j++) {
    facet_real keep = x[j], step = (facet_real)(1.0 / 1024);
    x[j] = keep + step;
    double above = norm_objective(D, x, gamma, w), up = (double)x[j];
    x[j] = keep - step;
    double numeric = (above - norm_objective(D, x, gamma, w)) / (up - (double)x[j]);
    x[j] = keep;
    cr_assert(fabs((double)dx[j] - numeric) < 3e-6, "dx[%lld] %g, numeric %g", (long long)j, (double)dx[j], numeric);
    cr_assert(d_beta[j] == w[j] && d_gamma[j] == w[j] * normal[j]);
  }
  rows->norm_backward(1, D, w, normal, &inverse, gamma, w, d_gamma, d_beta);
  cr_assert(!memcmp(w, dx, sizeof dx), "dx may be dy");
  free(x), free(gamma), free(w);
}
Test(rows, norm_backward) {
  for_each(check_norm_backward);
}

/* ---- attention ---- */

/* y of one query row in double. */
static void attend_one(const facet_rows_attention *s, const facet_real *q, const facet_real *k, const facet_real *v,
                       double *y) {
  int64_t width = s->d / s->heads;
  for (int64_t e = 0; e < s->d; e++) {
    double total = 0, sum = 0;
    for (int64_t a = 0; a < s->keys; a++) {
      double score = 0;
      for (int64_t j = e / width * width; j < (e / width + 1) * width; j++)
        score += (double)s->scale * (double)q[j] * (double)k[a * s->d + j];
      total += exp(score);
      sum += exp(score) * (double)v[a * s->d + e];
    }
    y[e] = sum / total;
  }
}

static const facet_rows_attention sizes[] = {
    {.units = 3, .queries = 4, .keys = 4, .heads = 2, .d = 40, .scale = (facet_real)0.25},
    {.units = 2, .queries = 1, .keys = 5, .heads = 3, .d = 21, .scale = (facet_real)0.5},
    {.units = 1, .queries = 2, .keys = 1, .heads = 1, .d = 1, .scale = 1}};

static void check_attend(const facet_rows *rows) {
  for (int i = 0; i < 3; i++) {
    const facet_rows_attention *s = &sizes[i];
    int64_t n_q = s->units * s->queries * s->d, n_k = s->units * s->keys * s->d;
    facet_real *q = random_array("q", n_q), *k = random_array("k", n_k), *v = random_array("v", n_k);
    facet_real *p = random_array("p", s->units * s->heads * s->queries * s->keys), *y = random_array("y", n_q);
    double expected[40];
    rows->attend(s, q, k, v, p, y);
    for (int64_t row = 0; row < s->units * s->queries; row++) {
      int64_t at = row / s->queries * s->keys * s->d;
      attend_one(s, q + row * s->d, k + at, v + at, expected);
      for (int64_t e = 0; e < s->d; e++) expect_close("attend", e, y[row * s->d + e], expected[e], 4);
    }
    free(q), free(k), free(v), free(p), free(y);
  }
}
Test(rows, attend) {
  for_each(check_attend);
}

typedef struct attention {
  const facet_rows_attention *size;
  facet_real *x[3], *w; /* q, k, v; upstream gradient */
} attention;

static double attend_objective(const attention *t) {
  const facet_rows_attention *s = t->size;
  double y[40], sum = 0;
  for (int64_t row = 0; row < s->units * s->queries; row++) {
    int64_t at = row / s->queries * s->keys * s->d;
    attend_one(s, t->x[0] + row * s->d, t->x[1] + at, t->x[2] + at, y);
    for (int64_t e = 0; e < s->d; e++) sum += (double)t->w[row * s->d + e] * y[e];
  }
  return sum;
}

static void check_attend_backward(const facet_rows *rows) {
  for (int i = 0; i < 3; i++) {
    const facet_rows_attention *s = &sizes[i];
    int64_t n[3] = {s->units * s->queries * s->d, s->units * s->keys * s->d, s->units * s->keys * s->d};
    int64_t n_p = s->units * s->heads * s->queries * s->keys;
    attention t = {.size = s, .w = random_array("w", n[0])};
    facet_real *dx[3], *p = random_array("p", n_p), *dp = random_array("dp", n_p), *y = random_array("y", n[0]);
    for (int j = 0; j < 3; j++) {
      t.x[j] = random_array((const char *[]){"q", "k", "v"}[j], n[j]);
      dx[j] = random_array("garbage", n[j]);
    }
    rows->attend(s, t.x[0], t.x[1], t.x[2], p, y);
    rows->attend_backward(s, t.x[0], t.x[1], t.x[2], p, t.w, dp, dx[0], dx[1], dx[2]);
    for (int j = 0; j < 3; j++)
      for (int64_t e = 0; e < n[j]; e++) {
        facet_real keep = t.x[j][e], step = (facet_real)(1.0 / 1024);
        t.x[j][e] = keep + step;
        double above = attend_objective(&t), up = (double)t.x[j][e];
        t.x[j][e] = keep - step;
        double numeric = (above - attend_objective(&t)) / (up - (double)t.x[j][e]);
        t.x[j][e] = keep;
        cr_assert(fabs((double)dx[j][e] - numeric) < 5e-6, "case %d, array %d, element %lld: %g, numeric %g", i, j,
                  (long long)e, (double)dx[j][e], numeric);
      }
    for (int j = 0; j < 3; j++) free(t.x[j]), free(dx[j]);
    free(t.w), free(p), free(dp), free(y);
  }
}
Test(rows, attend_backward) {
  for_each(check_attend_backward);
}

/* ---- elementwise ---- */

static void check_elementwise(const facet_rows *rows) {
  facet_real x[] = {1, -2, 3, -4, 5, -6}, b[] = {1, 1, -4}, dx[] = {1, 2, 3, 4, 5, 6}, sum[] = {10, 20, 30};
  rows->add_relu(2, 3, b, x);
  cr_assert(!memcmp(x, (facet_real[]){2, 0, 0, 0, 6, 0}, sizeof x));
  rows->mask_relu(6, x, dx);
  cr_assert(!memcmp(dx, (facet_real[]){1, 0, 0, 0, 5, 0}, sizeof dx));
  rows->column_sum(2, 3, x, sum);
  cr_assert(!memcmp(sum, (facet_real[]){12, 26, 30}, sizeof sum));
  facet_real nan[] = {(facet_real)NAN};
  rows->add_relu(1, 1, b, nan);
  cr_assert(isnan((double)nan[0]), "NaN stays");
}
Test(rows, elementwise) {
  for_each(check_elementwise);
}
