/* facet trace: writes one training step to HDF5, and compares two of them. */
#include <math.h>
#include <stdio.h>

#include "facet/arguments.h"
#include "facet/command.h"
#include "facet/log.h"
#include "facet/trace.h"

typedef struct trace_arguments {
  facet_argument_list paths, sets;
  const char *output, *checkpoint;
  int64_t batch;
  double perturb, tolerance;
  bool compare;
} trace_arguments;

static const facet_argument table[] = {
    {.name = "CONFIG.yaml",
     .type = FACET_ARGUMENT_LIST,
     .offset = offsetof(trace_arguments, paths),
     .required = true,
     .help = "configuration of a run; with --compare two traces"},
    {.name = "--output",
     .value = "FILE.h5",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(trace_arguments, output),
     .help = "trace to write"},
    {.name = "--checkpoint",
     .value = "CHECKPOINT_OR_RUN",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(trace_arguments, checkpoint),
     .help = "parameters to take (default: initial values)"},
    {.name = "--batch",
     .value = "N",
     .type = FACET_ARGUMENT_INT,
     .offset = offsetof(trace_arguments, batch),
     .low = 0,
     .high = 1e15,
     .help = "number of the micro-batch in the order of the first epoch (default 0); the random numbers are those that "
             "training draws for it"},
    {.name = "--perturb",
     .value = "SD",
     .type = FACET_ARGUMENT_DOUBLE,
     .offset = offsetof(trace_arguments, perturb),
     .low = 0,
     .high = 1e6,
     .help =
         "adds SD times a normal number to every parameter and embedding, so that nothing stands at a special value"},
    {.name = "--compare",
     .type = FACET_ARGUMENT_FLAG,
     .offset = offsetof(trace_arguments, compare),
     .help = "compares two traces instead: facet trace --compare A.h5 B.h5"},
    {.name = "--tolerance",
     .value = "X",
     .type = FACET_ARGUMENT_DOUBLE,
     .offset = offsetof(trace_arguments, tolerance),
     .low = 0,
     .high = 1e6,
     .help = "relative difference of a tensor's norm that does not count (default 0)"},
    {.name = "--set",
     .value = "KEY=VALUE",
     .type = FACET_ARGUMENT_LIST,
     .offset = offsetof(trace_arguments, sets),
     .help = "sets a key of the configuration; may be repeated"},
    {0}};

static facet_status compare(const trace_arguments *given) {
  facet_trace_difference difference;
  FACET_CHECK(given->paths.n == 2, FACET_ERROR_USAGE, "--compare needs two traces, %d given", given->paths.n);
  FACET_CHECK(!given->output, FACET_ERROR_USAGE, "--compare writes no file, but --output is given");
  FACET_TRY(facet_trace_compare(given->paths.item[0], given->paths.item[1], given->tolerance, stdout, &difference));
  FACET_CHECK(difference.n_different == 0, FACET_ERROR_DATA, "%s and %s differ in %lld tensors", given->paths.item[0],
              given->paths.item[1], (long long)difference.n_different);
  return FACET_OK;
}

static facet_status write_trace(const trace_arguments *given) {
  facet_config *config;
  FACET_CHECK(given->paths.n == 1, FACET_ERROR_USAGE, "one configuration is expected, %d given", given->paths.n);
  FACET_CHECK(given->output, FACET_ERROR_USAGE, "--output FILE.h5 is required");
  FACET_TRY(facet_config_load(given->paths.item[0], given->sets.item, given->sets.n, &config));
  const facet_trace_request request = {.config = config,
                                       .output = given->output,
                                       .checkpoint = given->checkpoint,
                                       .batch = given->batch,
                                       .perturb = given->perturb};
  facet_status status = facet_trace_write(&request);
  facet_config_destroy(&config);
  if (status == FACET_OK) facet_log("wrote %s", given->output);
  return status;
}

static facet_status run(int argc, char **argv) {
  trace_arguments given = {0};
  FACET_TRY(facet_arguments_parse(table, argc, argv, &given));
  return given.compare ? compare(&given) : write_trace(&given);
}

const facet_command facet_command_trace = {
    .name = "trace",
    .usage = "facet trace CONFIG.yaml --output FILE.h5 [--checkpoint RUN] [--batch N] [--set KEY=VALUE]…\n"
             "       facet trace --compare A.h5 B.h5 [--tolerance X]",
    .summary = "writes every number of one training step to HDF5, or compares two such files",
    .help =
        "Inputs, parameters, random draws, activations, losses and gradients by name; docs/debugging.md. --compare\n"
        "exits with status 3 where the files differ.",
    .run = run,
    .arguments = table};
