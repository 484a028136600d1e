/* Building blocks of models. */
#include "facet/blocks.h"

#include <math.h>

#include "facet/ops.h"

/* ---- concatenation ----------------------------------------------------------------------------------------------- */

facet_concat_list facet_concat_begin(facet_graph *graph, const char *name) {
  return (facet_concat_list){.graph = graph, .name = name};
}

void facet_concat_add(facet_concat_list *list, facet_tensor *tensor) {
  if (!tensor) return;
  if (list->n == FACET_OP_MAX_INPUTS) { /* what came so far becomes one part */
    const char *name = facet_graph_name(list->graph, "%s.%d", list->name, list->n_nodes++);
    list->part[0] = facet_concat(list->graph, name, list->part, list->n);
    list->n = 1;
  }
  list->part[list->n++] = tensor;
}

facet_tensor *facet_concat_end(facet_concat_list *list) {
  if (list->n <= 1) return list->part[0];
  return facet_concat(list->graph, list->name, list->part, list->n);
}

/* ---- features ---------------------------------------------------------------------------------------------------- */

/* Single ids that come one after the other, for one gather. */
typedef struct id_run {
  int feature[FACET_OP_MAX_INPUTS / 2], n;
} id_run;

/* Takes the list's name where the run is all of it. */
static void end_run(facet_concat_list *list, id_run *run, bool is_last, facet_init init) {
  facet_tensor *table[FACET_OP_MAX_INPUTS / 2], *ids[FACET_OP_MAX_INPUTS / 2];
  if (run->n == 1) facet_concat_add(list, facet_embed(list->graph, run->feature[0], init));
  if (run->n > 1) {
    for (int i = 0; i < run->n; i++) {
      table[i] = facet_embedding_table(list->graph, run->feature[i], init);
      ids[i] = facet_graph_feature(list->graph, run->feature[i]);
    }
    const char *name =
        is_last && list->n == 0 ? list->name : facet_graph_name(list->graph, "%s.from.%d", list->name, run->feature[0]);
    facet_concat_add(list, facet_gather_fields(list->graph, name, table, ids, run->n));
  }
  run->n = 0;
}

/* Id features of a role (sequence −1) or of a sequence side by side: single ids in one gather, bags in one each. */
static facet_tensor *embed_all(facet_graph *graph, const char *name, facet_role role, int sequence, facet_init init) {
  const facet_schema *schema = facet_graph_schema(graph);
  facet_concat_list list = facet_concat_begin(graph, name);
  id_run run = {.n = 0};
  for (int i = 0; i < schema->n_features; i++) {
    const facet_feature *feature = &schema->features[i];
    if (feature->role != role || feature->sequence != sequence || feature->type != FACET_FEATURE_ID) continue;
    if (run.n == FACET_OP_MAX_INPUTS / 2 || feature->bag > 0) end_run(&list, &run, false, init);
    if (feature->bag > 0)
      facet_concat_add(&list, facet_embed(graph, i, init));
    else
      run.feature[run.n++] = i;
  }
  end_run(&list, &run, true, init);
  return facet_concat_end(&list);
}

facet_tensor *facet_block_embeddings(facet_graph *graph, facet_role role, facet_init embedding_init) {
  return embed_all(graph, facet_role_name(role), role, -1, embedding_init);
}

facet_tensor *facet_block_dense(facet_graph *graph, double norm_epsilon) {
  const facet_schema *schema = facet_graph_schema(graph);
  facet_concat_list list = facet_concat_begin(graph, "dense");
  for (int i = 0; i < schema->n_features; i++) {
    const facet_feature *feature = &schema->features[i];
    const bool is_input =
        feature->role == FACET_ROLE_USER || feature->role == FACET_ROLE_ITEM || feature->role == FACET_ROLE_CONTEXT;
    if (is_input && feature->type == FACET_FEATURE_FLOAT) facet_concat_add(&list, facet_graph_feature(graph, i));
  }
  facet_tensor *floats = facet_concat_end(&list);
  if (!floats) return NULL;
  return facet_batch_norm(graph, "dense.norm", floats, facet_graph_valid(graph), FACET_NORM_MOMENTUM, norm_epsilon);
}

facet_tensor *facet_block_events(facet_graph *graph, int sequence, facet_init embedding_init) {
  const char *name = facet_graph_name(graph, "%s", facet_graph_schema(graph)->sequences[sequence].name);
  return embed_all(graph, name, FACET_ROLE_BEHAVIOUR, sequence, embedding_init);
}

