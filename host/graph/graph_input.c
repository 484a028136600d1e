/* Inputs of a graph: the features, lengths, label, weight and validity of a batch, each made on first use. */
#include <string.h>

#include "graph/graph_internal.h"

static facet_tensor *find_slot(const facet_graph *graph, facet_input_source source, int index) {
  for (int i = 0; i < graph->n_slots; i++)
    if (graph->slot[i].source == source && graph->slot[i].index == index) return graph->slot[i].tensor;
  return NULL;
}

static facet_tensor *add_slot(facet_graph *graph, facet_input_source source, int index, facet_tensor like) {
  like.kind = FACET_TENSOR_INPUT;
  like.index = graph->n_slots;
  facet_tensor *tensor = facet_graph_new_tensor(graph, "input", &like);
  if (!tensor) return NULL;
  if (FACET_GROW(graph->slot, graph->slot_capacity, graph->n_slots + 1, "graph inputs"))
    return facet_graph_keep_error(graph);
  graph->slot[graph->n_slots++] = (facet_graph_slot){.tensor = tensor, .source = source, .index = index};
  return tensor;
}

/* An input of shape [B]. */
static facet_tensor *batch_vector(facet_graph *graph, facet_input_source source, int index, const char *name,
                                  facet_dtype dtype) {
  if (graph->error.status || !name) return NULL;
  if (!graph->schema) return facet_graph_fail(graph, FACET_ERROR_USAGE, "input \"%s\": the graph has no schema", name);
  facet_tensor *known = find_slot(graph, source, index);
  if (known) return known;
  facet_tensor like = {.name = name, .dtype = dtype, .shape = facet_shape_make(1, graph->batch_size)};
  return add_slot(graph, source, index, like);
}

facet_tensor *facet_graph_label(facet_graph *graph) {
  return batch_vector(graph, FACET_INPUT_LABEL, 0, "label", FACET_DTYPE_REAL);
}
facet_tensor *facet_graph_weight(facet_graph *graph) {
  return batch_vector(graph, FACET_INPUT_WEIGHT, 0, "weight", FACET_DTYPE_REAL);
}
facet_tensor *facet_graph_valid(facet_graph *graph) {
  return batch_vector(graph, FACET_INPUT_VALID, 0, "valid", FACET_DTYPE_REAL);
}

static bool check_sequence(facet_graph *graph, int sequence) {
  if (graph->schema && sequence >= 0 && sequence < graph->schema->n_sequences) return true;
  facet_graph_fail(graph, FACET_ERROR_USAGE, "sequence %d: the schema has %d sequences", sequence,
                   graph->schema ? graph->schema->n_sequences : 0);
  return false;
}

facet_tensor *facet_graph_length(facet_graph *graph, int sequence) {
  if (graph->error.status || !check_sequence(graph, sequence)) return NULL;
  const char *name = facet_graph_name(graph, "%s.length", graph->schema->sequences[sequence].name);
  return batch_vector(graph, FACET_INPUT_LENGTH, sequence, name, FACET_DTYPE_INT32);
}

void facet_graph_newest_first(facet_graph *graph, int sequence, bool newest_first) {
  if (graph->error.status || !check_sequence(graph, sequence)) return;
  for (int i = 0; i < graph->n_slots; i++) {
    const facet_graph_slot *slot = &graph->slot[i];
    if (slot->source == FACET_INPUT_FEATURE && graph->schema->features[slot->index].sequence == sequence) {
      facet_graph_fail(graph, FACET_ERROR_USAGE, "sequence %s: facet_graph_newest_first must come before input \"%s\"",
                       graph->schema->sequences[sequence].name, slot->tensor->name);
      return;
    }
  }
  graph->newest_first[sequence] = newest_first;
}

/* [B], then L of a sequence, then K of a bag or the length of a float vector. */
static facet_shape feature_shape(const facet_graph *graph, const facet_feature *feature) {
  facet_shape shape = facet_shape_make(1, graph->batch_size);
  if (feature->sequence >= 0) {
    int64_t length = graph->schema->sequences[feature->sequence].max_length;
    if (graph->max_length > 0 && graph->max_length < length) length = graph->max_length;
    shape.dim[shape.rank++] = length;
  }
  if (feature->type == FACET_FEATURE_FLOAT) shape.dim[shape.rank++] = feature->length;
  if (feature->type == FACET_FEATURE_ID && feature->bag > 0) shape.dim[shape.rank++] = feature->bag;
  return shape;
}

facet_tensor *facet_graph_feature(facet_graph *graph, int index) {
  if (graph->error.status) return NULL;
  const facet_schema *schema = graph->schema;
  if (!schema || index < 0 || index >= schema->n_features)
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "feature %d: the schema has %d features", index,
                            schema ? schema->n_features : 0);
  const facet_feature *feature = &schema->features[index];
  if (feature->role == FACET_ROLE_LABEL || feature->role == FACET_ROLE_WEIGHT || feature->type == FACET_FEATURE_INT64)
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "feature \"%s\" has role %s, which is not an input of models",
                            feature->name, facet_role_name(feature->role));
  facet_tensor *known = find_slot(graph, FACET_INPUT_FEATURE, index);
  if (known) return known;
  facet_tensor like = {.name = feature->name,
                       .dtype = feature->type == FACET_FEATURE_ID ? FACET_DTYPE_INT32 : FACET_DTYPE_REAL,
                       .shape = feature_shape(graph, feature)};
  return add_slot(graph, FACET_INPUT_FEATURE, index, like);
}

facet_tensor *facet_graph_input(facet_graph *graph, const char *name, facet_dtype dtype, facet_shape shape,
                                bool needs_gradient) {
  if (graph->error.status || !name) return NULL;
  for (int i = 0; i < graph->n_slots; i++)
    if (strcmp(graph->slot[i].tensor->name, name) == 0)
      return facet_graph_fail(graph, FACET_ERROR_USAGE, "input \"%s\" is made twice; names are unique", name);
  if (needs_gradient && dtype != FACET_DTYPE_REAL)
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "input \"%s\" is of integers: it has no gradient", name);
  facet_tensor like = {.name = name, .dtype = dtype, .shape = shape, .needs_gradient = needs_gradient};
  return add_slot(graph, FACET_INPUT_CUSTOM, graph->n_slots, like);
}
