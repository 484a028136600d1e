/* attention: q [B, Lq, d], k, v [B, Lk, d], length int32 [B] (or none) → y [B, Lq, d]; per sample and head, on the
 * head's w = d/heads columns and the first n = min(Lk, n_always + length[b]) keys (all of them without length):
 *
 *   S = scale · q kᵀ,   P = softmax of the rows of S,   y = P v
 *   dv += Pᵀ dy,   dP = dy vᵀ,   dS = scale · P ⊙ (dP − rowsum(P ⊙ dP)),   dq += dS k,   dk += dSᵀ q
 *
 * n = 0 gives y = 0 and no gradient. Masked keys and values are never read.
 * saved: max and 1/Σ of each row of exp(S − max). P is computed again in backward, so that memory does not grow with
 * Lq · Lk; this costs one product of five.
 * scratch: P and dP of a tile of queries, for each of a number of blocks of (sample, head) pairs that depends on the
 * shapes alone. Their rows are padded to whole vectors, with −∞ before and 0 after the exponential. */
#include <math.h>
#include <string.h>

#include "cpu/gemm.h"
#include "cpu/vector.h"
#include "facet/ops.h"

typedef struct facet_attention_params {
  int64_t heads, n_always;
  double scale;
} facet_attention_params;

enum { TILE = 64, MAX_BLOCKS = 64, LANES = 16 };

typedef struct attention_sizes {
  int64_t n_queries, n_keys, d, heads, width;
  int64_t n_pairs, n_blocks; /* of (sample, head) */
  int64_t tile;              /* queries at a time */
  int64_t tile_elements;     /* tile rows of n_keys, padded */
} attention_sizes;

static int64_t padded(int64_t n) {
  return (n + LANES - 1) / LANES * LANES;
}

static attention_sizes sizes_of(const facet_shape *in_shape, const facet_attention_params *params) {
  attention_sizes s = {.n_queries = in_shape[0].dim[1],
                       .n_keys = in_shape[1].dim[1],
                       .d = in_shape[0].dim[2],
                       .heads = params->heads,
                       .width = in_shape[0].dim[2] / params->heads,
                       .n_pairs = in_shape[0].dim[0] * params->heads};
  s.n_blocks = s.n_pairs < MAX_BLOCKS ? s.n_pairs : MAX_BLOCKS;
  s.tile = s.n_queries < TILE ? s.n_queries : TILE;
  s.tile_elements = s.tile * padded(s.n_keys);
  return s;
}

static facet_status attention_shape(facet_op_rule *rule) {
  const facet_attention_params *params = rule->params;
  const facet_shape *q = &rule->in_shape[0], *k = &rule->in_shape[1], *v = &rule->in_shape[2];
  char text_q[64], text_k[64], text_v[64];
  facet_shape_format(q, text_q, sizeof text_q);
  facet_shape_format(k, text_k, sizeof text_k);
  facet_shape_format(v, text_v, sizeof text_v);
  for (int i = 0; i < 3; i++)
    FACET_OP_CHECK(rule, rule->in_dtype[i] == FACET_DTYPE_REAL, "%c is int32, expected real", "qkv"[i]);
  FACET_OP_CHECK(
      rule, q->rank == 3 && k->rank == 3 && facet_shape_equal(k, v) && q->dim[0] == k->dim[0] && q->dim[2] == k->dim[2],
      "q is %s, k %s and v %s, expected [B, Lq, d] and twice [B, Lk, d]", text_q, text_k, text_v);
  FACET_OP_CHECK(rule, params->heads >= 1 && q->dim[2] % params->heads == 0, "%lld heads do not divide q %s",
                 (long long)params->heads, text_q);
  FACET_OP_CHECK(rule, params->n_always >= 0, "n_always is %lld, expected at least 0", (long long)params->n_always);
  FACET_OP_CHECK(rule, isfinite(params->scale), "the scale is %g, expected a finite number", params->scale);
  FACET_OP_CHECK(rule,
                 rule->n_inputs < 4 || (rule->in_dtype[3] == FACET_DTYPE_INT32 && rule->in_shape[3].rank == 1 &&
                                        rule->in_shape[3].dim[0] == q->dim[0]),
                 "the length is %s, expected int32 [B] for q %s",
                 facet_shape_format(&rule->in_shape[3], text_v, sizeof text_v), text_q);
  attention_sizes s = sizes_of(rule->in_shape, params);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *q;
  rule->saved_bytes = (size_t)(2 * s.n_pairs * s.n_queries) * sizeof(facet_real);
  rule->scratch_bytes = (size_t)(2 * s.n_blocks * s.tile_elements) * sizeof(facet_real);
  return FACET_OK;
}

