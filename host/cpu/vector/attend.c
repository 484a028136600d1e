/* The attention kernels (cpu/attend.h), compiled once per instruction set. Tiles of queries are transposed: [row][TILE]
 * with the queries as columns. */
#include "cpu/attend.h"

#include <string.h>
#include <tgmath.h>

#include "cpu/vector.h"
#include "cpu/vector/exponential.h"
#include "cpu/vector/isa.h"

#if defined __AVX512F__
enum { VECTORS = 4 }; /* 4 × 4 sums in 32 registers */
#else
enum { VECTORS = 2 }; /* 4 × 2 sums in 16 registers */
#endif
typedef facet_real quad VECTOR(4 * sizeof(facet_real));
enum { QUAD = 4, TILE = FACET_ATTEND_TILE, ROWS = 4 };

/* ---- tiles ------------------------------------------------------------------------------------------------------- */

/* tile [width][TILE] ← n rows of x as columns; the rest of the columns is 0. */
static void load_tile(int64_t n, int64_t columns, int64_t width, int64_t stride, facet_real scale, const facet_real *x,
                      facet_real *tile) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < width; c++) tile[c * TILE + i] = scale * x[i * stride + c];
  for (int64_t c = 0; c < width; c++)
    for (int64_t i = n; i < columns; i++) tile[c * TILE + i] = 0;
}

static void store_tile(int64_t n, int64_t width, int64_t stride, const facet_real *tile, facet_real *x) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < width; c++) x[i * stride + c] = tile[c * TILE + i];
}

static void add_tile(int64_t n, int64_t width, int64_t stride, facet_real scale, const facet_real *tile,
                     facet_real *x) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < width; c++) x[i * stride + c] += scale * tile[c * TILE + i];
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* Rows of out [rows][TILE] = Σ_p a(r, p) b[p][..], a(r, p) = a[r · a_row + p · a_column], in `vectors` vectors. */
#define DEFINE_PRODUCT_BLOCK(name, type)                                                                               \
  INLINE void name(const int rows, const int vectors, int64_t k, const facet_real *a, int64_t a_row, int64_t a_column, \
                   const facet_real *b, facet_real *out) {                                                             \
    const int64_t lanes = sizeof(type) / sizeof(facet_real);                                                           \
    type sum[ROWS][VECTORS] = {0};                                                                                     \
    for (int64_t p = 0; p < k; p++) {                                                                                  \
      type x[VECTORS];                                                                                                 \
      for (int v = 0; v < vectors; v++) x[v] = *(const type *)(b + p * TILE + v * lanes);                              \
      for (int i = 0; i < rows; i++) {                                                                                 \
        const facet_real factor = a[i * a_row + p * a_column];                                                         \
        for (int v = 0; v < vectors; v++) sum[i][v] += factor * x[v];                                                  \
      }                                                                                                                \
    }                                                                                                                  \
    for (int i = 0; i < rows; i++)                                                                                     \
      for (int v = 0; v < vectors; v++) *(type *)(out + i * TILE + v * lanes) = sum[i][v];                             \
  }
DEFINE_PRODUCT_BLOCK(block_wide, wide)
DEFINE_PRODUCT_BLOCK(block_quad, quad)

/* `vectors` is 1 to VECTORS; the constants below choose the code. */
INLINE void block_columns(const int rows, int64_t vectors, int64_t k, const facet_real *a, int64_t a_row,
                          int64_t a_column, const facet_real *b, facet_real *out) {
  if (vectors == 1)
    block_wide(rows, 1, k, a, a_row, a_column, b, out);
  else if (vectors == 2)
    block_wide(rows, 2, k, a, a_row, a_column, b, out);
  else if (vectors < VECTORS)
    block_wide(rows, VECTORS - 1, k, a, a_row, a_column, b, out);
  else
    block_wide(rows, VECTORS, k, a, a_row, a_column, b, out);
}

/* out [m][TILE] = A B for the first n columns of B [k][TILE]: QUAD or whole vectors. */
static void product(int64_t m, int64_t n, int64_t k, const facet_real *a, int64_t a_row, int64_t a_column,
                    const facet_real *b, facet_real *out) {
  int64_t r = 0;
  if (n == QUAD) {
    for (; r + ROWS <= m; r += ROWS) block_quad(ROWS, 1, k, a + r * a_row, a_row, a_column, b, out + r * TILE);
    for (; r < m; r++) block_quad(1, 1, k, a + r * a_row, a_row, a_column, b, out + r * TILE);
    return;
  }
  for (int64_t at = 0; at < n; at += VECTORS * WIDE) {
    const int64_t left = (n - at) / WIDE, vectors = left < VECTORS ? left : VECTORS;
    for (r = 0; r + ROWS <= m; r += ROWS)
      block_columns(ROWS, vectors, k, a + r * a_row, a_row, a_column, b + at, out + r * TILE + at);
    for (; r < m; r++) block_columns(1, vectors, k, a + r * a_row, a_row, a_column, b + at, out + r * TILE + at);
  }
}

