/* Every tensor of a step, for traces. */
#include "graph/executor_internal.h"

int64_t facet_executor_n_traced(const facet_executor *executor) {
  return executor->graph->n_slots + executor->graph->n_values;
}

static facet_traced_tensor describe(const facet_executor *executor, const facet_tensor *tensor) {
  return (facet_traced_tensor){.name = tensor->name,
                               .dtype = tensor->dtype,
                               .shape = tensor->shape,
                               .value = facet_executor_memory(executor, tensor),
                               .gradient = facet_executor_gradient(executor, tensor)};
}

facet_traced_tensor facet_executor_traced(const facet_executor *executor, int64_t i) {
  const facet_graph *graph = executor->graph;
  if (i < graph->n_slots) {
    facet_traced_tensor input = describe(executor, graph->slot[i].tensor);
    input.is_input = true;
    return input;
  }
  i -= graph->n_slots; /* the value's number: nodes number their outputs in order */
  int64_t low = 0, high = graph->n_nodes - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (graph->node[middle]->out[0]->index <= i)
      low = middle;
    else
      high = middle - 1;
  }
  const facet_node *node = graph->node[low];
  facet_traced_tensor output = describe(executor, node->out[i - node->out[0]->index]);
  output.is_random = node->n_inputs == 0;
  return output;
}
