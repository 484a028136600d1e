/* The products of bf16/lanes.c with AMX (bf16/amx.h), to which a tile of 16 features by 16 lanes is one register. The
 * bits differ from lanes.c in the order of sums alone. */
#include "cpu/bf16/lanes.h"

#if defined __AVX512BF16__
#include "cpu/bf16/amx.h"
#include "cpu/bf16/product.h"

enum { ROWS = 2 * TILE_SIZE }; /* of A or x at a time */

/* What stays in a thread's first cache. */
typedef struct work {
  uint32_t a[ROWS][DEPTH / 2] __attribute__((aligned(64)));
  float sums[ROWS][2 * TILE_SIZE] __attribute__((aligned(64)));
  rounded_features x;
} work;
_Static_assert(SPAN *COLUMN_PAIRS == DEPTH / 2, "rows of x, in gradients, fit into a");

static int tiles_of(int64_t n) {
  return n > TILE_SIZE ? 2 : 1;
}

static int64_t at_most(int64_t n, int64_t most) {
  return n < most ? n : most;
}

/* ---- y = A x ---------------------------------------------------------------------------------------------------- */

static void store_sums(const facet_lanes_product *product, int64_t first, int64_t depth, int64_t row, int64_t rows,
                       int64_t at, int64_t columns, const float sums[ROWS][2 * TILE_SIZE]) {
  const facet_lanes_product s = *product; /* stays in registers */
  const bool last = first + depth == s.depth;
  for (int64_t i = 0; i < rows; i++)
    for (int64_t v = 0; v < columns * FACET_LANES; v += FACET_LANES)
      finish(&s, last, row + i, at + v, _mm512_add_ps(start(&s, first, row + i, at + v), _mm512_load_ps(&sums[i][v])));
}

/* Features first … first + depth − 1 in `columns` columns from number `at` on. */
static void product_part(const facet_lanes_product *s, int64_t first, int64_t depth, int64_t at, int64_t columns,
                         work *w) {
  const int64_t pairs = (depth + 1) / 2, steps = (pairs + TILE_SIZE - 1) / TILE_SIZE;
  round_features(s->x, at, columns, first, depth, w->x);
  memset(w->x[pairs], 0, (size_t)(steps * TILE_SIZE - pairs) * sizeof *w->x);
  for (int64_t row = 0; row < s->rows; row += ROWS) {
    const int64_t rows = at_most(s->rows - row, ROWS); /* above them the sums are not used */
    const rounded_rows a = round_rows(s, row, rows, first, depth, w->a);
    for (int64_t v = 0; v < columns; v += 2) {
      const int64_t width = at_most(columns - v, 2);
      multiply_tiles(&(tile_product){.m = tiles_of(rows),
                                     .n = (int)width,
                                     .steps = steps,
                                     .a_step = a.step,
                                     .b_step = PRODUCT_COLUMNS * FACET_LANES,
                                     .a = a.at,
                                     .b = &w->x[0][v * FACET_LANES]},
                     w->sums);
      store_sums(s, first, depth, row, rows, at + v * FACET_LANES, width, w->sums);
    }
  }
}

void facet_lanes_product_amx(const facet_lanes_product *product) {
  const facet_lanes_product s = *product; /* a copy, which no store can change */
  work w;
  for (int64_t j = 0; j < s.columns; j += PRODUCT_COLUMNS)
    for (int64_t first = 0; first < s.depth; first += DEPTH)
      product_part(&s, first, at_most(s.depth - first, DEPTH), j * FACET_LANES, at_most(s.columns - j, PRODUCT_COLUMNS),
                   &w);
}

/* ---- gradients of weights --------------------------------------------------------------------------------------- */

/* Of rows row … row + rows − 1 of x, rounded in w->a, with what was packed. */
static void gradient_rows(int64_t n, int64_t n_pairs, int64_t rows, const uint32_t *packed, float *dw, work *w) {
  for (int64_t column = 0; column < n; column += 2 * TILE_SIZE) {
    const int64_t width = at_most(n - column, 2 * TILE_SIZE);
    multiply_tiles(&(tile_product){.m = tiles_of(rows),
                                   .n = tiles_of(width),
                                   .steps = (n_pairs + TILE_SIZE - 1) / TILE_SIZE,
                                   .a_step = DEPTH / 2,
                                   .b_step = pitch(n),
                                   .a = w->a[0],
                                   .b = packed + column},
                   w->sums);
    for (int64_t i = 0; i < rows; i++)
      for (int64_t v = 0; v < width; v += TILE_SIZE)
        add_gradient(width - v, _mm512_load_ps(&w->sums[i][v]), dw + i * n + column + v);
  }
}

void facet_lanes_gradient_amx(int64_t m, int64_t n, int64_t columns, facet_lanes x, const float *packed, float *dw) {
  const uint32_t *from = (const uint32_t *)(const void *)packed;
  work w;
  for (int64_t j = 0; j < columns; j += SPAN) {
    const int64_t n_pairs = at_most(columns - j, SPAN) * COLUMN_PAIRS;
    for (int64_t row = 0; row < m; row += ROWS) {
      const int64_t rows = at_most(m - row, ROWS);
      for (int64_t i = 0; i < rows; i++) round_row(2 * n_pairs, x.at + (row + i) * x.stride + j * FACET_LANES, w.a[i]);
      gradient_rows(n, n_pairs, rows, from + j * COLUMN_PAIRS * pitch(n), dw + row * n, &w);
    }
  }
}

void facet_lanes_begin_amx(void) {
  TILES_BEGIN();
}

void facet_lanes_end_amx(void) {
  TILES_END();
}

#endif
