/* Checking every value of a shard. See facet/shard.h. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "data/shard_format.h"
#include "facet/memory.h"

typedef struct verifier {
  facet_shard *shard;
  int32_t *ids;    /* [FACET_COLUMN_BLOCK] */
  int64_t *ints;   /* [FACET_COLUMN_BLOCK + 1] */
  int64_t *starts; /* [FACET_COLUMN_BLOCK] */
  int64_t *times;  /* [FACET_COLUMN_BLOCK] */
  float *floats;   /* [max(FACET_COLUMN_BLOCK, longest vector)] */
} verifier;

#define FAIL_ROW(column, row, ...) return fail_row(v, column, row, __VA_ARGS__)

static facet_status fail_row(const verifier *v, const facet_column *column, int64_t row, const char *format, ...)
    FACET_PRINTF(4, 5);

static facet_status fail_row(const verifier *v, const facet_column *column, int64_t row, const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  FACET_FAIL(FACET_ERROR_DATA, "%s: %s: row %" PRId64 ": %s", v->shard->path, facet_column_name(column), row, text);
}

static facet_status verify_ids(const verifier *v, facet_column *column, const facet_vocabulary_info *vocabulary) {
  const int64_t n_rows = facet_column_n_rows(column);
  for (int64_t first = 0; first < n_rows; first += FACET_COLUMN_BLOCK) {
    const int64_t n = facet_column_block(first, n_rows);
    FACET_TRY(facet_column_read_int32(column, first, n, v->ids));
    for (int64_t i = 0; i < n; i++)
      if (v->ids[i] < 0 || v->ids[i] >= vocabulary->size)
        FAIL_ROW(column, first + i, "id %d, expected 0 to %" PRId64 " (vocabulary %s)", v->ids[i], vocabulary->size - 1,
                 vocabulary->name);
  }
  return FACET_OK;
}

/* Finite; labels 0 or 1; weights not negative. */
static facet_status verify_floats(const verifier *v, facet_column *column, const facet_feature *feature) {
  const int64_t n_rows = facet_column_n_rows(column);
  const int64_t step = feature->length < FACET_COLUMN_BLOCK ? FACET_COLUMN_BLOCK / feature->length : 1; /* rows */
  float *values = v->floats;
  for (int64_t first = 0; first < n_rows; first += step) {
    const int64_t n = n_rows - first < step ? n_rows - first : step;
    FACET_TRY(facet_column_read_float(column, first, n, values));
    for (int64_t i = 0; i < n * feature->length; i++) {
      const int64_t row = first + i / feature->length;
      if (!isfinite(values[i])) FAIL_ROW(column, row, "%g, expected a finite number", (double)values[i]);
      if (feature->role == FACET_ROLE_LABEL && values[i] != 0 && values[i] != 1)
        FAIL_ROW(column, row, "label %g, expected 0 or 1", (double)values[i]);
      if (feature->role == FACET_ROLE_WEIGHT && values[i] < 0)
        FAIL_ROW(column, row, "weight %g, expected 0 or more", (double)values[i]);
    }
  }
  return FACET_OK;
}

/* Times are not negative; groups are any number, which must be readable. */
static facet_status verify_int64s(const verifier *v, facet_column *column, const facet_feature *feature) {
  const int64_t n_rows = facet_column_n_rows(column);
  for (int64_t first = 0; first < n_rows; first += FACET_COLUMN_BLOCK) {
    const int64_t n = facet_column_block(first, n_rows);
    FACET_TRY(facet_column_read_int64(column, first, n, v->ints));
    for (int64_t i = 0; i < n && feature->role == FACET_ROLE_TIME; i++)
      if (v->ints[i] < 0) FAIL_ROW(column, first + i, "time %" PRId64 ", expected 0 or more", v->ints[i]);
  }
  return FACET_OK;
}

static facet_status verify_offsets(const verifier *v, facet_column *column, const facet_feature *feature) {
  const int64_t n_rows = facet_column_n_rows(column) - 1;
  for (int64_t first = 0; first < n_rows; first += FACET_COLUMN_BLOCK) {
    const int64_t n = facet_column_block(first, n_rows);
    FACET_TRY(facet_column_read_int64(column, first, n + 1, v->ints));
    for (int64_t i = 0; i < n; i++) {
      int64_t count;
      const bool overflow = __builtin_sub_overflow(v->ints[i + 1], v->ints[i], &count);
      if (overflow || count < 0 || count > feature->bag)
        FAIL_ROW(column, first + i, "a bag from value %" PRId64 " to %" PRId64 ", expected 0 to %" PRId64 " values",
                 v->ints[i], v->ints[i + 1], feature->bag);
    }
  }
  return FACET_OK;
}

/* ---- windows ------------------------------------------------------------------------------------------------- */

/* Events whose time is below that of the event before them, ascending; between users that is normal. */
typedef struct drop_list {
  int64_t *event;
  size_t n, capacity;
} drop_list;

static facet_status find_drops(const verifier *v, facet_column *column, drop_list *drops) {
  const int64_t n_rows = facet_column_n_rows(column);
  int64_t before = INT64_MIN;
  for (int64_t first = 0; first < n_rows; first += FACET_COLUMN_BLOCK) {
    const int64_t n = facet_column_block(first, n_rows);
    FACET_TRY(facet_column_read_int64(column, first, n, v->ints));
    for (int64_t i = 0; i < n; i++) {
      if (v->ints[i] < before) {
        FACET_TRY(FACET_GROW(drops->event, drops->capacity, drops->n + 1, "times of a shard"));
        drops->event[drops->n++] = first + i;
      }
      before = v->ints[i];
    }
  }
  return FACET_OK;
}

