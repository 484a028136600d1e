/* Reading a checkpoint: exact restore, and warm start. Nothing is read before the checksums agree. */
#include <stdio.h>
#include <string.h>

#include "data/hdf5.h"
#include "facet/file.h"
#include "facet/log.h"
#include "facet/memory.h"
#include "train/checkpoint_internal.h"

/* ---- exact restore ----------------------------------------------------------------------------------------------- */

static facet_status read_tensor(hid_t group, const facet_parameter_info *info, facet_real *arena) {
  return facet_hdf5_read(group, info->name, FACET_HDF5_REAL, info->shape.rank, info->shape.dim, arena + info->offset);
}

typedef const facet_parameter_info *(*info_of)(const facet_parameters *parameters, int i);

static bool has_tensor(const facet_parameters *parameters, info_of info, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (strcmp(info(parameters, i)->name, name) == 0) return true;
  return false;
}

static bool has_dense(facet_parameters *parameters, const char *name) {
  return has_tensor(parameters, facet_parameters_dense, facet_parameters_n_dense(parameters), name);
}

static bool has_state(facet_parameters *parameters, const char *name) {
  return has_tensor(parameters, facet_parameters_state, facet_parameters_n_states(parameters), name);
}

static bool has_table(facet_parameters *parameters, const char *name) {
  for (int i = 0; i < facet_parameters_n_tables(parameters); i++)
    if (strcmp(facet_table_name(facet_parameters_table(parameters, i)), name) == 0) return true;
  return false;
}

typedef bool (*has_member)(facet_parameters *parameters, const char *name);

/* The members of a group that the model lacks: an error, or a log line each. */
static facet_status find_foreign(hid_t group, facet_parameters *parameters, has_member has, bool refuse) {
  facet_arena *arena;
  char **names;
  int64_t n_names;
  FACET_TRY(facet_arena_create(&arena));
  facet_status status = facet_hdf5_list(group, arena, &names, &n_names);
  for (int64_t i = 0; status == FACET_OK && i < n_names; i++) {
    if (has(parameters, names[i])) continue;
    if (refuse)
      status = facet_hdf5_error(FACET_ERROR_DATA, group, names[i], "the model does not have it");
    else
      facet_log("warm start: the model does not have %s of the checkpoint", names[i]);
  }
  facet_arena_destroy(&arena);
  return status;
}

static facet_status read_dense(hid_t group, facet_parameters *parameters, facet_real *arena) {
  FACET_TRY(find_foreign(group, parameters, has_dense, true));
  for (int i = 0; i < facet_parameters_n_dense(parameters); i++)
    FACET_TRY(read_tensor(group, facet_parameters_dense(parameters, i), arena));
  return FACET_OK;
}

static facet_status read_parameters(hid_t file, facet_parameters *parameters) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, "parameters", &group));
  return read_dense(group, parameters, facet_parameters_values(parameters));
}

static facet_status read_states(hid_t file, facet_parameters *parameters) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, "states", &group));
  FACET_TRY(find_foreign(group, parameters, has_state, true));
  for (int i = 0; i < facet_parameters_n_states(parameters); i++)
    FACET_TRY(read_tensor(group, facet_parameters_state(parameters, i), facet_parameters_state_values(parameters)));
  return FACET_OK;
}

static facet_status read_table(hid_t tables, facet_table *table, bool with_state) {
  FACET_HDF5_SCOPED hid_t group = -1;
  int64_t dims[2] = {facet_table_n_rows(table), facet_table_width(table)};
  FACET_TRY(facet_hdf5_group_open(tables, facet_table_name(table), &group));
  FACET_TRY(facet_hdf5_read(group, "rows", FACET_HDF5_REAL, 2, dims, facet_table_rows(table)));
  for (int s = 0; with_state && s < FACET_TABLE_MAX_STATES; s++) {
    const char *name;
    facet_real *values = facet_table_state(table, s, &name, &dims[1]);
    if (values) FACET_TRY(facet_hdf5_read(group, name, FACET_HDF5_REAL, 2, dims, values));
  }
  return FACET_OK;
}

