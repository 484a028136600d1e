/* Vector kernels of every instruction set that this CPU has, against double code. */
#include "cpu/vector.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "facet/environment.h"
#include "facet/rng.h"

enum { N = 1003 };

static const char *const names[] = {"portable", "avx2", "avx512"};

/* Calls check(vector) for each instruction set that is there. */
static void for_each(void (*check)(const facet_vector *)) {
  for (int i = 0; i < 3; i++) {
    const facet_vector *vector = facet_vector_find(names[i]);
    if (vector) check(vector);
  }
}

static void fill(const char *purpose, double scale, facet_real *x) {
  facet_rng_key key = facet_rng_key_make(11, purpose);
  for (int64_t i = 0; i < N; i++) x[i] = (facet_real)(scale * (double)facet_rng_normal(key, (uint64_t)i));
}

static void expect_close(const char *isa, const char *what, int64_t i, double value, double expected, double ulps) {
  double bound = ulps * FACET_REAL_EPSILON * fabs(expected) + 1e-44;
  cr_assert(fabs(value - expected) <= bound, "%s %s, element %lld: %.9g, expected %.9g", isa, what, (long long)i, value,
            expected);
}

typedef void elementwise(int64_t n, const facet_real *x, facet_real *y);

static void check_function(const char *isa, const char *what, elementwise *function, double (*exact)(double)) {
  static const double special[] = {0, 1e-30, -1e-30, 1e-4, -1e-4, 0.5, -0.5, 10, -10, 40, -40, 85, -85};
  facet_real x[N], y[N];
  fill("x", 5, x);
  for (size_t i = 0; i < sizeof special / sizeof *special; i++) x[i] = (facet_real)special[i];
  for (int64_t i = 100; i < 500; i++) x[i] = (facet_real)(-80 + 0.4 * (double)(i - 100));
  memset(y, 0xFF, sizeof y);
  function(N - 1, x, y);
  for (int64_t i = 0; i < N - 1; i++) expect_close(isa, what, i, (double)y[i], exact((double)x[i]), 4);
  cr_assert(isnan(y[N - 1]), "%s %s wrote behind the range", isa, what);
}

static double exact_sigmoid(double x) {
  return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}
static double exact_softplus(double x) {
  return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static void check_limits(const char *isa, const char *what, elementwise *function, double low, double high) {
  facet_real x[] = {(facet_real)-INFINITY, (facet_real)INFINITY, (facet_real)-1e30, (facet_real)1e30, (facet_real)NAN},
             y[5];
  function(5, x, y);
  cr_assert((double)y[0] == low && (double)y[1] == high, "%s %s at infinity: %g, %g", isa, what, (double)y[0],
            (double)y[1]);
  cr_assert((double)y[2] == fmax(low, -1e30f) && !isnan(y[3]), "%s %s of large numbers", isa, what);
  cr_assert(isnan(y[4]), "%s %s loses NaN: %g", isa, what, (double)y[4]);
}

static void check_functions(const facet_vector *vector) {
  check_function(vector->name, "exp", vector->exp, exp);
  check_function(vector->name, "sigmoid", vector->sigmoid, exact_sigmoid);
  check_function(vector->name, "softplus", vector->softplus, exact_softplus);
  check_function(vector->name, "tanh", vector->tanh, tanh);
  check_limits(vector->name, "exp", vector->exp, 0, INFINITY);
  check_limits(vector->name, "sigmoid", vector->sigmoid, 0, 1);
  check_limits(vector->name, "softplus", vector->softplus, 0, INFINITY);
  check_limits(vector->name, "tanh", vector->tanh, -1, 1);
}
Test(vector, functions) {
  for_each(check_functions);
}

static void check_algebra(const facet_vector *vector) {
  facet_real x[N], y[N], z[N], w[N];
  fill("x", 1, x);
  fill("y", 1, y);
  memcpy(z, y, sizeof z);
  vector->axpy(N - 1, (facet_real)0.3, x, z);
  double dot = 0, squares = 0, size = 0;
  for (int64_t i = 0; i < N - 1; i++) {
    double term = (double)(facet_real)0.3 * (double)x[i];
    cr_assert(fabs((double)z[i] - (double)y[i] - term) <= FACET_REAL_EPSILON * (fabs(term) + fabs((double)y[i])),
              "%s axpy", vector->name);
    dot += (double)x[i] * (double)y[i];
    size += fabs((double)x[i] * (double)y[i]);
    squares += (double)x[i] * (double)x[i];
  }
  cr_assert_eq(z[N - 1], y[N - 1], "%s axpy wrote behind the range", vector->name);
  cr_assert(fabs((double)vector->dot(N - 1, x, y) - dot) <= 30 * FACET_REAL_EPSILON * size, "%s dot", vector->name);
  cr_assert(fabs(vector->square_sum(N - 1, x) - squares) <= 1e-12 * squares, "%s square_sum", vector->name);
  memcpy(w, x, sizeof w);
  vector->scale(N - 1, -2, w);
  cr_assert(w[0] == -2 * x[0] && w[N - 2] == -2 * x[N - 2] && w[N - 1] == x[N - 1], "%s scale", vector->name);
  memcpy(w, x, sizeof w);
  vector->add_row(59, 17, y, w); /* 59 × 17 = N */
  for (int64_t i = 0; i < N; i++) cr_assert_eq(w[i], x[i] + y[i % 17], "%s add_row", vector->name);
}
Test(vector, algebra) {
  for_each(check_algebra);
}

static void check_softmax_parts(const facet_vector *vector) {
  facet_real x[N], y[N];
  fill("x", 3, x);
  cr_assert(vector->max(0, x) == (facet_real)-INFINITY, "%s max of nothing", vector->name);
  for (int64_t n = 1; n < N; n += n < 40 ? 1 : 97) {
    double largest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) {
      largest = fmax(largest, (double)x[i]);
      sum += exp((double)(facet_real)(x[i] - 2));
    }
    cr_assert((double)vector->max(n, x) == largest, "%s max of %lld", vector->name, (long long)n);
    memset(y, 0xFF, sizeof y);
    expect_close(vector->name, "exp_sum", n, (double)vector->exp_sum(n, 2, x, y), sum, 12);
    for (int64_t i = 0; i < n; i++)
      expect_close(vector->name, "exp_sum value", i, (double)y[i], exp((double)(facet_real)(x[i] - 2)), 4);
    cr_assert(isnan(y[n]), "%s exp_sum wrote behind the range", vector->name);
  }
  facet_real special[] = {(facet_real)-INFINITY, (facet_real)NAN, -5};
  cr_assert(vector->max(3, special) == -5, "%s max with NaN", vector->name);
  cr_assert(vector->exp_sum(1, 0, special, y) == 0, "%s exp_sum of −∞", vector->name);
  cr_assert(isnan(vector->exp_sum(3, 0, special, special)), "%s exp_sum loses NaN", vector->name);
  cr_assert(special[0] == 0, "%s exp_sum in place", vector->name);
}
Test(vector, softmax_parts) {
  for_each(check_softmax_parts);
}

