/* Text of `facet inspect`: fields, numbers, tokens, aligned tables. See inspect.h. */
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/text.h"
#include "data/inspect.h"
#include "facet/file.h"
#include "facet/memory.h"

#define RING_BYTES 320 /* 4 bytes for each of them, quotes and "…" */

/* ---- lines ----------------------------------------------------------------------------------------------------- */

void inspect_field(FILE *out, const char *name, const char *format, ...) {
  va_list arguments;
  fprintf(out, "%-12s ", name);
  va_start(arguments, format);
  vfprintf(out, format, arguments);
  va_end(arguments);
  fputc('\n', out);
}

void inspect_ok(FILE *out, const char *name, const char *format, ...) {
  va_list arguments;
  fprintf(out, "%-12s %-24s ", "ok", name);
  va_start(arguments, format);
  vfprintf(out, format, arguments);
  va_end(arguments);
  fputc('\n', out);
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */

static char *next_buffer(void) {
  static _Thread_local char ring[16][RING_BYTES];
  static _Thread_local int next;
  return ring[next++ % 16];
}

/* Digits in groups of three into text; returns where they end. */
static char *group_digits(int64_t n, char *text) {
  char digits[32];
  const int n_digits = snprintf(digits, sizeof digits, "%" PRId64, n);
  for (int i = 0; i < n_digits; i++) {
    if (i > 0 && (n_digits - i) % 3 == 0 && digits[i - 1] != '-') *text++ = ',';
    *text++ = digits[i];
  }
  *text = 0;
  return text;
}

const char *inspect_count(int64_t n) {
  char *buffer = next_buffer();
  group_digits(n, buffer);
  return buffer;
}

const char *inspect_plural(int64_t n, const char *noun) {
  char *buffer = next_buffer(), *end = group_digits(n, buffer);
  snprintf(end, (size_t)(buffer + RING_BYTES - end), " %s%s", noun, n == 1 ? "" : "s");
  return buffer;
}

const char *inspect_share(int64_t n, int64_t total) {
  char *buffer = next_buffer();
  if (total <= 0) return "-";
  snprintf(buffer, RING_BYTES, "%.1f %%", 100.0 * (double)n / (double)total);
  return buffer;
}

const char *inspect_time(int64_t seconds) {
  char *buffer = next_buffer();
  struct tm date;
  const time_t time = seconds;
  if (!gmtime_r(&time, &date) || strftime(buffer, RING_BYTES, "%Y-%m-%d %H:%M:%S", &date) == 0)
    snprintf(buffer, RING_BYTES, "%" PRId64 " s", seconds); /* beyond what a calendar holds */
  return buffer;
}

const char *inspect_shape(int rank, const int64_t *dims) {
  return facet_text_list(dims, rank, next_buffer(), RING_BYTES);
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character that starts here; 0 if there is none, or one that would move the cursor or turn the
 * direction of the text. */
static size_t printable_bytes(const unsigned char *s, size_t n) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (s[0] < 0x80) return s[0] >= 0x20 && s[0] != 0x7F;
  const size_t length = s[0] < 0xC0 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF8 ? 4 : 0;
  if (length == 0 || length > n) return 0;
  uint32_t code = s[0] & (0x7FU >> length);
  for (size_t i = 1; i < length; i++) {
    if ((s[i] & 0xC0) != 0x80) return 0;
    code = code << 6 | (s[i] & 0x3FU);
  }
  const bool is_character = code >= least[length] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
  const bool is_control = code < 0xA0 || (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
  return is_character && !is_control ? length : 0;
}

const char *inspect_quote(const void *token, size_t n_bytes) {
  const unsigned char *s = token;
  const bool is_cut = n_bytes > INSPECT_TOKEN_BYTES;
  const size_t n = is_cut ? INSPECT_TOKEN_BYTES : n_bytes;
  char *buffer = next_buffer(), *to = buffer;
  *to++ = '"';
  for (size_t i = 0; i < n;) {
    size_t length = printable_bytes(s + i, n - i);
    if (length == 0 && is_cut && printable_bytes(s + i, n_bytes - i) > 0) break; /* the cut splits a character */
    if (length == 0) {
      to += snprintf(to, 5, "\\x%02X", s[i++]);
      continue;
    }
    if (s[i] == '"' || s[i] == '\\') *to++ = '\\';
    memcpy(to, s + i, length);
    to += length;
    i += length;
  }
  snprintf(to, sizeof "\"…", "%s", is_cut ? "\"…" : "\"");
  return buffer;
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

int64_t inspect_file_bytes(const char *path) {
  struct stat info;
  int64_t n_bytes = 0;
  if (stat(path, &info) != 0) return 0;
  if (S_ISREG(info.st_mode)) return info.st_size;
  DIR *directory = opendir(path);
  if (!directory) return 0;
  for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
    if (fstatat(dirfd(directory), entry->d_name, &info, 0) == 0 && S_ISREG(info.st_mode)) n_bytes += info.st_size;
  closedir(directory);
  return n_bytes;
}

facet_status inspect_directory_of(const char *path, int levels, char *directory) {
  char absolute[PATH_MAX];
  FACET_CHECK(realpath(path, absolute), FACET_ERROR_IO, "cannot resolve %s", path);
  for (int i = 0; i <= levels; i++) {
    char *slash = strrchr(absolute, '/');
    if (slash) *slash = 0;
  }
  return facet_path_format(directory, "%s", absolute);
}

/* ---- tables ---------------------------------------------------------------------------------------------------- */

struct inspect_grid {
  int n_columns, indent;
  const char *const *titles;
  bool titles_printed;
  int *width;         /* [n_columns] of what was printed so far */
  facet_arena *arena; /* of the cells */
  char **cells;       /* [n_cells], row by row */
  size_t n_cells, capacity;
};

static int display_width(const char *text) {
  int n = 0;
  for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
  return n;
}

static bool is_right(const char *title) {
  return title[0] == '>';
}

facet_status inspect_grid_create(int n_columns, const char *const *titles, int indent, inspect_grid **out) {
  inspect_grid *grid;
  *out = NULL;
  FACET_TRY(FACET_ALLOC(grid, 1, "table of a report"));
  *grid = (inspect_grid){.n_columns = n_columns, .indent = indent, .titles = titles};
  facet_status status = facet_arena_create(&grid->arena);
  if (status == FACET_OK) status = FACET_ALLOC(grid->width, n_columns, "table of a report");
  if (status != FACET_OK) inspect_grid_destroy(&grid);
  *out = grid;
  return status;
}

void inspect_grid_destroy(inspect_grid **grid) {
  if (!*grid) return;
  facet_arena_destroy(&(*grid)->arena);
  facet_memory_free((*grid)->width);
  facet_memory_free((*grid)->cells);
  facet_memory_free(*grid);
  *grid = NULL;
}

facet_status inspect_cell(inspect_grid *grid, const char *format, ...) {
  char text[INSPECT_VALUE_BYTES + 256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (!grid->arena) FACET_TRY(facet_arena_create(&grid->arena));
  FACET_TRY(FACET_GROW(grid->cells, grid->capacity, grid->n_cells + 1, "table of a report"));
  char *cell = facet_arena_strdup(grid->arena, text);
  if (!cell) return FACET_ERROR_INTERNAL;
  grid->cells[grid->n_cells++] = cell;
  return FACET_OK;
}

/* Whether column c has a cell that is not empty; widens it to its cells and title. */
static bool measure_column(inspect_grid *grid, int c) {
  bool has_text = false;
  int *width = &grid->width[c];
  const int title = display_width(grid->titles[c] + is_right(grid->titles[c]));
  if (*width < title) *width = title;
  for (size_t i = (size_t)c; i < grid->n_cells; i += (size_t)grid->n_columns) {
    const int cell = display_width(grid->cells[i]);
    has_text |= cell > 0;
    if (*width < cell) *width = cell;
  }
  return has_text;
}

/* A row of cells, or the titles. Spaces are written before the text that follows, so that no line ends with one. */
static void print_row(const inspect_grid *grid, char *const *cells, FILE *out) {
  int n_spaces = grid->indent;
  for (int c = 0; c < grid->n_columns; c++) {
    if (grid->width[c] < 0) continue;
    const bool right = is_right(grid->titles[c]);
    const char *text = cells ? cells[c] : grid->titles[c] + right;
    const int fill = grid->width[c] - display_width(text);
    if (right) n_spaces += fill;
    if (text[0]) {
      fprintf(out, "%*s%s", n_spaces, "", text);
      n_spaces = 0;
    }
    if (!right) n_spaces += fill;
    n_spaces += 2;
  }
  fputc('\n', out);
}

void inspect_grid_print(inspect_grid *grid, FILE *out) {
  if (grid->n_cells == 0) return;
  for (int c = 0; c < grid->n_columns; c++)
    if (!measure_column(grid, c)) grid->width[c] = -1;
  if (!grid->titles_printed) print_row(grid, NULL, out);
  grid->titles_printed = true;
  for (size_t i = 0; i < grid->n_cells; i += (size_t)grid->n_columns) print_row(grid, grid->cells + i, out);
  grid->n_cells = 0;
  facet_arena_destroy(&grid->arena);
}
