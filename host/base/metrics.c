/* Metrics. Two external sorts: all samples by score for AUC, and by (group, score) for GAUC; the sums of logloss,
 * normalised entropy and calibration need no order and are kept while samples are added. */
#include "facet/metrics.h"

#include <math.h>
#include <string.h>

#include "facet/memory.h"
#include "facet/sort.h"

const char *const facet_metric_names[] = {"auc", "gauc", "logloss", "ne", "calibration", NULL};

typedef struct scored {
  int64_t group;
  float logit, weight;
  int32_t label;
} scored;

struct facet_metrics {
  facet_metrics_options options;
  double logit_shift; /* ln w: p' = p/(p + (1 − p)/w) is a shift of the logit */
  facet_sorter *by_score, *by_group;
  int64_t n_samples, n_positives;
  bool groups_are_known;
  double weight_sum, positive_sum, loss_sum, probability_sum;
};

/* Equal records are interchangeable, so this is as good as a total order. */
static int compare_scores(const void *a, const void *b) {
  const scored *x = a, *y = b;
  if (x->logit != y->logit) return x->logit < y->logit ? -1 : 1;
  if (x->label != y->label) return x->label < y->label ? -1 : 1;
  return (x->weight > y->weight) - (x->weight < y->weight);
}

static int compare_groups(const void *a, const void *b) {
  const scored *x = a, *y = b;
  if (x->group != y->group) return x->group < y->group ? -1 : 1;
  return compare_scores(a, b);
}

facet_status facet_metrics_create(const facet_metrics_options *options, facet_metrics **metrics) {
  facet_metrics *self;
  *metrics = NULL;
  FACET_TRY(FACET_ALLOC(self, 1, "metrics"));
  self->options = *options;
  self->logit_shift = log(options->negative_sampling_rate);
  self->groups_are_known = true;
  const size_t budget = (size_t)options->memory_mb * 500 * 1000; /* for each of the two sorts */
  const char *directory = self->options.spill_directory;
  facet_status status;
  FACET_TRY_GOTO(status, failed,
                 facet_sorter_create(sizeof(scored), compare_scores, budget, directory, &self->by_score));
  FACET_TRY_GOTO(status, failed,
                 facet_sorter_create(sizeof(scored), compare_groups, budget, directory, &self->by_group));
  *metrics = self;
  return FACET_OK;
failed:
  facet_metrics_destroy(&self);
  return status;
}

void facet_metrics_destroy(facet_metrics **metrics) {
  facet_metrics *self = *metrics;
  if (!self) return;
  facet_sorter_destroy(&self->by_score);
  facet_sorter_destroy(&self->by_group);
  facet_memory_free(self);
  *metrics = NULL;
}

/* ln(1 + eˣ) without overflow. */
static double softplus(double x) {
  return fmax(x, 0) + log1p(exp(-fabs(x)));
}

facet_status facet_metrics_add(facet_metrics *metrics, int64_t n, const facet_real *logit, const facet_real *label,
                               const facet_real *weight, const facet_real *valid, const int64_t *group) {
  if (!group) metrics->groups_are_known = false;
  for (int64_t i = 0; i < n; i++) {
    if (valid[i] == 0) continue;
    FACET_CHECK(isfinite((double)logit[i]), FACET_ERROR_NONFINITE, "the logit of evaluated sample %lld is %g",
                (long long)metrics->n_samples, (double)logit[i]);
    scored sample = {
        .group = group ? group[i] : 0, .logit = (float)logit[i], .weight = (float)weight[i], .label = label[i] > 0};
    FACET_TRY(facet_sorter_add(metrics->by_score, &sample));
    if (group) FACET_TRY(facet_sorter_add(metrics->by_group, &sample));
    const double w = (double)weight[i], z = (double)logit[i] + metrics->logit_shift;
    metrics->n_samples++;
    metrics->n_positives += sample.label;
    metrics->weight_sum += w;
    metrics->positive_sum += w * sample.label;
    metrics->loss_sum += w * (softplus(z) - sample.label * z);
    metrics->probability_sum += w / (1 + exp(-z));
  }
  return FACET_OK;
}

