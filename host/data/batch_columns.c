/* Stored columns into a batch: column at a time over the sorted rows of one part. Mapped columns are read in place;
 * others in chunks of nearby rows through the library. */
#include <math.h>
#include <string.h>

#include "data/batch.h"
#include "data/column.h"

/* Rows read at once from a column that is not mapped, and the gap that is read over rather than skipped. */
#define CHUNK_ROWS 16384
#define CHUNK_GAP 64

/* Sorted rows between asking for a window and copying it. */
#define PREFETCH 12

/* Ids of a window that are asked for: behind 16 lines in a row the processor goes on by itself. */
#define PREFETCH_IDS 256

typedef enum column_type { COLUMN_INT32, COLUMN_INT64, COLUMN_FLOAT } column_type;

/* Sorted rows first … end − 1, which need column rows low … high − 1 (with gaps). */
typedef struct column_chunk {
  int64_t first, end, low, high;
} column_chunk;

/* Column rows from `low` on. */
typedef struct column_view {
  const void *data;
  int64_t low;
} column_view;

static const void *column_in_place(const facet_column *column, column_type type) {
  int element_bytes = 0;
  const void *data = facet_column_mapped(column, &element_bytes);
  return element_bytes == (type == COLUMN_INT64 ? 8 : 4) ? data : NULL;
}

/* The longest chunk from sorted row `first` whose column rows lie close together. */
static column_chunk chunk_next(const facet_batch_scope *scope, int64_t first, int64_t end) {
  column_chunk chunk = {first, first, 0, 0};
  for (; chunk.end < end; chunk.end++) {
    int64_t low = scope->first[chunk.end], high = low + scope->count[chunk.end];
    if (low == high) continue;
    if (chunk.low == chunk.high) {
      chunk.low = low;
      chunk.high = high;
      continue;
    }
    if (high < chunk.high) high = chunk.high;
    if (low < chunk.low || low > chunk.high + CHUNK_GAP || high - chunk.low > CHUNK_ROWS) break;
    chunk.high = high;
  }
  return chunk;
}

/* Views column rows low … high − 1 of n_elements each: in place, or read into the buffer. */
static facet_status view_rows(facet_column *column, column_type type, int64_t n_elements, int64_t low, int64_t high,
                              facet_batch_buffer *buffer, column_view *view) {
  *view = (column_view){column_in_place(column, type), 0};
  if (view->data) return FACET_OK;
  size_t size = type == COLUMN_INT64 ? 8 : 4;
  FACET_TRY(FACET_GROW(buffer->bytes, buffer->capacity, (size_t)(high - low) * (size_t)n_elements * size + size,
                       "rows of a column"));
  *view = (column_view){buffer->bytes, low};
  if (low == high) return FACET_OK;
  if (type == COLUMN_INT32) return facet_column_read_int32(column, low, high - low, (int32_t *)(void *)buffer->bytes);
  if (type == COLUMN_INT64) return facet_column_read_int64(column, low, high - low, (int64_t *)(void *)buffer->bytes);
  return facet_column_read_float(column, low, high - low, (float *)(void *)buffer->bytes);
}

/* Asks for what a row a few rows on needs of a column that is not in place. */
static void prefetch_ahead(const facet_column *column, const facet_batch_scope *scope, int64_t k, int64_t end) {
  if (k + PREFETCH < end) facet_column_prefetch(column, scope->first[k + PREFETCH], scope->count[k + PREFETCH]);
}

/* The next chunk of a group: all of it for a column in place. */
static column_chunk group_chunk(const facet_batch_scope *scope, int64_t first, int64_t end, bool in_place) {
  return in_place ? (column_chunk){first, end, 0, 0} : chunk_next(scope, first, end);
}

bool facet_batch_in_place(const facet_batch *batch, const facet_dataset *dataset, int part) {
  facet_shard *shard = facet_dataset_part(dataset, part);
  for (int i = 0; i < batch->scratch->n_filled; i++) {
    int f = batch->scratch->filled[i];
    const facet_feature *feature = &batch->layout->schema->features[f];
    column_type type = feature->type == FACET_FEATURE_FLOAT ? COLUMN_FLOAT : COLUMN_INT32;
    if (feature->join >= 0) continue;
    if (!column_in_place(facet_shard_values(shard, f), type)) return false;
    if (feature->bag > 0 && !column_in_place(facet_shard_offsets(shard, f), COLUMN_INT64)) return false;
  }
  return true;
}

