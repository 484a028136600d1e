/* Traces: one training step as an HDF5 file, so that any other implementation, or another build of facet, can be
 * compared number by number.
 *
 *   attributes   facet_format = "trace", facet_version, program_version, model, config (the resolved YAML), seed, step,
 *                micro_step, epoch, batch_size (of the micro-batch), n_rows
 *   /inputs/<name>                    what the graph reads from the batch; row (int64) are the rows of the split
 *   /parameters/<name>, /states/<name>, /tables/<name>   as they are before the step
 *   /draws/<node>                     random numbers
 *   /activations/<node>[:k]           outputs of the other nodes
 *   /losses/<name>, /losses/total, /monitors/<name>      double
 *   /gradients/activations/<node>[:k], /gradients/parameters/<name>
 *   /gradients/tables/<name>/{slot,rows}                 the rows that the batch touches, ascending
 *
 * Gradients are those of the total loss, before clipping, decay and the optimizer. Every data set has an attribute
 * `index`, its place in the order of execution. The mask of a dropout node is the ratio of its output and input. */
#ifndef FACET_TRACE_H
#define FACET_TRACE_H

#include <stdint.h>
#include <stdio.h>

#include "facet/config.h"
#include "facet/status.h"

typedef struct facet_trace_request {
  const facet_config *config;
  const char *output;     /* file to write; must not exist */
  const char *checkpoint; /* parameters of this checkpoint or run; NULL: initial values */
  int64_t batch;          /* number of the micro-batch in the first epoch's order, from 0 */
  double perturb;         /* adds perturb · N(0, 1) to every parameter, state of the optimizer excepted; 0: none */
} facet_trace_request;

/* Runs forward and backward of one batch and writes the file, complete or not at all. */
facet_status facet_trace_write(const facet_trace_request *request);

typedef struct facet_trace_difference { /* of the data sets that both files have */
  int64_t n_compared, n_different;
  double
      largest; /* relative difference ‖a − b‖ / max(‖a‖, ‖b‖); +∞ where a shape or NaN differs, or a name is missing */
} facet_trace_difference;

/* Compares two traces and prints to `stream` the first (in the order of execution) and the largest difference that
 * exceeds `tolerance`, names that only one has, and a summary. */
facet_status facet_trace_compare(const char *a, const char *b, double tolerance, FILE *stream,
                                 facet_trace_difference *difference);

#endif
