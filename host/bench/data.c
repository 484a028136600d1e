/* facet bench data: how fast batches are assembled from a data set in the page cache. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "facet/arguments.h"
#include "facet/batch.h"
#include "facet/log.h"
#include "facet/memory.h"

#define WARMUP_SECONDS 60.0            /* at most */
#define COPY_BYTES ((size_t)256 << 20) /* beyond every cache */

enum { ORDER_SEQUENTIAL, ORDER_SHUFFLED, N_ORDERS };
static const char *const order_names[] = {"sequential", "shuffled", NULL};
enum { FIELDS_OWN, FIELDS_JOINED, FIELDS_ALL, FIELDS_EACH };
static const char *const field_names[] = {"own", "joined", "all", NULL};

typedef struct bench_data_arguments {
  const char *dataset, *split;
  int64_t batch_size, length, shuffle_block, shuffle_window, prefetch, readers;
  double seconds;
  int fields, order;
  bool newest_first, json;
} bench_data_arguments;

#define FIELD(name) offsetof(bench_data_arguments, name)
static const facet_argument table[] = {
    {.name = "DATASET", .type = FACET_ARGUMENT_TEXT, .offset = FIELD(dataset), .required = true, .help = "data set"},
    {.name = "--split", .value = "NAME", .type = FACET_ARGUMENT_TEXT, .offset = FIELD(split), .help = "default train"},
    {.name = "--batch-size",
     .type = FACET_ARGUMENT_INT,
     .offset = FIELD(batch_size),
     .low = 1,
     .high = 1e9,
     .help = "samples of a batch (default 256)"},
    {.name = "--length",
     .type = FACET_ARGUMENT_INT,
     .offset = FIELD(length),
     .low = 0,
     .high = 1e9,
     .help = "newest events of a window that are taken (default 0: as the schema says)"},
    {.name = "--newest-first",
     .type = FACET_ARGUMENT_FLAG,
     .offset = FIELD(newest_first),
     .help = "the newest event first, as some models ask for"},
    {.name = "--fields",
     .type = FACET_ARGUMENT_CHOICE,
     .offset = FIELD(fields),
     .choices = field_names,
     .help = "stored fields, joined ones and what they join, or all of them (default: own, then joined)"},
    {.name = "--order",
     .type = FACET_ARGUMENT_CHOICE,
     .offset = FIELD(order),
     .choices = order_names,
     .help = "default: both"},
    {.name = "--shuffle-block",
     .type = FACET_ARGUMENT_INT,
     .offset = FIELD(shuffle_block),
     .low = 1,
     .high = 1e9,
     .help = "data.shuffle_block (default 256)"},
    {.name = "--shuffle-window",
     .type = FACET_ARGUMENT_INT,
     .offset = FIELD(shuffle_window),
     .low = 0,
     .high = 1e9,
     .help = "data.shuffle_window (default 256)"},
    {.name = "--prefetch",
     .type = FACET_ARGUMENT_INT,
     .offset = FIELD(prefetch),
     .low = 1,
     .high = 64,
     .help = "data.prefetch, batches prepared ahead (default 2)"},
    {.name = "--readers",
     .type = FACET_ARGUMENT_INT,
     .offset = FIELD(readers),
     .low = 1,
     .high = 64,
     .help = "data.readers, threads that assemble batches (default 1)"},
    {.name = "--seconds",
     .type = FACET_ARGUMENT_DOUBLE,
     .offset = FIELD(seconds),
     .low = 0.01,
     .high = 3600,
     .help = "time of each measurement, behind an epoch that does not count (default 2)"},
    {.name = "--json",
     .type = FACET_ARGUMENT_FLAG,
     .offset = FIELD(json),
     .help = "prints one JSON object per measurement"},
    {0}};

/* ---- what is measured ------------------------------------------------------------------------------------------- */

typedef struct measurement {
  int64_t n_batches, n_samples, n_ids; /* delivered; padding does not count */
  double wall, cpu, waited;            /* seconds */
} measurement;

static double cpu_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool is_wanted(const facet_feature *feature, int fields) {
  return fields == FIELDS_ALL || (feature->join >= 0) == (fields == FIELDS_JOINED);
}

static facet_status make_layout(const facet_dataset *dataset, const bench_data_arguments *given, int fields,
                                facet_batch_layout **layout) {
  const facet_schema *schema = facet_dataset_schema(dataset);
  FACET_TRY(facet_batch_layout_create(schema, given->batch_size, given->length, layout));
  for (int f = 0; f < schema->n_features; f++) (*layout)->used[f] = is_wanted(&schema->features[f], fields);
  for (int s = 0; s < schema->n_sequences; s++) (*layout)->newest_first[s] = given->newest_first;
  return FACET_OK;
}

