/* Sums over the behaviours that route_behaviours selects. Compiled for three instruction sets like cpu/vector.h, which
 * chooses: facet_vector_get()->route. Serial; every sum is in the order of the selected. */
#ifndef FACET_CPU_ROUTE_H
#define FACET_CPU_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/real.h"

/* n selected rows of x [.., width], ascending, and the channel that each one goes to. */
typedef struct facet_route_rows {
  int64_t n, width;
  const int32_t *index, *channel; /* [n] */
  const facet_real *x;
} facet_route_rows;

/* Backward of one sample. Parts that are NULL are not wanted. */
typedef struct facet_route_back {
  const facet_real *along, *across; /* [n] factors */
  const facet_real *g, *o;          /* [channels, width] */
  int64_t slots;                    /* rows of dx */
  bool store;                       /* dx = … instead of dx += …; rows that are not selected become 0 */
  facet_real *dx, *d_o;             /* [slots, width], [channels, width] */
} facet_route_back;

typedef struct facet_route {
  /* out[channel[i], :] += factor[i] · x[index[i], :]. */
  void (*sum)(const facet_route_rows *rows, const facet_real *factor, facet_real *out);
  /* With t = index[i], j = channel[i], s = along[i] · (g_j · x_t): dx_t += across[i] g_j + s o_j, d_o_j += s x_t. */
  void (*back)(const facet_route_rows *rows, const facet_route_back *back);
} facet_route;

#endif
