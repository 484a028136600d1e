#include "cli/tiny.h"

#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "facet/environment.h"
#include "facet/file.h"
#include "facet/synthesize.h"

static char root[64];

static const char config_text[] = "model: {name: mean_pooling, mlp: [16, 8]}\n"
                                  "data: {path: data}\n"
                                  "optimizer: {learning_rate: 0.01}\n"
                                  "train: {batch_size: 64, epochs: 2, log_every: 5, threads: 1}\n";

/* ---- the directory --------------------------------------------------------------------------------------------- */

static void set_option(facet_synthesize_options *options, const char *key, const char *value) {
  cr_assert(facet_options_set(&facet_synthesize_section, key, value, key, options) == FACET_OK, "%s",
            facet_error_get()->message);
}

void tiny_synthesize(const char *name, const char *sets) {
  static const char *const usual[][2] = {{"users", "60"},      {"items", "80"},         {"clusters", "16"},
                                         {"categories", "8"},  {"events", "40"},        {"impressions", "30"},
                                         {"max_length", "20"}, {"embedding_width", "8"}};
  char copy[256], *rest;
  facet_synthesize_options options;
  cr_assert(facet_options_default(&facet_synthesize_section, &options) == FACET_OK);
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) set_option(&options, usual[i][0], usual[i][1]);
  snprintf(copy, sizeof copy, "%s", sets);
  for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
    char *equals = strchr(word, '=');
    cr_assert(equals, "%s", word);
    *equals = '\0';
    set_option(&options, word, equals + 1);
  }
  const facet_environment quiet = {.log = FACET_LOG_QUIET};
  facet_environment_set(&quiet);
  cr_assert(facet_synthesize(&options, tiny_path("%s", name)) == FACET_OK, "%s", facet_error_get()->message);
}

void tiny_create(void) {
  test_directory_create(root);
  tiny_synthesize("data", "");
  tiny_write("c.yaml", config_text);
}

void tiny_remove(void) {
  test_directory_remove(root);
}

const char *tiny_path(const char *format, ...) {
  static char paths[8][512];
  static int next;
  char *path = paths[next++ % 8], text[384];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  snprintf(path, sizeof paths[0], "%s/%s", root, text);
  return path;
}

void tiny_write(const char *name, const char *text) {
  test_file_write(tiny_path("%s", name), text, strlen(text));
}

int tiny_train(const char *run, const char *format, ...) {
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return program_run("train %s --output %s %s", tiny_path("c.yaml"), tiny_path("%s", run), text);
}

void tiny_train_ok(const char *run, const char *arguments) {
  EXPECT_EXIT(0, tiny_train(run, "%s", arguments));
}

pid_t tiny_start(const char *run, const char *const *sets) {
  const char *arguments[24] = {"facet", "train", tiny_path("c.yaml"), "--output", tiny_path("%s", run)};
  int n = 5;
  for (; *sets; sets++) {
    arguments[n++] = "--set";
    arguments[n++] = *sets;
  }
  const char *log = tiny_path("%s.log", run);
  const pid_t pid = fork();
  cr_assert(pid >= 0);
  if (pid == 0) {
    const int file = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(file, 1);
    dup2(file, 2);
    execv(FACET_BINARY_DIR "/facet", (char *const *)arguments);
    _exit(127);
  }
  return pid;
}

/* ---- metrics.jsonl --------------------------------------------------------------------------------------------- */

json_t *tiny_lines(const char *run, const char *type) {
  char *text, *rest;
  size_t n_bytes;
  json_error_t error;
  json_t *lines = json_array();
  const char *path = tiny_path("%s/metrics.jsonl", run);
  cr_assert(facet_file_read(path, 1 << 24, &text, &n_bytes) == FACET_OK, "%s", facet_error_get()->message);
  cr_assert(n_bytes == 0 || text[n_bytes - 1] == '\n', "%s ends in half a line", path);
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    cr_assert(json_is_object(object), "%s: %s: %s", path, error.text, line);
    const char *found = json_string_value(json_object_get(object, "type"));
    cr_assert(found, "%s: no type: %s", path, line);
    if (!type || strcmp(found, type) == 0) json_array_append(lines, object);
    json_decref(object);
  }
  facet_memory_free(text);
  return lines;
}

