/* The activation functions on ranges: used by the operators activation and linear. */
#ifndef FACET_CPU_ACTIVATION_H
#define FACET_CPU_ACTIVATION_H

#include "facet/ops.h"

/* y = act(z), elementwise over n; y may be z. */
void facet_activation_apply(facet_activation activation, int64_t n, const facet_real *z, facet_real *y);

/* dz = act'(z) dy, elementwise over n. Swish reads z, the others y = act(z); the array that is not read may be NULL.
 * With add, dz += instead. */
void facet_activation_derive(facet_activation activation, int64_t n, const facet_real *z, const facet_real *y,
                             const facet_real *dy, bool add, facet_real *dz);

/* FLOPs per element, an exponential counted as 20. */
double facet_activation_flops(facet_activation activation);

#endif
