/* What ids mean: tokens from vocabulary files and attributes from tables.h5, read row by row. See inspect.h. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "data/inspect.h"
#include "data/shard_format.h"
#include "data/tables.h"
#include "facet/memory.h"

#define MAX_VALUES 8 /* of a bag or vector that are shown */

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

static facet_status open_tokens(inspect_tokens *tokens) {
  facet_hdf5_type type;
  int rank;
  int64_t dims[FACET_HDF5_MAX_RANK];
  FACET_TRY(facet_hdf5_open(tokens->path, &tokens->file));
  FACET_TRY(facet_hdf5_check_format(tokens->file, "vocabulary", FACET_VOCABULARY_VERSION));
  FACET_TRY(facet_hdf5_get_string(tokens->file, "name", tokens->name, sizeof tokens->name));
  FACET_TRY(facet_hdf5_get_int64(tokens->file, "size", &tokens->size));
  tokens->has_hash = facet_hdf5_has_attribute(tokens->file, "hash");
  if (tokens->has_hash) FACET_TRY(facet_hdf5_get_uint64(tokens->file, "hash", &tokens->hash));
  FACET_TRY(facet_hdf5_dataset_open(tokens->file, "offsets", &tokens->offsets));
  FACET_TRY(facet_hdf5_dataset_shape(tokens->offsets, &type, &rank, dims));
  FACET_CHECK(rank == 1 && tokens->size >= FACET_ID_FIRST && dims[0] == tokens->size - FACET_ID_FIRST + 1,
              FACET_ERROR_DATA, "%s: /offsets has %" PRId64 " rows, expected %" PRId64 " (attribute size less one)",
              tokens->path, rank > 0 ? dims[0] : 0, tokens->size - 1);
  FACET_TRY(facet_hdf5_dataset_open(tokens->file, "bytes", &tokens->bytes));
  FACET_TRY(facet_hdf5_dataset_shape(tokens->bytes, &type, &rank, dims));
  FACET_CHECK(rank == 1, FACET_ERROR_DATA, "%s: /bytes has %d dimensions, expected 1", tokens->path, rank);
  tokens->n_bytes = dims[0];
  return FACET_OK;
}

facet_status inspect_tokens_open(const char *path, inspect_tokens **out) {
  inspect_tokens *tokens;
  *out = NULL;
  FACET_TRY(FACET_ALLOC(tokens, 1, "vocabulary"));
  tokens->file = tokens->offsets = tokens->bytes = -1;
  tokens->path = facet_memory_strdup(path);
  const facet_status status = tokens->path ? open_tokens(tokens) : FACET_ERROR_INTERNAL;
  if (status != FACET_OK) inspect_tokens_close(&tokens);
  *out = tokens;
  return status;
}

void inspect_tokens_close(inspect_tokens **out) {
  inspect_tokens *tokens = *out;
  if (!tokens) return;
  facet_hdf5_release(&tokens->offsets);
  facet_hdf5_release(&tokens->bytes);
  facet_hdf5_discard(&tokens->file);
  facet_memory_free(tokens->path);
  facet_memory_free(tokens);
  *out = NULL;
}

facet_status inspect_tokens_get(const inspect_tokens *tokens, int64_t id, const char **text) {
  static const char *const reserved[FACET_ID_FIRST] = {"<padding>", "<unknown>"};
  uint8_t bytes[INSPECT_TOKEN_BYTES + 4];
  int64_t offset[2];
  *text = id < 0 || id >= tokens->size ? "<none>" : id < FACET_ID_FIRST ? reserved[id] : NULL;
  if (*text) return FACET_OK;
  FACET_TRY(facet_hdf5_dataset_read(tokens->offsets, FACET_HDF5_INT64, id - FACET_ID_FIRST, 2, offset));
  FACET_CHECK(offset[0] >= 0 && offset[0] < offset[1] && offset[1] <= tokens->n_bytes, FACET_ERROR_DATA,
              "%s: /offsets row %" PRId64 ": token from byte %" PRId64 " to %" PRId64 " of %" PRId64, tokens->path,
              id - FACET_ID_FIRST, offset[0], offset[1], tokens->n_bytes);
  const int64_t n = offset[1] - offset[0], n_read = n < (int64_t)sizeof bytes ? n : (int64_t)sizeof bytes;
  FACET_TRY(facet_hdf5_dataset_read(tokens->bytes, FACET_HDF5_UINT8, offset[0], n_read, bytes));
  *text = inspect_quote(bytes, (size_t)n);
  return FACET_OK;
}

