/* Reading a checkpoint: exact restore, and warm start. Nothing is read before the checksums agree. */
#include <string.h>

#include "data/hdf5.h"
#include "facet/file.h"
#include "facet/log.h"
#include "facet/memory.h"
#include "facet/vocabulary.h"
#include "train/checkpoint_internal.h"

/* ---- exact restore ------------------------------------------------------------------------------------------------ */

static facet_status read_tensor(hid_t group, const facet_parameter_info *info, facet_real *arena) {
  return facet_hdf5_read(group, info->name, FACET_HDF5_REAL, info->shape.rank, info->shape.dim, arena + info->offset);
}

typedef const facet_parameter_info *(*info_of)(const facet_parameters *parameters, int i);

/* Every member of the group must be one of the n known tensors. */
static facet_status check_no_others(hid_t group, const char *path, const char *what, const facet_parameters *parameters,
                                    info_of info, int n) {
  facet_arena *arena;
  char **names;
  int64_t n_names;
  FACET_TRY(facet_arena_create(&arena));
  facet_status status = facet_hdf5_list(group, arena, &names, &n_names);
  for (int64_t i = 0; status == FACET_OK && i < n_names; i++) {
    bool known = false;
    for (int k = 0; k < n && !known; k++) known = strcmp(info(parameters, k)->name, names[i]) == 0;
    if (!known)
      status = facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__, "%s holds %s %s, which the model does not have",
                               path, what, names[i]);
  }
  facet_arena_destroy(&arena);
  return status;
}

static facet_status read_group(hid_t file, const char *path, const char *name, const facet_parameters *parameters,
                               info_of info, int n, facet_real *arena) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, name, &group));
  FACET_TRY(check_no_others(group, path, name, parameters, info, n));
  for (int i = 0; i < n; i++) FACET_TRY(read_tensor(group, info(parameters, i), arena));
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
  for (int i = 0; i < facet_parameters_n_tables(parameters); i++)
    FACET_TRY(read_table(tables, facet_parameters_table(parameters, i), with_state));
  return FACET_OK;
}

static facet_status read_optimizer(hid_t file, facet_optimizer *optimizer, const facet_parameters *parameters) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, "optimizer", &group));
  for (int s = 0; s < facet_optimizer_n_states(optimizer); s++) {
    FACET_HDF5_SCOPED hid_t state = -1;
    FACET_TRY(facet_hdf5_group_open(group, facet_optimizer_state_name(optimizer, s), &state));
    for (int i = 0; i < facet_parameters_n_dense(parameters); i++)
      FACET_TRY(read_tensor(state, facet_parameters_dense(parameters, i), facet_optimizer_state(optimizer, s)));
  }
  return FACET_OK;
}

static facet_status get_field_int64_t(hid_t file, const char *name, int64_t *value) {
  return facet_hdf5_get_int64(file, name, value);
}

static facet_status get_field_double(hid_t file, const char *name, double *value) {
  return facet_hdf5_get_double(file, name, value);
}

static facet_status read_state(hid_t file, facet_train_state *state) {
#define FACET_FIELD(type, name) FACET_TRY(get_field_##type(file, #name, &state->name));
  FACET_TRAIN_STATE_LIST(FACET_FIELD)
#undef FACET_FIELD
  return FACET_OK;
}

static facet_status check_vocabulary_sizes(hid_t file, const char *path, const facet_schema *schema) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, "vocabularies", &group));
  for (int i = 0; i < schema->n_vocabularies; i++) {
    FACET_HDF5_SCOPED hid_t vocabulary = -1;
    int64_t size;
    FACET_TRY(facet_hdf5_group_open(group, schema->vocabularies[i].name, &vocabulary));
    FACET_TRY(facet_hdf5_get_int64(vocabulary, "size", &size));
    if (size == schema->vocabularies[i].size) continue;
    facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__, "vocabulary %s has %lld ids in %s and %lld in %s",
                    schema->vocabularies[i].name, (long long)size, path, (long long)schema->vocabularies[i].size,
                    schema->path);
    return facet_error_hint("a grown vocabulary starts a new run: set train.warm_start to the checkpoint");
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
  if (checkpoint->state) FACET_TRY(read_state(file, checkpoint->state));
  if (checkpoint->schema) FACET_TRY(check_vocabulary_sizes(file, path, checkpoint->schema));
  if (!parameters) return FACET_OK;
  FACET_TRY(read_group(file, path, "parameters", parameters, facet_parameters_dense,
                       facet_parameters_n_dense(parameters), facet_parameters_values(parameters)));
  FACET_TRY(read_group(file, path, "states", parameters, facet_parameters_state, facet_parameters_n_states(parameters),
                       facet_parameters_state_values(parameters)));
  FACET_TRY(read_tables(file, parameters, checkpoint->optimizer != NULL));
  return checkpoint->optimizer ? read_optimizer(file, checkpoint->optimizer, parameters) : FACET_OK;
}

/* Opens model.h5 of a verified checkpoint. */
static facet_status open_model(const char *path, hid_t *file) {
  char model_path[FACET_PATH_MAX];
  FACET_TRY(facet_checkpoint_verify(path));
  FACET_TRY(facet_path_format(model_path, "%s/model.h5", path));
  return facet_hdf5_open(model_path, file);
}

