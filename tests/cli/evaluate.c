/* facet evaluate and facet predict: metrics and scores of a checkpoint. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>

#include "cli/tiny.h"
#include "facet/file.h"

static void train_once(void) {
  tiny_create();
  tiny_train_ok("run", "--set model.batch_norm=true --set model.dropout=0.2");
}
TestSuite(evaluate, .init = train_once, .fini = tiny_remove, .timeout = 120);

static const char *const metrics[] = {"auc", "gauc", "logloss", "ne", "calibration"};
enum { N_METRICS = sizeof metrics / sizeof *metrics };

/* Runs `facet evaluate … --json` with the log aside and parses what it prints. */
static json_t *evaluate_json(const char *arguments) {
  json_error_t error;
  EXPECT_EXIT(0, program_shell("$FACET evaluate %s %s --json 2>%s", tiny_path("run"), arguments, tiny_path("log")));
  json_t *object = json_loads(program_output, JSON_REJECT_DUPLICATES, &error);
  cr_assert(json_is_object(object), "%s: %s", error.text, program_output);
  return object;
}

static void expect_equal_metrics(const json_t *a, const json_t *b) {
  for (int i = 0; i < N_METRICS; i++)
    cr_assert_eq(tiny_number(a, metrics[i]), tiny_number(b, metrics[i]), "%s: %.12g, %.12g", metrics[i],
                 tiny_number(a, metrics[i]), tiny_number(b, metrics[i]));
  cr_assert_eq(tiny_number(a, "n_samples"), tiny_number(b, "n_samples"));
  cr_assert_eq(tiny_number(a, "n_positives"), tiny_number(b, "n_positives"));
}

/* ---- metrics --------------------------------------------------------------------------------------------------- */

Test(evaluate, gives_what_training_logged) {
  json_t *logged = tiny_lines("run", "evaluate"), *line;
  size_t i;
  json_array_foreach(logged, i, line) {
    char arguments[256];
    const char *split = json_string_value(json_object_get(line, "split"));
    if (json_is_true(json_object_get(line, "final"))) { /* with the best checkpoint, as is the default */
      snprintf(arguments, sizeof arguments, "--split %s", split);
    } else {
      EXPECT_EXIT(0, program_shell("$FACET evaluate %s --split %s --json 2>%s",
                                   tiny_path("run/checkpoints/step-%08d", (int)tiny_number(line, "step")), split,
                                   tiny_path("log")));
      json_t *object = json_loads(program_output, 0, NULL);
      expect_equal_metrics(line, object);
      json_decref(object);
      continue;
    }
    json_t *object = evaluate_json(arguments);
    expect_equal_metrics(line, object);
    json_decref(object);
  }
  cr_assert_eq(i, 3);
  json_decref(logged);
}

Test(evaluate, prints_the_definition_beside_each_number) {
  EXPECT_EXIT(0, program_run("evaluate %s", tiny_path("run")), "checkpoint   ", "split        test of ",
              "samples      180 (", "\nauc          0.", "exact, over all pairs; a tie counts one half",
              "\ngauc         0.", "groups with both classes, weighted by samples", "\nlogloss      0.",
              "mean binary cross-entropy in nats", "\nne ", "logloss / entropy of the mean label of this set",
              "\ncalibration ", "sum of predictions / sum of labels");
  EXPECT_EXIT(0,
              program_run("evaluate %s --set evaluate.gauc_weight=positives --set evaluate.negative_sampling_rate=0.1",
                          tiny_path("run")),
              "weighted by positives", "p' = p/(p + (1 - p)/0.1)");
}

Test(evaluate, scores_the_checkpoint_that_is_named) {
  json_t *best = evaluate_json("");
  cr_assert(strstr(json_string_value(json_object_get(best, "checkpoint")), tiny_best("run")));
  const char *other = strcmp(tiny_best("run"), "step-00000046") == 0 ? "step-00000023" : "step-00000046";
  EXPECT_EXIT(
      0, program_shell("$FACET evaluate %s --json 2>%s", tiny_path("run/checkpoints/%s", other), tiny_path("log")));
  json_t *named = json_loads(program_output, 0, NULL);
  cr_assert_neq(tiny_number(best, "logloss"), tiny_number(named, "logloss"));
  json_decref(best), json_decref(named);
}

