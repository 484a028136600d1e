/* Chunks of compressed data sets, decoded outside the HDF5 library: it would hold its one lock meanwhile, and takes three
 * times as long. Private to host/data. */
#ifndef FACET_CHUNK_H
#define FACET_CHUNK_H

#include "data/hdf5.h"

/* How the chunks of a data set are stored. */
typedef struct facet_chunk_format {
  bool is_known; /* whole rows, shuffle and deflate only, this machine's byte order; else nothing here works */
  int rank;
  int64_t n_rows; /* of a chunk */
  size_t row_bytes, element_bytes;
  int shuffle, deflate; /* place in the filter pipeline, −1: not used */
} facet_chunk_format;

/* A chunk as it is stored. */
typedef struct facet_chunk {
  unsigned char *bytes; /* owned; FACET_GROW */
  size_t n_bytes, capacity;
  uint32_t skipped; /* bit i: filter i was not applied */
} facet_chunk;

/* Describes an open chunked data set of the given stored type. */
facet_chunk_format facet_chunk_describe(hid_t dataset, facet_hdf5_type type);

/* Reads the chunk that begins at row `first`, under the library's lock. */
facet_status facet_chunk_read(const facet_chunk_format *format, hid_t dataset, int64_t first, facet_chunk *chunk);

/* Decodes the first n rows of a chunk into `out`, without a lock. Damaged bytes are FACET_ERROR_DATA; the caller says
 * where. */
facet_status facet_chunk_decode(const facet_chunk_format *format, const facet_chunk *chunk, int64_t n, void *out);

#endif
