#include "train/run_log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "facet/file.h"
#include "facet/memory.h"
#include "train/event_file.h"

#define MAX_FILE_BYTES ((size_t)1 << 32)
#define MAX_PARTS 48

struct facet_run_log {
  int descriptor;
  facet_event_file *events;
  char path[FACET_PATH_MAX];
};

static facet_status log_path(const char *run_directory, char *path) {
  return facet_path_format(path, "%s/metrics.jsonl", run_directory);
}

/* ---- cutting back ----------------------------------------------------------------------------------------------- */

static bool has_type(const json_t *object, const char *type) {
  const char *value = json_string_value(json_object_get(object, "type"));
  return value && strcmp(value, type) == 0;
}

static bool is_kept(const json_t *object, int64_t step, bool evaluated) {
  const json_t *at = json_object_get(object, "step");
  if (has_type(object, "summary") || json_is_true(json_object_get(object, "final"))) return false;
  const int64_t last = has_type(object, "evaluate") && !evaluated ? step - 1 : step;
  return json_is_integer(at) && json_integer_value(at) <= last;
}

/* Moves the kept lines to the front of `text`; returns their bytes. */
static size_t keep_lines(char *text, int64_t step, bool evaluated) {
  size_t kept = 0;
  for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
    size_t length = (size_t)(end - line) + 1;
    json_t *object = json_loadb(line, length, 0, NULL);
    if (object && is_kept(object, step, evaluated)) {
      memmove(text + kept, line, length);
      kept += length;
    }
    json_decref(object);
  }
  return kept;
}

static facet_status cut(const char *path, int64_t step, bool evaluated) {
  char *text = NULL;
  size_t n_bytes = 0;
  facet_status status = FACET_OK;
  if (!facet_file_exists(path)) return FACET_OK;
  FACET_TRY(facet_file_read(path, MAX_FILE_BYTES, &text, &n_bytes));
  size_t kept = keep_lines(text, step, evaluated);
  if (kept < n_bytes) status = facet_file_write(path, text, kept);
  facet_memory_free(text);
  return status;
}

facet_status facet_run_log_is_complete(const char *run_directory, int64_t step, bool *complete) {
  char path[FACET_PATH_MAX], *text = NULL;
  size_t n_bytes = 0;
  *complete = false;
  FACET_TRY(log_path(run_directory, path));
  if (!facet_file_exists(path)) return FACET_OK;
  FACET_TRY(facet_file_read(path, MAX_FILE_BYTES, &text, &n_bytes));
  if (n_bytes > 0 && text[n_bytes - 1] == '\n') {
    text[n_bytes - 1] = '\0';
    const char *last = strrchr(text, '\n');
    json_t *object = json_loads(last ? last + 1 : text, 0, NULL);
    *complete = has_type(object, "summary") && json_integer_value(json_object_get(object, "step")) == step;
    json_decref(object);
  }
  facet_memory_free(text);
  return FACET_OK;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

facet_status facet_run_log_open(const char *run_directory, int64_t step, bool evaluated, facet_run_log **out) {
  facet_status status = FACET_OK;
  facet_run_log *log;
  FACET_TRY(FACET_ALLOC(log, 1, "run log"));
  log->descriptor = -1;
  FACET_TRY_GOTO(status, fail, log_path(run_directory, log->path));
  FACET_TRY_GOTO(status, fail, cut(log->path, step, evaluated));
  log->descriptor = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (log->descriptor < 0) {
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "cannot write %s: %s", log->path, strerror(errno));
    goto fail;
  }
  FACET_TRY_GOTO(status, fail, facet_event_file_open(run_directory, step, evaluated, &log->events));
  *out = log;
  return FACET_OK;
fail:
  facet_run_log_close(&log);
  return status;
}

