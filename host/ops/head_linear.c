/* head_linear: a product per head with the head's w = d/heads columns W_h of W [n, d], for one query a sample. Narrow
 * rows N [B, 1, d] have heads N_h [B, w], wide rows X [B, heads, n] have heads X_h [B, n]:
 *
 *   narrow, X → N:  N_h = X_h W_h        dX_h += dN_h W_hᵀ,   dW_h += X_hᵀ dN_h
 *   wide,   N → X:  X_h = N_h W_hᵀ       dN_h += dX_h W_h,    dW_h += dX_hᵀ N_h
 *
 * Always in float32 (or double): B · n · d is what one key of each sample would cost in `linear`. */
#include "cpu/gemm.h"
#include "facet/ops.h"

typedef struct facet_head_linear_params {
  int64_t heads;
  bool wide;
} facet_head_linear_params;

static facet_status head_linear_shape(facet_op_rule *rule) {
  const facet_head_linear_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[0], *weight = &rule->in_shape[1];
  char text[64], text_weight[64];
  facet_shape_format(x, text, sizeof text);
  facet_shape_format(weight, text_weight, sizeof text_weight);
  FACET_OP_CHECK(rule, x->rank == 3 && rule->in_dtype[0] == FACET_DTYPE_REAL && (!params->wide || x->dim[1] == 1),
                 "x is %s, expected real %s", text, params->wide ? "[B, 1, d]" : "[B, heads, n]");
  FACET_OP_CHECK(rule, weight->rank == 2 && weight->dim[params->wide] == x->dim[2],
                 "x is %s and the weight %s, expected a weight [n, d]", text, text_weight);
  FACET_OP_CHECK(rule, params->heads >= 1 && weight->dim[1] % params->heads == 0,
                 "%lld heads do not divide the columns of the weight %s", (long long)params->heads, text_weight);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = params->wide ? facet_shape_make(3, x->dim[0], params->heads, weight->dim[0])
                                    : facet_shape_make(3, x->dim[0], (int64_t)1, weight->dim[1]);
  return FACET_OK;
}

static void head_linear_cost(const facet_op_rule *rule, facet_cost *cost) {
  const double weight = (double)facet_shape_elements(&rule->in_shape[1]);
  const double in = (double)facet_shape_elements(&rule->in_shape[0]);
  const double out = (double)facet_shape_elements(&rule->out_shape[0]);
  cost->forward_flops = 2 * (double)rule->in_shape[0].dim[0] * weight;
  cost->backward_flops = 2 * cost->forward_flops;
  cost->forward_bytes = (in + weight + out) * sizeof(facet_real);
  cost->backward_bytes = (3 * in + 3 * weight + out) * sizeof(facet_real);
}

typedef struct sizes {
  int64_t batch, heads, n, d, width;
} sizes;

static sizes sizes_of(const facet_op_call *call) {
  const facet_head_linear_params *params = call->params;
  const facet_shape *weight = &call->in_shape[1];
  return (sizes){.batch = call->in_shape[0].dim[0],
                 .heads = params->heads,
                 .n = weight->dim[0],
                 .d = weight->dim[1],
                 .width = weight->dim[1] / params->heads};
}

/* N_h = X_h W_h + beta N_h for all heads. */
static facet_status to_narrow(const sizes *s, const facet_real *wide, const facet_real *weight, facet_real beta,
                              facet_real *narrow) {
  for (int64_t h = 0; h < s->heads; h++)
    FACET_TRY(facet_gemm(false, false, s->batch, s->width, s->n, 1, wide + h * s->n, s->heads * s->n,
                         weight + h * s->width, s->d, beta, narrow + h * s->width, s->d));
  return FACET_OK;
}

/* X_h = N_h W_hᵀ + beta X_h. */
static facet_status to_wide(const sizes *s, const facet_real *narrow, const facet_real *weight, facet_real beta,
                            facet_real *wide) {
  for (int64_t h = 0; h < s->heads; h++)
    FACET_TRY(facet_gemm(false, true, s->batch, s->n, s->width, 1, narrow + h * s->width, s->d, weight + h * s->width,
                         s->d, beta, wide + h * s->n, s->heads * s->n));
  return FACET_OK;
}

/* dW_h += X_hᵀ N_h, of which one is a gradient. */
static facet_status add_weight(const sizes *s, const facet_real *wide, const facet_real *narrow, facet_real *d_weight) {
  for (int64_t h = 0; h < s->heads; h++)
    FACET_TRY(facet_gemm(true, false, s->n, s->width, s->batch, 1, wide + h * s->n, s->heads * s->n,
                         narrow + h * s->width, s->d, 1, d_weight + h * s->width, s->d));
  return FACET_OK;
}

static facet_status head_linear_forward(const facet_op_call *call) {
  const facet_head_linear_params *params = call->params;
  const sizes s = sizes_of(call);
  return (params->wide ? to_wide : to_narrow)(&s, call->in[0], call->in[1], 0, call->out[0]);
}

static facet_status head_linear_backward(const facet_op_call *call) {
  const facet_head_linear_params *params = call->params;
  const sizes s = sizes_of(call);
  const facet_real *x = call->in[0], *dy = call->d_out[0];
  facet_real *dx = call->d_in[0], *d_weight = call->d_in[1];
  if (dx) FACET_TRY((params->wide ? to_narrow : to_wide)(&s, dy, call->in[1], call->store[0] ? 0 : 1, dx));
  if (d_weight) FACET_TRY(add_weight(&s, params->wide ? dy : x, params->wide ? x : dy, d_weight));
  return FACET_OK;
}

const facet_op facet_op_head_linear = {.name = "head_linear",
                                       .params_bytes = sizeof(facet_head_linear_params),
                                       .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                       .backward_stores = true,
                                       .shape = head_linear_shape,
                                       .cost = head_linear_cost,
                                       .forward = head_linear_forward,
                                       .backward = head_linear_backward};

static facet_tensor *add_node(facet_graph *graph, const char *name, facet_tensor *x, int64_t n, int64_t d,
                              const facet_head_linear_params *params) {
  facet_tensor *weight =
      facet_graph_parameter(graph, facet_graph_name(graph, "%s.weight", name), facet_shape_make(2, n, d),
                            (facet_init){FACET_INIT_GLOROT_UNIFORM, 0}, true);
  return facet_graph_node(graph, &facet_op_head_linear, name, (facet_tensor *[]){x, weight}, 2, params, NULL);
}

facet_tensor *facet_head_linear(facet_graph *graph, const char *name, facet_tensor *x, int64_t d) {
  if (!x) return NULL;
  const facet_head_linear_params params = {.heads = x->shape.dim[1]};
  return add_node(graph, name, x, facet_shape_last(&x->shape), d, &params);
}

facet_tensor *facet_head_linear_transposed(facet_graph *graph, const char *name, facet_tensor *x, int64_t n,
                                           int64_t heads) {
  if (!x) return NULL;
  const facet_head_linear_params params = {.heads = heads, .wide = true};
  return add_node(graph, name, x, n, facet_shape_last(&x->shape), &params);
}
