/* facet inspect of attribute tables (tables.h5). See inspect.h. */
#include <inttypes.h>
#include <string.h>

#include "data/inspect.h"
#include "data/shard_format.h"
#include "data/tables.h"
#include "facet/memory.h"

#define BLOCK 16384 /* rows at a time */
#define FLUSH 64    /* rows that are aligned with each other */

/* One column of one table, opened by what is stored; `feature` is the schema's first one that reads it, or NULL. */
typedef struct table_column {
  const char *table, *name; /* "item", "genres" */
  facet_column *values, *offsets;
  const facet_feature *feature;
} table_column;

typedef struct table_file {
  const char *path;
  hid_t file;
  facet_schema *schema;  /* NULL: none */
  inspect_names *names;  /* NULL without a schema */
  facet_arena *arena;    /* of names of columns */
  table_column *columns; /* [n_columns], tables one after the other */
  size_t n_columns, capacity;
} table_file;

/* ---- opening --------------------------------------------------------------------------------------------------- */

static bool reads_column(const facet_schema *schema, const facet_feature *feature, const char *table,
                         const char *column) {
  return feature->join >= 0 && !strcmp(feature->column, column) &&
         !strcmp(schema->vocabularies[schema->features[feature->join].vocabulary].name, table);
}

/* Opens a data set in the type that it has. */
static facet_status open_stored(const table_file *t, const char *name, facet_column **column) {
  facet_hdf5_type type;
  int rank;
  int64_t dims[FACET_HDF5_MAX_RANK] = {0};
  FACET_TRY(facet_hdf5_shape(t->file, name + 1, &type, &rank, dims));
  const facet_feature_type kind = type == FACET_HDF5_FLOAT ? FACET_FEATURE_FLOAT : FACET_FEATURE_ID;
  return facet_column_open(t->file, t->path, NULL, name, (facet_column_expect){kind, rank == 2 ? dims[1] : 1, -1},
                           column);
}

static facet_status open_column(table_file *t, const char *table, const char *name) {
  char path[3 * FACET_SHARD_MAX_NAME];
  FACET_TRY(FACET_GROW(t->columns, t->capacity, t->n_columns + 1, "columns of tables"));
  table_column *column = &t->columns[t->n_columns++];
  *column = (table_column){.table = table, .name = name};
  for (int i = 0; t->schema && i < t->schema->n_features && !column->feature; i++)
    if (reads_column(t->schema, &t->schema->features[i], table, name)) column->feature = &t->schema->features[i];
  snprintf(path, sizeof path, "/%.250s/%.250s", table, name);
  if (!facet_hdf5_is_group(t->file, path + 1)) return open_stored(t, path, &column->values);
  const size_t end = strlen(path);
  snprintf(path + end, sizeof path - end, "/offsets");
  FACET_TRY(open_stored(t, path, &column->offsets));
  FACET_CHECK(facet_column_n_rows(column->offsets) > 0, FACET_ERROR_DATA, "%s: %s: has no rows, expected offsets",
              t->path, path);
  snprintf(path + end, sizeof path - end, "/values");
  return open_stored(t, path, &column->values);
}

static facet_status open_table(table_file *t, const char *table) {
  FACET_HDF5_SCOPED hid_t group = -1;
  char **names;
  int64_t n;
  FACET_TRY(facet_hdf5_group_open(t->file, table, &group));
  FACET_TRY(facet_hdf5_list(group, t->arena, &names, &n));
  for (int64_t i = 0; i < n; i++) FACET_TRY(open_column(t, table, names[i]));
  return FACET_OK;
}

static facet_status open_tables(table_file *t, const char *directory) {
  char schema_path[FACET_PATH_MAX], **tables;
  int64_t n;
  FACET_TRY(facet_path_format(schema_path, "%s/schema.yaml", directory));
  if (facet_file_exists(schema_path)) FACET_TRY(facet_schema_load(schema_path, &t->schema));
  if (t->schema) FACET_TRY(inspect_names_open(t->schema, directory, &t->names));
  FACET_TRY(facet_arena_create(&t->arena));
  FACET_TRY(facet_hdf5_open(t->path, &t->file));
  FACET_TRY(facet_hdf5_check_format(t->file, "tables", FACET_TABLES_VERSION));
  FACET_TRY(facet_hdf5_list(t->file, t->arena, &tables, &n));
  for (int64_t i = 0; i < n; i++) FACET_TRY(open_table(t, tables[i]));
  return FACET_OK;
}

