/* facet train: optimizers, schedules, accumulation, clipping, plateau, orders. */
#include <math.h>

#include "cli/tiny.h"
#include "cpu/gemm.h"

TestSuite(train_options, .init = tiny_create, .fini = tiny_remove, .timeout = 120);

/* With one log line an epoch: the mean loss of the last epoch is lower than that of the first. */
static void expect_learns(const char *run, const char *what) {
  json_t *lines = tiny_lines(run, "train");
  const double before = tiny_number(json_array_get(lines, 0), "loss"), after = tiny_last(run, "train", "loss");
  cr_assert(after < before - 0.01, "%s: the loss went from %g to %g", what, before, after);
  json_decref(lines);
}

/* ---- optimizers ------------------------------------------------------------------------------------------------ */

Test(train_options, every_optimizer_learns) {
  static const struct {
    const char *dense, *sparse, *rate;
  } cases[] = {{"sgd", "sgd", "0.5"},
               {"sgd --set optimizer.momentum=0.9", "sgd --set optimizer.sparse_learning_rate=0.5", "0.05"},
               {"adagrad", "adagrad", "0.1"},
               {"adagrad", "rowwise_adagrad", "0.1"},
               {"adam", "lazy_adam", "0.01"},
               {"adamw", "lazy_adam", "0.01"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char run[16], arguments[512];
    snprintf(run, sizeof run, "run%zu", i);
    snprintf(arguments, sizeof arguments,
             "--set train.epochs=10 --set train.log_every=23 --set model.embedding_init=0.1 --set optimizer.dense=%s "
             "--set optimizer.sparse=%s --set optimizer.learning_rate=%s",
             cases[i].dense, cases[i].sparse, cases[i].rate);
    tiny_train_ok(run, arguments);
    expect_learns(run, cases[i].dense);
  }
}

/* Each choice is really used: no two of them end with the same values. */
static void expect_all_differ(const char *kind, const char *const *names, int n, const char *dataset) {
  static float values[4][1024];
  for (int i = 0; i < n; i++) {
    char arguments[256];
    snprintf(arguments, sizeof arguments, "--set optimizer.%s=%s --set train.epochs=1", kind, names[i]);
    tiny_train_ok(names[i], arguments);
    const size_t n_values = tiny_read(names[i], "step-00000023", dataset, values[i], 1024);
    for (int k = 0; k < i; k++)
      cr_assert(memcmp(values[i], values[k], n_values * sizeof(float)) != 0, "%s and %s", names[i], names[k]);
  }
}

Test(train_options, dense_optimizers_differ) {
  static const char *const names[] = {"sgd", "adagrad", "adam", "adamw"};
  expect_all_differ("dense", names, 4, "/parameters/mlp.0.weight");
}

Test(train_options, sparse_optimizers_differ) {
  static const char *const names[] = {"sgd", "adagrad", "rowwise_adagrad", "lazy_adam"};
  expect_all_differ("sparse", names, 4, "/tables/embedding.item/rows");
}

Test(train_options, penalties_and_decay_shrink_the_parameters) {
  float plain[1024], smaller[1024];
  static const struct {
    const char *set, *dataset;
  } cases[] = {{"--set optimizer.l2=0.1", "/parameters/mlp.0.weight"},
               {"--set optimizer.dense=adamw --set optimizer.weight_decay=1", "/parameters/mlp.0.weight"},
               {"--set optimizer.l2_embedding=0.1", "/tables/embedding.item/rows"}};
  tiny_train_ok("plain", "");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char run[16];
    double sum_plain = 0, sum_smaller = 0;
    snprintf(run, sizeof run, "run%zu", i);
    tiny_train_ok(run, cases[i].set);
    const size_t n = tiny_read("plain", "step-00000046", cases[i].dataset, plain, 1024);
    cr_assert_eq(tiny_read(run, "step-00000046", cases[i].dataset, smaller, 1024), n);
    for (size_t k = 0; k < n; k++) {
      sum_plain += (double)plain[k] * (double)plain[k];
      sum_smaller += (double)smaller[k] * (double)smaller[k];
    }
    cr_assert(sum_smaller < 0.9 * sum_plain, "%s: %g against %g", cases[i].set, sum_smaller, sum_plain);
  }
}

