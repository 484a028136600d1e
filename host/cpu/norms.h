/* Serial kernels of LayerNorm, BatchNorm and Dice on a range of rows of d columns, compiled for three instruction sets
 * like cpu/vector.h, which chooses: facet_vector_get()->norms. Rows may be given any number of at once: what is per row
 * does not depend on the split. Rows with valid = 0 are not read; their gradient is 0. `add`: gradients are added to. */
#ifndef FACET_CPU_NORMS_H
#define FACET_CPU_NORMS_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/real.h"

typedef struct facet_norm_columns { /* of BatchNorm or Dice; one number per column */
  int64_t d;
  const facet_real *mean, *inverse; /* μ; 1/√(var + eps), or 1/(sd + eps) */
  const facet_real *gain, *shift;   /* γ, β; Dice: α, NULL */
  /* backward: the means over the batch of g and of g x̂ (with Dice's factor), 0 where the averages were used */
  const facet_real *mean_g, *mean_gx;
} facet_norm_columns;

typedef struct facet_norms {
  /* x̂ = (s − mean) r, r = 1/√(variance + eps), of the rows s = x + z (z may be NULL); y = γ x̂ + β.
   * normal receives x̂, inverse r. */
  void (*layer)(int64_t rows, int64_t d, facet_real eps, const facet_real *x, const facet_real *z,
                const facet_real *gamma, const facet_real *beta, facet_real *normal, facet_real *inverse,
                facet_real *y);
  /* dx = r (g − mean g − x̂ mean(g x̂)), g = γ dy; sums [2 × d] += Σ dy, Σ dy x̂, in double. */
  void (*layer_backward)(int64_t rows, int64_t d, const facet_real *dy, const facet_real *normal,
                         const facet_real *inverse, const facet_real *gamma, bool add, facet_real *dx);
  void (*layer_sums)(int64_t rows, int64_t d, const facet_real *dy, const facet_real *normal, double *sums);

  /* sums [d] += Σ x, and += Σ (x − mean)²; valid may be NULL: all rows. */
  void (*sum)(int64_t rows, int64_t d, const facet_real *x, const facet_real *valid, double *sums);
  void (*square_sum)(int64_t rows, int64_t d, const facet_real *x, const facet_real *valid, const double *mean,
                     double *sums);

  /* y = γ x̂ + β; sums [2 × d] += Σ dy, Σ dy x̂; dx = γ r (dy − mean_g − x̂ mean_gx). */
  void (*batch)(int64_t rows, const facet_norm_columns *c, const facet_real *x, facet_real *y);
  void (*batch_sums)(int64_t rows, const facet_norm_columns *c, const facet_real *x, const facet_real *dy,
                     const facet_real *valid, double *sums);
  void (*batch_backward)(int64_t rows, const facet_norm_columns *c, const facet_real *x, const facet_real *dy,
                         const facet_real *valid, bool add, facet_real *dx);

  /* z = (x − μ)/D; y = x (s + α (1 − s)); with ĝ = dy x (1 − α) s (1 − s): sums [3 × d] += Σ ĝ, Σ ĝ z, Σ dy x (1 − s);
   * dx = dy (s + α (1 − s)) + (ĝ − mean_g − z mean_gx)/D. */
  void (*dice_input)(int64_t rows, const facet_norm_columns *c, const facet_real *x, facet_real *z);
  void (*dice)(int64_t rows, const facet_norm_columns *c, const facet_real *x, const facet_real *s, facet_real *y);
  void (*dice_sums)(int64_t rows, const facet_norm_columns *c, const facet_real *x, const facet_real *s,
                    const facet_real *dy, const facet_real *valid, double *sums);
  void (*dice_backward)(int64_t rows, const facet_norm_columns *c, const facet_real *x, const facet_real *s,
                        const facet_real *dy, const facet_real *valid, bool add, facet_real *dx);
} facet_norms;

#endif
