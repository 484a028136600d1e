/* facet inspect of a data set directory. See inspect.h. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "data/dataset_writer.h"
#include "data/inspect.h"
#include "data/tables.h"
#include "facet/dataset.h"
#include "facet/log.h"
#include "facet/memory.h"

#define MAX_TRUTH_BYTES ((size_t)1 << 20)

typedef struct report {
  const facet_inspect_request *request;
  facet_schema *schema;
  facet_arena *arena;
  const char **splits; /* [n_splits] names */
  int n_splits;
} report;

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* train, valid and test come first. */
static int rank_of(const char *split) {
  for (int i = 0; i < N_SPLITS; i++)
    if (strcmp(split, split_names[i]) == 0) return i;
  return N_SPLITS;
}

/* Every directory with a part is a split. */
static facet_status find_splits(report *r) {
  char path[FACET_PATH_MAX], **names;
  int64_t n;
  FACET_TRY(facet_directory_list(r->request->path, r->arena, &names, &n));
  r->splits = facet_arena_alloc(r->arena, (size_t)n + 1, sizeof *r->splits);
  if (!r->splits) return FACET_ERROR_INTERNAL;
  if (r->request->split) {
    int n_parts;
    r->splits[r->n_splits++] = r->request->split;
    FACET_TRY(facet_path_format(path, "%s/%s", r->request->path, r->request->split));
    return facet_dataset_count_parts(path, &n_parts);
  }
  for (int rank = 0; rank <= N_SPLITS; rank++)
    for (int64_t i = 0; i < n; i++) {
      FACET_TRY(facet_path_format(path, "%s/%s/part-00000.h5", r->request->path, names[i]));
      if (rank_of(names[i]) == rank && facet_file_exists(path)) r->splits[r->n_splits++] = names[i];
    }
  return FACET_OK;
}

static facet_status open_report(report *r) {
  char path[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(path, "%s/schema.yaml", r->request->path));
  FACET_TRY(facet_schema_load(path, &r->schema));
  FACET_TRY(facet_arena_create(&r->arena));
  return find_splits(r);
}

/* ---- the parts of a split -------------------------------------------------------------------------------------- */

typedef facet_status (*part_visitor)(report *r, facet_shard *shard, const char *name, void *context);

/* Opens one part after the other; name is "train/part-00000.h5". */
static facet_status visit_parts(report *r, const char *split, part_visitor visit, void *context) {
  char path[FACET_PATH_MAX];
  int n_parts;
  facet_status status = FACET_OK;
  FACET_TRY(facet_path_format(path, "%s/%s", r->request->path, split));
  FACET_TRY(facet_dataset_count_parts(path, &n_parts));
  for (int p = 0; status == FACET_OK && p < n_parts; p++) {
    facet_shard *shard;
    FACET_TRY(facet_path_format(path, "%s/%s/part-%05d.h5", r->request->path, split, p));
    FACET_TRY(facet_shard_open(r->schema, path, &shard));
    status = visit(r, shard, path + strlen(r->request->path) + 1, context);
    facet_shard_close(&shard);
  }
  return status;
}

/* ---- verification ---------------------------------------------------------------------------------------------- */

typedef struct check_count {
  int64_t n_files, n_samples;
} check_count;

static facet_status verify_vocabularies(const report *r, check_count *count) {
  char path[FACET_PATH_MAX];
  for (int v = 0; v < r->schema->n_vocabularies; v++) {
    const facet_vocabulary_info *info = &r->schema->vocabularies[v];
    if (info->hashed) continue;
    FACET_TRY(facet_path_format(path, "%s/vocab/%s.h5", r->request->path, info->name));
    const char *name = path + strlen(r->request->path) + 1;
    if (!facet_file_exists(path)) {
      inspect_field(r->request->out, "none", "%-24s there is no such file: the ids of %s have no tokens", name,
                    info->name);
      continue;
    }
    FACET_TRY(inspect_verify_vocabulary(path, r->schema, info));
    inspect_ok(r->request->out, name, "%s", inspect_plural(info->size - FACET_ID_FIRST, "token"));
    count->n_files++;
  }
  return FACET_OK;
}