/* ---- one number per sample ----------------------------------------------------------------------------------- */

facet_status facet_batch_read_int64s(facet_batch_scratch *scratch, facet_column *column, const facet_batch_group *group,
                                     int64_t *out) {
  const facet_batch_scope *scope = &scratch->scopes[0];
  bool in_place = column_in_place(column, COLUMN_INT64) != NULL;
  column_chunk chunk;
  for (int64_t k = group->first; k < group->end; k = chunk.end) {
    chunk = group_chunk(scope, k, group->end, in_place);
    if (!in_place) prefetch_ahead(column, scope, k, group->end);
    column_view view;
    FACET_TRY(view_rows(column, COLUMN_INT64, 1, chunk.low, chunk.high, &scratch->values, &view));
    const int64_t *data = view.data;
    for (int64_t i = chunk.first; i < chunk.end; i++) out[i] = data[scope->first[i] - view.low];
  }
  return FACET_OK;
}

facet_status facet_batch_read_int32s(facet_batch_scratch *scratch, facet_column *column, const facet_batch_group *group,
                                     int32_t *out) {
  const facet_batch_scope *scope = &scratch->scopes[0];
  bool in_place = column_in_place(column, COLUMN_INT32) != NULL;
  column_chunk chunk;
  for (int64_t k = group->first; k < group->end; k = chunk.end) {
    chunk = group_chunk(scope, k, group->end, in_place);
    if (!in_place) prefetch_ahead(column, scope, k, group->end);
    column_view view;
    FACET_TRY(view_rows(column, COLUMN_INT32, 1, chunk.low, chunk.high, &scratch->values, &view));
    const int32_t *data = view.data;
    for (int64_t i = chunk.first; i < chunk.end; i++) out[i] = data[scope->first[i] - view.low];
  }
  return FACET_OK;
}

/* ---- features ------------------------------------------------------------------------------------------------ */

/* One stored feature being read for one group. */
typedef struct stored_fill {
  facet_batch *batch;
  const facet_feature *feature;
  const facet_batch_scope *scope;
  facet_shard *shard;
  facet_column *values, *offsets;
  int64_t n_elements; /* per event */
  int64_t last_id;
  int32_t *ids; /* [B × L × n_elements] */
  facet_real *floats;
} stored_fill;

/* Column row of event `e` in the batch's order of sorted row `k`. */
static int64_t event_row(const facet_batch_scope *scope, int64_t k, int64_t e) {
  return scope->first[k] + (scope->newest_first ? scope->count[k] - 1 - e : e);
}

/* Describes the first wrong value that a chunk brought into the batch. */
static facet_status report_value(const stored_fill *fill, const column_chunk *chunk) {
  const char *path = facet_shard_path(fill->shard), *name = facet_column_name(fill->values);
  int64_t stride = fill->scope->max_length * fill->n_elements;
  for (int64_t k = chunk->first; k < chunk->end; k++) {
    int64_t slot = fill->batch->scratch->slot[k];
    for (int64_t i = 0; i < fill->scope->count[k] * fill->n_elements; i++) {
      long long row = (long long)event_row(fill->scope, k, i / fill->n_elements);
      if (fill->ids) {
        int32_t id = fill->ids[slot * stride + i];
        FACET_CHECK(id >= 0 && id <= fill->last_id, FACET_ERROR_DATA,
                    "%s: %s: row %lld: id %d is outside its vocabulary %s (0 … %lld)", path, name, row, id,
                    fill->batch->layout->schema->vocabularies[fill->feature->vocabulary].name,
                    (long long)fill->last_id);
      } else {
        double value = fill->floats[slot * stride + i];
        FACET_CHECK(isfinite(value), FACET_ERROR_DATA, "%s: %s: row %lld: the value is %g: expected a finite number",
                    path, name, row, value);
      }
    }
  }
  FACET_FAIL(FACET_ERROR_INTERNAL, "%s: %s: a value failed its check but was not found", path, name);
}

