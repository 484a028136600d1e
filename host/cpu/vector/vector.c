/* The vector kernels (cpu/vector.h), compiled once per instruction set: FACET_ISA is portable, avx2 or avx512. Plain
 * loops that the compiler vectorises; nothing here may call libm except sqrt, which is exact everywhere. */
#include "cpu/vector.h"

#include <string.h>
#include <tgmath.h>

#include "cpu/vector/exponential.h"
#include "cpu/vector/isa.h"

/* ---- relatives of the exponential ------------------------------------------------------------------------------- */

/* e^x − 1 for x ≤ 0. */
static inline facet_real expm1_negative(facet_real x) {
  facet_real s1, s2;
  facet_real q = exp_parts(x, &s1, &s2);
  facet_real scale = s1 * s2;
  return multiply_add(scale, q, scale - (facet_real)1);
}

/* log(1 + e) for 0 ≤ e ≤ 1: 2 atanh(s) = 2 (s + s³/3 + s⁵/5 + …), s = e/(2 + e) ≤ 1/3. */
static inline facet_real log1p_unit(facet_real e) {
  facet_real s = e / ((facet_real)2 + e);
  facet_real z = s * s;
#ifdef FACET_DOUBLE
  facet_real p = 1.0 / 33.0;
  p = multiply_add(p, z, 1.0 / 31.0);
  p = multiply_add(p, z, 1.0 / 29.0);
  p = multiply_add(p, z, 1.0 / 27.0);
  p = multiply_add(p, z, 1.0 / 25.0);
  p = multiply_add(p, z, 1.0 / 23.0);
  p = multiply_add(p, z, 1.0 / 21.0);
  p = multiply_add(p, z, 1.0 / 19.0);
  p = multiply_add(p, z, 1.0 / 17.0);
#else
  facet_real p = 1.0f / 17.0f;
#endif
  p = multiply_add(p, z, (facet_real)(1.0 / 15.0));
  p = multiply_add(p, z, (facet_real)(1.0 / 13.0));
  p = multiply_add(p, z, (facet_real)(1.0 / 11.0));
  p = multiply_add(p, z, (facet_real)(1.0 / 9.0));
  p = multiply_add(p, z, (facet_real)(1.0 / 7.0));
  p = multiply_add(p, z, (facet_real)(1.0 / 5.0));
  p = multiply_add(p, z, (facet_real)(1.0 / 3.0));
  return multiply_add((facet_real)2 * s * z, p, (facet_real)2 * s);
}

static void vector_exp(int64_t n, const facet_real *x, facet_real *y) {
  for (int64_t i = 0; i < n; i++) y[i] = exp_one(x[i]);
}

/* σ(x) from e^−|x| ≤ 1: no overflow, and small values keep their relative precision. */
static void vector_sigmoid(int64_t n, const facet_real *x, facet_real *y) {
  for (int64_t i = 0; i < n; i++) {
    facet_real v = x[i];
    facet_real e = exp_one(-fabs(v));
    facet_real numerator = v < 0 ? e : (facet_real)1;
    y[i] = numerator / ((facet_real)1 + e);
  }
}

static void vector_softplus(int64_t n, const facet_real *x, facet_real *y) {
  for (int64_t i = 0; i < n; i++) {
    facet_real v = x[i];
    facet_real positive = v < 0 ? (facet_real)0 : v; /* NaN stays */
    y[i] = positive + log1p_unit(exp_one(-fabs(v)));
  }
}

static void vector_tanh(int64_t n, const facet_real *x, facet_real *y) {
  for (int64_t i = 0; i < n; i++) {
    facet_real v = x[i];
    facet_real e = expm1_negative((facet_real)-2 * fabs(v)); /* tanh|x| = −e/(2 + e) */
    facet_real t = -e / ((facet_real)2 + e);
    y[i] = v < 0 ? -t : t;
  }
}

/* Adding 0x7fff, and 1 more where the kept part is odd, carries into the kept part as rounding to nearest even does. */
static void vector_to_bf16(int64_t n, const float *restrict x, uint16_t *restrict y) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, sizeof bits);
    uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
    uint32_t quiet = bits | 0x400000; /* a NaN must not be rounded to infinity */
    y[i] = (uint16_t)(((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded) >> 16);
  }
}