facet_tensor *facet_block_event_floats(facet_graph *graph, int sequence) {
  const facet_schema *schema = facet_graph_schema(graph);
  const char *name = facet_graph_name(graph, "%s.dense", schema->sequences[sequence].name);
  facet_concat_list events = facet_concat_begin(graph, name);
  for (int i = 0; i < schema->n_features; i++)
    if (schema->features[i].sequence == sequence && schema->features[i].type == FACET_FEATURE_FLOAT)
      facet_concat_add(&events, facet_graph_feature(graph, i));
  return facet_concat_end(&events);
}

static facet_tensor *pool(facet_graph *graph, const char *name, facet_tensor *events, int sequence) {
  if (!events) return NULL;
  return facet_masked_mean(graph, facet_graph_name(graph, "%s.mean", name), events,
                           facet_graph_length(graph, sequence));
}

facet_tensor *facet_block_pooled_events(facet_graph *graph, int sequence, facet_init embedding_init) {
  const char *name = facet_graph_schema(graph)->sequences[sequence].name;
  return pool(graph, name, facet_block_events(graph, sequence, embedding_init), sequence);
}

facet_tensor *facet_block_pooled_event_floats(facet_graph *graph, int sequence, double norm_epsilon) {
  const char *name = facet_graph_name(graph, "%s.dense", facet_graph_schema(graph)->sequences[sequence].name);
  facet_tensor *mean = pool(graph, name, facet_block_event_floats(graph, sequence), sequence);
  if (!mean) return NULL;
  return facet_batch_norm(graph, facet_graph_name(graph, "%s.norm", name), mean, facet_graph_valid(graph),
                          FACET_NORM_MOMENTUM, norm_epsilon);
}

/* ---- multi-layer perceptron -------------------------------------------------------------------------------------- */

const char *const facet_layer_activation_names[] = {"none", "relu", "sigmoid", "swish", "tanh", "prelu", "dice", NULL};

static const facet_activation elementwise[] = {
    [FACET_LAYER_NONE] = FACET_ACTIVATION_NONE,       [FACET_LAYER_RELU] = FACET_ACTIVATION_RELU,
    [FACET_LAYER_SIGMOID] = FACET_ACTIVATION_SIGMOID, [FACET_LAYER_SWISH] = FACET_ACTIVATION_SWISH,
    [FACET_LAYER_TANH] = FACET_ACTIVATION_TANH,
};

facet_tensor *facet_block_activation(facet_graph *graph, const char *layer, facet_tensor *x, int activation,
                                     facet_tensor *valid, double dice_momentum) {
  if (activation == FACET_LAYER_NONE) return x;
  if (activation == FACET_LAYER_PRELU) return facet_prelu(graph, facet_graph_name(graph, "%s.prelu", layer), x);
  if (activation == FACET_LAYER_DICE)
    return facet_dice(graph, facet_graph_name(graph, "%s.dice", layer), x, valid, dice_momentum);
  const char *name = facet_graph_name(graph, "%s.%s", layer, facet_layer_activation_names[activation]);
  return facet_activate(graph, name, x, elementwise[activation]);
}

facet_tensor *facet_block_mlp(facet_graph *graph, const char *name, facet_tensor *x, const facet_mlp_options *options) {
  int activation = options->activation;
  const double momentum = options->dice_momentum > 0 ? options->dice_momentum : FACET_NORM_MOMENTUM;
  bool fused = !options->batch_norm && activation != FACET_LAYER_PRELU && activation != FACET_LAYER_DICE;
  for (int64_t i = 0; i < options->widths.n; i++) {
    const char *layer = facet_graph_name(graph, "%s.%d", name, (int)i);
    x = facet_linear(graph, layer, x, options->widths.value[i], true,
                     fused ? elementwise[activation] : FACET_ACTIVATION_NONE);
    if (options->batch_norm)
      x = facet_batch_norm(graph, facet_graph_name(graph, "%s.norm", layer), x, facet_graph_valid(graph),
                           FACET_NORM_MOMENTUM, options->norm_epsilon > 0 ? options->norm_epsilon : FACET_NORM_EPSILON);
    if (!fused) x = facet_block_activation(graph, layer, x, activation, facet_graph_valid(graph), momentum);
    if (options->dropout > 0 && facet_graph_program(graph) == FACET_PROGRAM_TRAIN)
      x = facet_dropout(graph, facet_graph_name(graph, "%s.dropout", layer), x, options->dropout);
  }
  return x;
}

