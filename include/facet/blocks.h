/* Building blocks that models share, made of the operators of facet/ops.h.
 *
 * Like those, they accept NULL inputs and return NULL after an error. */
#ifndef FACET_BLOCKS_H
#define FACET_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facet/graph.h"
#include "facet/options.h"

/* Collects tensors and concatenates them along the last axis, in order, however many there are (a chain of concat nodes
 * "<name>.<i>" and "<name>"). */
typedef struct facet_concat_list {
  facet_graph *graph;
  const char *name;
  facet_tensor *part[FACET_OP_MAX_INPUTS];
  int n, n_nodes;
} facet_concat_list;

facet_concat_list facet_concat_begin(facet_graph *graph, const char *name);
/* NULL adds nothing. */
void facet_concat_add(facet_concat_list *list, facet_tensor *tensor);
/* The concatenation; a single tensor as it is; NULL where nothing was added. */
facet_tensor *facet_concat_end(facet_concat_list *list);

/* Momentum and ε of the running statistics in batch_norm and dice. */
#define FACET_NORM_MOMENTUM 0.99
#define FACET_NORM_EPSILON 1e-5

/* The id features of the sample that have the role, embedded with bags pooled: [B, Σ widths]. NULL where there is none. */
facet_tensor *facet_block_embeddings(facet_graph *graph, facet_role role, facet_init embedding_init);
/* The float features of the sample (roles user, item, context) through one batch_norm "dense.norm": [B, Σ lengths]. NULL
 * where there is none. */
facet_tensor *facet_block_dense(facet_graph *graph, double norm_epsilon);

/* The id features of a sequence, embedded and concatenated per event: [B, L, Σ widths]. NULL where it has none. */
facet_tensor *facet_block_events(facet_graph *graph, int sequence, facet_init embedding_init);
/* The float features of a sequence, concatenated per event: [B, L, Σ lengths]. NULL where it has none. */
facet_tensor *facet_block_event_floats(facet_graph *graph, int sequence);
/* Their means over each history: [B, Σ widths], and the floats' through a batch_norm [B, Σ lengths]. */
facet_tensor *facet_block_pooled_events(facet_graph *graph, int sequence, facet_init embedding_init);
facet_tensor *facet_block_pooled_event_floats(facet_graph *graph, int sequence, double norm_epsilon);

typedef enum facet_layer_activation {
  FACET_LAYER_NONE,
  FACET_LAYER_RELU,
  FACET_LAYER_SIGMOID,
  FACET_LAYER_SWISH,
  FACET_LAYER_TANH,
  FACET_LAYER_PRELU,
  FACET_LAYER_DICE
} facet_layer_activation;
/* NULL-terminated names for option tables, in the order of the enum. */
extern const char *const facet_layer_activation_names[];

/* x [B, .., n] → the same shape: the activation as a node "<layer>.<activation>"; dice counts rows with valid [B, ..]
 * = 1. */
facet_tensor *facet_block_activation(facet_graph *graph, const char *layer, facet_tensor *x, int activation,
                                     facet_tensor *valid, double dice_momentum);

typedef struct facet_mlp_options {
  facet_int_list widths; /* of the hidden layers */
  int activation;        /* facet_layer_activation */
  bool batch_norm;       /* before the activation */
  double dropout;        /* probability, after the activation; 0: none */
  double norm_epsilon;   /* of batch_norm; 0: FACET_NORM_EPSILON */
  double dice_momentum;  /* 0: FACET_NORM_MOMENTUM */
} facet_mlp_options;

