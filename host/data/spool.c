#include "data/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "facet/file.h"
#include "facet/memory.h"

#define BUFFER_BYTES ((size_t)256 << 10)

facet_status facet_spool_open(facet_spool *spool, const char *path) {
  char name[FACET_PATH_MAX];
  *spool = (facet_spool){.descriptor = -1, .path = path};
  FACET_TRY(FACET_ALLOC(spool->buffer, BUFFER_BYTES, "buffer of a temporary file"));
  const char *slash = strrchr(path, '/');
  FACET_TRY(facet_path_format(name, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : "."));
  spool->descriptor = open(name, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (spool->descriptor < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    FACET_TRY(facet_path_format(name, "%s.XXXXXX", path)); /* a file system without unnamed files */
    spool->descriptor = mkostemp(name, O_CLOEXEC);
    if (spool->descriptor >= 0) unlink(name);
  }
  FACET_CHECK(spool->descriptor >= 0, FACET_ERROR_IO, "%s: cannot create a temporary file in its directory: %s", path,
              strerror(errno));
  return FACET_OK;
}

void facet_spool_close(facet_spool *spool) {
  if (spool->descriptor >= 0) close(spool->descriptor);
  facet_memory_free(spool->buffer);
  *spool = (facet_spool){.descriptor = -1};
}

static facet_status write_all(const facet_spool *spool, const unsigned char *data, size_t n_bytes) {
  while (n_bytes > 0) {
    const ssize_t n = write(spool->descriptor, data, n_bytes);
    if (n < 0 && errno == EINTR) continue;
    FACET_CHECK(n > 0, FACET_ERROR_IO, "%s: cannot write a temporary file beside it: %s", spool->path,
                n < 0 ? strerror(errno) : "nothing was written");
    data += n;
    n_bytes -= (size_t)n;
  }
  return FACET_OK;
}

facet_status facet_spool_append(facet_spool *spool, const void *data, size_t n_bytes) {
  spool->n_bytes += (int64_t)n_bytes;
  if (n_bytes > BUFFER_BYTES - spool->n_buffered) {
    FACET_TRY(write_all(spool, spool->buffer, spool->n_buffered));
    spool->n_buffered = 0;
    if (n_bytes > BUFFER_BYTES) return write_all(spool, data, n_bytes);
  }
  if (n_bytes > 0) memcpy(spool->buffer + spool->n_buffered, data, n_bytes);
  spool->n_buffered += n_bytes;
  return FACET_OK;
}

facet_status facet_spool_rewind(facet_spool *spool) {
  FACET_TRY(write_all(spool, spool->buffer, spool->n_buffered));
  spool->n_buffered = 0;
  FACET_CHECK(lseek(spool->descriptor, 0, SEEK_SET) == 0, FACET_ERROR_IO, "%s: cannot rewind a temporary file: %s",
              spool->path, strerror(errno));
  return FACET_OK;
}

facet_status facet_spool_read(facet_spool *spool, void *data, size_t n_bytes) {
  unsigned char *out = data;
  while (n_bytes > 0) {
    const ssize_t n = read(spool->descriptor, out, n_bytes);
    if (n < 0 && errno == EINTR) continue;
    FACET_CHECK(n > 0, FACET_ERROR_IO, "%s: cannot read a temporary file back: %s", spool->path,
                n < 0 ? strerror(errno) : "it ended early");
    out += n;
    n_bytes -= (size_t)n;
  }
  return FACET_OK;
}

facet_status facet_spool_read_at(const facet_spool *spool, int64_t offset, void *data, size_t n_bytes) {
  unsigned char *out = data;
  while (n_bytes > 0) {
    const ssize_t n = pread(spool->descriptor, out, n_bytes, offset);
    if (n < 0 && errno == EINTR) continue;
    FACET_CHECK(n > 0, FACET_ERROR_IO, "%s: cannot read a temporary file back: %s", spool->path,
                n < 0 ? strerror(errno) : "it ended early");
    out += n;
    offset += n;
    n_bytes -= (size_t)n;
  }
  return FACET_OK;
}
