/* Shards: the HDF5 files of one split, train/part-00000.h5 … (docs/data_format.md).
 *
 *   attributes  facet_format = "shard", facet_version, schema_hash, num_samples, num_events.<seq>
 *   /schema                             uint8: the text of schema.yaml, by which a difference is named
 *   /samples/<feature>                  [N] int32 | int64 | float32, or [N, length] float32
 *   /samples/<bag>/{offsets,values}     [N+1] int64, [V] int32
 *   /samples/<seq>/{start,length}       [N] int64, [N] int32: the sample's window into the part's events, newest last
 *   /events/<seq>/<feature>             [M]; bags and vectors as in /samples
 *
 * One of schema_hash and /schema suffices: other programs store /schema. Joined features are not stored. The attribute
 * tables (tables.h5, attribute facet_format = "tables") hold /<vocabulary>/<column> in the same three layouts with one
 * row per id.
 *
 * The HDF5 library is used by one thread at a time: every call happens between facet_hdf5_lock and
 * facet_hdf5_unlock (host/data/hdf5.h). */
#ifndef FACET_SHARD_H
#define FACET_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/schema.h"
#include "facet/status.h"

/* ---- writing ------------------------------------------------------------------------------------------------- */

typedef struct facet_shard_writer facet_shard_writer;

typedef struct facet_shard_layout {
  bool compress;      /* chunked with shuffle + deflate; else contiguous and aligned to 4096 bytes, for mmap */
  int64_t chunk_rows; /* rows per chunk when compressed; 0: 16384 */
} facet_shard_layout;

/* Columns are appended in blocks of any size and in any interleaving, spooled to unnamed temporary files beside
 * `path`, and become data sets of known size in finish, which writes beside, syncs and renames. */
facet_status facet_shard_writer_create(const facet_schema *schema, const char *path, facet_shard_layout layout,
                                       facet_shard_writer **writer);
/* Values of a stored single-valued feature of samples or events: int32 ids (of a hashed vocabulary too), float32
 * [n × length], or int64 (group, time). */
facet_status facet_shard_append_ids(facet_shard_writer *writer, int feature, const int32_t *ids, int64_t n);
facet_status facet_shard_append_floats(facet_shard_writer *writer, int feature, const float *values, int64_t n);
facet_status facet_shard_append_int64s(facet_shard_writer *writer, int feature, const int64_t *values, int64_t n);
/* n bags: counts[i] values each, concatenated in `ids`. */
facet_status facet_shard_append_bags(facet_shard_writer *writer, int feature, const int32_t *counts, const int32_t *ids,
                                     int64_t n);
/* n windows of a sequence: events start[i] … start[i] + length[i] − 1 of this part, oldest first. */
facet_status facet_shard_append_windows(facet_shard_writer *writer, int sequence, const int64_t *start,
                                        const int32_t *length, int64_t n);
/* Checks that all columns of samples, and of each sequence's events, have equal length; writes the file. */
facet_status facet_shard_writer_finish(facet_shard_writer *writer);
/* Frees the writer; without finish nothing is left on disk. */
void facet_shard_writer_destroy(facet_shard_writer **writer);

/* Writes tables.h5 from columns held in memory. `values` has one row per id of the vocabulary. */
typedef struct facet_table_column {
  int vocabulary;          /* whose ids are the rows */
  const char *column;      /* name */
  facet_feature_type type; /* ID or FLOAT */
  int64_t length;          /* elements of a float vector; 1 otherwise */
  bool is_bag;
  const int64_t *offsets; /* bags: [size + 1] */
  const void *values;     /* int32 ids or float32 */
} facet_table_column;
facet_status facet_tables_write(const facet_schema *schema, const char *path, const facet_table_column *columns,
                                int n_columns);

/* ---- reading ------------------------------------------------------------------------------------------------- */

typedef struct facet_shard facet_shard;

/* One stored column. Contiguous aligned data sets are mapped; others are read through the library, chunk-wise, with
 * decoded chunks cached. */
typedef struct facet_column facet_column;

/* Opens and checks a part: format, version, schema hash, presence, type and size of every stored column. Refuses
 * external links and storage, virtual data sets, unknown filters and variable-length types. */
facet_status facet_shard_open(const facet_schema *schema, const char *path, facet_shard **shard);
void facet_shard_close(facet_shard **shard);
/* FACET_ERROR_DATA if the file has become shorter since it was opened: what was read from it may be zeros. */
facet_status facet_shard_check(const facet_shard *shard);
const char *facet_shard_path(const facet_shard *shard);
int64_t facet_shard_n_samples(const facet_shard *shard);
int64_t facet_shard_n_events(const facet_shard *shard, int sequence);

/* Columns of a feature: its values; or for bags, offsets and values. NULL for joined features. */
facet_column *facet_shard_values(facet_shard *shard, int feature);
facet_column *facet_shard_offsets(facet_shard *shard, int feature);
facet_column *facet_shard_starts(facet_shard *shard, int sequence);
facet_column *facet_shard_lengths(facet_shard *shard, int sequence);

/* Rows first … first + n − 1 converted to the destination's type; errors name file, data set and row. The caller has
 * checked the range against facet_column_n_rows. Safe from several threads. */
int64_t facet_column_n_rows(const facet_column *column);
facet_status facet_column_read_int32(facet_column *column, int64_t first, int64_t n, int32_t *out);
facet_status facet_column_read_int64(facet_column *column, int64_t first, int64_t n, int64_t *out);
facet_status facet_column_read_float(facet_column *column, int64_t first, int64_t n, float *out);
/* The mapped data (n_rows × row elements of the stored type), or NULL if the column is not mapped; and that type's size. */
const void *facet_column_mapped(const facet_column *column, int *element_bytes);
/* "/samples/item_id", for messages. */
const char *facet_column_name(const facet_column *column);

/* Checks everything that opening does not: ids inside their vocabularies, finite floats, labels 0 or 1, windows inside
 * the events, times not negative and not decreasing within a window. The first fault is the error (file, data set, row,
 * value). */
facet_status facet_shard_verify(facet_shard *shard);

#endif
