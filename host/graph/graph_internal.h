/* What the files of host/graph share: the inside of graphs and parameters. */
#ifndef FACET_GRAPH_INTERNAL_H
#define FACET_GRAPH_INTERNAL_H

#include "facet/graph.h"
#include "facet/memory.h"

struct facet_node {
  const char *name;
  const facet_op *op;
  const void *params;
  int64_t index; /* forward step */
  int n_inputs, n_outputs;
  facet_tensor *in[FACET_OP_MAX_INPUTS];
  facet_tensor *out[FACET_OP_MAX_OUTPUTS];
  size_t saved_bytes, scratch_bytes;
  facet_cost cost;
};

typedef enum facet_input_source {
  FACET_INPUT_FEATURE,
  FACET_INPUT_LENGTH,
  FACET_INPUT_LABEL,
  FACET_INPUT_WEIGHT,
  FACET_INPUT_VALID,
  FACET_INPUT_CUSTOM /* facet_graph_input: memory of the executor */
} facet_input_source;

typedef struct facet_graph_slot { /* an input of the graph */
  facet_tensor *tensor;
  facet_input_source source;
  int index; /* feature or sequence */
} facet_graph_slot;

typedef struct facet_graph_result { /* a loss, output or monitor */
  const char *name;
  facet_tensor *tensor;
  double weight; /* of a loss in the sum */
} facet_graph_result;

typedef struct facet_result_list {
  facet_graph_result *item;
  int n;
  size_t capacity;
} facet_result_list;

struct facet_graph {
  facet_program program;
  const facet_schema *schema; /* may be NULL: only inputs of facet_graph_input */
  int64_t batch_size, max_length;
  facet_parameters *parameters;
  const char *model; /* NULL: not from a model file */
  facet_error error; /* the first of building */
  facet_arena *arena;
  bool *newest_first; /* [n_sequences] */

  facet_node **node;
  int64_t n_nodes;
  size_t node_capacity;
  facet_graph_slot *slot;
  int n_slots;
  size_t slot_capacity;
  facet_tensor **constant; /* parameters, tables and states that this program uses */
  int n_constants;
  size_t constant_capacity;
  int n_values; /* activations made so far */
  facet_result_list losses, outputs, monitors;
};

typedef struct facet_parameter {
  facet_parameter_info info;
  facet_init init;
} facet_parameter;

typedef struct facet_table_declaration {
  const char *name;
  int64_t n_rows, width;
  facet_init init;
  facet_table *table; /* made by facet_parameters_allocate */
} facet_table_declaration;

typedef struct facet_parameter_list {
  facet_parameter *item;
  int n;
  size_t capacity;
  int64_t n_elements; /* of the arena, padding included */
} facet_parameter_list;

struct facet_parameters {
  facet_arena *arena; /* names */
  facet_parameter_list dense, states;
  facet_table_declaration *table;
  int n_tables;
  size_t table_capacity;
  bool allocated;
  facet_real *values, *gradients, *state_values;
};

/* Declares a parameter, state or table, or finds the one that another program has declared; its index. */
facet_status facet_parameters_declare_dense(facet_parameters *parameters, const char *name, facet_shape shape,
                                            facet_init init, bool decay, int *index);
facet_status facet_parameters_declare_state(facet_parameters *parameters, const char *name, facet_shape shape,
                                            facet_init init, int *index);
facet_status facet_parameters_declare_table(facet_parameters *parameters, const char *name, int64_t n_rows,
                                            int64_t width, facet_init init, int *index);

/* A copy of `like` owned by the graph, its shape checked; NULL after failing the graph. */
facet_tensor *facet_graph_new_tensor(facet_graph *graph, const char *what, const facet_tensor *like);
/* Keeps the present error of this thread as the graph's, unless it has one; returns NULL. */
void *facet_graph_keep_error(facet_graph *graph);

/* Bytes of the elements of a tensor. */
size_t facet_tensor_bytes(const facet_tensor *tensor);

#endif
