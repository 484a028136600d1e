/* Optimizers: dense parameters by sweeps over the arena, embedding tables row by row; learning-rate schedules. */
#ifndef FACET_OPTIMIZER_H
#define FACET_OPTIMIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/config.h"
#include "facet/graph.h"
#include "facet/status.h"

typedef struct facet_optimizer facet_optimizer;

/* Allocates the dense state (arenas as large as the parameters) and adds row state to the tables. The options and
 * parameters must outlive the optimizer. */
facet_status facet_optimizer_create(const facet_optimizer_options *options, facet_parameters *parameters,
                                    facet_optimizer **optimizer);
void facet_optimizer_destroy(facet_optimizer **optimizer);

typedef struct facet_update {
  int64_t step;         /* updates done before this one; Adam's bias correction uses step + 1 */
  double learning_rate; /* dense, after the schedule */
  double sparse_learning_rate;
  double gradient_scale; /* the accumulated gradients are multiplied by this first: 1 / Σ w of the update */
} facet_update;

/* One update from the accumulated gradients: scale, add ℓ2 (dense, and the touched rows), global norm over dense and
 * sparse gradients (*gradient_norm, before clipping), clip, update, and clear the gradients. A non-finite norm fails
 * with FACET_ERROR_NONFINITE naming the parameter, and changes nothing. */
facet_status facet_optimizer_update(facet_optimizer *optimizer, const facet_update *update, double *gradient_norm);

/* Seconds of the parts of all updates so far, and elements of the table rows that they touched. */
typedef struct facet_optimizer_times {
  double norm, dense, sparse, clear;
  double sparse_elements;
} facet_optimizer_times;
facet_optimizer_times facet_optimizer_get_times(const facet_optimizer *optimizer);

/* Dense state arenas for checkpoints: each has facet_parameters_n_elements elements, laid out like the parameters. */
int facet_optimizer_n_states(const facet_optimizer *optimizer);
/* "momentum", "m", "v", "accumulator" */
const char *facet_optimizer_state_name(const facet_optimizer *optimizer, int i);
facet_real *facet_optimizer_state(facet_optimizer *optimizer, int i);
size_t facet_optimizer_bytes(const facet_optimizer *optimizer);

/* ---- schedule ------------------------------------------------------------------------------------------------- */

/* The factor on both learning rates: linear warm-up, then constant, cosine to min_learning_rate/learning_rate, or
 * exponential decay_rate^(steps/decay_steps); times the plateau's factor. Computed in double from the step alone,
 * except for the plateau, whose state is in facet_plateau. */
typedef struct facet_plateau {
  double factor;     /* product of the reductions so far; starts at 1 */
  int64_t n_waiting; /* evaluations since the last improvement or reduction */
} facet_plateau;

double facet_schedule_factor(const facet_optimizer_options *options, int64_t step, int64_t total_steps,
                             const facet_plateau *plateau);
/* Tells the plateau schedule of an evaluation. */
void facet_plateau_report(const facet_optimizer_options *options, bool improved, facet_plateau *plateau);

#endif
