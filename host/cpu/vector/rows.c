/* The row kernels (cpu/rows.h), compiled once per instruction set. */
#include "cpu/rows.h"

#include <string.h>
#include <tgmath.h>

#include "cpu/vector.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

extern const facet_vector PASTE(facet_vector_, FACET_ISA);

/* Vectors that may begin at any element. */
#if defined __AVX512F__
enum { VECTOR_BYTES = 64, TILE_ROWS = 8 }; /* 16 sums in 32 registers */
#elif defined __AVX2__
enum { VECTOR_BYTES = 32, TILE_ROWS = 4 }; /* 8 sums in 16 registers */
#else
enum { VECTOR_BYTES = 16, TILE_ROWS = 4 };
#endif
#define VECTOR(bytes) __attribute__((vector_size(bytes), aligned(sizeof(facet_real)), may_alias))
typedef facet_real wide VECTOR(VECTOR_BYTES);
typedef facet_real narrow VECTOR(VECTOR_BYTES / 2);
typedef facet_real quad VECTOR(4 * sizeof(facet_real));
enum { WIDE = sizeof(wide) / sizeof(facet_real), NARROW = sizeof(narrow) / sizeof(facet_real), QUAD = 4 };

#define INLINE static inline __attribute__((always_inline))

/* ---- product ---------------------------------------------------------------------------------------------------- */

typedef struct product {
  int64_t m, n, k, a_row, a_column; /* element (i, p) of op(A) is a[i · a_row + p · a_column] */
  bool add;
} product;

/* Defines a tile of `rows` × (n_vectors vectors) of C, whose sums stay in registers: called with constants. */
#define DEFINE_TILE(name, type)                                                                                        \
  INLINE void name(const int rows, const int n_vectors, const product *s, const facet_real *a, const facet_real *b,    \
                   facet_real *c) {                                                                                    \
    const int64_t lanes = sizeof(type) / sizeof(facet_real), n = s->n, k = s->k;                                       \
    const int64_t a_row = s->a_row, a_column = s->a_column;                                                            \
    type sum[TILE_ROWS][2] = {0};                                                                                      \
    for (int64_t p = 0; p < k; p++) {                                                                                  \
      type x[2];                                                                                                       \
      for (int v = 0; v < n_vectors; v++) x[v] = *(const type *)(b + p * n + v * lanes);                               \
      _Pragma("GCC unroll 8") for (int i = 0; i < rows; i++) {                                                         \
        facet_real factor = a[i * a_row + p * a_column];                                                               \
        for (int v = 0; v < n_vectors; v++) sum[i][v] += factor * x[v];                                                \
      }                                                                                                                \
    }                                                                                                                  \
    _Pragma("GCC unroll 8") for (int i = 0; i < rows; i++) for (int v = 0; v < n_vectors; v++) {                       \
      type *out = (type *)(c + i * n + v * lanes);                                                                     \
      if (s->add) sum[i][v] += *out;                                                                                   \
      *out = sum[i][v];                                                                                                \
    }                                                                                                                  \
  }
DEFINE_TILE(tile_wide, wide)
DEFINE_TILE(tile_narrow, narrow)

INLINE void tile_one(const int rows, const product *s, const facet_real *a, const facet_real *b, facet_real *c) {
  facet_real sum[TILE_ROWS] = {0};
  for (int64_t p = 0; p < s->k; p++)
    for (int i = 0; i < rows; i++) sum[i] += a[i * s->a_row + p * s->a_column] * b[p * s->n];
  for (int i = 0; i < rows; i++) c[i * s->n] = s->add ? c[i * s->n] + sum[i] : sum[i];
}

INLINE void tile(const int rows, const int n_wide, const int n_narrow, const product *s, const facet_real *a,
                 const facet_real *b, facet_real *c) {
  if (n_wide)
    tile_wide(rows, n_wide, s, a, b, c);
  else if (n_narrow)
    tile_narrow(rows, 1, s, a, b, c);
  else
    tile_one(rows, s, a, b, c);
}

