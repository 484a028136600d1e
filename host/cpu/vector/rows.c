/* The row kernels (cpu/rows.h), compiled once per instruction set. */
#include "cpu/rows.h"

#include "cpu/vector/isa.h"

#if defined __AVX512F__
enum { TILE_ROWS = 8 }; /* 16 sums in 32 registers */
#else
enum { TILE_ROWS = 4 }; /* 8 sums in 16 registers */
#endif
typedef facet_real narrow VECTOR(VECTOR_BYTES / 2);
enum { NARROW = sizeof(narrow) / sizeof(facet_real) };

/* ---- product ---------------------------------------------------------------------------------------------------- */

typedef struct product {
  int64_t m, n, k, a_row, a_column; /* element (i, p) of op(A) is a[i · a_row + p · a_column] */
  bool add;
} product;

/* Defines a tile of `rows` × (n_vectors vectors) of C, whose sums stay in registers: called with constants. */
#define DEFINE_TILE(name, type)                                                                                        \
  INLINE void name(const int rows, const int n_vectors, const product *s, const facet_real *a, const facet_real *b,    \
                   facet_real *c) {                                                                                    \
    const int64_t lanes = sizeof(type) / sizeof(facet_real), n = s->n, k = s->k;                                       \
    const int64_t a_row = s->a_row, a_column = s->a_column;                                                            \
    type sum[TILE_ROWS][2] = {0};                                                                                      \
    for (int64_t p = 0; p < k; p++) {                                                                                  \
      type x[2];                                                                                                       \
      for (int v = 0; v < n_vectors; v++) x[v] = *(const type *)(b + p * n + v * lanes);                               \
      _Pragma("GCC unroll 8") for (int i = 0; i < rows; i++) {                                                         \
        facet_real factor = a[i * a_row + p * a_column];                                                               \
        for (int v = 0; v < n_vectors; v++) sum[i][v] += factor * x[v];                                                \
      }                                                                                                                \
    }                                                                                                                  \
    _Pragma("GCC unroll 8") for (int i = 0; i < rows; i++) for (int v = 0; v < n_vectors; v++) {                       \
      type *out = (type *)(c + i * n + v * lanes);                                                                     \
      if (s->add) sum[i][v] += *out;                                                                                   \
      *out = sum[i][v];                                                                                                \
    }                                                                                                                  \
  }
DEFINE_TILE(tile_wide, wide)
DEFINE_TILE(tile_narrow, narrow)

INLINE void tile_one(const int rows, const product *s, const facet_real *a, const facet_real *b, facet_real *c) {
  facet_real sum[TILE_ROWS] = {0};
  for (int64_t p = 0; p < s->k; p++)
    for (int i = 0; i < rows; i++) sum[i] += a[i * s->a_row + p * s->a_column] * b[p * s->n];
  for (int i = 0; i < rows; i++) c[i * s->n] = s->add ? c[i * s->n] + sum[i] : sum[i];
}

INLINE void tile(const int rows, const int n_wide, const int n_narrow, const product *s, const facet_real *a,
                 const facet_real *b, facet_real *c) {
  if (n_wide)
    tile_wide(rows, n_wide, s, a, b, c);
  else if (n_narrow)
    tile_narrow(rows, 1, s, a, b, c);
  else
    tile_one(rows, s, a, b, c);
}

/* All rows of a few columns of C. */
INLINE void columns(const int n_wide, const int n_narrow, const product *s, const facet_real *a, const facet_real *b,
                    facet_real *c) {
  int64_t i = 0;
  for (; i + TILE_ROWS <= s->m; i += TILE_ROWS) tile(TILE_ROWS, n_wide, n_narrow, s, a + i * s->a_row, b, c + i * s->n);
  for (; i < s->m; i++) tile(1, n_wide, n_narrow, s, a + i * s->a_row, b, c + i * s->n);
}

static void rows_product(bool transpose_a, bool add, int64_t m, int64_t n, int64_t k, const facet_real *a,
                         const facet_real *b, facet_real *c) {
  const product s = {.m = m, .n = n, .k = k, .a_row = transpose_a ? 1 : k, .a_column = transpose_a ? m : 1, .add = add};
  int64_t j = 0;
  for (; j + 2 * WIDE <= n; j += 2 * WIDE) columns(2, 0, &s, a, b + j, c + j);
  for (; j + WIDE <= n; j += WIDE) columns(1, 0, &s, a, b + j, c + j);
  for (; j + NARROW <= n; j += NARROW) columns(0, 1, &s, a, b + j, c + j);
  for (; j < n; j++) columns(0, 0, &s, a, b + j, c + j);
}

static void rows_add_relu(int64_t rows, int64_t n, const facet_real *restrict b, facet_real *restrict x) {
  for (int64_t row = 0; row < rows; row++, x += n)
    for (int64_t j = 0; j < n; j++) {
      facet_real y = x[j] + b[j];
      x[j] = y < 0 ? 0 : y; /* NaN stays */
    }
}

static void rows_column_sum(int64_t rows, int64_t n, const facet_real *restrict x, facet_real *restrict out) {
  for (int64_t row = 0; row < rows; row++, x += n)
    for (int64_t j = 0; j < n; j++) out[j] += x[j];
}

extern const facet_rows PASTE(facet_rows_, FACET_ISA);
const facet_rows PASTE(facet_rows_, FACET_ISA) = {
    .product = rows_product,
    .add_relu = rows_add_relu,
    .column_sum = rows_column_sum,
};
