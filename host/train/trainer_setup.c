/* Everything before the first update: the run directory, data, graphs, memory, and the state to start from. */
#include <math.h>
#include <string.h>

#include "facet/memory.h"
#include "facet/model.h"
#include "train/checkpoint_internal.h"
#include "train/run_directory.h"
#include "train/trainer_internal.h"

/* ---- opening and building ---------------------------------------------------------------------------------------- */

/* A split that the data set lacks stays NULL. */
static facet_status open_split(facet_trainer *t, const char *split, facet_dataset **dataset) {
  char path[FACET_PATH_MAX];
  if (!split[0]) return FACET_OK;
  FACET_TRY(facet_path_format(path, "%s/%s", t->config->data_path, split));
  return facet_directory_exists(path) ? facet_dataset_open(t->config->data_path, split, dataset) : FACET_OK;
}

/* a · b ≥ 0, INT64_MAX where it is larger: limits that a configuration gives may be beyond any run. */
static int64_t capped_product(int64_t a, int64_t b) {
  int64_t result;
  return __builtin_mul_overflow(a, b, &result) ? INT64_MAX : result;
}

static facet_status open_data(facet_trainer *t) {
  const facet_data_options *data = &t->config->data;
  const facet_train_options *train = &t->config->train;
  FACET_TRY(facet_dataset_open(t->config->data_path, data->train, &t->train));
  FACET_TRY(open_split(t, data->valid, &t->valid));
  FACET_TRY(open_split(t, data->test, &t->test));
  const int64_t per_epoch = (facet_dataset_n_samples(t->train) + train->batch_size - 1) / train->batch_size;
  t->total_steps = capped_product(per_epoch, train->epochs);
  if (train->max_steps > 0 && train->max_steps < t->total_steps) t->total_steps = train->max_steps;
  return FACET_OK;
}

static facet_status build_graph(facet_trainer *t, facet_program program, int64_t batch_size, facet_graph **graph) {
  const facet_config *config = t->config;
  return facet_model_build(config->model, config->model_options, program, facet_dataset_schema(t->train), batch_size,
                           config->data.max_length, t->parameters, graph);
}

static facet_status build(facet_trainer *t) {
  const facet_config *config = t->config;
  const int64_t micro_batch = config->train.batch_size / config->train.accumulate;
  FACET_TRY(facet_parameters_create(&t->parameters));
  FACET_TRY(build_graph(t, FACET_PROGRAM_TRAIN, micro_batch, &t->train_graph));
  FACET_TRY(build_graph(t, FACET_PROGRAM_EVALUATE, facet_evaluate_batch_size(config), &t->evaluate_graph));
  FACET_TRY(facet_parameters_allocate(t->parameters, (uint64_t)config->train.seed, true));
  FACET_TRY(facet_executor_create(t->train_graph, t->device, true, &t->train_executor));
  FACET_TRY(facet_executor_create(t->evaluate_graph, t->device, false, &t->evaluate_executor));
  FACET_TRY(facet_executor_reserve_tables(t->train_executor, config->train.accumulate));
  return facet_optimizer_create(&config->optimizer, t->parameters, &t->optimizer);
}

/* Names of the logged parts: losses, then monitors. */
static facet_status name_parts(facet_trainer *t) {
  const int n_losses = facet_executor_n_losses(t->train_executor);
  t->n_parts = n_losses + facet_executor_n_monitors(t->train_executor);
  FACET_TRY(FACET_ALLOC(t->parts, t->n_parts, "loss parts"));
  FACET_TRY(FACET_ALLOC(t->window.sums, t->n_parts + 2, "loss parts"));
  for (int i = 0; i < t->n_parts; i++) {
    t->parts[i].name = i < n_losses
                           ? facet_graph_name(t->train_graph, "loss/%s", facet_executor_loss_name(t->train_executor, i))
                           : facet_graph_name(t->train_graph, "monitor/%s",
                                              facet_executor_monitor_name(t->train_executor, i - n_losses));
    if (!t->parts[i].name) return FACET_ERROR_INTERNAL;
  }
  return FACET_OK;
}

/* ---- the state to start from ------------------------------------------------------------------------------------- */

facet_checkpoint facet_trainer_checkpoint(facet_trainer *t) {
  return (facet_checkpoint){.config = t->config,
                            .schema = facet_dataset_schema(t->train),
                            .parameters = t->parameters,
                            .optimizer = t->optimizer,
                            .state = &t->state,
                            .log_sums = t->window.sums,
                            .n_log_sums = t->n_parts + 2};
}

