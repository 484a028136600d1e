/* One layer of the denoiser, post-norm, on a block's columns (tokens that go on):
 *
 *   h ← LN(own + W_o (attend(q, k, v) [+ W_v τ])),   h ← LN(h + cross),   out = LN(h + W_b relu(W_a h + b_a) + b_b)
 *
 * Everything after the attention is done column by column, in chunks that stay in the first cache. */
#include "cpu/denoise.h"

static const facet_real norm_eps = (facet_real)1e-6;

int64_t facet_denoise_layer_rows(const facet_denoise_size *size, int64_t l) {
  return l == size->n_layers - 1 ? 1 : size->c;
}

/* ---- attention -------------------------------------------------------------------------------------------------- */

/* That of the block's channel i. */
static facet_lanes_attention channel_attention(const facet_denoise_block *block, int64_t l, int64_t i) {
  const facet_denoise_size *size = block->size;
  const int64_t rows = facet_denoise_layer_rows(size, l), p_at = i * size->heads * rows * size->c * FACET_LANES;
  return (facet_lanes_attention){.queries = rows,
                                 .keys = size->c,
                                 .heads = size->heads,
                                 .width = size->d / size->heads,
                                 .scale = size->scale,
                                 .q = facet_lanes_column(block->q, i * rows),
                                 .k = facet_lanes_column(l ? block->k : block->first_k, i * size->c),
                                 .v = facet_lanes_column(l ? block->v : block->first_v, i * size->c),
                                 .p = block->p + p_at};
}

/* W_v τ, which block 1 left out of the values, is added afterwards: the attention's weights sum to 1. */
void facet_denoise_layer_attend(facet_denoise_block *block, int64_t l) {
  const int64_t rows = facet_denoise_layer_rows(block->size, l);
  for (int64_t i = 0; i < block->n_channels; i++) {
    facet_lanes_attention attention = channel_attention(block, l, i);
    attention.y = facet_lanes_column(block->attended, i * rows);
    if (l == 0) attention.shift = facet_lanes_column(block->tau[DENOISE_TAU_V], i * block->tau_step);
    block->lanes->attend(&attention);
  }
}

void facet_denoise_layer_attend_backward(facet_denoise_block *block, int64_t l) {
  const facet_denoise_size *size = block->size;
  const int64_t rows = facet_denoise_layer_rows(size, l);
  for (int64_t i = 0; i < block->n_channels; i++) {
    facet_lanes_attention attention = channel_attention(block, l, i);
    attention.y = facet_lanes_column(block->d_attended, i * rows);
    attention.dq = facet_lanes_column(block->d_q, i * rows);
    attention.dk = facet_lanes_column(block->d_k, i * size->c);
    attention.dv = facet_lanes_column(block->d_v, i * size->c);
    attention.dp = block->d_p;
    block->lanes->attend_backward(&attention);
  }
}

/* ---- chunks of columns ------------------------------------------------------------------------------------------ */

typedef struct chunk {
  int64_t l, rows, first, n; /* layer; its rows a channel; columns */
  facet_lanes normal_1, normal_3;
  facet_real *inverse_1, *inverse_3;
} chunk;

static chunk make_chunk(const facet_denoise_block *block, int64_t l, int64_t first, const facet_denoise_kept *kept) {
  const int64_t rows = facet_denoise_layer_rows(block->size, l), left = block->n_channels * rows - first;
  return (chunk){.l = l,
                 .rows = rows,
                 .first = first,
                 .n = left < DENOISE_CHUNK ? left : DENOISE_CHUNK,
                 .normal_1 = facet_denoise_kept_normal(block->size, kept, l, DENOISE_KEPT_NORM_1, first),
                 .normal_3 = facet_denoise_kept_normal(block->size, kept, l, DENOISE_KEPT_NORM_3, first),
                 .inverse_1 = kept->layer[l].inverse[DENOISE_KEPT_NORM_1] + first * FACET_LANES,
                 .inverse_3 = kept->layer[l].inverse[DENOISE_KEPT_NORM_3] + first * FACET_LANES};
}

/* A norm of a layer whose gains are weights `gamma` and `gamma + 1`. */
static facet_lanes_norm make_norm(const facet_denoise_block *block, const chunk *s, int gamma) {
  return (facet_lanes_norm){.d = block->size->d,
                            .columns = s->n,
                            .eps = norm_eps,
                            .gamma = facet_denoise_weight_of(block, s->l, gamma),
                            .beta = facet_denoise_weight_of(block, s->l, gamma + 1)};
}

static facet_lanes own_rows(const facet_denoise_block *block, const chunk *s) {
  return facet_lanes_column(s->l == block->size->n_layers - 1 ? block->own : block->in, s->first);
}

