/* Loading, checking, comparing and applying a configuration. Its tables of options are in config_options.c. */
#include "facet/config.h"

#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "facet/memory.h"
#include "facet/metrics.h"
#include "facet/model.h"
#include "facet/registry.h"

#define MAX_MODELS 64

/* An argument of --set: "train.batch_size=512" split. */
typedef struct setting {
  char section[64], key[64];
  const char *text;
  char where[256]; /* "--set train.batch_size=512" */
} setting;

/* Where the values of a section stand. */
static const size_t values_offset[] = {offsetof(facet_config, data), offsetof(facet_config, optimizer),
                                       offsetof(facet_config, train), offsetof(facet_config, evaluate)};

const facet_option_section *facet_config_section(const facet_config *config, int i) {
  return i < 0 ? &config->model->options : &facet_config_sections[i];
}

const void *facet_config_values(const facet_config *config, int i) {
  return i < 0 ? config->model_options : (const char *)config + values_offset[i];
}

static void *mutable_values(facet_config *config, int i) {
  return i < 0 ? config->model_options : (char *)config + values_offset[i];
}

/* "model" and the sections' names into names; returns their number. */
static int list_sections(const char **names) {
  names[0] = "model";
  for (int i = 0; i < facet_config_n_sections; i++) names[i + 1] = facet_config_sections[i].name;
  return facet_config_n_sections + 1;
}
#define MAX_SECTIONS 8

/* ---- settings of the command line ---- */

static facet_status parse_setting(const char *argument, setting *out) {
  snprintf(out->where, sizeof out->where, "--set %.200s", argument);
  const char *equals = strchr(argument, '=');
  size_t n_name = equals ? (size_t)(equals - argument) : strlen(argument);
  const char *dot = memchr(argument, '.', n_name);
  FACET_CHECK(equals && dot, FACET_ERROR_USAGE, "%s: expected SECTION.KEY=VALUE, e.g. train.batch_size=512",
              out->where);
  size_t n_section = (size_t)(dot - argument), n_key = n_name - n_section - 1;
  bool fits = n_section < sizeof out->section && n_key < sizeof out->key;
  FACET_CHECK(fits, FACET_ERROR_USAGE, "%s: the name of the key is too long", out->where);
  snprintf(out->section, sizeof out->section, "%.*s", (int)n_section, argument);
  snprintf(out->key, sizeof out->key, "%.*s", (int)n_key, dot + 1);
  out->text = equals + 1;
  const char *names[MAX_SECTIONS];
  int n = list_sections(names);
  for (int i = 0; i < n; i++) {
    if (strcmp(names[i], out->section) == 0) return FACET_OK;
  }
  char end[640];
  FACET_FAIL(FACET_ERROR_USAGE, "%s: unknown section \"%s\"%s", out->where, out->section,
             facet_text_suggest(out->section, "sections", names, n, end, sizeof end));
}

static facet_status apply_setting(facet_config *config, const setting *set) {
  bool is_name = strcmp(set->section, "model") == 0 && strcmp(set->key, "name") == 0;
  for (int i = -1; i < facet_config_n_sections && !is_name; i++) {
    const facet_option_section *section = facet_config_section(config, i);
    if (strcmp(section->name, set->section)) continue;
    return facet_options_set(section, set->key, set->text, set->where, mutable_values(config, i));
  }
  return FACET_OK; /* model.name has chosen the model already */
}

/* ---- the model ---- */

static facet_status fail_model(facet_yaml_node node, const char *where, const char *name) {
  const char *names[MAX_MODELS];
  char end[640];
  int n = 0;
  for (; n < MAX_MODELS && facet_registry_models[n]; n++) names[n] = facet_registry_models[n]->name;
  if (!name) {
    return facet_yaml_fail(node, "model.name is missing; known models: %s", facet_text_join(names, n, end, sizeof end));
  }
  facet_text_suggest(name, "models", names, n, end, sizeof end);
  if (where) FACET_FAIL(FACET_ERROR_USAGE, "%s: unknown model \"%.80s\"%s", where, name, end);
  return facet_yaml_fail(node, "unknown model \"%.80s\"%s", name, end);
}

/* model.name of the last --set that gives it, else of the file, chooses the model. */
static facet_status choose_model(facet_yaml_node root, const setting *sets, int n_sets, const facet_model **model) {
  const char *name = NULL, *where = NULL;
  facet_yaml_node node = facet_yaml_get(facet_yaml_get(root, "model"), "name");
  for (int i = 0; i < n_sets; i++) {
    if (strcmp(sets[i].section, "model") || strcmp(sets[i].key, "name")) continue;
    name = sets[i].text, where = sets[i].where;
  }
  if (!name && facet_yaml_node_kind(node) != FACET_YAML_MISSING)
    FACET_TRY(facet_yaml_string(node, "model.name", &name));
  const facet_model *found = name ? facet_model_find(name) : NULL;
  if (!found) return fail_model(node, where, name);
  *model = found;
  return FACET_OK;
}

