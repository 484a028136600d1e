/* denoise: the conditional denoiser f(x, {r_j}_{j≠i}, o_i, t) of DiffuMIN (arXiv 2508.15311) for every channel i, as one
 * call or as the reverse chain. Tokens: r with row i replaced by x_i, plus the flag's rows, plus τ(t) on every row; then
 * n_layers of  h ← LN(h + MHA(h, h, h)),  h ← LN(h + MHA(h, o_i, o_i)),  h ← LN(h + W_b relu(W_a h + b_a) + b_b);
 * f is row i, through a linear map with output_projection. The exact savings are told in cpu/denoise.h.
 *
 * Chain: x at level steps − 1; for t = steps − 1 … 0 with f_t = f(x, .., t):
 *
 *   x ← F_t f_t + X_t x + [t > 0] √v_t z_t
 *   x0:            F = c1,                 X = c2
 *   eps, eps_bug:  F = −c1 √(1/ᾱ − 1),     X = c1/√ᾱ + c2        (x̂₀ = x/√ᾱ − √(1/ᾱ − 1) f)
 *   backward:      f̄_t = F_t x̄,            x̄ ← X_t x̄ + Jᵀ f̄_t,   J = ∂f_t/∂x
 *
 * Blocks of samples go through all steps while in cache. Forward keeps x before each of the last gradient_steps steps,
 * and backward computes the step again from it. A group of blocks adds the gradients of the weights for itself, and the
 * groups' sums are added in order: blocks and groups follow from the shapes, not from threads. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "cpu/denoise.h"
#include "cpu/diffusion.h"
#include "cpu/vector.h"
#include "ops/diffusion.h"

typedef struct facet_denoise_params {
  facet_denoiser_options denoiser;
  facet_diffusion_options diffusion; /* of a chain */
  facet_diffusion_parameter parameter;
  int64_t steps, gradient_steps; /* 0 in one call */
  bool chain, noise;             /* else one call with levels given; a chain has z */
} facet_denoise_params;

/* Inputs: x, r, o, then level (one call) or z (a chain with noise), then the weights that exist. */
enum { IN_X, IN_R, IN_O, IN_EXTRA };

static bool has_extra(const facet_denoise_params *params) {
  return !params->chain || params->noise;
}

