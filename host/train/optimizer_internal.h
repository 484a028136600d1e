/* What optimizer.c and optimizer_sparse.c share. */
#ifndef FACET_TRAIN_OPTIMIZER_INTERNAL_H
#define FACET_TRAIN_OPTIMIZER_INTERNAL_H

#include "facet/optimizer.h"
#include "facet/table.h"

/* One update's numbers. The gradient that is applied is clip · (scale · g + λ · w) = (clip · scale) · g + (clip · λ) · w, so
 * neither scaling, ℓ2 nor clipping needs a sweep of its own. */
typedef struct facet_step {
  double scale;          /* 1 / Σ w of the update */
  double clip;           /* 1, or clip_norm / norm */
  double rate;           /* dense learning rate */
  double sparse_rate;    /* of the tables */
  double correct_m;      /* 1 / (1 − β1^t), Adam; t = updates done before this one + 1 */
  double root_correct_v; /* 1 / √(1 − β2^t) */
} facet_step;

/* Σ (scale · g + l2 · w)² over n elements, in double. */
double facet_gradient_square_sum(int64_t n, double scale, const facet_real *g, double l2, const facet_real *w);

/* Adds the row state that the kind of optimizer needs. */
facet_status facet_sparse_add_states(const facet_optimizer_options *options, facet_table *table);

/* Σ over the table's touched rows of the scaled gradient with ℓ2, squared. */
double facet_sparse_square_sum(const facet_optimizer_options *options, facet_table *table, double scale);

/* Fails with the table's name, row and column if an accumulated gradient is not finite. */
facet_status facet_sparse_check_finite(facet_table *table);

/* Updates the touched rows. */
void facet_sparse_update(const facet_optimizer_options *options, facet_table *table, const facet_step *step);

#endif
