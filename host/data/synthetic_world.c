/* Items, users, histories and impressions of the synthetic logs. Every draw is a function of (seed, purpose, owner,
 * number of the draw), so a user does not depend on the others. */
#include "data/synthetic_world.h"

#include <math.h>

#include "facet/memory.h"

#define N_PRIOR 2048
#define START_TIME 1700000000 /* seconds since 1970 */
#define MEAN_GAP 7200.0       /* seconds between events of a user */

/* A stream of numbers that belongs to one owner (an item, a user). */
typedef struct stream {
  facet_rng_key key;
  uint64_t owner;
  uint32_t n_blocks, n_left;
  uint32_t word[4];
} stream;

static stream stream_make(const synthetic_world *world, const char *purpose, int64_t owner) {
  return (stream){.key = facet_rng_key_make((uint64_t)world->options.seed, purpose), .owner = (uint64_t)owner};
}

static uint32_t stream_word(stream *s) {
  if (s->n_left == 0) {
    facet_rng_block(s->key, facet_rng_counter_row(s->owner, s->n_blocks++), s->word);
    s->n_left = 4;
  }
  return s->word[--s->n_left];
}

static double stream_uniform(stream *s) {
  return (double)facet_rng_uniform(stream_word(s));
}

static int64_t stream_below(stream *s, int64_t n) {
  const uint64_t high = stream_word(s), low = stream_word(s);
  return (int64_t)facet_rng_below(high << 32 | low, (uint64_t)n);
}

static double stream_normal(stream *s) {
  uint32_t word[4];
  float four[4];
  for (int i = 0; i < 4; i++) word[i] = stream_word(s);
  facet_rng_normals(word, four);
  return (double)four[0];
}

/* ---- items ----------------------------------------------------------------------------------------------------- */

static void draw_items(synthetic_world *world) {
  const facet_synthesize_options *o = &world->options;
  for (int64_t i = 0; i < o->items; i++) {
    stream s = stream_make(world, "item", i);
    /* the first items go to the clusters in turn, so that no cluster is empty */
    const int64_t cluster = i < o->clusters ? i : stream_below(&s, o->clusters);
    const bool is_noisy = stream_uniform(&s) < 0.1;
    const int64_t any = stream_below(&s, o->categories);
    world->cluster_of[i] = (int32_t)cluster;
    world->category_of[i] = (int32_t)(is_noisy ? any : cluster * o->categories / o->clusters);
    world->quality_of[i] = (float)stream_normal(&s);
    world->cluster_first[cluster + 1]++;
  }
  for (int64_t c = 0; c < o->clusters; c++) world->cluster_first[c + 1] += world->cluster_first[c];
  for (int64_t i = o->items - 1; i >= 0; i--) { /* from the end: cluster_first[c + 1] walks down to the start of c */
    const int32_t c = world->cluster_of[i];
    world->cluster_items[--world->cluster_first[c + 1]] = (int32_t)i;
  }
  for (int64_t c = 0; c < o->clusters; c++) world->cluster_first[c] = world->cluster_first[c + 1];
  world->cluster_first[o->clusters] = o->items;
  stream s = stream_make(world, "hour effect", 0);
  for (int64_t i = 0; i < SYNTHETIC_HOURS * o->categories; i++) world->hour_effect[i] = (float)stream_normal(&s);
}

/* An item of a cluster; squaring the uniform makes early items popular. */
static int32_t draw_item(const synthetic_world *world, stream *s, int64_t cluster) {
  const double u = stream_uniform(s);
  const int64_t first = world->cluster_first[cluster], n = world->cluster_first[cluster + 1] - first;
  return world->cluster_items[first + (int64_t)(u * u * (double)n)];
}

/* ---- users ----------------------------------------------------------------------------------------------------- */

static void draw_interests(const synthetic_world *world, stream *s, synthetic_user *user) {
  const facet_synthesize_options *o = &world->options;
  double sum = 0;
  user->n_interests = o->interests_min + stream_below(s, o->interests_max - o->interests_min + 1);
  for (int64_t k = 0; k < user->n_interests; k++) {
    bool taken = true;
    while (taken) {
      user->cluster[k] = (int32_t)stream_below(s, o->clusters);
      taken = false;
      for (int64_t j = 0; j < k; j++) taken |= user->cluster[j] == user->cluster[k];
    }
    user->weight[k] = exp(0.5 * stream_normal(s));
    sum += user->weight[k];
  }
  for (int64_t k = 0; k < user->n_interests; k++) user->weight[k] /= sum;
}

