/* Products of the lane kernels (cpu/lanes.h) with factors rounded to bf16 and sums in float32: with AVX512-BF16 one
 * instruction does the work of two. Factors are rounded here, so that callers see the same arrays of float32. The folder
 * is compiled for that instruction set alone, and not in double. */
#include "cpu/bf16/lanes.h"

#include "cpu/vector/tile.h"

enum { TILE_ROWS = 8, TILE_VECTORS = 4 }; /* the most of the tiles below */

#ifdef __AVX512BF16__
#include "cpu/bf16/product.h"

enum { PRODUCT_ROWS = 5, GRADIENT_ROWS = 8, GRADIENT_VECTORS = 3 }; /* sums in 32 registers */

/* ---- y = A x ---------------------------------------------------------------------------------------------------- */

typedef struct part {
  int64_t first, depth; /* features of x in this part */
  rounded_features x;
  rounded_rows a;
  uint32_t own[PRODUCT_ROWS][DEPTH / 2];
} part;

INLINE void product_tile(const int rows, const int n, const facet_lanes_product *s, const part *p, int64_t row,
                         int64_t at) {
  if (rows > PRODUCT_ROWS) return; /* never called */
  __m512 sum[PRODUCT_ROWS][PRODUCT_COLUMNS];
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n; v++) sum[i][v] =
      start(s, p->first, row + i, at + v * FACET_LANES);
  for (int64_t k = 0; k < (p->depth + 1) / 2; k++) {
    __m512bh in[PRODUCT_COLUMNS];
    UNROLL for (int v = 0; v < n; v++) in[v] = (__m512bh)_mm512_loadu_si512(p->x[k] + v * FACET_LANES);
    UNROLL for (int i = 0; i < rows; i++) {
      const __m512bh factor = (__m512bh)_mm512_set1_epi32((int)p->a.at[i * p->a.step + k]);
      UNROLL for (int v = 0; v < n; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], factor, in[v]);
    }
  }
  const bool last = p->first + p->depth == s->depth;
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n; v++)
      finish(s, last, row + i, at + v * FACET_LANES, sum[i][v]);
}

static void product_rows(const facet_lanes_product *s, part *p, int64_t row, int64_t rows, int64_t at,
                         int64_t columns) {
  p->a = round_rows(s, row, rows, p->first, p->depth, p->own);
  TILE(product_tile, rows, columns, s, p, row, at)
}

void facet_lanes_round_bf16(int64_t rows, int64_t depth, const float *a, uint32_t *pairs) {
  for (int64_t i = 0; i < rows; i++) round_row(depth, a + i * depth, pairs + i * facet_lanes_row_pairs(depth));
}

void facet_lanes_product_bf16(const facet_lanes_product *product) {
  const facet_lanes_product s = *product; /* a copy, which no store can change */
  const int64_t tiles = (s.rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
  part p;
  for (int64_t j = 0; j < s.columns; j += PRODUCT_COLUMNS) {
    const int64_t columns = s.columns - j < PRODUCT_COLUMNS ? s.columns - j : PRODUCT_COLUMNS;
    for (p.first = 0; p.first < s.depth; p.first += DEPTH) {
      p.depth = s.depth - p.first < DEPTH ? s.depth - p.first : DEPTH;
      round_features(s.x, j * FACET_LANES, columns, p.first, p.depth, p.x);
      for (int64_t i = 0; i < tiles; i++) {
        const int64_t row = i * s.rows / tiles;
        product_rows(&s, &p, row, (i + 1) * s.rows / tiles - row, j * FACET_LANES, columns);
      }
    }
  }
}

/* ---- gradients of weights --------------------------------------------------------------------------------------- */

/* Columns j … of a 16 × 16 matrix become its rows. */
INLINE void transpose(__m512i r[16]) {
  __m512i t[16];
  UNROLL for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  UNROLL for (int i = 0; i < 16; i += 4) UNROLL for (int k = 0; k < 2; k++) {
    r[i + 2 * k] = _mm512_unpacklo_epi64(t[i + k], t[i + 2 + k]);
    r[i + 2 * k + 1] = _mm512_unpackhi_epi64(t[i + k], t[i + 2 + k]);
  }
  UNROLL for (int k = 0; k < 4; k++) { /* quarters */
    const __m512i a = _mm512_shuffle_i32x4(r[k], r[4 + k], 0x88), b = _mm512_shuffle_i32x4(r[k], r[4 + k], 0xdd),
                  c = _mm512_shuffle_i32x4(r[8 + k], r[12 + k], 0x88),
                  d = _mm512_shuffle_i32x4(r[8 + k], r[12 + k], 0xdd);
    t[k] = _mm512_shuffle_i32x4(a, c, 0x88), t[8 + k] = _mm512_shuffle_i32x4(a, c, 0xdd);
    t[4 + k] = _mm512_shuffle_i32x4(b, d, 0x88), t[12 + k] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
  UNROLL for (int i = 0; i < 16; i++) r[i] = t[i];
}

/* Pairs of x are broadcast, or rows of a tile. */
void facet_lanes_pack_bf16(int64_t n, int64_t columns, facet_lanes y, float *packed) {
  uint32_t *to = (uint32_t *)(void *)packed;
  for (int64_t row = 0; row < n; row += 16)
    for (int64_t j = 0; j < columns; j += 2) {
      __m512i pairs[16]; /* of two columns, of which an odd one has zeros beside it; rows above n: a copy, not used */
      UNROLL for (int i = 0; i < 16; i++) {
        const float *from = y.at + (row + i < n ? row + i : n - 1) * y.stride + j * FACET_LANES;
        const __m512 right = columns - j < 2 ? _mm512_setzero_ps() : _mm512_loadu_ps(from + FACET_LANES);
        pairs[i] = (__m512i)_mm512_cvtne2ps_pbh(right, _mm512_loadu_ps(from));
      }
      transpose(pairs);
      for (int64_t p = 0; p < 2 * COLUMN_PAIRS; p++)
        _mm512_storeu_si512(to + (j * COLUMN_PAIRS + p) * pitch(n) + row, pairs[p]);
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
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n_vectors; v++)
      add_gradient(s->n - column - v * 16, sum[i][v], s->dw + (row + i) * s->n + column + v * 16);
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
