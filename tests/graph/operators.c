#include "operators.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "facet/table.h"

static int64_t elements(const facet_op_call *call) {
  return facet_shape_elements(&call->in_shape[0]);
}

static facet_status shape_same(facet_op_rule *rule) {
  for (int i = 1; i < rule->n_inputs; i++) {
    char a[64], b[64];
    FACET_OP_CHECK(rule, facet_shape_equal(&rule->in_shape[0], &rule->in_shape[i]), "inputs are %s and %s",
                   facet_shape_format(&rule->in_shape[0], a, sizeof a),
                   facet_shape_format(&rule->in_shape[i], b, sizeof b));
  }
  rule->n_outputs = 1;
  rule->out_shape[0] = rule->in_shape[0];
  return FACET_OK;
}

/* ---- matmul ---- */

static facet_status matmul_shape(facet_op_rule *rule) {
  char a[64], b[64];
  FACET_OP_CHECK(rule, rule->in_shape[0].dim[1] == rule->in_shape[1].dim[0], "x is %s, but w is %s",
                 facet_shape_format(&rule->in_shape[0], a, sizeof a),
                 facet_shape_format(&rule->in_shape[1], b, sizeof b));
  rule->n_outputs = 1;
  rule->out_shape[0] = facet_shape_make(2, rule->in_shape[0].dim[0], rule->in_shape[1].dim[1]);
  return FACET_OK;
}

static void matmul_cost(const facet_op_rule *rule, facet_cost *cost) {
  cost->forward_flops = 2.0 * (double)(facet_shape_elements(&rule->in_shape[0]) * rule->in_shape[1].dim[1]);
  cost->backward_flops = 2 * cost->forward_flops;
}

static facet_status matmul_forward(const facet_op_call *call) {
  int64_t B = call->in_shape[0].dim[0], n = call->in_shape[0].dim[1], m = call->in_shape[1].dim[1];
  const facet_real *x = call->in[0], *w = call->in[1];
  facet_real *y = call->out[0];
  for (int64_t b = 0; b < B; b++)
    for (int64_t j = 0; j < m; j++) {
      double sum = 0;
      for (int64_t i = 0; i < n; i++) sum += (double)x[b * n + i] * (double)w[i * m + j];
      y[b * m + j] = (facet_real)sum;
    }
  return FACET_OK;
}

static facet_status matmul_backward(const facet_op_call *call) {
  int64_t B = call->in_shape[0].dim[0], n = call->in_shape[0].dim[1], m = call->in_shape[1].dim[1];
  const facet_real *x = call->in[0], *w = call->in[1], *dy = call->d_out[0];
  for (int64_t b = 0; b < B; b++)
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < m; j++) {
        if (call->d_in[0]) call->d_in[0][b * n + i] += dy[b * m + j] * w[i * m + j];
        if (call->d_in[1]) call->d_in[1][i * m + j] += dy[b * m + j] * x[b * n + i];
      }
  return FACET_OK;
}

const facet_op test_matmul = {.name = "test_matmul",
                              .backward_reads = FACET_BACKWARD_READS_INPUTS,
                              .shape = matmul_shape,
                              .cost = matmul_cost,
                              .forward = matmul_forward,
                              .backward = matmul_backward};

/* ---- elementwise ---- */

static facet_status curve_shape(facet_op_rule *rule) {
  FACET_TRY(shape_same(rule));
  rule->saved_bytes = (size_t)facet_shape_elements(&rule->in_shape[0]) * sizeof(facet_real);
  return FACET_OK;
}
static facet_status curve_forward(const facet_op_call *call) {
  const facet_real *x = call->in[0];
  facet_real *y = call->out[0], *saved = call->saved;
  for (int64_t i = 0; i < elements(call); i++) {
    y[i] = x[i] + x[i] * x[i] * x[i] / 3;
    saved[i] = 1 + x[i] * x[i];
  }
  return FACET_OK;
}
static facet_status curve_backward(const facet_op_call *call) {
  const facet_real *saved = call->saved;
  for (int64_t i = 0; i < elements(call); i++) call->d_in[0][i] += call->d_out[0][i] * saved[i];
  return FACET_OK;
}
const facet_op test_curve = {
    .name = "test_curve", .shape = curve_shape, .forward = curve_forward, .backward = curve_backward};

