/* facet train: what a run leaves behind, running it again, its log, its checkpoints. */
#include <glob.h>
#include <math.h>
#include <unistd.h>

#include "cli/tiny.h"
#include "facet/file.h"

TestSuite(train, .init = tiny_create, .fini = tiny_remove, .timeout = 120);

/* ---- the run directory ----------------------------------------------------------------------------------------- */

Test(train, leaves_configuration_logs_and_checkpoints) {
  EXPECT_EXIT(0, tiny_train("run", "--set train.seed=5"), "mean_pooling", "split test, checkpoint of step", "\nauc ",
              "finished ");
  char progress[64]; /* the last progress line tells of the last evaluation */
  json_t *lines = tiny_lines("run", "evaluate");
  snprintf(progress, sizeof progress, "valid auc %.4f\n", tiny_number(json_array_get(lines, 1), "auc"));
  cr_assert(strstr(program_output, progress), "no \"%s\" in:\n%s", progress, program_output);
  json_decref(lines);
  cr_assert(facet_file_exists(tiny_path("run/config.yaml")) && facet_file_exists(tiny_path("run/metrics.jsonl")));
  cr_assert_eq(tiny_newest_step("run"), 46);
  cr_assert_eq(strncmp(tiny_best("run"), "step-000000", 11), 0, "%s", tiny_best("run"));
  glob_t found;
  cr_assert(glob(tiny_path("run/events.out.tfevents.*"), 0, NULL, &found) == 0 && found.gl_pathc == 1);
  globfree(&found);
  /* the resolved configuration is one: it says the same when it is printed again */
  EXPECT_EXIT(0, program_run("config %s", tiny_path("run/config.yaml")), "seed: 5", "batch_size: 64", "mlp: [16, 8]",
              tiny_path("data"));
}

Test(train, log_lines_have_their_fields) {
  static const char *const train_keys[] = {
      "step",     "epoch", "samples", "loss", "loss/bce", "lr", "lr_sparse", "grad_norm", "samples_per_second",
      "data_wait"};
  static const char *const evaluate_keys[] = {"step",    "epoch", "samples",     "auc",       "gauc",
                                              "logloss", "ne",    "calibration", "n_samples", "n_positives"};
  size_t i;
  json_t *line;
  tiny_train_ok("run", "");
  json_t *train = tiny_lines("run", "train"), *evaluate = tiny_lines("run", "evaluate");
  cr_assert_eq(json_array_size(train), 10); /* steps 5, 10 … 45, and 46, the last */
  json_array_foreach(train, i, line) {
    const double step = i < 9 ? 5.0 * (double)(i + 1) : 46;
    for (size_t k = 0; k < sizeof train_keys / sizeof *train_keys; k++) tiny_number(line, train_keys[k]);
    cr_assert_eq(tiny_number(line, "step"), step);
    const double epochs = floor(step / 23), in_epoch = 64 * (step - 23 * epochs); /* the last batch has 32 samples */
    cr_assert_eq(tiny_number(line, "samples"), epochs * 1440 + in_epoch);
    cr_assert_float_eq(tiny_number(line, "epoch"), tiny_number(line, "samples") / 1440, 1e-9);
    cr_assert_eq(tiny_number(line, "lr"), 0.01);
    cr_assert(tiny_number(line, "data_wait") >= 0 && tiny_number(line, "data_wait") <= 1);
  }
  cr_assert_eq(json_array_size(evaluate), 3); /* after each epoch, and the test split */
  json_array_foreach(evaluate, i, line) {
    for (size_t k = 0; k < sizeof evaluate_keys / sizeof *evaluate_keys; k++) tiny_number(line, evaluate_keys[k]);
    cr_assert_str_eq(json_string_value(json_object_get(line, "split")), i < 2 ? "valid" : "test");
    cr_assert_eq(json_is_true(json_object_get(line, "final")), i == 2);
    cr_assert_eq(tiny_number(line, "n_samples"), 180);
  }
  json_t *all = tiny_lines("run", NULL), *last = json_array_get(all, json_array_size(all) - 1);
  cr_assert_str_eq(json_string_value(json_object_get(last, "type")), "summary");
  cr_assert_str_eq(json_string_value(json_object_get(last, "monitor")), "auc");
  const double a = tiny_number(json_array_get(evaluate, 0), "auc"), b = tiny_number(json_array_get(evaluate, 1), "auc");
  cr_assert_eq(tiny_number(last, "best"), fmax(a, b));
  cr_assert_eq(tiny_number(last, "best_step"), b > a ? 46 : 23);
  json_decref(train), json_decref(evaluate), json_decref(all);
}

