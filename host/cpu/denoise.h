/* The parts of the operator denoise (host/ops/denoise.c): its weights, its time table and one block of samples.
 *
 * A unit is one (sample, channel): the sequence of c tokens in which row i, the channel's, is noised. Three savings are
 * exact, and a reference without them is in tests/ops/denoise_reference.c:
 *   1. Cross-attention over one key adds (o_i W_v) W_o to every row, whatever the step: once per unit and layer.
 *   2. Nothing stands between the tokens and the projections of block 1, so those of the clean tokens are made once per
 *      sample and shared by its channels and steps. τ adds τ W_q to the queries and τ W_v after the attention, whose
 *      weights sum to 1; τ W_k moves all scores of a query alike and drops out of the softmax.
 *   3. Only row i is read after the last block: keys and values of all rows, everything else of row i. */
#ifndef FACET_CPU_DENOISE_H
#define FACET_CPU_DENOISE_H

#include "cpu/rows.h"
#include "facet/ops.h"

/* ---- weights ---------------------------------------------------------------------------------------------------- */

enum { FACET_DENOISE_MAX_LAYERS = 6 }; /* 4 + 7 + 18·6 inputs ≤ FACET_OP_MAX_INPUTS */

/* Weights are numbered: those of the denoiser, then 18 per layer. */
enum {
  DENOISE_TIME_0_WEIGHT,
  DENOISE_TIME_0_BIAS,
  DENOISE_TIME_1_WEIGHT,
  DENOISE_TIME_1_BIAS,
  DENOISE_FLAG, /* [2, d]: clean, noised */
  DENOISE_OUT_WEIGHT,
  DENOISE_OUT_BIAS,
  DENOISE_N_SHARED
};
enum {
  DENOISE_SELF_Q,
  DENOISE_SELF_K,
  DENOISE_SELF_V,
  DENOISE_SELF_O,
  DENOISE_CROSS_Q,
  DENOISE_CROSS_K,
  DENOISE_CROSS_V,
  DENOISE_CROSS_O,
  DENOISE_NORM_1_GAMMA,
  DENOISE_NORM_1_BETA,
  DENOISE_NORM_2_GAMMA,
  DENOISE_NORM_2_BETA,
  DENOISE_NORM_3_GAMMA,
  DENOISE_NORM_3_BETA,
  DENOISE_FFN_0_WEIGHT,
  DENOISE_FFN_0_BIAS,
  DENOISE_FFN_1_WEIGHT,
  DENOISE_FFN_1_BIAS,
  DENOISE_N_LAYER
};
enum { DENOISE_MAX_WEIGHTS = DENOISE_N_SHARED + DENOISE_N_LAYER * FACET_DENOISE_MAX_LAYERS };

typedef struct facet_denoise_size {
  int64_t c, d, width; /* channels; their width; width of the feed-forward layer */
  int64_t n_layers, heads;
  facet_real scale; /* of the scores */
  bool flag, projection;
} facet_denoise_size;

/* One weight: its name below the denoiser's ("0.self.q.weight"), shape and initial value. */
typedef struct facet_denoise_weight {
  char name[32];
  facet_shape shape;
  facet_init init;
  bool decay;
} facet_denoise_weight;

static inline int facet_denoise_n_weights(const facet_denoise_size *size) {
  return DENOISE_N_SHARED + DENOISE_N_LAYER * (int)size->n_layers;
}
/* Describes weight k; false if this denoiser has none (flag, projection). */
bool facet_denoise_describe(const facet_denoise_size *size, int k, facet_denoise_weight *weight);

/* Matrices with their transposes, which backward multiplies with; NULL where there is no weight. */
typedef struct facet_denoise_weights {
  const facet_real *value[DENOISE_MAX_WEIGHTS];
  facet_real *transpose[DENOISE_MAX_WEIGHTS];
} facet_denoise_weights;

/* ---- time ------------------------------------------------------------------------------------------------------- */

/* One row per distinct level: τ = W₂ swish(W₁ pe + b₁) + b₂, and of block 1 τ W_q and τ W_v. */
enum { DENOISE_TAU, DENOISE_TAU_Q, DENOISE_TAU_V, DENOISE_N_TAU };
typedef struct facet_denoise_time {
  int64_t n_levels;
  int32_t *level;                         /* [n_levels] */
  facet_real *position;                   /* pe [n_levels, d] */
  facet_real *z, *hidden;                 /* [n_levels, 4d]: W₁ pe + b₁, and its swish */
  facet_real *row[DENOISE_N_TAU];         /* [n_levels, d] each */
  facet_real *d_row[DENOISE_N_TAU], *d_z; /* gradients: [n_levels, d] each, [n_levels, 4d] */
} facet_denoise_time;

/* Places the arrays for at most n_levels levels in memory (NULL: only counts); returns the bytes. */
size_t facet_denoise_time_place(const facet_denoise_size *size, int64_t n_levels, char *memory,
                                facet_denoise_time *time);
