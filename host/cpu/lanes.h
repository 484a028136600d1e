/* Serial kernels on sample lanes: FACET_LANES samples side by side in every vector, so that sums over features, softmax
 * over tokens and norms are plain vertical code, and a product multiplies one weight with a vector of samples.
 *
 * A matrix of lanes is [features][columns][FACET_LANES] with a stride between features; a column is whatever belongs
 * to one sample several times (a channel, a token of a channel). Counts of columns, never of numbers, are given. Compiled
 * for three instruction sets like cpu/vector.h, which chooses: facet_vector_get()->lanes. The layout is the same for
 * all of them; the order of every sum depends on the sizes and the instruction set alone. */
#ifndef FACET_CPU_LANES_H
#define FACET_CPU_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/real.h"

enum { FACET_LANES = 64 / sizeof(facet_real) }; /* a cache line: 16 samples, in double 8 */

typedef struct facet_lanes {
  facet_real *at;
  int64_t stride; /* numbers from one feature to the next */
} facet_lanes;

/* A stride for `columns` columns: an odd number of cache lines, so that a column's features spread over the cache. */
static inline int64_t facet_lanes_stride(int64_t columns) {
  return (columns | 1) * FACET_LANES;
}
/* The same features from another column on. */
static inline facet_lanes facet_lanes_column(facet_lanes x, int64_t column) {
  return (facet_lanes){x.at + column * FACET_LANES, x.stride};
}

/* A matrix of weights, of which a product multiplies a number with a vector of samples: `stride` numbers from row to
 * row (0: no gaps). pairs: the same as `round` below made it, for kernels that have one; NULL: they round in the call. */
typedef struct facet_lanes_weights {
  const facet_real *at;
  int64_t stride;
  const uint32_t *pairs;
} facet_lanes_weights;

/* y = A x [+ bias] [+ add], then max(·, 0) with relu, then 0 where mask ≤ 0: A [rows, depth], bias [rows],
 * x [depth][columns], y, add and mask [rows][columns]. at = NULL: none. y may be add or mask, not x. */
typedef struct facet_lanes_product {
  int64_t rows, depth, columns;
  facet_lanes_weights a;
  const facet_real *bias;
  facet_lanes x, y, add, mask;
  bool relu;
} facet_lanes_product;

/* Per sample and column: x̂ = (x − mean) s, s = 1/√(variance + eps) over the features, y = γ x̂ + β [+ shift].
 * inverse [columns] receives s. normal.at or inverse NULL: not kept. y may be x. */
typedef struct facet_lanes_norm {
  int64_t d, columns;
  facet_real eps;
  const facet_real *gamma, *beta;
  facet_lanes x, normal, y;
  facet_real *inverse;
  facet_lanes shift;  /* at = NULL: none */
  int64_t shift_step; /* 1: a column each; 0: one column for all */
} facet_lanes_norm;

/* dx = s (g − mean g − x̂ mean(g x̂)), g = γ dy, in place; d_gamma += Σ dy x̂ and d_beta += Σ dy over the columns, each
 * [d][FACET_LANES]. */
typedef struct facet_lanes_norm_backward {
  int64_t d, columns;
  const facet_real *gamma;
  facet_lanes normal, dx;
  const facet_real *inverse;
  facet_real *d_gamma, *d_beta;
} facet_lanes_norm_backward;

/* p = softmax(scale · q kᵀ) [heads][queries][keys] columns, y = p v [+ shift], per head: q, y [heads · width][queries],
 * k, v [heads · width][keys], shift [heads · width][1]. With shared_keys all heads have the same k and v, [width][keys];
 * then dk receives the sum of both gradients, and dv is not used. */
typedef struct facet_lanes_attention {
  int64_t queries, keys, heads, width;
  bool shared_keys;
  facet_real scale;
  facet_lanes q, k, v, y, shift; /* shift.at NULL: none */
  facet_real *p;
  facet_lanes dq, dk, dv; /* backward: from y as the gradient of y; overwritten */
  facet_real *dp;         /* backward: working memory like p */
} facet_lanes_attention;

typedef struct facet_lane_kernels {
  /* Around the products and gradients of a thread, within which no other library computes; NULL: nothing to do. */
  void (*begin)(void);
  void (*end)(void);

  /* y[f][lane] = row[lane][f] for f < d. */
  void (*load)(int64_t d, const facet_real *const row[FACET_LANES], facet_lanes y);
  /* row[lane][f] = x[f][lane], with `add` row[lane][f] += factor x[f][lane], for lanes below n_lanes. */
  void (*store)(int64_t d, int64_t n_lanes, facet_lanes x, facet_real *const row[FACET_LANES]);
  void (*store_add)(int64_t d, int64_t n_lanes, facet_real factor, facet_lanes x, facet_real *const row[FACET_LANES]);

  void (*product)(const facet_lanes_product *product);
  /* a [rows, depth] for products with factors in bf16, facet_lanes_pairs numbers; NULL where factors are not rounded. */
  void (*round)(int64_t rows, int64_t depth, const facet_real *a, uint32_t *pairs);

  /* Gradients of weights, Σ over columns and lanes: dw [m, n] += Σ x y for x [m][columns], y [n][columns], which is
   * packed before: once for several x. */
  void (*pack)(int64_t n, int64_t columns, facet_lanes y, facet_real *packed);
  void (*gradient)(int64_t m, int64_t n, int64_t columns, facet_lanes x, const facet_real *packed, facet_real *dw);

  void (*norm)(const facet_lanes_norm *norm);
  void (*norm_backward)(const facet_lanes_norm_backward *norm);
  /* y = γ x + β [+ shift]: the norm's last part, of its normal. */
  void (*affine)(const facet_lanes_norm *norm);

  void (*attend)(const facet_lanes_attention *attention);
  void (*attend_backward)(const facet_lanes_attention *attention);

  /* y = a x + b y, with b = 0 whatever y holds; a = b = 1: exactly the sum. */
  void (*blend)(int64_t d, int64_t columns, facet_real a, facet_lanes x, facet_real b, facet_lanes y);
  /* out [d][1] += Σ_columns x */
  void (*sum)(int64_t d, int64_t columns, facet_lanes x, facet_lanes out);
  /* y[j] = x[j] + shift for every column j but y[own] = x_own + shift. Backward: dx[j] += dy[j] but dx_own = dy[own];
   * d_shift += Σ dy. at = NULL: no shift. */
  void (*spread)(int64_t d, int64_t columns, int64_t own, facet_lanes x, facet_lanes x_own, facet_lanes shift,
                 facet_lanes y);
  void (*spread_backward)(int64_t d, int64_t columns, int64_t own, facet_lanes dy, facet_lanes dx, facet_lanes dx_own,
                          facet_lanes d_shift);
} facet_lane_kernels;

/* Pairs of a row that `round` writes: whole vectors; and the numbers of all rows: whole tiles of 16. */
static inline int64_t facet_lanes_row_pairs(int64_t depth) {
  return (depth + 31) / 32 * 16;
}
static inline int64_t facet_lanes_pairs(int64_t rows, int64_t depth) {
  return (rows + 15) / 16 * 16 * facet_lanes_row_pairs(depth);
}
/* Numbers that pack writes. */
static inline int64_t facet_lanes_packed(int64_t n, int64_t columns) {
  return (n + 15) / 16 * 16 * columns * FACET_LANES;
}

#endif
