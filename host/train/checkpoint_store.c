/* The checkpoints of a run: which there are, the newest, the best, pruning. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "facet/file.h"
#include "facet/log.h"
#include "facet/memory.h"
#include "train/checkpoint_internal.h"

#define STEP_FORMAT "step-%08lld"
#define MAX_NAME 48

facet_status checkpoint_step_path(char *path, const char *run_directory, int64_t step) {
  return facet_path_format(path, "%s/checkpoints/" STEP_FORMAT, run_directory, (long long)step);
}

facet_status checkpoint_old_path(char *path, const char *run_directory, int64_t step) {
  return facet_path_format(path, "%s/checkpoints/" STEP_FORMAT ".old", run_directory, (long long)step);
}

/* ---- which checkpoints there are --------------------------------------------------------------------------------- */

typedef struct entry {
  int64_t step;
  bool is_old; /* step-00001000.old */
} entry;

static facet_status entry_path(char *path, const char *run_directory, entry e) {
  return e.is_old ? checkpoint_old_path(path, run_directory, e.step)
                  : checkpoint_step_path(path, run_directory, e.step);
}

/* True if `name` is exactly what a checkpoint is named. */
static bool parse_name(const char *name, entry *e) {
  char expected[MAX_NAME];
  if (strncmp(name, "step-", 5) != 0) return false;
  e->step = strtoll(name + 5, NULL, 10);
  const int n = snprintf(expected, sizeof expected, STEP_FORMAT, (long long)e->step);
  e->is_old = strcmp(name + strnlen(name, (size_t)n), ".old") == 0;
  return strncmp(name, expected, (size_t)n) == 0 && (name[n] == '\0' || e->is_old);
}

/* The newest first; one that was put aside after its replacement. */
static int compare_entries(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->step != y->step) return x->step < y->step ? 1 : -1;
  return (int)x->is_old - (int)y->is_old;
}

/* The caller frees *entries with facet_memory_free, also after an error. */
static facet_status list_entries(const char *run_directory, entry **entries, int64_t *n_entries) {
  facet_arena *arena = NULL;
  char parent[FACET_PATH_MAX], **names;
  int64_t n_names;
  facet_status status;
  *entries = NULL;
  *n_entries = 0;
  FACET_TRY(facet_path_format(parent, "%s/checkpoints", run_directory));
  if (!facet_directory_exists(parent)) return FACET_OK;
  FACET_TRY_GOTO(status, done, facet_arena_create(&arena));
  FACET_TRY_GOTO(status, done, facet_directory_list(parent, arena, &names, &n_names));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(*entries, n_names, "list of checkpoints"));
  for (int64_t i = 0; i < n_names; i++)
    if (parse_name(names[i], &(*entries)[*n_entries])) (*n_entries)++;
  if (*n_entries > 0) qsort(*entries, (size_t)*n_entries, sizeof **entries, compare_entries);
done:
  facet_arena_destroy(&arena);
  return status;
}

facet_status checkpoint_list(const char *run_directory, facet_arena *arena, char ***paths, int64_t *n_paths) {
  entry *entries;
  char path[FACET_PATH_MAX];
  facet_status status;
  FACET_TRY_GOTO(status, done, list_entries(run_directory, &entries, n_paths));
  *paths = facet_arena_alloc(arena, (size_t)*n_paths, sizeof **paths);
  FACET_TRY_GOTO(status, done, *paths ? FACET_OK : FACET_ERROR_INTERNAL);
  for (int64_t i = 0; i < *n_paths; i++) {
    FACET_TRY_GOTO(status, done, entry_path(path, run_directory, entries[i]));
    (*paths)[i] = facet_arena_strdup(arena, path);
    FACET_TRY_GOTO(status, done, (*paths)[i] ? FACET_OK : FACET_ERROR_INTERNAL);
  }
done:
  facet_memory_free(entries);
  return status;
}

/* ---- the newest and the best ------------------------------------------------------------------------------------- */

/* Only damage (FACET_ERROR_IO) makes an older checkpoint an answer. */
static facet_status find_newest(const char *run_directory, const entry *entries, int64_t n_entries, char *path) {
  for (int64_t i = 0; i < n_entries; i++) {
    FACET_TRY(entry_path(path, run_directory, entries[i]));
    const facet_status status = facet_checkpoint_verify(path);
    if (status != FACET_ERROR_IO) return status;
    if (i + 1 < n_entries) facet_warn("%s; trying an older checkpoint", facet_error_get()->message);
  }
  path[0] = '\0';
  if (n_entries == 0) return FACET_OK;
  facet_error_context("none of the %lld checkpoints of %s is complete", (long long)n_entries, run_directory);
  facet_error_hint("restore a checkpoint from a copy, or start again with another --output");
  return FACET_ERROR_IO;
}

