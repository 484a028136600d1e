/* facet inspect of one shard: summary, columns, rows. See inspect.h. */
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "data/inspect.h"
#include "data/shard_format.h"
#include "facet/log.h"
#include "facet/memory.h"

#define MAX_EVENTS 5 /* of a window that are shown */

/* ---- columns --------------------------------------------------------------------------------------------------- */

typedef struct layout_count {
  int n_mapped, n_chunked, n_other; /* columns that have rows */
  int64_t raw_bytes, stored_bytes;  /* of the chunked ones */
} layout_count;

static const char *layout_name(facet_column_info info) {
  return info.chunked ? "compressed" : info.mapped ? "mapped" : "not mapped";
}

static void count_layout(layout_count *count, const facet_column *column) {
  if (!column) return;
  const facet_column_info info = facet_column_describe(column);
  if (info.n_rows == 0) return;
  count->n_mapped += info.mapped;
  count->n_chunked += info.chunked;
  count->n_other += !info.mapped && !info.chunked;
  if (!info.chunked) return;
  count->raw_bytes += info.n_rows * info.length * (int64_t)facet_hdf5_type_bytes(info.type);
  count->stored_bytes += info.stored_bytes;
}

static layout_count count_layouts(const facet_shard *shard) {
  layout_count count = {0};
  for (int i = 0; i < shard->schema->n_features; i++) {
    count_layout(&count, shard->values[i]);
    count_layout(&count, shard->offsets[i]);
  }
  for (int s = 0; s < shard->schema->n_sequences; s++) {
    count_layout(&count, shard->starts[s]);
    count_layout(&count, shard->lengths[s]);
  }
  return count;
}

static bool is_mixed(layout_count count) {
  return (count.n_mapped > 0) + (count.n_chunked > 0) + (count.n_other > 0) > 1;
}

static void print_layout(layout_count count, FILE *out) {
  if (is_mixed(count))
    inspect_field(out, "layout", "mixed: %d columns mapped, %d read through HDF5", count.n_mapped,
                  count.n_chunked + count.n_other);
  else if (count.n_chunked > 0)
    inspect_field(out, "layout", "chunked, %.2f times smaller by compression",
                  (double)count.raw_bytes / (double)(count.stored_bytes > 0 ? count.stored_bytes : 1));
  else
    inspect_field(out, "layout", count.n_other > 0 ? "contiguous, read through HDF5" : "contiguous, mapped");
}

/* `vocabulary` is −1 for columns that hold no ids. */
static facet_status add_column(inspect_grid *grid, const facet_shard *shard, const facet_column *column, int vocabulary,
                               bool with_layout) {
  if (!column) return FACET_OK;
  const facet_column_info info = facet_column_describe(column);
  FACET_TRY(inspect_cell(grid, "%s", facet_column_name(column)));
  FACET_TRY(inspect_cell(grid, "%s", facet_hdf5_type_name(info.type)));
  FACET_TRY(inspect_cell(grid, "%s", inspect_shape(info.length > 1 ? 2 : 1, (int64_t[]){info.n_rows, info.length})));
  FACET_TRY(inspect_cell(grid, "%s", facet_format_bytes((double)info.stored_bytes)));
  FACET_TRY(inspect_cell(grid, "%s", with_layout ? layout_name(info) : ""));
  return inspect_cell(grid, "%s", vocabulary < 0 ? "" : shard->schema->vocabularies[vocabulary].name);
}

/* The stored features of samples (sequence −1) or of a sequence's events. */
static facet_status add_features(inspect_grid *grid, const facet_shard *shard, int sequence, bool with_layout) {
  for (int i = 0; i < shard->schema->n_features; i++) {
    if (shard->schema->features[i].sequence != sequence) continue;
    FACET_TRY(add_column(grid, shard, shard->offsets[i], -1, with_layout));
    FACET_TRY(add_column(grid, shard, shard->values[i], shard->schema->features[i].vocabulary, with_layout));
  }
  return FACET_OK;
}

static facet_status add_columns(inspect_grid *grid, const facet_shard *shard) {
  const bool with_layout = is_mixed(count_layouts(shard));
  FACET_TRY(add_features(grid, shard, -1, with_layout));
  for (int s = 0; s < shard->schema->n_sequences; s++) {
    FACET_TRY(add_column(grid, shard, shard->starts[s], -1, with_layout));
    FACET_TRY(add_column(grid, shard, shard->lengths[s], -1, with_layout));
    FACET_TRY(add_features(grid, shard, s, with_layout));
  }
  return FACET_OK;
}

