#include "facet/executor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "facet/environment.h"
#include "facet/memory.h"
#include "facet/table.h"
#include "random_graph.h"

static facet_shape matrix(int64_t n, int64_t m) {
  return facet_shape_make(2, n, m);
}

/* loss = weight · mean((x w)²), x [2, 2], w [2, 1]. */
static test_fixture square_loss(double weight) {
  test_fixture f = test_fixture_open(2);
  facet_tensor *x = facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, matrix(2, 2), true);
  facet_tensor *w = facet_graph_parameter(f.graph, "w", matrix(2, 1), (facet_init){FACET_INIT_CONSTANT, 3}, true);
  facet_tensor *y = test_binary(f.graph, &test_matmul, "y", x, w);
  facet_graph_output(f.graph, "logit", y);
  facet_tensor *l = test_unary(f.graph, &test_mean, "l", test_unary(f.graph, &test_square, "y2", y));
  facet_graph_loss(f.graph, "square", l, weight);
  facet_graph_monitor(f.graph, "same", l);
  test_fixture_compile(&f, true);
  memcpy(facet_executor_input(f.executor, "x"), (facet_real[]){1, 2, 0, -1}, 4 * sizeof(facet_real));
  return f;
}

Test(executor, forward_and_backward_by_hand) {
  /* y = (9, −3), loss = 45, dL/dy = y, dL/dw = xᵀ y = (9, 21), dL/dx = y wᵀ */
  test_fixture f = square_loss(1);
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  cr_assert_eq(facet_executor_n_losses(f.executor), 1);
  cr_assert_str_eq(facet_executor_loss_name(f.executor, 0), "square");
  cr_assert_eq(facet_executor_loss(f.executor, 0), 45);
  cr_assert_eq(facet_executor_n_monitors(f.executor), 1);
  cr_assert_eq(facet_executor_monitor(f.executor, 0), 45);
  facet_real y[2];
  EXPECT_OK(facet_executor_output(f.executor, "logit", y, 2));
  cr_assert(y[0] == 9 && y[1] == -3);
  EXPECT_OK(facet_executor_backward(f.executor, 1));
  const facet_real *dw = facet_parameters_gradients(f.parameters);
  cr_assert(dw[0] == 9 && dw[1] == 21, "%g %g", (double)dw[0], (double)dw[1]);
  const facet_real *dx = facet_executor_input_gradient(f.executor, "x");
  cr_assert(dx[0] == 27 && dx[1] == 27 && dx[2] == -9 && dx[3] == -9);
  test_fixture_close(&f);
}

Test(executor, seed_and_weight_scale_and_gradients_accumulate) {
  test_fixture f = square_loss(0.5);
  for (int k = 0; k < 2; k++) {
    EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
    EXPECT_OK(facet_executor_backward(f.executor, 4));
  }
  cr_assert_eq(facet_executor_loss(f.executor, 0), 45, "without its weight");
  cr_assert_eq(facet_executor_total_loss(f.executor), 22.5);
  const facet_real *dw = facet_parameters_gradients(f.parameters);
  cr_assert(dw[0] == 36 && dw[1] == 84, "2 · 4 · 0.5 · (9, 21)");
  cr_assert_eq(facet_executor_input_gradient(f.executor, "x")[0], 54, "of the last backward only");
  test_fixture_close(&f);
}

Test(executor, gradients_of_a_shared_parameter_add) { /* as by hand, twice: the second node asks for "w" by its name */
  test_fixture f = test_fixture_open(2);
  facet_tensor *x = facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, matrix(2, 2), false), *loss[2];
  for (int i = 0; i < 2; i++) {
    facet_tensor *w = facet_graph_parameter(f.graph, "w", matrix(2, 1), (facet_init){FACET_INIT_CONSTANT, 3}, true);
    facet_tensor *y = test_binary(f.graph, &test_matmul, facet_graph_name(f.graph, "y%d", i), x, w);
    facet_tensor *y2 = test_unary(f.graph, &test_square, facet_graph_name(f.graph, "square%d", i), y);
    loss[i] = test_unary(f.graph, &test_mean, facet_graph_name(f.graph, "l%d", i), y2);
    facet_graph_loss(f.graph, facet_graph_name(f.graph, "loss%d", i), loss[i], i ? 10 : 1);
  }
  test_fixture_compile(&f, true);
  memcpy(facet_executor_input(f.executor, "x"), (facet_real[]){1, 2, 0, -1}, 4 * sizeof(facet_real));
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  EXPECT_OK(facet_executor_backward(f.executor, 1));
  const facet_real *dw = facet_parameters_gradients(f.parameters);
  cr_assert(dw[0] == 99 && dw[1] == 231, "%g %g, expected 11 · (9, 21)", (double)dw[0], (double)dw[1]);
  char *text = NULL;
  size_t n = 0;
  FILE *stream = open_memstream(&text, &n);
  facet_graph_print(f.graph, stream);
  fclose(stream);
  const char *total = strstr(text, "\ntotal");
  long long n_parameters = -1;
  cr_assert(total && sscanf(total, " total %lld", &n_parameters) == 1 && n_parameters == 2, "%s", text);
  free(text);
  test_fixture_close(&f);
}