/* ---- opening a data set's names -------------------------------------------------------------------------------- */

static facet_status open_vocabularies(inspect_names *names, const char *directory) {
  const facet_schema *schema = names->schema;
  char path[FACET_PATH_MAX];
  for (int v = 0; v < schema->n_vocabularies; v++) {
    FACET_TRY(facet_path_format(path, "%s/vocab/%s.h5", directory, schema->vocabularies[v].name));
    if (!schema->vocabularies[v].hashed && facet_file_exists(path))
      FACET_TRY(inspect_tokens_open(path, &names->tokens[v]));
  }
  return FACET_OK;
}

static facet_status open_tables(inspect_names *names, const char *directory) {
  const facet_schema *schema = names->schema;
  FACET_TRY(facet_path_format(names->tables_path, "%s/tables.h5", directory));
  if (!facet_file_exists(names->tables_path)) return FACET_OK;
  FACET_TRY(facet_hdf5_open(names->tables_path, &names->tables));
  FACET_TRY(facet_hdf5_check_format(names->tables, "tables", FACET_TABLES_VERSION));
  for (int i = 0; i < schema->n_features; i++)
    if (schema->features[i].join >= 0)
      FACET_TRY(facet_tables_open_column(schema, names->tables, names->tables_path, &schema->features[i],
                                         &names->values[i], &names->offsets[i]));
  return FACET_OK;
}

static facet_status open_names(inspect_names *names, const char *directory) {
  FACET_TRY(FACET_ALLOC(names->tokens, names->schema->n_vocabularies, "vocabularies"));
  FACET_TRY(FACET_ALLOC(names->values, names->schema->n_features, "attribute tables"));
  FACET_TRY(FACET_ALLOC(names->offsets, names->schema->n_features, "attribute tables"));
  FACET_TRY(open_vocabularies(names, directory));
  return open_tables(names, directory);
}

facet_status inspect_names_open(const facet_schema *schema, const char *directory, inspect_names **out) {
  inspect_names *names;
  *out = NULL;
  FACET_TRY(FACET_ALLOC(names, 1, "names of ids"));
  names->schema = schema;
  names->tables = -1;
  const facet_status status = open_names(names, directory);
  if (status != FACET_OK) inspect_names_close(&names);
  *out = names;
  return status;
}

void inspect_names_close(inspect_names **out) {
  inspect_names *names = *out;
  if (!names) return;
  for (int v = 0; names->tokens && v < names->schema->n_vocabularies; v++) inspect_tokens_close(&names->tokens[v]);
  for (int i = 0; names->values && names->offsets && i < names->schema->n_features; i++) {
    facet_column_close(&names->values[i]);
    facet_column_close(&names->offsets[i]);
  }
  facet_hdf5_discard(&names->tables);
  facet_memory_free(names->tokens);
  facet_memory_free(names->values);
  facet_memory_free(names->offsets);
  facet_memory_free(names);
  *out = NULL;
}

/* ---- values in words ------------------------------------------------------------------------------------------- */

static void append(char *text, const char *format, ...) FACET_PRINTF(2, 3);

static void append(char *text, const char *format, ...) {
  const size_t used = strlen(text);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text + used, INSPECT_VALUE_BYTES - used, format, arguments);
  va_end(arguments);
}

