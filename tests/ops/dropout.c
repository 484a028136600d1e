#include <criterion/criterion.h>

#include <math.h>

#include "facet/rng.h"
#include "harness.h"

static facet_tensor *half(facet_graph *graph, facet_tensor *const *in) {
  return facet_dropout(graph, "x", in[0], 0.5);
}
static facet_tensor *tenth(facet_graph *graph, facet_tensor *const *in) {
  return facet_dropout(graph, "x", in[0], 0.1);
}
static facet_tensor *zero(facet_graph *graph, facet_tensor *const *in) {
  return facet_dropout(graph, "x", in[0], 0);
}
static facet_tensor *one(facet_graph *graph, facet_tensor *const *in) {
  return facet_dropout(graph, "x", in[0], 1);
}

/* The mask by the words of include/facet/rng.h: step 3, micro-step 1, position 100 + row (tests/ops/harness.c). */
Test(dropout, mask_from_the_counter) {
  double ones[2 * 6], expected[2 * 6];
  facet_rng_key key = facet_rng_key_make(7, "dropout/x");
  for (int b = 0; b < 2; b++)
    for (int e = 0; e < 6; e++) {
      uint32_t word[4];
      facet_rng_block(key, facet_rng_counter_train(3, 1, (uint32_t)(100 + b), (uint32_t)e / 4), word);
      ones[b * 6 + e] = 1;
      expected[b * 6 + e] = word[e % 4] >= 0x80000000u ? 2 : 0;
    }
  harness_run(&(harness_case){.build = half,
                              .batch = 2,
                              .input = {{"in", {2, {2, 6}}, .values = ones, .differentiable = true}},
                              .expected = expected,
                              .expected_gradient = expected});
}

Test(dropout, padded_rows) {
  harness_run(&(harness_case){
      .build = tenth, .batch = 9, .n_valid = 5, .input = {{"in", {3, {9, 2, 7}}, .differentiable = true}}});
}

Test(dropout, evaluation) {
  double x[] = {1, 2, 3};
  harness_run(&(harness_case){.build = half,
                              .batch = 3,
                              .evaluate = true,
                              .input = {{"in", {1, {3}}, .values = x, .differentiable = true}},
                              .expected = x,
                              .expected_gradient = (double[]){1, 1, 1}});
}

Test(dropout, probability_zero) {
  double x[] = {1, 2, 3};
  harness_run(&(harness_case){
      .build = zero, .batch = 3, .input = {{"in", {1, {3}}, .values = x, .differentiable = true}}, .expected = x});
}

Test(dropout, wrong_probability) {
  harness_fails(&(harness_case){.build = one, .batch = 2, .input = {{"in", {1, {2}}}}}, "p is 1, expected");
}
