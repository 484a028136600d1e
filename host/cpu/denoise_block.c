/* The denoiser on a block (see cpu/denoise.h for the layout and for what is shared and left out). */
#include <string.h>

#include "cpu/denoise.h"

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* Features of one kind of array. */
static void place_all(facet_denoise_placer *placer, int64_t features, int64_t columns, int n,
                      facet_lanes *const *array) {
  for (int i = 0; i < n; i++) *array[i] = facet_denoise_place_lanes(placer, features, columns);
}
#define PLACE(placer, features, columns, ...)                                                                          \
  place_all(placer, features, columns, sizeof((facet_lanes *[]){__VA_ARGS__}) / sizeof(facet_lanes *),                 \
            (facet_lanes *[]){__VA_ARGS__})

size_t facet_denoise_block_place(const facet_denoise_size *size, int64_t max_channels, char *memory,
                                 facet_denoise_block *block) {
  facet_denoise_placer placer = {.memory = memory};
  const int64_t c = size->c, d = size->d, tokens = max_channels * c;
  const int64_t rows = size->n_layers > 1 ? c : 1, columns = tokens > DENOISE_CHUNK ? tokens : DENOISE_CHUNK;
  facet_denoise_block *b = block;
  b->size = size;
  PLACE(&placer, d, c, &b->clean, &b->clean_q, &b->clean_k, &b->clean_v, &b->d_clean, &b->d_clean_q, &b->d_clean_k,
        &b->d_clean_v);
  PLACE(&placer, d, max_channels, &b->o, &b->noised, &b->noised_q, &b->noised_k, &b->noised_v, &b->own, &b->out,
        &b->d_own, &b->d_noised, &b->d_noised_q, &b->d_noised_k, &b->d_noised_v);
  for (int64_t l = 0; l < size->n_layers; l++)
    PLACE(&placer, d, max_channels, &b->cross_value[l], &b->cross[l], &b->d_cross[l]);
  PLACE(&placer, d, tokens, &b->first_k, &b->first_v, &b->in, &b->d_in, &b->d_k, &b->d_v);
  if (size->n_layers > 2) PLACE(&placer, d, tokens, &b->k, &b->v);
  PLACE(&placer, size->heads * d, max_channels, &b->key_q, &b->mixed, &b->d_key_q, &b->d_mixed);
  PLACE(&placer, d, max_channels * rows, &b->q, &b->attended, &b->d_q, &b->d_attended);
  PLACE(&placer, d, DENOISE_CHUNK, &b->middle, &b->normal_2);
  PLACE(&placer, size->width, DENOISE_CHUNK, &b->hidden, &b->d_hidden);
  b->inverse_2 = facet_denoise_place_real(&placer, DENOISE_CHUNK * FACET_LANES);
  b->p = facet_denoise_place_real(&placer, max_channels * size->heads * rows * c * FACET_LANES);
  b->d_p = facet_denoise_place_real(&placer, size->heads * rows * c * FACET_LANES);
  b->packed = facet_denoise_place_real(&placer, facet_lanes_packed(d, columns));
  return placer.n_bytes;
}

size_t facet_denoise_kept_place_x(const facet_denoise_size *size, int64_t max_channels, char *memory,
                                  facet_denoise_kept *kept) {
  facet_denoise_placer placer = {.memory = memory};
  kept->x = facet_denoise_place_lanes(&placer, size->d, max_channels);
  return placer.n_bytes;
}

size_t facet_denoise_kept_place_norms(const facet_denoise_size *size, int64_t max_channels, char *memory,
                                      facet_denoise_kept *kept) {
  facet_denoise_placer placer = {.memory = memory};
  for (int64_t l = 0; l < size->n_layers; l++) {
    const int64_t columns = max_channels * facet_denoise_layer_rows(size, l);
    const int64_t in_chunks = (columns + DENOISE_CHUNK - 1) / DENOISE_CHUNK * DENOISE_CHUNK;
    for (int i = 0; i < DENOISE_N_KEPT; i++) {
      kept->layer[l].normal[i] = facet_denoise_place_real(&placer, in_chunks * size->d * FACET_LANES);
      kept->layer[l].inverse[i] = facet_denoise_place_real(&placer, columns * FACET_LANES);
    }
  }
  return placer.n_bytes;
}

