/* The checkpoints of a run: manifest, verification, newest, best, pruning. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/hdf5.h"
#include "facet/file.h"
#include "facet/log.h"
#include "facet/memory.h"
#include "train/checkpoint_internal.h"

#define MANIFEST_MAX_BYTES ((size_t)1 << 20)
#define MANIFEST_FORMAT (JSON_INDENT(2) | JSON_SORT_KEYS)

const char *const checkpoint_files[CHECKPOINT_N_FILES] = {"model.h5", "config.yaml", "schema.yaml"};

facet_status checkpoint_step_path(char *path, const char *run_directory, int64_t step) {
  return facet_path_format(path, "%s/checkpoints/step-%08lld", run_directory, (long long)step);
}

facet_status checkpoint_vocabulary_hash(const char *data_path, const char *name, uint64_t *hash) {
  char path[FACET_PATH_MAX];
  *hash = 0;
  FACET_TRY(facet_path_format(path, "%s/vocab/%s.h5", data_path, name));
  if (!facet_file_exists(path)) return FACET_OK;
  FACET_HDF5_GUARD;
  hid_t file;
  FACET_TRY(facet_hdf5_open(path, &file));
  facet_status status = facet_hdf5_get_uint64(file, "hash", hash);
  facet_hdf5_close(&file);
  return status;
}

/* ---- manifest: {"facet_checkpoint": 1, "files": {name: {"bytes": n, "xxh3_128": hex}}, "checksum": hex} ---------- */

/* XXH3 of the manifest's text without its own checksum. */
static facet_status manifest_checksum(json_t *manifest, char hex[17]) {
  char *text = json_dumps(manifest, MANIFEST_FORMAT);
  FACET_CHECK(text, FACET_ERROR_INTERNAL, "cannot format a manifest");
  snprintf(hex, 17, "%016llx", (unsigned long long)facet_hash64(text, strlen(text)));
  free(text);
  return FACET_OK;
}

/* The manifest that the files of a directory have now; the caller owns *manifest. */
static facet_status manifest_make(const char *directory, json_t **manifest) {
  json_t *files = json_object();
  *manifest = json_pack("{s:i, s:o}", "facet_checkpoint", CHECKPOINT_VERSION, "files", files);
  facet_status status = *manifest ? FACET_OK : FACET_ERROR_INTERNAL;
  for (int i = 0; status == FACET_OK && i < CHECKPOINT_N_FILES; i++) {
    char path[FACET_PATH_MAX], hex[33];
    int64_t n_bytes;
    status = facet_path_format(path, "%s/%s", directory, checkpoint_files[i]);
    if (status == FACET_OK) status = facet_file_checksum(path, hex, &n_bytes);
    if (status == FACET_OK)
      json_object_set_new(files, checkpoint_files[i],
                          json_pack("{s:I, s:s}", "bytes", (json_int_t)n_bytes, "xxh3_128", hex));
  }
  char checksum[17];
  if (status == FACET_OK) status = manifest_checksum(*manifest, checksum);
  if (status == FACET_OK)
    json_object_set_new(*manifest, "checksum", json_string(checksum));
  else
    json_decref(*manifest);
  return status;
}

facet_status checkpoint_write_manifest(const char *directory) {
  char path[FACET_PATH_MAX];
  json_t *manifest;
  FACET_TRY(facet_path_format(path, "%s/manifest.json", directory));
  FACET_TRY(manifest_make(directory, &manifest));
  char *text = json_dumps(manifest, MANIFEST_FORMAT);
  json_decref(manifest);
  FACET_CHECK(text, FACET_ERROR_INTERNAL, "cannot format %s", path);
  facet_status status = facet_file_write(path, text, strlen(text));
  free(text);
  return status;
}