static int32_t draw_interest_cluster(const synthetic_user *user, stream *s) {
  double u = stream_uniform(s);
  for (int64_t k = 0; k + 1 < user->n_interests; k++) {
    if (u < user->weight[k]) return user->cluster[k];
    u -= user->weight[k];
  }
  return user->cluster[user->n_interests - 1];
}

static void draw_events(const synthetic_world *world, synthetic_user *user, synthetic_event *events) {
  const facet_synthesize_options *o = &world->options;
  stream s = stream_make(world, "events", user->id);
  user->n_events = o->events / 2 + stream_below(&s, o->events + 1);
  int64_t time = START_TIME + stream_below(&s, 86400);
  for (int64_t t = 0; t < user->n_events; t++) {
    const bool is_noise = stream_uniform(&s) < o->noise;
    const int64_t cluster = is_noise ? stream_below(&s, o->clusters) : draw_interest_cluster(user, &s);
    time += 1 + (int64_t)(-MEAN_GAP * log(stream_uniform(&s)));
    events[t] = (synthetic_event){.item = draw_item(world, &s, cluster), .time = time};
  }
}

/* Impressions lie evenly over the second half of the history, each shortly after an event. */
static void draw_impressions(const synthetic_world *world, const synthetic_user *user, const synthetic_event *events,
                             synthetic_impression *impressions) {
  const facet_synthesize_options *o = &world->options;
  stream s = stream_make(world, "impressions", user->id);
  const int64_t half = user->n_events / 2;
  for (int64_t i = 0; i < o->impressions; i++) {
    synthetic_impression *shown = &impressions[i];
    shown->event = half + (i + 1) * (user->n_events - half) / o->impressions;
    shown->time = (shown->event > 0 ? events[shown->event - 1].time : START_TIME) + 1;
    if (i > 0 && shown->time <= impressions[i - 1].time) shown->time = impressions[i - 1].time + 1;
    while (shown->event < user->n_events && events[shown->event].time < shown->time) shown->event++;
    const bool is_interest = stream_uniform(&s) < o->interest_share;
    const int64_t k = stream_below(&s, user->n_interests), any = stream_below(&s, o->clusters);
    shown->item = draw_item(world, &s, is_interest ? user->cluster[k] : any);
    shown->hour = (int32_t)(shown->time / 3600 % SYNTHETIC_HOURS);
    shown->position = 1 + (int32_t)stream_below(&s, SYNTHETIC_POSITIONS);
    const double logit = synthetic_logit(world, shown, synthetic_match(world, user, shown->item));
    shown->label = stream_uniform(&s) < 1 / (1 + exp(-logit)) ? 1 : 0;
  }
}

void synthetic_user_draw(const synthetic_world *world, int64_t id, synthetic_user *user, synthetic_event *events,
                         synthetic_impression *impressions) {
  stream s = stream_make(world, "user", id);
  *user = (synthetic_user){.id = id};
  draw_interests(world, &s, user);
  draw_events(world, user, events);
  draw_impressions(world, user, events, impressions);
}

/* ---- click probability ------------------------------------------------------------------------------------------ */

double synthetic_match(const synthetic_world *world, const synthetic_user *user, int32_t item) {
  for (int64_t k = 0; k < user->n_interests; k++)
    if (user->cluster[k] == world->cluster_of[item]) return (double)user->n_interests * user->weight[k];
  return 0;
}

double synthetic_logit(const synthetic_world *world, const synthetic_impression *impression, double match) {
  const facet_synthesize_options *o = &world->options;
  const int32_t category = world->category_of[impression->item];
  return o->bias + o->interest * match + o->quality * (double)world->quality_of[impression->item] +
         o->hour * (double)world->hour_effect[impression->hour * o->categories + category] -
         o->position * log(impression->position);
}

