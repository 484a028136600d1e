/* bce_logits: logits z [B] or [B, 1], label y, weight w, valid v [B] → scalar.
 *
 *   L = Σ v w (softplus(z) − y z) / Σ v w,   dz += dL v w (σ(z) − y) / Σ v w;   L = 0 where Σ v w = 0
 *
 * Sums in double, in the order of rows: a batch is small. saved: Σ v w. */
#include "cpu/vector.h"
#include "facet/ops.h"

enum { CHUNK = 256 };

static facet_status bce_logits_shape(facet_op_rule *rule) {
  static const char *const role[] = {"logit", "label", "weight", "valid"};
  const facet_shape *z = &rule->in_shape[0];
  char text[64], text_z[64];
  facet_shape_format(z, text_z, sizeof text_z);
  FACET_OP_CHECK(rule, z->rank == 1 || (z->rank == 2 && z->dim[1] == 1), "the logit is %s, expected [B] or [B, 1]",
                 text_z);
  for (int i = 0; i < 4; i++) {
    const facet_shape *shape = &rule->in_shape[i];
    FACET_OP_CHECK(rule, rule->in_dtype[i] == FACET_DTYPE_REAL, "the %s is int32, expected real", role[i]);
    FACET_OP_CHECK(rule, i == 0 || (shape->rank == 1 && shape->dim[0] == z->dim[0]),
                   "the %s is %s, expected [B] for the logit %s", role[i], facet_shape_format(shape, text, sizeof text),
                   text_z);
  }
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = facet_shape_make(0);
  rule->saved_bytes = sizeof(double);
  return FACET_OK;
}

static void bce_logits_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)rule->in_shape[0].dim[0];
  cost->forward_flops = 50 * n; /* exponential, logarithm, sums */
  cost->backward_flops = 27 * n;
  cost->forward_bytes = 4 * n * sizeof(facet_real);
  cost->backward_bytes = 6 * n * sizeof(facet_real);
}

static facet_status bce_logits_forward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  int64_t n = call->in_shape[0].dim[0];
  const facet_real *z = call->in[0], *label = call->in[1], *weight = call->in[2], *valid = call->in[3];
  facet_real softplus[CHUNK];
  double sum = 0, sum_weights = 0;
  for (int64_t i = 0; i < n; i += CHUNK) {
    int64_t m = n - i < CHUNK ? n - i : CHUNK;
    vector->softplus(m, z + i, softplus);
    for (int64_t j = 0; j < m; j++) {
      double vw = (double)valid[i + j] * (double)weight[i + j];
      if (vw == 0) continue; /* whatever a padded row holds */
      sum += vw * ((double)softplus[j] - (double)label[i + j] * (double)z[i + j]);
      sum_weights += vw;
    }
  }
  *(facet_real *)call->out[0] = sum_weights != 0 ? (facet_real)(sum / sum_weights) : 0;
  *(double *)call->saved = sum_weights;
  return FACET_OK;
}

static facet_status bce_logits_backward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  int64_t n = call->in_shape[0].dim[0];
  const facet_real *z = call->in[0], *label = call->in[1], *weight = call->in[2], *valid = call->in[3];
  facet_real *dz = call->d_in[0], sigmoid[CHUNK];
  double sum_weights = *(const double *)call->saved;
  if (!dz || sum_weights == 0) return FACET_OK;
  double factor = (double)call->d_out[0][0] / sum_weights;
  for (int64_t i = 0; i < n; i += CHUNK) {
    int64_t m = n - i < CHUNK ? n - i : CHUNK;
    vector->sigmoid(m, z + i, sigmoid);
    for (int64_t j = 0; j < m; j++) {
      double vw = (double)valid[i + j] * (double)weight[i + j];
      if (vw == 0) continue;
      dz[i + j] += (facet_real)(factor * vw * ((double)sigmoid[j] - (double)label[i + j]));
    }
  }
  return FACET_OK;
}

const facet_op facet_op_bce_logits = {.name = "bce_logits",
                                      .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                      .shape = bce_logits_shape,
                                      .cost = bce_logits_cost,
                                      .forward = bce_logits_forward,
                                      .backward = bce_logits_backward};

facet_tensor *facet_bce_logits(facet_graph *graph, const char *name, facet_tensor *logit, facet_tensor *label,
                               facet_tensor *weight, facet_tensor *valid) {
  facet_tensor *in[] = {logit, label, weight, valid};
  for (int i = 1; i < 4; i++)
    if (in[i] && in[i]->needs_gradient)
      return facet_graph_fail(graph, FACET_ERROR_USAGE,
                              "%s: %s needs a gradient; bce_logits has one for the logit only", name, in[i]->name);
  return facet_graph_node(graph, &facet_op_bce_logits, name, in, 4, NULL, NULL);
}
