/* Statistics of shards, read in blocks. Values that facet_shard_verify would refuse are counted apart, never trusted.
 * See inspect.h. */
#include <math.h>
#include <string.h>

#include "data/inspect.h"
#include "facet/memory.h"

facet_status inspect_statistics_create(const facet_schema *schema, inspect_statistics **out) {
  inspect_statistics *statistics;
  *out = NULL;
  FACET_TRY(FACET_ALLOC(statistics, 1, "statistics"));
  *statistics = (inspect_statistics){.schema = schema, .time_min = INT64_MAX, .time_max = INT64_MIN};
  const facet_status status = FACET_ALLOC(statistics->windows, schema->n_sequences, "statistics");
  if (status != FACET_OK) inspect_statistics_destroy(&statistics);
  *out = statistics;
  return status;
}

void inspect_statistics_destroy(inspect_statistics **out) {
  inspect_statistics *statistics = *out;
  if (!statistics) return;
  for (int s = 0; statistics->windows && s < statistics->schema->n_sequences; s++)
    facet_memory_free(statistics->windows[s].histogram);
  facet_memory_free(statistics->windows);
  facet_memory_free(statistics);
  *out = NULL;
}

/* ---- adding a shard -------------------------------------------------------------------------------------------- */

static facet_status add_labels(inspect_statistics *statistics, facet_column *column, float *labels) {
  const int64_t n_rows = facet_column_n_rows(column);
  for (int64_t first = 0; first < n_rows; first += FACET_COLUMN_BLOCK) {
    const int64_t n = facet_column_block(first, n_rows);
    FACET_TRY(facet_column_read_float(column, first, n, labels));
    for (int64_t i = 0; i < n; i++) {
      statistics->label_sum += (double)labels[i];
      statistics->n_positives += labels[i] == 1;
    }
  }
  return FACET_OK;
}

static facet_status add_times(inspect_statistics *statistics, facet_column *column, int64_t *times) {
  const int64_t n_rows = facet_column_n_rows(column);
  for (int64_t first = 0; first < n_rows; first += FACET_COLUMN_BLOCK) {
    const int64_t n = facet_column_block(first, n_rows);
    FACET_TRY(facet_column_read_int64(column, first, n, times));
    for (int64_t i = 0; i < n; i++) {
      if (times[i] < statistics->time_min) statistics->time_min = times[i];
      if (times[i] > statistics->time_max) statistics->time_max = times[i];
    }
  }
  return FACET_OK;
}

/* `longest` bounds the histogram: the schema's limit, or all events of the part. */
static facet_status add_lengths(inspect_windows *windows, facet_column *column, int64_t longest, int32_t *lengths) {
  const int64_t n_rows = facet_column_n_rows(column);
  for (int64_t first = 0; first < n_rows; first += FACET_COLUMN_BLOCK) {
    const int64_t n = facet_column_block(first, n_rows);
    FACET_TRY(facet_column_read_int32(column, first, n, lengths));
    for (int64_t i = 0; i < n; i++) {
      windows->n++;
      if (lengths[i] < 0 || lengths[i] > longest) {
        windows->n_outside++;
        continue;
      }
      FACET_TRY(FACET_GROW(windows->histogram, windows->capacity, lengths[i] + 1, "lengths of windows"));
      windows->histogram[lengths[i]]++;
    }
  }
  return FACET_OK;
}

facet_status inspect_statistics_add(inspect_statistics *statistics, facet_shard *shard) {
  const facet_schema *schema = statistics->schema;
  int64_t *buffer; /* of 8, or fewer, bytes a row */
  FACET_TRY(FACET_ALLOC(buffer, FACET_COLUMN_BLOCK, "statistics"));
  facet_status status;
  FACET_TRY_GOTO(status, done, add_labels(statistics, facet_shard_values(shard, schema->label), (float *)buffer));
  if (schema->time >= 0)
    FACET_TRY_GOTO(status, done, add_times(statistics, facet_shard_values(shard, schema->time), buffer));
  for (int s = 0; s < schema->n_sequences; s++) {
    const int64_t limit = schema->sequences[s].max_length, n_events = facet_shard_n_events(shard, s);
    FACET_TRY_GOTO(status, done,
                   add_lengths(&statistics->windows[s], facet_shard_lengths(shard, s),
                               limit < n_events ? limit : n_events, (int32_t *)buffer));
    statistics->windows[s].n_events += n_events;
  }
  statistics->n_parts++;
  statistics->n_samples += facet_shard_n_samples(shard);
  statistics->n_bytes += inspect_file_bytes(facet_shard_path(shard));
done:
  facet_memory_free(buffer);
  return status;
}

int64_t inspect_statistics_n_events(const inspect_statistics *statistics) {
  int64_t n = 0;
  for (int s = 0; s < statistics->schema->n_sequences; s++) n += statistics->windows[s].n_events;
  return n;
}

/* ---- windows --------------------------------------------------------------------------------------------------- */

/* The smallest length that a share q of the windows does not exceed; 0 without windows. */
static int64_t quantile(const inspect_windows *windows, double q) {
  const int64_t wanted = (int64_t)ceil(q * (double)(windows->n - windows->n_outside));
  int64_t n = 0;
  for (size_t length = 0; length < windows->capacity; length++) {
    n += windows->histogram[length];
    if (n >= wanted && n > 0) return (int64_t)length;
  }
  return 0;
}

static double mean_length(const inspect_windows *windows) {
  const int64_t n = windows->n - windows->n_outside;
  double sum = 0;
  for (size_t length = 0; length < windows->capacity; length++)
    sum += (double)length * (double)windows->histogram[length];
  return n > 0 ? sum / (double)n : 0;
}

facet_status inspect_windows_grid(inspect_grid **grid) {
  static const char *const titles[] = {"split", "sequence", ">events",  ">limit", ">shortest",  ">mean",
                                       ">p50",  ">p99",     ">longest", ">empty", ">impossible"};
  return inspect_grid_create(sizeof titles / sizeof *titles, titles, 0, grid);
}

facet_status inspect_windows_add(inspect_grid *grid, const inspect_statistics *statistics, const char *split) {
  for (int s = 0; s < statistics->schema->n_sequences; s++) {
    const inspect_windows *windows = &statistics->windows[s];
    const int64_t n_empty = windows->capacity > 0 ? windows->histogram[0] : 0;
    FACET_TRY(inspect_cell(grid, "%s", split));
    FACET_TRY(inspect_cell(grid, "%s", statistics->schema->sequences[s].name));
    FACET_TRY(inspect_cell(grid, "%s", inspect_count(windows->n_events)));
    FACET_TRY(inspect_cell(grid, "%s", inspect_count(statistics->schema->sequences[s].max_length)));
    FACET_TRY(inspect_cell(grid, "%s", inspect_count(quantile(windows, 0))));
    FACET_TRY(inspect_cell(grid, "%.1f", mean_length(windows)));
    FACET_TRY(inspect_cell(grid, "%s", inspect_count(quantile(windows, 0.5))));
    FACET_TRY(inspect_cell(grid, "%s", inspect_count(quantile(windows, 0.99))));
    FACET_TRY(inspect_cell(grid, "%s", inspect_count(quantile(windows, 1))));
    FACET_TRY(inspect_cell(grid, "%s", inspect_count(n_empty)));
    FACET_TRY(inspect_cell(grid, "%s", windows->n_outside > 0 ? inspect_count(windows->n_outside) : ""));
  }
  return FACET_OK;
}
