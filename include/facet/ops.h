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

/* The embedding of a schema feature: its table ("embedding.<name>", shared by name; init N(0, 0.01²)) and a gather. */
facet_tensor *facet_embed(facet_graph *graph, int feature, facet_init init);

/* masked_mean: x [B, L, d], length int32 [B] → [B, d]: y_b = (1/max(1, n_b)) Σ_{t < n_b} x_bt, n_b = length[b]. */
facet_tensor *facet_masked_mean(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *length);

/* linear: x [.., n] → [.., m]: y = act(x W + b), W [n, m] (row-vector convention), b [m] if bias.
 * Parameters <name>.weight, <name>.bias (0). A zeroed weight_init means Glorot uniform; for weights of zero give
 * FACET_INIT_CONSTANT. */
facet_tensor *facet_linear(facet_graph *graph, const char *name, facet_tensor *x, int64_t m, bool bias,
                           facet_activation activation, facet_init weight_init);

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
 * mean and sd; evaluation uses the averages. x [B, d]. <name>.alpha; states <name>.mean, <name>.sd. */
facet_tensor *facet_dice(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *valid, double momentum);

/* batch_norm: y = γ (x − μ)/√(var + eps) + β per channel over rows with valid = 1 (biased variance, also in the
 * running average: avg ← momentum·avg + (1 − momentum)·batch). x [B, d]. With no valid row the averages stay.
 * <name>.gamma (1), <name>.beta (0); states <name>.mean (0), <name>.variance (1). */
facet_tensor *facet_batch_norm(facet_graph *graph, const char *name, facet_tensor *x, facet_tensor *valid,
                               double momentum, double eps);

/* layer_norm: y = γ (x − μ)/√(var + eps) + β over the last axis. <name>.gamma (1), <name>.beta (0). */
facet_tensor *facet_layer_norm(facet_graph *graph, const char *name, facet_tensor *x, double eps);

/* dropout: training: y = x·m/(1 − p), m ~ Bernoulli(1 − p) from Philox (purpose "dropout/<name>"); evaluation: y = x. */
facet_tensor *facet_dropout(facet_graph *graph, const char *name, facet_tensor *x, double p);

/* bce_logits: z [B] or [B, 1], label, weight, valid [B] → scalar
 * L = Σ v w (softplus(z) − y z) / Σ v w; 0 if Σ v w = 0. */
facet_tensor *facet_bce_logits(facet_graph *graph, const char *name, facet_tensor *logit, facet_tensor *label,
                               facet_tensor *weight, facet_tensor *valid);

#endif
