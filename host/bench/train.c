/* facet bench CONFIG.yaml: arguments and flow. */
#include "bench/bench.h"
#include "bench/measure.h"
#include "facet/arguments.h"

typedef struct arguments {
  const char *config, *device;
  int64_t steps, warmup, timed_steps;
  bool nodes, json;
  facet_argument_list sets;
} arguments;

static const facet_argument table[] = {
    {.name = "CONFIG.yaml",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, config),
     .required = true,
     .help = "configuration of a run"},
    {.name = "--set",
     .value = "KEY=VALUE",
     .type = FACET_ARGUMENT_LIST,
     .offset = offsetof(arguments, sets),
     .help = "sets a key of the configuration, e.g. train.batch_size=512; may be repeated"},
    {.name = "--device",
     .value = "DEVICE",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, device),
     .help = "cpu (default), cuda or cuda:INDEX; see facet devices"},
    {.name = "--steps",
     .type = FACET_ARGUMENT_INT,
     .offset = offsetof(arguments, steps),
     .low = 1,
     .high = 1e9,
     .help = "updates that run undisturbed, in five windows (default 50)"},
    {.name = "--warmup",
     .type = FACET_ARGUMENT_INT,
     .offset = offsetof(arguments, warmup),
     .low = 1,
     .high = 1e9,
     .help = "updates before them (default 5)"},
    {.name = "--timed-steps",
     .type = FACET_ARGUMENT_INT,
     .offset = offsetof(arguments, timed_steps),
     .low = 1,
     .high = 1e6,
     .help = "updates after them in which every call is timed; the faster half counts (default 20)"},
    {.name = "--nodes",
     .type = FACET_ARGUMENT_FLAG,
     .offset = offsetof(arguments, nodes),
     .help = "one line per node, too"},
    {.name = "--json",
     .type = FACET_ARGUMENT_FLAG,
     .offset = offsetof(arguments, json),
     .help = "one JSON object instead of tables"},
    {0}};

void facet_bench_train_help(FILE *out) {
  facet_arguments_print_help(table, out);
}

facet_status facet_bench_train(int argc, char **argv, FILE *out) {
  arguments given = {.device = "cpu", .steps = 50, .warmup = 5, .timed_steps = 20};
  facet_config *config = NULL;
  facet_bench_result result;
  FACET_TRY(facet_arguments_parse(table, argc, argv, &given));
  FACET_TRY(facet_config_load(given.config, given.sets.item, given.sets.n, &config));
  const facet_bench_options options = {.steps = given.steps, .warmup = given.warmup, .timed_steps = given.timed_steps};
  facet_status status = facet_bench_measure(config, given.device, &options, &result);
  if (status == FACET_OK && given.json)
    status = facet_bench_print_json(&result, config, out);
  else if (status == FACET_OK)
    facet_bench_print(&result, config, given.nodes, out);
  facet_bench_result_destroy(&result);
  facet_config_destroy(&config);
  return status;
}
