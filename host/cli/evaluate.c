/* facet evaluate: metrics of a checkpoint on a split. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "facet/arguments.h"
#include "facet/command.h"
#include "facet/log.h"
#include "facet/trainer.h"

typedef struct arguments {
  const char *checkpoint, *split, *device;
  facet_argument_list sets;
  bool json;
} arguments;

static const facet_argument table[] = {
    {.name = "CHECKPOINT_OR_RUN",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, checkpoint),
     .required = true,
     .help = "a checkpoint directory, or a run directory: its best checkpoint, else its newest"},
    {.name = "--split",
     .value = "NAME",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, split),
     .help = "split of the data set (default: data.test of the configuration)"},
    {.name = "--set",
     .value = "KEY=VALUE",
     .type = FACET_ARGUMENT_LIST,
     .offset = offsetof(arguments, sets),
     .help = "changes a key of the stored configuration, e.g. data.path or evaluate.gauc_weight; may be repeated"},
    {.name = "--device",
     .value = "DEVICE",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, device),
     .help = "cpu (default), cuda or cuda:INDEX"},
    {.name = "--json",
     .type = FACET_ARGUMENT_FLAG,
     .offset = offsetof(arguments, json),
     .help = "prints one JSON object; metrics that are undefined are null"},
    {0}};

static facet_status print_json(const facet_scorer *scorer, const facet_metrics_result *result) {
  json_t *object = json_object();
  json_object_set_new(object, "checkpoint", json_string(facet_scorer_checkpoint(scorer)));
  json_object_set_new(object, "data", json_string(facet_dataset_path(facet_scorer_dataset(scorer))));
  json_object_set_new(object, "split", json_string(facet_dataset_split(facet_scorer_dataset(scorer))));
  for (int i = 0; facet_metric_names[i]; i++) {
    double value = facet_metric_value(result, facet_metric_names[i]);
    json_object_set_new(object, facet_metric_names[i], isfinite(value) ? json_real(value) : json_null());
  }
  json_object_set_new(object, "n_samples", json_integer(result->n_samples));
  json_object_set_new(object, "n_positives", json_integer(result->n_positives));
  char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
  json_decref(object);
  FACET_CHECK(text, FACET_ERROR_INTERNAL, "cannot allocate the result");
  puts(text);
  free(text);
  return FACET_OK;
}

static facet_status run(int argc, char **argv) {
  arguments given = {.device = "cpu"};
  facet_scorer *scorer = NULL;
  facet_metrics_result result;
  facet_status status = FACET_OK;
  FACET_TRY(facet_arguments_parse(table, argc, argv, &given));
  FACET_TRY(facet_scorer_open(given.checkpoint, given.sets.item, given.sets.n, given.device, given.split, &scorer));
  FACET_TRY_GOTO(status, done, facet_scorer_run(scorer, NULL, NULL, &result));
  if (given.json) {
    status = print_json(scorer, &result);
    goto done;
  }
  printf("checkpoint   %s\nsplit        %s of %s\n", facet_scorer_checkpoint(scorer),
         facet_dataset_split(facet_scorer_dataset(scorer)), facet_dataset_path(facet_scorer_dataset(scorer)));
  facet_metrics_print(&result, &facet_scorer_config(scorer)->evaluate.metrics, stdout);
done:
  facet_scorer_close(&scorer);
  return status;
}

const facet_command facet_command_evaluate = {
    .name = "evaluate",
    .usage = "facet evaluate CHECKPOINT_OR_RUN [--split NAME] [--set KEY=VALUE]… [--device cpu|cuda] [--json]",
    .summary = "prints the metrics of a checkpoint on a split",
    .run = run,
    .arguments = table};