/* All keys counted. */
static void attention_cost(const facet_op_rule *rule, facet_cost *cost) {
  attention_sizes s = sizes_of(rule->in_shape, rule->params);
  double scores = (double)(s.n_pairs * s.n_queries * s.n_keys), width = (double)s.width;
  double queries = (double)facet_shape_elements(&rule->in_shape[0]);
  double keys = (double)facet_shape_elements(&rule->in_shape[1]);
  cost->forward_flops = scores * (4 * width + 24);
  cost->backward_flops = scores * (8 * width + 28);
  cost->forward_bytes = 2 * (queries + keys) * sizeof(facet_real);
  cost->backward_bytes = (4 * queries + 6 * keys) * sizeof(facet_real);
}

static int64_t valid_keys(const facet_op_call *call, int64_t b) {
  const facet_attention_params *params = call->params;
  int64_t n_keys = call->in_shape[1].dim[1];
  if (call->n_inputs < 4) return n_keys;
  int64_t n = params->n_always + ((const int32_t *)call->in[3])[b];
  return n < n_keys ? n : n_keys;
}

/* The columns of one head of one sample; rows are d apart. */
typedef struct attention_pair {
  int64_t n, stride; /* valid keys, and padded: elements between the rows of P */
  int64_t of_queries, of_keys;
  facet_real *statistics; /* [Lq, 2] max and 1/Σ */
} attention_pair;

static attention_pair pair_of(const facet_op_call *call, const attention_sizes *s, int64_t pair) {
  int64_t b = pair / s->heads, column = pair % s->heads * s->width, n = valid_keys(call, b);
  return (attention_pair){.n = n,
                          .stride = padded(n),
                          .of_queries = b * s->n_queries * s->d + column,
                          .of_keys = b * s->n_keys * s->d + column,
                          .statistics = (facet_real *)call->saved + 2 * pair * s->n_queries};
}

/* The columns behind the keys. */
static void fill_padding(const attention_pair *at, int64_t m, facet_real value, facet_real *p) {
  for (int64_t r = 0; r < m; r++)
    for (int64_t j = at->n; j < at->stride; j++) p[r * at->stride + j] = value;
}

static facet_status forward_pair(const facet_op_call *call, const attention_sizes *s, int64_t pair, facet_real *p) {
  const facet_attention_params *params = call->params;
  const facet_vector *vector = facet_vector_get();
  attention_pair at = pair_of(call, s, pair);
  const facet_real *q = (const facet_real *)call->in[0] + at.of_queries;
  const facet_real *k = (const facet_real *)call->in[1] + at.of_keys, *v = (const facet_real *)call->in[2] + at.of_keys;
  facet_real *y = (facet_real *)call->out[0] + at.of_queries;
  if (at.n <= 0) {
    for (int64_t i = 0; i < s->n_queries; i++) memset(y + i * s->d, 0, (size_t)s->width * sizeof *y);
    return FACET_OK;
  }
  for (int64_t i = 0; i < s->n_queries; i += s->tile) {
    int64_t m = s->n_queries - i < s->tile ? s->n_queries - i : s->tile;
    FACET_TRY(facet_gemm(false, true, m, at.n, s->width, (facet_real)params->scale, q + i * s->d, s->d, k, s->d, 0, p,
                         at.stride));
    fill_padding(&at, m, -(facet_real)INFINITY, p);
    for (int64_t r = 0; r < m; r++) {
      facet_real *row = p + r * at.stride, *statistics = at.statistics + 2 * (i + r);
      statistics[0] = vector->max(at.stride, row);
      statistics[1] = 1 / vector->exp_sum(at.stride, statistics[0], row, row);
      vector->scale(at.stride, statistics[1], row);
    }
    FACET_TRY(facet_gemm(false, false, m, s->width, at.n, 1, p, at.stride, v, s->d, 0, y + i * s->d, s->d));
  }
  return FACET_OK;
}

