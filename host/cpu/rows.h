/* Serial products of small row-major matrices, for operators that multiply a few rows at a time. Compiled for three
 * instruction sets like cpu/vector.h, which chooses: facet_vector_get()->rows. Matrices are row-major without gaps. The
 * order of every sum depends on the sizes and the instruction set alone. */
#ifndef FACET_CPU_ROWS_H
#define FACET_CPU_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/real.h"

typedef struct facet_rows {
  /* C = op(A) B, with `add` C += op(A) B: op(A) [m, k], B [k, n], C [m, n]; with transpose_a, A is stored [k, m]. */
  void (*product)(bool transpose_a, bool add, int64_t m, int64_t n, int64_t k, const facet_real *a, const facet_real *b,
                  facet_real *c);
  /* x = max(x + b, 0) for rows of n; NaN stays. */
  void (*add_relu)(int64_t rows, int64_t n, const facet_real *b, facet_real *x);
  /* out += Σ rows of x [rows, n]. */
  void (*column_sum)(int64_t rows, int64_t n, const facet_real *x, facet_real *out);
} facet_rows;

#endif
