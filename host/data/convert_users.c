/* The sorted log user by user: splits, counts of the training split, final ids. */
#include <stdlib.h>
#include <string.h>

#include "data/convert_internal.h"
#include "facet/log.h"
#include "facet/memory.h"

/* ---- one user at a time ------------------------------------------------------------------------------------------ */

static facet_status next_record(conversion *self) {
  const void *record;
  FACET_TRY(facet_sorter_next(self->sorter, &record));
  self->has_pending = record != NULL;
  if (record) memcpy(&self->pending, record, convert_record_bytes(self));
  return FACET_OK;
}

facet_status convert_first_user(conversion *self) {
  FACET_TRY(facet_sorter_rewind(self->sorter));
  return next_record(self);
}

static int compare_items(const void *a, const void *b) {
  const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

static void sort_unique_items(convert_log *log) {
  if (log->n_items == 0) return;
  qsort(log->items, (size_t)log->n_items, sizeof *log->items, compare_items);
  int64_t n = 1;
  for (int64_t i = 1; i < log->n_items; i++)
    if (log->items[i] != log->items[n - 1]) log->items[n++] = log->items[i];
  log->n_items = n;
}

static bool repeats(const convert_event *a, const convert_event *b) {
  return a->item == b->item && a->time == b->time && a->kind == b->kind;
}

static facet_status add_event(conversion *self, const convert_record *record) {
  convert_log *log = &self->log;
  const int64_t n_fields = self->event_fields.n;
  FACET_TRY(FACET_GROW(log->events, log->events_capacity, log->n_events + 1, "a user's events"));
  FACET_TRY(FACET_GROW(log->fields, log->fields_capacity, (log->n_events + 1) * n_fields, "a user's events"));
  if (n_fields > 0)
    memcpy(log->fields + log->n_events * n_fields, record->fields, (size_t)n_fields * sizeof *log->fields);
  log->events[log->n_events++] = record->event;
  return FACET_OK;
}

/* Collects the rows of the pending user: events, and all items. */
static facet_status read_user(conversion *self, convert_counts *counts) {
  convert_log *log = &self->log;
  const convert_event *event = &self->pending.event;
  const int32_t user = event->user;
  log->n_events = log->n_items = 0;
  while (self->has_pending && event->user == user) {
    FACET_TRY(FACET_GROW(log->items, log->items_capacity, log->n_items + 1, "a user's items"));
    log->items[log->n_items++] = event->item;
    const bool is_repeat = event->is_event && log->n_events > 0 && !self->options.keep_duplicates &&
                           repeats(event, &log->events[log->n_events - 1]);
    counts->duplicates += is_repeat;
    if (event->is_event && !is_repeat) FACET_TRY(add_event(self, &self->pending));
    FACET_TRY(next_record(self));
  }
  sort_unique_items(log);
  return FACET_OK;
}

int convert_split_of_time(const conversion *self, int64_t time) {
  return time < self->valid_from ? SPLIT_TRAIN : time < self->test_from ? SPLIT_VALID : SPLIT_TEST;
}

/* Where validation and test begin: the last sample but one and the last, where a sample with enough history is left for
 * training. */
static void find_held_out(const conversion *self, int64_t *valid, int64_t *test) {
  const convert_log *log = &self->log;
  int64_t n = 0;
  *valid = *test = log->n_events;
  for (int64_t t = log->n_events - 1; t >= self->options.min_history && n < 3; t--) {
    if (!log->events[t].is_sample) continue;
    if (n == 0) *test = t;
    if (n == 1) *valid = t;
    n++;
  }
  if (n < 3) *valid = *test = log->n_events;
}

static facet_status split_user(conversion *self) {
  convert_log *log = &self->log;
  int64_t valid, test;
  FACET_TRY(FACET_GROW(log->split, log->split_capacity, log->n_events, "a user's splits"));
  find_held_out(self, &valid, &test);
  for (int64_t t = 0; t < log->n_events; t++)
    log->split[t] =
        (int8_t)(self->options.split == CONVERT_SPLIT_TIME ? convert_split_of_time(self, log->events[t].time)
                 : t < valid                               ? SPLIT_TRAIN
                 : t < test                                ? SPLIT_VALID
                                                           : SPLIT_TEST);
  return FACET_OK;
}

facet_status convert_next_user(conversion *self, convert_counts *counts, bool *has_user) {
  *has_user = false;
  while (self->has_pending) {
    FACET_TRY(read_user(self, counts));
    if (self->log.n_events >= self->options.min_user_events) {
      *has_user = true;
      counts->kept += self->log.n_events;
      return split_user(self);
    }
    counts->short_users++;
    counts->short_user_rows += self->log.n_events;
  }
  return FACET_OK;
}

/* ---- split by time ----------------------------------------------------------------------------------------------- */

int convert_compare_times(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

size_t convert_sort_bytes(const conversion *self) {
  const size_t budget = (size_t)self->options.memory_mb * 1000 * 1000;
  return self->options.split == CONVERT_SPLIT_TIME ? budget / 2 : budget;
}

/* The times of the first validation and the first test sample. */
facet_status convert_time_quantiles(conversion *self, facet_sorter *times) {
  const int64_t n = facet_sorter_n_records(times);
  const int64_t n_test = (int64_t)(self->options.test_fraction * (double)n),
                n_valid = (int64_t)(self->options.valid_fraction * (double)n);
  self->valid_from = self->test_from = INT64_MAX;
  FACET_TRY(facet_sorter_finish(times));
  for (int64_t i = 0; i < n; i++) {
    const void *record;
    FACET_TRY(facet_sorter_next(times, &record));
    if (i == n - n_test - n_valid) self->valid_from = *(const int64_t *)record;
    if (i == n - n_test) self->test_from = *(const int64_t *)record;
  }
  return FACET_OK;
}

facet_status convert_find_time_limits(conversion *self) {
  facet_sorter *times;
  convert_counts ignored = {0};
  bool has_user = true;
  if (self->options.split != CONVERT_SPLIT_TIME) return FACET_OK;
  FACET_TRY(facet_sorter_create(sizeof(int64_t), convert_compare_times, convert_sort_bytes(self), NULL, &times));
  facet_status status = convert_first_user(self);
  while (status == FACET_OK && has_user) {
    status = convert_next_user(self, &ignored, &has_user);
    for (int64_t t = 0; status == FACET_OK && has_user && t < self->log.n_events; t++)
      if (self->log.events[t].is_sample) status = facet_sorter_add(times, &self->log.events[t].time);
  }
  if (status == FACET_OK) status = convert_time_quantiles(self, times);
  facet_sorter_destroy(&times);
  return status;
}

/* ---- final ids --------------------------------------------------------------------------------------------------- */

/* Opens the vocabulary of the earlier data set; *vocabulary = NULL where it has none and may lack it. */
static facet_status load_vocabulary(const conversion *self, const char *name, facet_vocabulary **vocabulary) {
  char path[FACET_PATH_MAX];
  const bool is_entity =
      strcmp(name, self->entities[CONVERT_USER].name) == 0 || strcmp(name, self->entities[CONVERT_ITEM].name) == 0;
  FACET_TRY(facet_path_format(path, "%s/vocab/%s.h5", self->request->vocabulary, name));
  if (!facet_file_exists(path)) {
    FACET_CHECK(!is_entity, FACET_ERROR_USAGE, "%s does not exist; --vocabulary needs the directory of a data set",
                path);
    FACET_CHECK(!self->request->freeze, FACET_ERROR_USAGE, "%s does not exist, and --freeze allows no new vocabulary",
                path);
    return FACET_OK;
  }
  FACET_TRY(facet_vocabulary_load(path, vocabulary));
  FACET_CHECK(strcmp(facet_vocabulary_name(*vocabulary), name) == 0, FACET_ERROR_DATA,
              "%s holds vocabulary %s, expected %s", path, facet_vocabulary_name(*vocabulary), name);
  return FACET_OK;
}

facet_status convert_open_vocabulary(const conversion *self, const char *name, facet_vocabulary **vocabulary) {
  if (self->request->vocabulary) FACET_TRY(load_vocabulary(self, name, vocabulary));
  return *vocabulary ? FACET_OK : facet_vocabulary_create(name, vocabulary);
}

facet_status convert_token_id(const conversion *self, facet_vocabulary *vocabulary, const char *token, size_t n_bytes,
                              int32_t *id) {
  int64_t found;
  if (self->request->freeze)
    found = facet_vocabulary_find(vocabulary, token, n_bytes);
  else
    FACET_TRY(facet_vocabulary_add(vocabulary, token, n_bytes, &found));
  *id = (int32_t)found;
  return FACET_OK;
}

static facet_status count_training_events(conversion *self) {
  convert_entity *users = &self->entities[CONVERT_USER], *items = &self->entities[CONVERT_ITEM];
  bool has_user = true;
  FACET_TRY(convert_start_field_counts(&self->event_fields));
  FACET_TRY(convert_first_user(self));
  while (has_user) {
    FACET_TRY(convert_next_user(self, &self->counts, &has_user));
    for (int64_t t = 0; has_user && t < self->log.n_events; t++) {
      if (self->log.split[t] != SPLIT_TRAIN) continue;
      users->train_count[self->log.events[t].user]++;
      items->train_count[self->log.events[t].item]++;
      for (int f = 0; f < self->event_fields.n; f++)
        convert_count_field(&self->event_fields.field[f], self->log.fields[t * self->event_fields.n + f]);
    }
  }
  return FACET_OK;
}

facet_status convert_assign_token_ids(const conversion *self, const facet_vocabulary *raw, facet_vocabulary *final,
                                      const int64_t *train_count, int64_t min_count, int32_t *final_id) {
  const int64_t n_raw = facet_vocabulary_size(raw) - FACET_ID_FIRST;
  for (int64_t i = 0; i < n_raw; i++) { /* in order of appearance in the log */
    size_t n_bytes;
    const char *token = facet_vocabulary_token(raw, i + FACET_ID_FIRST, &n_bytes);
    if (train_count[i] >= min_count)
      FACET_TRY(convert_token_id(self, final, token, n_bytes, &final_id[i]));
    else
      final_id[i] = (int32_t)facet_vocabulary_find(final, token, n_bytes);
  }
  return FACET_OK;
}

facet_status convert_assign_ids(conversion *self) {
  for (int e = 0; e < CONVERT_N_ENTITIES; e++) {
    convert_entity *entity = &self->entities[e];
    const int64_t n_raw = facet_vocabulary_size(entity->raw) - FACET_ID_FIRST;
    FACET_TRY(FACET_ALLOC(entity->train_count, n_raw, "training counts"));
    FACET_TRY(FACET_ALLOC(entity->final_id, n_raw, "ids"));
  }
  FACET_TRY(self->has_impressions ? convert_count_impressions(self) : count_training_events(self));
  FACET_CHECK(self->has_impressions || self->counts.kept > 0, FACET_ERROR_DATA,
              "no user of %s has the %lld positive interactions that convert.min_user_events asks for",
              self->interactions.file, (long long)self->options.min_user_events);
  for (int e = 0; e < CONVERT_N_ENTITIES; e++) {
    convert_entity *entity = &self->entities[e];
    FACET_TRY(convert_open_vocabulary(self, entity->name, &entity->final));
    FACET_TRY(convert_assign_token_ids(self, entity->raw, entity->final, entity->train_count, self->options.min_count,
                                       entity->final_id));
  }
  FACET_TRY(convert_assign_field_ids(self, &self->context));
  return convert_assign_field_ids(self, &self->event_fields);
}
