/* masked_mean: x [B, L, d], length [B] → y [B, d].
 *
 *   y_b = (1/max(1, n_b)) Σ_{t < n_b} x_bt,   dx_bt += dy_b / n_b  for t < n_b,   n_b = length[b] ≤ L */
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"
#include "ops/length.h"

static facet_status masked_mean_shape(facet_op_rule *rule) {
  const facet_shape *x = &rule->in_shape[0];
  char text[64];
  FACET_OP_CHECK(rule, x->rank == 3 && rule->in_dtype[0] == FACET_DTYPE_REAL, "x is %s, expected real [B, L, d]",
                 facet_shape_format(x, text, sizeof text));
  FACET_TRY(facet_length_check(rule, 1, 0, "x"));
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = facet_shape_make(2, x->dim[0], x->dim[2]);
  return FACET_OK;
}

static void masked_mean_cost(const facet_op_rule *rule, facet_cost *cost) {
  double x = (double)facet_shape_elements(&rule->in_shape[0]), y = (double)facet_shape_elements(&rule->out_shape[0]);
  cost->forward_flops = x + y;
  cost->backward_flops = x + y;
  cost->forward_bytes = (x + y) * sizeof(facet_real);
  cost->backward_bytes = (2 * x + y) * sizeof(facet_real);
}

static int64_t valid_length(const facet_op_call *call, int64_t b) {
  return facet_length_clamp(((const int32_t *)call->in[1])[b], call->in_shape[0].dim[1]);
}

static facet_status masked_mean_forward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  int64_t batch = call->in_shape[0].dim[0], slots = call->in_shape[0].dim[1], width = call->in_shape[0].dim[2];
  const facet_real *x = call->in[0];
  facet_real *y = call->out[0];
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < batch; b++) {
    int64_t n = valid_length(call, b);
    facet_real *row = y + b * width;
    memset(row, 0, (size_t)width * sizeof *row);
    for (int64_t t = 0; t < n; t++) vector->axpy(width, 1, x + (b * slots + t) * width, row);
    if (n > 1) vector->scale(width, (facet_real)1 / (facet_real)n, row);
  }
  return FACET_OK;
}

static facet_status masked_mean_backward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  int64_t batch = call->in_shape[0].dim[0], slots = call->in_shape[0].dim[1], width = call->in_shape[0].dim[2];
  const facet_real *dy = call->d_out[0];
  facet_real *dx = call->d_in[0];
  if (!dx) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < batch; b++) {
    int64_t n = valid_length(call, b);
    for (int64_t t = 0; t < n; t++)
      vector->axpy(width, (facet_real)1 / (facet_real)n, dy + b * width, dx + (b * slots + t) * width);
  }
  return FACET_OK;
}

const facet_op facet_op_masked_mean = {.name = "masked_mean",
                                       .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                       .shape = masked_mean_shape,
                                       .cost = masked_mean_cost,
                                       .forward = masked_mean_forward,
                                       .backward = masked_mean_backward};

facet_tensor *facet_masked_mean(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *length) {
  return facet_graph_node(graph, &facet_op_masked_mean, name, (facet_tensor *[]){x, length}, 2, NULL, NULL);
}
