/* The model mean_pooling on hand-made schemas and batches. */
#include <criterion/criterion.h>

#include "facet/memory.h"
#include "facet/options.h"
#include "model_fixture.h"
#include "operators.h"

Test(mean_pooling, programs_share_parameters_and_scores) {
  test_model m;
  test_open_model(&m, "mean_pooling", true, true, (const char *[]){"batch_norm=true", "dropout=0.5", NULL});
  test_expect_same_scores(&m);
  double loss = facet_executor_total_loss(m.executor[FACET_PROGRAM_EVALUATE]);
  cr_assert(loss > 0.3 && loss < 1.5, "near log 2 before training: %g", loss);
  cr_assert_eq(facet_parameters_n_tables(m.parameters), 2, "features that name one embedding share its table");
  /* 6 + 3 of the item, 20 · 3 of the context, 5 floats; history 6 + 3 + 2, carts 6 */
  const facet_parameter_info *w = test_dense_parameter(&m, "mlp.0.weight");
  cr_assert_eq(w->shape.dim[0], 9 + 60 + 5 + 11 + 6);
  cr_assert_eq(w->shape.dim[1], 256);
  test_close_model(&m);
}

/* Smooth activations in both precisions; those with a kink where a step of double precision does not cross it. */
Test(mean_pooling, gradients) {
  const char *start = "embedding_init=0.3", *small = "mlp=[12, 5]";
  test_expect_gradients("mean_pooling", true, true, (const char *[]){"activation=swish", start, small, NULL});
  test_expect_gradients("mean_pooling", true, true,
                        (const char *[]){"activation=tanh", "batch_norm=true", "dropout=0.3", start, small, NULL});
  test_expect_gradients("mean_pooling", true, false, (const char *[]){"activation=dice", start, small, NULL});
  test_expect_gradients("mean_pooling", false, true, (const char *[]){"activation=sigmoid", start, small, NULL});
  test_expect_gradients("mean_pooling", false, false, (const char *[]){"mlp=[]", start, NULL});
#ifdef FACET_DOUBLE
  test_expect_gradients("mean_pooling", true, true,
                        (const char *[]){"activation=relu", "batch_norm=true", start, small, NULL});
  test_expect_gradients("mean_pooling", true, true, (const char *[]){"activation=prelu", start, small, NULL});
#endif
}

Test(mean_pooling, poison_does_not_change_results) {
  test_expect_poison_changes_nothing("mean_pooling",
                                     (const char *[]){"batch_norm=true", "dropout=0.2", "activation=dice", NULL});
}

Test(mean_pooling, a_schema_without_features_is_an_error) {
  const facet_model *model = facet_model_find("mean_pooling");
  test_schema s;
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  char *options = facet_memory_alloc(1, model->options.struct_bytes, "options");
  test_make_schema(&s, false, false);
  s.schema.n_features = 1;
  EXPECT_OK(facet_options_default(&model->options, options));
  EXPECT_OK(facet_parameters_create(&parameters));
  test_expect_error(
      facet_model_build(model, options, FACET_PROGRAM_TRAIN, &s.schema, TEST_BATCH, 0, parameters, &graph),
      FACET_ERROR_USAGE, "models/mean_pooling.c: schema schema.yaml has no feature");
  cr_assert_null(graph);
  cr_assert_null(facet_model_find("median_pooling"));
  facet_parameters_destroy(&parameters);
  facet_memory_free(options);
}
