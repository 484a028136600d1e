/* Lane kernels of every instruction set that this CPU has, against double code. */
#include "cpu/lanes.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "amx_emulated.h"
#include "cpu/vector.h"
#include "facet/rng.h"

static void for_each(void (*check)(const facet_lane_kernels *)) {
  static const char *const names[] = {"portable", "avx2", "avx512"};
  for (int i = 0; i < 3; i++) {
    const facet_vector *vector = facet_vector_find(names[i]);
    if (vector) check(vector->lanes);
  }
}

/* Random numbers in an array of exactly n elements, so that sanitizers see a step outside. */
static facet_real *random_array(const char *purpose, int64_t n) {
  facet_real *x = malloc((size_t)n * sizeof *x);
  facet_rng_key key = facet_rng_key_make(3, purpose);
  for (int64_t i = 0; i < n; i++) x[i] = (facet_real)facet_rng_normal(key, (uint64_t)i);
  return x;
}

static facet_lanes random_lanes(const char *purpose, int64_t features, int64_t columns) {
  const int64_t stride = facet_lanes_stride(columns);
  return (facet_lanes){random_array(purpose, features * stride), stride};
}

/* The number of feature f in lane j of all columns. */
static double at(facet_lanes x, int64_t f, int64_t j) {
  return (double)x.at[f * x.stride + j];
}

static void expect_close(const char *what, int64_t f, int64_t j, double value, double expected, double size) {
  cr_assert(fabs(value - expected) <= 8 * FACET_REAL_EPSILON * size, "%s, feature %lld, lane %lld: %.9g, expected %.9g",
            what, (long long)f, (long long)j, value, expected);
}

/* What stands between the columns in use and the stride is never written. */
static void expect_kept(facet_lanes x, facet_lanes before, int64_t features, int64_t columns) {
  for (int64_t f = 0; f < features; f++)
    for (int64_t j = columns * FACET_LANES; j < x.stride; j++)
      cr_assert_eq(x.at[f * x.stride + j], before.at[f * x.stride + j]);
}

/* ---- rows and lanes ---- */

static void check_rows(const facet_lane_kernels *lanes) {
  enum { D = 21, N = 5 };
  facet_lanes x = random_lanes("x", D, 2);
  facet_real *rows = random_array("rows", FACET_LANES * D), *before = random_array("rows", FACET_LANES * D);
  facet_real *row[FACET_LANES];
  const facet_real *from[FACET_LANES];
  for (int lane = 0; lane < FACET_LANES; lane++) from[lane] = row[lane] = rows + lane * D;
  lanes->load(D, from, facet_lanes_column(x, 1));
  for (int64_t f = 0; f < D; f++)
    for (int lane = 0; lane < FACET_LANES; lane++)
      cr_assert_eq(x.at[f * x.stride + FACET_LANES + lane], rows[lane * D + f]);
  lanes->store_add(D, N, 3, facet_lanes_column(x, 1), row);
  for (int64_t k = 0; k < FACET_LANES * D; k++) cr_assert_eq(rows[k], k < N * D ? 4 * before[k] : before[k]);
  lanes->store(D, N, facet_lanes_column(x, 1), row);
  cr_assert(!memcmp(rows, before, sizeof *rows * FACET_LANES * D));
  free(x.at), free(rows), free(before);
}
Test(lanes, rows) {
  for_each(check_rows);
}

/* ---- products ---- */

typedef struct product_case {
  int64_t rows, depth, columns, a_stride;
  bool bias, add, relu, mask;
} product_case;