static facet_denoise_size make_size(const facet_denoise_params *params, const facet_shape *x) {
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

/* ---- how the work is cut ---------------------------------------------------------------------------------------- */

enum { MAX_GROUPS = 32, MAX_BLOCK_SAMPLES = 16, BLOCK_NUMBERS = 16 * 4 * 4 * 40 }; /* tokens of a block: L2 cache */

typedef struct work {
  facet_denoise_size size;
  const facet_denoise_params *params;
  int64_t batch, block_samples, n_blocks, n_groups;
  int64_t max_levels; /* rows of the time table */
  int64_t n_time_rows, n_slots, n_partial;
  /* in scratch memory */
  facet_denoise_time time;
  facet_denoise_weights weights;
  facet_diffusion_step *step;              /* [steps] */
  int32_t *slot;                           /* [n_slots]: hash table of levels; 0: empty, else its row + 1 */
  int32_t *unit_level;                     /* one call: [batch, c]: row of the time table */
  facet_real *d_time_rows;                 /* [n_time_rows, DENOISE_N_TAU, d] */
  facet_real *partial;                     /* [n_groups, n_partial]: gradients of the weights */
  int64_t partial_at[DENOISE_MAX_WEIGHTS]; /* −1: none */
  facet_denoise_block block[MAX_GROUPS];
  facet_real *x[MAX_GROUPS], *f[MAX_GROUPS], *d_time[MAX_GROUPS]; /* [units, d] twice, [units, DENOISE_N_TAU, d] */
} work;

static bool adds_per_block(const facet_denoise_size *size, int k) {
  const int of_layer = (k - DENOISE_N_SHARED) % DENOISE_N_LAYER;
  facet_denoise_weight weight;
  if (k < DENOISE_FLAG || !facet_denoise_describe(size, k, &weight)) return false; /* time weights: the time table */
  return k < DENOISE_N_SHARED || (of_layer != DENOISE_CROSS_Q && of_layer != DENOISE_CROSS_K); /* these are dead */
}

static void cut(const facet_denoise_params *params, const facet_shape *x, work *w) {
  *w = (work){.size = make_size(params, x), .params = params, .batch = x->dim[0]};
  const int64_t c = w->size.c, d = w->size.d;
  w->block_samples = MAX_BLOCK_SAMPLES;
  while (w->block_samples > 1 && w->block_samples * c * c * d > BLOCK_NUMBERS) w->block_samples /= 2;
  w->n_blocks = (w->batch + w->block_samples - 1) / w->block_samples;
  w->n_groups = w->n_blocks < MAX_GROUPS ? w->n_blocks : MAX_GROUPS;
  w->max_levels = params->chain ? params->steps : w->batch * c;
  w->n_time_rows = params->chain ? w->n_blocks * params->gradient_steps : w->batch * c;
  for (w->n_slots = 1; !params->chain && w->n_slots < 2 * w->max_levels;) w->n_slots *= 2;
  for (int k = 0; k < facet_denoise_n_weights(&w->size); k++) {
    facet_denoise_weight weight;
    facet_denoise_describe(&w->size, k, &weight);
    w->partial_at[k] = adds_per_block(&w->size, k) ? w->n_partial : -1;
    if (w->partial_at[k] >= 0) w->n_partial += (facet_shape_elements(&weight.shape) + 15) / 16 * 16;
  }
}

/* Places everything in scratch memory (NULL: only counts); returns the bytes. */
static size_t place(work *w, char *memory) {
  facet_denoise_placer placer = {.memory = memory};
  const int64_t c = w->size.c, d = w->size.d, numbers = w->block_samples * c * d;
  w->step = facet_denoise_place(&placer, w->params->steps, sizeof *w->step);
  w->slot = facet_denoise_place(&placer, w->n_slots, sizeof *w->slot);
  w->unit_level = facet_denoise_place(&placer, w->params->chain ? 0 : w->batch * c, sizeof *w->unit_level);
  w->d_time_rows = facet_denoise_place_real(&placer, w->n_time_rows * DENOISE_N_TAU * d);
  w->partial = facet_denoise_place_real(&placer, w->n_groups * w->n_partial);
  for (int k = 0; k < facet_denoise_n_weights(&w->size); k++) {
    facet_denoise_weight weight;
    if (facet_denoise_describe(&w->size, k, &weight) && weight.shape.rank == 2)
      w->weights.transpose[k] = facet_denoise_place_real(&placer, facet_shape_elements(&weight.shape));
  }
  placer.n_bytes +=
      facet_denoise_time_place(&w->size, w->max_levels, memory ? memory + placer.n_bytes : NULL, &w->time);
  for (int64_t g = 0; g < w->n_groups; g++) {
    w->x[g] = facet_denoise_place_real(&placer, numbers);
    w->f[g] = facet_denoise_place_real(&placer, numbers);
    w->d_time[g] = facet_denoise_place_real(&placer, DENOISE_N_TAU * numbers);
    placer.n_bytes +=
        facet_denoise_block_place(&w->size, w->block_samples, memory ? memory + placer.n_bytes : NULL, &w->block[g]);
  }
  return placer.n_bytes;
}

/* ---- shape and cost --------------------------------------------------------------------------------------------- */

static facet_status check_options(const facet_op_rule *rule) {
  const facet_denoise_params *params = rule->params;
  const facet_denoiser_options *options = &params->denoiser;
  FACET_OP_CHECK(rule, options->n_layers >= 1 && options->n_layers <= FACET_DENOISE_MAX_LAYERS,
                 "%lld layers, expected 1 to %d", (long long)options->n_layers, FACET_DENOISE_MAX_LAYERS);
  FACET_OP_CHECK(rule, options->ffn_factor >= 1, "ffn_factor is %lld, expected at least 1",
                 (long long)options->ffn_factor);
  FACET_OP_CHECK(rule, options->attention_scale == FACET_SCALE_HEAD || options->attention_scale == FACET_SCALE_KEYS,
                 "attention_scale is %d, expected %d (head) or %d (keys)", options->attention_scale, FACET_SCALE_HEAD,
                 FACET_SCALE_KEYS);
  if (!params->chain) return FACET_OK;
  FACET_TRY(facet_diffusion_check(rule, &params->diffusion));
  FACET_OP_CHECK(rule, params->steps >= 1 && params->steps <= params->diffusion.levels,
                 "%lld steps, expected 1 to %lld, the number of levels", (long long)params->steps,
                 (long long)params->diffusion.levels);
  FACET_OP_CHECK(rule, params->gradient_steps >= 1 && params->gradient_steps <= params->steps,
                 "gradient_steps is %lld, expected 1 to %lld, the number of steps", (long long)params->gradient_steps,
                 (long long)params->steps);
  FACET_OP_CHECK(rule, params->parameter >= FACET_DIFFUSION_X0 && params->parameter <= FACET_DIFFUSION_EPS,
                 "the diffusion parameter is %d, expected %d to %d", (int)params->parameter, (int)FACET_DIFFUSION_X0,
                 (int)FACET_DIFFUSION_EPS);
  return FACET_OK;
}

static facet_status check_tensors(const facet_op_rule *rule) {
  const facet_denoise_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[IN_X];
  char text[64], other[64];
  facet_shape_format(x, text, sizeof text);
  FACET_OP_CHECK(rule, x->rank == 3 && rule->in_dtype[IN_X] == FACET_DTYPE_REAL, "x is %s, expected real [B, c, d]",
                 text);
  const int64_t c = x->dim[1], d = x->dim[2];
  FACET_OP_CHECK(rule, d >= 4 && d % 2 == 0, "x is %s, expected an even width of at least 4", text);
  FACET_OP_CHECK(rule, params->denoiser.heads >= 1 && d % params->denoiser.heads == 0,
                 "x is %s, whose width does not divide into %lld heads", text, (long long)params->denoiser.heads);
  for (int i = IN_R; i <= IN_O; i++)
    FACET_OP_CHECK(rule, facet_shape_equal(&rule->in_shape[i], x) && rule->in_dtype[i] == FACET_DTYPE_REAL,
                   "%c is %s, expected real %s like x", i == IN_R ? 'r' : 'o',
                   facet_shape_format(&rule->in_shape[i], other, sizeof other), text);
  if (!has_extra(params)) return FACET_OK;
  const facet_shape *extra = &rule->in_shape[IN_EXTRA];
  facet_shape_format(extra, other, sizeof other);
  if (!params->chain) {
    const facet_shape level = facet_shape_make(2, x->dim[0], c);
    FACET_OP_CHECK(rule, facet_shape_equal(extra, &level) && rule->in_dtype[IN_EXTRA] == FACET_DTYPE_INT32,
                   "level is %s, expected int32 [%lld, %lld]", other, (long long)x->dim[0], (long long)c);
    return FACET_OK;
  }
  const facet_shape z = facet_shape_make(4, x->dim[0], params->steps - 1, c, d);
  FACET_OP_CHECK(rule, params->steps > 1, "z is %s, but a chain of one step takes no noise", other);
  FACET_OP_CHECK(rule, facet_shape_equal(extra, &z) && rule->in_dtype[IN_EXTRA] == FACET_DTYPE_REAL,
                 "z is %s, expected real %s: [B, steps - 1, c, d]", other, facet_shape_format(&z, text, sizeof text));
  return FACET_OK;
}

static facet_status check_weights(const facet_op_rule *rule, const facet_denoise_size *size) {
  int input = IN_EXTRA + has_extra(rule->params);
  char text[64], other[64];
  for (int k = 0; k < facet_denoise_n_weights(size); k++) {
    facet_denoise_weight weight;
    if (!facet_denoise_describe(size, k, &weight)) continue;
    FACET_OP_CHECK(rule, input < rule->n_inputs && facet_shape_equal(&rule->in_shape[input], &weight.shape),
                   "the weight %s is %s, expected %s", weight.name,
                   facet_shape_format(&rule->in_shape[input], text, sizeof text),
                   facet_shape_format(&weight.shape, other, sizeof other));
    input++;
  }
  return FACET_OK;
}

static facet_status denoise_shape(facet_op_rule *rule) {
  const facet_denoise_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[IN_X];
  FACET_TRY(check_options(rule));
  FACET_TRY(check_tensors(rule));
  work w;
  cut(params, x, &w);
  FACET_TRY(check_weights(rule, &w.size));
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->saved_bytes = (size_t)(params->gradient_steps * facet_shape_elements(x)) * sizeof(facet_real);
  rule->scratch_bytes = place(&w, NULL);
  return FACET_OK;
}

/* FLOPs of the matrix products of one call for one channel. */
static double call_flops(const facet_denoise_size *size) {
  const double c = (double)size->c, d = (double)size->d, width = (double)size->width;
  double flops = size->projection ? 2 * d * d : 0;
  for (int64_t l = 0; l < size->n_layers; l++) {
    double rows = l == size->n_layers - 1 ? 1 : c;
    flops += l ? (2 * rows + 4 * c) * d * d : 6 * d * d;                 /* queries, keys and values */
    flops += 4 * rows * c * d + 2 * rows * d * d + 4 * rows * d * width; /* attention, W_o, feed-forward */
  }
  return flops;
}

/* FLOPs of the matrix products; norms, softmax and the like are below a tenth of them. Backward takes twice those of
 * forward; that it computes forward again is how it is done, not what is needed. With one call the levels count as
 * distinct. */
static void denoise_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_denoise_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[IN_X];
  const facet_denoise_size size = make_size(params, x);
  const double batch = (double)x->dim[0], c = (double)size.c, d = (double)size.d, layers = (double)size.n_layers;
  const double levels = params->chain ? (double)params->steps : batch * c;
  const double set_up = batch * c * d * d * ((size.n_layers > 1 ? 6 : 4) + 4 * layers) + levels * 20 * d * d;
  const double call = batch * c * call_flops(&size);
  cost->forward_flops = set_up + call * (params->chain ? (double)params->steps : 1);
  cost->backward_flops = 2 * (set_up + call * (params->chain ? (double)params->gradient_steps : 1));
  double inputs = 0, n = (double)facet_shape_elements(x);
  for (int i = 0; i < rule->n_inputs; i++) inputs += (double)facet_shape_elements(&rule->in_shape[i]);
  double saved = n * (double)params->gradient_steps;
  cost->forward_bytes = (inputs + n + saved) * sizeof(facet_real);
  cost->backward_bytes = (3 * inputs + n + saved) * sizeof(facet_real);
}

