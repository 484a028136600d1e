/* Reading delimited text in large blocks; fields are split in place. */
#include "data/delimited.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "facet/log.h"
#include "facet/memory.h"
#include "facet/yaml.h"

#define BLOCK_BYTES ((size_t)1 << 20)
#define LINE_MAX_BYTES ((size_t)64 << 20)

struct delimited_reader {
  char path[FACET_PATH_MAX];
  int descriptor;
  char separator[16];
  size_t separator_bytes;
  bool quoted, at_end;
  char *buffer; /* buffer[begin … end) is not yet split; one byte more is allocated for a final 0 */
  size_t capacity, begin, end;
  int64_t line, bytes_read, bytes_total;
  int n_columns;
  int n_pending; /* fields of the first row, read to count the columns and not yet given out */
  char **names;  /* [n_columns] of the header, or NULL */
  delimited_field fields[DELIMITED_MAX_FIELDS];
};

const char *delimited_separator(const char *name) {
  static const char *const names[][2] = {{"tab", "\t"}, {"comma", ","}, {"space", " "}, {"semicolon", ";"}};
  for (int i = 0; i < 4; i++)
    if (strcmp(name, names[i][0]) == 0) return names[i][1];
  return name;
}

static facet_status set_separator(delimited_reader *self, const char *name, const char *path) {
  const char *text = delimited_separator(name);
  self->separator_bytes = strlen(text);
  FACET_CHECK(self->separator_bytes > 0 && self->separator_bytes < sizeof self->separator, FACET_ERROR_USAGE,
              "separator \"%s\" of %s: expected 1 to %zu characters", text, path, sizeof self->separator - 1);
  memcpy(self->separator, text, self->separator_bytes + 1);
  return FACET_OK;
}

/* Reads more of the file behind the unsplit bytes, which move to the front. */
static facet_status fill(delimited_reader *self) {
  memmove(self->buffer, self->buffer + self->begin, self->end - self->begin);
  self->end -= self->begin;
  self->begin = 0;
  FACET_CHECK(self->end < LINE_MAX_BYTES, FACET_ERROR_DATA, "%s:%lld: the line is longer than %s", self->path,
              (long long)self->line + 1, facet_format_bytes((double)LINE_MAX_BYTES));
  FACET_TRY(FACET_GROW(self->buffer, self->capacity, self->end + BLOCK_BYTES + 1, "text buffer"));
  ssize_t got;
  do got = read(self->descriptor, self->buffer + self->end, BLOCK_BYTES);
  while (got < 0 && errno == EINTR);
  FACET_CHECK(got >= 0, FACET_ERROR_IO, "cannot read %s: %s", self->path, strerror(errno));
  self->at_end = got == 0;
  self->end += (size_t)got;
  return FACET_OK;
}

/* The next line without its end, 0-terminated; NULL at the end of the file. */
static facet_status next_line(delimited_reader *self, char **line, size_t *n_bytes) {
  *line = NULL;
  size_t searched = 0;
  char *newline;
  for (;;) {
    newline = memchr(self->buffer + self->begin + searched, '\n', self->end - self->begin - searched);
    if (newline || self->at_end) break;
    searched = self->end - self->begin;
    FACET_TRY(fill(self));
  }
  if (self->begin == self->end) return FACET_OK;
  *line = self->buffer + self->begin;
  char *stop = newline ? newline : self->buffer + self->end;
  self->begin = (size_t)(stop - self->buffer) + (newline ? 1 : 0);
  self->bytes_read += stop - *line + (newline ? 1 : 0);
  self->line++;
  if (stop > *line && stop[-1] == '\r') stop--;
  *stop = 0;
  *n_bytes = (size_t)(stop - *line);
  FACET_CHECK(!memchr(*line, 0, *n_bytes), FACET_ERROR_DATA, "%s:%lld: the line holds a zero byte; expected text",
              self->path, (long long)self->line);
  return FACET_OK;
}

static facet_status add_field(delimited_reader *self, int *n, char *text, size_t n_bytes) {
  FACET_CHECK(*n < DELIMITED_MAX_FIELDS, FACET_ERROR_DATA, "%s:%lld: more than %d fields", self->path,
              (long long)self->line, DELIMITED_MAX_FIELDS);
  text[n_bytes] = 0;
  self->fields[(*n)++] = (delimited_field){.text = text, .n_bytes = n_bytes};
  return FACET_OK;
}

/* Takes a quoted field at *text (which is at its opening quote) and moves *text behind the closing one. */
static facet_status unquote(delimited_reader *self, char **text, char **field, size_t *n_bytes) {
  char *from = *text + 1, *to = from;
  *field = from;
  for (;; from++) {
    FACET_CHECK(*from, FACET_ERROR_DATA, "%s:%lld: a quoted field is not closed", self->path, (long long)self->line);
    if (*from == '"' && *++from != '"') break;
    *to++ = *from;
  }
  *n_bytes = (size_t)(to - *field);
  *text = from;
  FACET_CHECK(*from == 0 || strncmp(from, self->separator, self->separator_bytes) == 0, FACET_ERROR_DATA,
              "%s:%lld: text follows a closing quote", self->path, (long long)self->line);
  return FACET_OK;
}