Test(evaluate, little_memory_and_any_batch_size_give_the_same_numbers) {
  tiny_synthesize("large", "impressions=9000"); /* 54,000 test samples: more than the smallest sort buffer holds */
  char data[512], arguments[1024];
  snprintf(data, sizeof data, "--set data.path=%s", tiny_path("large"));
  json_t *usual = evaluate_json(data);
  cr_assert_eq(tiny_number(usual, "n_samples"), 54000);
  snprintf(arguments, sizeof arguments, "%s --set evaluate.memory_mb=1 --set evaluate.spill_directory=%s", data,
           tiny_path("."));
  json_t *small = evaluate_json(arguments);
  expect_equal_metrics(usual, small);
  snprintf(arguments, sizeof arguments, "%s --set evaluate.memory_mb=1 --set evaluate.spill_directory=/none", data);
  EXPECT_EXIT(4, program_run("evaluate %s %s", tiny_path("run"), arguments), "/none"); /* it did spill */
  json_decref(usual), json_decref(small);
}

Test(evaluate, one_class_is_undefined_and_says_why) {
  for (int label = 0; label <= 1; label++) {
    for (int64_t row = 0; row < 180; row++) tiny_poke("data/test/part-00000.h5", "/samples/label", row, label);
    char reason[64];
    snprintf(reason, sizeof reason, "undefined: all 180 labels are %d", label);
    EXPECT_EXIT(0, program_run("evaluate %s", tiny_path("run")), "auc          ", reason, "\nlogloss      0.");
    json_t *object = evaluate_json("");
    cr_assert(json_is_null(json_object_get(object, "auc")) && json_is_null(json_object_get(object, "gauc")));
    cr_assert(json_is_null(json_object_get(object, "ne")) && json_is_number(json_object_get(object, "logloss")));
    cr_assert_eq(json_is_null(json_object_get(object, "calibration")), label == 0);
    json_decref(object);
  }
}

Test(evaluate, a_monitor_that_is_undefined_ends_training_with_its_reason) {
  for (int64_t row = 0; row < 180; row++) tiny_poke("data/valid/part-00000.h5", "/samples/label", row, 0);
  EXPECT_EXIT(3, tiny_train("other", "%s", ""), "step 23: train.monitor auc is undefined on split valid",
              "all 180 labels are 0", "hint: choose another train.monitor");
  cr_assert_eq(tiny_newest_step("other"), 23); /* what was trained is kept */
  EXPECT_EXIT(0, tiny_train("third", "--set train.monitor=logloss"));
}

Test(evaluate, max_samples_takes_the_first_rows) {
  json_t *object = evaluate_json("--set evaluate.max_samples=50");
  cr_assert_eq(tiny_number(object, "n_samples"), 50);
  json_decref(object);
}

Test(evaluate, wrong_arguments) {
  const char *run = tiny_path("run");
  EXPECT_EXIT(3, program_run("evaluate %s --split none", run), "/data/none: there is no such directory");
  EXPECT_EXIT(2, program_run("evaluate %s", tiny_path("data")), "is neither a checkpoint",
              "nor the directory of a run");
  EXPECT_EXIT(2, program_run("evaluate %s --set evaluate.gauc_wieght=none", run), "did you mean \"gauc_weight\"?");
  EXPECT_EXIT(2, program_run("evaluate"), "CHECKPOINT_OR_RUN");
  EXPECT_EXIT(3, program_run("evaluate %s --set model.mlp=[16,9]", run), "mlp.1.weight", "[16, 8]");
}

/* ---- scores ---------------------------------------------------------------------------------------------------- */

enum { N_SCORES = 1440, N_COLUMNS = 5 }; /* of the training split */
static const char *const columns[N_COLUMNS] = {"row", "label", "group", "logit", "probability"};

static void read_text(const char *name, char separator, double values[N_SCORES][N_COLUMNS]) {
  char *text, *end, header[64];
  size_t n_bytes;
  cr_assert(facet_file_read(tiny_path("%s", name), 1 << 20, &text, &n_bytes) == FACET_OK);
  snprintf(header, sizeof header, "row%clabel%cgroup%clogit%cprobability\n", separator, separator, separator,
           separator);
  cr_assert_eq(strncmp(text, header, strlen(header)), 0, "%.60s", text);
  end = text + strlen(header);
  for (int i = 0; i < N_SCORES; i++) {
    for (int k = 0; k < N_COLUMNS; k++) {
      values[i][k] = strtod(end, &end);
      cr_assert_eq(*end, k + 1 < N_COLUMNS ? separator : '\n', "line %d", i);
      end++;
    }
  }
  cr_assert_eq(*end, '\0');
  facet_memory_free(text);
}

