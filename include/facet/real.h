/* The floating-point type of features, activations, parameters and gradients.
 *
 * float in the product. The library is compiled a second time with FACET_DOUBLE for the gradient checks: the same
 * operator source then runs in double precision, so that analytic gradients and central differences agree to 1e-7
 * and a formula that is wrong by one per cent cannot hide in rounding. Write facet_real for every tensor element,
 * and <tgmath.h> functions on it. */
#ifndef FACET_REAL_H
#define FACET_REAL_H

#ifdef FACET_DOUBLE
typedef double facet_real;
#define FACET_REAL_EPSILON 2.220446049250313e-16
#else
typedef float facet_real;
#define FACET_REAL_EPSILON 1.1920929e-7
#endif

#endif
