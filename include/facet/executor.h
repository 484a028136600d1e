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

/* Reserves the gradient buffers of all tables of the graph (facet_table_reserve) for `accumulate` micro-batches per
 * update; once, before the first backward. */
facet_status facet_executor_reserve_tables(facet_executor *executor, int64_t accumulate);

/* The layout that batches for this graph must have: owned by the executor; NULL where the graph has no schema. */
const facet_batch_layout *facet_executor_batch_layout(const facet_executor *executor);

facet_plan_report facet_executor_report(const facet_executor *executor);

/* Runs the program on a batch, whose buffers are read in place: they must live until backward is done. `run` must have
 * step, micro_step, seed, epoch, training and first_position (0 on one rank); the executor fills the rest from the
 * batch. Losses are readable afterwards. The batch may be NULL where the graph has only inputs of facet_graph_input. */
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

/* Runs the last forward again node by node (operator states are put back) and fails with FACET_ERROR_NONFINITE naming
 * the first input, parameter, table or node that has a NaN or infinite value, with its position; OK if all are finite. */
facet_status facet_executor_find_nonfinite(facet_executor *executor);

/* ---- traces: every tensor of one step --------------------------------------------------------------------------- */

/* As facet_executor_create with backward, but no memory is used twice: after backward every activation and gradient can
 * be read. */
facet_status facet_executor_create_traced(facet_graph *graph, facet_device *device, facet_executor **executor);

/* The batch's inputs, then the outputs of all nodes in the order of execution. */
typedef struct facet_traced_tensor {
  const char *name;
  facet_dtype dtype;
  facet_shape shape;
  bool is_input;
  bool is_random;             /* output of an operator without inputs: a random draw */
  const void *value;          /* in the memory of the device */
  const facet_real *gradient; /* of the same; NULL where the step needs none */
} facet_traced_tensor;
int64_t facet_executor_n_traced(const facet_executor *executor);
facet_traced_tensor facet_executor_traced(const facet_executor *executor, int64_t i);

/* ---- tests ------------------------------------------------------------------------------------------------------ */

/* Tests: memory of a graph input made by facet_graph_input or of a named activation (kept alive only if it is an output,
 * loss or monitor), and the gradient of such an input after backward; NULL if there is none. */
void *facet_executor_input(facet_executor *executor, const char *name);
facet_real *facet_executor_input_gradient(facet_executor *executor, const char *name);

#ifdef FACET_DOUBLE
#define FACET_CHECK_TOLERANCE 1e-6
#else
#define FACET_CHECK_TOLERANCE 2e-2
#endif

/* Gradient check of a whole program on a batch, f = Σ weight · loss. For each parameter, and for the rows of each table
 * that the batch touches, n_directions random directions u (normal elements) are compared: the analytic a = g·u against
 * the central difference n = (f(θ + h u) − f(θ − h u)) / 2h, with h in proportion to the norm of θ. The relative error
 * is |a − n| / max(|a|, |n|); where it exceeds the tolerance, smaller steps are tried, because a kink of f (ReLU) may
 * lie within the step. A difference that is no more than the rounding of f explains passes and is marked "rounding". Every
 * run has the same random counters, so dropout is fixed; operator states are put back; accumulated gradients are cleared.
 * Prints a line per parameter; fails with FACET_ERROR_INTERNAL naming the worst one if an error exceeds `tolerance`. */
facet_status facet_executor_check_gradients(facet_executor *executor, const facet_batch *batch, const facet_run *run,
                                            int n_directions, double tolerance, FILE *stream);

#endif
