/* Inside of a table, shared by table.c and table_reduce.c. */
#ifndef FACET_TABLE_INTERNAL_H
#define FACET_TABLE_INTERNAL_H

#include "facet/table.h"

#define FACET_TABLE_MAX_EMISSIONS 256 /* uses of one table in a program */
#define FACET_TABLE_MAX_THREADS 256   /* that sum gradients */

/* Pairs first … first + n − 1 of the micro-batch; arrays as given to facet_table_emit. */
typedef struct facet_table_emission facet_table_emission;
struct facet_table_emission {
  const int32_t *slot;
  int64_t first, n, group, stride;
  const facet_real *gradient, *scale;
  const facet_table_emission *leader; /* in a reduction: the first emission of the same rows of gradients */
};

typedef struct facet_table_state_rows {
  char *name;
  int64_t width; /* 0: no such state */
  facet_real *values;
} facet_table_state_rows;

struct facet_table {
  char *name;
  int64_t n_rows, width;
  facet_real *rows;
  facet_table_state_rows state[FACET_TABLE_MAX_STATES];

  facet_table_emission *emissions; /* [FACET_TABLE_MAX_EMISSIONS] */
  int n_emissions;
  int64_t n_emitted, max_pairs, max_accumulated, max_micro;

  uint64_t *touched, *summary;    /* bitmaps of the slots, and of the words of `touched`; 0 between reductions */
  uint32_t *rank;                 /* of a word: touched slots before it */
  facet_sparse_gradient gradient; /* of the update */
  facet_sparse_gradient micro;    /* of a micro-batch after the first; no arrays where accumulate = 1 */
  facet_sparse_gradient *sums;    /* in a reduction: which of the two it fills */
  uint32_t bound[FACET_TABLE_MAX_THREADS + 1]; /* in a reduction: thread t sums slots bound[t] … bound[t + 1] − 1 */
  size_t reserved_bytes;
};

#endif
