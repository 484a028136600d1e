/* The Transformer encoder block against loops over its valid rows. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "facet/blocks.h"
#include "facet/ops.h"
#include "facet/rng.h"
#include "graph/graph_internal.h"
#include "operators.h"

enum { B = 5, L = 6, D = 6, FACTOR = 2, IDS = 20 };

static const int32_t lengths[B] = {0, 1, 4, 6, 3};

typedef struct fixture {
  test_fixture f;
  facet_encoder_options options;
} fixture;

/* y = encoder(rows of a table), loss = mean of the squares of y w; with a denoiser's LayerNorm in the same program and
 * a cross-attention to a projection of the target where `reuse`. */
static void open(fixture *x, facet_encoder_options options, bool reuse, bool all_slots) {
  x->f = test_fixture_open(B);
  x->options = options;
  facet_graph *g = x->f.graph;
  facet_tensor *table = facet_graph_table(g, "table", IDS, D, (facet_init){FACET_INIT_NORMAL, 0.7});
  facet_tensor *id = facet_graph_input(g, "id", FACET_DTYPE_INT32, facet_shape_make(1, (int64_t)B), false);
  facet_tensor *ids =
      facet_graph_input(g, "ids", FACET_DTYPE_INT32, facet_shape_make(2, (int64_t)B, (int64_t)L), false);
  facet_tensor *length = facet_graph_input(g, "length", FACET_DTYPE_INT32, facet_shape_make(1, (int64_t)B), false);
  facet_tensor *target = facet_gather(g, "t", table, id, false, FACET_POOLING_MEAN);
  facet_tensor *events = facet_gather(g, "e", table, ids, false, FACET_POOLING_MEAN);
  facet_tensor *norm = NULL;
  if (reuse) {
    x->options.norms = "denoiser";
    x->options.cross = facet_linear(g, "cross", target, D, false, FACET_ACTIVATION_NONE);
    norm = facet_layer_norm(g, "denoiser.0.norm1", target, 1e-6);
  }
  facet_tensor *y = facet_block_encoder(g, "st", target, events, all_slots ? NULL : length, &x->options);
  cr_assert(y, "%s", facet_error_get()->message);
  facet_graph_output(g, "y", y);
  if (norm) y = facet_add(g, "both", y, norm);
  y = facet_linear(g, "head", y, 2, false, FACET_ACTIVATION_NONE);
  facet_graph_loss(g, "l", test_unary(g, &test_mean, "mean", test_unary(g, &test_square, "square", y)), 1);
  test_fixture_compile(&x->f, true);
  facet_rng_key key = facet_rng_key_make(4, "encoder");
  int32_t *id_of = facet_executor_input(x->f.executor, "id"), *ids_of = facet_executor_input(x->f.executor, "ids");
  for (int b = 0; b < B; b++) id_of[b] = 1 + b;
  for (int i = 0; i < B * L; i++) ids_of[i] = 1 + (int32_t)facet_rng_below(facet_rng_word64(key, (uint64_t)i), IDS - 1);
  if (!all_slots) memcpy(facet_executor_input(x->f.executor, "length"), lengths, sizeof lengths);
  /* biases and gains away from 0 and 1 */
  facet_real *values = facet_parameters_values(x->f.parameters);
  for (int64_t i = 0; i < facet_parameters_n_elements(x->f.parameters); i++)
    values[i] += (facet_real)(0.2 * (double)facet_rng_normal(key, (uint64_t)(1000 + i)));
}

static const facet_real *parameter(const fixture *x, const char *format, int layer, const char *part) {
  char name[64];
  snprintf(name, sizeof name, format, layer, part);
  for (int i = 0; i < facet_parameters_n_dense(x->f.parameters); i++) {
    const facet_parameter_info *info = facet_parameters_dense(x->f.parameters, i);
    if (strcmp(info->name, name) == 0) return facet_parameters_values(x->f.parameters) + info->offset;
  }
  cr_assert_fail("no parameter %s", name);
  return NULL;
}

/* ---- the reference: h [n, D] in place ---- */

static void multiply(const double *x, int n, const facet_real *w, int m, const facet_real *bias, double *y) {
  for (int j = 0; j < m; j++) {
    y[j] = bias ? (double)bias[j] : 0;
    for (int k = 0; k < n; k++) y[j] += x[k] * (double)w[k * m + j];
  }
}

static void norm(const fixture *x, int layer, const char *part, double *row) {
  const char *format = x->options.norms ? "denoiser.%d.%s" : "st.%d.%s";
  char gamma[32], beta[32];
  snprintf(gamma, sizeof gamma, "%s.gamma", part);
  snprintf(beta, sizeof beta, "%s.beta", part);
  const facet_real *g = parameter(x, format, layer, gamma), *b = parameter(x, format, layer, beta);
  double mean = 0, variance = 0;
  for (int j = 0; j < D; j++) mean += row[j] / D;
  for (int j = 0; j < D; j++) variance += (row[j] - mean) * (row[j] - mean) / D;
  for (int j = 0; j < D; j++) row[j] = (double)g[j] * (row[j] - mean) / sqrt(variance + 1e-6) + (double)b[j];
}

