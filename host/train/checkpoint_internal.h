/* What the files of host/train/checkpoint_*.c share. */
#ifndef FACET_CHECKPOINT_INTERNAL_H
#define FACET_CHECKPOINT_INTERNAL_H

#include "facet/checkpoint.h"

#define CHECKPOINT_VERSION 1
#define CHECKPOINT_N_FILES 3

extern const char *const checkpoint_files[CHECKPOINT_N_FILES]; /* model.h5, config.yaml, schema.yaml */

/* Writes <directory>/manifest.json over the files of the checkpoint, durably. */
facet_status checkpoint_write_manifest(const char *directory);

/* Steps of the directories <run>/checkpoints/step-*, the newest first; freed with facet_memory_free. */
facet_status checkpoint_list_steps(const char *run_directory, int64_t **steps, int64_t *n_steps);

/* <run>/checkpoints/step-00001000 */
facet_status checkpoint_step_path(char *path, const char *run_directory, int64_t step);

/* Size and hash of the vocabulary `name` of a data set; hash 0 where there is no file (hashed vocabularies). */
facet_status checkpoint_vocabulary_hash(const char *data_path, const char *name, uint64_t *hash);

#endif
