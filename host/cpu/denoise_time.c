/* The denoiser's time table: one row per distinct level, for the whole batch. Threads share the chunks of levels, in
 * backward also the rows of the weights; every element is summed by one thread, in the order of levels. */
#include <math.h>
#include <string.h>

#include "cpu/activation.h"
#include "cpu/denoise.h"
#include "cpu/vector.h"

enum { ROWS = 8 }; /* rows of a weight's gradient that a thread takes */

static int64_t n_chunks(int64_t n_levels) {
  return (n_levels + DENOISE_LEVELS - 1) / DENOISE_LEVELS;
}

size_t facet_denoise_time_place(const facet_denoise_size *size, int64_t n_levels, char *memory,
                                facet_denoise_time *time) {
  facet_denoise_placer placer = {.memory = memory};
  const int64_t n = n_chunks(n_levels) * DENOISE_LEVELS * size->d; /* of d features */
  time->level = facet_denoise_place(&placer, n_levels, sizeof(int32_t));
  time->position = facet_denoise_place_real(&placer, n);
  time->z = facet_denoise_place_real(&placer, 4 * n);
  time->hidden = facet_denoise_place_real(&placer, 4 * n);
  time->d_z = facet_denoise_place_real(&placer, 4 * n);
  time->packed_dz =
      facet_denoise_place_real(&placer, n_chunks(n_levels) * facet_lanes_packed(4 * size->d, DENOISE_LEVEL_COLUMNS));
  for (int i = 0; i < DENOISE_N_TAU; i++) {
    time->row[i] = facet_denoise_place_real(&placer, n_levels * size->d);
    time->d_row[i] = facet_denoise_place_real(&placer, (n_levels + 1) * size->d);
    time->tau[i] = facet_denoise_place_real(&placer, n);
    time->d_tau[i] = facet_denoise_place_real(&placer, n);
    time->packed[i] =
        facet_denoise_place_real(&placer, n_chunks(n_levels) * facet_lanes_packed(size->d, DENOISE_LEVEL_COLUMNS));
  }
  return placer.n_bytes;
}

/* Columns of a chunk; its last lanes may be without a level. */
static int64_t chunk_columns(const facet_denoise_time *time, int64_t chunk) {
  const int64_t left = time->n_levels - chunk * DENOISE_LEVELS, n = left < DENOISE_LEVELS ? left : DENOISE_LEVELS;
  return (n + FACET_LANES - 1) / FACET_LANES;
}

static facet_lanes chunk_lanes(facet_real *array, int64_t features, int64_t chunk) {
  return (facet_lanes){array + chunk * features * DENOISE_LEVELS, DENOISE_LEVELS};
}

/* Levels of one column, from `first` on. */
static int64_t column_levels(const facet_denoise_time *time, int64_t first) {
  return time->n_levels - first < FACET_LANES ? time->n_levels - first : FACET_LANES;
}

/* pe = [sin(t ω_j), cos(t ω_j)], ω_j = 10^(−4 j/(d/2 − 1)), j < d/2; lanes without a level repeat the last. */
static void encode_positions(const facet_denoise_size *size, const facet_denoise_time *time, int64_t chunk,
                             int64_t n_lanes, facet_lanes position) {
  const int64_t half = size->d / 2;
  for (int64_t j = 0; j < half; j++) {
    const double frequency = exp(-(double)j * log(1e4) / (double)(half - 1));
    for (int64_t lane = 0; lane < n_lanes; lane++) {
      const int64_t i = chunk * DENOISE_LEVELS + lane;
      const double angle = (double)time->level[i < time->n_levels ? i : time->n_levels - 1] * frequency;
      position.at[j * position.stride + lane] = (facet_real)sin(angle);
      position.at[(half + j) * position.stride + lane] = (facet_real)cos(angle);
    }
  }
}

static void product(int64_t rows, int64_t depth, int64_t columns, const facet_real *a, const facet_real *bias,
                    facet_lanes x, facet_lanes add, facet_lanes y) {
  facet_vector_get()->lanes->product(&(facet_lanes_product){
      .rows = rows, .depth = depth, .columns = columns, .a = {a}, .bias = bias, .x = x, .add = add, .y = y});
}

static const facet_lanes none = {0};

