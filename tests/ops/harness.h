/* The tests of operators: a case says how the node is built and from what; the harness does the rest.
 *
 * harness_run checks: the shape rule; forward and backward write inside their buffers (guard zones), leave their inputs
 * alone and give the same bits again, with 1 and with 2 threads; expected outputs; analytic against numeric gradients of
 * every differentiable input, parameter and table; gradients are added to what is there; an input gradient that is not
 * wanted (NULL) changes no other; garbage in rows with valid = 0 changes nothing in valid rows.
 * An operator without backward is checked forward; its outputs must not want a gradient (no_gradient).
 * Buffers are filled with NaN before they are written. In double, gradients agree to 1e-7 of their size.
 *
 * A case may bring a reference: another computation of output 0 in double, which outputs must agree with, and which the
 * numeric gradients are taken of. */
#ifndef TESTS_OPS_HARNESS_H
#define TESTS_OPS_HARNESS_H

#include "facet/ops.h"

#define HARNESS_MAX_INPUTS 6
#define HARNESS_MAX_VALUES 32
#define HARNESS_MAX_OTHERS 2

typedef struct harness_input {
  const char *name; /* NULL: no more inputs */
  facet_shape shape;
  const double *values; /* real; NULL and no ids: normal random numbers; NaN and infinities: masked, no gradient */
  const int32_t *ids;   /* int32 */
  bool differentiable;
  bool keep; /* not filled with garbage where valid = 0: `valid` itself */
} harness_input;

typedef struct harness_value {
  const char *name; /* of a parameter, state or table that the builder made */
  const double *values;
} harness_value;

/* The numbers of a call's inputs, by name. */
typedef struct harness_inputs {
  int n;
  const char *name[FACET_OP_MAX_INPUTS];
  const double *value[FACET_OP_MAX_INPUTS];
} harness_inputs;
const double *harness_values(const harness_inputs *inputs, const char *name); /* NULL if there is none */

typedef struct harness_case {
  /* Builds the node under test from `in` (in the order of `input`), under the name "x". */
  facet_tensor *(*build)(facet_graph *graph, facet_tensor *const *in);
  int64_t batch;
  int64_t n_valid; /* rows with valid = 1, the first ones; 0: all; −1: none */
  bool evaluate;
  bool no_gradient; /* the operator has no backward: no output needs a gradient though an input does */
  bool surrogate;   /* the gradient is not that of the outputs: it is not compared with numeric ones */
  harness_input input[HARNESS_MAX_INPUTS];
  /* Default: random parameters and tables, states as the builder says. */
  harness_value value[HARNESS_MAX_VALUES];
  double scale;                                     /* of random parameters and tables; 0: 0.7 */
  const double *expected;                           /* of output 0; NULL: not checked */
  const double *expected_other[HARNESS_MAX_OTHERS]; /* of the outputs 1, 2, … */
  const double *expected_gradient;                  /* of input 0, for d_out = 1 everywhere; NULL: not checked */
  harness_value expected_state[HARNESS_MAX_VALUES]; /* after one forward */
  /* Computes output 0. In numeric gradients `now` has one number changed, and `before` has it as it was: a reference
   * computes from `before` what the operator takes as constant. NULL: none. */
  void (*reference)(const harness_inputs *now, const harness_inputs *before, double *output);
  int64_t stride; /* numeric gradients of every stride-th element; 0: of all */
} harness_case;

void harness_run(const harness_case *test);

/* Runs forward, and backward with random numbers (as d_out, 0 where an output needs no gradient; d_in begins with 0), and
 * gives the finished call to `check`. */
void harness_call(const harness_case *test, void (*check)(const facet_op_call *call, void *context), void *context);

/* The node must fail to build with FACET_ERROR_USAGE and a message that contains `text`. */
void harness_fails(const harness_case *test, const char *text);

/* FLOPs and bytes of the node. */
facet_cost harness_cost(const harness_case *test);

#endif
