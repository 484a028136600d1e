/* Sampled negatives and shards of a conversion of interactions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/convert_internal.h"
#include "facet/log.h"
#include "facet/memory.h"
#include "facet/rng.h"

#define MAX_ATTEMPTS 10000 /* draws of one negative before it is given up and counted */

/* ---- negatives --------------------------------------------------------------------------------------------------- */

typedef struct negative_sampler {
  facet_rng_key key;
  int64_t n_items;
  int32_t *items;     /* [n_items] raw training items with an id */
  double *cumulative; /* [n_items] Σ count^popularity; NULL: uniform */
} negative_sampler;

static facet_status create_sampler(const conversion *self, negative_sampler *sampler) {
  const convert_entity *items = &self->entities[CONVERT_ITEM];
  const int64_t n_raw = facet_vocabulary_size(items->raw) - FACET_ID_FIRST;
  double sum = 0;
  sampler->key = facet_rng_key_make((uint64_t)self->options.seed, "sampled negatives");
  FACET_TRY(FACET_ALLOC(sampler->items, n_raw, "training items"));
  if (self->options.popularity > 0) FACET_TRY(FACET_ALLOC(sampler->cumulative, n_raw, "training items"));
  for (int64_t raw = 0; raw < n_raw; raw++) {
    if (items->train_count[raw] == 0 || items->final_id[raw] < FACET_ID_FIRST) continue;
    sum += pow((double)items->train_count[raw], self->options.popularity);
    if (sampler->cumulative) sampler->cumulative[sampler->n_items] = sum;
    sampler->items[sampler->n_items++] = (int32_t)raw;
  }
  return FACET_OK;
}

static void destroy_sampler(negative_sampler *sampler) {
  facet_memory_free(sampler->items);
  facet_memory_free(sampler->cumulative);
}

static int32_t sampler_item(const negative_sampler *sampler, uint64_t bits) {
  if (!sampler->cumulative) return sampler->items[facet_rng_below(bits, (uint64_t)sampler->n_items)];
  const double target = (double)(bits >> 11) * 0x1p-53 * sampler->cumulative[sampler->n_items - 1];
  int64_t low = 0, high = sampler->n_items - 1; /* the first item whose cumulative weight exceeds the target */
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (sampler->cumulative[middle] > target)
      high = middle;
    else
      low = middle + 1;
  }
  return sampler->items[low];
}

static bool is_own_item(const convert_log *log, int32_t item) {
  int64_t low = 0, high = log->n_items;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (log->items[middle] < item)
      low = middle + 1;
    else
      high = middle;
  }
  return low < log->n_items && log->items[low] == item;
}

/* Negative number `number` of an event: a training item that is not in the user's log; −1 if none was found. */
static int32_t draw_negative(const negative_sampler *sampler, const convert_log *log, const convert_event *event,
                             int64_t number) {
  if (sampler->n_items == 0) return -1;
  for (uint32_t attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    uint32_t word[4];
    const facet_rng_counter counter = {
        {(uint32_t)event->user, (uint32_t)event->row, (uint32_t)(event->row >> 32) << 10 | (uint32_t)number, attempt}};
    facet_rng_block(sampler->key, counter, word);
    const int32_t item = sampler_item(sampler, (uint64_t)word[0] << 32 | word[1]);
    if (!is_own_item(log, item)) return item;
  }
  return -1;
}

/* ---- shards ------------------------------------------------------------------------------------------------------ */

typedef struct sample_block { /* the samples of one user and split */
  int64_t n;
  size_t capacity[4];
  float *label;
  int64_t *event; /* index of the target in the user's events */
  int32_t *item;  /* raw */
  int32_t *ids;   /* scratch of a column */
  int64_t *longs; /* scratch of a column */
  size_t ids_capacity, longs_capacity;
} sample_block;

static facet_status add_sample(sample_block *block, float label, int64_t event, int32_t item) {
  FACET_TRY(FACET_GROW(block->label, block->capacity[0], block->n + 1, "samples of a user"));
  FACET_TRY(FACET_GROW(block->event, block->capacity[1], block->n + 1, "samples of a user"));
  FACET_TRY(FACET_GROW(block->item, block->capacity[2], block->n + 1, "samples of a user"));
  block->label[block->n] = label;
  block->event[block->n] = event;
  block->item[block->n++] = item;
  return FACET_OK;
}

static facet_status make_samples(conversion *self, const negative_sampler *sampler, int split, sample_block *block) {
  const convert_log *log = &self->log;
  block->n = 0;
  for (int64_t t = 0; t < log->n_events; t++) {
    if (log->split[t] != split || !log->events[t].is_sample) continue;
    if (t < self->options.min_history) {
      self->counts.no_history++;
      continue;
    }
    FACET_TRY(add_sample(block, 1, t, log->events[t].item));
    self->counts.positives[split]++;
    for (int64_t k = 0; k < self->options.negatives; k++) {
      const int32_t item = draw_negative(sampler, log, &log->events[t], k);
      if (item >= 0)
        FACET_TRY(add_sample(block, 0, t, item));
      else
        self->counts.no_negative++;
    }
  }
  return FACET_OK;
}

static facet_status append_ids(conversion *self, split_writer *split, const char *feature, const sample_block *block) {
  return facet_shard_append_ids(split->part, facet_schema_feature(self->schema, feature), block->ids, block->n);
}