/* ---- checks across keys ---- */

static facet_status check_values(const facet_config *config, facet_yaml_node root) {
  const facet_train_options *train = &config->train;
  const facet_optimizer_options *optimizer = &config->optimizer;
  facet_yaml_node train_node = facet_yaml_get(root, "train"), optimizer_node = facet_yaml_get(root, "optimizer");
  if (train->batch_size % train->accumulate) {
    return facet_yaml_fail(facet_yaml_get(train_node, "batch_size"),
                           "train.batch_size is %lld; expected a multiple of train.accumulate, %lld",
                           (long long)train->batch_size, (long long)train->accumulate);
  }
  int n_metrics = facet_text_count(facet_metric_names), metric = 0;
  while (metric < n_metrics && strcmp(facet_metric_names[metric], train->monitor)) metric++;
  if (metric == n_metrics) {
    char end[640];
    return facet_yaml_fail(
        facet_yaml_get(train_node, "monitor"), "train.monitor is \"%.80s\", which is no metric%s", train->monitor,
        facet_text_suggest(train->monitor, "metrics", facet_metric_names, n_metrics, end, sizeof end));
  }
  if (optimizer->schedule == FACET_SCHEDULE_EXPONENTIAL && optimizer->decay_steps == 0) {
    return facet_yaml_fail(facet_yaml_get(optimizer_node, "decay_steps"),
                           "optimizer.decay_steps is 0; expected at least 1 with schedule exponential");
  }
  if (optimizer->min_learning_rate > optimizer->learning_rate) {
    return facet_yaml_fail(facet_yaml_get(optimizer_node, "min_learning_rate"),
                           "optimizer.min_learning_rate is %g; expected at most optimizer.learning_rate, %g",
                           optimizer->min_learning_rate, optimizer->learning_rate);
  }
  return FACET_OK;
}

/* data.path as an absolute path. A path of the file is relative to the file's directory, one of --set to the working
 * directory. */
static facet_status resolve_data_path(facet_config *config, const setting *sets, int n_sets) {
  char joined[FACET_PATH_MAX], directory[FACET_PATH_MAX], resolved[FACET_PATH_MAX];
  bool is_set = false;
  for (int i = 0; i < n_sets; i++) {
    is_set |= strcmp(sets[i].section, "data") == 0 && strcmp(sets[i].key, "path") == 0;
  }
  const char *slash = strrchr(config->path, '/');
  int n_directory = is_set || !slash || *config->data.path == '/' ? 0 : (int)(slash - config->path) + 1;
  FACET_TRY(facet_path_format(joined, "%.*s%s", n_directory, config->path, config->data.path));
  if (realpath(joined, resolved)) { /* an existing path; its owner says so if it does not exist */
    FACET_TRY(facet_path_format(config->data_path, "%s", resolved));
  } else if (*joined == '/') {
    FACET_TRY(facet_path_format(config->data_path, "%s", joined));
  } else {
    FACET_CHECK(getcwd(directory, sizeof directory), FACET_ERROR_IO, "cannot tell the working directory");
    FACET_TRY(facet_path_format(config->data_path, "%s/%s", directory, joined));
  }
  FACET_CHECK(strlen(config->data_path) < FACET_OPTION_MAX_TEXT, FACET_ERROR_USAGE,
              "%s: data.path is %s; expected at most %d bytes", config->path, config->data_path,
              FACET_OPTION_MAX_TEXT - 1);
  return FACET_OK;
}

/* ---- load ---- */

static facet_status read_sections(facet_yaml_node root, facet_config *config) {
  static const char *const model_extra[] = {"name", NULL};
  for (int i = -1; i < facet_config_n_sections; i++) {
    const facet_option_section *section = facet_config_section(config, i);
    void *values = mutable_values(config, i);
    FACET_TRY(facet_options_default(section, values));
    FACET_TRY(facet_options_read(section, facet_yaml_get(root, section->name), i < 0 ? model_extra : NULL, values));
  }
  return FACET_OK;
}

