/* row_dot: x, y [B, .., d] → s [B, ..], s = Σ_k x_k y_k over the last axis;  dx += ds y,  dy += ds x. */
#include "cpu/vector.h"
#include "facet/ops.h"

static facet_status row_dot_shape(facet_op_rule *rule) {
  const facet_shape *x = &rule->in_shape[0], *y = &rule->in_shape[1];
  char text_x[64], text_y[64];
  facet_shape_format(x, text_x, sizeof text_x);
  FACET_OP_CHECK(rule, x->rank >= 2 && rule->in_dtype[0] == FACET_DTYPE_REAL, "x is %s, expected real [B, .., d]",
                 text_x);
  FACET_OP_CHECK(rule, facet_shape_equal(x, y) && rule->in_dtype[1] == FACET_DTYPE_REAL,
                 "y is %s, expected real %s like x", facet_shape_format(y, text_y, sizeof text_y), text_x);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->out_shape[0].rank--;
  return FACET_OK;
}

static void row_dot_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[0]), rows = (double)facet_shape_rows(&rule->in_shape[0]);
  cost->forward_flops = 2 * n;
  cost->backward_flops = 4 * n;
  cost->forward_bytes = (2 * n + rows) * sizeof(facet_real);
  cost->backward_bytes = (6 * n + rows) * sizeof(facet_real);
}

static facet_status row_dot_forward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  int64_t rows = facet_shape_rows(&call->in_shape[0]), d = facet_shape_last(&call->in_shape[0]);
  const facet_real *x = call->in[0], *y = call->in[1];
  facet_real *s = call->out[0];
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) s[row] = vector->dot(d, x + row * d, y + row * d);
  return FACET_OK;
}

static facet_status row_dot_backward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  int64_t rows = facet_shape_rows(&call->in_shape[0]), d = facet_shape_last(&call->in_shape[0]);
  const facet_real *ds = call->d_out[0];
  for (int i = 0; i < 2; i++) {
    facet_real *dx = call->d_in[i];
    const facet_real *other = call->in[1 - i];
    if (!dx) continue;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) vector->axpy(d, ds[row], other + row * d, dx + row * d);
  }
  return FACET_OK;
}

const facet_op facet_op_row_dot = {.name = "row_dot",
                                   .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                   .shape = row_dot_shape,
                                   .cost = row_dot_cost,
                                   .forward = row_dot_forward,
                                   .backward = row_dot_backward};

facet_tensor *facet_row_dot(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *y) {
  return facet_graph_node(graph, &facet_op_row_dot, name, (facet_tensor *[]){x, y}, 2, NULL, NULL);
}
