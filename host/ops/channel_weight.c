/* channel_weight: valid v, weight w [B], n_selected [B, c] → ω [B, c]:
 *
 *   ω = v w [n_selected > 0],  or v w where skip_empty is false
 *
 * No gradient. A padded row gets 0 whatever it holds. */
#include "facet/ops.h"

typedef struct facet_channel_weight_params {
  bool skip_empty;
} facet_channel_weight_params;

static facet_status channel_weight_shape(facet_op_rule *rule) {
  static const char *const role[] = {"valid", "weight"};
  const facet_shape *n = &rule->in_shape[2];
  char text[64], text_n[64];
  facet_shape_format(n, text_n, sizeof text_n);
  FACET_OP_CHECK(rule, n->rank == 2 && rule->in_dtype[2] == FACET_DTYPE_REAL, "n_selected is %s, expected real [B, c]",
                 text_n);
  for (int i = 0; i < 2; i++) {
    const facet_shape *shape = &rule->in_shape[i];
    FACET_OP_CHECK(rule, shape->rank == 1 && shape->dim[0] == n->dim[0] && rule->in_dtype[i] == FACET_DTYPE_REAL,
                   "%s is %s, expected real [B] for n_selected %s", role[i],
                   facet_shape_format(shape, text, sizeof text), text_n);
  }
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *n;
  return FACET_OK;
}

static void channel_weight_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[2]), rows = (double)rule->in_shape[2].dim[0];
  cost->forward_flops = rows;
  cost->forward_bytes = 2 * (n + rows) * sizeof(facet_real);
}

static facet_status channel_weight_forward(const facet_op_call *call) {
  const facet_channel_weight_params *params = call->params;
  const facet_real *valid = call->in[0], *weight = call->in[1], *n_selected = call->in[2];
  facet_real *out = call->out[0];
  int64_t rows = call->in_shape[2].dim[0], c = call->in_shape[2].dim[1];
  for (int64_t b = 0; b < rows; b++)
    for (int64_t i = b * c; i < (b + 1) * c; i++) {
      bool counts = valid[b] != 0 && (!params->skip_empty || n_selected[i] > 0);
      out[i] = counts ? valid[b] * weight[b] : 0;
    }
  return FACET_OK;
}

const facet_op facet_op_channel_weight = {.name = "channel_weight",
                                          .params_bytes = sizeof(facet_channel_weight_params),
                                          .shape = channel_weight_shape,
                                          .cost = channel_weight_cost,
                                          .forward = channel_weight_forward};

facet_tensor *facet_channel_weight(facet_graph *graph, const char *name, facet_tensor *valid, facet_tensor *weight,
                                   facet_tensor *n_selected, bool skip_empty) {
  facet_channel_weight_params params = {.skip_empty = skip_empty};
  facet_tensor *in[] = {valid, weight, n_selected};
  return facet_graph_node(graph, &facet_op_channel_weight, name, in, 3, &params, NULL);
}
