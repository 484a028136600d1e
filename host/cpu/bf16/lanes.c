/* Products of the lane kernels (cpu/lanes.h) with factors rounded to bf16, to nearest even, and sums in float32: with
 * AVX512-BF16 one instruction does the work of two. Factors are rounded here, so that callers see the same arrays of
 * float32. The folder is compiled for that instruction set alone, and not in double. */
#include "cpu/bf16/lanes.h"

#include "cpu/vector/isa.h"
#include "cpu/vector/tile.h"

enum { TILE_ROWS = 8, TILE_VECTORS = 4 }; /* the most of the tiles below */

#ifdef __AVX512BF16__
#include <immintrin.h>

enum { PRODUCT_ROWS = 5, PRODUCT_COLUMNS = 4, GRADIENT_ROWS = 8, GRADIENT_VECTORS = 3 }; /* sums in 32 registers */
enum { DEPTH = 128 };                              /* features that are rounded together */
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

/* ---- y = A x ---------------------------------------------------------------------------------------------------- */

typedef struct part {
  int64_t first, depth;                                 /* features of x in this part */
  uint32_t x[DEPTH / 2][PRODUCT_COLUMNS * FACET_LANES]; /* pairs of features */
  uint32_t a[PRODUCT_ROWS][DEPTH / 2];
} part;

INLINE __m512i widen(__m512 x) {
  return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
}

/* Features first … of `columns` columns from `at` on. */
static void round_features(const facet_lanes_product *s, int64_t at, int64_t columns, part *p) {
  for (int64_t k = 0; k < p->depth; k += 2) {
    const float *x = s->x.at + (p->first + k) * s->x.stride + at;
    for (int64_t j = 0; j < columns * FACET_LANES; j += FACET_LANES) {
      __m512i pair = widen(_mm512_loadu_ps(x + j));
      if (k + 1 < p->depth)
        pair = _mm512_or_si512(pair, _mm512_slli_epi32(widen(_mm512_loadu_ps(x + s->x.stride + j)), 16));
      _mm512_storeu_si512(p->x[k / 2] + j, pair);
    }
  }
}

INLINE void product_tile(const int rows, const int n, const facet_lanes_product *s, const part *p, int64_t row,
                         int64_t at) {
  if (rows > PRODUCT_ROWS) return; /* never called */
  __m512 sum[PRODUCT_ROWS][PRODUCT_COLUMNS];
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n; v++) sum[i][v] =
      p->first ? _mm512_loadu_ps(s->y.at + (row + i) * s->y.stride + at + v * FACET_LANES)
               : _mm512_set1_ps(s->bias ? s->bias[row + i] : 0);
  for (int64_t k = 0; k < (p->depth + 1) / 2; k++) {
    __m512bh in[PRODUCT_COLUMNS];
    UNROLL for (int v = 0; v < n; v++) in[v] = (__m512bh)_mm512_loadu_si512(p->x[k] + v * FACET_LANES);
    UNROLL for (int i = 0; i < rows; i++) {
      const __m512bh factor = (__m512bh)_mm512_set1_epi32((int)p->a[i][k]);
      UNROLL for (int v = 0; v < n; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], factor, in[v]);
    }
  }
  const bool last = p->first + p->depth == s->depth;
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n; v++) {
    __m512 out = sum[i][v];
    const int64_t j = at + v * FACET_LANES;
    if (last && s->add.at) out = _mm512_add_ps(out, _mm512_loadu_ps(s->add.at + (row + i) * s->add.stride + j));
    if (last && s->relu) /* NaN stays */
      out = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(out, _mm512_setzero_ps(), _CMP_NLT_UQ), out);
    if (last && s->mask.at) {
      const __m512 mask = _mm512_loadu_ps(s->mask.at + (row + i) * s->mask.stride + j);
      out = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(mask, _mm512_setzero_ps(), _CMP_GT_OQ), out);
    }
    _mm512_storeu_ps(s->y.at + (row + i) * s->y.stride + j, out);
  }
}

static void product_rows(const facet_lanes_product *s, part *p, int64_t row, int64_t rows, int64_t at,
                         int64_t columns) {
  const int64_t stride = s->a_stride ? s->a_stride : s->depth;
  for (int64_t i = 0; i < rows; i++) round_row(p->depth, s->a + (row + i) * stride + p->first, p->a[i]);
  TILE(product_tile, rows, columns, s, p, row, at)
}