/* Accumulates Σ w⁺w⁻ over pairs in ascending order of score. */
typedef struct pair_sum {
  double positives, negatives;         /* weight so far, without the present tie */
  double tie_positives, tie_negatives; /* weight of the scores equal to `logit` */
  double ordered;                      /* Σ w⁺w⁻ (1 or ½) so far */
  float logit;
} pair_sum;

static void pair_sum_close_tie(pair_sum *sum) {
  sum->ordered += sum->tie_positives * (sum->negatives + 0.5 * sum->tie_negatives);
  sum->positives += sum->tie_positives;
  sum->negatives += sum->tie_negatives;
  sum->tie_positives = sum->tie_negatives = 0;
}

static void pair_sum_add(pair_sum *sum, const scored *sample) {
  if (sample->logit != sum->logit) {
    pair_sum_close_tie(sum);
    sum->logit = sample->logit;
  }
  if (sample->label)
    sum->tie_positives += (double)sample->weight;
  else
    sum->tie_negatives += (double)sample->weight;
}

/* AUC of the samples added; NaN with one class only. */
static double pair_sum_auc(pair_sum *sum) {
  pair_sum_close_tie(sum);
  return sum->positives > 0 && sum->negatives > 0 ? sum->ordered / (sum->positives * sum->negatives) : (double)NAN;
}

static facet_status compute_auc(facet_metrics *metrics, double *auc) {
  pair_sum sum = {.logit = NAN};
  FACET_TRY(facet_sorter_finish(metrics->by_score));
  for (;;) {
    const void *record;
    FACET_TRY(facet_sorter_next(metrics->by_score, &record));
    if (!record) break;
    pair_sum_add(&sum, record);
  }
  *auc = pair_sum_auc(&sum);
  return FACET_OK;
}

typedef struct group_mean {
  double sum, weight;
  int64_t n_groups, n_used;
} group_mean;

static void group_mean_add(group_mean *mean, pair_sum *group, int weighting) {
  double auc = pair_sum_auc(group);
  mean->n_groups++;
  if (isnan(auc)) return;
  double weight = weighting == FACET_GAUC_SAMPLES     ? group->positives + group->negatives
                  : weighting == FACET_GAUC_POSITIVES ? group->positives
                                                      : 1;
  mean->n_used++;
  mean->sum += weight * auc;
  mean->weight += weight;
}

static facet_status compute_gauc(facet_metrics *metrics, facet_metrics_result *result) {
  group_mean mean = {0};
  pair_sum sum = {.logit = NAN};
  int64_t group = 0, n_in_group = 0;
  FACET_TRY(facet_sorter_finish(metrics->by_group));
  for (;;) {
    const void *record;
    FACET_TRY(facet_sorter_next(metrics->by_group, &record));
    const scored *sample = record;
    if (n_in_group > 0 && (!sample || sample->group != group)) {
      group_mean_add(&mean, &sum, metrics->options.gauc_weight);
      sum = (pair_sum){.logit = NAN};
      n_in_group = 0;
    }
    if (!sample) break;
    group = sample->group;
    n_in_group++;
    pair_sum_add(&sum, sample);
  }
  result->n_groups = mean.n_groups;
  result->n_groups_used = mean.n_used;
  result->gauc = mean.weight > 0 ? mean.sum / mean.weight : (double)NAN;
  return FACET_OK;
}

facet_status facet_metrics_compute(facet_metrics *metrics, facet_metrics_result *result) {
  *result = (facet_metrics_result){.n_samples = metrics->n_samples,
                                   .n_positives = metrics->n_positives,
                                   .groups_are_known = metrics->groups_are_known,
                                   .gauc = NAN,
                                   .logloss = NAN,
                                   .ne = NAN,
                                   .calibration = NAN};
  FACET_TRY(compute_auc(metrics, &result->auc));
  if (metrics->groups_are_known) FACET_TRY(compute_gauc(metrics, result));
  if (metrics->weight_sum <= 0) return FACET_OK;
  result->logloss = metrics->loss_sum / metrics->weight_sum;
  const double rate = metrics->positive_sum / metrics->weight_sum;
  if (rate > 0 && rate < 1) result->ne = result->logloss / -(rate * log(rate) + (1 - rate) * log1p(-rate));
  if (rate > 0) result->calibration = metrics->probability_sum / metrics->positive_sum;
  return FACET_OK;
}

