/* Writing shards: columns are spooled, then copied into data sets of known size. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/hdf5.h"
#include "data/shard_format.h"
#include "data/spool.h"
#include "facet/memory.h"
#include "facet/shard.h"

#define COPY_BYTES ((size_t)1 << 20)
#define DEFAULT_CHUNK_ROWS 16384

/* One data set to be. */
typedef struct writer_column {
  facet_spool spool;
  facet_hdf5_type type;
  int64_t length; /* elements per row */
  int64_t n_rows;
} writer_column;

struct facet_shard_writer {
  const facet_schema *schema;
  char *path;
  facet_shard_layout layout;
  writer_column *values;  /* [n_features] */
  writer_column *offsets; /* [n_features] of bags */
  writer_column *start;   /* [n_sequences] */
  writer_column *length;  /* [n_sequences] */
  int64_t *window_end;    /* [n_sequences] largest start + length */
};

static facet_status open_column(facet_shard_writer *writer, writer_column *column, facet_hdf5_type type,
                                int64_t length) {
  column->type = type;
  column->length = length;
  return facet_spool_open(&column->spool, writer->path);
}

static facet_status append(writer_column *column, const void *data, int64_t n) {
  column->n_rows += n;
  return facet_spool_append(&column->spool, data,
                            (size_t)n * (size_t)column->length * facet_hdf5_type_bytes(column->type));
}

static facet_status open_columns(facet_shard_writer *writer) {
  const facet_schema *schema = writer->schema;
  const int64_t zero = 0;
  for (int i = 0; i < schema->n_features; i++) {
    const facet_feature *feature = &schema->features[i];
    if (feature->join >= 0) continue;
    FACET_TRY(open_column(writer, &writer->values[i], facet_shard_stored_type(feature), feature->length));
    if (feature->bag == 0) continue;
    FACET_TRY(open_column(writer, &writer->offsets[i], FACET_HDF5_INT64, 1));
    FACET_TRY(append(&writer->offsets[i], &zero, 1));
  }
  for (int s = 0; s < schema->n_sequences; s++) {
    FACET_TRY(open_column(writer, &writer->start[s], FACET_HDF5_INT64, 1));
    FACET_TRY(open_column(writer, &writer->length[s], FACET_HDF5_INT32, 1));
  }
  return FACET_OK;
}

/* [n] columns without a spool. */
static facet_status allocate_columns(writer_column **columns, int n) {
  FACET_TRY(FACET_ALLOC(*columns, n, "columns of a shard"));
  for (int i = 0; i < n; i++) (*columns)[i].spool.descriptor = -1;
  return FACET_OK;
}

facet_status facet_shard_writer_create(const facet_schema *schema, const char *path, facet_shard_layout layout,
                                       facet_shard_writer **out) {
  facet_shard_writer *writer;
  *out = NULL;
  FACET_TRY(FACET_ALLOC(writer, 1, "shard writer"));
  facet_status status = FACET_ERROR_INTERNAL;
  writer->schema = schema;
  writer->layout = layout;
  if (!(writer->path = facet_memory_strdup(path))) goto done;
  FACET_TRY_GOTO(status, done, allocate_columns(&writer->values, schema->n_features));
  FACET_TRY_GOTO(status, done, allocate_columns(&writer->offsets, schema->n_features));
  FACET_TRY_GOTO(status, done, allocate_columns(&writer->start, schema->n_sequences));
  FACET_TRY_GOTO(status, done, allocate_columns(&writer->length, schema->n_sequences));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(writer->window_end, schema->n_sequences, "columns of a shard"));
  FACET_TRY_GOTO(status, done, open_columns(writer));
  *out = writer;
done:
  if (status != FACET_OK) facet_shard_writer_destroy(&writer);
  return status;
}

static void destroy_columns(writer_column *columns, int n) {
  for (int i = 0; columns && i < n; i++) facet_spool_close(&columns[i].spool);
  facet_memory_free(columns);
}

void facet_shard_writer_destroy(facet_shard_writer **out) {
  facet_shard_writer *writer = *out;
  if (!writer) return;
  destroy_columns(writer->values, writer->schema->n_features);
  destroy_columns(writer->offsets, writer->schema->n_features);
  destroy_columns(writer->start, writer->schema->n_sequences);
  destroy_columns(writer->length, writer->schema->n_sequences);
  facet_memory_free(writer->window_end);
  facet_memory_free(writer->path);
  facet_memory_free(writer);
  *out = NULL;
}

/* ---- appending ----------------------------------------------------------------------------------------------- */

/* The feature must be stored, of the type, and single-valued or a bag as asked. */
static facet_status check_feature(const facet_shard_writer *writer, int feature, facet_feature_type type, bool is_bag) {
  const facet_feature *f = &writer->schema->features[feature];
  FACET_CHECK(f->join < 0, FACET_ERROR_INTERNAL, "%s: feature %s is joined, not stored", writer->path, f->name);
  FACET_CHECK(f->type == type && (f->bag > 0) == is_bag, FACET_ERROR_INTERNAL,
              "%s: feature %s is %s %s, not to be appended as %s %s", writer->path, f->name,
              f->bag ? "a bag of" : "one", facet_feature_type_name(f->type), is_bag ? "a bag of" : "one",
              facet_feature_type_name(type));
  return FACET_OK;
}