static void check_product_case(const facet_lane_kernels *lanes, const product_case *c) {
  const int64_t stride = c->a_stride ? c->a_stride : c->depth;
  facet_lanes x = random_lanes("x", c->depth, c->columns), y = random_lanes("y", c->rows, c->columns),
              before = random_lanes("y", c->rows, c->columns), mask = random_lanes("mask", c->rows, c->columns);
  facet_real *a = random_array("a", (c->rows - 1) * stride + c->depth), *bias = random_array("bias", c->rows);
  lanes->product(&(facet_lanes_product){.rows = c->rows,
                                        .depth = c->depth,
                                        .columns = c->columns,
                                        .a = {a, c->a_stride},
                                        .bias = c->bias ? bias : NULL,
                                        .x = x,
                                        .add = c->add ? y : (facet_lanes){0},
                                        .y = y,
                                        .relu = c->relu,
                                        .mask = c->mask ? mask : (facet_lanes){0}});
  for (int64_t i = 0; i < c->rows; i++)
    for (int64_t j = 0; j < c->columns * FACET_LANES; j++) {
      double sum = (c->bias ? (double)bias[i] : 0) + (c->add ? at(before, i, j) : 0), size = 1 + fabs(sum);
      for (int64_t k = 0; k < c->depth; k++) {
        sum += (double)a[i * stride + k] * at(x, k, j);
        size += fabs((double)a[i * stride + k] * at(x, k, j));
      }
      if ((c->relu && sum < 0) || (c->mask && at(mask, i, j) <= 0)) sum = 0;
      expect_close("product", i, j, at(y, i, j), sum, size);
    }
  expect_kept(y, before, c->rows, c->columns);
  free(x.at), free(y.at), free(before.at), free(mask.at), free(a), free(bias);
}

static void check_product(const facet_lane_kernels *lanes) {
  static const int64_t rows[] = {1, 2, 7, 8, 13, 40}, columns[] = {1, 2, 3, 5, 8};
  for (int64_t i = 0; i < 6; i++)
    for (int64_t j = 0; j < 5; j++) {
      const int64_t k = 5 * i + j;
      check_product_case(lanes, &(product_case){rows[i], rows[k % 6], columns[j], k % 3 ? 0 : rows[k % 6] + k, k % 2,
                                                k % 4 < 2, k % 5 == 0, k % 7 == 0});
    }
}
Test(lanes, product) {
  for_each(check_product);
}

static void check_product_keeps_nan(const facet_lane_kernels *lanes) {
  facet_real a = 1, x[FACET_LANES] = {(facet_real)NAN, -1, 1}, y[FACET_LANES];
  const facet_lanes in = {x, FACET_LANES}, out = {y, FACET_LANES};
  lanes->product(
      &(facet_lanes_product){.rows = 1, .depth = 1, .columns = 1, .a = {&a}, .x = in, .y = out, .relu = true});
  cr_assert(isnan((double)y[0]) && y[1] == 0 && y[2] == 1);
}
Test(lanes, relu_keeps_nan) {
  for_each(check_product_keeps_nan);
}

static void check_gradient_case(const facet_lane_kernels *lanes, int64_t m, int64_t n, int64_t columns) {
  facet_lanes x = random_lanes("x", m, columns), y = random_lanes("y", n, columns);
  facet_real *dw = random_array("dw", m * n), *before = random_array("dw", m * n);
  facet_real *packed = random_array("packed", facet_lanes_packed(n, columns));
  lanes->pack(n, columns, y, packed);
  lanes->gradient(m, n, columns, x, packed, dw);
  for (int64_t i = 0; i < m; i++)
    for (int64_t k = 0; k < n; k++) {
      double sum = (double)before[i * n + k], size = 1;
      for (int64_t j = 0; j < columns * FACET_LANES; j++) {
        sum += at(x, i, j) * at(y, k, j);
        size += fabs(at(x, i, j) * at(y, k, j));
      }
      expect_close("gradient", i, k, (double)dw[i * n + k], sum, size);
    }
  free(x.at), free(y.at), free(dw), free(before), free(packed);
}

static void check_gradient(const facet_lane_kernels *lanes) {
  static const int64_t sizes[] = {1, 2, 7, 8, 13, 40, 43};
  for (int64_t i = 0; i < 7; i++)
    for (int64_t j = 0; j < 7; j++) check_gradient_case(lanes, sizes[i], sizes[j], 1 + (i + j) % 3);
}
Test(lanes, gradient) {
  for_each(check_gradient);
}

