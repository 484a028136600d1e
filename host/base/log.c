/* Log and progress lines on standard error. */
#include "facet/log.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "facet/environment.h"

#define REDRAW_SECONDS 0.1
#define PLAIN_SECONDS 10.0

static bool progress_is_drawn; /* a progress line without its newline is on the terminal */

static void print_line(const char *prefix, const char *format, va_list arguments) {
  char text[2048];
  vsnprintf(text, sizeof text, format, arguments);
  fprintf(stderr, "%s%s%s\n", progress_is_drawn ? "\r\033[K" : "", prefix, text);
  progress_is_drawn = false;
}

void facet_log(const char *format, ...) {
  if (facet_environment_get()->log == FACET_LOG_QUIET) return;
  va_list arguments;
  va_start(arguments, format);
  print_line("", format, arguments);
  va_end(arguments);
}

void facet_warn(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_line("warning: ", format, arguments);
  va_end(arguments);
}

void facet_debug(const char *format, ...) {
  if (facet_environment_get()->log != FACET_LOG_DEBUG) return;
  va_list arguments;
  va_start(arguments, format);
  print_line("debug: ", format, arguments);
  va_end(arguments);
}

double facet_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void facet_progress_start(facet_progress *progress, const char *what, const char *unit, int64_t total) {
  double now = facet_clock();
  *progress = (facet_progress){.what = what, .unit = unit, .total = total, .start = now, .last = now};
}

static const char *format_seconds(double seconds, char *buffer, size_t n_bytes) {
  long long whole = (long long)(seconds + 0.5);
  if (whole < 60)
    snprintf(buffer, n_bytes, "%llds", whole);
  else if (whole < 3600)
    snprintf(buffer, n_bytes, "%lldm%02llds", whole / 60, whole % 60);
  else
    snprintf(buffer, n_bytes, "%lldh%02lldm", whole / 3600, whole / 60 % 60);
  return buffer;
}

static void progress_print(const facet_progress *progress, int64_t done, const char *detail, bool finished) {
  const double seconds = facet_clock() - progress->start;
  const double rate = seconds > 0 ? (double)done / seconds : 0;
  char line[512], left[32] = "", total[64] = "";
  if (progress->total > 0)
    snprintf(total, sizeof total, " of %s (%.0f %%)", facet_format_count((double)progress->total),
             100.0 * (double)done / (double)progress->total);
  if (!finished && progress->total > 0 && rate > 0)
    format_seconds((double)(progress->total - done) / rate, left, sizeof left);
  else
    format_seconds(seconds, left, sizeof left);
  snprintf(line, sizeof line, "%s: %s%s %s, %s %s/s, %s %s%s%s", progress->what, facet_format_count((double)done),
           total, progress->unit, facet_format_count(rate), progress->unit, left,
           finished || progress->total <= 0 ? "elapsed" : "left", detail && *detail ? ", " : "", detail ? detail : "");
  if (isatty(STDERR_FILENO))
    fprintf(stderr, "\r\033[K%s%s", line, finished ? "\n" : "");
  else
    fprintf(stderr, "%s\n", line);
  progress_is_drawn = isatty(STDERR_FILENO) && !finished;
}

void facet_progress_update(facet_progress *progress, int64_t done, const char *detail) {
  if (facet_environment_get()->log == FACET_LOG_QUIET) return;
  const double now = facet_clock();
  if (now - progress->last < (isatty(STDERR_FILENO) ? REDRAW_SECONDS : PLAIN_SECONDS)) return;
  progress->last = now;
  progress_print(progress, done, detail, false);
}

void facet_progress_finish(facet_progress *progress, int64_t done, const char *detail) {
  if (facet_environment_get()->log == FACET_LOG_QUIET) return;
  progress_print(progress, done, detail, true);
}

/* Scales to a unit of three digits: 1234567 → "1.23 M". */
static const char *format_scaled(double value, const char *const *units, int n_units) {
  static _Thread_local char ring[8][32];
  static _Thread_local int next;
  char *buffer = ring[next++ % 8];
  int unit = 0;
  while (fabs(value) >= 999.5 && unit + 1 < n_units) {
    value /= 1000;
    unit++;
  }
  const int decimals = unit == 0 && value == floor(value) ? 0 : fabs(value) < 9.995 ? 2 : fabs(value) < 99.95 ? 1 : 0;
  snprintf(buffer, sizeof ring[0], "%.*f%s", decimals, value, units[unit]);
  return buffer;
}

const char *facet_format_bytes(double bytes) {
  static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB"};
  return format_scaled(bytes, units, 6);
}

const char *facet_format_count(double count) {
  static const char *const units[] = {"", " k", " M", " G", " T"};
  return format_scaled(count, units, 5);
}