Test(executor, an_unused_output_has_a_zero_gradient) {
  test_fixture f = test_fixture_open(2);
  facet_tensor *x = facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, matrix(2, 2), true), *outs[FACET_OP_MAX_OUTPUTS];
  facet_graph_node(f.graph, &test_split, "split", &x, 1, NULL, outs);
  facet_graph_loss(f.graph, "m", test_unary(f.graph, &test_mean, "m", outs[0]), 1);
  test_fixture_compile(&f, true);
  facet_environment_set(&(facet_environment){.poison = true});
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  EXPECT_OK(facet_executor_backward(f.executor, 1));
  cr_assert_eq(facet_executor_input_gradient(f.executor, "x")[0], (facet_real)0.25);
  test_fixture_close(&f);
}

Test(executor, table_gradients_are_reduced) {
  test_fixture f = test_fixture_open(3);
  facet_tensor *ids = facet_graph_input(f.graph, "ids", FACET_DTYPE_INT32, facet_shape_make(1, (int64_t)3), false);
  facet_tensor *table = facet_graph_table(f.graph, "t", 6, 2, (facet_init){FACET_INIT_CONSTANT, 1});
  facet_tensor *sum = test_binary(f.graph, &test_add, "sum", test_binary(f.graph, &test_lookup, "a", table, ids),
                                  test_binary(f.graph, &test_lookup, "b", table, ids));
  facet_graph_loss(f.graph, "m", test_unary(f.graph, &test_mean, "m", sum), 6);
  test_fixture_compile(&f, true);
  memcpy(facet_executor_input(f.executor, "ids"), (int32_t[]){4, 0, 4}, 3 * sizeof(int32_t));
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  EXPECT_OK(facet_executor_backward(f.executor, 1));
  const facet_sparse_gradient *gradient = facet_table_gradient(facet_parameters_table(f.parameters, 0));
  cr_assert_eq(gradient->n, 1, "padding has no gradient");
  cr_assert_eq(gradient->slot[0], 4);
  cr_assert_eq(gradient->rows[1], 4, "two samples, two lookups");
  test_fixture_close(&f);
}

/* Loss, parameter gradients and input gradient of a random graph. */
static void run_random(uint64_t seed, bool keep_all, bool poison, double *loss, facet_real **gradient, int64_t *n) {
  facet_environment_set(&(facet_environment){.poison = poison});
  test_fixture f = test_fixture_open(4);
  test_random_graph(f.graph, seed, 30, keep_all);
  test_fixture_compile(&f, true);
  test_random_inputs(f.executor, seed);
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  EXPECT_OK(facet_executor_backward(f.executor, 1));
  *loss = facet_executor_total_loss(f.executor);
  const facet_sparse_gradient *rows = facet_table_gradient(facet_parameters_table(f.parameters, 0));
  int64_t n_dense = facet_parameters_n_elements(f.parameters);
  *n = n_dense + rows->n * 24;
  cr_assert_eq(FACET_ALLOC(*gradient, *n, "test"), FACET_OK);
  memcpy(*gradient, facet_parameters_gradients(f.parameters), (size_t)n_dense * sizeof(facet_real));
  memcpy(*gradient + n_dense, rows->rows, (size_t)(*n - n_dense) * sizeof(facet_real));
  test_fixture_close(&f);
}

