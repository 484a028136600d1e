/* batch_reduce: x [B, ..], valid [B] → scalar: the mean or the minimum of all elements of the rows with valid = 1;
 * 0 without such rows. No gradient. One pass in double, in the order of rows: monitors are small. */
#include <math.h>

#include "facet/ops.h"

typedef struct facet_batch_reduce_params {
  facet_reduction reduction;
} facet_batch_reduce_params;

static facet_status batch_reduce_shape(facet_op_rule *rule) {
  const facet_batch_reduce_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[0], *valid = &rule->in_shape[1];
  char text_x[64], text_valid[64];
  facet_shape_format(x, text_x, sizeof text_x);
  FACET_OP_CHECK(rule, x->rank >= 1 && rule->in_dtype[0] == FACET_DTYPE_REAL, "x is %s, expected real [B, ..]", text_x);
  FACET_OP_CHECK(rule, valid->rank == 1 && valid->dim[0] == x->dim[0] && rule->in_dtype[1] == FACET_DTYPE_REAL,
                 "valid is %s, expected real [B] for x %s", facet_shape_format(valid, text_valid, sizeof text_valid),
                 text_x);
  FACET_OP_CHECK(rule, params->reduction == FACET_REDUCE_MEAN || params->reduction == FACET_REDUCE_MIN,
                 "reduction %d, expected mean or min", (int)params->reduction);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = facet_shape_make(0);
  return FACET_OK;
}

static void batch_reduce_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[0]);
  cost->forward_flops = n;
  cost->forward_bytes = (n + (double)rule->in_shape[0].dim[0]) * sizeof(facet_real);
}

static facet_status batch_reduce_forward(const facet_op_call *call) {
  const facet_batch_reduce_params *params = call->params;
  const facet_real *x = call->in[0], *valid = call->in[1];
  int64_t rows = call->in_shape[0].dim[0], n = facet_shape_elements(&call->in_shape[0]) / rows, count = 0;
  double sum = 0, minimum = 0;
  for (int64_t b = 0; b < rows; b++) {
    if (valid[b] == 0) continue;
    for (int64_t i = b * n; i < (b + 1) * n; i++) {
      double value = (double)x[i];
      sum += value;
      if (count == 0 || value < minimum || isnan(value)) minimum = value; /* NaN stays */
      count++;
    }
  }
  if (params->reduction == FACET_REDUCE_MEAN)
    *(facet_real *)call->out[0] = count ? (facet_real)(sum / (double)count) : 0;
  else
    *(facet_real *)call->out[0] = (facet_real)minimum;
  return FACET_OK;
}

const facet_op facet_op_batch_reduce = {.name = "batch_reduce",
                                        .params_bytes = sizeof(facet_batch_reduce_params),
                                        .shape = batch_reduce_shape,
                                        .cost = batch_reduce_cost,
                                        .forward = batch_reduce_forward};

facet_tensor *facet_batch_reduce(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *valid,
                                 facet_reduction reduction) {
  facet_batch_reduce_params params = {.reduction = reduction};
  return facet_graph_node(graph, &facet_op_batch_reduce, name, (facet_tensor *[]){x, valid}, 2, &params, NULL);
}
