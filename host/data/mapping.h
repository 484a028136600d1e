/* Files mapped for reading. A mapped file that shrinks makes later reads of its lost part raise SIGBUS; the handler
 * installed here then names the file on standard error and ends the process with exit code 3. Other bus errors go to
 * whatever handled them before. Within the last page that is left no signal comes: its lost end reads as zeros, which
 * facet_mapping_check finds. */
#ifndef FACET_MAPPING_H
#define FACET_MAPPING_H

#include <stddef.h>
#include <stdint.h>

#include "facet/status.h"

typedef struct facet_mapping {
  const unsigned char *data; /* NULL for an empty file */
  size_t n_bytes;
  char *path;
  int descriptor;             /* own */
  struct facet_mapping *next; /* in the handler's list */
} facet_mapping;

/* Maps the whole of an open file, read-only and shared; the descriptor may be closed afterwards. */
facet_status facet_mapping_create(const char *path, int descriptor, facet_mapping **mapping);
/* FACET_ERROR_DATA if the file is shorter now than when it was mapped: what was read since may be zeros. A third of a
 * microsecond. */
facet_status facet_mapping_check(const facet_mapping *mapping);
void facet_mapping_destroy(facet_mapping **mapping);

#endif