Test(train_options, the_tables_have_their_own_learning_rate) {
  tiny_train_ok("run", "--set optimizer.sparse_learning_rate=0.5 --set optimizer.schedule=exponential "
                       "--set optimizer.decay_steps=46 --set optimizer.decay_rate=0.1");
  cr_assert_float_eq(tiny_last("run", "train", "lr_sparse"), 50 * tiny_last("run", "train", "lr"), 1e-9);
}

Test(train_options, clipping_bounds_the_step_and_not_the_logged_norm) {
  /* one update of SGD without momentum moves the dense and sparse values by lr · min(norm, clip) altogether */
  const char *sgd = "--set optimizer.dense=sgd --set optimizer.sparse=sgd --set optimizer.learning_rate=1 "
                    "--set train.max_steps=1 --set train.log_every=1";
  char clipped[512];
  snprintf(clipped, sizeof clipped, "%s --set optimizer.clip_norm=0.001", sgd);
  tiny_train_ok("free", sgd);
  tiny_train_ok("clipped", clipped);
  const double norm = tiny_last("free", "train", "grad_norm");
  cr_assert_eq(tiny_last("clipped", "train", "grad_norm"), norm);
  cr_assert(norm > 0.01);
  float a[1024], b[1024], start[1024];
  char still[512];
  snprintf(still, sizeof still, "%s --set optimizer.learning_rate=0", sgd);
  tiny_train_ok("still", still);
  static const char *const datasets[] = {
      "/parameters/mlp.0.weight",    "/parameters/mlp.0.bias",         "/parameters/mlp.1.weight",
      "/parameters/mlp.1.bias",      "/parameters/logit.weight",       "/parameters/logit.bias",
      "/tables/embedding.user/rows", "/tables/embedding.item/rows",    "/tables/embedding.category/rows",
      "/tables/embedding.hour/rows", "/tables/embedding.position/rows"};
  double square_free = 0, square_clipped = 0;
  for (size_t d = 0; d < sizeof datasets / sizeof *datasets; d++) {
    const size_t n = tiny_read("still", "step-00000001", datasets[d], start, 1024);
    tiny_read("free", "step-00000001", datasets[d], a, 1024);
    tiny_read("clipped", "step-00000001", datasets[d], b, 1024);
    for (size_t i = 0; i < n; i++) {
      square_free += pow((double)a[i] - (double)start[i], 2);
      square_clipped += pow((double)b[i] - (double)start[i], 2);
    }
  }
  cr_assert_float_eq(sqrt(square_free), norm, 1e-3 * norm);
  cr_assert_float_eq(sqrt(square_clipped), 0.001, 1e-5);
}

/* ---- schedules ------------------------------------------------------------------------------------------------- */

static double rate_at(const char *run, size_t step) {
  json_t *lines = tiny_lines(run, "train");
  const json_t *line = json_array_get(lines, step - 1);
  cr_assert(line && tiny_number(line, "step") == (double)step);
  const double rate = tiny_number(line, "lr");
  json_decref(lines);
  return rate;
}

Test(train_options, every_schedule_learns_at_its_rate) {
  const char *warm = "--set train.log_every=1 --set optimizer.warmup_steps=10 --set train.batch_size=1440 "
                     "--set train.epochs=46 --set optimizer.learning_rate=0.01 --set optimizer.schedule=";
  char arguments[512];
  snprintf(arguments, sizeof arguments, "%sconstant", warm);
  tiny_train_ok("constant", arguments);
  snprintf(arguments, sizeof arguments, "%scosine --set optimizer.min_learning_rate=0.001", warm);
  tiny_train_ok("cosine", arguments);
  snprintf(arguments, sizeof arguments, "%sexponential --set optimizer.decay_steps=12", warm);
  tiny_train_ok("exponential", arguments);
  static const char *const runs[] = {"constant", "cosine", "exponential"};
  for (int i = 0; i < 3; i++) {
    expect_learns(runs[i], runs[i]);
    cr_assert_float_eq(rate_at(runs[i], 1), 0.001, 1e-12); /* a tenth of the warm-up */
    cr_assert_float_eq(rate_at(runs[i], 10), 0.01, 1e-12);
  }
  cr_assert_float_eq(rate_at("constant", 46), 0.01, 1e-12);
  /* update 29 is 18 of 36 steps after the warm-up: the middle of the cosine; the last one is a step before its end */
  cr_assert_float_eq(rate_at("cosine", 29), 0.0055, 1e-9);
  cr_assert_float_eq(rate_at("cosine", 46), 0.001, 2e-5);
  cr_assert_float_eq(rate_at("exponential", 23), 0.005, 1e-12);
  cr_assert_float_eq(rate_at("exponential", 35), 0.0025, 1e-12);
}

