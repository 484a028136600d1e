#include "train/run_directory.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "facet/model.h"

/* ---- the same configuration? ------------------------------------------------------------------------------------ */

/* Value of "section.key" as YAML text, which may be in buffer. */
static const char *format_value(const facet_config *config, const char *name, char *buffer, size_t n_bytes) {
  if (strcmp(name, "model.name") == 0) return config->model->name;
  if (strcmp(name, "data.path") == 0) return config->data_path;
  for (int i = -1; i < facet_config_n_sections; i++) {
    const facet_option_section *section = facet_config_section(config, i);
    const size_t length = strlen(section->name);
    if (strncmp(section->name, name, length) != 0 || name[length] != '.') continue;
    for (const facet_option *option = section->options; option->key; option++)
      if (strcmp(option->key, name + length + 1) == 0)
        return facet_option_format(option, facet_config_values(config, i), buffer, n_bytes);
  }
  return "?";
}

/* The run's stored configuration must agree with the requested one. */
static facet_status check_configuration(const facet_train_request *request, const char *config_path) {
  char stored_text[FACET_PATH_MAX], text[FACET_PATH_MAX];
  facet_config *stored = NULL;
  facet_status status = FACET_OK;
  FACET_TRY(facet_config_load(config_path, NULL, 0, &stored));
  const char *key = facet_config_difference(stored, request->config);
  if (!key) goto done;
  status = facet_error_set(FACET_ERROR_USAGE, __FILE__, __LINE__,
                           "%s holds a run with another configuration: %s was %s and is now %s", request->run_directory,
                           key, format_value(stored, key, stored_text, sizeof stored_text),
                           format_value(request->config, key, text, sizeof text));
  facet_error_hint("give another --output, or the former value to continue the run");
done:
  facet_config_destroy(&stored);
  return status;
}

/* ---- where to start --------------------------------------------------------------------------------------------- */

/* First entry other than the lock file, or "". */
static facet_status first_entry(const char *directory, char *name, size_t n_bytes) {
  facet_arena *arena = NULL;
  facet_status status = FACET_OK;
  char **names;
  int64_t n_names;
  name[0] = '\0';
  FACET_TRY(facet_arena_create(&arena));
  FACET_TRY_GOTO(status, done, facet_directory_list(directory, arena, &names, &n_names));
  for (int64_t i = 0; i < n_names && !name[0]; i++)
    if (strcmp(names[i], ".lock") != 0) snprintf(name, n_bytes, "%s", names[i]);
done:
  facet_arena_destroy(&arena);
  return status;
}

static facet_status require_empty(const facet_train_request *request, const char *why) {
  char entry[256];
  FACET_TRY(first_entry(request->run_directory, entry, sizeof entry));
  if (!entry[0]) return FACET_OK;
  facet_error_set(FACET_ERROR_USAGE, __FILE__, __LINE__, "%s is not empty (it holds %s), but %s",
                  request->run_directory, entry, why);
  return facet_error_hint("nothing is ever deleted: give another --output, or remove the directory yourself");
}

/* A checkpoint of this run may be taken up if none is newer; one of another run needs an empty directory. */
static facet_status resume_from_path(const facet_train_request *request, char *checkpoint) {
  char newest[FACET_PATH_MAX], given[PATH_MAX], own[PATH_MAX], checkpoints[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(checkpoints, "%s/checkpoints", request->resume_path));
  if (facet_directory_exists(checkpoints))
    FACET_TRY(facet_checkpoint_newest(request->resume_path, checkpoint));
  else
    FACET_TRY(facet_checkpoint_resolve(request->resume_path, checkpoint));
  FACET_CHECK(checkpoint[0], FACET_ERROR_IO, "%s holds no complete checkpoint", request->resume_path);
  FACET_TRY(facet_checkpoint_newest(request->run_directory, newest));
  if (!newest[0]) return require_empty(request, "--resume PATH starts a new run");
  FACET_CHECK(realpath(newest, own) && realpath(checkpoint, given), FACET_ERROR_IO, "cannot resolve %s", checkpoint);
  if (strcmp(own, given) == 0) return FACET_OK;
  facet_error_set(FACET_ERROR_USAGE, __FILE__, __LINE__, "cannot start %s from %s: its newest checkpoint is %s",
                  request->run_directory, checkpoint, newest);
  return facet_error_hint("give another --output to branch off from an earlier or a foreign checkpoint");
}

/* A start that failed before it logged anything leaves nothing to protect. */
static facet_status has_results(const char *run_directory, const char *checkpoint, bool *results) {
  char path[FACET_PATH_MAX];
  struct stat info;
  FACET_TRY(facet_path_format(path, "%s/metrics.jsonl", run_directory));
  *results = checkpoint[0] || (stat(path, &info) == 0 && info.st_size > 0);
  return FACET_OK;
}

static facet_status find_start(const facet_train_request *request, const char *config_path, char *checkpoint) {
  bool results;
  checkpoint[0] = '\0';
  switch (request->resume) {
  case FACET_RESUME_NONE:
    return require_empty(request, "--resume none starts a new run");
  case FACET_RESUME_PATH:
    FACET_TRY(resume_from_path(request, checkpoint));
    break;
  case FACET_RESUME_AUTO:
    FACET_TRY(facet_checkpoint_newest(request->run_directory, checkpoint));
    break;
  }
  FACET_TRY(has_results(request->run_directory, request->resume == FACET_RESUME_AUTO ? checkpoint : "", &results));
  if (!results) return FACET_OK;
  FACET_CHECK(facet_file_exists(config_path), FACET_ERROR_IO, "%s is missing beside the results of a run", config_path);
  return check_configuration(request, config_path);
}

facet_status facet_run_directory_open(const facet_train_request *request, facet_lock *lock, char *checkpoint) {
  char path[FACET_PATH_MAX], config_path[FACET_PATH_MAX];
  facet_status status = FACET_OK;
  FACET_TRY(facet_path_format(path, "%s/.lock", request->run_directory));
  FACET_TRY(facet_path_format(config_path, "%s/config.yaml", request->run_directory));
  FACET_TRY(facet_directory_create(request->run_directory));
  FACET_TRY(facet_lock_acquire(path, lock));
  FACET_TRY_GOTO(status, fail, find_start(request, config_path, checkpoint));
  FACET_TRY_GOTO(status, fail, facet_config_write(request->config, config_path));
  return FACET_OK;
fail:
  facet_lock_release(lock);
  return status;
}
