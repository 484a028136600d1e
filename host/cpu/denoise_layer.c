/* One layer of the denoiser, post-norm, on the rows of a block of samples:
 *
 *   h ← LN(own + (attend(q, k, v) [+ τ W_v]) W_o),   h ← LN(h + cross),   out = LN(h + W_b relu(W_a h + b_a) + b_b) */
#include <string.h>

#include "cpu/denoise.h"
#include "cpu/vector.h"

static const facet_real norm_eps = (facet_real)1e-6;

static void fill_rows(int64_t rows, int64_t n, const facet_real *row, facet_real *x) {
  for (int64_t i = 0; i < rows; i++) memcpy(x + i * n, row, (size_t)n * sizeof *x);
}

static facet_rows_attention attention_size(const facet_denoise_block *block, int64_t queries) {
  const facet_denoise_size *size = block->size;
  return (facet_rows_attention){.units = block->n_units,
                                .queries = queries,
                                .keys = size->c,
                                .heads = size->heads,
                                .d = size->d,
                                .scale = size->scale};
}

static const facet_real *const *layer_weights(const facet_denoise_block *block, int64_t l) {
  return block->weights->value + DENOISE_N_SHARED + DENOISE_N_LAYER * l;
}

/* τ W_v, which block 1 left out of the values: the attention's weights sum to 1. */
static void add_time(const facet_denoise_block *block, facet_real *attended) {
  const int64_t d = block->size->d, rows = block->layer[0].rows;
  const facet_real *row = block->time->row[DENOISE_TAU_V];
  for (int64_t u = 0; u < block->n_units; u++)
    facet_vector_get()->add_row(rows, d, row + block->level[u] * d, attended + u * rows * d);
}

/* Cross-attention: one vector per unit. */
static void add_cross(const facet_denoise_block *block, int64_t l, facet_real *h) {
  const int64_t d = block->size->d, rows = block->layer[l].rows;
  for (int64_t u = 0; u < block->n_units; u++)
    facet_vector_get()->add_row(rows, d, block->cross[l] + u * d, h + u * rows * d);
}

void facet_denoise_layer_forward(facet_denoise_block *block, int64_t l) {
  const facet_vector *vector = facet_vector_get();
  const facet_rows *rows = vector->rows;
  const facet_real *const *w = layer_weights(block, l);
  facet_denoise_layer *a = &block->layer[l];
  const int64_t d = block->size->d, width = block->size->width, n = block->n_units * a->rows;
  const facet_rows_attention attention = attention_size(block, a->rows);
  facet_real *h = a->out; /* holds what stands before each norm */

  rows->attend(&attention, a->q, a->k, a->v, a->p, a->attended);
  if (l == 0) add_time(block, a->attended);
  memcpy(h, a->own, (size_t)(n * d) * sizeof *h);
  rows->product(false, true, n, d, d, a->attended, w[DENOISE_SELF_O], h);
  rows->norm(n, d, norm_eps, h, w[DENOISE_NORM_1_GAMMA], w[DENOISE_NORM_1_BETA], a->normal[0], a->inverse[0], h);

  add_cross(block, l, h);
  rows->norm(n, d, norm_eps, h, w[DENOISE_NORM_2_GAMMA], w[DENOISE_NORM_2_BETA], a->normal[1], a->inverse[1],
             a->middle);

  rows->product(false, false, n, width, d, a->middle, w[DENOISE_FFN_0_WEIGHT], a->hidden);
  rows->add_relu(n, width, w[DENOISE_FFN_0_BIAS], a->hidden);
  fill_rows(n, d, w[DENOISE_FFN_1_BIAS], h);
  rows->product(false, true, n, d, width, a->hidden, w[DENOISE_FFN_1_WEIGHT], h);
  vector->axpy(n * d, 1, a->middle, h);
  rows->norm(n, d, norm_eps, h, w[DENOISE_NORM_3_GAMMA], w[DENOISE_NORM_3_BETA], a->normal[2], a->inverse[2], h);
}

/* The norm that `gamma` belongs to, in place. */
static void norm_backward(const facet_denoise_block *block, int64_t l, int i, int gamma, facet_real *dx) {
  const facet_denoise_layer *a = &block->layer[l];
  facet_real *const *g = block->gradient + DENOISE_N_SHARED + DENOISE_N_LAYER * l;
  facet_vector_get()->rows->norm_backward(block->n_units * a->rows, block->size->d, dx, a->normal[i], a->inverse[i],
                                          layer_weights(block, l)[gamma], dx, g[gamma], g[gamma + 1]);
}

static void feed_forward_backward(facet_denoise_block *block, int64_t l) {
  const facet_rows *rows = facet_vector_get()->rows;
  facet_real *const *g = block->gradient + DENOISE_N_SHARED + DENOISE_N_LAYER * l;
  facet_real *const *transpose = block->weights->transpose + DENOISE_N_SHARED + DENOISE_N_LAYER * l;
  const facet_denoise_layer *a = &block->layer[l];
  facet_real *dh = block->d_layer.out, *d_hidden = block->d_layer.hidden;
  const int64_t d = block->size->d, width = block->size->width, n = block->n_units * a->rows;
  rows->product(true, true, width, d, n, a->hidden, dh, g[DENOISE_FFN_1_WEIGHT]);
  rows->column_sum(n, d, dh, g[DENOISE_FFN_1_BIAS]);
  rows->product(false, false, n, width, d, dh, transpose[DENOISE_FFN_1_WEIGHT], d_hidden);
  rows->mask_relu(n * width, a->hidden, d_hidden);
  rows->product(true, true, d, width, n, a->middle, d_hidden, g[DENOISE_FFN_0_WEIGHT]);
  rows->column_sum(n, width, d_hidden, g[DENOISE_FFN_0_BIAS]);
  rows->product(false, true, n, d, width, d_hidden, transpose[DENOISE_FFN_0_WEIGHT], dh);
}

void facet_denoise_layer_backward(facet_denoise_block *block, int64_t l) {
  const facet_rows *rows = facet_vector_get()->rows;
  facet_real *const *g = block->gradient + DENOISE_N_SHARED + DENOISE_N_LAYER * l;
  facet_real *const *transpose = block->weights->transpose + DENOISE_N_SHARED + DENOISE_N_LAYER * l;
  const facet_denoise_layer *a = &block->layer[l];
  facet_denoise_layer_gradient *da = &block->d_layer;
  const int64_t d = block->size->d, n = block->n_units * a->rows;
  norm_backward(block, l, 2, DENOISE_NORM_3_GAMMA, da->out);
  feed_forward_backward(block, l);
  norm_backward(block, l, 1, DENOISE_NORM_2_GAMMA, da->out);
  for (int64_t u = 0; u < block->n_units; u++)
    rows->column_sum(a->rows, d, da->out + u * a->rows * d, block->d_cross[l] + u * d);
  norm_backward(block, l, 0, DENOISE_NORM_1_GAMMA, da->out);
  rows->product(true, true, d, d, n, a->attended, da->out, g[DENOISE_SELF_O]);
  rows->product(false, false, n, d, d, da->out, transpose[DENOISE_SELF_O], da->attended);
  const facet_rows_attention attention = attention_size(block, a->rows);
  rows->attend_backward(&attention, a->q, a->k, a->v, a->p, da->attended, da->p, da->q, da->k, da->v);
}
