/* Writing a checkpoint: everything into a temporary directory beside, synced, the manifest last, then one rename. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/hdf5.h"
#include "facet/file.h"
#include "facet/log.h"
#include "facet/memory.h"
#include "facet/model.h"
#include "train/checkpoint_internal.h"

/* Writes part `info` of an arena as data set <group>/<name>. */
static facet_status write_tensor(hid_t group, const facet_parameter_info *info, const facet_real *arena) {
  return facet_hdf5_write(group, info->name, FACET_HDF5_REAL, info->shape.rank, info->shape.dim, arena + info->offset);
}

static facet_status write_parameters(hid_t file, facet_parameters *parameters) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_create(file, "parameters", &group));
  for (int i = 0; i < facet_parameters_n_dense(parameters); i++)
    FACET_TRY(write_tensor(group, facet_parameters_dense(parameters, i), facet_parameters_values(parameters)));
  return FACET_OK;
}

static facet_status write_states(hid_t file, facet_parameters *parameters) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_create(file, "states", &group));
  for (int i = 0; i < facet_parameters_n_states(parameters); i++)
    FACET_TRY(write_tensor(group, facet_parameters_state(parameters, i), facet_parameters_state_values(parameters)));
  return FACET_OK;
}

static facet_status write_optimizer(hid_t file, facet_optimizer *optimizer, facet_parameters *parameters) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_create(file, "optimizer", &group));
  for (int s = 0; s < facet_optimizer_n_states(optimizer); s++) {
    FACET_HDF5_SCOPED hid_t state = -1;
    FACET_TRY(facet_hdf5_group_create(group, facet_optimizer_state_name(optimizer, s), &state));
    for (int i = 0; i < facet_parameters_n_dense(parameters); i++)
      FACET_TRY(write_tensor(state, facet_parameters_dense(parameters, i), facet_optimizer_state(optimizer, s)));
  }
  return FACET_OK;
}

static facet_status write_table(hid_t tables, facet_table *table) {
  FACET_HDF5_SCOPED hid_t group = -1;
  int64_t dims[2] = {facet_table_n_rows(table), facet_table_width(table)};
  FACET_TRY(facet_hdf5_group_create(tables, facet_table_name(table), &group));
  FACET_TRY(facet_hdf5_write(group, "rows", FACET_HDF5_REAL, 2, dims, facet_table_rows(table)));
  for (int s = 0; s < FACET_TABLE_MAX_STATES; s++) {
    const char *name;
    const facet_real *values = facet_table_state(table, s, &name, &dims[1]);
    if (values) FACET_TRY(facet_hdf5_write(group, name, FACET_HDF5_REAL, 2, dims, values));
  }
  return FACET_OK;
}

static facet_status write_tables(hid_t file, facet_parameters *parameters) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_create(file, "tables", &group));
  for (int i = 0; i < facet_parameters_n_tables(parameters); i++)
    FACET_TRY(write_table(group, facet_parameters_table(parameters, i)));
  return FACET_OK;
}

static facet_status write_vocabularies(hid_t file, const facet_checkpoint *checkpoint) {
  FACET_HDF5_SCOPED hid_t group = -1;
  FACET_TRY(facet_hdf5_group_create(file, "vocabularies", &group));
  for (int i = 0; i < checkpoint->schema->n_vocabularies; i++) {
    const facet_vocabulary_info *info = &checkpoint->schema->vocabularies[i];
    FACET_HDF5_SCOPED hid_t vocabulary = -1;
    uint64_t hash;
    FACET_TRY(checkpoint_vocabulary_hash(checkpoint->config->data_path, info->name, info->size, &hash));
    FACET_TRY(facet_hdf5_group_create(group, info->name, &vocabulary));
    FACET_TRY(facet_hdf5_set_int64(vocabulary, "size", info->size));
    FACET_TRY(facet_hdf5_set_uint64(vocabulary, "hash", hash));
  }
  return FACET_OK;
}

static facet_status set_field_int64_t(hid_t file, const char *name, int64_t value) {
  return facet_hdf5_set_int64(file, name, value);
}

static facet_status set_field_double(hid_t file, const char *name, double value) {
  return facet_hdf5_set_double(file, name, value);
}

static facet_status write_content(hid_t file, const facet_checkpoint *checkpoint) {
  FACET_TRY(facet_hdf5_set_format(file, "checkpoint", CHECKPOINT_VERSION));
  FACET_TRY(facet_hdf5_set_string(file, "program_version", FACET_VERSION));
  FACET_TRY(facet_hdf5_set_string(file, "model", checkpoint->config->model->name));
#define FACET_FIELD(type, name) FACET_TRY(set_field_##type(file, #name, checkpoint->state->name));
  FACET_TRAIN_STATE_LIST(FACET_FIELD)
#undef FACET_FIELD
  FACET_TRY(write_parameters(file, checkpoint->parameters));
  FACET_TRY(write_states(file, checkpoint->parameters));
  FACET_TRY(write_tables(file, checkpoint->parameters));
  FACET_TRY(write_optimizer(file, checkpoint->optimizer, checkpoint->parameters));
  FACET_TRY(facet_hdf5_write(file, "log_sums", FACET_HDF5_DOUBLE, 1, &checkpoint->n_log_sums, checkpoint->log_sums));
  return write_vocabularies(file, checkpoint);
}