/* ---- maps by d × d weights -------------------------------------------------------------------------------------- */

/* y = Wᵀ x for weight k of layer l. */
void facet_denoise_project(const facet_denoise_block *block, int64_t columns, int64_t l, int k, facet_lanes x,
                           facet_lanes y) {
  const int64_t d = block->size->d;
  block->lanes->product(&(facet_lanes_product){
      .rows = d, .depth = d, .columns = columns, .a = facet_denoise_transpose_of(block, l, k), .x = x, .y = y});
}

/* dx = W dy [+ add]. */
void facet_denoise_project_back(const facet_denoise_block *block, int64_t columns, int64_t l, int k, facet_lanes dy,
                                facet_lanes add, facet_lanes dx) {
  const int64_t d = block->size->d;
  block->lanes->product(&(facet_lanes_product){.rows = d,
                                               .depth = d,
                                               .columns = columns,
                                               .a = facet_denoise_matrix_of(block, l, k),
                                               .x = dy,
                                               .add = add,
                                               .y = dx});
}

static void pack(const facet_denoise_block *block, int64_t columns, facet_lanes x) {
  block->lanes->pack(block->size->d, columns, x, block->packed);
}

/* Of a weight whose sum is kept transposed: += dy xᵀ, x being packed. */
void facet_denoise_project_weight(const facet_denoise_block *block, int64_t columns, int64_t l, int k, facet_lanes dy) {
  const int64_t d = block->size->d;
  block->lanes->gradient(d, d, columns, dy, block->packed, facet_denoise_gradient_of(block, l, k));
}

static const facet_lanes none = {0};

/* ---- what is made once per block -------------------------------------------------------------------------------- */

void facet_denoise_zero(int64_t d, facet_lanes x) {
  memset(x.at, 0, (size_t)(d * x.stride) * sizeof *x.at);
}

void facet_denoise_copy(int64_t d, int64_t columns, facet_lanes x, facet_lanes y) {
  for (int64_t f = 0; f < d; f++)
    for (int64_t j = 0; j < columns * FACET_LANES; j += FACET_LANES)
      memcpy(y.at + f * y.stride + j, x.at + f * x.stride + j, FACET_LANES * sizeof *y.at);
}

/* x += the row `which` of the flag, if there is one; 0: clean, 1: noised. */
static void add_flag(const facet_denoise_block *block, int64_t which, int64_t columns, facet_lanes x) {
  const facet_real *flag = block->weights->value[DENOISE_FLAG] + which * block->size->d;
  for (int64_t f = 0; block->size->flag && f < block->size->d; f++)
    for (int64_t j = 0; j < columns * FACET_LANES; j++) x.at[f * x.stride + j] += flag[f];
}

static void flag_backward(const facet_denoise_block *block, int64_t which, int64_t columns, facet_lanes dx) {
  if (!block->size->flag) return;
  facet_real *sum = block->gradient[DENOISE_FLAG] + which * block->size->d * FACET_LANES;
  block->lanes->sum(block->size->d, columns, dx, (facet_lanes){sum, FACET_LANES});
}

/* x [d][columns]: channels first, … of the samples' rows [samples, c, d]. Lanes without a sample repeat the first. */
static void load(const facet_denoise_block *block, const facet_real *rows, int64_t first, int64_t columns,
                 facet_lanes x) {
  const int64_t c = block->size->c, d = block->size->d;
  const facet_real *row[FACET_LANES];
  for (int64_t j = 0; j < columns; j++) {
    const facet_real *from = rows + (first + j) * d;
    facet_denoise_rows(from, c * d, block->n_samples, from, row);
    block->lanes->load(d, row, facet_lanes_column(x, j));
  }
}