Test(executor, packing_and_poison_do_not_change_results) {
  for (uint64_t seed = 0; seed < 30; seed++) {
    double loss[3];
    facet_real *gradient[3];
    int64_t n[3];
    run_random(seed, true, false, &loss[0], &gradient[0], &n[0]); /* activations share nothing */
    run_random(seed, false, false, &loss[1], &gradient[1], &n[1]);
    run_random(seed, false, true, &loss[2], &gradient[2], &n[2]);
    for (int k = 1; k < 3; k++) {
      cr_assert_eq(n[k], n[0]);
      cr_assert(loss[k] == loss[0] && isfinite(loss[0]), "seed %d, run %d: %g, expected %g", (int)seed, k, loss[k],
                loss[0]);
      cr_assert_eq(memcmp(gradient[k], gradient[0], (size_t)n[0] * sizeof(facet_real)), 0, "seed %d, run %d", (int)seed,
                   k);
    }
    for (int k = 0; k < 3; k++) facet_memory_free(gradient[k]);
  }
}

Test(executor, misuse_is_an_error) {
  test_fixture f = square_loss(1);
  test_expect_error(facet_executor_backward(f.executor, 1), FACET_ERROR_INTERNAL, "without a forward");
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  facet_real y[3];
  test_expect_error(facet_executor_output(f.executor, "logit", y, 3), FACET_ERROR_INTERNAL, "[2, 1]");
  test_expect_error(facet_executor_output(f.executor, "score", y, 2), FACET_ERROR_INTERNAL, "no output \"score\"");
  facet_executor *other = NULL;
  EXPECT_OK(facet_executor_create(f.graph, f.device, false, &other));
  EXPECT_OK(facet_executor_forward(other, NULL, &f.run));
  test_expect_error(facet_executor_backward(other, 1), FACET_ERROR_INTERNAL, "without backward");
  facet_executor_destroy(&other);
  test_fixture_close(&f);
}

/* ---- debugging ---- */

Test(executor, find_nonfinite_names_the_first) {
  test_fixture f = square_loss(1);
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  EXPECT_OK(facet_executor_find_nonfinite(f.executor));
  facet_real *x = facet_executor_input(f.executor, "x");
  x[3] = (facet_real)INFINITY;
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  test_expect_error(facet_executor_find_nonfinite(f.executor), FACET_ERROR_NONFINITE,
                    "input \"x\" is the first that is not finite: element [1, 1] of [2, 2] is inf");
  x[3] = (facet_real)(sizeof(facet_real) == 4 ? 1e30 : 1e300);
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  test_expect_error(facet_executor_find_nonfinite(f.executor), FACET_ERROR_NONFINITE, "node \"y2\" is the first");
  facet_parameters_values(f.parameters)[1] = (facet_real)NAN;
  test_expect_error(facet_executor_find_nonfinite(f.executor), FACET_ERROR_NONFINITE, "parameter \"w\"");
  test_fixture_close(&f);
}

/* x → center (a state that moves) → w → `op` → mean, plus a table. */
static test_fixture checked(const facet_op *op) {
  test_fixture f = test_fixture_open(4);
  facet_tensor *x = facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, matrix(4, 24), false);
  facet_tensor *ids = facet_graph_input(f.graph, "ids", FACET_DTYPE_INT32, facet_shape_make(1, (int64_t)4), false);
  facet_tensor *mean =
      facet_graph_state(f.graph, "mean", facet_shape_make(1, (int64_t)24), (facet_init){FACET_INIT_CONSTANT, 1});
  facet_tensor *table = facet_graph_table(f.graph, "t", 10, 24, (facet_init){FACET_INIT_NORMAL, 0.5});
  facet_tensor *w = facet_graph_parameter(f.graph, "w", matrix(24, 24), (facet_init){FACET_INIT_NORMAL, 0.2}, true);
  facet_tensor *sum = test_binary(f.graph, &test_add, "sum", test_binary(f.graph, &test_center, "c", x, mean),
                                  test_binary(f.graph, &test_lookup, "rows", table, ids));
  facet_tensor *y = test_unary(f.graph, op, "y", test_binary(f.graph, &test_matmul, "sum.w", sum, w));
  facet_graph_loss(f.graph, "l", test_unary(f.graph, &test_mean, "l", y), 1);
  test_fixture_compile(&f, true);
  test_random_inputs(f.executor, 4);
  return f;
}

Test(executor, states_move_in_training_only) {
  test_fixture f = checked(&test_square);
  facet_real *mean = facet_parameters_state_values(f.parameters), before = mean[0];
  f.run.training = false;
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  cr_assert_eq(mean[0], before);
  f.run.training = true;
  EXPECT_OK(facet_executor_forward(f.executor, NULL, &f.run));
  facet_real moved = mean[0];
  cr_assert_neq(moved, before);
  EXPECT_OK(facet_executor_find_nonfinite(f.executor));
  cr_assert_eq(mean[0], moved, "looking for non-finite values puts states back");
  test_fixture_close(&f);
}