void facet_run_log_close(facet_run_log **log) {
  if (!*log) return;
  if ((*log)->descriptor >= 0) close((*log)->descriptor); /* every line was written, those that count were synced */
  facet_event_file_close(&(*log)->events);
  facet_memory_free(*log);
  *log = NULL;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* Appends a line in one write; takes the object over. */
static facet_status write_line(facet_run_log *log, json_t *object) {
  const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(10), n_bytes = json_dumpb(object, NULL, 0, flags);
  char *line = NULL;
  facet_status status = FACET_ALLOC(line, n_bytes + 1, "line of metrics");
  if (status == FACET_OK && (n_bytes == 0 || json_dumpb(object, line, n_bytes, flags) != n_bytes))
    status = facet_error_set(FACET_ERROR_INTERNAL, __FILE__, __LINE__, "cannot make a line of %s", log->path);
  if (status == FACET_OK) {
    line[n_bytes] = '\n';
    status = facet_descriptor_write(log->descriptor, log->path, line, n_bytes + 1);
  }
  facet_memory_free(line);
  json_decref(object);
  return status;
}

facet_status facet_run_log_sync(facet_run_log *log) {
  FACET_TRY(facet_descriptor_sync(log->descriptor, log->path));
  return facet_event_file_sync(log->events);
}

static void set_number(json_t *object, const char *key, double value) {
  json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null());
}

static json_t *make_object(const char *type, const char *split, const facet_log_point *point) {
  json_t *object = json_object();
  json_object_set_new(object, "type", json_string(type));
  if (split) json_object_set_new(object, "split", json_string(split));
  json_object_set_new(object, "step", json_integer(point->step));
  set_number(object, "epoch", point->epoch);
  json_object_set_new(object, "samples", json_integer(point->samples));
  return object;
}

facet_status facet_run_log_train(facet_run_log *log, const facet_train_record *record) {
  const struct {
    const char *key, *tag;
    double value;
  } fixed[] = {{"lr", "lr/dense", record->lr},
               {"lr_sparse", "lr/sparse", record->lr_sparse},
               {"grad_norm", "global_gradient_norm", record->grad_norm},
               {"samples_per_second", "samples_per_second", record->samples_per_second},
               {"data_wait", "data_wait", record->data_wait}};
  enum { N_FIXED = sizeof fixed / sizeof fixed[0] };
  const char *tags[MAX_PARTS + N_FIXED + 1] = {"loss/total"};
  double values[MAX_PARTS + N_FIXED + 1] = {record->loss};
  int n = 1;
  json_t *object = make_object("train", NULL, &record->point);
  set_number(object, "loss", record->loss);
  for (int i = 0; i < record->n_parts; i++) {
    set_number(object, record->parts[i].name, record->parts[i].value);
    if (i >= MAX_PARTS) continue;
    tags[n] = record->parts[i].name;
    values[n++] = record->parts[i].value;
  }
  for (int i = 0; i < N_FIXED; i++) {
    set_number(object, fixed[i].key, fixed[i].value);
    tags[n] = fixed[i].tag;
    values[n++] = fixed[i].value;
  }
  FACET_TRY(write_line(log, object));
  return facet_event_file_write(log->events, record->point.step, n, tags, values);
}

facet_status facet_run_log_evaluate(facet_run_log *log, const facet_log_point *point, const char *split, bool final,
                                    const facet_metrics_result *result) {
  char text[16][64];
  const char *tags[16];
  double values[16];
  int n = 0;
  json_t *object = make_object("evaluate", split, point);
  for (; n < 16 && facet_metric_names[n]; n++) {
    values[n] = facet_metric_value(result, facet_metric_names[n]);
    set_number(object, facet_metric_names[n], values[n]);
    snprintf(text[n], sizeof text[n], "%s/%s", final ? "test" : "eval", facet_metric_names[n]);
    tags[n] = text[n];
  }
  json_object_set_new(object, "n_samples", json_integer(result->n_samples));
  json_object_set_new(object, "n_positives", json_integer(result->n_positives));
  if (final) json_object_set_new(object, "final", json_true());
  FACET_TRY(write_line(log, object));
  return facet_event_file_write(log->events, point->step, n, tags, values);
}

facet_status facet_run_log_summary(facet_run_log *log, const facet_log_point *point, const char *monitor,
                                   const facet_train_state *state) {
  json_t *object = make_object("summary", NULL, point);
  json_object_set_new(object, "best_step", json_integer(state->best_step));
  json_object_set_new(object, "monitor", json_string(monitor));
  set_number(object, "best", state->best_metric);
  set_number(object, "train_seconds", state->train_seconds);
  FACET_TRY(write_line(log, object));
  return facet_run_log_sync(log);
}
