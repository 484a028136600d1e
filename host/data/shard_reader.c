/* Opening shards. See facet/shard.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/shard_format.h"
#include "facet/file.h"
#include "facet/memory.h"

#define MAX_SCHEMA_BYTES (1 << 24)

facet_hdf5_type facet_shard_stored_type(const facet_feature *feature) {
  return feature->type == FACET_FEATURE_ID      ? FACET_HDF5_INT32
         : feature->type == FACET_FEATURE_FLOAT ? FACET_HDF5_FLOAT
                                                : FACET_HDF5_INT64;
}

/* ---- the schema it was written with --------------------------------------------------------------------------- */

/* The schema in /schema; NULL where the file has none. */
static facet_status read_stored_schema(hid_t file, const char *path, facet_schema **stored) {
  facet_hdf5_type type;
  int rank;
  int64_t dims[FACET_HDF5_MAX_RANK];
  char *yaml = NULL;
  *stored = NULL;
  if (!facet_hdf5_exists(file, "schema")) return FACET_OK;
  FACET_TRY(facet_hdf5_shape(file, "schema", &type, &rank, dims));
  FACET_CHECK(rank == 1 && dims[0] <= MAX_SCHEMA_BYTES, FACET_ERROR_DATA,
              "%s: /schema is not the text of a schema: expected at most %d bytes", path, MAX_SCHEMA_BYTES);
  FACET_TRY(FACET_ALLOC(yaml, dims[0] + 1, "schema of a shard"));
  facet_status status = facet_hdf5_read(file, "schema", FACET_HDF5_UINT8, 1, dims, yaml);
  if (status == FACET_OK && facet_schema_parse("/schema", yaml, stored) != FACET_OK)
    status = facet_error_context("%s", path);
  facet_memory_free(yaml);
  return status;
}

static facet_status compare_schemas(const facet_schema *schema, const facet_schema *stored, const char *path) {
  char difference[512];
  FACET_CHECK(!facet_schema_difference(stored, schema, difference, sizeof difference), FACET_ERROR_DATA,
              "%s: was written with another schema than %s: %s", path, schema->path, difference);
  return FACET_OK;
}

/* By schema_hash, or by /schema in the files of writers that do not compute it. A hash that differs is explained by
 * /schema where that is there. */
static facet_status check_schema(const facet_schema *schema, hid_t file, const char *path) {
  uint64_t hash = 0;
  facet_schema *stored = NULL;
  const bool has_hash = facet_hdf5_has_attribute(file, "schema_hash");
  if (has_hash) FACET_TRY(facet_hdf5_get_uint64(file, "schema_hash", &hash));
  if (has_hash && hash == schema->hash) return FACET_OK;
  FACET_TRY(read_stored_schema(file, path, &stored));
  FACET_CHECK(stored || has_hash, FACET_ERROR_DATA,
              "%s: has neither attribute schema_hash nor /schema, the bytes of schema.yaml", path);
  const facet_status status = stored ? compare_schemas(schema, stored, path) : FACET_OK;
  facet_schema_destroy(&stored);
  FACET_TRY(status);
  FACET_CHECK(!has_hash, FACET_ERROR_DATA, "%s: schema_hash is %" PRIu64 ", expected %" PRIu64 " of %s", path, hash,
              schema->hash, schema->path);
  return FACET_OK;
}

/* ---- columns ------------------------------------------------------------------------------------------------- */

typedef struct opener {
  facet_shard *shard;
  hid_t file;
} opener;

/* Bags: [n + 1] offsets from 0 to the number of values. */
static facet_status open_bag(const opener *o, const char *name, int64_t n_rows, int feature) {
  facet_shard *shard = o->shard;
  char part[FACET_SHARD_MAX_NAME + 16];
  int64_t first = 0, last = 0;
  snprintf(part, sizeof part, "%s/offsets", name);
  FACET_TRY(facet_column_open(o->file, shard->path, shard->mapping, part,
                              (facet_column_expect){FACET_FEATURE_INT64, 1, n_rows + 1}, &shard->offsets[feature]));
  FACET_TRY(facet_column_read_int64(shard->offsets[feature], 0, 1, &first));
  FACET_TRY(facet_column_read_int64(shard->offsets[feature], n_rows, 1, &last));
  FACET_CHECK(first == 0 && last >= 0, FACET_ERROR_DATA,
              "%s: %s: runs from %" PRId64 " to %" PRId64 ", expected 0 to the number of values", shard->path, part,
              first, last);
  snprintf(part, sizeof part, "%s/values", name);
  return facet_column_open(o->file, shard->path, shard->mapping, part, (facet_column_expect){FACET_FEATURE_ID, 1, last},
                           &shard->values[feature]);
}

static facet_status open_features(const opener *o) {
  facet_shard *shard = o->shard;
  const facet_schema *schema = shard->schema;
  for (int i = 0; i < schema->n_features; i++) {
    const facet_feature *feature = &schema->features[i];
    const int64_t n_rows = feature->sequence < 0 ? shard->n_samples : shard->n_events[feature->sequence];
    char name[FACET_SHARD_MAX_NAME];
    if (feature->join >= 0) continue;
    if (feature->sequence < 0)
      snprintf(name, sizeof name, "/samples/%s", feature->column);
    else
      snprintf(name, sizeof name, "/events/%s/%s", schema->sequences[feature->sequence].name, feature->column);
    if (feature->bag > 0)
      FACET_TRY(open_bag(o, name, n_rows, i));
    else
      FACET_TRY(facet_column_open(o->file, shard->path, shard->mapping, name,
                                  (facet_column_expect){feature->type, feature->length, n_rows}, &shard->values[i]));
  }
  return FACET_OK;
}