/* All rows of a few columns of C. */
INLINE void columns(const int n_wide, const int n_narrow, const product *s, const facet_real *a, const facet_real *b,
                    facet_real *c) {
  int64_t i = 0;
  for (; i + TILE_ROWS <= s->m; i += TILE_ROWS) tile(TILE_ROWS, n_wide, n_narrow, s, a + i * s->a_row, b, c + i * s->n);
  for (; i < s->m; i++) tile(1, n_wide, n_narrow, s, a + i * s->a_row, b, c + i * s->n);
}

static void rows_product(bool transpose_a, bool add, int64_t m, int64_t n, int64_t k, const facet_real *a,
                         const facet_real *b, facet_real *c) {
  const product s = {.m = m, .n = n, .k = k, .a_row = transpose_a ? 1 : k, .a_column = transpose_a ? m : 1, .add = add};
  int64_t j = 0;
  for (; j + 2 * WIDE <= n; j += 2 * WIDE) columns(2, 0, &s, a, b + j, c + j);
  for (; j + WIDE <= n; j += WIDE) columns(1, 0, &s, a, b + j, c + j);
  for (; j + NARROW <= n; j += NARROW) columns(0, 1, &s, a, b + j, c + j);
  for (; j < n; j++) columns(0, 0, &s, a, b + j, c + j);
}

/* ---- LayerNorm -------------------------------------------------------------------------------------------------- */

INLINE facet_real sum_lanes(narrow x) {
  facet_real lane[NARROW];
  memcpy(lane, &x, sizeof x);
  for (int width = NARROW / 2; width; width /= 2)
    for (int i = 0; i < width; i++) lane[i] += lane[i + width];
  return lane[0];
}

static facet_real sum(int64_t n, const facet_real *x) {
  narrow lanes = {0};
  int64_t j = 0;
  for (; j + NARROW <= n; j += NARROW) lanes += *(const narrow *)(x + j);
  facet_real total = sum_lanes(lanes);
  for (; j < n; j++) total += x[j];
  return total;
}

/* Σ x y */
static facet_real dot(int64_t n, const facet_real *x, const facet_real *y) {
  narrow lanes = {0};
  int64_t j = 0;
  for (; j + NARROW <= n; j += NARROW) lanes += *(const narrow *)(x + j) * *(const narrow *)(y + j);
  facet_real total = sum_lanes(lanes);
  for (; j < n; j++) total += x[j] * y[j];
  return total;
}

static void rows_norm(int64_t rows, int64_t d, facet_real eps, const facet_real *x, const facet_real *gamma,
                      const facet_real *beta, facet_real *normal, facet_real *inverse, facet_real *y) {
  for (int64_t row = 0; row < rows; row++, x += d, normal += d, y += d) {
    facet_real mean = sum(d, x) / (facet_real)d;
    for (int64_t j = 0; j < d; j++) normal[j] = x[j] - mean;
    facet_real s = (facet_real)1 / sqrt(dot(d, normal, normal) / (facet_real)d + eps);
    inverse[row] = s;
    for (int64_t j = 0; j < d; j++) {
      normal[j] *= s;
      y[j] = gamma[j] * normal[j] + beta[j];
    }
  }
}

/* One row: dx = γ dy, and the sums of the gains; returns Σ dx and Σ dx x̂. */
INLINE void gain_backward(int64_t d, const facet_real *dy, const facet_real *normal, const facet_real *gamma,
                          facet_real *dx, facet_real *d_gamma, facet_real *d_beta, facet_real *total,
                          facet_real *total_normal) {
  narrow lanes = {0}, lanes_normal = {0};
  int64_t j = 0;
  for (; j + NARROW <= d; j += NARROW) {
    const narrow up = *(const narrow *)(dy + j), x = *(const narrow *)(normal + j);
    const narrow g = *(const narrow *)(gamma + j) * up;
    *(narrow *)(d_beta + j) += up;
    *(narrow *)(d_gamma + j) += up * x;
    *(narrow *)(dx + j) = g;
    lanes += g;
    lanes_normal += g * x;
  }
  facet_real sum_g = sum_lanes(lanes), sum_normal = sum_lanes(lanes_normal);
  for (; j < d; j++) {
    const facet_real up = dy[j], g = gamma[j] * up;
    d_beta[j] += up;
    d_gamma[j] += up * normal[j];
    dx[j] = g;
    sum_g += g;
    sum_normal += g * normal[j];
  }
  *total = sum_g;
  *total_normal = sum_normal;
}

