/* The parts of the operator denoise (host/ops/denoise.c): its weights, its time table and one block.
 *
 * A block is FACET_LANES samples (cpu/lanes.h) with some of their c channels, and goes through all steps while in cache.
 * Channel i is a sequence of c tokens in which row i, the channel's own, is noised. Arrays are matrices of lanes, written
 * [features][columns]: a column is a channel, or a token of a channel in the order [channels, c]. Four savings are
 * exact, and a reference without them is in tests/ops/denoise_reference.c:
 *   1. Cross-attention over one key adds (o_i W_v) W_o to every row, whatever the step: once per channel and layer.
 *   2. Nothing stands between the tokens and the projections of block 1, so those of the clean tokens are made once per
 *      sample and shared by its channels and steps. τ adds τ W_q to the queries and τ W_v after the attention, whose
 *      weights sum to 1; τ W_k moves all scores of a query alike and drops out of the softmax.
 *   3. Only row i is read after the last block, and everything else of the last block is made for row i alone.
 *   4. Its one query meets all keys, so that the weights go to the query's side: q_i·(W_k h_j) = (W_kᵀ q_i)·h_j, and
 *      Σ_j p_j (W_v h_j) = W_v Σ_j p_j h_j, per head. No key or value is made. */
#ifndef FACET_CPU_DENOISE_H
#define FACET_CPU_DENOISE_H

#include "cpu/lanes.h"
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

/* Matrices with their transposes: a product multiplies with [outputs, inputs], which in forward is the transpose. */
typedef struct facet_denoise_weights {
  const facet_real *value[DENOISE_MAX_WEIGHTS];
  facet_real *transpose[DENOISE_MAX_WEIGHTS]; /* NULL where there is no matrix */
  /* both for lane kernels that round factors, if these do */
  uint32_t *value_pairs[DENOISE_MAX_WEIGHTS], *transpose_pairs[DENOISE_MAX_WEIGHTS];
  bool rounded;
} facet_denoise_weights;

/* Matrix k and its transpose for a product. */
static inline facet_lanes_weights facet_denoise_matrix(const facet_denoise_weights *weights, int64_t k) {
  return (facet_lanes_weights){.at = weights->value[k], .pairs = weights->rounded ? weights->value_pairs[k] : NULL};
}
static inline facet_lanes_weights facet_denoise_transpose(const facet_denoise_weights *weights, int64_t k) {
  return (facet_lanes_weights){.at = weights->transpose[k],
                               .pairs = weights->rounded ? weights->transpose_pairs[k] : NULL};
}

/* How blocks sum the gradient of weight k: vectors and the flag per lane; matrices as they are or, where several products
 * share an input that is packed once, transposed. None for the time weights and for what is dead. */
typedef enum {
  DENOISE_SUM_NONE,
  DENOISE_SUM_LANES, /* [elements][FACET_LANES] */
  DENOISE_SUM_MATRIX,
  DENOISE_SUM_TRANSPOSE
} facet_denoise_sum;
facet_denoise_sum facet_denoise_sum_of(const facet_denoise_size *size, int k);

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* Gives out memory in lines of 64 bytes; with memory NULL it only counts. */
typedef struct facet_denoise_placer {
  char *memory;
  size_t n_bytes;
} facet_denoise_placer;
void *facet_denoise_place(facet_denoise_placer *placer, int64_t n, size_t element_bytes);
static inline facet_real *facet_denoise_place_real(facet_denoise_placer *placer, int64_t n) {
  return facet_denoise_place(placer, n, sizeof(facet_real));
}
facet_lanes facet_denoise_place_lanes(facet_denoise_placer *placer, int64_t features, int64_t columns);

/* Pointers to one row per lane: of n samples, `step` numbers apart; lanes without a sample get `rest`. */
void facet_denoise_rows(const facet_real *first, int64_t step, int64_t n, const facet_real *rest,
                        const facet_real *row[FACET_LANES]);

/* ---- time ------------------------------------------------------------------------------------------------------- */

/* One row per distinct level: τ = W₂ swish(W₁ pe + b₁) + b₂, and of block 1 τ W_q and τ W_v. Levels stand in lanes, in
 * chunks of DENOISE_LEVELS that begin anew: [chunk][features][DENOISE_LEVELS]. */
