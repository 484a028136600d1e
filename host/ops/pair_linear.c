/* pair_linear: q [B, d], k [B, L, d], length [B] → z [B, L, h], over the n_b = length[b] ≤ L first slots (the others: 0):
 *
 *   z_t = [q, k_t, q − k_t, q ⊙ k_t] W + b = k_t M + r     W = [W_a; W_b; W_c; W_d] [4d, h], b [h]
 *   M = W_b − W_c + diag(q) W_d,   r = q (W_a + W_c) + b    once per sample: a product of width d instead of 4d per slot
 *
 *   G = Σ_t k_tᵀ dz_t,  s = Σ_t dz_t                        per sample
 *   dk_t += dz_t Mᵀ,   dq += s (W_a + W_c)ᵀ + rows of (G ⊙ W_d) summed
 *   dW_a += qᵀ s,   dW_b += G,   dW_c += qᵀ s − G,   dW_d += diag(q) G,   db += s
 *
 * Samples are cut into PARTS parts whose bounds depend on B alone; each adds up its own gradients of W and b, which are
 * added in the order of parts: the result does not depend on threads. */
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"
#include "ops/length.h"

enum { IN_Q, IN_K, IN_LENGTH, IN_WEIGHT, IN_BIAS, N_INPUTS };
enum { PARTS = 16 };

/* Scratch of a part: M or its transpose [d, h], G [d, h], r or s [h]; then the sums of dW [4d, h] and db [h]. */
static size_t part_elements(int64_t d, int64_t h) {
  return (size_t)(6 * d * h + 2 * h);
}

static facet_status pair_linear_shape(facet_op_rule *rule) {
  const facet_shape *q = &rule->in_shape[IN_Q], *k = &rule->in_shape[IN_K];
  const facet_shape *weight = &rule->in_shape[IN_WEIGHT], *bias = &rule->in_shape[IN_BIAS];
  char text_q[64], text_k[64], text[64];
  facet_shape_format(q, text_q, sizeof text_q);
  facet_shape_format(k, text_k, sizeof text_k);
  FACET_OP_CHECK(rule, k->rank == 3 && rule->in_dtype[IN_K] == FACET_DTYPE_REAL, "k is %s, expected real [B, L, d]",
                 text_k);
  FACET_OP_CHECK(rule,
                 q->rank == 2 && q->dim[0] == k->dim[0] && q->dim[1] == k->dim[2] &&
                     rule->in_dtype[IN_Q] == FACET_DTYPE_REAL,
                 "q is %s, expected real [B, d] for k %s", text_q, text_k);
  FACET_TRY(facet_length_check(rule, IN_LENGTH, IN_K, "k"));
  FACET_OP_CHECK(rule, weight->rank == 2 && weight->dim[0] == 4 * k->dim[2] && bias->dim[0] == weight->dim[1],
                 "the weight is %s and the bias has %lld elements, expected [4d, h] and [h] for k %s",
                 facet_shape_format(weight, text, sizeof text), (long long)bias->dim[0], text_k);
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = facet_shape_make(3, k->dim[0], k->dim[1], weight->dim[1]);
  rule->scratch_bytes = PARTS * part_elements(k->dim[2], weight->dim[1]) * sizeof(facet_real);
  return FACET_OK;
}

static void pair_linear_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_shape *k = &rule->in_shape[IN_K];
  double batch = (double)k->dim[0], slots = (double)k->dim[1], d = (double)k->dim[2];
  double h = (double)rule->in_shape[IN_WEIGHT].dim[1];
  cost->forward_flops = batch * (2 * slots * d * h + 5 * d * h + slots * h);
  cost->backward_flops = batch * (4 * slots * d * h + 14 * d * h + slots * h);
  cost->forward_bytes = (batch * slots * (d + h) + batch * d + 4 * d * h) * sizeof(facet_real);
  cost->backward_bytes = (batch * slots * (3 * d + h) + 3 * batch * d + 8 * d * h) * sizeof(facet_real);
}

typedef struct pair_linear {
  int64_t batch, slots, d, h;
  const facet_real *q, *k, *weight, *bias;
  const int32_t *length;
  facet_real *scratch;
} pair_linear;

static pair_linear open_call(const facet_op_call *call) {
  const facet_shape *k = &call->in_shape[IN_K];
  return (pair_linear){.batch = k->dim[0],
                       .slots = k->dim[1],
                       .d = k->dim[2],
                       .h = call->in_shape[IN_WEIGHT].dim[1],
                       .q = call->in[IN_Q],
                       .k = call->in[IN_K],
                       .weight = call->in[IN_WEIGHT],
                       .bias = call->in[IN_BIAS],
                       .length = call->in[IN_LENGTH],
                       .scratch = call->scratch};
}

static int64_t first_of_part(const pair_linear *w, int64_t part) {
  return part * w->batch / PARTS;
}

static facet_real *scratch_of_part(const pair_linear *w, int64_t part) {
  return w->scratch + (size_t)part * part_elements(w->d, w->h);
}

/* M [d, h] of a sample. */
static void combine(const pair_linear *w, const facet_real *q, facet_real *m) {
  const int64_t block = w->d * w->h;
  for (int64_t i = 0; i < w->d; i++) {
    const facet_real *row = w->weight + block + i * w->h; /* of W_b; W_c and W_d follow */
    for (int64_t j = 0; j < w->h; j++) m[i * w->h + j] = row[j] - row[block + j] + q[i] * row[2 * block + j];
  }
}

