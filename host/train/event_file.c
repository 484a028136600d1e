#include "train/event_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "event.pb-c.h"
#include "facet/file.h"

#define PREFIX "events.out.tfevents."
#define MAX_FILE_BYTES ((size_t)1 << 32)
#define MAX_VALUES 64

struct facet_event_file {
  int descriptor;
  char path[FACET_PATH_MAX];
};

/* ---- records ---------------------------------------------------------------------------------------------------- */

uint32_t facet_crc32c(const void *data, size_t n_bytes) {
  const uint8_t *byte = data;
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < n_bytes; i++) {
    crc ^= byte[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

static uint32_t masked_crc(const void *data, size_t n_bytes) {
  uint32_t crc = facet_crc32c(data, n_bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

/* n_bytes of value, lowest first. */
static void put(uint8_t *out, uint64_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; i++) out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *in, int n_bytes) {
  uint64_t value = 0;
  for (int i = 0; i < n_bytes; i++) value |= (uint64_t)in[i] << (8 * i);
  return value;
}

static facet_status write_event(facet_event_file *file, const Facet__Event *event) {
  size_t length = facet__event__get_packed_size(event);
  uint8_t *record; /* header of 12, event, 4 */
  FACET_TRY(FACET_ALLOC(record, length + 16, "TensorBoard event"));
  put(record, length, 8);
  put(record + 8, masked_crc(record, 8), 4);
  facet__event__pack(event, record + 12);
  put(record + 12 + length, masked_crc(record + 12, length), 4);
  const facet_status status = facet_descriptor_write(file->descriptor, file->path, record, length + 16);
  facet_memory_free(record);
  return status;
}

static double wall_time(void) {
  struct timeval now;
  gettimeofday(&now, NULL);
  return (double)now.tv_sec + 1e-6 * (double)now.tv_usec;
}

facet_status facet_event_file_write(facet_event_file *file, int64_t step, int n, const char *const *tags,
                                    const double *values) {
  Facet__SummaryValue value[MAX_VALUES], *pointer[MAX_VALUES];
  Facet__Summary summary = FACET__SUMMARY__INIT;
  Facet__Event event = FACET__EVENT__INIT;
  for (int i = 0; i < n && summary.n_value < MAX_VALUES; i++) {
    if (!isfinite(values[i])) continue;
    size_t k = summary.n_value++;
    facet__summary_value__init(&value[k]);
    value[k].tag = (char *)(uintptr_t)tags[i];
    value[k].value_case = FACET__SUMMARY_VALUE__VALUE_SIMPLE_VALUE;
    value[k].simple_value = (float)values[i];
    pointer[k] = &value[k];
  }
  if (summary.n_value == 0) return FACET_OK;
  summary.value = pointer;
  event.wall_time = wall_time();
  event.step = step;
  event.what_case = FACET__EVENT__WHAT_SUMMARY;
  event.summary = &summary;
  return write_event(file, &event);
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static bool is_kept(const Facet__Event *event, int64_t step, bool evaluated) {
  if (event->step < step || event->what_case != FACET__EVENT__WHAT_SUMMARY) return event->step <= step;
  const char *tag = event->summary->n_value > 0 ? event->summary->value[0]->tag : "";
  return event->step == step && strncmp(tag, "test/", 5) != 0 && (evaluated || strncmp(tag, "eval/", 5) != 0);
}

/* Bytes of the leading whole records that are kept. */
static size_t kept_bytes(const uint8_t *data, size_t n_bytes, int64_t step, bool evaluated) {
  size_t at = 0;
  while (n_bytes - at >= 16) {
    uint64_t length = get(data + at, 8);
    if (get(data + at + 8, 4) != masked_crc(data + at, 8) || length > n_bytes - at - 16) break;
    const uint8_t *body = data + at + 12;
    if (get(body + length, 4) != masked_crc(body, length)) break;
    Facet__Event *event = facet__event__unpack(NULL, length, body);
    if (!event) break;
    const bool keep = is_kept(event, step, evaluated);
    facet__event__free_unpacked(event, NULL);
    if (!keep) break;
    at += length + 16;
  }
  return at;
}

static facet_status cut(const char *path, int64_t step, bool evaluated) {
  char *data = NULL;
  size_t n_bytes = 0;
  facet_status status = FACET_OK;
  FACET_TRY(facet_file_read(path, MAX_FILE_BYTES, &data, &n_bytes));
  size_t kept = kept_bytes((const uint8_t *)data, n_bytes, step, evaluated);
  if (kept < n_bytes && truncate(path, (off_t)kept) != 0)
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "cannot shorten %s: %s", path, strerror(errno));
  facet_memory_free(data);
  return status;
}

/* The directory's event file, or a new name. */
static facet_status find_path(const char *directory, char *path, bool *exists) {
  facet_arena *arena = NULL;
  facet_status status = FACET_OK;
  char **names, host[128] = "localhost";
  int64_t n_names;
  *exists = false;
  FACET_TRY(facet_arena_create(&arena));
  FACET_TRY_GOTO(status, done, facet_directory_list(directory, arena, &names, &n_names));
  for (int64_t i = 0; i < n_names && !*exists; i++) {
    if (strncmp(names[i], PREFIX, strlen(PREFIX)) != 0) continue;
    *exists = true;
    FACET_TRY_GOTO(status, done, facet_path_format(path, "%s/%s", directory, names[i]));
  }
  gethostname(host, sizeof host - 1);
  if (!*exists) status = facet_path_format(path, "%s/" PREFIX "%lld.%s", directory, (long long)time(NULL), host);
done:
  facet_arena_destroy(&arena);
  return status;
}

facet_status facet_event_file_open(const char *directory, int64_t step, bool evaluated, facet_event_file **out) {
  facet_status status = FACET_OK;
  facet_event_file *file;
  bool exists;
  FACET_TRY(FACET_ALLOC(file, 1, "TensorBoard event file"));
  file->descriptor = -1;
  FACET_TRY_GOTO(status, fail, find_path(directory, file->path, &exists));
  if (exists) FACET_TRY_GOTO(status, fail, cut(file->path, step, evaluated));
  file->descriptor = open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (file->descriptor < 0) {
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "cannot write %s: %s", file->path, strerror(errno));
    goto fail;
  }
  if (!exists) {
    Facet__Event event = FACET__EVENT__INIT;
    event.wall_time = wall_time();
    event.what_case = FACET__EVENT__WHAT_FILE_VERSION;
    event.file_version = (char *)(uintptr_t) "brain.Event:2";
    FACET_TRY_GOTO(status, fail, write_event(file, &event));
  }
  *out = file;
  return FACET_OK;
fail:
  facet_event_file_close(&file);
  return status;
}

facet_status facet_event_file_sync(facet_event_file *file) {
  return facet_descriptor_sync(file->descriptor, file->path);
}

void facet_event_file_close(facet_event_file **file) {
  if (!*file) return;
  if ((*file)->descriptor >= 0) close((*file)->descriptor);
  facet_memory_free(*file);
  *file = NULL;
}