enum { DENOISE_TAU, DENOISE_TAU_Q, DENOISE_TAU_V, DENOISE_N_TAU };
enum { DENOISE_LEVEL_COLUMNS = 4, DENOISE_LEVELS = DENOISE_LEVEL_COLUMNS * FACET_LANES };
typedef struct facet_denoise_time {
  int64_t n_levels;
  int32_t *level;                                /* [n_levels] */
  facet_real *row[DENOISE_N_TAU];                /* [n_levels, d] each */
  facet_real *d_row[DENOISE_N_TAU];              /* their gradients, and one row of zeros */
  facet_real *position;                          /* pe, d features */
  facet_real *z, *hidden;                        /* W₁ pe + b₁, and its swish: 4d features */
  facet_real *tau[DENOISE_N_TAU];                /* the rows in lanes: d features */
  facet_real *d_tau[DENOISE_N_TAU], *d_z;        /* gradients */
  facet_real *packed[DENOISE_N_TAU], *packed_dz; /* gradients, for products */
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

/* ---- one block -------------------------------------------------------------------------------------------------- */

/* Columns that go through the part of a layer after the attention together: a chunk stays in the first cache. */
enum { DENOISE_CHUNK = 4 };

/* What a call leaves for its backward: x, and in every layer the first and the third norm's x̂ and s. With them backward
 * repeats the attention and the first half of the feed-forward layer, but neither W_o nor W_b. The norms stand in chunks,
 * [chunk][d][DENOISE_CHUNK], so that they are read and written from front to back. */
enum { DENOISE_KEPT_NORM_1, DENOISE_KEPT_NORM_3, DENOISE_N_KEPT };
typedef struct facet_denoise_kept {
  facet_lanes x; /* [d][channels] */
  struct {
    facet_real *normal[DENOISE_N_KEPT], *inverse[DENOISE_N_KEPT]; /* of channels · rows columns; inverse: [columns] */
  } layer[FACET_DENOISE_MAX_LAYERS];
} facet_denoise_kept;

/* x̂ [d] of the chunk of columns that begins with column `first`. */
static inline facet_lanes facet_denoise_kept_normal(const facet_denoise_size *size, const facet_denoise_kept *kept,
                                                    int64_t l, int which, int64_t first) {
  return (facet_lanes){kept->layer[l].normal[which] + first * size->d * FACET_LANES, DENOISE_CHUNK * FACET_LANES};
}

/* `rows` of a layer: the tokens of a channel that go on, c or, in the last layer, 1. */
typedef struct facet_denoise_block {
  const facet_denoise_size *size;
  const facet_denoise_weights *weights;
  const facet_lane_kernels *lanes;
  facet_real *const *gradient; /* sums by weight, added to (facet_denoise_sum) */
  int64_t first_channel, n_channels, n_samples;
  /* τ and its kind at the call's levels, and their gradients, added to: [d][channels], or [d][1] for all channels alike
   * (tau_step 0); set by the caller */
  facet_lanes tau[DENOISE_N_TAU], d_tau[DENOISE_N_TAU];
  int64_t tau_step;
  /* once per block: clean tokens and their queries [d][c]; keys and values of block 1 [d][channels · c], where a call
   * only fills in the noised token; cross-attention [d][channels] by layer */
  facet_lanes o, clean, clean_q, clean_k, clean_v, first_k, first_v;
  facet_lanes cross_value[FACET_DENOISE_MAX_LAYERS], cross[FACET_DENOISE_MAX_LAYERS]; /* W_v o, W_o (W_v o) */
  /* once per call: the noised token [d][channels] */
  facet_lanes noised, noised_q, noised_k, noised_v;
  /* of the present layer */
  facet_lanes in;             /* [d][channels · c] */
  facet_lanes own;            /* [d][channels]: the row of `in` that goes on, in the last layer */
  facet_lanes q, attended;    /* [d][channels · rows] */
  facet_lanes k, v;           /* [d][channels · c]: between the first and the last layer */
  facet_real *p;              /* [channels][heads][rows][c] columns */
  facet_lanes key_q, mixed;   /* [heads · d][channels]: the last layer's W_kᵀ q and Σ p h by head */
  facet_lanes out;            /* [d][channels]: of the last layer, before the output projection */
  facet_lanes middle, hidden; /* [d], [width][DENOISE_CHUNK]: after the second norm, after relu */
  facet_lanes normal_2;       /* [d][DENOISE_CHUNK] */
  facet_real *inverse_2;
  /* gradients */
  facet_lanes d_clean, d_clean_q, d_clean_k, d_clean_v, d_cross[FACET_DENOISE_MAX_LAYERS];
  facet_lanes d_noised, d_noised_q, d_noised_k, d_noised_v;
  facet_lanes d_in;                                /* [d][channels · c]: of a layer's output, of its input */
  facet_lanes d_own;                               /* [d][channels]: the same of the last layer's own row */
  facet_lanes d_q, d_k, d_v, d_attended, d_hidden; /* as above */
  facet_lanes d_key_q, d_mixed;
  facet_real *d_p, *packed;
} facet_denoise_block;

/* Places the arrays for blocks of max_channels channels in memory (NULL: only counts); returns the bytes. */
size_t facet_denoise_block_place(const facet_denoise_size *size, int64_t max_channels, char *memory,
                                 facet_denoise_block *block);
/* The same for what calls keep, x alone or x and the norms. */
size_t facet_denoise_kept_place_x(const facet_denoise_size *size, int64_t max_channels, char *memory,
                                  facet_denoise_kept *kept);
size_t facet_denoise_kept_place_norms(const facet_denoise_size *size, int64_t max_channels, char *memory,
                                      facet_denoise_kept *kept);

/* Sets the block up for channels first … first + n − 1 of n_samples samples: r, o [samples, c, d]. */
void facet_denoise_block_begin(facet_denoise_block *block, int64_t first, int64_t n, int64_t n_samples,
                               const facet_real *r, const facet_real *o);
/* f = f(kept->x, …) for every channel, [d][channels]; fills in kept's norms. */
void facet_denoise_block_call(facet_denoise_block *block, const facet_denoise_kept *kept, facet_lanes f);

/* After begin: starts the sums of gradients. */
void facet_denoise_block_begin_backward(facet_denoise_block *block);
/* Gradients of the call that left `kept`: d_x [d][channels] and the block's d_tau are added to. */
void facet_denoise_block_call_backward(facet_denoise_block *block, const facet_denoise_kept *kept, facet_lanes d_f,
                                       facet_lanes d_x);
/* Adds to d_r and d_o [samples, c, d] (NULL: not wanted). */
void facet_denoise_block_end_backward(facet_denoise_block *block, facet_real *d_r, facet_real *d_o);

/* ---- one layer (used by the block) ------------------------------------------------------------------------------ */

int64_t facet_denoise_layer_rows(const facet_denoise_size *size, int64_t l);
/* The last of several layers, which has one query a channel. */
static inline bool facet_denoise_one_query(const facet_denoise_size *size, int64_t l) {
  return l > 0 && l == size->n_layers - 1;
}
/* From q, k and v of layer l: p, attended. */
void facet_denoise_layer_attend(facet_denoise_block *block, int64_t l);
void facet_denoise_layer_attend_backward(facet_denoise_block *block, int64_t l);
/* The same of the last layer, from `in`: own, q, attended; and from d_own by the sum before the first norm to d_in. */
void facet_denoise_last_attend(facet_denoise_block *block, int64_t l);
void facet_denoise_last_attend_backward(facet_denoise_block *block, int64_t l);
/* From `in` or `own` and attended of layer l to its output, `in` of the next layer or `out`. */
void facet_denoise_layer_forward(facet_denoise_block *block, int64_t l, const facet_denoise_kept *kept);
/* After attend: from the gradient of the layer's output, d_in or d_own, in place to that of `in` or `own` by the sum
 * before the first norm; and d_attended. */
void facet_denoise_layer_backward(facet_denoise_block *block, int64_t l, const facet_denoise_kept *kept);

static inline const facet_real *facet_denoise_weight_of(const facet_denoise_block *block, int64_t l, int k) {
  return block->weights->value[DENOISE_N_SHARED + DENOISE_N_LAYER * l + k];
}
static inline facet_lanes_weights facet_denoise_matrix_of(const facet_denoise_block *block, int64_t l, int k) {
  return facet_denoise_matrix(block->weights, DENOISE_N_SHARED + DENOISE_N_LAYER * l + k);
}
static inline facet_lanes_weights facet_denoise_transpose_of(const facet_denoise_block *block, int64_t l, int k) {
  return facet_denoise_transpose(block->weights, DENOISE_N_SHARED + DENOISE_N_LAYER * l + k);
}
static inline facet_real *facet_denoise_gradient_of(const facet_denoise_block *block, int64_t l, int k) {
  return block->gradient[DENOISE_N_SHARED + DENOISE_N_LAYER * l + k];
}

/* y = Wᵀ x and dx = W dy [+ add] for weight k of layer l, d × d; add.at NULL: none. */
void facet_denoise_project(const facet_denoise_block *block, int64_t columns, int64_t l, int k, facet_lanes x,
                           facet_lanes y);
void facet_denoise_project_back(const facet_denoise_block *block, int64_t columns, int64_t l, int k, facet_lanes dy,
                                facet_lanes add, facet_lanes dx);
/* The gradient of such a weight that is summed transposed: x in block->packed. */
void facet_denoise_project_weight(const facet_denoise_block *block, int64_t columns, int64_t l, int k, facet_lanes dy);

/* The columns of channel i's own token in x [d][channels · c]. */
static inline facet_lanes facet_denoise_own_token(const facet_denoise_block *block, int64_t i, facet_lanes x) {
  return facet_lanes_column(x, i * block->size->c + block->first_channel + i);
}
void facet_denoise_zero(int64_t d, facet_lanes x);
void facet_denoise_copy(int64_t d, int64_t columns, facet_lanes x, facet_lanes y);

#endif
