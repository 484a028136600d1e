/* Log and progress lines on standard error. */
#include "facet/log.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "facet/environment.h"

#define REDRAW_SECONDS 0.1
#define PLAIN_SECONDS 10.0
#define CLEAR_LINE "\r\033[K"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool progress_is_drawn; /* a progress line without its newline is on the terminal; guarded by the mutex */

static void print_line(const char *prefix, const char *format, va_list arguments) {
  char text[2048];
  vsnprintf(text, sizeof text, format, arguments);
  pthread_mutex_lock(&mutex);
  fprintf(stderr, "%s%s%s\n", progress_is_drawn ? CLEAR_LINE : "", prefix, text);
  progress_is_drawn = false;
  pthread_mutex_unlock(&mutex);
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

/* "train: 1.20 M of 4.00 M (30 %) samples, 45.0 k samples/s, 1m02s left, loss 0.43" */
static void progress_format(char *line, size_t n_bytes, const facet_progress *progress, int64_t done,
                            const char *detail, bool finished) {
  const double seconds = facet_clock() - progress->start;
  const double rate = seconds > 0 ? (double)(done - progress->from) / seconds : 0;
  const bool has_left = !finished && progress->total > 0 && rate > 0;
  const int64_t left = progress->total > done ? progress->total - done : 0;
  char time[32], total[64] = "";
  if (progress->total > 0)
    snprintf(total, sizeof total, " of %s (%.0f %%)", facet_format_count((double)progress->total),
             100.0 * (double)done / (double)progress->total);
  format_seconds(has_left ? (double)left / rate : seconds, time, sizeof time);
  snprintf(line, n_bytes, "%s: %s%s %s, %s %s/s, %s %s%s%s", progress->what, facet_format_count((double)done), total,
           progress->unit, facet_format_count(rate), progress->unit, time, has_left ? "left" : "elapsed",
           detail && *detail ? ", " : "", detail ? detail : "");
}

/* A terminal that can redraw a line. */
static bool on_terminal(void) {
  const char *terminal = getenv("TERM");
  return isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
}

/* Cuts UTF-8 text so that it fits into one line of the terminal: a wrapped line could not be redrawn. */
static void cut_to_terminal(char *line) {
  struct winsize window;
  int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col - 1 : 79;
  for (char *c = line; *c; c++) {
    const bool starts_character = ((unsigned char)*c & 0xc0) != 0x80;
    if (starts_character && columns-- == 0) {
      *c = 0;
      return;
    }
  }
}

static void progress_print(const facet_progress *progress, int64_t done, const char *detail, bool terminal,
                           bool finished) {
  char line[1024];
  progress_format(line, sizeof line, progress, done, detail, finished);
  const bool redrawn = terminal && !finished;
  if (redrawn) cut_to_terminal(line);
  pthread_mutex_lock(&mutex);
  fprintf(stderr, "%s%s%s", terminal ? CLEAR_LINE : "", line, redrawn ? "" : "\n");
  progress_is_drawn = redrawn;
  pthread_mutex_unlock(&mutex);
}

void facet_progress_update(facet_progress *progress, int64_t done, const char *detail) {
  if (facet_environment_get()->log == FACET_LOG_QUIET) return;
  const double now = facet_clock();
  if (now - progress->last < REDRAW_SECONDS) return; /* never due; asking the terminal costs more than the clock */
  const bool terminal = on_terminal();
  if (!terminal && now - progress->last < PLAIN_SECONDS) return;
  progress->last = now;
  progress_print(progress, done, detail, terminal, false);
}

void facet_progress_finish(facet_progress *progress, int64_t done, const char *detail) {
  if (facet_environment_get()->log == FACET_LOG_QUIET) return;
  progress_print(progress, done, detail, on_terminal(), true);
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
