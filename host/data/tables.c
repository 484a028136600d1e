#include "data/tables.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/column.h"
#include "data/shard_format.h"
#include "facet/memory.h"

/* ---- writing ------------------------------------------------------------------------------------------------- */

static facet_status write_bag(hid_t group, const facet_table_column *column, int64_t n_rows) {
  FACET_HDF5_SCOPED hid_t bag = -1;
  const int64_t n_offsets = n_rows + 1, n_values = column->offsets[n_rows];
  FACET_TRY(facet_hdf5_group_create(group, column->column, &bag));
  FACET_TRY(facet_hdf5_write(bag, "offsets", FACET_HDF5_INT64, 1, &n_offsets, column->offsets));
  return facet_hdf5_write(bag, "values", FACET_HDF5_INT32, 1, &n_values, column->values);
}

static facet_status write_column(const facet_schema *schema, hid_t file, const facet_table_column *column) {
  const facet_vocabulary_info *vocabulary = &schema->vocabularies[column->vocabulary];
  const int64_t dims[2] = {vocabulary->size, column->length};
  FACET_HDF5_SCOPED hid_t group = -1;
  if (facet_hdf5_exists(file, vocabulary->name))
    FACET_TRY(facet_hdf5_group_open(file, vocabulary->name, &group));
  else
    FACET_TRY(facet_hdf5_group_create(file, vocabulary->name, &group));
  if (column->is_bag) return write_bag(group, column, vocabulary->size);
  return facet_hdf5_write(group, column->column,
                          column->type == FACET_FEATURE_FLOAT ? FACET_HDF5_FLOAT : FACET_HDF5_INT32,
                          column->length > 1 ? 2 : 1, dims, column->values);
}

typedef struct content {
  const facet_schema *schema;
  const facet_table_column *columns;
  int n_columns;
} content;

static facet_status fill_file(hid_t file, const void *context) {
  const content *c = context;
  FACET_TRY(facet_hdf5_set_format(file, "tables", FACET_TABLES_VERSION));
  for (int i = 0; i < c->n_columns; i++) FACET_TRY(write_column(c->schema, file, &c->columns[i]));
  return FACET_OK;
}

