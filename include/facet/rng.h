/* Counter-based random numbers: Philox4x32-10 and normals that agree in every bit on CPU and GPU.
 *
 * A number depends only on its key and counter, never on device, thread, rank or on what was drawn before:
 *   key      (seed, purpose): the purpose is a name such as "dropout/mlp.1"; its hash separates the streams
 *   counter  (step, micro-step, position of the sample in the global micro-batch, element / 4)
 * In evaluation the counter is (data set row, low and high words; 0xffffffff; element / 4), so a score does not
 * depend on the batch it was computed in. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3". */
#ifndef FACET_RNG_H
#define FACET_RNG_H

#include <stdint.h>

typedef struct facet_rng_key {
  uint32_t word[2];
} facet_rng_key;

typedef struct facet_rng_counter {
  uint32_t word[4];
} facet_rng_counter;

/* Philox4x32-10: four 32-bit words for a counter. */
void facet_rng_block(facet_rng_key key, facet_rng_counter counter, uint32_t out[4]);

/* The key of a seed and a purpose's name. Different names give independent streams. */
facet_rng_key facet_rng_key_make(uint64_t seed, const char *purpose);

/* Counter of element block `block` (element / 4) of sample `position` in (step, micro_step). */
facet_rng_counter facet_rng_counter_train(uint32_t step, uint32_t micro_step, uint32_t position, uint32_t block);

/* Counter of element block `block` of data set row `row`, for evaluation. */
facet_rng_counter facet_rng_counter_row(uint64_t row, uint32_t block);

/* Uniform in (0, 1), from the upper 23 bits, so that neither 0 nor 1 occurs in float. */
float facet_rng_uniform(uint32_t word);

/* Uniform integer in [0, n), n >= 1, from 64 random bits, without modulo bias worth naming (multiply-high). */
uint64_t facet_rng_below(uint64_t bits, uint64_t n);

/* Four standard normals from four words: Box-Muller with own polynomials for log, sine and cosine and explicit
 * fused multiply-adds, no libm. Relative error below 6e-7; the largest absolute value is 6.77. */
void facet_rng_normals(const uint32_t word[4], float out[4]);
/* The same without the FMA instruction (a test compares the bits). */
void facet_rng_normals_portable(const uint32_t word[4], float out[4]);
/* n normals from the blocks counter, counter + 1, … (in the last word), as facet_rng_normals gives them; faster. */
void facet_rng_fill_normals(facet_rng_key key, facet_rng_counter counter, int64_t n, float *out);

/* Convenience for one scalar stream (initialisers, converters): the n-th 64-bit word or normal of a key. */
uint64_t facet_rng_word64(facet_rng_key key, uint64_t index);
float facet_rng_normal(facet_rng_key key, uint64_t index);

/* Keyed permutation of 0..n-1 (a Feistel network with cycle walking): a bijection, O(1) memory.
 * n >= 1, index < n. */
uint64_t facet_rng_permute(facet_rng_key key, uint64_t n, uint64_t index);
/* Replaces index[i] by its place, for i < count; several times faster where count is large. */
void facet_rng_permute_many(facet_rng_key key, uint64_t n, int64_t count, int64_t *index);

#endif