static facet_status verify_tables(const report *r, check_count *count) {
  char path[FACET_PATH_MAX];
  int n_joined = 0;
  for (int i = 0; i < r->schema->n_features; i++) n_joined += r->schema->features[i].join >= 0;
  if (n_joined == 0) return FACET_OK;
  FACET_TRY(facet_path_format(path, "%s/tables.h5", r->request->path));
  FACET_TRY(facet_tables_verify(r->schema, path));
  inspect_ok(r->request->out, "tables.h5", "the columns of %s", inspect_plural(n_joined, "joined feature"));
  count->n_files++;
  return FACET_OK;
}

static facet_status verify_part(report *r, facet_shard *shard, const char *name, void *context) {
  check_count *count = context;
  FACET_TRY(facet_shard_verify(shard));
  inspect_ok(r->request->out, name, "%s", inspect_plural(facet_shard_n_samples(shard), "sample"));
  count->n_files++;
  count->n_samples += facet_shard_n_samples(shard);
  return FACET_OK;
}

static facet_status verify_split(report *r, const char *split, check_count *count) {
  const int64_t n_before = count->n_samples;
  FACET_TRY(visit_parts(r, split, verify_part, count));
  FACET_CHECK(count->n_samples > n_before, FACET_ERROR_DATA, "%s/%s: the split holds no samples", r->request->path,
              split);
  return FACET_OK;
}

static facet_status verify(report *r) {
  check_count count = {.n_files = 1};
  inspect_ok(r->request->out, "schema.yaml", "%s, %s", inspect_plural(r->schema->n_features, "feature"),
             inspect_plural(r->schema->n_sequences, "sequence"));
  FACET_TRY(verify_vocabularies(r, &count));
  FACET_TRY(verify_tables(r, &count));
  FACET_CHECK(r->n_splits > 0, FACET_ERROR_DATA, "%s: no directory in it holds a part-00000.h5", r->request->path);
  for (int s = 0; s < r->n_splits; s++) FACET_TRY(verify_split(r, r->splits[s], &count));
  inspect_field(r->request->out, "verified", "%s, no fault\n", inspect_plural(count.n_files, "file"));
  return FACET_OK;
}

/* ---- schema ---------------------------------------------------------------------------------------------------- */

static facet_status add_number(inspect_grid *grid, int64_t n, bool is_shown) {
  return inspect_cell(grid, "%s", is_shown ? inspect_count(n) : "");
}

static facet_status add_feature(const facet_schema *schema, const facet_feature *feature, inspect_grid *grid) {
  const facet_vocabulary_info *vocabulary =
      feature->vocabulary >= 0 ? &schema->vocabularies[feature->vocabulary] : NULL;
  FACET_TRY(inspect_cell(grid, "%s", feature->name));
  FACET_TRY(inspect_cell(grid, "%s", facet_role_name(feature->role)));
  FACET_TRY(inspect_cell(grid, "%s", facet_feature_type_name(feature->type)));
  FACET_TRY(inspect_cell(grid, "%s", vocabulary ? vocabulary->name : ""));
  FACET_TRY(add_number(grid, vocabulary ? vocabulary->size : 0, vocabulary));
  FACET_TRY(add_number(grid, feature->width, feature->width > 0));
  const bool is_shared = vocabulary && strcmp(feature->embedding, vocabulary->name) != 0;
  FACET_TRY(inspect_cell(grid, "%s", is_shared ? feature->embedding : ""));
  FACET_TRY(inspect_cell(grid, "%s", feature->join >= 0 ? schema->features[feature->join].name : ""));
  FACET_TRY(add_number(grid, feature->bag, feature->bag > 0));
  FACET_TRY(inspect_cell(grid, "%s", feature->bag == 0 ? "" : feature->pooling == FACET_POOLING_SUM ? "sum" : "mean"));
  return add_number(grid, feature->length, feature->length > 1);
}

