/* batch_norm: x [B, d], valid [B] → y [B, d], per channel over the n rows with valid = 1 (Ioffe and Szegedy 2015):
 *
 *   x̂ = (x − μ) r,  r = 1/√(var + eps),  y = γ x̂ + β
 *   dx += γ r (dy − mean dy − x̂ mean(dy x̂)),   dγ += Σ dy x̂,   dβ += Σ dy
 *
 * μ and the biased variance are the batch's in training, else the running averages; then dx += γ r dy. Rows with
 * valid = 0 get an output of the same formula and no gradient. Sums in double. saved: n (0: averages were used), μ [d],
 * r [d]. */
#include <math.h>

#include "cpu/columns.h"
#include "cpu/vector.h"
#include "facet/ops.h"

typedef struct facet_batch_norm_params {
  double momentum, eps;
} facet_batch_norm_params;

enum { IN_X, IN_VALID, IN_GAMMA, IN_BETA, IN_MEAN, IN_VARIANCE, N_INPUTS };

static facet_status batch_norm_shape(facet_op_rule *rule) {
  const facet_batch_norm_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[IN_X], *valid = &rule->in_shape[IN_VALID];
  char text_x[64], text_valid[64];
  facet_shape_format(x, text_x, sizeof text_x);
  FACET_OP_CHECK(rule, x->rank == 2 && rule->in_dtype[IN_X] == FACET_DTYPE_REAL, "x is %s, expected real [B, d]",
                 text_x);
  FACET_OP_CHECK(rule, valid->rank == 1 && valid->dim[0] == x->dim[0] && rule->in_dtype[IN_VALID] == FACET_DTYPE_REAL,
                 "valid is %s, expected real [B] for x %s", facet_shape_format(valid, text_valid, sizeof text_valid),
                 text_x);
  for (int i = IN_GAMMA; i < N_INPUTS; i++)
    FACET_OP_CHECK(rule, rule->in_shape[i].rank == 1 && rule->in_shape[i].dim[0] == x->dim[1],
                   "input %d has %lld elements, expected [d] for x %s", i,
                   (long long)facet_shape_elements(&rule->in_shape[i]), text_x);
  FACET_OP_CHECK(rule, params->momentum >= 0 && params->momentum < 1 && params->eps > 0,
                 "momentum %g and eps %g, expected momentum in [0, 1) and eps > 0", params->momentum, params->eps);
  int64_t d = x->dim[1];
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->saved_bytes = sizeof(double) + (size_t)(2 * d) * sizeof(facet_real);
  rule->scratch_bytes = facet_columns_scratch_bytes(2, d) + (size_t)(2 * d) * (sizeof(double) + sizeof(facet_real));
  return FACET_OK;
}

static void batch_norm_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[IN_X]);
  cost->forward_flops = 6 * n;
  cost->backward_flops = 11 * n;
  cost->forward_bytes = 2 * n * sizeof(facet_real);
  cost->backward_bytes = 4 * n * sizeof(facet_real);
}

/* n, and the columns' numbers, which point into saved. */
static facet_norm_columns columns_of(const facet_op_call *call) {
  int64_t d = call->in_shape[IN_X].dim[1];
  const facet_real *mean = (const facet_real *)((const double *)call->saved + 1);
  return (facet_norm_columns){
      .d = d, .mean = mean, .inverse = mean + d, .gain = call->in[IN_GAMMA], .shift = call->in[IN_BETA]};
}

/* μ, r and n of this call into saved; moves the averages in training. */
static void statistics(const facet_op_call *call) {
  const facet_batch_norm_params *params = call->params;
  int64_t batch = call->in_shape[IN_X].dim[0], d = call->in_shape[IN_X].dim[1], n = 0;
  facet_real *running_mean = call->in[IN_MEAN], *running_variance = call->in[IN_VARIANCE];
  double *n_valid = call->saved, *mean = (double *)((char *)call->scratch + facet_columns_scratch_bytes(2, d));
  double *variance = mean + d;
  facet_real *used_mean = (facet_real *)(n_valid + 1), *used_inverse = used_mean + d;
  if (call->run->training)
    n = facet_columns_statistics(batch, d, call->in[IN_X], call->in[IN_VALID], call->scratch, mean, variance);
  for (int64_t j = 0; j < d; j++) {
    if (n == 0) {
      mean[j] = (double)running_mean[j];
      variance[j] = (double)running_variance[j];
    } else {
      running_mean[j] = (facet_real)(params->momentum * (double)running_mean[j] + (1 - params->momentum) * mean[j]);
      running_variance[j] =
          (facet_real)(params->momentum * (double)running_variance[j] + (1 - params->momentum) * variance[j]);
    }
    used_mean[j] = (facet_real)mean[j];
    used_inverse[j] = (facet_real)(1 / sqrt(variance[j] + params->eps));
  }
  *n_valid = (double)n;
}