static facet_status load(facet_yaml_node root, const setting *sets, int n_sets, facet_config *config) {
  const char *names[MAX_SECTIONS];
  FACET_TRY(facet_yaml_expect(root, FACET_YAML_MAPPING, "the configuration"));
  FACET_TRY(facet_yaml_check_keys(root, names, list_sections(names)));
  facet_yaml_node model = facet_yaml_get(root, "model");
  if (facet_yaml_node_kind(model) != FACET_YAML_MISSING)
    FACET_TRY(facet_yaml_expect(model, FACET_YAML_MAPPING, "model"));
  FACET_TRY(choose_model(root, sets, n_sets, &config->model));
  config->model_options = facet_memory_alloc(1, config->model->options.struct_bytes, "model options");
  if (!config->model_options) return FACET_ERROR_INTERNAL;
  FACET_TRY(read_sections(root, config));
  for (int i = 0; i < n_sets; i++) FACET_TRY(apply_setting(config, &sets[i]));
  for (int i = -1; i < facet_config_n_sections; i++) {
    FACET_TRY(facet_options_check(facet_config_section(config, i), config->path, facet_config_values(config, i)));
  }
  FACET_TRY(check_values(config, root));
  return resolve_data_path(config, sets, n_sets);
}

facet_status facet_config_load(const char *path, const char *const *sets, int n_sets, facet_config **config) {
  facet_config *loaded = NULL;
  facet_yaml *document = NULL;
  setting *settings = NULL;
  facet_status status;
  *config = NULL;
  FACET_TRY_GOTO(status, done, FACET_ALLOC(loaded, 1, "configuration"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(settings, n_sets, "arguments of --set"));
  FACET_TRY_GOTO(status, done, facet_path_format(loaded->path, "%s", path));
  for (int i = 0; i < n_sets; i++) FACET_TRY_GOTO(status, done, parse_setting(sets[i], &settings[i]));
  FACET_TRY_GOTO(status, done, facet_yaml_load(path, FACET_ERROR_USAGE, &document));
  FACET_TRY_GOTO(status, done, load(facet_yaml_root(document), settings, n_sets, loaded));
  *config = loaded;
  loaded = NULL;
done:
  facet_yaml_destroy(&document);
  facet_memory_free(settings);
  facet_config_destroy(&loaded);
  return status;
}

void facet_config_destroy(facet_config **config) {
  if (!*config) return;
  facet_memory_free((*config)->model_options);
  facet_memory_free(*config);
  *config = NULL;
}

/* ---- comparison ---- */

/* Keys that only change speed, reporting or the length of the run. */
static bool may_differ(const char *section, const char *key) {
  static const char *const keys[][2] = {
      {"train", "threads"}, {"train", "log_every"},    {"train", "keep_checkpoints"},
      {"train", "epochs"},  {"train", "max_steps"},    {"data", "prefetch"},
      {"data", "readers"},  {"evaluate", "memory_mb"}, {"evaluate", "spill_directory"}};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    if (strcmp(keys[i][0], section) == 0 && strcmp(keys[i][1], key) == 0) return true;
  }
  return false;
}

static bool differs(const facet_config *a, const facet_config *b, int section, const facet_option *option) {
  bool is_data_path =
      section >= 0 && facet_config_values(a, section) == (const void *)&a->data && strcmp(option->key, "path") == 0;
  if (is_data_path) return strcmp(a->data_path, b->data_path) != 0;
  return !facet_option_equal(option, facet_config_values(a, section), facet_config_values(b, section));
}

const char *facet_config_difference(const facet_config *a, const facet_config *b) {
  static _Thread_local char key[160];
  if (a->model != b->model) return "model.name";
  for (int i = -1; i < facet_config_n_sections; i++) {
    const facet_option_section *section = facet_config_section(a, i);
    for (const facet_option *option = section->options; option->key; option++) {
      if (may_differ(section->name, option->key) || !differs(a, b, i, option)) continue;
      snprintf(key, sizeof key, "%s.%.80s", section->name, option->key);
      return key;
    }
  }
  return NULL;
}

/* ---- what it asks for ---- */

facet_order facet_config_order(const facet_config *config, int64_t n_rows, int64_t seed, int64_t epoch) {
  const facet_data_options *data = &config->data;
  return facet_order_make(n_rows, data->order == FACET_ORDER_SHUFFLED, data->shuffle_block, data->shuffle_window,
                          (uint64_t)seed, epoch);
}

facet_status facet_config_open_device(const facet_config *config, const char *name, facet_device **device) {
  if (config->train.threads > 0) omp_set_num_threads((int)config->train.threads);
  FACET_TRY(facet_device_open(name, device));
  return facet_device_set_precision(*device, (facet_precision)config->train.precision);
}
