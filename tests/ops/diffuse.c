#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

#include "graph/graph_internal.h"
#include "harness.h"

static facet_diffusion_options schedule;
static int64_t constant;

static facet_tensor *noise_and_level(facet_graph *graph, facet_tensor *const *in) {
  return facet_diffuse(graph, "x", in[0], in[1], in[2], 0, &schedule);
}
static facet_tensor *noise_only(facet_graph *graph, facet_tensor *const *in) {
  return facet_diffuse(graph, "x", in[0], in[1], NULL, constant, &schedule);
}
static facet_tensor *level_only(facet_graph *graph, facet_tensor *const *in) {
  return facet_diffuse(graph, "x", in[0], NULL, in[1], 0, &schedule);
}
static facet_tensor *neither(facet_graph *graph, facet_tensor *const *in) {
  return facet_diffuse(graph, "x", in[0], NULL, NULL, constant, &schedule);
}

static void set(int64_t levels, double first, double last, int64_t level) {
  schedule = (facet_diffusion_options){.levels = levels, .beta_first = first, .beta_last = last};
  constant = level;
}

/* T = 3, β = 0.19, 0.51, 0.83: ᾱ = 0.81, 0.3969, 0.067473; √ᾱ = 0.9, 0.63, 0.9 · 0.7 · √0.17. */
Test(diffuse, by_hand) {
  double keep[] = {0.9, 0.63, 0.63 * sqrt(0.17), 0.63};
  double add[] = {sqrt(0.19), sqrt(1 - 0.63 * 0.63), sqrt(1 - 0.63 * 0.63 * 0.17), sqrt(1 - 0.63 * 0.63)};
  double expected[8], gradient[8], x0[] = {1, 2, -3, 0, 5, 6, 1, -1}, noise[] = {1, -1, 2, 0, 1, 1, -3, 0.5};
  for (int i = 0; i < 8; i++) {
    expected[i] = keep[i / 2] * x0[i] + add[i / 2] * noise[i];
    gradient[i] = keep[i / 2];
  }
  set(3, 0.19, 0.83, 0);
  harness_run(&(harness_case){.build = noise_and_level,
                              .batch = 2,
                              .input = {{"x0", {3, {2, 2, 2}}, .values = x0, .differentiable = true},
                                        {"noise", {3, {2, 2, 2}}, .values = noise},
                                        {"level", {2, {2, 2}}, .ids = (int32_t[]){0, 1, 2, 1}}},
                              .expected = expected,
                              .expected_gradient = gradient});
}

/* Values of ᾱ for T = 1000, β = 1e-4 … 0.02, from a program with 60 decimal digits. */
Test(diffuse, levels_of_the_usual_schedule) {
  static const int32_t level[] = {0, 1, 9, 10, 99, 499, 999, 0};
  static const double alpha_bar[] = {9.999000000000000000e-1, 9.997800920720720721e-1, 9.981052047858346189e-1,
                                     9.978065725078461444e-1, 8.970181456749603637e-1, 7.858724288177823734e-2,
                                     4.035829765375683315e-5, 9.999000000000000000e-1};
  double ones[8] = {1, 1, 1, 1, 1, 1, 1, 1}, expected[8];
  for (int i = 0; i < 8; i++) expected[i] = sqrt(alpha_bar[i]);
  set(1000, 1e-4, 0.02, 0);
  harness_run(&(harness_case){
      .build = level_only,
      .batch = 4,
      .input = {{"x0", {3, {4, 2, 1}}, .values = ones, .differentiable = true}, {"level", {2, {4, 2}}, .ids = level}},
      .expected = expected,
      .expected_gradient = expected});
  for (int i = 0; i < 8; i++) expected[i] = sqrt(alpha_bar[2]) + sqrt(1 - alpha_bar[2]);
  constant = 9;
  harness_run(
      &(harness_case){.build = noise_only,
                      .batch = 4,
                      .input = {{"x0", {3, {4, 2, 1}}, .values = ones}, {"noise", {3, {4, 2, 1}}, .values = ones}},
                      .expected = expected});
}

Test(diffuse, constant_level_without_noise) {
  set(1, 0.36, 0.36, 0); /* one level: √ᾱ = 0.8 */
  harness_run(&(harness_case){.build = neither,
                              .batch = 2,
                              .input = {{"x0", {3, {2, 1, 1}}, .values = (double[]){1, -2}, .differentiable = true}},
                              .expected = (double[]){0.8, -1.6},
                              .expected_gradient = (double[]){0.8, 0.8}});
}