/* Row of the view at which sorted row k begins; an empty one may begin anywhere. */
static int64_t view_offset(const facet_batch_scope *scope, int64_t k, const column_view *view) {
  return scope->count[k] > 0 ? scope->first[k] - view->low : 0;
}

/* Asks for the rows of sorted row k from memory: shuffled windows lie where no hardware prefetcher expects them.
 * Inlined always: GCC takes a function that only prefetches for one without effect and drops its calls. */
__attribute__((always_inline)) static inline void prefetch_rows(const int32_t *data, const facet_batch_scope *scope,
                                                                int64_t k, const column_view *view) {
  const int32_t *rows = data + view_offset(scope, k, view);
  const int64_t n = scope->count[k] < PREFETCH_IDS ? scope->count[k] : PREFETCH_IDS;
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(rows + i);
  if (n > 0) __builtin_prefetch(rows + n - 1);
}

static facet_status fill_ids(const stored_fill *fill, const column_chunk *chunk) {
  const facet_batch_scope *scope = fill->scope;
  const int32_t *slot = fill->batch->scratch->slot;
  int64_t n_slots = scope->max_length;
  uint32_t last = (uint32_t)fill->last_id, bad = 0;
  column_view view;
  FACET_TRY(view_rows(fill->values, COLUMN_INT32, 1, chunk->low, chunk->high, &fill->batch->scratch->values, &view));
  const int32_t *data = view.data;
  for (int64_t k = chunk->first; k < chunk->end; k++) {
    if (k + PREFETCH < chunk->end) prefetch_rows(data, scope, k + PREFETCH, &view);
    bad |= facet_batch_copy_ids(data + view_offset(scope, k, &view), fill->ids + slot[k] * n_slots, scope->count[k],
                                n_slots, scope->newest_first, last);
  }
  return bad >> 31 ? report_value(fill, chunk) : FACET_OK;
}

static facet_status fill_floats(const stored_fill *fill, const column_chunk *chunk) {
  const facet_batch_scope *scope = fill->scope;
  int64_t n_elements = fill->n_elements, stride = scope->max_length * n_elements;
  uint32_t bad = 0;
  column_view view;
  FACET_TRY(
      view_rows(fill->values, COLUMN_FLOAT, n_elements, chunk->low, chunk->high, &fill->batch->scratch->values, &view));
  const float *data = view.data;
  for (int64_t k = chunk->first; k < chunk->end; k++) {
    facet_real *out = fill->floats + fill->batch->scratch->slot[k] * stride;
    int64_t n = scope->count[k];
    if (scope->newest_first) {
      for (int64_t e = 0; e < n; e++) {
        bad |= facet_batch_copy_floats(data + (event_row(scope, k, e) - view.low) * n_elements, out + e * n_elements,
                                       n_elements);
      }
    } else {
      bad |= facet_batch_copy_floats(data + view_offset(scope, k, &view) * n_elements, out, n * n_elements);
    }
    if (n < scope->max_length) memset(out + n * n_elements, 0, (size_t)(stride - n * n_elements) * sizeof *out);
  }
  return bad >> 31 ? report_value(fill, chunk) : FACET_OK;
}

/* Checks the bags of column rows low … high − 1. */
static facet_status check_offsets(const stored_fill *fill, const column_view *offsets, int64_t low, int64_t high) {
  const int64_t *data = offsets->data;
  int64_t n_values = facet_column_n_rows(fill->values);
  for (int64_t row = low; row < high; row++) {
    int64_t begin = data[row - offsets->low], end = data[row + 1 - offsets->low];
    FACET_CHECK(begin >= 0 && begin <= end && end <= n_values, FACET_ERROR_DATA,
                "%s: %s: row %lld: the bag is values %lld … %lld: expected rising offsets from 0 to %lld",
                facet_shard_path(fill->shard), facet_column_name(fill->offsets), (long long)row, (long long)begin,
                (long long)end, (long long)n_values);
    FACET_CHECK(end - begin <= fill->n_elements, FACET_ERROR_DATA,
                "%s: %s: row %lld: the bag has %lld values: the schema allows %lld", facet_shard_path(fill->shard),
                facet_column_name(fill->offsets), (long long)row, (long long)(end - begin),
                (long long)fill->n_elements);
  }
  return FACET_OK;
}