static facet_status read_tables(hid_t file, facet_parameters *parameters, bool with_state) {
  FACET_HDF5_SCOPED hid_t tables = -1;
  FACET_TRY(facet_hdf5_group_open(file, "tables", &tables));
  FACET_TRY(find_foreign(tables, parameters, has_table, true));
  for (int i = 0; i < facet_parameters_n_tables(parameters); i++)
    FACET_TRY(read_table(tables, facet_parameters_table(parameters, i), with_state));
  return FACET_OK;
}

static facet_status read_optimizer(hid_t file, facet_optimizer *optimizer, facet_parameters *parameters) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, "optimizer", &group));
  for (int s = 0; s < facet_optimizer_n_states(optimizer); s++) {
    FACET_HDF5_SCOPED hid_t state = -1;
    FACET_TRY(facet_hdf5_group_open(group, facet_optimizer_state_name(optimizer, s), &state));
    FACET_TRY(read_dense(state, parameters, facet_optimizer_state(optimizer, s)));
  }
  return FACET_OK;
}

static facet_status get_field_int64_t(hid_t file, const char *name, int64_t *value) {
  return facet_hdf5_get_int64(file, name, value);
}

static facet_status get_field_double(hid_t file, const char *name, double *value) {
  return facet_hdf5_get_double(file, name, value);
}

facet_status checkpoint_read_state(hid_t file, facet_train_state *state) {
#define FACET_FIELD(type, name) FACET_TRY(get_field_##type(file, #name, &state->name));
  FACET_TRAIN_STATE_LIST(FACET_FIELD)
#undef FACET_FIELD
  return FACET_OK;
}

static facet_status check_vocabulary(hid_t stored, const char *path, const facet_schema *schema, int i,
                                     const facet_config *config) {
  const facet_vocabulary_info *info = &schema->vocabularies[i];
  int64_t size;
  uint64_t hash, now = 0;
  FACET_TRY(facet_hdf5_get_int64(stored, "size", &size));
  FACET_TRY(facet_hdf5_get_uint64(stored, "hash", &hash));
  if (size != info->size) {
    facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__, "vocabulary %s has %lld ids in %s and %lld in %s", info->name,
                    (long long)size, path, (long long)info->size, schema->path);
    return facet_error_hint("a grown vocabulary starts a new run: set train.warm_start to the checkpoint");
  }
  if (!config) return FACET_OK;
  FACET_TRY(checkpoint_vocabulary_hash(config->data_path, info->name, size, &now));
  FACET_CHECK(now == hash || !now || !hash, FACET_ERROR_DATA,
              "vocabulary %s in %s/vocab has other tokens than when %s was written: its ids mean something else",
              info->name, config->data_path, path);
  return FACET_OK;
}

static facet_status check_vocabularies(hid_t file, const char *path, const facet_schema *schema,
                                       const facet_config *config) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, "vocabularies", &group));
  for (int i = 0; i < schema->n_vocabularies; i++) {
    FACET_HDF5_SCOPED hid_t stored = -1;
    FACET_TRY(facet_hdf5_group_open(group, schema->vocabularies[i].name, &stored));
    FACET_TRY(check_vocabulary(stored, path, schema, i, config));
  }
  return FACET_OK;
}

static facet_status check_schema(const char *path, const facet_schema *schema) {
  char schema_path[FACET_PATH_MAX], difference[512];
  facet_schema *stored;
  FACET_TRY(facet_path_format(schema_path, "%s/schema.yaml", path));
  FACET_TRY(facet_schema_load(schema_path, &stored));
  const bool differs = facet_schema_difference(stored, schema, difference, sizeof difference);
  facet_schema_destroy(&stored);
  FACET_CHECK(!differs, FACET_ERROR_DATA, "%s does not match %s: %s", schema_path, schema->path, difference);
  return FACET_OK;
}

