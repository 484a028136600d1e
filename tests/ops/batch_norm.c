#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_batch_norm(graph, "x", in[0], in[1], 0.9, 1e-3);
}
static facet_tensor *bad_momentum(facet_graph *graph, facet_tensor *const *in) {
  return facet_batch_norm(graph, "x", in[0], in[1], 1.5, 1e-3);
}
static facet_tensor *variance_one(facet_graph *graph, facet_tensor *const *in) {
  return facet_batch_norm(graph, "x", in[0], in[1], 0.75, 1.0);
}

/* Values 0, 2, 4, 6 and a padded 500: mean 3, biased variance 5; with eps = 4, √(var + eps) = 3. */
static facet_tensor *eps_four(facet_graph *graph, facet_tensor *const *in) {
  return facet_batch_norm(graph, "x", in[0], in[1], 0.9, 4.0);
}

Test(batch_norm, by_hand) {
  harness_run(
      &(harness_case){.build = eps_four,
                      .batch = 5,
                      .n_valid = 4,
                      .input = {{"in", {2, {5, 1}}, .values = (double[]){0, 2, 4, 6, 500}, .differentiable = true},
                                {"valid", {1, {5}}, .values = (double[]){1, 1, 1, 1, 0}, .keep = true}},
                      .value = {{"x.gamma", (double[]){3}}, {"x.beta", (double[]){10}}},
                      .expected = (double[]){7, 9, 11, 13, 507},
                      .expected_gradient = (double[]){0, 0, 0, 0, 0}, /* a constant added to all outputs is removed */
                      .expected_state = {{"x.mean", (double[]){0.3}}, {"x.variance", (double[]){0.9 + 0.1 * 5}}}});
}

Test(batch_norm, gradients) {
  static double valid[70];
  for (int i = 0; i < 67; i++) valid[i] = 1;
  harness_run(&(harness_case){
      .build = build,
      .batch = 70,
      .n_valid = 67,
      .input = {{"in", {2, {70, 3}}, .differentiable = true}, {"valid", {1, {70}}, .values = valid, .keep = true}}});
}

Test(batch_norm, evaluation) { /* (x − 1)/√(3 + 1) with the averages, which stay */
  harness_run(&(harness_case){.build = variance_one,
                              .batch = 3,
                              .evaluate = true,
                              .input = {{"in", {2, {3, 1}}, .values = (double[]){1, 3, 5}, .differentiable = true},
                                        {"valid", {1, {3}}, .values = (double[]){1, 1, 1}, .keep = true}},
                              .value = {{"x.gamma", (double[]){2}},
                                        {"x.beta", (double[]){1}},
                                        {"x.mean", (double[]){1}},
                                        {"x.variance", (double[]){3}}},
                              .expected = (double[]){1, 3, 5},
                              .expected_gradient = (double[]){1, 1, 1},
                              .expected_state = {{"x.mean", (double[]){1}}, {"x.variance", (double[]){3}}}});
}

Test(batch_norm, no_valid_row) { /* the averages are used and stay; nothing flows back */
  harness_run(&(harness_case){.build = variance_one,
                              .batch = 2,
                              .n_valid = -1,
                              .input = {{"in", {2, {2, 1}}, .values = (double[]){5, 7}, .differentiable = true},
                                        {"valid", {1, {2}}, .values = (double[]){0, 0}, .keep = true}},
                              .value = {{"x.gamma", (double[]){1}},
                                        {"x.beta", (double[]){0}},
                                        {"x.mean", (double[]){1}},
                                        {"x.variance", (double[]){3}}},
                              .expected = (double[]){2, 3},
                              .expected_state = {{"x.mean", (double[]){1}}, {"x.variance", (double[]){3}}}});
}

Test(batch_norm, constant_column) { /* variance 0 */
  harness_run(&(harness_case){.build = eps_four,
                              .batch = 3,
                              .input = {{"in", {2, {3, 1}}, .values = (double[]){4, 4, 4}, .differentiable = true},
                                        {"valid", {1, {3}}, .values = (double[]){1, 1, 1}, .keep = true}},
                              .value = {{"x.gamma", (double[]){2}}, {"x.beta", (double[]){1}}},
                              .expected = (double[]){1, 1, 1}});
}

Test(batch_norm, wrong_shapes) {
  harness_case test = {.build = build, .batch = 2, .input = {{"in", {3, {2, 1, 1}}}, {"valid", {1, {2}}}}};
  harness_fails(&test, "x is [2, 1, 1], expected real [B, d]");
  harness_case short_valid = {.build = build, .batch = 2, .input = {{"in", {2, {2, 1}}}, {"valid", {1, {3}}}}};
  harness_fails(&short_valid, "valid is [3], expected real [B] for x [2, 1]");
  harness_case momentum = {.build = bad_momentum, .batch = 2, .input = {{"in", {2, {2, 1}}}, {"valid", {1, {2}}}}};
  harness_fails(&momentum, "momentum 1.5");
}
