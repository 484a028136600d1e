/* Numbers and lists of names as text, and the nearest known name for messages. */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facet/yaml.h"

#define MAX_NAME 64  /* longer names are not compared */
#define LIMIT 9.0e18 /* just inside int64_t: limits beyond it are not worth telling */

bool facet_text_int(const char *text, int64_t *out) {
  const char *digits = text + (*text == '-' || *text == '+');
  if (!isdigit((unsigned char)*digits)) return false;
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno || *end) return false;
  *out = (int64_t)value;
  return true;
}

bool facet_text_double(const char *text, double *out) {
  if (!*text || text[strspn(text, "0123456789+-.eE")]) return false;
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end || !isfinite(value)) return false;
  *out = value;
  return true;
}

const char *facet_text_format_double(double value, char *buffer, size_t n_bytes) {
  char text[32];
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  snprintf(buffer, n_bytes, "%s", text);
  return buffer;
}

static const char *format_limit(double value, char *buffer, size_t n_bytes) {
  if (value == floor(value) && fabs(value) < 1e15) {
    snprintf(buffer, n_bytes, "%.0f", value);
    return buffer;
  }
  return facet_text_format_double(value, buffer, n_bytes);
}

const char *facet_text_range(double low, double high, char *buffer, size_t n_bytes) {
  char a[32], b[32];
  format_limit(low, a, sizeof a);
  format_limit(high, b, sizeof b);
  if (low > -LIMIT && high < LIMIT) {
    snprintf(buffer, n_bytes, "from %s to %s", a, b);
  } else if (low > -LIMIT) {
    snprintf(buffer, n_bytes, "of at least %s", a);
  } else if (high < LIMIT) {
    snprintf(buffer, n_bytes, "of at most %s", b);
  } else {
    snprintf(buffer, n_bytes, "%s", "");
  }
  return buffer;
}

bool facet_text_in_range(int64_t value, double low, double high) {
  bool above = low <= -LIMIT || value >= (int64_t)ceil(low);
  bool below = high >= LIMIT || value <= (int64_t)floor(high);
  return above && below;
}

const char *facet_text_join(const char *const *names, int n, char *buffer, size_t n_bytes) {
  static const char cut[] = ", …";
  size_t used = 0;
  buffer[0] = 0;
  for (int i = 0; i < n; i++) {
    if (used + strlen(names[i]) + 2 + sizeof cut > n_bytes) {
      snprintf(buffer + used, n_bytes - used, "%s", cut);
      break;
    }
    used += (size_t)snprintf(buffer + used, n_bytes - used, "%s%s", i ? ", " : "", names[i]);
  }
  return buffer;
}

const char *facet_text_list(const int64_t *values, int64_t n, char *buffer, size_t n_bytes) {
  size_t used = (size_t)snprintf(buffer, n_bytes, "[");
  for (int64_t i = 0; i < n && used < n_bytes; i++)
    used += (size_t)snprintf(buffer + used, n_bytes - used, "%s%lld", i ? ", " : "", (long long)values[i]);
  if (used < n_bytes) snprintf(buffer + used, n_bytes - used, "]");
  return buffer;
}

const char *facet_text_suggest(const char *name, const char *what, const char *const *names, int n, char *buffer,
                               size_t n_bytes) {
  const char *nearest = facet_nearest_name(name, names, n);
  char list[512];
  if (nearest) {
    snprintf(buffer, n_bytes, "; did you mean \"%s\"?", nearest);
  } else if (n) {
    snprintf(buffer, n_bytes, "; known %s: %s", what, facet_text_join(names, n, list, sizeof list));
  } else {
    snprintf(buffer, n_bytes, "; there are no %s", what);
  }
  return buffer;
}

const char *facet_text_quote(const char *text, char *buffer, size_t n_bytes) {
  size_t used = 0;
  buffer[used++] = '"';
  for (; *text && used + 6 <= n_bytes; text++) { /* room for \xNN, the quote and the 0 byte */
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') {
      buffer[used++] = '\\', buffer[used++] = (char)c;
    } else if (c < 0x20 || c == 0x7F) {
      used += (size_t)snprintf(buffer + used, n_bytes - used, "\\x%02X", c);
    } else {
      buffer[used++] = (char)c;
    }
  }
  buffer[used++] = '"';
  buffer[used] = 0;
  return buffer;
}

int facet_text_count(const char *const *names) {
  int n = 0;
  while (names && names[n]) n++;
  return n;
}

/* Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours, ignoring case.
 * Names of at most MAX_NAME bytes. */
static int edit_distance(const char *a, size_t n_a, const char *b, size_t n_b) {
  int rows[3][MAX_NAME + 1];
  int *before = rows[0], *above = rows[1], *row = rows[2];
  for (size_t j = 0; j <= n_b; j++) above[j] = (int)j;
  for (size_t i = 1; i <= n_a; i++) {
    row[0] = (int)i;
    for (size_t j = 1; j <= n_b; j++) {
      int ai = tolower((unsigned char)a[i - 1]), bj = tolower((unsigned char)b[j - 1]);
      int best = above[j - 1] + (ai != bj);
      if (above[j] + 1 < best) best = above[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      bool swapped = i > 1 && j > 1 && ai == tolower((unsigned char)b[j - 2]) && bj == tolower((unsigned char)a[i - 2]);
      if (swapped && before[j - 2] + 1 < best) best = before[j - 2] + 1;
      row[j] = best;
    }
    int *spare = before;
    before = above, above = row, row = spare;
  }
  return above[n_b];
}

const char *facet_nearest_name(const char *name, const char *const *names, int n) {
  size_t length = strlen(name);
  if (length == 0 || length > MAX_NAME) return NULL;
  const char *nearest = NULL;
  int limit = length < 4 ? 1 : length < 9 ? 2 : (int)length / 3;
  for (int i = 0; i < n; i++) {
    size_t other = strlen(names[i]);
    if (other > MAX_NAME) continue;
    int distance = edit_distance(name, length, names[i], other);
    if (distance > limit || distance >= (int)length) continue;
    nearest = names[i];
    limit = distance - 1; /* only a strictly nearer one replaces it */
  }
  return nearest;
}
