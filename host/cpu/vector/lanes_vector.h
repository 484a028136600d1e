/* Vectors of the lane kernels, of the instruction set that a file is compiled for. */
#ifndef FACET_CPU_VECTOR_LANES_VECTOR_H
#define FACET_CPU_VECTOR_LANES_VECTOR_H

#include "cpu/lanes.h"
#include "cpu/vector/isa.h"

#define LANES(name) PASTE(facet_lanes_##name##_, FACET_ISA)

enum { PARTS = FACET_LANES / WIDE }; /* vectors of a column */

INLINE wide broadcast(facet_real x) {
  return x - (wide){0};
}

/* Per element: x where mask is all ones (the result of a comparison), else 0. */
#ifdef FACET_DOUBLE
typedef int64_t mask_t __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int32_t mask_t __attribute__((vector_size(VECTOR_BYTES)));
#endif
INLINE wide keep(mask_t mask, wide x) {
  return (wide)(mask & (mask_t)x);
}

void LANES(product)(const facet_lanes_product *product);
void LANES(pack)(int64_t n, int64_t columns, facet_lanes y, facet_real *packed);
void LANES(gradient)(int64_t m, int64_t n, int64_t columns, facet_lanes x, const facet_real *packed, facet_real *dw);

#endif
