/* The operators: one builder per operator, with its formula and shapes. Implementation in host/ops/<op>.c.
 *
 * B: samples; L: sequence slots; K: bag slots; d, n, m: widths. Builders create the operator's parameters under the
 * node's name. `valid` is real [B], 1 or 0. All return the output tensor, or NULL after an error. */
#ifndef FACET_OPS_H
#define FACET_OPS_H

#include "facet/graph.h"

typedef enum facet_activation {
  FACET_ACTIVATION_NONE,
  FACET_ACTIVATION_RELU,
  FACET_ACTIVATION_SIGMOID,
  FACET_ACTIVATION_SWISH, /* x·σ(x) */
  FACET_ACTIVATION_TANH
} facet_activation;
/* NULL-terminated names for option tables, in the order of the enum. */
extern const char *const facet_activation_names[];

/* gather: rows of an embedding table. ids [B] → [B, d]; ids [B, L] → [B, L, d]. Id 0 gives zeros.
 * With bag = true the last axis of ids is a bag: [B, K] → [B, d], [B, L, K] → [B, L, d], the mean or sum over the bag's
 * values with id ≠ 0 (empty bag: zeros). Backward emits (slot, gradient) pairs. */
facet_tensor *facet_gather(facet_graph *graph, const char *name, facet_tensor *table, facet_tensor *ids, bool bag,
                           facet_pooling pooling);

/* The embedding table of a schema feature, "embedding.<name>", shared by name; and a gather from it. */
facet_tensor *facet_embedding_table(facet_graph *graph, int feature, facet_init init);
facet_tensor *facet_embed(facet_graph *graph, int feature, facet_init init);

/* gather_fields: rows of n tables [.., d_i] side by side; ids[i] all [B] or all [B, L] → [B, Σ d_i] or [B, L, Σ d_i].
 * As a concatenation of gathers, without their copies. */
facet_tensor *facet_gather_fields(facet_graph *graph, const char *name, facet_tensor *const *table,
                                  facet_tensor *const *ids, int n);

/* masked_mean: x [B, L, d], length int32 [B] → [B, d]: y_b = (1/max(1, n_b)) Σ_{t < n_b} x_bt, n_b = length[b]. */
facet_tensor *facet_masked_mean(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *length);

/* event_valid: valid [B], length int32 [B] → [B, slots]: 1 for the first length[b] slots of rows with valid = 1, else 0. No
 * gradient. */
facet_tensor *facet_event_valid(facet_graph *graph, const char *name, facet_tensor *valid, facet_tensor *length,
                                int64_t slots);

/* weighted_sum: weight [B, L] or [B, L, 1], x [B, L, d], length int32 [B] → [B, d]: y_b = Σ_{t < n_b} a_bt x_bt,
 * n_b = length[b], a the weights or, with softmax, their softmax over the n_b slots. An empty history gives zeros. */
facet_tensor *facet_weighted_sum(facet_graph *graph, const char *name, facet_tensor *weight, facet_tensor *x,
                                 facet_tensor *length, bool softmax);

/* pair_linear: q [B, d], k [B, L, d], length int32 [B] → [B, L, h]: z_t = [q, k_t, q − k_t, q ⊙ k_t] W + b for the first
 * length[b] slots, 0 for the others. Costs a product of width d per slot, not 4d. <name>.weight [4d, h], <name>.bias [h]. */
facet_tensor *facet_pair_linear(facet_graph *graph, const char *name, facet_tensor *q, facet_tensor *k,
                                facet_tensor *length, int64_t h);

/* linear: x [.., n] → [.., m]: y = act(x W + b), W [n, m] (row-vector convention), b [m] if bias.
 * Parameters <name>.weight, <name>.bias (0). A zeroed weight_init means Glorot uniform; for weights of zero give
 * FACET_INIT_CONSTANT. */
facet_tensor *facet_linear(facet_graph *graph, const char *name, facet_tensor *x, int64_t m, bool bias,
                           facet_activation activation);

/* concat: along the last axis; all other dimensions equal. At most FACET_OP_MAX_INPUTS inputs. */
facet_tensor *facet_concat(facet_graph *graph, const char *name, facet_tensor *const *x, int n);

/* slice: columns first … first + count − 1 of the last axis. */
facet_tensor *facet_slice(facet_graph *graph, const char *name, facet_tensor *x, int64_t first, int64_t count);

/* activation: y = act(x), elementwise. */
facet_tensor *facet_activate(facet_graph *graph, const char *name, facet_tensor *x, facet_activation activation);

/* prelu: y = max(x, 0) + a ⊙ min(x, 0), a [d] per channel (init 0.25), <name>.slope. */
facet_tensor *facet_prelu(facet_graph *graph, const char *name, facet_tensor *x);

