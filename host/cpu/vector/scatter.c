/* The sums by slot (cpu/scatter.h), compiled once per instruction set. */
#include "cpu/scatter.h"

#include <stddef.h>

#include "cpu/vector/row.h"

enum { WORD = 64 };

INLINE uint32_t count_bits(uint64_t x) {
#ifdef __POPCNT__
  return (uint32_t)__builtin_popcountll(x);
#else
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return (uint32_t)((x * 0x0101010101010101u) >> 56);
#endif
}

/* No branch, which would be mispredicted. Slots outside of the range have no row: what is computed for them is
 * overwritten, and fetching does not fault. */
static int64_t scatter_select(const facet_slot_rows *to, int64_t n, const int32_t *slot, uint32_t low, uint32_t n_slots,
                              uint32_t *restrict position, uint32_t *restrict row) {
  const uint64_t *touched = to->touched;
  const uint32_t *rank = to->rank;
  const char *rows = (const char *)to->rows;
  const size_t row_bytes = (size_t)to->width * sizeof(facet_real);
  int64_t found = 0;
  for (int64_t i = 0; i < n; i++) {
    const uint32_t s = (uint32_t)slot[i];
    const uint64_t before = ((uint64_t)1 << s % WORD) - 1;
    const uint32_t r = rank[s / WORD] + count_bits(touched[s / WORD] & before);
    __builtin_prefetch(rows + r * row_bytes, 1);
    position[found] = (uint32_t)i;
    row[found] = r;
    found += s - low < n_slots;
  }
  return found;
}

INLINE void add_rows(const facet_slot_rows *to, int64_t n, int64_t width, const uint32_t *position, const uint32_t *row,
                     const facet_real *x, int64_t stride, const facet_real *scale, int64_t ahead) {
  facet_real *rows = to->rows;
  const size_t stride_bytes = (size_t)stride * sizeof *x;
  const char *later = (const char *)x + (size_t)ahead * stride_bytes;
  for (int64_t k = 0; k < n; k++) {
    const size_t i = position[k];
    __builtin_prefetch(later + i * stride_bytes);
    add_row(width, scale ? scale[i] : (facet_real)1, (const facet_real *)((const char *)x + i * stride_bytes),
            rows + (int64_t)row[k] * width);
  }
}

/* With the usual widths and factors as constants the rows are added in a few instructions. */
static void scatter_add(const facet_slot_rows *to, int64_t n, const uint32_t *position, const uint32_t *row,
                        const facet_real *x, int64_t stride, const facet_real *scale, int64_t ahead) {
  if (to->width == COLUMNS && !scale)
    add_rows(to, n, COLUMNS, position, row, x, stride, NULL, ahead);
  else if (to->width == 2 * COLUMNS && !scale)
    add_rows(to, n, 2 * COLUMNS, position, row, x, stride, NULL, ahead);
  else
    add_rows(to, n, to->width, position, row, x, stride, scale, ahead);
}

extern const facet_scatter PASTE(facet_scatter_, FACET_ISA);
const facet_scatter PASTE(facet_scatter_, FACET_ISA) = {.select = scatter_select, .add = scatter_add};
