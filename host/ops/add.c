/* add: y = x + z; z has the shape of x, or is [B, d] and is added to every row of its sample of x [B, .., d].
 *
 *   dx += dy,   dz += dy, summed over the rows of a sample where z is [B, d] */
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"

static facet_status add_shape(facet_op_rule *rule) {
  const facet_shape *x = &rule->in_shape[0], *z = &rule->in_shape[1];
  char text_x[64], text_z[64];
  FACET_OP_CHECK(rule, rule->in_dtype[0] == FACET_DTYPE_REAL && rule->in_dtype[1] == FACET_DTYPE_REAL,
                 "%s is int32, expected real", rule->in_dtype[0] == FACET_DTYPE_REAL ? "z" : "x");
  bool row = x->rank >= 2 && z->rank == 2 && z->dim[0] == x->dim[0] && z->dim[1] == facet_shape_last(x);
  FACET_OP_CHECK(rule, x->rank >= 1 && (row || facet_shape_equal(x, z)),
                 "x is %s and z %s, expected equal shapes or z [B, d] for x [B, .., d]",
                 facet_shape_format(x, text_x, sizeof text_x), facet_shape_format(z, text_z, sizeof text_z));
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *x;
  return FACET_OK;
}

static void add_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[0]), m = (double)facet_shape_elements(&rule->in_shape[1]);
  cost->forward_flops = n;
  cost->backward_flops = 2 * n;
  cost->forward_bytes = (2 * n + m) * sizeof(facet_real);
  cost->backward_bytes = (4 * n + 2 * m) * sizeof(facet_real);
}

/* Elements of a sample of x, and of z. */
static int64_t per_sample(const facet_op_call *call, int input) {
  return facet_shape_elements(&call->in_shape[input]) / call->in_shape[input].dim[0];
}

static facet_status add_forward(const facet_op_call *call) {
  int64_t batch = call->in_shape[0].dim[0], n = per_sample(call, 0), m = per_sample(call, 1);
  const facet_real *x = call->in[0], *z = call->in[1];
  facet_real *y = call->out[0];
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < batch; b++)
    for (int64_t i = b * n; i < (b + 1) * n; i += m)
      for (int64_t j = 0; j < m; j++) y[i + j] = x[i + j] + z[b * m + j];
  return FACET_OK;
}

static facet_status add_backward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  int64_t batch = call->in_shape[0].dim[0], n = per_sample(call, 0), m = per_sample(call, 1);
  const facet_real *dy = call->d_out[0];
  facet_real *dx = call->d_in[0], *dz = call->d_in[1];
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < batch; b++) {
    if (dx && call->store[0]) memcpy(dx + b * n, dy + b * n, (size_t)n * sizeof *dx);
    if (dx && !call->store[0]) vector->axpy(n, 1, dy + b * n, dx + b * n);
    if (dz && call->store[1]) memcpy(dz + b * m, dy + b * n, (size_t)m * sizeof *dz);
    for (int64_t i = call->store[1] ? m : 0; dz && i < n; i += m) vector->axpy(m, 1, dy + b * n + i, dz + b * m);
  }
  return FACET_OK;
}

const facet_op facet_op_add = {.name = "add",
                               .backward_stores = true,
                               .shape = add_shape,
                               .cost = add_cost,
                               .forward = add_forward,
                               .backward = add_backward};

facet_tensor *facet_add(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *z) {
  return facet_graph_node(graph, &facet_op_add, name, (facet_tensor *[]){x, z}, 2, NULL, NULL);
}