static const char *const column_titles[] = {"column", "type", "shape", ">bytes", "layout", "vocabulary"};
enum { N_COLUMN_TITLES = sizeof column_titles / sizeof *column_titles };

static facet_status print_columns(const facet_shard *shard, FILE *out) {
  inspect_grid *grid;
  FACET_TRY(inspect_grid_create(N_COLUMN_TITLES, column_titles, 0, &grid));
  const facet_status status = add_columns(grid, shard);
  if (status == FACET_OK) inspect_grid_print(grid, out);
  inspect_grid_destroy(&grid);
  return status;
}

/* ---- summary --------------------------------------------------------------------------------------------------- */

static facet_status print_windows(const inspect_statistics *statistics, FILE *out) {
  inspect_grid *grid;
  FACET_TRY(inspect_windows_grid(&grid));
  const facet_status status = inspect_windows_add(grid, statistics, "");
  if (status == FACET_OK) inspect_grid_print(grid, out);
  inspect_grid_destroy(&grid);
  return status;
}

static facet_status print_statistics(facet_shard *shard, FILE *out) {
  inspect_statistics *statistics;
  FACET_TRY(inspect_statistics_create(shard->schema, &statistics));
  facet_status status;
  FACET_TRY_GOTO(status, done, inspect_statistics_add(statistics, shard));
  const int64_t n = statistics->n_samples;
  inspect_field(out, "samples", "%s", inspect_count(n));
  inspect_field(out, "events", "%s", inspect_count(inspect_statistics_n_events(statistics)));
  inspect_field(out, "labels", "%s positive, mean %.4f", inspect_count(statistics->n_positives),
                n > 0 ? statistics->label_sum / (double)n : 0.0);
  if (statistics->time_min <= statistics->time_max)
    inspect_field(out, "time", "%s to %s UTC", inspect_time(statistics->time_min), inspect_time(statistics->time_max));
  if (shard->schema->n_sequences > 0) {
    fputc('\n', out);
    status = print_windows(statistics, out);
  }
done:
  inspect_statistics_destroy(&statistics);
  return status;
}

