#include <criterion/criterion.h>

#include <math.h>

#include "harness.h"

static facet_tensor *mean(facet_graph *graph, facet_tensor *const *in) {
  return facet_batch_reduce(graph, "x", in[0], in[1], FACET_REDUCE_MEAN);
}
static facet_tensor *minimum(facet_graph *graph, facet_tensor *const *in) {
  return facet_batch_reduce(graph, "x", in[0], in[1], FACET_REDUCE_MIN);
}
static facet_tensor *unknown(facet_graph *graph, facet_tensor *const *in) {
  return facet_batch_reduce(graph, "x", in[0], in[1], (facet_reduction)2);
}

static void run(facet_tensor *(*build)(facet_graph *, facet_tensor *const *), int64_t n_valid, double expected) {
  double valid[3] = {n_valid > 0, n_valid > 1, n_valid > 2};
  harness_run(
      &(harness_case){.build = build,
                      .batch = 3,
                      .n_valid = n_valid,
                      .no_gradient = true,
                      .input = {{"in", {2, {3, 2}}, .values = (double[]){5, 3, 4, 7, -9, 1}, .differentiable = true},
                                {"v", {1, {3}}, .values = valid, .keep = true}},
                      .expected = &expected});
}

Test(batch_reduce, mean_of_valid_rows) {
  run(mean, 3, 11.0 / 6);
  run(mean, 2, 19.0 / 4);
}

Test(batch_reduce, minimum_of_valid_rows) {
  run(minimum, 3, -9);
  run(minimum, 2, 3);
}

Test(batch_reduce, no_rows) {
  run(mean, -1, 0);
  run(minimum, -1, 0);
}

/* Runs the case again with a NaN as first, then as last element. */
static void check_nan(const facet_op_call *call, void *context) {
  (void)context;
  for (int i = 0; i < 2; i++) {
    facet_real x[] = {3, 4}, y = 0;
    x[i] = (facet_real)NAN;
    facet_op_call again = *call;
    again.in[0] = x;
    again.out[0] = &y;
    cr_assert_eq(again.op->forward(&again), FACET_OK);
    cr_assert(isnan(y));
  }
}
Test(batch_reduce, nan_comes_through) {
  harness_case test = {.build = minimum,
                       .batch = 2,
                       .no_gradient = true,
                       .input = {{"in", {1, {2}}}, {"v", {1, {2}}, .values = (double[]){1, 1}, .keep = true}}};
  harness_call(&test, check_nan, NULL);
  test.build = mean;
  harness_call(&test, check_nan, NULL);
}

Test(batch_reduce, of_a_vector) {
  harness_run(&(harness_case){.build = minimum,
                              .batch = 2,
                              .no_gradient = true,
                              .input = {{"in", {1, {2}}, .values = (double[]){2, 1}},
                                        {"v", {1, {2}}, .values = (double[]){1, 1}, .keep = true}},
                              .expected = (double[]){1}});
}

Test(batch_reduce, wrong_arguments) {
  harness_case valid = {.build = mean, .batch = 2, .input = {{"in", {2, {2, 3}}}, {"v", {1, {3}}}}};
  harness_fails(&valid, "valid is [3], expected real [B] for x [2, 3]");
  harness_case type = {.build = mean, .batch = 1, .input = {{"in", {1, {1}}, .ids = (int32_t[]){1}}, {"v", {1, {1}}}}};
  harness_fails(&type, "expected real [B, ..]");
  harness_case reduction = {.build = unknown, .batch = 1, .input = {{"in", {1, {1}}}, {"v", {1, {1}}}}};
  harness_fails(&reduction, "reduction 2");
}
