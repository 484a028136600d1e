/* Execution of a graph: memory plan, forward, backward.
 *
 * The planner orders forward and then reverse steps, computes the lifetime of every activation, gradient and saved
 * buffer and packs them into one arena; its size is known, and reported, before anything is allocated. Nothing is
 * allocated during a step. With FACET_POISON=1 every buffer is filled with NaN when its lifetime begins. */
#ifndef FACET_EXECUTOR_H
#define FACET_EXECUTOR_H

#include <stdio.h>

#include "facet/backend.h"
#include "facet/graph.h"

typedef struct facet_executor facet_executor;

/* in bytes */
typedef struct facet_plan_report {
  size_t activations, gradients, saved; /* the sum of all, before packing */
  size_t arena;                         /* what packing needs for the three */
  size_t scratch;
  size_t parameters, parameter_gradients, states, tables;
} facet_plan_report;

/* Compiles the finished graph for a backend: reports every operator that the backend lacks by name, plans memory,
 * allocates, prepares calls. with_backward is false for evaluation. */
facet_status facet_executor_create(facet_graph *graph, facet_device *device, bool with_backward,
                                   facet_executor **executor);
void facet_executor_destroy(facet_executor **executor);

/* The layout that batches for this graph must have: owned by the executor. */
const facet_batch_layout *facet_executor_batch_layout(const facet_executor *executor);

facet_plan_report facet_executor_report(const facet_executor *executor);
/* The plan as text: one line per buffer with offset, bytes, first and last step; a total per part. */
facet_status facet_executor_print_plan(const facet_executor *executor, FILE *stream);

/* Runs the program on a batch. `run` must have step, micro_step, seed, epoch, training; the executor fills the rest
 * from the batch. Losses are readable afterwards. */
facet_status facet_executor_forward(facet_executor *executor, const facet_batch *batch, const facet_run *run);

/* Backward of the last forward: gradients of seed · Σ_k weight_k · loss_k are ADDED to the parameter gradients, and table
 * gradients are emitted and reduced (facet_table_reduce). */
facet_status facet_executor_backward(facet_executor *executor, double seed);

/* Results of the last forward. */
int facet_executor_n_losses(const facet_executor *executor);
const char *facet_executor_loss_name(const facet_executor *executor, int i);
double facet_executor_loss(const facet_executor *executor, int i); /* without its weight */
double facet_executor_total_loss(const facet_executor *executor);  /* Σ weight · loss */
int facet_executor_n_monitors(const facet_executor *executor);
const char *facet_executor_monitor_name(const facet_executor *executor, int i);
double facet_executor_monitor(const facet_executor *executor, int i);
/* Copies a named output ("logit") to host memory: `n` elements expected. */
facet_status facet_executor_output(const facet_executor *executor, const char *name, facet_real *out, int64_t n);

/* Runs forward again node by node and fails with FACET_ERROR_NONFINITE naming the first node (or input, or parameter) that has a NaN or
 * infinite value; OK if all are finite. */
facet_status facet_executor_find_nonfinite(facet_executor *executor);

/* Tests: memory of a graph input made by facet_graph_input, of any named activation (kept alive only if it is an output), and of input gradients. */
void *facet_executor_input(facet_executor *executor, const char *name);
facet_real *facet_executor_input_gradient(facet_executor *executor, const char *name);

/* Gradient check of a whole program on a batch: for each parameter and table, n_directions random directions are
 * compared: analytic g·u against (f(θ + h u) − f(θ − h u)) / 2h, differences summed in double. Prints a line per
 * parameter; fails with FACET_ERROR_NONFINITE… no: FACET_ERROR_INTERNAL naming the worst if a relative error exceeds `tolerance`. */
facet_status facet_executor_check_gradients(facet_executor *executor, const facet_batch *batch, const facet_run *run,
                                            int n_directions, double tolerance, FILE *stream);

#endif