static void rows_norm_backward(int64_t rows, int64_t d, const facet_real *dy, const facet_real *normal,
                               const facet_real *inverse, const facet_real *gamma, facet_real *dx, facet_real *d_gamma,
                               facet_real *d_beta) {
  for (int64_t row = 0; row < rows; row++, dy += d, normal += d, dx += d) {
    facet_real mean, mean_normal, s = inverse[row];
    gain_backward(d, dy, normal, gamma, dx, d_gamma, d_beta, &mean, &mean_normal);
    mean /= (facet_real)d;
    mean_normal /= (facet_real)d;
    for (int64_t j = 0; j < d; j++) dx[j] = s * (dx[j] - mean - normal[j] * mean_normal);
  }
}

/* ---- attention -------------------------------------------------------------------------------------------------- */

/* Σ x y over the width of a head, a multiple of four in most models. */
INLINE facet_real head_dot(int64_t n, const facet_real *x, const facet_real *y) {
  quad lanes = {0};
  int64_t j = 0;
  for (; j + QUAD <= n; j += QUAD) lanes += *(const quad *)(x + j) * *(const quad *)(y + j);
  facet_real total = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
  for (; j < n; j++) total += x[j] * y[j];
  return total;
}

/* out[j, a] = scale Σ_k x[j, k] y[a, k] over the columns of one head; x and y have rows of d. */
INLINE void head_scores(int64_t queries, int64_t keys, int64_t width, int64_t d, facet_real scale, const facet_real *x,
                        const facet_real *y, facet_real *out) {
  for (int64_t j = 0; j < queries; j++)
    for (int64_t a = 0; a < keys; a++) out[j * keys + a] = scale * head_dot(width, x + j * d, y + a * d);
}

/* out[i, :] = Σ_a p[i · p_row + a · p_column] x[a, :] over the columns of one head. */
INLINE void head_mix(int64_t rows, int64_t n, int64_t width, int64_t d, const facet_real *p, int64_t p_row,
                     int64_t p_column, const facet_real *x, facet_real *out) {
  for (int64_t i = 0; i < rows; i++) {
    int64_t j = 0;
    for (; j + QUAD <= width; j += QUAD) {
      quad lanes = {0};
      for (int64_t a = 0; a < n; a++) lanes += p[i * p_row + a * p_column] * *(const quad *)(x + a * d + j);
      *(quad *)(out + i * d + j) = lanes;
    }
    for (; j < width; j++) {
      facet_real total = 0;
      for (int64_t a = 0; a < n; a++) total += p[i * p_row + a * p_column] * x[a * d + j];
      out[i * d + j] = total;
    }
  }
}

/* Rows of scores to probabilities. */
static void softmax(int64_t rows, int64_t n, facet_real *p) {
  for (int64_t row = 0; row < rows; row++) {
    facet_real *x = p + row * n, largest = x[0];
    for (int64_t a = 1; a < n; a++) largest = x[a] > largest ? x[a] : largest;
    for (int64_t a = 0; a < n; a++) x[a] -= largest;
  }
  (PASTE(facet_vector_, FACET_ISA).exp)(rows * n, p, p); /* in brackets: not the macro of <tgmath.h> */
  for (int64_t row = 0; row < rows; row++) {
    facet_real *x = p + row * n, total = 0;
    for (int64_t a = 0; a < n; a++) total += x[a];
    const facet_real inverse = (facet_real)1 / total;
    for (int64_t a = 0; a < n; a++) x[a] *= inverse;
  }
}