static void chunk_forward(const facet_denoise_size *size, const facet_denoise_weights *weights,
                          facet_denoise_time *time, int64_t chunk) {
  const int64_t d = size->d, columns = chunk_columns(time, chunk);
  const facet_real *const *w = weights->value;
  facet_real *const *transpose = weights->transpose, *const *block_1 = transpose + DENOISE_N_SHARED;
  const facet_lanes position = chunk_lanes(time->position, d, chunk), z = chunk_lanes(time->z, 4 * d, chunk);
  const facet_lanes hidden = chunk_lanes(time->hidden, 4 * d, chunk);
  facet_lanes tau[DENOISE_N_TAU];
  for (int i = 0; i < DENOISE_N_TAU; i++) tau[i] = chunk_lanes(time->tau[i], d, chunk);
  encode_positions(size, time, chunk, columns * FACET_LANES, position);
  product(4 * d, d, columns, transpose[DENOISE_TIME_0_WEIGHT], w[DENOISE_TIME_0_BIAS], position, none, z);
  for (int64_t f = 0; f < 4 * d; f++)
    facet_activation_apply(FACET_ACTIVATION_SWISH, columns * FACET_LANES, z.at + f * z.stride,
                           hidden.at + f * hidden.stride);
  product(d, 4 * d, columns, transpose[DENOISE_TIME_1_WEIGHT], w[DENOISE_TIME_1_BIAS], hidden, none, tau[DENOISE_TAU]);
  product(d, d, columns, block_1[DENOISE_SELF_Q], NULL, tau[DENOISE_TAU], none, tau[DENOISE_TAU_Q]);
  product(d, d, columns, block_1[DENOISE_SELF_V], NULL, tau[DENOISE_TAU], none, tau[DENOISE_TAU_V]);
  for (int64_t j = 0; j < columns; j++) {
    const int64_t first = chunk * DENOISE_LEVELS + j * FACET_LANES, n = column_levels(time, first);
    for (int i = 0; i < DENOISE_N_TAU; i++) {
      facet_real *row[FACET_LANES];
      for (int64_t lane = 0; lane < n; lane++) row[lane] = time->row[i] + (first + lane) * d;
      facet_vector_get()->lanes->store(d, n, facet_lanes_column(tau[i], j), row);
    }
  }
}

void facet_denoise_time_forward(const facet_denoise_size *size, const facet_denoise_weights *weights,
                                facet_denoise_time *time) {
#pragma omp parallel for schedule(static) if (n_chunks(time->n_levels) > 1)
  for (int64_t chunk = 0; chunk < n_chunks(time->n_levels); chunk++) chunk_forward(size, weights, time, chunk);
}

/* d_tau of a chunk from the rows; lanes without a level get zeros. */
static void load_gradients(const facet_denoise_size *size, facet_denoise_time *time, int64_t chunk) {
  const int64_t d = size->d;
  for (int64_t j = 0; j < chunk_columns(time, chunk); j++)
    for (int i = 0; i < DENOISE_N_TAU; i++) {
      const int64_t first = chunk * DENOISE_LEVELS + j * FACET_LANES;
      const facet_real *row[FACET_LANES];
      facet_denoise_rows(time->d_row[i] + first * d, d, column_levels(time, first), time->d_row[i] + time->n_levels * d,
                         row);
      facet_vector_get()->lanes->load(d, row, facet_lanes_column(chunk_lanes(time->d_tau[i], d, chunk), j));
    }
}