facet_status facet_trainer_start_fresh(facet_trainer *t) {
  const facet_config *config = t->config;
  t->state = (facet_train_state){.seed = config->train.seed,
                                 .n_train_samples = facet_dataset_n_samples(t->train),
                                 .plateau_factor = 1,
                                 .best_metric = NAN};
  if (!config->train.warm_start[0]) return FACET_OK;
  char path[FACET_PATH_MAX];
  facet_checkpoint checkpoint = facet_trainer_checkpoint(t);
  checkpoint.optimizer = NULL;
  checkpoint.state = NULL;
  FACET_TRY(facet_checkpoint_resolve(config->train.warm_start, path));
  FACET_TRY(facet_checkpoint_warm_start(path, &checkpoint, config->data_path));
  facet_log("start      warm, from the parameters of %s", path);
  return FACET_OK;
}

/* A best checkpoint that is not in this directory (the start was another run's) cannot be loaded at the end. */
static facet_status adopt_best(facet_trainer *t) {
  char path[FACET_PATH_MAX];
  if (t->state.best_step == 0 || t->state.best_step == t->state.step) return FACET_OK;
  FACET_TRY(checkpoint_step_path(path, t->request->run_directory, t->state.best_step));
  if (facet_directory_exists(path)) return FACET_OK;
  facet_warn("the best checkpoint so far, step %lld, is not in %s: the best one is sought anew from step %lld on",
             (long long)t->state.best_step, t->request->run_directory, (long long)t->state.step);
  t->state.best_metric = NAN;
  t->state.best_step = 0;
  t->state.last_evaluation_step = 0; /* an evaluation that is due here is repeated */
  return FACET_OK;
}

/* A checkpoint of this run is saved already; a kill may have come between saving it and marking it as the best. */
static facet_status adopt_checkpoint(facet_trainer *t) {
  char own[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(own, "%s/checkpoints/", t->request->run_directory));
  if (strncmp(t->start, own, strlen(own)) != 0) return FACET_OK;
  t->saved_step = t->state.step;
  return t->state.best_step > 0 ? facet_checkpoint_mark_best(t->request->run_directory, t->state.best_step) : FACET_OK;
}

static facet_status resume(facet_trainer *t) {
  const facet_checkpoint checkpoint = facet_trainer_checkpoint(t);
  const int64_t n = facet_dataset_n_samples(t->train);
  FACET_TRY(facet_checkpoint_read(t->start, &checkpoint));
  FACET_CHECK(t->state.n_train_samples == n, FACET_ERROR_DATA,
              "%s/%s has %lld samples, but %s was made with %lld: its position in the data has no meaning now",
              t->config->data_path, t->config->data.train, (long long)n, t->start, (long long)t->state.n_train_samples);
  FACET_TRY(adopt_best(t));
  facet_log("start      resumed from %s: step %lld, epoch %lld, sample %lld", t->start, (long long)t->state.step,
            (long long)t->state.epoch, (long long)t->state.position);
  return adopt_checkpoint(t);
}

/* ---- the first lines of a run ------------------------------------------------------------------------------------ */

static void print_sizes(facet_trainer *t) {
  const facet_config *config = t->config;
  const facet_plan_report plan = facet_executor_report(t->train_executor);
  int64_t n_parameters = 0, n_rows = 0;
  size_t table_bytes = 0;
  const int n_dense = facet_parameters_n_dense(t->parameters), n_tables = facet_parameters_n_tables(t->parameters);
  for (int i = 0; i < n_dense; i++)
    n_parameters += facet_shape_elements(&facet_parameters_dense(t->parameters, i)->shape);
  for (int i = 0; i < n_tables; i++) {
    facet_table *table = facet_parameters_table(t->parameters, i);
    n_rows += facet_table_n_rows(table);
    table_bytes += facet_table_bytes(table);
  }
  facet_log("model      %s: %s parameters in %d tensors, %s embedding rows in %d tables", config->model->name,
            facet_format_count((double)n_parameters), n_dense, facet_format_count((double)n_rows), n_tables);
  facet_log("memory     activations and gradients %s (%s before packing), scratch %s, evaluation %s",
            facet_format_bytes((double)plan.arena),
            facet_format_bytes((double)(plan.activations + plan.gradients + plan.saved)),
            facet_format_bytes((double)plan.scratch),
            facet_format_bytes((double)facet_executor_report(t->evaluate_executor).arena));
  facet_log("           parameters %s, their gradients %s, optimizer %s, tables with their optimizer state %s",
            facet_format_bytes((double)plan.parameters), facet_format_bytes((double)plan.parameter_gradients),
            facet_format_bytes((double)facet_optimizer_bytes(t->optimizer)), facet_format_bytes((double)table_bytes));
}

