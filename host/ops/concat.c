/* concat: along the last axis. y = [x_1, x_2, …],  dx_i += the columns of dy that x_i filled. */
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"

static facet_status concat_shape(facet_op_rule *rule) {
  const facet_shape *first = &rule->in_shape[0];
  int64_t columns = 0;
  for (int i = 0; i < rule->n_inputs; i++) {
    const facet_shape *x = &rule->in_shape[i];
    char text_first[64], text_x[64];
    bool same = x->rank == first->rank && x->rank >= 1 && rule->in_dtype[i] == FACET_DTYPE_REAL;
    for (int axis = 0; same && axis < x->rank - 1; axis++) same = x->dim[axis] == first->dim[axis];
    FACET_OP_CHECK(rule, same, "input %d is %s, input 0 is %s; expected real tensors equal but for the last axis", i,
                   facet_shape_format(x, text_x, sizeof text_x),
                   facet_shape_format(first, text_first, sizeof text_first));
    columns += facet_shape_last(x);
  }
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *first;
  rule->out_shape[0].dim[first->rank - 1] = columns;
  return FACET_OK;
}

static void concat_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->out_shape[0]);
  cost->forward_flops = 0;
  cost->backward_flops = n;
  cost->forward_bytes = 2 * n * sizeof(facet_real);
  cost->backward_bytes = 3 * n * sizeof(facet_real);
}

static facet_status concat_forward(const facet_op_call *call) {
  int64_t rows = facet_shape_rows(&call->out_shape[0]), columns = facet_shape_last(&call->out_shape[0]);
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    facet_real *y = (facet_real *)call->out[0] + r * columns;
    for (int i = 0; i < call->n_inputs; i++) {
      int64_t width = facet_shape_last(&call->in_shape[i]);
      memcpy(y, (const facet_real *)call->in[i] + r * width, (size_t)width * sizeof *y);
      y += width;
    }
  }
  return FACET_OK;
}

static facet_status concat_backward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  int64_t rows = facet_shape_rows(&call->out_shape[0]), columns = facet_shape_last(&call->out_shape[0]);
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    const facet_real *dy = call->d_out[0] + r * columns;
    for (int i = 0; i < call->n_inputs; i++) {
      int64_t width = facet_shape_last(&call->in_shape[i]);
      if (call->d_in[i] && call->store[i]) memcpy(call->d_in[i] + r * width, dy, (size_t)width * sizeof *dy);
      if (call->d_in[i] && !call->store[i]) vector->axpy(width, 1, dy, call->d_in[i] + r * width);
      dy += width;
    }
  }
  return FACET_OK;
}

const facet_op facet_op_concat = {.name = "concat",
                                  .backward_stores = true,
                                  .shape = concat_shape,
                                  .cost = concat_cost,
                                  .forward = concat_forward,
                                  .backward = concat_backward};

facet_tensor *facet_concat(facet_graph *graph, const char *name, facet_tensor *const *x, int n) {
  if (n < 1 || n > FACET_OP_MAX_INPUTS)
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "%s: concat of %d tensors; expected 1 to %d", name, n,
                            FACET_OP_MAX_INPUTS);
  return facet_graph_node(graph, &facet_op_concat, name, x, n, NULL, NULL);
}
