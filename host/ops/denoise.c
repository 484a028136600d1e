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
 * Units of FACET_LANES samples go through all steps, a few channels at a time (a block, cpu/denoise.h) while in cache.
 * Forward keeps x before each of the last gradient_steps steps and two norms of each layer, from which backward repeats
 * about half of the step. A group of units adds the gradients of the weights for itself, and the groups' sums are added
 * in order: units and groups follow from the shapes, not from threads. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "cpu/denoise_plan.h"
#include "cpu/vector.h"
#include "ops/diffusion.h"

typedef facet_denoise_work work;
typedef facet_denoise_worker worker;

/* Inputs: x, r, o, then level (one call) or z (a chain with noise), then the weights that exist. */
enum { IN_X, IN_R, IN_O, IN_EXTRA };

static bool has_extra(const facet_denoise_params *params) {
  return !params->chain || params->noise;
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

static size_t saved_bytes(const work *w) {
  return w->kept_bytes * (size_t)(w->kept_steps * w->n_units * w->n_parts);
}

static facet_status denoise_shape(facet_op_rule *rule) {
  const facet_denoise_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[IN_X];
  FACET_TRY(check_options(rule));
  FACET_TRY(check_tensors(rule));
  work w;
  facet_denoise_work_make(params, x, &w);
  FACET_TRY(check_weights(rule, &w.size));
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->saved_bytes = saved_bytes(&w);
  rule->scratch_bytes = facet_denoise_work_place(&w, NULL);
  return FACET_OK;
}

/* FLOPs of the matrix products of one call for one channel. */
static double call_flops(const facet_denoise_size *size) {
  const double c = (double)size->c, d = (double)size->d, width = (double)size->width;
  double flops = size->projection ? 2 * d * d : 0;
  for (int64_t l = 0; l < size->n_layers; l++) {
    const bool one_query = facet_denoise_one_query(size, l);
    const double rows = (double)facet_denoise_layer_rows(size, l);
    flops += 6 * d * d * (l == 0 || one_query ? 1 : c);                /* queries, keys and values */
    flops += 4 * rows * c * d * (one_query ? (double)size->heads : 1); /* attention */
    flops += 2 * rows * d * d + 4 * rows * d * width;                  /* W_o, feed-forward */
  }
  return flops;
}

/* FLOPs of the matrix products; norms, softmax and the like are below a tenth of them. Backward takes twice those of
 * forward; that it repeats about half of forward is how it is done, not what is needed. With one call the levels count as
 * distinct. */
static void denoise_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_denoise_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[IN_X];
  const facet_denoise_size size = facet_denoise_size_make(params, x);
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

/* The rows with valid = 1; those after them are neither read nor given a gradient, and their output is zero. */
static int64_t valid_rows(const facet_op_call *call, const work *w) {
  return call->run->n_rows < w->batch ? call->run->n_rows : w->batch;
}

static void set_up(const facet_op_call *call, work *w) {
  facet_denoise_work_make(call->params, &call->in_shape[IN_X], w);
  facet_denoise_work_place(w, call->scratch);
  bind_weights(call, w);
  w->bf16 = call->precision == FACET_PRECISION_BF16;
  facet_denoise_work_begin(w, w->params->chain ? NULL : call->in[IN_EXTRA], valid_rows(call, w));
}

static int n_threads(const work *w) {
  return omp_get_max_threads() < w->n_workers ? omp_get_max_threads() : (int)w->n_workers;
}

/* A block's place: samples first … first + n − 1 and channels channel … channel + n_channels − 1. */
typedef struct part {
  int64_t unit, index; /* the index counts over all units */
  int64_t first, n, channel, n_channels;
} part;

static part make_part(const work *w, int64_t unit, int64_t i, int64_t n_valid) {
  const int64_t first = unit * FACET_LANES, channel = i * w->channels, left = w->size.c - channel;
  return (part){.unit = unit,
                .index = unit * w->n_parts + i,
                .first = first,
                .n = n_valid - first < FACET_LANES ? n_valid - first : FACET_LANES,
                .channel = channel,
                .n_channels = left < w->channels ? left : w->channels};
}

static int64_t valid_units(int64_t n_valid) {
  return (n_valid + FACET_LANES - 1) / FACET_LANES;
}

static void begin(const facet_op_call *call, const work *w, part s, facet_denoise_block *block) {
  const int64_t at = s.first * w->size.c * w->size.d;
  facet_denoise_block_begin(block, s.channel, s.n_channels, s.n, (const facet_real *)call->in[IN_R] + at,
                            (const facet_real *)call->in[IN_O] + at);
}

/* x [d][channels] from a tensor whose samples are `step` numbers apart and begin with [c, d]; lanes without a sample get
 * `rest`, or with NULL repeat the first. */
static void load(const work *w, part s, const facet_real *tensor, int64_t step, const facet_real *rest, facet_lanes x) {
  const facet_real *row[FACET_LANES];
  for (int64_t i = 0; i < s.n_channels; i++) {
    const facet_real *from = tensor + s.first * step + (s.channel + i) * w->size.d;
    facet_denoise_rows(from, step, s.n, rest ? rest : from, row);
    facet_vector_get()->lanes->load(w->size.d, row, facet_lanes_column(x, i));
  }
}

/* Rows of such a tensor that belong to channel i of the block. */
static void rows_of(const work *w, part s, int64_t i, facet_real *tensor, int64_t step, facet_real *row[FACET_LANES]) {
  for (int64_t lane = 0; lane < s.n; lane++) row[lane] = tensor + (s.first + lane) * step + (s.channel + i) * w->size.d;
}

static void store(const work *w, part s, facet_lanes x, facet_real *tensor) {
  facet_real *row[FACET_LANES];
  for (int64_t i = 0; i < s.n_channels; i++) {
    rows_of(w, s, i, tensor, w->size.c * w->size.d, row);
    facet_vector_get()->lanes->store(w->size.d, s.n, facet_lanes_column(x, i), row);
  }
}

static void store_add(const work *w, part s, facet_real factor, facet_lanes x, facet_real *tensor, int64_t step) {
  facet_real *row[FACET_LANES];
  for (int64_t i = 0; i < s.n_channels; i++) {
    rows_of(w, s, i, tensor, step, row);
    facet_vector_get()->lanes->store_add(w->size.d, s.n, factor, facet_lanes_column(x, i), row);
  }
}

/* τ and its kind for a block at step t of a chain, or at the levels of its samples. */
static void set_time(const work *w, part s, int64_t t, facet_denoise_block *block) {
  const int64_t d = w->size.d;
  for (int k = 0; k < DENOISE_N_TAU; k++) {
    if (w->params->chain) {
      block->tau[k] = (facet_lanes){w->step_tau.at + (t * DENOISE_N_TAU + k) * d * FACET_LANES, FACET_LANES};
      continue;
    }
    const facet_real *row[FACET_LANES];
    for (int64_t i = 0; i < s.n_channels; i++) {
      for (int64_t lane = 0; lane < FACET_LANES; lane++) {
        const int64_t sample = s.first + (lane < s.n ? lane : 0);
        row[lane] = w->time.row[k] + w->unit_level[sample * w->size.c + s.channel + i] * d;
      }
      facet_vector_get()->lanes->load(d, row, facet_lanes_column(block->tau[k], i));
    }
  }
}

/* What the call at step t of a block keeps for backward, in saved memory as far as it is kept there. */
static facet_denoise_kept kept_at(const facet_op_call *call, const work *w, part s, int64_t t, const worker *own) {
  facet_denoise_kept kept = own->kept;
  if (t >= w->kept_steps) return kept;
  char *memory = (char *)call->saved + (size_t)(s.index * w->kept_steps + t) * w->kept_bytes;
  memory += facet_denoise_kept_place_x(&w->size, w->channels, memory, &kept);
  if (w->keep_norms) facet_denoise_kept_place_norms(&w->size, w->channels, memory, &kept);
  return kept;
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

/* Numbers of a sample's noise, and where that of step t ≥ 1 begins in it. */
static int64_t noise_numbers(const work *w) {
  return (w->params->steps - 1) * w->size.c * w->size.d;
}
static int64_t noise_at(const work *w, int64_t t) {
  return (t - 1) * w->size.c * w->size.d;
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

static void chain_forward(const facet_op_call *call, const work *w, part s, worker *own) {
  const facet_lane_kernels *lanes = facet_vector_get()->lanes;
  const int64_t d = w->size.d, n = s.n_channels;
  load(w, s, call->in[IN_X], w->size.c * d, NULL, own->x);
  for (int64_t t = w->params->steps - 1; t >= 0; t--) {
    const reverse_step step = make_step(w, t);
    const facet_denoise_kept kept = kept_at(call, w, s, t, own);
    facet_denoise_copy(d, n, own->x, kept.x);
    set_time(w, s, t, &own->block);
    facet_denoise_block_call(&own->block, &kept, own->f);
    lanes->blend(d, n, step.of_f, own->f, step.of_x, own->x);
    if (t == 0 || !w->params->noise) continue;
    load(w, s, (const facet_real *)call->in[IN_EXTRA] + noise_at(w, t), noise_numbers(w), NULL, own->z);
    lanes->blend(d, n, step.of_z, own->z, 1, own->x);
  }
  store(w, s, own->x, call->out[0]);
}

static void single_forward(const facet_op_call *call, const work *w, part s, worker *own) {
  const facet_denoise_kept kept = kept_at(call, w, s, 0, own);
  load(w, s, call->in[IN_X], w->size.c * w->size.d, NULL, kept.x);
  set_time(w, s, 0, &own->block);
  facet_denoise_block_call(&own->block, &kept, own->f);
  store(w, s, own->f, call->out[0]);
}

static facet_status denoise_forward(const facet_op_call *call) {
  work w;
  set_up(call, &w);
  const int64_t n_valid = valid_rows(call, &w), numbers = w.size.c * w.size.d;
  facet_real *out = call->out[0];
#pragma omp parallel for schedule(dynamic) num_threads(n_threads(&w))
  for (int64_t unit = 0; unit < valid_units(n_valid); unit++) {
    worker *own = &w.worker[omp_get_thread_num()];
    const facet_lane_kernels *lanes = own->block.lanes;
    if (lanes->begin) lanes->begin();
    for (int64_t i = 0; i < w.n_parts; i++) {
      const part s = make_part(&w, unit, i, n_valid);
      begin(call, &w, s, &own->block);
      if (w.params->chain)
        chain_forward(call, &w, s, own);
      else
        single_forward(call, &w, s, own);
    }
    if (lanes->end) lanes->end();
  }
  memset(out + n_valid * numbers, 0, (size_t)((w.batch - n_valid) * numbers) * sizeof *out);
  return FACET_OK;
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

/* Gradient of the call at step t, whose gradient stands in own->f: own->x and the block's d_tau are added to. */
static void call_backward(const facet_op_call *call, const work *w, part s, int64_t t, worker *own) {
  const facet_denoise_kept kept = kept_at(call, w, s, t, own);
  for (int k = 0; k < DENOISE_N_TAU; k++) facet_denoise_zero(w->size.d, own->block.d_tau[k]);
  set_time(w, s, t, &own->block);
  if (!w->keep_norms) facet_denoise_block_call(&own->block, &kept, own->z);
  facet_denoise_block_call_backward(&own->block, &kept, own->f, own->x);
}

/* row [DENOISE_N_TAU, d] += the block's d_tau, summed over lanes. */
static void add_time_sums(const work *w, const facet_denoise_block *block, facet_real *row) {
  const int64_t d = w->size.d;
  for (int k = 0; k < DENOISE_N_TAU; k++)
    for (int64_t f = 0; f < d; f++) {
      facet_real sum = 0;
      for (int64_t lane = 0; lane < FACET_LANES; lane++) sum += block->d_tau[k].at[f * FACET_LANES + lane];
      row[k * d + f] += sum;
    }
}

/* Gradients of a block's chain, in group g. */
static void chain_backward(const facet_op_call *call, const work *w, part s, int64_t g, worker *own) {
  const facet_lane_kernels *lanes = facet_vector_get()->lanes;
  const int64_t d = w->size.d, n = s.n_channels, numbers = w->size.c * d;
  facet_real *d_z = w->params->noise ? call->d_in[IN_EXTRA] : NULL;
  load(w, s, call->d_out[0], numbers, own->zeros, own->x);
  for (int64_t t = 0; t < w->params->gradient_steps; t++) {
    const reverse_step step = make_step(w, t);
    if (d_z && t > 0) store_add(w, s, step.of_z, own->x, d_z + noise_at(w, t), noise_numbers(w));
    lanes->blend(d, n, step.of_f, own->x, 0, own->f);
    lanes->blend(d, n, step.of_x, own->x, 0, own->x);
    call_backward(call, w, s, t, own);
    add_time_sums(w, &own->block, w->d_time_rows + (g * w->params->gradient_steps + t) * DENOISE_N_TAU * d);
  }
  if (call->d_in[IN_X] && w->params->gradient_steps == w->params->steps)
    store_add(w, s, 1, own->x, call->d_in[IN_X], numbers);
}

/* Gradients of a block's single call. */
static void single_backward(const facet_op_call *call, const work *w, part s, worker *own) {
  const int64_t d = w->size.d, numbers = w->size.c * d, n_tau = DENOISE_N_TAU * d;
  load(w, s, call->d_out[0], numbers, own->zeros, own->f);
  facet_denoise_zero(d, own->x);
  call_backward(call, w, s, 0, own);
  for (int k = 0; k < DENOISE_N_TAU; k++)
    for (int64_t i = 0; i < s.n_channels; i++) {
      facet_real *row[FACET_LANES];
      for (int64_t lane = 0; lane < s.n; lane++)
        row[lane] = w->d_time_rows + ((s.first + lane) * w->size.c + s.channel + i) * n_tau + k * d;
      facet_vector_get()->lanes->store(d, s.n, facet_lanes_column(own->block.d_tau[k], i), row);
    }
  if (call->d_in[IN_X]) store_add(w, s, 1, own->x, call->d_in[IN_X], numbers);
}

/* All units of group g, with the working memory of a thread. */
static void group_backward(const facet_op_call *call, work *w, int64_t g, worker *own) {
  const int64_t n_valid = valid_rows(call, w), n_units = valid_units(n_valid), numbers = w->size.c * w->size.d;
  facet_real *gradient[DENOISE_MAX_WEIGHTS] = {0}, *partial = w->partial + g * w->n_partial;
  memset(partial, 0, (size_t)w->n_partial * sizeof *partial);
  for (int k = 0; k < facet_denoise_n_weights(&w->size); k++)
    if (w->partial_at[k] >= 0) gradient[k] = partial + w->partial_at[k];
  own->block.gradient = gradient;
  if (own->block.lanes->begin) own->block.lanes->begin();
  for (int64_t unit = g * w->n_units / w->n_groups; unit < (g + 1) * w->n_units / w->n_groups && unit < n_units; unit++)
    for (int64_t i = 0; i < w->n_parts; i++) {
      const part s = make_part(w, unit, i, n_valid);
      begin(call, w, s, &own->block);
      facet_denoise_block_begin_backward(&own->block);
      if (w->params->chain)
        chain_backward(call, w, s, g, own);
      else
        single_backward(call, w, s, own);
      facet_real *d_r = call->d_in[IN_R], *d_o = call->d_in[IN_O];
      facet_denoise_block_end_backward(&own->block, d_r ? d_r + s.first * numbers : NULL,
                                       d_o ? d_o + s.first * numbers : NULL);
    }
  if (own->block.lanes->end) own->block.lanes->end();
  own->block.gradient = NULL;
}

/* Gradient of weight k += Σ_g partial of group g, in the order of groups. */
static void add_partials(const work *w, int k, facet_real *gradient) {
  const facet_denoise_sum kind = facet_denoise_sum_of(&w->size, k);
  facet_denoise_weight weight;
  facet_denoise_describe(&w->size, k, &weight);
  const int64_t n = facet_shape_elements(&weight.shape), n_sum = facet_denoise_sum_numbers(&w->size, k);
  facet_real *sum = w->partial + w->partial_at[k]; /* of the first group */
  for (int64_t g = 1; g < w->n_groups; g++) facet_vector_get()->axpy(n_sum, 1, sum + g * w->n_partial, sum);
  const int64_t rows = weight.shape.dim[0], columns = n / rows;
  for (int64_t i = 0; i < n; i++) {
    if (kind == DENOISE_SUM_LANES)
      for (int64_t lane = 0; lane < FACET_LANES; lane++) gradient[i] += sum[i * FACET_LANES + lane];
    else
      gradient[i] += sum[kind == DENOISE_SUM_MATRIX ? i : i % columns * rows + i / columns];
  }
}

/* Gradients of the time table's rows, in the order of groups or units. */
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
  memset(w.d_time_rows, 0, (size_t)(w.n_time_rows * DENOISE_N_TAU * w.size.d) * sizeof(facet_real));
#pragma omp parallel for schedule(dynamic) num_threads(n_threads(&w))
  for (int64_t g = 0; g < w.n_groups; g++) group_backward(call, &w, g, &w.worker[omp_get_thread_num()]);

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

enum { MAX_NORM_BYTES = 512 << 20 };

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
    const facet_denoise_size size = facet_denoise_size_make(params, &tensors[IN_X]->shape);
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
  const facet_denoise_params params = {.denoiser = *options, .max_norm_bytes = MAX_NORM_BYTES};
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
                                       .max_norm_bytes = MAX_NORM_BYTES,
                                       .chain = true,
                                       .noise = z != NULL};
  return add_node(graph, name, denoiser, (facet_tensor *const[]){x, r, o, z}, &params);
}
