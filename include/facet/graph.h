/* Graphs: a model's build function makes one static graph per program; shapes are checked when a node is made.
 *
 * Builders return NULL after an error, and NULL inputs give NULL, so a build function reads straight through; the
 * first error is kept and returned by facet_graph_status. Names: every node has a unique name ("mlp.0"); parameters of
 * the same name are the same parameter, in one program and in all programs of a model. */
#ifndef FACET_GRAPH_H
#define FACET_GRAPH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "facet/batch.h"
#include "facet/op.h"
#include "facet/schema.h"
#include "facet/status.h"
#include "facet/table.h"
#include "facet/tensor.h"

typedef struct facet_graph facet_graph;
typedef struct facet_parameters facet_parameters;
typedef struct facet_node facet_node;

typedef struct facet_tensor {
  const char *name;
  facet_tensor_kind kind;
  facet_dtype dtype;
  facet_shape shape;
  bool needs_gradient;  /* a parameter, or depends on one */
  int index;            /* input: slot; parameter, table, state: index in facet_parameters; activation: value number */
  facet_node *producer; /* activation: its node, and which output */
  int output;
} facet_tensor;

typedef enum facet_program { FACET_PROGRAM_TRAIN, FACET_PROGRAM_EVALUATE, FACET_PROGRAM_SERVE } facet_program;
const char *facet_program_name(facet_program program);

typedef enum facet_init_kind {
  FACET_INIT_ZERO,
  FACET_INIT_CONSTANT,      /* value */
  FACET_INIT_NORMAL,        /* N(0, value²) */
  FACET_INIT_GLOROT_UNIFORM /* U(±√(6/(fan_in + fan_out))), fans = the two dimensions of a matrix */
} facet_init_kind;
typedef struct facet_init {
  facet_init_kind kind;
  double value;
} facet_init;

/* ---- parameters: shared between the programs of a model --------------------------------------------------------- */

/* Dense parameters, gradients and operator state are contiguous arenas; tables stand beside them. Parameters are
 * declared while graphs are built and allocated and initialised by facet_parameters_allocate: element i of parameter
 * "name" is a function of (seed, name, i), whatever else exists. */
facet_status facet_parameters_create(facet_parameters **parameters);
void facet_parameters_destroy(facet_parameters **parameters);
facet_status facet_parameters_allocate(facet_parameters *parameters, uint64_t seed, bool with_gradients);

typedef struct facet_parameter_info {
  const char *name;
  facet_shape shape;
  int64_t offset; /* elements from the start of the arena (values and gradients alike) */
  bool decay;     /* a matrix: weight decay and ℓ2 apply; false for biases and norm gains */
} facet_parameter_info;
int facet_parameters_n_dense(const facet_parameters *parameters);
const facet_parameter_info *facet_parameters_dense(const facet_parameters *parameters, int i);
int64_t facet_parameters_n_elements(const facet_parameters *parameters); /* of the dense arena, padding included */
facet_real *facet_parameters_values(facet_parameters *parameters);       /* [n_elements] */
facet_real *facet_parameters_gradients(facet_parameters *parameters);    /* [n_elements], or NULL */

int facet_parameters_n_states(const facet_parameters *parameters);
/* offsets in the state arena */
const facet_parameter_info *facet_parameters_state(const facet_parameters *parameters, int i);
facet_real *facet_parameters_state_values(facet_parameters *parameters);

int facet_parameters_n_tables(const facet_parameters *parameters);
facet_table *facet_parameters_table(facet_parameters *parameters, int i); /* NULL before facet_parameters_allocate */

/* ---- building --------------------------------------------------------------------------------------------------- */

/* batch_size is the micro-batch of one rank; max_length > 0 cuts sequences that the schema stores longer. The schema must
 * outlive the graph; it may be NULL for a graph that has only inputs of facet_graph_input (tests). A dimension of any
 * tensor is at least 1. */