/* Draws of (match, weight of the cluster) for a shown item, as draw_impressions makes them. */
static void draw_prior(synthetic_world *world) {
  const facet_synthesize_options *o = &world->options;
  for (int64_t i = 0; i < N_PRIOR; i++) {
    stream s = stream_make(world, "prior", i);
    synthetic_user user = {.id = i};
    draw_interests(world, &s, &user);
    const double u = stream_uniform(&s), v = stream_uniform(&s);
    const int64_t k = stream_below(&s, user.n_interests);
    const bool is_interest = u < o->interest_share || v < (double)user.n_interests / (double)o->clusters;
    world->prior_match[i] = is_interest ? (double)user.n_interests * user.weight[k] : 0;
    world->prior_weight[i] = is_interest ? user.weight[k] : 0;
    world->prior_mean += world->prior_match[i] / N_PRIOR;
  }
}

/* E[match | k of n] = Σ match · Binomial(k; n, p) / Σ Binomial(k; n, p) over the prior's draws, with
 * p = noise / clusters + (1 − noise) · weight. */
static double posterior_match(const synthetic_world *world, double n_same, double n_other) {
  const facet_synthesize_options *o = &world->options;
  double log_likelihood[N_PRIOR], highest = -INFINITY, sum = 0, total = 0;
  for (int64_t i = 0; i < N_PRIOR; i++) {
    const double p = o->noise / (double)o->clusters + (1 - o->noise) * world->prior_weight[i];
    log_likelihood[i] = (n_same > 0 ? n_same * log(p) : 0) + (n_other > 0 ? n_other * log1p(-p) : 0);
    highest = fmax(highest, log_likelihood[i]);
  }
  for (int64_t i = 0; i < N_PRIOR; i++) {
    const double likelihood = exp(log_likelihood[i] - highest);
    sum += likelihood * world->prior_match[i];
    total += likelihood;
  }
  return sum / total;
}

facet_status synthetic_expected_match(synthetic_world *world, int64_t n_same, int64_t n, double *match) {
  double **row = &world->expected_match[n];
  if (!*row) {
    FACET_TRY(FACET_ALLOC(*row, n + 1, "synthetic oracle"));
    for (int64_t k = 0; k <= n; k++) (*row)[k] = NAN;
  }
  if (isnan((*row)[n_same])) (*row)[n_same] = posterior_match(world, (double)n_same, (double)(n - n_same));
  *match = (*row)[n_same];
  return FACET_OK;
}

/* ---- the world --------------------------------------------------------------------------------------------------- */

static facet_status allocate(synthetic_world *world) {
  const facet_synthesize_options *o = &world->options;
  FACET_TRY(FACET_ALLOC(world->cluster_of, o->items, "synthetic items"));
  FACET_TRY(FACET_ALLOC(world->category_of, o->items, "synthetic items"));
  FACET_TRY(FACET_ALLOC(world->quality_of, o->items, "synthetic items"));
  FACET_TRY(FACET_ALLOC(world->cluster_first, o->clusters + 1, "synthetic clusters"));
  FACET_TRY(FACET_ALLOC(world->cluster_items, o->items, "synthetic items"));
  FACET_TRY(FACET_ALLOC(world->hour_effect, SYNTHETIC_HOURS * o->categories, "synthetic hours"));
  FACET_TRY(FACET_ALLOC(world->prior_match, N_PRIOR, "synthetic oracle"));
  FACET_TRY(FACET_ALLOC(world->prior_weight, N_PRIOR, "synthetic oracle"));
  return FACET_ALLOC(world->expected_match, o->max_length + 1, "synthetic oracle");
}

facet_status synthetic_world_create(const facet_synthesize_options *options, synthetic_world **world) {
  *world = NULL;
  synthetic_world *self;
  FACET_TRY(FACET_ALLOC(self, 1, "synthetic world"));
  self->options = *options;
  facet_status status = allocate(self);
  if (status != FACET_OK) {
    synthetic_world_destroy(&self);
    return status;
  }
  draw_items(self);
  draw_prior(self);
  *world = self;
  return FACET_OK;
}

void synthetic_world_destroy(synthetic_world **world) {
  synthetic_world *self = *world;
  if (!self) return;
  facet_memory_free(self->cluster_of);
  facet_memory_free(self->category_of);
  facet_memory_free(self->quality_of);
  facet_memory_free(self->cluster_first);
  facet_memory_free(self->cluster_items);
  facet_memory_free(self->hour_effect);
  facet_memory_free(self->prior_match);
  facet_memory_free(self->prior_weight);
  for (int64_t n = 0; self->expected_match && n <= self->options.max_length; n++)
    facet_memory_free(self->expected_match[n]);
  facet_memory_free(self->expected_match);
  facet_memory_free(self);
  *world = NULL;
}