/* Columns from `at` on that have one channel and so one cross-attention vector, and the channel; in the last layer each
 * has its own: all. */
static int64_t same_channel(const chunk *s, int64_t at, int64_t *channel) {
  *channel = (s->first + at) / s->rows;
  const int64_t end = s->rows == 1 ? s->n : (*channel + 1) * s->rows - s->first;
  return (end < s->n ? end : s->n) - at;
}

/* h = γ x̂ + β + cross, where x̂ is normal_1, made from x unless it is there (x.at NULL). */
static void first_norm(const facet_denoise_block *block, const chunk *s, facet_lanes x, facet_lanes h) {
  const facet_lane_kernels *lanes = block->lanes;
  facet_lanes_norm norm = make_norm(block, s, DENOISE_NORM_1_GAMMA);
  norm.shift_step = s->rows == 1;
  for (int64_t at = 0, channel; at < s->n; at += norm.columns) {
    norm.columns = same_channel(s, at, &channel);
    norm.shift = facet_lanes_column(block->cross[s->l], channel);
    norm.y = facet_lanes_column(h, at);
    if (x.at) {
      norm.x = facet_lanes_column(x, at);
      norm.normal = facet_lanes_column(s->normal_1, at);
      norm.inverse = s->inverse_1 + at * FACET_LANES;
      lanes->norm(&norm);
    } else {
      norm.x = facet_lanes_column(s->normal_1, at);
      lanes->affine(&norm);
    }
  }
}

static void feed_forward_hidden(const facet_denoise_block *block, const chunk *s) {
  block->lanes->product(&(facet_lanes_product){.rows = block->size->width,
                                               .depth = block->size->d,
                                               .columns = s->n,
                                               .a = facet_denoise_transpose_of(block, s->l, DENOISE_FFN_0_WEIGHT),
                                               .bias = facet_denoise_weight_of(block, s->l, DENOISE_FFN_0_BIAS),
                                               .x = block->middle,
                                               .y = block->hidden,
                                               .relu = true});
}

static void chunk_forward(const facet_denoise_block *block, const chunk *s, facet_lanes out) {
  const facet_lane_kernels *lanes = block->lanes;
  const int64_t d = block->size->d, width = block->size->width, l = s->l;
  const facet_lanes h = block->normal_2; /* free in forward */
  lanes->product(&(facet_lanes_product){.rows = d,
                                        .depth = d,
                                        .columns = s->n,
                                        .a = facet_denoise_transpose_of(block, l, DENOISE_SELF_O),
                                        .x = facet_lanes_column(block->attended, s->first),
                                        .add = own_rows(block, s),
                                        .y = h});
  first_norm(block, s, h, h);
  facet_lanes_norm norm = make_norm(block, s, DENOISE_NORM_2_GAMMA);
  norm.x = h;
  norm.y = block->middle;
  lanes->norm(&norm);

  feed_forward_hidden(block, s);
  lanes->product(&(facet_lanes_product){.rows = d,
                                        .depth = width,
                                        .columns = s->n,
                                        .a = facet_denoise_transpose_of(block, l, DENOISE_FFN_1_WEIGHT),
                                        .bias = facet_denoise_weight_of(block, l, DENOISE_FFN_1_BIAS),
                                        .x = block->hidden,
                                        .add = block->middle,
                                        .y = h});
  norm = make_norm(block, s, DENOISE_NORM_3_GAMMA);
  norm.x = h;
  norm.y = out;
  norm.normal = s->normal_3;
  norm.inverse = s->inverse_3;
  lanes->norm(&norm);
}

