/* Scoring a split in order and collecting its metrics. */
#include "facet/memory.h"
#include "facet/trainer.h"

static facet_status score_batch(facet_executor *executor, const facet_batch *batch, const facet_config *config,
                                facet_real *logit) {
  const facet_run run = {.training = false, .seed = (uint64_t)config->train.seed};
  FACET_TRY(facet_executor_forward(executor, batch, &run));
  return facet_executor_output(executor, "logit", logit, batch->layout->batch_size);
}

static facet_status score_all(facet_executor *executor, facet_loader *loader, const facet_config *config,
                              facet_real *logit, facet_metrics *metrics, facet_score_sink sink, void *context) {
  const facet_batch *batch;
  for (;;) {
    FACET_TRY(facet_loader_next(loader, &batch, NULL));
    if (!batch) return FACET_OK;
    FACET_TRY(score_batch(executor, batch, config, logit));
    FACET_TRY(
        facet_metrics_add(metrics, batch->n_rows, logit, batch->label, batch->weight, batch->valid, batch->group));
    if (sink) FACET_TRY(sink(context, batch, logit));
  }
}

int64_t facet_evaluate_n_samples(const facet_dataset *dataset, const facet_config *config) {
  int64_t n = facet_dataset_n_samples(dataset), most = config->evaluate.max_samples;
  return most > 0 && most < n ? most : n;
}

facet_status facet_evaluate(facet_executor *executor, facet_dataset *dataset, const facet_config *config,
                            facet_score_sink sink, void *context, facet_metrics_result *result) {
  const facet_batch_layout *layout = facet_executor_batch_layout(executor);
  const int64_t n = facet_evaluate_n_samples(dataset, config);
  const facet_order order = facet_order_make(n, false, 1, 0, 0, 0);
  facet_metrics *metrics = NULL;
  facet_loader *loader = NULL;
  facet_real *logit = NULL; /* [B] */
  facet_status status = FACET_OK;
  FACET_TRY_GOTO(status, done, FACET_ALLOC(logit, layout->batch_size, "logits of a batch"));
  FACET_TRY_GOTO(status, done, facet_metrics_create(&config->evaluate.metrics, &metrics));
  FACET_TRY_GOTO(
      status, done,
      facet_loader_create(dataset, layout, order, 0, n, 1, config->data.prefetch, config->data.readers, &loader));
  FACET_TRY_GOTO(status, done, score_all(executor, loader, config, logit, metrics, sink, context));
  status = facet_metrics_compute(metrics, result);
done:
  facet_loader_destroy(&loader);
  facet_metrics_destroy(&metrics);
  facet_memory_free(logit);
  if (status != FACET_OK && status != FACET_PREEMPTED) facet_error_context("split %s", facet_dataset_split(dataset));
  return status;
}