static facet_status square_forward(const facet_op_call *call) {
  const facet_real *x = call->in[0];
  facet_real *y = call->out[0];
  for (int64_t i = 0; i < elements(call); i++) y[i] = x[i] * x[i];
  return FACET_OK;
}
static facet_status square_backward(const facet_op_call *call) {
  const facet_real *x = call->in[0];
  for (int64_t i = 0; i < elements(call); i++) call->d_in[0][i] += call->d_out[0][i] * 2 * x[i];
  return FACET_OK;
}
static facet_status wrong_backward(const facet_op_call *call) {
  const facet_real *x = call->in[0];
  for (int64_t i = 0; i < elements(call); i++) call->d_in[0][i] += call->d_out[0][i] * x[i];
  return FACET_OK;
}
const facet_op test_square = {.name = "test_square",
                              .backward_reads = FACET_BACKWARD_READS_INPUTS,
                              .shape = shape_same,
                              .forward = square_forward,
                              .backward = square_backward};
const facet_op test_wrong = {.name = "test_wrong",
                             .backward_reads = FACET_BACKWARD_READS_INPUTS,
                             .shape = shape_same,
                             .forward = square_forward,
                             .backward = wrong_backward};

static facet_status exponential_forward(const facet_op_call *call) {
  const facet_real *x = call->in[0];
  facet_real *y = call->out[0];
  for (int64_t i = 0; i < elements(call); i++) y[i] = (facet_real)exp((double)x[i]);
  return FACET_OK;
}
static facet_status exponential_backward(const facet_op_call *call) {
  const facet_real *y = call->out[0];
  for (int64_t i = 0; i < elements(call); i++) call->d_in[0][i] += call->d_out[0][i] * y[i];
  return FACET_OK;
}
const facet_op test_exponential = {.name = "test_exponential",
                                   .backward_reads = FACET_BACKWARD_READS_OUTPUTS,
                                   .shape = shape_same,
                                   .forward = exponential_forward,
                                   .backward = exponential_backward};

static facet_status add_shape(facet_op_rule *rule) {
  rule->scratch_bytes = 64;
  return shape_same(rule);
}
static facet_status add_forward(const facet_op_call *call) {
  const facet_real *a = call->in[0], *b = call->in[1];
  facet_real *y = call->out[0];
  memset(call->scratch, 7, 64);
  for (int64_t i = 0; i < elements(call); i++) y[i] = a[i] + b[i];
  return FACET_OK;
}
static facet_status add_backward(const facet_op_call *call) {
  memset(call->scratch, 9, 64);
  for (int k = 0; k < 2; k++)
    for (int64_t i = 0; call->d_in[k] && i < elements(call); i++) call->d_in[k][i] += call->d_out[0][i];
  return FACET_OK;
}
const facet_op test_add = {.name = "test_add", .shape = add_shape, .forward = add_forward, .backward = add_backward};

/* ---- mean, split, integers ---- */

static facet_status mean_shape(facet_op_rule *rule) {
  rule->n_outputs = 1;
  rule->out_shape[0] = facet_shape_make(0);
  return FACET_OK;
}
static facet_status mean_forward(const facet_op_call *call) {
  const facet_real *x = call->in[0];
  double sum = 0;
  for (int64_t i = 0; i < elements(call); i++) sum += (double)x[i];
  *(facet_real *)call->out[0] = (facet_real)(sum / (double)elements(call));
  return FACET_OK;
}
static facet_status mean_backward(const facet_op_call *call) {
  for (int64_t i = 0; i < elements(call); i++) call->d_in[0][i] += call->d_out[0][0] / (facet_real)elements(call);
  return FACET_OK;
}
const facet_op test_mean = {
    .name = "test_mean", .shape = mean_shape, .forward = mean_forward, .backward = mean_backward};

static facet_status split_shape(facet_op_rule *rule) {
  rule->n_outputs = 2;
  rule->out_shape[0] = rule->out_shape[1] = rule->in_shape[0];
  return FACET_OK;
}
static facet_status split_forward(const facet_op_call *call) {
  const facet_real *x = call->in[0];
  facet_real *a = call->out[0], *b = call->out[1];
  for (int64_t i = 0; i < elements(call); i++) {
    a[i] = x[i];
    b[i] = 2 * x[i];
  }
  return FACET_OK;
}
static facet_status split_backward(const facet_op_call *call) {
  for (int64_t i = 0; i < elements(call); i++) call->d_in[0][i] += call->d_out[0][i] + 2 * call->d_out[1][i];
  return FACET_OK;
}
const facet_op test_split = {
    .name = "test_split", .shape = split_shape, .forward = split_forward, .backward = split_backward};

static facet_status sign_shape(facet_op_rule *rule) {
  FACET_TRY(shape_same(rule));
  rule->out_dtype[0] = FACET_DTYPE_INT32;
  return FACET_OK;
}
static facet_status sign_forward(const facet_op_call *call) {
  const facet_real *x = call->in[0];
  int32_t *y = call->out[0];
  for (int64_t i = 0; i < elements(call); i++) y[i] = x[i] > 0;
  return FACET_OK;
}
const facet_op test_sign = {.name = "test_sign", .shape = sign_shape, .forward = sign_forward};

