/* event_valid: valid [B], length [B] → y [B, L]: y_bt = 1 where valid[b] = 1 and t < n_b, else 0; n_b = length[b] ≤ L.
 * No gradient. Which rows of [B, L, d] an operator counts that mixes them. */
#include "facet/ops.h"
#include "ops/length.h"

typedef struct facet_event_valid_params {
  int64_t slots;
} facet_event_valid_params;

static facet_status event_valid_shape(facet_op_rule *rule) {
  const facet_event_valid_params *params = rule->params;
  const facet_shape *valid = &rule->in_shape[0];
  char text[64];
  FACET_OP_CHECK(rule, valid->rank == 1 && rule->in_dtype[0] == FACET_DTYPE_REAL, "valid is %s, expected real [B]",
                 facet_shape_format(valid, text, sizeof text));
  FACET_TRY(facet_length_check(rule, 1, 0, "valid"));
  FACET_OP_CHECK(rule, params->slots >= 1, "%lld slots, expected at least 1", (long long)params->slots);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = facet_shape_make(2, valid->dim[0], params->slots);
  return FACET_OK;
}

static void event_valid_cost(const facet_op_rule *rule, facet_cost *cost) {
  cost->forward_bytes = (double)facet_shape_elements(&rule->out_shape[0]) * sizeof(facet_real);
}

static facet_status event_valid_forward(const facet_op_call *call) {
  const facet_real *valid = call->in[0];
  const int32_t *length = call->in[1];
  facet_real *y = call->out[0];
  int64_t batch = call->out_shape[0].dim[0], slots = call->out_shape[0].dim[1];
  for (int64_t b = 0; b < batch; b++)
    for (int64_t t = 0; t < slots; t++) y[b * slots + t] = valid[b] != 0 && t < length[b];
  return FACET_OK;
}

const facet_op facet_op_event_valid = {.name = "event_valid",
                                       .params_bytes = sizeof(facet_event_valid_params),
                                       .shape = event_valid_shape,
                                       .cost = event_valid_cost,
                                       .forward = event_valid_forward};

facet_tensor *facet_event_valid(facet_graph *graph, const char *name, facet_tensor *valid, facet_tensor *length,
                                int64_t slots) {
  facet_event_valid_params params = {.slots = slots};
  return facet_graph_node(graph, &facet_op_event_valid, name, (facet_tensor *[]){valid, length}, 2, &params, NULL);
}
