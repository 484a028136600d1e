/* Philox4x32-10, uniforms, normals and keyed permutations. */
#include "facet/rng.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

#define INLINE static inline __attribute__((always_inline))
#define LANES 32 /* blocks that are computed side by side */

/* ---- Philox4x32-10 (Salmon et al., SC'11) -------------------------------------------------------------------- */

/* One round; k0 and k1 are the round's keys. */
INLINE void philox_round(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d, uint32_t k0, uint32_t k1) {
  const uint64_t p0 = (uint64_t)0xD2511F53u * *a, p1 = (uint64_t)0xCD9E8D57u * *c;
  *a = (uint32_t)(p1 >> 32) ^ *b ^ k0;
  *b = (uint32_t)p1;
  *c = (uint32_t)(p0 >> 32) ^ *d ^ k1;
  *d = (uint32_t)p0;
}

/* out[j][lane]: word j of the block counter + lane (in the last word). */
INLINE void philox_lanes(facet_rng_key key, facet_rng_counter counter, uint32_t out[4][LANES]) {
  for (uint32_t lane = 0; lane < LANES; lane++) {
    for (int j = 0; j < 4; j++) out[j][lane] = counter.word[j] + (j == 3 ? lane : 0);
  }
  for (int round = 0; round < 10; round++) {
    for (int lane = 0; lane < LANES; lane++)
      philox_round(&out[0][lane], &out[1][lane], &out[2][lane], &out[3][lane], key.word[0], key.word[1]);
    key.word[0] += 0x9E3779B9u;
    key.word[1] += 0xBB67AE85u;
  }
}

void facet_rng_block(facet_rng_key key, facet_rng_counter counter, uint32_t out[4]) {
  memcpy(out, counter.word, sizeof counter.word);
  for (int round = 0; round < 10; round++) {
    philox_round(&out[0], &out[1], &out[2], &out[3], key.word[0], key.word[1]);
    key.word[0] += 0x9E3779B9u;
    key.word[1] += 0xBB67AE85u;
  }
}

facet_rng_key facet_rng_key_make(uint64_t seed, const char *purpose) {
  const uint64_t hash = XXH3_64bits_withSeed(purpose, strlen(purpose), seed);
  return (facet_rng_key){{(uint32_t)hash, (uint32_t)(hash >> 32)}};
}

facet_rng_counter facet_rng_counter_train(uint32_t step, uint32_t micro_step, uint32_t position, uint32_t block) {
  return (facet_rng_counter){{step, micro_step, position, block}};
}

facet_rng_counter facet_rng_counter_row(uint64_t row, uint32_t block) {
  return (facet_rng_counter){{(uint32_t)row, (uint32_t)(row >> 32), 0xffffffffu, block}};
}

float facet_rng_uniform(uint32_t word) {
  return ((float)(word >> 9) + 0.5f) * 0x1p-23f;
}

uint64_t facet_rng_below(uint64_t bits, uint64_t n) {
  return (uint64_t)(((unsigned __int128)bits * n) >> 64);
}

uint64_t facet_rng_word64(facet_rng_key key, uint64_t index) {
  uint32_t out[4];
  facet_rng_block(key, (facet_rng_counter){{(uint32_t)index, (uint32_t)(index >> 32), 0xfffffffeu, 0}}, out);
  return (uint64_t)out[0] | (uint64_t)out[1] << 32;
}

/* ---- normals -------------------------------------------------------------------------------------------------
 *
 * Box-Muller: from words w0 and w1, u = (w0 + ½)/2^32 and angle a = 2π·(w1 + ½)/2^32,
 *   x = √(−2 ln u) · cos a,  y = √(−2 ln u) · sin a.
 * Only +, −, ·, fmaf and √, each correctly rounded, in a fixed order: every processor gives the same bits. No branch,
 * so that loops over these functions become vector code. Relative error below 6e-7, also where u is near 1 or a near a
 * multiple of π/2. */

INLINE uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

INLINE float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* a where `choose`, else b. */
INLINE float select_float(bool choose, float a, float b) {
  const uint32_t mask = choose ? 0xffffffffu : 0;
  return float_of((bits_of(a) & mask) | (bits_of(b) & ~mask));
}

/* (w + ½)/2^32, rounded twice: the halves of w are exact, and their sum rounds once. */
INLINE float fraction(uint32_t w) {
  const float whole = fmaf((float)(int32_t)(w >> 16), 65536.0f, (float)(int32_t)(w & 0xffff));
  return fmaf(whole, 0x1p-32f, 0x1p-33f);
}

/* −2 ln u, u = (w + ½)/2^32 = m·2^e with m in [√½, √2). Polynomial of f = m − 1: Cephes logf. Where e = 0, f is
 * −(1 − u), taken from the complement of w without cancellation. */
