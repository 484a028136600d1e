#include "cpu/columns.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

Test(columns, statistics) {
  facet_real x[] = {0, 7, 2, 7, 4, 7, 6, 7, 999, 999}, valid[] = {1, 1, 1, 1, 0};
  double scratch[FACET_COLUMNS_BLOCKS * 2], mean[2], variance[2];
  cr_assert_eq(facet_columns_scratch_bytes(1, 2), sizeof scratch);
  cr_assert_eq(facet_columns_statistics(5, 2, x, valid, scratch, mean, variance), 4);
  cr_assert(mean[0] == 3 && mean[1] == 7 && variance[0] == 5 && variance[1] == 0);
  memset(valid, 0, sizeof valid);
  cr_assert_eq(facet_columns_statistics(5, 2, x, valid, scratch, mean, variance), 0);
  cr_assert(mean[0] == 0 && variance[0] == 0);
  cr_assert_eq(facet_columns_statistics(0, 2, x, valid, scratch, mean, variance), 0);
  cr_assert(mean[1] == 0 && variance[1] == 0);
}

/* A mean that is large against the deviation: one pass in float would lose it. */
Test(columns, large_mean) {
  enum { ROWS = 5000 };
  facet_real x[ROWS], valid[ROWS];
  double scratch[FACET_COLUMNS_BLOCKS], mean, variance;
  for (int i = 0; i < ROWS; i++) x[i] = 10000 + (facet_real)(i % 2), valid[i] = 1;
  facet_columns_statistics(ROWS, 1, x, valid, scratch, &mean, &variance);
  cr_assert(fabs(mean - 10000.5) < 1e-9 && fabs(variance - 0.25) < 1e-9, "%.12g, %.12g", mean, variance);
}

Test(columns, threads_do_not_matter) {
  enum { ROWS = 3001, WIDTH = 300 };
  facet_real *x = malloc(ROWS * WIDTH * sizeof *x), valid[ROWS];
  double mean[2][WIDTH], variance[2][WIDTH];
  double *scratch = malloc(facet_columns_scratch_bytes(1, WIDTH));
  for (int i = 0; i < ROWS * WIDTH; i++) x[i] = (facet_real)(1.0 / (1 + i % 977));
  for (int i = 0; i < ROWS; i++) valid[i] = i % 7 > 0;
  for (int n_threads = 1; n_threads <= 2; n_threads++) {
    omp_set_num_threads(n_threads);
    facet_columns_statistics(ROWS, WIDTH, x, valid, scratch, mean[n_threads - 1], variance[n_threads - 1]);
  }
  cr_assert(!memcmp(mean[0], mean[1], sizeof mean[0]) && !memcmp(variance[0], variance[1], sizeof variance[0]));
  cr_assert(mean[0][0] > 0 && variance[0][0] > 0);
  free(x);
  free(scratch);
}
