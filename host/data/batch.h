/* What facet_batch_assemble keeps with a batch: the plan of features to fill, and buffers for one call. */
#ifndef FACET_HOST_DATA_BATCH_H
#define FACET_HOST_DATA_BATCH_H

#include <stddef.h>
#include <string.h>

#include "facet/batch.h"
#include "facet/memory.h"

/* Consecutive entries first … end − 1 of the sorted rows that lie in one part. */
typedef struct facet_batch_group {
  int part;
  int64_t first, end;
} facet_batch_group;

/* Where the values of the sorted rows lie in the columns of one scope. Scope 0 is the sample itself (one row of the
 * columns each), scope s + 1 the windows of sequence s: row k of the batch's sorted rows takes column rows
 * first[k] … first[k] + count[k] − 1. */
typedef struct facet_batch_scope {
  int64_t max_length; /* L; 1 for samples */
  bool newest_first;
  bool filled;
  int64_t *first; /* [B] */
  int32_t *count; /* [B] ≤ L */
} facet_batch_scope;

typedef struct facet_batch_buffer {
  char *bytes; /* grown with FACET_GROW, owned */
  size_t capacity;
} facet_batch_buffer;

typedef struct facet_batch_scratch {
  facet_arena *arena; /* holds this struct and every array of the batch */
  int n_filled;
  int *filled;               /* [n_filled] features to fill, stored ones first, then joined ones */
  facet_batch_scope *scopes; /* [1 + n_sequences] */
  int64_t n_groups;
  facet_batch_group *groups;          /* [B] */
  int32_t *slot;                      /* [B] sample of the batch of each sorted row */
  int64_t *key, *swap_key;            /* [B] radix sort by row */
  int32_t *swap_slot;                 /* [B] */
  int64_t *group;                     /* [B] group column of the sorted rows */
  facet_batch_buffer values, offsets; /* rows of columns that are not mapped */
} facet_batch_scratch;

/* Whether all features that the batch takes from a part lie in mapped columns. */
bool facet_batch_in_place(const facet_batch *batch, const facet_dataset *dataset, int part);

/* Reads a stored feature for the rows of a group into the batch, checked; batch_columns.c. */
facet_status facet_batch_fill_stored(facet_batch *batch, facet_dataset *dataset, const facet_batch_group *group,
                                     int feature);

/* Reads a sample column of int64 or int32 for the rows of a group into out[group->first … end − 1]. */
facet_status facet_batch_read_int64s(facet_batch_scratch *scratch, facet_column *column, const facet_batch_group *group,
                                     int64_t *out);
facet_status facet_batch_read_int32s(facet_batch_scratch *scratch, facet_column *column, const facet_batch_group *group,
                                     int32_t *out);

/* Copies n ids, newest first if `reverse`, into dst[0 … n_slots − 1] with zeros behind; returns a word whose top bit is
 * set if one of them is outside 0 … last: an id is inside when neither it nor last − id has its sign bit set. */
static inline uint32_t facet_batch_copy_ids(const int32_t *restrict src, int32_t *restrict dst, int64_t n,
                                            int64_t n_slots, bool reverse, uint32_t last) {
  uint32_t bad = 0;
  if (reverse) {
    for (int64_t i = 0; i < n; i++) {
      uint32_t id = (uint32_t)src[n - 1 - i];
      bad |= id | (last - id);
      dst[i] = (int32_t)id;
    }
  } else {
    for (int64_t i = 0; i < n; i++) {
      uint32_t id = (uint32_t)src[i];
      bad |= id | (last - id);
      dst[i] = (int32_t)id;
    }
  }
  if (n < n_slots) memset(dst + n, 0, (size_t)(n_slots - n) * sizeof *dst);
  return bad;
}

/* Copies n floats; the result's top bit is set if one is not finite (exponent all ones: adding one to it carries). */
static inline uint32_t facet_batch_copy_floats(const float *restrict src, facet_real *restrict dst, int64_t n) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, &src[i], sizeof bits);
    bad |= (bits & 0x7fffffffu) + 0x00800000u;
    dst[i] = src[i];
  }
  return bad;
}

/* Last id allowed: inside the vocabulary of the layout's schema (the model's tables) and of the data set's. */
static inline int64_t facet_batch_last_id(const facet_batch *batch, const facet_dataset *dataset, int feature) {
  int vocabulary = batch->layout->schema->features[feature].vocabulary;
  int64_t size = batch->layout->schema->vocabularies[vocabulary].size;
  int64_t stored = facet_dataset_schema(dataset)->vocabularies[vocabulary].size;
  return (size < stored ? size : stored) - 1;
}

/* Elements per event (or per sample outside sequences): 1, K or length. */
static inline int64_t facet_feature_elements(const facet_feature *feature) {
  return feature->bag > 0 ? feature->bag : feature->length;
}

#endif