INLINE float minus_two_log(uint32_t w) {
  const float u = fraction(w), complement = fraction(~w);
  const uint32_t bits = bits_of(u);
  /* 0x3f3504f3 is √½: with it subtracted, the exponent field holds e */
  const int32_t exponent = (int32_t)(bits - 0x3f3504f3u) >> 23;
  const float m = float_of(bits - ((uint32_t)exponent << 23)), e = (float)exponent;
  const float f = select_float(exponent == 0, -complement, m - 1.0f), z = f * f;
  float p = 7.0376836292e-2f;
  p = fmaf(p, f, -1.1514610310e-1f);
  p = fmaf(p, f, 1.1676998740e-1f);
  p = fmaf(p, f, -1.2420140846e-1f);
  p = fmaf(p, f, 1.4249322787e-1f);
  p = fmaf(p, f, -1.6668057665e-1f);
  p = fmaf(p, f, 2.0000714765e-1f);
  p = fmaf(p, f, -2.4999993993e-1f);
  p = fmaf(p, f, 3.3333331174e-1f);
  float tail = fmaf(f * z, p, -0.5f * z); /* ln(1 + f) − f */
  tail = fmaf(e, -2.12194440e-4f, tail);  /* ln 2 in two parts, the first exact in a product with e */
  return -2.0f * fmaf(e, 0.693359375f, f + tail);
}

/* cos and sin of 2π·(w + ½)/2^32: the nearest quarter turn is split off in integers; the rest, in [−π/4, π/4], goes
 * through the polynomials of Cephes sinf and cosf. */
INLINE void cosine_sine(uint32_t w, float *cosine, float *sine) {
  const uint32_t quadrant = (w + 0x20000000u) >> 30;
  const float rest = (float)(int32_t)(w - (quadrant << 30));
  /* 2π/2^32 in two parts, and half of it */
  const float x = fmaf(rest, 0x1.921fb6p-30f, fmaf(rest, -0x1.777a5cp-55f, 0x1.921fb6p-31f)), z = x * x;
  float s = fmaf(z, -1.9515295891e-4f, 8.3321608736e-3f);
  s = fmaf(s, z, -1.6666654611e-1f);
  s = fmaf(s * z, x, x);
  float c = fmaf(z, 2.443315711809948e-5f, -1.388731625493765e-3f);
  c = fmaf(c, z, 4.166664568298827e-2f);
  c = fmaf(c * z, z, fmaf(z, -0.5f, 1.0f));
  const bool odd = quadrant & 1;
  *cosine = float_of(bits_of(select_float(odd, s, c)) ^ (((quadrant + 1) & 2) << 30));
  *sine = float_of(bits_of(select_float(odd, c, s)) ^ ((quadrant & 2) << 30));
}

INLINE void box_muller(uint32_t w0, uint32_t w1, float *x, float *y) {
  const float radius = sqrtf(minus_two_log(w0));
  float cosine, sine;
  cosine_sine(w1, &cosine, &sine);
  *x = radius * cosine;
  *y = radius * sine;
}

INLINE void four_normals(const uint32_t word[4], float out[4]) {
  box_muller(word[0], word[1], &out[0], &out[1]);
  box_muller(word[2], word[3], &out[2], &out[3]);
}

/* The normals of LANES blocks. */
INLINE void fill_lanes(facet_rng_key key, facet_rng_counter counter, float out[4 * LANES]) {
  uint32_t word[4][LANES];
  float normal[4][LANES];
  philox_lanes(key, counter, word);
  for (int lane = 0; lane < LANES; lane++) {
    box_muller(word[0][lane], word[1][lane], &normal[0][lane], &normal[1][lane]);
    box_muller(word[2][lane], word[3][lane], &normal[2][lane], &normal[3][lane]);
  }
  for (int lane = 0; lane < LANES; lane++) {
    for (int j = 0; j < 4; j++) out[4 * lane + j] = normal[j][lane];
  }
}

INLINE void fill(facet_rng_key key, facet_rng_counter counter, int64_t n, float *out) {
  float last[4 * LANES];
  for (; n >= 4 * LANES; n -= 4 * LANES, out += 4 * LANES, counter.word[3] += LANES) fill_lanes(key, counter, out);
  if (n <= 0) return;
  fill_lanes(key, counter, last);
  memcpy(out, last, (size_t)n * sizeof *out);
}

/* The same arithmetic with FMA instructions and with libm's exact fmaf: equal bits. */
__attribute__((target("avx2,fma"))) static void normals_fma(const uint32_t word[4], float out[4]) {
  four_normals(word, out);
}
__attribute__((target("avx2,fma"))) static void fill_fma(facet_rng_key key, facet_rng_counter counter, int64_t n,
                                                         float *out) {
  fill(key, counter, n, out);
}

static bool has_fma(void) {
  return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
}

void facet_rng_normals(const uint32_t word[4], float out[4]) {
  if (has_fma())
    normals_fma(word, out);
  else
    facet_rng_normals_portable(word, out);
}

void facet_rng_normals_portable(const uint32_t word[4], float out[4]) {
  four_normals(word, out);
}

