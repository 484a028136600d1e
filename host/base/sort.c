/* External merge sort. Records are collected in a buffer of half the budget; a full buffer is sorted (bottom-up merge
 * sort into the other half) and appended to the spill file as a run. Reading merges the runs with a binary heap. */
#include "facet/sort.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "facet/file.h"
#include "facet/log.h"
#include "facet/memory.h"

#define SORT_MIN_RECORDS 64

typedef struct sort_run {
  int64_t first, n;        /* records of the run in the spill file */
  int64_t next;            /* next record to load */
  int64_t n_loaded, taken; /* records in the run's part of the buffer, and how many were taken */
  char *buffer;
} sort_run;

struct facet_sorter {
  size_t record_bytes;
  facet_compare compare;
  int64_t capacity; /* records in each half of the memory */
  char *records, *scratch;
  int64_t n_held; /* records in memory */
  int64_t n_records;
  char directory[FACET_PATH_MAX];
  int descriptor; /* spill file; −1: none yet */
  sort_run *runs;
  size_t runs_capacity;
  int64_t n_runs;
  int64_t *heap; /* indices of runs, the smallest record first */
  int64_t n_heap;
  int64_t run_capacity; /* records buffered per run while merging */
  int64_t n_taken;      /* records given out since the last rewind */
};

facet_status facet_sorter_create(size_t record_bytes, facet_compare compare, size_t memory_bytes, const char *directory,
                                 facet_sorter **sorter) {
  *sorter = NULL;
  facet_sorter *self;
  FACET_TRY(FACET_ALLOC(self, 1, "sorter"));
  self->descriptor = -1;
  self->record_bytes = record_bytes;
  self->compare = compare;
  self->capacity = (int64_t)(memory_bytes / 2 / record_bytes);
  if (self->capacity < SORT_MIN_RECORDS) self->capacity = SORT_MIN_RECORDS;
  facet_status status = facet_path_format(self->directory, "%s", directory ? directory : "");
  if (status == FACET_OK) self->records = facet_memory_alloc((size_t)self->capacity, record_bytes, "sort buffer");
  if (self->records) self->scratch = facet_memory_alloc((size_t)self->capacity, record_bytes, "sort buffer");
  if (!self->scratch) {
    facet_sorter_destroy(&self);
    return facet_error_get()->status;
  }
  *sorter = self;
  return FACET_OK;
}

void facet_sorter_destroy(facet_sorter **sorter) {
  facet_sorter *self = *sorter;
  if (!self) return;
  if (self->descriptor >= 0) close(self->descriptor);
  facet_memory_free(self->records);
  facet_memory_free(self->scratch);
  facet_memory_free(self->runs);
  facet_memory_free(self->heap);
  facet_memory_free(self);
  *sorter = NULL;
}

/* Merges the sorted ranges [low, middle) and [middle, high) of `records` into `scratch`. */
static void merge_ranges(const facet_sorter *self, int64_t low, int64_t middle, int64_t high) {
  const size_t size = self->record_bytes;
  const char *from = self->records;
  int64_t left = low, right = middle;
  for (int64_t out = low; out < high; out++) {
    bool take_left =
        left < middle && (right >= high || self->compare(from + (size_t)left * size, from + (size_t)right * size) <= 0);
    int64_t take = take_left ? left++ : right++;
    memcpy(self->scratch + (size_t)out * size, from + (size_t)take * size, size);
  }
}

/* Sorts the records in memory; the result is in self->records. */
static void sort_held(facet_sorter *self) {
  const int64_t n = self->n_held;
  for (int64_t width = 1; width < n; width *= 2) {
    for (int64_t low = 0; low < n; low += 2 * width) {
      int64_t middle = low + width < n ? low + width : n;
      int64_t high = low + 2 * width < n ? low + 2 * width : n;
      merge_ranges(self, low, middle, high);
    }
    char *swap = self->records;
    self->records = self->scratch;
    self->scratch = swap;
  }
}

static facet_status spill_held(facet_sorter *self) {
  if (self->descriptor < 0) FACET_TRY(facet_temporary_file(self->directory, &self->descriptor));
  FACET_TRY(FACET_GROW(self->runs, self->runs_capacity, self->n_runs + 1, "sorted runs"));
  sort_held(self);
  sort_run *run = &self->runs[self->n_runs];
  run->first = self->n_records - self->n_held;
  run->n = self->n_held;
  const size_t n_bytes = (size_t)run->n * self->record_bytes;
  if (facet_descriptor_write(self->descriptor, "a sorted run", self->records, n_bytes) != FACET_OK) /* after the last */
    return facet_error_context("spilling %s to %s", facet_format_bytes((double)n_bytes),
                               self->directory[0] ? self->directory : "$TMPDIR or /tmp");
  self->n_runs++;
  self->n_held = 0;
  return FACET_OK;
}

