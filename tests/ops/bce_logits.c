#include <criterion/criterion.h>

#include <math.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_bce_logits(graph, "x", in[0], in[1], in[2], in[3]);
}

/* Logits 0 (label 1, weight 1) and log 3 (label 0, weight 3): (log 2 + 3 log 4)/4. Gradients −1/2·1/4, 3/4·3/4. */
Test(bce_logits, by_hand) {
  harness_run(
      &(harness_case){.build = build,
                      .batch = 3,
                      .n_valid = 2,
                      .input = {{"logit", {1, {3}}, .values = (double[]){0, log(3), 40}, .differentiable = true},
                                {"label", {1, {3}}, .values = (double[]){1, 0, 0}},
                                {"weight", {1, {3}}, .values = (double[]){1, 3, 1}},
                                {"valid", {1, {3}}, .values = (double[]){1, 1, 0}, .keep = true}},
                      .expected = (double[]){(log(2) + 3 * log(4)) / 4},
                      .expected_gradient = (double[]){-0.125, 0.5625, 0}});
}

Test(bce_logits, large_logits) { /* no overflow: the loss of a wrong logit of size 800 is 800 */
  harness_run(&(harness_case){.build = build,
                              .batch = 4,
                              .input = {{"logit", {2, {4, 1}}, .values = (double[]){800, -800, 800, -800}},
                                        {"label", {1, {4}}, .values = (double[]){1, 0, 0, 1}},
                                        {"weight", {1, {4}}, .values = (double[]){1, 1, 1, 1}},
                                        {"valid", {1, {4}}, .values = (double[]){1, 1, 1, 1}, .keep = true}},
                              .expected = (double[]){400}});
}

Test(bce_logits, gradients) { /* more rows than one chunk */
  static double label[300], weight[300], valid[300];
  for (int i = 0; i < 300; i++) label[i] = i % 3 == 0, weight[i] = 0.5 + i % 4, valid[i] = i < 290;
  harness_run(&(harness_case){.build = build,
                              .batch = 300,
                              .n_valid = 290,
                              .input = {{"logit", {2, {300, 1}}, .differentiable = true},
                                        {"label", {1, {300}}, .values = label},
                                        {"weight", {1, {300}}, .values = weight},
                                        {"valid", {1, {300}}, .values = valid, .keep = true}}});
}

Test(bce_logits, no_weight) {
  harness_run(&(harness_case){.build = build,
                              .batch = 2,
                              .input = {{"logit", {1, {2}}, .values = (double[]){1, 2}, .differentiable = true},
                                        {"label", {1, {2}}, .values = (double[]){1, 0}},
                                        {"weight", {1, {2}}, .values = (double[]){0, 1}},
                                        {"valid", {1, {2}}, .values = (double[]){1, 0}, .keep = true}},
                              .expected = (double[]){0},
                              .expected_gradient = (double[]){0, 0}});
}

/* Rows that do not count, by valid = 0 or by weight = 0, may hold anything: loss and gradients of `by_hand`. */
Test(bce_logits, rows_that_do_not_count_may_hold_anything) {
  harness_run(&(harness_case){.build = build,
                              .batch = 7,
                              .n_valid = 4,
                              .input = {{"logit",
                                         {1, {7}},
                                         .values = (double[]){0, NAN, log(3), INFINITY, NAN, INFINITY, -INFINITY},
                                         .differentiable = true},
                                        {"label", {1, {7}}, .values = (double[]){1, 0, 0, 1, NAN, 0, 1}},
                                        {"weight", {1, {7}}, .values = (double[]){1, 0, 3, 0, 1, 1, 1}},
                                        {"valid", {1, {7}}, .values = (double[]){1, 1, 1, 1, 0, 0, 0}, .keep = true}},
                              .expected = (double[]){(log(2) + 3 * log(4)) / 4},
                              .expected_gradient = (double[]){-0.125, 0, 0.5625, 0, 0, 0, 0}});
}

Test(bce_logits, wrong_arguments) {
  harness_case wide = {
      .build = build,
      .batch = 2,
      .input = {{"logit", {2, {2, 2}}}, {"label", {1, {2}}}, {"weight", {1, {2}}}, {"valid", {1, {2}}}}};
  harness_fails(&wide, "the logit is [2, 2], expected [B] or [B, 1]");
  harness_case length = {
      .build = build,
      .batch = 2,
      .input = {{"logit", {1, {2}}}, {"label", {1, {2}}}, {"weight", {1, {3}}}, {"valid", {1, {2}}}}};
  harness_fails(&length, "the weight is [3], expected [B] for the logit [2]");
  harness_case differentiable = {
      .build = build,
      .batch = 2,
      .input = {
          {"logit", {1, {2}}}, {"label", {1, {2}}, .differentiable = true}, {"weight", {1, {2}}}, {"valid", {1, {2}}}}};
  harness_fails(&differentiable, "label needs a gradient");
}
