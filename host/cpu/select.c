/* Radix selection. */
#include "cpu/select.h"

/* Digits: with many candidates a wide one pays, because it leaves few; with few, clearing its counts would cost more. */
enum { KEY_BITS = 8 * sizeof(facet_key), WIDE = 11, NARROW = 8, MANY = 1024 };

/* Finds the digit (bits shift … shift + width − 1) of the k-th largest; *k becomes its rank among those with it. */
static facet_key digit_of_kth(int64_t n, const facet_key *key, int shift, int width, int64_t *k) {
  uint32_t count[1 << WIDE];
  facet_key mask = ((facet_key)1 << width) - 1, digit = mask;
  memset(count, 0, (sizeof *count) << width);
  for (int64_t i = 0; i < n; i++) count[(key[i] >> shift) & mask]++;
  while (*k > count[digit]) *k -= count[digit--];
  return digit;
}

/* Where the wanted-th element equal to `value` ends. */
static int64_t end_of_equals(const facet_key *key, facet_key value, int64_t wanted) {
  int64_t i = 0;
  while (wanted > 0) wanted -= key[i++] == value;
  return i;
}

facet_cut facet_select_largest(int64_t n, const facet_key *key, int64_t k, facet_key *scratch) {
  const facet_key *candidate = key;
  int64_t n_candidates = n;
  for (int shift = KEY_BITS; shift > 0 && n_candidates > 1;) {
    int width = n_candidates > MANY ? WIDE : NARROW;
    if (width > shift) width = shift;
    shift -= width;
    facet_key mask = ((facet_key)1 << width) - 1, digit = digit_of_kth(n_candidates, candidate, shift, width, &k);
    int64_t left = 0;
    for (int64_t i = 0; i < n_candidates; i++) {
      facet_key value = candidate[i];
      scratch[left] = value;
      left += ((value >> shift) & mask) == digit;
    }
    candidate = scratch;
    n_candidates = left;
  }
  return (facet_cut){.threshold = candidate[0], .end = k == n_candidates ? n : end_of_equals(key, candidate[0], k)};
}
