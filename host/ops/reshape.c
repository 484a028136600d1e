/* reshape: y has the elements of x in the same order and another shape; the first dimension stays.  dx += dy.
 *
 * A view: where the memory plan gives y the memory of x, and dy that of dx, nothing is to be done. */
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"

typedef struct facet_reshape_params {
  facet_shape shape;
} facet_reshape_params;

static bool is_shape(const facet_shape *shape) {
  if (shape->rank < 1 || shape->rank > FACET_MAX_RANK) return false;
  for (int i = 0; i < shape->rank; i++)
    if (shape->dim[i] < 1) return false;
  return true;
}

static facet_status reshape_shape(facet_op_rule *rule) {
  const facet_reshape_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[0], *y = &params->shape;
  char text_x[64], text_y[64];
  facet_shape_format(x, text_x, sizeof text_x);
  FACET_OP_CHECK(rule, x->rank >= 1 && rule->in_dtype[0] == FACET_DTYPE_REAL, "x is %s, expected real [B, ..]", text_x);
  FACET_OP_CHECK(rule, is_shape(y), "the new shape has rank %d or a dimension below 1, expected rank 1 to %d", y->rank,
                 FACET_MAX_RANK);
  FACET_OP_CHECK(rule, y->dim[0] == x->dim[0] && facet_shape_elements(y) == facet_shape_elements(x),
                 "x is %s, which has not the first dimension or not the number of elements of %s", text_x,
                 facet_shape_format(y, text_y, sizeof text_y));
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *y;
  return FACET_OK;
}

static facet_status reshape_forward(const facet_op_call *call) {
  int64_t rows = call->in_shape[0].dim[0], n = facet_shape_elements(&call->in_shape[0]) / rows;
  const facet_real *x = call->in[0];
  facet_real *y = call->out[0];
  if (y == x) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < rows; b++) memcpy(y + b * n, x + b * n, (size_t)n * sizeof *y);
  return FACET_OK;
}

static facet_status reshape_backward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  int64_t rows = call->in_shape[0].dim[0], n = facet_shape_elements(&call->in_shape[0]) / rows;
  facet_real *dx = call->d_in[0];
  if (!dx || dx == call->d_out[0]) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < rows; b++) {
    if (call->store[0])
      memcpy(dx + b * n, call->d_out[0] + b * n, (size_t)n * sizeof *dx);
    else
      vector->axpy(n, 1, call->d_out[0] + b * n, dx + b * n);
  }
  return FACET_OK;
}

const facet_op facet_op_reshape = {.name = "reshape",
                                   .params_bytes = sizeof(facet_reshape_params),
                                   .backward_stores = true,
                                   .is_view = true,
                                   .shape = reshape_shape,
                                   .forward = reshape_forward,
                                   .backward = reshape_backward};

facet_tensor *facet_reshape(facet_graph *graph, const char *name, facet_tensor *x, facet_shape shape) {
  facet_reshape_params params = {.shape = shape};
  return facet_graph_node(graph, &facet_op_reshape, name, &x, 1, &params, NULL);
}
