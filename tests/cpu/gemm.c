#include "cpu/gemm.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "facet/rng.h"

enum { MAX = 80 * 80 };

static void fill(const char *purpose, facet_real *x) {
  facet_rng_key key = facet_rng_key_make(5, purpose);
  for (int64_t i = 0; i < MAX; i++) x[i] = facet_rng_normal(key, (uint64_t)i);
}

/* One product against plain sums in double; the columns between n and ldc must stay. */
static void check(bool ta, bool tb, int64_t m, int64_t n, int64_t k, facet_real alpha, facet_real beta) {
  static facet_real a[MAX], b[MAX], c[MAX], before[MAX];
  int64_t lda = (ta ? m : k) + 2, ldb = (tb ? k : n) + 1, ldc = n + 3;
  fill("a", a);
  fill("b", b);
  fill("c", c);
  if (beta == 0)
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++) c[i * ldc + j] = (facet_real)NAN; /* must not be read */
  memcpy(before, c, sizeof c);
  cr_assert_eq(facet_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc), FACET_OK);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0, size = 1;
      for (int64_t p = 0; p < k; p++) {
        double term = (double)a[ta ? p * lda + i : i * lda + p] * (double)b[tb ? j * ldb + p : p * ldb + j];
        sum += term;
        size += fabs(term);
      }
      double expected = (double)alpha * sum + (beta == 0 ? 0 : (double)beta * (double)before[i * ldc + j]);
      cr_assert(fabs((double)c[i * ldc + j] - expected) <= 8 * FACET_REAL_EPSILON * (size + fabs(expected)),
                "op(A) %d op(B) %d, [%d, %d, %d]: element (%d, %d) is %g, expected %g", ta, tb, (int)m, (int)n, (int)k,
                (int)i, (int)j, (double)c[i * ldc + j], expected);
    }
    for (int64_t j = n; j < ldc; j++) cr_assert_eq(c[i * ldc + j], before[i * ldc + j], "written between rows");
  }
}

Test(gemm, all_forms) {
  static const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 2}, {17, 1, 33}, {1, 40, 7}, {65, 8, 40}, {33, 64, 70}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int form = 0; form < 4; form++) {
      check(form & 1, form & 2, sizes[i][0], sizes[i][1], sizes[i][2], 1, 0);
      check(form & 1, form & 2, sizes[i][0], sizes[i][1], sizes[i][2], (facet_real)0.5, 1);
    }
}

Test(gemm, same_bits_again) {
  static facet_real a[MAX], b[MAX], c[MAX], again[MAX];
  fill("a", a);
  fill("b", b);
  omp_set_num_threads(2);
  cr_assert_eq(facet_gemm(true, false, 8, 8, 800, 1, a, 8, b, 8, 0, c, 8), FACET_OK);
  for (int i = 0; i < 20; i++) {
    cr_assert_eq(facet_gemm(true, false, 8, 8, 800, 1, a, 8, b, 8, 0, again, 8), FACET_OK);
    cr_assert(!memcmp(c, again, 64 * sizeof *c), "run %d differs", i);
  }
}

Test(gemm, empty) {
  cr_assert_eq(facet_gemm(false, false, 0, 4, 4, 1, NULL, 4, NULL, 4, 0, NULL, 4), FACET_OK);
}

/* ---- bf16 ---- */

static double value_of(facet_bf16 x) {
  const uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return (double)value;
}

static void check_bf16(bool ta, bool tb, int64_t m, int64_t n, int64_t k, bool add) {
  static facet_real x[MAX], c[MAX], before[MAX];
  static facet_bf16 a[MAX], b[MAX];
  fill("a", x);
  facet_to_bf16(m * k, x, a);
  fill("b", x);
  facet_to_bf16(k * n, x, b);
  fill("c", c);
  if (!add) c[0] = (facet_real)NAN;
  memcpy(before, c, sizeof c);
  cr_assert_eq(facet_gemm_bf16(ta, tb, m, n, k, a, b, add, c), FACET_OK);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = add ? (double)before[i * n + j] : 0, size = 1;
      for (int64_t p = 0; p < k; p++) {
        double term = value_of(a[ta ? p * m + i : i * k + p]) * value_of(b[tb ? j * k + p : p * n + j]);
        sum += term;
        size += fabs(term);
      }
      cr_assert(fabs((double)c[i * n + j] - sum) <= 8 * FACET_REAL_EPSILON * size,
                "op(A) %d op(B) %d, [%d, %d, %d]: element (%d, %d) is %g, expected %g", ta, tb, (int)m, (int)n, (int)k,
                (int)i, (int)j, (double)c[i * n + j], sum);
    }
}

Test(gemm, bf16_products) {
  if (facet_gemm_check_bf16() != FACET_OK) {
    const facet_error *error = facet_error_get();
    cr_assert(error->status == FACET_ERROR_DEVICE && strstr(error->message, "bf16"), "%s", error->message);
    return; /* a CPU without, and the double build */
  }
  static const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 2}, {17, 1, 33}, {1, 40, 7}, {65, 8, 40}, {33, 64, 70}};
  for (int again = 0; again < 2; again++) /* the second time from the cache */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
      for (int form = 0; form < 8; form++)
        check_bf16(form & 1, form & 2, sizes[i][0], sizes[i][1], sizes[i][2], form & 4);
}