static facet_status count_shape(facet_op_rule *rule) {
  FACET_OP_CHECK(rule, rule->in_dtype[0] == FACET_DTYPE_INT32, "expected integers");
  return shape_same(rule);
}
static facet_status count_forward(const facet_op_call *call) {
  const int32_t *x = call->in[0];
  facet_real *y = call->out[0];
  for (int64_t i = 0; i < elements(call); i++) y[i] = (facet_real)x[i];
  return FACET_OK;
}
const facet_op test_count = {.name = "test_count", .shape = count_shape, .forward = count_forward};

/* ---- table and state ---- */

static facet_status lookup_shape(facet_op_rule *rule) {
  rule->n_outputs = 1;
  rule->out_shape[0] = facet_shape_make(2, rule->in_shape[1].dim[0], rule->in_shape[0].dim[1]);
  return FACET_OK;
}
static facet_status lookup_forward(const facet_op_call *call) {
  int64_t n = call->in_shape[1].dim[0], d = facet_table_width(call->table[0]);
  facet_table_view view;
  FACET_TRY(facet_table_resolve(call->table[0], call->in[1], n, &view));
  for (int64_t i = 0; i < n; i++)
    memcpy((facet_real *)call->out[0] + i * d, view.rows + view.slot[i] * d, (size_t)d * sizeof(facet_real));
  return FACET_OK;
}
static facet_status lookup_backward(const facet_op_call *call) {
  return facet_table_emit(call->table[0], call->in[1], call->in_shape[1].dim[0], 1, call->d_out[0],
                          facet_table_width(call->table[0]), NULL);
}
const facet_op test_lookup = {
    .name = "test_lookup", .shape = lookup_shape, .forward = lookup_forward, .backward = lookup_backward};

static facet_status center_shape(facet_op_rule *rule) {
  rule->n_outputs = 1;
  rule->out_shape[0] = rule->in_shape[0];
  return FACET_OK;
}
static facet_status center_forward(const facet_op_call *call) {
  int64_t B = call->in_shape[0].dim[0], n = call->in_shape[0].dim[1];
  const facet_real *x = call->in[0];
  facet_real *mean = call->in[1], *y = call->out[0];
  for (int64_t i = 0; i < B * n; i++) y[i] = x[i] - mean[i % n];
  for (int64_t j = 0; call->run->training && j < n; j++) mean[j] = (facet_real)0.5 * mean[j] + (facet_real)0.5 * x[j];
  return FACET_OK;
}
static facet_status center_backward(const facet_op_call *call) {
  for (int64_t i = 0; i < elements(call); i++) call->d_in[0][i] += call->d_out[0][i];
  return FACET_OK;
}
const facet_op test_center = {
    .name = "test_center", .shape = center_shape, .forward = center_forward, .backward = center_backward};

/* ---- helpers ---- */

facet_tensor *test_unary(facet_graph *graph, const facet_op *op, const char *name, facet_tensor *x) {
  return facet_graph_node(graph, op, name, &x, 1, NULL, NULL);
}

facet_tensor *test_binary(facet_graph *graph, const facet_op *op, const char *name, facet_tensor *a, facet_tensor *b) {
  facet_tensor *inputs[] = {a, b};
  return facet_graph_node(graph, op, name, inputs, 2, NULL, NULL);
}

test_fixture test_fixture_open(int64_t batch_size) {
  test_fixture fixture = {.run = {.training = true, .seed = 3}};
  EXPECT_OK(facet_device_open("cpu", &fixture.device));
  EXPECT_OK(facet_parameters_create(&fixture.parameters));
  EXPECT_OK(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, batch_size, 0, fixture.parameters, &fixture.graph));
  return fixture;
}

void test_fixture_compile(test_fixture *fixture, bool with_backward) {
  EXPECT_OK(facet_graph_status(fixture->graph));
  EXPECT_OK(facet_parameters_allocate(fixture->parameters, 17, true));
  EXPECT_OK(facet_executor_create(fixture->graph, fixture->device, with_backward, &fixture->executor));
  if (with_backward) EXPECT_OK(facet_executor_reserve_tables(fixture->executor, 1));
}

void test_fixture_close(test_fixture *fixture) {
  facet_executor_destroy(&fixture->executor);
  facet_graph_destroy(&fixture->graph);
  facet_parameters_destroy(&fixture->parameters);
  facet_device_close(&fixture->device);
}

void test_expect_error(facet_status actual, facet_status expected, const char *text) {
  cr_assert_eq(actual, expected, "status %d, expected %d: %s", actual, expected, facet_error_get()->message);
  cr_assert(strstr(facet_error_get()->message, text), "message \"%s\" does not contain \"%s\"",
            facet_error_get()->message, text);
}