/* ---- Transformer encoder ----------------------------------------------------------------------------------------- */

typedef struct encoder {
  facet_graph *graph;
  const char *name;
  const facet_encoder_options *options;
  int64_t d;
  facet_tensor *length;
  double scale;
} encoder;

static const char *layer_name(const encoder *e, int64_t layer, const char *part) {
  return facet_graph_name(e->graph, "%s.%d.%s", e->name, (int)layer, part);
}

/* A projection without bias. */
static facet_tensor *project(const encoder *e, int64_t layer, const char *part, facet_tensor *x) {
  return facet_linear(e->graph, layer_name(e, layer, part), x, e->d, false, FACET_ACTIVATION_NONE);
}

/* h ← LayerNorm(h + x). */
static facet_tensor *add_and_norm(const encoder *e, int64_t layer, int number, facet_tensor *h, facet_tensor *x) {
  const char *name = facet_graph_name(e->graph, "%s.%d.norm%d", e->name, (int)layer, number);
  const char *parameters = name;
  if (e->options->norms) parameters = facet_graph_name(e->graph, "%s.%d.norm%d", e->options->norms, (int)layer, number);
  if (h && x && !facet_shape_equal(&h->shape, &x->shape)) { /* one row for all rows of h */
    h = facet_add(e->graph, facet_graph_name(e->graph, "%s.add", name), h, x);
    x = NULL;
  }
  return facet_add_norm(e->graph, name, parameters, h, x, FACET_ENCODER_NORM_EPSILON);
}

/* Attention of the rows [B, slots + 1, d] to each other; those beyond the length get zeros, and nobody reads them. */
static facet_tensor *attend(const encoder *e, int64_t layer, facet_tensor *rows) {
  return facet_self_attention(e->graph, layer_name(e, layer, "self.attention"), project(e, layer, "self.q", rows),
                              project(e, layer, "self.k", rows), project(e, layer, "self.v", rows), e->length,
                              e->options->heads, 1, e->scale);
}

/* The same of one row h [B, 1, d]: the maps to keys and values go to the query and to the attended sum, and its heads
 * are queries of one attention to the rows themselves. */
static facet_tensor *attend_one(const encoder *e, int64_t layer, facet_tensor *h, facet_tensor *rows) {
  facet_tensor *q = facet_head_linear_transposed(e->graph, layer_name(e, layer, "self.k"),
                                                 project(e, layer, "self.q", h), e->d, e->options->heads);
  facet_tensor *sums =
      facet_attention(e->graph, layer_name(e, layer, "self.attention"), q, rows, rows, e->length, 1, 1, e->scale);
  return facet_head_linear(e->graph, layer_name(e, layer, "self.v"), sums, e->d);
}

/* What follows the attention y in a layer for the rows h [B, n, d]. */
static facet_tensor *encoder_layer(const encoder *e, int64_t layer, facet_tensor *h, facet_tensor *y) {
  h = add_and_norm(e, layer, 1, h, project(e, layer, "self.o", y));
  if (e->options->cross) {
    facet_tensor *value = project(e, layer, "cross.v", e->options->cross);
    h = add_and_norm(e, layer, 2, h, project(e, layer, "cross.o", value));
  }
  y = facet_linear(e->graph, layer_name(e, layer, "ffn.0"), h, e->options->ffn_factor * e->d, true,
                   FACET_ACTIVATION_RELU);
  y = facet_linear(e->graph, layer_name(e, layer, "ffn.1"), y, e->d, true, FACET_ACTIVATION_NONE);
  return add_and_norm(e, layer, 3, h, y);
}

facet_tensor *facet_block_recent(facet_graph *graph, const char *name, facet_tensor *events, int64_t n) {
  if (!events || events->shape.rank != 3 || n < 1 || n >= events->shape.dim[1]) return events;
  const int64_t batch = events->shape.dim[0], slots = events->shape.dim[1], d = events->shape.dim[2];
  facet_tensor *x =
      facet_reshape(graph, facet_graph_name(graph, "%s.history", name), events, facet_shape_make(2, batch, slots * d));
  x = facet_slice(graph, facet_graph_name(graph, "%s.recent", name), x, 0, n * d);
  return facet_reshape(graph, facet_graph_name(graph, "%s.newest", name), x, facet_shape_make(3, batch, n, d));
}