facet_status facet_shard_append_ids(facet_shard_writer *writer, int feature, const int32_t *ids, int64_t n) {
  FACET_TRY(check_feature(writer, feature, FACET_FEATURE_ID, false));
  return append(&writer->values[feature], ids, n);
}

facet_status facet_shard_append_floats(facet_shard_writer *writer, int feature, const float *values, int64_t n) {
  FACET_TRY(check_feature(writer, feature, FACET_FEATURE_FLOAT, false));
  return append(&writer->values[feature], values, n);
}

facet_status facet_shard_append_int64s(facet_shard_writer *writer, int feature, const int64_t *values, int64_t n) {
  FACET_TRY(check_feature(writer, feature, FACET_FEATURE_INT64, false));
  return append(&writer->values[feature], values, n);
}

facet_status facet_shard_append_bags(facet_shard_writer *writer, int feature, const int32_t *counts, const int32_t *ids,
                                     int64_t n) {
  writer_column *column = &writer->values[feature];
  const facet_feature *f = &writer->schema->features[feature];
  FACET_TRY(check_feature(writer, feature, FACET_FEATURE_ID, true));
  const int64_t before = column->n_rows;
  int64_t end = before;
  for (int64_t i = 0; i < n; i++) {
    FACET_CHECK(counts[i] >= 0 && counts[i] <= f->bag, FACET_ERROR_DATA,
                "%s: feature %s row %" PRId64 ": %d values, expected 0 to %" PRId64, writer->path, f->name,
                writer->offsets[feature].n_rows - 1, counts[i], f->bag);
    end += counts[i];
    FACET_TRY(append(&writer->offsets[feature], &end, 1));
  }
  return append(column, ids, end - before);
}

facet_status facet_shard_append_windows(facet_shard_writer *writer, int sequence, const int64_t *start,
                                        const int32_t *length, int64_t n) {
  const facet_sequence *s = &writer->schema->sequences[sequence];
  for (int64_t i = 0; i < n; i++) {
    FACET_CHECK(start[i] >= 0 && length[i] >= 0 && length[i] <= s->max_length, FACET_ERROR_DATA,
                "%s: sequence %s row %" PRId64 ": start %" PRId64
                ", length %d, expected start ≥ 0, length 0 to %" PRId64,
                writer->path, s->name, writer->start[sequence].n_rows + i, start[i], length[i], s->max_length);
    const int64_t end = start[i] + length[i];
    if (end > writer->window_end[sequence]) writer->window_end[sequence] = end;
  }
  FACET_TRY(append(&writer->start[sequence], start, n));
  return append(&writer->length[sequence], length, n);
}

/* ---- finishing ----------------------------------------------------------------------------------------------- */

/* Rows of samples (sequence −1) or of a sequence's events; all their columns must agree. */
static facet_status count_rows(const facet_shard_writer *writer, int sequence, int64_t *n_rows) {
  const facet_schema *schema = writer->schema;
  const char *first = NULL;
  *n_rows = 0;
  for (int i = 0; i < schema->n_features; i++) {
    const facet_feature *feature = &schema->features[i];
    if (feature->sequence != sequence || feature->join >= 0) continue;
    const int64_t n = feature->bag ? writer->offsets[i].n_rows - 1 : writer->values[i].n_rows;
    FACET_CHECK(!first || n == *n_rows, FACET_ERROR_INTERNAL, "%s: feature %s has %" PRId64 " rows but %s has %" PRId64,
                writer->path, feature->name, n, first, *n_rows);
    first = feature->name;
    *n_rows = n;
  }
  for (int s = 0; sequence < 0 && s < schema->n_sequences; s++)
    FACET_CHECK(writer->start[s].n_rows == *n_rows, FACET_ERROR_INTERNAL,
                "%s: sequence %s has %" PRId64 " windows for %" PRId64 " samples", writer->path,
                schema->sequences[s].name, writer->start[s].n_rows, *n_rows);
  return FACET_OK;
}

/* Copies a spool into a new data set of the group. */
static facet_status copy_column(const facet_shard_writer *writer, hid_t group, const char *name,
                                writer_column *column) {
  const size_t row_bytes = (size_t)column->length * facet_hdf5_type_bytes(column->type);
  const int64_t block = row_bytes < COPY_BYTES ? (int64_t)(COPY_BYTES / row_bytes) : 1;
  const int64_t chunk_rows = !writer->layout.compress        ? 0
                             : writer->layout.chunk_rows > 0 ? writer->layout.chunk_rows
                                                             : DEFAULT_CHUNK_ROWS;
  const int64_t dims[2] = {column->n_rows, column->length};
  FACET_HDF5_SCOPED hid_t dataset = -1;
  unsigned char *buffer;
  FACET_TRY(facet_spool_flush(&column->spool));
  FACET_TRY(
      facet_hdf5_dataset_create(group, name, column->type, column->length > 1 ? 2 : 1, dims, chunk_rows, &dataset));
  /* Whole chunks at a time: a chunk written in parts would be compressed again for every part. */
  const int64_t step = chunk_rows > 0 ? (block + chunk_rows - 1) / chunk_rows * chunk_rows : block;
  FACET_TRY(FACET_ALLOC(buffer, (size_t)step * row_bytes, "buffer of a shard writer"));
  facet_status status = FACET_OK;
  for (int64_t row = 0; row < column->n_rows; row += step) {
    const int64_t n = column->n_rows - row < step ? column->n_rows - row : step;
    FACET_TRY_GOTO(status, done,
                   facet_spool_read_at(&column->spool, row * (int64_t)row_bytes, buffer, (size_t)n * row_bytes));
    FACET_TRY_GOTO(status, done, facet_hdf5_dataset_write(dataset, column->type, row, n, buffer));
  }
done:
  facet_memory_free(buffer);
  return status;
}

