/* One stored column of a shard or of the attribute tables. */
#ifndef FACET_COLUMN_H
#define FACET_COLUMN_H

#include "data/hdf5.h"
#include "data/mapping.h"
#include "facet/schema.h"
#include "facet/shard.h"

/* What a column must look like. */
typedef struct facet_column_expect {
  facet_feature_type type; /* ID and INT64: stored as int32 or int64; FLOAT: float32 */
  int64_t length;          /* elements per row; > 1 means two dimensions */
  int64_t n_rows;          /* −1: any */
} facet_column_expect;

/* How a column is read, for facet inspect. */
typedef struct facet_column_info {
  facet_hdf5_type type;
  int64_t n_rows, length;
  bool mapped, chunked;
  int64_t stored_bytes;
} facet_column_info;

/* Opens the data set `name` of an open file; `path` and `mapping` (may be NULL) must outlive the column. The column
 * keeps the file open where it cannot be mapped. */
facet_status facet_column_open(hid_t file, const char *path, const facet_mapping *mapping, const char *name,
                               facet_column_expect expect, facet_column **column);
void facet_column_close(facet_column **column);
facet_column_info facet_column_describe(const facet_column *column);

/* Bounds the bytes of decoded blocks that are kept, 512 MB at first; returns the limit before. */
size_t facet_column_cache_limit(size_t n_bytes);

/* Asks for rows of a column from memory, if they are in the cache of decoded blocks; any range is allowed. */
void facet_column_prefetch(const facet_column *column, int64_t first, int64_t n);

#define FACET_COLUMN_BLOCK 16384 /* rows at a time, of code that reads all of a column */

static inline int64_t facet_column_block(int64_t first, int64_t n_rows) {
  return n_rows - first < FACET_COLUMN_BLOCK ? n_rows - first : FACET_COLUMN_BLOCK;
}

#endif
