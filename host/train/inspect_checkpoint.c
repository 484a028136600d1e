/* facet inspect of one checkpoint. See inspect.h. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "facet/file.h"
#include "facet/log.h"
#include "facet/yaml.h"
#include "train/checkpoint_internal.h"
#include "train/inspect.h"

facet_status inspect_config_value(const char *directory, const char *section, const char *key, char *text,
                                  size_t n_bytes) {
  char path[FACET_PATH_MAX];
  const char *value;
  facet_yaml *document;
  FACET_TRY(facet_path_format(path, "%s/config.yaml", directory));
  FACET_TRY(facet_yaml_load(path, FACET_ERROR_DATA, &document));
  const facet_yaml_node node = facet_yaml_get(facet_yaml_get(facet_yaml_root(document), section), key);
  const facet_status status = facet_yaml_string(node, key, &value);
  if (status == FACET_OK) snprintf(text, n_bytes, "%s", value);
  facet_yaml_destroy(&document);
  return status;
}

/* ---- summary --------------------------------------------------------------------------------------------------- */

/* A checkpoint whose writing was cut short has no manifest, and does not know how long it was trained. */
static facet_status print_training(const char *directory, bool finished, FILE *out) {
  char manifest[FACET_PATH_MAX], time[64] = "";
  double seconds;
  FACET_TRY(facet_path_format(manifest, "%s/manifest.json", directory));
  if (facet_file_exists(manifest)) {
    FACET_TRY(checkpoint_read_seconds(directory, &seconds));
    snprintf(time, sizeof time, " after %.1f s", seconds);
  }
  inspect_field(out, "training", "%s%s", finished ? "finished" : "not finished", time);
  return FACET_OK;
}

static facet_status print_state(hid_t file, const char *directory, FILE *out) {
  facet_train_state state;
  char model[128], version[64], data[FACET_PATH_MAX], monitor[128];
  FACET_TRY(facet_hdf5_check_format(file, "checkpoint", CHECKPOINT_VERSION));
  FACET_TRY(checkpoint_read_state(file, &state));
  FACET_TRY(facet_hdf5_get_string(file, "model", model, sizeof model));
  FACET_TRY(facet_hdf5_get_string(file, "program_version", version, sizeof version));
  FACET_TRY(inspect_config_value(directory, "data", "path", data, sizeof data));
  FACET_TRY(inspect_config_value(directory, "train", "monitor", monitor, sizeof monitor));
  inspect_field(out, "checkpoint", "%s", directory);
  inspect_field(out, "model", "%s, written by facet %s", model, version);
  inspect_field(out, "data", "%s", data);
  inspect_field(out, "step", "%s: %s completed, %s in all", inspect_count(state.step),
                inspect_plural(state.epoch, "epoch"), inspect_plural(state.samples, "sample"));
  if (state.position > 0)
    inspect_field(out, "position", "%s of %s of the epoch under way", inspect_count(state.position),
                  inspect_plural(state.n_train_samples, "sample"));
  if (isfinite(state.best_metric))
    inspect_field(out, "best", "%s %.6f at step %s", monitor, state.best_metric, inspect_count(state.best_step));
  return print_training(directory, state.finished, out);
}

static facet_status print_files(const char *directory, FILE *out) {
  char path[FACET_PATH_MAX], text[256] = "";
  for (int i = 0; i < CHECKPOINT_N_FILES; i++) {
    const size_t used = strlen(text);
    FACET_TRY(facet_path_format(path, "%s/%s", directory, checkpoint_files[i]));
    snprintf(text + used, sizeof text - used, "%s%s %s", i ? ", " : "", checkpoint_files[i],
             facet_format_bytes((double)inspect_file_bytes(path)));
  }
  inspect_field(out, "size", "%s: %s", facet_format_bytes((double)inspect_file_bytes(directory)), text);
  return FACET_OK;
}

/* ---- parameters, states, tables --------------------------------------------------------------------------------- */

static int64_t n_elements(int rank, const int64_t *dims) {
  int64_t n = 1;
  for (int i = 0; i < rank; i++) n *= dims[i];
  return n;
}