/* Rows of x [rows, lanes] += Σ_i p[row][i] b[i, ..] over n rows of b. */
#define DEFINE_ADD_COLUMNS(name, type)                                                                                 \
  INLINE void name(const int rows, int64_t n, const facet_real *p, const facet_real *b, int64_t b_stride,              \
                   facet_real *x, int64_t stride) {                                                                    \
    type sum[2 * ROWS];                                                                                                \
    for (int r = 0; r < rows; r++) sum[r] = *(const type *)(x + r * stride);                                           \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
      const type row = *(const type *)(b + i * b_stride);                                                              \
      for (int r = 0; r < rows; r++) sum[r] += p[r * TILE + i] * row;                                                  \
    }                                                                                                                  \
    for (int r = 0; r < rows; r++) *(type *)(x + r * stride) = sum[r];                                                 \
  }
DEFINE_ADD_COLUMNS(add_columns_wide, wide)
DEFINE_ADD_COLUMNS(add_columns_quad, quad)
DEFINE_ADD_COLUMNS(add_columns_one, facet_real)

INLINE void add_rows(const int rows, int64_t n, int64_t width, const facet_real *p, const facet_real *b,
                     int64_t b_stride, facet_real *x, int64_t stride) {
  int64_t c = 0;
  for (; c + WIDE <= width; c += WIDE) add_columns_wide(rows, n, p, b + c, b_stride, x + c, stride);
  for (; c + QUAD <= width; c += QUAD) add_columns_quad(rows, n, p, b + c, b_stride, x + c, stride);
  for (; c < width; c++) add_columns_one(rows, n, p, b + c, b_stride, x + c, stride);
}

/* x [m, width] += P B for the columns of P [m][TILE] that are rows of B [n, width]; rows are b_stride and stride apart. */
static void add_product(int64_t m, int64_t n, int64_t width, const facet_real *p, const facet_real *b, int64_t b_stride,
                        facet_real *x, int64_t stride) {
  int64_t r = 0;
  for (; r + 2 * ROWS <= m; r += 2 * ROWS)
    add_rows(2 * ROWS, n, width, p + r * TILE, b, b_stride, x + r * stride, stride);
  for (; r < m; r++) add_rows(1, n, width, p + r * TILE, b, b_stride, x + r * stride, stride);
}

/* ---- softmax over the rows of a tile ----------------------------------------------------------------------------- */

/* These take the number of columns as a constant where it is QUAD, so that they become vector code. */
#define WITH_COLUMNS(columns, call)                                                                                    \
  do {                                                                                                                 \
    if ((columns) == QUAD) {                                                                                           \
      enum { N = QUAD };                                                                                               \
      call;                                                                                                            \
    } else {                                                                                                           \
      const int64_t N = (columns);                                                                                     \
      call;                                                                                                            \
    }                                                                                                                  \
  } while (0)

/* p [m][TILE] ← exp(p − largest) of the first n columns. */
INLINE void exponentials(int64_t m, int64_t n, const facet_real *restrict largest, facet_real *restrict p) {
  for (int64_t r = 0; r < m; r++, p += TILE)
    for (int64_t i = 0; i < n; i++) p[i] = exp_one(p[i] - largest[i]);
}

/* p ← exp(p − largest); the maximum and the inverse sum of each column. */
INLINE void softmax(int64_t m, int64_t n, facet_real *restrict p, facet_real *restrict largest,
                    facet_real *restrict inverse) {
  facet_real sum[TILE] = {0};
  for (int64_t i = 0; i < n; i++) largest[i] = p[i];
  for (int64_t r = 1; r < m; r++)
    for (int64_t i = 0; i < n; i++) largest[i] = p[r * TILE + i] > largest[i] ? p[r * TILE + i] : largest[i];
  exponentials(m, n, largest, p);
  for (int64_t r = 0; r < m; r++)
    for (int64_t i = 0; i < n; i++) sum[i] += p[r * TILE + i];
  for (int64_t i = 0; i < n; i++) inverse[i] = (facet_real)1 / sum[i];
}

/* p ← exp(p − largest) · inverse: softmax with its statistics known. */
INLINE void probabilities(int64_t m, int64_t n, const facet_real *restrict largest, const facet_real *restrict inverse,
                          facet_real *restrict p) {
  exponentials(m, n, largest, p);
  for (int64_t r = 0; r < m; r++)
    for (int64_t i = 0; i < n; i++) p[r * TILE + i] *= inverse[i];
}