/* The first drop after event `start`, or INT64_MAX. */
static int64_t next_drop(const drop_list *drops, int64_t start) {
  size_t low = 0, high = drops->n;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (drops->event[middle] <= start)
      low = middle + 1;
    else
      high = middle;
  }
  return low < drops->n ? drops->event[low] : INT64_MAX;
}

/* The times of a window's events do not decrease, and end at the sample's time at the latest (sample_time ≥ 0). */
static facet_status verify_order(const verifier *v, facet_column *times, const drop_list *drops, int64_t row,
                                 int64_t start, int64_t length, int64_t sample_time) {
  int64_t last;
  const int64_t drop = next_drop(drops, start);
  if (drop < start + length) {
    int64_t pair[2];
    FACET_TRY(facet_column_read_int64(times, drop - 1, 2, pair));
    FAIL_ROW(times, drop,
             "time %" PRId64 " after %" PRId64 ", expected times that do not decrease in the window of "
             "sample %" PRId64,
             pair[1], pair[0], row);
  }
  FACET_TRY(facet_column_read_int64(times, start + length - 1, 1, &last));
  if (sample_time >= 0 && last > sample_time)
    FAIL_ROW(times, start + length - 1,
             "time %" PRId64 ", expected at most %" PRId64 ", the time of sample %" PRId64 " whose window it ends",
             last, sample_time, row);
  return FACET_OK;
}

static facet_status verify_windows(const verifier *v, int sequence, facet_column *times, const drop_list *drops) {
  facet_shard *shard = v->shard;
  const facet_schema *schema = shard->schema;
  const int64_t max_length = schema->sequences[sequence].max_length, n_events = shard->n_events[sequence];
  facet_column *starts = shard->starts[sequence], *lengths = shard->lengths[sequence];
  for (int64_t first = 0; first < shard->n_samples; first += FACET_COLUMN_BLOCK) {
    const int64_t n = facet_column_block(first, shard->n_samples);
    FACET_TRY(facet_column_read_int64(starts, first, n, v->starts));
    FACET_TRY(facet_column_read_int32(lengths, first, n, v->ids));
    if (schema->time >= 0) FACET_TRY(facet_column_read_int64(shard->values[schema->time], first, n, v->times));
    for (int64_t i = 0; i < n; i++) {
      const int64_t start = v->starts[i], length = v->ids[i];
      if (length < 0 || length > max_length)
        FAIL_ROW(lengths, first + i, "length %" PRId64 ", expected 0 to %" PRId64, length, max_length);
      if (start < 0 || start > n_events - length)
        FAIL_ROW(starts, first + i, "window of %" PRId64 " events from %" PRId64 ", expected inside 0 to %" PRId64,
                 length, start, n_events);
      if (times && length > 0)
        FACET_TRY(verify_order(v, times, drops, first + i, start, length, schema->time >= 0 ? v->times[i] : -1));
    }
  }
  return FACET_OK;
}

static facet_status verify_sequence(const verifier *v, int sequence) {
  const facet_schema *schema = v->shard->schema;
  facet_column *times = NULL;
  drop_list drops = {0};
  facet_status status;
  for (int i = 0; i < schema->n_features; i++)
    if (schema->features[i].sequence == sequence && schema->features[i].role == FACET_ROLE_TIME)
      times = v->shard->values[i];
  if (times) FACET_TRY_GOTO(status, done, find_drops(v, times, &drops));
  FACET_TRY_GOTO(status, done, verify_windows(v, sequence, times, &drops));
done:
  facet_memory_free(drops.event);
  return status;
}

/* ---- the whole ----------------------------------------------------------------------------------------------- */

static facet_status verify_feature(const verifier *v, int i) {
  const facet_schema *schema = v->shard->schema;
  const facet_feature *feature = &schema->features[i];
  facet_column *values = v->shard->values[i];
  if (!values) return FACET_OK;
  if (feature->bag > 0) FACET_TRY(verify_offsets(v, v->shard->offsets[i], feature));
  switch (feature->type) {
  case FACET_FEATURE_ID:
    return verify_ids(v, values, &schema->vocabularies[feature->vocabulary]);
  case FACET_FEATURE_FLOAT:
    return verify_floats(v, values, feature);
  default:
    return verify_int64s(v, values, feature);
  }
}

facet_status facet_shard_verify(facet_shard *shard) {
  verifier v = {.shard = shard};
  const facet_schema *schema = shard->schema;
  int64_t n_floats = FACET_COLUMN_BLOCK;
  facet_status status;
  for (int i = 0; i < schema->n_features; i++)
    if (schema->features[i].length > n_floats) n_floats = schema->features[i].length;
  FACET_TRY_GOTO(status, done, FACET_ALLOC(v.ids, FACET_COLUMN_BLOCK, "verifying a shard"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(v.ints, FACET_COLUMN_BLOCK + 1, "verifying a shard"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(v.starts, FACET_COLUMN_BLOCK, "verifying a shard"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(v.times, FACET_COLUMN_BLOCK, "verifying a shard"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(v.floats, n_floats, "verifying a shard"));
  for (int i = 0; i < schema->n_features; i++) FACET_TRY_GOTO(status, done, verify_feature(&v, i));
  for (int s = 0; s < schema->n_sequences; s++) FACET_TRY_GOTO(status, done, verify_sequence(&v, s));
done:
  facet_memory_free(v.ids);
  facet_memory_free(v.ints);
  facet_memory_free(v.starts);
  facet_memory_free(v.times);
  facet_memory_free(v.floats);
  FACET_TRY(facet_shard_check(shard)); /* explains other errors, too */
  return status;
}
