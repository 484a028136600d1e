/* Metrics against numbers worked out by hand, and spilled against in-memory results. */
#include "facet/metrics.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "facet/rng.h"

static const facet_metrics_options defaults = {.negative_sampling_rate = 1, .memory_mb = 16};

static facet_metrics_result measure(facet_metrics_options options, int64_t n, const facet_real *logit,
                                    const facet_real *label, const facet_real *weight, const int64_t *group) {
  facet_metrics *metrics;
  facet_metrics_result result;
  facet_real valid[64], ones[64];
  for (int i = 0; i < 64; i++) valid[i] = ones[i] = 1;
  cr_assert(facet_metrics_create(&options, &metrics) == FACET_OK);
  cr_assert(facet_metrics_add(metrics, n, logit, label, weight ? weight : ones, valid, group) == FACET_OK);
  cr_assert(facet_metrics_compute(metrics, &result) == FACET_OK);
  facet_metrics_destroy(&metrics);
  return result;
}

static bool near(double a, double b) {
  return fabs(a - b) < 1e-6;
}

Test(metrics, auc_with_a_tie_counts_one_half) {
  /* pairs (+,−): 2>1 yes, 2 vs 2 tie, 0<1 no, 0<2 no: (1 + ½)/4 */
  const facet_real logit[] = {2, 0, 1, 2}, label[] = {1, 1, 0, 0};
  cr_assert(near(measure(defaults, 4, logit, label, NULL, NULL).auc, 1.5 / 4));
}

Test(metrics, auc_honours_sample_weights) {
  /* positive 2 (w 3) beats 1 (w 1), loses to 3 (w 2): 3·1/(3·3) */
  const facet_real logit[] = {2, 1, 3}, label[] = {1, 0, 0}, weight[] = {3, 1, 2};
  cr_assert(near(measure(defaults, 3, logit, label, weight, NULL).auc, 1. / 3));
}

Test(metrics, gauc_by_each_weighting) {
  /* group 7: + 1, − 0, − 2 → AUC ½, 3 samples, 1 positive; group 9: + 1, + 2, − 0, + 3 → AUC 1, 4 samples,
   * 3 positives; group 11 has one class and is left out */
  const facet_real logit[] = {1, 0, 2, 1, 2, 0, 3, 5}, label[] = {1, 0, 0, 1, 1, 0, 1, 1};
  const int64_t group[] = {7, 7, 7, 9, 9, 9, 9, 11};
  facet_metrics_options options = defaults;
  options.gauc_weight = FACET_GAUC_SAMPLES;
  facet_metrics_result result = measure(options, 8, logit, label, NULL, group);
  cr_assert(near(result.gauc, (3 * 0.5 + 4 * 1) / 7));
  cr_assert(result.n_groups == 3 && result.n_groups_used == 2);
  options.gauc_weight = FACET_GAUC_POSITIVES;
  cr_assert(near(measure(options, 8, logit, label, NULL, group).gauc, (1 * 0.5 + 3 * 1) / 4));
  options.gauc_weight = FACET_GAUC_NONE;
  cr_assert(near(measure(options, 8, logit, label, NULL, group).gauc, 0.75));
}

Test(metrics, logloss_entropy_and_calibration) {
  const facet_real logit[] = {0, (facet_real)log(3), 0, 0}, label[] = {1, 1, 0, 0}; /* p = ½, ¾, ½, ½ */
  facet_metrics_result result = measure(defaults, 4, logit, label, NULL, NULL);
  double loss = -(log(0.5) + log(0.75) + log(0.5) + log(0.5)) / 4;
  cr_assert(near(result.logloss, loss));
  cr_assert(near(result.ne, loss / log(2)));
  cr_assert(near(result.calibration, 2.25 / 2));
}