/* Rows are repeated at distances that meet whole blocks and the rest: the bits must repeat too. */
static void check_project(const facet_vector *vector) {
  enum { ROWS = 29, PERIOD = 7, STRIDE = 31 };
  for (int64_t width = 1; width <= 19; width += 6)
    for (int64_t n = 1; n <= FACET_VECTOR_COLUMNS; n++) {
      facet_real x[ROWS * 19], w[N], out[FACET_VECTOR_COLUMNS * STRIDE];
      fill("w", 1, w);
      for (int64_t i = 0; i < ROWS; i++) memcpy(x + i * width, w + 300 + i % PERIOD * width, (size_t)width * sizeof *x);
      for (int64_t i = 0; i < FACET_VECTOR_COLUMNS * STRIDE; i++) out[i] = 77;
      vector->project(ROWS, width, n, x, w, STRIDE, out);
      for (int64_t j = 0; j < FACET_VECTOR_COLUMNS; j++)
        for (int64_t i = 0; i < STRIDE; i++) {
          facet_real value = out[j * STRIDE + i];
          if (i >= ROWS || j >= n) {
            cr_assert_eq(value, 77, "%s project wrote to (%d, %d)", vector->name, (int)i, (int)j);
            continue;
          }
          double sum = 0, size = 0;
          for (int64_t k = 0; k < width; k++) {
            double product = (double)x[i * width + k] * (double)w[k * FACET_VECTOR_COLUMNS + j];
            sum += product;
            size += fabs(product);
          }
          cr_assert(fabs((double)value - sum) <= 20 * FACET_REAL_EPSILON * size, "%s project (%d, %d)", vector->name,
                    (int)i, (int)j);
          cr_assert_eq(value, out[j * STRIDE + i % PERIOD], "%s: equal rows %d and %d differ", vector->name, (int)i,
                       (int)(i % PERIOD));
        }
    }
}
Test(vector, project) {
  for_each(check_project);
}

