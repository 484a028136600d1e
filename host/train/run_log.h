/* The logs of a run: metrics.jsonl, one JSON object per log or evaluation, and a TensorBoard event file with the same
 * numbers. Numbers that are not finite are null in the first and absent in the second.
 *
 *   {"type": "train", "step", "epoch", "samples", "loss", "loss/<name>"…, "monitor/<name>"…, "lr", "lr_sparse",
 *    "grad_norm", "samples_per_second", "data_wait"}
 *   {"type": "evaluate", "split", "step", "epoch", "samples", "auc", "gauc", "logloss", "ne", "calibration",
 *    "n_samples", "n_positives", "final"}
 *   {"type": "summary", "step", "epoch", "samples", "best_step", "monitor", "best", "train_seconds"}
 *
 * step counts updates, epoch is a fraction, samples were consumed in training. Losses are means over the samples since the
 * last log, weighted like the loss; lr, lr_sparse and grad_norm (before clipping) are those of the last update; data_wait
 * is the share of the time that training waited for data. "final" marks the evaluation of the best checkpoint at the end,
 * and the summary, the last line, a run that is complete. */
#ifndef FACET_TRAIN_RUN_LOG_H
#define FACET_TRAIN_RUN_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/checkpoint.h"
#include "facet/metrics.h"
#include "facet/status.h"

typedef struct facet_run_log facet_run_log;

/* Opens both files for appending after cutting them back to `step`: later lines, the evaluation of `step` itself unless it
 * is `evaluated` (then it is not repeated), final evaluations, the summary and a torn last line go. */
facet_status facet_run_log_open(const char *run_directory, int64_t step, bool evaluated, facet_run_log **log);
void facet_run_log_close(facet_run_log **log);

/* Makes what was written durable: before a checkpoint, so that the lines up to its step are there when it is. */
facet_status facet_run_log_sync(facet_run_log *log);

/* True if the last line of the run's metrics.jsonl is the summary of `step`. */
facet_status facet_run_log_is_complete(const char *run_directory, int64_t step, bool *complete);

typedef struct facet_log_value {
  const char *name; /* "loss/bce" */
  double value;
} facet_log_value;

typedef struct facet_log_point { /* where training is */
  int64_t step, samples;
  double epoch;
} facet_log_point;

typedef struct facet_train_record {
  facet_log_point point;
  double loss;
  int n_parts; /* losses and monitors by name */
  const facet_log_value *parts;
  double lr, lr_sparse, grad_norm, samples_per_second, data_wait;
} facet_train_record;

facet_status facet_run_log_train(facet_run_log *log, const facet_train_record *record);
facet_status facet_run_log_evaluate(facet_run_log *log, const facet_log_point *point, const char *split, bool final,
                                    const facet_metrics_result *result);
/* The last line; makes the logs durable. */
facet_status facet_run_log_summary(facet_run_log *log, const facet_log_point *point, const char *monitor,
                                   const facet_train_state *state);

#endif
