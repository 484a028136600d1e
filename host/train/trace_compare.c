/* Comparing two traces (facet/trace.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/hdf5.h"
#include "facet/tensor.h"
#include "facet/trace.h"

enum { MAX_NAME = 512 };

typedef struct entry { /* a data set of a trace */
  char *name;          /* "gradients/parameters/mlp.0.weight" */
  int64_t index;
} entry;

typedef struct trace_file {
  const char *path;
  hid_t file;
  facet_arena *arena;
  entry *item;
  int64_t n;
  size_t capacity;
} trace_file;

typedef struct comparison {
  trace_file a, b;
  double tolerance;
  FILE *stream;
  facet_trace_difference *result;
  char largest_name[MAX_NAME], largest_text[MAX_NAME];
} comparison;

/* ---- what a file holds ------------------------------------------------------------------------------------------- */

static facet_status add_entry(trace_file *t, const char *name) {
  FACET_HDF5_SCOPED hid_t dataset = -1;
  FACET_TRY(FACET_GROW(t->item, t->capacity, (size_t)t->n + 1, "names of a trace"));
  entry *e = &t->item[t->n];
  e->name = facet_arena_strdup(t->arena, name);
  if (!e->name) return FACET_ERROR_INTERNAL;
  FACET_TRY(facet_hdf5_dataset_open(t->file, name, &dataset));
  FACET_TRY(facet_hdf5_get_int64(dataset, "index", &e->index));
  t->n++;
  return FACET_OK;
}

static facet_status list(trace_file *t, const char *path) {
  FACET_HDF5_SCOPED hid_t group = -1;
  char **names;
  int64_t n;
  if (path[0]) FACET_TRY(facet_hdf5_group_open(t->file, path, &group));
  FACET_TRY(facet_hdf5_list(path[0] ? group : t->file, t->arena, &names, &n));
  for (int64_t i = 0; i < n; i++) {
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s%s%s", path, path[0] ? "/" : "", names[i]);
    FACET_TRY(facet_hdf5_is_group(t->file, name) ? list(t, name) : add_entry(t, name));
  }
  return FACET_OK;
}

static int by_index(const void *a, const void *b) {
  const int64_t x = ((const entry *)a)->index, y = ((const entry *)b)->index;
  return (x > y) - (x < y);
}

static facet_status open_trace(trace_file *t, const char *path) {
  t->path = path;
  FACET_TRY(facet_hdf5_open(path, &t->file));
  FACET_TRY(facet_hdf5_check_format(t->file, "trace", 1));
  FACET_TRY(facet_arena_create(&t->arena));
  FACET_TRY(list(t, ""));
  if (t->n > 0) qsort(t->item, (size_t)t->n, sizeof *t->item, by_index);
  return FACET_OK;
}

static void close_trace(trace_file *t) {
  facet_hdf5_discard(&t->file);
  facet_arena_destroy(&t->arena);
  facet_memory_free(t->item);
}

/* ---- one data set ------------------------------------------------------------------------------------------------ */

typedef struct numbers {
  facet_shape shape;
  double *value;
} numbers;

/* Any stored number as double. */
static facet_status read_numbers(const trace_file *t, const char *name, numbers *out) {
  facet_hdf5_type type;
  int64_t dims[FACET_HDF5_MAX_RANK];
  FACET_TRY(facet_hdf5_shape(t->file, name, &type, &out->shape.rank, dims));
  memcpy(out->shape.dim, dims, sizeof out->shape.dim);
  const int64_t n = facet_shape_elements(&out->shape);
  FACET_TRY(FACET_ALLOC(out->value, n, "numbers of a trace"));
  if (type == FACET_HDF5_FLOAT || type == FACET_HDF5_DOUBLE)
    return facet_hdf5_read(t->file, name, FACET_HDF5_DOUBLE, out->shape.rank, dims, out->value);
  int64_t *integers;
  FACET_TRY(FACET_ALLOC(integers, n, "numbers of a trace"));
  facet_status status = facet_hdf5_read(t->file, name, FACET_HDF5_INT64, out->shape.rank, dims, integers);
  for (int64_t i = 0; status == FACET_OK && i < n; i++) out->value[i] = (double)integers[i];
  facet_memory_free(integers);
  return status;
}