/* ---- LayerNorm ---- */

/* Features 0 2 4 6: mean 3, variance 5, √(5 + 4) = 3; and a constant one. */
static void check_norm_by_hand(const facet_lane_kernels *lanes) {
  enum { COLUMNS = 5 };
  static const facet_real gamma[] = {3, 3, 3, 6}, beta[] = {0, 0, 1, 0}, shift[] = {10, 20, 30, 40};
  static const double expected[] = {-3, -1, 2, 6};
  facet_lanes x = random_lanes("x", 4, COLUMNS), before = random_lanes("x", 4, COLUMNS),
              normal = random_lanes("x̂", 4, COLUMNS), add = random_lanes("shift", 4, COLUMNS);
  facet_real inverse[COLUMNS * FACET_LANES];
  for (int64_t f = 0; f < 4; f++)
    for (int64_t j = 0; j < COLUMNS * FACET_LANES; j++) {
      x.at[f * x.stride + j] = (facet_real)(j % 2 ? 9 : 2 * f);
      add.at[f * add.stride + j] = shift[f] * (facet_real)(1 + j / FACET_LANES);
    }
  for (int64_t step = 0; step < 2; step++) {
    facet_lanes y = random_lanes("y", 4, COLUMNS);
    facet_lanes_norm norm = {4, COLUMNS, 4, gamma, beta, x, normal, y, inverse, add, step};
    for (int way = 0; way < 2; way++) {
      if (way == 0)
        lanes->norm(&norm);
      else
        norm.x = normal, lanes->affine(&norm);
      for (int64_t f = 0; f < 4; f++)
        for (int64_t j = 0; j < COLUMNS * FACET_LANES; j++) {
          const double shifted = (double)shift[f] * (double)(step ? 1 + j / FACET_LANES : 1);
          expect_close("norm", f, j, at(y, f, j), (j % 2 ? (double)beta[f] : expected[f]) + shifted, 60);
          expect_close("inverse", f, j, (double)inverse[j], j % 2 ? 0.5 : 1.0 / 3, 1);
        }
    }
    free(y.at);
  }
  lanes->norm(&(facet_lanes_norm){.d = 4, .columns = COLUMNS, .eps = 4, .gamma = gamma, .beta = beta, .x = x, .y = x});
  expect_close("in place", 3, 0, at(x, 3, 0), 6, 6);
  expect_kept(x, before, 4, COLUMNS);
  free(x.at), free(before.at), free(normal.at), free(add.at);
}
Test(lanes, norm_by_hand) {
  for_each(check_norm_by_hand);
}

/* Σ_f w y of the norm of lane j. */
static double norm_objective(int64_t d, int64_t j, facet_lanes x, const facet_real *gamma, facet_lanes w) {
  double mean = 0, variance = 0, sum = 0;
  for (int64_t f = 0; f < d; f++) mean += at(x, f, j) / (double)d;
  for (int64_t f = 0; f < d; f++) variance += (at(x, f, j) - mean) * (at(x, f, j) - mean) / (double)d;
  for (int64_t f = 0; f < d; f++) sum += at(w, f, j) * (double)gamma[f] * (at(x, f, j) - mean) / sqrt(variance + 0.5);
  return sum;
}