static facet_status print_shard(facet_shard *shard, FILE *out) {
  inspect_field(out, "shard", "%s", shard->path);
  inspect_field(out, "schema", "%s (%s)", shard->schema->name, shard->schema->path);
  print_layout(count_layouts(shard), out);
  inspect_field(out, "size", "%s", facet_format_bytes((double)inspect_file_bytes(shard->path)));
  FACET_TRY(print_statistics(shard, out));
  fputc('\n', out);
  return print_columns(shard, out);
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

/* "category (by item_id)" for a joined feature. */
static const char *title_of(const facet_schema *schema, const facet_feature *feature, char *text, size_t n_bytes) {
  const char *dot = feature->sequence >= 0 ? strchr(feature->name, '.') : NULL;
  const char *by = feature->join >= 0 ? schema->features[feature->join].column : NULL;
  snprintf(text, n_bytes, "%s%s%s%s", dot ? dot + 1 : feature->name, by ? " (by " : "", by ? by : "", by ? ")" : "");
  return text;
}

static facet_status add_events(const inspect_names *names, facet_shard *shard, int sequence, int64_t first, int64_t n,
                               inspect_grid *grid) {
  char text[INSPECT_VALUE_BYTES];
  for (int64_t event = first; event < first + n; event++) {
    FACET_TRY(inspect_cell(grid, "event %s", inspect_count(event)));
    for (int i = 0; i < names->schema->n_features; i++) {
      if (names->schema->features[i].sequence != sequence) continue;
      FACET_TRY(inspect_feature(names, shard, i, event, text));
      FACET_TRY(inspect_cell(grid, "%s", text));
    }
  }
  return FACET_OK;
}

/* The newest events of a window, the newest last: one line each, one column per feature. */
static facet_status print_events(const inspect_names *names, facet_shard *shard, int sequence, int64_t first, int64_t n,
                                 FILE *out) {
  const facet_schema *schema = names->schema;
  facet_arena *arena = NULL;
  inspect_grid *grid = NULL;
  facet_status status;
  FACET_TRY_GOTO(status, done, facet_arena_create(&arena));
  const char **titles = facet_arena_alloc(arena, (size_t)schema->n_features + 1, sizeof *titles);
  if (!titles) FACET_TRY_GOTO(status, done, FACET_ERROR_INTERNAL);
  int n_titles = 0;
  titles[n_titles++] = "";
  for (int i = 0; i < schema->n_features; i++) {
    char title[160];
    if (schema->features[i].sequence != sequence) continue;
    titles[n_titles] = facet_arena_strdup(arena, title_of(schema, &schema->features[i], title, sizeof title));
    FACET_TRY_GOTO(status, done, titles[n_titles++] ? FACET_OK : FACET_ERROR_INTERNAL);
  }
  FACET_TRY_GOTO(status, done, inspect_grid_create(n_titles, titles, 4, &grid));
  FACET_TRY_GOTO(status, done, add_events(names, shard, sequence, first, n, grid));
  inspect_grid_print(grid, out);
done:
  inspect_grid_destroy(&grid);
  facet_arena_destroy(&arena);
  return status;
}

static facet_status print_window(const inspect_names *names, facet_shard *shard, int sequence, int64_t row, int width,
                                 FILE *out) {
  int64_t start;
  int32_t length;
  const int64_t n_events = facet_shard_n_events(shard, sequence);
  FACET_TRY(facet_column_read_int64(facet_shard_starts(shard, sequence), row, 1, &start));
  FACET_TRY(facet_column_read_int32(facet_shard_lengths(shard, sequence), row, 1, &length));
  fprintf(out, "  %-*s  %s", width, names->schema->sequences[sequence].name, inspect_plural(length, "event"));
  if (length < 0 || start < 0 || start > n_events - length) {
    fprintf(out, " from %" PRId64 ": outside the %s of the part\n", start, inspect_plural(n_events, "event"));
    return FACET_OK;
  }
  const int64_t n = length < MAX_EVENTS ? length : MAX_EVENTS;
  fprintf(out, n < length ? ", the newest %" PRId64 ":\n" : n > 0 ? ":\n" : "\n", n);
  return n > 0 ? print_events(names, shard, sequence, start + length - n, n, out) : FACET_OK;
}

static facet_status print_row(const inspect_names *names, facet_shard *shard, int64_t row, int width, FILE *out) {
  char text[INSPECT_VALUE_BYTES], title[160];
  for (int i = 0; i < names->schema->n_features; i++) {
    const facet_feature *feature = &names->schema->features[i];
    if (feature->sequence >= 0) continue;
    FACET_TRY(inspect_feature(names, shard, i, row, text));
    fprintf(out, "  %-*s  %s\n", width, title_of(names->schema, feature, title, sizeof title), text);
  }
  for (int s = 0; s < names->schema->n_sequences; s++) FACET_TRY(print_window(names, shard, s, row, width, out));
  return FACET_OK;
}

facet_status inspect_rows(const inspect_names *names, facet_shard *shard, int64_t first, int64_t n, FILE *out) {
  const facet_schema *schema = names->schema;
  char title[160];
  int width = 0;
  for (int i = 0; i < schema->n_features; i++) {
    const int length = (int)strlen(title_of(schema, &schema->features[i], title, sizeof title));
    if (schema->features[i].sequence < 0 && length > width) width = length;
  }
  for (int64_t row = 0; row < n && row < facet_shard_n_samples(shard); row++) {
    fprintf(out, "\nrow %s\n", inspect_count(first + row));
    FACET_TRY(print_row(names, shard, row, width, out));
  }
  return FACET_OK;
}

static facet_status print_rows(facet_shard *shard, const char *directory, int64_t n, FILE *out) {
  inspect_names *names;
  FACET_TRY(inspect_names_open(shard->schema, directory, &names));
  const facet_status status = inspect_rows(names, shard, 0, n, out);
  inspect_names_close(&names);
  return status;
}

/* ---- without a schema ------------------------------------------------------------------------------------------ */

static facet_status add_raw(inspect_grid *grid, hid_t file, const char *name, facet_arena *arena);

static facet_status add_raw_group(inspect_grid *grid, hid_t file, const char *name, facet_arena *arena) {
  FACET_HDF5_SCOPED hid_t group = -1;
  char **members;
  int64_t n;
  FACET_TRY(facet_hdf5_group_open(file, name, &group));
  FACET_TRY(facet_hdf5_list(group, arena, &members, &n));
  for (int64_t i = 0; i < n; i++) {
    char *member = facet_arena_printf(arena, "%s/%s", name, members[i]);
    if (!member) return FACET_ERROR_INTERNAL;
    FACET_TRY(add_raw(grid, file, member, arena));
  }
  return FACET_OK;
}

/* A data set, or all data sets of a group; the file's check has bounded the depth. */
static facet_status add_raw(inspect_grid *grid, hid_t file, const char *name, facet_arena *arena) {
  FACET_HDF5_SCOPED hid_t dataset = -1;
  facet_hdf5_type type;
  int rank;
  int64_t dims[FACET_HDF5_MAX_RANK];
  if (facet_hdf5_is_group(file, name)) return add_raw_group(grid, file, name, arena);
  FACET_TRY(facet_hdf5_dataset_open(file, name, &dataset));
  FACET_TRY(facet_hdf5_dataset_shape(dataset, &type, &rank, dims));
  FACET_HDF5_SCOPED hid_t creation = H5Dget_create_plist(dataset);
  FACET_TRY(inspect_cell(grid, "/%s", name));
  FACET_TRY(inspect_cell(grid, "%s", facet_hdf5_type_name(type)));
  FACET_TRY(inspect_cell(grid, "%s", inspect_shape(rank, dims)));
  FACET_TRY(inspect_cell(grid, "%s", facet_format_bytes((double)H5Dget_storage_size(dataset))));
  FACET_TRY(inspect_cell(grid, "%s", H5Pget_layout(creation) == H5D_CHUNKED ? "compressed" : ""));
  return inspect_cell(grid, "%s", "");
}

static facet_status add_raw_file(inspect_grid *grid, hid_t file) {
  facet_arena *arena;
  char **names;
  int64_t n;
  FACET_HDF5_GUARD;
  FACET_TRY(facet_arena_create(&arena));
  facet_status status = facet_hdf5_list(file, arena, &names, &n);
  for (int64_t i = 0; status == FACET_OK && i < n; i++) status = add_raw(grid, file, names[i], arena);
  facet_arena_destroy(&arena);
  return status;
}

static facet_status print_raw(hid_t file, const char *path, const char *schema_path, FILE *out) {
  int64_t n_samples;
  inspect_grid *grid;
  FACET_TRY(facet_hdf5_check_format(file, "shard", FACET_SHARD_VERSION));
  FACET_TRY(facet_hdf5_get_int64(file, "num_samples", &n_samples));
  inspect_field(out, "shard", "%s", path);
  inspect_field(out, "schema", "missing: there is no %s; the columns are listed as stored", schema_path);
  inspect_field(out, "size", "%s", facet_format_bytes((double)inspect_file_bytes(path)));
  inspect_field(out, "samples", "%s", inspect_count(n_samples));
  fputc('\n', out);
  FACET_TRY(inspect_grid_create(N_COLUMN_TITLES, column_titles, 0, &grid));
  const facet_status status = add_raw_file(grid, file);
  if (status == FACET_OK) inspect_grid_print(grid, out);
  inspect_grid_destroy(&grid);
  return status;
}

static facet_status inspect_raw(const facet_inspect_request *request, const char *schema_path) {
  hid_t file;
  FACET_CHECK(!request->verify && request->n_rows == 0, FACET_ERROR_DATA,
              "%s: cannot %s without a schema: there is no %s", request->path,
              request->verify ? "be verified" : "print rows", schema_path);
  FACET_TRY(facet_hdf5_open(request->path, &file));
  const facet_status status = print_raw(file, request->path, schema_path, request->out);
  facet_hdf5_discard(&file);
  return status;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static facet_status inspect_opened(const facet_inspect_request *request, facet_shard *shard, const char *directory) {
  if (request->verify) {
    FACET_TRY(facet_shard_verify(shard));
    inspect_field(request->out, "verified", "every value of %s\n",
                  inspect_plural(facet_shard_n_samples(shard), "sample"));
  }
  FACET_TRY(print_shard(shard, request->out));
  return request->n_rows > 0 ? print_rows(shard, directory, request->n_rows, request->out) : FACET_OK;
}

facet_status facet_inspect_shard(const facet_inspect_request *request) {
  char directory[FACET_PATH_MAX], schema_path[FACET_PATH_MAX];
  facet_schema *schema = NULL;
  facet_shard *shard = NULL;
  facet_status status;
  FACET_TRY(inspect_directory_of(request->path, 1, directory));
  FACET_TRY(facet_path_format(schema_path, "%s/schema.yaml", directory));
  if (!facet_file_exists(schema_path)) return inspect_raw(request, schema_path);
  FACET_TRY_GOTO(status, done, facet_schema_load(schema_path, &schema));
  FACET_TRY_GOTO(status, done, facet_shard_open(schema, request->path, &shard));
  status = inspect_opened(request, shard, directory);
done:
  facet_shard_close(&shard);
  facet_schema_destroy(&schema);
  return status;
}
