/* Sums over rows, per column: bias gradients, statistics of BatchNorm and Dice, gain gradients. */
#ifndef FACET_CPU_COLUMNS_H
#define FACET_CPU_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

#include "facet/real.h"

/* Adds the rows first … last − 1 to sums [n_sums × width]. */
typedef void facet_columns_kernel(const void *context, int64_t first, int64_t last, double *sums);

/* Rows are cut into at most FACET_COLUMNS_BLOCKS blocks whose bounds depend on `rows` alone; the kernel runs on each in
 * parallel and the partial sums are added in the order of blocks: the result does not depend on threads.
 * scratch holds facet_columns_scratch_bytes(n_sums, width); out [n_sums × width] is overwritten and may be the start of
 * scratch. */
enum { FACET_COLUMNS_BLOCKS = 32 };
void facet_columns_reduce(int64_t rows, int64_t width, int64_t n_sums, facet_columns_kernel *kernel,
                          const void *context, double *scratch, double *out);
size_t facet_columns_scratch_bytes(int64_t n_sums, int64_t width);

/* Mean and biased variance of each column over the rows with valid ≠ 0, in two passes in double. Returns the number of
 * such rows; with none, mean and variance are 0. scratch as for n_sums = 1. */
int64_t facet_columns_statistics(int64_t rows, int64_t width, const facet_real *x, const facet_real *valid,
                                 double *scratch, double *mean, double *variance);

#endif