static void check_norm_backward(const facet_lane_kernels *lanes) {
  enum { D = 11, COLUMNS = 6 };
  facet_lanes x = random_lanes("x", D, COLUMNS), w = random_lanes("w", D, COLUMNS), dx = random_lanes("w", D, COLUMNS),
              normal = random_lanes("x̂", D, COLUMNS), y = random_lanes("y", D, COLUMNS);
  facet_real *gamma = random_array("gamma", D), inverse[COLUMNS * FACET_LANES];
  facet_real d_gamma[D * FACET_LANES] = {0}, d_beta[D * FACET_LANES] = {0};
  lanes->norm(&(facet_lanes_norm){D, COLUMNS, (facet_real)0.5, gamma, gamma, x, normal, y, inverse, {0}, 0});
  lanes->norm_backward(&(facet_lanes_norm_backward){D, COLUMNS, gamma, normal, dx, inverse, d_gamma, d_beta});
  for (int64_t f = 0; f < D; f++)
    for (int64_t j = 0; j < COLUMNS * FACET_LANES; j++) {
      facet_real *number = &x.at[f * x.stride + j], keep = *number, step = (facet_real)(1.0 / 1024);
      *number = keep + step;
      double above = norm_objective(D, j, x, gamma, w), up = (double)*number;
      *number = keep - step;
      double numeric = (above - norm_objective(D, j, x, gamma, w)) / (up - (double)*number);
      *number = keep;
      cr_assert(fabs(at(dx, f, j) - numeric) < 2e-5, "dx %g, numeric %g", at(dx, f, j), numeric);
    }
  for (int64_t k = 0; k < D * FACET_LANES; k++) {
    double sum = 0, sum_normal = 0;
    for (int64_t j = k % FACET_LANES; j < COLUMNS * FACET_LANES; j += FACET_LANES) {
      sum += at(w, k / FACET_LANES, j);
      sum_normal += at(w, k / FACET_LANES, j) * at(normal, k / FACET_LANES, j);
    }
    expect_close("d_beta", k / FACET_LANES, k % FACET_LANES, (double)d_beta[k], sum, 4);
    expect_close("d_gamma", k / FACET_LANES, k % FACET_LANES, (double)d_gamma[k], sum_normal, 8);
  }
  free(x.at), free(w.at), free(dx.at), free(normal.at), free(y.at), free(gamma);
}
Test(lanes, norm_backward) {
  for_each(check_norm_backward);
}

/* ---- attention ---- */

typedef struct attention {
  facet_lanes_attention s;
  facet_lanes w; /* gradient of y */
} attention;

static int64_t key_features(const facet_lanes_attention *s) {
  return s->width * (s->shared_keys ? 1 : s->heads);
}

/* y of feature f, query j and a lane, in double. */
static double attend_one(const facet_lanes_attention *s, int64_t f, int64_t j, int64_t lane) {
  const int64_t first = f / s->width * s->width, first_key = s->shared_keys ? 0 : first;
  double total = 0, sum = 0;
  for (int64_t a = 0; a < s->keys; a++) {
    double score = 0;
    for (int64_t k = 0; k < s->width; k++)
      score += at(s->q, first + k, j * FACET_LANES + lane) * at(s->k, first_key + k, a * FACET_LANES + lane);
    total += exp((double)s->scale * score);
    sum += exp((double)s->scale * score) * at(s->v, first_key + f - first, a * FACET_LANES + lane);
  }
  return sum / total + (s->shift.at ? at(s->shift, f, lane) : 0);
}

static attention make_attention(int64_t queries, int64_t keys, int64_t heads, int64_t width, bool shared) {
  attention t = {.s = {.queries = queries,
                       .keys = keys,
                       .heads = heads,
                       .width = width,
                       .shared_keys = shared,
                       .scale = (facet_real)0.4}};
  facet_lanes_attention *s = &t.s;
  s->q = random_lanes("q", heads * width, queries);
  s->k = random_lanes("k", key_features(s), keys);
  s->v = random_lanes("v", key_features(s), keys);
  s->y = random_lanes("y", heads * width, queries);
  s->shift = random_lanes("shift", heads * width, 1);
  s->dq = random_lanes("garbage", heads * width, queries);
  s->dk = random_lanes("garbage", key_features(s), keys);
  s->dv = random_lanes("garbage", key_features(s), keys);
  s->p = random_array("garbage", heads * queries * keys * FACET_LANES);
  s->dp = random_array("garbage", heads * queries * keys * FACET_LANES);
  t.w = random_lanes("w", heads * width, queries);
  return t;
}