void facet_lanes_product_bf16(const facet_lanes_product *product) {
  const facet_lanes_product s = *product; /* a copy, which no store can change */
  const int64_t tiles = (s.rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
  part p;
  for (int64_t j = 0; j < s.columns; j += PRODUCT_COLUMNS) {
    const int64_t columns = s.columns - j < PRODUCT_COLUMNS ? s.columns - j : PRODUCT_COLUMNS;
    for (p.first = 0; p.first < s.depth; p.first += DEPTH) {
      p.depth = s.depth - p.first < DEPTH ? s.depth - p.first : DEPTH;
      round_features(&s, j * FACET_LANES, columns, &p);
      for (int64_t i = 0; i < tiles; i++) {
        const int64_t row = i * s.rows / tiles;
        product_rows(&s, &p, row, (i + 1) * s.rows / tiles - row, j * FACET_LANES, columns);
      }
    }
  }
}

/* ---- gradients of weights --------------------------------------------------------------------------------------- */

/* y is turned to [pairs of lanes][n], n rounded up to a vector; a pair of x is broadcast. */
static int64_t pitch(int64_t n) {
  return (n + 15) / 16 * 16;
}

void facet_lanes_pack_bf16(int64_t n, int64_t columns, facet_lanes y, float *packed) {
  uint32_t *to = (uint32_t *)(void *)packed, rounded[16][SPAN * COLUMN_PAIRS];
  for (int64_t row = 0; row < n; row += 16)
    for (int64_t j = 0; j < columns; j += SPAN) {
      const int64_t span = columns - j < SPAN ? columns - j : SPAN;
      for (int64_t i = 0; i < 16; i++) /* rows above n: a copy, not used */
        round_row(span * FACET_LANES, y.at + (row + i < n ? row + i : n - 1) * y.stride + j * FACET_LANES, rounded[i]);
      for (int64_t p = 0; p < span * COLUMN_PAIRS; p++)
        for (int64_t i = 0; i < 16; i++) to[(j * COLUMN_PAIRS + p) * pitch(n) + row + i] = rounded[i][p];
    }
}

typedef struct gradient {
  int64_t n, n_pairs;     /* n_pairs of this span */
  const uint32_t *packed; /* from this span on */
  uint32_t x[GRADIENT_ROWS][SPAN * COLUMN_PAIRS];
  float *dw;
} gradient;

INLINE void gradient_tile(const int rows, const int n_vectors, const gradient *s, int64_t row, int64_t column) {
  if (n_vectors > GRADIENT_VECTORS) return; /* never called */
  __m512 sum[GRADIENT_ROWS][GRADIENT_VECTORS];
  const uint32_t *y = s->packed + column;
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n_vectors; v++) sum[i][v] = _mm512_setzero_ps();
  for (int64_t p = 0; p < s->n_pairs; p++, y += pitch(s->n)) {
    __m512bh in[GRADIENT_VECTORS];
    UNROLL for (int v = 0; v < n_vectors; v++) in[v] = (__m512bh)_mm512_loadu_si512(y + v * 16);
    UNROLL for (int i = 0; i < rows; i++) {
      const __m512bh factor = (__m512bh)_mm512_set1_epi32((int)s->x[i][p]);
      UNROLL for (int v = 0; v < n_vectors; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], factor, in[v]);
    }
  }
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n_vectors; v++) {
    const __mmask16 wanted = first_of_16(s->n - column - v * 16);
    float *dw = s->dw + (row + i) * s->n + column + v * 16;
    _mm512_mask_storeu_ps(dw, wanted, _mm512_add_ps(_mm512_maskz_loadu_ps(wanted, dw), sum[i][v]));
  }
}

static void gradient_rows(gradient *s, facet_lanes x, int64_t row, int64_t rows, int64_t at) {
  for (int64_t i = 0; i < rows; i++) round_row(2 * s->n_pairs, x.at + (row + i) * x.stride + at, s->x[i]);
  for (int64_t column = 0; column < s->n; column += GRADIENT_VECTORS * 16) {
    const int64_t vectors = (s->n - column + 15) / 16,
                  n_vectors = vectors < GRADIENT_VECTORS ? vectors : GRADIENT_VECTORS;
    TILE(gradient_tile, rows, n_vectors, s, row, column)
  }
}

void facet_lanes_gradient_bf16(int64_t m, int64_t n, int64_t columns, facet_lanes x, const float *packed, float *dw) {
  const int64_t tiles = (m + GRADIENT_ROWS - 1) / GRADIENT_ROWS;
  gradient s = {.n = n, .dw = dw};
  for (int64_t j = 0; j < columns; j += SPAN) {
    s.n_pairs = (columns - j < SPAN ? columns - j : SPAN) * COLUMN_PAIRS;
    s.packed = (const uint32_t *)(const void *)packed + j * COLUMN_PAIRS * pitch(n);
    for (int64_t i = 0; i < tiles; i++)
      gradient_rows(&s, x, i * m / tiles, (i + 1) * m / tiles - i * m / tiles, j * FACET_LANES);
  }
}

#endif
