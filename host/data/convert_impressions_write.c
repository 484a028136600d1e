/* Impressions user by user: splits, counts of the training split, shards. */
#include <string.h>

#include "data/convert_impressions.h"
#include "facet/log.h"
#include "facet/memory.h"

/* Whose history lies at the end of a part's events: the next window may share it. */
typedef struct history_tail {
  int32_t *events;
  int64_t n;
  size_t capacity;
} history_tail;

typedef struct impression_walk { /* over the sorted impressions */
  conversion *self;
  convert_impression_log *log;
  convert_impression *rows; /* of the present user */
  int64_t n_rows;
  size_t rows_capacity;
  convert_impression pending; /* the first of the next user, where has_pending */
  bool has_pending;
  int32_t *data, *history; /* of the present impression */
  size_t data_capacity, history_capacity;
  int64_t history_offset; /* of what `history` holds; −1: nothing */
  int32_t n_history;
  history_tail tails[N_SPLITS];
} impression_walk;

typedef struct impression_view { /* an impression with its lists */
  const convert_impression *row;
  const int32_t *context, *shown;
  const int32_t *events; /* the window, oldest first */
  int64_t n_events;
  int64_t n_shared; /* the first of them, which end the part's events already */
} impression_view;

/* ---- one user at a time --------------------------------------------------------------------------------------- */

static facet_status next_record(impression_walk *walk) {
  const void *record;
  FACET_TRY(facet_sorter_next(walk->self->sorter, &record));
  walk->has_pending = record != NULL;
  if (record) walk->pending = *(const convert_impression *)record;
  return FACET_OK;
}

static facet_status begin(conversion *self, impression_walk *walk) {
  *walk = (impression_walk){.self = self, .log = self->impression_log, .history_offset = -1};
  FACET_TRY(facet_sorter_rewind(self->sorter));
  return next_record(walk);
}

static void end(impression_walk *walk) {
  facet_memory_free(walk->rows);
  facet_memory_free(walk->data);
  facet_memory_free(walk->history);
  for (int split = 0; split < N_SPLITS; split++) facet_memory_free(walk->tails[split].events);
}

/* By file: as read. By time: the limits decide. By user: the last impression is test, the one before it validation,
 * where one is left for training. */
static int split_of(const impression_walk *walk, int64_t i) {
  const conversion *self = walk->self;
  if (self->impressions.valid_file[0] || self->impressions.test_file[0]) return walk->rows[i].split;
  if (self->options.split == CONVERT_SPLIT_TIME) return convert_split_of_time(self, walk->rows[i].time);
  if (walk->n_rows < N_SPLITS || i < walk->n_rows - 2) return SPLIT_TRAIN;
  return i == walk->n_rows - 2 ? SPLIT_VALID : SPLIT_TEST;
}

static facet_status next_user(impression_walk *walk, bool *has_user) {
  const int32_t user = walk->pending.user;
  *has_user = walk->has_pending;
  walk->n_rows = 0;
  for (int split = 0; split < N_SPLITS; split++) walk->tails[split].n = 0;
  while (walk->has_pending && walk->pending.user == user) {
    FACET_TRY(FACET_GROW(walk->rows, walk->rows_capacity, walk->n_rows + 1, "a user's impressions"));
    walk->rows[walk->n_rows++] = walk->pending;
    FACET_TRY(next_record(walk));
  }
  for (int64_t i = 0; i < walk->n_rows; i++) walk->rows[i].split = split_of(walk, i);
  return FACET_OK;
}

/* ---- one impression --------------------------------------------------------------------------------------------- */