static void self_attention(const fixture *x, int layer, int n, double scale, double (*h)[D]) {
  double q[L + 1][D], k[L + 1][D], v[L + 1][D], y[D], sum_of[D];
  int width = D / (int)x->options.heads;
  for (int i = 0; i < n; i++) {
    multiply(h[i], D, parameter(x, "st.%d.%s", layer, "self.q.weight"), D, NULL, q[i]);
    multiply(h[i], D, parameter(x, "st.%d.%s", layer, "self.k.weight"), D, NULL, k[i]);
    multiply(h[i], D, parameter(x, "st.%d.%s", layer, "self.v.weight"), D, NULL, v[i]);
  }
  for (int i = 0; i < n; i++) {
    for (int first = 0; first < D; first += width) {
      double sum = 0;
      for (int e = first; e < first + width; e++) sum_of[e] = 0;
      for (int j = 0; j < n; j++) {
        double s = 0;
        for (int e = first; e < first + width; e++) s += q[i][e] * k[j][e];
        s = exp(scale * s);
        sum += s;
        for (int e = first; e < first + width; e++) sum_of[e] += s * v[j][e];
      }
      for (int e = first; e < first + width; e++) sum_of[e] /= sum;
    }
    multiply(sum_of, D, parameter(x, "st.%d.%s", layer, "self.o.weight"), D, NULL, y);
    for (int e = 0; e < D; e++) h[i][e] += y[e];
    norm(x, layer, "norm1", h[i]);
  }
}

static void reference(const fixture *x, int n, double scale, const double *cross, double (*h)[D]) {
  for (int layer = 0; layer < x->options.n_layers; layer++) {
    self_attention(x, layer, n, scale, h);
    for (int i = 0; i < n; i++) {
      double y[D], hidden[FACTOR * D];
      if (cross) {
        double value[D];
        multiply(cross, D, parameter(x, "st.%d.%s", layer, "cross.v.weight"), D, NULL, value);
        multiply(value, D, parameter(x, "st.%d.%s", layer, "cross.o.weight"), D, NULL, y);
        for (int e = 0; e < D; e++) h[i][e] += y[e];
        norm(x, layer, "norm2", h[i]);
      }
      multiply(h[i], D, parameter(x, "st.%d.%s", layer, "ffn.0.weight"), FACTOR * D,
               parameter(x, "st.%d.%s", layer, "ffn.0.bias"), hidden);
      for (int e = 0; e < FACTOR * D; e++) hidden[e] = fmax(hidden[e], 0);
      multiply(hidden, FACTOR * D, parameter(x, "st.%d.%s", layer, "ffn.1.weight"), D,
               parameter(x, "st.%d.%s", layer, "ffn.1.bias"), y);
      for (int e = 0; e < D; e++) h[i][e] += y[e];
      norm(x, layer, "norm3", h[i]);
    }
  }
}

static void check_slots(facet_encoder_options options, bool reuse, bool all_slots, double scale) {
  fixture x;
  facet_real y[B * D];
  FILE *stream = fopen("/dev/null", "w");
  open(&x, options, reuse, all_slots);
  EXPECT_OK(facet_executor_forward(x.f.executor, NULL, &x.f.run));
  EXPECT_OK(facet_executor_output(x.f.executor, "y", y, B * D));
  const facet_real *table = facet_table_rows(facet_parameters_table(x.f.parameters, 0));
  const int32_t *id = facet_executor_input(x.f.executor, "id"), *ids = facet_executor_input(x.f.executor, "ids");
  for (int b = 0; b < B; b++) {
    double h[L + 1][D], cross[D];
    const int length = all_slots ? L : lengths[b], n = 1 + (int)(length < options.n_recent ? length : options.n_recent);
    for (int e = 0; e < D; e++) {
      h[0][e] = (double)table[id[b] * D + e];
      for (int i = 1; i < n; i++) h[i][e] = (double)table[ids[b * L + i - 1] * D + e];
    }
    if (reuse) multiply(h[0], D, parameter(&x, "cross.weight", 0, ""), D, NULL, cross);
    reference(&x, n, scale, reuse ? cross : NULL, h);
    for (int e = 0; e < D; e++)
      cr_assert(fabs((double)y[b * D + e] - h[0][e]) < 300 * FACET_REAL_EPSILON, "sample %d, element %d: %g, not %g", b,
                e, (double)y[b * D + e], h[0][e]);
  }
  EXPECT_OK(facet_executor_check_gradients(x.f.executor, NULL, &x.f.run, 2, FACET_CHECK_TOLERANCE, stream));
  test_fixture_close(&x.f);
  fclose(stream);
}