/* ---- linear algebra on ranges ----------------------------------------------------------------------------------- */

static void vector_axpy(int64_t n, facet_real a, const facet_real *restrict x, facet_real *restrict y) {
  for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

static void vector_scale(int64_t n, facet_real a, facet_real *y) {
  for (int64_t i = 0; i < n; i++) y[i] *= a;
}

enum { LANES = 16 };

static facet_real vector_dot(int64_t n, const facet_real *restrict x, const facet_real *restrict y) {
  facet_real lane[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++) lane[j] += x[i + j] * y[i + j];
  for (int j = 0; i + j < n; j++) lane[j] += x[i + j] * y[i + j];
  for (int width = LANES / 2; width; width /= 2)
    for (int j = 0; j < width; j++) lane[j] += lane[j + width];
  return lane[0];
}

/* The inner loops must stay loops for GCC to see vectors in them. */
static facet_real vector_max(int64_t n, const facet_real *x) {
  facet_real lane[LANES];
  int64_t i = 0;
  for (int j = 0; j < LANES; j++) lane[j] = -(facet_real)INFINITY;
  for (; i + LANES <= n; i += LANES) {
#pragma GCC unroll 1
    for (int j = 0; j < LANES; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
  }
  for (int j = 0; i + j < n; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
  for (int width = LANES / 2; width; width /= 2)
    for (int j = 0; j < width; j++) lane[j] = lane[j + width] > lane[j] ? lane[j + width] : lane[j];
  return lane[0];
}

static facet_real vector_exp_sum(int64_t n, facet_real shift, const facet_real *x, facet_real *y) {
  facet_real lane[LANES] = {0};
  int64_t i = 0;
  for (int64_t k = 0; k < n; k++) y[k] = exp_one(x[k] - shift);
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++) lane[j] += y[i + j];
  for (int j = 0; i + j < n; j++) lane[j] += y[i + j];
  for (int width = LANES / 2; width; width /= 2)
    for (int j = 0; j < width; j++) lane[j] += lane[j + width];
  return lane[0];
}

static double vector_square_sum(int64_t n, const facet_real *x) {
  double lane[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++) lane[j] += (double)x[i + j] * (double)x[i + j];
  for (int j = 0; i + j < n; j++) lane[j] += (double)x[i + j] * (double)x[i + j];
  for (int width = LANES / 2; width; width /= 2)
    for (int j = 0; j < width; j++) lane[j] += lane[j + width];
  return lane[0];
}

static void vector_add_row(int64_t rows, int64_t width, const facet_real *restrict b, facet_real *restrict x) {
  for (int64_t i = 0; i < rows; i++, x += width)
    for (int64_t j = 0; j < width; j++) x[j] += b[j];
}

enum { ROW_BLOCK = 8 };

/* Eight columns are one vector (or the compiler's several of it); eight rows hide the latency of multiply-add. */
typedef facet_real columns_t
    __attribute__((vector_size(FACET_VECTOR_COLUMNS * sizeof(facet_real)), aligned(sizeof(facet_real)), may_alias));

/* An 8 × 8 matrix: three perfect shuffles of its 64 elements. */
static inline __attribute__((always_inline)) void transpose(columns_t *row) {
  for (int round = 0; round < 3; round++) {
    columns_t next[ROW_BLOCK];
    for (int i = 0; i < ROW_BLOCK / 2; i++) {
      next[2 * i] = __builtin_shufflevector(row[i], row[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      next[2 * i + 1] = __builtin_shufflevector(row[i], row[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    for (int i = 0; i < ROW_BLOCK; i++) row[i] = next[i];
  }
}

/* Sums of `rows` rows; what follows them is fetched. */
static inline __attribute__((always_inline)) void sum_rows(const int rows, int64_t width, const facet_real *x,
                                                           const facet_real *w, columns_t *sum) {
  for (int i = 0; i < ROW_BLOCK; i++) sum[i] = (columns_t){0};
  const char *next = (const char *)(x + rows * width);
  for (size_t at = 0; rows > 1 && at < (size_t)(rows * width) * sizeof *x; at += 64) __builtin_prefetch(next + at);
  for (int64_t k = 0; k < width; k++) {
    columns_t column = *(const columns_t *)(w + k * FACET_VECTOR_COLUMNS);
    for (int i = 0; i < rows; i++) sum[i] += x[i * width + k] * column;
  }
}

static void vector_project(int64_t rows, int64_t width, int64_t n, const facet_real *restrict x,
                           const facet_real *restrict w, int64_t stride, facet_real *restrict out) {
  columns_t sum[ROW_BLOCK];
  int64_t i = 0;
  for (; i + ROW_BLOCK <= rows; i += ROW_BLOCK) {
    sum_rows(ROW_BLOCK, width, x + i * width, w, sum);
    transpose(sum);
    for (int64_t j = 0; j < n; j++) *(columns_t *)(out + j * stride + i) = sum[j];
  }
  for (; i < rows; i++) {
    sum_rows(1, width, x + i * width, w, sum);
    for (int64_t j = 0; j < n; j++) out[j * stride + i] = sum[0][j];
  }
}

/* ---- optimizers ------------------------------------------------------------------------------------------------- */

static void vector_adam(const facet_adam_step *step, int64_t n, const facet_real *restrict g, facet_real *restrict m,
                        facet_real *restrict v, facet_real *restrict w) {
  const facet_adam_step s = *step;
  const facet_real keep1 = (facet_real)1 - s.beta1, keep2 = (facet_real)1 - s.beta2;
  for (int64_t i = 0; i < n; i++) {
    facet_real gradient = s.scale * g[i] + s.l2 * w[i];
    m[i] = s.beta1 * m[i] + keep1 * gradient;
    v[i] = s.beta2 * v[i] + keep2 * gradient * gradient;
    w[i] = w[i] - s.decay * w[i] - s.rate * m[i] / (sqrt(v[i]) * s.root + s.eps);
  }
}

static void vector_adagrad(const facet_adagrad_step *step, int64_t n, const facet_real *restrict g,
                           facet_real *restrict a, facet_real *restrict w) {
  const facet_adagrad_step s = *step;
  for (int64_t i = 0; i < n; i++) {
    facet_real gradient = s.scale * g[i] + s.l2 * w[i];
    a[i] += gradient * gradient;
    w[i] -= s.rate * gradient / (sqrt(a[i]) + s.eps);
  }
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

extern const facet_rows PASTE(facet_rows_, FACET_ISA);
extern const facet_route PASTE(facet_route_, FACET_ISA);
extern const facet_scatter PASTE(facet_scatter_, FACET_ISA);
extern const facet_norms PASTE(facet_norms_, FACET_ISA);
extern const facet_lane_kernels PASTE(facet_lanes_kernels_, FACET_ISA);
extern const facet_attend PASTE(facet_attend_, FACET_ISA);
#if defined __AVX512F__ && !defined FACET_DOUBLE
#define LANES_BF16
extern const facet_lane_kernels facet_lanes_kernels_bf16, facet_lanes_kernels_amx;
#endif
extern const facet_vector PASTE(facet_vector_, FACET_ISA);
const facet_vector PASTE(facet_vector_, FACET_ISA) = {
    .name = TEXT(FACET_ISA),
    .exp = vector_exp,
    .sigmoid = vector_sigmoid,
    .softplus = vector_softplus,
    .tanh = vector_tanh,
    .to_bf16 = vector_to_bf16,
    .axpy = vector_axpy,
    .scale = vector_scale,
    .dot = vector_dot,
    .max = vector_max,
    .exp_sum = vector_exp_sum,
    .square_sum = vector_square_sum,
    .add_row = vector_add_row,
    .project = vector_project,
    .adam = vector_adam,
    .adagrad = vector_adagrad,
    .rows = &PASTE(facet_rows_, FACET_ISA),
    .route = &PASTE(facet_route_, FACET_ISA),
    .scatter = &PASTE(facet_scatter_, FACET_ISA),
    .norms = &PASTE(facet_norms_, FACET_ISA),
    .lanes = &PASTE(facet_lanes_kernels_, FACET_ISA),
    .attend = &PASTE(facet_attend_, FACET_ISA),
#ifdef LANES_BF16
    .lanes_bf16 = &facet_lanes_kernels_bf16,
    .lanes_amx = &facet_lanes_kernels_amx,
#endif
};