static void print_split(const facet_dataset *dataset, const char *name, const char *without) {
  if (dataset)
    facet_log("           %s: %s samples in %d part%s", name,
              facet_format_count((double)facet_dataset_n_samples(dataset)), facet_dataset_n_parts(dataset),
              facet_dataset_n_parts(dataset) == 1 ? "" : "s");
  else
    facet_log("           no split \"%s\": %s", name, without);
}

static facet_status print_start(facet_trainer *t) {
  const facet_config *config = t->config;
  facet_device_info info;
  print_sizes(t);
  FACET_TRY(t->device->backend->query(t->device, &info));
  facet_log("device     %s", info.name);
  facet_log("data       %s", config->data_path);
  print_split(t->train, config->data.train, "");
  print_split(t->valid, config->data.valid, "no monitoring, no early stopping, the last checkpoint counts as the best");
  print_split(t->test, config->data.test, "no evaluation at the end");
  if (!t->valid && (config->train.early_stop > 0 || config->optimizer.schedule == FACET_SCHEDULE_PLATEAU))
    facet_warn("train.early_stop and optimizer.schedule: plateau do nothing without a validation split");
  facet_log("training   %s updates of %lld samples in %lld micro-batch%s, run directory %s",
            facet_format_count((double)t->total_steps), (long long)config->train.batch_size,
            (long long)config->train.accumulate, config->train.accumulate == 1 ? "" : "es", t->request->run_directory);
  return FACET_OK;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

/* A run whose training ended, whose log is closed by the summary, and that was not extended. */
static facet_status check_finished(facet_trainer *t, bool *finished) {
  *finished = false;
  if (!t->start[0]) return FACET_OK;
  const facet_checkpoint only_state = {.config = t->config, .state = &t->state};
  FACET_TRY(facet_checkpoint_read(t->start, &only_state));
  if (facet_trainer_wants_update(t->config, &t->state)) return FACET_OK;
  FACET_TRY(facet_run_log_is_complete(t->request->run_directory, t->state.step, finished));
  if (*finished)
    facet_log("%s is finished: step %lld, epoch %lld; a larger train.epochs or train.max_steps would continue it",
              t->request->run_directory, (long long)t->state.step, (long long)t->state.epoch);
  return FACET_OK;
}

/* To the end of training, for the time left. */
static int64_t samples_left(const facet_trainer *t) {
  const facet_train_options *train = &t->config->train;
  int64_t total = capped_product(facet_dataset_n_samples(t->train), train->epochs);
  const int64_t most = capped_product(train->max_steps, train->batch_size);
  if (train->max_steps > 0 && most < total) total = most;
  return total > t->state.samples ? total - t->state.samples : 0;
}

facet_status facet_trainer_open(facet_trainer *t) {
  if (!t->device) FACET_TRY(facet_config_open_device(t->config, t->request->device, &t->device));
  FACET_TRY(open_data(t));
  FACET_TRY(build(t));
  return name_parts(t);
}

facet_status facet_trainer_prepare(facet_trainer *t, bool *finished) {
  FACET_TRY(facet_config_open_device(t->config, t->request->device,
                                     &t->device)); /* a wrong one leaves no run directory behind */
  FACET_TRY(facet_run_directory_open(t->request, &t->lock, t->start));
  FACET_TRY(check_finished(t, finished));
  if (*finished) return FACET_OK;
  FACET_TRY(facet_trainer_open(t));
  FACET_TRY(print_start(t));
  FACET_TRY(t->start[0] ? resume(t) : facet_trainer_start_fresh(t));
  FACET_TRY(facet_run_log_open(t->request->run_directory, t->state.step, t->state.last_evaluation_step == t->state.step,
                               &t->log));
  t->first_samples = t->state.samples;
  facet_progress_start(&t->progress, "train", "samples", samples_left(t));
  return FACET_OK;
}

void facet_trainer_destroy(facet_trainer *t) {
  facet_loader_destroy(&t->loader);
  facet_run_log_close(&t->log);
  facet_optimizer_destroy(&t->optimizer);
  facet_executor_destroy(&t->train_executor);
  facet_executor_destroy(&t->evaluate_executor);
  facet_graph_destroy(&t->train_graph);
  facet_graph_destroy(&t->evaluate_graph);
  facet_parameters_destroy(&t->parameters);
  facet_dataset_close(&t->train);
  facet_dataset_close(&t->valid);
  facet_dataset_close(&t->test);
  facet_device_close(&t->device);
  facet_memory_free(t->parts);
  facet_memory_free(t->window.sums);
  if (t->lock.descriptor >= 0) facet_lock_release(&t->lock);
}
