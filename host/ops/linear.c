/* linear: x [.., n] → y [.., m]: z = x W + b, y = act(z); W [n, m], b [m].
 *
 *   dz = act'(z) dy,   dx += dz Wᵀ,   dW += xᵀ dz,   db += Σ_rows dz
 *
 * With bf16 products, x, W and dz are rounded before them, in scratch. */
#include "cpu/activation.h"
#include "cpu/columns.h"
#include "cpu/gemm.h"
#include "cpu/vector.h"

enum { BLOCK = 32 }; /* rows that a thread takes at a time */

typedef struct facet_linear_params {
  facet_activation activation;
} facet_linear_params;

static facet_status linear_shape(facet_op_rule *rule) {
  const facet_linear_params *params = rule->params;
  const facet_shape *x = &rule->in_shape[0], *weight = &rule->in_shape[1];
  char text_x[64], text_weight[64];
  facet_shape_format(x, text_x, sizeof text_x);
  facet_shape_format(weight, text_weight, sizeof text_weight);
  FACET_OP_CHECK(rule, x->rank >= 1 && rule->in_dtype[0] == FACET_DTYPE_REAL, "x is %s, expected real [.., n]", text_x);
  FACET_OP_CHECK(rule, weight->rank == 2 && weight->dim[0] == facet_shape_last(x),
                 "x is %s and the weight %s, expected [.., n] and [n, m]", text_x, text_weight);
  int64_t m = weight->dim[1];
  FACET_OP_CHECK(rule, rule->n_inputs < 3 || facet_shape_elements(&rule->in_shape[2]) == m,
                 "the bias has %lld elements, expected %lld", (long long)facet_shape_elements(&rule->in_shape[2]),
                 (long long)m);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  rule->out_shape[0].dim[x->rank - 1] = m;
  size_t z_bytes = (size_t)facet_shape_elements(&rule->out_shape[0]) * sizeof(facet_real);
  size_t dz_bytes = params->activation == FACET_ACTIVATION_NONE ? 0 : z_bytes;
  rule->saved_bytes = params->activation == FACET_ACTIVATION_SWISH ? z_bytes : 0; /* z */
  size_t factors = (size_t)(facet_shape_elements(x) + facet_shape_elements(weight)) + z_bytes / sizeof(facet_real);
  rule->scratch_bytes = facet_columns_scratch_bytes(1, m) + dz_bytes + factors * sizeof(facet_bf16);
  return FACET_OK;
}

static void linear_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_linear_params *params = rule->params;
  double rows = (double)facet_shape_rows(&rule->in_shape[0]), n = (double)facet_shape_last(&rule->in_shape[0]);
  double m = (double)facet_shape_last(&rule->out_shape[0]), bias = rule->n_inputs > 2;
  double act = facet_activation_flops(params->activation);
  cost->forward_flops = 2 * rows * n * m + rows * m * (bias + act);
  cost->backward_flops = 4 * rows * n * m + rows * m * (bias + (act > 0 ? 3 : 0));
  cost->forward_bytes = (rows * n + n * m + rows * m) * sizeof(facet_real);
  cost->backward_bytes = (3 * rows * n + 3 * n * m + rows * m * (act > 0 ? 2 : 1)) * sizeof(facet_real);
}

typedef struct linear_sizes {
  int64_t rows, n, m;
} linear_sizes;

static linear_sizes sizes_of(const facet_op_call *call) {
  return (linear_sizes){.rows = facet_shape_rows(&call->in_shape[0]),
                        .n = facet_shape_last(&call->in_shape[0]),
                        .m = facet_shape_last(&call->out_shape[0])};
}

/* Scratch: column sums; dz where there is an activation; x, W and dz in bf16. */
typedef struct linear_scratch {
  double *sums;
  facet_real *dz;
  facet_bf16 *x16, *weight16, *dz16;
} linear_scratch;

static linear_scratch scratch_of(const facet_op_call *call, const linear_sizes *s) {
  const facet_linear_params *params = call->params;
  linear_scratch w = {.sums = call->scratch};
  w.dz = (facet_real *)(void *)((char *)call->scratch + facet_columns_scratch_bytes(1, s->m));
  w.x16 = (facet_bf16 *)(void *)(w.dz + (params->activation == FACET_ACTIVATION_NONE ? 0 : s->rows * s->m));
  w.weight16 = w.x16 + s->rows * s->n;
  w.dz16 = w.weight16 + s->n * s->m;
  return w;
}

static facet_status multiply(const facet_op_call *call, const linear_sizes *s, facet_real *z) {
  if (call->precision == FACET_PRECISION_FLOAT32)
    return facet_gemm(false, false, s->rows, s->m, s->n, 1, call->in[0], s->n, call->in[1], s->m, 0, z, s->m);
  const linear_scratch w = scratch_of(call, s);
  facet_to_bf16(s->rows * s->n, call->in[0], w.x16);
  facet_to_bf16(s->n * s->m, call->in[1], w.weight16);
  return facet_gemm_bf16(false, false, s->rows, s->m, s->n, w.x16, w.weight16, false, z);
}