static facet_status batch_norm_forward(const facet_op_call *call) {
  int64_t batch = call->in_shape[IN_X].dim[0], d = call->in_shape[IN_X].dim[1];
  const facet_norms *norms = facet_vector_get()->norms;
  statistics(call);
  const facet_norm_columns columns = columns_of(call);
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < batch; b++)
    norms->batch(1, &columns, (const facet_real *)call->in[IN_X] + b * d, (facet_real *)call->out[0] + b * d);
  return FACET_OK;
}

/* sums [2 × d]: Σ dy, Σ dy x̂. */
static void sum_gradients(const void *context, int64_t first, int64_t last, double *sums) {
  const facet_op_call *call = context;
  const facet_norm_columns columns = columns_of(call);
  facet_vector_get()->norms->batch_sums(last - first, &columns, (const facet_real *)call->in[IN_X] + first * columns.d,
                                        call->d_out[0] + first * columns.d,
                                        (const facet_real *)call->in[IN_VALID] + first, sums);
}

static facet_status batch_norm_backward(const facet_op_call *call) {
  int64_t batch = call->in_shape[IN_X].dim[0], d = call->in_shape[IN_X].dim[1];
  const facet_norms *norms = facet_vector_get()->norms;
  const facet_real *x = call->in[IN_X], *valid = call->in[IN_VALID];
  facet_real *dx = call->d_in[IN_X], *d_gamma = call->d_in[IN_GAMMA], *d_beta = call->d_in[IN_BETA];
  double n_valid = *(const double *)call->saved;
  double *sums = (double *)((char *)call->scratch + facet_columns_scratch_bytes(2, d));
  facet_real *means = (facet_real *)(sums + 2 * d);
  facet_norm_columns columns = columns_of(call);
  columns.mean_g = means;
  columns.mean_gx = means + d;
  facet_columns_reduce(batch, d, 2, sum_gradients, call, call->scratch, sums);
  for (int64_t j = 0; j < d; j++) {
    if (d_beta) d_beta[j] += (facet_real)sums[j];
    if (d_gamma) d_gamma[j] += (facet_real)sums[d + j];
  }
  if (!dx) return FACET_OK;
  for (int64_t j = 0; j < 2 * d; j++)
    means[j] = n_valid > 0 ? (facet_real)(sums[j] / n_valid) : 0; /* the averages are constants */
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < batch; b++)
    norms->batch_backward(1, &columns, x + b * d, call->d_out[0] + b * d, valid + b, !call->store[IN_X], dx + b * d);
  return FACET_OK;
}

const facet_op facet_op_batch_norm = {.name = "batch_norm",
                                      .params_bytes = sizeof(facet_batch_norm_params),
                                      .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                      .backward_stores = true,
                                      .shape = batch_norm_shape,
                                      .cost = batch_norm_cost,
                                      .forward = batch_norm_forward,
                                      .backward = batch_norm_backward};

facet_tensor *facet_batch_norm(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *valid,
                               double momentum, double eps) {
  if (!x) return NULL;
  facet_batch_norm_params params = {.momentum = momentum, .eps = eps};
  facet_shape shape = facet_shape_make(1, facet_shape_last(&x->shape));
  facet_init zero = {FACET_INIT_ZERO, 0}, one = {FACET_INIT_CONSTANT, 1};
  facet_tensor *in[N_INPUTS] = {x, valid};
  in[IN_GAMMA] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.gamma", name), shape, one, false);
  in[IN_BETA] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.beta", name), shape, zero, false);
  in[IN_MEAN] = facet_graph_state(graph, facet_graph_name(graph, "%s.mean", name), shape, zero);
  in[IN_VARIANCE] = facet_graph_state(graph, facet_graph_name(graph, "%s.variance", name), shape, one);
  return facet_graph_node(graph, &facet_op_batch_norm, name, in, N_INPUTS, &params, NULL);
}