/* ‖a − b‖ / max(‖a‖, ‖b‖), and the element that differs most in `at`; equal bits of any kind do not differ. */
static double relative_difference(int64_t n, const double *a, const double *b, int64_t *at) {
  double difference = 0, norm_a = 0, norm_b = 0, most = -1;
  *at = 0;
  for (int64_t i = 0; i < n; i++) {
    if (a[i] == b[i] || (isnan(a[i]) && isnan(b[i]))) {
      norm_a += isfinite(a[i]) ? a[i] * a[i] : 0;
      norm_b += isfinite(b[i]) ? b[i] * b[i] : 0;
      continue;
    }
    const double d = fabs(a[i] - b[i]);
    if (!isfinite(d)) {
      *at = i;
      return INFINITY;
    }
    if (d > most) {
      most = d;
      *at = i;
    }
    difference += d * d;
    norm_a += a[i] * a[i];
    norm_b += b[i] * b[i];
  }
  return most < 0 ? 0 : sqrt(difference / (norm_a > norm_b ? norm_a : norm_b));
}

static void note_difference(comparison *c, const char *name, double difference, const char *text) {
  facet_trace_difference *result = c->result;
  if (result->n_different++ == 0) fprintf(c->stream, "first     %s: %s\n", name, text);
  if (difference <= result->largest) return;
  result->largest = difference;
  snprintf(c->largest_name, sizeof c->largest_name, "%s", name);
  snprintf(c->largest_text, sizeof c->largest_text, "%s", text);
}

static void compare_numbers(comparison *c, const char *name, const numbers *a, const numbers *b) {
  char text[MAX_NAME], shape_a[64], shape_b[64];
  facet_shape_format(&a->shape, shape_a, sizeof shape_a);
  facet_shape_format(&b->shape, shape_b, sizeof shape_b);
  c->result->n_compared++;
  if (!facet_shape_equal(&a->shape, &b->shape)) {
    snprintf(text, sizeof text, "%s in %s, %s in %s", shape_a, c->a.path, shape_b, c->b.path);
    note_difference(c, name, INFINITY, text);
    return;
  }
  int64_t at;
  const double difference = relative_difference(facet_shape_elements(&a->shape), a->value, b->value, &at);
  if (difference <= c->tolerance) return;
  snprintf(text, sizeof text, "%.3g relative, of %s; most at element %lld: %.9g and %.9g", difference, shape_a,
           (long long)at, a->value[at], b->value[at]);
  note_difference(c, name, difference, text);
}

static facet_status compare_entry(comparison *c, const char *name) {
  numbers a = {0}, b = {0};
  if (!facet_hdf5_exists(c->b.file, name)) {
    char text[MAX_NAME];
    snprintf(text, sizeof text, "only in %s", c->a.path);
    note_difference(c, name, INFINITY, text);
    return FACET_OK;
  }
  facet_status status = read_numbers(&c->a, name, &a);
  if (status == FACET_OK) status = read_numbers(&c->b, name, &b);
  if (status == FACET_OK) compare_numbers(c, name, &a, &b);
  facet_memory_free(a.value);
  facet_memory_free(b.value);
  return status;
}

static facet_status compare(comparison *c) {
  for (int64_t i = 0; i < c->a.n; i++) FACET_TRY(compare_entry(c, c->a.item[i].name));
  for (int64_t i = 0; i < c->b.n; i++) {
    if (facet_hdf5_exists(c->a.file, c->b.item[i].name)) continue;
    char text[MAX_NAME];
    snprintf(text, sizeof text, "only in %s", c->b.path);
    note_difference(c, c->b.item[i].name, INFINITY, text);
  }
  if (c->result->n_different > 0) fprintf(c->stream, "largest   %s: %s\n", c->largest_name, c->largest_text);
  fprintf(c->stream, "%lld of %lld tensors differ by more than %g\n", (long long)c->result->n_different,
          (long long)c->result->n_compared, c->tolerance);
  return FACET_OK;
}

facet_status facet_trace_compare(const char *a, const char *b, double tolerance, FILE *stream,
                                 facet_trace_difference *difference) {
  *difference = (facet_trace_difference){0};
  comparison c = {.a = {.file = -1}, .b = {.file = -1}, .tolerance = tolerance, .stream = stream, .result = difference};
  facet_status status = open_trace(&c.a, a);
  if (status == FACET_OK) status = open_trace(&c.b, b);
  if (status == FACET_OK) status = compare(&c);
  close_trace(&c.a);
  close_trace(&c.b);
  return status;
}
