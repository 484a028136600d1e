/* activation: y = act(x), elementwise.
 *
 *   none     y = x             dx += dy
 *   relu     y = max(x, 0)     dx += dy [y > 0]
 *   sigmoid  y = σ(x)          dx += dy y (1 − y)
 *   swish    y = x σ(x)        dx += dy s (1 + x (1 − s)),  s = σ(x)
 *   tanh     y = tanh x        dx += dy (1 − y²) */
#include "ops/activation.h"

#include <string.h>

#include "cpu/vector.h"

typedef struct facet_activation_params {
  facet_activation activation;
} facet_activation_params;

const char *const facet_activation_names[] = {"none", "relu", "sigmoid", "swish", "tanh", NULL};

enum { CHUNK = 256 }; /* elements whose sigmoids wait on the stack */

static int64_t chunk_length(int64_t n, int64_t i) {
  return n - i < CHUNK ? n - i : CHUNK;
}

void facet_activation_apply(facet_activation activation, int64_t n, const facet_real *z, facet_real *y) {
  const facet_vector *vector = facet_vector_get();
  facet_real s[CHUNK];
  switch (activation) {
  case FACET_ACTIVATION_NONE:
    if (y != z) memcpy(y, z, (size_t)n * sizeof *y);
    break;
  case FACET_ACTIVATION_RELU:
    for (int64_t i = 0; i < n; i++) y[i] = z[i] < 0 ? 0 : z[i]; /* NaN stays */
    break;
  case FACET_ACTIVATION_SIGMOID:
    vector->sigmoid(n, z, y);
    break;
  case FACET_ACTIVATION_SWISH:
    for (int64_t i = 0; i < n; i += CHUNK) {
      int64_t m = chunk_length(n, i);
      vector->sigmoid(m, z + i, s);
      for (int64_t j = 0; j < m; j++) y[i + j] = z[i + j] * s[j];
    }
    break;
  case FACET_ACTIVATION_TANH:
    vector->tanh(n, z, y);
    break;
  }
}

/* act'(z) for at most CHUNK elements. z and y may be NULL where the activation does not read them, which the analyzer
 * cannot follow. NOLINTBEGIN(clang-analyzer-core.NullDereference) */
static void slope(facet_activation activation, int64_t n, const facet_real *z, const facet_real *y, facet_real *s) {
  switch (activation) {
  case FACET_ACTIVATION_NONE:
    for (int64_t i = 0; i < n; i++) s[i] = 1;
    break;
  case FACET_ACTIVATION_RELU:
    for (int64_t i = 0; i < n; i++) s[i] = y[i] > 0;
    break;
  case FACET_ACTIVATION_SIGMOID:
    for (int64_t i = 0; i < n; i++) s[i] = y[i] * (1 - y[i]);
    break;
  case FACET_ACTIVATION_SWISH:
    facet_vector_get()->sigmoid(n, z, s);
    for (int64_t i = 0; i < n; i++) s[i] *= 1 + z[i] * (1 - s[i]);
    break;
  case FACET_ACTIVATION_TANH:
    for (int64_t i = 0; i < n; i++) s[i] = 1 - y[i] * y[i];
    break;
  }
}
/* NOLINTEND(clang-analyzer-core.NullDereference) */

void facet_activation_derive(facet_activation activation, int64_t n, const facet_real *z, const facet_real *y,
                             const facet_real *dy, bool add, facet_real *dz) {
  facet_real s[CHUNK];
  for (int64_t i = 0; i < n; i += CHUNK) {
    int64_t m = chunk_length(n, i);
    slope(activation, m, z ? z + i : NULL, y ? y + i : NULL, s);
    if (add)
      for (int64_t j = 0; j < m; j++) dz[i + j] += s[j] * dy[i + j];
    else
      for (int64_t j = 0; j < m; j++) dz[i + j] = s[j] * dy[i + j];
  }
}

double facet_activation_flops(facet_activation activation) {
  static const double flops[] = {0, 1, 23, 24, 24};
  return flops[activation];
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

/* Runs of elements for threads: multiples of CHUNK. */
static facet_status activation_forward(const facet_op_call *call) {
  const facet_activation_params *params = call->params;
  int64_t n = facet_shape_elements(&call->in_shape[0]);
  const facet_real *x = call->in[0];
  facet_real *y = call->out[0];
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i += CHUNK) facet_activation_apply(params->activation, chunk_length(n, i), x + i, y + i);
  return FACET_OK;
}

static facet_status activation_backward(const facet_op_call *call) {
  const facet_activation_params *params = call->params;
  int64_t n = facet_shape_elements(&call->in_shape[0]);
  const facet_real *x = call->in[0], *y = call->out[0], *dy = call->d_out[0];
  facet_real *dx = call->d_in[0];
  if (!dx) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i += CHUNK)
    facet_activation_derive(params->activation, chunk_length(n, i), x + i, y + i, dy + i, true, dx + i);
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