static facet_status read_content(hid_t file, const char *path, const facet_checkpoint *checkpoint) {
  facet_parameters *parameters = checkpoint->parameters;
  FACET_TRY(facet_hdf5_check_format(file, "checkpoint", CHECKPOINT_VERSION));
  if (checkpoint->state) FACET_TRY(checkpoint_read_state(file, checkpoint->state));
  if (checkpoint->log_sums)
    FACET_TRY(facet_hdf5_read(file, "log_sums", FACET_HDF5_DOUBLE, 1, &checkpoint->n_log_sums, checkpoint->log_sums));
  if (checkpoint->schema) FACET_TRY(check_vocabularies(file, path, checkpoint->schema, checkpoint->config));
  if (!parameters) return FACET_OK;
  FACET_TRY(read_parameters(file, parameters));
  FACET_TRY(read_states(file, parameters));
  FACET_TRY(read_tables(file, parameters, checkpoint->optimizer != NULL));
  return checkpoint->optimizer ? read_optimizer(file, checkpoint->optimizer, parameters) : FACET_OK;
}

/* Opens model.h5 of a verified checkpoint. */
static facet_status open_model(const char *path, hid_t *file) {
  char model_path[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(model_path, "%s/model.h5", path));
  return facet_hdf5_open(model_path, file);
}

facet_status facet_checkpoint_read(const char *path, const facet_checkpoint *checkpoint) {
  FACET_HDF5_GUARD;
  hid_t file;
  double train_seconds;
  FACET_TRY(checkpoint_read_manifest(path, &train_seconds));
  if (checkpoint->state) checkpoint->state->train_seconds = train_seconds;
  if (checkpoint->schema) FACET_TRY(check_schema(path, checkpoint->schema));
  FACET_TRY(open_model(path, &file));
  const facet_status status = read_content(file, path, checkpoint);
  facet_hdf5_discard(&file);
  return status;
}

/* ---- warm start -------------------------------------------------------------------------------------------------- */

/* The old vocabulary must be the beginning of the present one. */
static facet_status check_prefix(hid_t old, const char *path, const facet_vocabulary_info *info,
                                 const char *data_path) {
  int64_t size;
  uint64_t hash, now;
  FACET_TRY(facet_hdf5_get_int64(old, "size", &size));
  FACET_TRY(facet_hdf5_get_uint64(old, "hash", &hash));
  FACET_CHECK(size >= FACET_ID_FIRST, FACET_ERROR_DATA, "%s: vocabulary %s has %lld ids, expected at least %d", path,
              info->name, (long long)size, FACET_ID_FIRST);
  FACET_CHECK(size <= info->size && (!info->hashed || size == info->size), FACET_ERROR_DATA,
              "vocabulary %s has %lld ids in %s and %lld in the data set; %s", info->name, (long long)size, path,
              (long long)info->size, info->hashed ? "the size of a hashed one may not change" : "it may only grow");
  FACET_TRY(checkpoint_vocabulary_hash(data_path, info->name, size, &now));
  FACET_CHECK(now == hash || !now || !hash, FACET_ERROR_DATA,
              "%s/vocab/%s.h5 is not an extension of the vocabulary that %s was trained with", data_path, info->name,
              path);
  if (!info->hashed && (!now || !hash))
    facet_warn("warm start: vocabulary %s has no file here or had none there: its tokens were not compared",
               info->name);
  return FACET_OK;
}

static facet_status check_prefixes(hid_t file, const char *path, const facet_schema *schema, const char *data_path) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, "vocabularies", &group));
  for (int i = 0; i < schema->n_vocabularies; i++) {
    FACET_HDF5_SCOPED hid_t vocabulary = -1;
    if (!facet_hdf5_exists(group, schema->vocabularies[i].name)) continue;
    FACET_TRY(facet_hdf5_group_open(group, schema->vocabularies[i].name, &vocabulary));
    FACET_TRY(check_prefix(vocabulary, path, &schema->vocabularies[i], data_path));
  }
  return FACET_OK;
}

