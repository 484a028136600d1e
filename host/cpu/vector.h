/* Vector kernels: one source (vector/vector.c) compiled for three instruction sets, chosen at run time.
 *
 * Every kernel is serial and works on a range, so that callers split work over threads. exp and its relatives are own
 * polynomials: their bits do not depend on libm, and differ between instruction sets by a few ulp at most (fused
 * multiply-adds). All handle infinities and keep NaN. */
#ifndef FACET_CPU_VECTOR_H
#define FACET_CPU_VECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/attend.h"
#include "cpu/lanes.h"
#include "cpu/norms.h"
#include "cpu/route.h"
#include "cpu/rows.h"
#include "cpu/scatter.h"
#include "facet/real.h"
#include "facet/status.h"

/* One step of Adam or AdamW. g' = scale·g + l2·w; m ← β1 m + (1 − β1) g'; v ← β2 v + (1 − β2) g'²;
 * w ← w − decay·w − rate·m/(√v·root + eps), with rate = lr/(1 − β1^t), root = 1/√(1 − β2^t), decay = lr·λ (AdamW). */
typedef struct facet_adam_step {
  facet_real scale, l2, decay, rate, root, beta1, beta2, eps;
} facet_adam_step;

/* One step of Adagrad. g' = scale·g + l2·w; a ← a + g'²; w ← w − rate·g'/(√a + eps). */
typedef struct facet_adagrad_step {
  facet_real scale, l2, rate, eps;
} facet_adagrad_step;

enum { FACET_VECTOR_COLUMNS = 8 };

typedef struct facet_vector {
  const char *name; /* "avx2" */

  /* Elementwise over n; y may be x. */
  void (*exp)(int64_t n, const facet_real *x, facet_real *y);
  void (*sigmoid)(int64_t n, const facet_real *x, facet_real *y);
  void (*softplus)(int64_t n, const facet_real *x, facet_real *y); /* log(1 + e^x) */
  void (*tanh)(int64_t n, const facet_real *x, facet_real *y);

  /* y = x rounded to bf16 (its upper 16 bits), to nearest, ties to even; NaN stays. Of floats, in both builds. */
  void (*to_bf16)(int64_t n, const float *x, uint16_t *y);

  /* y += a x. */
  void (*axpy)(int64_t n, facet_real a, const facet_real *x, facet_real *y);
  /* y = a y. */
  void (*scale)(int64_t n, facet_real a, facet_real *y);
  /* Σ x y, summed in 16 lanes: the same order for every instruction set. */
  facet_real (*dot)(int64_t n, const facet_real *x, const facet_real *y);
  /* The largest of n ≥ 0 numbers: −∞ without any; NaN are passed over. */
  facet_real (*max)(int64_t n, const facet_real *x);
  /* y = exp(x − shift); returns Σ y, summed in 16 lanes. y may be x. */
  facet_real (*exp_sum)(int64_t n, facet_real shift, const facet_real *x, facet_real *y);
  /* Σ x², in double. */
  double (*square_sum)(int64_t n, const facet_real *x);
  /* x[i, :] += b for `rows` rows of `width`. */
  void (*add_row)(int64_t rows, int64_t width, const facet_real *b, facet_real *x);
  /* out[j·stride + i] = Σ_k x[i, k] w[k, j] for i < rows, j < n ≤ FACET_VECTOR_COLUMNS; x [rows, width],
   * w [width, FACET_VECTOR_COLUMNS]. Every sum runs in the order of k: equal rows give equal bits, wherever they stand. */
  void (*project)(int64_t rows, int64_t width, int64_t n, const facet_real *x, const facet_real *w, int64_t stride,
                  facet_real *out);

  void (*adam)(const facet_adam_step *step, int64_t n, const facet_real *g, facet_real *m, facet_real *v,
               facet_real *w);
  void (*adagrad)(const facet_adagrad_step *step, int64_t n, const facet_real *g, facet_real *a, facet_real *w);

  const facet_norms *norms;        /* of LayerNorm, BatchNorm and Dice */
  const facet_rows *rows;          /* products of small matrices */
  const facet_route *route;        /* sums over the behaviours that are routed to channels */
  const facet_scatter *scatter;    /* sums of rows by slot */
  const facet_attend *attend;      /* attention of many queries */
  const facet_lane_kernels *lanes; /* kernels on sample lanes */
  /* The same with products of factors in bf16, for CPUs with AVX512-BF16 and with AMX; NULL: none. */
  const facet_lane_kernels *lanes_bf16, *lanes_amx;
} facet_vector;

/* The kernels in use: those named by FACET_ISA when facet_vector_select was called, else the best this CPU has. */
const facet_vector *facet_vector_get(void);

/* Its kernels on sample lanes, with bf16 those whose products have factors in bf16, if it and this CPU have them. */
const facet_lane_kernels *facet_vector_lanes(bool bf16);

/* Applies the switch FACET_ISA (facet/environment.h); FACET_ERROR_USAGE if this CPU lacks it. Called when the CPU
 * backend is opened, before any kernel runs. */
facet_status facet_vector_select(void);

/* Kernels of an instruction set by name; NULL if the name is unknown or the CPU lacks it. */
const facet_vector *facet_vector_find(const char *name);

#endif
