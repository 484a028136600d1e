/* facet bench data: reading and assembling batches. */
#include "bench/bench.h"

facet_status facet_bench_data(int argc, char **argv, FILE *out) {
  (void)argc, (void)argv, (void)out;
  FACET_FAIL(FACET_ERROR_USAGE, "bench data is not built yet");
}

void facet_bench_data_help(FILE *out) {
  fprintf(out, "  not built yet\n");
}