static facet_status append_ids(const inspect_tokens *tokens, facet_column *column, int64_t first, int64_t n,
                               char *text) {
  int32_t ids[MAX_VALUES];
  FACET_TRY(facet_column_read_int32(column, first, n, ids));
  for (int64_t i = 0; i < n; i++) {
    const char *token = "";
    if (tokens) FACET_TRY(inspect_tokens_get(tokens, ids[i], &token));
    append(text, "%s%d%s%s", i ? ", " : "", ids[i], token[0] ? " " : "", token);
  }
  return FACET_OK;
}

static facet_status append_bag(const inspect_tokens *tokens, facet_column *values, facet_column *offsets, int64_t row,
                               char *text) {
  int64_t offset[2];
  FACET_TRY(facet_column_read_int64(offsets, row, 2, offset));
  if (offset[0] < 0 || offset[0] > offset[1] || offset[1] > facet_column_n_rows(values)) {
    append(text, "<values %" PRId64 " to %" PRId64 " of %" PRId64 ">", offset[0], offset[1],
           facet_column_n_rows(values));
    return FACET_OK;
  }
  const int64_t n = offset[1] - offset[0];
  append(text, "[");
  FACET_TRY(append_ids(tokens, values, offset[0], n < MAX_VALUES ? n : MAX_VALUES, text));
  append(text, n > MAX_VALUES ? ", … %" PRId64 " in all]" : "]", n);
  return FACET_OK;
}

static facet_status append_floats(facet_column *column, int64_t length, int64_t row, char *text) {
  float *values;
  FACET_TRY(FACET_ALLOC(values, length, "row of a column"));
  const facet_status status = facet_column_read_float(column, row, 1, values);
  append(text, length > 1 ? "[" : "");
  for (int64_t i = 0; status == FACET_OK && i < length && i < MAX_VALUES; i++)
    append(text, "%s%.6g", i ? ", " : "", (double)values[i]);
  if (length > 1) append(text, length > MAX_VALUES ? ", … %" PRId64 " in all]" : "]", length);
  facet_memory_free(values);
  return status;
}

static facet_status append_int64(facet_column *column, facet_role role, int64_t row, char *text) {
  int64_t value;
  FACET_TRY(facet_column_read_int64(column, row, 1, &value));
  if (role == FACET_ROLE_TIME)
    append(text, "%s", inspect_time(value));
  else
    append(text, "%" PRId64, value);
  return FACET_OK;
}

facet_status inspect_value(const facet_feature *feature, inspect_tokens *const *tokens, facet_column *values,
                           facet_column *offsets, int64_t row, char *text) {
  const inspect_tokens *vocabulary = feature->vocabulary >= 0 ? tokens[feature->vocabulary] : NULL;
  text[0] = 0;
  if (offsets) return append_bag(vocabulary, values, offsets, row, text);
  switch (feature->type) {
  case FACET_FEATURE_ID:
    return append_ids(vocabulary, values, row, 1, text);
  case FACET_FEATURE_FLOAT:
    return append_floats(values, feature->length, row, text);
  default:
    return append_int64(values, feature->role, row, text);
  }
}

facet_status inspect_feature(const inspect_names *names, facet_shard *shard, int i, int64_t row, char *text) {
  const facet_feature *feature = &names->schema->features[i];
  int32_t id;
  if (feature->join < 0)
    return inspect_value(feature, names->tokens, facet_shard_values(shard, i), facet_shard_offsets(shard, i), row,
                         text);
  snprintf(text, INSPECT_VALUE_BYTES, "<no tables.h5>");
  if (!names->values[i]) return FACET_OK;
  FACET_TRY(facet_column_read_int32(facet_shard_values(shard, feature->join), row, 1, &id));
  const int64_t n_rows = names->schema->vocabularies[names->schema->features[feature->join].vocabulary].size;
  snprintf(text, INSPECT_VALUE_BYTES, "<none>");
  if (id < 0 || id >= n_rows) return FACET_OK;
  return inspect_value(feature, names->tokens, names->values[i], names->offsets[i], id, text);
}
