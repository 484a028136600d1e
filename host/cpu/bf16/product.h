/* What the products with AVX512-BF16 (lanes.c) and with AMX (lanes_amx.c) share: rounding of factors to pairs of bf16, to
 * nearest even, and what follows a sum. */
#ifndef FACET_CPU_BF16_PRODUCT_H
#define FACET_CPU_BF16_PRODUCT_H

#include <immintrin.h>

#include "cpu/bf16/lanes.h"
#include "cpu/vector/isa.h"

enum { PRODUCT_COLUMNS = 4, DEPTH = 128 };         /* of x: columns and features that are rounded together */
enum { COLUMN_PAIRS = FACET_LANES / 2, SPAN = 8 }; /* pairs of lanes in a column; columns rounded together */

/* The first n of 16 elements; none for n ≤ 0. */
INLINE __mmask16 first_of_16(int64_t n) {
  return _cvtu32_mask16(n >= 16 ? 0xffff : n > 0 ? (1u << n) - 1 : 0);
}

/* n floats to pairs of bf16, in order; an odd one gets a zero beside it. Writes whole vectors of 16 pairs. */
INLINE void round_row(int64_t n, const float *x, uint32_t *pairs) {
  for (int64_t i = 0; i < n; i += 32) {
    const __mmask16 low = first_of_16(n - i), high = first_of_16(n - i - 16);
    const __m512 a = _mm512_maskz_loadu_ps(low, x + i), b = _mm512_maskz_loadu_ps(high, x + i + 16);
    _mm512_storeu_si512(pairs + i / 2, (__m512i)_mm512_cvtne2ps_pbh(b, a));
  }
}

/* Rows of A in pairs, `step` pairs from one to the next: those that `round` made, else made in `own`. Of features
 * first … first + depth − 1, where first is a multiple of 32. */
typedef struct rounded_rows {
  const uint32_t *at;
  int64_t step;
} rounded_rows;
INLINE rounded_rows round_rows(const facet_lanes_product *s, int64_t row, int64_t rows, int64_t first, int64_t depth,
                               uint32_t own[][DEPTH / 2]) {
  const int64_t stride = s->a.stride ? s->a.stride : s->depth, step = facet_lanes_row_pairs(s->depth);
  if (s->a.pairs) return (rounded_rows){s->a.pairs + row * step + first / 2, step};
  for (int64_t i = 0; i < rows; i++) round_row(depth, s->a.at + (row + i) * stride + first, own[i]);
  return (rounded_rows){own[0], DEPTH / 2};
}

/* Features first … first + depth − 1 of `columns` columns from number `at` on, in pairs; an odd one gets a zero. */
typedef uint32_t rounded_features[DEPTH / 2][PRODUCT_COLUMNS * FACET_LANES] __attribute__((aligned(64)));
INLINE void round_features(facet_lanes x, int64_t at, int64_t columns, int64_t first, int64_t depth,
                           rounded_features pairs) {
  const __m512i halves = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                          21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0); /* side by side */
  for (int64_t k = 0; k < depth; k += 2) {
    const float *even = x.at + (first + k) * x.stride + at;
    for (int64_t j = 0; j < columns * FACET_LANES; j += FACET_LANES) {
      const __m512 odd = k + 1 < depth ? _mm512_loadu_ps(even + x.stride + j) : _mm512_setzero_ps();
      const __m512bh both = _mm512_cvtne2ps_pbh(odd, _mm512_loadu_ps(even + j));
      _mm512_storeu_si512(pairs[k / 2] + j, _mm512_permutexvar_epi16(halves, (__m512i)both));
    }
  }
}

/* A sum becomes the number y [row][j …]: after the last feature with what the product asks for. */
INLINE void finish(const facet_lanes_product *s, bool last, int64_t row, int64_t j, __m512 sum) {
  if (last && s->add.at) sum = _mm512_add_ps(sum, _mm512_loadu_ps(s->add.at + row * s->add.stride + j));
  if (last && s->relu) /* NaN stays */
    sum = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_NLT_UQ), sum);
  if (last && s->mask.at) {
    const __m512 mask = _mm512_loadu_ps(s->mask.at + row * s->mask.stride + j);
    sum = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(mask, _mm512_setzero_ps(), _CMP_GT_OQ), sum);
  }
  _mm512_storeu_ps(s->y.at + row * s->y.stride + j, sum);
}

/* Where a sum starts: the bias, or what former features gave. */
INLINE __m512 start(const facet_lanes_product *s, int64_t first, int64_t row, int64_t j) {
  return first ? _mm512_loadu_ps(s->y.at + row * s->y.stride + j) : _mm512_set1_ps(s->bias ? s->bias[row] : 0);
}

/* dw [0 … 15], of which n are wanted, += sum. */
INLINE void add_gradient(int64_t n, __m512 sum, float *dw) {
  const __mmask16 wanted = first_of_16(n);
  _mm512_mask_storeu_ps(dw, wanted, _mm512_add_ps(_mm512_maskz_loadu_ps(wanted, dw), sum));
}

/* Packed gradients are [pairs of lanes][n], n rounded up to a vector. */
INLINE int64_t pitch(int64_t n) {
  return (n + 15) / 16 * 16;
}

#endif