facet_status facet_sorter_add(facet_sorter *sorter, const void *record) {
  if (sorter->n_held == sorter->capacity) FACET_TRY(spill_held(sorter));
  memcpy(sorter->records + (size_t)sorter->n_held * sorter->record_bytes, record, sorter->record_bytes);
  sorter->n_held++;
  sorter->n_records++;
  return FACET_OK;
}

static const char *run_head(const facet_sorter *self, int64_t run) {
  return self->runs[run].buffer + (size_t)self->runs[run].taken * self->record_bytes;
}

/* Loads the next records of a run; n_loaded = 0 at its end. */
static facet_status run_load(const facet_sorter *self, sort_run *run) {
  int64_t left = run->n - run->next;
  run->n_loaded = left < self->run_capacity ? left : self->run_capacity;
  run->taken = 0;
  if (run->n_loaded == 0) return FACET_OK;
  FACET_TRY(facet_descriptor_read_at(self->descriptor, "a sorted run", run->buffer,
                                     (size_t)run->n_loaded * self->record_bytes,
                                     (run->first + run->next) * (int64_t)self->record_bytes));
  run->next += run->n_loaded;
  return FACET_OK;
}

static bool heap_less(const facet_sorter *self, int64_t a, int64_t b) {
  int order = self->compare(run_head(self, a), run_head(self, b));
  return order != 0 ? order < 0 : a < b;
}

static void heap_sink(facet_sorter *self, int64_t place) {
  for (int64_t child = 2 * place + 1; child < self->n_heap; child = 2 * place + 1) {
    if (child + 1 < self->n_heap && heap_less(self, self->heap[child + 1], self->heap[child])) child++;
    if (!heap_less(self, self->heap[child], self->heap[place])) return;
    int64_t swap = self->heap[child];
    self->heap[child] = self->heap[place];
    self->heap[place] = swap;
    place = child;
  }
}

facet_status facet_sorter_rewind(facet_sorter *sorter) {
  sorter->n_taken = 0;
  sorter->n_heap = 0;
  int64_t runs_per_half = (sorter->n_runs + 1) / 2; /* both halves of the memory serve as read buffers */
  for (int64_t i = 0; i < sorter->n_runs; i++) {
    sort_run *run = &sorter->runs[i];
    char *half = i < runs_per_half ? sorter->records : sorter->scratch;
    run->buffer = half + (size_t)(i % runs_per_half * sorter->run_capacity) * sorter->record_bytes;
    run->next = 0;
    FACET_TRY(run_load(sorter, run));
    sorter->heap[sorter->n_heap++] = i;
  }
  for (int64_t place = sorter->n_heap / 2 - 1; place >= 0; place--) heap_sink(sorter, place);
  return FACET_OK;
}

facet_status facet_sorter_finish(facet_sorter *sorter) {
  if (sorter->n_runs == 0) {
    sort_held(sorter);
    return FACET_OK;
  }
  if (sorter->n_held > 0) FACET_TRY(spill_held(sorter));
  sorter->run_capacity = sorter->capacity / ((sorter->n_runs + 1) / 2);
  FACET_CHECK(sorter->run_capacity > 0, FACET_ERROR_INTERNAL,
              "sorting %lld records takes %lld runs, more than a memory budget of %s can merge",
              (long long)sorter->n_records, (long long)sorter->n_runs,
              facet_format_bytes(2.0 * (double)sorter->capacity * (double)sorter->record_bytes));
  FACET_TRY(FACET_ALLOC(sorter->heap, sorter->n_runs, "merge of sorted runs"));
  return facet_sorter_rewind(sorter);
}

/* Takes the record that was given out last from its run. */
static facet_status heap_advance(facet_sorter *self) {
  sort_run *run = &self->runs[self->heap[0]];
  if (++run->taken == run->n_loaded) FACET_TRY(run_load(self, run));
  if (run->n_loaded == 0) self->heap[0] = self->heap[--self->n_heap];
  heap_sink(self, 0);
  return FACET_OK;
}

facet_status facet_sorter_next(facet_sorter *sorter, const void **record) {
  *record = NULL;
  if (sorter->n_runs == 0) {
    if (sorter->n_taken < sorter->n_held) *record = sorter->records + (size_t)sorter->n_taken++ * sorter->record_bytes;
    return FACET_OK;
  }
  if (sorter->n_heap == 0) return FACET_OK;
  if (sorter->n_taken > 0) FACET_TRY(heap_advance(sorter));
  if (sorter->n_heap == 0) return FACET_OK;
  sorter->n_taken++;
  *record = run_head(sorter, sorter->heap[0]);
  return FACET_OK;
}

int64_t facet_sorter_n_records(const facet_sorter *sorter) {
  return sorter->n_records;
}
int64_t facet_sorter_n_runs(const facet_sorter *sorter) {
  return sorter->n_runs;
}