static facet_status append_samples(conversion *self, split_writer *split, sample_block *block) {
  const convert_entity *users = &self->entities[CONVERT_USER], *items = &self->entities[CONVERT_ITEM];
  const convert_log *log = &self->log;
  const int32_t user_id = users->final_id[log->events[0].user];
  FACET_TRY(
      facet_shard_append_floats(split->part, facet_schema_feature(self->schema, "label"), block->label, block->n));
  for (int64_t i = 0; i < block->n; i++) block->longs[i] = log->events[block->event[i]].time;
  FACET_TRY(facet_shard_append_int64s(split->part, facet_schema_feature(self->schema, "time"), block->longs, block->n));
  for (int64_t i = 0; i < block->n; i++) {
    block->ids[i] = user_id;
    self->counts.unknown_users += user_id == FACET_ID_UNKNOWN;
  }
  FACET_TRY(append_ids(self, split, "user_id", block));
  for (int64_t i = 0; i < block->n; i++) {
    block->ids[i] = items->final_id[block->item[i]];
    self->counts.unknown_items += block->ids[i] == FACET_ID_UNKNOWN;
  }
  FACET_TRY(append_ids(self, split, "item_id", block));
  if (self->options.hour) {
    for (int64_t i = 0; i < block->n; i++) block->ids[i] = convert_hour_id(block->longs[i]);
    FACET_TRY(append_ids(self, split, "hour", block));
  }
  if (!self->options.weekday) return FACET_OK;
  for (int64_t i = 0; i < block->n; i++) block->ids[i] = convert_weekday_id(block->longs[i]);
  return append_ids(self, split, "weekday", block);
}

/* Windows end before their target; the events from the first window's start to the last target are stored once. */
static facet_status append_history(conversion *self, split_writer *split, sample_block *block) {
  const convert_log *log = &self->log;
  const int64_t max_length = self->options.max_length;
  const int64_t first = block->event[0] > max_length ? block->event[0] - max_length : 0,
                n_events = block->event[block->n - 1] - first;
  for (int64_t i = 0; i < block->n; i++) {
    const int64_t t = block->event[i], length = t < max_length ? t : max_length;
    block->ids[i] = (int32_t)length;
    block->longs[i] = split->n_events + t - length - first;
  }
  FACET_TRY(facet_shard_append_windows(split->part, 0, block->longs, block->ids, block->n));
  for (int64_t t = 0; t < n_events; t++) {
    block->ids[t] = self->entities[CONVERT_ITEM].final_id[log->events[first + t].item];
    block->longs[t] = log->events[first + t].time;
  }
  FACET_TRY(
      facet_shard_append_ids(split->part, facet_schema_feature(self->schema, "history.item_id"), block->ids, n_events));
  FACET_TRY(facet_shard_append_int64s(split->part, facet_schema_feature(self->schema, "history.time"), block->longs,
                                      n_events));
  const convert_fields *fields = &self->event_fields;
  for (int f = 0; f < fields->n; f++)
    FACET_TRY(convert_append_field(split->part, &fields->field[f], log->fields + first * fields->n + f, fields->n,
                                   n_events, block->ids));
  split->n_events += n_events;
  return FACET_OK;
}

static facet_status write_user_split(conversion *self, int which, sample_block *block) {
  split_writer *split = &self->splits[which];
  if (block->n == 0) return FACET_OK;
  FACET_TRY(split_open_part(split, which, self->schema, self->directory, self->options.compress));
  const int64_t n = block->n > self->log.n_events ? block->n : self->log.n_events;
  FACET_TRY(FACET_GROW(block->ids, block->ids_capacity, n, "samples of a user"));
  FACET_TRY(FACET_GROW(block->longs, block->longs_capacity, n, "samples of a user"));
  FACET_TRY(append_samples(self, split, block));
  FACET_TRY(append_history(self, split, block));
  split->n_samples += block->n;
  return split->n_samples >= self->options.part_samples ? split_close_part(split) : FACET_OK;
}

static facet_status write_users(conversion *self, const negative_sampler *sampler, sample_block *block) {
  convert_counts ignored = {0}; /* drops were counted when ids were given */
  facet_progress progress;
  bool has_user = true;
  facet_progress_start(&progress, "writing", "events", self->counts.kept);
  FACET_TRY(convert_first_user(self));
  while (has_user) {
    FACET_TRY(convert_next_user(self, &ignored, &has_user));
    for (int which = 0; has_user && which < N_SPLITS; which++) {
      FACET_TRY(make_samples(self, sampler, which, block));
      FACET_TRY(write_user_split(self, which, block));
    }
    facet_progress_update(&progress, ignored.kept, NULL);
  }
  facet_progress_finish(&progress, ignored.kept, NULL);
  for (int which = 0; which < N_SPLITS; which++) FACET_TRY(split_close_part(&self->splits[which]));
  return FACET_OK;
}

facet_status convert_write_samples(conversion *self) {
  negative_sampler sampler = {0};
  sample_block block = {0};
  facet_status status = create_sampler(self, &sampler);
  if (status == FACET_OK) status = write_users(self, &sampler, &block);
  destroy_sampler(&sampler);
  facet_memory_free(block.label);
  facet_memory_free(block.event);
  facet_memory_free(block.item);
  facet_memory_free(block.ids);
  facet_memory_free(block.longs);
  return status;
}
