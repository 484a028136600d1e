/* manifest.json of a checkpoint: as it is, and, where it is JSON, written as facet writes it with its own checksum made
 * right, so that what is behind the checksum is reached. No other manifest than the true one is accepted. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checkpoint.h"
#include "common/fuzz.h"
#include "train/checkpoint_internal.h"

static char directory[FACET_PATH_MAX], path[FACET_PATH_MAX], *sound;
static size_t n_sound;

static void begin(void) {
  fuzz_checkpoint c;
  fuzz_checkpoint_create(&c);
  FUZZ_MUST(facet_path_format(directory, "%s", c.path));
  FUZZ_MUST(facet_path_format(path, "%s/manifest.json", c.path));
  sound = fuzz_read(path, &n_sound);
  fuzz_checkpoint_destroy(&c);
}

static void end(void) {
  facet_memory_free(sound);
}

static bool verify(void) {
  return fuzz_verdict(facet_checkpoint_verify(directory));
}

/* Writes the manifest again with its checksum. */
static void seal(json_t *manifest) {
  const size_t flags = JSON_INDENT(2) | JSON_SORT_KEYS;
  char hex[17];
  json_object_del(manifest, "checksum");
  char *text = json_dumps(manifest, flags);
  if (!text) return;
  snprintf(hex, sizeof hex, "%016llx", (unsigned long long)facet_hash64(text, strlen(text)));
  free(text);
  json_object_set_new(manifest, "checksum", json_string(hex));
  if (!(text = json_dumps(manifest, flags))) return;
  fuzz_write(path, text, strlen(text));
  free(text);
}

static void run(const uint8_t *data, size_t n_bytes) {
  fuzz_write(path, data, n_bytes);
  FUZZ_CHECK(verify() == (n_bytes == n_sound && memcmp(data, sound, n_bytes) == 0), "another manifest is accepted");
  json_t *manifest = json_loadb((const char *)data, n_bytes, JSON_REJECT_DUPLICATES, NULL);
  if (json_is_object(manifest)) {
    seal(manifest);
    verify();
  }
  json_decref(manifest);
}

static void seeds(fuzz_emit emit) {
  static const char other[] = "{\"facet_checkpoint\": 1, \"files\": {\"model.h5\": {\"bytes\": 1, \"xxh3_128\": []}}, "
                              "\"train_seconds\": \"x\"}";
  emit("sound", sound, n_sound);
  emit("other", other, sizeof other - 1);
}

const fuzz_target fuzz = {.begin = begin, .run = run, .end = end, .seeds = seeds};
