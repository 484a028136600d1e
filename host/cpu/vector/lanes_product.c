/* Products of the lane kernels (cpu/lanes.h), compiled once per instruction set. A tile of sums stays in registers. */
#include <string.h>

#include "cpu/vector/lanes_vector.h"
#include "cpu/vector/tile.h"

enum { TILE_ROWS = 6, TILE_VECTORS = 5 }; /* the most of the tiles below */

#if defined __AVX512F__ /* 20 sums in 32 registers */
enum { PRODUCT_ROWS = 5, PRODUCT_VECTORS = 4, GRADIENT_ROWS = 4, GRADIENT_VECTORS = 5 };
#elif defined __AVX2__ /* 12 sums in 16 registers */
enum { PRODUCT_ROWS = 6, PRODUCT_VECTORS = 2, GRADIENT_ROWS = 6, GRADIENT_VECTORS = 2 };
#else
enum { PRODUCT_ROWS = 4, PRODUCT_VECTORS = 2, GRADIENT_ROWS = 4, GRADIENT_VECTORS = 2 };
#endif

/* Cuts n into the fewest parts of at most `most`, as equal as can be. */
typedef struct cut {
  int64_t n, parts;
} cut;
INLINE cut make_cut(int64_t n, int64_t most) {
  return (cut){n, (n + most - 1) / most};
}
INLINE int64_t part_begin(cut c, int64_t i) {
  return i * c.n / c.parts;
}

/* ---- y = A x ---------------------------------------------------------------------------------------------------- */

INLINE void product_tile(const int rows, const int n_vectors, const facet_lanes_product *s, int64_t row, int64_t at) {
  if (rows > PRODUCT_ROWS || n_vectors > PRODUCT_VECTORS) return; /* never called */
  wide sum[PRODUCT_ROWS][PRODUCT_VECTORS];
  const int64_t depth = s->depth, a_stride = s->a.stride ? s->a.stride : depth;
  const facet_real *a = s->a.at + row * a_stride, *x = s->x.at + at;
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n_vectors; v++) sum[i][v] =
      broadcast(s->bias ? s->bias[row + i] : 0);
  for (int64_t k = 0; k < depth; k++, x += s->x.stride) {
    wide in[PRODUCT_VECTORS];
    UNROLL for (int v = 0; v < n_vectors; v++) in[v] = *(const wide *)(x + v * WIDE);
    UNROLL for (int i = 0; i < rows; i++) {
      const facet_real factor = a[i * a_stride + k];
      UNROLL for (int v = 0; v < n_vectors; v++) sum[i][v] += factor * in[v];
    }
  }
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n_vectors; v++) {
    wide out = sum[i][v];
    const int64_t j = at + v * WIDE;
    if (s->add.at) out += *(const wide *)(s->add.at + (row + i) * s->add.stride + j);
    if (s->relu) out = keep(~(out < 0), out); /* NaN stays */
    if (s->mask.at) out = keep(*(const wide *)(s->mask.at + (row + i) * s->mask.stride + j) > 0, out);
    *(wide *)(s->y.at + (row + i) * s->y.stride + j) = out;
  }
}

void LANES(product)(const facet_lanes_product *product) {
  const facet_lanes_product s = *product; /* a copy, which no store of a vector can change */
  const cut rows = make_cut(s.rows, PRODUCT_ROWS), vectors = make_cut(s.columns * PARTS, PRODUCT_VECTORS);
  for (int64_t j = 0; j < vectors.parts; j++)
    for (int64_t i = 0; i < rows.parts; i++) {
      const int64_t row = part_begin(rows, i), at = part_begin(vectors, j);
      const int64_t n_rows = part_begin(rows, i + 1) - row, n_vectors = part_begin(vectors, j + 1) - at;
      TILE(product_tile, n_rows, n_vectors, &s, row, at * WIDE)
    }
}

/* ---- gradients of weights --------------------------------------------------------------------------------------- */

/* Lanes are taken in pairs of 64 bits (in double single): y is turned to [pairs][n], n rounded up to 8, and a pair of x
 * is broadcast, so that a vector of sums holds the two halves of a few weights side by side. */
typedef int64_t pair_t __attribute__((may_alias));
typedef int64_t pairs_t __attribute__((vector_size(VECTOR_BYTES)));
enum { PAIR = sizeof(pair_t) / sizeof(facet_real), PAIRS = VECTOR_BYTES / sizeof(pair_t) }; /* pairs in a vector */
enum { LANE_PAIRS = FACET_LANES / PAIR, PACKED = 8 };