double facet_metric_value(const facet_metrics_result *result, const char *name) {
  const double values[] = {result->auc, result->gauc, result->logloss, result->ne, result->calibration};
  for (int i = 0; facet_metric_names[i]; i++)
    if (strcmp(name, facet_metric_names[i]) == 0) return values[i];
  return (double)NAN;
}

bool facet_metric_improves(const char *name, double value, double best, double min_improvement) {
  if (isnan(value)) return false;
  if (isnan(best)) return true;
  if (strcmp(name, "calibration") == 0) return fabs(value - 1) < fabs(best - 1) - min_improvement;
  if (strcmp(name, "logloss") == 0 || strcmp(name, "ne") == 0) return value < best - min_improvement;
  return value > best + min_improvement;
}

const char *facet_metric_undefined_reason(const facet_metrics_result *result, const char *name, char *buffer,
                                          size_t n_bytes) {
  buffer[0] = 0;
  if (!isnan(facet_metric_value(result, name))) return buffer;
  const bool is_gauc = strcmp(name, "gauc") == 0;
  if (result->n_samples == 0)
    snprintf(buffer, n_bytes, "there are no samples");
  else if (is_gauc && !result->groups_are_known)
    snprintf(buffer, n_bytes, "the schema has neither group nor user");
  else if (result->n_positives == 0 || result->n_positives == result->n_samples)
    snprintf(buffer, n_bytes, "all %lld labels are %d", (long long)result->n_samples, result->n_positives > 0);
  else if (is_gauc)
    snprintf(buffer, n_bytes, "none of the %lld groups has both classes", (long long)result->n_groups);
  else
    snprintf(buffer, n_bytes, "the samples of one class, or all, have weight 0");
  return buffer;
}

static const char *definition(const char *name, const facet_metrics_result *result,
                              const facet_metrics_options *options, char *buffer, size_t n_bytes) {
  static const char *const weights[] = {"weighted by samples", "weighted by positives", "unweighted"};
  char correction[64] = "";
  if (options->negative_sampling_rate != 1)
    snprintf(correction, sizeof correction, ", p' = p/(p + (1 - p)/%g)", options->negative_sampling_rate);
  if (strcmp(name, "auc") == 0)
    snprintf(buffer, n_bytes, "exact, over all pairs; a tie counts one half");
  else if (strcmp(name, "gauc") == 0)
    snprintf(buffer, n_bytes, "mean AUC of the %lld of %lld groups with both classes, %s",
             (long long)result->n_groups_used, (long long)result->n_groups, weights[options->gauc_weight]);
  else if (strcmp(name, "logloss") == 0)
    snprintf(buffer, n_bytes, "mean binary cross-entropy in nats%s", correction);
  else if (strcmp(name, "ne") == 0)
    snprintf(buffer, n_bytes, "logloss / entropy of the mean label of this set");
  else
    snprintf(buffer, n_bytes, "sum of predictions / sum of labels%s", correction);
  return buffer;
}

void facet_metrics_print(const facet_metrics_result *result, const facet_metrics_options *options, FILE *stream) {
  char text[256];
  fprintf(stream, "%-12s %lld (%lld positive)\n", "samples", (long long)result->n_samples,
          (long long)result->n_positives);
  for (int i = 0; facet_metric_names[i]; i++) {
    const char *name = facet_metric_names[i];
    const double value = facet_metric_value(result, name);
    if (isnan(value))
      fprintf(stream, "%-12s undefined: %s\n", name, facet_metric_undefined_reason(result, name, text, sizeof text));
    else
      fprintf(stream, "%-12s %-10.6f %s\n", name, value, definition(name, result, options, text, sizeof text));
  }
}