Test(diffuse, padded_rows) {
  static int32_t level[9 * 3];
  for (int i = 0; i < 27; i++) level[i] = i * 7 % 20;
  set(20, 0.01, 0.3, 0);
  harness_run(&(harness_case){.build = noise_and_level,
                              .batch = 9,
                              .n_valid = 6,
                              .input = {{"x0", {3, {9, 3, 4}}, .differentiable = true},
                                        {"noise", {3, {9, 3, 4}}},
                                        {"level", {2, {9, 3}}, .ids = level}}});
}

/* A level that no schedule has is an error of the call, with its place, and nothing is read at it. */
static void expect_bad_level(int32_t bad, const char *text) {
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  cr_assert_eq(facet_parameters_create(&parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 2, 0, parameters, &graph), FACET_OK);
  facet_tensor *x0 = facet_graph_input(graph, "x0", FACET_DTYPE_REAL, facet_shape_make(3, 2, 2, 1), true);
  facet_tensor *level = facet_graph_input(graph, "level", FACET_DTYPE_INT32, facet_shape_make(2, 2, 2), false);
  set(10, 0.1, 0.2, 0);
  const facet_node *node = facet_diffuse(graph, "x", x0, NULL, level, 0, &schedule)->producer;
  facet_real values[4] = {0}, y[4];
  int32_t levels[4] = {0, 9, bad, 0};
  double scratch[10];
  cr_assert_eq(node->scratch_bytes, sizeof scratch);
  facet_op_call call = {.op = node->op, .params = node->params, .n_inputs = 2, .n_outputs = 1, .scratch = scratch};
  call.in_shape[0] = x0->shape;
  call.in[0] = values;
  call.in[1] = levels;
  call.out[0] = y;
  cr_assert_eq(node->op->forward(&call), FACET_ERROR_INTERNAL);
  cr_assert(strstr(facet_error_get()->message, text), "%s", facet_error_get()->message);
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
}
Test(diffuse, level_out_of_range) {
  expect_bad_level(10, "sample 1, channel 0 is 10, expected 0 to 9");
  expect_bad_level(-1, "sample 1, channel 0 is -1, expected 0 to 9");
}

Test(diffuse, wrong_arguments) {
  harness_case test = {.build = noise_and_level,
                       .batch = 2,
                       .input = {{"x0", {3, {2, 3, 4}}},
                                 {"noise", {3, {2, 3, 4}}},
                                 {.name = "level", .shape = {2, {2, 3}}, .ids = (int32_t[]){0, 0, 0, 0, 0, 0}}}};
  set(0, 0.1, 0.2, 0);
  harness_fails(&test, "0 diffusion levels");
  set(10, 0.2, 0.1, 0);
  harness_fails(&test, "beta goes from 0.2 to 0.1");
  set(10, 0.1, 0.2, 0);
  test.input[2].shape.dim[1] = 2;
  harness_fails(&test, "the level is [2, 2], expected int32 [B, c] for x0 [2, 3, 4]");
  test.input[1].shape.dim[2] = 3;
  harness_fails(&test, "the noise is [2, 3, 3], expected real numbers like x0 [2, 3, 4]");
  test.input[1].shape.dim[2] = 4;
  test.input[1].differentiable = true;
  harness_fails(&test, "the noise noise needs a gradient");
  test.input[1].differentiable = false;
  test.input[0].shape = (facet_shape){2, {2, 3}};
  harness_fails(&test, "x0 is [2, 3], expected real [B, c, d]");
  test = (harness_case){.build = neither, .batch = 2, .input = {{"x0", {3, {2, 3, 4}}}}};
  constant = 10;
  harness_fails(&test, "level 10, expected 0 to 9");
  constant = -1;
  harness_fails(&test, "level -1");
}

Test(diffuse, cost) {
  set(10, 0.1, 0.2, 3);
  facet_cost cost = harness_cost(
      &(harness_case){.build = noise_only, .batch = 2, .input = {{"x0", {3, {2, 3, 4}}}, {"noise", {3, {2, 3, 4}}}}});
  cr_assert_eq(cost.forward_flops, 3 * 24);
  cr_assert_eq(cost.forward_bytes, 3 * 24 * sizeof(facet_real));
}
