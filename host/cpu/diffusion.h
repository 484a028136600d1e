/* The linear noise schedule of a diffusion (Ho et al. 2020), in double: a cumulative product in float is wrong by
 * 1.7e-4 in the levels that sampling visits.
 *
 *   β_t = beta_first … beta_last in equal steps, t = 0 … T − 1,   ᾱ_t = Π_{s ≤ t} (1 − β_s),   ᾱ_{−1} = 1 */
#ifndef FACET_CPU_DIFFUSION_H
#define FACET_CPU_DIFFUSION_H

#include <stdint.h>

#include "facet/ops.h"

/* alpha_bar[t] = ᾱ_t of the first n levels. */
void facet_diffusion_alpha_bar(const facet_diffusion_options *options, int64_t n, double *alpha_bar);

/* One reverse step x_{t−1} = c1 x̂₀ + c2 x_t + √v z: the posterior of x_{t−1} given x_t and x̂₀.
 *   c1 = β_t √ᾱ_{t−1}/(1 − ᾱ_t),   c2 = √(1 − β_t) (1 − ᾱ_{t−1})/(1 − ᾱ_t),   v = β_t (1 − ᾱ_{t−1})/(1 − ᾱ_t)
 * Level 0 gives exactly c1 = 1, c2 = v = 0. */
typedef struct facet_diffusion_step {
  double alpha_bar, c1, c2, v;
} facet_diffusion_step;
void facet_diffusion_steps(const facet_diffusion_options *options, int64_t n, facet_diffusion_step *step);

#endif
