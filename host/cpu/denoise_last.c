/* The attention of the last of several layers: one query a channel, the channel's own token, over all its tokens h. The
 * weights of keys and values are applied on the query's side, per head of width n:
 *
 *   u = W_k q [d], from its n columns and q's n numbers;  p = softmax(scale · u·h_j);  m = Σ_j p_j h_j [d];
 *   attended = W_vᵀ m, n numbers
 *
 * in place of W_k and W_v on every token. */
#include "cpu/denoise.h"

static facet_lanes features(facet_lanes x, int64_t first) {
  return (facet_lanes){x.at + first * x.stride, x.stride};
}

/* y [heads · d][channels]: per head W x for the head's columns of weight k and its features of x [d][channels]. */
static void widen_heads(const facet_denoise_block *block, int64_t l, int k, facet_lanes x, facet_lanes y) {
  const int64_t d = block->size->d, width = d / block->size->heads;
  for (int64_t h = 0; h < block->size->heads; h++)
    block->lanes->product(&(facet_lanes_product){.rows = d,
                                                 .depth = width,
                                                 .columns = block->n_channels,
                                                 .a = {facet_denoise_weight_of(block, l, k) + h * width, d},
                                                 .x = features(x, h * width),
                                                 .y = features(y, h * d)});
}

/* y [d][channels]: per head its features of Wᵀ x for the head's x of [heads · d][channels]. */
static void narrow_heads(const facet_denoise_block *block, int64_t l, int k, facet_lanes x, facet_lanes y) {
  const int64_t d = block->size->d, width = d / block->size->heads;
  for (int64_t h = 0; h < block->size->heads; h++)
    block->lanes->product(&(facet_lanes_product){.rows = width,
                                                 .depth = d,
                                                 .columns = block->n_channels,
                                                 .a = {facet_denoise_transpose_of(block, l, k).at + h * width * d},
                                                 .x = features(x, h * d),
                                                 .y = features(y, h * width)});
}

/* The gradient of weight k, summed transposed: for each head its rows += narrow wideᵀ. */
static void heads_weight(const facet_denoise_block *block, int64_t l, int k, facet_lanes narrow, facet_lanes wide) {
  const facet_lane_kernels *lanes = block->lanes;
  const int64_t d = block->size->d, width = d / block->size->heads;
  for (int64_t h = 0; h < block->size->heads; h++) {
    lanes->pack(d, block->n_channels, features(wide, h * d), block->packed);
    lanes->gradient(width, d, block->n_channels, features(narrow, h * width), block->packed,
                    facet_denoise_gradient_of(block, l, k) + h * width * d);
  }
}

/* Of the block's channel i. */
static facet_lanes_attention channel_attention(const facet_denoise_block *block, int64_t i) {
  const facet_denoise_size *size = block->size;
  const facet_lanes tokens = facet_lanes_column(block->in, i * size->c);
  return (facet_lanes_attention){.queries = 1,
                                 .keys = size->c,
                                 .heads = size->heads,
                                 .width = size->d,
                                 .shared_keys = true,
                                 .scale = size->scale,
                                 .q = facet_lanes_column(block->key_q, i),
                                 .k = tokens,
                                 .v = tokens,
                                 .p = block->p + i * size->heads * size->c * FACET_LANES};
}

void facet_denoise_last_attend(facet_denoise_block *block, int64_t l) {
  const int64_t d = block->size->d, n = block->n_channels;
  for (int64_t i = 0; i < n; i++)
    facet_denoise_copy(d, 1, facet_denoise_own_token(block, i, block->in), facet_lanes_column(block->own, i));
  facet_denoise_project(block, n, l, DENOISE_SELF_Q, block->own, block->q);
  widen_heads(block, l, DENOISE_SELF_K, block->q, block->key_q);
  for (int64_t i = 0; i < n; i++) {
    facet_lanes_attention attention = channel_attention(block, i);
    attention.y = facet_lanes_column(block->mixed, i);
    block->lanes->attend(&attention);
  }
  narrow_heads(block, l, DENOISE_SELF_V, block->mixed, block->attended);
}

void facet_denoise_last_attend_backward(facet_denoise_block *block, int64_t l) {
  const facet_lane_kernels *lanes = block->lanes;
  const int64_t d = block->size->d, n = block->n_channels;
  heads_weight(block, l, DENOISE_SELF_V, block->d_attended, block->mixed);
  widen_heads(block, l, DENOISE_SELF_V, block->d_attended, block->d_mixed);
  for (int64_t i = 0; i < n; i++) {
    facet_lanes_attention attention = channel_attention(block, i);
    attention.y = facet_lanes_column(block->d_mixed, i);
    attention.dq = facet_lanes_column(block->d_key_q, i);
    attention.dk = facet_lanes_column(block->d_in, i * block->size->c);
    attention.dp = block->d_p;
    lanes->attend_backward(&attention);
  }
  heads_weight(block, l, DENOISE_SELF_K, block->q, block->d_key_q);
  narrow_heads(block, l, DENOISE_SELF_K, block->d_key_q, block->d_q);
  lanes->pack(d, n, block->own, block->packed);
  facet_denoise_project_weight(block, n, l, DENOISE_SELF_Q, block->d_q);
  facet_denoise_project_back(block, n, l, DENOISE_SELF_Q, block->d_q, block->d_own, block->d_own);
  for (int64_t i = 0; i < n; i++)
    lanes->blend(d, 1, 1, facet_lanes_column(block->d_own, i), 1, facet_denoise_own_token(block, i, block->d_in));
}
