/* Philox4x32-10, uniforms, normals and keyed permutations. */
#include "facet/rng.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

/* ---- Philox4x32-10 (Salmon et al., SC'11) -------------------------------------------------------------------- */

void facet_rng_block(facet_rng_key key, facet_rng_counter counter, uint32_t out[4]) {
  uint32_t a = counter.word[0], b = counter.word[1], c = counter.word[2], d = counter.word[3];
  uint32_t k0 = key.word[0], k1 = key.word[1];
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = (uint64_t)0xD2511F53u * a, p1 = (uint64_t)0xCD9E8D57u * c;
    a = (uint32_t)(p1 >> 32) ^ b ^ k0;
    b = (uint32_t)p1;
    c = (uint32_t)(p0 >> 32) ^ d ^ k1;
    d = (uint32_t)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = a;
  out[1] = b;
  out[2] = c;
  out[3] = d;
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

/* ---- normals ------------------------------------------------------------------------------------------------- */

/* ln x for normal x in (0, 1]: x = m·2^e with m in [√½, √2), polynomial of m − 1 (Cephes logf). */
static inline __attribute__((always_inline)) float natural_log(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  /* 0x3f3504f3 is √½: subtracting it makes the exponent round to the nearest power of two in the log scale */
  const int32_t exponent = (int32_t)(bits - 0x3f3504f3u) >> 23;
  bits -= (uint32_t)exponent << 23;
  float m;
  memcpy(&m, &bits, sizeof m);
  const float f = m - 1.0f, e = (float)exponent, z = f * f;
  float p = 7.0376836292e-2f;
  p = fmaf(p, f, -1.1514610310e-1f);
  p = fmaf(p, f, 1.1676998740e-1f);
  p = fmaf(p, f, -1.2420140846e-1f);
  p = fmaf(p, f, 1.4249322787e-1f);
  p = fmaf(p, f, -1.6668057665e-1f);
  p = fmaf(p, f, 2.0000714765e-1f);
  p = fmaf(p, f, -2.4999993993e-1f);
  p = fmaf(p, f, 3.3333331174e-1f);
  float y = (p * f) * z;
  y = fmaf(e, -2.12194440e-4f, y);
  y = fmaf(z, -0.5f, y);
  return fmaf(e, 0.693359375f, f + y);
}

/* sin and cos of 2π·turn, turn in [0, 1): quarter turns are split off exactly, then the Cephes polynomials on
 * [−π/4, π/4]. */
static inline __attribute__((always_inline)) void sine_cosine(float turn, float *sine, float *cosine) {
  const float quarters = turn * 4.0f;
  const int32_t quadrant = (int32_t)(quarters + 0.5f);
  const float x = (quarters - (float)quadrant) * 1.57079632679489662f, z = x * x;
  float s = fmaf(z, -1.9515295891e-4f, 8.3321608736e-3f);
  s = fmaf(s, z, -1.6666654611e-1f);
  s = fmaf(s * z, x, x);
  float c = fmaf(z, 2.443315711809948e-5f, -1.388731625493765e-3f);
  c = fmaf(c, z, 4.166664568298827e-2f);
  c = fmaf(c * z, z, fmaf(z, -0.5f, 1.0f));
  const float a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
  *sine = quadrant & 2 ? -a : a;
  *cosine = (quadrant + 1) & 2 ? -b : b;
}

static inline __attribute__((always_inline)) void box_muller(const uint32_t word[4], float out[4]) {
  for (int pair = 0; pair < 2; pair++) {
    /* (0, 1], with the full 32 bits near 0 so that the tail reaches 6.7 */
    const float u = fmaf((float)word[2 * pair], 0x1p-32f, 0x1p-33f);
    const float turn = (float)(word[2 * pair + 1] >> 8) * 0x1p-24f;
    const float log_u = natural_log(u > 1.0f ? 1.0f : u);
    const float radius = sqrtf(log_u < 0.0f ? -2.0f * log_u : 0.0f);
    float sine, cosine;
    sine_cosine(turn, &sine, &cosine);
    out[2 * pair] = radius * cosine;
    out[2 * pair + 1] = radius * sine;
  }
}

static inline __attribute__((always_inline)) void fill(facet_rng_key key, facet_rng_counter counter, int64_t n,
                                                       float *out) {
  for (int64_t i = 0; i < n; i += 4, counter.word[3]++) {
    uint32_t word[4];
    float four[4];
    facet_rng_block(key, counter, word);
    box_muller(word, four);
    for (int64_t j = 0; j < 4 && i + j < n; j++) out[i + j] = four[j];
  }
}

/* The same arithmetic with the FMA instruction and with libm's exact software version: equal bits. */
__attribute__((target("fma"))) static void normals_fma(const uint32_t word[4], float out[4]) {
  box_muller(word, out);
}
static void normals_software(const uint32_t word[4], float out[4]) {
  box_muller(word, out);
}
__attribute__((target("fma"))) static void fill_fma(facet_rng_key key, facet_rng_counter counter, int64_t n,
                                                    float *out) {
  fill(key, counter, n, out);
}

void facet_rng_normals(const uint32_t word[4], float out[4]) {
  if (__builtin_cpu_supports("fma"))
    normals_fma(word, out);
  else
    normals_software(word, out);
}

void facet_rng_normals_portable(const uint32_t word[4], float out[4]) {
  normals_software(word, out);
}

void facet_rng_fill_normals(facet_rng_key key, facet_rng_counter counter, int64_t n, float *out) {
  if (__builtin_cpu_supports("fma"))
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

#define FEISTEL_ROUNDS 6

/* Mixes 64 bits (the finaliser of SplitMix64). */
static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t facet_rng_permute(facet_rng_key key, uint64_t n, uint64_t index) {
  if (n <= 1) return 0;
  /* A Feistel network permutes 2^bits ≥ n numbers, at most 2n; results ≥ n walk on along their cycle. The two parts
   * differ by a bit where bits is odd, and swap their widths in every round. */
  const int bits = n > 2 ? 64 - __builtin_clzll(n - 1) : 2;
  const int low = bits - bits / 2;
  const uint64_t masks[2] = {((uint64_t)1 << (bits / 2)) - 1, ((uint64_t)1 << low) - 1};
  const uint64_t k = (uint64_t)key.word[1] << 32 | key.word[0];
  do {
    uint64_t left = index >> low, right = index & masks[1];
    for (uint64_t round = 0; round < FEISTEL_ROUNDS; round++) {
      const uint64_t next = left ^ (mix(right + k + (round + 1) * 0x9e3779b97f4a7c15u) & masks[round & 1]);
      left = right;
      right = next;
    }
    index = left << low | right;
  } while (index >= n);
  return index;
}
