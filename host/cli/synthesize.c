/* facet synthesize: writes synthetic logs as a data set. */
#include "facet/synthesize.h"

#include <stdio.h>

#include "facet/arguments.h"
#include "facet/command.h"
#include "facet/yaml.h"

typedef struct arguments {
  const char *config, *output;
  facet_argument_list sets;
} arguments;

static const facet_argument table[] = {{.name = "CONFIG.yaml",
                                        .type = FACET_ARGUMENT_TEXT,
                                        .offset = offsetof(arguments, config),
                                        .help = "file with a section `synthesize`; without it the defaults are used"},
                                       {.name = "--output",
                                        .value = "DIR",
                                        .type = FACET_ARGUMENT_TEXT,
                                        .offset = offsetof(arguments, output),
                                        .required = true,
                                        .help = "data set directory to create"},
                                       {.name = "--set",
                                        .value = "KEY=VALUE",
                                        .type = FACET_ARGUMENT_LIST,
                                        .offset = offsetof(arguments, sets),
                                        .help = "sets an option, e.g. users=10000; may be repeated"},
                                       {0}};

static facet_status read_config(const char *path, facet_synthesize_options *options) {
  static const char *const sections[] = {"synthesize"};
  facet_yaml *document;
  FACET_TRY(facet_yaml_load(path, FACET_ERROR_USAGE, &document));
  const facet_yaml_node root = facet_yaml_root(document);
  facet_status status = facet_yaml_check_keys(root, sections, 1);
  if (status == FACET_OK)
    status = facet_options_read(&facet_synthesize_section, facet_yaml_get(root, "synthesize"), NULL, options);
  facet_yaml_destroy(&document);
  return status;
}

static facet_status run(int argc, char **argv) {
  arguments given = {0};
  facet_synthesize_options options;
  char key[FACET_OPTION_MAX_KEY];
  FACET_TRY(facet_arguments_parse(table, argc, argv, &given));
  FACET_TRY(facet_options_default(&facet_synthesize_section, &options));
  if (given.config) FACET_TRY(read_config(given.config, &options));
  for (int i = 0; i < given.sets.n; i++)
    FACET_TRY(facet_options_set_argument(&facet_synthesize_section, given.sets.item[i], key, &options));
  return facet_synthesize(&options, given.output);
}

static void print_options(void) {
  facet_options_print_help(&facet_synthesize_section, stdout);
}

const facet_command facet_command_synthesize = {
    .name = "synthesize",
    .usage = "facet synthesize [CONFIG.yaml] --output DIR [--set key=value]…",
    .summary = "writes synthetic logs with a known click probability as a data set",
    .help = "Users with several latent interests, long noisy histories, item categories, hour and position effects.\n"
            "DIR/truth.json keeps the best AUC that can be reached on the test split.",
    .run = run,
    .arguments = table,
    .print_options = print_options};