facet_status facet_checkpoint_read(const char *path, const facet_checkpoint *checkpoint) {
  FACET_HDF5_GUARD;
  hid_t file;
  if (checkpoint->schema) FACET_TRY(check_schema(path, checkpoint->schema));
  FACET_TRY(open_model(path, &file));
  facet_status status = read_content(file, path, checkpoint);
  facet_hdf5_close(&file);
  return status;
}

/* ---- warm start ----------------------------------------------------------------------------------------------------- */

/* The old vocabulary must be the beginning of the present one. */
static facet_status check_prefix(hid_t old, const char *path, const facet_vocabulary_info *info,
                                 const char *data_path) {
  int64_t size;
  uint64_t hash;
  FACET_TRY(facet_hdf5_get_int64(old, "size", &size));
  FACET_TRY(facet_hdf5_get_uint64(old, "hash", &hash));
  FACET_CHECK(size <= info->size && (!info->hashed || size == info->size), FACET_ERROR_DATA,
              "vocabulary %s has %lld ids in %s and %lld in the data set; it may only grow%s", info->name,
              (long long)size, path, (long long)info->size, info->hashed ? ", and a hashed one may not change" : "");
  char vocabulary_path[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(vocabulary_path, "%s/vocab/%s.h5", data_path, info->name));
  if (!facet_file_exists(vocabulary_path)) return FACET_OK;
  facet_vocabulary *vocabulary;
  FACET_TRY(facet_vocabulary_load(vocabulary_path, &vocabulary));
  const uint64_t now = facet_vocabulary_hash_prefix(vocabulary, size);
  facet_vocabulary_destroy(&vocabulary);
  FACET_CHECK(now == hash, FACET_ERROR_DATA, "%s is not an extension of the vocabulary that %s was trained with",
              vocabulary_path, path);
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

/* Takes each tensor that the checkpoint has in the same shape; names the others. */
static facet_status warm_group(hid_t file, const char *name, const facet_parameters *parameters, info_of info, int n,
                               facet_real *arena) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(file, name, &group));
  for (int i = 0; i < n; i++) {
    const facet_parameter_info *tensor = info(parameters, i);
    facet_shape shape = {0};
    facet_hdf5_type type;
    if (facet_hdf5_exists(group, tensor->name))
      FACET_TRY(facet_hdf5_shape(group, tensor->name, &type, &shape.rank, shape.dim));
    if (shape.rank == tensor->shape.rank && facet_shape_equal(&shape, &tensor->shape))
      FACET_TRY(read_tensor(group, tensor, arena));
    else
      facet_log("warm start: %s is %s; it keeps its initial values", tensor->name,
                shape.rank == 0 ? "not in the checkpoint" : "of another shape in the checkpoint");
  }
  return FACET_OK;
}

static facet_status warm_table(hid_t tables, facet_table *table) {
  int64_t dims[FACET_HDF5_MAX_RANK];
  int rank;
  facet_hdf5_type type;
  const char *name = facet_table_name(table);
  if (!facet_hdf5_exists(tables, name)) {
    facet_log("warm start: table %s is not in the checkpoint; it keeps its initial values", name);
    return FACET_OK;
  }
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_open(tables, name, &group));
  FACET_TRY(facet_hdf5_shape(group, "rows", &type, &rank, dims));
  if (rank != 2 || dims[1] != facet_table_width(table) || dims[0] > facet_table_n_rows(table)) {
    facet_log("warm start: table %s has another shape in the checkpoint; it keeps its initial values", name);
    return FACET_OK;
  }
  facet_log("warm start: table %s: %lld of %lld rows from the checkpoint", name, (long long)dims[0],
            (long long)facet_table_n_rows(table));
  return facet_hdf5_read(group, "rows", FACET_HDF5_REAL, 2, dims, facet_table_rows(table));
}

static facet_status warm_content(hid_t file, const char *path, const facet_checkpoint *checkpoint,
                                 const char *data_path) {
  facet_parameters *parameters = checkpoint->parameters;
  FACET_HDF5_SCOPED hid_t tables = -1;
  FACET_TRY(facet_hdf5_check_format(file, "checkpoint", CHECKPOINT_VERSION));
  FACET_TRY(check_prefixes(file, path, checkpoint->schema, data_path));
  FACET_TRY(warm_group(file, "parameters", parameters, facet_parameters_dense, facet_parameters_n_dense(parameters),
                       facet_parameters_values(parameters)));
  FACET_TRY(warm_group(file, "states", parameters, facet_parameters_state, facet_parameters_n_states(parameters),
                       facet_parameters_state_values(parameters)));
  FACET_TRY(facet_hdf5_group_open(file, "tables", &tables));
  for (int i = 0; i < facet_parameters_n_tables(parameters); i++)
    FACET_TRY(warm_table(tables, facet_parameters_table(parameters, i)));
  return FACET_OK;
}

facet_status facet_checkpoint_warm_start(const char *path, const facet_checkpoint *checkpoint, const char *data_path) {
  FACET_HDF5_GUARD;
  hid_t file;
  FACET_TRY(open_model(path, &file));
  facet_status status = warm_content(file, path, checkpoint, data_path);
  facet_hdf5_close(&file);
  return status;
}
