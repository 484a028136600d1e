/* The denoiser on a block of samples (see cpu/denoise.h for what is shared and left out). */
#include <string.h>

#include "cpu/denoise.h"
#include "cpu/vector.h"

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* `in`: the output of the layer below, NULL in block 1. */
static void place_layer(const facet_denoise_size *size, bool last, int64_t units, facet_real *in,
                        facet_denoise_placer *placer, facet_denoise_layer *layer) {
  layer->rows = last ? 1 : size->c;
  const int64_t n = units * layer->rows, all = units * size->c * size->d;
  layer->in = in;
  layer->own = in && !last ? in : facet_denoise_place_real(placer, n * size->d);
  layer->q = facet_denoise_place_real(placer, n * size->d);
  layer->k = facet_denoise_place_real(placer, all);
  layer->v = facet_denoise_place_real(placer, all);
  layer->p = facet_denoise_place_real(placer, n * size->heads * size->c);
  layer->attended = facet_denoise_place_real(placer, n * size->d);
  for (int i = 0; i < 3; i++) {
    layer->normal[i] = facet_denoise_place_real(placer, n * size->d);
    layer->inverse[i] = facet_denoise_place_real(placer, n);
  }
  layer->middle = facet_denoise_place_real(placer, n * size->d);
  layer->hidden = facet_denoise_place_real(placer, n * size->width);
  layer->out = facet_denoise_place_real(placer, n * size->d);
}

static void place_layer_gradient(const facet_denoise_size *size, int64_t units, facet_denoise_placer *placer,
                                 facet_denoise_layer_gradient *gradient) {
  const int64_t n = units * size->c, all = n * size->d;
  facet_real **const arrays[] = {&gradient->out, &gradient->in, &gradient->q,
                                 &gradient->k,   &gradient->v,  &gradient->attended};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) *arrays[i] = facet_denoise_place_real(placer, all);
  gradient->p = facet_denoise_place_real(placer, n * size->heads * size->c);
  gradient->hidden = facet_denoise_place_real(placer, n * size->width);
}

size_t facet_denoise_block_place(const facet_denoise_size *size, int64_t n_samples, char *memory,
                                 facet_denoise_block *block) {
  facet_denoise_placer placer = {.memory = memory};
  const int64_t units = n_samples * size->c, n = units * size->d;
  facet_real **const arrays[] = {&block->clean,    &block->clean_q,    &block->clean_k,    &block->clean_v,
                                 &block->noised,   &block->noised_q,   &block->noised_k,   &block->noised_v,
                                 &block->d_clean,  &block->d_clean_q,  &block->d_clean_k,  &block->d_clean_v,
                                 &block->d_noised, &block->d_noised_q, &block->d_noised_k, &block->d_noised_v};
  block->size = size;
  block->level = facet_denoise_place(&placer, units, sizeof(int32_t));
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) *arrays[i] = facet_denoise_place_real(&placer, n);
  for (int64_t l = 0; l < size->n_layers; l++) {
    block->cross_value[l] = facet_denoise_place_real(&placer, n);
    block->cross[l] = facet_denoise_place_real(&placer, n);
    block->d_cross[l] = facet_denoise_place_real(&placer, n);
    place_layer(size, l == size->n_layers - 1, units, l ? block->layer[l - 1].out : NULL, &placer, &block->layer[l]);
  }
  place_layer_gradient(size, units, &placer, &block->d_layer);
  return placer.n_bytes;
}

static const facet_real *weight(const facet_denoise_block *block, int64_t l, int k) {
  return block->weights->value[DENOISE_N_SHARED + DENOISE_N_LAYER * l + k];
}
static const facet_real *transpose(const facet_denoise_block *block, int64_t l, int k) {
  return block->weights->transpose[DENOISE_N_SHARED + DENOISE_N_LAYER * l + k];
}
static facet_real *gradient(const facet_denoise_block *block, int64_t l, int k) {
  return block->gradient[DENOISE_N_SHARED + DENOISE_N_LAYER * l + k];
}

/* x W of `rows` rows by a d × d weight of layer l. */
static void project(const facet_denoise_block *block, int64_t rows, int64_t l, int k, const facet_real *x,
                    facet_real *y) {
  const int64_t d = block->size->d;
  facet_vector_get()->rows->product(false, false, rows, d, d, x, weight(block, l, k), y);
}

