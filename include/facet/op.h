/* Operators: a descriptor with shape rule, cost, forward and backward. One file host/ops/<op>.c is one operator;
 * docs/add_an_operator.md walks through one.
 *
 * Rules for kernels: no allocation, no global state; forward writes every element of its outputs; backward
 * ACCUMULATES (+=) into the input gradients that are not NULL and must not touch the others, or writes every element of
 * those that the call says are to be stored (an operator that can do so has backward_stores: it saves a pass that fills
 * the gradient with zeros and one that reads them back); rows with valid = 0 change nothing for valid rows; the order of
 * every reduction is fixed (not dependent on scheduling). */
#ifndef FACET_OP_H
#define FACET_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facet/status.h"
#include "facet/tensor.h"

#define FACET_OP_MAX_INPUTS 128 /* denoise has 18 parameters a layer */
#define FACET_OP_MAX_OUTPUTS 4

typedef struct facet_table facet_table;

/* Of the factors of dense products (linear layers and the denoiser's); sums, and everything else, are float32. */
typedef enum facet_precision { FACET_PRECISION_FLOAT32, FACET_PRECISION_BF16 } facet_precision;

/* What an operator may know about the present step. In training the random counter is (step, micro_step, position of
 * the row in the global micro-batch); in evaluation it is the data set's row (facet/rng.h). */
typedef struct facet_run {
  bool training;
  uint64_t seed;
  int64_t step;       /* updates done before this one */
  int64_t micro_step; /* micro-batch inside the update */
  int64_t epoch;
  int64_t batch_size;     /* B */
  int64_t n_rows;         /* rows with valid = 1 (they come first) */
  int64_t first_position; /* position of row 0 in the global micro-batch (rank · B) */
  const int64_t *row;     /* [B] row of the data set, −1 for padding */
} facet_run;

/* Filled by the shape rule of an operator from inputs and params. */
typedef struct facet_op_rule {
  const char *node;   /* name of the node, for messages */
  const void *params; /* the operator's typed parameter struct */
  int n_inputs;
  facet_shape in_shape[FACET_OP_MAX_INPUTS];
  facet_dtype in_dtype[FACET_OP_MAX_INPUTS];
  /* to be set: */
  int n_outputs;
  facet_shape out_shape[FACET_OP_MAX_OUTPUTS];
  facet_dtype out_dtype[FACET_OP_MAX_OUTPUTS];
  size_t saved_bytes;   /* kept from forward to backward; given to forward also where no backward follows */
  size_t scratch_bytes; /* working memory of one call (the larger of forward and backward) */
} facet_op_rule;

typedef struct facet_cost {
  double forward_flops, backward_flops; /* that are needed, repeated ones not; multiply and add count as two */
  double forward_bytes, backward_bytes; /* read + written, each tensor once */
} facet_cost;

struct facet_op_call;

typedef struct facet_op_kernels { /* of one operator on one backend */
  facet_status (*forward)(const struct facet_op_call *call);
  facet_status (*backward)(const struct facet_op_call *call);
} facet_op_kernels;

/* One prepared call. Pointers are in the memory of the backend. */
typedef struct facet_op_call {
  const struct facet_op *op;
  facet_op_kernels kernels; /* the backend's */
  const char *node;
  const void *params;
  int n_inputs, n_outputs;
  facet_shape in_shape[FACET_OP_MAX_INPUTS];
  facet_shape out_shape[FACET_OP_MAX_OUTPUTS];
  void *in[FACET_OP_MAX_INPUTS];           /* facet_real or int32_t; NULL for tables; state tensors may be written in
                                             forward when run->training */
  facet_table *table[FACET_OP_MAX_INPUTS]; /* of table inputs, each followed by its ids; NULL otherwise */
  void *out[FACET_OP_MAX_OUTPUTS];
  facet_real *d_in[FACET_OP_MAX_INPUTS]; /* accumulate here; NULL: not wanted */
  bool store[FACET_OP_MAX_INPUTS];       /* with backward_stores: write every element of d_in[i], which holds garbage */
  facet_real *d_out[FACET_OP_MAX_OUTPUTS]; /* NULL for integer outputs; zero where nothing flowed back */
  void *saved, *scratch;
  facet_precision precision; /* of products; an operator may be more precise */
  const facet_run *run;
} facet_op_call;

/* what backward reads besides d_out, saved and params: keeps those tensors alive in the memory plan */
enum { FACET_BACKWARD_READS_INPUTS = 1, FACET_BACKWARD_READS_OUTPUTS = 2 };

typedef struct facet_op {
  const char *name;
  size_t params_bytes;
  unsigned backward_reads;
  bool backward_stores; /* backward honours facet_op_call.store */
  bool is_view;         /* output 0 may be the memory of input 0, also their gradients: then the kernels do nothing */
  /* Checks shapes and types and sets outputs and sizes; the error names the node and both shapes. */
  facet_status (*shape)(facet_op_rule *rule);
  void (*cost)(const facet_op_rule *rule, facet_cost *cost);
  /* CPU kernels. backward NULL: no gradient flows through (integer outputs). */
  facet_status (*forward)(const facet_op_call *call);
  facet_status (*backward)(const facet_op_call *call);
} facet_op;

/* For shape rules: FACET_OP_CHECK(rule, condition, "x is %s, expected [B, d]", …) fails with the node's name. */
#define FACET_OP_CHECK(rule, condition, ...)                                                                           \
  do {                                                                                                                 \
    if (!(condition)) return facet_op_shape_error((rule), __FILE__, __LINE__, __VA_ARGS__);                            \
  } while (0)
facet_status facet_op_shape_error(const facet_op_rule *rule, const char *file, int line, const char *format, ...)
    FACET_PRINTF(4, 5);

#endif
