/* The k largest of a set of numbers, by threshold: no sort, and no order other than (value, then lower index). */
#ifndef FACET_CPU_SELECT_H
#define FACET_CPU_SELECT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "facet/real.h"

/* Unsigned integers in the order of the numbers: −0 and 0 are equal, NaN is above infinity (so that it is selected and
 * seen), and FACET_KEY_NONE is below every number. */
#ifdef FACET_DOUBLE
typedef uint64_t facet_key;
#else
typedef uint32_t facet_key;
#endif
#define FACET_KEY_NONE ((facet_key)0)

static inline facet_key facet_key_of(facet_real x) {
  const facet_key sign = (facet_key)1 << (8 * sizeof(facet_key) - 1);
  facet_key bits;
  facet_real value = x + (facet_real)0; /* −0 becomes 0 */
  memcpy(&bits, &value, sizeof bits);
  bits = bits & sign ? ~bits : bits | sign;
  return x != x ? (facet_key)-1 : bits;
}

/* Element i is among the selected if facet_cut_holds(cut, key[i], i). */
typedef struct facet_cut {
  facet_key threshold; /* of the k largest, the smallest */
  int64_t end;         /* equal elements count up to here: i < end */
} facet_cut;

static inline bool facet_cut_holds(facet_cut cut, facet_key key, int64_t i) {
  return key > cut.threshold || (key == cut.threshold && i < cut.end);
}

/* The cut of the k largest of key[0 … n − 1], 1 ≤ k ≤ n; equal keys by lower index. scratch [n]. About two passes: a
 * radix selection from the highest digit down. */
facet_cut facet_select_largest(int64_t n, const facet_key *key, int64_t k, facet_key *scratch);

#endif