/* p holds two tiles: P, then dP. */
static facet_status backward_pair(const facet_op_call *call, const attention_sizes *s, int64_t pair, facet_real *p) {
  const facet_attention_params *params = call->params;
  const facet_vector *vector = facet_vector_get();
  const facet_real scale = (facet_real)params->scale;
  attention_pair at = pair_of(call, s, pair);
  const facet_real *q = (const facet_real *)call->in[0] + at.of_queries, *dy = call->d_out[0] + at.of_queries;
  const facet_real *k = (const facet_real *)call->in[1] + at.of_keys, *v = (const facet_real *)call->in[2] + at.of_keys;
  facet_real *dq = call->d_in[0], *dk = call->d_in[1], *dv = call->d_in[2], *ds = p + s->tile_elements;
  if (at.n <= 0) return FACET_OK;
  for (int64_t i = 0; i < s->n_queries; i += s->tile) {
    int64_t m = s->n_queries - i < s->tile ? s->n_queries - i : s->tile, row = i * s->d;
    FACET_TRY(facet_gemm(false, true, m, at.n, s->width, scale, q + row, s->d, k, s->d, 0, p, at.stride));
    fill_padding(&at, m, -(facet_real)INFINITY, p);
    for (int64_t r = 0; r < m; r++) {
      const facet_real *statistics = at.statistics + 2 * (i + r);
      vector->exp_sum(at.stride, statistics[0], p + r * at.stride, p + r * at.stride);
      vector->scale(at.stride, statistics[1], p + r * at.stride);
    }
    if (dv)
      FACET_TRY(facet_gemm(true, false, at.n, s->width, m, 1, p, at.stride, dy + row, s->d, 1, dv + at.of_keys, s->d));
    if (!dq && !dk) continue;
    FACET_TRY(facet_gemm(false, true, m, at.n, s->width, 1, dy + row, s->d, v, s->d, 0, ds, at.stride));
    fill_padding(&at, m, 0, ds);
    for (int64_t r = 0; r < m; r++) {
      facet_real *ds_row = ds + r * at.stride, *p_row = p + r * at.stride;
      facet_real mean = vector->dot(at.stride, p_row, ds_row);
      for (int64_t j = 0; j < at.stride; j++) ds_row[j] = scale * p_row[j] * (ds_row[j] - mean);
    }
    if (dq)
      FACET_TRY(
          facet_gemm(false, false, m, s->width, at.n, 1, ds, at.stride, k, s->d, 1, dq + at.of_queries + row, s->d));
    if (dk)
      FACET_TRY(facet_gemm(true, false, at.n, s->width, m, 1, ds, at.stride, q + row, s->d, 1, dk + at.of_keys, s->d));
  }
  return FACET_OK;
}

typedef facet_status pair_kernel(const facet_op_call *call, const attention_sizes *s, int64_t pair, facet_real *p);

/* Pairs write to rows and columns of their own. */
static facet_status for_each_pair(const facet_op_call *call, pair_kernel *kernel) {
  const attention_sizes s = sizes_of(call->in_shape, call->params);
  int failed = 0; /* the error itself belongs to the thread that met it */
#pragma omp parallel for schedule(static) reduction(| : failed)
  for (int64_t block = 0; block < s.n_blocks; block++) {
    facet_real *p = (facet_real *)call->scratch + 2 * block * s.tile_elements;
    for (int64_t pair = block * s.n_pairs / s.n_blocks; pair < (block + 1) * s.n_pairs / s.n_blocks; pair++)
      failed |= kernel(call, &s, pair, p) != FACET_OK;
  }
  FACET_CHECK(!failed, FACET_ERROR_INTERNAL, "a matrix product of attention failed");
  return FACET_OK;
}

static facet_status attention_forward(const facet_op_call *call) {
  return for_each_pair(call, forward_pair);
}

static facet_status attention_backward(const facet_op_call *call) {
  return for_each_pair(call, backward_pair);
}

const facet_op facet_op_attention = {.name = "attention",
                                     .params_bytes = sizeof(facet_attention_params),
                                     .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                     .shape = attention_shape,
                                     .cost = attention_cost,
                                     .forward = attention_forward,
                                     .backward = attention_backward};

facet_tensor *facet_attention(facet_graph *graph, const char *name, facet_tensor *q, facet_tensor *k, facet_tensor *v,
                              facet_tensor *length, int64_t heads, int64_t n_always, double scale) {
  facet_attention_params params = {.heads = heads, .n_always = n_always, .scale = scale};
  return facet_graph_node(graph, &facet_op_attention, name, (facet_tensor *[]){q, k, v, length}, length ? 4 : 3,
                          &params, NULL);
}
