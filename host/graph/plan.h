/* The memory plan of a graph: lifetimes of all buffers, packed into one arena before anything is allocated.
 *
 * Steps 0 … n − 1 are the forward calls of the n nodes, in order; with backward, step 2n − 1 − i is the backward of node
 * i. A buffer is alive from its first to its last step, both included; buffers that are alive in a common step do not
 * share bytes.
 *   activation  from its producer to its last reader, backward readers included; outputs, losses and monitors to the end
 *   gradient    from the first accumulation into it to the backward of its producer; zero-filled at the beginning, unless
 *               the first to write it stores every element (facet_op.backward_stores)
 *   saved       from the forward of its node to its backward
 * A gather's table refers to the gradient of its output, its ids and its saved memory until facet_table_reduce: they live
 * to the end. The output of a view (facet_op.is_view) has the buffers of its input. Nodes whose outputs no loss depends
 * on, or whose inputs need no gradient, have no backward. */
#ifndef FACET_PLAN_H
#define FACET_PLAN_H

#include "facet/executor.h"
#include "facet/graph.h"

typedef enum facet_plan_part { FACET_PLAN_ACTIVATION, FACET_PLAN_GRADIENT, FACET_PLAN_SAVED } facet_plan_part;

typedef struct facet_plan_buffer {
  facet_plan_part part;
  const char *name;     /* of the tensor, or of the node for saved memory */
  size_t bytes, offset; /* offset in the arena, a multiple of FACET_ALIGNMENT */
  int64_t first, last;  /* steps */
  int64_t
      storing_node; /* of a gradient: the node whose backward is the first to write it and stores it; −1: none does */
} facet_plan_buffer;

typedef struct facet_plan {
  int64_t n_nodes, n_steps; /* n_steps = n_nodes, or twice that with backward */
  facet_plan_buffer *buffer;
  int n_buffers;
  size_t capacity;
  bool *backward;      /* [n_nodes] the node has a backward call */
  int *value;          /* [n_values] buffer of an activation */
  int *value_gradient; /* [n_values] buffer of its gradient, or −1 */
  int *slot_gradient;  /* [n_slots] buffer of an input's gradient, or −1 */
  int *saved;          /* [n_nodes] buffer, or −1 */
  facet_plan_report report;
} facet_plan;

/* Plans the finished graph; facet_graph_status is checked first. With keep_all every buffer lives to the last step, so that
 * all can be read after it (traces). */
facet_status facet_plan_create(const facet_graph *graph, bool with_backward, bool keep_all, facet_plan **plan);
void facet_plan_destroy(facet_plan **plan);

/* Buffer of the gradient of an input of a node; −1: none, or in the parameters' memory. */
int facet_plan_input_gradient(const facet_plan *plan, const facet_tensor *tensor);

/* One line per buffer with offset, bytes, first and last step; a total per part. */
void facet_plan_print(const facet_plan *plan, FILE *stream);

/* Sets the offsets of n buffers, first fit by decreasing size; *arena_bytes is the end of the last. */
facet_status facet_plan_pack(facet_plan_buffer *buffers, int n, size_t *arena_bytes);

#endif
