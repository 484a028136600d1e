/* layer_norm: x [.., d], or x + z with z like x → y, over the last axis (Ba et al. 2016):
 *
 *   x̂ = (x + z − μ) r,  r = 1/√(var + eps),  y = γ x̂ + β,   g = γ dy
 *   dx, dz += r (g − mean g − x̂ mean(g x̂)),   dγ += Σ_rows dy x̂,   dβ += Σ_rows dy
 *
 * saved: x̂, then r of each row. */
#include <string.h>

#include "cpu/columns.h"
#include "cpu/vector.h"
#include "facet/ops.h"

enum { IN_X, IN_GAMMA, IN_BETA, IN_Z, BLOCK = 32 }; /* rows of a block, whose gradient waits in cache for dz */

typedef struct facet_layer_norm_params {
  double eps;
} facet_layer_norm_params;

static facet_status layer_norm_shape(facet_op_rule *rule) {
  const facet_layer_norm_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[0];
  char text[64], text_z[64];
  facet_shape_format(x, text, sizeof text);
  FACET_OP_CHECK(rule, x->rank >= 1 && rule->in_dtype[0] == FACET_DTYPE_REAL, "x is %s, expected real [.., d]", text);
  for (int i = 1; i < 3; i++)
    FACET_OP_CHECK(rule, rule->in_shape[i].rank == 1 && rule->in_shape[i].dim[0] == facet_shape_last(x),
                   "%s has %lld elements, expected [d] for x %s", i == 1 ? "gamma" : "beta",
                   (long long)facet_shape_elements(&rule->in_shape[i]), text);
  FACET_OP_CHECK(rule,
                 rule->n_inputs <= IN_Z ||
                     (facet_shape_equal(&rule->in_shape[IN_Z], x) && rule->in_dtype[IN_Z] == FACET_DTYPE_REAL),
                 "z is %s, expected real %s", facet_shape_format(&rule->in_shape[IN_Z], text_z, sizeof text_z), text);
  FACET_OP_CHECK(rule, params->eps > 0, "eps %g, expected a positive number", params->eps);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->saved_bytes = (size_t)(facet_shape_elements(x) + facet_shape_rows(x)) * sizeof(facet_real);
  rule->scratch_bytes = facet_columns_scratch_bytes(2, facet_shape_last(x));
  return FACET_OK;
}

static void layer_norm_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[IN_X]), z = rule->n_inputs > IN_Z;
  cost->forward_flops = (8 + z) * n;
  cost->backward_flops = (15 + z) * n;
  cost->forward_bytes = (3 + z) * n * sizeof(facet_real);
  cost->backward_bytes = (4 + 2 * z) * n * sizeof(facet_real);
}

static facet_status layer_norm_forward(const facet_op_call *call) {
  const facet_layer_norm_params *params = call->params;
  const facet_norms *norms = facet_vector_get()->norms;
  int64_t rows = facet_shape_rows(&call->in_shape[IN_X]), d = facet_shape_last(&call->in_shape[IN_X]);
  const facet_real *x = call->in[IN_X], *z = call->n_inputs > IN_Z ? call->in[IN_Z] : NULL;
  facet_real *y = call->out[0], *normal = call->saved, *inverse = normal + rows * d;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; i += BLOCK) {
    int64_t n = rows - i < BLOCK ? rows - i : BLOCK;
    norms->layer(n, d, (facet_real)params->eps, x + i * d, z ? z + i * d : NULL, call->in[IN_GAMMA], call->in[IN_BETA],
                 normal + i * d, inverse + i, y + i * d);
  }
  return FACET_OK;
}

/* Gradients of rows [first, last), and the sums of the gains'. */
static void backward_rows(const void *context, int64_t first, int64_t last, double *sums) {
  const facet_op_call *call = context;
  const facet_vector *vector = facet_vector_get();
  int64_t rows = facet_shape_rows(&call->in_shape[IN_X]), d = facet_shape_last(&call->in_shape[IN_X]);
  const facet_real *normal = call->saved, *inverse = normal + rows * d, *dy = call->d_out[0];
  facet_real *dx = call->d_in[IN_X], *dz = call->n_inputs > IN_Z ? call->d_in[IN_Z] : NULL;
  for (int64_t i = first; i < last; i += BLOCK) {
    int64_t n = last - i < BLOCK ? last - i : BLOCK;
    if (dx)
      vector->norms->layer_backward(n, d, dy + i * d, normal + i * d, inverse + i, call->in[IN_GAMMA],
                                    !call->store[IN_X], dx + i * d);
    if (dz && dx && call->store[IN_X] && call->store[IN_Z])
      memcpy(dz + i * d, dx + i * d, (size_t)(n * d) * sizeof *dz);
    else if (dz)
      vector->norms->layer_backward(n, d, dy + i * d, normal + i * d, inverse + i, call->in[IN_GAMMA],
                                    !call->store[IN_Z], dz + i * d);
    vector->norms->layer_sums(n, d, dy + i * d, normal + i * d, sums);
  }
}

static facet_status layer_norm_backward(const facet_op_call *call) {
  int64_t rows = facet_shape_rows(&call->in_shape[IN_X]), d = facet_shape_last(&call->in_shape[IN_X]);
  facet_real *d_gamma = call->d_in[IN_GAMMA], *d_beta = call->d_in[IN_BETA];
  double *sums = call->scratch;
  facet_columns_reduce(rows, d, 2, backward_rows, call, sums, sums);
  for (int64_t j = 0; j < d; j++) {
    if (d_beta) d_beta[j] += (facet_real)sums[j];
    if (d_gamma) d_gamma[j] += (facet_real)sums[d + j];
  }
  return FACET_OK;
}

const facet_op facet_op_layer_norm = {.name = "layer_norm",
                                      .params_bytes = sizeof(facet_layer_norm_params),
                                      .backward_stores = true,
                                      .shape = layer_norm_shape,
                                      .cost = layer_norm_cost,
                                      .forward = layer_norm_forward,
                                      .backward = layer_norm_backward};

facet_tensor *facet_add_norm(facet_graph *graph, const char *name, const char *parameters, facet_tensor *x,
                             facet_tensor *z, double eps) {
  if (!x) return NULL;
  facet_layer_norm_params params = {.eps = eps};
  facet_shape shape = facet_shape_make(1, facet_shape_last(&x->shape));
  facet_tensor *in[4] = {x};
  in[IN_GAMMA] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.gamma", parameters), shape,
                                       (facet_init){FACET_INIT_CONSTANT, 1}, false);
  in[IN_BETA] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.beta", parameters), shape,
                                      (facet_init){FACET_INIT_ZERO, 0}, false);
  in[IN_Z] = z;
  return facet_graph_node(graph, &facet_op_layer_norm, name, in, z ? 4 : 3, &params, NULL);
}

facet_tensor *facet_layer_norm(facet_graph *graph, const char *name, facet_tensor *x, double eps) {
  return facet_add_norm(graph, name, name, x, NULL, eps);
}
