/* facet graph: prints the graph of a configured model, as a table, for Graphviz, or with its memory plan. */
#include <stdio.h>

#include "facet/arguments.h"
#include "facet/command.h"
#include "facet/config.h"
#include "facet/file.h"
#include "facet/model.h"
#include "facet/trainer.h"
#include "graph/plan.h"

static const char *const programs[] = {"train", "evaluate", "serve", NULL};

typedef struct graph_arguments {
  const char *config;
  int program; /* facet_program */
  bool dot, plan;
  facet_argument_list sets;
} graph_arguments;

static const facet_argument table[] = {{.name = "CONFIG.yaml",
                                        .type = FACET_ARGUMENT_TEXT,
                                        .offset = offsetof(graph_arguments, config),
                                        .required = true,
                                        .help = "configuration of a run"},
                                       {.name = "--program",
                                        .type = FACET_ARGUMENT_CHOICE,
                                        .offset = offsetof(graph_arguments, program),
                                        .choices = programs,
                                        .help = "which graph of the model (default train)"},
                                       {.name = "--dot",
                                        .type = FACET_ARGUMENT_FLAG,
                                        .offset = offsetof(graph_arguments, dot),
                                        .help = "print for Graphviz: facet graph CONFIG.yaml --dot | dot -Tsvg"},
                                       {.name = "--plan",
                                        .type = FACET_ARGUMENT_FLAG,
                                        .offset = offsetof(graph_arguments, plan),
                                        .help = "print the memory plan"},
                                       {.name = "--set",
                                        .value = "KEY=VALUE",
                                        .type = FACET_ARGUMENT_LIST,
                                        .offset = offsetof(graph_arguments, sets),
                                        .help = "sets a key, e.g. train.batch_size=512; may be repeated"},
                                       {0}};

static facet_status print_plan(const facet_graph *graph, bool with_backward) {
  facet_plan *plan = NULL;
  FACET_TRY(facet_plan_create(graph, with_backward, false, &plan));
  facet_plan_print(plan, stdout);
  facet_plan_destroy(&plan);
  return FACET_OK;
}

static facet_status print_graph(const facet_config *config, const graph_arguments *arguments,
                                const facet_schema *schema) {
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  facet_status status = FACET_OK;
  facet_program program = (facet_program)arguments->program;
  const int64_t batch_size = program == FACET_PROGRAM_TRAIN ? config->train.batch_size / config->train.accumulate
                                                            : facet_evaluate_batch_size(config);
  FACET_TRY_GOTO(status, done, facet_parameters_create(&parameters));
  FACET_TRY_GOTO(status, done,
                 facet_model_build(config->model, config->model_options, program, schema, batch_size,
                                   config->data.max_length, parameters, &graph));
  if (arguments->dot) {
    facet_graph_print_dot(graph, stdout);
  } else if (!arguments->plan) {
    facet_graph_print(graph, stdout);
  }
  if (arguments->plan) status = print_plan(graph, program == FACET_PROGRAM_TRAIN);
done:
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
  return status;
}

static facet_status run(int argc, char **argv) {
  graph_arguments arguments = {.program = FACET_PROGRAM_TRAIN};
  facet_config *config = NULL;
  facet_schema *schema = NULL;
  facet_status status = FACET_OK;
  char path[FACET_PATH_MAX];
  FACET_TRY(facet_arguments_parse(table, argc, argv, &arguments));
  FACET_CHECK(!(arguments.dot && arguments.plan), FACET_ERROR_USAGE, "--dot and --plan exclude each other");
  FACET_TRY_GOTO(status, done, facet_config_load(arguments.config, arguments.sets.item, arguments.sets.n, &config));
  FACET_TRY_GOTO(status, done, facet_path_format(path, "%s/schema.yaml", config->data_path));
  FACET_TRY_GOTO(status, done, facet_schema_load(path, &schema));
  status = print_graph(config, &arguments, schema);
done:
  facet_schema_destroy(&schema);
  facet_config_destroy(&config);
  return status;
}

const facet_command facet_command_graph = {
    .name = "graph",
    .usage = "facet graph CONFIG.yaml [--program train|evaluate|serve] [--dot | --plan] [--set KEY=VALUE]…",
    .summary = "prints the graph of a model and its memory plan",
    .help =
        "One line per node with operator, shape, parameters, MFLOP and MB. Nothing is allocated or trained; only the\n"
        "schema of the data set is read.",
    .run = run,
    .arguments = table,
};
