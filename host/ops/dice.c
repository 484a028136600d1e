/* dice: x [B, .., d], valid [B, ..] → y (Zhou et al. 2018), per channel over the n rows with valid = 1:
 *
 *   sd = √(var + 1e-9),  z = (x − μ)/D,  D = sd + 1e-9,  s = σ(z),  y = x (s + a (1 − s))
 *   ĝ = dy x (1 − a) s (1 − s)
 *   dx += dy (s + a (1 − s)) + (ĝ − mean ĝ − z mean(ĝ z) D/sd)/D,   da += Σ dy x (1 − s)
 *
 * The term inside the root keeps the gradient of a constant column finite. In evaluation μ and sd are the running
 * averages, and the two means drop out of dx. Rows with valid = 0 give 0 and get no gradient. Sums in double. saved: n,
 * μ [d], 1/D [d], D/sd [d], s like x. */
#include <math.h>
#include <string.h>

#include "cpu/columns.h"
#include "cpu/vector.h"
#include "facet/ops.h"

typedef struct facet_dice_params {
  double momentum;
} facet_dice_params;

enum { IN_X, IN_VALID, IN_ALPHA, IN_MEAN, IN_SD, N_INPUTS };

#define DICE_EPS 1e-9

static facet_status dice_shape(facet_op_rule *rule) {
  const facet_dice_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[IN_X], *valid = &rule->in_shape[IN_VALID];
  char text_x[64], text_valid[64];
  facet_shape_format(x, text_x, sizeof text_x);
  FACET_OP_CHECK(rule, x->rank >= 2 && rule->in_dtype[IN_X] == FACET_DTYPE_REAL, "x is %s, expected real [B, .., d]",
                 text_x);
  facet_shape rows = *x;
  rows.rank--;
  FACET_OP_CHECK(rule, facet_shape_equal(valid, &rows) && rule->in_dtype[IN_VALID] == FACET_DTYPE_REAL,
                 "valid is %s, expected real [B, ..] for x %s",
                 facet_shape_format(valid, text_valid, sizeof text_valid), text_x);
  for (int i = IN_ALPHA; i < N_INPUTS; i++)
    FACET_OP_CHECK(rule, rule->in_shape[i].rank == 1 && rule->in_shape[i].dim[0] == facet_shape_last(x),
                   "input %d has %lld elements, expected [d] for x %s", i,
                   (long long)facet_shape_elements(&rule->in_shape[i]), text_x);
  FACET_OP_CHECK(rule, params->momentum >= 0 && params->momentum < 1, "momentum %g, expected a number in [0, 1)",
                 params->momentum);
  int64_t d = facet_shape_last(x);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->saved_bytes = sizeof(double) + (size_t)(3 * d + facet_shape_elements(x)) * sizeof(facet_real);
  rule->scratch_bytes = facet_columns_scratch_bytes(3, d) + (size_t)(3 * d) * (sizeof(double) + sizeof(facet_real));
  return FACET_OK;
}

static void dice_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[IN_X]);
  cost->forward_flops = 33 * n;
  cost->backward_flops = 30 * n;
  cost->forward_bytes = 3 * n * sizeof(facet_real);
  cost->backward_bytes = 5 * n * sizeof(facet_real);
}

/* What is in saved, as the columns' numbers and s. */
static facet_norm_columns columns_of(const facet_op_call *call, facet_real **s) {
  int64_t d = facet_shape_last(&call->in_shape[IN_X]);
  facet_real *mean = (facet_real *)((double *)call->saved + 1);
  *s = mean + 3 * d;
  return (facet_norm_columns){.d = d, .mean = mean, .inverse = mean + d, .gain = call->in[IN_ALPHA]};
}

/* n, μ, 1/D and D/sd of this call into saved; moves the averages in training. */
static void statistics(const facet_op_call *call) {
  const facet_dice_params *params = call->params;
  int64_t rows = facet_shape_rows(&call->in_shape[IN_X]), d = facet_shape_last(&call->in_shape[IN_X]), n = 0;
  facet_real *running_mean = call->in[IN_MEAN], *running_sd = call->in[IN_SD];
  double *n_valid = call->saved, *mean = (double *)((char *)call->scratch + facet_columns_scratch_bytes(3, d));
  double *sd = mean + d;
  facet_real *used_mean = (facet_real *)(n_valid + 1), *used_inverse = used_mean + d, *ratio = used_inverse + d;
  if (call->run->training)
    n = facet_columns_statistics(rows, d, call->in[IN_X], call->in[IN_VALID], call->scratch, mean, sd);
  for (int64_t j = 0; j < d; j++) {
    if (n == 0) {
      mean[j] = (double)running_mean[j];
      sd[j] = (double)running_sd[j];
    } else {
      sd[j] = sqrt(sd[j] + DICE_EPS);
      running_mean[j] = (facet_real)(params->momentum * (double)running_mean[j] + (1 - params->momentum) * mean[j]);
      running_sd[j] = (facet_real)(params->momentum * (double)running_sd[j] + (1 - params->momentum) * sd[j]);
    }
    used_mean[j] = (facet_real)mean[j];
    used_inverse[j] = (facet_real)(1 / (sd[j] + DICE_EPS));
    ratio[j] = (facet_real)((sd[j] + DICE_EPS) / sd[j]);
  }
  *n_valid = (double)n;
}

