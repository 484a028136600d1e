/* A vocabulary file. What is accepted finds every token, and is equal after writing and reading. */
#include <string.h>

#include "facet/vocabulary.h"

#include "common/data_set.h"
#include "common/fuzz.h"
#include "common/hdf5_file.h"
#include "data/inspect.h"

static FILE *nowhere;

static void begin(void) {
  const char *base = fuzz_path("base.h5");
  fuzz_vocabulary_write(base);
  fuzz_hdf5_begin(base);
  nowhere = fopen("/dev/null", "w");
}

static void end(void) {
  fclose(nowhere);
}

static uint64_t hash(const facet_vocabulary *vocabulary) {
  return facet_vocabulary_hash_prefix(vocabulary, facet_vocabulary_size(vocabulary));
}

static void check_tokens(const facet_vocabulary *vocabulary) {
  for (int64_t id = 2; id < facet_vocabulary_size(vocabulary); id++) {
    size_t n_bytes;
    const char *token = facet_vocabulary_token(vocabulary, id, &n_bytes);
    FUZZ_CHECK(facet_vocabulary_find(vocabulary, token, n_bytes) == id, "a token is not found");
  }
}

static void run(const uint8_t *data, size_t n_bytes) {
  facet_vocabulary *vocabulary, *again;
  const char *path = fuzz_path("item.h5"), *written = fuzz_path("written.h5");
  fuzz_hdf5_make(data, n_bytes, path);
  const bool is_sound = fuzz_verdict(facet_vocabulary_load(path, &vocabulary));
  if (is_sound) {
    check_tokens(vocabulary);
    FUZZ_MUST(facet_vocabulary_save(vocabulary, written));
    FUZZ_MUST(facet_vocabulary_load(written, &again));
    FUZZ_CHECK(hash(again) == hash(vocabulary), "a vocabulary that was written and read");
    facet_vocabulary_destroy(&again);
    facet_vocabulary_destroy(&vocabulary);
  }
  const facet_inspect_request request = {.path = path, .n_rows = 8, .out = nowhere};
  FUZZ_CHECK(fuzz_verdict(facet_inspect_vocabulary(&request)) || !is_sound, "a sound vocabulary cannot be inspected");
}

const fuzz_target fuzz = {
    .max_bytes = 256, .is_hdf5 = true, .begin = begin, .run = run, .end = end, .seeds = fuzz_hdf5_seeds};
