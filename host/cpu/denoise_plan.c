/* Cutting and memory of the operator denoise (cpu/denoise_plan.h). */
#include "cpu/denoise_plan.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "cpu/vector.h"

facet_denoise_size facet_denoise_size_make(const facet_denoise_params *params, const facet_shape *x) {
  const facet_denoiser_options *options = &params->denoiser;
  const int64_t c = x->dim[1], d = x->dim[2];
  double n = options->attention_scale == FACET_SCALE_KEYS ? (double)c : (double)d / (double)options->heads;
  return (facet_denoise_size){.c = c,
                              .d = d,
                              .width = options->ffn_factor * d,
                              .n_layers = options->n_layers,
                              .heads = options->heads,
                              .scale = (facet_real)(1 / sqrt(n)),
                              .flag = options->token_flag,
                              .projection = options->output_projection};
}

enum { BLOCK_NUMBERS = 16384 }; /* of a block's [d][channels · c] aimed at: a dozen such are in the L2 cache */

int64_t facet_denoise_sum_numbers(const facet_denoise_size *size, int k) {
  facet_denoise_weight weight;
  const facet_denoise_sum sum = facet_denoise_sum_of(size, k);
  if (sum == DENOISE_SUM_NONE) return 0;
  facet_denoise_describe(size, k, &weight);
  return facet_shape_elements(&weight.shape) * (sum == DENOISE_SUM_LANES ? FACET_LANES : 1);
}

static void cut_kept(const facet_denoise_params *params, facet_denoise_work *w) {
  facet_denoise_kept kept;
  w->kept_steps = params->chain ? params->gradient_steps : 1;
  w->kept_bytes = facet_denoise_kept_place_x(&w->size, w->channels, NULL, &kept);
  const size_t norms = facet_denoise_kept_place_norms(&w->size, w->channels, NULL, &kept);
  w->keep_norms = norms * (size_t)(w->kept_steps * w->n_units * w->n_parts) <= params->max_norm_bytes;
  if (w->keep_norms) w->kept_bytes += norms;
}

void facet_denoise_work_make(const facet_denoise_params *params, const facet_shape *x, facet_denoise_work *w) {
  *w = (facet_denoise_work){.size = facet_denoise_size_make(params, x), .params = params, .batch = x->dim[0]};
  const int64_t c = w->size.c, d = w->size.d;
  w->channels = BLOCK_NUMBERS / (c * d * FACET_LANES);
  if (w->channels < 1) w->channels = 1;
  if (w->channels > c) w->channels = c;
  w->n_parts = (c + w->channels - 1) / w->channels;
  w->n_units = (w->batch + FACET_LANES - 1) / FACET_LANES;
  w->n_groups = w->n_units < FACET_DENOISE_MAX_GROUPS ? w->n_units : FACET_DENOISE_MAX_GROUPS;
  const int64_t processors = sysconf(_SC_NPROCESSORS_CONF); /* fixed, unlike the number of threads */
  w->n_workers = processors < 1 ? 1 : processors < w->n_groups ? processors : w->n_groups;
  cut_kept(params, w);
  w->max_levels = params->chain ? params->steps : w->batch * c;
  w->n_time_rows = params->chain ? w->n_groups * params->gradient_steps : w->batch * c;
  for (w->n_slots = 1; !params->chain && w->n_slots < 2 * w->max_levels;) w->n_slots *= 2;
  for (int k = 0; k < facet_denoise_n_weights(&w->size); k++) {
    const int64_t n = facet_denoise_sum_numbers(&w->size, k);
    w->partial_at[k] = n ? w->n_partial : -1;
    w->n_partial += (n + 15) / 16 * 16;
  }
}

static void *at_end(const facet_denoise_placer *placer) {
  return placer->memory ? placer->memory + placer->n_bytes : NULL;
}

static void place_worker(const facet_denoise_work *w, facet_denoise_placer *placer, facet_denoise_worker *own) {
  const int64_t d = w->size.d;
  own->f = facet_denoise_place_lanes(placer, d, w->channels);
  own->x = facet_denoise_place_lanes(placer, d, w->channels);
  own->z = facet_denoise_place_lanes(placer, d, w->channels);
  own->zeros = facet_denoise_place_real(placer, d);
  placer->n_bytes += facet_denoise_block_place(&w->size, w->channels, at_end(placer), &own->block);
  placer->n_bytes += facet_denoise_kept_place_x(&w->size, w->channels, at_end(placer), &own->kept);
  placer->n_bytes += facet_denoise_kept_place_norms(&w->size, w->channels, at_end(placer), &own->kept);
  for (int i = 0; i < DENOISE_N_TAU; i++) {
    if (!w->params->chain) own->block.tau[i] = facet_denoise_place_lanes(placer, d, w->channels);
    own->block.d_tau[i] = facet_denoise_place_lanes(placer, d, w->params->chain ? 1 : w->channels);
  }
}

static void place_matrix(facet_denoise_placer *placer, const facet_shape *shape, facet_denoise_weights *weights,
                         int k) {
  weights->transpose[k] = facet_denoise_place_real(placer, facet_shape_elements(shape));
  weights->value_pairs[k] =
      facet_denoise_place(placer, facet_lanes_pairs(shape->dim[0], shape->dim[1]), sizeof(uint32_t));
  weights->transpose_pairs[k] =
      facet_denoise_place(placer, facet_lanes_pairs(shape->dim[1], shape->dim[0]), sizeof(uint32_t));
}