facet_status facet_checkpoint_newest(const char *run_directory, char *path) {
  entry *entries;
  int64_t n_entries;
  path[0] = '\0';
  facet_status status = list_entries(run_directory, &entries, &n_entries);
  if (status == FACET_OK) status = find_newest(run_directory, entries, n_entries, path);
  if (status != FACET_OK) path[0] = '\0';
  facet_memory_free(entries);
  return status;
}

int64_t checkpoint_best_step(const char *run_directory) {
  char link[FACET_PATH_MAX], target[MAX_NAME];
  entry e;
  if (facet_path_format(link, "%s/checkpoints/best", run_directory) != FACET_OK) return -1;
  const ssize_t n = readlink(link, target, sizeof target - 1);
  if (n <= 0) return -1;
  target[n] = '\0';
  return parse_name(target, &e) && !e.is_old ? e.step : -1;
}

facet_status facet_checkpoint_resolve(const char *path, char *checkpoint_path) {
  char inner[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(inner, "%s/manifest.json", path));
  if (facet_file_exists(inner)) return facet_path_format(checkpoint_path, "%s", path);
  FACET_TRY(facet_path_format(inner, "%s/checkpoints", path));
  FACET_CHECK(facet_directory_exists(inner), FACET_ERROR_USAGE,
              "%s is neither a checkpoint (manifest.json) nor the directory of a run (checkpoints/)", path);
  const int64_t best = checkpoint_best_step(path);
  if (best >= 0) return checkpoint_step_path(checkpoint_path, path, best);
  FACET_TRY(facet_checkpoint_newest(path, checkpoint_path));
  FACET_CHECK(checkpoint_path[0], FACET_ERROR_USAGE, "%s holds no checkpoint", inner);
  return FACET_OK;
}

facet_status facet_checkpoint_mark_best(const char *run_directory, int64_t step) {
  char link[FACET_PATH_MAX], temporary[FACET_PATH_MAX], target[MAX_NAME];
  if (checkpoint_best_step(run_directory) == step) return FACET_OK;
  FACET_TRY(facet_path_format(link, "%s/checkpoints/best", run_directory));
  FACET_TRY(facet_path_format(temporary, "%s/checkpoints/.tmp-best", run_directory));
  snprintf(target, sizeof target, STEP_FORMAT, (long long)step);
  FACET_CHECK(unlink(temporary) == 0 || errno == ENOENT, FACET_ERROR_IO, "cannot remove %s: %s", temporary,
              strerror(errno));
  FACET_CHECK(symlink(target, temporary) == 0, FACET_ERROR_IO, "cannot create %s: %s", temporary, strerror(errno));
  return facet_file_rename(temporary, link);
}

/* ---- pruning ----------------------------------------------------------------------------------------------------- */

/* A removal that is interrupted leaves a .tmp- directory, never half a checkpoint under its name. */
static facet_status remove_entry(const char *run_directory, entry e) {
  char path[FACET_PATH_MAX], doomed[FACET_PATH_MAX];
  FACET_TRY(entry_path(path, run_directory, e));
  FACET_TRY(facet_path_format(doomed, "%s/checkpoints/.tmp-doomed", run_directory));
  FACET_TRY(facet_directory_remove(doomed));
  FACET_TRY(facet_file_rename(path, doomed));
  return facet_directory_remove(doomed);
}

facet_status facet_checkpoint_prune(const char *run_directory, int64_t step, int64_t keep) {
  entry *entries;
  int64_t n_entries, n_kept = 0;
  facet_status status = list_entries(run_directory, &entries, &n_entries);
  const int64_t best = checkpoint_best_step(run_directory);
  for (int64_t i = 0; status == FACET_OK && i < n_entries; i++) {
    if (entries[i].step > step) continue;
    if (n_kept++ < (keep > 1 ? keep : 1) || (entries[i].step == best && !entries[i].is_old)) continue;
    status = remove_entry(run_directory, entries[i]);
  }
  facet_memory_free(entries);
  return status;
}
