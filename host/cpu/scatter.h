/* Sums of rows by slot, for the gradients of embedding tables (graph/table_reduce.c). Compiled for three instruction sets
 * like cpu/vector.h, which chooses: facet_vector_get()->scatter. */
#ifndef FACET_CPU_SCATTER_H
#define FACET_CPU_SCATTER_H

#include <stdint.h>

#include "facet/real.h"

/* Slots that are marked in a bitmap have rows, in order: slot s has row rank[s / 64] + (marks of its word below s). */
typedef struct facet_slot_rows {
  const uint64_t *touched;
  const uint32_t *rank; /* of a word: marks before it */
  int64_t width;
  facet_real *rows; /* [marks, width] */
} facet_slot_rows;

typedef struct facet_scatter {
  /* Positions i < n with low ≤ slot[i] < low + n_slots, ascending, and the rows of their slots, which are fetched to the
   * cache; returns their number. position and row have room for n. */
  int64_t (*select)(const facet_slot_rows *to, int64_t n, const int32_t *slot, uint32_t low, uint32_t n_slots,
                    uint32_t *position, uint32_t *row);
  /* rows[row[k]] += scale[position[k]] · x[position[k] · stride …] for k = 0 … n − 1, in this order; scale may be NULL: 1.
   * Fetches what lies `ahead` positions later in x. */
  void (*add)(const facet_slot_rows *to, int64_t n, const uint32_t *position, const uint32_t *row, const facet_real *x,
              int64_t stride, const facet_real *scale, int64_t ahead);
} facet_scatter;

#endif
