#include "data/spool.h"

#include <string.h>
#include <unistd.h>

#include "facet/file.h"
#include "facet/memory.h"

#define BUFFER_BYTES ((size_t)256 << 10)

facet_status facet_spool_open(facet_spool *spool, const char *path) {
  char directory[FACET_PATH_MAX];
  *spool = (facet_spool){.descriptor = -1, .path = path};
  FACET_TRY(FACET_ALLOC(spool->buffer, BUFFER_BYTES, "buffer of a temporary file"));
  const char *slash = strrchr(path, '/');
  FACET_TRY(facet_path_format(directory, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : "."));
  if (facet_temporary_file(directory, &spool->descriptor) != FACET_OK) return facet_error_context("%s", path);
  return FACET_OK;
}

void facet_spool_close(facet_spool *spool) {
  if (spool->descriptor >= 0) close(spool->descriptor);
  facet_memory_free(spool->buffer);
  *spool = (facet_spool){.descriptor = -1};
}

static facet_status write_all(const facet_spool *spool, const void *data, size_t n_bytes) {
  if (facet_descriptor_write(spool->descriptor, "a temporary file beside it", data, n_bytes) == FACET_OK)
    return FACET_OK;
  return facet_error_context("%s", spool->path);
}

facet_status facet_spool_flush(facet_spool *spool) {
  FACET_TRY(write_all(spool, spool->buffer, spool->n_buffered));
  spool->n_buffered = 0;
  return FACET_OK;
}

facet_status facet_spool_append(facet_spool *spool, const void *data, size_t n_bytes) {
  spool->n_bytes += (int64_t)n_bytes;
  if (n_bytes > BUFFER_BYTES - spool->n_buffered) {
    FACET_TRY(facet_spool_flush(spool));
    if (n_bytes > BUFFER_BYTES) return write_all(spool, data, n_bytes);
  }
  if (n_bytes > 0) memcpy(spool->buffer + spool->n_buffered, data, n_bytes);
  spool->n_buffered += n_bytes;
  return FACET_OK;
}

facet_status facet_spool_read_at(const facet_spool *spool, int64_t offset, void *data, size_t n_bytes) {
  if (facet_descriptor_read_at(spool->descriptor, "a temporary file beside it", data, n_bytes, offset) == FACET_OK)
    return FACET_OK;
  return facet_error_context("%s", spool->path);
}