/* Fills the rows of level[0 … n_levels − 1]. */
void facet_denoise_time_forward(const facet_denoise_size *size, const facet_denoise_weights *weights,
                                facet_denoise_time *time);
/* From d_row: adds to the gradients of the time weights and of block 1's W_q and W_v that are not NULL. */
void facet_denoise_time_backward(const facet_denoise_size *size, const facet_denoise_weights *weights,
                                 facet_denoise_time *time, facet_real *const *gradient);

/* ---- one block of samples --------------------------------------------------------------------------------------- */

/* What a layer keeps from its forward to its backward; `rows` per unit: c, in the last layer 1. */
typedef struct facet_denoise_layer {
  int64_t rows;
  facet_real *in;                     /* [units, c, d]: `out` of the layer below; block 1 has none */
  facet_real *own;                    /* [units, rows, d]: the rows of `in` that go on */
  facet_real *q, *k, *v, *p;          /* [units, rows, d], [units, c, d] twice, [units, heads, rows, c] */
  facet_real *attended;               /* [units, rows, d] */
  facet_real *normal[3], *inverse[3]; /* [units, rows, d], [units, rows] */
  facet_real *middle, *hidden, *out;  /* after the second norm, after relu [.., width], after the third norm */
} facet_denoise_layer;

/* Gradients at the same places, of one layer at a time. */
typedef struct facet_denoise_layer_gradient {
  facet_real *out;           /* [units, c, d]: of `out`, then of what stands before each norm, at last of `own` */
  facet_real *in;            /* [units, c, d] */
  facet_real *q, *k, *v, *p; /* as above */
  facet_real *attended, *hidden;
} facet_denoise_layer_gradient;

typedef struct facet_denoise_block {
  const facet_denoise_size *size;
  const facet_denoise_weights *weights;
  const facet_denoise_time *time;
  facet_real *const *gradient; /* of the weights, added to; NULL for time weights and where there is none */
  int64_t n_samples, n_units;
  int32_t *level; /* [units]: row of the time table; set by the caller */
  /* once per block: clean tokens and their projections [samples, c, d]; cross-attention [layer][units, d] */
  const facet_real *o;
  facet_real *clean, *clean_q, *clean_k, *clean_v;
  facet_real *cross_value[FACET_DENOISE_MAX_LAYERS], *cross[FACET_DENOISE_MAX_LAYERS]; /* o W_v, (o W_v) W_o */
  /* once per call */
  facet_real *noised, *noised_q, *noised_k, *noised_v; /* [units, d] */
  facet_denoise_layer layer[FACET_DENOISE_MAX_LAYERS];
  /* gradients */
  facet_real *d_clean, *d_clean_q, *d_clean_k, *d_clean_v, *d_cross[FACET_DENOISE_MAX_LAYERS];
  facet_real *d_noised, *d_noised_q, *d_noised_k, *d_noised_v;
  facet_denoise_layer_gradient d_layer;
} facet_denoise_block;

/* Places the arrays for n_samples samples in memory (NULL: only counts); returns the bytes. */
size_t facet_denoise_block_place(const facet_denoise_size *size, int64_t n_samples, char *memory,
                                 facet_denoise_block *block);

/* Sets the block up for the next n_samples samples: r, o [samples, c, d]. */
void facet_denoise_block_begin(facet_denoise_block *block, int64_t n_samples, const facet_real *r, const facet_real *o);
/* f = f(x, …) for every unit: x, f [units, d]. */
void facet_denoise_block_call(facet_denoise_block *block, const facet_real *x, facet_real *f);

/* After begin: starts the sums of gradients. */
void facet_denoise_block_begin_backward(facet_denoise_block *block);
/* After the call whose gradient is wanted: d_x [units, d] is added to; d_time [units, DENOISE_N_TAU, d] is written. */
void facet_denoise_block_call_backward(facet_denoise_block *block, const facet_real *d_f, facet_real *d_x,
                                       facet_real *d_time);
/* Adds to d_r and d_o [samples, c, d] (NULL: not wanted). */
void facet_denoise_block_end_backward(facet_denoise_block *block, facet_real *d_r, facet_real *d_o);

/* ---- one layer (used by the block) ------------------------------------------------------------------------------ */

/* From own, q, k and v of layer l to out. */
void facet_denoise_layer_forward(facet_denoise_block *block, int64_t l);
/* From block->d_layer.out: its q, k, v, attended, and in `out` the gradient of own; weight gradients are added. */
void facet_denoise_layer_backward(facet_denoise_block *block, int64_t l);

/* Gives out memory in lines of 64 bytes; with memory NULL it only counts. */
typedef struct facet_denoise_placer {
  char *memory;
  size_t n_bytes;
} facet_denoise_placer;
void *facet_denoise_place(facet_denoise_placer *placer, int64_t n, size_t element_bytes);
static inline facet_real *facet_denoise_place_real(facet_denoise_placer *placer, int64_t n) {
  return facet_denoise_place(placer, n, sizeof(facet_real));
}

#endif
