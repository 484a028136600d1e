/* Configurations: defaults, errors with their position, --set, writing and reading back, comparison, the reference. */
#include "facet/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "facet/metrics.h"
#include "facet/registry.h"
#include "support/files.h"

static char root[FACET_PATH_MAX];
static char file[FACET_PATH_MAX + 16];

static void setup(void) {
  char resolved[FACET_PATH_MAX];
  test_directory_create(root);
  cr_assert(realpath(root, resolved));
  strcpy(root, resolved);
  snprintf(file, sizeof file, "%s/c.yaml", root);
}
static void teardown(void) {
  test_directory_remove(root);
}
TestSuite(config, .init = setup, .fini = teardown);

/* Writes a configuration whose first line is `model: {name: <the first model>}` and loads it. */
static facet_status load(const char *rest, const char *const *sets, int n_sets, facet_config **config) {
  char text[4096];
  snprintf(text, sizeof text, "model: {name: %s}\n%s", facet_registry_models[0]->name, rest);
  cr_assert(facet_file_write(file, text, strlen(text)) == FACET_OK);
  return facet_config_load(file, sets, n_sets, config);
}

static facet_config *load_good(const char *rest, const char *const *sets, int n_sets) {
  facet_config *config;
  cr_assert(load(rest, sets, n_sets, &config) == FACET_OK, "%s", facet_error_get()->message);
  return config;
}

/* The error of the whole text of a file; `end` follows its path. */
static void expect_file_refused(const char *text, const char *end) {
  facet_config *config;
  char message[FACET_PATH_MAX + 512];
  cr_assert(facet_file_write(file, text, strlen(text)) == FACET_OK);
  cr_assert(facet_config_load(file, NULL, 0, &config) == FACET_ERROR_USAGE, "%s", text);
  cr_assert_null(config);
  snprintf(message, sizeof message, "%s%s", file, end);
  cr_assert_eq(strncmp(facet_error_get()->message, message, strlen(message)), 0, "%s", facet_error_get()->message);
}

static void expect_refused(const char *rest, const char *end) {
  char text[1024];
  snprintf(text, sizeof text, "model: {name: %s}\n%s", facet_registry_models[0]->name, rest);
  expect_file_refused(text, end);
}

static void expect_set_refused(const char *set, const char *message) {
  facet_config *config;
  cr_assert(load("data: {path: x}\n", &set, 1, &config) == FACET_ERROR_USAGE, "%s", set);
  cr_assert_eq(strncmp(facet_error_get()->message, message, strlen(message)), 0, "%s", facet_error_get()->message);
}

Test(config, defaults) {
  facet_config *config = load_good("data: {path: x}\n", NULL, 0);
  cr_assert(config->model == facet_registry_models[0]);
  cr_assert(config->optimizer.dense == FACET_OPTIMIZER_ADAM && config->optimizer.sparse == FACET_SPARSE_LAZY_ADAM);
  cr_assert(config->optimizer.learning_rate == 1e-3 && config->optimizer.clip_norm == 0);
  cr_assert(config->train.batch_size == 512 && config->train.epochs == 1 && config->train.seed == 1);
  cr_assert(config->evaluate.metrics.gauc_weight == FACET_GAUC_SAMPLES &&
            config->evaluate.metrics.negative_sampling_rate == 1);
  cr_assert(config->data.order == FACET_ORDER_SHUFFLED && config->data.prefetch == 2);
  cr_assert_str_eq(config->train.monitor, "auc");
  facet_config_destroy(&config);
  cr_assert_null(config);
}

