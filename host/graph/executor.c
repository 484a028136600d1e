/* Execution: prepared calls over planned memory. */
#include "facet/executor.h"

#include <string.h>

#include "facet/environment.h"
#include "facet/log.h"
#include "graph/executor_internal.h"

/* ---- preparation ------------------------------------------------------------------------------------------------- */

/* Kernels of every call; all operators that the backend lacks are named in one error. */
static facet_status find_kernels(facet_executor *executor) {
  const facet_graph *graph = executor->graph;
  char missing[1024] = "";
  size_t used = 0;
  for (int64_t i = 0; i < graph->n_nodes; i++) {
    const facet_op *op = graph->node[i]->op;
    facet_op_kernels kernels = executor->device->backend->kernels(op);
    executor->call[i].kernels = kernels;
    bool lacks_forward = !kernels.forward, lacks_backward = executor->plan->backward[i] && !kernels.backward;
    if (!lacks_forward && !lacks_backward) continue;
    bool listed = false; /* another node of the same operator */
    for (int64_t k = 0; k < i && !listed; k++) {
      bool backward = executor->plan->backward[k] && !executor->call[k].kernels.backward;
      listed = graph->node[k]->op == op && (lacks_forward || backward);
    }
    if (listed || used + 1 >= sizeof missing) continue;
    used += (size_t)snprintf(missing + used, sizeof missing - used, "%s%s%s", used ? ", " : "", op->name,
                             lacks_forward ? "" : " (backward)");
  }
  FACET_CHECK(!used, FACET_ERROR_DEVICE, "backend %s lacks operators of program %s: %s",
              executor->device->backend->name, facet_program_name(graph->program), missing);
  return FACET_OK;
}

void *facet_executor_memory(const facet_executor *executor, const facet_tensor *tensor) {
  facet_parameters *parameters = executor->graph->parameters;
  switch (tensor->kind) {
  case FACET_TENSOR_PARAMETER:
    return parameters->values + parameters->dense.item[tensor->index].info.offset;
  case FACET_TENSOR_STATE:
    return parameters->state_values + parameters->states.item[tensor->index].info.offset;
  case FACET_TENSOR_ACTIVATION:
    return executor->memory + executor->plan->buffer[executor->plan->value[tensor->index]].offset;
  case FACET_TENSOR_INPUT:
    return executor->custom[tensor->index];
  case FACET_TENSOR_TABLE:
    break;
  }
  return NULL;
}

facet_real *facet_executor_gradient(const facet_executor *executor, const facet_tensor *tensor) {
  const facet_plan *plan = executor->plan;
  if (tensor->kind == FACET_TENSOR_PARAMETER)
    return executor->graph->parameters->gradients + executor->graph->parameters->dense.item[tensor->index].info.offset;
  int buffer = facet_plan_input_gradient(plan, tensor);
  return buffer < 0 ? NULL : (facet_real *)(void *)(executor->memory + plan->buffer[buffer].offset);
}

static void prepare_call(facet_executor *executor, int64_t i) {
  const facet_node *node = executor->graph->node[i];
  const facet_plan *plan = executor->plan;
  facet_op_call *call = &executor->call[i];
  call->op = node->op;
  call->node = node->name;
  call->params = node->params;
  call->n_inputs = node->n_inputs;
  call->n_outputs = node->n_outputs;
  for (int k = 0; k < node->n_inputs; k++) {
    const facet_tensor *in = node->in[k];
    call->in_shape[k] = in->shape;
    call->in[k] = facet_executor_memory(executor, in);
    if (in->kind == FACET_TENSOR_TABLE) call->table[k] = facet_parameters_table(executor->graph->parameters, in->index);
    if (!plan->backward[i] || !in->needs_gradient) continue;
    int gradient = facet_plan_input_gradient(plan, in);
    call->d_in[k] = facet_executor_gradient(executor, in);
    call->store[k] = gradient >= 0 && plan->buffer[gradient].storing_node == i;
  }
  for (int k = 0; k < node->n_outputs; k++) {
    call->out_shape[k] = node->out[k]->shape;
    call->out[k] = facet_executor_memory(executor, node->out[k]);
    if (plan->backward[i]) call->d_out[k] = facet_executor_gradient(executor, node->out[k]);
  }
  if (plan->saved[i] >= 0) call->saved = executor->memory + plan->buffer[plan->saved[i]].offset;
  if (node->scratch_bytes) call->scratch = executor->memory + plan->report.arena;
  call->precision = executor->device->precision;
  call->run = &executor->run;
  executor->order[i] = call;
}

