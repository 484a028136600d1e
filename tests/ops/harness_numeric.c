#include "harness_numeric.h"

#include <math.h>

/* The objective where x is what it is now plus `step`, as near as facet_real can hold; *h receives the step. */
static double objective_beside(const harness_variable *v, double step, double *h) {
  facet_real keep = *v->x;
  volatile facet_real moved = (facet_real)((double)keep + step);
  *v->x = *v->x_copy = moved;
  double value = v->objective(v->context);
  *v->x = *v->x_copy = keep;
  *h = (double)moved - (double)keep;
  return value;
}

double harness_central_difference(const harness_variable *v) {
  double up, down, above = objective_beside(v, v->step, &up), below = objective_beside(v, -v->step, &down);
  return (above - below) / (up - down);
}

/* From one side, to second order. */
static double one_sided_difference(const harness_variable *v, double step) {
  double none, h1, h2, f0 = objective_beside(v, 0, &none), f1 = objective_beside(v, step, &h1) - f0;
  double f2 = objective_beside(v, 2 * step, &h2) - f0;
  return (f1 / h1 * h2 - f2 / h2 * h1) / (h2 - h1);
}

bool harness_derivative_agrees(const harness_variable *v, double central, double analytic, double bound) {
  return fabs(analytic - central) <= bound || fabs(analytic - one_sided_difference(v, v->step)) <= bound ||
         fabs(analytic - one_sided_difference(v, -v->step)) <= bound;
}
