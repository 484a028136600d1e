/* facet bench: how fast this machine trains, and how far from its limits. */
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "facet/command.h"

static facet_status run(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "data") == 0) return facet_bench_data(argc - 1, argv + 1, stdout);
  return facet_bench_train(argc, argv, stdout);
}

static void print_options(void) {
  facet_bench_train_help(stdout);
  printf("\nfacet bench data:\n");
  facet_bench_data_help(stdout);
}

const facet_command facet_command_bench = {
    .name = "bench",
    .usage =
        "facet bench CONFIG.yaml [--set KEY=VALUE]… [--steps N] [--timed-steps N] [--nodes] [--json]\n"
        "       facet bench data DATASET [--order sequential|shuffled] [--fields own|joined|all] [--length L] [--json]",
    .summary = "measures training: samples/s, time and share of the peak of every operator; or reading",
    .help = "Trains as `facet train` does, without run directory, evaluation and checkpoints. samples/s are of steps "
            "that run\nundisturbed; the times of operators are of other steps, in which every call is timed. The floor "
            "of an operator is\nthe larger of its FLOPs at the peak of a large matrix product and its bytes at the "
            "peak of a large copy, both\nmeasured by the same threads. `data` assembles batches of a data set instead, "
            "without a model.",
    .run = run,
    .print_options = print_options,
};
