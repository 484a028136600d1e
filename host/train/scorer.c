/* A checkpoint made ready for scoring. */
#include "facet/memory.h"
#include "facet/model.h"
#include "facet/trainer.h"

struct facet_scorer {
  char checkpoint[FACET_PATH_MAX];
  facet_config *config;
  facet_device *device;
  facet_dataset *dataset;
  facet_parameters *parameters;
  facet_graph *graph;
  facet_executor *executor;
};

int64_t facet_evaluate_batch_size(const facet_config *config) {
  if (config->evaluate.batch_size > 0) return config->evaluate.batch_size;
  return config->train.batch_size / config->train.accumulate;
}

static facet_status build_graph(const facet_scorer *scorer, facet_program program, facet_graph **graph) {
  const facet_config *config = scorer->config;
  return facet_model_build(config->model, config->model_options, program, facet_dataset_schema(scorer->dataset),
                           facet_evaluate_batch_size(config), config->data.max_length, scorer->parameters, graph);
}

/* The training program only declares its parameters: those that evaluation does without stand in the checkpoint too. */
static facet_status build(facet_scorer *scorer) {
  facet_graph *train_graph = NULL;
  FACET_TRY(facet_parameters_create(&scorer->parameters));
  FACET_TRY(build_graph(scorer, FACET_PROGRAM_TRAIN, &train_graph));
  facet_graph_destroy(&train_graph);
  FACET_TRY(build_graph(scorer, FACET_PROGRAM_EVALUATE, &scorer->graph));
  return facet_parameters_allocate(scorer->parameters, (uint64_t)scorer->config->train.seed, false);
}

static facet_status load(facet_scorer *scorer, const char *const *sets, int n_sets, const char *device,
                         const char *split) {
  char path[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(path, "%s/config.yaml", scorer->checkpoint));
  FACET_TRY(facet_config_load(path, sets, n_sets, &scorer->config));
  const facet_config *config = scorer->config;
  FACET_TRY(facet_config_open_device(config, device, &scorer->device));
  if (!split) split = config->data.test;
  FACET_CHECK(split[0], FACET_ERROR_USAGE, "data.test of %s is empty: name a split", path);
  FACET_TRY(facet_dataset_open(config->data_path, split, &scorer->dataset));
  FACET_TRY(build(scorer));
  FACET_TRY(facet_executor_create(scorer->graph, scorer->device, false, &scorer->executor));
  const facet_checkpoint checkpoint = {
      .config = config, .schema = facet_dataset_schema(scorer->dataset), .parameters = scorer->parameters};
  return facet_checkpoint_read(scorer->checkpoint, &checkpoint);
}

/* What looks like a wrong configuration or missing data may be a damaged checkpoint. */
static facet_status blame(const char *checkpoint, facet_status status) {
  const facet_error error = *facet_error_get();
  if (facet_checkpoint_verify(checkpoint) == FACET_ERROR_IO) return FACET_ERROR_IO;
  facet_error_restore(&error);
  return status;
}

facet_status facet_scorer_open(const char *checkpoint_or_run, const char *const *sets, int n_sets, const char *device,
                               const char *split, facet_scorer **out) {
  facet_scorer *scorer;
  facet_status status = FACET_OK;
  FACET_TRY(FACET_ALLOC(scorer, 1, "scorer"));
  FACET_TRY_GOTO(status, fail, facet_checkpoint_resolve(checkpoint_or_run, scorer->checkpoint));
  status = load(scorer, sets, n_sets, device, split);
  if (status != FACET_OK) {
    status = blame(scorer->checkpoint, status);
    goto fail;
  }
  *out = scorer;
  return FACET_OK;
fail:
  facet_scorer_close(&scorer);
  return status;
}

void facet_scorer_close(facet_scorer **scorer) {
  facet_scorer *s = *scorer;
  if (!s) return;
  facet_executor_destroy(&s->executor);
  facet_graph_destroy(&s->graph);
  facet_parameters_destroy(&s->parameters);
  facet_dataset_close(&s->dataset);
  facet_device_close(&s->device);
  facet_config_destroy(&s->config);
  facet_memory_free(s);
  *scorer = NULL;
}

facet_status facet_scorer_run(facet_scorer *scorer, facet_score_sink sink, void *context,
                              facet_metrics_result *result) {
  return facet_evaluate(scorer->executor, scorer->dataset, scorer->config, sink, context, result);
}

const facet_config *facet_scorer_config(const facet_scorer *scorer) {
  return scorer->config;
}
facet_dataset *facet_scorer_dataset(const facet_scorer *scorer) {
  return scorer->dataset;
}
const char *facet_scorer_checkpoint(const facet_scorer *scorer) {
  return scorer->checkpoint;
}
