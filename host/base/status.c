/* The error context of a thread. */
#include "facet/status.h"

#include <stdarg.h>
#include <string.h>

static _Thread_local facet_error present;
static int job_rank, job_n_ranks = 1; /* set once at start */

facet_status facet_error_set(facet_status status, const char *file, int line, const char *format, ...) {
  char text[sizeof present.message]; /* the arguments may point into the present message */
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  present = (facet_error){.status = status, .rank = job_rank, .file = file, .line = line};
  memcpy(present.message, text, sizeof text);
  return status;
}

facet_status facet_error_context(const char *format, ...) {
  char text[sizeof present.message], context[sizeof present.message];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(context, sizeof context, format, arguments);
  va_end(arguments);
  memcpy(text, present.message, sizeof text);
  snprintf(present.message, sizeof present.message, "%.700s: %.800s", context, text);
  return present.status;
}

facet_status facet_error_hint(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(present.hint, sizeof present.hint, format, arguments);
  va_end(arguments);
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