/* dice: y = x·(s + a(1 − s)), s = σ((x − μ)/(sd + 1e-9)), sd = √(var + 1e-9), per channel over rows with valid = 1;
 * a [d] init 0. Training uses batch statistics and moves the averages: avg ← momentum·avg + (1 − momentum)·batch for
 * mean and sd; evaluation uses the averages. x [B, .., d], valid [B, ..]. <name>.alpha; states <name>.mean,
 * <name>.sd. */
facet_tensor *facet_dice(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *valid, double momentum);

/* batch_norm: y = γ (x − μ)/√(var + eps) + β per channel over rows with valid = 1 (biased variance, also in the
 * running average: avg ← momentum·avg + (1 − momentum)·batch). x [B, d]. With no valid row the averages stay.
 * <name>.gamma (1), <name>.beta (0); states <name>.mean (0), <name>.variance (1). */
facet_tensor *facet_batch_norm(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *valid,
                               double momentum, double eps);

/* layer_norm: y = γ (x − μ)/√(var + eps) + β over the last axis. <name>.gamma (1), <name>.beta (0). add_norm: of x + z,
 * z like x (NULL: of x), with the parameters <parameters>.gamma and .beta, which nodes may share. */
facet_tensor *facet_layer_norm(facet_graph *graph, const char *name, facet_tensor *x, double eps);
facet_tensor *facet_add_norm(facet_graph *graph, const char *name, const char *parameters, facet_tensor *x,
                             facet_tensor *z, double eps);

/* dropout: training: y = x·m/(1 − p), m ~ Bernoulli(1 − p) from Philox (purpose "dropout/<name>"); evaluation: y = x. */
facet_tensor *facet_dropout(facet_graph *graph, const char *name, facet_tensor *x, double p);

/* bce_logits: z [B] or [B, 1], label, weight, valid [B] → scalar
 * L = Σ v w (softplus(z) − y z) / Σ v w; 0 if Σ v w = 0. */
facet_tensor *facet_bce_logits(facet_graph *graph, const char *name, facet_tensor *logit, facet_tensor *label,
                               facet_tensor *weight, facet_tensor *valid);

/* ---- shapes, attention, random numbers ------------------------------------------------------------------------- */

/* reshape: the same elements in the same order in another shape; the first dimension B stays. */
facet_tensor *facet_reshape(facet_graph *graph, const char *name, facet_tensor *x, facet_shape shape);

/* add: x + z; z has the shape of x, or is [B, d] and is added to every row of its sample of x [B, .., d]. */
facet_tensor *facet_add(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *z);

/* detach: y = x; no gradient flows back (stop-gradient). */
facet_tensor *facet_detach(facet_graph *graph, const char *name, facet_tensor *x);

/* l2_normalize: y = x / max(‖x‖, eps) over the last axis. */
facet_tensor *facet_l2_normalize(facet_graph *graph, const char *name, facet_tensor *x, double eps);

/* row_dot: x, y [.., d] → [..]: Σ_k x_k y_k over the last axis. */
facet_tensor *facet_row_dot(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *y);

/* attention: q [B, Lq, d], k and v [B, Lk, d] → [B, Lq, d]; per head of width d/heads
 *   y = softmax(scale · q kᵀ) v   over the keys with index < n_always + length[b] (length int32 [B]; NULL: all keys).
 * A sample without valid keys gives zeros. No projections: those are linear nodes. In self-attention queries belong to
 * the same rows as keys, Lq = Lk, and the rows that are no keys give zeros. */
facet_tensor *facet_attention(facet_graph *graph, const char *name, facet_tensor *q, facet_tensor *k, facet_tensor *v,
                              facet_tensor *length, int64_t heads, int64_t n_always, double scale);
facet_tensor *facet_self_attention(facet_graph *graph, const char *name, facet_tensor *q, facet_tensor *k,
                                   facet_tensor *v, facet_tensor *length, int64_t heads, int64_t n_always,
                                   double scale);

/* head_linear: per head the product with the head's columns W_h [n, d/heads] of <name>.weight [n, d] (Glorot uniform).
 *   x [B, heads, n] → [B, 1, d]: y_h = x_h W_h;   transposed: x [B, 1, d] → [B, heads, n]: y_h = x_h W_hᵀ
 * With it the one query of a sample attends to rows that have no keys and values of their own (their maps commute with
 * the sums over rows): q_h · (x_t W_h) = (q_h W_hᵀ) · x_t, and Σ p_t (x_t W_h) = (Σ p_t x_t) W_h. */
facet_tensor *facet_head_linear(facet_graph *graph, const char *name, facet_tensor *x, int64_t d);
facet_tensor *facet_head_linear_transposed(facet_graph *graph, const char *name, facet_tensor *x, int64_t n,
                                           int64_t heads);

