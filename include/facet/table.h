/* Embedding tables: rows by id with per-row optimizer state, outside the dense arenas because a table may grow, be
 * sharded over ranks, or live in host memory.
 *
 * Every use goes through facet_table_resolve(ids) → slots, then rows[slot]. A replicated table (the only kind so far)
 * resolves to itself: slot = id. Backward emits (slot, gradient) pairs; after each micro-batch they are grouped by slot,
 * summed per slot, and merged into the accumulated sparse gradient of the update. */
#ifndef FACET_TABLE_H
#define FACET_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "facet/real.h"
#include "facet/status.h"

typedef struct facet_table facet_table;

#define FACET_TABLE_MAX_STATES 2

/* The rows that a set of ids resolves to. */
typedef struct facet_table_view {
  facet_real *rows;    /* [n_rows × width] */
  const int32_t *slot; /* [n_ids] row of each id */
} facet_table_view;

/* Resolves n ids. The view is valid until the next update of the table. */
facet_status facet_table_resolve(facet_table *table, const int32_t *ids, int64_t n_ids, facet_table_view *view);

/* Emits n gradient pairs: pair i belongs to slot[i] and has gradient scale[i / group] · gradient[i / group] (rows of
 * `width`, `stride` elements apart; scale may be NULL: 1). Slot 0 (padding) is ignored. The arrays are referenced, not
 * copied, until facet_table_reduce: they live in plan memory kept for that long. */
facet_status facet_table_emit(facet_table *table, const int32_t *slot, int64_t n, int64_t group,
                              const facet_real *gradient, int64_t stride, const facet_real *scale);

/* Sums the emitted pairs of n tables and merges them into the accumulated gradients of this update. The order of a sum
 * depends on the emissions of these tables alone, not on the number of threads. Emissions whose gradients lie side by side
 * in the rows of one matrix, of whatever tables, read it once. */
facet_status facet_table_reduce(facet_table *const *table, int n);

/* The accumulated gradient: unique slots, ascending, and their rows. */
typedef struct facet_sparse_gradient {
  int64_t n;        /* rows */
  int32_t *slot;    /* [n] */
  facet_real *rows; /* [n × width] */
} facet_sparse_gradient;
facet_sparse_gradient *facet_table_gradient(facet_table *table);
/* Forgets the accumulated gradient and emitted pairs. */
void facet_table_clear_gradient(facet_table *table);

/* Capacity for `n_pairs` pairs per micro-batch and `accumulate` micro-batches; called once before training. Growing
 * later (no) is an error: the plan is fixed. */
facet_status facet_table_reserve(facet_table *table, int64_t n_pairs, int64_t accumulate);

facet_status facet_table_create(const char *name, int64_t n_rows, int64_t width, facet_table **table);
void facet_table_destroy(facet_table **table);
const char *facet_table_name(const facet_table *table);
int64_t facet_table_n_rows(const facet_table *table);
int64_t facet_table_width(const facet_table *table);
facet_real *facet_table_rows(facet_table *table);
size_t facet_table_bytes(const facet_table *table); /* rows, state and gradient buffers */

/* Optimizer state number i (< FACET_TABLE_MAX_STATES): [n_rows × state_width], zeroed when created by
 * facet_table_add_state; NULL if there is none. */
facet_status facet_table_add_state(facet_table *table, int i, const char *name, int64_t state_width, double initial);
facet_real *facet_table_state(facet_table *table, int i, const char **name, int64_t *state_width);

#endif