static void transpose(int64_t rows, int64_t columns, const facet_real *x, facet_real *y) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) y[j * rows + i] = x[i * columns + j];
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* r [h] of a sample. */
static void sample_term(const pair_linear *w, const facet_real *q, facet_real *r) {
  const facet_vector *vector = facet_vector_get();
  memcpy(r, w->bias, (size_t)w->h * sizeof *r);
  for (int64_t i = 0; i < w->d; i++) {
    vector->axpy(w->h, q[i], w->weight + i * w->h, r);
    vector->axpy(w->h, q[i], w->weight + (2 * w->d + i) * w->h, r);
  }
}

static facet_status pair_linear_forward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  const pair_linear w = open_call(call);
  facet_real *z = call->out[0];
#pragma omp parallel for schedule(static)
  for (int64_t part = 0; part < PARTS; part++) {
    facet_real *m = scratch_of_part(&w, part), *r = m + w.d * w.h;
    for (int64_t b = first_of_part(&w, part); b < first_of_part(&w, part + 1); b++) {
      const int64_t n = facet_length_clamp(w.length[b], w.slots);
      facet_real *rows = z + b * w.slots * w.h;
      memset(rows + n * w.h, 0, (size_t)((w.slots - n) * w.h) * sizeof *rows);
      if (n == 0) continue;
      combine(&w, w.q + b * w.d, m);
      sample_term(&w, w.q + b * w.d, r);
      vector->rows->product(false, false, n, w.h, w.d, w.k + b * w.slots * w.d, m, rows);
      vector->add_row(n, w.h, r, rows);
    }
  }
  return FACET_OK;
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* From G and s of a sample: dq, and its share of the part's sums of dW and db. */
static void add_sample(const pair_linear *w, const facet_real *q, const facet_real *g, const facet_real *s,
                       facet_real *dq, facet_real *d_weight, facet_real *d_bias) {
  const facet_vector *vector = facet_vector_get();
  const int64_t d = w->d, h = w->h, block = d * h;
  vector->axpy(h, 1, s, d_bias);
  for (int64_t i = 0; i < d; i++) {
    const facet_real *row = w->weight + i * h, *g_row = g + i * h;
    facet_real *d_row = d_weight + i * h;
    if (dq)
      dq[i] += vector->dot(h, s, row) + vector->dot(h, s, row + 2 * block) + vector->dot(h, g_row, row + 3 * block);
    for (int64_t j = 0; j < h; j++) {
      const facet_real outer = q[i] * s[j];
      d_row[j] += outer;
      d_row[block + j] += g_row[j];
      d_row[2 * block + j] += outer - g_row[j];
      d_row[3 * block + j] += q[i] * g_row[j];
    }
  }
}

static void backward_part(const facet_op_call *call, const pair_linear *w, int64_t part) {
  const facet_rows *rows = facet_vector_get()->rows;
  const int64_t d = w->d, h = w->h, block = d * h;
  facet_real *m = scratch_of_part(w, part), *g = m + block, *s = g + block, *d_weight = s + h;
  facet_real *d_bias = d_weight + 4 * block, *dq = call->d_in[IN_Q], *dk = call->d_in[IN_K];
  memset(d_weight, 0, (size_t)(4 * block + h) * sizeof *d_weight);
  for (int64_t b = first_of_part(w, part); b < first_of_part(w, part + 1); b++) {
    const int64_t n = facet_length_clamp(w->length[b], w->slots), at = b * w->slots;
    const facet_real *dz = (const facet_real *)call->d_out[0] + at * h, *q = w->q + b * d;
    if (n == 0) continue;
    if (dk) {
      combine(w, q, g);
      transpose(d, h, g, m);
      rows->product(false, true, n, d, h, dz, m, dk + at * d);
    }
    rows->product(true, false, d, h, n, w->k + at * d, dz, g);
    memset(s, 0, (size_t)h * sizeof *s);
    rows->column_sum(n, h, dz, s);
    add_sample(w, q, g, s, dq ? dq + b * d : NULL, d_weight, d_bias);
  }
}

static facet_status pair_linear_backward(const facet_op_call *call) {
  const facet_vector *vector = facet_vector_get();
  const pair_linear w = open_call(call);
  const int64_t n = 4 * w.d * w.h;
#pragma omp parallel for schedule(static)
  for (int64_t part = 0; part < PARTS; part++) backward_part(call, &w, part);
  for (int64_t part = 0; part < PARTS; part++) {
    const facet_real *sums = scratch_of_part(&w, part) + 2 * w.d * w.h + w.h;
    if (call->d_in[IN_WEIGHT]) vector->axpy(n, 1, sums, call->d_in[IN_WEIGHT]);
    if (call->d_in[IN_BIAS]) vector->axpy(w.h, 1, sums + n, call->d_in[IN_BIAS]);
  }
  return FACET_OK;
}

const facet_op facet_op_pair_linear = {.name = "pair_linear",
                                       .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                       .shape = pair_linear_shape,
                                       .cost = pair_linear_cost,
                                       .forward = pair_linear_forward,
                                       .backward = pair_linear_backward};

facet_tensor *facet_pair_linear(facet_graph *graph, const char *name, facet_tensor *q, facet_tensor *k,
                                facet_tensor *length, int64_t h) {
  if (!q || !k) return NULL;
  facet_tensor *in[N_INPUTS] = {q, k, length};
  in[IN_WEIGHT] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.weight", name),
                                        facet_shape_make(2, 4 * facet_shape_last(&k->shape), h),
                                        (facet_init){FACET_INIT_GLOROT_UNIFORM, 0}, true);
  in[IN_BIAS] = facet_graph_parameter(graph, facet_graph_name(graph, "%s.bias", name), facet_shape_make(1, h),
                                      (facet_init){FACET_INIT_ZERO, 0}, false);
  return facet_graph_node(graph, &facet_op_pair_linear, name, in, N_INPUTS, NULL, NULL);
}
