#include "random_graph.h"

#include "facet/rng.h"

enum { B = 4, N = 24 }; /* all tensors are [B, N] */

static uint64_t draw(uint64_t seed, uint64_t *counter, uint64_t n) {
  return facet_rng_below(facet_rng_word64(facet_rng_key_make(seed, "random graph"), (*counter)++), n);
}

static facet_tensor *random_node(facet_graph *g, const char *name, uint64_t kind, facet_tensor *a, facet_tensor *b,
                                 facet_tensor *half) {
  facet_tensor *outs[FACET_OP_MAX_OUTPUTS];
  switch (kind) {
  case 0: /* x ↦ (x W)/2 with an own W, so that values stay small */
    return test_binary(g, &test_matmul, name, a,
                       facet_graph_parameter(g, facet_graph_name(g, "%s.w", name), half->shape,
                                             (facet_init){FACET_INIT_NORMAL, 0.1}, true));
  case 1:
    return test_unary(g, &test_curve, name, test_binary(g, &test_matmul, facet_graph_name(g, "%s.in", name), a, half));
  case 2:
    return test_unary(g, &test_square, name, test_binary(g, &test_matmul, facet_graph_name(g, "%s.in", name), a, half));
  case 3:
    return test_unary(g, &test_exponential, name,
                      test_binary(g, &test_matmul, facet_graph_name(g, "%s.in", name), a, half));
  case 4:
    return test_binary(g, &test_add, name, a, b);
  case 5:
    return test_binary(g, &test_add, name, a, a);
  case 6:
    facet_graph_node(g, &test_split, name, &a, 1, NULL, outs);
    return outs[1];
  default:
    return test_unary(g, &test_count, name, test_unary(g, &test_sign, facet_graph_name(g, "%s.in", name), a));
  }
}

void test_random_graph(facet_graph *g, uint64_t seed, int n_nodes, bool keep_all) {
  facet_tensor *pool[64];
  uint64_t counter = 0;
  facet_shape square = facet_shape_make(2, (int64_t)N, (int64_t)N);
  facet_tensor *half = facet_graph_parameter(g, "half", square, (facet_init){FACET_INIT_NORMAL, 0.04}, true);
  facet_tensor *ids = facet_graph_input(g, "ids", FACET_DTYPE_INT32, facet_shape_make(1, (int64_t)B), false);
  facet_tensor *table = facet_graph_table(g, "table", 10, N, (facet_init){FACET_INIT_NORMAL, 0.3});
  int n = 0;
  pool[n++] = facet_graph_input(g, "x", FACET_DTYPE_REAL, facet_shape_make(2, (int64_t)B, (int64_t)N), true);
  pool[n++] = test_binary(g, &test_lookup, "lookup", table, ids);
  for (int i = 0; i < n_nodes; i++) {
    facet_tensor *a = pool[draw(seed, &counter, (uint64_t)n)], *b = pool[draw(seed, &counter, (uint64_t)n)];
    uint64_t kind = draw(seed, &counter, 8);
    pool[n++] = random_node(g, facet_graph_name(g, "node.%d", i), kind, a, b, half);
    if (keep_all) facet_graph_output(g, facet_graph_name(g, "output.%d", i), pool[n - 1]);
  }
  facet_tensor *sum = test_binary(g, &test_add, "sum", pool[1], pool[n - 1]);
  facet_graph_loss(g, "a", test_unary(g, &test_mean, "loss.a", test_unary(g, &test_square, "sum2", sum)), 2);
  facet_graph_loss(g, "b", test_unary(g, &test_mean, "loss.b", pool[n / 2]), -0.5);
}

void test_random_inputs(facet_executor *executor, uint64_t seed) {
  int32_t *ids = facet_executor_input(executor, "ids");
  facet_real *x = facet_executor_input(executor, "x");
  facet_rng_key key = facet_rng_key_make(seed, "inputs");
  for (int i = 0; i < B; i++) ids[i] = (int32_t)facet_rng_below(facet_rng_word64(key, (uint64_t)i), 10);
  for (int i = 0; i < B * N; i++) x[i] = (facet_real)facet_rng_normal(key, (uint64_t)i);
}
