/* l2_normalize: x [.., d] → y = x / max(n, eps) over the last axis, n = ‖x‖:
 *
 *   n ≥ eps:  dx += (dy − y (y · dy)) / n
 *   n < eps:  dx += dy / eps
 *
 * Norms in double. saved: n of each row. */
#include <math.h>
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"

typedef struct facet_l2_normalize_params {
  double eps;
} facet_l2_normalize_params;

static facet_status l2_normalize_shape(facet_op_rule *rule) {
  const facet_l2_normalize_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[0];
  char text[64];
  FACET_OP_CHECK(rule, x->rank >= 1 && rule->in_dtype[0] == FACET_DTYPE_REAL, "x is %s, expected real [.., d]",
                 facet_shape_format(x, text, sizeof text));
  FACET_OP_CHECK(rule, params->eps > 0, "eps %g, expected a positive number", params->eps);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->saved_bytes = (size_t)facet_shape_rows(x) * sizeof(double);
  return FACET_OK;
}

static void l2_normalize_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[0]);
  cost->forward_flops = 3 * n;
  cost->backward_flops = 6 * n;
  cost->forward_bytes = 2 * n * sizeof(facet_real);
  cost->backward_bytes = 4 * n * sizeof(facet_real);
}

static facet_status l2_normalize_forward(const facet_op_call *call) {
  const facet_l2_normalize_params *params = call->params;
  const facet_vector *vector = facet_vector_get();
  int64_t rows = facet_shape_rows(&call->in_shape[0]), d = facet_shape_last(&call->in_shape[0]);
  double *norm = call->saved;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    const facet_real *x = (const facet_real *)call->in[0] + row * d;
    facet_real *y = (facet_real *)call->out[0] + row * d;
    norm[row] = sqrt(vector->square_sum(d, x));
    double factor = 1 / (norm[row] < params->eps ? params->eps : norm[row]);
    for (int64_t j = 0; j < d; j++) y[j] = (facet_real)(factor * (double)x[j]);
  }
  return FACET_OK;
}

static facet_status l2_normalize_backward(const facet_op_call *call) {
  const facet_l2_normalize_params *params = call->params;
  const facet_vector *vector = facet_vector_get();
  int64_t rows = facet_shape_rows(&call->in_shape[0]), d = facet_shape_last(&call->in_shape[0]);
  const double *norm = call->saved;
  if (!call->d_in[0]) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    const facet_real *y = (const facet_real *)call->out[0] + row * d, *dy = call->d_out[0] + row * d;
    bool small = norm[row] < params->eps;
    double factor = 1 / (small ? params->eps : norm[row]), along = small ? 0 : (double)vector->dot(d, y, dy);
    facet_real *dx = call->d_in[0] + row * d;
    if (call->store[0]) memset(dx, 0, (size_t)d * sizeof *dx);
    for (int64_t j = 0; j < d; j++) dx[j] += (facet_real)(factor * ((double)dy[j] - along * (double)y[j]));
  }
  return FACET_OK;
}

const facet_op facet_op_l2_normalize = {.name = "l2_normalize",
                                        .params_bytes = sizeof(facet_l2_normalize_params),
                                        .backward_reads = FACET_BACKWARD_READS_OUTPUTS,
                                        .backward_stores = true,
                                        .shape = l2_normalize_shape,
                                        .cost = l2_normalize_cost,
                                        .forward = l2_normalize_forward,
                                        .backward = l2_normalize_backward};

facet_tensor *facet_l2_normalize(facet_graph *graph, const char *name, facet_tensor *x, double eps) {
  facet_l2_normalize_params params = {.eps = eps};
  return facet_graph_node(graph, &facet_op_l2_normalize, name, &x, 1, &params, NULL);
}
