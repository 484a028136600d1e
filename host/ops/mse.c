/* mse: prediction p, target t [B, .., d], weight ω [B, ..] → scalar.
 *
 *   L = Σ ω (1/d) Σ_k (p_k − t_k)² / Σ ω,   dp += dL ω (2/d) (p − t) / Σ ω,   dt −= the same;   L = 0 where Σ ω = 0
 *
 * Rows with ω = 0 are not looked at. Sums in double, in the fixed order of cpu/columns.h. saved: Σ ω. */
#include "cpu/columns.h"
#include "facet/ops.h"

static facet_status mse_shape(facet_op_rule *rule) {
  static const char *const role[] = {"prediction", "target", "weight"};
  const facet_shape *p = &rule->in_shape[0];
  char text[64], text_p[64];
  facet_shape_format(p, text_p, sizeof text_p);
  FACET_OP_CHECK(rule, p->rank >= 2, "the prediction is %s, expected [B, .., d]", text_p);
  facet_shape expected[] = {*p, *p, *p};
  expected[2].rank--;
  for (int i = 0; i < 3; i++) {
    FACET_OP_CHECK(rule, rule->in_dtype[i] == FACET_DTYPE_REAL, "the %s is int32, expected real", role[i]);
    FACET_OP_CHECK(rule, facet_shape_equal(&rule->in_shape[i], &expected[i]),
                   "the %s is %s, expected %s for the prediction %s", role[i],
                   facet_shape_format(&rule->in_shape[i], text, sizeof text), i == 1 ? "the same" : "[B, ..]", text_p);
  }
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = facet_shape_make(0);
  rule->saved_bytes = sizeof(double);
  rule->scratch_bytes = facet_columns_scratch_bytes(2, 1);
  return FACET_OK;
}

static void mse_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[0]), rows = (double)facet_shape_rows(&rule->in_shape[0]);
  cost->forward_flops = 3 * n;
  cost->backward_flops = 4 * n;
  cost->forward_bytes = (2 * n + rows) * sizeof(facet_real);
  cost->backward_bytes = (6 * n + rows) * sizeof(facet_real);
}

typedef struct mse_rows {
  int64_t d;
  const facet_real *p, *t, *weight;
} mse_rows;

/* sums [2]: Σ ω Σ_k (p_k − t_k)², Σ ω. */
static void sum_errors(const void *context, int64_t first, int64_t last, double *sums) {
  const mse_rows *c = context;
  for (int64_t row = first; row < last; row++) {
    if (c->weight[row] == 0) continue;
    double square = 0;
    for (int64_t k = row * c->d; k < (row + 1) * c->d; k++) {
      double error = (double)c->p[k] - (double)c->t[k];
      square += error * error;
    }
    sums[0] += (double)c->weight[row] * square;
    sums[1] += (double)c->weight[row];
  }
}

static mse_rows rows_of(const facet_op_call *call) {
  return (mse_rows){
      .d = facet_shape_last(&call->in_shape[0]), .p = call->in[0], .t = call->in[1], .weight = call->in[2]};
}

static facet_status mse_forward(const facet_op_call *call) {
  mse_rows context = rows_of(call);
  double *sums = call->scratch;
  facet_columns_reduce(facet_shape_rows(&call->in_shape[0]), 1, 2, sum_errors, &context, sums, sums);
  *(double *)call->saved = sums[1];
  *(facet_real *)call->out[0] = sums[1] != 0 ? (facet_real)(sums[0] / ((double)context.d * sums[1])) : 0;
  return FACET_OK;
}

static facet_status mse_backward(const facet_op_call *call) {
  mse_rows c = rows_of(call);
  int64_t rows = facet_shape_rows(&call->in_shape[0]);
  facet_real *dp = call->d_in[0], *dt = call->d_in[1];
  double sum_weights = *(const double *)call->saved;
  if (sum_weights == 0) return FACET_OK;
  double factor = 2 * (double)call->d_out[0][0] / ((double)c.d * sum_weights);
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    double row_factor = factor * (double)c.weight[row];
    if (c.weight[row] == 0) continue;
    for (int64_t k = row * c.d; k < (row + 1) * c.d; k++) {
      facet_real gradient = (facet_real)(row_factor * ((double)c.p[k] - (double)c.t[k]));
      if (dp) dp[k] += gradient;
      if (dt) dt[k] -= gradient;
    }
  }
  return FACET_OK;
}

const facet_op facet_op_mse = {.name = "mse",
                               .backward_reads = FACET_BACKWARD_READS_INPUTS,
                               .shape = mse_shape,
                               .cost = mse_cost,
                               .forward = mse_forward,
                               .backward = mse_backward};

facet_tensor *facet_mse(facet_graph *graph, const char *name, facet_tensor *prediction, facet_tensor *target,
                        facet_tensor *weight) {
  if (weight && weight->needs_gradient)
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "%s: %s needs a gradient; mse has none for the weight: detach it",
                            name, weight->name);
  return facet_graph_node(graph, &facet_op_mse, name, (facet_tensor *[]){prediction, target, weight}, 3, NULL, NULL);
}