static facet_status read_lists(impression_walk *walk, const convert_impression *row) {
  const int64_t n_data = walk->self->context.n + row->n_shown,
                n_words = (int64_t)row->n_history * walk->log->event_words;
  FACET_TRY(FACET_GROW(walk->data, walk->data_capacity, n_data, "an impression"));
  FACET_TRY(facet_spool_read_at(&walk->log->spool, row->data, walk->data, (size_t)n_data * sizeof *walk->data));
  if (row->history == walk->history_offset && row->n_history == walk->n_history) return FACET_OK;
  FACET_TRY(FACET_GROW(walk->history, walk->history_capacity, n_words, "a history"));
  walk->history_offset = row->history;
  walk->n_history = row->n_history;
  return facet_spool_read_at(&walk->log->spool, row->history, walk->history, (size_t)n_words * sizeof *walk->history);
}

/* Events of the present history that are before `time`; all where they have no times. */
static int64_t n_events_before(const impression_walk *walk, int64_t time) {
  int64_t low = 0, high = walk->n_history;
  if (!walk->self->history.log.time[0]) return high;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    int64_t of_event;
    memcpy(&of_event, &walk->history[middle * walk->log->event_words + CONVERT_EVENT_TIME], sizeof of_event);
    if (of_event < time)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* How many of the first new events are the last of the tail; the tail then ends with the new events. */
static facet_status share_tail(history_tail *tail, const int32_t *events, int64_t n, int width, int64_t *n_shared) {
  const size_t event_bytes = (size_t)width * sizeof *events;
  int64_t k = n < tail->n ? n : tail->n;
  while (k > 0 && memcmp(tail->events + (tail->n - k) * width, events, (size_t)k * event_bytes) != 0) k--;
  *n_shared = k;
  FACET_TRY(FACET_GROW(tail->events, tail->capacity, n * width, "a history"));
  if (n > 0) memcpy(tail->events, events, (size_t)n * event_bytes);
  tail->n = n;
  return FACET_OK;
}

/* *is_used = false: the history is too short. */
static facet_status view_impression(impression_walk *walk, int64_t i, impression_view *view, bool *is_used,
                                    convert_counts *counts) {
  const convert_options *options = &walk->self->options;
  const convert_impression *row = &walk->rows[i];
  FACET_TRY(read_lists(walk, row));
  const int64_t n = n_events_before(walk, row->time), n_events = n < options->max_length ? n : options->max_length;
  counts->later_events += n < row->n_history;
  *is_used = n >= options->min_history;
  counts->short_history += !*is_used;
  if (!*is_used) return FACET_OK;
  *view = (impression_view){.row = row,
                            .context = walk->data,
                            .shown = walk->data + walk->self->context.n,
                            .events = walk->history + (n - n_events) * walk->log->event_words,
                            .n_events = n_events};
  return share_tail(&walk->tails[row->split], view->events, n_events, walk->log->event_words, &view->n_shared);
}

/* ---- counts of the training split -------------------------------------------------------------------------------- */

static void count_impression(const impression_walk *walk, const impression_view *view) {
  conversion *self = walk->self;
  int64_t *items = self->entities[CONVERT_ITEM].train_count;
  self->entities[CONVERT_USER].train_count[view->row->user]++;
  for (int64_t k = 0; k < view->row->n_shown; k++) items[view->shown[k] / 2]++;
  for (int c = 0; c < self->context.n; c++) convert_count_field(&self->context.field[c], view->context[c]);
  for (int64_t t = view->n_shared; t < view->n_events; t++) {
    const int32_t *event = view->events + t * walk->log->event_words;
    items[event[0]]++;
    for (int f = 0; f < self->event_fields.n; f++)
      convert_count_field(&self->event_fields.field[f], event[convert_event_field_position(self, f)]);
  }
}

static facet_status count_impressions(impression_walk *walk) {
  convert_counts ignored = {0}; /* counted when the samples are written */
  bool has_user = true;
  while (has_user) {
    FACET_TRY(next_user(walk, &has_user));
    for (int64_t i = 0; has_user && i < walk->n_rows; i++) {
      impression_view view;
      bool is_used;
      if (walk->rows[i].split != SPLIT_TRAIN) continue;
      FACET_TRY(view_impression(walk, i, &view, &is_used, &ignored));
      if (is_used) count_impression(walk, &view);
    }
  }
  return FACET_OK;
}

facet_status convert_count_impressions(conversion *self) {
  impression_walk walk;
  FACET_TRY(convert_start_field_counts(&self->context));
  FACET_TRY(convert_start_field_counts(&self->event_fields));
  facet_status status = begin(self, &walk);
  if (status == FACET_OK) status = count_impressions(&walk);
  end(&walk);
  return status;
}

/* ---- shards ------------------------------------------------------------------------------------------------------ */

typedef struct impression_writer {
  impression_walk walk;
  int label, time, group, user, item, hour, weekday, event_item, event_time; /* features; −1: none */
  int32_t *ids;                                                              /* scratch of a column */
  int64_t *longs;
  size_t ids_capacity, longs_capacity;
} impression_writer;

static void find_features(impression_writer *self) {
  const facet_schema *schema = self->walk.self->schema;
  self->label = schema->label;
  self->time = schema->time;
  self->group = schema->group;
  self->user = facet_schema_feature(schema, "user_id");
  self->item = facet_schema_feature(schema, "item_id");
  self->hour = facet_schema_feature(schema, "hour");
  self->weekday = facet_schema_feature(schema, "weekday");
  self->event_item = facet_schema_feature(schema, "history.item_id");
  self->event_time = facet_schema_feature(schema, "history.time");
}

static facet_status append_id(impression_writer *self, facet_shard_writer *part, int feature, int32_t id, int64_t n) {
  for (int64_t k = 0; k < n; k++) self->ids[k] = id;
  return facet_shard_append_ids(part, feature, self->ids, n);
}

static facet_status append_int64(impression_writer *self, facet_shard_writer *part, int feature, int64_t value,
                                 int64_t n) {
  for (int64_t k = 0; k < n; k++) self->longs[k] = value;
  return facet_shard_append_int64s(part, feature, self->longs, n);
}

static facet_status append_labels(impression_writer *self, facet_shard_writer *part, const impression_view *view) {
  const int64_t n = view->row->n_shown;
  float *labels = (float *)self->ids;
  for (int64_t k = 0; k < n; k++) {
    labels[k] = (float)(view->shown[k] % 2);
    self->walk.self->counts.positives[view->row->split] += view->shown[k] % 2;
  }
  return facet_shard_append_floats(part, self->label, labels, n);
}

static facet_status append_items(impression_writer *self, facet_shard_writer *part, const impression_view *view) {
  conversion *convert = self->walk.self;
  const int32_t *final_id = convert->entities[CONVERT_ITEM].final_id;
  for (int64_t k = 0; k < view->row->n_shown; k++) {
    self->ids[k] = final_id[view->shown[k] / 2];
    convert->counts.unknown_items += self->ids[k] == FACET_ID_UNKNOWN;
  }
  return facet_shard_append_ids(part, self->item, self->ids, view->row->n_shown);
}

static facet_status append_context(impression_writer *self, facet_shard_writer *part, const impression_view *view) {
  const convert_fields *context = &self->walk.self->context;
  const int64_t n = view->row->n_shown, time = view->row->time;
  for (int c = 0; c < context->n; c++) /* stride 0: the same value for every item shown */
    FACET_TRY(convert_append_field(part, &context->field[c], &view->context[c], 0, n, self->ids));
  if (self->hour >= 0) FACET_TRY(append_id(self, part, self->hour, convert_hour_id(time), n));
  if (self->weekday >= 0) FACET_TRY(append_id(self, part, self->weekday, convert_weekday_id(time), n));
  return FACET_OK;
}

/* The events that are not shared join the part; every item shown has the same window. */
static facet_status append_history(impression_writer *self, split_writer *split, const impression_view *view) {
  conversion *convert = self->walk.self;
  const int width = self->walk.log->event_words;
  const int64_t n_shown = view->row->n_shown, n_new = view->n_events - view->n_shared,
                start = split->n_events - view->n_shared;
  const int32_t *events = view->events + view->n_shared * width;
  for (int64_t k = 0; k < n_shown; k++) {
    self->longs[k] = start;
    self->ids[k] = (int32_t)view->n_events;
  }
  FACET_TRY(facet_shard_append_windows(split->part, 0, self->longs, self->ids, n_shown));
  for (int64_t t = 0; t < n_new; t++) self->ids[t] = convert->entities[CONVERT_ITEM].final_id[events[t * width]];
  FACET_TRY(facet_shard_append_ids(split->part, self->event_item, self->ids, n_new));
  if (self->event_time >= 0) {
    for (int64_t t = 0; t < n_new; t++)
      memcpy(&self->longs[t], &events[t * width + CONVERT_EVENT_TIME], sizeof *self->longs);
    FACET_TRY(facet_shard_append_int64s(split->part, self->event_time, self->longs, n_new));
  }
  for (int f = 0; f < convert->event_fields.n; f++)
    FACET_TRY(convert_append_field(split->part, &convert->event_fields.field[f],
                                   events + convert_event_field_position(convert, f), width, n_new, self->ids));
  split->n_events += n_new;
  return FACET_OK;
}

static facet_status write_impression(impression_writer *self, const impression_view *view) {
  conversion *convert = self->walk.self;
  const convert_impression *row = view->row;
  const int64_t n = row->n_shown, n_most = n > view->n_events ? n : view->n_events;
  split_writer *split = &convert->splits[row->split];
  FACET_TRY(FACET_GROW(self->ids, self->ids_capacity, n_most, "samples of an impression"));
  FACET_TRY(FACET_GROW(self->longs, self->longs_capacity, n_most, "samples of an impression"));
  FACET_TRY(split_open_part(split, row->split, convert->schema, convert->directory, convert->options.compress));
  facet_shard_writer *part = split->part;
  FACET_TRY(append_labels(self, part, view));
  FACET_TRY(append_int64(self, part, self->time, row->time, n));
  if (self->group >= 0) FACET_TRY(append_int64(self, part, self->group, row->group, n));
  const int32_t user_id = convert->entities[CONVERT_USER].final_id[row->user];
  convert->counts.unknown_users += user_id == FACET_ID_UNKNOWN ? n : 0;
  FACET_TRY(append_id(self, part, self->user, user_id, n));
  FACET_TRY(append_items(self, part, view));
  FACET_TRY(append_context(self, part, view));
  FACET_TRY(append_history(self, split, view));
  split->n_samples += n;
  return FACET_OK;
}

static facet_status write_users(impression_writer *self) {
  impression_walk *walk = &self->walk;
  conversion *convert = walk->self;
  facet_progress progress;
  int64_t n_done = 0;
  bool has_user = true;
  facet_progress_start(&progress, "writing", "impressions", convert->counts.kept);
  while (has_user) {
    FACET_TRY(next_user(walk, &has_user));
    for (int64_t i = 0; has_user && i < walk->n_rows; i++) {
      impression_view view;
      bool is_used;
      FACET_TRY(view_impression(walk, i, &view, &is_used, &convert->counts));
      if (is_used) FACET_TRY(write_impression(self, &view));
    }
    for (int split = 0; split < N_SPLITS; split++)
      if (!has_user || convert->splits[split].n_samples >= convert->options.part_samples)
        FACET_TRY(split_close_part(&convert->splits[split]));
    facet_progress_update(&progress, n_done += walk->n_rows, NULL);
  }
  facet_progress_finish(&progress, n_done, NULL);
  return FACET_OK;
}

facet_status convert_write_impressions(conversion *self) {
  impression_writer writer = {0};
  facet_status status = begin(self, &writer.walk);
  find_features(&writer);
  if (status == FACET_OK) status = write_users(&writer);
  end(&writer.walk);
  facet_memory_free(writer.ids);
  facet_memory_free(writer.longs);
  return status;
}
