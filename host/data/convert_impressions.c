/* Reading a log of impressions: rows of text to sorted records, with their lists in a spool. */
#include "data/convert_impressions.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "facet/log.h"
#include "facet/memory.h"

#define SHOWN_MAX ((int64_t)INT32_MAX / 2) /* raw items, so that item · 2 + label fits */

typedef struct words {
  int32_t *at;
  int64_t n;
  size_t capacity;
} words;

typedef struct user_history { /* of one raw user, from the file of histories */
  int64_t offset;
  int32_t n;
  bool is_known;
} user_history;

typedef struct item_mark { /* of one raw item: the last row that showed it and where, and that has it clicked */
  int64_t shown_row, clicked_row;
  int32_t position;
} item_mark;

typedef struct timed { /* an event of a history that is being sorted */
  int64_t time, index;
} timed;

typedef struct list_columns {
  int items, time;
  int field[CONVERT_MAX_ATTRIBUTES];
} list_columns;

typedef struct impression_reader {
  conversion *self;
  convert_impression_log *log;
  delimited_reader *text;
  int user, time, impression, shown, clicked; /* columns; −1: none */
  int context[CONVERT_MAX_ATTRIBUTES];
  list_columns lists; /* of the histories, in their file or in the rows */
  words data, events, sorted;
  timed *order; /* scratch of sort_events */
  size_t order_capacity;
  item_mark *marks;
  size_t marks_capacity;
  user_history *histories; /* by raw user, where there is a file of histories */
  size_t histories_capacity;
  facet_sorter *times; /* split by time */
} impression_reader;

/* ---- lists ---------------------------------------------------------------------------------------------------- */

typedef struct list_cursor {
  const char *next; /* NULL: at the end */
  const char *separator;
  size_t separator_bytes;
} list_cursor;

/* An empty field is an empty list. */
static list_cursor list_begin(const delimited_field *field, const char *separator_name) {
  const char *separator = delimited_separator(separator_name);
  return (list_cursor){
      .next = field->n_bytes > 0 ? field->text : NULL, .separator = separator, .separator_bytes = strlen(separator)};
}

/* The next value, which may be empty and is not 0-terminated; false at the end. */
static bool list_next(list_cursor *cursor, const char **text, size_t *n_bytes) {
  if (!cursor->next) return false;
  const char *stop = strstr(cursor->next, cursor->separator);
  *text = cursor->next;
  *n_bytes = stop ? (size_t)(stop - cursor->next) : strlen(cursor->next);
  cursor->next = stop ? stop + cursor->separator_bytes : NULL;
  return true;
}

static facet_status grow(words *list, int64_t n) {
  return FACET_GROW(list->at, list->capacity, n, "an impression's lists");
}

static facet_status bad_value(impression_reader *it, const char *what, const char *text, size_t n_bytes,
                              const char *expected) {
  char value[256];
  snprintf(value, sizeof value, "%.*s", n_bytes < sizeof value ? (int)n_bytes : (int)sizeof value - 1, text);
  return convert_bad_row(it->self, it->text, what, value, expected);
}

/* ---- histories -------------------------------------------------------------------------------------------------- */

/* The items of a history become events. Empty values count only where other lists stand beside them. */
static facet_status read_history_items(impression_reader *it, const delimited_field *field, bool *is_good) {
  conversion *self = it->self;
  const char *text;
  size_t n_bytes;
  const int width = it->log->event_words;
  list_cursor cursor = list_begin(field, self->history.list_separator);
  it->events.n = 0;
  *is_good = false;
  while (list_next(&cursor, &text, &n_bytes)) {
    if (n_bytes == 0 && width == 1) continue;
    if (n_bytes == 0)
      return bad_value(it, self->history.items, field->text, field->n_bytes, "no empty item in the list");
    FACET_TRY(grow(&it->events, (it->events.n + 1) * width));
    FACET_TRY(convert_raw_index(self->entities[CONVERT_ITEM].raw, it->text, text, n_bytes,
                                &it->events.at[it->events.n++ * width]));
  }
  *is_good = true;
  return FACET_OK;
}