/* Ids of a batch without padding: one per sample or event of a window, times the places of a bag. */
static int64_t count_ids(const facet_batch *batch) {
  const facet_schema *schema = batch->layout->schema;
  int64_t n = 0;
  for (int s = -1; s < schema->n_sequences; s++) {
    int64_t n_events = s < 0 ? batch->n_rows : 0, n_places = 0;
    for (int64_t i = 0; s >= 0 && batch->length[s] && i < batch->n_rows; i++) n_events += batch->length[s][i];
    for (int f = 0; f < schema->n_features; f++) {
      const facet_feature *feature = &schema->features[f];
      if (batch->ids[f] && feature->sequence == s) n_places += feature->bag > 0 ? feature->bag : 1;
    }
    n += n_events * n_places;
  }
  return n;
}

/* Epochs, until the time is over or `most` of them are. */
static facet_status read_for(facet_dataset *dataset, const facet_batch_layout *layout,
                             const bench_data_arguments *given, int kind, double seconds, int64_t most,
                             measurement *result) {
  const int64_t n = facet_dataset_n_samples(dataset);
  const double start = facet_clock(), cpu_start = cpu_seconds();
  facet_status status = FACET_OK;
  facet_loader *loader = NULL;
  bool is_over = false;
  *result = (measurement){0};
  for (int64_t epoch = 0; status == FACET_OK && !is_over && epoch < most; epoch++) {
    const facet_order order =
        facet_order_make(n, kind == ORDER_SHUFFLED, given->shuffle_block, given->shuffle_window, 1, epoch);
    FACET_TRY(facet_loader_create(dataset, layout, order, 0, n, 1, given->prefetch, given->readers, &loader));
    while (!is_over) {
      const facet_batch *batch;
      status = facet_loader_next(loader, &batch, &result->waited);
      if (status != FACET_OK || !batch) break;
      result->n_batches++;
      result->n_samples += batch->n_rows;
      result->n_ids += count_ids(batch);
      is_over = facet_clock() - start >= seconds;
    }
    facet_loader_destroy(&loader);
  }
  result->wall = facet_clock() - start;
  result->cpu = cpu_seconds() - cpu_start;
  return status;
}

/* Bytes copied per second by memcpy in one thread, the best of some passes. */
static facet_status measure_copy(double *rate) {
  char *buffer;
  FACET_TRY(FACET_ALLOC(buffer, 2 * COPY_BYTES, "copy"));
  memset(buffer, 1, 2 * COPY_BYTES);
  *rate = 0;
  for (int pass = 0; pass < 8; pass++) {
    char *from = buffer + (pass % 2 ? COPY_BYTES : 0), *to = buffer + (pass % 2 ? 0 : COPY_BYTES);
    const double start = facet_clock();
    memcpy(to, from, COPY_BYTES);
    const double passed = facet_clock() - start;
    if ((double)COPY_BYTES / passed > *rate) *rate = (double)COPY_BYTES / passed;
  }
  facet_memory_free(buffer);
  return FACET_OK;
}

/* ---- the result ------------------------------------------------------------------------------------------------- */

typedef struct bench {
  const bench_data_arguments *given;
  facet_dataset *dataset;
  double copy; /* bytes per second */
  FILE *out;
} bench;

static facet_status batch_bytes(const facet_batch_layout *layout, size_t *n_bytes) {
  facet_batch *batch;
  const size_t before = facet_memory_in_use();
  FACET_TRY(facet_batch_create(layout, &batch));
  *n_bytes = facet_memory_in_use() - before;
  facet_batch_destroy(&batch);
  return FACET_OK;
}

static void print_head(const bench *self) {
  const bench_data_arguments *given = self->given;
  fprintf(self->out,
          "%s/%s in batches of %lld samples, %lld of them (data.prefetch + 1), %lld reading; memcpy in one thread: "
          "%.1f GB/s\n\n",
          given->dataset, given->split, (long long)given->batch_size, (long long)given->prefetch + 1,
          (long long)given->readers, self->copy / 1e9);
  fprintf(self->out, "%-8s %-11s %10s %12s %10s %8s %10s %14s %10s\n", "fields", "order", "a batch", "samples/s",
          "M ids/s", "GB/s", "of memcpy", "GB/CPU second", "CPU s/GB");
}

