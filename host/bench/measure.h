/* The measurements of `facet bench CONFIG.yaml`: peaks.c, steps.c; report.c prints them. */
#ifndef FACET_BENCH_MEASURE_H
#define FACET_BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "facet/config.h"
#include "facet/executor.h"
#include "facet/memory.h"
#include "facet/status.h"

typedef struct facet_bench_peaks { /* per second, by all threads of the run */
  double flops;                    /* of a large matrix product */
  double bytes;                    /* read and written by a large copy */
} facet_bench_peaks;

/* Raises the peaks to what is measured now: to be called several times, as other programs may disturb one of them. */
facet_status facet_bench_measure_peaks(facet_bench_peaks *peaks);

/* What a step does beside the calls of its nodes. */
typedef enum facet_bench_part {
  FACET_BENCH_WAIT,   /* for the next batch */
  FACET_BENCH_ZERO,   /* filling gradient buffers with zeros */
  FACET_BENCH_REDUCE, /* sparse gradients: sort, sum per row */
  FACET_BENCH_NORM,   /* of dense and sparse gradients */
  FACET_BENCH_DENSE,  /* optimizer */
  FACET_BENCH_SPARSE, /* optimizer, touched rows */
  FACET_BENCH_CLEAR,  /* zeroing the gradients of parameters */
  FACET_BENCH_REST,   /* of the step's time */
  FACET_BENCH_N_PARTS
} facet_bench_part;
extern const char *const facet_bench_part_names[FACET_BENCH_N_PARTS];

/* A node, or all nodes of an operator. Seconds, FLOPs and bytes of one step; backward where there is one. */
typedef struct facet_bench_row {
  const char *name, *op; /* op: of a node; NULL for an operator */
  int64_t n_nodes;
  double forward_seconds, backward_seconds;
  double flops, bytes;
} facet_bench_row;

typedef struct facet_bench_options {
  int64_t steps;       /* undisturbed, in n_windows windows */
  int64_t warmup;      /* steps before them, at least 1 */
  int64_t timed_steps; /* after them */
} facet_bench_options;

enum { FACET_BENCH_WINDOWS = 5 };

typedef struct facet_bench_result {
  facet_arena *arena; /* names of nodes */
  char device[128];
  int n_threads;
  int64_t batch_size;
  facet_bench_peaks peaks;
  facet_plan_report plan;
  size_t optimizer_bytes, table_bytes;
  double peak_rss_bytes;  /* of the process after the undisturbed steps */
  double startup_seconds; /* from the start of the process to the end of the first step */
  /* undisturbed steps */
  int n_windows;
  int64_t window_steps;
  double window_rate[FACET_BENCH_WINDOWS]; /* samples/s, ascending */
  double step_seconds;                     /* of the median window */
  /* timed steps: means over the faster half of them */
  int64_t n_timed_steps;
  double timed_step_seconds;
  double part_seconds[FACET_BENCH_N_PARTS];
  double dense_bytes, sparse_bytes; /* that the optimizers read and write */
  int64_t n_nodes, n_ops;
  facet_bench_row *node, *op; /* op: by decreasing time */
  double assemble_seconds;    /* one batch, by one thread that does nothing else */
} facet_bench_result;

/* Trains on the configuration. The result is destroyed in any case. */
facet_status facet_bench_measure(const facet_config *config, const char *device, const facet_bench_options *options,
                                 facet_bench_result *result);
void facet_bench_result_destroy(facet_bench_result *result);

void facet_bench_print(const facet_bench_result *result, const facet_config *config, bool nodes, FILE *out);
facet_status facet_bench_print_json(const facet_bench_result *result, const facet_config *config, FILE *out);

/* Seconds that a row or part needs at the peaks. */
double facet_bench_floor(const facet_bench_peaks *peaks, double flops, double bytes);

#endif