static facet_status wrong_length(impression_reader *it, const char *column, int64_t n) {
  char value[32], expected[128];
  snprintf(value, sizeof value, "%lld", (long long)n);
  snprintf(expected, sizeof expected, "%lld as of the items beside them", (long long)it->events.n);
  char what[FACET_OPTION_MAX_TEXT + 32];
  snprintf(what, sizeof what, "the number of values of %s", column);
  return convert_bad_row(it->self, it->text, what, value, expected);
}

static facet_status read_history_times(impression_reader *it, const delimited_field *field, bool *is_good) {
  const convert_file *file = &it->self->history.log;
  char expected[FACET_OPTION_MAX_TEXT + 32], one[128];
  const char *text;
  size_t n_bytes;
  int64_t n = 0;
  list_cursor cursor = list_begin(field, it->self->history.list_separator);
  *is_good = false;
  for (; list_next(&cursor, &text, &n_bytes); n++) {
    int64_t time = -1;
    const delimited_field value = {.text = one, .n_bytes = n_bytes};
    if (n_bytes < sizeof one) snprintf(one, sizeof one, "%.*s", (int)n_bytes, text);
    if (n_bytes >= sizeof one || !convert_read_time(file, &value, &time))
      return bad_value(it, file->time, text, n_bytes, convert_time_expected(file, expected, sizeof expected));
    if (time < 0) return bad_value(it, file->time, text, n_bytes, "a time that is not negative");
    if (n < it->events.n) memcpy(&it->events.at[n * it->log->event_words + CONVERT_EVENT_TIME], &time, sizeof time);
  }
  if (n != it->events.n) return wrong_length(it, file->time, n);
  *is_good = true;
  return FACET_OK;
}

static facet_status read_history_field(impression_reader *it, int f, const delimited_field *field, bool *is_good) {
  convert_field *column = &it->self->event_fields.field[f];
  const int position = convert_event_field_position(it->self, f);
  const char *text;
  size_t n_bytes;
  int64_t n = 0;
  list_cursor cursor = list_begin(field, it->self->history.list_separator);
  if (field->n_bytes == 0 && it->events.n == 1) cursor.next = field->text; /* one value, which is empty */
  for (; list_next(&cursor, &text, &n_bytes); n++) {
    int32_t word;
    FACET_TRY(convert_read_field(column, it->text, text, n_bytes, &word, is_good));
    if (!*is_good) return bad_value(it, column->attribute->column, text, n_bytes, "a finite number");
    if (n < it->events.n) it->events.at[n * it->log->event_words + position] = word;
  }
  *is_good = n == it->events.n;
  return *is_good ? FACET_OK : wrong_length(it, column->attribute->column, n);
}

static int64_t event_time(const impression_reader *it, int64_t i) {
  int64_t time;
  memcpy(&time, &it->events.at[i * it->log->event_words + CONVERT_EVENT_TIME], sizeof time);
  return time;
}

