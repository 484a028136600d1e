/* layer_norm: x [.., d] → y, over the last axis (Ba et al. 2016):
 *
 *   x̂ = (x − μ) r,  r = 1/√(var + eps),  y = γ x̂ + β,   g = γ dy
 *   dx += r (g − mean g − x̂ mean(g x̂)),   dγ += Σ_rows dy x̂,   dβ += Σ_rows dy
 *
 * Statistics in double. saved: μ and r of each row. */
#include <math.h>

#include "cpu/columns.h"
#include "facet/ops.h"

typedef struct facet_layer_norm_params {
  double eps;
} facet_layer_norm_params;

static facet_status layer_norm_shape(facet_op_rule *rule) {
  const facet_layer_norm_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[0];
  char text[64];
  facet_shape_format(x, text, sizeof text);
  FACET_OP_CHECK(rule, x->rank >= 1 && rule->in_dtype[0] == FACET_DTYPE_REAL, "x is %s, expected real [.., d]", text);
  for (int i = 1; i < 3; i++)
    FACET_OP_CHECK(rule, rule->in_shape[i].rank == 1 && rule->in_shape[i].dim[0] == facet_shape_last(x),
                   "%s has %lld elements, expected [d] for x %s", i == 1 ? "gamma" : "beta",
                   (long long)facet_shape_elements(&rule->in_shape[i]), text);
  FACET_OP_CHECK(rule, params->eps > 0, "eps %g, expected a positive number", params->eps);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->saved_bytes = (size_t)(2 * facet_shape_rows(x)) * sizeof(double);
  rule->scratch_bytes = facet_columns_scratch_bytes(2, facet_shape_last(x));
  return FACET_OK;
}

static void layer_norm_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[0]);
  cost->forward_flops = 8 * n;
  cost->backward_flops = 15 * n;
  cost->forward_bytes = 2 * n * sizeof(facet_real);
  cost->backward_bytes = 4 * n * sizeof(facet_real);
}

static facet_status layer_norm_forward(const facet_op_call *call) {
  const facet_layer_norm_params *params = call->params;
  int64_t rows = facet_shape_rows(&call->in_shape[0]), d = facet_shape_last(&call->in_shape[0]);
  const facet_real *gamma = call->in[1], *beta = call->in[2];
  double *saved = call->saved;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    const facet_real *x = (const facet_real *)call->in[0] + row * d;
    facet_real *y = (facet_real *)call->out[0] + row * d;
    double mean = 0, variance = 0;
    for (int64_t j = 0; j < d; j++) mean += (double)x[j];
    mean /= (double)d;
    for (int64_t j = 0; j < d; j++) variance += ((double)x[j] - mean) * ((double)x[j] - mean);
    double r = 1 / sqrt(variance / (double)d + params->eps);
    for (int64_t j = 0; j < d; j++)
      y[j] = (facet_real)((double)gamma[j] * (((double)x[j] - mean) * r) + (double)beta[j]);
    saved[2 * row] = mean;
    saved[2 * row + 1] = r;
  }
  return FACET_OK;
}

typedef struct layer_norm_rows {
  int64_t d;
  const facet_real *x, *dy;
  const double *saved;
} layer_norm_rows;

/* sums [2 × d]: Σ dy, Σ dy x̂. */
static void sum_gains(const void *context, int64_t first, int64_t last, double *sums) {
  const layer_norm_rows *c = context;
  for (int64_t row = first; row < last; row++) {
    const facet_real *x = c->x + row * c->d, *dy = c->dy + row * c->d;
    double mean = c->saved[2 * row], r = c->saved[2 * row + 1];
    for (int64_t j = 0; j < c->d; j++) {
      sums[j] += (double)dy[j];
      sums[c->d + j] += (double)dy[j] * (((double)x[j] - mean) * r);
    }
  }
}

static void add_row_gradient(const layer_norm_rows *c, int64_t row, const facet_real *gamma, facet_real *dx) {
  const facet_real *x = c->x + row * c->d, *dy = c->dy + row * c->d;
  double mean = c->saved[2 * row], r = c->saved[2 * row + 1], sum = 0, sum_normal = 0;
  for (int64_t j = 0; j < c->d; j++) {
    double g = (double)gamma[j] * (double)dy[j];
    sum += g;
    sum_normal += g * (((double)x[j] - mean) * r);
  }
  double mean_g = sum / (double)c->d, mean_normal = sum_normal / (double)c->d;
  for (int64_t j = 0; j < c->d; j++) {
    double normal = ((double)x[j] - mean) * r;
    dx[row * c->d + j] += (facet_real)(r * ((double)gamma[j] * (double)dy[j] - mean_g - normal * mean_normal));
  }
}

static facet_status layer_norm_backward(const facet_op_call *call) {
  int64_t rows = facet_shape_rows(&call->in_shape[0]), d = facet_shape_last(&call->in_shape[0]);
  facet_real *dx = call->d_in[0], *d_gamma = call->d_in[1], *d_beta = call->d_in[2];
  layer_norm_rows context = {.d = d, .x = call->in[0], .dy = call->d_out[0], .saved = call->saved};
  if (d_gamma || d_beta) {
    double *sums = call->scratch;
    facet_columns_reduce(rows, d, 2, sum_gains, &context, sums, sums);
    for (int64_t j = 0; j < d; j++) {
      if (d_beta) d_beta[j] += (facet_real)sums[j];
      if (d_gamma) d_gamma[j] += (facet_real)sums[d + j];
    }
  }
  if (!dx) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) add_row_gradient(&context, row, call->in[1], dx);
  return FACET_OK;
}

const facet_op facet_op_layer_norm = {.name = "layer_norm",
                                      .params_bytes = sizeof(facet_layer_norm_params),
                                      .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                      .shape = layer_norm_shape,
                                      .cost = layer_norm_cost,
                                      .forward = layer_norm_forward,
                                      .backward = layer_norm_backward};

facet_tensor *facet_layer_norm_shared(facet_graph *graph, const char *name, const char *parameters, facet_tensor *x,
                                      double eps) {
  if (!x) return NULL;
  facet_layer_norm_params params = {.eps = eps};
  facet_shape shape = facet_shape_make(1, facet_shape_last(&x->shape));
  facet_tensor *in[3] = {x};
  in[1] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.gamma", parameters), shape,
                                (facet_init){FACET_INIT_CONSTANT, 1}, false);
  in[2] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.beta", parameters), shape,
                                (facet_init){FACET_INIT_ZERO, 0}, false);
  return facet_graph_node(graph, &facet_op_layer_norm, name, in, 3, &params, NULL);
}

facet_tensor *facet_layer_norm(facet_graph *graph, const char *name, facet_tensor *x, double eps) {
  return facet_layer_norm_shared(graph, name, name, x, eps);
}
