/* The error context of a thread. */
#include "facet/status.h"

#include <stdarg.h>
#include <string.h>

static _Thread_local facet_error present;
static int job_rank, job_n_ranks = 1; /* set once at start */

/* Formats one line into text[size]: control characters (a newline in the name of a file) become '?', and what does not
 * fit is cut and ends in "...". */
static void format_line(char *text, size_t size, const char *format, va_list arguments) {
  const int length = vsnprintf(text, size, format, arguments);
  if (length < 0) text[0] = 0;
  if (length >= (int)size) memcpy(text + size - 4, "...", 4);
  for (char *c = text; *c; c++) {
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
  }
}

facet_status facet_error_set(facet_status status, const char *file, int line, const char *format, ...) {
  char text[sizeof present.message]; /* the arguments may point into the present message */
  va_list arguments;
  va_start(arguments, format);
  format_line(text, sizeof text, format, arguments);
  va_end(arguments);
  present = (facet_error){.status = status, .rank = job_rank, .file = file, .line = line};
  memcpy(present.message, text, sizeof text);
  return status;
}

/* A failure that nobody described is still a failure: callers must not go on as if all were well. */
static void require_error(void) {
  if (present.status == FACET_OK) facet_error_set(FACET_ERROR_INTERNAL, __FILE__, __LINE__, "undescribed error");
}

facet_status facet_error_context(const char *format, ...) {
  char text[sizeof present.message], context[sizeof present.message];
  require_error();
  va_list arguments;
  va_start(arguments, format);
  format_line(context, sizeof context, format, arguments);
  va_end(arguments);
  memcpy(text, present.message, sizeof text);
  snprintf(present.message, sizeof present.message, "%.700s: %.800s", context, text);
  return present.status;
}

facet_status facet_error_hint(const char *format, ...) {
  char hint[sizeof present.hint];
  require_error();
  va_list arguments;
  va_start(arguments, format);
  format_line(hint, sizeof hint, format, arguments);
  va_end(arguments);
  memcpy(present.hint, hint, sizeof hint);
  return present.status;
}

const facet_error *facet_error_get(void) {
  return &present;
}

facet_status facet_error_restore(const facet_error *error) {
  if (error != &present) present = *error;
  return present.status;
}

void facet_error_clear(void) {
  present = (facet_error){0};
}

void facet_error_print(FILE *stream) {
  fputs("facet: ", stream);
  if (job_n_ranks > 1) fprintf(stream, "[rank %d] ", present.rank);
  fprintf(stream, "%s: %s\n", facet_status_name(present.status), present.message);
  if (present.hint[0]) fprintf(stream, "  hint: %s\n", present.hint);
#ifdef FACET_DEBUG
  fprintf(stream, "  at %s:%d\n", present.file, present.line);
#endif
}

const char *facet_status_name(facet_status status) {
  switch (status) {
  case FACET_OK:
    return "ok";
  case FACET_ERROR_INTERNAL:
    return "error";
  case FACET_ERROR_USAGE:
    return "usage error";
  case FACET_ERROR_DATA:
    return "data error";
  case FACET_ERROR_IO:
    return "i/o error";
  case FACET_ERROR_NONFINITE:
    return "non-finite value";
  case FACET_ERROR_PEER:
    return "peer lost";
  case FACET_ERROR_DEVICE:
    return "device error";
  case FACET_PREEMPTED:
    return "preempted";
  }
  return "unknown status";
}

void facet_error_set_rank(int rank, int n_ranks) {
  job_rank = rank;
  job_n_ranks = n_ranks;
}
