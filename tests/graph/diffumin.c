/* The model diffumin on hand-made schemas and batches: its parts together. The operators have their own tests, and
 * tests/python/diffumin_golden.py compares every number with another implementation. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "facet/memory.h"
#include "facet/ops.h"
#include "facet/options.h"
#include "graph/graph_internal.h"
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
  test_open_model(&m, "diffumin", true, true, (const char *[]){"history=carts", "mlp=[8]", NULL});
  test_expect_same_scores(&m);
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

/* Ablations: which losses and monitors are left, and no parameter of what is left out. */
Test(diffumin, ablations) {
  static const struct {
    const char *set, *absent;
    int n_losses, n_monitors;
  } cases[] = {{"r_star=interest", "denoiser.", 2, 4},
               {"r_star=noise", "denoiser.", 2, 4},
               {"r_star=none", "contrast.", 1, 3},
               {"orthogonal=false", "", 3, 3}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    test_model m;
    test_open_model(&m, "diffumin", true, true, (const char *[]){"history=carts", "mlp=[8]", cases[i].set, NULL});
    cr_assert_eq(facet_executor_n_losses(m.executor[FACET_PROGRAM_TRAIN]), cases[i].n_losses, "%s", cases[i].set);
    cr_assert_eq(facet_executor_n_monitors(m.executor[FACET_PROGRAM_TRAIN]), cases[i].n_monitors, "%s", cases[i].set);
    for (int p = 0; cases[i].absent[0] && p < facet_parameters_n_dense(m.parameters); p++) {
      const char *name = facet_parameters_dense(m.parameters, p)->name;
      cr_assert_neq(strncmp(name, cases[i].absent, strlen(cases[i].absent)), 0, "%s: %s", cases[i].set, name);
    }
    test_close_model(&m);
  }
}

/* ---- formulas, from the numbers of one training step ---- */

enum { C = 2, D = 6, LEVELS = 20, STEPS = 3, N = TEST_ROWS * C }; /* channels of valid samples */

typedef struct step {
  test_model m;
  facet_executor *executor;
} step;

static step open_step(const char *const *sets) {
  step s;
  facet_run run = {.training = true, .seed = 3, .step = 1};
  test_open_model(&s.m, "diffumin", true, true, sets);
  EXPECT_OK(facet_executor_create_traced(s.m.graph[FACET_PROGRAM_TRAIN], s.m.device, &s.executor));
  EXPECT_OK(facet_executor_forward(s.executor, s.m.batch, &run));
  return s;
}

static void close_step(step *s) {
  facet_executor_destroy(&s->executor);
  test_close_model(&s->m);
}

static const void *value(const step *s, const char *name) {
  for (int64_t i = 0; i < facet_executor_n_traced(s->executor); i++) {
    const facet_traced_tensor tensor = facet_executor_traced(s->executor, i);
    if (strcmp(tensor.name, name) == 0) return tensor.value;
  }
  cr_assert_fail("no tensor %s", name);
  return NULL;
}

static double loss(const step *s, const char *name) {
  for (int i = 0; i < facet_executor_n_losses(s->executor); i++)
    if (strcmp(facet_executor_loss_name(s->executor, i), name) == 0) return facet_executor_loss(s->executor, i);
  cr_assert_fail("no loss %s", name);
  return NAN;
}

static void expect_near(double actual, double expected, const char *what) {
  cr_assert(fabs(actual - expected) <= 200 * FACET_REAL_EPSILON * (1 + fabs(expected)), "%s: %.17g, not %.17g", what,
            actual, expected);
}

/* ᾱ of the default schedule, β = 1e-4 … 0.02, over LEVELS levels. */
static double alpha_bar(int level) {
  double product = 1;
  for (int t = 0; t <= level; t++) product *= 1 - (1e-4 + (0.02 - 1e-4) * t / (LEVELS - 1));
  return product;
}