static void check(facet_encoder_options options, bool reuse, double scale) {
  check_slots(options, reuse, false, scale);
}

static facet_encoder_options with(int64_t n_recent, int64_t n_layers, int64_t heads, int scale) {
  return (facet_encoder_options){
      .n_recent = n_recent, .n_layers = n_layers, .heads = heads, .ffn_factor = FACTOR, .attention_scale = scale};
}

Test(encoder, recent_events) {
  check(with(4, 2, 2, FACET_SCALE_HEAD), false, 1 / sqrt(3));
}
Test(encoder, more_recent_events_than_slots) {
  check(with(100, 3, 3, FACET_SCALE_HEAD), false, 1 / sqrt(2));
}
Test(encoder, one_layer_scaled_by_keys) {
  check(with(3, 1, 1, FACET_SCALE_KEYS), false, 1 / sqrt(4));
}
Test(encoder, scaled_by_keys_where_slots_are_fewer) {
  check(with(50, 2, 1, FACET_SCALE_KEYS), false, 1 / sqrt(L + 1));
}
Test(encoder, without_a_length_every_slot_counts) {
  check_slots(with(4, 2, 2, FACET_SCALE_KEYS), false, true, 1 / sqrt(5));
}
Test(encoder, norms_and_cross_attention_of_a_denoiser) {
  check(with(4, 2, 2, FACET_SCALE_KEYS), true, 1 / sqrt(5));
}

static bool has_parameter(const fixture *x, const char *part) {
  for (int i = 0; i < facet_parameters_n_dense(x->f.parameters); i++)
    if (strstr(facet_parameters_dense(x->f.parameters, i)->name, part)) return true;
  return false;
}

Test(encoder, parameters_and_the_row_of_the_last_layer) {
  fixture x;
  open(&x, with(4, 2, 2, FACET_SCALE_HEAD), false, false);
  cr_assert(has_parameter(&x, "st.0.norm1.gamma") && has_parameter(&x, "st.1.norm3.beta"));
  cr_assert(!has_parameter(&x, "norm2") && !has_parameter(&x, "cross") && !has_parameter(&x, "self.q.bias"));
  static const struct {
    const char *node;
    int64_t rows;
  } expected[] = {{"st.0.ffn.0", 5},
                  {"st.1.self.k", 2},
                  {"st.1.self.q", 1},
                  {"st.1.self.v", 1},
                  {"st.1.ffn.0", 1}}; /* the key's map: a row a head */
  enum { N_EXPECTED = sizeof expected / sizeof expected[0] };
  int n_found = 0;
  for (int64_t i = 0; i < facet_graph_n_nodes(x.f.graph); i++)
    for (int k = 0; k < N_EXPECTED; k++) {
      const facet_node *node = x.f.graph->node[i];
      if (strcmp(node->name, expected[k].node) != 0) continue;
      n_found++;
      cr_assert_eq(node->out[0]->shape.dim[1], expected[k].rows, "%s", node->name);
    }
  cr_assert_eq(n_found, N_EXPECTED);
  test_fixture_close(&x.f);
  open(&x, with(4, 2, 2, FACET_SCALE_HEAD), true, false);
  cr_assert(has_parameter(&x, "denoiser.1.norm2.gamma") && has_parameter(&x, "st.1.cross.v.weight"));
  cr_assert(!has_parameter(&x, "st.0.norm") && !has_parameter(&x, "cross.q"));
  test_fixture_close(&x.f);
}

static void expect_failure(facet_encoder_options options, int64_t width, const char *text) {
  test_fixture f = test_fixture_open(B);
  facet_tensor *target =
      facet_graph_input(f.graph, "t", FACET_DTYPE_REAL, facet_shape_make(2, (int64_t)B, width), false);
  facet_tensor *events =
      facet_graph_input(f.graph, "e", FACET_DTYPE_REAL, facet_shape_make(3, (int64_t)B, (int64_t)L, (int64_t)D), false);
  facet_tensor *length = facet_graph_input(f.graph, "n", FACET_DTYPE_INT32, facet_shape_make(1, (int64_t)B), false);
  cr_assert_null(facet_block_encoder(f.graph, "st", target, events, length, &options));
  test_expect_error(facet_graph_status(f.graph), FACET_ERROR_USAGE, text);
  test_fixture_close(&f);
}
Test(encoder, wrong_arguments) {
  expect_failure(with(4, 2, 2, 0), D + 1, "the target is [5, 7] and the events [5, 6, 6], expected [B, d] and");
  expect_failure(with(0, 2, 2, 0), D, "0 recent events, 2 layers");
  expect_failure(with(4, 0, 2, 0), D, "0 layers");
  expect_failure(with(4, 2, 4, 0), D, "4 heads do not divide");
}