static void print_row(const bench *self, int fields, int order, const measurement *m, size_t n_bytes) {
  const double gigabytes = 4e-9 * (double)m->n_ids;
  fprintf(self->out, "%-8s %-11s %10s %12.0f %10.1f %8.2f %9.0f%% %14.2f %10.3f\n", field_names[fields],
          order_names[order], facet_format_bytes((double)n_bytes), (double)m->n_samples / m->wall,
          1e-6 * (double)m->n_ids / m->wall, gigabytes / m->wall, 100e9 * gigabytes / m->wall / self->copy,
          gigabytes / m->cpu, m->cpu / gigabytes);
}

static facet_status print_json(const bench *self, int fields, int order, const measurement *m, size_t n_bytes) {
  const double n_id_bytes = 4.0 * (double)m->n_ids;
  json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "data",
                             self->given->dataset, "split", self->given->split, "order", order_names[order], "fields",
                             field_names[fields], "batch_size", (json_int_t)self->given->batch_size, "readers",
                             (json_int_t)self->given->readers, "batches", (json_int_t)m->n_batches, "samples",
                             (json_int_t)m->n_samples, "ids", (json_int_t)m->n_ids, "wall_seconds", m->wall,
                             "cpu_seconds", m->cpu, "bytes_per_second", n_id_bytes / m->wall, "bytes_per_cpu_second",
                             n_id_bytes / m->cpu, "samples_per_second", (double)m->n_samples / m->wall,
                             "copy_bytes_per_second", self->copy, "batch_bytes", (json_int_t)n_bytes);
  char *text = object ? json_dumps(object, JSON_REAL_PRECISION(6)) : NULL;
  json_decref(object);
  FACET_CHECK(text, FACET_ERROR_INTERNAL, "cannot allocate the result's text");
  fprintf(self->out, "%s\n", text);
  free(text);
  return FACET_OK;
}

static facet_status measure_orders(const bench *self, int fields, const facet_batch_layout *layout) {
  const bench_data_arguments *given = self->given;
  size_t n_bytes;
  FACET_TRY(batch_bytes(layout, &n_bytes));
  for (int order = 0; order < N_ORDERS; order++) {
    measurement result;
    if (given->order < N_ORDERS && order != given->order) continue;
    /* a whole epoch first, so that no page is mapped and no chunk decoded while the time runs */
    FACET_TRY(read_for(self->dataset, layout, given, order, WARMUP_SECONDS, 1, &result));
    FACET_TRY(read_for(self->dataset, layout, given, order, given->seconds, INT64_MAX, &result));
    if (given->json)
      FACET_TRY(print_json(self, fields, order, &result, n_bytes));
    else
      print_row(self, fields, order, &result, n_bytes);
  }
  return FACET_OK;
}

static bool has_joined(const facet_schema *schema) {
  bool found = false;
  for (int f = 0; f < schema->n_features; f++) found |= schema->features[f].join >= 0;
  return found;
}

static facet_status measure(bench *self) {
  const int asked = self->given->fields;
  FACET_TRY(measure_copy(&self->copy));
  if (!self->given->json) print_head(self);
  for (int fields = FIELDS_OWN; fields <= FIELDS_ALL; fields++) {
    facet_batch_layout *layout;
    const bool is_default =
        fields == FIELDS_OWN || (fields == FIELDS_JOINED && has_joined(facet_dataset_schema(self->dataset)));
    if (asked == FIELDS_EACH ? !is_default : fields != asked) continue;
    FACET_TRY(make_layout(self->dataset, self->given, fields, &layout));
    const facet_status status = measure_orders(self, fields, layout);
    facet_batch_layout_destroy(&layout);
    FACET_TRY(status);
  }
  return FACET_OK;
}

facet_status facet_bench_data(int argc, char **argv, FILE *out) {
  bench_data_arguments given = {.split = "train",
                                .batch_size = 256,
                                .shuffle_block = 256,
                                .shuffle_window = 256,
                                .prefetch = 2,
                                .readers = 1,
                                .seconds = 2,
                                .fields = FIELDS_EACH,
                                .order = N_ORDERS};
  bench self = {.given = &given, .out = out};
  FACET_TRY(facet_arguments_parse(table, argc, argv, &given));
  FACET_TRY(facet_dataset_open(given.dataset, given.split, &self.dataset));
  const facet_status status = measure(&self);
  facet_dataset_close(&self.dataset);
  return status;
}

void facet_bench_data_help(FILE *out) {
  facet_arguments_print_help(table, out);
}
