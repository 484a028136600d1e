/* Matrix products: oneDNN's sgemm in the float build, plain loops in the double build. */
#include "cpu/gemm.h"

#ifdef FACET_DOUBLE

/* One row of C: row-major B is read along its rows, a transposed B as dot products. */
static void gemm_row(bool transpose_b, int64_t n, int64_t k, double alpha, const double *a, int64_t a_step,
                     const double *b, int64_t ldb, double beta, double *c) {
  for (int64_t j = 0; j < n; j++) c[j] = beta == 0 ? 0 : beta * c[j];
  if (transpose_b) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < k; p++) sum += a[p * a_step] * b[j * ldb + p];
      c[j] += alpha * sum;
    }
    return;
  }
  for (int64_t p = 0; p < k; p++) {
    double factor = alpha * a[p * a_step];
    for (int64_t j = 0; j < n; j++) c[j] += factor * b[p * ldb + j];
  }
}

facet_status facet_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double alpha,
                        const double *a, int64_t lda, const double *b, int64_t ldb, double beta, double *c,
                        int64_t ldc) {
#pragma omp parallel for schedule(static) if (m * n * k > 100000)
  for (int64_t i = 0; i < m; i++)
    gemm_row(transpose_b, n, k, alpha, transpose_a ? a + i : a + i * lda, transpose_a ? lda : 1, b, ldb, beta,
             c + i * ldc);
  return FACET_OK;
}

#else

#include <dnnl.h>

#if DNNL_VERSION_MAJOR < 2 || DNNL_VERSION_MAJOR > 3
#error "facet is written for oneDNN 2.x and 3.x (dnnl_sgemm is the same in both)"
#endif

facet_status facet_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                        const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc) {
  if (m == 0 || n == 0) return FACET_OK;
  dnnl_status_t status =
      dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  FACET_CHECK(status == dnnl_success, FACET_ERROR_INTERNAL,
              "oneDNN failed with status %d in a product [%lld, %lld] x [%lld, %lld]", (int)status, (long long)m,
              (long long)k, (long long)k, (long long)n);
  return FACET_OK;
}

#endif
