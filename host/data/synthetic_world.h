/* The world of synthetic logs: items, users and the click probability (facet/synthesize.h). */
#ifndef FACET_SYNTHETIC_WORLD_H
#define FACET_SYNTHETIC_WORLD_H

#include "facet/rng.h"
#include "facet/status.h"
#include "facet/synthesize.h"

#define SYNTHETIC_MAX_INTERESTS 16
#define SYNTHETIC_HOURS 24
#define SYNTHETIC_POSITIONS 10

typedef struct synthetic_world {
  facet_synthesize_options options;
  int32_t *cluster_of;    /* [items] */
  int32_t *category_of;   /* [items] */
  float *quality_of;      /* [items], N(0, 1) */
  int64_t *cluster_first; /* [clusters + 1] into cluster_items */
  int32_t *cluster_items; /* [items] grouped by cluster */
  float *hour_effect;     /* [24 × categories], N(0, 1) */
  double **expected_match; /* [L + 1] → [n + 1]: E[match | k of n events are of the item's cluster], made when needed */
  double *prior_match, *prior_weight; /* [n_prior] draws of (match, share of the cluster in interest events) */
  double prior_mean;                  /* E[match] without history */
} synthetic_world;

typedef struct synthetic_user {
  int64_t id, n_interests, n_events;
  int32_t cluster[SYNTHETIC_MAX_INTERESTS];
  double weight[SYNTHETIC_MAX_INTERESTS]; /* sum 1 */
} synthetic_user;

typedef struct synthetic_event {
  int32_t item;
  int64_t time;
} synthetic_event;

typedef struct synthetic_impression {
  int64_t event; /* events before it */
  int64_t time;
  int32_t item, hour, position; /* position from 1 */
  float label;
} synthetic_impression;

facet_status synthetic_world_create(const facet_synthesize_options *options, synthetic_world **world);
void synthetic_world_destroy(synthetic_world **world);

/* User `id` (0 … users − 1), its events (n_events), and its impressions in order of time (options.impressions).
 * events has room for 1.5 × options.events + 1. */
void synthetic_user_draw(const synthetic_world *world, int64_t id, synthetic_user *user, synthetic_event *events,
                         synthetic_impression *impressions);

/* The logit of an impression given the match. */
double synthetic_logit(const synthetic_world *world, const synthetic_impression *impression, double match);
double synthetic_match(const synthetic_world *world, const synthetic_user *user, int32_t item);
/* E[match | n_same of n window events are of the item's cluster]. */
facet_status synthetic_expected_match(synthetic_world *world, int64_t n_same, int64_t n, double *match);

#endif
