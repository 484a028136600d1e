/* attention: q [B, Lq, d], k, v [B, Lk, d], length int32 [B] (or none) → y [B, Lq, d]; per sample and head, on the
 * head's w = d/heads columns and the first n = min(Lk, n_always + length[b]) keys (all of them without length):
 *
 *   S = scale · q kᵀ,   P = softmax of the rows of S,   y = P v
 *   dv += Pᵀ dy,   dP = dy vᵀ,   dS = scale · P ⊙ (dP − rowsum(P ⊙ dP)),   dq += dS k,   dk += dSᵀ q
 *
 * n = 0 gives y = 0 and no gradient. Masked keys and values are never read. In self-attention (Lq = Lk) neither are the
 * queries of masked rows, which get y = 0.
 * saved: max and 1/Σ of each row of exp(S − max). P is computed again in backward, so that memory does not grow with
 * Lq · Lk; this costs one product of five.
 * scratch: what a kernel works in (cpu/attend.h), for each of a number of blocks of (sample, head) pairs that depends on
 * the shapes alone. */
#include <math.h>
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"
#include "ops/length.h"

typedef struct facet_attention_params {
  int64_t heads, n_always;
  double scale;
  bool self;
} facet_attention_params;

enum { MAX_BLOCKS = 64 };

typedef struct attention_sizes {
  int64_t n_queries, n_keys, d, heads, width;
  int64_t n_pairs, n_blocks; /* of (sample, head) */
  int64_t work;              /* elements of scratch for a block */
} attention_sizes;

static attention_sizes sizes_of(const facet_shape *in_shape, const facet_attention_params *params) {
  attention_sizes s = {.n_queries = in_shape[0].dim[1],
                       .n_keys = in_shape[1].dim[1],
                       .d = in_shape[0].dim[2],
                       .heads = params->heads,
                       .width = in_shape[0].dim[2] / params->heads,
                       .n_pairs = in_shape[0].dim[0] * params->heads};
  s.n_blocks = s.n_pairs < MAX_BLOCKS ? s.n_pairs : MAX_BLOCKS;
  s.work = facet_attend_work(s.n_keys, s.width);
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
  FACET_OP_CHECK(rule, !params->self || facet_shape_equal(q, k), "q is %s and k %s, expected the same rows in both",
                 text_q, text_k);
  FACET_OP_CHECK(rule, params->heads >= 1 && q->dim[2] % params->heads == 0, "%lld heads do not divide q %s",
                 (long long)params->heads, text_q);
  FACET_OP_CHECK(rule, params->n_always >= 0, "n_always is %lld, expected at least 0", (long long)params->n_always);
  FACET_OP_CHECK(rule, isfinite(params->scale), "the scale is %g, expected a finite number", params->scale);
  if (rule->n_inputs == 4) FACET_TRY(facet_length_check(rule, 3, 0, "q"));
  attention_sizes s = sizes_of(rule->in_shape, params);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *q;
  rule->saved_bytes = (size_t)(2 * s.n_pairs * s.n_queries) * sizeof(facet_real);
  rule->scratch_bytes = (size_t)(s.n_blocks * s.work) * sizeof(facet_real);
  return FACET_OK;
}

/* All rows counted. */
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
  return facet_length_clamp(params->n_always + ((const int32_t *)call->in[3])[b], n_keys);
}

/* One head of one sample; rows are d apart. */
static facet_attend_head head_of(const facet_op_call *call, const attention_sizes *s, int64_t pair) {
  const facet_attention_params *params = call->params;
  const int64_t b = pair / s->heads, column = pair % s->heads * s->width;
  const int64_t of_queries = b * s->n_queries * s->d + column, of_keys = b * s->n_keys * s->d + column;
  const int64_t n_keys = valid_keys(call, b);
  return (facet_attend_head){.n_queries = params->self ? n_keys : s->n_queries,
                             .n_keys = n_keys,
                             .width = s->width,
                             .stride = s->d,
                             .scale = (facet_real)params->scale,
                             .q = (const facet_real *)call->in[0] + of_queries,
                             .k = (const facet_real *)call->in[1] + of_keys,
                             .v = (const facet_real *)call->in[2] + of_keys,
                             .statistics = (facet_real *)call->saved + 2 * pair * s->n_queries};
}

