/* Activation functions on ranges. */
#include "cpu/activation.h"

#include <string.h>

#include "cpu/vector.h"

const char *const facet_activation_names[] = {"none", "relu", "sigmoid", "swish", "tanh", NULL};

enum { CHUNK = 256 }; /* elements whose sigmoids wait on the stack */

static int64_t chunk_length(int64_t n, int64_t i) {
  return n - i < CHUNK ? n - i : CHUNK;
}

void facet_activation_apply(facet_activation activation, int64_t n, const facet_real *z, facet_real *y) {
  const facet_vector *vector = facet_vector_get();
  facet_real s[CHUNK];
  switch (activation) {
  case FACET_ACTIVATION_NONE:
    if (y != z) memcpy(y, z, (size_t)n * sizeof *y);
    break;
  case FACET_ACTIVATION_RELU:
    for (int64_t i = 0; i < n; i++) y[i] = z[i] < 0 ? 0 : z[i]; /* NaN stays */
    break;
  case FACET_ACTIVATION_SIGMOID:
    vector->sigmoid(n, z, y);
    break;
  case FACET_ACTIVATION_SWISH:
    for (int64_t i = 0; i < n; i += CHUNK) {
      int64_t m = chunk_length(n, i);
      vector->sigmoid(m, z + i, s);
      for (int64_t j = 0; j < m; j++) y[i + j] = z[i + j] * s[j];
    }
    break;
  case FACET_ACTIVATION_TANH:
    vector->tanh(n, z, y);
    break;
  }
}

/* act'(z) for at most CHUNK elements. z and y may be NULL where the activation does not read them, which the analyzer
 * cannot follow. NOLINTBEGIN(clang-analyzer-core.NullDereference) */
static void slope(facet_activation activation, int64_t n, const facet_real *z, const facet_real *y, facet_real *s) {
  switch (activation) {
  case FACET_ACTIVATION_NONE:
    for (int64_t i = 0; i < n; i++) s[i] = 1;
    break;
  case FACET_ACTIVATION_RELU:
    for (int64_t i = 0; i < n; i++) s[i] = y[i] > 0;
    break;
  case FACET_ACTIVATION_SIGMOID:
    for (int64_t i = 0; i < n; i++) s[i] = y[i] * (1 - y[i]);
    break;
  case FACET_ACTIVATION_SWISH:
    facet_vector_get()->sigmoid(n, z, s);
    for (int64_t i = 0; i < n; i++) s[i] *= 1 + z[i] * (1 - s[i]);
    break;
  case FACET_ACTIVATION_TANH:
    for (int64_t i = 0; i < n; i++) s[i] = 1 - y[i] * y[i];
    break;
  }
}
/* NOLINTEND(clang-analyzer-core.NullDereference) */

void facet_activation_derive(facet_activation activation, int64_t n, const facet_real *z, const facet_real *y,
                             const facet_real *dy, bool add, facet_real *dz) {
  facet_real s[CHUNK];
  if (activation == FACET_ACTIVATION_RELU && !add) { /* the most frequent, and a matter of memory alone */
    for (int64_t i = 0; i < n; i++) dz[i] = (facet_real)(y[i] > 0) * dy[i];
    return;
  }
  for (int64_t i = 0; i < n; i += CHUNK) {
    int64_t m = chunk_length(n, i);
    slope(activation, m, z ? z + i : NULL, y ? y + i : NULL, s);
    if (add)
      for (int64_t j = 0; j < m; j++) dz[i + j] += s[j] * dy[i + j];
    else
      for (int64_t j = 0; j < m; j++) dz[i + j] = s[j] * dy[i + j];
  }
}

double facet_activation_flops(facet_activation activation) {
  static const double flops[] = {0, 1, 23, 24, 24};
  return flops[activation];
}