facet_status facet_tables_write(const facet_schema *schema, const char *path, const facet_table_column *columns,
                                int n_columns) {
  return facet_hdf5_write_file(path, fill_file, &(content){schema, columns, n_columns});
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* Ids of a column, checked against the vocabulary. */
static facet_status read_ids(facet_column *column, const char *path, const facet_vocabulary_info *vocabulary,
                             facet_attribute *out) {
  const int64_t n = facet_column_n_rows(column);
  int32_t *ids;
  FACET_TRY(FACET_ALLOC(ids, n, "attribute table"));
  out->ids = ids;
  FACET_TRY(facet_column_read_int32(column, 0, n, ids));
  for (int64_t i = 0; i < n; i++)
    FACET_CHECK(ids[i] >= 0 && ids[i] < vocabulary->size, FACET_ERROR_DATA,
                "%s: %s: row %" PRId64 ": id %d, expected 0 to %" PRId64 " (vocabulary %s)", path,
                facet_column_name(column), i, ids[i], vocabulary->size - 1, vocabulary->name);
  for (int64_t i = 0; i < n; i++)
    if (ids[i] > out->largest_id) out->largest_id = ids[i];
  return FACET_OK;
}

static facet_status read_floats(facet_column *column, const char *path, int64_t length, const float **out) {
  const int64_t n = facet_column_n_rows(column);
  float *values;
  FACET_TRY(FACET_ALLOC(values, n * length, "attribute table"));
  *out = values;
  FACET_TRY(facet_column_read_float(column, 0, n, values));
  for (int64_t i = 0; i < n * length; i++)
    FACET_CHECK(isfinite(values[i]), FACET_ERROR_DATA, "%s: %s: row %" PRId64 ": %g, expected a finite number", path,
                facet_column_name(column), i / length, (double)values[i]);
  return FACET_OK;
}

static facet_status read_offsets(facet_column *column, const char *path, int64_t bag, const int64_t **out) {
  const int64_t n = facet_column_n_rows(column) - 1;
  int64_t *offsets;
  FACET_TRY(FACET_ALLOC(offsets, n + 1, "attribute table"));
  *out = offsets;
  FACET_TRY(facet_column_read_int64(column, 0, n + 1, offsets));
  FACET_CHECK(offsets[0] == 0, FACET_ERROR_DATA, "%s: %s: row 0: %" PRId64 ", expected 0", path,
              facet_column_name(column), offsets[0]);
  for (int64_t i = 0; i < n; i++) {
    int64_t count;
    const bool overflow = __builtin_sub_overflow(offsets[i + 1], offsets[i], &count);
    FACET_CHECK(!overflow && count >= 0 && count <= bag, FACET_ERROR_DATA,
                "%s: %s: row %" PRId64 ": %" PRId64 " values, expected 0 to %" PRId64, path, facet_column_name(column),
                i, count, bag);
  }
  return FACET_OK;
}

/* The offsets of a bag, and the number of values that they end with. */
static facet_status open_offsets(hid_t file, const char *path, const char *name, int64_t n_rows, facet_column **offsets,
                                 int64_t *n_values) {
  FACET_TRY(
      facet_column_open(file, path, NULL, name, (facet_column_expect){FACET_FEATURE_INT64, 1, n_rows + 1}, offsets));
  FACET_TRY(facet_column_read_int64(*offsets, n_rows, 1, n_values));
  FACET_CHECK(*n_values >= 0, FACET_ERROR_DATA, "%s: %s: row %" PRId64 ": %" PRId64 ", expected 0 or more", path, name,
              n_rows, *n_values);
  return FACET_OK;
}

facet_status facet_tables_open_column(const facet_schema *schema, hid_t file, const char *path,
                                      const facet_feature *feature, facet_column **values, facet_column **offsets) {
  const facet_vocabulary_info *table = &schema->vocabularies[schema->features[feature->join].vocabulary];
  const bool is_bag = feature->bag > 0;
  char name[FACET_SHARD_MAX_NAME];
  int64_t n_values = table->size;
  facet_status status;
  *values = *offsets = NULL;
  if (is_bag) {
    snprintf(name, sizeof name, "/%s/%s/offsets", table->name, feature->column);
    FACET_TRY_GOTO(status, fail, open_offsets(file, path, name, table->size, offsets, &n_values));
  }
  snprintf(name, sizeof name, "/%s/%s%s", table->name, feature->column, is_bag ? "/values" : "");
  const facet_column_expect expect = {feature->type, feature->length, n_values};
  FACET_TRY_GOTO(status, fail, facet_column_open(file, path, NULL, name, expect, values));
  return FACET_OK;
fail:
  facet_column_close(offsets);
  return status;
}

static facet_status read_attribute(const facet_schema *schema, hid_t file, const char *path,
                                   const facet_feature *feature, facet_attribute *out) {
  facet_column *values, *offsets;
  facet_status status;
  out->n_rows = schema->vocabularies[schema->features[feature->join].vocabulary].size;
  FACET_TRY(facet_tables_open_column(schema, file, path, feature, &values, &offsets));
  if (offsets) FACET_TRY_GOTO(status, done, read_offsets(offsets, path, feature->bag, &out->offsets));
  status = feature->type == FACET_FEATURE_ID ? read_ids(values, path, &schema->vocabularies[feature->vocabulary], out)
                                             : read_floats(values, path, feature->length, &out->floats);
done:
  facet_column_close(&values);
  facet_column_close(&offsets);
  return status;
}

static facet_status open_tables(const char *path, hid_t *file) {
  FACET_TRY(facet_hdf5_open(path, file));
  const facet_status status = facet_hdf5_check_format(*file, "tables", FACET_TABLES_VERSION);
  if (status != FACET_OK) facet_hdf5_discard(file);
  return status;
}

facet_status facet_tables_read(const facet_schema *schema, const char *path, facet_attribute *attributes) {
  hid_t file;
  facet_status status = FACET_OK;
  FACET_TRY(open_tables(path, &file));
  for (int i = 0; status == FACET_OK && i < schema->n_features; i++)
    if (schema->features[i].join >= 0)
      status = read_attribute(schema, file, path, &schema->features[i], &attributes[i]);
  facet_hdf5_discard(&file);
  return status;
}

static void free_attribute(facet_attribute *attribute) {
  facet_memory_free((void *)attribute->ids);
  facet_memory_free((void *)attribute->offsets);
  facet_memory_free((void *)attribute->floats);
  *attribute = (facet_attribute){0};
}

facet_status facet_tables_verify(const facet_schema *schema, const char *path) {
  hid_t file;
  facet_status status = FACET_OK;
  FACET_TRY(open_tables(path, &file));
  for (int i = 0; status == FACET_OK && i < schema->n_features; i++) {
    facet_attribute attribute = {0};
    if (schema->features[i].join < 0) continue;
    status = read_attribute(schema, file, path, &schema->features[i], &attribute);
    free_attribute(&attribute);
  }
  facet_hdf5_discard(&file);
  return status;
}

void facet_tables_free(const facet_schema *schema, facet_attribute *attributes) {
  for (int i = 0; attributes && i < schema->n_features; i++) free_attribute(&attributes[i]);
}