/* ---- set-up of a call ------------------------------------------------------------------------------------------- */

static void bind_weights(const facet_op_call *call, work *w) {
  int input = IN_EXTRA + has_extra(w->params);
  for (int k = 0; k < facet_denoise_n_weights(&w->size); k++) {
    facet_denoise_weight weight;
    if (facet_denoise_describe(&w->size, k, &weight)) w->weights.value[k] = call->in[input++];
  }
}

/* NULL where a gradient is not wanted. */
static void bind_gradients(const facet_op_call *call, const work *w, facet_real **gradient) {
  int input = IN_EXTRA + has_extra(w->params);
  for (int k = 0; k < facet_denoise_n_weights(&w->size); k++) {
    facet_denoise_weight weight;
    if (facet_denoise_describe(&w->size, k, &weight)) gradient[k] = call->d_in[input++];
  }
}

/* Rows of the time table in the order of their first use: levels of a chain, or of the first n units. */
static void number_levels(const facet_op_call *call, int64_t n, work *w) {
  facet_denoise_time *time = &w->time;
  time->n_levels = w->params->steps;
  for (int64_t t = 0; t < w->params->steps; t++) time->level[t] = (int32_t)t;
  if (w->params->chain) return;
  const int32_t *level = call->in[IN_EXTRA];
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

/* The rows with valid = 1; those after them are neither read nor given a gradient, and their output is zero. */
static int64_t valid_rows(const facet_op_call *call, const work *w) {
  return call->run->n_rows < w->batch ? call->run->n_rows : w->batch;
}

static void set_up(const facet_op_call *call, work *w) {
  cut(call->params, &call->in_shape[IN_X], w);
  place(w, call->scratch);
  bind_weights(call, w);
  if (w->params->chain) facet_diffusion_steps(&w->params->diffusion, w->params->steps, w->step);
  number_levels(call, valid_rows(call, w) * w->size.c, w);
  facet_denoise_time_forward(&w->size, &w->weights, &w->time);
}

static int n_threads(const work *w) {
  return omp_get_max_threads() < w->n_groups ? omp_get_max_threads() : (int)w->n_groups;
}

/* The samples of a block that count. */
typedef struct samples {
  int64_t first, n;      /* samples */
  int64_t at, n_numbers; /* their place and number in tensors like x */
} samples;

static samples block_samples(const work *w, int64_t block, int64_t n_valid) {
  int64_t first = block * w->block_samples, last = first + w->block_samples, numbers = w->size.c * w->size.d;
  last = last < n_valid ? last : n_valid;
  int64_t n = last > first ? last - first : 0;
  return (samples){.first = first, .n = n, .at = first * numbers, .n_numbers = n * numbers};
}

/* Sets a group's block up for these samples. */
static void begin(const facet_op_call *call, work *w, facet_denoise_block *block, samples s) {
  block->weights = &w->weights;
  block->time = &w->time;
  facet_denoise_block_begin(block, s.n, (const facet_real *)call->in[IN_R] + s.at,
                            (const facet_real *)call->in[IN_O] + s.at);
}

static void set_levels(const work *w, samples s, int64_t t, facet_denoise_block *block) {
  const int64_t c = w->size.c;
  for (int64_t u = 0; u < s.n * c; u++)
    block->level[u] = w->params->chain ? (int32_t)t : w->unit_level[s.first * c + u];
}

/* x ← of_f f + of_x x + of_z z at level t. */
typedef struct reverse_step {
  facet_real of_f, of_x, of_z;
} reverse_step;

static reverse_step make_step(const work *w, int64_t t) {
  const facet_diffusion_step *s = &w->step[t];
  double of_f = s->c1, of_x = s->c2;
  if (w->params->parameter != FACET_DIFFUSION_X0) {
    of_f = -s->c1 * sqrt(1 / s->alpha_bar - 1);
    of_x = s->c1 / sqrt(s->alpha_bar) + s->c2;
  }
  return (reverse_step){(facet_real)of_f, (facet_real)of_x, (facet_real)sqrt(s->v)};
}

/* Where z_t of sample b, or its gradient, begins; t ≥ 1. */
static int64_t noise_at(const work *w, int64_t b, int64_t t) {
  return (b * (w->params->steps - 1) + t - 1) * w->size.c * w->size.d;
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

static void chain_forward(const facet_op_call *call, const work *w, facet_denoise_block *block, samples s,
                          facet_real *f, facet_real *x) {
  const facet_vector *vector = facet_vector_get();
  const int64_t numbers = w->size.c * w->size.d, bytes = s.n_numbers * (int64_t)sizeof *x;
  memcpy(x, (const facet_real *)call->in[IN_X] + s.at, (size_t)bytes);
  for (int64_t t = w->params->steps - 1; t >= 0; t--) {
    const reverse_step step = make_step(w, t);
    facet_real *kept = (facet_real *)call->saved + t * w->batch * numbers + s.at;
    if (t < w->params->gradient_steps) memcpy(kept, x, (size_t)bytes);
    set_levels(w, s, t, block);
    facet_denoise_block_call(block, x, f);
    vector->scale(s.n_numbers, step.of_x, x);
    vector->axpy(s.n_numbers, step.of_f, f, x);
    for (int64_t b = 0; t > 0 && w->params->noise && b < s.n; b++)
      vector->axpy(numbers, step.of_z, (const facet_real *)call->in[IN_EXTRA] + noise_at(w, s.first + b, t),
                   x + b * numbers);
  }
  memcpy((facet_real *)call->out[0] + s.at, x, (size_t)bytes);
}

static facet_status denoise_forward(const facet_op_call *call) {
  work w;
  set_up(call, &w);
  const int64_t n_valid = valid_rows(call, &w), numbers = w.size.c * w.size.d;
  facet_real *out = call->out[0];
#pragma omp parallel for schedule(dynamic) num_threads(n_threads(&w))
  for (int64_t i = 0; i < w.n_blocks; i++) {
    const int thread = omp_get_thread_num();
    facet_denoise_block *block = &w.block[thread];
    const samples s = block_samples(&w, i, n_valid);
    if (s.n == 0) continue;
    begin(call, &w, block, s);
    if (w.params->chain) {
      chain_forward(call, &w, block, s, w.f[thread], w.x[thread]);
    } else {
      set_levels(&w, s, 0, block);
      facet_denoise_block_call(block, (const facet_real *)call->in[IN_X] + s.at, out + s.at);
    }
  }
  memset(out + n_valid * numbers, 0, (size_t)((w.batch - n_valid) * numbers) * sizeof *out);
  return FACET_OK;
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

static void transpose_weights(work *w) {
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

/* Gradients of a block's chain. x̄ goes through `x`. */
static void chain_backward(const facet_op_call *call, const work *w, facet_denoise_block *block, int64_t index,
                           samples s, int thread) {
  const facet_vector *vector = facet_vector_get();
  const int64_t numbers = w->size.c * w->size.d, n_tau = DENOISE_N_TAU * w->size.d;
  facet_real *dx = w->x[thread], *df = w->f[thread], *d_z = w->params->noise ? call->d_in[IN_EXTRA] : NULL;
  memcpy(dx, call->d_out[0] + s.at, (size_t)s.n_numbers * sizeof *dx);
  for (int64_t t = 0; t < w->params->gradient_steps; t++) {
    const reverse_step step = make_step(w, t);
    for (int64_t b = 0; d_z && t > 0 && b < s.n; b++)
      vector->axpy(numbers, step.of_z, dx + b * numbers, d_z + noise_at(w, s.first + b, t));
    set_levels(w, s, t, block);
    facet_denoise_block_call(block, (const facet_real *)call->saved + t * w->batch * numbers + s.at, df);
    memcpy(df, dx, (size_t)s.n_numbers * sizeof *df);
    vector->scale(s.n_numbers, step.of_f, df);
    vector->scale(s.n_numbers, step.of_x, dx);
    facet_denoise_block_call_backward(block, df, dx, w->d_time[thread]);
    facet_real *row = w->d_time_rows + (index * w->params->gradient_steps + t) * n_tau;
    vector->rows->column_sum(s.n * w->size.c, n_tau, w->d_time[thread], row);
  }
  if (call->d_in[IN_X] && w->params->gradient_steps == w->params->steps)
    vector->axpy(s.n_numbers, 1, dx, call->d_in[IN_X] + s.at);
}

/* Gradients of a block's single call. */
static void single_backward(const facet_op_call *call, const work *w, facet_denoise_block *block, samples s,
                            int thread) {
  const int64_t n_tau = DENOISE_N_TAU * w->size.d;
  facet_real *dx = w->x[thread];
  memset(dx, 0, (size_t)s.n_numbers * sizeof *dx);
  set_levels(w, s, 0, block);
  facet_denoise_block_call(block, (const facet_real *)call->in[IN_X] + s.at, w->f[thread]);
  facet_denoise_block_call_backward(block, call->d_out[0] + s.at, dx, w->d_time_rows + s.first * w->size.c * n_tau);
  if (call->d_in[IN_X]) facet_vector_get()->axpy(s.n_numbers, 1, dx, call->d_in[IN_X] + s.at);
}

/* All blocks of group g, with the working memory of `thread`. */
static void group_backward(const facet_op_call *call, work *w, int64_t g, int thread) {
  const int64_t n_valid = valid_rows(call, w);
  facet_denoise_block *block = &w->block[thread];
  facet_real *gradient[DENOISE_MAX_WEIGHTS] = {0}, *partial = w->partial + g * w->n_partial;
  memset(partial, 0, (size_t)w->n_partial * sizeof *partial);
  for (int k = 0; k < facet_denoise_n_weights(&w->size); k++)
    if (w->partial_at[k] >= 0) gradient[k] = partial + w->partial_at[k];
  block->gradient = gradient;
  for (int64_t i = g * w->n_blocks / w->n_groups; i < (g + 1) * w->n_blocks / w->n_groups; i++) {
    const samples s = block_samples(w, i, n_valid);
    if (s.n == 0) continue;
    begin(call, w, block, s);
    facet_denoise_block_begin_backward(block);
    if (w->params->chain)
      chain_backward(call, w, block, i, s, thread);
    else
      single_backward(call, w, block, s, thread);
    facet_denoise_block_end_backward(block, call->d_in[IN_R] ? call->d_in[IN_R] + s.at : NULL,
                                     call->d_in[IN_O] ? call->d_in[IN_O] + s.at : NULL);
  }
  block->gradient = NULL;
}

/* Gradient of weight k += Σ_g partial of group g, in the order of groups. */
static void add_partials(const work *w, int k, facet_real *gradient) {
  facet_denoise_weight weight;
  facet_denoise_describe(&w->size, k, &weight);
  const int64_t n = facet_shape_elements(&weight.shape);
  facet_real *sum = w->partial + w->partial_at[k]; /* of the first group */
  for (int64_t g = 1; g < w->n_groups; g++) facet_vector_get()->axpy(n, 1, sum + g * w->n_partial, sum);
  facet_vector_get()->axpy(n, 1, sum, gradient);
}

/* Gradients of the time table's rows, in the order of blocks or units. */
static void add_time_rows(work *w, int64_t n_rows) {
  const int64_t d = w->size.d;
  for (int i = 0; i < DENOISE_N_TAU; i++)
    memset(w->time.d_row[i], 0, (size_t)(w->time.n_levels * d) * sizeof(facet_real));
  for (int64_t row = 0; row < n_rows; row++) {
    int64_t level = w->params->chain ? row % w->params->gradient_steps : w->unit_level[row];
    for (int i = 0; i < DENOISE_N_TAU; i++)
      facet_vector_get()->axpy(d, 1, w->d_time_rows + (row * DENOISE_N_TAU + i) * d, w->time.d_row[i] + level * d);
  }
}

static facet_status denoise_backward(const facet_op_call *call) {
  work w;
  set_up(call, &w);
  transpose_weights(&w);
  memset(w.d_time_rows, 0, (size_t)(w.n_time_rows * DENOISE_N_TAU * w.size.d) * sizeof(facet_real));
#pragma omp parallel for schedule(dynamic) num_threads(n_threads(&w))
  for (int64_t g = 0; g < w.n_groups; g++) group_backward(call, &w, g, omp_get_thread_num());

  facet_real *gradient[DENOISE_MAX_WEIGHTS] = {0};
  bind_gradients(call, &w, gradient);
#pragma omp parallel for schedule(dynamic)
  for (int k = 0; k < facet_denoise_n_weights(&w.size); k++)
    if (gradient[k] && w.partial_at[k] >= 0) add_partials(&w, k, gradient[k]);
  add_time_rows(&w, w.params->chain ? w.n_time_rows : valid_rows(call, &w) * w.size.c);
  facet_denoise_time_backward(&w.size, &w.weights, &w.time, gradient);
  return FACET_OK;
}

const facet_op facet_op_denoise = {.name = "denoise",
                                   .params_bytes = sizeof(facet_denoise_params),
                                   .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                   .shape = denoise_shape,
                                   .cost = denoise_cost,
                                   .forward = denoise_forward,
                                   .backward = denoise_backward};

/* ---- builders --------------------------------------------------------------------------------------------------- */

static facet_tensor *add_node(facet_graph *graph, const char *name, const char *denoiser,
                              facet_tensor *const tensors[4], const facet_denoise_params *params) {
  facet_tensor *in[FACET_OP_MAX_INPUTS];
  int n = 0;
  while (n < IN_EXTRA + has_extra(params)) {
    if (!tensors[n]) return NULL;
    in[n] = tensors[n];
    n++;
  }
  if (tensors[IN_X]->shape.rank == 3 && params->denoiser.heads >= 1 && params->denoiser.ffn_factor >= 1 &&
      params->denoiser.n_layers <= FACET_DENOISE_MAX_LAYERS) { /* else the shape rule says what is wrong */
    const facet_denoise_size size = make_size(params, &tensors[IN_X]->shape);
    for (int k = 0; k < facet_denoise_n_weights(&size); k++) {
      facet_denoise_weight weight;
      if (!facet_denoise_describe(&size, k, &weight)) continue;
      in[n++] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.%s", denoiser, weight.name), weight.shape,
                                      weight.init, weight.decay);
    }
  }
  return facet_graph_node(graph, &facet_op_denoise, name, in, n, params, NULL);
}

facet_tensor *facet_denoise(facet_graph *graph, const char *name, const char *denoiser, facet_tensor *x,
                            facet_tensor *level, facet_tensor *r, facet_tensor *o,
                            const facet_denoiser_options *options) {
  const facet_denoise_params params = {.denoiser = *options};
  return add_node(graph, name, denoiser, (facet_tensor *const[]){x, r, o, level}, &params);
}

facet_tensor *facet_denoise_chain(facet_graph *graph, const char *name, const char *denoiser, facet_tensor *x,
                                  facet_tensor *z, facet_tensor *r, facet_tensor *o,
                                  const facet_denoiser_options *options, const facet_diffusion_options *diffusion,
                                  facet_diffusion_parameter parameter, int64_t steps, int64_t gradient_steps) {
  const facet_denoise_params params = {.denoiser = *options,
                                       .diffusion = *diffusion,
                                       .parameter = parameter,
                                       .steps = steps,
                                       .gradient_steps = gradient_steps,
                                       .chain = true,
                                       .noise = z != NULL};
  return add_node(graph, name, denoiser, (facet_tensor *const[]){x, r, o, z}, &params);
}
