/* The log: rows of text to sorted events with raw ids. */
#include <ctype.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "data/convert_internal.h"
#include "facet/log.h"
#include "facet/memory.h"

typedef struct log_columns {
  int user, item, time, rating, kind; /* rating, kind: −1: none */
  int field[CONVERT_MAX_ATTRIBUTES];
} log_columns;

static facet_status find_columns(const conversion *self, const delimited_reader *reader, log_columns *columns) {
  const convert_file *file = &self->interactions;
  FACET_TRY(delimited_column(reader, file->user, &columns->user));
  FACET_TRY(delimited_column(reader, file->item, &columns->item));
  FACET_TRY(delimited_column(reader, file->time, &columns->time));
  columns->rating = columns->kind = -1;
  if (file->rating[0]) FACET_TRY(delimited_column(reader, file->rating, &columns->rating));
  if (file->kind[0]) FACET_TRY(delimited_column(reader, file->kind, &columns->kind));
  for (int f = 0; f < self->event_fields.n; f++)
    FACET_TRY(delimited_column(reader, self->event_fields.attributes[f].column, &columns->field[f]));
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

facet_status convert_bad_width(conversion *self, const delimited_reader *reader, int n_fields) {
  char number[32], expected[64];
  snprintf(number, sizeof number, "%d", n_fields);
  snprintf(expected, sizeof expected, "%d fields as in the first line", delimited_n_columns(reader));
  return convert_bad_row(self, reader, "the number of fields", number, expected);
}

facet_status convert_open_text(const conversion *self, const convert_file *file, const char *name,
                               delimited_reader **reader) {
  char path[FACET_PATH_MAX];
  const delimited_format format = {.separator = file->separator, .header = file->header, .quoted = file->quoted};
  FACET_TRY(facet_path_format(path, "%s/%s", self->input, name));
  return delimited_open(path, &format, reader);
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

facet_status convert_read_key(conversion *self, const delimited_reader *reader, const convert_file *file,
                              const delimited_field *user, const delimited_field *time, int64_t *seconds,
                              bool *is_good) {
  char expected[FACET_OPTION_MAX_TEXT + 32];
  *is_good = false;
  if (user->n_bytes == 0) return convert_bad_row(self, reader, file->user, "", "a user");
  if (!convert_read_time(file, time, seconds))
    return convert_bad_row(self, reader, file->time, time->text,
                           convert_time_expected(file, expected, sizeof expected));
  if (*seconds < 0) return convert_bad_row(self, reader, file->time, time->text, "a time that is not negative");
  *is_good = true;
  return FACET_OK;
}

facet_status convert_raw_index(facet_vocabulary *raw, const delimited_reader *reader, const char *text, size_t n_bytes,
                               int32_t *index) {
  int64_t id;
  if (facet_vocabulary_add(raw, text, n_bytes, &id) != FACET_OK)
    return facet_error_context("%s:%lld", delimited_path(reader), (long long)delimited_line(reader));
  *index = (int32_t)(id - FACET_ID_FIRST);
  return FACET_OK;
}

/* ---- rows whose tokens are looked up together, so that waits for memory overlap ---------------------------------- */

#define BLOCK_ROWS 64

typedef struct row_block {
  int64_t n;
  convert_record record[BLOCK_ROWS]; /* user and item are not known yet */
  size_t begin[CONVERT_N_ENTITIES][BLOCK_ROWS], n_bytes[CONVERT_N_ENTITIES][BLOCK_ROWS]; /* tokens in text */
  char *text;
  size_t n_text, capacity;
} row_block;

static facet_status add_token(row_block *block, int entity, const delimited_reader *reader,
                              const delimited_field *field) {
  static const char *const what[CONVERT_N_ENTITIES] = {"user", "item"};
  FACET_CHECK(field->n_bytes <= FACET_VOCABULARY_MAX_TOKEN_BYTES, FACET_ERROR_DATA,
              "%s:%lld: %s: a token of %zu bytes, expected at most %zu", delimited_path(reader),
              (long long)delimited_line(reader), what[entity], field->n_bytes, FACET_VOCABULARY_MAX_TOKEN_BYTES);
  FACET_TRY(FACET_GROW(block->text, block->capacity, block->n_text + field->n_bytes, "rows of the log"));
  memcpy(block->text + block->n_text, field->text, field->n_bytes);
  block->begin[entity][block->n] = block->n_text;
  block->n_bytes[entity][block->n] = field->n_bytes;
  block->n_text += field->n_bytes;
  return FACET_OK;
}

/* Gives the block's events their users and items, and the sorter the events. */
static facet_status flush_block(conversion *self, row_block *block) {
  int64_t ids[CONVERT_N_ENTITIES][BLOCK_ROWS];
  for (int e = 0; e < CONVERT_N_ENTITIES; e++) {
    facet_token tokens[BLOCK_ROWS];
    for (int64_t i = 0; i < block->n; i++)
      tokens[i] = (facet_token){block->text + block->begin[e][i], block->n_bytes[e][i]};
    FACET_TRY(facet_vocabulary_add_many(self->entities[e].raw, tokens, block->n, ids[e]));
  }
  for (int64_t i = 0; i < block->n; i++) {
    convert_record *record = &block->record[i];
    record->event.user = (int32_t)(ids[CONVERT_USER][i] - FACET_ID_FIRST);
    record->event.item = (int32_t)(ids[CONVERT_ITEM][i] - FACET_ID_FIRST);
    FACET_TRY(facet_sorter_add(self->sorter, record));
  }
  block->n = 0;
  block->n_text = 0;
  return FACET_OK;
}

bool convert_next_name(const char **list, delimited_field *name) {
  *list += strspn(*list, ", ");
  name->text = (char *)(uintptr_t)*list;
  name->n_bytes = strcspn(*list, ",");
  *list += name->n_bytes;
  while (name->n_bytes > 0 && name->text[name->n_bytes - 1] == ' ') name->n_bytes--;
  return name->n_bytes > 0;
}

bool convert_is_listed(const char *list, const delimited_field *name) {
  delimited_field one;
  while (convert_next_name(&list, &one))
    if (one.n_bytes == name->n_bytes && memcmp(one.text, name->text, one.n_bytes) == 0) return true;
  return false;
}

static facet_status read_kind(conversion *self, const delimited_reader *reader, const delimited_field *kind,
                              convert_event *event) {
  const convert_file *file = &self->interactions;
  const bool is_event = !file->event_kinds[0] || convert_is_listed(file->event_kinds, kind);
  FACET_TRY(convert_raw_index(self->kinds, reader, kind->text, kind->n_bytes, &event->kind));
  self->counts.other_kind += event->is_event && !is_event;
  event->is_event = event->is_event && is_event;
  event->is_sample = event->is_event && (!file->sample_kinds[0] || convert_is_listed(file->sample_kinds, kind));
  return FACET_OK;
}

static facet_status read_fields(conversion *self, const delimited_reader *reader, const log_columns *columns,
                                const delimited_field *fields, convert_record *record, bool *is_good) {
  *is_good = true;
  for (int f = 0; f < self->event_fields.n; f++) {
    const delimited_field *field = &fields[columns->field[f]];
    FACET_TRY(convert_read_field(&self->event_fields.field[f], reader, field->text, field->n_bytes, &record->fields[f],
                                 is_good));
    if (!*is_good)
      return convert_bad_row(self, reader, self->event_fields.attributes[f].column, field->text, "a finite number");
  }
  return FACET_OK;
}

/* Adds a row to the block, unless it is a bad one or outside the range of times. */
static facet_status read_row(conversion *self, const delimited_reader *reader, const log_columns *columns,
                             const delimited_field *fields, int n, row_block *block) {
  const convert_file *file = &self->interactions;
  bool is_good;
  convert_record *record = &block->record[block->n];
  convert_event *event = &record->event;
  *event = (convert_event){.row = self->counts.rows++};
  if (n != delimited_n_columns(reader)) return convert_bad_width(self, reader, n);
  const delimited_field *user = &fields[columns->user], *item = &fields[columns->item];
  FACET_TRY(convert_read_key(self, reader, file, user, &fields[columns->time], &event->time, &is_good));
  if (!is_good) return FACET_OK;
  if (item->n_bytes == 0) return convert_bad_row(self, reader, file->item, "", "an item");
  double rating = 0;
  if (columns->rating >= 0 && !delimited_double(&fields[columns->rating], &rating))
    return convert_bad_row(self, reader, file->rating, fields[columns->rating].text, "a number");
  if (columns->kind >= 0 && fields[columns->kind].n_bytes == 0)
    return convert_bad_row(self, reader, file->kind, "", "a kind");
  if (event->time < file->time_from || event->time >= file->time_until) {
    self->counts.outside++;
    return FACET_OK;
  }
  FACET_TRY(read_fields(self, reader, columns, fields, record, &is_good));
  if (!is_good) return FACET_OK;
  FACET_TRY(add_token(block, CONVERT_USER, reader, user));
  FACET_TRY(add_token(block, CONVERT_ITEM, reader, item));
  event->is_event = event->is_sample = columns->rating < 0 || rating >= file->rating_at_least;
  self->counts.below_rating += !event->is_event;
  if (columns->kind >= 0) FACET_TRY(read_kind(self, reader, &fields[columns->kind], event));
  block->n++;
  return FACET_OK;
}

static facet_status read_rows(conversion *self, delimited_reader *reader, const log_columns *columns,
                              row_block *block) {
  facet_progress progress;
  facet_progress_start(&progress, "reading", "bytes", delimited_bytes_total(reader));
  for (;;) {
    const delimited_field *fields;
    int n;
    FACET_TRY(delimited_next(reader, &fields, &n));
    if (n == 0) break;
    FACET_TRY(read_row(self, reader, columns, fields, n, block));
    if (block->n == BLOCK_ROWS) FACET_TRY(flush_block(self, block));
    if (self->counts.rows % 4096 == 0) facet_progress_update(&progress, delimited_bytes_read(reader), NULL);
  }
  FACET_TRY(flush_block(self, block));
  facet_progress_finish(&progress, delimited_bytes_read(reader), NULL);
  FACET_CHECK(self->counts.rows > 0, FACET_ERROR_DATA, "%s has no rows", delimited_path(reader));
  return FACET_OK;
}

size_t convert_record_bytes(const conversion *self) {
  const size_t n_bytes = offsetof(convert_record, fields) + (size_t)self->event_fields.n * sizeof(int32_t);
  return (n_bytes + 7) / 8 * 8; /* records follow each other aligned */
}

static int compare_events(const void *a, const void *b) {
  const convert_event *x = a, *y = b;
  if (x->user != y->user) return x->user < y->user ? -1 : 1;
  if (x->time != y->time) return x->time < y->time ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

facet_status convert_read_interactions(conversion *self) {
  delimited_reader *reader;
  log_columns columns;
  FACET_TRY(facet_vocabulary_create("raw users", &self->entities[CONVERT_USER].raw));
  FACET_TRY(facet_vocabulary_create("raw items", &self->entities[CONVERT_ITEM].raw));
  FACET_TRY(facet_vocabulary_create("raw kinds", &self->kinds));
  FACET_TRY(convert_open_fields(self, &self->event_fields));
  FACET_TRY(
      facet_sorter_create(convert_record_bytes(self), compare_events, convert_sort_bytes(self), NULL, &self->sorter));
  FACET_TRY(convert_open_text(self, &self->interactions, self->interactions.file, &reader));
  facet_status status = find_columns(self, reader, &columns);
  row_block *block = NULL;
  if (status == FACET_OK) status = FACET_ALLOC(block, 1, "rows of the log");
  if (status == FACET_OK) status = read_rows(self, reader, &columns, block);
  if (block) facet_memory_free(block->text);
  facet_memory_free(block);
  delimited_close(&reader);
  FACET_TRY(status);
  return facet_sorter_finish(self->sorter);
}