/* random: standard normals, or with n > 0 integers 0 … n − 1 (int32), of the given shape [B, ..], from Philox with the
 * purpose "random/<name>": training (step, micro-step, position), evaluation the data set's row. Normals: element e of a
 * sample is number e mod 4 of block e/4; integers take 64 bits: half e mod 2 of block e/2. No gradient. */
facet_tensor *facet_random_normal(facet_graph *graph, const char *name, facet_shape shape);
facet_tensor *facet_random_integer(facet_graph *graph, const char *name, facet_shape shape, int64_t n);

/* batch_reduce: mean (over all elements) or minimum of the rows of x [B, ..] with valid = 1 → scalar; 0 without such
 * rows. No gradient: for monitors. */
typedef enum facet_reduction { FACET_REDUCE_MEAN, FACET_REDUCE_MIN } facet_reduction;
facet_tensor *facet_batch_reduce(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *valid,
                                 facet_reduction reduction);

/* ---- multi-interest operators (c channels of width d) ---------------------------------------------------------- */

/* channel_weight: valid, weight [B], n_selected real [B, c] → ω [B, c] = v · w · [n_selected > 0], or v · w where
 * skip_empty is false. No gradient. */
facet_tensor *facet_channel_weight(facet_graph *graph, const char *name, facet_tensor *valid, facet_tensor *weight,
                                   facet_tensor *n_selected, bool skip_empty);

/* mse: prediction, target [B, .., d], weight ω [B, ..] → scalar Σ ω (1/d) Σ_k (p_k − t_k)² / Σ ω; 0 if Σ ω = 0.
 * Gradients flow to both; the weight has none. */
facet_tensor *facet_mse(facet_graph *graph, const char *name, facet_tensor *prediction, facet_tensor *target,
                        facet_tensor *weight);

/* orthogonalize: a [B, d·c], element (r, j) of the matrix A at r·c + j; thin QR A = Q R → o [B, c, d], o_j = Q[:, j].
 * positive: diag(R) > 0; lapack: the signs of LAPACK's Householder QR. A column with R_jj ≤ max(1e-4 ‖a_j‖, 1e-12) is
 * replaced by a fixed vector (state <name>.guard [c, d], N(0, 1)) and gets no gradient. c ≤ d. *ratio (may be NULL)
 * receives min_j R_jj/‖a_j‖ per sample before columns are replaced (0 for a_j = 0), [B], without gradient. */
typedef enum facet_qr_sign { FACET_QR_POSITIVE, FACET_QR_LAPACK } facet_qr_sign;
facet_tensor *facet_orthogonalize(facet_graph *graph, const char *name, facet_tensor *a, int64_t c, facet_qr_sign sign,
                                  facet_tensor **ratio);

/* route_behaviours: e [B, L, d], o [B, c, d], length int32 [B] → r [B, c, d]. S_tj = e_t · o_j; behaviour t goes to the
 * channel of its largest similarity (the first on ties); channel j keeps the k_b largest S_tj (of all behaviours, or of
 * those routed to it; ties: lower index); with a = S, relu(S) or 1,
 *   r_j = (1/D_j) Σ_t M_tj a_tj e_t
 * *n_selected (may be NULL) [B, c]: Σ_t M_tj, a real number; *statistics (may be NULL) [B, 2]: the share of empty
 * channels, and the entropy (nats) of the selected behaviours over the channels. Both without gradient. A behaviour that
 * holds NaN counts as the largest, so that it is seen in r. */
typedef enum facet_top_k_mode { FACET_TOP_K_FRACTION, FACET_TOP_K_ABSOLUTE } facet_top_k_mode;
typedef enum facet_top_k_scope { FACET_TOP_K_ALL, FACET_TOP_K_ROUTED } facet_top_k_scope;
typedef enum facet_route_weight { FACET_ROUTE_SIMILARITY, FACET_ROUTE_RELU, FACET_ROUTE_ONE } facet_route_weight;
typedef enum facet_route_denominator { FACET_ROUTE_SELECTED, FACET_ROUTE_LENGTH } facet_route_denominator;
typedef struct facet_route_options {
  int mode;        /* facet_top_k_mode: k = min(n, max(top_k, ⌈n · top_ppm / 1e6⌉)), or min(n, top_k); n valid
                         * behaviours */
  int scope;       /* facet_top_k_scope */
  int weight;      /* facet_route_weight: a */
  int denominator; /* facet_route_denominator: D_j = max(1, n_selected), constant in backward; or L */
  int64_t top_k;   /* ≥ 1 */
  int64_t top_ppm; /* parts per million */
  bool use_mask;   /* false: slots beyond the length are zero behaviours that count everywhere */
  double straight_through; /* temperature of the straight-through gradient of the routing; 0: none */
} facet_route_options;
facet_tensor *facet_route_behaviours(facet_graph *graph, const char *name, facet_tensor *e, facet_tensor *o,
                                     facet_tensor *length, const facet_route_options *options,
                                     facet_tensor **n_selected, facet_tensor **statistics);

