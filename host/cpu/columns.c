/* Sums over rows in a fixed partition. */
#include "cpu/columns.h"

#include <string.h>

#include "cpu/vector.h"

enum { MIN_BLOCK_ROWS = 32 };

size_t facet_columns_scratch_bytes(int64_t n_sums, int64_t width) {
  return (size_t)(FACET_COLUMNS_BLOCKS * n_sums * width) * sizeof(double);
}

void facet_columns_reduce(int64_t rows, int64_t width, int64_t n_sums, facet_columns_kernel *kernel,
                          const void *context, double *scratch, double *out) {
  int64_t n = n_sums * width;
  int64_t block = (rows + FACET_COLUMNS_BLOCKS - 1) / FACET_COLUMNS_BLOCKS;
  if (block < MIN_BLOCK_ROWS) block = MIN_BLOCK_ROWS;
  int64_t n_blocks = rows > 0 ? (rows + block - 1) / block : 1;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n_blocks; i++) {
    double *sums = scratch + i * n;
    memset(sums, 0, (size_t)n * sizeof *sums);
    int64_t last = (i + 1) * block < rows ? (i + 1) * block : rows;
    kernel(context, i * block, last, sums);
  }
#pragma omp parallel for schedule(static) if (n >= 256)
  for (int64_t j = 0; j < n; j++) {
    double sum = 0;
    for (int64_t i = 0; i < n_blocks; i++) sum += scratch[i * n + j];
    out[j] = sum; /* out may be block 0: column j of it has been read */
  }
}

typedef struct columns {
  int64_t width;
  const facet_real *x, *valid;
  const double *mean;
} columns;

static void sum_rows(const void *context, int64_t first, int64_t last, double *sums) {
  const columns *c = context;
  facet_vector_get()->norms->sum(last - first, c->width, c->x + first * c->width, c->valid + first, sums);
}

static void sum_squares(const void *context, int64_t first, int64_t last, double *sums) {
  const columns *c = context;
  facet_vector_get()->norms->square_sum(last - first, c->width, c->x + first * c->width, c->valid + first, c->mean,
                                        sums);
}

int64_t facet_columns_statistics(int64_t rows, int64_t width, const facet_real *x, const facet_real *valid,
                                 double *scratch, double *mean, double *variance) {
  int64_t n = 0;
  for (int64_t i = 0; i < rows; i++) n += valid[i] != 0;
  double inverse = n ? 1.0 / (double)n : 0;
  columns context = {.width = width, .x = x, .valid = valid, .mean = mean};
  facet_columns_reduce(rows, width, 1, sum_rows, &context, scratch, mean);
  for (int64_t j = 0; j < width; j++) mean[j] *= inverse;
  facet_columns_reduce(rows, width, 1, sum_squares, &context, scratch, variance);
  for (int64_t j = 0; j < width; j++) variance[j] *= inverse;
  return n;
}