static facet_status print_features(const report *r) {
  static const char *const titles[] = {"feature",   "role",    "type", "vocabulary", ">ids",   ">width",
                                       "embedding", "join by", ">bag", "pooling",    ">length"};
  inspect_grid *grid;
  facet_status status = FACET_OK;
  FACET_TRY(inspect_grid_create(sizeof titles / sizeof *titles, titles, 0, &grid));
  for (int i = 0; status == FACET_OK && i < r->schema->n_features; i++)
    status = add_feature(r->schema, &r->schema->features[i], grid);
  if (status == FACET_OK) inspect_grid_print(grid, r->request->out);
  inspect_grid_destroy(&grid);
  return status;
}

/* ---- splits ---------------------------------------------------------------------------------------------------- */

static facet_status add_part(report *r, facet_shard *shard, const char *name, void *context) {
  (void)r;
  (void)name;
  return inspect_statistics_add(context, shard);
}

static facet_status add_split(inspect_grid *grid, const inspect_statistics *statistics, const char *split) {
  const bool has_time = statistics->time_min <= statistics->time_max;
  FACET_TRY(inspect_cell(grid, "%s", split));
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(statistics->n_parts)));
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(statistics->n_samples)));
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(statistics->n_positives)));
  FACET_TRY(inspect_cell(grid, "%s", inspect_share(statistics->n_positives, statistics->n_samples)));
  FACET_TRY(inspect_cell(grid, "%s", facet_format_bytes((double)statistics->n_bytes)));
  FACET_TRY(inspect_cell(grid, "%s", has_time ? inspect_time(statistics->time_min) : ""));
  return inspect_cell(grid, "%s", has_time ? inspect_time(statistics->time_max) : "");
}

static facet_status measure_split(report *r, const char *split, inspect_grid *splits, inspect_grid *windows) {
  inspect_statistics *statistics;
  facet_status status;
  FACET_TRY(inspect_statistics_create(r->schema, &statistics));
  FACET_TRY_GOTO(status, done, visit_parts(r, split, add_part, statistics));
  FACET_TRY_GOTO(status, done, add_split(splits, statistics, split));
  status = inspect_windows_add(windows, statistics, split);
done:
  inspect_statistics_destroy(&statistics);
  return status;
}

static facet_status print_splits(report *r) {
  static const char *const titles[] = {"split",  ">parts", ">samples",    ">positives",
                                       ">share", ">size",  "first (UTC)", "last (UTC)"};
  FILE *out = r->request->out;
  inspect_grid *splits = NULL, *windows = NULL;
  facet_status status;
  FACET_TRY_GOTO(status, done, inspect_grid_create(sizeof titles / sizeof *titles, titles, 0, &splits));
  FACET_TRY_GOTO(status, done, inspect_windows_grid(&windows));
  for (int s = 0; s < r->n_splits; s++) FACET_TRY_GOTO(status, done, measure_split(r, r->splits[s], splits, windows));
  inspect_grid_print(splits, out);
  if (r->schema->n_sequences > 0) {
    fputc('\n', out);
    inspect_grid_print(windows, out);
  }
done:
  inspect_grid_destroy(&splits);
  inspect_grid_destroy(&windows);
  return status;
}

/* ---- the reachable metrics of synthetic data -------------------------------------------------------------------- */

static facet_status print_truth_of(const json_t *truth, FILE *out) {
  static const char *const titles[] = {"truth.json", ""};
  inspect_grid *grid;
  const char *key;
  json_t *value;
  facet_status status = FACET_OK;
  FACET_TRY(inspect_grid_create(2, titles, 0, &grid));
  json_object_foreach((json_t *)truth, key, value) {
    if (json_is_object(value) || json_is_array(value)) continue;
    if (status == FACET_OK) status = inspect_cell(grid, "%s", key);
    if (status != FACET_OK) break;
    status = json_is_string(value)
                 ? inspect_cell(grid, "%s", inspect_quote(json_string_value(value), json_string_length(value)))
             : json_is_integer(value) ? inspect_cell(grid, "%s", inspect_count(json_integer_value(value)))
             : json_is_real(value)    ? inspect_cell(grid, "%.6f", json_real_value(value))
                                      : inspect_cell(grid, "%s", json_is_true(value) ? "true" : "false");
  }
  if (status == FACET_OK) {
    fputc('\n', out);
    inspect_grid_print(grid, out);
  }
  inspect_grid_destroy(&grid);
  return status;
}

