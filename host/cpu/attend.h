/* Attention of one head of one sample, compiled for three instruction sets like cpu/vector.h, which chooses:
 * facet_vector_get()->attend. Queries lie in the lanes of vectors: softmax needs no sum over lanes, and any number of keys
 * is as good as any other. */
#ifndef FACET_CPU_ATTEND_H
#define FACET_CPU_ATTEND_H

#include <stdint.h>

#include "facet/real.h"

enum { FACET_ATTEND_TILE = 64 }; /* queries at a time */

/* n_queries rows of q and y, n_keys rows of k and v, all of `width`, `stride` elements apart; S = scale · q kᵀ.
 * statistics [n_queries, 2]: max and 1/Σ of each row of exp(S − max). n_keys ≥ 1. */
typedef struct facet_attend_head {
  int64_t n_queries, n_keys, width, stride;
  facet_real scale;
  const facet_real *q, *k, *v;
  facet_real *statistics;
} facet_attend_head;

typedef struct facet_attend {
  /* y = softmax(S) v. work: facet_attend_work elements. */
  void (*forward)(const facet_attend_head *head, facet_real *work, facet_real *y);
  /* Adds the gradients; those that are NULL are not wanted. */
  void (*backward)(const facet_attend_head *head, const facet_real *dy, facet_real *work, facet_real *dq,
                   facet_real *dk, facet_real *dv);
} facet_attend;

/* P and dP, and two tiles of rows. */
static inline int64_t facet_attend_work(int64_t n_keys, int64_t width) {
  return (2 * n_keys + 2 * width) * FACET_ATTEND_TILE;
}

#endif