static facet_status dice_forward(const facet_op_call *call) {
  int64_t rows = facet_shape_rows(&call->in_shape[IN_X]), d = facet_shape_last(&call->in_shape[IN_X]);
  const facet_vector *vector = facet_vector_get();
  facet_real *s;
  statistics(call);
  const facet_norm_columns columns = columns_of(call, &s);
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < rows; b++) {
    const facet_real *x = (const facet_real *)call->in[IN_X] + b * d;
    facet_real *y = (facet_real *)call->out[0] + b * d;
    if (((const facet_real *)call->in[IN_VALID])[b] == 0) {
      memset(y, 0, (size_t)d * sizeof *y);
      continue;
    }
    vector->norms->dice_input(1, &columns, x, s + b * d);
    vector->sigmoid(d, s + b * d, s + b * d);
    vector->norms->dice(1, &columns, x, s + b * d, y);
  }
  return FACET_OK;
}

/* sums [3 × d]: Σ ĝ, Σ ĝ z, Σ dy x (1 − s). */
static void sum_gradients(const void *context, int64_t first, int64_t last, double *sums) {
  const facet_op_call *call = context;
  facet_real *s;
  const facet_norm_columns columns = columns_of(call, &s);
  const int64_t at = first * columns.d;
  facet_vector_get()->norms->dice_sums(last - first, &columns, (const facet_real *)call->in[IN_X] + at, s + at,
                                       call->d_out[0] + at, (const facet_real *)call->in[IN_VALID] + first, sums);
}

static facet_status dice_backward(const facet_op_call *call) {
  int64_t rows = facet_shape_rows(&call->in_shape[IN_X]), d = facet_shape_last(&call->in_shape[IN_X]);
  const facet_norms *norms = facet_vector_get()->norms;
  const facet_real *x = call->in[IN_X], *valid = call->in[IN_VALID];
  facet_real *dx = call->d_in[IN_X], *d_alpha = call->d_in[IN_ALPHA], *s;
  double n_valid = *(const double *)call->saved;
  double *sums = (double *)((char *)call->scratch + facet_columns_scratch_bytes(3, d));
  facet_real *means = (facet_real *)(sums + 3 * d);
  facet_norm_columns columns = columns_of(call, &s);
  const facet_real *ratio = columns.inverse + d;
  columns.mean_g = means;
  columns.mean_gx = means + d;
  facet_columns_reduce(rows, d, 3, sum_gradients, call, call->scratch, sums);
  for (int64_t j = 0; j < d; j++) {
    if (d_alpha) d_alpha[j] += (facet_real)sums[2 * d + j];
    means[j] = n_valid > 0 ? (facet_real)(sums[j] / n_valid) : 0; /* the averages are constants */
    means[d + j] = n_valid > 0 ? (facet_real)(sums[d + j] / n_valid * (double)ratio[j]) : 0;
  }
  if (!dx) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < rows; b++)
    norms->dice_backward(1, &columns, x + b * d, s + b * d, call->d_out[0] + b * d, valid + b, !call->store[IN_X],
                         dx + b * d);
  return FACET_OK;
}

const facet_op facet_op_dice = {.name = "dice",
                                .params_bytes = sizeof(facet_dice_params),
                                .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                .backward_stores = true,
                                .shape = dice_shape,
                                .cost = dice_cost,
                                .forward = dice_forward,
                                .backward = dice_backward};

facet_tensor *facet_dice(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *valid, double momentum) {
  if (!x) return NULL;
  facet_dice_params params = {.momentum = momentum};
  facet_shape shape = facet_shape_make(1, facet_shape_last(&x->shape));
  facet_init zero = {FACET_INIT_ZERO, 0}, one = {FACET_INIT_CONSTANT, 1};
  facet_tensor *in[N_INPUTS] = {x, valid};
  in[IN_ALPHA] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.alpha", name), shape, zero, false);
  in[IN_MEAN] = facet_graph_state(graph, facet_graph_name(graph, "%s.mean", name), shape, zero);
  in[IN_SD] = facet_graph_state(graph, facet_graph_name(graph, "%s.sd", name), shape, one);
  return facet_graph_node(graph, &facet_op_dice, name, in, N_INPUTS, &params, NULL);
}
