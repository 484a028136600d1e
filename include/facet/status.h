/* Status values and the error context.
 *
 * Every function that can fail returns a facet_status. The value is also the exit code of the program (docs: "Exit
 * codes"). The first failing function describes the error once with FACET_FAIL or FACET_CHECK; callers pass it on
 * with FACET_TRY and may add context ("part-00003.h5: …") or a hint. The description lives in thread-local storage;
 * a worker thread hands its error over with facet_error_get and facet_error_restore.
 *
 * Libraries never print, exit or abort: only main prints the error and returns the status. */
#ifndef FACET_STATUS_H
#define FACET_STATUS_H

#include <stdio.h>

typedef enum facet_status {
  FACET_OK = 0,
  FACET_ERROR_INTERNAL = 1,  /* out of memory, or a bug in facet */
  FACET_ERROR_USAGE = 2,     /* command line or configuration */
  FACET_ERROR_DATA = 3,      /* a data set, schema, vocabulary or log that is wrong */
  FACET_ERROR_IO = 4,        /* a file that cannot be read or written; a directory in use by a live run */
  FACET_ERROR_NONFINITE = 5, /* a loss, gradient or parameter that is NaN or infinite */
  FACET_ERROR_PEER = 6,      /* another rank was lost */
  FACET_ERROR_DEVICE = 7,    /* a device or a backend that is missing or failed */
  FACET_PREEMPTED = 75       /* stopped by SIGTERM or SIGUSR1 after saving a checkpoint */
} facet_status;

typedef struct facet_error {
  facet_status status;
  int rank;         /* rank of the process in the job */
  const char *file; /* source position of the failing check */
  int line;
  char message[1536]; /* one line: file, line or row, value, and what was expected */
  char hint[512];     /* what to try; empty if there is none */
} facet_error;

#define FACET_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))

/* Describes the error of this thread, replacing an older one; returns `status`. Prefer FACET_FAIL. */
facet_status facet_error_set(facet_status status, const char *file, int line, const char *format, ...)
    FACET_PRINTF(4, 5);

/* Adds "<context>: " before the present message; returns the status of the present error. Without a present error
 * (a callee failed and did not say why) it makes one: FACET_ERROR_INTERNAL, "undescribed error". */
facet_status facet_error_context(const char *format, ...) FACET_PRINTF(1, 2);

/* Sets the hint of the present error; returns its status. */
facet_status facet_error_hint(const char *format, ...) FACET_PRINTF(1, 2);

/* The error of this thread; status FACET_OK if there is none. Owned by the library, valid until the next error. */
const facet_error *facet_error_get(void);

/* Makes a copy of another thread's error the error of this thread; returns its status. */
facet_status facet_error_restore(const facet_error *error);

void facet_error_clear(void);

/* Prints "facet: <status name>: <message>", the hint, and in debug builds the source position. With more than one rank
 * the line begins "facet: [rank 3] ". */
void facet_error_print(FILE *stream);

/* Short name of a status: "data error". */
const char *facet_status_name(facet_status status);

/* The rank that errors carry; 0 of 1 until set. Call once, before threads start. */
void facet_error_set_rank(int rank, int n_ranks);

/* Names the status again as the value, so that static analysis knows that it is not FACET_OK. */
#define FACET_FAIL(status, ...) return (void)facet_error_set((status), __FILE__, __LINE__, __VA_ARGS__), (status)

#define FACET_CHECK(condition, status, ...)                                                                            \
  do {                                                                                                                 \
    if (!(condition)) FACET_FAIL(status, __VA_ARGS__);                                                                 \
  } while (0)

#define FACET_TRY(expression)                                                                                          \
  do {                                                                                                                 \
    facet_status facet_try_status = (expression);                                                                      \
    if (facet_try_status != FACET_OK) return facet_try_status;                                                         \
  } while (0)

/* For functions that own something: keeps the status in `variable` and jumps to `label`, which frees and returns. */
#define FACET_TRY_GOTO(variable, label, expression)                                                                    \
  do {                                                                                                                 \
    (variable) = (expression);                                                                                         \
    if ((variable) != FACET_OK) goto label;                                                                            \
  } while (0)

#endif
