/* Learning-rate schedules: one factor for both learning rates. */
#include <math.h>

#include "facet/optimizer.h"

/* r + (1 − r) · ½ (1 + cos π p), p = progress from 0 to 1. */
static double cosine(double progress, double floor) {
  const double pi = 3.14159265358979323846;
  return floor + (1 - floor) * 0.5 * (1 + cos(pi * fmin(fmax(progress, 0), 1)));
}

double facet_schedule_factor(const facet_optimizer_options *options, int64_t step, int64_t total_steps,
                             const facet_plateau *plateau) {
  const double warmup = (double)options->warmup_steps, since = (double)step - warmup;
  if (step < options->warmup_steps) return (double)(step + 1) / warmup;
  const double floor = options->learning_rate > 0 ? fmin(options->min_learning_rate / options->learning_rate, 1) : 0;
  switch ((facet_schedule_kind)options->schedule) {
  case FACET_SCHEDULE_CONSTANT:
    break;
  case FACET_SCHEDULE_COSINE: {
    double length = options->decay_steps > 0 ? (double)options->decay_steps : (double)total_steps - warmup;
    return length > 0 ? cosine(since / length, floor) : 1;
  }
  case FACET_SCHEDULE_EXPONENTIAL:
    return fmax(pow(options->decay_rate, since / (double)options->decay_steps), floor);
  case FACET_SCHEDULE_PLATEAU:
    return fmax(plateau->factor, floor);
  }
  return 1;
}

void facet_plateau_report(const facet_optimizer_options *options, bool improved, facet_plateau *plateau) {
  if (options->schedule != FACET_SCHEDULE_PLATEAU) return;
  plateau->n_waiting = improved ? 0 : plateau->n_waiting + 1;
  if (improved || plateau->n_waiting < options->plateau_patience) return;
  plateau->factor *= options->decay_rate;
  plateau->n_waiting = 0;
}
