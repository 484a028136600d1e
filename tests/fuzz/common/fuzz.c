#include "fuzz.h"

#include <hdf5.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "facet/environment.h"

static char directory[256], refusal[sizeof((facet_error *)NULL)->message];

/* ---- options of the sanitizers ----------------------------------------------------------------------------------- */

const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Memory that is short is an answer of facet's, not a fault of its. */
const char *__asan_default_options(void) {
  return "allocator_may_return_null=1:max_allocation_size_mb=1024:detect_leaks=1";
}

/* HDF5 1.10 loses memory on some damaged files. */
const char *__lsan_default_suppressions(void) {
  return "leak:libhdf5\n";
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

const char *fuzz_path(const char *name) {
  static char paths[4][512];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", directory, name);
  return path;
}

void fuzz_write(const char *path, const void *data, size_t n_bytes) {
  FILE *stream = fopen(path, "wb");
  FUZZ_CHECK(stream && fwrite(data, 1, n_bytes, stream) == n_bytes && fclose(stream) == 0, "cannot write an input");
}

char *fuzz_read(const char *path, size_t *n_bytes) {
  char *data;
  FUZZ_MUST(facet_file_read(path, (size_t)1 << 24, &data, n_bytes));
  return data;
}

static void make_directory(void) {
  const char *parent = getenv("TMPDIR");
  if (!parent || !*parent) parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf(directory, sizeof directory, "%s/facet-fuzz-XXXXXX", parent);
  FUZZ_CHECK(mkdtemp(directory), "cannot make a private directory");
}

/* ---- verdicts ---------------------------------------------------------------------------------------------------- */

void fuzz_fail(const char *file, int line, const char *text) {
  const facet_error *error = facet_error_get();
  fprintf(stderr, "%s:%d: %s\n  present error: %s\n", file, line, text, error->status ? error->message : "none");
  abort();
}

bool fuzz_verdict(facet_status status) {
  const facet_error *error = facet_error_get();
  if (status == FACET_OK) return true;
  FUZZ_CHECK(error->status == status, "the error has another status than was returned");
  FUZZ_CHECK(error->message[0] && !strpbrk(error->message, "\n\r"), "the error is not one line");
  FUZZ_CHECK(status == FACET_ERROR_USAGE || status == FACET_ERROR_DATA || status == FACET_ERROR_IO ||
                 strstr(error->message, "cannot allocate"),
             "an input was refused with an internal error");
  if (!refusal[0]) memcpy(refusal, error->message, sizeof refusal);
  return false;
}

const char *fuzz_refusal(void) {
  return refusal;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

fuzz_parts fuzz_split(const uint8_t *data, size_t n_bytes, int max) {
  fuzz_parts parts = {.text = malloc(n_bytes + 1)};
  FUZZ_CHECK(parts.text && max <= FUZZ_MAX_PARTS, "memory for the parts of an input");
  if (n_bytes) memcpy(parts.text, data, n_bytes);
  parts.text[n_bytes] = 0;
  const char *at = parts.text, *end = parts.text + n_bytes;
  for (int i = 0; i < max; i++) {
    const size_t rest = (size_t)(end - at);
    const char *stop = i + 1 < max ? memchr(at, 0, rest) : NULL;
    parts.part[i] = at;
    parts.n_bytes[i] = stop ? (size_t)(stop - at) : rest;
    if (i == 0 || at < end) parts.n = i + 1;
    at = stop ? stop + 1 : end;
  }
  return parts;
}

void fuzz_parts_free(fuzz_parts *parts) {
  free(parts->text);
  parts->text = NULL;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void save_seed(const char *name, const void *data, size_t n_bytes) {
  char path[FACET_PATH_MAX];
  FUZZ_MUST(facet_path_format(path, "%s/seed-%s", getenv("FACET_FUZZ_SEEDS"), name));
  fuzz_write(path, data, n_bytes);
}

static void finish(void) {
  if (fuzz.end) fuzz.end();
  FUZZ_MUST(facet_directory_remove(directory));
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  facet_environment_set(&(facet_environment){.log = FACET_LOG_QUIET});
  make_directory();
  if (fuzz.begin) fuzz.begin();
  atexit(finish);
  if (getenv("FACET_FUZZ_SEEDS")) fuzz.seeds(save_seed);
  return 0;
}

/* A descriptor that is opened and closed again has the lowest free number. */
static int lowest_descriptor(void) {
  const int descriptor = dup(2);
  close(descriptor);
  return descriptor;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  const size_t in_use = facet_memory_in_use();
  const int descriptor = lowest_descriptor();
  refusal[0] = 0;
  fuzz.run(data, n_bytes);
  FUZZ_CHECK(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0, "an object of HDF5 stays open");
  FUZZ_CHECK(lowest_descriptor() == descriptor, "a file stays open");
  FUZZ_CHECK(facet_memory_in_use() == in_use, "memory is not freed");
  facet_error_clear();
  return 0;
}