/* diffuse: x0 [B, c, d], noise [B, c, d] or NULL (zero), level int32 [B, c] or NULL (the constant level
 * `constant_level`) → √ᾱ_t x0 + √(1 − ᾱ_t) noise, with ᾱ of the linear schedule β = beta_first … beta_last over T
 * levels, in double. */
enum { FACET_DIFFUSION_MAX_LEVELS = 100000 };
typedef struct facet_diffusion_options {
  int64_t levels; /* T, from 1 to FACET_DIFFUSION_MAX_LEVELS */
  double beta_first, beta_last;
} facet_diffusion_options;
facet_tensor *facet_diffuse(facet_graph *graph, const char *name, facet_tensor *x0, facet_tensor *noise,
                            facet_tensor *level, int64_t constant_level, const facet_diffusion_options *options);

/* denoise: the conditional denoiser f(x, {r_j}_{j≠i}, o_i, t) of every channel i, all channels batched. Parameters
 * under `denoiser`, the same for every node that gives that name.
 *   facet_denoise        one call: x [B, c, d], level int32 [B, c] → f [B, c, d]
 *   facet_denoise_chain  `steps` reverse steps from x (at level steps − 1) down to level 0 → r* [B, c, d];
 *                        z [B, steps − 1, c, d] is the noise of the steps t ≥ 1 (index t − 1) or NULL (zero). Gradients
 *                        flow through the last gradient_steps steps; with fewer than all, x is a constant before them.
 * r, o [B, c, d]: the conditions; gradients flow to both. d is even and at least 4. Padded rows give zeros.
 *
 * Tokens are r with row i replaced by x_i; flag [2, d] (clean, noised; N(0, 0.02²)) and τ(t) = W₂ swish(W₁ pe(t) + b₁) + b₂
 * are added to the rows; per layer h ← LN(h + MHA(h, h, h)), h ← LN(h + MHA(h, o_i, o_i)), h ← LN(h + FFN(h)), eps 1e-6,
 * projections without bias; f is row i, with output_projection W f + b of it. Names below <denoiser>:
 *   time.{0,1}.{weight,bias}   flag   out.{weight,bias}
 *   <layer>.{self,cross}.{q,k,v,o}.weight   <layer>.norm{1,2,3}.{gamma,beta}   <layer>.ffn.{0,1}.{weight,bias}
 * cross.q and cross.k have one key to attend to: they change nothing, get no gradient and are there for export. */
typedef enum facet_diffusion_parameter {
  FACET_DIFFUSION_X0,      /* f is x̂₀ */
  FACET_DIFFUSION_EPS_BUG, /* trained on x₀, sampled as noise (the published code) */
  FACET_DIFFUSION_EPS      /* f is the noise */
} facet_diffusion_parameter;
typedef enum facet_attention_scale { FACET_SCALE_HEAD, FACET_SCALE_KEYS } facet_attention_scale;
typedef struct facet_denoiser_options {
  int64_t n_layers, heads, ffn_factor; /* 1 to 6 layers; FFN width ffn_factor · d */
  int attention_scale;                 /* facet_attention_scale: 1/√(d/heads) or 1/√c */
  bool token_flag, output_projection;
} facet_denoiser_options;
facet_tensor *facet_denoise(facet_graph *graph, const char *name, const char *denoiser, facet_tensor *x,
                            facet_tensor *level, facet_tensor *r, facet_tensor *o,
                            const facet_denoiser_options *options);
facet_tensor *facet_denoise_chain(facet_graph *graph, const char *name, const char *denoiser, facet_tensor *x,
                                  facet_tensor *z, facet_tensor *r, facet_tensor *o,
                                  const facet_denoiser_options *options, const facet_diffusion_options *diffusion,
                                  facet_diffusion_parameter parameter, int64_t steps, int64_t gradient_steps);

/* info_nce: a, p [B, c, d] (normalised), weight ω [B, c], valid [B], user int32 [B] or NULL → scalar
 *   ℓ_i,bb' = a_bi · p_b'i / τ,   L = Σ ω_bi (logsumexp_b' ℓ_i,bb' − ℓ_i,bb) / Σ ω;   0 if Σ ω = 0.
 * b' runs over the rows with valid = 1 and, where `user` is given, without other rows of the same user. Tiled: no B × B
 * matrix is held. */
facet_tensor *facet_info_nce(facet_graph *graph, const char *name, facet_tensor *a, facet_tensor *p,
                             facet_tensor *weight, facet_tensor *valid, facet_tensor *user, double temperature);

#endif