Test(config, choices_have_the_order_of_the_enumerations) {
  static const struct {
    const char *text;
    int dense, sparse, schedule, gauc;
  } cases[] = {
      {"{dense: sgd, sparse: sgd, schedule: constant}\nevaluate: {gauc_weight: samples}", FACET_OPTIMIZER_SGD,
       FACET_SPARSE_SGD, FACET_SCHEDULE_CONSTANT, FACET_GAUC_SAMPLES},
      {"{dense: adagrad, sparse: adagrad, schedule: cosine}\nevaluate: {gauc_weight: positives}",
       FACET_OPTIMIZER_ADAGRAD, FACET_SPARSE_ADAGRAD, FACET_SCHEDULE_COSINE, FACET_GAUC_POSITIVES},
      {"{dense: adam, sparse: rowwise_adagrad, schedule: exponential, decay_steps: 9}\nevaluate: {gauc_weight: none}",
       FACET_OPTIMIZER_ADAM, FACET_SPARSE_ROWWISE_ADAGRAD, FACET_SCHEDULE_EXPONENTIAL, FACET_GAUC_NONE},
      {"{dense: adamw, sparse: lazy_adam, schedule: plateau}", FACET_OPTIMIZER_ADAMW, FACET_SPARSE_LAZY_ADAM,
       FACET_SCHEDULE_PLATEAU, FACET_GAUC_SAMPLES}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[512];
    snprintf(text, sizeof text, "data: {path: x, order: chronological}\noptimizer: %s\n", cases[i].text);
    facet_config *config = load_good(text, NULL, 0);
    cr_assert(config->optimizer.dense == cases[i].dense && config->optimizer.sparse == cases[i].sparse);
    cr_assert(config->optimizer.schedule == cases[i].schedule && config->evaluate.metrics.gauc_weight == cases[i].gauc);
    cr_assert(config->data.order == FACET_ORDER_CHRONOLOGICAL);
    facet_config_destroy(&config);
  }
}

Test(config, errors_of_the_file) {
  expect_file_refused("", ": the configuration is missing; expected a mapping");
  expect_file_refused("[1]", ":1:1: the configuration is a list; expected a mapping");
  expect_file_refused("data: {path: x}\n", ":1:1: model.name is missing; known models: ");
  expect_file_refused("model: 3\n", ":1:8: model is \"3\"; expected a mapping");
  expect_file_refused("model:\n  name: zzzzzz\n", ":2:9: unknown model \"zzzzzz\"; known models: ");
  expect_refused("data:\n  path: x\ntrian:\n  seed: 1\n", ":4:1: unknown key \"trian\"; did you mean \"train\"?");
  expect_refused("data:\n  path: x\ntrain:\n  batchsize: 1\n",
                 ":5:3: unknown key \"batchsize\"; did you mean \"batch_size\"?");
  expect_refused("data:\n  path: x\ntrain:\n  batch_size: many\n",
                 ":5:15: train.batch_size is \"many\"; expected an integer from 1 to 16777216");
  expect_refused(
      "data:\n  path: x\noptimizer:\n  dense: adma\n",
      ":5:10: optimizer.dense is \"adma\"; expected one of sgd, adagrad, adam, adamw; did you mean \"adam\"?");
  expect_refused("data:\n  path: x\n  path: y\n", ":4:3: the key \"path\" is given twice (first in line 3)");
  expect_refused("train: {seed: 1}\n", ": data.path is missing (");
}

Test(config, an_unknown_model_names_the_nearest) {
  char text[256], end[256];
  const char *name = facet_registry_models[0]->name;
  snprintf(text, sizeof text, "model: {name: %sx}\n", name);
  snprintf(end, sizeof end, ":1:15: unknown model \"%sx\"; did you mean \"%s\"?", name, name);
  expect_file_refused(text, end);
  expect_file_refused("model: {name: }\n", ":1:15: model.name is empty");
}

Test(config, checks_across_keys) {
  expect_refused("data: {path: x}\ntrain:\n  batch_size: 500\n  accumulate: 3\n",
                 ":4:15: train.batch_size is 500; expected a multiple of train.accumulate, 3");
  expect_refused("data: {path: x}\ntrain: {monitor: acu}\n",
                 ":3:18: train.monitor is \"acu\", which is no metric; did you mean \"auc\"?");
  expect_refused("data: {path: x}\noptimizer: {schedule: exponential}\n",
                 ":3:12: optimizer.decay_steps is 0; expected at least 1 with schedule exponential");
  expect_refused("data: {path: x}\noptimizer: {min_learning_rate: 1}\n",
                 ":3:32: optimizer.min_learning_rate is 1; expected at most optimizer.learning_rate, 0.001");
}

