#include <criterion/criterion.h>
#include <string.h>

#include "harness.h"

/* Row r of the 5 × 2 table is (10 r, 10 r + 1); row 0 holds junk that must never be read. */
static const double rows[] = {99, 98, 10, 11, 20, 21, 30, 31, 40, 41};

static facet_tensor *gather(facet_graph *graph, facet_tensor *ids, bool bag, facet_pooling pooling) {
  facet_tensor *table = facet_graph_table(graph, "t", 5, 2, (facet_init){FACET_INIT_NORMAL, 0.1});
  return facet_gather(graph, "x", table, ids, bag, pooling);
}
static facet_tensor *plain(facet_graph *graph, facet_tensor *const *in) {
  return gather(graph, in[0], false, FACET_POOLING_SUM);
}
static facet_tensor *mean(facet_graph *graph, facet_tensor *const *in) {
  return gather(graph, in[0], true, FACET_POOLING_MEAN);
}
static facet_tensor *sum(facet_graph *graph, facet_tensor *const *in) {
  return gather(graph, in[0], true, FACET_POOLING_SUM);
}

Test(gather, values) { /* ids [B]: repeated, and the padding id */
  harness_run(&(harness_case){.build = plain,
                              .batch = 4,
                              .input = {{"ids", {1, {4}}, .ids = (int32_t[]){3, 0, 1, 3}}},
                              .value = {{"t", rows}},
                              .expected = (double[]){30, 31, 0, 0, 10, 11, 30, 31}});
}

Test(gather, sequences) {
  harness_run(&(harness_case){.build = plain,
                              .batch = 2,
                              .input = {{"ids", {2, {2, 3}}, .ids = (int32_t[]){4, 2, 0, 2, 0, 0}}},
                              .value = {{"t", rows}},
                              .expected = (double[]){40, 41, 20, 21, 0, 0, 20, 21, 0, 0, 0, 0}});
}

Test(gather, mean_of_bags) { /* the mean counts ids other than 0, wherever they stand; an empty bag gives zeros */
  harness_run(&(harness_case){.build = mean,
                              .batch = 3,
                              .input = {{"ids", {2, {3, 3}}, .ids = (int32_t[]){1, 2, 3, 0, 4, 2, 0, 0, 0}}},
                              .value = {{"t", rows}},
                              .expected = (double[]){20, 21, 30, 31, 0, 0}});
}

Test(gather, sum_of_bags_in_sequences) {
  harness_run(&(harness_case){.build = sum,
                              .batch = 2,
                              .input = {{"ids", {3, {2, 2, 2}}, .ids = (int32_t[]){1, 2, 3, 0, 0, 0, 4, 4}}},
                              .value = {{"t", rows}},
                              .expected = (double[]){30, 32, 30, 31, 0, 0, 80, 82}});
}

Test(gather, wide_rows) { /* a width that is no multiple of eight, more ids than one chunk of the sum */
  static int32_t ids[300];
  for (int i = 0; i < 300; i++) ids[i] = (i * 7 + i / 10) % 5;
  harness_run(&(harness_case){.build = mean, .batch = 100, .input = {{"ids", {2, {100, 3}}, .ids = ids}}});
}

Test(gather, wrong_shapes) {
  harness_fails(&(harness_case){.build = plain, .batch = 2, .input = {{"ids", {1, {2}}}}}, "expected int32");
  harness_fails(&(harness_case){.build = mean, .batch = 2, .input = {{"ids", {1, {2}}, .ids = (int32_t[]){1, 1}}}},
                "ids are [2], expected [B, K] or [B, L, K]");
  harness_fails(&(harness_case){.build = plain, .batch = 1, .input = {{"ids", {3, {1, 1, 1}}, .ids = (int32_t[]){1}}}},
                "expected [B] or [B, L]");
}

Test(gather, cost) {
  facet_cost cost = harness_cost(
      &(harness_case){.build = plain, .batch = 4, .input = {{"ids", {1, {4}}, .ids = (int32_t[]){3, 0, 1, 3}}}});
  cr_assert_eq(cost.forward_bytes, 4 * 4 + 2 * 4 * 2 * sizeof(facet_real));
  cr_assert_eq(cost.backward_flops, 2 * 4 * 2);
}

/* ---- facet_embed: tables by schema ------------------------------------------------------------------------------ */

static const char *const schema_text = "facet_schema: 1\n"
                                       "name: shop\n"
                                       "embedding_width: 4\n"
                                       "vocabularies:\n"
                                       "  item: {size: 10}\n"
                                       "  genre: {size: 6}\n"
                                       "features:\n"
                                       "  label: {role: label}\n"
                                       "  item_id: {role: item, vocabulary: item}\n"
                                       "  last_id: {role: context, vocabulary: item}\n"
                                       "  genres: {role: item, vocabulary: genre, width: 3, bag: 2, pooling: sum}\n"
                                       "  price: {role: context, type: float}\n"
                                       "sequences:\n"
                                       "  history:\n"
                                       "    max_length: 5\n"
                                       "    features:\n"
                                       "      item_id: {vocabulary: item}\n";

static facet_tensor *embed(facet_graph *graph, const facet_schema *schema, const char *feature) {
  return facet_embed(graph, facet_schema_feature(schema, feature), (facet_init){FACET_INIT_NORMAL, 0.01});
}

Test(gather, embed) {
  facet_schema *schema = NULL;
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  cr_assert_eq(facet_schema_parse("schema.yaml", schema_text, &schema), FACET_OK, "%s", facet_error_get()->message);
  cr_assert_eq(facet_parameters_create(&parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, schema, 8, 0, parameters, &graph), FACET_OK);
  const facet_tensor *item = embed(graph, schema, "item_id"), *last = embed(graph, schema, "last_id");
  const facet_tensor *history = embed(graph, schema, "history.item_id"), *genres = embed(graph, schema, "genres");
  cr_assert_eq(facet_graph_status(graph), FACET_OK, "%s", facet_error_get()->message);
  facet_shape row = facet_shape_make(2, (int64_t)8, (int64_t)4),
              sequence = facet_shape_make(3, (int64_t)8, (int64_t)5, (int64_t)4);
  facet_shape narrow = facet_shape_make(2, (int64_t)8, (int64_t)3);
  cr_assert(facet_shape_equal(&item->shape, &row) && facet_shape_equal(&last->shape, &row));
  cr_assert(facet_shape_equal(&history->shape, &sequence) && facet_shape_equal(&genres->shape, &narrow));
  cr_assert_str_eq(item->name, "embed.item_id");
  cr_assert_eq(facet_parameters_n_tables(parameters), 2, "three fields share the table of items");
  cr_assert_null(embed(graph, schema, "price"));
  cr_assert_eq(facet_graph_status(graph), FACET_ERROR_USAGE);
  cr_assert(strstr(facet_error_get()->message, "feature price is of type"), "%s", facet_error_get()->message);
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
  facet_schema_destroy(&schema);
}