Test(train, output_defaults_to_runs_and_the_name_of_the_configuration) {
  EXPECT_EXIT(0, program_shell("cd %s && $FACET train c.yaml --set train.max_steps=1", tiny_path(".")));
  cr_assert(facet_file_exists(tiny_path("runs/c/metrics.jsonl")));
}

Test(train, the_same_configuration_gives_the_same_bits) {
  tiny_train_ok("a", "--set model.dropout=0.3");
  tiny_train_ok("b", "--set model.dropout=0.3");
  tiny_expect_same_run("a", "b");
  tiny_train_ok("c", "--set model.dropout=0.3 --set train.seed=2");
  cr_assert_neq(tiny_last("a", "train", "loss"), tiny_last("c", "train", "loss"));
}

/* ---- again ----------------------------------------------------------------------------------------------------- */

Test(train, a_finished_run_says_so) {
  tiny_train_ok("run", "");
  json_t *before = tiny_lines("run", NULL);
  EXPECT_EXIT(0, tiny_train("run", "%s", ""), "is finished: step 46, epoch 2");
  json_t *after = tiny_lines("run", NULL);
  cr_assert(json_equal(before, after));
  json_decref(before), json_decref(after);
}

Test(train, another_configuration_is_refused_by_its_key) {
  tiny_train_ok("run", "--set train.epochs=1");
  EXPECT_EXIT(2, tiny_train("run", "--set train.epochs=1 --set train.seed=2"), "train.seed was 1 and is now 2");
  EXPECT_EXIT(2, tiny_train("run", "--set train.epochs=1 --set model.mlp=[8]"), "model.mlp was [16, 8] and is now [8]");
  EXPECT_EXIT(2, tiny_train("run", "--set optimizer.dense=sgd"), "optimizer.dense was adam and is now sgd");
  EXPECT_EXIT(2, tiny_train("run", "--set data.path=/none"), "data.path was ", "and is now /none");
}

Test(train, more_epochs_continue_a_finished_run) {
  tiny_train_ok("run", "--set train.epochs=1");
  EXPECT_EXIT(0, tiny_train("run", "--set train.log_every=1"), "resumed from", "step 23");
  tiny_train_ok("whole", "--set train.log_every=1");
  json_t *lines = tiny_lines("run", "train"), *whole = tiny_lines("whole", "train");
  /* the first epoch was logged every 5 steps, the second every step */
  cr_assert_eq(json_array_size(lines), 5 + 23);
  for (size_t i = 0; i < 23; i++)
    cr_assert_eq(tiny_number(json_array_get(lines, 5 + i), "loss"), tiny_number(json_array_get(whole, 23 + i), "loss"));
  json_decref(lines), json_decref(whole);
}

Test(train, a_live_run_keeps_its_directory) {
  /* an endless run; the second command must fail while it lives */
  const char *configuration = tiny_path("c.yaml"), *run = tiny_path("run");
  EXPECT_EXIT(4,
              program_shell("$FACET train %s --output %s --set train.epochs=1000000 --set train.log_every=1 2>%s & "
                            "pid=$!; n=0; while [ ! -s %s/metrics.jsonl ] && [ $n -lt 600 ]; do sleep 0.05; "
                            "n=$((n + 1)); done; $FACET train %s --output %s; status=$?; kill -TERM $pid; wait $pid; "
                            "echo \"first ended with $?\"; exit $status",
                            configuration, run, tiny_path("log"), run, configuration, run),
              "is held by a live process: process ", "first ended with 75");
}

