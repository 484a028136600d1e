/* Metrics of binary labels: exact and global, in bounded memory.
 *
 * Scores are collected as logits with label, weight and group. Up to the memory budget they are sorted in memory; beyond it
 * sorted runs spill to unnamed temporary files and are merged, so a larger set gives the same numbers. Scores that are
 * equal as float32 logits tie; ties count one half.
 *
 *   auc          Σ over (positive, negative) pairs of w⁺w⁻·(1[s⁺ > s⁻] + ½·1[s⁺ = s⁻]) / Σ w⁺w⁻
 *   gauc         mean over groups with both classes of the group's AUC, weighted by the group's samples, by its positives, or
 *                not at all (evaluate.gauc_weight), with sample weights where the data have them
 *   logloss      −Σ w (y ln p + (1 − y) ln(1 − p)) / Σ w, p = σ(logit), corrected for negative sampling
 *   ne           logloss divided by the entropy of the evaluated set's mean label
 *   calibration  Σ w p / Σ w y
 * With negative_sampling_rate w: p ← p / (p + (1 − p)/w) in the last three. */
#ifndef FACET_METRICS_H
#define FACET_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "facet/options.h"
#include "facet/real.h"
#include "facet/status.h"

typedef enum facet_gauc_weight { FACET_GAUC_SAMPLES, FACET_GAUC_POSITIVES, FACET_GAUC_NONE } facet_gauc_weight;

typedef struct facet_metrics_options {
  int gauc_weight;                             /* facet_gauc_weight */
  double negative_sampling_rate;               /* w in p' = p/(p+(1−p)/w); 1: no correction */
  int64_t memory_mb;                           /* budget of the sort buffers; beyond it sorted runs spill to disk */
  char spill_directory[FACET_OPTION_MAX_TEXT]; /* "" : TMPDIR or /tmp */
} facet_metrics_options;

typedef struct facet_metrics facet_metrics;

typedef struct facet_metrics_result {
  int64_t n_samples, n_positives;
  int64_t n_groups, n_groups_used;            /* used: with both classes */
  double auc, gauc, logloss, ne, calibration; /* NaN: undefined on this set */
  bool groups_are_known;                      /* the data have a group */
} facet_metrics_result;

facet_status facet_metrics_create(const facet_metrics_options *options, facet_metrics **metrics);
void facet_metrics_destroy(facet_metrics **metrics);

/* Adds the samples with valid = 1. A non-finite logit is FACET_ERROR_NONFINITE. */
facet_status facet_metrics_add(facet_metrics *metrics, int64_t n, const facet_real *logit, const facet_real *label,
                               const facet_real *weight, const facet_real *valid, const int64_t *group);
/* Once: it ends the sorting, and nothing may be added after. */
facet_status facet_metrics_compute(facet_metrics *metrics, facet_metrics_result *result);

/* NULL-terminated: "auc", "gauc", "logloss", "ne", "calibration". */
extern const char *const facet_metric_names[];
double facet_metric_value(const facet_metrics_result *result, const char *name);
/* Larger is better for auc and gauc, smaller for logloss and ne; calibration: nearer to 1. Compares with the needed
 * improvement. */
bool facet_metric_improves(const char *name, double value, double best, double min_improvement);
/* Why a metric is NaN: "all 500 labels are 0"; "" if it is not. */
const char *facet_metric_undefined_reason(const facet_metrics_result *result, const char *name, char *buffer,
                                          size_t n_bytes);
/* Prints the metrics as a table with the definition beside each number. */
void facet_metrics_print(const facet_metrics_result *result, const facet_metrics_options *options, FILE *stream);

#endif
