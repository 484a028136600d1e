/* weighted_sum: w [B, L] or [B, L, 1], x [B, L, d], length [B] → y [B, d], over the n_b = length[b] ≤ L first slots:
 *
 *   y_b = Σ_{t < n_b} a_bt x_bt,   a = w, or with softmax a_bt = e^{w_bt} / Σ_{s < n_b} e^{w_bs}
 *   dx_bt += a_bt dy_b,   g_bt = x_bt · dy_b,   dw_bt += g_bt, or with softmax a_bt (g_bt − Σ_s a_bs g_bs)
 *
 * An empty history gives zeros. saved: a [B, L] with softmax. */
#include <math.h>
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"
#include "ops/length.h"

typedef struct facet_weighted_sum_params {
  bool softmax;
} facet_weighted_sum_params;

enum { IN_WEIGHT, IN_X, IN_LENGTH };

static facet_status weighted_sum_shape(facet_op_rule *rule) {
  const facet_weighted_sum_params *params = rule->params;
  const facet_shape *w = &rule->in_shape[IN_WEIGHT], *x = &rule->in_shape[IN_X];
  char text[64], text_x[64];
  facet_shape_format(x, text_x, sizeof text_x);
  FACET_OP_CHECK(rule, x->rank == 3 && rule->in_dtype[IN_X] == FACET_DTYPE_REAL, "x is %s, expected real [B, L, d]",
                 text_x);
  const bool fits = (w->rank == 2 || (w->rank == 3 && w->dim[2] == 1)) && w->dim[0] == x->dim[0] &&
                    w->dim[1] == x->dim[1] && rule->in_dtype[IN_WEIGHT] == FACET_DTYPE_REAL;
  FACET_OP_CHECK(rule, fits, "the weight is %s, expected real [B, L] or [B, L, 1] for x %s",
                 facet_shape_format(w, text, sizeof text), text_x);
  FACET_TRY(facet_length_check(rule, IN_LENGTH, IN_X, "x"));
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = facet_shape_make(2, x->dim[0], x->dim[2]);
  size_t slots_bytes = (size_t)(x->dim[0] * x->dim[1]) * sizeof(facet_real);
  rule->saved_bytes = params->softmax ? slots_bytes : 0;
  rule->scratch_bytes = params->softmax ? slots_bytes : 0; /* g */
  return FACET_OK;
}

static void weighted_sum_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_weighted_sum_params *params = rule->params;
  double x = (double)facet_shape_elements(&rule->in_shape[IN_X]);
  double w = (double)facet_shape_elements(&rule->in_shape[IN_WEIGHT]);
  cost->forward_flops = 2 * x + (params->softmax ? 22 * w : 0);
  cost->backward_flops = 4 * x + (params->softmax ? 4 * w : 0);
  cost->forward_bytes = (x + w) * sizeof(facet_real);
  cost->backward_bytes = 3 * (x + w) * sizeof(facet_real);
}

static int64_t valid_length(const facet_op_call *call, int64_t b) {
  return facet_length_clamp(((const int32_t *)call->in[IN_LENGTH])[b], call->in_shape[IN_X].dim[1]);
}

/* The weights of a sample's n events: w, or their softmax in a. */
static const facet_real *weights(int64_t n, const facet_real *w, facet_real *a) {
  const facet_vector *vector = facet_vector_get();
  if (!a || n == 0) return w;
  vector->scale(n, 1 / vector->exp_sum(n, vector->max(n, w), w, a), a);
  return a;
}

static facet_status weighted_sum_forward(const facet_op_call *call) {
  const facet_weighted_sum_params *params = call->params;
  const facet_vector *vector = facet_vector_get();
  int64_t batch = call->in_shape[IN_X].dim[0], slots = call->in_shape[IN_X].dim[1], d = call->in_shape[IN_X].dim[2];
  const facet_real *w = call->in[IN_WEIGHT], *x = call->in[IN_X];
  facet_real *y = call->out[0], *saved = params->softmax ? call->saved : NULL;
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < batch; b++) {
    int64_t n = valid_length(call, b);
    const facet_real *a = weights(n, w + b * slots, saved ? saved + b * slots : NULL);
    memset(y + b * d, 0, (size_t)d * sizeof *y);
    for (int64_t t = 0; t < n; t++) vector->axpy(d, a[t], x + (b * slots + t) * d, y + b * d);
  }
  return FACET_OK;
}

/* dw of a sample's n events; with softmax from its weights a, and g [n] as working memory. */
static void add_weight_gradient(int64_t n, int64_t d, const facet_real *x, const facet_real *dy, const facet_real *a,
                                facet_real *g, facet_real *dw) {
  const facet_vector *vector = facet_vector_get();
  if (!a) {
    for (int64_t t = 0; t < n; t++) dw[t] += vector->dot(d, x + t * d, dy);
    return;
  }
  for (int64_t t = 0; t < n; t++) g[t] = vector->dot(d, x + t * d, dy);
  const facet_real mean = vector->dot(n, a, g);
  for (int64_t t = 0; t < n; t++) dw[t] += a[t] * (g[t] - mean);
}

static facet_status weighted_sum_backward(const facet_op_call *call) {
  const facet_weighted_sum_params *params = call->params;
  const facet_vector *vector = facet_vector_get();
  int64_t batch = call->in_shape[IN_X].dim[0], slots = call->in_shape[IN_X].dim[1], d = call->in_shape[IN_X].dim[2];
  const facet_real *x = call->in[IN_X], *dy = call->d_out[0];
  const facet_real *a = params->softmax ? call->saved : call->in[IN_WEIGHT];
  facet_real *dw = call->d_in[IN_WEIGHT], *dx = call->d_in[IN_X], *g = call->scratch;
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < batch; b++) {
    int64_t n = valid_length(call, b), at = b * slots;
    for (int64_t t = 0; dx && t < n; t++) vector->axpy(d, a[at + t], dy + b * d, dx + (at + t) * d);
    if (dw && params->softmax) add_weight_gradient(n, d, x + at * d, dy + b * d, a + at, g + at, dw + at);
    if (dw && !params->softmax) add_weight_gradient(n, d, x + at * d, dy + b * d, NULL, NULL, dw + at);
  }
  return FACET_OK;
}

const facet_op facet_op_weighted_sum = {.name = "weighted_sum",
                                        .params_bytes = sizeof(facet_weighted_sum_params),
                                        .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                        .shape = weighted_sum_shape,
                                        .cost = weighted_sum_cost,
                                        .forward = weighted_sum_forward,
                                        .backward = weighted_sum_backward};

facet_tensor *facet_weighted_sum(facet_graph *graph, const char *name, facet_tensor *weight, facet_tensor *x,
                                 facet_tensor *length, bool softmax) {
  facet_weighted_sum_params params = {.softmax = softmax};
  return facet_graph_node(graph, &facet_op_weighted_sum, name, (facet_tensor *[]){weight, x, length}, 3, &params, NULL);
}