Test(config, levels_end_where_the_operators_do) {
  expect_file_refused("model: {name: diffumin, levels: 100001}\ndata: {path: x}\n",
                      ":1:33: model.levels is \"100001\"; expected an integer from 1 to 100000");
}

Test(config, every_number_has_a_range) {
  for (int s = 0; s < facet_config_n_sections; s++) {
    const facet_option_section *section = &facet_config_sections[s];
    for (const facet_option *option = section->options; option->key; option++) {
      if (option->type != FACET_OPTION_INT && option->type != FACET_OPTION_DOUBLE) continue;
      char set[256], message[512];
      snprintf(set, sizeof set, "%s.%s=1e99", section->name, option->key);
      snprintf(message, sizeof message, "--set %s: %s.%s is \"1e99\"; expected ", set, section->name, option->key);
      expect_set_refused(set, message);
      snprintf(set, sizeof set, "%s.%s=-1", section->name, option->key);
      snprintf(message, sizeof message, "--set %s: %s.%s is \"-1\"; expected ", set, section->name, option->key);
      expect_set_refused(set, message);
    }
  }
}

Test(config, settings_win_over_the_file_and_the_last_counts) {
  static const char *const sets[] = {"train.batch_size=64", "train.batch_size=128", "optimizer.dense=sgd",
                                     "data.valid=", "train.monitor=gauc"};
  facet_config *config = load_good("data: {path: x}\ntrain: {batch_size: 7, epochs: 3}\n", sets, 5);
  cr_assert(config->train.batch_size == 128 && config->train.epochs == 3);
  cr_assert(config->optimizer.dense == FACET_OPTIMIZER_SGD);
  cr_assert_str_eq(config->data.valid, "");
  cr_assert_str_eq(config->train.monitor, "gauc");
  facet_config_destroy(&config);
}

Test(config, settings_choose_the_model) {
  char set[128];
  const char *sets[] = {"model.name=nothing", set};
  facet_config *config;
  snprintf(set, sizeof set, "model.name=%s", facet_registry_models[0]->name);
  cr_assert(facet_file_write(file, "model: {name: other}\ndata: {path: x}\n", 37) == FACET_OK);
  cr_assert(facet_config_load(file, sets, 2, &config) == FACET_OK, "%s", facet_error_get()->message);
  cr_assert(config->model == facet_registry_models[0]);
  facet_config_destroy(&config);
  expect_set_refused("model.name=nothing", "--set model.name=nothing: unknown model \"nothing\"; known models: ");
}

Test(config, wrong_settings) {
  expect_set_refused("train.batch_size", "--set train.batch_size: expected SECTION.KEY=VALUE");
  expect_set_refused("batch_size=3", "--set batch_size=3: expected SECTION.KEY=VALUE");
  expect_set_refused("trian.seed=3", "--set trian.seed=3: unknown section \"trian\"; did you mean \"train\"?");
  expect_set_refused("train.sede=3", "--set train.sede=3: unknown key \"sede\" of train; did you mean \"seed\"?");
  expect_set_refused("train.seed=x", "--set train.seed=x: train.seed is \"x\"; expected an integer from 0 to ");
}

Test(config, data_path_is_relative_to_where_it_is_written) {
  char expected[FACET_PATH_MAX + 32], here[FACET_PATH_MAX];
  facet_config *config = load_good("data: {path: sets/a}\n", NULL, 0);
  snprintf(expected, sizeof expected, "%s/sets/a", root);
  cr_assert_str_eq(config->data_path, expected);
  facet_config_destroy(&config);
  const char *set = "data.path=sets/b";
  config = load_good("data: {path: sets/a}\n", &set, 1);
  cr_assert(getcwd(here, sizeof here));
  snprintf(expected, sizeof expected, "%s/sets/b", here);
  cr_assert_str_eq(config->data_path, expected);
  facet_config_destroy(&config);
  config = load_good("data: {path: /none/c}\n", NULL, 0);
  cr_assert_str_eq(config->data_path, "/none/c");
  facet_config_destroy(&config);
}