/* A row per tensor of the group; *total becomes the number of their elements. */
static facet_status add_tensors(hid_t file, const char *group_name, facet_arena *arena, inspect_grid *grid,
                                int64_t *total, int64_t *n_tensors) {
  FACET_HDF5_SCOPED hid_t group = -1;
  char **names;
  *total = 0;
  FACET_TRY(facet_hdf5_group_open(file, group_name, &group));
  FACET_TRY(facet_hdf5_list(group, arena, &names, n_tensors));
  for (int64_t i = 0; i < *n_tensors; i++) {
    facet_hdf5_type type;
    int rank;
    int64_t dims[FACET_HDF5_MAX_RANK];
    FACET_TRY(facet_hdf5_shape(group, names[i], &type, &rank, dims));
    FACET_TRY(inspect_cell(grid, "%s", names[i]));
    FACET_TRY(inspect_cell(grid, "%s", inspect_shape(rank, dims)));
    FACET_TRY(inspect_cell(grid, "%s", inspect_count(n_elements(rank, dims))));
    *total += n_elements(rank, dims);
  }
  return FACET_OK;
}

static facet_status print_tensors(hid_t file, const char *group, const char *const *titles, facet_arena *arena,
                                  FILE *out) {
  inspect_grid *grid;
  int64_t total, n;
  FACET_TRY(inspect_grid_create(3, titles, 0, &grid));
  facet_status status = add_tensors(file, group, arena, grid, &total, &n);
  if (status == FACET_OK && n > 1) {
    status = inspect_cell(grid, "all %s", inspect_count(n));
    if (status == FACET_OK) status = inspect_cell(grid, "%s", "");
    if (status == FACET_OK) status = inspect_cell(grid, "%s", inspect_count(total));
  }
  if (status == FACET_OK && n > 0) {
    fputc('\n', out);
    inspect_grid_print(grid, out);
  }
  inspect_grid_destroy(&grid);
  return status;
}

/* "moment_1 [502, 8], moment_2 [502, 8]" */
static facet_status add_row_states(hid_t table, char **members, int64_t n, inspect_grid *grid) {
  char text[512] = "";
  for (int64_t m = 0; m < n; m++) {
    facet_hdf5_type type;
    int rank;
    int64_t dims[FACET_HDF5_MAX_RANK];
    const size_t used = strlen(text);
    if (strcmp(members[m], "rows") == 0) continue;
    FACET_TRY(facet_hdf5_shape(table, members[m], &type, &rank, dims));
    snprintf(text + used, sizeof text - used, "%s%s %s", used ? ", " : "", members[m], inspect_shape(rank, dims));
  }
  return inspect_cell(grid, "%s", text);
}

static facet_status add_table(hid_t tables, const char *name, facet_arena *arena, inspect_grid *grid) {
  FACET_HDF5_SCOPED hid_t table = -1;
  facet_hdf5_type type;
  int rank;
  int64_t dims[FACET_HDF5_MAX_RANK], n_members;
  char **members;
  FACET_TRY(facet_hdf5_group_open(tables, name, &table));
  FACET_TRY(facet_hdf5_list(table, arena, &members, &n_members));
  FACET_TRY(facet_hdf5_shape(table, "rows", &type, &rank, dims));
  FACET_CHECK(rank == 2, FACET_ERROR_DATA, "table %s of the checkpoint has %d dimensions, expected 2", name, rank);
  FACET_TRY(inspect_cell(grid, "%s", name));
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(dims[0])));
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(dims[1])));
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(dims[0] * dims[1])));
  return add_row_states(table, members, n_members, grid);
}

static facet_status print_tables(hid_t file, facet_arena *arena, FILE *out) {
  static const char *const titles[] = {"table", ">rows", ">width", ">numbers", "state of its optimizer"};
  FACET_HDF5_SCOPED hid_t tables = -1;
  char **names;
  int64_t n;
  inspect_grid *grid;
  FACET_TRY(facet_hdf5_group_open(file, "tables", &tables));
  FACET_TRY(facet_hdf5_list(tables, arena, &names, &n));
  FACET_TRY(inspect_grid_create(sizeof titles / sizeof *titles, titles, 0, &grid));
  facet_status status = FACET_OK;
  for (int64_t i = 0; status == FACET_OK && i < n; i++) status = add_table(tables, names[i], arena, grid);
  if (status == FACET_OK && n > 0) {
    fputc('\n', out);
    inspect_grid_print(grid, out);
  }
  inspect_grid_destroy(&grid);
  return status;
}

