/* Learning-rate schedules at points known by hand. */
#include <criterion/criterion.h>
#include <math.h>

#include "facet/optimizer.h"

static const facet_plateau none = {1, 0};

static double at(const facet_optimizer_options *options, int64_t step) {
  return facet_schedule_factor(options, step, 110, &none);
}

Test(schedule, warmup_is_linear_then_constant) {
  const facet_optimizer_options options = {.learning_rate = 0.1, .warmup_steps = 10};
  cr_assert_float_eq(at(&options, 0), 0.1, 1e-12, "the first update has 1/10");
  cr_assert_float_eq(at(&options, 4), 0.5, 1e-12);
  cr_assert_float_eq(at(&options, 9), 1, 1e-12);
  cr_assert_float_eq(at(&options, 1000), 1, 1e-12);
}

Test(schedule, cosine_ends_at_the_minimum) {
  facet_optimizer_options options = {
      .learning_rate = 0.1, .warmup_steps = 10, .schedule = FACET_SCHEDULE_COSINE, .min_learning_rate = 0.02};
  cr_assert_float_eq(at(&options, 10), 1, 1e-12);
  cr_assert_float_eq(at(&options, 60), 0.6, 1e-12, "half way between 1 and 0.2");
  cr_assert_float_eq(at(&options, 110), 0.2, 1e-12);
  cr_assert_float_eq(at(&options, 500), 0.2, 1e-12);
  options.decay_steps = 20;
  cr_assert_float_eq(at(&options, 20), 0.6, 1e-12, "its own length");
  cr_assert_float_eq(at(&options, 30), 0.2, 1e-12);
}

Test(schedule, exponential) {
  facet_optimizer_options options = {
      .learning_rate = 0.1, .schedule = FACET_SCHEDULE_EXPONENTIAL, .decay_steps = 10, .decay_rate = 0.5};
  cr_assert_float_eq(at(&options, 0), 1, 1e-12);
  cr_assert_float_eq(at(&options, 10), 0.5, 1e-12);
  cr_assert_float_eq(at(&options, 30), 0.125, 1e-12);
  cr_assert_float_eq(at(&options, 5), sqrt(0.5), 1e-12);
  options.min_learning_rate = 0.04;
  cr_assert_float_eq(at(&options, 30), 0.4, 1e-12);
}

Test(schedule, plateau) {
  const facet_optimizer_options options = {
      .learning_rate = 0.1, .schedule = FACET_SCHEDULE_PLATEAU, .decay_rate = 0.1, .plateau_patience = 2};
  facet_plateau plateau = {1, 0};
  facet_plateau_report(&options, true, &plateau);
  facet_plateau_report(&options, false, &plateau);
  cr_assert_eq(plateau.factor, 1, "one evaluation without improvement is within the patience");
  facet_plateau_report(&options, false, &plateau);
  cr_assert_float_eq(plateau.factor, 0.1, 1e-12);
  cr_assert_eq(plateau.n_waiting, 0);
  facet_plateau_report(&options, false, &plateau);
  facet_plateau_report(&options, true, &plateau);
  facet_plateau_report(&options, false, &plateau);
  cr_assert_float_eq(facet_schedule_factor(&options, 5, 10, &plateau), 0.1, 1e-12,
                     "an improvement starts the count anew");
}

Test(schedule, plateau_report_leaves_others_alone) {
  const facet_optimizer_options options = {.learning_rate = 0.1, .decay_rate = 0.1, .plateau_patience = 1};
  facet_plateau plateau = {1, 0};
  facet_plateau_report(&options, false, &plateau);
  cr_assert_eq(plateau.factor, 1);
  cr_assert_eq(plateau.n_waiting, 0);
}