/* Buffers by the step in which they begin (a counting sort). */
static void index_lifetimes(facet_executor *executor) {
  const facet_plan *plan = executor->plan;
  for (int i = 0; i < plan->n_buffers; i++) executor->begin[plan->buffer[i].first + 1]++;
  for (int64_t s = 0; s < plan->n_steps; s++) executor->begin[s + 1] += executor->begin[s];
  for (int i = plan->n_buffers - 1; i >= 0; i--) {
    int64_t s = plan->buffer[i].first;
    executor->begin_buffer[--executor->begin[s + 1]] = i;
  }
  for (int64_t s = 0; s < plan->n_steps; s++) executor->begin[s] = executor->begin[s + 1];
  executor->begin[plan->n_steps] = plan->n_buffers;
}

static void index_losses(facet_executor *executor) {
  const facet_result_list *losses = &executor->graph->losses;
  for (int i = 0; i < losses->n; i++) {
    int buffer = executor->plan->value_gradient[losses->item[i].tensor->index];
    if (buffer >= 0) executor->seed_weight[buffer] += losses->item[i].weight;
  }
}

static facet_status make_layout(facet_executor *executor) {
  const facet_graph *graph = executor->graph;
  if (!graph->schema) return FACET_OK;
  FACET_TRY(facet_batch_layout_create(graph->schema, graph->batch_size, graph->max_length, &executor->layout));
  for (int i = 0; i < graph->schema->n_features; i++) executor->layout->used[i] = false;
  for (int i = 0; i < graph->schema->n_sequences; i++) executor->layout->newest_first[i] = graph->newest_first[i];
  for (int i = 0; i < graph->n_slots; i++)
    if (graph->slot[i].source == FACET_INPUT_FEATURE) executor->layout->used[graph->slot[i].index] = true;
  return FACET_OK;
}

static facet_status allocate_host(facet_executor *executor) {
  const facet_graph *graph = executor->graph;
  const facet_plan *plan = executor->plan;
  FACET_TRY(FACET_ALLOC(executor->call, graph->n_nodes, "prepared calls"));
  FACET_TRY(FACET_ALLOC(executor->order, graph->n_nodes, "prepared calls"));
  FACET_TRY(FACET_ALLOC(executor->custom, graph->n_slots, "graph inputs"));
  FACET_TRY(FACET_ALLOC(executor->begin, plan->n_steps + 1, "memory plan"));
  FACET_TRY(FACET_ALLOC(executor->begin_buffer, plan->n_buffers, "memory plan"));
  FACET_TRY(FACET_ALLOC(executor->seed_weight, plan->n_buffers, "memory plan"));
  FACET_TRY(FACET_ALLOC(executor->loss, graph->losses.n, "losses"));
  FACET_TRY(FACET_ALLOC(executor->monitor, graph->monitors.n, "monitors"));
  FACET_TRY(FACET_ALLOC(executor->row, graph->batch_size, "rows"));
  for (int64_t i = 0; i < graph->batch_size; i++) executor->row[i] = i;
  FACET_TRY(FACET_ALLOC(executor->table, graph->n_constants, "tables"));
  for (int i = 0; i < graph->n_constants; i++)
    if (graph->constant[i]->kind == FACET_TENSOR_TABLE)
      executor->table[executor->n_tables++] = facet_parameters_table(graph->parameters, graph->constant[i]->index);
  return FACET_OK;
}

static facet_status allocate_device(facet_executor *executor) {
  const facet_graph *graph = executor->graph;
  const facet_backend *backend = executor->device->backend;
  const facet_plan_report *report = &executor->plan->report;
  void *memory = NULL;
  FACET_TRY(backend->alloc(executor->device, report->arena + report->scratch, "the memory plan", &memory));
  executor->memory = memory;
  for (int i = 0; i < graph->n_slots; i++) {
    if (graph->slot[i].source != FACET_INPUT_CUSTOM) continue;
    const facet_tensor *tensor = graph->slot[i].tensor;
    FACET_TRY(backend->alloc(executor->device, facet_tensor_bytes(tensor), tensor->name, &executor->custom[i]));
  }
  return FACET_OK;
}

static facet_status check_ready(const facet_graph *graph, bool with_backward) {
  FACET_TRY(facet_graph_status(graph));
  FACET_CHECK(graph->parameters->allocated, FACET_ERROR_INTERNAL,
              "an executor was made before facet_parameters_allocate");
  FACET_CHECK(!with_backward || graph->parameters->gradients, FACET_ERROR_INTERNAL,
              "an executor with backward needs parameters that were allocated with gradients");
  FACET_CHECK(!with_backward || graph->losses.n, FACET_ERROR_USAGE, "program %s has no loss to differentiate",
              facet_program_name(graph->program));
  return FACET_OK;
}