/* [target; events]: [B, slots + 1, d]. */
static facet_tensor *encoder_rows(const encoder *e, facet_tensor *target, facet_tensor *events, int64_t slots) {
  const int64_t batch = target->shape.dim[0];
  facet_tensor *x = facet_reshape(e->graph, facet_graph_name(e->graph, "%s.events", e->name), events,
                                  facet_shape_make(2, batch, slots * e->d));
  x = facet_concat(e->graph, facet_graph_name(e->graph, "%s.input", e->name), (facet_tensor *[]){target, x}, 2);
  return facet_reshape(e->graph, facet_graph_name(e->graph, "%s.rows", e->name), x,
                       facet_shape_make(3, batch, slots + 1, e->d));
}

/* The first of rows [B, n, d]: [B, 1, d]. */
static facet_tensor *first_row(const encoder *e, facet_tensor *rows) {
  if (!rows) return NULL;
  const int64_t batch = rows->shape.dim[0];
  facet_tensor *x = facet_reshape(e->graph, facet_graph_name(e->graph, "%s.flat", e->name), rows,
                                  facet_shape_make(2, batch, rows->shape.dim[1] * e->d));
  x = facet_slice(e->graph, facet_graph_name(e->graph, "%s.first", e->name), x, 0, e->d);
  return facet_reshape(e->graph, facet_graph_name(e->graph, "%s.target", e->name), x,
                       facet_shape_make(3, batch, (int64_t)1, e->d));
}

facet_tensor *facet_block_encoder(facet_graph *graph, const char *name, facet_tensor *target, facet_tensor *events,
                                  facet_tensor *length, const facet_encoder_options *options) {
  if (!target || !events) return NULL;
  char text_target[64], text_events[64];
  const facet_shape *t = &target->shape, *x = &events->shape;
  if (t->rank != 2 || x->rank != 3 || x->dim[0] != t->dim[0] || x->dim[2] != t->dim[1])
    return facet_graph_fail(graph, FACET_ERROR_USAGE,
                            "%s: the target is %s and the events %s, expected [B, d] and "
                            "[B, L, d]",
                            name, facet_shape_format(t, text_target, sizeof text_target),
                            facet_shape_format(x, text_events, sizeof text_events));
  if (options->n_recent < 1 || options->n_layers < 1 || options->heads < 1 || options->ffn_factor < 1)
    return facet_graph_fail(graph, FACET_ERROR_USAGE,
                            "%s: %lld recent events, %lld layers, %lld heads, FFN factor "
                            "%lld; expected at least 1 of each",
                            name, (long long)options->n_recent, (long long)options->n_layers, (long long)options->heads,
                            (long long)options->ffn_factor);
  const int64_t slots = options->n_recent < x->dim[1] ? options->n_recent : x->dim[1], d = t->dim[1];
  const double keys =
      options->attention_scale == FACET_SCALE_KEYS ? (double)(slots + 1) : (double)d / (double)options->heads;
  const encoder e = {
      .graph = graph, .name = name, .options = options, .d = d, .length = length, .scale = 1 / sqrt(keys)};
  facet_tensor *rows = encoder_rows(&e, target, facet_block_recent(graph, name, events, slots), slots);
  for (int64_t layer = 0; layer + 1 < options->n_layers; layer++)
    rows = encoder_layer(&e, layer, rows, attend(&e, layer, rows));
  const int64_t last = options->n_layers - 1;
  facet_tensor *h = first_row(&e, rows);
  h = encoder_layer(&e, last, h, attend_one(&e, last, h, rows));
  if (!h) return NULL;
  return facet_reshape(graph, name, h, *t);
}

/* ---- click ------------------------------------------------------------------------------------------------------- */

void facet_block_click(facet_graph *graph, facet_tensor *logit) {
  facet_graph_output(graph, "logit", logit);
  if (facet_graph_program(graph) == FACET_PROGRAM_SERVE) return;
  facet_tensor *loss = facet_bce_logits(graph, "bce", logit, facet_graph_label(graph), facet_graph_weight(graph),
                                        facet_graph_valid(graph));
  facet_graph_loss(graph, "bce", loss, 1);
}