static void check_adam(const facet_vector *vector) {
  facet_adam_step s = {(facet_real)0.5,  (facet_real)0.01, (facet_real)0.002, (facet_real)0.1,
                       (facet_real)1.25, (facet_real)0.9,  (facet_real)0.99,  (facet_real)1e-6};
  facet_real g[N], m[N], v[N], w[N], m0[N], v0[N], w0[N];
  fill("g", 1, g);
  fill("m", 1, m0);
  fill("v", 1, v0);
  fill("w", 1, w0);
  for (int64_t i = 0; i < N; i++) v0[i] = (facet_real)fabs((double)v0[i]);
  memcpy(m, m0, sizeof m), memcpy(v, v0, sizeof v), memcpy(w, w0, sizeof w);
  vector->adam(&s, N - 1, g, m, v, w);
  for (int64_t i = 0; i < N - 1; i++) {
    double gradient = (double)s.scale * (double)g[i] + (double)s.l2 * (double)w0[i];
    double first = (double)s.beta1 * (double)m0[i] + (1 - (double)s.beta1) * gradient;
    double second = (double)s.beta2 * (double)v0[i] + (1 - (double)s.beta2) * gradient * gradient;
    double step = (double)s.rate * first / (sqrt(second) * (double)s.root + (double)s.eps);
    double weight = (double)w0[i] - (double)s.decay * (double)w0[i] - step;
    cr_assert(fabs((double)m[i] - first) <= 8 * FACET_REAL_EPSILON * (fabs(first) + fabs(gradient)), "%s adam m",
              vector->name);
    cr_assert(fabs((double)v[i] - second) <= 8 * FACET_REAL_EPSILON * (second + 1), "%s adam v", vector->name);
    cr_assert(fabs((double)w[i] - weight) <= 32 * FACET_REAL_EPSILON * (1 + fabs(step)) * (1 + fabs((double)w0[i])),
              "%s adam w, element %lld: %.9g, expected %.9g", vector->name, (long long)i, (double)w[i], weight);
  }
  cr_assert(m[N - 1] == m0[N - 1] && v[N - 1] == v0[N - 1] && w[N - 1] == w0[N - 1], "%s adam wrote behind the range",
            vector->name);
}
Test(vector, adam) {
  for_each(check_adam);
}

static void check_adagrad(const facet_vector *vector) {
  facet_adagrad_step s = {(facet_real)0.5, (facet_real)0.01, (facet_real)0.1, (facet_real)1e-6};
  facet_real g[N], a[N], w[N], w0[N];
  fill("g", 1, g);
  fill("w", 1, w0);
  for (int64_t i = 0; i < N; i++) a[i] = (facet_real)0.25;
  memcpy(w, w0, sizeof w);
  vector->adagrad(&s, N - 1, g, a, w);
  for (int64_t i = 0; i < N - 1; i++) {
    double gradient = (double)s.scale * (double)g[i] + (double)s.l2 * (double)w0[i];
    double sum = 0.25 + gradient * gradient;
    double weight = (double)w0[i] - (double)s.rate * gradient / (sqrt(sum) + (double)s.eps);
    cr_assert(fabs((double)a[i] - sum) <= 8 * FACET_REAL_EPSILON * sum, "%s adagrad accumulator", vector->name);
    cr_assert(fabs((double)w[i] - weight) <= 16 * FACET_REAL_EPSILON * (0.1 + fabs((double)w0[i])), "%s adagrad w",
              vector->name);
  }
  cr_assert(a[N - 1] == (facet_real)0.25 && w[N - 1] == w0[N - 1], "%s adagrad wrote behind the range", vector->name);
}
Test(vector, adagrad) {
  for_each(check_adagrad);
}

/* Rounding to nearest, ties to even, is what adding half of the last kept place in double does. */
static void check_to_bf16(const facet_vector *vector) {
  enum { MANY = 1 << 16 };
  static float x[MANY + 3];
  static uint16_t y[MANY + 3];
  static const struct {
    uint32_t bits;
    uint16_t expected;
  } cases[] = {{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82},
               {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0},
               {0xffffffff, 0xffff}, {0x80000001, 0x8000}, {0x00018000, 0x0002}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    memcpy(x, &cases[i].bits, sizeof *x);
    vector->to_bf16(1, x, y);
    cr_assert_eq(y[0], cases[i].expected, "%s: %08x becomes %04x, expected %04x", vector->name, cases[i].bits, y[0],
                 cases[i].expected);
  }
  for (int i = 0; i < MANY + 3; i++) x[i] = (float)(i - MANY / 2) * 0.37f;
  vector->to_bf16(MANY + 3, x, y);
  for (int i = 0; i < MANY + 3; i++) {
    uint32_t bits = (uint32_t)y[i] << 16;
    float back;
    memcpy(&back, &bits, sizeof back);
    cr_assert(fabsf(back - x[i]) <= fabsf(x[i]) / 256, "%s: %g becomes %g", vector->name, (double)x[i], (double)back);
  }
}

Test(vector, to_bf16) {
  for_each(check_to_bf16);
}

Test(vector, selection) {
  facet_environment environment = {.isa = "portable", .log = FACET_LOG_INFO};
  facet_environment_set(&environment);
  cr_assert_eq(facet_vector_select(), FACET_OK);
  cr_assert_str_eq(facet_vector_get()->name, "portable");
  strcpy(environment.isa, "neon");
  facet_environment_set(&environment);
  cr_assert_eq(facet_vector_select(), FACET_ERROR_USAGE);
  cr_assert(strstr(facet_error_get()->message, "FACET_ISA=neon"), "%s", facet_error_get()->message);
  cr_assert_str_eq(facet_vector_get()->name, "portable", "an error changed the choice");
  environment.isa[0] = 0;
  facet_environment_set(&environment);
  cr_assert_eq(facet_vector_select(), FACET_OK);
  cr_assert_not_null(facet_vector_find(facet_vector_get()->name));
  cr_assert_null(facet_vector_find("neon"));
}