static facet_status print_truth(const report *r) {
  char path[FACET_PATH_MAX], *text;
  size_t n_bytes;
  json_error_t error;
  FACET_TRY(facet_path_format(path, "%s/truth.json", r->request->path));
  if (!facet_file_exists(path)) return FACET_OK;
  FACET_TRY(facet_file_read(path, MAX_TRUTH_BYTES, &text, &n_bytes));
  json_t *truth = json_loadb(text, n_bytes, 0, &error);
  facet_memory_free(text);
  FACET_CHECK(truth, FACET_ERROR_DATA, "%s:%d:%d: %s", path, error.line, error.column, error.text);
  const facet_status status = print_truth_of(truth, r->request->out);
  json_decref(truth);
  return status;
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

typedef struct row_walk {
  const inspect_names *names;
  int64_t n_done, n_wanted;
} row_walk;

static facet_status print_part_rows(report *r, facet_shard *shard, const char *name, void *context) {
  (void)name;
  row_walk *walk = context;
  const int64_t left = walk->n_wanted - walk->n_done, n_samples = facet_shard_n_samples(shard);
  const int64_t n = left < n_samples ? left : n_samples;
  FACET_TRY(inspect_rows(walk->names, shard, walk->n_done, n, r->request->out));
  walk->n_done += n;
  return FACET_OK;
}

static facet_status print_rows(report *r, const char *split) {
  inspect_names *names;
  FACET_TRY(inspect_names_open(r->schema, r->request->path, &names));
  row_walk walk = {.names = names, .n_wanted = r->request->n_rows};
  fprintf(r->request->out, "\nfirst rows of %s\n", split);
  const facet_status status = visit_parts(r, split, print_part_rows, &walk);
  inspect_names_close(&names);
  return status;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static void print_title(const report *r) {
  char path[FACET_PATH_MAX];
  inspect_field(r->request->out, "data set", "%s", r->request->path);
  inspect_field(r->request->out, "schema", "%s: %s, %s", r->schema->name,
                inspect_plural(r->schema->n_features, "feature"), inspect_plural(r->schema->n_sequences, "sequence"));
  if (facet_path_format(path, "%s/tables.h5", r->request->path) == FACET_OK && facet_file_exists(path))
    inspect_field(r->request->out, "tables", "tables.h5, %s", facet_format_bytes((double)inspect_file_bytes(path)));
  if (facet_path_format(path, "%s/vocab", r->request->path) == FACET_OK && facet_directory_exists(path))
    inspect_field(r->request->out, "tokens", "vocab/, %s", facet_format_bytes((double)inspect_file_bytes(path)));
  fputc('\n', r->request->out);
}

static facet_status inspect(report *r) {
  FACET_TRY(open_report(r));
  if (r->request->verify) FACET_TRY(verify(r));
  print_title(r);
  FACET_TRY(print_features(r));
  fputc('\n', r->request->out);
  if (r->n_splits == 0) inspect_field(r->request->out, "splits", "none: no directory in it holds a part-00000.h5");
  FACET_TRY(print_splits(r));
  FACET_TRY(print_truth(r));
  return r->request->n_rows > 0 && r->n_splits > 0 ? print_rows(r, r->splits[0]) : FACET_OK;
}

facet_status facet_inspect_dataset(const facet_inspect_request *request) {
  report r = {.request = request};
  const facet_status status = inspect(&r);
  facet_arena_destroy(&r.arena);
  facet_schema_destroy(&r.schema);
  return status;
}
