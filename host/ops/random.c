/* random: standard normals, or integers 0 … n − 1, of shape [B, ..]; no inputs, no gradient.
 *
 * The numbers of sample b come from the Philox blocks (step, micro-step, first_position + b, block) in training and
 * (row of the data set, block) in evaluation, key (seed, "random/<name>"). Normals: element e is number e mod 4 of block
 * e/4 (facet_rng_normals). Integers: element e is made of 64 bits, words 2 (e mod 2) (low) and 2 (e mod 2) + 1 of block
 * e/2. Padding has row −1, which is a counter like any other. */
#include "facet/ops.h"
#include "facet/rng.h"

typedef struct facet_random_params {
  facet_shape shape;
  int64_t n; /* 0: normals */
  const char *purpose;
} facet_random_params;

enum { CHUNK = 512 }; /* normals on the stack: whole blocks */

static facet_status random_shape(facet_op_rule *rule) {
  const facet_random_params *params = rule->params;
  rule->n_outputs = 1;
  rule->out_dtype[0] = params->n ? FACET_DTYPE_INT32 : FACET_DTYPE_REAL;
  rule->out_shape[0] = params->shape;
  return FACET_OK;
}

static void random_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_random_params *params = rule->params;
  double n = (double)facet_shape_elements(&params->shape);
  cost->forward_flops = n * (params->n ? 30 : 50); /* ten rounds of Philox, and Box-Muller */
  cost->forward_bytes = n * (double)(params->n ? sizeof(int32_t) : sizeof(facet_real));
}

static facet_rng_counter counter_of(const facet_run *run, int64_t b, int64_t block) {
  if (!run->training) return facet_rng_counter_row((uint64_t)run->row[b], (uint32_t)block);
  return facet_rng_counter_train((uint32_t)run->step, (uint32_t)run->micro_step, (uint32_t)(run->first_position + b),
                                 (uint32_t)block);
}

static void fill_normals(const facet_run *run, facet_rng_key key, int64_t b, int64_t n, facet_real *y) {
  float normal[CHUNK];
  for (int64_t e = 0; e < n; e += CHUNK) {
    int64_t m = n - e < CHUNK ? n - e : CHUNK;
    facet_rng_fill_normals(key, counter_of(run, b, e / 4), m, normal);
    for (int64_t i = 0; i < m; i++) y[e + i] = normal[i];
  }
}

static void fill_integers(const facet_run *run, facet_rng_key key, int64_t b, int64_t n, int64_t limit, int32_t *y) {
  for (int64_t e = 0; e < n; e += 2) {
    uint32_t word[4];
    facet_rng_block(key, counter_of(run, b, e / 2), word);
    for (int64_t i = e; i < n && i < e + 2; i++) {
      const uint32_t *half = word + 2 * (i - e);
      y[i] = (int32_t)facet_rng_below((uint64_t)half[0] | (uint64_t)half[1] << 32, (uint64_t)limit);
    }
  }
}

static facet_status random_forward(const facet_op_call *call) {
  const facet_random_params *params = call->params;
  int64_t rows = params->shape.dim[0], n = facet_shape_elements(&params->shape) / rows;
  facet_rng_key key = facet_rng_key_make(call->run->seed, params->purpose);
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < rows; b++) {
    if (params->n)
      fill_integers(call->run, key, b, n, params->n, (int32_t *)call->out[0] + b * n);
    else
      fill_normals(call->run, key, b, n, (facet_real *)call->out[0] + b * n);
  }
  return FACET_OK;
}

const facet_op facet_op_random = {.name = "random",
                                  .params_bytes = sizeof(facet_random_params),
                                  .shape = random_shape,
                                  .cost = random_cost,
                                  .forward = random_forward};

static facet_tensor *random_node(facet_graph *graph, const char *name, const facet_shape *shape, int64_t n) {
  char text[64];
  if (shape->rank < 1 || shape->dim[0] != facet_graph_batch_size(graph))
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "node \"%s\" (random) has shape %s, expected [%lld, ..]", name,
                            facet_shape_format(shape, text, sizeof text), (long long)facet_graph_batch_size(graph));
  facet_random_params params = {.shape = *shape, .n = n, .purpose = facet_graph_name(graph, "random/%s", name)};
  return facet_graph_node(graph, &facet_op_random, name, NULL, 0, &params, NULL);
}

facet_tensor *facet_random_normal(facet_graph *graph, const char *name, facet_shape shape) {
  return random_node(graph, name, &shape, 0);
}

facet_tensor *facet_random_integer(facet_graph *graph, const char *name, facet_shape shape, int64_t n) {
  if (n < 1 || n > INT32_MAX)
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "node \"%s\" (random): n is %lld, expected 1 to %d", name,
                            (long long)n, INT32_MAX);
  return random_node(graph, name, &shape, n);
}
