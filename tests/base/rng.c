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

/* The largest relative error of four normals against long double arithmetic. */
static double relative_error(const uint32_t word[4]) {
  float out[4];
  double largest = 0;
  facet_rng_normals(word, out);
  for (int pair = 0; pair < 2; pair++) {
    const long double u = (word[2 * pair] + 0.5L) * 0x1p-32L;
    const long double angle = 2 * 3.14159265358979323846L * (word[2 * pair + 1] + 0.5L) * 0x1p-32L;
    const long double x = sqrtl(-2 * logl(u)) * cosl(angle), y = sqrtl(-2 * logl(u)) * sinl(angle);
    largest = fmax(largest, (double)fabsl((out[2 * pair] - x) / x));
    largest = fmax(largest, (double)fabsl((out[2 * pair + 1] - y) / y));
  }
  return largest;
}

Test(rng, normals_agree_with_long_double_arithmetic) {
  facet_rng_key key = facet_rng_key_make(5, "accuracy");
  for (uint32_t i = 0; i < 200000; i++) {
    uint32_t word[4];
    facet_rng_block(key, facet_rng_counter_train(0, 0, 0, i), word);
    cr_assert(relative_error(word) < 6e-7, "block %u: %g", i, relative_error(word));
  }
}

/* u beside 0, √½ and 1; angles beside the multiples of π/4. */
Test(rng, normals_are_accurate_at_the_seams) {
  const uint32_t radii[] = {0, 0xb504f333, 0xffffffff};
  for (uint32_t r = 0; r < 3; r++) {
    for (uint32_t eighth = 0; eighth < 8; eighth++) {
      for (uint32_t near = 0; near < 64; near++) {
        const uint32_t word[4] = {radii[r] + near * (r == 2 ? ~0u : 1u), (eighth << 29) + near - 32,
                                  radii[r] + near * (r == 2 ? ~0u : 256u), (eighth << 29) + 1000 * near};
        cr_assert(relative_error(word) < 6e-7, "%08x %08x %08x %08x: %g", word[0], word[1], word[2], word[3],
                  relative_error(word));
      }
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
  const uint32_t expected[4] = {0x3f7dbb31, 0xbf6cb6b0, 0xbf1e1b9e, 0xbef6d1b1};
  cr_assert(memcmp(bits, expected, sizeof bits) == 0, "%08x %08x %08x %08x", bits[0], bits[1], bits[2], bits[3]);
}

Test(rng, filling_equals_single_blocks) {
  enum { LARGEST = 1000 };
  facet_rng_key key = facet_rng_key_make(2, "fill");
  float filled[LARGEST + 1], four[4];
  const int64_t sizes[] = {0, 1, 10, 127, 128, 129, LARGEST};
  for (int s = 0; s < 7; s++) {
    filled[sizes[s]] = 77;
    facet_rng_fill_normals(key, facet_rng_counter_train(3, 1, 7, 5), sizes[s], filled);
    for (uint32_t i = 0; i < sizes[s]; i++) {
      uint32_t word[4];
      facet_rng_block(key, facet_rng_counter_train(3, 1, 7, 5 + i / 4), word);
      facet_rng_normals_portable(word, four);
      cr_assert(memcmp(&filled[i], &four[i % 4], sizeof(float)) == 0, "n %d, element %u", (int)sizes[s], i);
    }
    cr_assert(filled[sizes[s]] == 77);
  }
}

Test(rng, scalar_streams_do_not_repeat) {
  facet_rng_key key = facet_rng_key_make(2, "scalar");
  for (uint64_t i = 0; i < 100; i++) {
    cr_assert(facet_rng_word64(key, i) != facet_rng_word64(key, i + 1));
    cr_assert(facet_rng_normal(key, i) != facet_rng_normal(key, i + 1));
  }
  cr_assert(facet_rng_word64(key, 5) != facet_rng_word64(key, 5 + (1ull << 32)));
}

/* Each of the n positions should get item 0 equally often over many keys: χ² with n − 1 degrees of freedom. */
Test(rng, permutations_of_few_items_are_even) {
  enum { N = 5, KEYS = 20000 };
  double count[N] = {0}, chi_square = 0;
  for (uint64_t seed = 0; seed < KEYS; seed++) count[facet_rng_permute(facet_rng_key_make(seed, "even"), N, 0)]++;
  for (int i = 0; i < N; i++) chi_square += pow(count[i] - KEYS / N, 2) / (KEYS / N);
  cr_assert(chi_square < 23.5, "chi square %g", chi_square); /* 4 degrees of freedom, p = 1e-4 */
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

/* Numbers that walk on share the lanes with new ones; each must end where it does alone. */
Test(rng, many_are_permuted_as_each_alone) {
  const uint64_t sizes[] = {1, 2, 3, 33, 129, 255, 256, 257, 1000, 65537, (uint64_t)1 << 40};
  const int64_t counts[] = {0, 1, 31, 32, 33, 64, 500};
  const facet_rng_key key = facet_rng_key_make(8, "many");
  int64_t index[501];
  for (int s = 0; s < 11; s++) {
    for (int c = 0; c < 7; c++) {
      for (int64_t i = 0; i <= counts[c]; i++) index[i] = (i * 77 + 5) % (int64_t)sizes[s];
      facet_rng_permute_many(key, sizes[s], counts[c], index);
      for (int64_t i = 0; i < counts[c]; i++)
        cr_assert((uint64_t)index[i] == facet_rng_permute(key, sizes[s], (uint64_t)((i * 77 + 5) % (int64_t)sizes[s])));
      cr_assert(index[counts[c]] == (counts[c] * 77 + 5) % (int64_t)sizes[s], "beyond the end");
    }
  }
}

Test(rng, below_covers_its_range) {
  cr_assert(facet_rng_below(0, 7) == 0 && facet_rng_below(UINT64_MAX, 7) == 6);
}