Test(executor, check_gradients_accepts_right_and_refuses_wrong) {
  char *text = NULL;
  size_t n = 0;
  FILE *stream = open_memstream(&text, &n);
  test_fixture f = checked(&test_square);
  facet_real before = facet_parameters_state_values(f.parameters)[0], w = facet_parameters_values(f.parameters)[5];
  EXPECT_OK(facet_executor_check_gradients(f.executor, NULL, &f.run, 3, FACET_CHECK_TOLERANCE, stream));
  cr_assert_eq(facet_parameters_state_values(f.parameters)[0], before, "states are put back");
  cr_assert_eq(facet_parameters_values(f.parameters)[5], w, "parameters are put back");
  cr_assert_eq(facet_parameters_gradients(f.parameters)[5], 0, "gradients are cleared");
  cr_assert_eq(facet_table_gradient(facet_parameters_table(f.parameters, 0))->n, 0, "table gradients are cleared");
  test_fixture_close(&f);
  f = checked(&test_wrong);
  test_expect_error(facet_executor_check_gradients(f.executor, NULL, &f.run, 3, FACET_CHECK_TOLERANCE, stream),
                    FACET_ERROR_INTERNAL, "is wrong: relative error 0.5");
  fclose(stream);
  cr_assert(strstr(text, "t   ") && strstr(text, "w   ") && strstr(text, "WRONG"));
  free(text);
  test_fixture_close(&f);
}

Test(executor, check_gradients_of_random_graphs) {
  FILE *stream = fopen("/dev/null", "w");
  for (uint64_t seed = 0; seed < 4; seed++) {
    test_fixture f = test_fixture_open(4);
    test_random_graph(f.graph, seed, 12, false);
    test_fixture_compile(&f, true);
    test_random_inputs(f.executor, seed);
    EXPECT_OK(facet_executor_check_gradients(f.executor, NULL, &f.run, 2, FACET_CHECK_TOLERANCE, stream));
    test_fixture_close(&f);
  }
  fclose(stream);
}

/* ---- backends ---- */

static facet_op_kernels poor_kernels(const facet_op *op) {
  facet_op_kernels kernels = {.forward = op->forward, .backward = op->backward};
  if (op == &test_square) kernels.backward = NULL;
  if (op == &test_mean || op == &test_add) kernels = (facet_op_kernels){0};
  return kernels;
}

Test(backend, every_missing_operator_is_named) {
  facet_backend poor = facet_backend_cpu;
  poor.name = "poor";
  poor.kernels = poor_kernels;
  facet_device device = {.backend = &poor};
  test_fixture f = test_fixture_open(2);
  facet_tensor *x = facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, matrix(2, 2), true);
  facet_tensor *y = test_unary(f.graph, &test_square, "a", test_unary(f.graph, &test_square, "b", x));
  facet_graph_loss(f.graph, "l", test_unary(f.graph, &test_mean, "l", test_binary(f.graph, &test_add, "s", y, y)), 1);
  EXPECT_OK(facet_parameters_allocate(f.parameters, 17, true));
  test_expect_error(facet_executor_create(f.graph, &device, true, &f.executor), FACET_ERROR_DEVICE,
                    "backend poor lacks operators of program train: test_square (backward), test_add, test_mean");
  cr_assert_null(f.executor);
  test_expect_error(facet_executor_create(f.graph, &device, false, &f.executor), FACET_ERROR_DEVICE,
                    "train: test_add, test_mean");
  test_fixture_close(&f);
}

Test(backend, devices_by_name) {
  facet_device *device = NULL;
  test_expect_error(facet_device_open("tpu", &device), FACET_ERROR_USAGE, "device \"tpu\": expected cpu");
  test_expect_error(facet_device_open("cuda:1", &device), FACET_ERROR_DEVICE, "there is no CUDA backend");
  cr_assert_null(device);
  EXPECT_OK(facet_device_open("cpu", &device));
  facet_device_info info;
  EXPECT_OK(device->backend->query(device, &info));
  cr_assert_geq(info.n_threads, 1);
  cr_assert(strstr(info.name, "CPU, "));
  cr_assert_gt(info.memory_bytes, 0);
  facet_device_close(&device);
  cr_assert_null(device);
}
