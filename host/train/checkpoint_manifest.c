/* manifest.json: sizes and checksums of the files of a checkpoint, and a checksum of its own text.
 *
 *   {"checksum": XXH3-64 of the text without this key, "facet_checkpoint": 1,
 *    "files": {"model.h5": {"bytes": 123, "xxh3_128": "…"}, …}, "train_seconds": 1.5} */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "facet/file.h"
#include "facet/memory.h"
#include "train/checkpoint_internal.h"

#define MAX_BYTES ((size_t)1 << 20)

const char *const checkpoint_files[CHECKPOINT_N_FILES] = {"model.h5", "config.yaml", "schema.yaml"};

/* The one text that a manifest has (not 0-terminated); the caller frees it with facet_memory_free. */
static facet_status format(const json_t *manifest, char **text, size_t *n_bytes) {
  const size_t flags = JSON_INDENT(2) | JSON_SORT_KEYS;
  *n_bytes = json_dumpb(manifest, NULL, 0, flags);
  FACET_TRY(FACET_ALLOC(*text, *n_bytes, "text of a manifest"));
  FACET_CHECK(json_dumpb(manifest, *text, *n_bytes, flags) == *n_bytes && *n_bytes > 0, FACET_ERROR_INTERNAL,
              "cannot format a manifest");
  return FACET_OK;
}

static facet_status make_checksum(const json_t *manifest, char hex[17]) {
  char *text = NULL;
  size_t n_bytes;
  const facet_status status = format(manifest, &text, &n_bytes);
  if (status == FACET_OK) snprintf(hex, 17, "%016llx", (unsigned long long)facet_hash64(text, n_bytes));
  facet_memory_free(text);
  return status;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static facet_status set(json_t *object, const char *key, json_t *value) {
  FACET_CHECK(json_object_set_new(object, key, value) == 0, FACET_ERROR_INTERNAL, "cannot allocate a manifest");
  return FACET_OK;
}

static facet_status fill(json_t *manifest, const char *directory, double train_seconds) {
  json_t *list = json_object();
  char path[FACET_PATH_MAX], hex[33];
  FACET_TRY(set(manifest, "facet_checkpoint", json_integer(CHECKPOINT_VERSION)));
  FACET_TRY(set(manifest, "files", list));
  FACET_TRY(set(manifest, "train_seconds", json_real(train_seconds)));
  for (int i = 0; i < CHECKPOINT_N_FILES; i++) {
    int64_t n_bytes;
    FACET_TRY(facet_path_format(path, "%s/%s", directory, checkpoint_files[i]));
    FACET_TRY(facet_file_checksum(path, hex, &n_bytes));
    FACET_TRY(set(list, checkpoint_files[i], json_pack("{s:I, s:s}", "bytes", (json_int_t)n_bytes, "xxh3_128", hex)));
  }
  FACET_TRY(make_checksum(manifest, hex));
  return set(manifest, "checksum", json_string(hex));
}

facet_status checkpoint_write_manifest(const char *directory, double train_seconds) {
  char path[FACET_PATH_MAX], *text = NULL;
  size_t n_bytes;
  json_t *manifest = json_object();
  facet_status status;
  FACET_TRY_GOTO(status, done, facet_path_format(path, "%s/manifest.json", directory));
  FACET_TRY_GOTO(status, done, fill(manifest, directory, train_seconds));
  FACET_TRY_GOTO(status, done, format(manifest, &text, &n_bytes));
  status = facet_file_write(path, text, n_bytes);
done:
  facet_memory_free(text);
  json_decref(manifest);
  return status;
}

/* ---- verifying --------------------------------------------------------------------------------------------------- */

/* The text must be, byte for byte, how a manifest with this content is written, and carry the checksum of it. */
static facet_status check_text(json_t *manifest, const char *path, const char *text, size_t n_bytes) {
  char hex[17], *expected = NULL;
  size_t expected_bytes;
  facet_status status = format(manifest, &expected, &expected_bytes);
  const bool equal = status == FACET_OK && expected_bytes == n_bytes && memcmp(expected, text, n_bytes) == 0;
  facet_memory_free(expected);
  FACET_TRY(status);
  FACET_CHECK(equal, FACET_ERROR_IO, "%s is damaged: it is not written as facet writes it", path);
  json_t *checksum = json_incref(json_object_get(manifest, "checksum"));
  json_object_del(manifest, "checksum");
  status = make_checksum(manifest, hex);
  const char *stored = json_string_value(checksum);
  if (status == FACET_OK && (!stored || strcmp(stored, hex) != 0))
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "%s is damaged: its own checksum is %s, it says %s",
                             path, hex, stored ? stored : "none");
  json_decref(checksum);
  return status;
}

