/* Building blocks of models. */
#include "facet/blocks.h"

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

facet_tensor *facet_block_embeddings(facet_graph *graph, facet_role role, facet_init embedding_init) {
  const facet_schema *schema = facet_graph_schema(graph);
  facet_concat_list list = facet_concat_begin(graph, facet_role_name(role));
  for (int i = 0; i < schema->n_features; i++)
    if (schema->features[i].role == role && schema->features[i].type == FACET_FEATURE_ID)
      facet_concat_add(&list, facet_embed(graph, i, embedding_init));
  return facet_concat_end(&list);
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
  const facet_schema *schema = facet_graph_schema(graph);
  facet_concat_list events = facet_concat_begin(graph, facet_graph_name(graph, "%s", schema->sequences[sequence].name));
  for (int i = 0; i < schema->n_features; i++)
    if (schema->features[i].sequence == sequence && schema->features[i].type == FACET_FEATURE_ID)
      facet_concat_add(&events, facet_embed(graph, i, embedding_init));
  return facet_concat_end(&events);
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

/* The activation as a node of its own. */
static facet_tensor *activate(facet_graph *graph, const char *layer, facet_tensor *x,
                              const facet_mlp_options *options) {
  const int activation = options->activation;
  if (activation == FACET_LAYER_NONE) return x;
  if (activation == FACET_LAYER_PRELU) return facet_prelu(graph, facet_graph_name(graph, "%s.prelu", layer), x);
  if (activation == FACET_LAYER_DICE)
    return facet_dice(graph, facet_graph_name(graph, "%s.dice", layer), x, facet_graph_valid(graph),
                      options->dice_momentum > 0 ? options->dice_momentum : FACET_NORM_MOMENTUM);
  const char *name = facet_graph_name(graph, "%s.%s", layer, facet_layer_activation_names[activation]);
  return facet_activate(graph, name, x, elementwise[activation]);
}

facet_tensor *facet_block_mlp(facet_graph *graph, const char *name, facet_tensor *x, const facet_mlp_options *options) {
  int activation = options->activation;
  bool fused = !options->batch_norm && activation != FACET_LAYER_PRELU && activation != FACET_LAYER_DICE;
  for (int64_t i = 0; i < options->widths.n; i++) {
    const char *layer = facet_graph_name(graph, "%s.%d", name, (int)i);
    x = facet_linear(graph, layer, x, options->widths.value[i], true,
                     fused ? elementwise[activation] : FACET_ACTIVATION_NONE, (facet_init){0});
    if (options->batch_norm)
      x = facet_batch_norm(graph, facet_graph_name(graph, "%s.norm", layer), x, facet_graph_valid(graph),
                           FACET_NORM_MOMENTUM, options->norm_epsilon > 0 ? options->norm_epsilon : FACET_NORM_EPSILON);
    if (!fused) x = activate(graph, layer, x, options);
    if (options->dropout > 0 && facet_graph_program(graph) == FACET_PROGRAM_TRAIN)
      x = facet_dropout(graph, facet_graph_name(graph, "%s.dropout", layer), x, options->dropout);
  }
  return x;
}
