/* A batch: B samples as dense arrays, the inputs of a graph.
 *
 * Sequences are padded [B, L] slots with length[B]; valid positions are a prefix (newest or oldest event first, as the
 * layout says); padding has id 0 and value 0. Bags are padded [B, K] (in sequences [B, L, K]) with id 0 behind the
 * values. Rows beyond n_rows are padding: valid 0, everything else 0. */
#ifndef FACET_BATCH_H
#define FACET_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/dataset.h"
#include "facet/real.h"
#include "facet/rng.h"
#include "facet/schema.h"
#include "facet/status.h"

typedef struct facet_batch_layout {
  const facet_schema *schema; /* borrowed */
  int64_t batch_size;         /* B */
  int64_t *max_length;        /* [n_sequences] L: the newest L events of a window are taken */
  bool *newest_first;         /* [n_sequences] */
  bool *used; /* [n_features] features that are filled, and those they join; label, weight, group are always filled */
} facet_batch_layout;

/* Everything used, L from the schema (at most max_length if that is > 0), oldest first. */
facet_status facet_batch_layout_create(const facet_schema *schema, int64_t batch_size, int64_t max_length,
                                       facet_batch_layout **layout);
void facet_batch_layout_destroy(facet_batch_layout **layout);
/* Elements per sample of a feature in the batch: 1, K, L, L·K or (L·) length; 0 for int64, which has no array. */
int64_t facet_batch_layout_elements(const facet_batch_layout *layout, int feature);

/* The layout must not change while a batch of it exists. */
typedef struct facet_batch {
  const facet_batch_layout *layout; /* borrowed */
  int64_t n_rows;                   /* samples, ≤ B */
  int64_t position;                 /* of the first sample in the epoch's order; set by the loader */
  int64_t *row;                     /* [B] row in the split; −1 for padding */
  int32_t **ids;                    /* [n_features] → [B × elements]; NULL for other types and features not filled */
  facet_real **floats;              /* [n_features] → [B × elements]; NULL for other types and features not filled */
  int32_t **length;                 /* [n_sequences] → [B]; NULL where no feature of the sequence is filled */
  facet_real *label;                /* [B] */
  facet_real *weight;               /* [B] 1 where the schema has no weight; 0 for padding */
  facet_real *valid;                /* [B] 1 or 0 */
  int64_t *group;                   /* [B] GAUC group: the group feature, else the user's id, else 0 */
  double weight_sum;                /* Σ valid · weight */
  struct facet_batch_scratch *scratch; /* of facet_batch_assemble (host/data/batch.h) */
} facet_batch;

facet_status facet_batch_create(const facet_batch_layout *layout, facet_batch **batch);
void facet_batch_destroy(facet_batch **batch);

/* Fills the batch with n ≤ B rows of the data set: windows into histories, joins, bags. Errors name file, data set,
 * row, value and what was expected (an id outside its vocabulary, NaN, a label other than 0 or 1, a negative or
 * non-finite weight, a window outside the events or longer than the schema allows); the batch's content is then
 * undefined. So is a part that has become shorter since it was opened, however little. Ids must lie inside the
 * vocabularies of the layout's schema and of the data set's. Several threads may fill batches of their own from one
 * data set. Times are not looked at: facet_shard_verify does. */
facet_status facet_batch_assemble(facet_dataset *dataset, const int64_t *rows, int64_t n, facet_batch *batch);

/* ---- order --------------------------------------------------------------------------------------------------- */

/* The order of an epoch as a function position → row, needing no memory that grows with the data.
 * shuffled: blocks of `block` rows are permuted by a keyed permutation of (seed, epoch), then rows inside each window
 * of `window` permuted blocks (0: all). chronological: rows as stored. */
typedef struct facet_order {
  int64_t n_rows, block, window; /* window in blocks, 1 … max(n_blocks, 1) */
  int64_t n_blocks;              /* ⌈n_rows / block⌉ */
  int64_t short_rows;            /* rows of the last block, 1 … block */
  int64_t short_block;           /* its place in the permuted order: drawn, the other blocks are permuted around it */
  bool shuffled;
  uint64_t seed;
  int64_t epoch;
  facet_rng_key block_key, row_key; /* of (seed, epoch) */
} facet_order;

/* n_rows ≥ 0, block ≥ 1, window ≥ 0. */
facet_order facet_order_make(int64_t n_rows, bool shuffled, int64_t block, int64_t window, uint64_t seed,
                             int64_t epoch);
/* Row at a position, 0 ≤ position < n_rows. */
int64_t facet_order_row(const facet_order *order, int64_t position);
/* Rows at positions position … position + n − 1, many times faster for each of a batch. */
void facet_order_rows(const facet_order *order, int64_t position, int64_t n, int64_t *rows);

/* ---- loader -------------------------------------------------------------------------------------------------- */

/* Prepares batches ahead in background threads, in `prefetch` + 1 batches that are used in turn. */
typedef struct facet_loader facet_loader;

/* Delivers positions start … stop − 1 of the order in batches of the layout's size; the last one is padded. Data set
 * and layout are borrowed until destroy. With align > 1 the number of batches is rounded up to a multiple of it by
 * batches of padding only (accumulation). `readers` threads (at most as many as batches) change the speed, nothing
 * else. */
facet_status facet_loader_create(facet_dataset *dataset, const facet_batch_layout *layout, facet_order order,
                                 int64_t start, int64_t stop, int64_t align, int64_t prefetch, int64_t readers,
                                 facet_loader **loader);
/* The next batch, or NULL at the end. Valid until the next call of facet_loader_next, which takes it back. Adds the
 * seconds spent waiting to *wait_seconds (may be NULL). An error of a reader is returned here, in order. */
facet_status facet_loader_next(facet_loader *loader, const facet_batch **batch, double *wait_seconds);
void facet_loader_destroy(facet_loader **loader); /* stops the threads */

#endif
