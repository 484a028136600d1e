/* Serial kernels on small matrices, for operators that take a block of samples through all their layers while it is in
 * cache: products, LayerNorm, attention over few tokens. Compiled for three instruction sets like cpu/vector.h, which
 * chooses: facet_vector_get()->rows. Matrices are row-major without gaps. The order of every sum depends on the sizes
 * and the instruction set alone. */
#ifndef FACET_CPU_ROWS_H
#define FACET_CPU_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/real.h"

/* `units` independent attentions of `queries` rows over `keys` rows, per head of width d/heads. */
typedef struct facet_rows_attention {
  int64_t units, queries, keys, heads, d;
  facet_real scale;
} facet_rows_attention;

typedef struct facet_rows {
  /* C = op(A) B, with `add` C += op(A) B: op(A) [m, k], B [k, n], C [m, n]; with transpose_a, A is stored [k, m]. */
  void (*product)(bool transpose_a, bool add, int64_t m, int64_t n, int64_t k, const facet_real *a, const facet_real *b,
                  facet_real *c);

  /* y = γ x̂ + β, x̂ = (x − mean) s, s = 1/√(variance + eps), per row of d; y may be x. normal receives x̂, inverse s. */
  void (*norm)(int64_t rows, int64_t d, facet_real eps, const facet_real *x, const facet_real *gamma,
               const facet_real *beta, facet_real *normal, facet_real *inverse, facet_real *y);
  /* dx = s (g − mean g − x̂ mean(g x̂)), g = γ dy; dγ += Σ dy x̂, dβ += Σ dy. dx may be dy. */
  void (*norm_backward)(int64_t rows, int64_t d, const facet_real *dy, const facet_real *normal,
                        const facet_real *inverse, const facet_real *gamma, facet_real *dx, facet_real *d_gamma,
                        facet_real *d_beta);

  /* p = softmax(scale · q kᵀ) [units, heads, queries, keys], y = p v; q and y [units, queries, d], k and v
   * [units, keys, d]. Backward overwrites dq, dk, dv and uses dp (like p) as working memory. */
  void (*attend)(const facet_rows_attention *size, const facet_real *q, const facet_real *k, const facet_real *v,
                 facet_real *p, facet_real *y);
  void (*attend_backward)(const facet_rows_attention *size, const facet_real *q, const facet_real *k,
                          const facet_real *v, const facet_real *p, const facet_real *dy, facet_real *dp,
                          facet_real *dq, facet_real *dk, facet_real *dv);

  /* x = max(x + b, 0) for rows of n; dx = 0 where y ≤ 0. */
  void (*add_relu)(int64_t rows, int64_t n, const facet_real *b, facet_real *x);
  void (*mask_relu)(int64_t n, const facet_real *y, facet_real *dx);
  /* out += Σ rows of x [rows, n]. */
  void (*column_sum)(int64_t rows, int64_t n, const facet_real *x, facet_real *out);
} facet_rows;

#endif
