/* The linear noise schedule. */
#include "cpu/diffusion.h"

#include <math.h>

static double beta(const facet_diffusion_options *options, int64_t t) {
  if (options->levels == 1) return options->beta_first;
  return options->beta_first + (options->beta_last - options->beta_first) * (double)t / (double)(options->levels - 1);
}

void facet_diffusion_alpha_bar(const facet_diffusion_options *options, int64_t n, double *alpha_bar) {
  double product = 1;
  for (int64_t t = 0; t < n; t++) alpha_bar[t] = product *= 1 - beta(options, t);
}

void facet_diffusion_steps(const facet_diffusion_options *options, int64_t n, facet_diffusion_step *step) {
  double before = 1; /* ᾱ_{t−1} */
  for (int64_t t = 0; t < n; t++) {
    double b = beta(options, t), now = before * (1 - b);
    step[t] = (facet_diffusion_step){.alpha_bar = now,
                                     .c1 = b * sqrt(before) / (1 - now),
                                     .c2 = sqrt(1 - b) * (1 - before) / (1 - now),
                                     .v = b * (1 - before) / (1 - now)};
    if (t == 0) step[t].c1 = 1; /* 1 − (1 − β) is not β in floating point */
    before = now;
  }
}