/* x = √ᾱ_t r̂ + √(1 − ᾱ_t) ε; level NULL: STEPS − 1 everywhere. */
static void expect_noised(const step *s, const char *x, const char *noise, const int32_t *level) {
  const facet_real *actual = value(s, x), *r = value(s, "interests.unit"), *e = value(s, noise);
  for (int i = 0; i < N * D; i++) {
    const double a = alpha_bar(level ? level[i / D] : STEPS - 1);
    expect_near((double)actual[i], sqrt(a) * (double)r[i] + sqrt(1 - a) * (double)e[i], x);
  }
}

static int largest(const int32_t *level) {
  int top = 0;
  for (int i = 0; i < N; i++) top = level[i] > top ? level[i] : top;
  return top;
}

#define STEP "history=carts", "channels=2", "steps=3", "levels=20", "mlp=[6]", "embedding_init=0.5"

Test(diffumin, sampling_begins_at_the_highest_sampled_level) {
  step s = open_step((const char *[]){STEP, NULL});
  expect_noised(&s, "chain.start", "chain.noise", NULL);
  close_step(&s);
}

Test(diffumin, a_uniform_start_is_in_all_levels) {
  step s = open_step((const char *[]){STEP, "diff_start=uniform", NULL});
  const int32_t *level = value(&s, "chain.level");
  cr_assert(largest(level) > LEVELS / 2 && largest(level) < LEVELS, "%d", largest(level));
  expect_noised(&s, "chain.start", "chain.noise", level);
  close_step(&s);
}

/* Σ ω (1/d) Σ_k (f − target)² / Σ ω, where target is a tensor's name. */
static void expect_diffusion_loss(const char *parameter, const char *target) {
  step s = open_step((const char *[]){STEP, parameter, NULL});
  const facet_real *f = value(&s, "diffusion.f"), *t = value(&s, target), *omega = value(&s, "channel_weight");
  double sum = 0, weights = 0;
  for (int i = 0; i < N; i++) {
    for (int k = i * D; k < (i + 1) * D; k++) sum += (double)omega[i] * pow((double)f[k] - (double)t[k], 2) / D;
    weights += (double)omega[i];
  }
  expect_near(loss(&s, "diffusion"), sum / weights, parameter);
  expect_noised(&s, "diffusion.x", "diffusion.noise", value(&s, "diffusion.level"));
  close_step(&s);
}

Test(diffumin, diffusion_loss) {
  expect_diffusion_loss("diff_param=x0", "interests.unit");
  expect_diffusion_loss("diff_param=eps", "diffusion.noise");
  expect_diffusion_loss("diff_param=eps_bug", "interests.unit");
}

Test(diffumin, levels_of_the_diffusion_loss) {
  step s = open_step((const char *[]){STEP, NULL});
  cr_assert(largest(value(&s, "diffusion.level")) > LEVELS / 2);
  close_step(&s);
  s = open_step((const char *[]){STEP, "diff_train_t=sampled", NULL});
  cr_assert_eq(largest(value(&s, "diffusion.level")), STEPS - 1);
  close_step(&s);
}

/* In the contrast of channel i, row b, over the valid rows (the schema has no user to mask). */
static double contrast_of(const facet_real *a, const facet_real *p, int b, int i, double temperature) {
  double sum = 0, own = 0;
  for (int other = 0; other < TEST_ROWS; other++) {
    double dot = 0;
    for (int k = 0; k < D; k++) dot += (double)a[(b * C + i) * D + k] * (double)p[(other * C + i) * D + k];
    if (other == b) own = dot / temperature;
    sum += exp(dot / temperature);
  }
  return log(sum) - own;
}

Test(diffumin, contrast_and_total_loss) {
  step s = open_step((const char *[]){STEP, "lambda_diffusion=0.5", "lambda_contrast=0.3", "cl_temperature=0.4", NULL});
  const facet_real *a = value(&s, "contrast.g1.unit"), *p = value(&s, "contrast.g2.unit");
  const facet_real *omega = value(&s, "channel_weight");
  double sum = 0, weights = 0;
  for (int i = 0; i < N; i++) {
    sum += (double)omega[i] * contrast_of(a, p, i / C, i % C, 0.4);
    weights += (double)omega[i];
  }
  expect_near(loss(&s, "contrast"), sum / weights, "contrast");
  expect_near(facet_executor_total_loss(s.executor),
              loss(&s, "bce") + 0.5 * loss(&s, "diffusion") + 0.3 * loss(&s, "contrast"), "total");
  close_step(&s);
}

