/* dropout: training: y = x m/(1 − p), m ~ Bernoulli(1 − p), dx += dy m/(1 − p); evaluation: y = x, dx += dy.
 *
 * m of element e (of the elements after the first axis) of row b comes from word e mod 4 of the Philox block of
 * (step, micro-step, first_position + b, e/4), key (seed, "dropout/<name>"); backward draws it again, so no mask is
 * kept. An element is dropped where its 32-bit word is below p·2^32. */
#include "facet/ops.h"
#include "facet/rng.h"

typedef struct facet_dropout_params {
  double p;
  const char *purpose;
} facet_dropout_params;

static facet_status dropout_shape(facet_op_rule *rule) {
  const facet_dropout_params *params = rule->params;
  char text[64];
  FACET_OP_CHECK(rule, rule->in_shape[0].rank >= 1 && rule->in_dtype[0] == FACET_DTYPE_REAL,
                 "x is %s, expected real [B, ..]", facet_shape_format(&rule->in_shape[0], text, sizeof text));
  FACET_OP_CHECK(rule, params->p >= 0 && params->p < 1, "p is %g, expected a number in [0, 1)", params->p);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = rule->in_shape[0];
  return FACET_OK;
}

static void dropout_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[0]);
  cost->forward_flops = n;
  cost->backward_flops = 2 * n;
  cost->forward_bytes = 2 * n * sizeof(facet_real);
  cost->backward_bytes = 3 * n * sizeof(facet_real);
}

/* to[e] = (add ? to[e] : 0) + from[e] m_e/(1 − p) for row b of n elements. */
static void apply_row(const facet_op_call *call, facet_rng_key key, int64_t b, int64_t n, const facet_real *from,
                      bool add, facet_real *to) {
  const facet_dropout_params *params = call->params;
  const facet_run *run = call->run;
  const uint64_t threshold = (uint64_t)(params->p * 4294967296.0);
  const facet_real factor = (facet_real)(1 / (1 - params->p));
  for (int64_t e = 0; e < n; e += 4) {
    uint32_t word[4];
    facet_rng_block(key,
                    facet_rng_counter_train((uint32_t)run->step, (uint32_t)run->micro_step,
                                            (uint32_t)(run->first_position + b), (uint32_t)(e / 4)),
                    word);
    for (int64_t i = e; i < n && i < e + 4; i++) {
      facet_real kept = word[i - e] < threshold ? 0 : from[i] * factor;
      to[i] = add ? to[i] + kept : kept;
    }
  }
}

static void apply(const facet_op_call *call, const facet_real *from, bool add, facet_real *to) {
  const facet_dropout_params *params = call->params;
  int64_t rows = call->in_shape[0].dim[0], n = rows ? facet_shape_elements(&call->in_shape[0]) / rows : 0;
  bool drop = call->run->training && params->p > 0;
  facet_rng_key key = facet_rng_key_make(call->run->seed, params->purpose);
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < rows; b++) {
    if (drop)
      apply_row(call, key, b, n, from + b * n, add, to + b * n);
    else
      for (int64_t i = b * n; i < (b + 1) * n; i++) to[i] = add ? to[i] + from[i] : from[i];
  }
}

static facet_status dropout_forward(const facet_op_call *call) {
  apply(call, call->in[0], false, call->out[0]);
  return FACET_OK;
}

static facet_status dropout_backward(const facet_op_call *call) {
  if (call->d_in[0]) apply(call, call->d_out[0], true, call->d_in[0]);
  return FACET_OK;
}

const facet_op facet_op_dropout = {.name = "dropout",
                                   .params_bytes = sizeof(facet_dropout_params),
                                   .shape = dropout_shape,
                                   .cost = dropout_cost,
                                   .forward = dropout_forward,
                                   .backward = dropout_backward};

facet_tensor *facet_dropout(facet_graph *graph, const char *name, facet_tensor *x, double p) {
  facet_dropout_params params = {.p = p, .purpose = facet_graph_name(graph, "dropout/%s", name)};
  return facet_graph_node(graph, &facet_op_dropout, name, &x, 1, &params, NULL);
}