/* dτ and dz of a chunk, and all that the weights' gradients multiply with. */
static void chunk_backward(const facet_denoise_size *size, const facet_denoise_weights *weights,
                           facet_denoise_time *time, int64_t chunk) {
  const facet_lane_kernels *lanes = facet_vector_get()->lanes;
  const facet_real *const *w = weights->value, *const *block_1 = w + DENOISE_N_SHARED;
  const int64_t d = size->d, columns = chunk_columns(time, chunk);
  const facet_lanes z = chunk_lanes(time->z, 4 * d, chunk), d_z = chunk_lanes(time->d_z, 4 * d, chunk);
  facet_lanes d_tau[DENOISE_N_TAU];
  for (int i = 0; i < DENOISE_N_TAU; i++) d_tau[i] = chunk_lanes(time->d_tau[i], d, chunk);
  load_gradients(size, time, chunk);
  product(d, d, columns, block_1[DENOISE_SELF_Q], NULL, d_tau[DENOISE_TAU_Q], d_tau[DENOISE_TAU], d_tau[DENOISE_TAU]);
  product(d, d, columns, block_1[DENOISE_SELF_V], NULL, d_tau[DENOISE_TAU_V], d_tau[DENOISE_TAU], d_tau[DENOISE_TAU]);
  product(4 * d, d, columns, w[DENOISE_TIME_1_WEIGHT], NULL, d_tau[DENOISE_TAU], none, d_z);
  for (int64_t f = 0; f < 4 * d; f++)
    facet_activation_derive(FACET_ACTIVATION_SWISH, columns * FACET_LANES, z.at + f * z.stride, NULL,
                            d_z.at + f * d_z.stride, false, d_z.at + f * d_z.stride);
  for (int i = 0; i < DENOISE_N_TAU; i++)
    lanes->pack(d, columns, d_tau[i], time->packed[i] + chunk * facet_lanes_packed(d, DENOISE_LEVEL_COLUMNS));
  lanes->pack(4 * d, columns, d_z, time->packed_dz + chunk * facet_lanes_packed(4 * d, DENOISE_LEVEL_COLUMNS));
}

/* gradient [m, n] += Σ_levels x yᵀ for x of m features and y of n, which is packed. */
static void weight_backward(const facet_denoise_time *time, int64_t m, int64_t n, facet_real *x,
                            const facet_real *packed, facet_real *gradient) {
  if (!gradient) return;
#pragma omp parallel for schedule(static) if (n_chunks(time->n_levels) > 1)
  for (int64_t first = 0; first < m; first += ROWS)
    for (int64_t chunk = 0; chunk < n_chunks(time->n_levels); chunk++) {
      facet_lanes rows = chunk_lanes(x, m, chunk);
      rows.at += first * rows.stride;
      facet_vector_get()->lanes->gradient(m - first < ROWS ? m - first : ROWS, n, chunk_columns(time, chunk), rows,
                                          packed + chunk * facet_lanes_packed(n, DENOISE_LEVEL_COLUMNS),
                                          gradient + first * n);
    }
}

static void bias_backward(const facet_denoise_time *time, int64_t n, facet_real *dy, facet_real *gradient) {
  for (int64_t f = 0; gradient && f < n; f++)
    for (int64_t chunk = 0; chunk < n_chunks(time->n_levels); chunk++) {
      const facet_lanes rows = chunk_lanes(dy, n, chunk);
      for (int64_t lane = 0; lane < chunk_columns(time, chunk) * FACET_LANES; lane++)
        gradient[f] += rows.at[f * rows.stride + lane];
    }
}

void facet_denoise_time_backward(const facet_denoise_size *size, const facet_denoise_weights *weights,
                                 facet_denoise_time *time, facet_real *const *gradient) {
  const int64_t d = size->d;
  facet_real *const *block_1 = gradient + DENOISE_N_SHARED, *const *packed = time->packed;
  for (int i = 0; i < DENOISE_N_TAU; i++)
    memset(time->d_row[i] + time->n_levels * d, 0, (size_t)d * sizeof *time->d_row[i]);
#pragma omp parallel for schedule(static) if (n_chunks(time->n_levels) > 1)
  for (int64_t chunk = 0; chunk < n_chunks(time->n_levels); chunk++) chunk_backward(size, weights, time, chunk);
  weight_backward(time, d, d, time->tau[DENOISE_TAU], packed[DENOISE_TAU_Q], block_1[DENOISE_SELF_Q]);
  weight_backward(time, d, d, time->tau[DENOISE_TAU], packed[DENOISE_TAU_V], block_1[DENOISE_SELF_V]);
  weight_backward(time, 4 * d, d, time->hidden, packed[DENOISE_TAU], gradient[DENOISE_TIME_1_WEIGHT]);
  bias_backward(time, d, time->d_tau[DENOISE_TAU], gradient[DENOISE_TIME_1_BIAS]);
  weight_backward(time, d, 4 * d, time->position, time->packed_dz, gradient[DENOISE_TIME_0_WEIGHT]);
  bias_backward(time, 4 * d, time->d_z, gradient[DENOISE_TIME_0_BIAS]);
}