static void destroy(attention *t) {
  facet_lanes_attention *s = &t->s;
  free(s->q.at), free(s->k.at), free(s->v.at), free(s->y.at), free(s->shift.at), free(s->dq.at), free(s->dk.at);
  free(s->dv.at), free(s->p), free(s->dp), free(t->w.at);
}

static double attend_objective(const attention *t, int64_t lane) {
  double sum = 0;
  for (int64_t f = 0; f < t->s.heads * t->s.width; f++)
    for (int64_t j = 0; j < t->s.queries; j++)
      sum += at(t->w, f, j * FACET_LANES + lane) * attend_one(&t->s, f, j, lane);
  return sum;
}

/* dx, or the sum of dx and dx_too where both are the gradients of one array. */
static void expect_gradient(const attention *t, facet_lanes x, const facet_lanes *too, facet_lanes dx, int64_t features,
                            int64_t columns) {
  for (int64_t f = 0; f < features; f++)
    for (int64_t j = f % 3; j < columns * FACET_LANES; j += 3) {
      double numeric = 0;
      for (int which = 0; which < (too ? 2 : 1); which++) {
        facet_lanes of = which ? *too : x;
        facet_real *number = &of.at[f * of.stride + j], keep = *number, step = (facet_real)(1.0 / 1024);
        *number = keep + step;
        double above = attend_objective(t, j % FACET_LANES), up = (double)*number;
        *number = keep - step;
        numeric += (above - attend_objective(t, j % FACET_LANES)) / (up - (double)*number);
        *number = keep;
      }
      cr_assert(fabs(at(dx, f, j) - numeric) < 1e-5, "%g, numeric %g", at(dx, f, j), numeric);
    }
}

static void check_attention(const facet_lane_kernels *lanes) {
  static const struct {
    int64_t queries, keys, heads, width;
    bool shared;
  } cases[] = {{4, 4, 2, 5, false}, {1, 5, 3, 2, false}, {5, 6, 1, 3, false}, {1, 4, 2, 6, true}, {2, 7, 3, 4, true}};
  for (int i = 0; i < 5; i++) {
    attention t = make_attention(cases[i].queries, cases[i].keys, cases[i].heads, cases[i].width, cases[i].shared);
    facet_lanes_attention *s = &t.s;
    for (int shifted = 1; shifted >= 0; shifted--) {
      if (!shifted) free(s->shift.at), s->shift.at = NULL;
      lanes->attend(s);
      for (int64_t f = 0; f < s->heads * s->width; f++)
        for (int64_t j = 0; j < s->queries * FACET_LANES; j++)
          expect_close("attend", f, j, at(s->y, f, j), attend_one(s, f, j / FACET_LANES, j % FACET_LANES), 8);
    }
    facet_lanes y = s->y;
    s->y = t.w;
    lanes->attend_backward(s);
    s->y = y;
    expect_gradient(&t, s->q, NULL, s->dq, s->heads * s->width, s->queries);
    expect_gradient(&t, s->k, s->shared_keys ? &s->v : NULL, s->dk, key_features(s), s->keys);
    if (!s->shared_keys) expect_gradient(&t, s->v, NULL, s->dv, key_features(s), s->keys);
    destroy(&t);
  }
}
Test(lanes, attention) {
  for_each(check_attention);
}

/* ---- elementwise ---- */

