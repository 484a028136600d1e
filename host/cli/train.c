/* facet train: trains the model of a configuration. */
#include <stdio.h>
#include <string.h>

#include "facet/arguments.h"
#include "facet/command.h"
#include "facet/trainer.h"

typedef struct arguments {
  const char *config, *device, *output, *resume;
  facet_argument_list sets;
} arguments;

static const facet_argument table[] = {
    {.name = "CONFIG.yaml",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, config),
     .required = true,
     .help = "configuration of the run"},
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
    {.name = "--output",
     .value = "DIR",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, output),
     .help = "run directory (default: runs/ and the configuration's name); one that holds a run continues it"},
    {.name = "--resume",
     .value = "auto|none|PATH",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, resume),
     .help =
         "auto (default): from the newest checkpoint in the run directory; none: only into an empty one; PATH: from "
         "this checkpoint, into an empty one"},
    {0}};

static const char help[] = "Running the same command again continues a run that was stopped, or says that it is "
                           "finished. SIGTERM and SIGUSR1\n"
                           "save a checkpoint and exit with status 75. Logs are in metrics.jsonl and, for TensorBoard, "
                           "events.out.tfevents.*.";

/* "runs/<name of the configuration file without .yaml>" */
static facet_status default_output(const char *config, char *path) {
  const char *slash = strrchr(config, '/'), *name = slash ? slash + 1 : config;
  size_t length = strlen(name);
  const char *dot = strrchr(name, '.');
  if (dot && dot > name) length = (size_t)(dot - name);
  return facet_path_format(path, "runs/%.*s", (int)length, name);
}

static facet_status run(int argc, char **argv) {
  arguments given = {.device = "cpu", .resume = "auto"};
  char output[FACET_PATH_MAX];
  facet_config *config = NULL;
  FACET_TRY(facet_arguments_parse(table, argc, argv, &given));
  FACET_TRY(default_output(given.config, output));
  FACET_TRY(facet_config_load(given.config, given.sets.item, given.sets.n, &config));
  facet_train_request request = {.config = config,
                                 .run_directory = given.output ? given.output : output,
                                 .device = given.device,
                                 .resume = FACET_RESUME_PATH,
                                 .resume_path = given.resume,
                                 .report = stdout};
  if (strcmp(given.resume, "auto") == 0) request.resume = FACET_RESUME_AUTO;
  if (strcmp(given.resume, "none") == 0) request.resume = FACET_RESUME_NONE;
  facet_status status = facet_train(&request);
  facet_config_destroy(&config);
  return status;
}

static void print_options(void) {
  printf("\nKeys of the configuration:\n");
  facet_config_print_reference(stdout, false);
}

const facet_command facet_command_train = {
    .name = "train",
    .usage = "facet train CONFIG.yaml [--set KEY=VALUE]… [--device cpu|cuda] [--output DIR] [--resume auto|none|PATH]",
    .summary = "trains a model, or continues a run",
    .help = help,
    .run = run,
    .arguments = table,
    .print_options = print_options};
