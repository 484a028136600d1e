#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *skip(facet_graph *graph, facet_tensor *const *in) {
  return facet_channel_weight(graph, "x", in[0], in[1], in[2], true);
}
static facet_tensor *include(facet_graph *graph, facet_tensor *const *in) {
  return facet_channel_weight(graph, "x", in[0], in[1], in[2], false);
}

static void run(facet_tensor *(*build)(facet_graph *, facet_tensor *const *), const double *expected) {
  harness_run(&(harness_case){.build = build,
                              .batch = 3,
                              .n_valid = 2,
                              .no_gradient = true,
                              .input = {{"v", {1, {3}}, .values = (double[]){1, 1, 0}, .keep = true},
                                        {"w", {1, {3}}, .values = (double[]){0.5, 2, 3}, .differentiable = true},
                                        {"n", {2, {3, 2}}, .values = (double[]){1, 0, 7, 2, 4, 0}}},
                              .expected = expected});
}

Test(channel_weight, skips_empty_channels) {
  run(skip, (double[]){0.5, 0, 2, 2, 0, 0});
}

Test(channel_weight, or_counts_them) {
  run(include, (double[]){0.5, 0.5, 2, 2, 0, 0});
}

Test(channel_weight, wrong_arguments) {
  harness_case rank = {.build = skip, .batch = 2, .input = {{"v", {1, {2}}}, {"w", {1, {2}}}, {"n", {1, {2}}}}};
  harness_fails(&rank, "n_selected is [2], expected real [B, c]");
  harness_case weight = {.build = skip, .batch = 2, .input = {{"v", {1, {2}}}, {"w", {2, {2, 1}}}, {"n", {2, {2, 3}}}}};
  harness_fails(&weight, "weight is [2, 1], expected real [B] for n_selected [2, 3]");
  harness_case valid = {.build = skip, .batch = 2, .input = {{"v", {1, {3}}}, {"w", {1, {2}}}, {"n", {2, {2, 3}}}}};
  harness_fails(&valid, "valid is [3]");
}
