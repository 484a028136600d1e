/* Building graphs: nodes with checked shapes, constants shared by name, results. Inputs are in graph_input.c. */
#include "facet/graph.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "graph/graph_internal.h"

const char *facet_program_name(facet_program program) {
  static const char *const names[] = {"train", "evaluate", "serve"};
  return names[program];
}

facet_status facet_graph_create(facet_program program, const facet_schema *schema, int64_t batch_size,
                                int64_t max_length, facet_parameters *parameters, facet_graph **out) {
  FACET_CHECK(batch_size >= 1, FACET_ERROR_USAGE, "batch size %lld: expected at least 1", (long long)batch_size);
  FACET_CHECK(max_length >= 0, FACET_ERROR_USAGE, "max_length %lld: expected at least 0", (long long)max_length);
  facet_status status = FACET_OK;
  facet_graph *graph = NULL;
  FACET_TRY(FACET_ALLOC(graph, 1, "graph"));
  graph->program = program;
  graph->schema = schema;
  graph->batch_size = batch_size;
  graph->max_length = max_length;
  graph->parameters = parameters;
  FACET_TRY_GOTO(status, fail, facet_arena_create(&graph->arena));
  graph->newest_first = facet_arena_alloc(graph->arena, schema ? (size_t)schema->n_sequences : 0, sizeof(bool));
  if (!graph->newest_first) {
    status = FACET_ERROR_INTERNAL;
    goto fail;
  }
  *out = graph;
  return FACET_OK;
fail:
  facet_graph_destroy(&graph);
  return status;
}

void facet_graph_destroy(facet_graph **graph) {
  facet_graph *g = *graph;
  if (!g) return;
  facet_memory_free(g->node);
  facet_memory_free(g->slot);
  facet_memory_free(g->constant);
  facet_memory_free(g->losses.item);
  facet_memory_free(g->outputs.item);
  facet_memory_free(g->monitors.item);
  facet_arena_destroy(&g->arena);
  facet_memory_free(g);
  *graph = NULL;
}

