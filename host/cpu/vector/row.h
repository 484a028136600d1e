/* Rows of a few columns, eight at a time whatever the instruction set. */
#ifndef FACET_CPU_VECTOR_ROW_H
#define FACET_CPU_VECTOR_ROW_H

#include <stdint.h>

#include "cpu/vector/isa.h"

enum { COLUMNS = 8 };
typedef facet_real columns VECTOR(COLUMNS * sizeof(facet_real));

/* A vector at an element: macros, because functions of vectors that the instruction set lacks have no fixed ABI. */
#define LOAD(x) (*(const columns *)(x))
#define STORE(x, value) (*(columns *)(x) = (value))

/* out += factor · x. */
INLINE void add_row(int64_t width, facet_real factor, const facet_real *restrict x, facet_real *restrict out) {
  int64_t k = 0;
  for (; k + COLUMNS <= width; k += COLUMNS) STORE(out + k, LOAD(out + k) + factor * LOAD(x + k));
  for (; k < width; k++) out[k] += factor * x[k];
}

#endif