static void rows_attend(const facet_rows_attention *s, const facet_real *q, const facet_real *k, const facet_real *v,
                        facet_real *p, facet_real *y) {
  const int64_t width = s->d / s->heads, n = s->queries * s->keys;
  for (int64_t u = 0; u < s->units; u++) {
    const facet_real *q_u = q + u * s->queries * s->d, *k_u = k + u * s->keys * s->d, *v_u = v + u * s->keys * s->d;
    facet_real *p_u = p + u * s->heads * n, *y_u = y + u * s->queries * s->d;
    for (int64_t h = 0; h < s->heads; h++)
      head_scores(s->queries, s->keys, width, s->d, s->scale, q_u + h * width, k_u + h * width, p_u + h * n);
    softmax(s->heads * s->queries, s->keys, p_u);
    for (int64_t h = 0; h < s->heads; h++)
      head_mix(s->queries, s->keys, width, s->d, p_u + h * n, s->keys, 1, v_u + h * width, y_u + h * width);
  }
}

/* Probabilities' gradients to scores' gradients, in place: scale · p (dp − Σ p dp). */
static void softmax_backward(int64_t rows, int64_t n, facet_real scale, const facet_real *p, facet_real *dp) {
  for (int64_t row = 0; row < rows; row++, p += n, dp += n) {
    facet_real mean = 0;
    for (int64_t a = 0; a < n; a++) mean += p[a] * dp[a];
    for (int64_t a = 0; a < n; a++) dp[a] = scale * p[a] * (dp[a] - mean);
  }
}

static void rows_attend_backward(const facet_rows_attention *s, const facet_real *q, const facet_real *k,
                                 const facet_real *v, const facet_real *p, const facet_real *dy, facet_real *dp,
                                 facet_real *dq, facet_real *dk, facet_real *dv) {
  const int64_t width = s->d / s->heads, n = s->queries * s->keys, query_rows = s->queries * s->d,
                key_rows = s->keys * s->d;
  for (int64_t u = 0; u < s->units; u++) {
    const facet_real *p_u = p + u * s->heads * n;
    facet_real *dp_u = dp + u * s->heads * n;
    for (int64_t h = 0; h < s->heads; h++)
      head_scores(s->queries, s->keys, width, s->d, 1, dy + u * query_rows + h * width, v + u * key_rows + h * width,
                  dp_u + h * n);
    softmax_backward(s->heads * s->queries, s->keys, s->scale, p_u, dp_u);
    for (int64_t h = 0; h < s->heads; h++) {
      const int64_t at_query = u * query_rows + h * width, at_key = u * key_rows + h * width;
      head_mix(s->queries, s->keys, width, s->d, dp_u + h * n, s->keys, 1, k + at_key, dq + at_query);
      head_mix(s->keys, s->queries, width, s->d, dp_u + h * n, 1, s->keys, q + at_query, dk + at_key);
      head_mix(s->keys, s->queries, width, s->d, p_u + h * n, 1, s->keys, dy + at_query, dv + at_key);
    }
  }
}

/* ---- elementwise ------------------------------------------------------------------------------------------------ */

static void rows_add_relu(int64_t rows, int64_t n, const facet_real *restrict b, facet_real *restrict x) {
  for (int64_t row = 0; row < rows; row++, x += n)
    for (int64_t j = 0; j < n; j++) {
      facet_real y = x[j] + b[j];
      x[j] = y < 0 ? 0 : y; /* NaN stays */
    }
}

static void rows_mask_relu(int64_t n, const facet_real *restrict y, facet_real *restrict dx) {
  for (int64_t i = 0; i < n; i++) dx[i] = y[i] > 0 ? dx[i] : 0;
}

static void rows_column_sum(int64_t rows, int64_t n, const facet_real *restrict x, facet_real *restrict out) {
  for (int64_t row = 0; row < rows; row++, x += n)
    for (int64_t j = 0; j < n; j++) out[j] += x[j];
}

extern const facet_rows PASTE(facet_rows_, FACET_ISA);
const facet_rows PASTE(facet_rows_, FACET_ISA) = {
    .product = rows_product,
    .norm = rows_norm,
    .norm_backward = rows_norm_backward,
    .attend = rows_attend,
    .attend_backward = rows_attend_backward,
    .add_relu = rows_add_relu,
    .mask_relu = rows_mask_relu,
    .column_sum = rows_column_sum,
};