void LANES(pack)(int64_t n, int64_t columns, facet_lanes y, facet_real *packed) {
  const int64_t n_pairs = columns * LANE_PAIRS, pitch = (n + PACKED - 1) / PACKED * PACKED;
  for (int64_t row = 0; row < n; row += PACKED) {
    const int64_t last = n - 1 - row;
    const pair_t *from[PACKED];
    for (int64_t i = 0; i < PACKED; i++)
      from[i] = (const pair_t *)(y.at + (row + (i < last ? i : last)) * y.stride); /* rows above n: a copy, not used */
    pair_t *to = (pair_t *)packed + row;
    for (int64_t p = 0; p < n_pairs; p++, to += pitch) UNROLL for (int i = 0; i < PACKED; i++) to[i] = from[i][p];
  }
}

typedef struct gradient {
  int64_t n, n_pairs, pitch; /* pitch: pairs from one row of packed to the next */
  facet_lanes x;
  const facet_real *packed;
  facet_real *dw;
} gradient;

/* One number for each pair: the sum of its halves. */
typedef facet_real per_pair
    __attribute__((vector_size(PAIRS * sizeof(facet_real)), aligned(sizeof(facet_real)), may_alias));
INLINE per_pair add_halves(wide sum) {
#ifdef FACET_DOUBLE
  return sum;
#else
  typedef int32_t low_halves __attribute__((vector_size(PAIRS * sizeof(int32_t))));
  sum += (wide)((pairs_t)sum >> 32);
  return (per_pair) __builtin_convertvector((pairs_t)sum, low_halves);
#endif
}

/* dw [n], of which the first of a vector are written, += the sums of pairs. */
INLINE void add_sums(wide sum, int64_t n, facet_real *dw) {
  const per_pair total = add_halves(sum);
  if (n >= PAIRS)
    *(per_pair *)dw += total;
  else
    for (int64_t j = 0; j < n; j++) dw[j] += total[j];
}

INLINE void gradient_tile(const int rows, const int n_vectors, const gradient *s, int64_t row, int64_t vector) {
  if (rows > GRADIENT_ROWS || n_vectors > GRADIENT_VECTORS) return; /* never called */
  wide sum[GRADIENT_ROWS][GRADIENT_VECTORS];
  const pair_t *y = (const pair_t *)s->packed + vector * PAIRS, *x = (const pair_t *)(s->x.at + row * s->x.stride);
  const int64_t stride = s->x.stride / PAIR, column = vector * PAIRS;
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n_vectors; v++) sum[i][v] = broadcast(0);
  for (int64_t p = 0; p < s->n_pairs; p++, y += s->pitch) {
    wide in[GRADIENT_VECTORS];
    UNROLL for (int v = 0; v < n_vectors; v++) in[v] = *(const wide *)(y + v * PAIRS);
    UNROLL for (int i = 0; i < rows; i++) {
      const wide factor = (wide)(x[i * stride + p] + (pairs_t){0});
      UNROLL for (int v = 0; v < n_vectors; v++) sum[i][v] += factor * in[v];
    }
  }
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < n_vectors; v++)
      add_sums(sum[i][v], s->n - column - v * PAIRS, s->dw + (row + i) * s->n + column + v * PAIRS);
}

void LANES(gradient)(int64_t m, int64_t n, int64_t columns, facet_lanes x, const facet_real *packed, facet_real *dw) {
  const int64_t pitch = (n + PACKED - 1) / PACKED * PACKED;
  const gradient s = {n, columns * LANE_PAIRS, pitch, x, packed, dw};
  const cut rows = make_cut(m, GRADIENT_ROWS), vectors = make_cut((n + PAIRS - 1) / PAIRS, GRADIENT_VECTORS);
  for (int64_t j = 0; j < vectors.parts; j++)
    for (int64_t i = 0; i < rows.parts; i++) {
      const int64_t row = part_begin(rows, i), vector = part_begin(vectors, j);
      const int64_t n_rows = part_begin(rows, i + 1) - row, n_vectors = part_begin(vectors, j + 1) - vector;
      TILE(gradient_tile, n_rows, n_vectors, &s, row, vector)
    }
}
