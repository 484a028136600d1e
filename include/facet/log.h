/* Log lines and progress lines, both to standard error; results go to standard output. */
#ifndef FACET_LOG_H
#define FACET_LOG_H

#include <stdint.h>

#include "facet/status.h"

/* Log lines may come from any thread; each is written in one piece.
 * One line, unless FACET_LOG=quiet. Clears a progress line first. */
void facet_log(const char *format, ...) FACET_PRINTF(1, 2);
/* One line "warning: …", with every FACET_LOG. */
void facet_warn(const char *format, ...) FACET_PRINTF(1, 2);
/* One line "debug: …", only with FACET_LOG=debug. */
void facet_debug(const char *format, ...) FACET_PRINTF(1, 2);

/* A progress line: on a terminal one line that is redrawn at most ten times a second with rate and time left, cut to
 * the terminal's width; otherwise a plain line at most every ten seconds; and one at the end. None with FACET_LOG=quiet.
 * One thread updates a progress. */
typedef struct facet_progress {
  const char *what;   /* "converting", "train" */
  const char *unit;   /* "rows", "samples" */
  int64_t total;      /* 0: unknown */
  int64_t from;       /* done before the start (0); a resumed run sets it after facet_progress_start, for the rate */
  double start, last; /* seconds, monotonic clock */
} facet_progress;

void facet_progress_start(facet_progress *progress, const char *what, const char *unit, int64_t total);
/* `detail` (may be NULL) is appended, e.g. "loss 0.4312 auc 0.71". */
void facet_progress_update(facet_progress *progress, int64_t done, const char *detail);
void facet_progress_finish(facet_progress *progress, int64_t done, const char *detail);

/* Seconds of the monotonic clock. */
double facet_clock(void);

/* "12.3 MB", "1.2 M" into a small static-duration thread-local ring; for messages. */
const char *facet_format_bytes(double bytes);
const char *facet_format_count(double count);

#endif