void facet_denoise_block_begin(facet_denoise_block *block, int64_t first, int64_t n, int64_t n_samples,
                               const facet_real *r, const facet_real *o) {
  const facet_lane_kernels *lanes = block->lanes;
  const int64_t c = block->size->c, d = block->size->d;
  block->first_channel = first;
  block->n_channels = n;
  block->n_samples = n_samples;
  load(block, r, 0, c, block->clean);
  load(block, o, first, n, block->o);
  add_flag(block, 0, c, block->clean);
  if (block->size->n_layers > 1) facet_denoise_project(block, c, 0, DENOISE_SELF_Q, block->clean, block->clean_q);
  facet_denoise_project(block, c, 0, DENOISE_SELF_K, block->clean, block->clean_k);
  facet_denoise_project(block, c, 0, DENOISE_SELF_V, block->clean, block->clean_v);
  for (int64_t i = 0; i < n; i++) {
    const int64_t own = first + i;
    lanes->spread(d, c, own, block->clean_k, facet_lanes_column(block->clean_k, own), none,
                  facet_lanes_column(block->first_k, i * c));
    lanes->spread(d, c, own, block->clean_v, facet_lanes_column(block->clean_v, own), none,
                  facet_lanes_column(block->first_v, i * c));
  }
  for (int64_t l = 0; l < block->size->n_layers; l++) {
    facet_denoise_project(block, n, l, DENOISE_CROSS_V, block->o, block->cross_value[l]);
    facet_denoise_project(block, n, l, DENOISE_CROSS_O, block->cross_value[l], block->cross[l]);
  }
}

void facet_denoise_block_begin_backward(facet_denoise_block *block) {
  const int64_t d = block->size->d;
  facet_denoise_zero(d, block->d_clean);
  facet_denoise_zero(d, block->d_clean_q);
  facet_denoise_zero(d, block->d_clean_k);
  facet_denoise_zero(d, block->d_clean_v);
  for (int64_t l = 0; l < block->size->n_layers; l++) facet_denoise_zero(d, block->d_cross[l]);
}

/* x [d][columns] is added to rows like those of `load`. */
static void store_add(const facet_denoise_block *block, facet_lanes x, int64_t first, int64_t columns,
                      facet_real *rows) {
  const int64_t c = block->size->c, d = block->size->d;
  for (int64_t j = 0; j < columns; j++) {
    facet_real *row[FACET_LANES];
    for (int64_t lane = 0; lane < block->n_samples; lane++) row[lane] = rows + (lane * c + first + j) * d;
    block->lanes->store_add(d, block->n_samples, 1, facet_lanes_column(x, j), row);
  }
}

/* From the gradients of the queries (if there are any), keys and values of tokens x of layer l to that of x, added to
 * dx. */
static void token_backward(const facet_denoise_block *block, int64_t columns, int64_t l, bool queries, facet_lanes x,
                           facet_lanes d_q, facet_lanes d_k, facet_lanes d_v, facet_lanes dx) {
  const facet_lanes dy[] = {d_q, d_k, d_v};
  static const int weights[] = {DENOISE_SELF_Q, DENOISE_SELF_K, DENOISE_SELF_V};
  pack(block, columns, x);
  for (int i = queries ? 0 : 1; i < 3; i++) {
    facet_denoise_project_weight(block, columns, l, weights[i], dy[i]);
    facet_denoise_project_back(block, columns, l, weights[i], dy[i], dx, dx);
  }
}

