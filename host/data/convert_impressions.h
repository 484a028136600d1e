/* Impressions between reading (convert_impressions.c) and writing (convert_impressions_write.c). */
#ifndef FACET_CONVERT_IMPRESSIONS_H
#define FACET_CONVERT_IMPRESSIONS_H

#include "data/convert_internal.h"
#include "data/spool.h"

/* A row of the log, sorted by (user, time, row). Its lists wait in the spool. */
typedef struct convert_impression {
  int64_t time, row;          /* row: number over all files of impressions */
  int64_t group;              /* the impression's id */
  int64_t data, history;      /* offsets in the spool: contexts and showings; events */
  int32_t user;               /* raw index */
  int32_t n_shown, n_history; /* showings; events of the whole list */
  int32_t split;
} convert_impression;

/* In the spool, as int32 words:
 *   data     one word per context field, then n_shown showings: raw item · 2 + label
 *   history  n_history events of event_words each: raw item, time (two words, if the events have times), event fields */
struct convert_impression_log {
  facet_spool spool;
  char spool_path[FACET_PATH_MAX];
  int event_words;
};

#define CONVERT_EVENT_TIME 1 /* position of an event's time, if it has one */

static inline int convert_event_field_position(const conversion *self, int field) {
  return 1 + (self->history.log.time[0] ? 2 : 0) + field;
}

#endif
