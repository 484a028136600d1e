/* facet bench: measurements of this machine. Each kind is a file with its own arguments; host/cli/bench.c chooses. */
#ifndef FACET_BENCH_H
#define FACET_BENCH_H

#include <stdio.h>

#include "facet/status.h"

/* `facet bench CONFIG.yaml …`: training (train.c); argv[0] is not looked at, results go to `out`. */
facet_status facet_bench_train(int argc, char **argv, FILE *out);
void facet_bench_train_help(FILE *out);

/* `facet bench data …`: reading and assembling batches (data.c); argv[0] is "data". */
facet_status facet_bench_data(int argc, char **argv, FILE *out);
void facet_bench_data_help(FILE *out);

#endif
