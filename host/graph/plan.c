/* Lifetimes of buffers (see plan.h) and the report; packing is in plan_pack.c. */
#include "graph/plan.h"

#include "facet/log.h"
#include "graph/graph_internal.h"

typedef struct facet_planner {
  const facet_graph *graph;
  facet_plan *plan;
  bool keep_all;
  bool *reached; /* [n_values] a loss depends on it, and it depends on a parameter */
} facet_planner;

static int64_t backward_step(const facet_plan *plan, const facet_node *node) {
  return 2 * plan->n_nodes - 1 - node->index;
}

static bool has_table(const facet_node *node) {
  for (int i = 0; i < node->n_inputs; i++)
    if (node->in[i]->kind == FACET_TENSOR_TABLE) return true;
  return false;
}

/* ---- which nodes have a backward --------------------------------------------------------------------------------- */

static void find_backward(facet_planner *planner) {
  const facet_graph *graph = planner->graph;
  for (int i = 0; i < graph->losses.n; i++) {
    const facet_tensor *loss = graph->losses.item[i].tensor;
    planner->reached[loss->index] = loss->needs_gradient;
  }
  for (int64_t i = graph->n_nodes - 1; i >= 0; i--) {
    const facet_node *node = graph->node[i];
    for (int k = 0; k < node->n_outputs; k++)
      planner->plan->backward[i] = planner->plan->backward[i] || planner->reached[node->out[k]->index];
    for (int k = 0; planner->plan->backward[i] && k < node->n_inputs; k++)
      if (node->in[k]->kind == FACET_TENSOR_ACTIVATION && node->in[k]->needs_gradient)
        planner->reached[node->in[k]->index] = true;
  }
}

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

static facet_status add_buffer(facet_plan *plan, facet_plan_part part, const char *name, size_t bytes, int64_t first,
                               int64_t last, int *index) {
  FACET_TRY(FACET_GROW(plan->buffer, plan->capacity, plan->n_buffers + 1, "memory plan"));
  plan->buffer[plan->n_buffers] =
      (facet_plan_buffer){.part = part, .name = name, .bytes = bytes, .first = first, .last = last, .storing_node = -1};
  *index = plan->n_buffers++;
  return FACET_OK;
}

static void extend(facet_plan_buffer *buffer, int64_t step) {
  if (step > buffer->last) buffer->last = step;
}

/* The output of this node lives in the memory of its input. For traces every tensor has memory of its own. */
static bool is_view(const facet_planner *planner, const facet_node *node) {
  return node->op->is_view && node->in[0]->kind == FACET_TENSOR_ACTIVATION && !planner->keep_all;
}

/* Activations: produced at their node's step; readers extend them. */
static facet_status plan_activations(facet_planner *planner) {
  const facet_graph *graph = planner->graph;
  facet_plan *plan = planner->plan;
  for (int64_t i = 0; i < graph->n_nodes; i++) {
    const facet_node *node = graph->node[i];
    unsigned reads = plan->backward[i] ? node->op->backward_reads : 0;
    for (int k = 0; k < node->n_outputs && !is_view(planner, node); k++) {
      const facet_tensor *out = node->out[k];
      int64_t last = reads & FACET_BACKWARD_READS_OUTPUTS ? backward_step(plan, node) : i;
      FACET_TRY(add_buffer(plan, FACET_PLAN_ACTIVATION, out->name, facet_tensor_bytes(out), i, last,
                           &plan->value[out->index]));
    }
    if (is_view(planner, node)) plan->value[node->out[0]->index] = plan->value[node->in[0]->index];
    for (int k = 0; k < node->n_inputs; k++) {
      const facet_tensor *in = node->in[k];
      if (in->kind != FACET_TENSOR_ACTIVATION) continue;
      facet_plan_buffer *buffer = &plan->buffer[plan->value[in->index]];
      extend(buffer, reads & FACET_BACKWARD_READS_INPUTS ? backward_step(plan, node) : i);
      if (plan->backward[i] && has_table(node) && in->dtype == FACET_DTYPE_INT32) extend(buffer, plan->n_steps - 1);
    }
  }
  const facet_result_list *lists[] = {&graph->losses, &graph->outputs, &graph->monitors};
  for (int l = 0; l < 3; l++)
    for (int i = 0; i < lists[l]->n; i++)
      extend(&plan->buffer[plan->value[lists[l]->item[i].tensor->index]], plan->n_steps - 1);
  return FACET_OK;
}

int facet_plan_input_gradient(const facet_plan *plan, const facet_tensor *tensor) {
  if (tensor->kind == FACET_TENSOR_INPUT) return plan->slot_gradient[tensor->index];
  return tensor->kind == FACET_TENSOR_ACTIVATION ? plan->value_gradient[tensor->index] : -1;
}