Test(train_options, plateau_cuts_the_rate_when_the_monitor_waits) {
  tiny_train_ok("run", "--set optimizer.schedule=plateau --set optimizer.plateau_patience=2 --set train.log_every=1 "
                       "--set optimizer.decay_rate=0.1 --set train.evaluate_every=2 --set train.min_improvement=0.04");
  json_t *lines = tiny_lines("run", NULL), *line;
  size_t i;
  double best = 0, expected = 0.01;
  int waiting = 0, n_cuts = 0;
  json_array_foreach(lines, i, line) {
    const char *type = json_string_value(json_object_get(line, "type"));
    if (strcmp(type, "train") == 0) {
      cr_assert_float_eq(tiny_number(line, "lr"), expected, 1e-12);
    } else if (strcmp(type, "evaluate") == 0 && !json_object_get(line, "final")) {
      const bool improved = best == 0 || tiny_number(line, "auc") > best + 0.04;
      if (improved) best = tiny_number(line, "auc");
      waiting = improved ? 0 : waiting + 1;
      if (waiting < 2) continue;
      waiting = 0;
      expected *= 0.1;
      n_cuts++;
    }
  }
  cr_assert(n_cuts >= 2);
  json_decref(lines);
}

/* ---- batches --------------------------------------------------------------------------------------------------- */

static void expect_close_losses(const char *a, const char *b) {
  json_t *lines_a = tiny_lines(a, "train"), *lines_b = tiny_lines(b, "train");
  cr_assert_eq(json_array_size(lines_a), json_array_size(lines_b));
  for (size_t i = 0; i < json_array_size(lines_a); i++) {
    const double x = tiny_number(json_array_get(lines_a, i), "loss"),
                 y = tiny_number(json_array_get(lines_b, i), "loss");
    cr_assert_float_eq(x, y, 2e-5, "line %zu: %g and %g", i, x, y);
  }
  json_decref(lines_a), json_decref(lines_b);
}

/* The last batch of an epoch has 32 samples: with 4 micro-batches of 16, two of them are empty. SGD, because Adam turns
 * rounding into steps of full size where a gradient is nearly zero. */
Test(train_options, accumulated_batches_train_like_one) {
  const char *sgd = "--set optimizer.dense=sgd --set optimizer.sparse=sgd --set optimizer.learning_rate=0.2 "
                    "--set optimizer.l2=0.01 --set optimizer.l2_embedding=0.01 --set optimizer.clip_norm=0.3 ";
  char arguments[512];
  tiny_train_ok("one", sgd);
  for (int n = 2; n <= 64; n *= 2) {
    char run[16];
    snprintf(run, sizeof run, "by%d", n);
    snprintf(arguments, sizeof arguments, "%s --set train.accumulate=%d", sgd, n);
    tiny_train_ok(run, arguments);
    expect_close_losses("one", run);
    cr_assert_float_eq(tiny_last("one", "train", "grad_norm"), tiny_last(run, "train", "grad_norm"), 1e-4);
    cr_assert_float_eq(tiny_last("one", "evaluate", "logloss"), tiny_last(run, "evaluate", "logloss"), 1e-5);
  }
}

Test(train_options, accumulation_needs_a_batch_that_divides) {
  EXPECT_EXIT(2, tiny_train("run", "--set train.accumulate=3"), "train.batch_size is 64",
              "multiple of train.accumulate, 3");
}

