/* dice: x [B, .., d], valid [B, ..] → y (Zhou et al. 2018), per channel over the n rows with valid = 1:
 *
 *   sd = √(var + 1e-9),  z = (x − μ)/D,  D = sd + 1e-9,  s = σ(z),  y = x (s + a (1 − s))
 *   ĝ = dy x (1 − a) s (1 − s)
 *   dx += dy (s + a (1 − s)) + (ĝ − mean ĝ − z mean(ĝ z) D/sd)/D,   da += Σ dy x (1 − s)
 *
 * The term inside the root keeps the gradient of a constant column finite. In evaluation μ and sd are the running
 * averages, and the two means drop out of dx. Rows with valid = 0 give 0 and get no gradient. saved: n, μ [d], sd [d]. */
#include <math.h>
#include <string.h>

#include "cpu/columns.h"
#include "cpu/vector.h"
#include "facet/ops.h"

typedef struct facet_dice_params {
  double momentum;
} facet_dice_params;

enum { IN_X, IN_VALID, IN_ALPHA, IN_MEAN, IN_SD, N_INPUTS };
enum { CHUNK = 256 }; /* columns whose sigmoids wait on the stack */

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
  rule->saved_bytes = (size_t)(2 * d + 1) * sizeof(double);
  rule->scratch_bytes = facet_columns_scratch_bytes(3, d) + (size_t)(3 * d) * sizeof(double);
  return FACET_OK;
}

static void dice_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[IN_X]);
  cost->forward_flops = 33 * n;
  cost->backward_flops = 76 * n; /* the sigmoid twice */
  cost->forward_bytes = 2 * n * sizeof(facet_real);
  cost->backward_bytes = 4 * n * sizeof(facet_real);
}

/* z and s = σ(z) of `n` columns of a row, from column j on. */
static void normalise(const facet_real *x, const double *mean, const double *sd, int64_t n, facet_real *z,
                      facet_real *s) {
  for (int64_t j = 0; j < n; j++) z[j] = (facet_real)(((double)x[j] - mean[j]) / (sd[j] + DICE_EPS));
  facet_vector_get()->sigmoid(n, z, s);
}

/* μ, sd and n of this call; moves the averages in training. */
static void statistics(const facet_op_call *call, double *mean, double *sd, double *n_valid) {
  const facet_dice_params *params = call->params;
  int64_t rows = facet_shape_rows(&call->in_shape[IN_X]), d = facet_shape_last(&call->in_shape[IN_X]), n = 0;
  facet_real *running_mean = call->in[IN_MEAN], *running_sd = call->in[IN_SD];
  if (call->run->training)
    n = facet_columns_statistics(rows, d, call->in[IN_X], call->in[IN_VALID], call->scratch, mean, sd);
  for (int64_t j = 0; j < d; j++) {
    if (n == 0) {
      mean[j] = (double)running_mean[j];
      sd[j] = (double)running_sd[j];
      continue;
    }
    sd[j] = sqrt(sd[j] + DICE_EPS);
    running_mean[j] = (facet_real)(params->momentum * (double)running_mean[j] + (1 - params->momentum) * mean[j]);
    running_sd[j] = (facet_real)(params->momentum * (double)running_sd[j] + (1 - params->momentum) * sd[j]);
  }
  *n_valid = (double)n;
}

static facet_status dice_forward(const facet_op_call *call) {
  int64_t rows = facet_shape_rows(&call->in_shape[IN_X]), d = facet_shape_last(&call->in_shape[IN_X]);
  const facet_real *x = call->in[IN_X], *valid = call->in[IN_VALID], *alpha = call->in[IN_ALPHA];
  facet_real *y = call->out[0];
  double *n_valid = call->saved, *mean = n_valid + 1, *sd = mean + d;
  statistics(call, mean, sd, n_valid);
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < rows; b++) {
    facet_real z[CHUNK], s[CHUNK];
    if (valid[b] == 0) {
      memset(y + b * d, 0, (size_t)d * sizeof *y);
      continue;
    }
    for (int64_t j = 0; j < d; j += CHUNK) {
      int64_t n = d - j < CHUNK ? d - j : CHUNK;
      const facet_real *row = x + b * d + j;
      normalise(row, mean + j, sd + j, n, z, s);
      for (int64_t i = 0; i < n; i++) y[b * d + j + i] = row[i] * (s[i] + alpha[j + i] * (1 - s[i]));
    }
  }
  return FACET_OK;
}

