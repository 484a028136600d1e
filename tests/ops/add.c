#include <criterion/criterion.h>

#include "harness.h"

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_add(graph, "x", in[0], in[1]);
}

Test(add, equal_shapes) {
  harness_run(
      &(harness_case){.build = build,
                      .batch = 2,
                      .input = {{"in", {3, {2, 2, 1}}, .values = (double[]){1, 2, 3, 4}, .differentiable = true},
                                {"z", {3, {2, 2, 1}}, .values = (double[]){10, 20, 30, 40}, .differentiable = true}},
                      .expected = (double[]){11, 22, 33, 44},
                      .expected_gradient = (double[]){1, 1, 1, 1}});
}

Test(add, one_row_to_all_rows_of_its_sample) {
  harness_run(&(harness_case){
      .build = build,
      .batch = 2,
      .input = {{"in", {3, {2, 2, 2}}, .values = (double[]){1, 2, 3, 4, 5, 6, 7, 8}, .differentiable = true},
                {"z", {2, {2, 2}}, .values = (double[]){10, 20, 30, 40}, .differentiable = true}},
      .expected = (double[]){11, 22, 13, 24, 35, 46, 37, 48},
      .expected_gradient = (double[]){1, 1, 1, 1, 1, 1, 1, 1}});
}

Test(add, padded_rows) {
  harness_run(&(harness_case){
      .build = build,
      .batch = 9,
      .n_valid = 7,
      .input = {{"in", {4, {9, 2, 3, 4}}, .differentiable = true}, {"z", {2, {9, 4}}, .differentiable = true}}});
}

Test(add, wrong_shapes) {
  harness_case test = {.build = build, .batch = 2, .input = {{"in", {3, {2, 3, 4}}}, {"z", {2, {2, 3}}}}};
  harness_fails(&test, "x is [2, 3, 4] and z [2, 3], expected equal shapes or z [B, d]");
  test.input[1].shape = (facet_shape){1, {4}};
  harness_fails(&test, "x is [2, 3, 4] and z [4]");
  test.input[1] = (harness_input){.name = "z", .shape = {1, {2}}, .ids = (int32_t[]){1, 1}};
  harness_fails(&test, "z is int32");
}

Test(add, cost) {
  facet_cost cost =
      harness_cost(&(harness_case){.build = build, .batch = 2, .input = {{"in", {3, {2, 3, 4}}}, {"z", {2, {2, 4}}}}});
  cr_assert_eq(cost.forward_flops, 24);
  cr_assert_eq(cost.forward_bytes, (2 * 24 + 8) * sizeof(facet_real));
}