/* The weight's gradient += xᵀ dy, and dx += dy Wᵀ, or dx = dy Wᵀ without `add`. */
static void project_backward(const facet_denoise_block *block, int64_t rows, int64_t l, int k, const facet_real *x,
                             const facet_real *dy, bool add, facet_real *dx) {
  const facet_rows *kernels = facet_vector_get()->rows;
  const int64_t d = block->size->d;
  kernels->product(true, true, d, d, rows, x, dy, gradient(block, l, k));
  kernels->product(false, add, rows, d, d, dy, transpose(block, l, k), dx);
}

/* ---- what is made once per block -------------------------------------------------------------------------------- */

static void zero(int64_t n, facet_real *x) {
  memset(x, 0, (size_t)n * sizeof *x);
}

/* y = x, with the flag's row added if there is one. */
static void copy_flagged(const facet_denoise_block *block, int64_t rows, int64_t which, const facet_real *x,
                         facet_real *y) {
  const int64_t d = block->size->d;
  memcpy(y, x, (size_t)(rows * d) * sizeof *y);
  if (block->size->flag) facet_vector_get()->add_row(rows, d, block->weights->value[DENOISE_FLAG] + which * d, y);
}

static void flag_backward(const facet_denoise_block *block, int64_t which, const facet_real *dx) {
  const int64_t d = block->size->d;
  if (block->size->flag)
    facet_vector_get()->rows->column_sum(block->n_units, d, dx, block->gradient[DENOISE_FLAG] + which * d);
}

void facet_denoise_block_begin(facet_denoise_block *block, int64_t n_samples, const facet_real *r,
                               const facet_real *o) {
  const int64_t n = n_samples * block->size->c;
  block->n_samples = n_samples;
  block->n_units = n;
  block->o = o;
  copy_flagged(block, n, 0, r, block->clean);
  if (block->layer[0].rows > 1) project(block, n, 0, DENOISE_SELF_Q, block->clean, block->clean_q);
  project(block, n, 0, DENOISE_SELF_K, block->clean, block->clean_k);
  project(block, n, 0, DENOISE_SELF_V, block->clean, block->clean_v);
  for (int64_t l = 0; l < block->size->n_layers; l++) {
    project(block, n, l, DENOISE_CROSS_V, o, block->cross_value[l]);
    project(block, n, l, DENOISE_CROSS_O, block->cross_value[l], block->cross[l]);
  }
}

void facet_denoise_block_begin_backward(facet_denoise_block *block) {
  const int64_t n = block->n_units * block->size->d;
  zero(n, block->d_clean);
  zero(n, block->d_clean_q);
  zero(n, block->d_clean_k);
  zero(n, block->d_clean_v);
  for (int64_t l = 0; l < block->size->n_layers; l++) zero(n, block->d_cross[l]);
}

void facet_denoise_block_end_backward(facet_denoise_block *block, facet_real *d_r, facet_real *d_o) {
  const facet_vector *vector = facet_vector_get();
  const int64_t units = block->n_units, n = units * block->size->d;
  if (block->layer[0].rows > 1)
    project_backward(block, units, 0, DENOISE_SELF_Q, block->clean, block->d_clean_q, true, block->d_clean);
  project_backward(block, units, 0, DENOISE_SELF_K, block->clean, block->d_clean_k, true, block->d_clean);
  project_backward(block, units, 0, DENOISE_SELF_V, block->clean, block->d_clean_v, true, block->d_clean);
  flag_backward(block, 0, block->d_clean);
  if (d_r) vector->axpy(n, 1, block->d_clean, d_r);
  facet_real *d_value = block->d_noised, *d_key = block->d_noised_q; /* free by now */
  for (int64_t l = 0; l < block->size->n_layers; l++) {
    project_backward(block, units, l, DENOISE_CROSS_O, block->cross_value[l], block->d_cross[l], false, d_value);
    project_backward(block, units, l, DENOISE_CROSS_V, block->o, d_value, false, d_key);
    if (d_o) vector->axpy(n, 1, d_key, d_o);
  }
}

/* ---- the tokens of block 1 -------------------------------------------------------------------------------------- */

/* Row j of unit u in the arrays of the clean or, for the unit's own channel, the noised tokens. */
static facet_real *token(const facet_denoise_block *block, int64_t u, int64_t j, facet_real *clean,
                         facet_real *noised) {
  const int64_t c = block->size->c, d = block->size->d;
  return j == u % c ? noised + u * d : clean + (u / c * c + j) * d;
}