static void log_plan(const facet_executor *executor) {
  const facet_plan_report *report = &executor->plan->report;
  facet_debug("program %s: memory plan of %s for %s of activations, %s of gradients and %s saved, and %s of scratch",
              facet_program_name(executor->graph->program), facet_format_bytes((double)report->arena),
              facet_format_bytes((double)report->activations), facet_format_bytes((double)report->gradients),
              facet_format_bytes((double)report->saved), facet_format_bytes((double)report->scratch));
}

static facet_status create(facet_graph *graph, facet_device *device, bool with_backward, bool keep_all,
                           facet_executor **out) {
  FACET_TRY(check_ready(graph, with_backward));
  facet_status status = FACET_OK;
  facet_executor *executor = NULL;
  FACET_TRY(FACET_ALLOC(executor, 1, "executor"));
  executor->graph = graph;
  executor->device = device;
  FACET_TRY_GOTO(status, fail, facet_plan_create(graph, with_backward, keep_all, &executor->plan));
  FACET_TRY_GOTO(status, fail, allocate_host(executor));
  FACET_TRY_GOTO(status, fail, find_kernels(executor));
  log_plan(executor);
  FACET_TRY_GOTO(status, fail, make_layout(executor));
  FACET_TRY_GOTO(status, fail, allocate_device(executor));
  for (int64_t i = 0; i < graph->n_nodes; i++) prepare_call(executor, i);
  index_lifetimes(executor);
  index_losses(executor);
  *out = executor;
  return FACET_OK;
fail:
  facet_executor_destroy(&executor);
  return status;
}

facet_status facet_executor_create(facet_graph *graph, facet_device *device, bool with_backward, facet_executor **out) {
  return create(graph, device, with_backward, false, out);
}

facet_status facet_executor_create_traced(facet_graph *graph, facet_device *device, facet_executor **out) {
  return create(graph, device, true, true, out);
}

void facet_executor_destroy(facet_executor **executor) {
  facet_executor *e = *executor;
  if (!e) return;
  const facet_backend *backend = e->device->backend;
  for (int i = 0; e->custom && i < e->graph->n_slots; i++)
    if (e->graph->slot[i].source == FACET_INPUT_CUSTOM) backend->free(e->device, e->custom[i]);
  backend->free(e->device, e->memory);
  facet_batch_layout_destroy(&e->layout);
  facet_plan_destroy(&e->plan);
  facet_memory_free(e->call);
  facet_memory_free(e->order);
  facet_memory_free(e->custom);
  facet_memory_free(e->begin);
  facet_memory_free(e->begin_buffer);
  facet_memory_free(e->seed_weight);
  facet_memory_free(e->loss);
  facet_memory_free(e->monitor);
  facet_memory_free(e->row);
  facet_memory_free(e->table);
  facet_memory_free(e);
  *executor = NULL;
}

facet_status facet_executor_reserve_tables(facet_executor *executor, int64_t accumulate) {
  const facet_graph *graph = executor->graph;
  for (int c = 0; c < graph->n_constants; c++) {
    const facet_tensor *table = graph->constant[c];
    if (table->kind != FACET_TENSOR_TABLE) continue;
    int64_t n_pairs = 0; /* a node emits at most one pair for each of the ids that follow a table */
    for (int64_t i = 0; i < graph->n_nodes; i++) {
      const facet_node *node = graph->node[i];
      for (int k = 0; k + 1 < node->n_inputs; k++)
        if (node->in[k] == table) n_pairs += facet_shape_elements(&node->in[k + 1]->shape);
    }
    FACET_TRY(facet_table_reserve(facet_parameters_table(graph->parameters, table->index), n_pairs, accumulate));
  }
  return FACET_OK;
}

