/* The sums over selected behaviours (cpu/route.h), compiled once per instruction set. */
#include "cpu/route.h"

#include "cpu/vector/row.h"

enum {
  AHEAD = 6,  /* selected rows that are fetched ahead */
  ZEROED = 8, /* rows that are zeroed at once */
  LINE = 64
};

INLINE facet_real total(const columns *sum) {
  columns x = *sum;
  x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3);
  x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5);
  return x[0] + x[1];
}

INLINE void fetch(const facet_real *x, int64_t width, const int write) {
  for (int64_t k = 0; k < width; k += LINE / (int64_t)sizeof *x)
    write ? __builtin_prefetch(x + k, 1) : __builtin_prefetch(x + k);
}

INLINE facet_real dot(int64_t width, const facet_real *x, const facet_real *y) {
  columns sum = {0};
  facet_real rest = 0;
  int64_t k = 0;
  for (; k + COLUMNS <= width; k += COLUMNS) sum += LOAD(x + k) * LOAD(y + k);
  for (; k < width; k++) rest += x[k] * y[k];
  return total(&sum) + rest;
}

/* out = a x + b y, or added. */
INLINE void combine(int64_t width, bool add, facet_real a, const facet_real *restrict x, facet_real b,
                    const facet_real *restrict y, facet_real *restrict out) {
  int64_t k = 0;
  for (; k + COLUMNS <= width; k += COLUMNS) {
    columns value = a * LOAD(x + k) + b * LOAD(y + k);
    if (add) value += LOAD(out + k);
    STORE(out + k, value);
  }
  for (; k < width; k++) {
    facet_real value = a * x[k] + b * y[k];
    out[k] = add ? out[k] + value : value;
  }
}

INLINE void sum_width(int64_t width, const facet_route_rows *rows, const facet_real *factor, facet_real *out) {
  for (int64_t i = 0; i < rows->n; i++) {
    if (i + AHEAD < rows->n) fetch(rows->x + rows->index[i + AHEAD] * width, width, 0);
    add_row(width, factor[i], rows->x + rows->index[i] * width, out + rows->channel[i] * width);
  }
}

/* Zeros rows in blocks up to and with row t; returns how many are zeroed. Written over where selected: that is cheaper
 * than a branch for each row, and the rows are in the first cache. The block after the next is fetched. */
INLINE int64_t zero_to(int64_t t, int64_t zeroed, int64_t slots, int64_t width, facet_real *dx) {
  while (zeroed <= t) {
    int64_t n = (slots - zeroed < ZEROED ? slots - zeroed : ZEROED) * width, k = 0;
    facet_real *row = dx + zeroed * width;
    if (zeroed + 3 * ZEROED <= slots) fetch(row + 2 * ZEROED * width, ZEROED * width, 1);
    for (; k + COLUMNS <= n; k += COLUMNS) STORE(row + k, (columns){0});
    for (; k < n; k++) row[k] = 0;
    zeroed += ZEROED;
  }
  return zeroed;
}

INLINE void back_width(int64_t width, const facet_route_rows *rows, const facet_route_back *back) {
  int64_t zeroed = 0;
  for (int64_t i = 0; i < rows->n; i++) {
    const int64_t t = rows->index[i], at = rows->channel[i] * width;
    const facet_real *x = rows->x + t * width, *g = back->g + at;
    if (i + AHEAD < rows->n) {
      const int64_t later = rows->index[i + AHEAD] * width;
      fetch(rows->x + later, width, 0);
      if (back->dx && !back->store) fetch(back->dx + later, width, 1);
    }
    const facet_real s = back->along[i] * dot(width, g, x);
    if (back->dx && back->store) {
      zeroed = zero_to(t, zeroed, back->slots, width, back->dx);
      combine(width, false, back->across[i], g, s, back->o + at, back->dx + t * width);
    } else if (back->dx) {
      combine(width, true, back->across[i], g, s, back->o + at, back->dx + t * width);
    }
    if (back->d_o) add_row(width, s, x, back->d_o + at);
  }
  if (back->dx && back->store) zero_to(back->slots - 1, zeroed, back->slots, width, back->dx);
}

/* With the usual widths as constants the loops over columns are unrolled. */
#define WITH_WIDTH(call, ...)                                                                                          \
  switch (rows->width) {                                                                                               \
  case 8:                                                                                                              \
    call(8, __VA_ARGS__);                                                                                              \
    break;                                                                                                             \
  case 16:                                                                                                             \
    call(16, __VA_ARGS__);                                                                                             \
    break;                                                                                                             \
  case 32:                                                                                                             \
    call(32, __VA_ARGS__);                                                                                             \
    break;                                                                                                             \
  case 40:                                                                                                             \
    call(40, __VA_ARGS__);                                                                                             \
    break;                                                                                                             \
  default:                                                                                                             \
    call(rows->width, __VA_ARGS__);                                                                                    \
  }

static void route_sum(const facet_route_rows *rows, const facet_real *factor, facet_real *out) {
  WITH_WIDTH(sum_width, rows, factor, out)
}

static void route_back(const facet_route_rows *rows, const facet_route_back *back) {
  WITH_WIDTH(back_width, rows, back)
}

extern const facet_route PASTE(facet_route_, FACET_ISA);
const facet_route PASTE(facet_route_, FACET_ISA) = {.sum = route_sum, .back = route_back};
