/* Sums by slot with every instruction set that this CPU has, against plain loops. */
#include "cpu/scatter.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/vector.h"
#include "facet/rng.h"

enum { N_SLOTS = 300, N = 150, AHEAD = 64 };

static void for_each(void (*check)(const facet_scatter *)) {
  static const char *const names[] = {"portable", "avx2", "avx512"};
  for (int i = 0; i < 3; i++) {
    const facet_vector *vector = facet_vector_find(names[i]);
    if (vector) check(vector->scatter);
  }
}

/* Slots 3, 10, 17, … are marked; those of the pairs are among them, or 0. */
static int32_t slots[N];
static uint64_t touched[N_SLOTS / 64 + 1];
static uint32_t rank[N_SLOTS / 64 + 1], row_of[N_SLOTS], n_rows;

static void fill(void) {
  facet_rng_key key = facet_rng_key_make(5, "slots");
  memset(touched, 0, sizeof touched);
  n_rows = 0;
  for (uint32_t s = 0; s < N_SLOTS; s++) {
    if (s % 64 == 0) rank[s / 64] = n_rows;
    if (s % 7 != 3) continue;
    touched[s / 64] |= (uint64_t)1 << s % 64;
    row_of[s] = n_rows++;
  }
  for (uint64_t i = 0; i < N; i++) {
    uint64_t word = facet_rng_word64(key, i);
    slots[i] = word % 5 ? (int32_t)(word / 5 % (N_SLOTS / 7)) * 7 + 3 : 0;
  }
}

static void check_select(const facet_scatter *scatter) {
  const uint32_t low[] = {1, 17, 64, 40}, high[] = {N_SLOTS, 24, 200, 40};
  facet_real rows[1];
  const facet_slot_rows to = {touched, rank, 1, rows};
  for (int range = 0; range < 4; range++) {
    uint32_t position[N], row[N];
    int64_t n = scatter->select(&to, N, slots, low[range], high[range] - low[range], position, row), k = 0;
    for (uint32_t i = 0; i < N; i++) {
      const uint32_t s = (uint32_t)slots[i];
      if (s < low[range] || s >= high[range]) continue;
      cr_assert(k < n && position[k] == i, "range %d: position %u is missing", range, i);
      cr_assert_eq(row[k], row_of[s], "slot %u has row %u, expected %u", s, row[k], row_of[s]);
      k++;
    }
    cr_assert_eq(k, n, "range %d: %lld positions, expected %lld", range, (long long)n, (long long)k);
  }
}

Test(scatter, selects_slots_of_a_range) {
  fill();
  for_each(check_select);
}

static void check_add_of(const facet_scatter *scatter, int64_t width, bool scaled) {
  const int64_t stride = width + 3;
  facet_rng_key key = facet_rng_key_make(6, "rows");
  facet_real *x = malloc((size_t)(N * stride) * sizeof *x), scale[N];
  facet_real *rows = malloc((size_t)(n_rows * width) * sizeof *rows);
  double *expected = malloc((size_t)(n_rows * width) * sizeof *expected);
  for (int64_t i = 0; i < N * stride; i++) x[i] = (facet_real)facet_rng_normal(key, (uint64_t)i);
  for (int64_t i = 0; i < N; i++) scale[i] = x[i * stride];
  for (int64_t i = 0; i < n_rows * width; i++) expected[i] = (double)(rows[i] = (facet_real)0.5);
  const facet_slot_rows to = {touched, rank, width, rows};
  uint32_t position[N], row[N];
  int64_t n = scatter->select(&to, N, slots, 1, N_SLOTS - 1, position, row);
  scatter->add(&to, n, position, row, x, stride, scaled ? scale : NULL, AHEAD);
  for (int64_t i = 0; i < N; i++)
    for (int64_t j = 0; slots[i] && j < width; j++)
      expected[row_of[slots[i]] * width + j] += (scaled ? (double)scale[i] : 1) * (double)x[i * stride + j];
  for (int64_t i = 0; i < n_rows * width; i++)
    cr_assert(fabs((double)rows[i] - expected[i]) < 200 * FACET_REAL_EPSILON, "width %lld, element %lld: %g, not %g",
              (long long)width, (long long)i, (double)rows[i], expected[i]);
  free(x), free(rows), free(expected);
}

static void check_add(const facet_scatter *scatter) {
  for (int64_t width = 1; width <= 33; width++) {
    check_add_of(scatter, width, false);
    check_add_of(scatter, width, true);
  }
}

Test(scatter, adds_rows_of_every_width) {
  fill();
  for_each(check_add);
}