Test(config, a_written_configuration_reads_back) {
  static const char *const sets[] = {"data.path=a: \"b\" # c", "optimizer.learning_rate=0.1",
                                     "train.seed=9007199254740991", "optimizer.epsilon=3.3333333333333335e-09",
                                     "evaluate.gauc_weight=none"};
  char copy[FACET_PATH_MAX + 32];
  facet_config *config = load_good("", sets, 5), *back;
  snprintf(copy, sizeof copy, "%s/copy.yaml", root);
  cr_assert(facet_config_write(config, copy) == FACET_OK, "%s", facet_error_get()->message);
  cr_assert(facet_config_load(copy, NULL, 0, &back) == FACET_OK, "%s", facet_error_get()->message);
  const char *key = facet_config_difference(config, back);
  cr_assert(!key, "%s", key);
  cr_assert(back->train.seed == 9007199254740991 && back->optimizer.epsilon == 3.3333333333333335e-09);
  cr_assert_str_eq(back->data.path, config->data_path);
  facet_config_destroy(&config);
  facet_config_destroy(&back);
  config = load_good("data: {path: x}\n", NULL, 0);
  snprintf(copy, sizeof copy, "%s/no/such/directory.yaml", root);
  cr_assert(facet_config_write(config, copy) == FACET_ERROR_IO);
  facet_config_destroy(&config);
}

Test(config, difference_names_the_key_and_skips_speed_and_length) {
  static const char *const same[] = {"train.threads=3", "train.log_every=7",    "train.keep_checkpoints=9",
                                     "train.epochs=5",  "train.max_steps=6",    "data.prefetch=4",
                                     "data.readers=2",  "evaluate.memory_mb=9", "evaluate.spill_directory=/x"};
  static const char *const others[] = {"train.batch_size=64",    "optimizer.beta1=0.8",      "data.path=/y",
                                       "evaluate.max_samples=5", "data.order=chronological", "train.monitor=ne",
                                       "train.precision=bf16"};
  facet_config *a = load_good("data: {path: /x}\n", NULL, 0), *b = load_good("data: {path: /x}\n", same, 8);
  const char *key = facet_config_difference(a, b);
  cr_assert(!key, "%s", key);
  facet_config_destroy(&b);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    b = load_good("data: {path: /x}\n", &others[i], 1);
    key = facet_config_difference(a, b);
    cr_assert(key);
    cr_assert(strncmp(key, others[i], strlen(key)) == 0 && others[i][strlen(key)] == '=', "%s", key);
    facet_config_destroy(&b);
  }
  facet_config_destroy(&a);
}

Test(config, failing_allocations_leave_nothing) {
  facet_config *config = load_good("data: {path: x}\n", NULL, 0);
  size_t before = facet_memory_in_use();
  facet_config_destroy(&config);
  cr_assert(facet_memory_in_use() < before);
  before = facet_memory_in_use();
  cr_assert(load("train: {seed: x}\n", NULL, 0, &config) == FACET_ERROR_USAGE);
  cr_assert(facet_memory_in_use() == before);
}

Test(config, the_help_of_monitor_lists_the_metrics) {
  for (const facet_option *option = facet_config_sections[2].options; option->key; option++) {
    for (int i = 0; strcmp(option->key, "monitor") == 0 && facet_metric_names[i]; i++) {
      cr_assert(strstr(option->help, facet_metric_names[i]), "%s", facet_metric_names[i]);
    }
  }
}

Test(config, the_reference_in_docs_is_current) {
  size_t n_bytes, capacity = 1 << 20;
  char *committed, *printed = calloc(1, capacity);
  FILE *stream = fmemopen(printed, capacity, "w");
  facet_config_print_reference(stream, true);
  fclose(stream);
  cr_assert(facet_file_read(FACET_SOURCE_DIR "/docs/config.md", capacity, &committed, &n_bytes) == FACET_OK);
  cr_assert(
      strcmp(committed, printed) == 0,
      "docs/config.md is not what the tables of options give: run `build/facet config --markdown > docs/config.md`");
  facet_memory_free(committed);
  free(printed);
}