static void read_hdf5(const char *name, double values[N_SCORES][N_COLUMNS]) {
  double column[N_SCORES];
  hid_t file = H5Fopen(tiny_path("%s", name), H5F_ACC_RDONLY, H5P_DEFAULT);
  for (int k = 0; k < N_COLUMNS; k++) {
    hid_t set = H5Dopen2(file, columns[k], H5P_DEFAULT), space = H5Dget_space(set);
    cr_assert_eq(H5Sget_simple_extent_npoints(space), N_SCORES, "%s", columns[k]);
    cr_assert(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, column) >= 0);
    for (int i = 0; i < N_SCORES; i++) values[i][k] = column[i];
    H5Sclose(space);
    H5Dclose(set);
  }
  H5Fclose(file);
}

Test(evaluate, predict_writes_one_score_per_sample_in_every_format) {
  static double hdf5[N_SCORES][N_COLUMNS], tsv[N_SCORES][N_COLUMNS], csv[N_SCORES][N_COLUMNS];
  static const char *const names[] = {"s.h5", "s.tsv", "s.csv"};
  for (int i = 0; i < 3; i++)
    EXPECT_EXIT(0, program_run("predict %s --split train --output %s", tiny_path("run"), tiny_path("%s", names[i])),
                "wrote 1440 scores");
  read_hdf5("s.h5", hdf5);
  read_text("s.tsv", '\t', tsv);
  read_text("s.csv", ',', csv);
  float label[N_SCORES];
  int32_t user[N_SCORES];
  hid_t file = H5Fopen(tiny_path("data/train/part-00000.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t labels = H5Dopen2(file, "/samples/label", H5P_DEFAULT), users = H5Dopen2(file, "/samples/user_id", H5P_DEFAULT);
  cr_assert(H5Dread(labels, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, label) >= 0);
  cr_assert(H5Dread(users, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, user) >= 0);
  for (int i = 0; i < N_SCORES; i++) {
    for (int k = 0; k < N_COLUMNS; k++) {
      cr_assert_eq((float)hdf5[i][k], (float)tsv[i][k], "row %d, %s: %.9g, %.9g", i, columns[k], hdf5[i][k], tsv[i][k]);
      cr_assert_eq(tsv[i][k], csv[i][k]);
    }
    cr_assert(hdf5[i][0] == i && hdf5[i][1] == (double)label[i] && hdf5[i][2] == user[i]);
    cr_assert_float_eq(hdf5[i][4], 1 / (1 + exp(-hdf5[i][3])), 1e-6);
  }
  H5Dclose(labels), H5Dclose(users), H5Fclose(file);
}

Test(evaluate, predict_corrects_for_negative_sampling) {
  static double plain[N_SCORES][N_COLUMNS], corrected[N_SCORES][N_COLUMNS];
  EXPECT_EXIT(0, program_run("predict %s --split train --output %s", tiny_path("run"), tiny_path("a.csv")));
  EXPECT_EXIT(0, program_run("predict %s --split train --output %s --set evaluate.negative_sampling_rate=0.25",
                             tiny_path("run"), tiny_path("b.csv")));
  read_text("a.csv", ',', plain);
  read_text("b.csv", ',', corrected);
  for (int i = 0; i < N_SCORES; i++) {
    const double p = plain[i][4];
    cr_assert_eq(plain[i][3], corrected[i][3]);
    cr_assert_float_eq(corrected[i][4], p / (p + (1 - p) / 0.25), 1e-7);
  }
}

Test(evaluate, predict_needs_a_known_ending_and_a_place_to_write) {
  EXPECT_EXIT(2, program_run("predict %s --output scores.txt", tiny_path("run")), "ends in .h5, .tsv or .csv");
  EXPECT_EXIT(4, program_run("predict %s --output /none/s.csv", tiny_path("run")), "/none/s.csv");
  EXPECT_EXIT(4, program_run("predict %s --output /none/s.h5", tiny_path("run")), "/none/s.h5");
  cr_assert(facet_directory_create(tiny_path("d.csv")) == FACET_OK);
  EXPECT_EXIT(4, program_run("predict %s --output %s", tiny_path("run"), tiny_path("d.csv")), "d.csv");
  tiny_poke("data/test/part-00000.h5", "/samples/label", 7, 3); /* no room on the disk does not hide what is wrong */
  EXPECT_EXIT(3, program_shell("ulimit -f 2; exec $FACET predict %s --output %s", tiny_path("run"), tiny_path("s.h5")),
              "the label is 3");
}
