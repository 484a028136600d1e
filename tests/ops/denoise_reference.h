/* The denoiser as its page has it: one (sample, channel) at a time, every attention with its own keys, nothing saved.
 * In double, from numbers by name (harness_inputs). */
#ifndef TESTS_OPS_DENOISE_REFERENCE_H
#define TESTS_OPS_DENOISE_REFERENCE_H

#include "harness.h"

typedef struct reference_denoiser {
  int64_t c, d;
  facet_denoiser_options options;
  const char *name;           /* of the denoiser's parameters */
  const harness_inputs *from; /* where the parameters are read */
} reference_denoiser;

/* f(x, {r_j}_{j≠i}, o_i, t): x, f [d], r [c, d]. */
void reference_denoise(const reference_denoiser *m, int64_t i, double t, const double *x, const double *r,
                       const double *o_i, double *f);

/* The reverse chain of one sample and channel: x [d] at level steps − 1 becomes r*; z [steps − 1][c, d] or NULL. Stops
 * before level `last`, so that last = 0 runs to the end. */
typedef struct reference_chain {
  facet_diffusion_options diffusion;
  facet_diffusion_parameter parameter;
  int64_t steps;
} reference_chain;
void reference_reverse(const reference_denoiser *m, const reference_chain *chain, int64_t from, int64_t last, int64_t i,
                       const double *z, const double *r, const double *o_i, double *x);

#endif