json_t *tiny_lines_without_time(const char *run) {
  json_t *lines = tiny_lines(run, NULL), *line;
  size_t i;
  json_array_foreach(lines, i, line) {
    json_object_del(line, "samples_per_second");
    json_object_del(line, "data_wait");
    json_object_del(line, "train_seconds");
  }
  return lines;
}

double tiny_number(const json_t *line, const char *key) {
  const json_t *value = json_object_get(line, key);
  cr_assert(json_is_number(value), "%s is no number in %s", key, json_dumps(line, JSON_COMPACT));
  return json_number_value(value);
}

double tiny_last(const char *run, const char *type, const char *key) {
  json_t *lines = tiny_lines(run, type);
  cr_assert(json_array_size(lines) > 0, "no line of type %s in run %s", type, run);
  const double value = tiny_number(json_array_get(lines, json_array_size(lines) - 1), key);
  json_decref(lines);
  return value;
}

/* ---- checkpoints ----------------------------------------------------------------------------------------------- */

int64_t tiny_newest_step(const char *run) {
  facet_arena *arena;
  char **names, end;
  int64_t n_names, newest = -1;
  const char *path = tiny_path("%s/checkpoints", run);
  if (!facet_directory_exists(path)) return -1;
  cr_assert(facet_arena_create(&arena) == FACET_OK && facet_directory_list(path, arena, &names, &n_names) == FACET_OK);
  for (int64_t i = 0; i < n_names; i++) {
    long long step;
    if (sscanf(names[i], "step-%lld%c", &step, &end) == 1 && step > newest) newest = step;
  }
  facet_arena_destroy(&arena);
  return newest;
}

const char *tiny_best(const char *run) {
  static char name[64];
  const ssize_t n = readlink(tiny_path("%s/checkpoints/best", run), name, sizeof name - 1);
  cr_assert(n > 0, "run %s has no best checkpoint", run);
  name[n] = '\0';
  return name;
}

size_t tiny_read(const char *run, const char *checkpoint, const char *name, float *values, size_t capacity) {
  const char *path = tiny_path("%s/checkpoints/%s/model.h5", run, checkpoint);
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, name, H5P_DEFAULT);
  cr_assert(set >= 0, "%s: no data set %s", path, name);
  hid_t space = H5Dget_space(set);
  const size_t n = (size_t)H5Sget_simple_extent_npoints(space);
  cr_assert(n <= capacity, "%s has %zu values", name, n);
  cr_assert(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Sclose(space);
  H5Dclose(set);
  H5Fclose(file);
  return n;
}

bool tiny_same_file(const char *a, const char *b) {
  char hex_a[33], hex_b[33];
  int64_t n_a, n_b;
  cr_assert(facet_file_checksum(a, hex_a, &n_a) == FACET_OK && facet_file_checksum(b, hex_b, &n_b) == FACET_OK, "%s",
            facet_error_get()->message);
  return n_a == n_b && strcmp(hex_a, hex_b) == 0;
}

void tiny_expect_same_run(const char *a, const char *b) {
  json_t *lines_a = tiny_lines_without_time(a), *lines_b = tiny_lines_without_time(b);
  const size_t n = json_array_size(lines_a);
  cr_assert(json_array_size(lines_b) == n, "%zu lines in %s, %zu in %s", n, a, json_array_size(lines_b), b);
  for (size_t i = 0; i < n; i++)
    cr_assert(json_equal(json_array_get(lines_a, i), json_array_get(lines_b, i)), "%s\n%s",
              json_dumps(json_array_get(lines_a, i), JSON_COMPACT),
              json_dumps(json_array_get(lines_b, i), JSON_COMPACT));
  json_decref(lines_a);
  json_decref(lines_b);
  const int64_t step = tiny_newest_step(a);
  cr_assert(step > 0 && tiny_newest_step(b) == step, "checkpoint %lld, %lld", (long long)step,
            (long long)tiny_newest_step(b));
  const char *model_a = tiny_path("%s/checkpoints/step-%08lld/model.h5", a, (long long)step);
  const char *model_b = tiny_path("%s/checkpoints/step-%08lld/model.h5", b, (long long)step);
  cr_assert(tiny_same_file(model_a, model_b), "%s and %s differ", model_a, model_b);
}

/* ---- damage ---------------------------------------------------------------------------------------------------- */

void tiny_poke(const char *file, const char *dataset, int64_t element, double value) {
  test_hdf5_poke(tiny_path("%s", file), dataset, element, value);
}