/* ---- how the nodes are joined ---- */

static const facet_node *find_node(const test_model *m, facet_program program, const char *name) {
  for (int64_t i = 0; i < facet_graph_n_nodes(m->graph[program]); i++)
    if (strcmp(m->graph[program]->node[i]->name, name) == 0) return m->graph[program]->node[i];
  return NULL;
}

static const char *input_of(const test_model *m, const char *node, int i) {
  const facet_node *found = find_node(m, FACET_PROGRAM_TRAIN, node);
  cr_assert_not_null(found, "no node %s", node);
  return found->in[i]->name;
}

Test(diffumin, the_contrast_is_of_interests_before_and_after_the_chain) {
  test_model m;
  test_open_model(&m, "diffumin", true, true, (const char *[]){STEP, NULL});
  cr_assert_str_eq(input_of(&m, "contrast.g1.0", 0), "interests.unit");
  cr_assert_str_eq(input_of(&m, "contrast.g2.0", 0), "chain");
  test_close_model(&m);
}

Test(diffumin, reuse_diff_attends_to_the_last_channel) {
  step s = open_step((const char *[]){STEP, "st_encoder=reuse_diff", NULL});
  const facet_real *o = value(&s, "orthogonal"), *last = value(&s, "orthogonal.last");
  for (int b = 0; b < TEST_ROWS; b++) cr_assert_eq(memcmp(last + b * D, o + (b * C + C - 1) * D, D * sizeof *o), 0);
  cr_assert_str_eq(input_of(&s.m, "encoder.0.cross.v", 0), "orthogonal.last");
  close_step(&s);
}

Test(diffumin, the_share_of_behaviours_in_millionths) {
  test_model m;
  test_open_model(&m, "diffumin", true, true, (const char *[]){STEP, "top_p=0.29", NULL}); /* 0.29e6 < 290000 */
  const facet_route_options *route = find_node(&m, FACET_PROGRAM_TRAIN, "interests")->params;
  cr_assert_eq(route->top_ppm, 290000, "%lld", (long long)route->top_ppm);
  test_close_model(&m);
}

/* `carts` is sequence 1 of the schema. */
static bool newest_first(const char *recent_first) {
  test_model m;
  test_open_model(&m, "diffumin", true, true, (const char *[]){STEP, recent_first, NULL});
  const bool *of = m.batch->layout->newest_first;
  cr_assert(!of[0], "the other sequence keeps the order of time");
  const bool result = of[1];
  test_close_model(&m);
  return result;
}
Test(diffumin, order_of_behaviours) {
  cr_assert(newest_first("recent_first=true"));
  cr_assert_not(newest_first("recent_first=false"));
}

/* Training draws all noise; evaluation what infer_noise says. */
static void expect_noise(const char *infer_noise, bool start, bool steps) {
  test_model m;
  test_open_model(&m, "diffumin", true, true, (const char *[]){STEP, infer_noise, NULL});
  cr_assert(find_node(&m, FACET_PROGRAM_TRAIN, "chain.noise") && find_node(&m, FACET_PROGRAM_TRAIN, "chain.z"));
  cr_assert_eq(find_node(&m, FACET_PROGRAM_EVALUATE, "chain.noise") != NULL, start, "%s", infer_noise);
  cr_assert_eq(find_node(&m, FACET_PROGRAM_EVALUATE, "chain.z") != NULL, steps, "%s", infer_noise);
  test_close_model(&m);
}
Test(diffumin, noise_of_evaluation) {
  expect_noise("infer_noise=zero", false, false);
  expect_noise("infer_noise=keyed", true, false);
  expect_noise("infer_noise=random", true, true);
}

/* ---- refusals ---- */

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