/* Entries of a model's table of options: those of its field `mlp` and of its field `embedding_init`. */
#define FACET_MLP_OPTIONS(model, widths_default, activation_default, batch_norm_default)                               \
  {.key = "mlp",                                                                                                       \
   .type = FACET_OPTION_INT_LIST,                                                                                      \
   .offset = offsetof(model, mlp.widths),                                                                              \
   .default_value = widths_default,                                                                                    \
   .low = 1,                                                                                                           \
   .high = 65536,                                                                                                      \
   .help = "Widths of the hidden layers."},                                                                            \
      {.key = "activation",                                                                                            \
       .type = FACET_OPTION_CHOICE,                                                                                    \
       .offset = offsetof(model, mlp.activation),                                                                      \
       .default_value = activation_default,                                                                            \
       .choices = facet_layer_activation_names,                                                                        \
       .help = "Activation of the hidden layers."},                                                                    \
      {.key = "batch_norm",                                                                                            \
       .type = FACET_OPTION_BOOL,                                                                                      \
       .offset = offsetof(model, mlp.batch_norm),                                                                      \
       .default_value = batch_norm_default,                                                                            \
       .help = "Normalises the hidden layers over the batch, before the activation."},                                 \
  {                                                                                                                    \
    .key = "dropout", .type = FACET_OPTION_DOUBLE, .offset = offsetof(model, mlp.dropout), .default_value = "0",       \
    .low = 0, .high = 0.95, .help = "Probability of dropping a hidden value in training; 0: none."                     \
  }
#define FACET_EMBEDDING_OPTION(model)                                                                                  \
  {                                                                                                                    \
    .key = "embedding_init", .type = FACET_OPTION_DOUBLE, .offset = offsetof(model, embedding_init),                   \
    .default_value = "0.01", .low = 0, .high = 10, .help = "Standard deviation of the initial embeddings."             \
  }

/* x [B, n] → [B, last width]: per layer Linear, [batch_norm], activation, [dropout]. Layer i is "<name>.<i>". */
facet_tensor *facet_block_mlp(facet_graph *graph, const char *name, facet_tensor *x, const facet_mlp_options *options);

#define FACET_ENCODER_NORM_EPSILON 1e-6

typedef struct facet_encoder_options {
  int64_t n_recent;                    /* events that it reads */
  int64_t n_layers, heads, ffn_factor; /* FFN width ffn_factor · d */
  int attention_scale; /* facet_attention_scale: 1/√(d/heads), or 1/√(slots + 1), slots = min(n_recent, L) */
  const char *norms;   /* the LayerNorms are those of this denoiser, "<norms>.<layer>.norm1" …; NULL: own */
  facet_tensor *cross; /* [B, d] or NULL: the one key of a cross-attention after the self-attention */
} facet_encoder_options;

/* The first min(n, L) slots of events [B, L, d], for facet_block_encoder; the events themselves where that is all. A model
 * whose other operators read all events takes these before them: backward, in reverse, then first writes the gradient of
 * all events and adds that of the first ones last. */
facet_tensor *facet_block_recent(facet_graph *graph, const char *name, facet_tensor *events, int64_t n);

/* target [B, d], events [B, L, d] (the newest first), length int32 [B] → [B, d]: the target's row after a post-norm
 * Transformer encoder over H = [target; the first min(length, n_recent) events], without positions (length NULL: all of
 * the first n_recent slots, whatever they hold); per layer
 *   H ← LN1(H + MHA(H, H, H)),   with `cross` z: H ← LN2(H + (z W_v) W_o),   H ← LN3(H + W_1 relu(W_0 H + b_0) + b_1)
 * (attention to one key gives its value, whatever the query; so that has no W_q, W_k). Of the last layer only the target's
 * row is computed, and its W_k and W_v are applied to the query and to the attended sum, not to all rows. Parameters
 * <name>.<layer>.self.{q,k,v,o}, .cross.{v,o} (no biases), .ffn.{0,1}, .norm{1,2,3}. */
facet_tensor *facet_block_encoder(facet_graph *graph, const char *name, facet_tensor *target, facet_tensor *events,
                                  facet_tensor *length, const facet_encoder_options *options);

/* What every click model ends with: the output "logit" and, where the program has labels, the loss "bce" with weight 1. */
void facet_block_click(facet_graph *graph, facet_tensor *logit);

#endif