static facet_status check_version(const json_t *manifest, const char *path) {
  const json_int_t version = json_integer_value(json_object_get(manifest, "facet_checkpoint"));
  FACET_CHECK(version >= 1 && version <= CHECKPOINT_VERSION, FACET_ERROR_DATA,
              "%s: a checkpoint of format %lld; this facet reads formats 1 to %d", path, (long long)version,
              CHECKPOINT_VERSION);
  return FACET_OK;
}

static facet_status check_file(const json_t *manifest, const char *directory, const char *name) {
  char path[FACET_PATH_MAX], hex[33];
  int64_t n_bytes;
  const json_t *entry = json_object_get(json_object_get(manifest, "files"), name);
  const long long expected_bytes = json_integer_value(json_object_get(entry, "bytes"));
  const char *expected_hex = json_string_value(json_object_get(entry, "xxh3_128"));
  FACET_CHECK(expected_hex, FACET_ERROR_IO, "%s/manifest.json does not list %s", directory, name);
  FACET_TRY(facet_path_format(path, "%s/%s", directory, name));
  FACET_TRY(facet_file_checksum(path, hex, &n_bytes));
  FACET_CHECK(n_bytes == expected_bytes, FACET_ERROR_IO, "%s is damaged: it has %lld bytes, manifest.json says %lld",
              path, (long long)n_bytes, expected_bytes);
  FACET_CHECK(strcmp(hex, expected_hex) == 0, FACET_ERROR_IO,
              "%s is damaged: its checksum is %s, manifest.json says %s", path, hex, expected_hex);
  return FACET_OK;
}

/* The manifest of a checkpoint, itself undamaged; the caller releases it with json_decref, also after an error. */
static facet_status load(const char *path, json_t **manifest) {
  char manifest_path[FACET_PATH_MAX], *text;
  size_t n_bytes;
  json_error_t error;
  facet_status status;
  *manifest = NULL;
  FACET_TRY(facet_path_format(manifest_path, "%s/manifest.json", path));
  FACET_CHECK(facet_file_exists(manifest_path), FACET_ERROR_IO,
              "%s is not a complete checkpoint: it has no manifest.json", path);
  FACET_TRY(facet_file_read(manifest_path, MAX_BYTES, &text, &n_bytes));
  *manifest = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &error);
  if (*manifest)
    status = check_text(*manifest, manifest_path, text, n_bytes);
  else
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "%s is damaged: %s", manifest_path, error.text);
  facet_memory_free(text);
  return status == FACET_OK ? check_version(*manifest, manifest_path) : status;
}

static double seconds_of(const json_t *manifest) {
  return json_number_value(json_object_get(manifest, "train_seconds"));
}

facet_status checkpoint_read_manifest(const char *path, double *train_seconds) {
  json_t *manifest;
  facet_status status = load(path, &manifest);
  for (int i = 0; status == FACET_OK && i < CHECKPOINT_N_FILES; i++)
    status = check_file(manifest, path, checkpoint_files[i]);
  if (status == FACET_OK) *train_seconds = seconds_of(manifest);
  json_decref(manifest);
  return status;
}

facet_status checkpoint_read_seconds(const char *path, double *train_seconds) {
  json_t *manifest;
  const facet_status status = load(path, &manifest);
  if (status == FACET_OK) *train_seconds = seconds_of(manifest);
  json_decref(manifest);
  return status;
}

facet_status facet_checkpoint_verify(const char *path) {
  double train_seconds;
  return checkpoint_read_manifest(path, &train_seconds);
}
