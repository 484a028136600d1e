/* facet convert: logs to a data set. */
#include "facet/convert.h"

#include <stdio.h>

#include "facet/arguments.h"
#include "facet/command.h"

typedef struct arguments {
  const char *config, *input, *output, *vocabulary;
  bool freeze;
  facet_argument_list sets;
} arguments;

static const facet_argument table[] = {{.name = "CONFIG.yaml",
                                        .type = FACET_ARGUMENT_TEXT,
                                        .offset = offsetof(arguments, config),
                                        .required = true,
                                        .help = "configuration of the conversion"},
                                       {.name = "--input",
                                        .value = "DIR",
                                        .type = FACET_ARGUMENT_TEXT,
                                        .offset = offsetof(arguments, input),
                                        .help = "directory of the log files; without it the configuration's"},
                                       {.name = "--output",
                                        .value = "DIR",
                                        .type = FACET_ARGUMENT_TEXT,
                                        .offset = offsetof(arguments, output),
                                        .required = true,
                                        .help = "data set directory to create"},
                                       {.name = "--vocabulary",
                                        .value = "DATASET",
                                        .type = FACET_ARGUMENT_TEXT,
                                        .offset = offsetof(arguments, vocabulary),
                                        .help = "earlier data set whose vocabularies are kept and extended"},
                                       {.name = "--freeze",
                                        .type = FACET_ARGUMENT_FLAG,
                                        .offset = offsetof(arguments, freeze),
                                        .help = "do not extend them: unseen tokens become unknown (id 1)"},
                                       {.name = "--set",
                                        .value = "KEY=VALUE",
                                        .type = FACET_ARGUMENT_LIST,
                                        .offset = offsetof(arguments, sets),
                                        .help = "sets an option of section convert, e.g. negatives=4; may be repeated"},
                                       {0}};

static facet_status run(int argc, char **argv) {
  arguments given = {0};
  FACET_TRY(facet_arguments_parse(table, argc, argv, &given));
  FACET_CHECK(!given.freeze || given.vocabulary, FACET_ERROR_USAGE,
              "--freeze needs --vocabulary DATASET: the data set whose vocabularies are kept");
  const facet_convert_request request = {.config = given.config,
                                         .input = given.input,
                                         .output = given.output,
                                         .vocabulary = given.vocabulary,
                                         .freeze = given.freeze,
                                         .sets = given.sets.item,
                                         .n_sets = given.sets.n,
                                         .report = stdout};
  return facet_convert(&request);
}

static void print_options(void) {
  for (int i = 0; i < facet_convert_n_sections; i++) facet_options_print_help(&facet_convert_sections[i], stdout);
}

const facet_command facet_command_convert = {
    .name = "convert",
    .usage =
        "facet convert CONFIG.yaml --input DIR --output DATASET [--vocabulary DATASET [--freeze]] [--set key=value]…",
    .summary = "makes a data set from logs of interactions or impressions in delimited text",
    .help = "Every positive interaction becomes a sample, with sampled negatives; or every item shown in an impression "
            "does. docs/convert.md explains the configuration.",
    .run = run,
    .arguments = table,
    .print_options = print_options};
