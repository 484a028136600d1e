#include <criterion/criterion.h>

#include <string.h>

#include "facet/executor.h"
#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_detach(graph, "x", in[0]);
}

Test(detach, is_the_identity) {
  harness_run(
      &(harness_case){.build = build,
                      .batch = 2,
                      .no_gradient = true,
                      .input = {{"in", {2, {2, 2}}, .values = (double[]){1, -2, 3, -4}, .differentiable = true}},
                      .expected = (double[]){1, -2, 3, -4}});
}

/* Σ_b x_b · detach(x_b): the gradient is x, not 2 x. */
Test(detach, stops_the_gradient) {
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  facet_device *device = NULL;
  facet_executor *executor = NULL;
  cr_assert_eq(facet_parameters_create(&parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 1, 0, parameters, &graph), FACET_OK);
  facet_tensor *x = facet_graph_input(graph, "in", FACET_DTYPE_REAL, facet_shape_make(2, 1, 3), true);
  facet_tensor *loss = facet_row_dot(graph, "loss", x, facet_detach(graph, "detached", x));
  facet_graph_loss(graph, "loss", loss, 1);
  cr_assert_eq(facet_graph_status(graph), FACET_OK, "%s", facet_error_get()->message);
  cr_assert_eq(facet_parameters_allocate(parameters, 1, true), FACET_OK);
  cr_assert_eq(facet_device_open("cpu", &device), FACET_OK);
  cr_assert_eq(facet_executor_create(graph, device, true, &executor), FACET_OK);
  facet_real values[] = {1, -2, 3};
  memcpy(facet_executor_input(executor, "in"), values, sizeof values);
  cr_assert_eq(facet_executor_forward(executor, NULL, &(facet_run){.training = true}), FACET_OK);
  cr_assert_eq(facet_executor_loss(executor, 0), 14);
  cr_assert_eq(facet_executor_backward(executor, 1), FACET_OK);
  const facet_real *gradient = facet_executor_input_gradient(executor, "in");
  for (int i = 0; i < 3; i++) cr_assert_eq(gradient[i], values[i]);
  facet_executor_destroy(&executor);
  facet_device_close(&device);
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
}

Test(detach, wrong_arguments) {
  harness_fails(&(harness_case){.build = build, .batch = 1, .input = {{"in", {1, {1}}, .ids = (int32_t[]){1}}}},
                "expected real [B, ..]");
}
