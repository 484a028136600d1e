/* Training: the loop, one function (train in host/train/trainer.c) that reads
 *   next batch → forward → backward → update → log → evaluate → checkpoint. */
#ifndef FACET_TRAINER_H
#define FACET_TRAINER_H

#include <stdbool.h>
#include <stdio.h>

#include "facet/checkpoint.h"
#include "facet/config.h"
#include "facet/executor.h"
#include "facet/metrics.h"
#include "facet/status.h"

typedef enum facet_resume { FACET_RESUME_AUTO, FACET_RESUME_NONE, FACET_RESUME_PATH } facet_resume;

typedef struct facet_train_request {
  const facet_config *config;
  const char *run_directory;
  const char *device; /* "cpu" */
  facet_resume resume;
  const char *resume_path; /* with FACET_RESUME_PATH */
  FILE *report;            /* receives the metrics of the test split */
} facet_train_request;

/* Trains, evaluates on the validation split, checkpoints; at the end evaluates the test split (if it exists) with the
 * best checkpoint. Statuses: FACET_OK; FACET_PREEMPTED after SIGTERM or SIGUSR1 (a checkpoint was saved);
 * FACET_ERROR_NONFINITE naming step, loss parts and the first non-finite node; … A finished run says so and is FACET_OK.
 *
 * The run directory: config.yaml, metrics.jsonl, events.out.tfevents.*, checkpoints/, .lock */
facet_status facet_train(const facet_train_request *request);

/* Evaluates a split with a compiled graph: runs the first max_samples rows in order, collects metrics. `sink` (may be
 * NULL) receives the logits of each batch in shard order; a status other than FACET_OK from it ends the evaluation. */
typedef facet_status (*facet_score_sink)(void *context, const facet_batch *batch, const facet_real *logit);
facet_status facet_evaluate(facet_executor *executor, facet_dataset *dataset, const facet_config *config,
                            facet_score_sink sink, void *context, facet_metrics_result *result);

/* Rows that facet_evaluate runs, and the batch size of the evaluate program. */
int64_t facet_evaluate_n_samples(const facet_dataset *dataset, const facet_config *config);
int64_t facet_evaluate_batch_size(const facet_config *config);

/* A model for scoring: configuration, parameters and executor loaded from a checkpoint (or a run: its best, else its
 * newest). `sets` change the stored configuration as --set does; split NULL is data.test. */
typedef struct facet_scorer facet_scorer;
facet_status facet_scorer_open(const char *checkpoint_or_run, const char *const *sets, int n_sets, const char *device,
                               const char *split, facet_scorer **scorer);
void facet_scorer_close(facet_scorer **scorer);
facet_status facet_scorer_run(facet_scorer *scorer, facet_score_sink sink, void *context, facet_metrics_result *result);
const facet_config *facet_scorer_config(const facet_scorer *scorer);
facet_dataset *facet_scorer_dataset(const facet_scorer *scorer);
const char *facet_scorer_checkpoint(const facet_scorer *scorer);

#endif
