/* e^x for vector code: a polynomial without branches and without libm. */
#ifndef FACET_VECTOR_EXPONENTIAL_H
#define FACET_VECTOR_EXPONENTIAL_H

#include <stdint.h>
#include <string.h>

#include "facet/real.h"

#ifdef FACET_DOUBLE
typedef uint64_t bits_t;
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023u
#define ROUND 6755399441055744.0 /* 1.5 · 2^52: adding it rounds to an integer in the low bits */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_LIMIT 750.0
#else
typedef uint32_t bits_t;
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127u
#define ROUND 12582912.0f /* 1.5 · 2^23 */
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define EXP_LIMIT 110.0f
#endif

static inline bits_t real_bits(facet_real x) {
  bits_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline facet_real bits_real(bits_t bits) {
  facet_real x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline facet_real multiply_add(facet_real a, facet_real b, facet_real c) {
  return a * b + c;
}

/* e^x = (1 + q)·s1·s2 with q = e^r − 1, r = x − k ln 2, |r| ≤ ln2/2, and s1·s2 = 2^k in two factors, so that results
 * under- and overflow as they should. q is the Taylor series to r^7 (float: error 5e-9) or r^13 (double: 4e-18). */
static inline facet_real exp_parts(facet_real x, facet_real *s1, facet_real *s2) {
  x = x > (facet_real)EXP_LIMIT ? (facet_real)EXP_LIMIT : x;
  x = x < (facet_real)-EXP_LIMIT ? (facet_real)-EXP_LIMIT : x;
  facet_real t = x * (facet_real)1.44269504088896340736 + (facet_real)ROUND;
  facet_real k = t - (facet_real)ROUND;
  facet_real r = multiply_add(-k, (facet_real)LN2_HIGH, x);
  r = multiply_add(-k, (facet_real)LN2_LOW, r);
  bits_t power = real_bits(t) - real_bits((facet_real)ROUND) + 2 * (bits_t)EXPONENT_BIAS; /* k + 2·bias > 0 */
  bits_t half = power >> 1;
  *s1 = bits_real(half << MANTISSA_BITS);
  *s2 = bits_real((power - half) << MANTISSA_BITS);
#ifdef FACET_DOUBLE
  facet_real p = 1.0 / 6227020800.0;
  p = multiply_add(p, r, 1.0 / 479001600.0);
  p = multiply_add(p, r, 1.0 / 39916800.0);
  p = multiply_add(p, r, 1.0 / 3628800.0);
  p = multiply_add(p, r, 1.0 / 362880.0);
  p = multiply_add(p, r, 1.0 / 40320.0);
  p = multiply_add(p, r, 1.0 / 5040.0);
#else
  facet_real p = 1.0f / 5040.0f;
#endif
  p = multiply_add(p, r, (facet_real)(1.0 / 720.0));
  p = multiply_add(p, r, (facet_real)(1.0 / 120.0));
  p = multiply_add(p, r, (facet_real)(1.0 / 24.0));
  p = multiply_add(p, r, (facet_real)(1.0 / 6.0));
  p = multiply_add(p, r, (facet_real)0.5);
  return multiply_add(p * r, r, r);
}

static inline facet_real exp_one(facet_real x) {
  facet_real s1, s2;
  facet_real q = exp_parts(x, &s1, &s2);
  return multiply_add(s1, q, s1) * s2;
}

#endif
