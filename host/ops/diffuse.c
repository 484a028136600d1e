/* diffuse: x0 [B, c, d], noise ε [B, c, d] (or none: 0), level t int32 [B, c] (or none: one constant level) → x_t
 *
 *   x_t = √ᾱ_t x0 + √(1 − ᾱ_t) ε,   dx0 += √ᾱ_t dx_t
 *
 * ᾱ of the linear schedule in double (cpu/diffusion.h); computed in scratch by every call. */
#include <math.h>

#include "cpu/diffusion.h"
#include "cpu/vector.h"
#include "facet/ops.h"
#include "ops/diffusion.h"

typedef struct facet_diffuse_params {
  facet_diffusion_options schedule;
  int64_t constant_level;
  int noise, level; /* which input it is; 0: there is none */
} facet_diffuse_params;

/* Levels that ᾱ is needed for: 0 … n − 1. */
static int64_t n_levels(const facet_diffuse_params *params) {
  return params->level ? params->schedule.levels : params->constant_level + 1;
}

static facet_status diffuse_shape(facet_op_rule *rule) {
  const facet_diffuse_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[0];
  char text_x[64], text[64];
  facet_shape_format(x, text_x, sizeof text_x);
  FACET_OP_CHECK(rule, x->rank == 3 && rule->in_dtype[0] == FACET_DTYPE_REAL, "x0 is %s, expected real [B, c, d]",
                 text_x);
  if (params->noise) {
    const facet_shape *noise = &rule->in_shape[params->noise];
    FACET_OP_CHECK(rule, facet_shape_equal(noise, x) && rule->in_dtype[params->noise] == FACET_DTYPE_REAL,
                   "the noise is %s, expected real numbers like x0 %s", facet_shape_format(noise, text, sizeof text),
                   text_x);
  }
  FACET_TRY(facet_diffusion_check(rule, &params->schedule));
  if (params->level) {
    const facet_shape *level = &rule->in_shape[params->level];
    FACET_OP_CHECK(rule,
                   rule->in_dtype[params->level] == FACET_DTYPE_INT32 && level->rank == 2 &&
                       level->dim[0] == x->dim[0] && level->dim[1] == x->dim[1],
                   "the level is %s, expected int32 [B, c] for x0 %s", facet_shape_format(level, text, sizeof text),
                   text_x);
  } else {
    FACET_OP_CHECK(rule, params->constant_level >= 0 && params->constant_level < params->schedule.levels,
                   "level %lld, expected 0 to %lld", (long long)params->constant_level,
                   (long long)params->schedule.levels - 1);
  }
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->scratch_bytes = (size_t)n_levels(params) * sizeof(double);
  return FACET_OK;
}

static void diffuse_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_diffuse_params *params = rule->params;
  double n = (double)facet_shape_elements(&rule->in_shape[0]), noise = params->noise != 0;
  cost->forward_flops = n * (1 + 2 * noise);
  cost->backward_flops = 2 * n;
  cost->forward_bytes = n * (2 + noise) * sizeof(facet_real);
  cost->backward_bytes = 3 * n * sizeof(facet_real);
}

/* ᾱ into scratch, and every level checked: an index of anything else would be read outside. */
static facet_status prepare(const facet_op_call *call, const double **alpha_bar) {
  const facet_diffuse_params *params = call->params;
  int64_t rows = facet_shape_rows(&call->in_shape[0]), c = call->in_shape[0].dim[1], n = n_levels(params);
  const int32_t *level = params->level ? call->in[params->level] : NULL;
  for (int64_t i = 0; level && i < rows; i++)
    FACET_CHECK(level[i] >= 0 && level[i] < n, FACET_ERROR_INTERNAL,
                "the diffusion level of sample %lld, channel %lld is %d, expected 0 to %lld", (long long)(i / c),
                (long long)(i % c), level[i], (long long)n - 1);
  facet_diffusion_alpha_bar(&params->schedule, n, call->scratch);
  *alpha_bar = call->scratch;
  return FACET_OK;
}

static facet_status diffuse_forward(const facet_op_call *call) {
  const facet_diffuse_params *params = call->params;
  int64_t rows = facet_shape_rows(&call->in_shape[0]), d = facet_shape_last(&call->in_shape[0]);
  const int32_t *level = params->level ? call->in[params->level] : NULL;
  const facet_real *x0 = call->in[0], *noise = params->noise ? call->in[params->noise] : NULL;
  facet_real *x = call->out[0];
  const double *alpha_bar;
  FACET_TRY(prepare(call, &alpha_bar));
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    double at = alpha_bar[level ? level[row] : params->constant_level];
    facet_real keep = (facet_real)sqrt(at), add = (facet_real)sqrt(1 - at);
    for (int64_t k = row * d; k < (row + 1) * d; k++) x[k] = noise ? keep * x0[k] + add * noise[k] : keep * x0[k];
  }
  return FACET_OK;
}

static facet_status diffuse_backward(const facet_op_call *call) {
  const facet_diffuse_params *params = call->params;
  const facet_vector *vector = facet_vector_get();
  int64_t rows = facet_shape_rows(&call->in_shape[0]), d = facet_shape_last(&call->in_shape[0]);
  const int32_t *level = params->level ? call->in[params->level] : NULL;
  facet_real *dx0 = call->d_in[0];
  const double *alpha_bar;
  if (!dx0) return FACET_OK;
  FACET_TRY(prepare(call, &alpha_bar));
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    double at = alpha_bar[level ? level[row] : params->constant_level];
    vector->axpy(d, (facet_real)sqrt(at), call->d_out[0] + row * d, dx0 + row * d);
  }
  return FACET_OK;
}

const facet_op facet_op_diffuse = {.name = "diffuse",
                                   .params_bytes = sizeof(facet_diffuse_params),
                                   .backward_reads = FACET_BACKWARD_READS_INPUTS, /* the levels */
                                   .shape = diffuse_shape,
                                   .cost = diffuse_cost,
                                   .forward = diffuse_forward,
                                   .backward = diffuse_backward};

facet_tensor *facet_diffuse(facet_graph *graph, const char *name, facet_tensor *x0, facet_tensor *noise,
                            facet_tensor *level, int64_t constant_level, const facet_diffusion_options *options) {
  facet_diffuse_params params = {.schedule = *options, .constant_level = constant_level};
  facet_tensor *in[3] = {x0};
  int n = 1;
  if (noise && noise->needs_gradient)
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "%s: the noise %s needs a gradient; diffuse has one for x0 only",
                            name, noise->name);
  if (noise) in[params.noise = n++] = noise;
  if (level) in[params.level = n++] = level;
  return facet_graph_node(graph, &facet_op_diffuse, name, in, n, &params, NULL);
}
