/* The sums of route_behaviours with every instruction set that this CPU has, against plain loops. */
#include "cpu/route.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "cpu/vector.h"
#include "facet/rng.h"

enum { SLOTS = 37, CHANNELS = 3, MAX_WIDTH = 45 };

static facet_real x[SLOTS * MAX_WIDTH], g[CHANNELS * MAX_WIDTH], o[CHANNELS * MAX_WIDTH];
static facet_real dx[(SLOTS + 1) * MAX_WIDTH], d_o[(CHANNELS + 1) * MAX_WIDTH], along[SLOTS], across[SLOTS];
static int32_t index_of[SLOTS], channel[SLOTS];

static void fill(const char *purpose, int64_t n, facet_real *out) {
  facet_rng_key key = facet_rng_key_make(4, purpose);
  for (int64_t i = 0; i < n; i++) out[i] = (facet_real)facet_rng_normal(key, (uint64_t)i);
}

/* n rows with gaps: none at the beginning, some before the end. */
static facet_route_rows selected(int64_t n, int64_t width) {
  fill("x", SLOTS * width, x), fill("g", CHANNELS * width, g), fill("o", CHANNELS * width, o);
  fill("along", SLOTS, along), fill("across", SLOTS, across);
  for (int32_t i = 0; i < n; i++) index_of[i] = i * 3 / 2, channel[i] = i * i % CHANNELS;
  return (facet_route_rows){.n = n, .width = width, .index = index_of, .channel = channel, .x = x};
}

static void expect_close(const char *what, const facet_route_rows *rows, int64_t i, facet_real value, double expected) {
  cr_assert(fabs((double)value - expected) < 2000 * FACET_REAL_EPSILON,
            "%s, %lld rows of %lld, element %lld: %g, not %g", what, (long long)rows->n, (long long)rows->width,
            (long long)i, (double)value, expected);
}

static void check_sum(const facet_route *route, int64_t n, int64_t width) {
  const facet_route_rows rows = selected(n, width);
  double expected[CHANNELS * MAX_WIDTH];
  for (int64_t i = 0; i < (CHANNELS + 1) * width; i++) d_o[i] = 2;
  for (int64_t i = 0; i < CHANNELS * width; i++) expected[i] = 2;
  route->sum(&rows, along, d_o);
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < width; k++)
      expected[channel[i] * width + k] += (double)along[i] * (double)x[index_of[i] * width + k];
  for (int64_t i = 0; i < CHANNELS * width; i++) expect_close("sum", &rows, i, d_o[i], expected[i]);
  cr_assert_eq(d_o[CHANNELS * width], 2, "wrote behind the sums");
}

static void check_back(const facet_route *route, int64_t n, int64_t width, bool store, bool with_dx, bool with_o) {
  const facet_route_rows rows = selected(n, width);
  double expected[SLOTS * MAX_WIDTH], expected_o[CHANNELS * MAX_WIDTH];
  for (int64_t i = 0; i < (SLOTS + 1) * width; i++) dx[i] = 3;
  for (int64_t i = 0; i < CHANNELS * width; i++) expected_o[i] = (double)(d_o[i] = 2);
  for (int64_t i = 0; i < SLOTS * width; i++) expected[i] = store ? 0 : 3;
  const facet_route_back back = {.along = along,
                                 .across = across,
                                 .g = g,
                                 .o = o,
                                 .slots = SLOTS,
                                 .store = store,
                                 .dx = with_dx ? dx : NULL,
                                 .d_o = with_o ? d_o : NULL};
  route->back(&rows, &back);
  for (int64_t i = 0; i < n; i++) {
    const int64_t row = index_of[i] * width, at = channel[i] * width;
    double s = 0;
    for (int64_t k = 0; k < width; k++) s += (double)along[i] * (double)x[row + k] * (double)g[at + k];
    for (int64_t k = 0; k < width; k++) {
      expected[row + k] += (double)across[i] * (double)g[at + k] + s * (double)o[at + k];
      expected_o[at + k] += s * (double)x[row + k];
    }
  }
  for (int64_t i = 0; with_dx && i < SLOTS * width; i++) expect_close("dx", &rows, i, dx[i], expected[i]);
  for (int64_t i = 0; with_o && i < CHANNELS * width; i++) expect_close("d_o", &rows, i, d_o[i], expected_o[i]);
  cr_assert_eq(dx[SLOTS * width], 3, "wrote behind the rows");
}

static void for_each(void (*check)(const facet_route *, int64_t n, int64_t width)) {
  static const char *const names[] = {"portable", "avx2", "avx512"};
  for (int i = 0; i < 3; i++) {
    const facet_vector *vector = facet_vector_find(names[i]);
    for (int64_t width = 1; vector && width <= MAX_WIDTH; width++)
      for (int64_t n = 0; n <= 24; n += 8) check(vector->route, n, width);
  }
}

Test(route, sums_rows_by_channel) {
  for_each(check_sum);
}

static void check_all_back(const facet_route *route, int64_t n, int64_t width) {
  for (int options = 0; options < 8; options++) check_back(route, n, width, options & 1, options & 2, options & 4);
}

Test(route, backward_writes_or_adds) {
  for_each(check_all_back);
}