static void cross_backward(const facet_denoise_block *block, int64_t l, facet_lanes d_o) {
  const facet_lane_kernels *lanes = block->lanes;
  const int64_t d = block->size->d, n = block->n_channels;
  const facet_lanes d_value = block->d_noised_q; /* free by now */
  pack(block, n, block->d_cross[l]);
  lanes->gradient(d, d, n, block->cross_value[l], block->packed, facet_denoise_gradient_of(block, l, DENOISE_CROSS_O));
  facet_denoise_project_back(block, n, l, DENOISE_CROSS_O, block->d_cross[l], none, d_value);
  pack(block, n, d_value);
  lanes->gradient(d, d, n, block->o, block->packed, facet_denoise_gradient_of(block, l, DENOISE_CROSS_V));
  facet_denoise_project_back(block, n, l, DENOISE_CROSS_V, d_value, d_o, d_o);
}

void facet_denoise_block_end_backward(facet_denoise_block *block, facet_real *d_r, facet_real *d_o) {
  const int64_t c = block->size->c, d = block->size->d, n = block->n_channels;
  token_backward(block, c, 0, block->size->n_layers > 1, block->clean, block->d_clean_q, block->d_clean_k,
                 block->d_clean_v, block->d_clean);
  flag_backward(block, 0, c, block->d_clean);
  if (d_r) store_add(block, block->d_clean, 0, c, d_r);
  facet_denoise_zero(d, block->d_noised); /* free by now */
  for (int64_t l = 0; l < block->size->n_layers; l++) cross_backward(block, l, block->d_noised);
  if (d_o) store_add(block, block->d_noised, block->first_channel, n, d_o);
}

/* ---- block 1: the noised tokens beside the clean ones ----------------------------------------------------------- */

static facet_lanes tau_of(const facet_denoise_block *block, const facet_lanes *tau, int which, int64_t i) {
  return facet_lanes_column(tau[which], i * block->tau_step);
}

/* y = x + τ for columns of channels. */
static void add_tau(const facet_denoise_block *block, int which, facet_lanes x, facet_lanes y) {
  for (int64_t i = 0; i < block->n_channels; i++)
    block->lanes->spread(block->size->d, 1, 0, facet_lanes_column(x, i), facet_lanes_column(x, i),
                         tau_of(block, block->tau, which, i), facet_lanes_column(y, i));
}

/* Queries of block 1. */
static void first_queries(facet_denoise_block *block) {
  const int64_t c = block->size->c;
  if (block->size->n_layers == 1) {
    add_tau(block, DENOISE_TAU_Q, block->noised_q, block->q);
    return;
  }
  for (int64_t i = 0; i < block->n_channels; i++)
    block->lanes->spread(block->size->d, c, block->first_channel + i, block->clean_q,
                         facet_lanes_column(block->noised_q, i), tau_of(block, block->tau, DENOISE_TAU_Q, i),
                         facet_lanes_column(block->q, i * c));
}

/* The tokens of block 1 themselves, which its first norm adds to. */
static void first_tokens(facet_denoise_block *block) {
  const int64_t c = block->size->c;
  if (block->size->n_layers == 1) {
    add_tau(block, DENOISE_TAU, block->noised, block->own);
    return;
  }
  for (int64_t i = 0; i < block->n_channels; i++)
    block->lanes->spread(block->size->d, c, block->first_channel + i, block->clean,
                         facet_lanes_column(block->noised, i), tau_of(block, block->tau, DENOISE_TAU, i),
                         facet_lanes_column(block->in, i * c));
}

static void noise_tokens(facet_denoise_block *block, facet_lanes x) {
  const int64_t d = block->size->d, n = block->n_channels;
  facet_denoise_copy(d, n, x, block->noised);
  add_flag(block, 1, n, block->noised);
  facet_denoise_project(block, n, 0, DENOISE_SELF_Q, block->noised, block->noised_q);
  facet_denoise_project(block, n, 0, DENOISE_SELF_K, block->noised, block->noised_k);
  facet_denoise_project(block, n, 0, DENOISE_SELF_V, block->noised, block->noised_v);
  for (int64_t i = 0; i < n; i++) {
    facet_denoise_copy(d, 1, facet_lanes_column(block->noised_k, i), facet_denoise_own_token(block, i, block->first_k));
    facet_denoise_copy(d, 1, facet_lanes_column(block->noised_v, i), facet_denoise_own_token(block, i, block->first_v));
  }
  first_queries(block);
}

