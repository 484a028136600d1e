/* facet predict: scores of a split to a file. */
#include <stdio.h>

#include "facet/arguments.h"
#include "facet/command.h"
#include "facet/log.h"
#include "facet/trainer.h"
#include "train/score_file.h"

typedef struct arguments {
  const char *checkpoint, *output, *split, *device;
  facet_argument_list sets;
} arguments;

static const facet_argument table[] = {
    {.name = "CHECKPOINT_OR_RUN",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, checkpoint),
     .required = true,
     .help = "a checkpoint directory, or a run directory: its best checkpoint, else its newest"},
    {.name = "--output",
     .value = "FILE",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, output),
     .required = true,
     .help = "FILE.h5, FILE.tsv or FILE.csv; replaced only when all scores are written"},
    {.name = "--split",
     .value = "NAME",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, split),
     .help = "split of the data set (default: data.test of the configuration)"},
    {.name = "--set",
     .value = "KEY=VALUE",
     .type = FACET_ARGUMENT_LIST,
     .offset = offsetof(arguments, sets),
     .help = "changes a key of the stored configuration, e.g. data.path; may be repeated"},
    {.name = "--device",
     .value = "DEVICE",
     .type = FACET_ARGUMENT_TEXT,
     .offset = offsetof(arguments, device),
     .help = "cpu (default), cuda or cuda:INDEX"},
    {0}};

static const char help[] =
    "One row per sample in shard order: row (of the split), label, group (the schema's group feature, else the user's\n"
    "id), logit and probability (corrected for evaluate.negative_sampling_rate). Text files begin with a header line;\n"
    "an HDF5 file has one data set of each name.";

static facet_status run(int argc, char **argv) {
  arguments given = {.device = "cpu"};
  facet_scorer *scorer = NULL;
  facet_score_file *file = NULL;
  facet_metrics_result result;
  facet_status status = FACET_OK;
  FACET_TRY(facet_arguments_parse(table, argc, argv, &given));
  FACET_TRY(facet_scorer_open(given.checkpoint, given.sets.item, given.sets.n, given.device, given.split, &scorer));
  const facet_config *config = facet_scorer_config(scorer);
  const int64_t n = facet_evaluate_n_samples(facet_scorer_dataset(scorer), config);
  FACET_TRY_GOTO(status, done,
                 facet_score_file_create(given.output, n, config->evaluate.metrics.negative_sampling_rate, &file));
  FACET_TRY_GOTO(status, done, facet_scorer_run(scorer, facet_score_file_append, file, &result));
  FACET_TRY_GOTO(status, done, facet_score_file_finish(file));
  facet_log("wrote %lld scores of %s to %s", (long long)n, facet_scorer_checkpoint(scorer), given.output);
done:
  facet_score_file_destroy(&file);
  facet_scorer_close(&scorer);
  return status;
}

const facet_command facet_command_predict = {
    .name = "predict",
    .usage = "facet predict CHECKPOINT_OR_RUN --output FILE.h5|FILE.tsv|FILE.csv [--split NAME] [--set KEY=VALUE]…",
    .summary = "writes the scores of a split to a file",
    .help = help,
    .run = run,
    .arguments = table};