/* ---- checkpoints ----------------------------------------------------------------------------------------------- */

static int count_checkpoints(const char *run) {
  glob_t found;
  const int status = glob(tiny_path("%s/checkpoints/step-*", run), 0, NULL, &found);
  const int n = status == 0 ? (int)found.gl_pathc : 0;
  globfree(&found);
  return n;
}

Test(train, keeps_the_newest_checkpoints_and_the_best) {
  tiny_train_ok("one", "--set train.checkpoint_every=2 --set train.keep_checkpoints=1");
  const bool best_is_last = strcmp(tiny_best("one"), "step-00000046") == 0;
  cr_assert_eq(count_checkpoints("one"), best_is_last ? 1 : 2);
  cr_assert_eq(tiny_newest_step("one"), 46);
  cr_assert(facet_file_exists(tiny_path("one/checkpoints/best/model.h5")));
  tiny_train_ok("four", "--set train.checkpoint_every=2 --set train.keep_checkpoints=4");
  cr_assert(count_checkpoints("four") >= 4 && count_checkpoints("four") <= 5);
  for (int step = 40; step <= 46; step += 2)
    cr_assert(facet_directory_exists(tiny_path("four/checkpoints/step-%08d", step)));
}

Test(train, best_is_the_evaluation_with_the_best_monitor) {
  tiny_train_ok("run", "--set train.evaluate_every=4 --set train.monitor=logloss --set optimizer.learning_rate=0.03");
  json_t *lines = tiny_lines("run", "evaluate"), *line;
  size_t i;
  double best = HUGE_VAL, step = 0;
  json_array_foreach(lines, i, line) {
    if (json_is_true(json_object_get(line, "final")) || tiny_number(line, "logloss") >= best) continue;
    best = tiny_number(line, "logloss");
    step = tiny_number(line, "step");
  }
  char name[32];
  snprintf(name, sizeof name, "step-%08d", (int)step);
  cr_assert_str_eq(tiny_best("run"), name);
  cr_assert_eq(tiny_last("run", "summary", "best"), best);
  json_decref(lines);
}

Test(train, without_a_validation_split_the_last_checkpoint_is_the_best) {
  EXPECT_EXIT(0, tiny_train("run", "--set data.valid="), "no split \"\"", "checkpoint of step 46 (the last)");
  cr_assert_str_eq(tiny_best("run"), "step-00000046");
}

Test(train, stops_early_when_the_monitor_does_not_improve) {
  EXPECT_EXIT(0,
              tiny_train("run", "--set train.early_stop=3 --set train.evaluate_every=2 --set train.epochs=1000 "
                                "--set train.min_improvement=0.05"),
              "stopped early: 3 evaluations without a better auc");
  const double step = tiny_last("run", "summary", "step"), best = tiny_last("run", "summary", "best_step");
  cr_assert_eq(step, best + 6);
  EXPECT_EXIT(0,
              tiny_train("run", "--set train.early_stop=3 --set train.evaluate_every=2 --set train.epochs=1000 "
                                "--set train.min_improvement=0.05"),
              "is finished");
}

/* ---- a loss that is not finite --------------------------------------------------------------------------------- */

Test(train, a_loss_that_is_not_finite_exits_5_and_keeps_the_last_checkpoint) {
  const char *arguments = "--set optimizer.learning_rate=1e6 --set optimizer.dense=sgd --set optimizer.sparse=sgd "
                          "--set train.checkpoint_every=1";
  EXPECT_EXIT(5, tiny_train("run", "%s", arguments), "non-finite value: step ", ": the loss is ", "(bce ",
              "is the first that is not finite", "element [", "hint: the last checkpoint is kept");
  const int64_t saved = tiny_newest_step("run");
  cr_assert(saved >= 1);
  EXPECT_EXIT(5, tiny_train("run", "%s", arguments), "resumed from", "is the first that is not finite");
  cr_assert_eq(tiny_newest_step("run"), saved);
}
