/* Numeric derivatives for the harness. */
#ifndef TESTS_OPS_HARNESS_NUMERIC_H
#define TESTS_OPS_HARNESS_NUMERIC_H

#include <stdbool.h>

#include "facet/real.h"

/* One number that an objective depends on; x_copy is kept equal to x. */
typedef struct harness_variable {
  double (*objective)(void *context);
  void *context;
  facet_real *x, *x_copy;
  double step;
} harness_variable;

double harness_central_difference(const harness_variable *variable);

/* Does `analytic` agree with the central difference, or with the derivative from one side? At a kink of relu the
 * central difference is wrong, and the side without the kink is right. */
bool harness_derivative_agrees(const harness_variable *variable, double central, double analytic, double bound);

#endif