/* Gradients of a node's real outputs. They begin with the backward of their last reader (the first to run), or with that
 * of their producer where nothing flows back. */
static facet_status plan_output_gradients(facet_planner *planner, const facet_node *node) {
  facet_plan *plan = planner->plan;
  int64_t step = backward_step(plan, node);
  if (is_view(planner, node)) {
    plan->value_gradient[node->out[0]->index] = plan->value_gradient[node->in[0]->index];
    return FACET_OK;
  }
  for (int k = 0; k < node->n_outputs; k++) {
    const facet_tensor *out = node->out[k];
    if (out->dtype != FACET_DTYPE_REAL) continue;
    FACET_TRY(add_buffer(plan, FACET_PLAN_GRADIENT, out->name, facet_tensor_bytes(out), step,
                         has_table(node) ? plan->n_steps - 1 : step, &plan->value_gradient[out->index]));
  }
  return FACET_OK;
}

/* The backward of the last reader of a tensor runs first. It stores the gradient if it can and reads the tensor once. */
static void begin_gradient(facet_plan *plan, const facet_node *node, int index) {
  facet_plan_buffer *buffer = &plan->buffer[index];
  int n_readers = 0;
  for (int k = 0; k < node->n_inputs; k++)
    n_readers += node->in[k]->needs_gradient && facet_plan_input_gradient(plan, node->in[k]) == index;
  if (backward_step(plan, node) < buffer->first) buffer->first = backward_step(plan, node);
  buffer->storing_node = node->op->backward_stores && n_readers == 1 ? node->index : -1;
}

static facet_status plan_gradients(facet_planner *planner) {
  const facet_graph *graph = planner->graph;
  facet_plan *plan = planner->plan;
  for (int64_t i = 0; i < graph->n_nodes; i++) {
    const facet_node *node = graph->node[i];
    if (!plan->backward[i]) continue;
    for (int k = 0; k < node->n_inputs; k++) {
      const facet_tensor *in = node->in[k];
      if (in->needs_gradient && in->kind == FACET_TENSOR_INPUT && plan->slot_gradient[in->index] < 0)
        FACET_TRY(add_buffer(plan, FACET_PLAN_GRADIENT, in->name, facet_tensor_bytes(in), backward_step(plan, node),
                             plan->n_steps - 1, &plan->slot_gradient[in->index]));
    }
    for (int k = 0; k < node->n_inputs && !is_view(planner, node); k++) {
      int index = node->in[k]->needs_gradient ? facet_plan_input_gradient(plan, node->in[k]) : -1;
      if (index >= 0) begin_gradient(plan, node, index);
    }
    FACET_TRY(plan_output_gradients(planner, node));
  }
  for (int i = 0; i < graph->losses.n; i++) { /* begin with their seed */
    int index = plan->value_gradient[graph->losses.item[i].tensor->index];
    if (index >= 0) plan->buffer[index].storing_node = -1;
  }
  return FACET_OK;
}