size_t facet_denoise_work_place(facet_denoise_work *w, char *memory) {
  facet_denoise_placer placer = {.memory = memory};
  const int64_t c = w->size.c, d = w->size.d;
  w->step = facet_denoise_place(&placer, w->params->steps, sizeof *w->step);
  w->slot = facet_denoise_place(&placer, w->n_slots, sizeof *w->slot);
  w->unit_level = facet_denoise_place(&placer, w->params->chain ? 0 : w->batch * c, sizeof *w->unit_level);
  w->step_tau = facet_denoise_place_lanes(&placer, w->params->steps * DENOISE_N_TAU * d, 1);
  w->d_time_rows = facet_denoise_place_real(&placer, w->n_time_rows * DENOISE_N_TAU * d);
  w->partial = facet_denoise_place_real(&placer, w->n_groups * w->n_partial);
  for (int k = 0; k < facet_denoise_n_weights(&w->size); k++) {
    facet_denoise_weight weight;
    if (facet_denoise_describe(&w->size, k, &weight) && weight.shape.rank == 2)
      place_matrix(&placer, &weight.shape, &w->weights, k);
  }
  placer.n_bytes += facet_denoise_time_place(&w->size, w->max_levels, at_end(&placer), &w->time);
  for (int64_t i = 0; i < w->n_workers; i++) place_worker(w, &placer, &w->worker[i]);
  return placer.n_bytes;
}

/* ---- the begin of a run ----------------------------------------------------------------------------------------- */

/* Rows of the time table in the order of their first use: levels of a chain, or of the first n units. */
static void number_levels(const int32_t *level, int64_t n, facet_denoise_work *w) {
  facet_denoise_time *time = &w->time;
  time->n_levels = w->params->steps;
  for (int64_t t = 0; t < w->params->steps; t++) time->level[t] = (int32_t)t;
  if (w->params->chain) return;
  memset(w->slot, 0, (size_t)w->n_slots * sizeof *w->slot);
  for (int64_t u = 0; u < n; u++) {
    uint32_t at = (uint32_t)level[u] * 2654435761u % (uint32_t)w->n_slots; /* Knuth's multiplicative hash */
    while (w->slot[at] && time->level[w->slot[at] - 1] != level[u]) at = (at + 1) % (uint32_t)w->n_slots;
    if (!w->slot[at]) {
      time->level[time->n_levels++] = level[u];
      w->slot[at] = (int32_t)time->n_levels;
    }
    w->unit_level[u] = w->slot[at] - 1;
  }
}

static void transpose_weights(facet_denoise_work *w) {
  for (int k = 0; k < facet_denoise_n_weights(&w->size); k++) {
    facet_real *to = w->weights.transpose[k];
    const facet_real *from = w->weights.value[k];
    facet_denoise_weight weight;
    facet_denoise_describe(&w->size, k, &weight);
    const int64_t rows = weight.shape.dim[0], columns = weight.shape.dim[1];
    for (int64_t i = 0; to && i < rows; i++)
      for (int64_t j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
  }
}

static void round_weights(facet_denoise_work *w, const facet_lane_kernels *lanes) {
  facet_denoise_weights *weights = &w->weights;
  weights->rounded = lanes->round != NULL;
  for (int k = 0; weights->rounded && k < facet_denoise_n_weights(&w->size); k++) {
    facet_denoise_weight weight;
    facet_denoise_describe(&w->size, k, &weight);
    const int64_t rows = weight.shape.dim[0], columns = weight.shape.dim[1];
    if (!weights->transpose[k]) continue;
    lanes->round(rows, columns, weights->value[k], weights->value_pairs[k]);
    lanes->round(columns, rows, weights->transpose[k], weights->transpose_pairs[k]);
  }
}

/* The time table's rows of a chain, each number in all lanes. */
static void fill_step_tau(const facet_denoise_work *w) {
  const int64_t d = w->size.d;
  for (int64_t t = 0; t < w->params->steps; t++)
    for (int i = 0; i < DENOISE_N_TAU; i++)
      for (int64_t f = 0; f < d; f++)
        for (int64_t lane = 0; lane < FACET_LANES; lane++)
          w->step_tau.at[((t * DENOISE_N_TAU + i) * d + f) * FACET_LANES + lane] = w->time.row[i][t * d + f];
}

void facet_denoise_work_begin(facet_denoise_work *w, const int32_t *level, int64_t n_valid) {
  const facet_lane_kernels *lanes = facet_vector_lanes(w->bf16);
  transpose_weights(w);
  round_weights(w, lanes);
  if (w->params->chain) facet_diffusion_steps(&w->params->diffusion, w->params->steps, w->step);
  number_levels(level, n_valid * w->size.c, w);
  facet_denoise_time_forward(&w->size, &w->weights, &w->time);
  if (w->params->chain) fill_step_tau(w);
  for (int64_t i = 0; i < w->n_workers; i++) {
    facet_denoise_worker *own = &w->worker[i];
    own->block.weights = &w->weights;
    own->block.lanes = lanes;
    own->block.tau_step = !w->params->chain;
    memset(own->zeros, 0, (size_t)w->size.d * sizeof *own->zeros);
  }
}
