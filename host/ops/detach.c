/* detach: y = x; no gradient flows back (stop-gradient). */
#include <string.h>

#include "facet/ops.h"

static facet_status detach_shape(facet_op_rule *rule) {
  char text[64];
  FACET_OP_CHECK(rule, rule->in_shape[0].rank >= 1 && rule->in_dtype[0] == FACET_DTYPE_REAL,
                 "x is %s, expected real [B, ..]", facet_shape_format(&rule->in_shape[0], text, sizeof text));
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = rule->in_shape[0];
  return FACET_OK;
}

static void detach_cost(const facet_op_rule *rule, facet_cost *cost) {
  cost->forward_bytes = 2 * (double)facet_shape_elements(&rule->in_shape[0]) * sizeof(facet_real);
}

static facet_status detach_forward(const facet_op_call *call) {
  int64_t rows = call->in_shape[0].dim[0], n = facet_shape_elements(&call->in_shape[0]) / rows;
  const facet_real *x = call->in[0];
  facet_real *y = call->out[0];
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < rows; b++) memcpy(y + b * n, x + b * n, (size_t)n * sizeof *y);
  return FACET_OK;
}

const facet_op facet_op_detach = {
    .name = "detach", .shape = detach_shape, .cost = detach_cost, .forward = detach_forward};

facet_tensor *facet_detach(facet_graph *graph, const char *name, facet_tensor *x) {
  return facet_graph_node(graph, &facet_op_detach, name, &x, 1, NULL, NULL);
}