/* Writes the stored features of samples (sequence −1) or of a sequence into `group`. */
static facet_status write_features(const facet_shard_writer *writer, hid_t group, int sequence) {
  for (int i = 0; i < writer->schema->n_features; i++) {
    const facet_feature *feature = &writer->schema->features[i];
    if (feature->sequence != sequence || feature->join >= 0) continue;
    if (feature->bag == 0) {
      FACET_TRY(copy_column(writer, group, feature->column, &writer->values[i]));
      continue;
    }
    FACET_HDF5_SCOPED hid_t bag = -1;
    FACET_TRY(facet_hdf5_group_create(group, feature->column, &bag));
    FACET_TRY(copy_column(writer, bag, "offsets", &writer->offsets[i]));
    FACET_TRY(copy_column(writer, bag, "values", &writer->values[i]));
  }
  return FACET_OK;
}

static facet_status write_samples(const facet_shard_writer *writer, hid_t file) {
  FACET_HDF5_SCOPED hid_t samples = -1;
  FACET_TRY(facet_hdf5_group_create(file, "samples", &samples));
  FACET_TRY(write_features(writer, samples, -1));
  for (int s = 0; s < writer->schema->n_sequences; s++) {
    FACET_HDF5_SCOPED hid_t windows = -1;
    FACET_TRY(facet_hdf5_group_create(samples, writer->schema->sequences[s].name, &windows));
    FACET_TRY(copy_column(writer, windows, "start", &writer->start[s]));
    FACET_TRY(copy_column(writer, windows, "length", &writer->length[s]));
  }
  return FACET_OK;
}

static facet_status write_events(const facet_shard_writer *writer, hid_t file) {
  FACET_HDF5_SCOPED hid_t events = -1;
  if (writer->schema->n_sequences == 0) return FACET_OK;
  FACET_TRY(facet_hdf5_group_create(file, "events", &events));
  for (int s = 0; s < writer->schema->n_sequences; s++) {
    FACET_HDF5_SCOPED hid_t sequence = -1;
    FACET_TRY(facet_hdf5_group_create(events, writer->schema->sequences[s].name, &sequence));
    FACET_TRY(write_features(writer, sequence, s));
  }
  return FACET_OK;
}

/* Attributes, and the schema's text in /schema so that a mismatch can be named. */
static facet_status write_header(const facet_shard_writer *writer, hid_t file) {
  const facet_schema *schema = writer->schema;
  int64_t n_samples;
  char *text = NULL;
  size_t n_bytes;
  FACET_TRY(count_rows(writer, -1, &n_samples));
  FACET_TRY(facet_hdf5_set_format(file, "shard", FACET_SHARD_VERSION));
  FACET_TRY(facet_hdf5_set_uint64(file, "schema_hash", schema->hash));
  FACET_TRY(facet_hdf5_set_int64(file, "num_samples", n_samples));
  for (int s = 0; s < schema->n_sequences; s++) {
    char name[FACET_SHARD_MAX_NAME];
    int64_t n_events;
    snprintf(name, sizeof name, "num_events.%s", schema->sequences[s].name);
    FACET_TRY(count_rows(writer, s, &n_events));
    FACET_CHECK(writer->window_end[s] <= n_events, FACET_ERROR_INTERNAL,
                "%s: a window of sequence %s ends at event %" PRId64 ", of %" PRId64, writer->path,
                schema->sequences[s].name, writer->window_end[s], n_events);
    FACET_TRY(facet_hdf5_set_int64(file, name, n_events));
  }
  FACET_TRY(facet_schema_format(schema, &text, &n_bytes));
  const int64_t dims = (int64_t)n_bytes;
  const facet_status status = facet_hdf5_write(file, "schema", FACET_HDF5_UINT8, 1, &dims, text);
  facet_memory_free(text);
  return status;
}

static facet_status fill_file(hid_t file, const void *context) {
  const facet_shard_writer *writer = context;
  FACET_TRY(write_header(writer, file));
  FACET_TRY(write_samples(writer, file));
  return write_events(writer, file);
}

facet_status facet_shard_writer_finish(facet_shard_writer *writer) {
  return facet_hdf5_write_file(writer->path, fill_file, writer);
}
