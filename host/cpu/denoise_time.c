/* The denoiser's time table: one row per distinct level, for the whole batch. Threads share the levels, in backward
 * also the rows of the weights; every element is summed by one thread, in the order of levels. */
#include <math.h>
#include <string.h>

#include "cpu/activation.h"
#include "cpu/denoise.h"
#include "cpu/vector.h"

enum { CHUNK = 8 };       /* levels or rows of a weight that one product takes */
enum { FEW_LEVELS = 32 }; /* up to here one thread is faster */

size_t facet_denoise_time_place(const facet_denoise_size *size, int64_t n_levels, char *memory,
                                facet_denoise_time *time) {
  facet_denoise_placer placer = {.memory = memory};
  const int64_t n = n_levels * size->d;
  time->level = facet_denoise_place(&placer, n_levels, sizeof(int32_t));
  time->position = facet_denoise_place_real(&placer, n);
  time->z = facet_denoise_place_real(&placer, 4 * n);
  time->hidden = facet_denoise_place_real(&placer, 4 * n);
  time->d_z = facet_denoise_place_real(&placer, 4 * n);
  for (int i = 0; i < DENOISE_N_TAU; i++) {
    time->row[i] = facet_denoise_place_real(&placer, n);
    time->d_row[i] = facet_denoise_place_real(&placer, n);
  }
  return placer.n_bytes;
}

static int64_t chunk_rows(int64_t n, int64_t first) {
  return n - first < CHUNK ? n - first : CHUNK;
}

static void fill_rows(int64_t rows, int64_t n, const facet_real *row, facet_real *x) {
  for (int64_t i = 0; i < rows; i++) memcpy(x + i * n, row, (size_t)n * sizeof *x);
}

/* pe = [sin(t ω_j), cos(t ω_j)], ω_j = 10^(−4 j/(d/2 − 1)), j < d/2 */
static void encode_position(int64_t d, int32_t level, facet_real *position) {
  const int64_t half = d / 2;
  for (int64_t j = 0; j < half; j++) {
    double angle = (double)level * exp(-(double)j * log(1e4) / (double)(half - 1));
    position[j] = (facet_real)sin(angle);
    position[half + j] = (facet_real)cos(angle);
  }
}

void facet_denoise_time_forward(const facet_denoise_size *size, const facet_denoise_weights *weights,
                                facet_denoise_time *time) {
  const facet_rows *rows = facet_vector_get()->rows;
  const facet_real *const *w = weights->value;
  const int64_t d = size->d;
#pragma omp parallel for schedule(static) if (time->n_levels > FEW_LEVELS)
  for (int64_t first = 0; first < time->n_levels; first += CHUNK) {
    int64_t n = chunk_rows(time->n_levels, first);
    facet_real *position = time->position + first * d, *z = time->z + first * 4 * d;
    facet_real *hidden = time->hidden + first * 4 * d, *tau = time->row[DENOISE_TAU] + first * d;
    for (int64_t i = 0; i < n; i++) encode_position(d, time->level[first + i], position + i * d);
    fill_rows(n, 4 * d, w[DENOISE_TIME_0_BIAS], z);
    rows->product(false, true, n, 4 * d, d, position, w[DENOISE_TIME_0_WEIGHT], z);
    facet_activation_apply(FACET_ACTIVATION_SWISH, n * 4 * d, z, hidden);
    fill_rows(n, d, w[DENOISE_TIME_1_BIAS], tau);
    rows->product(false, true, n, d, 4 * d, hidden, w[DENOISE_TIME_1_WEIGHT], tau);
    const facet_real *const *block_1 = w + DENOISE_N_SHARED;
    rows->product(false, false, n, d, d, tau, block_1[DENOISE_SELF_Q], time->row[DENOISE_TAU_Q] + first * d);
    rows->product(false, false, n, d, d, tau, block_1[DENOISE_SELF_V], time->row[DENOISE_TAU_V] + first * d);
  }
}