static facet_status split(delimited_reader *self, char *text, int *n) {
  *n = 0;
  for (;;) {
    char *field = text;
    size_t n_bytes;
    if (self->quoted && *text == '"') {
      FACET_TRY(unquote(self, &text, &field, &n_bytes));
    } else {
      text = self->separator_bytes == 1 ? strchr(field, self->separator[0]) : strstr(field, self->separator);
      if (!text) text = field + strlen(field);
      n_bytes = (size_t)(text - field);
    }
    const bool is_last = *text == 0;
    text += is_last ? 0 : self->separator_bytes;
    FACET_TRY(add_field(self, n, field, n_bytes));
    if (is_last) return FACET_OK;
  }
}

facet_status delimited_next(delimited_reader *reader, const delimited_field **fields, int *n_fields) {
  char *line;
  size_t n_bytes;
  *n_fields = reader->n_pending;
  *fields = reader->fields;
  reader->n_pending = 0;
  if (*n_fields > 0) return FACET_OK;
  do {
    FACET_TRY(next_line(reader, &line, &n_bytes));
    if (!line) return FACET_OK;
  } while (n_bytes == 0);
  return split(reader, line, n_fields);
}

/* Names or counts the columns by the first row. */
static facet_status read_header(delimited_reader *self, bool has_names) {
  const delimited_field *fields;
  int n;
  FACET_TRY(fill(self));
  if (self->end >= 3 && memcmp(self->buffer, "\xef\xbb\xbf", 3) == 0)
    self->bytes_read = (int64_t)(self->begin = 3); /* byte order mark */
  FACET_TRY(delimited_next(self, &fields, &n));
  FACET_CHECK(n > 0, FACET_ERROR_DATA, "%s is empty; expected %s", self->path, has_names ? "a header line" : "rows");
  self->n_columns = n;
  if (!has_names) {
    self->n_pending = n;
    return FACET_OK;
  }
  FACET_TRY(FACET_ALLOC(self->names, n, "column names"));
  for (int i = 0; i < n; i++)
    if (!(self->names[i] = facet_memory_strdup(fields[i].text))) return FACET_ERROR_INTERNAL;
  return FACET_OK;
}

facet_status delimited_open(const char *path, const delimited_format *format, delimited_reader **reader) {
  *reader = NULL;
  delimited_reader *self;
  struct stat info;
  FACET_TRY(FACET_ALLOC(self, 1, "text reader"));
  self->quoted = format->quoted;
  self->descriptor = -1;
  facet_status status;
  FACET_TRY_GOTO(status, failed, set_separator(self, format->separator, path));
  self->descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (self->descriptor < 0 || fstat(self->descriptor, &info) != 0) {
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "cannot open %s: %s", path, strerror(errno));
    goto failed;
  }
  self->bytes_total = info.st_size;
  FACET_TRY_GOTO(status, failed, facet_path_format(self->path, "%s", path));
  FACET_TRY_GOTO(status, failed, FACET_GROW(self->buffer, self->capacity, BLOCK_BYTES + 1, "text buffer"));
  FACET_TRY_GOTO(status, failed, read_header(self, format->header));
  *reader = self;
  return FACET_OK;
failed:
  delimited_close(&self);
  return status;
}

void delimited_close(delimited_reader **reader) {
  delimited_reader *self = *reader;
  if (!self) return;
  if (self->descriptor >= 0) close(self->descriptor);
  for (int i = 0; self->names && i < self->n_columns; i++) facet_memory_free(self->names[i]);
  facet_memory_free(self->names);
  facet_memory_free(self->buffer);
  facet_memory_free(self);
  *reader = NULL;
}

facet_status delimited_column(const delimited_reader *reader, const char *name, int *index) {
  if (!reader->names) {
    char *end;
    const long number = strtol(name, &end, 10);
    FACET_CHECK(*name && *end == 0 && number >= 1 && number <= reader->n_columns, FACET_ERROR_USAGE,
                "column \"%s\" of %s: the file has no header, expected a number from 1 to %d", name, reader->path,
                reader->n_columns);
    *index = (int)number - 1;
    return FACET_OK;
  }
  for (int i = 0; i < reader->n_columns; i++) {
    if (strcmp(reader->names[i], name) != 0) continue;
    *index = i;
    return FACET_OK;
  }
  const char *nearest = facet_nearest_name(name, (const char *const *)reader->names, reader->n_columns);
  facet_error_set(FACET_ERROR_USAGE, __FILE__, __LINE__, "%s has no column \"%s\" in its header", reader->path, name);
  return nearest ? facet_error_hint("did you mean \"%s\"?", nearest) : FACET_ERROR_USAGE;
}

int delimited_n_columns(const delimited_reader *reader) {
  return reader->n_columns;
}
int64_t delimited_line(const delimited_reader *reader) {
  return reader->line;
}
const char *delimited_path(const delimited_reader *reader) {
  return reader->path;
}
int64_t delimited_bytes_read(const delimited_reader *reader) {
  return reader->bytes_read;
}
int64_t delimited_bytes_total(const delimited_reader *reader) {
  return reader->bytes_total;
}

bool delimited_double(const delimited_field *field, double *value) {
  char *end;
  if (field->n_bytes == 0) return false;
  *value = strtod(field->text, &end);
  return end == field->text + field->n_bytes && isfinite(*value);
}

bool delimited_int64(const delimited_field *field, int64_t *value) {
  char *end;
  if (field->n_bytes == 0) return false;
  errno = 0;
  const long long whole = strtoll(field->text, &end, 10);
  *value = whole;
  if (errno == 0 && end == field->text + field->n_bytes) return true;
  double number;
  if (!delimited_double(field, &number) || fabs(number) >= 0x1p53) return false;
  *value = (int64_t)number;
  return true;
}