static facet_status fill_bags(const stored_fill *fill, const column_chunk *chunk) {
  const facet_batch_scope *scope = fill->scope;
  facet_batch_scratch *scratch = fill->batch->scratch;
  int64_t n_elements = fill->n_elements, stride = scope->max_length * n_elements;
  bool empty = chunk->low == chunk->high;
  column_view offsets, values;
  FACET_TRY(view_rows(fill->offsets, COLUMN_INT64, 1, chunk->low, empty ? chunk->low : chunk->high + 1,
                      &scratch->offsets, &offsets));
  const int64_t *bags = offsets.data;
  FACET_TRY(check_offsets(fill, &offsets, chunk->low, chunk->high));
  for (int64_t k = chunk->first; empty && k < chunk->end; k++) { /* a chunk in place has no range of its own */
    FACET_TRY(check_offsets(fill, &offsets, scope->first[k], scope->first[k] + scope->count[k]));
  }
  FACET_TRY(view_rows(fill->values, COLUMN_INT32, 1, empty ? 0 : bags[chunk->low - offsets.low],
                      empty ? 0 : bags[chunk->high - offsets.low], &scratch->values, &values));
  const int32_t *data = values.data;
  uint32_t bad = 0;
  for (int64_t k = chunk->first; k < chunk->end; k++) {
    int32_t *out = fill->ids + scratch->slot[k] * stride;
    int64_t n = scope->count[k];
    for (int64_t e = 0; e < n; e++) {
      const int64_t *bag = bags + (event_row(scope, k, e) - offsets.low);
      bad |= facet_batch_copy_ids(data + (bag[0] - values.low), out + e * n_elements, bag[1] - bag[0], n_elements,
                                  false, (uint32_t)fill->last_id);
    }
    if (n < scope->max_length) memset(out + n * n_elements, 0, (size_t)(stride - n * n_elements) * sizeof *out);
  }
  return bad >> 31 ? report_value(fill, chunk) : FACET_OK;
}

facet_status facet_batch_fill_stored(facet_batch *batch, facet_dataset *dataset, const facet_batch_group *group,
                                     int feature) {
  const facet_feature *described = &batch->layout->schema->features[feature];
  facet_shard *shard = facet_dataset_part(dataset, group->part);
  bool is_float = described->type == FACET_FEATURE_FLOAT, is_bag = described->bag > 0;
  stored_fill fill = {.batch = batch,
                      .feature = described,
                      .scope = &batch->scratch->scopes[described->sequence + 1],
                      .shard = shard,
                      .values = facet_shard_values(shard, feature),
                      .offsets = is_bag ? facet_shard_offsets(shard, feature) : NULL,
                      .n_elements = facet_feature_elements(described),
                      .last_id = is_float ? 0 : facet_batch_last_id(batch, dataset, feature),
                      .ids = batch->ids[feature],
                      .floats = batch->floats[feature]};
  bool in_place = column_in_place(fill.values, is_float ? COLUMN_FLOAT : COLUMN_INT32) &&
                  (!is_bag || column_in_place(fill.offsets, COLUMN_INT64));
  column_chunk chunk;
  for (int64_t k = group->first; k < group->end; k = chunk.end) {
    chunk = group_chunk(fill.scope, k, group->end, in_place);
    if (!in_place && !is_bag) prefetch_ahead(fill.values, fill.scope, k, group->end);
    if (is_float) {
      FACET_TRY(fill_floats(&fill, &chunk));
    } else if (is_bag) {
      FACET_TRY(fill_bags(&fill, &chunk));
    } else {
      FACET_TRY(fill_ids(&fill, &chunk));
    }
  }
  return FACET_OK;
}