/* Takes a tensor that the checkpoint has in the same shape; names it otherwise. */
static facet_status warm_tensor(hid_t group, const facet_parameter_info *info, facet_real *arena, int *n_taken) {
  facet_shape shape = {0};
  facet_hdf5_type type;
  char stored[96], wanted[96];
  if (!facet_hdf5_exists(group, info->name)) {
    facet_log("warm start: %s is not in the checkpoint; it keeps its initial values", info->name);
    return FACET_OK;
  }
  FACET_TRY(facet_hdf5_shape(group, info->name, &type, &shape.rank, shape.dim));
  if (!facet_shape_equal(&shape, &info->shape)) {
    facet_log("warm start: %s has shape %s in the checkpoint and %s here; it keeps its initial values", info->name,
              facet_shape_format(&shape, stored, sizeof stored),
              facet_shape_format(&info->shape, wanted, sizeof wanted));
    return FACET_OK;
  }
  (*n_taken)++;
  return read_tensor(group, info, arena);
}

static facet_status warm_parameters(hid_t file, facet_parameters *parameters, int *n_taken) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, "parameters", &group));
  for (int i = 0; i < facet_parameters_n_dense(parameters); i++)
    FACET_TRY(warm_tensor(group, facet_parameters_dense(parameters, i), facet_parameters_values(parameters), n_taken));
  return find_foreign(group, parameters, has_dense, false);
}

static facet_status warm_states(hid_t file, facet_parameters *parameters, int *n_taken) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, "states", &group));
  for (int i = 0; i < facet_parameters_n_states(parameters); i++)
    FACET_TRY(
        warm_tensor(group, facet_parameters_state(parameters, i), facet_parameters_state_values(parameters), n_taken));
  return find_foreign(group, parameters, has_state, false);
}

static facet_status warm_table(hid_t tables, facet_table *table, int *n_taken) {
  int64_t dims[FACET_HDF5_MAX_RANK];
  int rank;
  facet_hdf5_type type;
  const char *name = facet_table_name(table);
  const int64_t n_rows = facet_table_n_rows(table), width = facet_table_width(table);
  if (!facet_hdf5_exists(tables, name)) {
    facet_log("warm start: table %s is not in the checkpoint; it keeps its initial values", name);
    return FACET_OK;
  }
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(tables, name, &group));
  FACET_TRY(facet_hdf5_shape(group, "rows", &type, &rank, dims));
  if (rank != 2 || dims[1] != width || dims[0] > n_rows) {
    facet_log("warm start: table %s is another in the checkpoint than [%lld, %lld]; it keeps its initial values", name,
              (long long)n_rows, (long long)width);
    return FACET_OK;
  }
  facet_log("warm start: table %s: %lld of %lld rows from the checkpoint", name, (long long)dims[0], (long long)n_rows);
  (*n_taken)++;
  return facet_hdf5_read(group, "rows", FACET_HDF5_REAL, 2, dims, facet_table_rows(table));
}

static facet_status warm_tables(hid_t file, facet_parameters *parameters, int *n_taken) {
  FACET_HDF5_SCOPED hid_t tables = -1;
  FACET_TRY(facet_hdf5_group_open(file, "tables", &tables));
  for (int i = 0; i < facet_parameters_n_tables(parameters); i++)
    FACET_TRY(warm_table(tables, facet_parameters_table(parameters, i), n_taken));
  return find_foreign(tables, parameters, has_table, false);
}

static facet_status warm_content(hid_t file, const char *path, const facet_checkpoint *checkpoint,
                                 const char *data_path) {
  int n_taken = 0;
  FACET_TRY(facet_hdf5_check_format(file, "checkpoint", CHECKPOINT_VERSION));
  FACET_TRY(check_prefixes(file, path, checkpoint->schema, data_path));
  FACET_TRY(warm_parameters(file, checkpoint->parameters, &n_taken));
  FACET_TRY(warm_states(file, checkpoint->parameters, &n_taken));
  FACET_TRY(warm_tables(file, checkpoint->parameters, &n_taken));
  FACET_CHECK(n_taken > 0, FACET_ERROR_DATA, "%s has no parameter, state or table in common with the model", path);
  return FACET_OK;
}

facet_status facet_checkpoint_warm_start(const char *path, const facet_checkpoint *checkpoint, const char *data_path) {
  FACET_HDF5_GUARD;
  hid_t file;
  FACET_TRY(facet_checkpoint_verify(path));
  FACET_TRY(open_model(path, &file));
  const facet_status status = warm_content(file, path, checkpoint, data_path);
  facet_hdf5_discard(&file);
  return status;
}
