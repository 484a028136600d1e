/* Philox' known answers, accuracy and moments of the normals, bijections. */
#include "facet/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* kat_vectors of Random123. */
Test(rng, philox_known_answers) {
  const struct {
    uint32_t counter[4], key[2], expected[4];
  } cases[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (int i = 0; i < 3; i++) {
    facet_rng_key key;
    facet_rng_counter counter;
    uint32_t out[4];
    memcpy(key.word, cases[i].key, sizeof key.word);
    memcpy(counter.word, cases[i].counter, sizeof counter.word);
    facet_rng_block(key, counter, out);
    cr_assert(memcmp(out, cases[i].expected, sizeof out) == 0, "case %d", i);
  }
}

Test(rng, purposes_and_seeds_give_different_keys) {
  facet_rng_key a = facet_rng_key_make(1, "dropout/mlp.0"), b = facet_rng_key_make(1, "dropout/mlp.1"),
                c = facet_rng_key_make(2, "dropout/mlp.0"), d = facet_rng_key_make(1, "dropout/mlp.0");
  cr_assert(memcmp(&a, &b, sizeof a) != 0 && memcmp(&a, &c, sizeof a) != 0 && memcmp(&a, &d, sizeof a) == 0);
}

Test(rng, uniform_stays_inside_zero_and_one) {
  cr_assert(facet_rng_uniform(0) > 0 && facet_rng_uniform(0xffffffffu) < 1);
}

Test(rng, normals_agree_with_double_arithmetic) {
  facet_rng_key key = facet_rng_key_make(5, "accuracy");
  for (uint32_t i = 0; i < 200000; i++) {
    uint32_t word[4];
    float out[4];
    facet_rng_block(key, facet_rng_counter_train(0, 0, 0, i), word);
    facet_rng_normals(word, out);
    for (int pair = 0; pair < 2; pair++) {
      double u = ((double)word[2 * pair] + 0.5) * 0x1p-32, turn = (double)(word[2 * pair + 1] >> 8) * 0x1p-24;
      double radius = sqrt(-2 * log(u)), angle = 2 * M_PI * turn;
      double tolerance = 4e-7 * (radius + 1) + 6e-8 / (radius + 1e-3);
      cr_assert(fabs(out[2 * pair] - radius * cos(angle)) < tolerance, "block %u", i);
      cr_assert(fabs(out[2 * pair + 1] - radius * sin(angle)) < tolerance, "block %u", i);
    }
  }
}

Test(rng, normals_at_the_ends_of_the_range_are_finite) {
  const uint32_t ends[] = {0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
  for (int i = 0; i < 6; i++) {
    for (int j = 0; j < 6; j++) {
      const uint32_t word[4] = {ends[i], ends[j], ends[j], ends[i]};
      float out[4];
      facet_rng_normals(word, out);
      for (int k = 0; k < 4; k++) cr_assert(isfinite(out[k]) && fabsf(out[k]) < 7);
    }
  }
}

Test(rng, moments_of_four_million_normals) {
  const int64_t n = 4000000;
  float *x = malloc((size_t)n * sizeof *x);
  facet_rng_fill_normals(facet_rng_key_make(11, "moments"), facet_rng_counter_train(0, 0, 0, 0), n, x);
  double sum = 0, square = 0, fourth = 0, largest = 0;
  for (int64_t i = 0; i < n; i++) {
    double v = x[i];
    sum += v;
    square += v * v;
    fourth += v * v * v * v;
    largest = fmax(largest, fabs(v));
  }
  free(x);
  cr_assert(fabs(sum / n) < 5e-4 * 4 && fabs(square / n - 1) < 4e-3 && fabs(fourth / n - 3) < 2e-2);
  cr_assert(largest > 4.5 && largest < 7);
}

Test(rng, the_fma_instruction_changes_no_bit) {
  facet_rng_key key = facet_rng_key_make(9, "bits");
  for (uint32_t i = 0; i < 100000; i++) {
    uint32_t word[4];
    float a[4], b[4];
    facet_rng_block(key, facet_rng_counter_row(i, 0), word);
    facet_rng_normals(word, a);
    facet_rng_normals_portable(word, b);
    cr_assert(memcmp(a, b, sizeof a) == 0, "block %u", i);
  }
}

Test(rng, known_bits_of_normals) {
  const uint32_t word[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  float out[4];
  uint32_t bits[4];
  facet_rng_normals(word, out);
  memcpy(bits, out, sizeof bits);
  const uint32_t expected[4] = {0x3f7dbb2f, 0xbf6cb6b3, 0xbf1e1ba2, 0xbef6d1ac};
  cr_assert(memcmp(bits, expected, sizeof bits) == 0, "%08x %08x %08x %08x", bits[0], bits[1], bits[2], bits[3]);
}

Test(rng, filling_equals_single_blocks) {
  facet_rng_key key = facet_rng_key_make(2, "fill");
  float filled[10], four[4];
  facet_rng_fill_normals(key, facet_rng_counter_train(3, 1, 7, 0), 10, filled);
  for (uint32_t i = 0; i < 10; i++) {
    uint32_t word[4];
    facet_rng_block(key, facet_rng_counter_train(3, 1, 7, i / 4), word);
    facet_rng_normals(word, four);
    cr_assert(filled[i] == four[i % 4]);
  }
}

Test(rng, permutations_are_bijections) {
  const uint64_t sizes[] = {1, 2, 3, 5, 16, 17, 1000, 65537};
  for (int s = 0; s < 8; s++) {
    uint64_t n = sizes[s], sum = 0, fixed = 0;
    char *seen = calloc(n, 1);
    for (uint64_t i = 0; i < n; i++) {
      uint64_t to = facet_rng_permute(facet_rng_key_make(4, "permutation"), n, i);
      cr_assert(to < n && !seen[to]);
      seen[to] = 1;
      sum += to;
      fixed += to == i;
    }
    cr_assert(n < 1000 || fixed < 20);
    free(seen);
  }
}

Test(rng, below_covers_its_range) {
  cr_assert(facet_rng_below(0, 7) == 0 && facet_rng_below(UINT64_MAX, 7) == 6);
}