void facet_rng_fill_normals(facet_rng_key key, facet_rng_counter counter, int64_t n, float *out) {
  if (has_fma())
    fill_fma(key, counter, n, out);
  else
    fill(key, counter, n, out);
}

float facet_rng_normal(facet_rng_key key, uint64_t index) {
  uint32_t word[4];
  float four[4];
  const uint64_t block = index / 4;
  facet_rng_block(key, (facet_rng_counter){{(uint32_t)block, (uint32_t)(block >> 32), 0xfffffffeu, 1}}, word);
  facet_rng_normals(word, four);
  return four[index % 4];
}

/* ---- keyed permutation --------------------------------------------------------------------------------------- */

/* Even numbers. Parts of a few bits mix slowly: with 6 rounds some positions of 5 items come 5 per cent too often. */
#define FEISTEL_ROUNDS 6
#define FEISTEL_ROUNDS_SMALL 16 /* up to 2^8 items */
#define FEISTEL_LANES 32        /* numbers that are permuted side by side */

/* Mixes 64 bits (the finaliser of SplitMix64). */
INLINE uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/* A Feistel network permutes 2^bits ≥ n numbers, at most 2n; results ≥ n walk on along their cycle. The two parts
 * differ by a bit where bits is odd, and swap their widths in every round. */
typedef struct feistel {
  uint64_t n, key, masks[2], n_rounds;
  int low; /* bits of the right part */
} feistel;

static feistel feistel_make(facet_rng_key key, uint64_t n) {
  const int bits = n > 2 ? 64 - __builtin_clzll(n - 1) : 2, low = bits - bits / 2;
  return (feistel){.n = n,
                   .key = (uint64_t)key.word[1] << 32 | key.word[0],
                   .masks = {((uint64_t)1 << (bits / 2)) - 1, ((uint64_t)1 << low) - 1},
                   .n_rounds = bits <= 8 ? FEISTEL_ROUNDS_SMALL : FEISTEL_ROUNDS,
                   .low = low};
}

/* One application to each of `count` numbers. */
INLINE void feistel_apply(const feistel *f, int count, uint64_t *index) {
  uint64_t left[FEISTEL_LANES], right[FEISTEL_LANES];
  for (int j = 0; j < count; j++) {
    left[j] = index[j] >> f->low;
    right[j] = index[j] & f->masks[1];
  }
  for (uint64_t round = 0; round < f->n_rounds; round++) {
    const uint64_t added = f->key + (round + 1) * 0x9e3779b97f4a7c15u, mask = f->masks[round & 1];
    for (int j = 0; j < count; j++) {
      const uint64_t next = left[j] ^ (mix(right[j] + added) & mask);
      left[j] = right[j];
      right[j] = next;
    }
  }
  for (int j = 0; j < count; j++) index[j] = left[j] << f->low | right[j];
}

uint64_t facet_rng_permute(facet_rng_key key, uint64_t n, uint64_t index) {
  if (n <= 1) return 0;
  const feistel f = feistel_make(key, n);
  do feistel_apply(&f, 1, &index);
  while (index >= n);
  return index;
}

/* Full lanes: numbers that walk on share them with new ones. What is left in fewer lanes is finished one by one. */
INLINE void permute_many(facet_rng_key key, uint64_t n, int64_t count, int64_t *index) {
  const feistel f = feistel_make(key, n);
  uint64_t walker[FEISTEL_LANES];
  int64_t place[FEISTEL_LANES], taken = 0;
  int n_walkers = 0;
  for (;;) {
    for (; n_walkers < FEISTEL_LANES && taken < count; taken++, n_walkers++) {
      walker[n_walkers] = (uint64_t)index[taken];
      place[n_walkers] = taken;
    }
    if (n_walkers < FEISTEL_LANES) break;
    feistel_apply(&f, FEISTEL_LANES, walker);
    n_walkers = 0;
    for (int j = 0; j < FEISTEL_LANES; j++) { /* the walker stays in the lanes unless it has arrived */
      const bool walks_on = walker[j] >= n;
      index[place[j]] = (int64_t)walker[j];
      walker[n_walkers] = walker[j];
      place[n_walkers] = place[j];
      n_walkers += walks_on;
    }
  }
  for (int j = 0; j < n_walkers; j++) index[place[j]] = (int64_t)facet_rng_permute(key, n, walker[j]);
}

/* Multiplies eight 64-bit numbers at once. */
__attribute__((target("avx512f,avx512dq,avx512vl"))) static void permute_many_avx512(facet_rng_key key, uint64_t n,
                                                                                     int64_t count, int64_t *index) {
  permute_many(key, n, count, index);
}

void facet_rng_permute_many(facet_rng_key key, uint64_t n, int64_t count, int64_t *index) {
  if (n <= 1)
    memset(index, 0, (size_t)count * sizeof *index);
  else if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    permute_many_avx512(key, n, count, index);
  else
    permute_many(key, n, count, index);
}
