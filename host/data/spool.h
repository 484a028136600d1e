/* A column on its way into a file: bytes appended to an unnamed temporary file, then read back. */
#ifndef FACET_SPOOL_H
#define FACET_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "facet/status.h"

typedef struct facet_spool {
  int descriptor;   /* −1: not open */
  const char *path; /* of the final file, for messages; not owned */
  unsigned char *buffer;
  size_t n_buffered;
  int64_t n_bytes; /* appended so far */
} facet_spool;

/* Opens the spool in the directory of `path`, where the final file needs the space too. `path` must outlive it. */
facet_status facet_spool_open(facet_spool *spool, const char *path);
void facet_spool_close(facet_spool *spool); /* a zeroed or closed spool is fine when descriptor is −1 */
facet_status facet_spool_append(facet_spool *spool, const void *data, size_t n_bytes);
/* Writes what the buffer holds: after the last append, before the first read. */
facet_status facet_spool_flush(facet_spool *spool);
facet_status facet_spool_read_at(const facet_spool *spool, int64_t offset, void *data, size_t n_bytes);

#endif
