/* Checkpoints: a directory per step that is complete or absent (docs/data_format.md, "Checkpoints").
 *
 *   <run>/checkpoints/step-00001000/
 *     model.h5       /parameters/<name>, /states/<name>, /tables/<name>/{rows,<row state>}, /optimizer/<state>/<name>,
 *                    /log_sums; attributes of /: facet_format = "checkpoint", facet_version, program_version, model, and
 *                    the fields of facet_train_state; /vocabularies/<name> with attributes size and hash
 *     config.yaml    the resolved configuration
 *     schema.yaml
 *     manifest.json  size and XXH3-128 of each file, seconds of training, and a checksum of itself; written last
 *   <run>/checkpoints/best   a symbolic link to the best step
 *
 * Written to a temporary directory beside, every file synced, the manifest last, then renamed and the parent synced.
 * Nothing is removed before the new checkpoint is durably in place. The caller holds the lock of the run. */
#ifndef FACET_CHECKPOINT_H
#define FACET_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/config.h"
#include "facet/graph.h"
#include "facet/optimizer.h"
#include "facet/schema.h"
#include "facet/status.h"

#define FACET_TRAIN_STATE_LIST(X)                                                                                      \
  X(int64_t, step)     /* updates done */                                                                              \
  X(int64_t, epoch)    /* epochs completed */                                                                          \
  X(int64_t, position) /* samples of the present epoch that were consumed */                                           \
  X(int64_t, samples)  /* samples consumed in all */                                                                   \
  X(int64_t, seed)                                                                                                     \
  X(int64_t, n_train_samples) /* of the split when the checkpoint was made */                                          \
  X(double, plateau_factor)                                                                                            \
  X(int64_t, plateau_waiting)                                                                                          \
  X(int64_t, evaluations_waiting) /* evaluations without improvement (early stopping) */                               \
  X(double, best_metric)          /* NaN: none yet */                                                                  \
  X(int64_t, best_step)                                                                                                \
  X(int64_t, last_evaluation_step)                                                                                     \
  X(int64_t, finished) /* 1: training has ended */

typedef struct facet_train_state {
#define FACET_FIELD(type, name) type name;
  FACET_TRAIN_STATE_LIST(FACET_FIELD)
#undef FACET_FIELD
  double train_seconds; /* in the manifest: two runs that train alike have the same bytes in model.h5 */
} facet_train_state;

typedef struct facet_checkpoint { /* what is saved and restored; nothing owned */
  const facet_config *config;
  const facet_schema *schema;
  facet_parameters *parameters;
  facet_optimizer *optimizer; /* NULL: not read (evaluation, warm start) */
  facet_train_state *state;
  double *log_sums; /* [n_log_sums] what a trainer summed up since its last log line */
  int64_t n_log_sums;
} facet_checkpoint;

/* Writes <run>/checkpoints/step-<step>, replacing one of that step atomically. Everything but log_sums must be set. On
 * failure (FACET_ERROR_IO) the former checkpoints are as they were. */
facet_status facet_checkpoint_write(const char *run_directory, const facet_checkpoint *checkpoint);

/* Points `best` at a step (atomically). */
facet_status facet_checkpoint_mark_best(const char *run_directory, int64_t step);

/* Removes all but the newest `keep` (at least 1) of the checkpoints up to `step`, and the best. Later ones are left
 * alone: they are there where a damaged checkpoint was passed over, and are replaced when training gets there. */
facet_status facet_checkpoint_prune(const char *run_directory, int64_t step, int64_t keep);

/* Path of the newest complete checkpoint into path[FACET_PATH_MAX]; incomplete or damaged ones are named in a warning and
 * skipped. "" if there is none at all; FACET_ERROR_IO if none is complete. */
facet_status facet_checkpoint_newest(const char *run_directory, char *path);

/* Accepts a checkpoint directory, or a run directory (its `best`, else its newest) and gives the checkpoint's path. */
facet_status facet_checkpoint_resolve(const char *path, char *checkpoint_path);

/* Verifies manifest, sizes and checksums. Errors are FACET_ERROR_IO and name the file and what differs; a checkpoint of
 * a later format is FACET_ERROR_DATA. */
facet_status facet_checkpoint_verify(const char *path);

/* Verifies, then restores everything in `checkpoint` whose pointer is set. With `schema`, the features must be the same
 * and the vocabularies must have the same sizes and, with `config` (data_path), the same tokens. Names and shapes of
 * parameters, states, tables and optimizer state must agree; the first difference is named (FACET_ERROR_DATA). */
facet_status facet_checkpoint_read(const char *path, const facet_checkpoint *checkpoint);

/* Warm start: parameters and states by name where shapes agree, and tables, which may have grown: rows of the old table
 * are kept, new rows keep their initial values. Checks that each old vocabulary is a prefix of the present one
 * (data_path/vocab). What only one of checkpoint and model has is named in a log line; nothing in common is an error. */
facet_status facet_checkpoint_warm_start(const char *path, const facet_checkpoint *checkpoint, const char *data_path);

#endif