/* dp ← dS/scale = P ⊙ (dP − Σ_keys P ⊙ dP). */
INLINE void score_gradients(int64_t m, int64_t n, const facet_real *restrict p, facet_real *restrict dp) {
  facet_real mean[TILE] = {0};
  for (int64_t r = 0; r < m; r++)
    for (int64_t i = 0; i < n; i++) mean[i] += p[r * TILE + i] * dp[r * TILE + i];
  for (int64_t r = 0; r < m; r++)
    for (int64_t i = 0; i < n; i++) dp[r * TILE + i] = p[r * TILE + i] * (dp[r * TILE + i] - mean[i]);
}

/* ---- the head ---------------------------------------------------------------------------------------------------- */

/* QUAD for few queries, else whole vectors. */
static int64_t padded(int64_t n) {
  return n <= QUAD ? QUAD : (n + WIDE - 1) / WIDE * WIDE;
}

static int64_t tile_length(const facet_attend_head *h, int64_t first) {
  return h->n_queries - first < TILE ? h->n_queries - first : TILE;
}

static void forward(const facet_attend_head *h, facet_real *work, facet_real *y) {
  facet_real *p = work, *tile = p + h->n_keys * TILE;
  facet_real largest[TILE] = {0}, inverse[TILE] = {0};
  for (int64_t first = 0; first < h->n_queries; first += TILE) {
    const int64_t n = tile_length(h, first), columns = padded(n), row = first * h->stride;
    load_tile(n, columns, h->width, h->stride, h->scale, h->q + row, tile);
    product(h->n_keys, columns, h->width, h->k, h->stride, 1, tile, p);
    WITH_COLUMNS(columns, softmax(h->n_keys, N, p, largest, inverse));
    for (int64_t i = 0; i < n; i++) {
      h->statistics[2 * (first + i)] = largest[i];
      h->statistics[2 * (first + i) + 1] = inverse[i];
    }
    product(h->width, columns, h->n_keys, h->v, 1, h->stride, p, tile);
    for (int64_t c = 0; c < h->width; c++)
      for (int64_t i = 0; i < columns; i++) tile[c * TILE + i] *= inverse[i];
    store_tile(n, h->width, h->stride, tile, y + row);
  }
}

/* The statistics of n queries; with 0 the columns behind them become 0. */
static void load_statistics(int64_t n, const facet_real *statistics, facet_real *largest, facet_real *inverse) {
  memset(largest, 0, TILE * sizeof *largest);
  memset(inverse, 0, TILE * sizeof *inverse);
  for (int64_t i = 0; i < n; i++) {
    largest[i] = statistics[2 * i];
    inverse[i] = statistics[2 * i + 1];
  }
}

static void backward(const facet_attend_head *h, const facet_real *dy, facet_real *work, facet_real *dq, facet_real *dk,
                     facet_real *dv) {
  facet_real *p = work, *ds = p + h->n_keys * TILE, *tile = ds + h->n_keys * TILE, *scaled = tile + h->width * TILE;
  facet_real largest[TILE] = {0}, inverse[TILE] = {0};
  for (int64_t first = 0; first < h->n_queries; first += TILE) {
    const int64_t n = tile_length(h, first), columns = padded(n), row = first * h->stride;
    load_tile(n, columns, h->width, h->stride, h->scale, h->q + row, tile);
    product(h->n_keys, columns, h->width, h->k, h->stride, 1, tile, p);
    load_statistics(n, h->statistics + 2 * first, largest, inverse);
    WITH_COLUMNS(columns, probabilities(h->n_keys, N, largest, inverse, p));
    if (dv) add_product(h->n_keys, n, h->width, p, dy + row, h->stride, dv, h->stride);
    if (!dq && !dk) continue;
    load_tile(n, columns, h->width, h->stride, 1, dy + row, tile);
    product(h->n_keys, columns, h->width, h->v, h->stride, 1, tile, ds);
    WITH_COLUMNS(columns, score_gradients(h->n_keys, N, p, ds));
    if (dk) {
      for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < h->width; c++) scaled[i * h->width + c] = h->scale * h->q[row + i * h->stride + c];
      add_product(h->n_keys, n, h->width, ds, scaled, h->width, dk, h->stride);
    }
    if (!dq) continue;
    product(h->width, columns, h->n_keys, h->k, 1, h->stride, ds, tile);
    add_tile(n, h->width, h->stride, h->scale, tile, dq + row);
  }
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

extern const facet_attend PASTE(facet_attend_, FACET_ISA);
const facet_attend PASTE(facet_attend_, FACET_ISA) = {.forward = forward, .backward = backward};
