/* Vectors of the lane kernels, of the instruction set that a file is compiled for. */
#ifndef FACET_CPU_VECTOR_LANES_VECTOR_H
#define FACET_CPU_VECTOR_LANES_VECTOR_H

#include "cpu/lanes.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define LANES(name) PASTE(facet_lanes_##name##_, FACET_ISA)

#if defined __AVX512F__
enum { VECTOR_BYTES = 64 };
#elif defined __AVX2__
enum { VECTOR_BYTES = 32 };
#else
enum { VECTOR_BYTES = 16 };
#endif
/* May begin at any element. */
typedef facet_real wide __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(facet_real)), may_alias));
enum { WIDE = sizeof(wide) / sizeof(facet_real), PARTS = FACET_LANES / WIDE }; /* vectors of a column */

#define INLINE static inline __attribute__((always_inline))

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