void facet_denoise_layer_forward(facet_denoise_block *block, int64_t l, const facet_denoise_kept *kept) {
  const facet_lanes out = l == block->size->n_layers - 1 ? block->out : block->in;
  const int64_t n = block->n_channels * facet_denoise_layer_rows(block->size, l);
  for (int64_t first = 0; first < n; first += DENOISE_CHUNK) {
    const chunk s = make_chunk(block, l, first, kept);
    chunk_forward(block, &s, facet_lanes_column(out, first));
  }
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

/* The norm that `gamma` belongs to, in place. */
static void norm_backward(const facet_denoise_block *block, const chunk *s, int gamma, facet_lanes normal,
                          const facet_real *inverse, facet_lanes dx) {
  block->lanes->norm_backward(
      &(facet_lanes_norm_backward){.d = block->size->d,
                                   .columns = s->n,
                                   .gamma = facet_denoise_weight_of(block, s->l, gamma),
                                   .normal = normal,
                                   .inverse = inverse,
                                   .dx = dx,
                                   .d_gamma = facet_denoise_gradient_of(block, s->l, gamma),
                                   .d_beta = facet_denoise_gradient_of(block, s->l, gamma + 1)});
}

/* Columns of x, summed to the bias k. */
static void bias_backward(const facet_denoise_block *block, const chunk *s, int k, int64_t n, facet_lanes x) {
  block->lanes->sum(n, s->n, x, (facet_lanes){facet_denoise_gradient_of(block, s->l, k), FACET_LANES});
}

/* `middle` and `hidden` again, from the first norm. */
static void repeat_forward(const facet_denoise_block *block, const chunk *s) {
  first_norm(block, s, (facet_lanes){0}, block->middle);
  facet_lanes_norm norm = make_norm(block, s, DENOISE_NORM_2_GAMMA);
  norm.x = norm.y = block->middle;
  norm.normal = block->normal_2;
  norm.inverse = block->inverse_2;
  block->lanes->norm(&norm);
  feed_forward_hidden(block, s);
}

static void feed_forward_backward(const facet_denoise_block *block, const chunk *s, facet_lanes dh) {
  const facet_lane_kernels *lanes = block->lanes;
  const int64_t d = block->size->d, width = block->size->width, l = s->l;
  lanes->pack(d, s->n, dh, block->packed);
  lanes->gradient(width, d, s->n, block->hidden, block->packed,
                  facet_denoise_gradient_of(block, l, DENOISE_FFN_1_WEIGHT));
  bias_backward(block, s, DENOISE_FFN_1_BIAS, d, dh);
  lanes->product(&(facet_lanes_product){.rows = width,
                                        .depth = d,
                                        .columns = s->n,
                                        .a = facet_denoise_matrix_of(block, l, DENOISE_FFN_1_WEIGHT),
                                        .x = dh,
                                        .mask = block->hidden,
                                        .y = block->d_hidden});
  lanes->pack(d, s->n, block->middle, block->packed);
  lanes->gradient(width, d, s->n, block->d_hidden, block->packed,
                  facet_denoise_gradient_of(block, l, DENOISE_FFN_0_WEIGHT));
  bias_backward(block, s, DENOISE_FFN_0_BIAS, width, block->d_hidden);
  lanes->product(&(facet_lanes_product){.rows = d,
                                        .depth = width,
                                        .columns = s->n,
                                        .a = facet_denoise_matrix_of(block, l, DENOISE_FFN_0_WEIGHT),
                                        .x = block->d_hidden,
                                        .add = dh,
                                        .y = dh});
}

static void cross_backward(const facet_denoise_block *block, const chunk *s, facet_lanes dh) {
  const facet_lane_kernels *lanes = block->lanes;
  for (int64_t at = 0, n, channel; at < s->n; at += n) {
    n = same_channel(s, at, &channel);
    const facet_lanes d_cross = facet_lanes_column(block->d_cross[s->l], channel);
    if (s->rows == 1)
      lanes->blend(block->size->d, n, 1, facet_lanes_column(dh, at), 1, d_cross);
    else
      lanes->sum(block->size->d, n, facet_lanes_column(dh, at), d_cross);
  }
}

/* dh: gradient of the layer's output, in place of what stands before the first norm. */
static void chunk_backward(const facet_denoise_block *block, const chunk *s, facet_lanes dh) {
  const facet_lane_kernels *lanes = block->lanes;
  const int64_t d = block->size->d, l = s->l;
  repeat_forward(block, s);
  norm_backward(block, s, DENOISE_NORM_3_GAMMA, s->normal_3, s->inverse_3, dh);
  feed_forward_backward(block, s, dh);
  norm_backward(block, s, DENOISE_NORM_2_GAMMA, block->normal_2, block->inverse_2, dh);
  cross_backward(block, s, dh);
  norm_backward(block, s, DENOISE_NORM_1_GAMMA, s->normal_1, s->inverse_1, dh);
  lanes->pack(d, s->n, dh, block->packed);
  lanes->gradient(d, d, s->n, facet_lanes_column(block->attended, s->first), block->packed,
                  facet_denoise_gradient_of(block, l, DENOISE_SELF_O));
  lanes->product(&(facet_lanes_product){.rows = d,
                                        .depth = d,
                                        .columns = s->n,
                                        .a = facet_denoise_matrix_of(block, l, DENOISE_SELF_O),
                                        .x = dh,
                                        .y = facet_lanes_column(block->d_attended, s->first)});
}

void facet_denoise_layer_backward(facet_denoise_block *block, int64_t l, const facet_denoise_kept *kept) {
  const facet_lanes dh = l == block->size->n_layers - 1 ? block->d_own : block->d_in;
  const int64_t n = block->n_channels * facet_denoise_layer_rows(block->size, l);
  for (int64_t first = 0; first < n; first += DENOISE_CHUNK) {
    const chunk s = make_chunk(block, l, first, kept);
    chunk_backward(block, &s, facet_lanes_column(dh, first));
  }
}
