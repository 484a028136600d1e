/* prelu: x [.., d] → y = max(x, 0) + a ⊙ min(x, 0), a [d] per channel (He et al. 2015).
 *
 *   dx += dy (x > 0 ? 1 : a),   da += Σ_rows dy min(x, 0) */
#include "cpu/columns.h"
#include "facet/ops.h"

static facet_status prelu_shape(facet_op_rule *rule) {
  const facet_shape *x = &rule->in_shape[0], *slope = &rule->in_shape[1];
  char text_x[64], text_slope[64];
  FACET_OP_CHECK(
      rule,
      x->rank >= 1 && rule->in_dtype[0] == FACET_DTYPE_REAL && slope->rank == 1 && slope->dim[0] == facet_shape_last(x),
      "x is %s and the slope %s, expected real [.., d] and [d]", facet_shape_format(x, text_x, sizeof text_x),
      facet_shape_format(slope, text_slope, sizeof text_slope));
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->scratch_bytes = facet_columns_scratch_bytes(1, slope->dim[0]);
  return FACET_OK;
}

static void prelu_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[0]);
  cost->forward_flops = 3 * n;
  cost->backward_flops = 5 * n;
  cost->forward_bytes = 2 * n * sizeof(facet_real);
  cost->backward_bytes = 4 * n * sizeof(facet_real);
}

static facet_status prelu_forward(const facet_op_call *call) {
  int64_t rows = facet_shape_rows(&call->in_shape[0]), d = facet_shape_last(&call->in_shape[0]);
  const facet_real *x = call->in[0], *slope = call->in[1];
  facet_real *y = call->out[0];
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < d; j++) y[r * d + j] = x[r * d + j] > 0 ? x[r * d + j] : slope[j] * x[r * d + j];
  return FACET_OK;
}

typedef struct prelu_rows {
  int64_t d;
  const facet_real *x, *dy;
} prelu_rows;

static void sum_slopes(const void *context, int64_t first, int64_t last, double *sums) {
  const prelu_rows *c = context;
  for (int64_t r = first; r < last; r++)
    for (int64_t j = 0; j < c->d; j++) {
      facet_real x = c->x[r * c->d + j];
      sums[j] += x > 0 ? 0 : (double)c->dy[r * c->d + j] * (double)x;
    }
}

static facet_status prelu_backward(const facet_op_call *call) {
  int64_t rows = facet_shape_rows(&call->in_shape[0]), d = facet_shape_last(&call->in_shape[0]);
  const facet_real *x = call->in[0], *slope = call->in[1], *dy = call->d_out[0];
  facet_real *dx = call->d_in[0], *d_slope = call->d_in[1];
  if (d_slope) {
    double *sums = call->scratch;
    prelu_rows context = {.d = d, .x = x, .dy = dy};
    facet_columns_reduce(rows, d, 1, sum_slopes, &context, sums, sums);
    for (int64_t j = 0; j < d; j++) d_slope[j] += (facet_real)sums[j];
  }
  if (!dx) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < d; j++) dx[r * d + j] += x[r * d + j] > 0 ? dy[r * d + j] : slope[j] * dy[r * d + j];
  return FACET_OK;
}

const facet_op facet_op_prelu = {.name = "prelu",
                                 .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                 .shape = prelu_shape,
                                 .cost = prelu_cost,
                                 .forward = prelu_forward,
                                 .backward = prelu_backward};

facet_tensor *facet_prelu(facet_graph *graph, const char *name, facet_tensor *x) {
  if (!x) return NULL;
  facet_tensor *slope = facet_graph_parameter(graph, facet_graph_name(graph, "%s.slope", name),
                                              facet_shape_make(1, facet_shape_last(&x->shape)),
                                              (facet_init){FACET_INIT_CONSTANT, 0.25}, false);
  return facet_graph_node(graph, &facet_op_prelu, name, (facet_tensor *[]){x, slope}, 2, NULL, NULL);
}
