/* Synthetic logs with a known click probability.
 *
 * Every item belongs to a latent cluster and has a quality; its category tells the cluster group, with some noise.
 * Every user has several interests: distinct clusters with weights w_k, Σ w_k = 1. An event of the history is an item
 * of an interest (chosen by w) or, with probability `noise`, of any cluster. An impression shows an item of one of the
 * user's interests or of any cluster, at an hour and a position, and is clicked with probability σ(logit),
 *
 *   logit = bias + interest · match + quality · q_item + hour · h(hour, category) + position · (−ln(position))
 *   match = m · w_k if the item's cluster is interest k of the user's m, else 0
 *
 * so the history matters only through the shown item's cluster. truth.json keeps three AUCs of the test split: of the true
 * probability (`best`), of an oracle that knows clusters and effects but the user only through the history window
 * (`target_aware`: E[match | events of the item's cluster in the window]), and of the same without history
 * (`without_history`). */
#ifndef FACET_SYNTHESIZE_H
#define FACET_SYNTHESIZE_H

#include <stdint.h>

#include "facet/options.h"
#include "facet/status.h"

typedef struct facet_synthesize_options {
  int64_t seed;
  int64_t users, items, clusters, categories;
  int64_t events;      /* history events per user, on average; a user has between half and 1.5 times as many */
  int64_t impressions; /* per user; the last tenth is test, the tenth before it is validation, at least one each */
  int64_t interests_min, interests_max; /* per user */
  int64_t max_length;                   /* longest history window */
  int64_t embedding_width;
  double noise;                                   /* share of events from any cluster */
  double interest_share;                          /* share of impressions drawn from the user's interests */
  double bias, interest, quality, hour, position; /* effects in the logit */
  int64_t event_fields; /* id fields of an event besides the item, stored with it: functions of the item */
  int64_t item_fields;  /* the same, stored once per item and joined */
  int64_t part_samples; /* a part is closed at the end of the user that reaches it */
  bool compress;
} facet_synthesize_options;

extern const facet_option_section facet_synthesize_section; /* "synthesize" */

/* Writes the data set directory (schema.yaml, tables.h5, vocab/, train/, valid/, test/, truth.json). The directory must
 * be absent or empty: FACET_ERROR_USAGE otherwise. It appears complete under its name, or not at all. Same options,
 * same bytes. */
facet_status facet_synthesize(const facet_synthesize_options *options, const char *directory);

#endif
