#include "cpu/diffusion.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "ops/diffusion.h"

enum { LEVELS = 1000 };
static const facet_diffusion_options usual = {.levels = LEVELS, .beta_first = 1e-4, .beta_last = 0.02};

#define CLOSE(x, y)                                                                                                    \
  cr_assert(fabs((x) - (y)) <= 1e-12 * (1 + fabs(y)), "%.17g, expected %.17g", (double)(x), (double)(y))

Test(diffusion, by_hand) { /* β = 1/4, 1/2, 3/4 */
  const facet_diffusion_options options = {.levels = 3, .beta_first = 0.25, .beta_last = 0.75};
  double alpha_bar[3];
  facet_diffusion_step step[3];
  facet_diffusion_alpha_bar(&options, 3, alpha_bar);
  facet_diffusion_steps(&options, 3, step);
  CLOSE(alpha_bar[0], 3.0 / 4);
  CLOSE(alpha_bar[1], 3.0 / 8);
  CLOSE(alpha_bar[2], 3.0 / 32);
  cr_assert(step[0].c1 == 1 && step[0].c2 == 0 && step[0].v == 0);
  CLOSE(step[1].c1, 0.4 * sqrt(3)); /* ½ √(3/4) / (5/8) */
  CLOSE(step[1].c2, 0.4 * sqrt(0.5));
  CLOSE(step[1].v, 0.2);
  CLOSE(step[2].c1, 24.0 / 29 * sqrt(3.0 / 8));
  CLOSE(step[2].c2, 0.5 * 20 / 29);
  CLOSE(step[2].v, 15.0 / 29);
}

/* From x_t = √ᾱ_t x₀ with noise of variance 1 − ᾱ_t, a step with x̂₀ = x₀ makes the same of level t − 1. */
Test(diffusion, a_step_keeps_mean_and_variance) {
  double alpha_bar[LEVELS], before = 1;
  facet_diffusion_step step[LEVELS];
  facet_diffusion_alpha_bar(&usual, LEVELS, alpha_bar);
  facet_diffusion_steps(&usual, LEVELS, step);
  for (int t = 0; t < LEVELS; t++) {
    cr_assert_eq(step[t].alpha_bar, alpha_bar[t]);
    CLOSE(step[t].c1 + step[t].c2 * sqrt(alpha_bar[t]), sqrt(before));
    CLOSE(step[t].c2 * step[t].c2 * (1 - alpha_bar[t]) + step[t].v, 1 - before);
    before = alpha_bar[t];
  }
  cr_assert(fabs(alpha_bar[LEVELS - 1] - 4.0358e-5) < 1e-9, "last level %g", alpha_bar[LEVELS - 1]);
  cr_assert(step[0].c1 == 1 && step[0].c2 == 0 && step[0].v == 0);
}

Test(diffusion, one_level_has_the_first_beta) {
  const facet_diffusion_options options = {.levels = 1, .beta_first = 0.25, .beta_last = 0.5};
  double alpha_bar;
  facet_diffusion_alpha_bar(&options, 1, &alpha_bar);
  cr_assert_eq(alpha_bar, 0.75);
}

static void expect_refused(facet_diffusion_options options, const char *text) {
  facet_op_rule rule = {.node = "x"};
  cr_assert_eq(facet_diffusion_check(&rule, &options), FACET_ERROR_USAGE);
  cr_assert(strstr(facet_error_get()->message, text), "%s", facet_error_get()->message);
}

Test(diffusion, wrong_options) {
  facet_op_rule rule = {.node = "x"};
  cr_assert_eq(facet_diffusion_check(&rule, &usual), FACET_OK);
  expect_refused((facet_diffusion_options){0, 1e-4, 0.02}, "node \"x\": 0 diffusion levels, expected 1 to 100000");
  expect_refused((facet_diffusion_options){100001, 1e-4, 0.02}, "100001 diffusion levels");
  expect_refused((facet_diffusion_options){10, 0, 0.02}, "beta goes from 0 to 0.02");
  expect_refused((facet_diffusion_options){10, 0.02, 0.01}, "beta goes from 0.02 to 0.01");
  expect_refused((facet_diffusion_options){10, 0.02, 1}, "expected 0 < first <= last < 1");
  expect_refused((facet_diffusion_options){10, NAN, 0.5}, "beta goes from nan");
}
