#include <criterion/criterion.h>

#include <math.h>

#include "harness.h"

#define BUILD(function, activation)                                                                                    \
  static facet_tensor *function(facet_graph *graph, facet_tensor *const *in) {                                         \
    return facet_activate(graph, "x", in[0], activation);                                                              \
  }
BUILD(none, FACET_ACTIVATION_NONE)
BUILD(relu, FACET_ACTIVATION_RELU)
BUILD(sigmoid, FACET_ACTIVATION_SIGMOID)
BUILD(swish, FACET_ACTIVATION_SWISH)
BUILD(hyperbolic, FACET_ACTIVATION_TANH)

static const double x[] = {-2, -0.5, 0.25, 3};

static void run(facet_tensor *(*build)(facet_graph *, facet_tensor *const *), const double *expected,
                const double *gradient) {
  harness_run(&(harness_case){.build = build,
                              .batch = 4,
                              .n_valid = 4,
                              .input = {{"in", {2, {4, 1}}, .values = x, .differentiable = true}},
                              .expected = expected,
                              .expected_gradient = gradient});
  harness_run(&(harness_case){/* longer than one chunk, with padding */
                              .build = build,
                              .batch = 3,
                              .n_valid = 2,
                              .input = {{"in", {2, {3, 300}}, .differentiable = true}}});
}

Test(activation, none) {
  run(none, x, (double[]){1, 1, 1, 1});
}
Test(activation, relu) {
  run(relu, (double[]){0, 0, 0.25, 3}, (double[]){0, 0, 1, 1});
}

Test(activation, sigmoid) {
  double y[4], d[4];
  for (int i = 0; i < 4; i++) y[i] = 1 / (1 + exp(-x[i])), d[i] = y[i] * (1 - y[i]);
  run(sigmoid, y, d);
}

Test(activation, swish) {
  double y[4], d[4];
  for (int i = 0; i < 4; i++) {
    double s = 1 / (1 + exp(-x[i]));
    y[i] = x[i] * s;
    d[i] = s + x[i] * s * (1 - s);
  }
  run(swish, y, d);
}

Test(activation, tanh) {
  double y[4], d[4];
  for (int i = 0; i < 4; i++) y[i] = tanh(x[i]), d[i] = 1 / (cosh(x[i]) * cosh(x[i]));
  run(hyperbolic, y, d);
}

Test(activation, wrong_type) {
  harness_fails(&(harness_case){.build = relu, .batch = 1, .input = {{"in", {1, {1}}, .ids = (int32_t[]){1}}}},
                "expected real");
}