static int compare_timed(const void *a, const void *b) {
  const timed *x = a, *y = b;
  if (x->time != y->time) return x->time < y->time ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

/* Puts events in the order of their times; those with the same time keep theirs. */
static facet_status sort_events(impression_reader *it) {
  const int width = it->log->event_words;
  const int64_t n = it->events.n;
  int64_t i = 1;
  while (i < n && event_time(it, i - 1) <= event_time(it, i)) i++;
  if (i >= n) return FACET_OK;
  it->self->counts.unsorted++;
  FACET_TRY(FACET_GROW(it->order, it->order_capacity, n, "order of a history"));
  for (i = 0; i < n; i++) it->order[i] = (timed){event_time(it, i), i};
  qsort(it->order, (size_t)n, sizeof *it->order, compare_timed);
  FACET_TRY(grow(&it->sorted, n * width));
  for (i = 0; i < n; i++)
    memcpy(it->sorted.at + i * width, it->events.at + it->order[i].index * width, (size_t)width * sizeof(int32_t));
  memcpy(it->events.at, it->sorted.at, (size_t)(n * width) * sizeof(int32_t));
  return FACET_OK;
}

/* The lists of a row become events in the spool. */
static facet_status read_history(impression_reader *it, const delimited_field *fields, int64_t *offset, int32_t *n,
                                 bool *is_good) {
  const conversion *self = it->self;
  FACET_TRY(read_history_items(it, &fields[it->lists.items], is_good));
  if (*is_good && it->lists.time >= 0) FACET_TRY(read_history_times(it, &fields[it->lists.time], is_good));
  for (int f = 0; *is_good && f < self->event_fields.n; f++)
    FACET_TRY(read_history_field(it, f, &fields[it->lists.field[f]], is_good));
  if (!*is_good) return FACET_OK;
  if (it->lists.time >= 0) FACET_TRY(sort_events(it));
  *offset = it->log->spool.n_bytes;
  *n = (int32_t)it->events.n;
  return facet_spool_append(&it->log->spool, it->events.at,
                            (size_t)(it->events.n * it->log->event_words) * sizeof(int32_t));
}

static facet_status find_list_columns(impression_reader *it) {
  const convert_history *history = &it->self->history;
  const convert_fields *fields = &it->self->event_fields;
  FACET_TRY(delimited_column(it->text, history->items, &it->lists.items));
  it->lists.time = -1;
  if (history->log.time[0]) FACET_TRY(delimited_column(it->text, history->log.time, &it->lists.time));
  for (int f = 0; f < fields->n; f++)
    FACET_TRY(delimited_column(it->text, fields->attributes[f].column, &it->lists.field[f]));
  return FACET_OK;
}

/* The next row with as many fields as there are columns; *n = 0 at the end. */
static facet_status next_row(impression_reader *it, int64_t *rows, const delimited_field **fields, int *n) {
  for (;;) {
    FACET_TRY(delimited_next(it->text, fields, n));
    *rows += *n > 0;
    if (*n == 0 || *n == delimited_n_columns(it->text)) return FACET_OK;
    FACET_TRY(convert_bad_width(it->self, it->text, *n));
  }
}

static facet_status read_history_rows(impression_reader *it, const char *name) {
  int key;
  int64_t rows = 0, n_repeated = 0;
  const int64_t n_bad = it->self->counts.bad;
  FACET_TRY(delimited_column(it->text, it->self->history.log.key, &key));
  FACET_TRY(find_list_columns(it));
  for (;;) {
    const delimited_field *fields;
    int n;
    int32_t user;
    bool is_good;
    FACET_TRY(next_row(it, &rows, &fields, &n));
    if (n == 0) break;
    if (fields[key].n_bytes == 0) {
      FACET_TRY(convert_bad_row(it->self, it->text, it->self->history.log.key, "", "a user"));
      continue;
    }
    FACET_TRY(convert_raw_index(it->self->entities[CONVERT_USER].raw, it->text, fields[key].text, fields[key].n_bytes,
                                &user));
    FACET_TRY(FACET_GROW(it->histories, it->histories_capacity, user + 1, "histories"));
    user_history *history = &it->histories[user];
    n_repeated += history->is_known;
    if (history->is_known) continue;
    FACET_TRY(read_history(it, fields, &history->offset, &history->n, &is_good));
    history->is_known = is_good;
  }
  fprintf(it->self->request->report, "histories: %lld rows read from %s; %lld repeated, %lld dropped\n",
          (long long)rows, name, (long long)n_repeated, (long long)(it->self->counts.bad - n_bad));
  it->self->counts.bad = n_bad; /* of the impressions alone */
  return FACET_OK;
}

/* Histories of every user of the file, in place of those of the split before. */
static facet_status read_history_file(impression_reader *it, const char *name) {
  if (it->histories) memset(it->histories, 0, it->histories_capacity * sizeof *it->histories);
  FACET_TRY(convert_open_text(it->self, &it->self->history.log, name, &it->text));
  const facet_status status = read_history_rows(it, name);
  delimited_close(&it->text);
  return status;
}

/* ---- impressions ----------------------------------------------------------------------------------------------- */

static facet_status mark_item(impression_reader *it, const char *text, size_t n_bytes, int32_t *item) {
  FACET_TRY(convert_raw_index(it->self->entities[CONVERT_ITEM].raw, it->text, text, n_bytes, item));
  FACET_CHECK(*item < SHOWN_MAX, FACET_ERROR_DATA, "%s: more than %lld items", delimited_path(it->text),
              (long long)SHOWN_MAX);
  return FACET_GROW(it->marks, it->marks_capacity, *item + 1, "marks of items");
}

/* Marks the clicked items. Marks hold row + 1: 0 is never. */
static facet_status mark_clicks(impression_reader *it, int64_t row, const delimited_field *field, int64_t *n_clicked) {
  const char *text;
  size_t n_bytes;
  int32_t item;
  *n_clicked = 0;
  list_cursor cursor = list_begin(field, it->self->impressions.list_separator);
  while (list_next(&cursor, &text, &n_bytes)) {
    if (n_bytes == 0) continue;
    FACET_TRY(mark_item(it, text, n_bytes, &item));
    *n_clicked += it->marks[item].clicked_row != row + 1;
    it->marks[item].clicked_row = row + 1;
  }
  return FACET_OK;
}

/* Cuts the label off "N55689-1". */
static bool cut_label(const char *separator, const char *text, size_t *n_bytes, int *label) {
  const size_t separator_bytes = strlen(separator);
  if (*n_bytes < separator_bytes + 2) return false; /* an item, the separator, a digit */
  const size_t item_bytes = *n_bytes - separator_bytes - 1;
  const char digit = text[*n_bytes - 1];
  if (memcmp(text + item_bytes, separator, separator_bytes) != 0 || (digit != '0' && digit != '1')) return false;
  *n_bytes = item_bytes;
  *label = digit - '0';
  return true;
}

/* Adds a showing to the data, unless the row has shown the item before; then it is clicked if any of them was. */
static facet_status add_shown(impression_reader *it, int64_t row, int32_t item, int label, convert_impression *out) {
  item_mark *mark = &it->marks[item];
  if (mark->shown_row == row + 1 && !it->self->options.keep_duplicates) {
    it->data.at[mark->position] |= label;
    it->self->counts.shown_again++;
    return FACET_OK;
  }
  FACET_TRY(grow(&it->data, it->data.n + 1));
  mark->shown_row = row + 1;
  mark->position = (int32_t)it->data.n;
  it->data.at[it->data.n++] = 2 * item + label;
  out->n_shown++;
  return FACET_OK;
}

static facet_status not_shown(impression_reader *it, int64_t row, const delimited_field *clicked) {
  const char *text = "";
  size_t n_bytes = 0;
  int32_t item;
  list_cursor cursor = list_begin(clicked, it->self->impressions.list_separator);
  while (list_next(&cursor, &text, &n_bytes)) {
    if (n_bytes == 0) continue;
    FACET_TRY(mark_item(it, text, n_bytes, &item));
    if (it->marks[item].shown_row != row + 1) break;
  }
  return bad_value(it, it->self->impressions.clicked, text, n_bytes, "an item that was shown");
}

static facet_status read_shown(impression_reader *it, const delimited_field *fields, convert_impression *out,
                               bool *is_good) {
  const convert_impressions *impressions = &it->self->impressions;
  const char *text;
  size_t n_bytes;
  int64_t n_clicked = 0, n_found = 0;
  *is_good = false;
  if (it->clicked >= 0) FACET_TRY(mark_clicks(it, out->row, &fields[it->clicked], &n_clicked));
  list_cursor cursor = list_begin(&fields[it->shown], impressions->list_separator);
  while (list_next(&cursor, &text, &n_bytes)) {
    const size_t value_bytes = n_bytes;
    int32_t item;
    int label = 0;
    if (n_bytes == 0) continue;
    if (it->clicked < 0 && !cut_label(impressions->label_separator, text, &n_bytes, &label)) {
      char expected[2 * FACET_OPTION_MAX_TEXT + 64];
      snprintf(expected, sizeof expected, "item%s0 or item%s1", impressions->label_separator,
               impressions->label_separator);
      return bad_value(it, impressions->shown, text, value_bytes, expected);
    }
    FACET_TRY(mark_item(it, text, n_bytes, &item));
    if (it->clicked >= 0) {
      label = it->marks[item].clicked_row == out->row + 1;
      n_found += label && it->marks[item].shown_row != out->row + 1;
    }
    FACET_TRY(add_shown(it, out->row, item, label, out));
  }
  if (n_found != n_clicked) return not_shown(it, out->row, &fields[it->clicked]);
  *is_good = true;
  return FACET_OK;
}

static facet_status read_context(impression_reader *it, const delimited_field *fields, bool *is_good) {
  convert_fields *context = &it->self->context;
  *is_good = true;
  it->data.n = 0;
  FACET_TRY(grow(&it->data, context->n));
  for (int c = 0; *is_good && c < context->n; c++) {
    const delimited_field *field = &fields[it->context[c]];
    FACET_TRY(convert_read_field(&context->field[c], it->text, field->text, field->n_bytes, &it->data.at[it->data.n++],
                                 is_good));
    if (!*is_good) return bad_value(it, context->attributes[c].column, field->text, field->n_bytes, "a finite number");
  }
  return FACET_OK;
}

static facet_status find_history(impression_reader *it, const delimited_field *fields, convert_impression *out,
                                 bool *is_good) {
  if (!it->self->history.log.file[0]) return read_history(it, fields, &out->history, &out->n_history, is_good);
  FACET_TRY(FACET_GROW(it->histories, it->histories_capacity, out->user + 1, "histories"));
  const user_history *history = &it->histories[out->user];
  it->self->counts.no_list += !history->is_known;
  out->history = history->offset;
  out->n_history = history->n;
  *is_good = true;
  return FACET_OK;
}

static facet_status read_impression(impression_reader *it, const delimited_field *fields, convert_impression *out) {
  conversion *self = it->self;
  const convert_file *file = &self->impressions.log;
  bool is_good;
  FACET_TRY(convert_read_key(self, it->text, file, &fields[it->user], &fields[it->time], &out->time, &is_good));
  if (!is_good) return FACET_OK;
  out->group = out->row;
  if (it->impression >= 0 && !facet_text_int(fields[it->impression].text, &out->group))
    return convert_bad_row(self, it->text, self->impressions.impression, fields[it->impression].text, "an integer");
  if (out->time < file->time_from || out->time >= file->time_until) {
    self->counts.outside++;
    return FACET_OK;
  }
  FACET_TRY(convert_raw_index(self->entities[CONVERT_USER].raw, it->text, fields[it->user].text,
                              fields[it->user].n_bytes, &out->user));
  FACET_TRY(read_context(it, fields, &is_good));
  if (is_good) FACET_TRY(read_shown(it, fields, out, &is_good));
  if (!is_good) return FACET_OK;
  if (out->n_shown == 0) {
    self->counts.nothing_shown++;
    return FACET_OK;
  }
  FACET_TRY(find_history(it, fields, out, &is_good));
  if (!is_good) return FACET_OK;
  out->data = it->log->spool.n_bytes;
  FACET_TRY(facet_spool_append(&it->log->spool, it->data.at, (size_t)it->data.n * sizeof(int32_t)));
  self->counts.kept++;
  if (it->times) FACET_TRY(facet_sorter_add(it->times, &out->time));
  return facet_sorter_add(self->sorter, out);
}

static facet_status find_columns(impression_reader *it) {
  const convert_impressions *impressions = &it->self->impressions;
  const convert_fields *context = &it->self->context;
  it->impression = it->clicked = -1;
  FACET_TRY(delimited_column(it->text, impressions->log.user, &it->user));
  FACET_TRY(delimited_column(it->text, impressions->log.time, &it->time));
  FACET_TRY(delimited_column(it->text, impressions->shown, &it->shown));
  if (impressions->clicked[0]) FACET_TRY(delimited_column(it->text, impressions->clicked, &it->clicked));
  if (impressions->impression[0]) FACET_TRY(delimited_column(it->text, impressions->impression, &it->impression));
  for (int c = 0; c < context->n; c++)
    FACET_TRY(delimited_column(it->text, context->attributes[c].column, &it->context[c]));
  return it->self->history.log.file[0] ? FACET_OK : find_list_columns(it);
}

static facet_status read_impressions(impression_reader *it, int split) {
  convert_counts *counts = &it->self->counts;
  facet_progress progress;
  facet_progress_start(&progress, "reading", "bytes", delimited_bytes_total(it->text));
  FACET_TRY(find_columns(it));
  for (;;) {
    const delimited_field *fields;
    int n;
    convert_impression impression = {.split = split};
    FACET_TRY(next_row(it, &counts->rows, &fields, &n));
    if (n == 0) break;
    impression.row = counts->rows - 1;
    FACET_TRY(read_impression(it, fields, &impression));
    if (counts->rows % 256 == 0) facet_progress_update(&progress, delimited_bytes_read(it->text), NULL);
  }
  facet_progress_finish(&progress, delimited_bytes_read(it->text), NULL);
  return FACET_OK;
}

static facet_status read_impression_file(impression_reader *it, const char *name, int split) {
  FACET_TRY(convert_open_text(it->self, &it->self->impressions.log, name, &it->text));
  const facet_status status = read_impressions(it, split);
  delimited_close(&it->text);
  return status;
}

static facet_status read_files(impression_reader *it) {
  const convert_impressions *impressions = &it->self->impressions;
  const convert_history *history = &it->self->history;
  const char *const files[N_SPLITS] = {impressions->log.file, impressions->valid_file, impressions->test_file};
  const char *const lists[N_SPLITS] = {history->log.file, history->valid_file, history->test_file};
  const char *present = ""; /* file of the histories that have been read last */
  for (int split = 0; split < N_SPLITS; split++) {
    const char *wanted = lists[split][0] ? lists[split] : history->log.file;
    if (!files[split][0]) continue;
    if (strcmp(wanted, present) != 0) FACET_TRY(read_history_file(it, wanted));
    present = wanted;
    FACET_TRY(read_impression_file(it, files[split], split));
  }
  FACET_CHECK(it->self->counts.kept > 0, FACET_ERROR_DATA, "%s has no impression: %lld rows read",
              impressions->log.file, (long long)it->self->counts.rows);
  return FACET_OK;
}

static int compare_impressions(const void *a, const void *b) {
  const convert_impression *x = a, *y = b;
  if (x->user != y->user) return x->user < y->user ? -1 : 1;
  if (x->time != y->time) return x->time < y->time ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

static facet_status open_log(conversion *self, convert_impression_log **log) {
  FACET_TRY(FACET_ALLOC(*log, 1, "impressions"));
  (*log)->spool.descriptor = -1;
  (*log)->event_words = convert_event_field_position(self, self->event_fields.n);
  FACET_TRY(facet_path_format((*log)->spool_path, "%s/impressions", self->directory));
  FACET_TRY(facet_spool_open(&(*log)->spool, (*log)->spool_path));
  FACET_TRY(facet_vocabulary_create("raw users", &self->entities[CONVERT_USER].raw));
  FACET_TRY(facet_vocabulary_create("raw items", &self->entities[CONVERT_ITEM].raw));
  FACET_TRY(convert_open_fields(self, &self->context));
  FACET_TRY(convert_open_fields(self, &self->event_fields));
  return facet_sorter_create(sizeof(convert_impression), compare_impressions, convert_sort_bytes(self), NULL,
                             &self->sorter);
}

facet_status convert_read_impressions(conversion *self) {
  facet_status status;
  FACET_TRY(open_log(self, &self->impression_log));
  impression_reader it = {.self = self, .log = self->impression_log};
  const bool has_files = self->impressions.valid_file[0] || self->impressions.test_file[0];
  if (self->options.split == CONVERT_SPLIT_TIME && !has_files)
    FACET_TRY_GOTO(
        status, done,
        facet_sorter_create(sizeof(int64_t), convert_compare_times, convert_sort_bytes(self), NULL, &it.times));
  FACET_TRY_GOTO(status, done, read_files(&it));
  FACET_TRY_GOTO(status, done, facet_spool_flush(&self->impression_log->spool));
  FACET_TRY_GOTO(status, done, facet_sorter_finish(self->sorter));
  if (it.times) FACET_TRY_GOTO(status, done, convert_time_quantiles(self, it.times));
done:
  facet_sorter_destroy(&it.times);
  facet_memory_free(it.data.at);
  facet_memory_free(it.events.at);
  facet_memory_free(it.sorted.at);
  facet_memory_free(it.order);
  facet_memory_free(it.marks);
  facet_memory_free(it.histories);
  return status;
}

void convert_destroy_impressions(conversion *self) {
  if (!self->impression_log) return;
  facet_spool_close(&self->impression_log->spool);
  facet_memory_free(self->impression_log);
  self->impression_log = NULL;
}
