/* The model din on hand-made schemas and batches; tests/python/din_golden.py compares it with another implementation. */
#include <criterion/criterion.h>

#include "facet/memory.h"
#include "facet/options.h"
#include "model_fixture.h"
#include "operators.h"

#define SMALL "mlp=[9, 5]", "attention=[7]", "embedding_init=0.5", "activation=tanh"

Test(din, gradients) {
  test_expect_gradients("din", true, true, (const char *[]){SMALL, NULL});
  test_expect_gradients("din", true, true, (const char *[]){SMALL, "attention_activation=swish", "softmax=true", NULL});
  test_expect_gradients("din", true, false, (const char *[]){SMALL, "attention=[7, 4]", "softmax=true", NULL});
#ifdef FACET_DOUBLE
  test_expect_gradients("din", true, true, (const char *[]){SMALL, "attention_activation=prelu", NULL});
  test_expect_gradients("din", true, false,
                        (const char *[]){"activation=dice", "batch_norm=true", "mlp=[9]", "attention=[7, 4]", NULL});
#endif
}

Test(din, poison_does_not_change_results) {
  test_expect_poison_changes_nothing("din", (const char *[]){"dropout=0.2", "mlp=[8]", "attention=[7, 4]", NULL});
}

Test(din, programs_share_parameters_and_scores) {
  test_model m;
  test_open_model(&m, "din", true, true, (const char *[]){"dropout=0.5", "mlp=[8]", NULL});
  test_expect_same_scores(&m);
  /* history shares the tables of items (6) and tags (3) with the target, carts that of items; 9 of the item, 20 · 3 of
   * the context, 5 + 2 floats, and both interests */
  cr_assert_eq(test_dense_parameter(&m, "history.attention.0.weight")->shape.dim[0], 4 * 9);
  cr_assert_eq(test_dense_parameter(&m, "carts.attention.0.weight")->shape.dim[0], 4 * 6);
  cr_assert_eq(test_dense_parameter(&m, "mlp.0.weight")->shape.dim[0], 9 + 60 + 7 + 9 + 6);
  test_close_model(&m);
}

static void expect_no_model(test_schema *s, const char *set, const char *message) {
  const facet_model *model = facet_model_find("din");
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  char *options = facet_memory_alloc(1, model->options.struct_bytes, "options");
  EXPECT_OK(facet_options_default(&model->options, options));
  if (set) EXPECT_OK(facet_options_set(&model->options, "attention", set, "test", options));
  EXPECT_OK(facet_parameters_create(&parameters));
  test_expect_error(
      facet_model_build(model, options, FACET_PROGRAM_TRAIN, &s->schema, TEST_BATCH, 0, parameters, &graph),
      FACET_ERROR_USAGE, message);
  cr_assert_null(graph);
  facet_parameters_destroy(&parameters);
  facet_memory_free(options);
}

Test(din, what_it_cannot_do_without) {
  const char *no_pair = "models/din.c: schema schema.yaml has no sequence with a feature that shares its embedding";
  test_schema s;
  test_make_schema(&s, false, true);
  expect_no_model(&s, NULL, no_pair);
  test_make_schema(&s, true, true);
  for (int i = 0; i < s.schema.n_features; i++)
    if (s.feature[i].role == FACET_ROLE_BEHAVIOUR && s.feature[i].embedding) s.feature[i].embedding = "another";
  for (int i = 0; i < s.schema.n_features; i++) /* one width per table */
    if (s.feature[i].role == FACET_ROLE_BEHAVIOUR && s.feature[i].vocabulary == 1) s.feature[i].embedding = "third";
  expect_no_model(&s, NULL, no_pair);
  test_make_schema(&s, true, true);
  expect_no_model(&s, "[]", "models/din.c: model.attention is empty, expected one hidden layer at least");
}
