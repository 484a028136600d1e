/* The kernels of normalisations (cpu/norms.h), compiled once per instruction set. Loops over columns are vectors; sums
 * over the columns of a row run in eight lanes. */
#include "cpu/norms.h"

#include <string.h>
#include <tgmath.h>

#include "cpu/vector.h"
#include "cpu/vector/isa.h"

/* ---- LayerNorm --------------------------------------------------------------------------------------------------- */

enum { LANES = 8 };
typedef facet_real lanes
    __attribute__((vector_size(LANES * sizeof(facet_real)), aligned(sizeof(facet_real)), may_alias));

static inline facet_real add_lanes(lanes x) {
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

/* Σ x of a row; Σ (x − mean)²; Σ x y w. */
static inline facet_real row_sum(int64_t d, const facet_real *x) {
  lanes sum = {0};
  int64_t j = 0;
  for (; j + LANES <= d; j += LANES) sum += *(const lanes *)(x + j);
  facet_real tail = 0;
  for (; j < d; j++) tail += x[j];
  return add_lanes(sum) + tail;
}

static inline facet_real row_square_sum(int64_t d, facet_real mean, const facet_real *x) {
  lanes sum = {0};
  int64_t j = 0;
  for (; j + LANES <= d; j += LANES) {
    lanes centred = *(const lanes *)(x + j) - mean;
    sum += centred * centred;
  }
  facet_real tail = 0;
  for (; j < d; j++) tail += (x[j] - mean) * (x[j] - mean);
  return add_lanes(sum) + tail;
}

static inline facet_real row_product_sum(int64_t d, const facet_real *x, const facet_real *y, const facet_real *w) {
  lanes sum = {0};
  int64_t j = 0;
  for (; j + LANES <= d; j += LANES) sum += *(const lanes *)(x + j) * *(const lanes *)(y + j) * *(const lanes *)(w + j);
  facet_real tail = 0;
  for (; j < d; j++) tail += x[j] * y[j] * w[j];
  return add_lanes(sum) + tail;
}

static inline facet_real row_dot(int64_t d, const facet_real *x, const facet_real *y) {
  lanes sum = {0};
  int64_t j = 0;
  for (; j + LANES <= d; j += LANES) sum += *(const lanes *)(x + j) * *(const lanes *)(y + j);
  facet_real tail = 0;
  for (; j < d; j++) tail += x[j] * y[j];
  return add_lanes(sum) + tail;
}

static void layer(int64_t rows, int64_t d, facet_real eps, const facet_real *restrict x, const facet_real *restrict z,
                  const facet_real *restrict gamma, const facet_real *restrict beta, facet_real *restrict normal,
                  facet_real *restrict inverse, facet_real *restrict y) {
  const facet_real share = (facet_real)1 / (facet_real)d;
  for (int64_t i = 0; i < rows; i++, x += d, normal += d, y += d) {
    if (z) {
      for (int64_t j = 0; j < d; j++) normal[j] = x[j] + z[i * d + j];
    } else {
      memcpy(normal, x, (size_t)d * sizeof *x);
    }
    const facet_real mean = row_sum(d, normal) * share;
    const facet_real r = (facet_real)1 / sqrt(row_square_sum(d, mean, normal) * share + eps);
    for (int64_t j = 0; j < d; j++) {
      normal[j] = (normal[j] - mean) * r;
      y[j] = gamma[j] * normal[j] + beta[j];
    }
    inverse[i] = r;
  }
}

static void layer_backward(int64_t rows, int64_t d, const facet_real *restrict dy, const facet_real *restrict normal,
                           const facet_real *restrict inverse, const facet_real *restrict gamma, bool add,
                           facet_real *restrict dx) {
  const facet_real share = (facet_real)1 / (facet_real)d;
  for (int64_t i = 0; i < rows; i++, dy += d, normal += d, dx += d) {
    const facet_real mean = row_dot(d, gamma, dy) * share, along = row_product_sum(d, gamma, dy, normal) * share;
    const facet_real r = inverse[i];
    if (add)
      for (int64_t j = 0; j < d; j++) dx[j] += r * (gamma[j] * dy[j] - mean - normal[j] * along);
    else
      for (int64_t j = 0; j < d; j++) dx[j] = r * (gamma[j] * dy[j] - mean - normal[j] * along);
  }
}

/* Σ dy and Σ dy x̂ of one row after the other. */
static void layer_sums(int64_t rows, int64_t d, const facet_real *restrict dy, const facet_real *restrict normal,
                       double *restrict sums) {
  for (int64_t i = 0; i < rows; i++, dy += d, normal += d)
    for (int64_t j = 0; j < d; j++) {
      sums[j] += (double)dy[j];
      sums[d + j] += (double)dy[j] * (double)normal[j];
    }
}

/* ---- sums over rows ---------------------------------------------------------------------------------------------- */

static void sum(int64_t rows, int64_t d, const facet_real *restrict x, const facet_real *restrict valid,
                double *restrict sums) {
  for (int64_t i = 0; i < rows; i++, x += d) {
    if (valid && valid[i] == 0) continue;
    for (int64_t j = 0; j < d; j++) sums[j] += (double)x[j];
  }
}

static void square_sum(int64_t rows, int64_t d, const facet_real *restrict x, const facet_real *restrict valid,
                       const double *restrict mean, double *restrict sums) {
  for (int64_t i = 0; i < rows; i++, x += d) {
    if (valid && valid[i] == 0) continue;
    for (int64_t j = 0; j < d; j++) {
      const double centred = (double)x[j] - mean[j];
      sums[j] += centred * centred;
    }
  }
}

/* ---- BatchNorm --------------------------------------------------------------------------------------------------- */

static void batch(int64_t rows, const facet_norm_columns *c, const facet_real *restrict x, facet_real *restrict y) {
  const facet_real *restrict mean = c->mean, *restrict inverse = c->inverse;
  const facet_real *restrict gain = c->gain, *restrict shift = c->shift;
  for (int64_t i = 0; i < rows; i++, x += c->d, y += c->d)
    for (int64_t j = 0; j < c->d; j++) y[j] = gain[j] * ((x[j] - mean[j]) * inverse[j]) + shift[j];
}

static void batch_sums(int64_t rows, const facet_norm_columns *c, const facet_real *restrict x,
                       const facet_real *restrict dy, const facet_real *restrict valid, double *restrict sums) {
  const facet_real *restrict mean = c->mean, *restrict inverse = c->inverse;
  double *restrict along = sums + c->d;
  for (int64_t i = 0; i < rows; i++, x += c->d, dy += c->d) {
    if (valid[i] == 0) continue;
    for (int64_t j = 0; j < c->d; j++) {
      const facet_real normal = (x[j] - mean[j]) * inverse[j];
      sums[j] += (double)dy[j];
      along[j] += (double)dy[j] * (double)normal;
    }
  }
}

static void batch_backward(int64_t rows, const facet_norm_columns *c, const facet_real *restrict x,
                           const facet_real *restrict dy, const facet_real *restrict valid, bool add,
                           facet_real *restrict dx) {
  const facet_real *restrict mean = c->mean, *restrict inverse = c->inverse, *restrict gain = c->gain;
  const facet_real *restrict mean_g = c->mean_g, *restrict mean_gx = c->mean_gx;
  for (int64_t i = 0; i < rows; i++, x += c->d, dy += c->d, dx += c->d) {
    if (!add) memset(dx, 0, (size_t)c->d * sizeof *dx);
    if (valid[i] == 0) continue;
    for (int64_t j = 0; j < c->d; j++) {
      const facet_real normal = (x[j] - mean[j]) * inverse[j];
      dx[j] += gain[j] * inverse[j] * (dy[j] - mean_g[j] - normal * mean_gx[j]);
    }
  }
}

/* ---- Dice -------------------------------------------------------------------------------------------------------- */

static void dice_input(int64_t rows, const facet_norm_columns *c, const facet_real *restrict x,
                       facet_real *restrict z) {
  const facet_real *restrict mean = c->mean, *restrict inverse = c->inverse;
  for (int64_t i = 0; i < rows; i++, x += c->d, z += c->d)
    for (int64_t j = 0; j < c->d; j++) z[j] = (x[j] - mean[j]) * inverse[j];
}

static void dice(int64_t rows, const facet_norm_columns *c, const facet_real *restrict x, const facet_real *restrict s,
                 facet_real *restrict y) {
  const facet_real *restrict alpha = c->gain;
  for (int64_t i = 0; i < rows; i++, x += c->d, s += c->d, y += c->d)
    for (int64_t j = 0; j < c->d; j++) y[j] = x[j] * (s[j] + alpha[j] * ((facet_real)1 - s[j]));
}

static void dice_sums(int64_t rows, const facet_norm_columns *c, const facet_real *restrict x,
                      const facet_real *restrict s, const facet_real *restrict dy, const facet_real *restrict valid,
                      double *restrict sums) {
  const facet_real *restrict mean = c->mean, *restrict inverse = c->inverse, *restrict alpha = c->gain;
  double *restrict along = sums + c->d, *restrict tails = sums + 2 * c->d;
  for (int64_t i = 0; i < rows; i++, x += c->d, s += c->d, dy += c->d) {
    if (valid[i] == 0) continue;
    for (int64_t j = 0; j < c->d; j++) {
      const facet_real tail = dy[j] * x[j] * ((facet_real)1 - s[j]), g = tail * ((facet_real)1 - alpha[j]) * s[j];
      sums[j] += (double)g;
      along[j] += (double)g * (double)((x[j] - mean[j]) * inverse[j]);
      tails[j] += (double)tail;
    }
  }
}

static void dice_backward(int64_t rows, const facet_norm_columns *c, const facet_real *restrict x,
                          const facet_real *restrict s, const facet_real *restrict dy, const facet_real *restrict valid,
                          bool add, facet_real *restrict dx) {
  const facet_real *restrict mean = c->mean, *restrict inverse = c->inverse, *restrict alpha = c->gain;
  const facet_real *restrict mean_g = c->mean_g, *restrict mean_gx = c->mean_gx;
  for (int64_t i = 0; i < rows; i++, x += c->d, s += c->d, dy += c->d, dx += c->d) {
    if (!add) memset(dx, 0, (size_t)c->d * sizeof *dx);
    if (valid[i] == 0) continue;
    for (int64_t j = 0; j < c->d; j++) {
      const facet_real rest = (facet_real)1 - s[j], z = (x[j] - mean[j]) * inverse[j];
      const facet_real g = dy[j] * x[j] * ((facet_real)1 - alpha[j]) * s[j] * rest;
      dx[j] += dy[j] * (s[j] + alpha[j] * rest) + (g - mean_g[j] - z * mean_gx[j]) * inverse[j];
    }
  }
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

extern const facet_norms PASTE(facet_norms_, FACET_ISA);
const facet_norms PASTE(facet_norms_, FACET_ISA) = {.layer = layer,
                                                    .layer_backward = layer_backward,
                                                    .layer_sums = layer_sums,
                                                    .sum = sum,
                                                    .square_sum = square_sum,
                                                    .batch = batch,
                                                    .batch_sums = batch_sums,
                                                    .batch_backward = batch_backward,
                                                    .dice_input = dice_input,
                                                    .dice = dice,
                                                    .dice_sums = dice_sums,
                                                    .dice_backward = dice_backward};