Test(train_options, limits_beyond_any_run) { /* 1e12 updates of 2²⁴ samples are more than an int64 */
  EXPECT_EXIT(0,
              tiny_train("run", "--set train.batch_size=16777216 --set train.accumulate=65536 --set train.epochs=1 "
                                "--set train.max_steps=1000000000000"),
              "1.44 k of 1.44 k (100 %)");
}

Test(train_options, batch_sizes_at_the_edges) {
  tiny_train_ok("single", "--set train.batch_size=1 --set train.max_steps=50");
  tiny_train_ok("more_than_all", "--set train.batch_size=5000 --set train.epochs=3");
  cr_assert_eq(tiny_last("more_than_all", "summary", "step"), 3);
  tiny_train_ok("evaluation", "--set evaluate.batch_size=7 --set train.epochs=1");
  tiny_train_ok("usual", "--set train.epochs=1");
  cr_assert_float_eq(tiny_last("evaluation", "evaluate", "auc"), tiny_last("usual", "evaluate", "auc"), 1e-9);
}

Test(train_options, orders_differ_and_cover_the_same_samples) {
  tiny_train_ok("shuffled", "--set train.epochs=1 --set train.log_every=23 --set optimizer.learning_rate=0");
  tiny_train_ok("stored", "--set train.epochs=1 --set train.log_every=23 --set optimizer.learning_rate=0 "
                          "--set data.order=chronological");
  /* nothing moves: the mean loss over an epoch is that of the same samples */
  cr_assert_float_eq(tiny_last("shuffled", "train", "loss"), tiny_last("stored", "train", "loss"), 1e-6);
  tiny_train_ok("first", "--set train.max_steps=1 --set train.log_every=1");
  tiny_train_ok("first_stored", "--set train.max_steps=1 --set train.log_every=1 --set data.order=chronological");
  cr_assert_neq(tiny_last("first", "train", "loss"), tiny_last("first_stored", "train", "loss"));
}

/* Threads and prefetch change speed, not what is computed (up to rounding for threads). */
Test(train_options, prefetch_and_compression_change_no_bit) {
  tiny_train_ok("a", "--set data.prefetch=1");
  tiny_train_ok("b", "--set data.prefetch=9");
  tiny_expect_same_run("a", "b");
  tiny_synthesize("compressed", "compress=true part_samples=300");
  char arguments[512];
  snprintf(arguments, sizeof arguments, "--set data.path=%s", tiny_path("compressed"));
  tiny_train_ok("c", arguments);
  tiny_expect_same_run("a", "c");
}

/* ---- precision --------------------------------------------------------------------------------------------------- */

Test(train_options, bf16_learns_almost_like_float32) {
  if (facet_gemm_check_bf16() != FACET_OK) {
    EXPECT_EXIT(FACET_ERROR_DEVICE, tiny_train("run", "--set train.precision=bf16"), "this CPU lacks avx512_bf16");
    return;
  }
  const char *arguments = "--set train.epochs=4 --set train.log_every=23 --set optimizer.learning_rate=0.01 "
                          "--set model.embedding_init=0.1";
  char more[256];
  tiny_train_ok("float32", arguments);
  snprintf(more, sizeof more, "%s --set train.precision=bf16", arguments);
  tiny_train_ok("bf16", more);
  expect_learns("bf16", "bf16");
  const double a = tiny_last("float32", "train", "loss"), b = tiny_last("bf16", "train", "loss");
  cr_assert(a != b && fabs(a - b) < 0.01, "the losses end at %g and %g", a, b);
  EXPECT_EXIT(0, program_run("evaluate %s", tiny_path("bf16")), "auc");
  EXPECT_EXIT(FACET_ERROR_USAGE, tiny_train("bf16", "%s --set train.epochs=5", arguments), "train.precision");
}

Test(train_options, the_double_build_has_no_bf16) {
  EXPECT_EXIT(FACET_ERROR_DEVICE,
              program_shell("${FACET}_f64 train %s --output %s --set train.precision=bf16", tiny_path("c.yaml"),
                            tiny_path("double")),
              "the build in double precision");
}
