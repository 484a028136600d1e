/* slice: y = columns first … first + count − 1 of the last axis of x;  dx += dy in these columns. */
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"

typedef struct facet_slice_params {
  int64_t first, count;
} facet_slice_params;

static facet_status slice_shape(facet_op_rule *rule) {
  const facet_slice_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[0];
  char text[64];
  facet_shape_format(x, text, sizeof text);
  FACET_OP_CHECK(rule, x->rank >= 1 && rule->in_dtype[0] == FACET_DTYPE_REAL, "x is %s, expected real [.., n]", text);
  FACET_OP_CHECK(rule, params->first >= 0 && params->count >= 1 && params->first <= facet_shape_last(x) - params->count,
                 "columns %lld to %lld of x %s", (long long)params->first,
                 (long long)(params->first + params->count - 1), text);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->out_shape[0].dim[x->rank - 1] = params->count;
  return FACET_OK;
}

static void slice_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->out_shape[0]);
  cost->forward_flops = 0;
  cost->backward_flops = n;
  cost->forward_bytes = 2 * n * sizeof(facet_real);
  cost->backward_bytes = 3 * n * sizeof(facet_real);
}

static facet_status slice_forward(const facet_op_call *call) {
  const facet_slice_params *params = call->params;
  int64_t rows = facet_shape_rows(&call->in_shape[0]), width = facet_shape_last(&call->in_shape[0]);
  const facet_real *x = call->in[0];
  facet_real *y = call->out[0];
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++)
    memcpy(y + r * params->count, x + r * width + params->first, (size_t)params->count * sizeof *y);
  return FACET_OK;
}

static facet_status slice_backward(const facet_op_call *call) {
  const facet_slice_params *params = call->params;
  const facet_vector *vector = facet_vector_get();
  int64_t rows = facet_shape_rows(&call->in_shape[0]), width = facet_shape_last(&call->in_shape[0]);
  facet_real *dx = call->d_in[0];
  if (!dx) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    if (call->store[0]) memset(dx + r * width, 0, (size_t)width * sizeof *dx);
    vector->axpy(params->count, 1, call->d_out[0] + r * params->count, dx + r * width + params->first);
  }
  return FACET_OK;
}

const facet_op facet_op_slice = {.name = "slice",
                                 .params_bytes = sizeof(facet_slice_params),
                                 .backward_stores = true,
                                 .shape = slice_shape,
                                 .cost = slice_cost,
                                 .forward = slice_forward,
                                 .backward = slice_backward};

facet_tensor *facet_slice(facet_graph *graph, const char *name, facet_tensor *x, int64_t first, int64_t count) {
  facet_slice_params params = {.first = first, .count = count};
  return facet_graph_node(graph, &facet_op_slice, name, &x, 1, &params, NULL);
}
