/* Optimizers of embedding tables: only rows with a gradient in this update move, and only they get ℓ2. */
#include <math.h>

#include "cpu/vector.h"
#include "train/optimizer_internal.h"

#define BLOCKS 64 /* the touched rows are cut into this many blocks, summed in order */

facet_status facet_sparse_add_states(const facet_optimizer_options *options, facet_table *table) {
  int64_t width = facet_table_width(table);
  switch ((facet_sparse_optimizer_kind)options->sparse) {
  case FACET_SPARSE_SGD:
    break;
  case FACET_SPARSE_ADAGRAD:
    return facet_table_add_state(table, 0, "accumulator", width, options->initial_accumulator);
  case FACET_SPARSE_ROWWISE_ADAGRAD:
    return facet_table_add_state(table, 0, "accumulator", 1, options->initial_accumulator);
  case FACET_SPARSE_LAZY_ADAM:
    FACET_TRY(facet_table_add_state(table, 0, "m", width, 0));
    return facet_table_add_state(table, 1, "v", width, 0);
  }
  return FACET_OK;
}

double facet_sparse_square_sum(const facet_optimizer_options *options, facet_table *table, double scale) {
  const facet_sparse_gradient *gradient = facet_table_gradient(table);
  const facet_real *rows = facet_table_rows(table);
  const int64_t width = facet_table_width(table), n = gradient->n, block = (n + BLOCKS - 1) / BLOCKS;
  const double l2 = options->l2_embedding;
  double partial[BLOCKS] = {0};
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < BLOCKS; b++) {
    int64_t last = (b + 1) * block < n ? (b + 1) * block : n;
    for (int64_t i = b * block; i < last; i++)
      partial[b] += facet_gradient_square_sum(width, scale, gradient->rows + i * width, l2,
                                              rows + (int64_t)gradient->slot[i] * width);
  }
  double sum = 0;
  for (int b = 0; b < BLOCKS; b++) sum += partial[b];
  return sum;
}

facet_status facet_sparse_check_finite(facet_table *table) {
  const facet_sparse_gradient *gradient = facet_table_gradient(table);
  const int64_t width = facet_table_width(table);
  for (int64_t i = 0; i < gradient->n * width; i++) {
    double value = (double)gradient->rows[i];
    FACET_CHECK(isfinite(value), FACET_ERROR_NONFINITE, "the gradient of table %s is %g in row %d, column %lld",
                facet_table_name(table), value, (int)gradient->slot[i / width], (long long)(i % width));
  }
  return FACET_OK;
}

/* w ← w − lr g′. */
static void update_sgd(const facet_adagrad_step *step, int64_t width, const facet_real *g, facet_real *w) {
  for (int64_t j = 0; j < width; j++) w[j] -= step->rate * (step->scale * g[j] + step->l2 * w[j]);
}

/* a ← a + mean g′²; w ← w − lr g′/(√a + ε), one a per row. */
static void update_rowwise(const facet_adagrad_step *step, int64_t width, const facet_real *g, facet_real *accumulator,
                           facet_real *w) {
  double sum = facet_gradient_square_sum(width, (double)step->scale, g, (double)step->l2, w);
  *accumulator += (facet_real)(sum / (double)width);
  facet_adagrad_step scaled = *step;
  scaled.rate = (facet_real)((double)step->rate / (sqrt((double)*accumulator) + (double)step->eps));
  update_sgd(&scaled, width, g, w);
}

void facet_sparse_update(const facet_optimizer_options *options, facet_table *table, const facet_step *step) {
  const facet_sparse_gradient *gradient = facet_table_gradient(table);
  const int64_t width = facet_table_width(table);
  const facet_real scale = (facet_real)(step->clip * step->scale);
  const facet_real l2 = (facet_real)(step->clip * options->l2_embedding);
  const facet_adagrad_step adagrad = {scale, l2, (facet_real)step->sparse_rate, (facet_real)options->epsilon};
  const facet_adam_step adam = {.scale = scale,
                                .l2 = l2,
                                .rate = (facet_real)(step->sparse_rate * step->correct_m),
                                .root = (facet_real)step->root_correct_v,
                                .beta1 = (facet_real)options->beta1,
                                .beta2 = (facet_real)options->beta2,
                                .eps = (facet_real)options->epsilon};
  facet_real *rows = facet_table_rows(table);
  facet_real *state0 = facet_table_state(table, 0, NULL, NULL), *state1 = facet_table_state(table, 1, NULL, NULL);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < gradient->n; i++) {
    const int64_t slot = gradient->slot[i];
    const facet_real *g = gradient->rows + i * width;
    facet_real *w = rows + slot * width;
    switch ((facet_sparse_optimizer_kind)options->sparse) {
    case FACET_SPARSE_SGD:
      update_sgd(&adagrad, width, g, w);
      break;
    case FACET_SPARSE_ADAGRAD:
      facet_vector_get()->adagrad(&adagrad, width, g, state0 + slot * width, w);
      break;
    case FACET_SPARSE_ROWWISE_ADAGRAD:
      update_rowwise(&adagrad, width, g, state0 + slot, w);
      break;
    case FACET_SPARSE_LAZY_ADAM:
      facet_vector_get()->adam(&adam, width, g, state0 + slot * width, state1 + slot * width, w);
      break;
    }
  }
}