facet_status facet_graph_create(facet_program program, const facet_schema *schema, int64_t batch_size,
                                int64_t max_length, facet_parameters *parameters, facet_graph **graph);
void facet_graph_destroy(facet_graph **graph);
facet_program facet_graph_program(const facet_graph *graph);
const facet_schema *facet_graph_schema(const facet_graph *graph);
int64_t facet_graph_batch_size(const facet_graph *graph);
facet_status facet_graph_status(const facet_graph *graph); /* the first error of building; restores its description */
/* Names the model whose build function runs next: errors begin with "models/<model>.c: ". */
void facet_graph_set_model(facet_graph *graph, const char *model);
/* Fails the graph from a build function; returns NULL. An error that came before is kept. */
facet_tensor *facet_graph_fail(facet_graph *graph, facet_status status, const char *format, ...) FACET_PRINTF(3, 4);

/* Says that this program wants the newest event of a sequence first (default: oldest first); before its inputs. */
void facet_graph_newest_first(facet_graph *graph, int sequence, bool newest_first);

/* Inputs, made on first use. int32 ids [B], bags [B, K], sequences [B, L], bags in sequences [B, L, K];
 * real [B, length] and [B, L, length]. */
facet_tensor *facet_graph_feature(facet_graph *graph, int feature);
facet_tensor *facet_graph_length(facet_graph *graph, int sequence); /* int32 [B] */
facet_tensor *facet_graph_label(facet_graph *graph);                /* real [B] */
facet_tensor *facet_graph_weight(facet_graph *graph);               /* real [B]; 0 for padding */
facet_tensor *facet_graph_valid(facet_graph *graph);                /* real [B] */
/* An input that is not from the batch (tests): filled by facet_executor_input. */
facet_tensor *facet_graph_input(facet_graph *graph, const char *name, facet_dtype dtype, facet_shape shape,
                                bool needs_gradient);

/* A name stands for one parameter, state or table, here and in other programs; shape and initial value must agree. A
 * parameter or table may be asked for again, so that nodes share it: the same tensor is returned, and the gradients of
 * all its nodes are added. A state is made once per program: one node owns it. Only tables begin with a zero row (the
 * padding id 0). */
facet_tensor *facet_graph_parameter(facet_graph *graph, const char *name, facet_shape shape, facet_init init,
                                    bool decay);
facet_tensor *facet_graph_state(facet_graph *graph, const char *name, facet_shape shape, facet_init init);
facet_tensor *facet_graph_table(facet_graph *graph, const char *name, int64_t n_rows, int64_t width, facet_init init);

/* Adds a node; `params` (op->params_bytes) is copied. Returns output 0; outputs (may be NULL) receives all. Output 0 is
 * named like the node, output k "<node>:k". */
facet_tensor *facet_graph_node(facet_graph *graph, const facet_op *op, const char *name, facet_tensor *const *inputs,
                               int n_inputs, const void *params, facet_tensor **outputs);

/* Names joined with a dot, owned by the graph: facet_graph_name(g, "%s.weight", name). */
const char *facet_graph_name(facet_graph *graph, const char *format, ...) FACET_PRINTF(2, 3);

/* A scalar loss with its weight in the sum; `name` appears in the logs ("bce"). */
void facet_graph_loss(facet_graph *graph, const char *name, facet_tensor *loss, double weight);
/* A named result: "logit" [B] is what evaluation and predict read. */
void facet_graph_output(facet_graph *graph, const char *name, facet_tensor *tensor);
/* A scalar that is logged beside the losses. */
void facet_graph_monitor(facet_graph *graph, const char *name, facet_tensor *scalar);

/* ---- looking at it ---------------------------------------------------------------------------------------------- */

int64_t facet_graph_n_nodes(const facet_graph *graph);
/* Nodes with inputs, shapes, parameters and cost as a table. */
void facet_graph_print(const facet_graph *graph, FILE *stream);
void facet_graph_print_dot(const facet_graph *graph, FILE *stream); /* Graphviz */

#endif