static void check_elementwise(const facet_lane_kernels *lanes) {
  enum { D = 3, COLUMNS = 5, OWN = 2 };
  facet_lanes x = random_lanes("x", D, COLUMNS), y = random_lanes("y", D, COLUMNS),
              before = random_lanes("y", D, COLUMNS), sum = random_lanes("sum", D, 1);
  facet_real *sum_before = random_array("sum", D * FACET_LANES);
  lanes->blend(D, COLUMNS, 2, x, (facet_real)0.5, y);
  lanes->sum(D, COLUMNS, x, sum);
  for (int64_t f = 0; f < D; f++)
    for (int64_t lane = 0; lane < FACET_LANES; lane++) {
      double total = (double)sum_before[f * FACET_LANES + lane];
      for (int64_t j = lane; j < COLUMNS * FACET_LANES; j += FACET_LANES) {
        expect_close("blend", f, j, at(y, f, j), 2 * at(x, f, j) + 0.5 * at(before, f, j), 8);
        total += at(x, f, j);
      }
      expect_close("sum", f, lane, at(sum, f, lane), total, 8);
    }
  expect_kept(y, before, D, COLUMNS);
  free(x.at), free(y.at), free(before.at), free(sum.at), free(sum_before);
}
Test(lanes, elementwise) {
  for_each(check_elementwise);
}

static void check_spread(const facet_lane_kernels *lanes) {
  enum { D = 2, COLUMNS = 3, OWN = 1 };
  facet_lanes x = random_lanes("x", D, COLUMNS), y = random_lanes("y", D, COLUMNS), own = random_lanes("own", D, 1),
              shift = random_lanes("shift", D, 1);
  for (int shifted = 0; shifted < 2; shifted++) {
    lanes->spread(D, COLUMNS, OWN, x, own, shifted ? shift : (facet_lanes){0}, y);
    for (int64_t f = 0; f < D; f++)
      for (int64_t j = 0; j < COLUMNS * FACET_LANES; j++) {
        const double from = j / FACET_LANES == OWN ? at(own, f, j % FACET_LANES) : at(x, f, j);
        expect_close("spread", f, j, at(y, f, j), from + (shifted ? at(shift, f, j % FACET_LANES) : 0), 8);
      }
  }
  facet_lanes dx = random_lanes("dx", D, COLUMNS), before = random_lanes("dx", D, COLUMNS),
              d_own = random_lanes("garbage", D, 1), d_shift = random_lanes("shift", D, 1);
  lanes->spread_backward(D, COLUMNS, OWN, y, dx, d_own, d_shift);
  for (int64_t f = 0; f < D; f++)
    for (int64_t lane = 0; lane < FACET_LANES; lane++) {
      double total = at(shift, f, lane);
      for (int64_t j = 0; j < COLUMNS; j++) {
        const int64_t k = j * FACET_LANES + lane;
        total += at(y, f, k);
        expect_close("dx", f, k, at(dx, f, k), at(before, f, k) + (j == OWN ? 0 : at(y, f, k)), 8);
      }
      cr_assert_eq(at(d_own, f, lane), at(y, f, OWN * FACET_LANES + lane));
      expect_close("d_shift", f, lane, at(d_shift, f, lane), total, 16);
    }
  free(x.at), free(y.at), free(own.at), free(shift.at), free(dx.at), free(before.at), free(d_own.at), free(d_shift.at);
}
Test(lanes, spread) {
  for_each(check_spread);
}

/* ---- bf16 ---- */

/* The upper half of a float, to nearest even. */
static double rounded(double x) {
  float value = (float)x;
  uint16_t half;
  uint32_t bits;
  facet_vector_get()->to_bf16(1, &value, &half);
  bits = (uint32_t)half << 16;
  memcpy(&value, &bits, sizeof value);
  return (double)value;
}

static void round_lanes(facet_lanes x, int64_t features, int64_t columns) {
  for (int64_t f = 0; f < features; f++)
    for (int64_t j = 0; j < columns * FACET_LANES; j++) x.at[f * x.stride + j] = (facet_real)rounded(at(x, f, j));
}