static const facet_real *tau(const facet_denoise_block *block, int which, int64_t u) {
  return block->time->row[which] + block->level[u] * block->size->d;
}

/* y = x + b */
static void sum_row(int64_t d, const facet_real *x, const facet_real *b, facet_real *y) {
  for (int64_t k = 0; k < d; k++) y[k] = x[k] + b[k];
}

static void assemble(facet_denoise_block *block) {
  facet_denoise_layer *first = &block->layer[0];
  const int64_t c = block->size->c, d = block->size->d;
  for (int64_t u = 0; u < block->n_units; u++) {
    for (int64_t j = 0; j < c; j++) {
      const int64_t at = (u * c + j) * d;
      memcpy(first->k + at, token(block, u, j, block->clean_k, block->noised_k), (size_t)d * sizeof(facet_real));
      memcpy(first->v + at, token(block, u, j, block->clean_v, block->noised_v), (size_t)d * sizeof(facet_real));
    }
    for (int64_t row = 0; row < first->rows; row++) {
      const int64_t at = (u * first->rows + row) * d, j = first->rows == 1 ? u % c : row;
      sum_row(d, token(block, u, j, block->clean, block->noised), tau(block, DENOISE_TAU, u), first->own + at);
      sum_row(d, token(block, u, j, block->clean_q, block->noised_q), tau(block, DENOISE_TAU_Q, u), first->q + at);
    }
  }
}

/* From d_layer: gradients of the tokens, their projections and the time rows. */
static void assemble_backward(facet_denoise_block *block, facet_real *d_time) {
  const facet_vector *vector = facet_vector_get();
  const facet_denoise_layer_gradient *da = &block->d_layer;
  const int64_t c = block->size->c, d = block->size->d, rows = block->layer[0].rows;
  for (int64_t u = 0; u < block->n_units; u++) {
    for (int64_t j = 0; j < c; j++) {
      const int64_t at = (u * c + j) * d;
      vector->axpy(d, 1, da->k + at, token(block, u, j, block->d_clean_k, block->d_noised_k));
      vector->axpy(d, 1, da->v + at, token(block, u, j, block->d_clean_v, block->d_noised_v));
    }
    facet_real *d_tau = d_time + u * DENOISE_N_TAU * d;
    zero(DENOISE_N_TAU * d, d_tau);
    for (int64_t row = 0; row < rows; row++) {
      const int64_t at = (u * rows + row) * d, j = rows == 1 ? u % c : row;
      vector->axpy(d, 1, da->out + at, token(block, u, j, block->d_clean, block->d_noised));
      vector->axpy(d, 1, da->q + at, token(block, u, j, block->d_clean_q, block->d_noised_q));
    }
    vector->rows->column_sum(rows, d, da->out + u * rows * d, d_tau + DENOISE_TAU * d);
    vector->rows->column_sum(rows, d, da->q + u * rows * d, d_tau + DENOISE_TAU_Q * d);
    vector->rows->column_sum(rows, d, da->attended + u * rows * d, d_tau + DENOISE_TAU_V * d);
  }
}

static void noise_tokens(facet_denoise_block *block, const facet_real *x) {
  copy_flagged(block, block->n_units, 1, x, block->noised);
  project(block, block->n_units, 0, DENOISE_SELF_Q, block->noised, block->noised_q);
  project(block, block->n_units, 0, DENOISE_SELF_K, block->noised, block->noised_k);
  project(block, block->n_units, 0, DENOISE_SELF_V, block->noised, block->noised_v);
}

static void noise_tokens_backward(facet_denoise_block *block, facet_real *d_x) {
  const int64_t units = block->n_units;
  project_backward(block, units, 0, DENOISE_SELF_Q, block->noised, block->d_noised_q, true, block->d_noised);
  project_backward(block, units, 0, DENOISE_SELF_K, block->noised, block->d_noised_k, true, block->d_noised);
  project_backward(block, units, 0, DENOISE_SELF_V, block->noised, block->d_noised_v, true, block->d_noised);
  flag_backward(block, 1, block->d_noised);
  facet_vector_get()->axpy(units * block->size->d, 1, block->d_noised, d_x);
}

/* ---- the blocks after block 1 ----------------------------------------------------------------------------------- */