const facet_batch_layout *facet_executor_batch_layout(const facet_executor *executor) {
  return executor->layout;
}
facet_plan_report facet_executor_report(const facet_executor *executor) {
  return executor->plan->report;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* Fills the buffers that begin in a step: gradients that are added to with zero (losses with their seed), others, if
 * wanted, with NaN: all bits set are a NaN in both precisions, and −1 in integers. */
static facet_status begin_step(facet_executor *executor, int64_t step, double seed, bool poison) {
  const facet_backend *backend = executor->device->backend;
  const facet_plan *plan = executor->plan;
  for (int b = executor->begin[step]; b < executor->begin[step + 1]; b++) {
    int index = executor->begin_buffer[b];
    const facet_plan_buffer *buffer = &plan->buffer[index];
    bool zero = buffer->part == FACET_PLAN_GRADIENT && buffer->storing_node < 0;
    void *memory = executor->memory + buffer->offset;
    if (zero || poison) FACET_TRY(backend->fill(executor->device, memory, zero ? 0 : 0xFF, buffer->bytes));
    if (executor->seed_weight[index] == 0) continue;
    facet_real value = (facet_real)(seed * executor->seed_weight[index]);
    FACET_TRY(backend->copy_in(executor->device, memory, &value, sizeof value));
  }
  if (poison && plan->report.scratch)
    FACET_TRY(backend->fill(executor->device, executor->memory + plan->report.arena, 0xFF, plan->report.scratch));
  return FACET_OK;
}

facet_status facet_executor_step(facet_executor *executor, int64_t step, double seed) {
  const facet_plan *plan = executor->plan;
  int64_t node = step < plan->n_nodes ? step : 2 * plan->n_nodes - 1 - step;
  int direction = step < plan->n_nodes ? 1 : -1;
  if (direction < 0 && !plan->backward[node]) return FACET_OK; /* then no buffer begins here */
  FACET_TRY(begin_step(executor, step, seed, facet_environment_get()->poison));
  return executor->device->backend->run(executor->device, &executor->order[node], 1, direction);
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

static void *batch_memory(const facet_batch *batch, const facet_graph_slot *slot) {
  switch (slot->source) {
  case FACET_INPUT_FEATURE:
    return batch->ids[slot->index] ? (void *)batch->ids[slot->index] : batch->floats[slot->index];
  case FACET_INPUT_LENGTH:
    return batch->length[slot->index];
  case FACET_INPUT_LABEL:
    return batch->label;
  case FACET_INPUT_WEIGHT:
    return batch->weight;
  case FACET_INPUT_VALID:
    return batch->valid;
  case FACET_INPUT_CUSTOM:
    break;
  }
  return NULL;
}

/* A batch of another layout must agree in everything that the graph reads. */
static facet_status check_layout(const facet_executor *executor, const facet_batch *batch) {
  const facet_batch_layout *have = batch->layout, *want = executor->layout;
  if (have == want) return FACET_OK;
  FACET_CHECK(want && have->schema == want->schema && have->batch_size == want->batch_size, FACET_ERROR_INTERNAL,
              "a batch of %lld samples does not fit the graph of program %s", (long long)have->batch_size,
              facet_program_name(executor->graph->program));
  for (int i = 0; i < want->schema->n_sequences; i++)
    FACET_CHECK(have->max_length[i] == want->max_length[i] && have->newest_first[i] == want->newest_first[i],
                FACET_ERROR_INTERNAL, "sequence %s of a batch has another length or direction than in program %s",
                want->schema->sequences[i].name, facet_program_name(executor->graph->program));
  return FACET_OK;
}

static facet_status bind_inputs(facet_executor *executor, const facet_batch *batch) {
  const facet_graph *graph = executor->graph;
  if (batch) FACET_TRY(check_layout(executor, batch));
  for (int i = 0; i < graph->n_slots; i++) {
    const facet_graph_slot *slot = &graph->slot[i];
    if (slot->source == FACET_INPUT_CUSTOM) continue;
    executor->custom[i] = batch ? batch_memory(batch, slot) : NULL;
    FACET_CHECK(executor->custom[i], FACET_ERROR_INTERNAL, "the batch has no values for input \"%s\"",
                slot->tensor->name);
  }
  for (int64_t i = 0; i < graph->n_nodes; i++) {
    const facet_node *node = graph->node[i];
    for (int k = 0; k < node->n_inputs; k++)
      if (node->in[k]->kind == FACET_TENSOR_INPUT) executor->call[i].in[k] = executor->custom[node->in[k]->index];
  }
  return FACET_OK;
}

static facet_status read_scalars(facet_executor *executor, const facet_result_list *list, double *values) {
  for (int i = 0; i < list->n; i++) {
    facet_real value;
    FACET_TRY(executor->device->backend->copy_out(executor->device, &value,
                                                  facet_executor_memory(executor, list->item[i].tensor), sizeof value));
    values[i] = (double)value;
  }
  return FACET_OK;
}

facet_status facet_executor_forward(facet_executor *executor, const facet_batch *batch, const facet_run *run) {
  const facet_graph *graph = executor->graph;
  executor->ran = false;
  FACET_TRY(bind_inputs(executor, batch));
  executor->run = *run;
  executor->run.batch_size = graph->batch_size;
  executor->run.n_rows = batch ? batch->n_rows : graph->batch_size;
  executor->run.row = batch ? batch->row : executor->row;
  if (facet_environment_get()->poison)
    for (int64_t step = 0; step < graph->n_nodes; step++) FACET_TRY(facet_executor_step(executor, step, 0));
  else
    FACET_TRY(executor->device->backend->run(executor->device, executor->order, graph->n_nodes, 1));
  FACET_TRY(read_scalars(executor, &graph->losses, executor->loss));
  FACET_TRY(read_scalars(executor, &graph->monitors, executor->monitor));
  executor->ran = true;
  return FACET_OK;
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

facet_status facet_executor_backward(facet_executor *executor, double seed) {
  const facet_plan *plan = executor->plan;
  FACET_CHECK(plan->n_steps > plan->n_nodes, FACET_ERROR_INTERNAL, "the executor was made without backward");
  FACET_CHECK(executor->ran, FACET_ERROR_INTERNAL, "backward without a forward before it");
  executor->ran = false; /* activations are overwritten */
  for (int64_t step = plan->n_nodes; step < plan->n_steps; step++) FACET_TRY(facet_executor_step(executor, step, seed));
  FACET_TRY(executor->device->backend->synchronize(executor->device));
  const double start = facet_clock();
  FACET_TRY(facet_table_reduce(executor->table, executor->n_tables));
  executor->reduce_seconds += facet_clock() - start;
  return FACET_OK;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

int facet_executor_n_losses(const facet_executor *executor) {
  return executor->graph->losses.n;
}
const char *facet_executor_loss_name(const facet_executor *executor, int i) {
  return executor->graph->losses.item[i].name;
}
double facet_executor_loss(const facet_executor *executor, int i) {
  return executor->loss[i];
}
double facet_executor_total_loss(const facet_executor *executor) {
  double sum = 0;
  const facet_result_list *losses = &executor->graph->losses;
  for (int i = 0; i < losses->n; i++) sum += losses->item[i].weight * executor->loss[i];
  return sum;
}
int facet_executor_n_monitors(const facet_executor *executor) {
  return executor->graph->monitors.n;
}
const char *facet_executor_monitor_name(const facet_executor *executor, int i) {
  return executor->graph->monitors.item[i].name;
}
double facet_executor_monitor(const facet_executor *executor, int i) {
  return executor->monitor[i];
}

facet_status facet_executor_output(const facet_executor *executor, const char *name, facet_real *out, int64_t n) {
  const facet_result_list *outputs = &executor->graph->outputs;
  for (int i = 0; i < outputs->n; i++) {
    if (strcmp(outputs->item[i].name, name) != 0) continue;
    const facet_tensor *tensor = outputs->item[i].tensor;
    char text[64];
    FACET_CHECK(tensor->dtype == FACET_DTYPE_REAL && facet_shape_elements(&tensor->shape) == n, FACET_ERROR_INTERNAL,
                "output \"%s\" has shape %s, but %lld real numbers are asked for", name,
                facet_shape_format(&tensor->shape, text, sizeof text), (long long)n);
    return executor->device->backend->copy_out(executor->device, out, facet_executor_memory(executor, tensor),
                                               facet_tensor_bytes(tensor));
  }
  FACET_FAIL(FACET_ERROR_INTERNAL, "program %s has no output \"%s\"", facet_program_name(executor->graph->program),
             name);
}

static const facet_tensor *find_tensor(const facet_graph *graph, const char *name) {
  for (int i = 0; i < graph->n_slots; i++)
    if (strcmp(graph->slot[i].tensor->name, name) == 0) return graph->slot[i].tensor;
  for (int64_t i = 0; i < graph->n_nodes; i++)
    for (int k = 0; k < graph->node[i]->n_outputs; k++)
      if (strcmp(graph->node[i]->out[k]->name, name) == 0) return graph->node[i]->out[k];
  return NULL;
}

void *facet_executor_input(facet_executor *executor, const char *name) {
  const facet_tensor *tensor = find_tensor(executor->graph, name);
  return tensor ? facet_executor_memory(executor, tensor) : NULL;
}

facet_real *facet_executor_input_gradient(facet_executor *executor, const char *name) {
  const facet_tensor *tensor = find_tensor(executor->graph, name);
  return tensor && tensor->kind == FACET_TENSOR_INPUT ? facet_executor_gradient(executor, tensor) : NULL;
}