/* Names the first file whose size or checksum differs from the manifest's. */
static facet_status manifest_compare(const char *directory, const json_t *stored, const json_t *now) {
  for (int i = 0; i < CHECKPOINT_N_FILES; i++) {
    const char *name = checkpoint_files[i];
    const json_t *a = json_object_get(json_object_get(stored, "files"), name);
    const json_t *b = json_object_get(json_object_get(now, "files"), name);
    FACET_CHECK(a, FACET_ERROR_IO, "%s/manifest.json: %s is not listed", directory, name);
    const long long expected = json_integer_value(json_object_get(a, "bytes")),
                    found = json_integer_value(json_object_get(b, "bytes"));
    FACET_CHECK(expected == found, FACET_ERROR_IO, "%s/%s has %lld bytes, the manifest says %lld", directory, name,
                found, expected);
    FACET_CHECK(json_equal(a, b), FACET_ERROR_IO, "%s/%s is damaged: its checksum is %s, the manifest says %s",
                directory, name, json_string_value(json_object_get(b, "xxh3_128")),
                json_string_value(json_object_get(a, "xxh3_128")));
  }
  FACET_FAIL(FACET_ERROR_IO, "%s/manifest.json is damaged", directory);
}

facet_status facet_checkpoint_verify(const char *path) {
  char manifest_path[FACET_PATH_MAX], *text = NULL, *expected = NULL;
  size_t n_bytes;
  json_t *stored = NULL, *now = NULL;
  facet_status status;
  FACET_TRY(facet_path_format(manifest_path, "%s/manifest.json", path));
  FACET_CHECK(facet_file_exists(manifest_path), FACET_ERROR_IO,
              "%s is not a complete checkpoint: it has no manifest.json", path);
  FACET_TRY_GOTO(status, done, manifest_make(path, &now));
  FACET_TRY_GOTO(status, done, facet_file_read(manifest_path, MANIFEST_MAX_BYTES, &text, &n_bytes));
  /* The text must be, byte for byte, what would be written for these files. */
  expected = json_dumps(now, MANIFEST_FORMAT);
  if (expected && strlen(expected) == n_bytes && memcmp(expected, text, n_bytes) == 0) goto done;
  stored = json_loadb(text, n_bytes, 0, NULL);
  status = manifest_compare(path, stored, now);
done:
  free(expected);
  json_decref(stored);
  json_decref(now);
  facet_memory_free(text);
  return status;
}

/* ---- which checkpoints there are --------------------------------------------------------------------------------- */

static int compare_descending(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x < y) - (x > y);
}

facet_status checkpoint_list_steps(const char *run_directory, int64_t **steps, int64_t *n_steps) {
  facet_arena *arena = NULL;
  char parent[FACET_PATH_MAX], **names;
  int64_t n_names;
  *steps = NULL;
  *n_steps = 0;
  facet_status status;
  FACET_TRY(facet_path_format(parent, "%s/checkpoints", run_directory));
  if (!facet_directory_exists(parent)) return FACET_OK;
  FACET_TRY_GOTO(status, done, facet_arena_create(&arena));
  FACET_TRY_GOTO(status, done, facet_directory_list(parent, arena, &names, &n_names));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(*steps, n_names, "list of checkpoints"));
  for (int64_t i = 0; i < n_names; i++) {
    char *end;
    if (strncmp(names[i], "step-", 5) != 0) continue;
    const long long step = strtoll(names[i] + 5, &end, 10);
    if (*end == 0 && end != names[i] + 5) (*steps)[(*n_steps)++] = step;
  }
  qsort(*steps, (size_t)*n_steps, sizeof **steps, compare_descending);
done:
  facet_arena_destroy(&arena);
  return status;
}

