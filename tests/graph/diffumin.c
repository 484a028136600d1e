/* The model diffumin on hand-made schemas and batches: its parts together. The operators have their own tests, and
 * tests/python/diffumin_golden.py compares every number with another implementation. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "facet/memory.h"
#include "facet/options.h"
#include "model_fixture.h"
#include "operators.h"

/* Behaviours of the sequence carts are 6 wide. Without the stop-gradients, which no difference quotient sees, and without
 * options that leave a counted channel at r = 0, where the contrast has a kink (docs/diffumin.md). */
#define SMALL                                                                                                          \
  "history=carts", "channels=2", "steps=3", "levels=20", "mlp=[6]", "embedding_init=0.5", "diff_sg_target=false",      \
      "diff_bptt=0", "lambda_diffusion=0.5", "lambda_contrast=0.5", "cl_temperature=0.5"

Test(diffumin, gradients) {
  test_expect_gradients("diffumin", true, true, (const char *[]){SMALL, NULL});
#ifdef FACET_DOUBLE
  test_expect_gradients("diffumin", true, false,
                        (const char *[]){SMALL, "topk_scope=routed", "topk_mode=abs", "top_k=1", "agg_weight=one",
                                         "head_inputs=code", "logit_bn=true", NULL});
  test_expect_gradients("diffumin", true, true,
                        (const char *[]){SMALL, "diff_param=eps", "diff_start=uniform", "agg_denom=len",
                                         "st_encoder=reuse_diff", "attn_scale=nkv", "qr_sign=lapack", NULL});
  test_expect_gradients("diffumin", true, false,
                        (const char *[]){SMALL, "diff_param=eps_bug", "diff_out_proj=false", "diff_token_flag=false",
                                         "chan_bias=false", "head_inputs=paper", "n_layers=1", NULL});
#endif
}

Test(diffumin, poison_does_not_change_results) {
  test_expect_poison_changes_nothing("diffumin", (const char *[]){"history=carts", "channels=3", "mlp=[8]", NULL});
}

Test(diffumin, programs_share_parameters_and_scores) {
  test_model m;
  facet_real evaluated[TEST_BATCH], served[TEST_BATCH];
  facet_run run = {.seed = 3};
  test_open_model(&m, "diffumin", true, true, (const char *[]){"history=carts", "mlp=[8]", NULL});
  EXPECT_OK(facet_executor_forward(m.executor[FACET_PROGRAM_EVALUATE], m.batch, &run));
  EXPECT_OK(facet_executor_forward(m.executor[FACET_PROGRAM_SERVE], m.batch, &run));
  EXPECT_OK(facet_executor_output(m.executor[FACET_PROGRAM_EVALUATE], "logit", evaluated, TEST_BATCH));
  EXPECT_OK(facet_executor_output(m.executor[FACET_PROGRAM_SERVE], "logit", served, TEST_BATCH));
  cr_assert_eq(memcmp(evaluated, served, sizeof served), 0);
  for (int b = 0; b < TEST_ROWS; b++) cr_assert(isfinite(evaluated[b]));
  cr_assert_eq(facet_executor_n_losses(m.executor[FACET_PROGRAM_SERVE]), 0);
  cr_assert_eq(facet_executor_n_losses(m.executor[FACET_PROGRAM_EVALUATE]), 1);
  cr_assert_eq(facet_executor_n_losses(m.executor[FACET_PROGRAM_TRAIN]), 3);
  cr_assert_eq(facet_executor_n_monitors(m.executor[FACET_PROGRAM_TRAIN]), 4);
  test_close_model(&m);
}

/* Both auxiliary losses are still reported, and change no gradient. */
Test(diffumin, without_auxiliary_losses_they_are_monitors) {
  test_model m;
  test_open_model(&m, "diffumin", true, true, (const char *[]){"history=carts", "mlp=[8]", "use_aux=false", NULL});
  cr_assert_eq(facet_executor_n_losses(m.executor[FACET_PROGRAM_TRAIN]), 1);
  cr_assert_eq(facet_executor_n_monitors(m.executor[FACET_PROGRAM_TRAIN]), 6);
  facet_run run = {.training = true, .seed = 3};
  EXPECT_OK(facet_executor_forward(m.executor[FACET_PROGRAM_TRAIN], m.batch, &run));
  for (int i = 0; i < 6; i++) {
    const char *name = facet_executor_monitor_name(m.executor[FACET_PROGRAM_TRAIN], i);
    const double value = facet_executor_monitor(m.executor[FACET_PROGRAM_TRAIN], i);
    cr_assert(isfinite(value), "%s is %g", name, value);
    if (strcmp(name, "diffusion") == 0 || strcmp(name, "contrast") == 0) cr_assert(value > 0, "%s", name);
  }
  test_close_model(&m);
}

static void expect_refusal(const char *const *sets, bool sequences, const char *message) {
  const facet_model *model = facet_model_find("diffumin");
  test_schema s;
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  char *options = facet_memory_alloc(1, model->options.struct_bytes, "options");
  test_make_schema(&s, sequences, true);
  EXPECT_OK(facet_options_default(&model->options, options));
  for (; *sets; sets++) {
    char key[64];
    const char *equal = strchr(*sets, '=');
    snprintf(key, sizeof key, "%.*s", (int)(equal - *sets), *sets);
    EXPECT_OK(facet_options_set(&model->options, key, equal + 1, "test", options));
  }
  EXPECT_OK(facet_parameters_create(&parameters));
  test_expect_error(
      facet_model_build(model, options, FACET_PROGRAM_TRAIN, &s.schema, TEST_BATCH, 0, parameters, &graph),
      FACET_ERROR_USAGE, message);
  cr_assert_null(graph);
  facet_parameters_destroy(&parameters);
  facet_memory_free(options);
}

Test(diffumin, refusals_name_the_numbers) {
  expect_refusal((const char *[]){NULL}, false, "models/diffumin.c: schema schema.yaml has no sequence of behaviours");
  expect_refusal((const char *[]){"history=cart", NULL}, true, "model.history is cart, which is no sequence");
  expect_refusal((const char *[]){NULL}, true, "a behaviour is 9 wide"); /* item 6, tags 3 */
  expect_refusal((const char *[]){"history=carts", "heads=4", NULL}, true, "model.heads (4) divides");
  expect_refusal((const char *[]){"history=carts", "channels=7", NULL}, true,
                 "model.channels is 7, expected at most the width of a behaviour (6)");
  expect_refusal((const char *[]){"history=carts", "steps=30", "levels=20", NULL}, true,
                 "model.steps is 30, expected at most model.levels (20)");
  expect_refusal((const char *[]){"history=carts", "beta_first=0.1", NULL}, true, "model.beta_first is 0.1");
}
