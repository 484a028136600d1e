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

#endif
