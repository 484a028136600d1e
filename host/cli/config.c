/* facet config: checks a configuration, or prints the reference of all keys. */
#include <stddef.h>

#include "facet/arguments.h"
#include "facet/command.h"
#include "facet/config.h"

typedef struct arguments {
  const char *path;
  facet_argument_list sets;
  bool markdown;
} arguments;

static const facet_argument table[] = {{.name = "CONFIG.yaml",
                                        .type = FACET_ARGUMENT_TEXT,
                                        .offset = offsetof(arguments, path),
                                        .help = "configuration to check; it is printed with every default filled in"},
                                       {.name = "--set",
                                        .value = "KEY=VALUE",
                                        .type = FACET_ARGUMENT_LIST,
                                        .offset = offsetof(arguments, sets),
                                        .help = "sets a key of the configuration, e.g. train.batch_size=512"},
                                       {.name = "--markdown",
                                        .type = FACET_ARGUMENT_FLAG,
                                        .offset = offsetof(arguments, markdown),
                                        .help = "prints the reference as Markdown (docs/config.md)"},
                                       {0}};

static facet_status check_file(const arguments *given) {
  facet_config *config;
  FACET_TRY(facet_config_load(given->path, given->sets.item, given->sets.n, &config));
  facet_status status = facet_config_print(config, stdout);
  facet_config_destroy(&config);
  return status;
}

static facet_status run(int argc, char **argv) {
  arguments given = {0};
  FACET_TRY(facet_arguments_parse(table, argc, argv, &given));
  FACET_CHECK(given.path || !given.sets.n, FACET_ERROR_USAGE, "--set needs the argument CONFIG.yaml");
  FACET_CHECK(!given.path || !given.markdown, FACET_ERROR_USAGE, "--markdown prints the reference, not CONFIG.yaml");
  if (given.path) return check_file(&given);
  facet_config_print_reference(stdout, given.markdown);
  return FACET_OK;
}

const facet_command facet_command_config = {
    .name = "config",
    .usage = "facet config [CONFIG.yaml] [--set KEY=VALUE]… [--markdown]",
    .summary = "checks a configuration, or prints the reference of all keys",
    .help = "Without CONFIG.yaml, prints every section and key with its default, range and meaning.",
    .run = run,
    .arguments = table,
};