Test(metrics, negative_sampling_correction) {
  facet_metrics_options options = defaults;
  options.negative_sampling_rate = 0.1; /* p = ½ → p' = ½/(½ + 5) = 1/11 */
  const facet_real logit[] = {0, 0}, label[] = {1, 0};
  facet_metrics_result result = measure(options, 2, logit, label, NULL, NULL);
  cr_assert(near(result.logloss, -(log(1. / 11) + log(10. / 11)) / 2));
  cr_assert(near(result.calibration, 2. / 11));
}

Test(metrics, one_class_is_undefined_with_a_reason) {
  const facet_real logit[] = {0, 1}, label[] = {0, 0};
  const int64_t group[] = {1, 2};
  facet_metrics_result result = measure(defaults, 2, logit, label, NULL, group);
  char reason[128];
  cr_assert(isnan(result.auc) && isnan(result.gauc) && isnan(result.ne) && isnan(result.calibration));
  cr_assert(!isnan(result.logloss));
  cr_assert_str_eq(facet_metric_undefined_reason(&result, "auc", reason, sizeof reason), "all 2 labels are 0");
  cr_assert_str_eq(facet_metric_undefined_reason(&result, "logloss", reason, sizeof reason), "");
}

Test(metrics, padding_is_ignored_and_nan_refused) {
  facet_metrics *metrics;
  facet_metrics_result result;
  facet_real logit[] = {1, NAN}, label[] = {1, 0}, weight[] = {1, 1}, valid[] = {1, 0};
  cr_assert(facet_metrics_create(&defaults, &metrics) == FACET_OK);
  cr_assert(facet_metrics_add(metrics, 2, logit, label, weight, valid, NULL) == FACET_OK);
  valid[1] = 1;
  cr_assert(facet_metrics_add(metrics, 2, logit, label, weight, valid, NULL) == FACET_ERROR_NONFINITE);
  cr_assert(facet_metrics_compute(metrics, &result) == FACET_OK);
  cr_assert(result.n_samples == 2);
  facet_metrics_destroy(&metrics);
}

/* 300,000 keyed samples with ties through a small and a large budget. */
static facet_metrics_result measure_many(int64_t memory_mb) {
  facet_metrics_options options = defaults;
  options.memory_mb = memory_mb;
  facet_metrics *metrics;
  facet_metrics_result result;
  cr_assert(facet_metrics_create(&options, &metrics) == FACET_OK);
  facet_rng_key key = facet_rng_key_make(3, "metrics test");
  for (int64_t i = 0; i < 300000; i++) {
    uint64_t word = facet_rng_word64(key, (uint64_t)i);
    facet_real logit = (facet_real)(word % 1000) / 100, label = (facet_real)((word >> 20) % 3 == 0);
    facet_real weight = (facet_real)(1 + (word >> 40) % 2), valid = 1;
    int64_t group = (int64_t)((word >> 44) % 5000);
    cr_assert(facet_metrics_add(metrics, 1, &logit, &label, &weight, &valid, &group) == FACET_OK);
  }
  cr_assert(facet_metrics_compute(metrics, &result) == FACET_OK);
  facet_metrics_destroy(&metrics);
  return result;
}

Test(metrics, a_set_larger_than_the_budget_gives_the_same_bits) {
  facet_metrics_result in_memory = measure_many(64), spilled = measure_many(1);
  cr_assert(in_memory.auc == spilled.auc);
  cr_assert(in_memory.gauc == spilled.gauc);
  cr_assert(in_memory.logloss == spilled.logloss);
}

Test(metrics, improvement_by_direction) {
  cr_assert(facet_metric_improves("auc", 0.6, 0.5, 0) && !facet_metric_improves("auc", 0.505, 0.5, 0.01));
  cr_assert(facet_metric_improves("logloss", 0.4, 0.5, 0) && !facet_metric_improves("logloss", 0.6, 0.5, 0));
  cr_assert(facet_metric_improves("calibration", 1.1, 0.8, 0) && !facet_metric_improves("calibration", 1.3, 0.8, 0));
  cr_assert(facet_metric_improves("auc", 0.1, NAN, 0) && !facet_metric_improves("auc", NAN, 0.1, 0));
}
