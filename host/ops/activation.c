/* activation: y = act(x), elementwise.
 *
 *   none     y = x             dx += dy
 *   relu     y = max(x, 0)     dx += dy [y > 0]
 *   sigmoid  y = σ(x)          dx += dy y (1 − y)
 *   swish    y = x σ(x)        dx += dy s (1 + x (1 − s)),  s = σ(x)
 *   tanh     y = tanh x        dx += dy (1 − y²) */
#include "cpu/activation.h"
#include "facet/ops.h"

typedef struct facet_activation_params {
  facet_activation activation;
} facet_activation_params;

enum { RUN = 256 }; /* elements that a thread takes at a time */

static int64_t run_length(int64_t n, int64_t i) {
  return n - i < RUN ? n - i : RUN;
}

static facet_status activation_shape(facet_op_rule *rule) {
  char text[64];
  FACET_OP_CHECK(rule, rule->in_dtype[0] == FACET_DTYPE_REAL, "x %s is int32, expected real",
                 facet_shape_format(&rule->in_shape[0], text, sizeof text));
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = rule->in_shape[0];
  return FACET_OK;
}

static void activation_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_activation_params *params = rule->params;
  double n = (double)facet_shape_elements(&rule->in_shape[0]);
  cost->forward_flops = n * facet_activation_flops(params->activation);
  cost->backward_flops = n * (2 + (params->activation == FACET_ACTIVATION_SWISH ? 26 : 2));
  cost->forward_bytes = 2 * n * sizeof(facet_real);
  cost->backward_bytes = 4 * n * sizeof(facet_real);
}

static facet_status activation_forward(const facet_op_call *call) {
  const facet_activation_params *params = call->params;
  int64_t n = facet_shape_elements(&call->in_shape[0]);
  const facet_real *x = call->in[0];
  facet_real *y = call->out[0];
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i += RUN) facet_activation_apply(params->activation, run_length(n, i), x + i, y + i);
  return FACET_OK;
}

static facet_status activation_backward(const facet_op_call *call) {
  const facet_activation_params *params = call->params;
  int64_t n = facet_shape_elements(&call->in_shape[0]);
  const facet_real *x = call->in[0], *y = call->out[0], *dy = call->d_out[0];
  facet_real *dx = call->d_in[0];
  if (!dx) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i += RUN)
    facet_activation_derive(params->activation, run_length(n, i), x + i, y + i, dy + i, true, dx + i);
  return FACET_OK;
}

const facet_op facet_op_activation = {.name = "activation",
                                      .params_bytes = sizeof(facet_activation_params),
                                      .backward_reads = FACET_BACKWARD_READS_INPUTS | FACET_BACKWARD_READS_OUTPUTS,
                                      .shape = activation_shape,
                                      .cost = activation_cost,
                                      .forward = activation_forward,
                                      .backward = activation_backward};

facet_tensor *facet_activate(facet_graph *graph, const char *name, facet_tensor *x, facet_activation activation) {
  facet_activation_params params = {.activation = activation};
  return facet_graph_node(graph, &facet_op_activation, name, &x, 1, &params, NULL);
}