facet_program facet_graph_program(const facet_graph *graph) {
  return graph->program;
}
const facet_schema *facet_graph_schema(const facet_graph *graph) {
  return graph->schema;
}
int64_t facet_graph_batch_size(const facet_graph *graph) {
  return graph->batch_size;
}
int64_t facet_graph_n_nodes(const facet_graph *graph) {
  return graph->n_nodes;
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

void facet_graph_set_model(facet_graph *graph, const char *model) {
  graph->model = model;
}

facet_status facet_graph_status(const facet_graph *graph) {
  return graph->error.status ? facet_error_restore(&graph->error) : FACET_OK;
}

void *facet_graph_keep_error(facet_graph *graph) {
  if (graph->error.status) return NULL;
  if (graph->model) facet_error_context("models/%s.c", graph->model);
  graph->error = *facet_error_get();
  if (!graph->error.status) graph->error.status = FACET_ERROR_INTERNAL;
  return NULL;
}

facet_tensor *facet_graph_fail(facet_graph *graph, facet_status status, const char *format, ...) {
  if (graph->error.status) return NULL;
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  facet_error_set(status, __FILE__, __LINE__, "%s", text);
  return facet_graph_keep_error(graph);
}

const char *facet_graph_name(facet_graph *graph, const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (n < 0 || n >= (int)sizeof text) {
    facet_graph_fail(graph, FACET_ERROR_USAGE, "name \"%s…\" is longer than %zu bytes", text, sizeof text - 1);
    return NULL;
  }
  const char *name = facet_arena_strdup(graph->arena, text);
  return name ? name : facet_graph_keep_error(graph);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

size_t facet_tensor_bytes(const facet_tensor *tensor) {
  size_t element = tensor->dtype == FACET_DTYPE_REAL ? sizeof(facet_real) : sizeof(int32_t);
  return (size_t)facet_shape_elements(&tensor->shape) * element;
}

facet_tensor *facet_graph_new_tensor(facet_graph *graph, const char *what, const facet_tensor *like) {
  char text[64];
  bool ok = like->shape.rank >= 0 && like->shape.rank <= FACET_MAX_RANK;
  for (int i = 0; ok && i < like->shape.rank; i++) ok = like->shape.dim[i] >= 1;
  if (!ok)
    return facet_graph_fail(graph, FACET_ERROR_USAGE,
                            "%s \"%s\" has shape %s: expected at most %d dimensions of at least 1", what, like->name,
                            facet_shape_format(&like->shape, text, sizeof text), FACET_MAX_RANK);
  facet_tensor *tensor = facet_arena_alloc(graph->arena, 1, sizeof *tensor);
  if (!tensor) return facet_graph_keep_error(graph);
  *tensor = *like;
  tensor->name = facet_arena_strdup(graph->arena, like->name);
  return tensor->name ? tensor : facet_graph_keep_error(graph);
}

static facet_tensor *find_constant(const facet_graph *graph, const char *name) {
  for (int i = 0; i < graph->n_constants; i++)
    if (strcmp(graph->constant[i]->name, name) == 0) return graph->constant[i];
  return NULL;
}

static facet_tensor *add_constant(facet_graph *graph, const char *what, const facet_tensor *like) {
  facet_tensor *tensor = facet_graph_new_tensor(graph, what, like);
  if (!tensor) return NULL;
  if (FACET_GROW(graph->constant, graph->constant_capacity, graph->n_constants + 1, "graph constants"))
    return facet_graph_keep_error(graph);
  return graph->constant[graph->n_constants++] = tensor;
}

/* The tensor of that name if this program has it; of another kind: an error. */
static bool find_shared(facet_graph *graph, const char *what, const facet_tensor *like, facet_tensor **known) {
  *known = find_constant(graph, like->name);
  if (!*known || (*known)->kind == like->kind) return true;
  facet_graph_fail(graph, FACET_ERROR_USAGE, "%s \"%s\" has the name of a parameter, state or table of program %s",
                   what, like->name, facet_program_name(graph->program));
  return false;
}

facet_tensor *facet_graph_parameter(facet_graph *graph, const char *name, facet_shape shape, facet_init init,
                                    bool decay) {
  if (graph->error.status || !name) return NULL;
  facet_tensor like = {.name = name, .kind = FACET_TENSOR_PARAMETER, .shape = shape, .needs_gradient = true}, *known;
  if (!find_shared(graph, "parameter", &like, &known)) return NULL;
  if (facet_parameters_declare_dense(graph->parameters, name, shape, init, decay, &like.index))
    return facet_graph_keep_error(graph);
  return known ? known : add_constant(graph, "parameter", &like);
}

facet_tensor *facet_graph_state(facet_graph *graph, const char *name, facet_shape shape, facet_init init) {
  if (graph->error.status || !name) return NULL;
  facet_tensor like = {.name = name, .kind = FACET_TENSOR_STATE, .shape = shape};
  if (find_constant(graph, name))
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "state \"%s\" is made twice in program %s; one node owns a state",
                            name, facet_program_name(graph->program));
  if (facet_parameters_declare_state(graph->parameters, name, shape, init, &like.index))
    return facet_graph_keep_error(graph);
  return add_constant(graph, "state", &like);
}

facet_tensor *facet_graph_table(facet_graph *graph, const char *name, int64_t n_rows, int64_t width, facet_init init) {
  if (graph->error.status || !name) return NULL;
  facet_tensor like = {.name = name,
                       .kind = FACET_TENSOR_TABLE,
                       .shape = facet_shape_make(2, n_rows, width),
                       .needs_gradient = true},
               *known;
  if (!find_shared(graph, "table", &like, &known)) return NULL;
  if (facet_parameters_declare_table(graph->parameters, name, n_rows, width, init, &like.index))
    return facet_graph_keep_error(graph);
  return known ? known : add_constant(graph, "table", &like);
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

static bool check_node(facet_graph *graph, const facet_op *op, const char *name, facet_tensor *const *inputs,
                       int n_inputs) {
  if (graph->error.status || !name) return false;
  if (n_inputs > FACET_OP_MAX_INPUTS)
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "node \"%s\" (%s) has %d inputs: at most %d are possible", name,
                            op->name, n_inputs, FACET_OP_MAX_INPUTS);
  for (int i = 0; i < n_inputs; i++)
    if (!inputs[i])
      return facet_graph_fail(graph, FACET_ERROR_USAGE, "node \"%s\" (%s): input %d is NULL", name, op->name, i);
  for (int64_t i = 0; i < graph->n_nodes; i++)
    if (strcmp(graph->node[i]->name, name) == 0)
      return facet_graph_fail(graph, FACET_ERROR_USAGE, "node \"%s\" (%s) is made twice; names are unique", name,
                              op->name);
  return true;
}

/* Makes the output tensors of a node from its filled rule. */
static bool make_outputs(facet_graph *graph, facet_node *node, const facet_op_rule *rule) {
  if (rule->n_outputs < 1 || rule->n_outputs > FACET_OP_MAX_OUTPUTS)
    return facet_graph_fail(graph, FACET_ERROR_INTERNAL, "node \"%s\": operator %s says it has %d outputs", node->name,
                            node->op->name, rule->n_outputs);
  bool differentiable = false;
  for (int i = 0; i < node->n_inputs; i++) differentiable = differentiable || node->in[i]->needs_gradient;
  differentiable = differentiable && node->op->backward;
  node->n_outputs = rule->n_outputs;
  for (int i = 0; i < rule->n_outputs; i++) {
    facet_tensor like = {.name = i ? facet_graph_name(graph, "%s:%d", node->name, i) : node->name,
                         .kind = FACET_TENSOR_ACTIVATION,
                         .dtype = rule->out_dtype[i],
                         .shape = rule->out_shape[i],
                         .needs_gradient = differentiable && rule->out_dtype[i] == FACET_DTYPE_REAL,
                         .index = graph->n_values,
                         .producer = node,
                         .output = i};
    if (!like.name || !(node->out[i] = facet_graph_new_tensor(graph, "output of node", &like))) return false;
    graph->n_values++;
  }
  return true;
}

static facet_node *new_node(facet_graph *graph, const facet_op *op, const char *name, facet_tensor *const *inputs,
                            int n_inputs, const void *params) {
  facet_node *node = facet_arena_alloc(graph->arena, 1, sizeof *node);
  char *copy = facet_arena_alloc(graph->arena, 1, op->params_bytes ? op->params_bytes : 1);
  if (!node || !copy) return facet_graph_keep_error(graph);
  if (op->params_bytes) memcpy(copy, params, op->params_bytes);
  node->name = facet_arena_strdup(graph->arena, name);
  if (!node->name) return facet_graph_keep_error(graph);
  node->op = op;
  node->params = copy;
  node->index = graph->n_nodes;
  node->n_inputs = n_inputs;
  for (int i = 0; i < n_inputs; i++) node->in[i] = inputs[i];
  return node;
}

facet_tensor *facet_graph_node(facet_graph *graph, const facet_op *op, const char *name, facet_tensor *const *inputs,
                               int n_inputs, const void *params, facet_tensor **outputs) {
  if (outputs) outputs[0] = NULL;
  if (!check_node(graph, op, name, inputs, n_inputs)) return NULL;
  facet_node *node = new_node(graph, op, name, inputs, n_inputs, params);
  if (!node) return NULL;
  facet_op_rule rule = {.node = node->name, .params = node->params, .n_inputs = n_inputs};
  for (int i = 0; i < n_inputs; i++) {
    rule.in_shape[i] = inputs[i]->shape;
    rule.in_dtype[i] = inputs[i]->dtype;
  }
  if (op->shape(&rule)) return facet_graph_keep_error(graph);
  if (!make_outputs(graph, node, &rule)) return NULL;
  node->saved_bytes = rule.saved_bytes;
  node->scratch_bytes = rule.scratch_bytes;
  if (op->cost) op->cost(&rule, &node->cost);
  if (FACET_GROW(graph->node, graph->node_capacity, graph->n_nodes + 1, "graph nodes"))
    return facet_graph_keep_error(graph);
  graph->node[graph->n_nodes++] = node;
  for (int i = 0; outputs && i < node->n_outputs; i++) outputs[i] = node->out[i];
  return node->out[0];
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static void add_result(facet_graph *graph, facet_result_list *list, const char *what, const char *name,
                       facet_tensor *tensor, double weight) {
  if (graph->error.status || !name) return;
  for (int i = 0; i < list->n; i++)
    if (strcmp(list->item[i].name, name) == 0) {
      facet_graph_fail(graph, FACET_ERROR_USAGE, "%s \"%s\" is named twice", what, name);
      return;
    }
  if (!tensor || tensor->kind != FACET_TENSOR_ACTIVATION) {
    facet_graph_fail(graph, FACET_ERROR_USAGE, "%s \"%s\" is %s: expected the output of a node", what, name,
                     tensor ? "an input or parameter" : "NULL");
    return;
  }
  char *copy = facet_arena_strdup(graph->arena, name);
  if (!copy || FACET_GROW(list->item, list->capacity, list->n + 1, "graph results")) {
    facet_graph_keep_error(graph);
    return;
  }
  list->item[list->n++] = (facet_graph_result){.name = copy, .tensor = tensor, .weight = weight};
}

static bool check_scalar(facet_graph *graph, const char *what, const char *name, const facet_tensor *tensor) {
  char text[64];
  if (!tensor || (facet_shape_elements(&tensor->shape) == 1 && tensor->dtype == FACET_DTYPE_REAL)) return true;
  facet_graph_fail(graph, FACET_ERROR_USAGE, "%s \"%s\" is \"%s\" of shape %s: expected one real number", what, name,
                   tensor->name, facet_shape_format(&tensor->shape, text, sizeof text));
  return false;
}

void facet_graph_loss(facet_graph *graph, const char *name, facet_tensor *loss, double weight) {
  if (!check_scalar(graph, "loss", name, loss)) return;
  if (!isfinite(weight)) {
    facet_graph_fail(graph, FACET_ERROR_USAGE, "loss \"%s\" has weight %g: expected a finite number", name, weight);
    return;
  }
  add_result(graph, &graph->losses, "loss", name, loss, weight);
}

void facet_graph_output(facet_graph *graph, const char *name, facet_tensor *tensor) {
  add_result(graph, &graph->outputs, "output", name, tensor, 0);
}

void facet_graph_monitor(facet_graph *graph, const char *name, facet_tensor *scalar) {
  if (check_scalar(graph, "monitor", name, scalar)) add_result(graph, &graph->monitors, "monitor", name, scalar, 0);
}
