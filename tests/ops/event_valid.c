#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *three(facet_graph *graph, facet_tensor *const *in) {
  return facet_event_valid(graph, "x", in[0], in[1], 3);
}
static facet_tensor *none(facet_graph *graph, facet_tensor *const *in) {
  return facet_event_valid(graph, "x", in[0], in[1], 0);
}

Test(event_valid, by_hand) { /* lengths 2, 0, 3, and 2 of a padded row */
  harness_run(&(harness_case){.build = three,
                              .batch = 4,
                              .n_valid = 3,
                              .no_gradient = true,
                              .input = {{"valid", {1, {4}}, .values = (double[]){1, 1, 1, 0}, .keep = true},
                                        {"length", {1, {4}}, .ids = (int32_t[]){2, 0, 3, 2}}},
                              .expected = (double[]){1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0}});
}

Test(event_valid, wrong_arguments) {
  const harness_input valid = {.name = "valid", .shape = {1, {2}}},
                      length = {"length", {1, {2}}, .ids = (int32_t[]){1, 1}};
  harness_fails(&(harness_case){.build = three, .batch = 2, .input = {{"valid", {2, {2, 1}}}, length}},
                "valid is [2, 1], expected real [B]");
  harness_fails(&(harness_case){.build = three, .batch = 2, .input = {valid, {"length", {1, {2}}}}},
                "length is [2], expected int32 [B] for valid [2]");
  harness_fails(&(harness_case){.build = none, .batch = 2, .input = {valid, length}}, "0 slots, expected at least 1");
}