static facet_status write_model(const char *path, const facet_checkpoint *checkpoint) {
  FACET_HDF5_GUARD;
  hid_t file;
  FACET_TRY(facet_hdf5_create(path, &file));
  facet_status status = write_content(file, checkpoint);
  if (status == FACET_OK) status = facet_hdf5_close(&file);
  if (status == FACET_OK) return facet_file_sync(path);
  facet_hdf5_abandon(&file, path);
  return status;
}

static facet_status write_directory(const char *directory, const facet_checkpoint *checkpoint) {
  char path[FACET_PATH_MAX];
  FACET_TRY(facet_directory_create(directory));
  FACET_TRY(facet_path_format(path, "%s/model.h5", directory));
  FACET_TRY(write_model(path, checkpoint));
  FACET_TRY(facet_path_format(path, "%s/config.yaml", directory));
  FACET_TRY(facet_config_write(checkpoint->config, path)); /* this and the next two sync file and directory */
  FACET_TRY(facet_path_format(path, "%s/schema.yaml", directory));
  FACET_TRY(facet_schema_write(checkpoint->schema, path));
  return checkpoint_write_manifest(directory, checkpoint->state->train_seconds);
}

/* A file system that cannot swap: the former directory goes to a name under which it still counts. */
static facet_status replace_by_two_renames(const char *temporary, const char *final, const char *old) {
  FACET_TRY(facet_directory_remove(old));
  FACET_TRY(facet_file_rename(final, old));
  FACET_TRY(facet_file_rename(temporary, final));
  return facet_directory_remove(old);
}

/* Puts the finished directory in place. One of the same step is swapped with it atomically, so that the step exists at
 * every moment, and removed once the swap is durable. */
static facet_status put_in_place(const char *run_directory, int64_t step, const char *temporary) {
  char parent[FACET_PATH_MAX], final[FACET_PATH_MAX], old[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(parent, "%s/checkpoints", run_directory));
  FACET_TRY(checkpoint_step_path(final, run_directory, step));
  FACET_TRY(checkpoint_old_path(old, run_directory, step));
  if (!facet_directory_exists(final)) return facet_file_rename(temporary, final);
  if (renameat2(AT_FDCWD, temporary, AT_FDCWD, final, RENAME_EXCHANGE) == 0) {
    FACET_TRY(facet_directory_sync(parent));
    return facet_directory_remove(temporary);
  }
  FACET_CHECK(errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP, FACET_ERROR_IO, "cannot replace %s: %s", final,
              strerror(errno));
  return replace_by_two_renames(temporary, final, old);
}

/* Removes what interrupted writes and prunes left behind; the lock of the run says that no live one is at work. */
static facet_status remove_leftovers(const char *parent) {
  facet_arena *arena;
  char **names, path[FACET_PATH_MAX];
  int64_t n_names;
  FACET_TRY(facet_arena_create(&arena));
  facet_status status = facet_directory_list(parent, arena, &names, &n_names);
  for (int64_t i = 0; status == FACET_OK && i < n_names; i++) {
    if (strncmp(names[i], ".tmp-", 5) != 0) continue;
    status = facet_path_format(path, "%s/%s", parent, names[i]);
    if (status == FACET_OK) status = facet_directory_remove(path);
  }
  facet_arena_destroy(&arena);
  return status;
}

facet_status facet_checkpoint_write(const char *run_directory, const facet_checkpoint *checkpoint) {
  char parent[FACET_PATH_MAX], temporary[FACET_PATH_MAX];
  const int64_t step = checkpoint->state->step;
  FACET_TRY(facet_path_format(parent, "%s/checkpoints", run_directory));
  FACET_TRY(facet_path_format(temporary, "%s/.tmp-step-%08lld", parent, (long long)step));
  FACET_TRY(facet_directory_create(parent));
  FACET_TRY(facet_directory_sync(run_directory));
  FACET_TRY(remove_leftovers(parent));
  facet_status status = write_directory(temporary, checkpoint);
  if (status == FACET_OK) status = put_in_place(run_directory, step, temporary);
  if (status != FACET_OK) {
    const facet_error error = *facet_error_get();
    if (facet_directory_remove(temporary) != FACET_OK) facet_warn("%s", facet_error_get()->message);
    facet_error_restore(&error);
    facet_error_context("the checkpoint of step %lld was not written", (long long)step);
  }
  return status;
}
