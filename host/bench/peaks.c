/* What this machine can do: the floors of the bench are made of these two numbers. */
#include <omp.h>
#include <string.h>

#include "bench/measure.h"
#include "cpu/gemm.h"
#include "facet/log.h"
#include "facet/memory.h"

/* Short repetitions, so that one of them finds the machine undisturbed. */
enum {
#ifdef FACET_DOUBLE
  PRODUCT_SIZE = 256, /* plain loops */
#else
  PRODUCT_SIZE = 768,
#endif
  PRODUCT_REPETITIONS = 20,
  COPY_BYTES = 1 << 25, /* beyond the caches; read as many, written as many */
  COPY_REPETITIONS = 10
};

static double least(double a, double b) {
  return a < b ? a : b;
}

static double most(double a, double b) {
  return a > b ? a : b;
}

/* FLOP/s of a product of square matrices by all threads. */
static facet_status measure_product(double *flops) {
  const int64_t n = PRODUCT_SIZE;
  facet_real *memory;
  double seconds = 1e30;
  FACET_TRY(FACET_ALLOC(memory, 3 * n * n, "matrices of the bench"));
  for (int64_t i = 0; i < 2 * n * n; i++) memory[i] = (facet_real)(i % 7) - 3;
  facet_status status = FACET_OK;
  for (int i = 0; i < PRODUCT_REPETITIONS && status == FACET_OK; i++) {
    const double start = facet_clock();
    status = facet_gemm(false, false, n, n, n, 1, memory, n, memory + n * n, n, 0, memory + 2 * n * n, n);
    seconds = least(seconds, facet_clock() - start);
  }
  *flops = most(*flops, 2 * (double)n * (double)n * (double)n / seconds);
  facet_memory_free(memory);
  return status;
}

/* Bytes read and written per second by a copy with all threads. */
static facet_status measure_copy(double *bytes) {
  char *memory;
  double seconds = 1e30;
  FACET_TRY(FACET_ALLOC(memory, 2 * (size_t)COPY_BYTES, "copy of the bench"));
  memset(memory, 1, COPY_BYTES);
  for (int i = 0; i < COPY_REPETITIONS; i++) {
    const double start = facet_clock();
#pragma omp parallel
    {
      const size_t part = COPY_BYTES / (size_t)omp_get_num_threads();
      const size_t first = part * (size_t)omp_get_thread_num();
      memcpy(memory + COPY_BYTES + first, memory + first, part);
    }
    seconds = least(seconds, facet_clock() - start);
  }
  *bytes = most(*bytes, 2 * (double)COPY_BYTES / seconds);
  facet_memory_free(memory);
  return FACET_OK;
}

facet_status facet_bench_measure_peaks(facet_bench_peaks *peaks) {
  FACET_TRY(measure_product(&peaks->flops));
  return measure_copy(&peaks->bytes);
}
