/* Checkpoints: a directory per step that is complete or absent (docs/data_format.md, "Checkpoints").
 *
 *   <run>/checkpoints/step-00001000/
 *     model.h5       /parameters/<name>, /states/<name>, /tables/<name>/{rows,<row state>}, /optimizer/<state>/<name>;
 *                    attributes of /: facet_format = "checkpoint", facet_version, program version, and the fields of
 *                    facet_train_state; group /vocabularies with size and hash of each
 *     config.yaml    the resolved configuration
 *     schema.yaml
 *     manifest.json  size and XXH3-128 of each file, written last
 *   <run>/checkpoints/best   a symbolic link to the best step
 *
 * Written to a temporary directory beside, every file synced, the manifest last, then renamed and the parent synced.
 * Nothing is deleted before the new checkpoint is in place. */
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
  X(int64_t, finished) /* 1: training has ended */                                                                     \
  X(double, train_seconds)

typedef struct facet_train_state {
#define FACET_FIELD(type, name) type name;
  FACET_TRAIN_STATE_LIST(FACET_FIELD)
#undef FACET_FIELD
} facet_train_state;

typedef struct facet_checkpoint { /* what is saved and restored; nothing owned */
  const facet_config *config;
  const facet_schema *schema;
  facet_parameters *parameters;
  facet_optimizer *optimizer; /* NULL: not read (evaluation, warm start) */
  facet_train_state *state;
} facet_checkpoint;

/* Writes <run>/checkpoints/step-<step>; an existing complete one of that step is kept as it is. */
facet_status facet_checkpoint_write(const char *run_directory, const facet_checkpoint *checkpoint);

/* Points `best` at a step (atomically), and removes all but the newest `keep` steps and the best. */
facet_status facet_checkpoint_mark_best(const char *run_directory, int64_t step);
facet_status facet_checkpoint_prune(const char *run_directory, int64_t keep);

/* Path of the newest complete checkpoint into path[FACET_PATH_MAX]; incomplete or damaged ones are named in a warning and
 * skipped. "" if there is none. */
facet_status facet_checkpoint_newest(const char *run_directory, char *path);

/* Accepts a checkpoint directory, or a run directory (its `best`, else its newest) and gives the checkpoint's path. */
facet_status facet_checkpoint_resolve(const char *path, char *checkpoint_path);

/* Verifies manifest, sizes and checksums; errors are FACET_ERROR_IO and name file and what differs. */
facet_status facet_checkpoint_verify(const char *path);

/* Verifies, then restores everything in `checkpoint` whose pointer is set. Parameters must agree in names and shapes (each
 * difference named); tables must have equal rows. */
facet_status facet_checkpoint_read(const char *path, const facet_checkpoint *checkpoint);

/* Warm start: parameters by name where shapes agree, states, and tables, which may have grown: rows of the old table
 * are kept, new rows keep their initial values. Checks that each old vocabulary is a prefix of the present one
 * (data_path/vocab). A parameter of the checkpoint that the model lacks, or the reverse, is named in a log line. */
facet_status facet_checkpoint_warm_start(const char *path, const facet_checkpoint *checkpoint, const char *data_path);

#endif