static facet_status open_windows(const opener *o) {
  facet_shard *shard = o->shard;
  for (int s = 0; s < shard->schema->n_sequences; s++) {
    const facet_column_expect expect = {FACET_FEATURE_INT64, 1, shard->n_samples};
    char name[FACET_SHARD_MAX_NAME];
    snprintf(name, sizeof name, "/samples/%s/start", shard->schema->sequences[s].name);
    FACET_TRY(facet_column_open(o->file, shard->path, shard->mapping, name, expect, &shard->starts[s]));
    snprintf(name, sizeof name, "/samples/%s/length", shard->schema->sequences[s].name);
    FACET_TRY(facet_column_open(o->file, shard->path, shard->mapping, name, expect, &shard->lengths[s]));
  }
  return FACET_OK;
}

static facet_status read_count(const facet_shard *shard, hid_t file, const char *name, int64_t *count) {
  FACET_TRY(facet_hdf5_get_int64(file, name, count));
  FACET_CHECK(*count >= 0 && *count < INT64_MAX / 16, FACET_ERROR_DATA,
              "%s: attribute %s is %" PRId64 ", expected a number of rows", shard->path, name, *count);
  return FACET_OK;
}

static facet_status open_shard(const opener *o) {
  facet_shard *shard = o->shard;
  const facet_schema *schema = shard->schema;
  int *descriptor = NULL;
  FACET_TRY(facet_hdf5_check_format(o->file, "shard", FACET_SHARD_VERSION));
  FACET_TRY(check_schema(schema, o->file, shard->path));
  FACET_TRY(read_count(shard, o->file, "num_samples", &shard->n_samples));
  for (int s = 0; s < schema->n_sequences; s++) {
    char name[FACET_SHARD_MAX_NAME];
    snprintf(name, sizeof name, "num_events.%s", schema->sequences[s].name);
    FACET_TRY(read_count(shard, o->file, name, &shard->n_events[s]));
  }
  /* The library's own descriptor: the mapping is of the file that was checked, whatever its name now leads to. */
  if (H5Fget_vfd_handle(o->file, H5P_DEFAULT, (void **)&descriptor) < 0)
    return facet_hdf5_error(FACET_ERROR_IO, o->file, NULL, "has no descriptor");
  FACET_TRY(facet_mapping_create(shard->path, *descriptor, &shard->mapping));
  FACET_TRY(open_features(o));
  return open_windows(o);
}

static facet_status allocate_shard(const facet_schema *schema, const char *path, facet_shard **out) {
  facet_shard *shard;
  FACET_TRY(FACET_ALLOC(*out, 1, "shard"));
  shard = *out;
  shard->schema = schema;
  if (!(shard->path = facet_memory_strdup(path))) return FACET_ERROR_INTERNAL;
  FACET_TRY(FACET_ALLOC(shard->n_events, schema->n_sequences, "shard"));
  FACET_TRY(FACET_ALLOC(shard->values, schema->n_features, "shard"));
  FACET_TRY(FACET_ALLOC(shard->offsets, schema->n_features, "shard"));
  FACET_TRY(FACET_ALLOC(shard->starts, schema->n_sequences, "shard"));
  return FACET_ALLOC(shard->lengths, schema->n_sequences, "shard");
}

facet_status facet_shard_open(const facet_schema *schema, const char *path, facet_shard **out) {
  FACET_HDF5_GUARD;
  hid_t file = -1;
  facet_shard *shard = NULL;
  facet_status status;
  *out = NULL;
  FACET_TRY_GOTO(status, done, allocate_shard(schema, path, &shard));
  FACET_TRY_GOTO(status, done, facet_hdf5_open(path, &file));
  FACET_TRY_GOTO(status, done, open_shard(&(opener){shard, file}));
  *out = shard;
done:
  facet_hdf5_discard(&file); /* data sets that are not mapped keep the file open */
  if (status != FACET_OK) facet_shard_close(&shard);
  return status;
}

static void close_columns(facet_column **columns, int n) {
  for (int i = 0; columns && i < n; i++) facet_column_close(&columns[i]);
  facet_memory_free(columns);
}

void facet_shard_close(facet_shard **out) {
  facet_shard *shard = *out;
  if (!shard) return;
  close_columns(shard->values, shard->schema->n_features);
  close_columns(shard->offsets, shard->schema->n_features);
  close_columns(shard->starts, shard->schema->n_sequences);
  close_columns(shard->lengths, shard->schema->n_sequences);
  facet_mapping_destroy(&shard->mapping);
  facet_memory_free(shard->n_events);
  facet_memory_free(shard->path);
  facet_memory_free(shard);
  *out = NULL;
}

facet_status facet_shard_check(const facet_shard *shard) {
  return facet_mapping_check(shard->mapping);
}
const char *facet_shard_path(const facet_shard *shard) {
  return shard->path;
}
int64_t facet_shard_n_samples(const facet_shard *shard) {
  return shard->n_samples;
}
int64_t facet_shard_n_events(const facet_shard *shard, int sequence) {
  return shard->n_events[sequence];
}
facet_column *facet_shard_values(facet_shard *shard, int feature) {
  return shard->values[feature];
}
facet_column *facet_shard_offsets(facet_shard *shard, int feature) {
  return shard->offsets[feature];
}
facet_column *facet_shard_starts(facet_shard *shard, int sequence) {
  return shard->starts[sequence];
}
facet_column *facet_shard_lengths(facet_shard *shard, int sequence) {
  return shard->lengths[sequence];
}
