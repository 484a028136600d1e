/* Matrix products on the CPU: the only file that knows oneDNN. */
#ifndef FACET_CPU_GEMM_H
#define FACET_CPU_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/real.h"
#include "facet/status.h"

/* C = alpha op(A) op(B) + beta C, all row-major: op(A) [m, k], op(B) [k, n], C [m, n]. With transpose_a, A is stored
 * [k, m]; with transpose_b, B is stored [n, k]. lda, ldb, ldc are the elements between stored rows. With beta = 0 C is
 * not read. Uses all OpenMP threads; same threads and instruction set → same bits. In the double build: plain loops. */
facet_status facet_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, facet_real alpha,
                        const facet_real *a, int64_t lda, const facet_real *b, int64_t ldb, facet_real beta,
                        facet_real *c, int64_t ldc);

/* ---- factors in bf16 --------------------------------------------------------------------------------------------- */

typedef uint16_t facet_bf16; /* the upper half of a float */

/* FACET_ERROR_DEVICE, naming what is missing, where facet_gemm_bf16 would not run on bf16 instructions. */
facet_status facet_gemm_check_bf16(void);

/* y = x rounded to the nearest bf16, ties to even; NaN stays. Uses all threads. */
void facet_to_bf16(int64_t n, const facet_real *x, facet_bf16 *y);

/* C = op(A) op(B), with `add` C += op(A) op(B), as above with dense A and B in bf16; sums and C in float. The first
 * product of a shape prepares it, which allocates. */
facet_status facet_gemm_bf16(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const facet_bf16 *a,
                             const facet_bf16 *b, bool add, facet_real *c);

#endif