/* From d_q, d_k, d_v, d_attended and the tokens' own gradient: those of clean and noised tokens, their projections and
 * the time rows. */
static void spread_backward(facet_denoise_block *block) {
  const facet_lane_kernels *lanes = block->lanes;
  const int64_t c = block->size->c, d = block->size->d, rows = facet_denoise_layer_rows(block->size, 0);
  for (int64_t i = 0; i < block->n_channels; i++) {
    const int64_t own = block->first_channel + i;
    const facet_lanes d_tau = tau_of(block, block->d_tau, DENOISE_TAU, i),
                      d_tau_q = tau_of(block, block->d_tau, DENOISE_TAU_Q, i);
    lanes->spread_backward(d, c, own, facet_lanes_column(block->d_k, i * c), block->d_clean_k,
                           facet_lanes_column(block->d_noised_k, i), none);
    lanes->spread_backward(d, c, own, facet_lanes_column(block->d_v, i * c), block->d_clean_v,
                           facet_lanes_column(block->d_noised_v, i), none);
    lanes->sum(d, rows, facet_lanes_column(block->d_attended, i * rows), tau_of(block, block->d_tau, DENOISE_TAU_V, i));
    if (block->size->n_layers == 1) {
      facet_denoise_copy(d, 1, facet_lanes_column(block->d_q, i), facet_lanes_column(block->d_noised_q, i));
      facet_denoise_copy(d, 1, facet_lanes_column(block->d_own, i), facet_lanes_column(block->d_noised, i));
      lanes->sum(d, 1, facet_lanes_column(block->d_q, i), d_tau_q);
      lanes->sum(d, 1, facet_lanes_column(block->d_own, i), d_tau);
    } else {
      lanes->spread_backward(d, c, own, facet_lanes_column(block->d_q, i * c), block->d_clean_q,
                             facet_lanes_column(block->d_noised_q, i), d_tau_q);
      lanes->spread_backward(d, c, own, facet_lanes_column(block->d_in, i * c), block->d_clean,
                             facet_lanes_column(block->d_noised, i), d_tau);
    }
  }
}

static void noise_tokens_backward(facet_denoise_block *block, facet_lanes d_x) {
  const int64_t n = block->n_channels;
  token_backward(block, n, 0, true, block->noised, block->d_noised_q, block->d_noised_k, block->d_noised_v,
                 block->d_noised);
  flag_backward(block, 1, n, block->d_noised);
  block->lanes->blend(block->size->d, n, 1, block->d_noised, 1, d_x);
}

/* ---- the layers after block 1 ----------------------------------------------------------------------------------- */

/* Queries, keys and values of a layer between the first and the last from `in`. */
static void project_tokens(facet_denoise_block *block, int64_t l) {
  const int64_t all = block->n_channels * block->size->c;
  facet_denoise_project(block, all, l, DENOISE_SELF_Q, block->in, block->q);
  facet_denoise_project(block, all, l, DENOISE_SELF_K, block->in, block->k);
  facet_denoise_project(block, all, l, DENOISE_SELF_V, block->in, block->v);
}

static void attend(facet_denoise_block *block, int64_t l) {
  if (facet_denoise_one_query(block->size, l)) {
    facet_denoise_last_attend(block, l);
    return;
  }
  if (l > 0) project_tokens(block, l);
  facet_denoise_layer_attend(block, l);
}