static facet_status linear_forward(const facet_op_call *call) {
  const facet_linear_params *params = call->params;
  const facet_vector *vector = facet_vector_get();
  const linear_sizes s = sizes_of(call);
  const int64_t m = s.m;
  facet_real *y = call->out[0];
  const facet_real *bias = call->n_inputs > 2 ? call->in[2] : NULL;
  facet_real *z = params->activation == FACET_ACTIVATION_SWISH ? call->saved : y;
  FACET_TRY(multiply(call, &s, z));
  if (!bias && params->activation == FACET_ACTIVATION_NONE) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < s.rows; i += BLOCK) {
    const int64_t n = s.rows - i < BLOCK ? s.rows - i : BLOCK;
    if (bias && params->activation == FACET_ACTIVATION_RELU) {
      vector->rows->add_relu(n, m, bias, z + i * m);
      continue;
    }
    if (bias) vector->add_row(n, m, bias, z + i * m);
    facet_activation_apply(params->activation, n * m, z + i * m, y + i * m);
  }
  return FACET_OK;
}

/* dx and dW. */
static facet_status multiply_back(const facet_op_call *call, const linear_sizes *s, const facet_real *dz) {
  const int64_t rows = s->rows, n = s->n, m = s->m;
  facet_real *dx = call->d_in[0], *d_weight = call->d_in[1];
  if (call->precision == FACET_PRECISION_FLOAT32) {
    if (dx) FACET_TRY(facet_gemm(false, true, rows, n, m, 1, dz, m, call->in[1], m, call->store[0] ? 0 : 1, dx, n));
    if (d_weight) FACET_TRY(facet_gemm(true, false, n, m, rows, 1, call->in[0], n, dz, m, 1, d_weight, m));
    return FACET_OK;
  }
  const linear_scratch w = scratch_of(call, s);
  facet_to_bf16(rows * m, dz, w.dz16);
  if (dx) {
    facet_to_bf16(n * m, call->in[1], w.weight16);
    FACET_TRY(facet_gemm_bf16(false, true, rows, n, m, w.dz16, w.weight16, !call->store[0], dx));
  }
  if (d_weight) {
    facet_to_bf16(rows * n, call->in[0], w.x16);
    FACET_TRY(facet_gemm_bf16(true, false, n, m, rows, w.x16, w.dz16, true, d_weight));
  }
  return FACET_OK;
}

/* dz of the rows, and its sums while they are in cache. */
static void derive_and_sum(const void *context, int64_t first, int64_t last, double *sums) {
  const facet_op_call *call = context;
  const facet_linear_params *params = call->params;
  const linear_sizes s = sizes_of(call);
  const int64_t at = first * s.m, n = (last - first) * s.m;
  const facet_real *dz = call->d_out[0] + at, *y = (const facet_real *)call->out[0] + at, *z = call->saved;
  if (params->activation != FACET_ACTIVATION_NONE) {
    facet_real *own = scratch_of(call, &s).dz + at;
    facet_activation_derive(params->activation, n, z ? z + at : NULL, y, dz, false, own);
    dz = own;
  }
  if (call->n_inputs > 2 && call->d_in[2]) facet_vector_get()->norms->sum(last - first, s.m, dz, NULL, sums);
}

static facet_status linear_backward(const facet_op_call *call) {
  const facet_linear_params *params = call->params;
  const linear_sizes s = sizes_of(call);
  const linear_scratch w = scratch_of(call, &s);
  const int64_t m = s.m;
  const bool derive = params->activation != FACET_ACTIVATION_NONE;
  facet_real *d_bias = call->n_inputs > 2 ? call->d_in[2] : NULL;
  if (derive || d_bias) facet_columns_reduce(s.rows, m, 1, derive_and_sum, call, w.sums, w.sums);
  for (int64_t j = 0; d_bias && j < m; j++) d_bias[j] += (facet_real)w.sums[j];
  return multiply_back(call, &s, derive ? w.dz : call->d_out[0]);
}

const facet_op facet_op_linear = {.name = "linear",
                                  .params_bytes = sizeof(facet_linear_params),
                                  .backward_reads = FACET_BACKWARD_READS_INPUTS | FACET_BACKWARD_READS_OUTPUTS,
                                  .backward_stores = true,
                                  .shape = linear_shape,
                                  .cost = linear_cost,
                                  .forward = linear_forward,
                                  .backward = linear_backward};

facet_tensor *facet_linear(facet_graph *graph, const char *name, facet_tensor *x, int64_t m, bool bias,
                           facet_activation activation) {
  if (!x) return NULL;
  facet_linear_params params = {.activation = activation};
  int64_t n = facet_shape_last(&x->shape);
  facet_tensor *in[3] = {x};
  in[1] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.weight", name), facet_shape_make(2, n, m),
                                (facet_init){FACET_INIT_GLOROT_UNIFORM, 0}, true);
  if (bias)
    in[2] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.bias", name), facet_shape_make(1, m),
                                  (facet_init){FACET_INIT_ZERO, 0}, false);
  return facet_graph_node(graph, &facet_op_linear, name, in, bias ? 3 : 2, &params, NULL);
}
