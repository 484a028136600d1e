/* facet check: compares the gradients of a configured model with central differences. */
#include <omp.h>
#include <stdio.h>

#include "facet/arguments.h"
#include "facet/batch.h"
#include "facet/command.h"
#include "facet/config.h"
#include "facet/executor.h"
#include "facet/model.h"

typedef struct check_arguments {
  const char *config;
  int64_t batches, directions;
  double tolerance;
  facet_argument_list sets;
} check_arguments;

static const facet_argument table[] = {
    {.name = "CONFIG.yaml",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(check_arguments, config),
     .required = true,
     .help = "configuration of a run"},
    {.name = "--batches",
     .type = FACET_ARGUMENT_INT,
     .offset = offsetof(check_arguments, batches),
     .low = 1,
     .high = 1000,
     .help = "batches of the training split to check on (default 1)"},
    {.name = "--directions",
     .type = FACET_ARGUMENT_INT,
     .offset = offsetof(check_arguments, directions),
     .low = 1,
     .high = 1000,
     .help = "random directions per parameter (default 3)"},
    {.name = "--tolerance",
     .type = FACET_ARGUMENT_DOUBLE,
     .offset = offsetof(check_arguments, tolerance),
     .low = 1e-12,
     .high = 1,
     .help = "largest relative error (default: 0.02, in the double-precision program facet_f64 1e-6)"},
    {.name = "--set",
     .value = "KEY=VALUE",
     .type = FACET_ARGUMENT_LIST,
     .offset = offsetof(check_arguments, sets),
     .help = "sets a key, e.g. train.batch_size=64; may be repeated"},
    {0}};

/* The first batches of the training split, in its order. */
static facet_status check_batches(facet_executor *executor, facet_dataset *dataset, const facet_config *config,
                                  const check_arguments *arguments) {
  facet_loader *loader = NULL;
  const facet_batch *batch = NULL;
  facet_status status = FACET_OK;
  const int64_t n = facet_dataset_n_samples(dataset);
  const facet_order order = facet_config_order(config, n, config->train.seed, 0);
  FACET_TRY(facet_loader_create(dataset, facet_executor_batch_layout(executor), order, 0, n, 1, config->data.prefetch,
                                1, &loader));
  for (int64_t i = 0; i < arguments->batches; i++) {
    FACET_TRY_GOTO(status, done, facet_loader_next(loader, &batch, NULL));
    if (!batch) break;
    printf("batch %lld, %lld samples\n", (long long)i, (long long)batch->n_rows);
    facet_run run = {.training = true, .seed = (uint64_t)config->train.seed, .step = i};
    FACET_TRY_GOTO(status, done,
                   facet_executor_check_gradients(executor, batch, &run, (int)arguments->directions,
                                                  arguments->tolerance, stdout));
  }
  printf("no gradient is off by more than %g, or by more than rounding explains\n", arguments->tolerance);
done:
  facet_loader_destroy(&loader);
  return status;
}

static facet_status check(const facet_config *config, const check_arguments *arguments) {
  facet_dataset *dataset = NULL;
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  facet_device *device = NULL;
  facet_executor *executor = NULL;
  facet_status status = FACET_OK;
  FACET_TRY_GOTO(status, done, facet_dataset_open(config->data_path, config->data.train, &dataset));
  FACET_TRY_GOTO(status, done, facet_parameters_create(&parameters));
  FACET_TRY_GOTO(status, done,
                 facet_model_build(config->model, config->model_options, FACET_PROGRAM_TRAIN,
                                   facet_dataset_schema(dataset), config->train.batch_size / config->train.accumulate,
                                   config->data.max_length, parameters, &graph));
  FACET_TRY_GOTO(status, done, facet_parameters_allocate(parameters, (uint64_t)config->train.seed, true));
  FACET_TRY_GOTO(status, done, facet_device_open("cpu", &device));
  FACET_TRY_GOTO(status, done, facet_executor_create(graph, device, true, &executor));
  FACET_TRY_GOTO(status, done, facet_executor_reserve_tables(executor, 1));
  status = check_batches(executor, dataset, config, arguments);
done:
  facet_executor_destroy(&executor);
  facet_device_close(&device);
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
  facet_dataset_close(&dataset);
  return status;
}

static facet_status run(int argc, char **argv) {
  check_arguments arguments = {.batches = 1, .directions = 3, .tolerance = FACET_CHECK_TOLERANCE};
  facet_config *config = NULL;
  FACET_TRY(facet_arguments_parse(table, argc, argv, &arguments));
  FACET_TRY(facet_config_load(arguments.config, arguments.sets.item, arguments.sets.n, &config));
  if (config->train.threads) omp_set_num_threads((int)config->train.threads);
  facet_status status = check(config, &arguments);
  facet_config_destroy(&config);
  return status;
}

const facet_command facet_command_check = {
    .name = "check",
    .usage = "facet check CONFIG.yaml [--batches N] [--directions N] [--tolerance X] [--set KEY=VALUE]…",
    .summary = "compares the gradients of a model with central differences",
    .help =
        "For each parameter, and the rows of each table that a batch touches, random directions are compared. Dropout\n"
        "keeps its mask. The program facet_f64 does the same in double precision, where a wrong formula cannot hide\n"
        "in rounding.",
    .run = run,
    .arguments = table,
};