/* Row i of the tokens of unit u, where only that row goes on. */
static int64_t own_row(const facet_denoise_block *block, int64_t u) {
  return (u * block->size->c + u % block->size->c) * block->size->d;
}

static void project_tokens(facet_denoise_block *block, int64_t l) {
  facet_denoise_layer *a = &block->layer[l];
  const int64_t d = block->size->d, units = block->n_units;
  if (a->own != a->in)
    for (int64_t u = 0; u < units; u++) memcpy(a->own + u * d, a->in + own_row(block, u), (size_t)d * sizeof *a->own);
  project(block, units * a->rows, l, DENOISE_SELF_Q, a->own, a->q);
  project(block, units * block->size->c, l, DENOISE_SELF_K, a->in, a->k);
  project(block, units * block->size->c, l, DENOISE_SELF_V, a->in, a->v);
}

/* From d_layer of layer l: d_layer.out becomes the gradient of the output of layer l − 1. */
static void project_tokens_backward(facet_denoise_block *block, int64_t l) {
  const facet_vector *vector = facet_vector_get();
  const facet_denoise_layer *a = &block->layer[l];
  facet_denoise_layer_gradient *da = &block->d_layer;
  const int64_t d = block->size->d, units = block->n_units, all = units * block->size->c;
  project_backward(block, units * a->rows, l, DENOISE_SELF_Q, a->own, da->q, true, da->out);
  project_backward(block, all, l, DENOISE_SELF_K, a->in, da->k, false, da->in);
  project_backward(block, all, l, DENOISE_SELF_V, a->in, da->v, true, da->in);
  if (a->own == a->in)
    vector->axpy(all * d, 1, da->out, da->in);
  else
    for (int64_t u = 0; u < units; u++) vector->axpy(d, 1, da->out + u * d, da->in + own_row(block, u));
  facet_real *below = da->in;
  da->in = da->out;
  da->out = below;
}

/* ---- one call --------------------------------------------------------------------------------------------------- */

void facet_denoise_block_call(facet_denoise_block *block, const facet_real *x, facet_real *f) {
  const facet_vector *vector = facet_vector_get();
  const int64_t d = block->size->d, n_layers = block->size->n_layers, units = block->n_units;
  noise_tokens(block, x);
  assemble(block);
  for (int64_t l = 0; l < n_layers; l++) {
    if (l > 0) project_tokens(block, l);
    facet_denoise_layer_forward(block, l);
  }
  const facet_real *out = block->layer[n_layers - 1].out;
  if (!block->size->projection) {
    memcpy(f, out, (size_t)(units * d) * sizeof *f);
    return;
  }
  vector->rows->product(false, false, units, d, d, out, block->weights->value[DENOISE_OUT_WEIGHT], f);
  vector->add_row(units, d, block->weights->value[DENOISE_OUT_BIAS], f);
}

static void projection_backward(facet_denoise_block *block, const facet_real *d_f) {
  const facet_rows *rows = facet_vector_get()->rows;
  const int64_t d = block->size->d, units = block->n_units;
  if (!block->size->projection) {
    memcpy(block->d_layer.out, d_f, (size_t)(units * d) * sizeof *d_f);
    return;
  }
  const facet_real *out = block->layer[block->size->n_layers - 1].out;
  rows->product(true, true, d, d, units, out, d_f, block->gradient[DENOISE_OUT_WEIGHT]);
  rows->column_sum(units, d, d_f, block->gradient[DENOISE_OUT_BIAS]);
  rows->product(false, false, units, d, d, d_f, block->weights->transpose[DENOISE_OUT_WEIGHT], block->d_layer.out);
}

void facet_denoise_block_call_backward(facet_denoise_block *block, const facet_real *d_f, facet_real *d_x,
                                       facet_real *d_time) {
  const int64_t n = block->n_units * block->size->d;
  projection_backward(block, d_f);
  for (int64_t l = block->size->n_layers - 1; l > 0; l--) {
    facet_denoise_layer_backward(block, l);
    project_tokens_backward(block, l);
  }
  facet_denoise_layer_backward(block, 0);
  zero(n, block->d_noised);
  zero(n, block->d_noised_q);
  zero(n, block->d_noised_k);
  zero(n, block->d_noised_v);
  assemble_backward(block, d_time);
  noise_tokens_backward(block, d_x);
}