static void close_tables(table_file *t) {
  for (size_t c = 0; c < t->n_columns; c++) {
    facet_column_close(&t->columns[c].values);
    facet_column_close(&t->columns[c].offsets);
  }
  facet_memory_free(t->columns);
  facet_hdf5_discard(&t->file);
  facet_arena_destroy(&t->arena);
  inspect_names_close(&t->names);
  facet_schema_destroy(&t->schema);
}

/* ---- summary --------------------------------------------------------------------------------------------------- */

typedef struct fill_count {
  int64_t n_filled, longest; /* longest: values of the longest bag */
} fill_count;

/* Counts the rows of a block that are filled; `buffer` holds the block, or one row where that is larger. */
static facet_status count_block(const table_column *column, int64_t first, int64_t n, int64_t *buffer,
                                fill_count *count) {
  const facet_column_info info = facet_column_describe(column->values);
  if (column->offsets) {
    FACET_TRY(facet_column_read_int64(column->offsets, first, n + 1, buffer));
    for (int64_t i = 0; i < n; i++) {
      const int64_t length = buffer[i] >= 0 && buffer[i + 1] > buffer[i] ? buffer[i + 1] - buffer[i] : 0;
      count->n_filled += length > 0;
      if (length > count->longest) count->longest = length;
    }
  } else if (info.type == FACET_HDF5_FLOAT) {
    const float *values = (float *)buffer;
    FACET_TRY(facet_column_read_float(column->values, first, n, (float *)buffer));
    for (int64_t i = 0; i < n; i++) {
      int64_t e = 0;
      while (e < info.length && values[i * info.length + e] == 0) e++;
      count->n_filled += e < info.length;
    }
  } else {
    FACET_TRY(facet_column_read_int64(column->values, first, n, buffer));
    for (int64_t i = 0; i < n; i++) count->n_filled += buffer[i] != FACET_ID_PADDING;
  }
  return FACET_OK;
}

static int64_t count_rows(const table_column *column) {
  return column->offsets ? facet_column_n_rows(column->offsets) - 1 : facet_column_n_rows(column->values);
}

static facet_status count_fill(const table_column *column, fill_count *count) {
  const int64_t n_rows = count_rows(column), length = facet_column_describe(column->values).length;
  const int64_t step = length < BLOCK ? BLOCK / length : 1;
  int64_t *buffer;
  facet_status status = FACET_OK;
  FACET_TRY(FACET_ALLOC(buffer, step * length + 1, "block of a table"));
  for (int64_t first = 0; status == FACET_OK && first < n_rows; first += step)
    status = count_block(column, first, n_rows - first < step ? n_rows - first : step, buffer, count);
  facet_memory_free(buffer);
  return status;
}

/* Names of the features that read the column. */
static facet_status add_features(const table_file *t, const table_column *column, inspect_grid *grid) {
  char text[1024] = "";
  for (int i = 0; t->schema && i < t->schema->n_features; i++) {
    const size_t used = strlen(text);
    if (reads_column(t->schema, &t->schema->features[i], column->table, column->name))
      snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", t->schema->features[i].name);
  }
  return inspect_cell(grid, "%s", text);
}

static facet_status add_column(const table_file *t, const table_column *column, inspect_grid *grid) {
  const facet_column_info info = facet_column_describe(column->values);
  const int64_t n_rows = count_rows(column);
  fill_count count = {0};
  FACET_TRY(count_fill(column, &count));
  FACET_TRY(inspect_cell(grid, "%s", column->table));
  FACET_TRY(inspect_cell(grid, "%s", column->name));
  FACET_TRY(inspect_cell(grid, "%s", facet_hdf5_type_name(info.type)));
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(n_rows)));
  if (column->offsets)
    FACET_TRY(inspect_cell(grid, "up to %s", inspect_count(count.longest)));
  else
    FACET_TRY(inspect_cell(grid, "%s", inspect_count(info.length)));
  FACET_TRY(inspect_cell(grid, "%s", inspect_share(count.n_filled, n_rows)));
  return add_features(t, column, grid);
}