static facet_status plan_saved(facet_planner *planner) {
  const facet_graph *graph = planner->graph;
  facet_plan *plan = planner->plan;
  for (int64_t i = 0; i < graph->n_nodes; i++) {
    const facet_node *node = graph->node[i];
    if (node->scratch_bytes > plan->report.scratch) plan->report.scratch = node->scratch_bytes;
    if (!node->saved_bytes) continue;
    int64_t last = !plan->backward[i] ? i : has_table(node) ? plan->n_steps - 1 : backward_step(plan, node);
    FACET_TRY(add_buffer(plan, FACET_PLAN_SAVED, node->name, node->saved_bytes, i, last, &plan->saved[i]));
  }
  return FACET_OK;
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

static facet_status allocate_indices(facet_plan *plan, const facet_graph *graph) {
  FACET_TRY(FACET_ALLOC(plan->backward, graph->n_nodes, "memory plan"));
  FACET_TRY(FACET_ALLOC(plan->saved, graph->n_nodes, "memory plan"));
  FACET_TRY(FACET_ALLOC(plan->value, graph->n_values, "memory plan"));
  FACET_TRY(FACET_ALLOC(plan->value_gradient, graph->n_values, "memory plan"));
  FACET_TRY(FACET_ALLOC(plan->slot_gradient, graph->n_slots, "memory plan"));
  for (int64_t i = 0; i < graph->n_nodes; i++) plan->saved[i] = -1;
  for (int i = 0; i < graph->n_values; i++) plan->value[i] = plan->value_gradient[i] = -1;
  for (int i = 0; i < graph->n_slots; i++) plan->slot_gradient[i] = -1;
  return FACET_OK;
}

static void fill_report(facet_plan *plan, const facet_graph *graph) {
  facet_plan_report *report = &plan->report;
  size_t *part[] = {&report->activations, &report->gradients, &report->saved};
  for (int i = 0; i < plan->n_buffers; i++) *part[plan->buffer[i].part] += plan->buffer[i].bytes;
  const facet_parameters *parameters = graph->parameters;
  report->parameters = (size_t)parameters->dense.n_elements * sizeof(facet_real);
  report->parameter_gradients = plan->n_steps > plan->n_nodes ? report->parameters : 0;
  report->states = (size_t)parameters->states.n_elements * sizeof(facet_real);
  for (int i = 0; i < parameters->n_tables; i++) {
    const facet_table_declaration *table = &parameters->table[i];
    report->tables +=
        table->table ? facet_table_bytes(table->table) : (size_t)(table->n_rows * table->width) * sizeof(facet_real);
  }
}

facet_status facet_plan_create(const facet_graph *graph, bool with_backward, bool keep_all, facet_plan **out) {
  FACET_TRY(facet_graph_status(graph));
  facet_status status = FACET_OK;
  facet_planner planner = {.graph = graph, .keep_all = keep_all};
  FACET_TRY(FACET_ALLOC(planner.plan, 1, "memory plan"));
  facet_plan *plan = planner.plan;
  plan->n_nodes = graph->n_nodes;
  plan->n_steps = with_backward ? 2 * graph->n_nodes : graph->n_nodes;
  FACET_TRY_GOTO(status, done, allocate_indices(plan, graph));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(planner.reached, graph->n_values, "memory plan"));
  if (with_backward) find_backward(&planner);
  FACET_TRY_GOTO(status, done, plan_activations(&planner));
  FACET_TRY_GOTO(status, done, plan_gradients(&planner));
  FACET_TRY_GOTO(status, done, plan_saved(&planner));
  for (int i = 0; keep_all && i < plan->n_buffers; i++) plan->buffer[i].last = plan->n_steps - 1;
  FACET_TRY_GOTO(status, done, facet_plan_pack(plan->buffer, plan->n_buffers, &plan->report.arena));
  fill_report(plan, graph);
done:
  facet_memory_free(planner.reached);
  if (status) facet_plan_destroy(&plan);
  *out = plan;
  return status;
}

void facet_plan_destroy(facet_plan **plan) {
  facet_plan *p = *plan;
  if (!p) return;
  facet_memory_free(p->buffer);
  facet_memory_free(p->backward);
  facet_memory_free(p->value);
  facet_memory_free(p->value_gradient);
  facet_memory_free(p->slot_gradient);
  facet_memory_free(p->saved);
  facet_memory_free(p);
  *plan = NULL;
}

/* ---- printing ---------------------------------------------------------------------------------------------------- */

static void print_total(FILE *stream, const char *what, size_t bytes) {
  fprintf(stream, "%-40s %14zu  %s\n", what, bytes, facet_format_bytes((double)bytes));
}

void facet_plan_print(const facet_plan *plan, FILE *stream) {
  static const char *const parts[] = {"activation", "gradient", "saved"};
  fprintf(stream, "%-10s  %14s  %14s  %6s  %6s  %s\n", "part", "offset", "bytes", "first", "last", "buffer");
  for (int i = 0; i < plan->n_buffers; i++) {
    const facet_plan_buffer *b = &plan->buffer[i];
    fprintf(stream, "%-10s  %14zu  %14zu  %6lld  %6lld  %s\n", parts[b->part], b->offset, b->bytes, (long long)b->first,
            (long long)b->last, b->name);
  }
  const facet_plan_report *report = &plan->report;
  size_t sum = report->activations + report->gradients + report->saved;
  fprintf(stream, "\nsteps 0 … %lld forward", (long long)plan->n_nodes - 1);
  if (plan->n_steps > plan->n_nodes)
    fprintf(stream, ", %lld … %lld backward", (long long)plan->n_nodes, (long long)plan->n_steps - 1);
  fprintf(stream, "\n");
  print_total(stream, "activations", report->activations);
  print_total(stream, "gradients", report->gradients);
  print_total(stream, "saved", report->saved);
  print_total(stream, "sum of the three", sum);
  print_total(stream, "arena (the three, packed)", report->arena);
  print_total(stream, "scratch", report->scratch);
  print_total(stream, "dense parameters", report->parameters);
  print_total(stream, "dense gradients", report->parameter_gradients);
  print_total(stream, "operator states", report->states);
  print_total(stream, "tables", report->tables);
}