/* The states that the dense optimizer keeps of every parameter. */
static facet_status print_optimizer(hid_t file, facet_arena *arena, FILE *out) {
  FACET_HDF5_SCOPED hid_t group = -1;
  char **names, text[256] = "";
  int64_t n;
  FACET_TRY(facet_hdf5_group_open(file, "optimizer", &group));
  FACET_TRY(facet_hdf5_list(group, arena, &names, &n));
  for (int64_t i = 0; i < n; i++) {
    const size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "", names[i]);
  }
  inspect_field(out, "optimizer", n > 0 ? "%s of every parameter" : "%s", n > 0 ? text : "no state");
  return FACET_OK;
}

static facet_status add_vocabulary(hid_t group, const char *name, inspect_grid *grid) {
  FACET_HDF5_SCOPED hid_t vocabulary = -1;
  int64_t size;
  uint64_t hash;
  FACET_TRY(facet_hdf5_group_open(group, name, &vocabulary));
  FACET_TRY(facet_hdf5_get_int64(vocabulary, "size", &size));
  FACET_TRY(facet_hdf5_get_uint64(vocabulary, "hash", &hash));
  FACET_TRY(inspect_cell(grid, "%s", name));
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(size)));
  return hash ? inspect_cell(grid, "%016" PRIx64, hash) : inspect_cell(grid, "no tokens");
}

static facet_status print_vocabularies(hid_t file, facet_arena *arena, FILE *out) {
  static const char *const titles[] = {"vocabulary", ">ids", "hash"};
  FACET_HDF5_SCOPED hid_t group = -1;
  char **names;
  int64_t n;
  inspect_grid *grid;
  FACET_TRY(facet_hdf5_group_open(file, "vocabularies", &group));
  FACET_TRY(facet_hdf5_list(group, arena, &names, &n));
  FACET_TRY(inspect_grid_create(sizeof titles / sizeof *titles, titles, 0, &grid));
  facet_status status = FACET_OK;
  for (int64_t i = 0; status == FACET_OK && i < n; i++) status = add_vocabulary(group, names[i], grid);
  if (status == FACET_OK) {
    fputc('\n', out);
    inspect_grid_print(grid, out);
  }
  inspect_grid_destroy(&grid);
  return status;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static facet_status print_checkpoint(hid_t file, const char *directory, facet_arena *arena, FILE *out) {
  static const char *const parameter_titles[] = {"parameter", "shape", ">numbers"};
  static const char *const state_titles[] = {"state", "shape", ">numbers"};
  FACET_HDF5_GUARD;
  FACET_TRY(print_state(file, directory, out));
  FACET_TRY(print_optimizer(file, arena, out));
  FACET_TRY(print_files(directory, out));
  FACET_TRY(print_tensors(file, "parameters", parameter_titles, arena, out));
  FACET_TRY(print_tensors(file, "states", state_titles, arena, out));
  FACET_TRY(print_tables(file, arena, out));
  return print_vocabularies(file, arena, out);
}

facet_status facet_inspect_checkpoint(const facet_inspect_request *request) {
  char path[FACET_PATH_MAX];
  hid_t file = -1;
  facet_arena *arena = NULL;
  facet_status status;
  if (request->verify) {
    FACET_TRY(facet_checkpoint_verify(request->path));
    inspect_field(request->out, "verified", "sizes and checksums of all files\n");
  }
  FACET_TRY(facet_path_format(path, "%s/model.h5", request->path));
  FACET_TRY_GOTO(status, done, facet_arena_create(&arena));
  FACET_TRY_GOTO(status, done, facet_hdf5_open(path, &file));
  status = print_checkpoint(file, request->path, arena, request->out);
done:
  facet_hdf5_discard(&file);
  facet_arena_destroy(&arena);
  return status;
}