static void clear_columns(int64_t rows, int64_t width, int64_t stride, facet_real *x) {
  for (int64_t i = 0; i < rows; i++) memset(x + i * stride, 0, (size_t)width * sizeof *x);
}

static void forward_pair(const facet_op_call *call, const attention_sizes *s, int64_t pair, facet_real *work) {
  const facet_attend_head head = head_of(call, s, pair);
  facet_real *y = (facet_real *)call->out[0] + (head.q - (const facet_real *)call->in[0]);
  const int64_t n = head.n_keys > 0 ? head.n_queries : 0;
  if (n > 0) facet_vector_get()->attend->forward(&head, work, y);
  clear_columns(s->n_queries - n, s->width, s->d, y + n * s->d);
}

static void backward_pair(const facet_op_call *call, const attention_sizes *s, int64_t pair, facet_real *work) {
  const facet_attend_head head = head_of(call, s, pair);
  const int64_t of_queries = head.q - (const facet_real *)call->in[0],
                of_keys = head.k - (const facet_real *)call->in[1];
  facet_real *d_in[3];
  for (int i = 0; i < 3; i++) {
    d_in[i] = call->d_in[i] ? call->d_in[i] + (i ? of_keys : of_queries) : NULL;
    if (d_in[i] && call->store[i]) clear_columns(i ? s->n_keys : s->n_queries, s->width, s->d, d_in[i]);
  }
  if (head.n_keys > 0)
    facet_vector_get()->attend->backward(&head, call->d_out[0] + of_queries, work, d_in[0], d_in[1], d_in[2]);
}

typedef void pair_kernel(const facet_op_call *call, const attention_sizes *s, int64_t pair, facet_real *work);

/* Pairs write to rows and columns of their own. */
static facet_status for_each_pair(const facet_op_call *call, pair_kernel *kernel) {
  const attention_sizes s = sizes_of(call->in_shape, call->params);
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < s.n_blocks; block++) {
    facet_real *work = (facet_real *)call->scratch + block * s.work;
    for (int64_t pair = block * s.n_pairs / s.n_blocks; pair < (block + 1) * s.n_pairs / s.n_blocks; pair++)
      kernel(call, &s, pair, work);
  }
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
                                     .backward_stores = true,
                                     .shape = attention_shape,
                                     .cost = attention_cost,
                                     .forward = attention_forward,
                                     .backward = attention_backward};

static facet_tensor *add_node(facet_graph *graph, const char *name, facet_tensor *const qkv[3], facet_tensor *length,
                              const facet_attention_params *params) {
  return facet_graph_node(graph, &facet_op_attention, name, (facet_tensor *[]){qkv[0], qkv[1], qkv[2], length},
                          length ? 4 : 3, params, NULL);
}

facet_tensor *facet_attention(facet_graph *graph, const char *name, facet_tensor *q, facet_tensor *k, facet_tensor *v,
                              facet_tensor *length, int64_t heads, int64_t n_always, double scale) {
  const facet_attention_params params = {.heads = heads, .n_always = n_always, .scale = scale};
  return add_node(graph, name, (facet_tensor *[]){q, k, v}, length, &params);
}

facet_tensor *facet_self_attention(facet_graph *graph, const char *name, facet_tensor *q, facet_tensor *k,
                                   facet_tensor *v, facet_tensor *length, int64_t heads, int64_t n_always,
                                   double scale) {
  const facet_attention_params params = {.heads = heads, .n_always = n_always, .scale = scale, .self = true};
  return add_node(graph, name, (facet_tensor *[]){q, k, v}, length, &params);
}