/* From the gradients at the first norm, d_in or d_own, and d_attended to that of `in`, d_in. */
static void attend_backward(facet_denoise_block *block, int64_t l) {
  if (facet_denoise_one_query(block->size, l)) {
    facet_denoise_last_attend_backward(block, l);
    return;
  }
  const int64_t all = block->n_channels * block->size->c;
  facet_denoise_layer_attend_backward(block, l);
  if (l > 0) token_backward(block, all, l, true, block->in, block->d_q, block->d_k, block->d_v, block->d_in);
}

/* y [d][columns] again: the output of layer l, from what is kept of its third norm. */
static void repeat_output(const facet_denoise_block *block, int64_t l, const facet_denoise_kept *kept, facet_lanes y) {
  const int64_t n = block->n_channels * facet_denoise_layer_rows(block->size, l);
  for (int64_t first = 0; first < n; first += DENOISE_CHUNK)
    block->lanes->affine(
        &(facet_lanes_norm){.d = block->size->d,
                            .columns = n - first < DENOISE_CHUNK ? n - first : DENOISE_CHUNK,
                            .gamma = facet_denoise_weight_of(block, l, DENOISE_NORM_3_GAMMA),
                            .beta = facet_denoise_weight_of(block, l, DENOISE_NORM_3_BETA),
                            .x = facet_denoise_kept_normal(block->size, kept, l, DENOISE_KEPT_NORM_3, first),
                            .y = facet_lanes_column(y, first)});
}

/* ---- one call --------------------------------------------------------------------------------------------------- */

void facet_denoise_block_call(facet_denoise_block *block, const facet_denoise_kept *kept, facet_lanes f) {
  const int64_t d = block->size->d, n = block->n_channels;
  noise_tokens(block, kept->x);
  first_tokens(block);
  for (int64_t l = 0; l < block->size->n_layers; l++) {
    attend(block, l);
    facet_denoise_layer_forward(block, l, kept);
  }
  if (!block->size->projection) {
    facet_denoise_copy(d, n, block->out, f);
    return;
  }
  block->lanes->product(&(facet_lanes_product){.rows = d,
                                               .depth = d,
                                               .columns = n,
                                               .a = facet_denoise_transpose(block->weights, DENOISE_OUT_WEIGHT),
                                               .bias = block->weights->value[DENOISE_OUT_BIAS],
                                               .x = block->out,
                                               .y = f});
}

/* From d_f to d_own. */
static void projection_backward(facet_denoise_block *block, const facet_denoise_kept *kept, facet_lanes d_f) {
  const facet_lane_kernels *lanes = block->lanes;
  const int64_t d = block->size->d, n = block->n_channels;
  if (!block->size->projection) {
    facet_denoise_copy(d, n, d_f, block->d_own);
    return;
  }
  repeat_output(block, block->size->n_layers - 1, kept, block->out);
  pack(block, n, d_f);
  lanes->gradient(d, d, n, block->out, block->packed, block->gradient[DENOISE_OUT_WEIGHT]);
  lanes->sum(d, n, d_f, (facet_lanes){block->gradient[DENOISE_OUT_BIAS], FACET_LANES});
  lanes->product(&(facet_lanes_product){.rows = d,
                                        .depth = d,
                                        .columns = n,
                                        .a = facet_denoise_matrix(block->weights, DENOISE_OUT_WEIGHT),
                                        .x = d_f,
                                        .y = block->d_own});
}

void facet_denoise_block_call_backward(facet_denoise_block *block, const facet_denoise_kept *kept, facet_lanes d_f,
                                       facet_lanes d_x) {
  projection_backward(block, kept, d_f);
  for (int64_t l = block->size->n_layers - 1; l > 0; l--) {
    repeat_output(block, l - 1, kept, block->in);
    attend(block, l);
    facet_denoise_layer_backward(block, l, kept);
    attend_backward(block, l);
  }
  noise_tokens(block, kept->x);
  attend(block, 0);
  facet_denoise_layer_backward(block, 0, kept);
  attend_backward(block, 0);
  spread_backward(block);
  noise_tokens_backward(block, d_x);
}