typedef struct dice_rows {
  int64_t d;
  const facet_real *x, *dy, *valid, *alpha;
  const double *mean, *sd;
} dice_rows;

/* sums [3 × d]: Σ ĝ, Σ ĝ z, Σ dy x (1 − s). */
static void sum_gradients(const void *context, int64_t first, int64_t last, double *sums) {
  const dice_rows *c = context;
  int64_t d = c->d;
  facet_real z[CHUNK], s[CHUNK];
  for (int64_t b = first; b < last; b++) {
    if (c->valid[b] == 0) continue;
    for (int64_t j = 0; j < d; j += CHUNK) {
      int64_t n = d - j < CHUNK ? d - j : CHUNK;
      const facet_real *x = c->x + b * d + j, *dy = c->dy + b * d + j;
      normalise(x, c->mean + j, c->sd + j, n, z, s);
      for (int64_t i = 0; i < n; i++) {
        double tail = (double)dy[i] * (double)x[i] * (1 - (double)s[i]);
        double g = tail * (1 - (double)c->alpha[j + i]) * (double)s[i];
        sums[j + i] += g;
        sums[d + j + i] += g * (double)z[i];
        sums[2 * d + j + i] += tail;
      }
    }
  }
}

/* dx of one row. mean_g and mean_gz: mean ĝ and mean(ĝ z) per channel, 0 where the averages were used. */
static void add_row_gradient(const dice_rows *c, int64_t b, const double *mean_g, const double *mean_gz,
                             facet_real *dx) {
  facet_real z[CHUNK], s[CHUNK];
  for (int64_t j = 0; j < c->d; j += CHUNK) {
    int64_t n = c->d - j < CHUNK ? c->d - j : CHUNK;
    const facet_real *x = c->x + b * c->d + j, *dy = c->dy + b * c->d + j;
    normalise(x, c->mean + j, c->sd + j, n, z, s);
    for (int64_t i = 0; i < n; i++) {
      double alpha = (double)c->alpha[j + i], sigma = (double)s[i], upstream = (double)dy[i];
      double sd = c->sd[j + i], width = sd + DICE_EPS;
      double g = upstream * (double)x[i] * (1 - alpha) * sigma * (1 - sigma);
      double centred = g - mean_g[j + i] - (double)z[i] * mean_gz[j + i] * width / sd;
      dx[b * c->d + j + i] += (facet_real)(upstream * (sigma + alpha * (1 - sigma)) + centred / width);
    }
  }
}

static facet_status dice_backward(const facet_op_call *call) {
  int64_t n_rows = facet_shape_rows(&call->in_shape[IN_X]), d = facet_shape_last(&call->in_shape[IN_X]);
  const double *n_valid = call->saved, *mean = n_valid + 1, *sd = mean + d;
  facet_real *dx = call->d_in[IN_X], *d_alpha = call->d_in[IN_ALPHA];
  double *sums = (double *)((char *)call->scratch + facet_columns_scratch_bytes(3, d));
  dice_rows rows = {.d = d,
                    .x = call->in[IN_X],
                    .dy = call->d_out[0],
                    .valid = call->in[IN_VALID],
                    .alpha = call->in[IN_ALPHA],
                    .mean = mean,
                    .sd = sd};
  facet_columns_reduce(n_rows, d, 3, sum_gradients, &rows, call->scratch, sums);
  double inverse = *n_valid > 0 ? 1 / *n_valid : 0; /* 0: the averages are constants */
  for (int64_t j = 0; j < d; j++) {
    if (d_alpha) d_alpha[j] += (facet_real)sums[2 * d + j];
    sums[j] *= inverse;
    sums[d + j] *= inverse;
  }
  if (!dx) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < n_rows; b++)
    if (rows.valid[b] != 0) add_row_gradient(&rows, b, sums, sums + d, dx);
  return FACET_OK;
}

const facet_op facet_op_dice = {.name = "dice",
                                .params_bytes = sizeof(facet_dice_params),
                                .backward_reads = FACET_BACKWARD_READS_INPUTS,
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
