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

static void check_column_sum(const facet_rows *rows) {
  facet_real x[] = {2, 0, 0, 0, 6, 0}, sum[] = {10, 20, 30};
  rows->column_sum(2, 3, x, sum);
  cr_assert(!memcmp(sum, (facet_real[]){12, 26, 30}, sizeof sum));
}
Test(rows, column_sum) {
  for_each(check_column_sum);
}

static void check_add_relu(const facet_rows *rows) {
  facet_real x[] = {1, -2, 3, -4, 5, -6}, b[] = {1, 1, -4}, nan[] = {(facet_real)NAN};
  rows->add_relu(2, 3, b, x);
  cr_assert(!memcmp(x, (facet_real[]){2, 0, 0, 0, 6, 0}, sizeof x));
  rows->add_relu(1, 1, b, nan);
  cr_assert(isnan((double)nan[0]), "NaN stays");
}
Test(rows, add_relu) {
  for_each(check_add_relu);
}
