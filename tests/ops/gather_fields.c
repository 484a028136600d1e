#include <criterion/criterion.h>

#include "harness.h"

/* Row r of the first table is (10 r, 10 r + 1), of the second (r, 2 r, 3 r); row 0 holds junk that must never be read. */
static const double rows_a[] = {99, 98, 10, 11, 20, 21, 30, 31, 40, 41};
static const double rows_b[] = {97, 96, 95, 1, 2, 3, 2, 4, 6};

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  facet_tensor *table[] = {facet_graph_table(graph, "a", 5, 2, (facet_init){FACET_INIT_NORMAL, 0.1}),
                           facet_graph_table(graph, "b", 3, 3, (facet_init){FACET_INIT_NORMAL, 0.1})};
  return facet_gather_fields(graph, "x", table, in, 2);
}

Test(gather_fields, values) {
  harness_run(&(harness_case){
      .build = build,
      .batch = 3,
      .input = {{"ids", {1, {3}}, .ids = (int32_t[]){3, 0, 1}}, {"other", {1, {3}}, .ids = (int32_t[]){2, 1, 0}}},
      .value = {{"a", rows_a}, {"b", rows_b}},
      .expected = (double[]){30, 31, 2, 4, 6, 0, 0, 1, 2, 3, 10, 11, 0, 0, 0}});
}

Test(gather_fields, sequences_of_many_chunks) { /* 390 positions */
  static int32_t ids[390], other[390];
  for (int i = 0; i < 390; i++) {
    ids[i] = (i * 7 + i / 10) % 5;
    other[i] = (i / 3) % 3;
  }
  harness_run(&(harness_case){.build = build,
                              .batch = 30,
                              .input = {{"ids", {2, {30, 13}}, .ids = ids}, {"other", {2, {30, 13}}, .ids = other}}});
}

/* The same table twice, and the widths whose copies are inlined. */
static facet_tensor *build_wide(facet_graph *graph, facet_tensor *const *in) {
  facet_tensor *four = facet_graph_table(graph, "four", 5, 4, (facet_init){FACET_INIT_NORMAL, 1});
  facet_tensor *eight = facet_graph_table(graph, "eight", 3, 8, (facet_init){FACET_INIT_NORMAL, 1});
  facet_tensor *sixteen = facet_graph_table(graph, "sixteen", 3, 16, (facet_init){FACET_INIT_NORMAL, 1});
  return facet_gather_fields(graph, "x", (facet_tensor *[]){four, eight, sixteen, eight},
                             (facet_tensor *[]){in[0], in[1], in[1], in[1]}, 4);
}

Test(gather_fields, common_widths_and_a_table_twice) {
  harness_run(&(harness_case){.build = build_wide,
                              .batch = 4,
                              .input = {{"ids", {1, {4}}, .ids = (int32_t[]){3, 0, 1, 4}},
                                        {"other", {1, {4}}, .ids = (int32_t[]){2, 1, 0, 1}}}});
}

Test(gather_fields, wrong_shapes) {
  harness_case test = {
      .build = build,
      .batch = 2,
      .input = {{"ids", {1, {2}}, .ids = (int32_t[]){1, 2}}, {"other", {2, {2, 1}}, .ids = (int32_t[]){1, 1}}}};
  harness_fails(&test, "ids 1 are int32 [2, 1], expected int32 [2]");
  test.input[1] = (harness_input){.name = "other", .shape = {1, {2}}};
  harness_fails(&test, "ids 1 are real [2], expected int32 [2]");
  test.input[0] = (harness_input){.name = "ids", .shape = {3, {2, 1, 1}}, .ids = (int32_t[]){1, 2}};
  harness_fails(&test, "ids are [2, 1, 1], expected [B] or [B, L]");
}

Test(gather_fields, cost) {
  facet_cost cost = harness_cost(&(harness_case){
      .build = build,
      .batch = 2,
      .input = {{"ids", {1, {2}}, .ids = (int32_t[]){1, 2}}, {"other", {1, {2}}, .ids = (int32_t[]){1, 1}}}});
  cr_assert_eq(cost.forward_flops, 0);
  cr_assert_eq(cost.forward_bytes, 2 * 2 * 4 + 2 * 2 * 5 * sizeof(facet_real));
}