facet_status facet_checkpoint_newest(const char *run_directory, char *path) {
  int64_t *steps, n_steps;
  path[0] = 0;
  FACET_TRY(checkpoint_list_steps(run_directory, &steps, &n_steps));
  facet_status status = FACET_OK;
  int64_t i = 0;
  for (; i < n_steps; i++) {
    status = checkpoint_step_path(path, run_directory, steps[i]);
    if (status == FACET_OK) status = facet_checkpoint_verify(path);
    if (status == FACET_OK) break;
    if (i + 1 < n_steps) facet_warn("%s; using an older checkpoint", facet_error_get()->message);
  }
  if (status != FACET_OK) {
    path[0] = 0;
    facet_error_context("none of the %lld checkpoints of %s is complete", (long long)n_steps, run_directory);
    facet_error_hint("start again in another directory, or restore a checkpoint from a copy");
  }
  facet_memory_free(steps);
  return status;
}

/* Step that `best` points at; −1 if there is none. */
static int64_t best_step(const char *run_directory) {
  char link[FACET_PATH_MAX], target[256], *end;
  if (facet_path_format(link, "%s/checkpoints/best", run_directory) != FACET_OK) return -1;
  const ssize_t n = readlink(link, target, sizeof target - 1);
  if (n <= 5) return -1;
  target[n] = 0;
  const long long step = strtoll(target + 5, &end, 10);
  return strncmp(target, "step-", 5) == 0 && *end == 0 ? step : -1;
}

facet_status facet_checkpoint_resolve(const char *path, char *checkpoint_path) {
  char inner[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(inner, "%s/manifest.json", path));
  if (facet_file_exists(inner)) return facet_path_format(checkpoint_path, "%s", path);
  FACET_TRY(facet_path_format(inner, "%s/checkpoints", path));
  FACET_CHECK(facet_directory_exists(inner), FACET_ERROR_USAGE,
              "%s is neither a checkpoint (manifest.json) nor the directory of a run (checkpoints/)", path);
  const int64_t best = best_step(path);
  if (best >= 0) return checkpoint_step_path(checkpoint_path, path, best);
  FACET_TRY(facet_checkpoint_newest(path, checkpoint_path));
  FACET_CHECK(checkpoint_path[0], FACET_ERROR_USAGE, "%s has no checkpoint", inner);
  return FACET_OK;
}

facet_status facet_checkpoint_mark_best(const char *run_directory, int64_t step) {
  char parent[FACET_PATH_MAX], link[FACET_PATH_MAX], temporary[FACET_PATH_MAX], target[64];
  FACET_TRY(facet_path_format(parent, "%s/checkpoints", run_directory));
  FACET_TRY(facet_path_format(link, "%s/best", parent));
  FACET_TRY(facet_path_format(temporary, "%s/.tmp-best", parent));
  snprintf(target, sizeof target, "step-%08lld", (long long)step);
  FACET_CHECK(unlink(temporary) == 0 || errno == ENOENT, FACET_ERROR_IO, "cannot remove %s: %s", temporary,
              strerror(errno));
  FACET_CHECK(symlink(target, temporary) == 0, FACET_ERROR_IO, "cannot create %s: %s", temporary, strerror(errno));
  FACET_TRY(facet_file_rename(temporary, link));
  return facet_directory_sync(parent);
}

/* A removal that is interrupted leaves a .tmp- directory, never half a checkpoint under its name. */
static facet_status remove_step(const char *run_directory, int64_t step) {
  char path[FACET_PATH_MAX], doomed[FACET_PATH_MAX];
  FACET_TRY(checkpoint_step_path(path, run_directory, step));
  FACET_TRY(facet_path_format(doomed, "%s/checkpoints/.tmp-old-%08lld", run_directory, (long long)step));
  FACET_TRY(facet_file_rename(path, doomed));
  return facet_directory_remove(doomed);
}

facet_status facet_checkpoint_prune(const char *run_directory, int64_t keep) {
  int64_t *steps, n_steps;
  FACET_TRY(checkpoint_list_steps(run_directory, &steps, &n_steps));
  const int64_t best = best_step(run_directory);
  facet_status status = FACET_OK;
  for (int64_t i = keep > 1 ? keep : 1; status == FACET_OK && i < n_steps; i++)
    if (steps[i] != best) status = remove_step(run_directory, steps[i]);
  facet_memory_free(steps);
  return status;
}