/* Products of bf16 have 16 bits: with rounded factors only the order of sums differs from the kernels above. */
static void check_bf16_product(const facet_lane_kernels *bf16, const facet_lane_kernels *lanes, int64_t rows,
                               int64_t depth, int64_t columns, bool rest) {
  facet_lanes x = random_lanes("x", depth, columns), y = random_lanes("y", rows, columns),
              expected = random_lanes("y", rows, columns), mask = random_lanes("mask", rows, columns);
  facet_real *a = random_array("a", rows * (depth + 3)), *bias = random_array("bias", rows);
  uint32_t *pairs = malloc((size_t)facet_lanes_pairs(rows, depth) * sizeof *pairs);
  facet_lanes_product s = {.rows = rows, .depth = depth, .columns = columns, .a = {a, depth + 3}, .x = x};
  if (rest) {
    s.bias = bias, s.add = mask, s.relu = true, s.mask = rows <= depth ? x : mask;
    bf16->round(rows, depth, a, pairs);
    s.a = (facet_lanes_weights){a, 0, pairs};
  }
  s.y = y;
  bf16->product(&s);
  round_lanes(x, depth, columns);
  for (int64_t k = 0; k < rows * (depth + 3); k++) a[k] = (facet_real)rounded((double)a[k]);
  s.y = expected;
  lanes->product(&s);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns * FACET_LANES; j++)
      expect_close("bf16", i, j, at(y, i, j), at(expected, i, j), 4 * sqrt((double)depth));
  expect_kept(y, expected, rows, columns);
  free(x.at), free(y.at), free(expected.at), free(mask.at), free(a), free(bias), free(pairs);
}

static void check_bf16_gradient(const facet_lane_kernels *bf16, const facet_lane_kernels *lanes, int64_t m, int64_t n,
                                int64_t columns) {
  facet_lanes x = random_lanes("x", m, columns), y = random_lanes("y", n, columns);
  facet_real *dw = random_array("dw", m * n), *expected = random_array("dw", m * n);
  facet_real *packed = random_array("packed", facet_lanes_packed(n, columns));
  bf16->pack(n, columns, y, packed);
  bf16->gradient(m, n, columns, x, packed, dw);
  round_lanes(x, m, columns);
  round_lanes(y, n, columns);
  lanes->pack(n, columns, y, packed);
  lanes->gradient(m, n, columns, x, packed, expected);
  for (int64_t k = 0; k < m * n; k++)
    expect_close("bf16 gradient", k / n, k % n, (double)dw[k], (double)expected[k], 4 * sqrt(16.0 * (double)columns));
  free(x.at), free(y.at), free(dw), free(expected), free(packed);
}

static void check_bf16(const facet_lane_kernels *bf16) {
  const facet_lane_kernels *lanes = facet_vector_get()->lanes;
  static const int64_t sizes[] = {1, 3, 8, 16, 19, 33, 40, 131};
  if (bf16->begin) bf16->begin();
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++) {
      check_bf16_product(bf16, lanes, sizes[i], sizes[j], 1 + (i + j) % 6, (i + j) % 2);
      check_bf16_gradient(bf16, lanes, sizes[i], sizes[j], 1 + (3 * i + j) % 11);
    }
  check_bf16_product(bf16, lanes, 2, 300, 2, true); /* more features than are rounded together */
  if (bf16->end) bf16->end();
}

Test(lanes, bf16) {
  cr_assert_eq(facet_vector_lanes(false), facet_vector_get()->lanes);
  const facet_lane_kernels *best = facet_vector_lanes(true), *bf16 = facet_vector_get()->lanes_bf16;
  if (best != facet_vector_get()->lanes && best != bf16) check_bf16(best);
  if (!bf16 || !__builtin_cpu_supports("avx512bf16")) return; /* nor has the build in double any */
  check_bf16(bf16);
#ifndef FACET_DOUBLE
  facet_lane_kernels amx = *facet_vector_get()->lanes_amx;
  amx.product = facet_lanes_product_amx_emulated;
  amx.gradient = facet_lanes_gradient_amx_emulated;
  amx.begin = facet_lanes_begin_amx_emulated;
  amx.end = facet_lanes_end_amx_emulated;
  check_bf16(&amx);
#endif
}
