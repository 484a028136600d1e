/* What the files of host/train/checkpoint_*.c share. */
#ifndef FACET_CHECKPOINT_INTERNAL_H
#define FACET_CHECKPOINT_INTERNAL_H

#include "data/hdf5.h"
#include "facet/checkpoint.h"
#include "facet/memory.h"

#define CHECKPOINT_VERSION 1

enum { CHECKPOINT_N_FILES = 3 };
extern const char *const checkpoint_files[CHECKPOINT_N_FILES]; /* that a manifest lists */

/* Writes <directory>/manifest.json over the files of the checkpoint, durably. */
facet_status checkpoint_write_manifest(const char *directory, double train_seconds);
/* facet_checkpoint_verify, which also gives what the manifest says. */
facet_status checkpoint_read_manifest(const char *path, double *train_seconds);
/* What the manifest says, without reading the files that it is about. */
facet_status checkpoint_read_seconds(const char *path, double *train_seconds);

/* <run>/checkpoints/step-00001000 */
facet_status checkpoint_step_path(char *path, const char *run_directory, int64_t step);

/* The same with ".old": where the former checkpoint of a step is put aside while a new one takes its place, on file
 * systems that cannot swap two directories. A crash in between leaves it there, and it counts as a checkpoint. */
facet_status checkpoint_old_path(char *path, const char *run_directory, int64_t step);

/* Paths of the checkpoints of a run, complete or not, the newest first; memory from the arena. */
facet_status checkpoint_list(const char *run_directory, facet_arena *arena, char ***paths, int64_t *n_paths);

/* Step that `best` points at; −1 if there is none. */
int64_t checkpoint_best_step(const char *run_directory);

/* The fields of facet_train_state from the attributes of an open model.h5: all but train_seconds. */
facet_status checkpoint_read_state(hid_t file, facet_train_state *state);

/* Hash of the first `size` ids of <data_path>/vocab/<name>.h5; 0 where there is no such file (hashed vocabularies). */
facet_status checkpoint_vocabulary_hash(const char *data_path, const char *name, int64_t size, uint64_t *hash);

#endif