/* dτ and dz of the levels first … first + n − 1. */
static void levels_backward(const facet_denoise_size *size, const facet_denoise_weights *weights,
                            facet_denoise_time *time, int64_t first, int64_t n) {
  const facet_rows *rows = facet_vector_get()->rows;
  facet_real *const *transpose = weights->transpose, *const *block_1 = weights->transpose + DENOISE_N_SHARED;
  const int64_t d = size->d;
  facet_real *d_tau = time->d_row[DENOISE_TAU] + first * d, *d_z = time->d_z + first * 4 * d;
  rows->product(false, true, n, d, d, time->d_row[DENOISE_TAU_Q] + first * d, block_1[DENOISE_SELF_Q], d_tau);
  rows->product(false, true, n, d, d, time->d_row[DENOISE_TAU_V] + first * d, block_1[DENOISE_SELF_V], d_tau);
  rows->product(false, false, n, 4 * d, d, d_tau, transpose[DENOISE_TIME_1_WEIGHT], d_z);
  facet_activation_derive(FACET_ACTIVATION_SWISH, n * 4 * d, time->z + first * 4 * d, NULL, d_z, false, d_z);
}

/* gradient [m, n] += Σ_levels xᵀ dy for x [levels, m], dy [levels, n]. A thread takes some columns of x, copied so
 * that the product reads them without gaps. */
static void weight_backward(const facet_denoise_time *time, int64_t m, int64_t n, const facet_real *x,
                            const facet_real *dy, facet_real *gradient) {
  const facet_rows *rows = facet_vector_get()->rows;
  if (!gradient) return;
#pragma omp parallel for schedule(static) if (time->n_levels > FEW_LEVELS)
  for (int64_t first = 0; first < m; first += CHUNK) {
    int64_t n_columns = chunk_rows(m, first);
    for (int64_t level = 0; level < time->n_levels; level += CHUNK) {
      facet_real columns[CHUNK * CHUNK];
      int64_t n_rows = chunk_rows(time->n_levels, level);
      for (int64_t i = 0; i < n_rows; i++)
        memcpy(columns + i * n_columns, x + (level + i) * m + first, (size_t)n_columns * sizeof *x);
      rows->product(true, true, n_columns, n, n_rows, columns, dy + level * n, gradient + first * n);
    }
  }
}

static void bias_backward(const facet_denoise_time *time, int64_t n, const facet_real *dy, facet_real *gradient) {
  if (gradient) facet_vector_get()->rows->column_sum(time->n_levels, n, dy, gradient);
}

void facet_denoise_time_backward(const facet_denoise_size *size, const facet_denoise_weights *weights,
                                 facet_denoise_time *time, facet_real *const *gradient) {
  const int64_t d = size->d;
  facet_real *const *block_1 = gradient + DENOISE_N_SHARED, *const *d_row = time->d_row;
#pragma omp parallel for schedule(static) if (time->n_levels > FEW_LEVELS)
  for (int64_t first = 0; first < time->n_levels; first += CHUNK)
    levels_backward(size, weights, time, first, chunk_rows(time->n_levels, first));
  weight_backward(time, d, d, time->row[DENOISE_TAU], d_row[DENOISE_TAU_Q], block_1[DENOISE_SELF_Q]);
  weight_backward(time, d, d, time->row[DENOISE_TAU], d_row[DENOISE_TAU_V], block_1[DENOISE_SELF_V]);
  weight_backward(time, 4 * d, d, time->hidden, d_row[DENOISE_TAU], gradient[DENOISE_TIME_1_WEIGHT]);
  bias_backward(time, d, d_row[DENOISE_TAU], gradient[DENOISE_TIME_1_BIAS]);
  weight_backward(time, d, 4 * d, time->position, time->d_z, gradient[DENOISE_TIME_0_WEIGHT]);
  bias_backward(time, 4 * d, time->d_z, gradient[DENOISE_TIME_0_BIAS]);
}
