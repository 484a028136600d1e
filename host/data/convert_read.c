/* The log: rows of text to sorted events with raw ids. */
#include <ctype.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "data/convert_internal.h"
#include "facet/log.h"
#include "facet/memory.h"

typedef struct log_columns {
  int user, item, time, rating; /* rating −1: none */
} log_columns;

static facet_status find_columns(const delimited_reader *reader, const convert_file *file, log_columns *columns) {
  FACET_TRY(delimited_column(reader, file->user, &columns->user));
  FACET_TRY(delimited_column(reader, file->item, &columns->item));
  FACET_TRY(delimited_column(reader, file->time, &columns->time));
  columns->rating = -1;
  if (file->rating[0]) FACET_TRY(delimited_column(reader, file->rating, &columns->rating));
  return FACET_OK;
}

facet_status convert_bad_row(conversion *self, const delimited_reader *reader, const char *what, const char *value,
                             const char *expected) {
  self->counts.bad++;
  if (self->options.drop_bad_rows) return FACET_OK;
  facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__, "%s:%lld: %s is \"%s\", expected %s", delimited_path(reader),
                  (long long)delimited_line(reader), what, value, expected);
  return facet_error_hint("convert.drop_bad_rows: true drops and counts such rows");
}

/* Seconds of a time in text; what the format does not say is UTC. */
static bool parse_time(const char *format, const delimited_field *field, int64_t *time) {
  struct tm parts = {.tm_mday = 1};
  const char *stop = strptime(field->text, format, &parts);
  if (!stop) return false;
  if (stop[0] == '.' && isdigit((unsigned char)stop[1])) stop += 1 + strspn(stop + 1, "0123456789");
  if (stop != field->text + field->n_bytes) return false;
  struct tm whole = parts; /* timegm carries 31 November over to December */
  *time = (int64_t)timegm(&whole) - parts.tm_gmtoff;
  return whole.tm_mday == parts.tm_mday;
}

bool convert_read_time(const convert_file *file, const delimited_field *field, int64_t *time) {
  double units;
  if (file->time_format[0]) return parse_time(file->time_format, field, time);
  if (file->time_unit == 1) return delimited_int64(field, time);
  if (!delimited_double(field, &units) || fabs(units * file->time_unit) >= 0x1p53) return false;
  *time = (int64_t)(units * file->time_unit);
  return true;
}

const char *convert_time_expected(const convert_file *file, char *text, size_t n_bytes) {
  if (!file->time_format[0]) return "a time as a number";
  snprintf(text, n_bytes, "a time as \"%s\"", file->time_format);
  return text;
}

facet_status convert_raw_index(facet_vocabulary *raw, const delimited_reader *reader, const char *text, size_t n_bytes,
                               int32_t *index) {
  int64_t id;
  if (facet_vocabulary_add(raw, text, n_bytes, &id) != FACET_OK)
    return facet_error_context("%s:%lld", delimited_path(reader), (long long)delimited_line(reader));
  *index = (int32_t)(id - FACET_ID_FIRST);
  return FACET_OK;
}

/* Reads one row; *event is complete when *is_good. */
static facet_status read_row(conversion *self, const delimited_reader *reader, const log_columns *columns,
                             const delimited_field *fields, int n, convert_event *event, bool *is_good) {
  const convert_file *file = &self->interactions;
  char number[32], expected_time[FACET_OPTION_MAX_TEXT + 32];
  *is_good = false;
  if (n != delimited_n_columns(reader)) {
    snprintf(number, sizeof number, "%d", n);
    char expected[64];
    snprintf(expected, sizeof expected, "%d fields as in the first line", delimited_n_columns(reader));
    return convert_bad_row(self, reader, "the number of fields", number, expected);
  }
  const delimited_field *user = &fields[columns->user], *item = &fields[columns->item], *time = &fields[columns->time];
  if (user->n_bytes == 0) return convert_bad_row(self, reader, file->user, "", "a user");
  if (item->n_bytes == 0) return convert_bad_row(self, reader, file->item, "", "an item");
  if (!convert_read_time(file, time, &event->time))
    return convert_bad_row(self, reader, file->time, time->text,
                           convert_time_expected(file, expected_time, sizeof expected_time));
  if (event->time < 0) return convert_bad_row(self, reader, file->time, time->text, "a time that is not negative");
  double rating = 0;
  if (columns->rating >= 0 && !delimited_double(&fields[columns->rating], &rating))
    return convert_bad_row(self, reader, file->rating, fields[columns->rating].text, "a number");
  event->is_positive = columns->rating < 0 || rating >= file->rating_at_least;
  FACET_TRY(convert_raw_index(self->entities[CONVERT_USER].raw, reader, user->text, user->n_bytes, &event->user));
  FACET_TRY(convert_raw_index(self->entities[CONVERT_ITEM].raw, reader, item->text, item->n_bytes, &event->item));
  *is_good = true;
  return FACET_OK;
}

static facet_status read_rows(conversion *self, delimited_reader *reader, const log_columns *columns) {
  facet_progress progress;
  facet_progress_start(&progress, "reading", "bytes", delimited_bytes_total(reader));
  for (;;) {
    const delimited_field *fields;
    int n;
    bool is_good;
    convert_event event = {.row = self->counts.rows};
    FACET_TRY(delimited_next(reader, &fields, &n));
    if (n == 0) break;
    self->counts.rows++;
    FACET_TRY(read_row(self, reader, columns, fields, n, &event, &is_good));
    if (!is_good) continue;
    if (!event.is_positive) self->counts.below_rating++;
    FACET_TRY(facet_sorter_add(self->sorter, &event));
    if (self->counts.rows % 4096 == 0) facet_progress_update(&progress, delimited_bytes_read(reader), NULL);
  }
  facet_progress_finish(&progress, delimited_bytes_read(reader), NULL);
  FACET_CHECK(self->counts.rows > 0, FACET_ERROR_DATA, "%s has no rows", delimited_path(reader));
  return FACET_OK;
}

static int compare_events(const void *a, const void *b) {
  const convert_event *x = a, *y = b;
  if (x->user != y->user) return x->user < y->user ? -1 : 1;
  if (x->time != y->time) return x->time < y->time ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

facet_status convert_read_interactions(conversion *self) {
  char path[FACET_PATH_MAX];
  delimited_reader *reader;
  log_columns columns;
  const delimited_format format = {.separator = self->interactions.separator,
                                   .header = self->interactions.header,
                                   .quoted = self->interactions.quoted};
  FACET_TRY(facet_path_format(path, "%s/%s", self->input, self->interactions.file));
  FACET_TRY(facet_vocabulary_create("raw users", &self->entities[CONVERT_USER].raw));
  FACET_TRY(facet_vocabulary_create("raw items", &self->entities[CONVERT_ITEM].raw));
  FACET_TRY(facet_sorter_create(sizeof(convert_event), compare_events, convert_sort_bytes(self), NULL, &self->sorter));
  FACET_TRY(delimited_open(path, &format, &reader));
  facet_status status = find_columns(reader, &self->interactions, &columns);
  if (status == FACET_OK) status = read_rows(self, reader, &columns);
  delimited_close(&reader);
  FACET_TRY(status);
  return facet_sorter_finish(self->sorter);
}