static facet_status print_summary(const table_file *t, FILE *out) {
  static const char *const titles[] = {"table", "column", "type", ">rows", ">values a row", ">filled", "read by"};
  inspect_grid *grid;
  facet_status status = FACET_OK;
  inspect_field(out, "tables", "%s", t->path);
  if (t->schema)
    inspect_field(out, "schema", "%s (%s)", t->schema->name, t->schema->path);
  else
    inspect_field(out, "schema", "missing: there is no schema.yaml beside the file");
  inspect_field(out, "filled", "rows with an id other than padding, a value other than 0, a bag that is not empty");
  fputc('\n', out);
  FACET_TRY(inspect_grid_create(sizeof titles / sizeof *titles, titles, 0, &grid));
  for (size_t c = 0; status == FACET_OK && c < t->n_columns; c++) status = add_column(t, &t->columns[c], grid);
  if (status == FACET_OK) inspect_grid_print(grid, out);
  inspect_grid_destroy(&grid);
  return status;
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

/* A column that no feature reads is printed by its stored type. */
static facet_status format_value(const table_file *t, const table_column *column, int64_t row, char *text) {
  const facet_column_info info = facet_column_describe(column->values);
  const facet_feature stored = {.type = info.type == FACET_HDF5_FLOAT ? FACET_FEATURE_FLOAT : FACET_FEATURE_ID,
                                .vocabulary = -1,
                                .length = info.length};
  return inspect_value(column->feature ? column->feature : &stored, t->names ? t->names->tokens : NULL, column->values,
                       column->offsets, row, text);
}

static facet_status add_row(const table_file *t, size_t first, size_t end, const inspect_tokens *tokens, int64_t row,
                            inspect_grid *grid) {
  char text[INSPECT_VALUE_BYTES];
  const char *token = "";
  if (tokens) FACET_TRY(inspect_tokens_get(tokens, row, &token));
  FACET_TRY(inspect_cell(grid, "%" PRId64, row));
  FACET_TRY(inspect_cell(grid, "%s", token));
  for (size_t c = first; c < end; c++) {
    text[0] = 0;
    if (row < count_rows(&t->columns[c])) FACET_TRY(format_value(t, &t->columns[c], row, text));
    FACET_TRY(inspect_cell(grid, "%s", text));
  }
  return FACET_OK;
}

/* The first n rows of the table whose columns are first … end − 1, from the first token on. */
static facet_status print_table(const table_file *t, size_t first, size_t end, int64_t n, FILE *out) {
  const int v = t->schema ? facet_schema_vocabulary(t->schema, t->columns[first].table) : -1;
  const inspect_tokens *tokens = v >= 0 ? t->names->tokens[v] : NULL;
  const int64_t n_rows = count_rows(&t->columns[first]);
  const int64_t last = n < n_rows - FACET_ID_FIRST ? FACET_ID_FIRST + n : n_rows;
  const char **titles = facet_arena_alloc(t->arena, end - first + 2, sizeof *titles);
  inspect_grid *grid;
  facet_status status = FACET_OK;
  if (!titles) return FACET_ERROR_INTERNAL;
  titles[0] = ">id";
  titles[1] = "token";
  for (size_t c = first; c < end; c++) titles[c - first + 2] = t->columns[c].name;
  fprintf(out, "\ntable %s\n", t->columns[first].table);
  FACET_TRY(inspect_grid_create((int)(end - first + 2), titles, 2, &grid));
  for (int64_t row = FACET_ID_FIRST; status == FACET_OK && row < last; row++) {
    status = add_row(t, first, end, tokens, row, grid);
    if (status == FACET_OK && (row == last - 1 || row % FLUSH == 0)) inspect_grid_print(grid, out);
  }
  inspect_grid_destroy(&grid);
  return status;
}

static facet_status print_rows(const table_file *t, int64_t n, FILE *out) {
  for (size_t first = 0, end; first < t->n_columns; first = end) {
    end = first + 1;
    while (end < t->n_columns && t->columns[end].table == t->columns[first].table) end++;
    FACET_TRY(print_table(t, first, end, n, out));
  }
  return FACET_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static facet_status verify(const facet_inspect_request *request, const char *directory) {
  char schema_path[FACET_PATH_MAX];
  facet_schema *schema;
  FACET_TRY(facet_path_format(schema_path, "%s/schema.yaml", directory));
  FACET_CHECK(facet_file_exists(schema_path), FACET_ERROR_DATA,
              "%s: cannot be verified without a schema: there is no %s", request->path, schema_path);
  FACET_TRY(facet_schema_load(schema_path, &schema));
  const facet_status status = facet_tables_verify(schema, request->path);
  facet_schema_destroy(&schema);
  if (status == FACET_OK) inspect_field(request->out, "verified", "every column that a feature reads\n");
  return status;
}

facet_status facet_inspect_tables(const facet_inspect_request *request) {
  char directory[FACET_PATH_MAX];
  table_file t = {.path = request->path, .file = -1};
  facet_status status;
  FACET_TRY(inspect_directory_of(request->path, 0, directory));
  if (request->verify) FACET_TRY(verify(request, directory));
  FACET_TRY_GOTO(status, done, open_tables(&t, directory));
  FACET_TRY_GOTO(status, done, print_summary(&t, request->out));
  if (request->n_rows > 0) status = print_rows(&t, request->n_rows, request->out);
done:
  close_tables(&t);
  return status;
}
