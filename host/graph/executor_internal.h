/* What executor.c and executor_debug.c share. */
#ifndef FACET_EXECUTOR_INTERNAL_H
#define FACET_EXECUTOR_INTERNAL_H

#include "facet/executor.h"
#include "graph/graph_internal.h"
#include "graph/plan.h"

struct facet_executor {
  facet_graph *graph;
  facet_device *device;
  facet_plan *plan;
  facet_batch_layout *layout;  /* NULL without a schema */
  char *memory;                /* of the device: the arena, then scratch */
  void **custom;               /* [n_slots] memory of inputs made by facet_graph_input; NULL for others */
  facet_op_call *call;         /* [n_nodes] */
  const facet_op_call **order; /* [n_nodes] the calls, for the backend */
  int *begin; /* [n_steps + 1] buffers whose lifetime begins in step s: begin_buffer[begin[s] … begin[s + 1] − 1] */
  int *begin_buffer;      /* [n_buffers] */
  double *seed_weight;    /* [n_buffers] of a loss's gradient: the weight of the loss; 0 for others */
  double *loss, *monitor; /* of the last forward */
  facet_run run;
  int64_t *row;        /* [B] 0 … B − 1: rows of a run without a batch */
  facet_table **table; /* [n_tables] of the program */
  int n_tables;
  bool ran;              /* a forward has been run */
  double reduce_seconds; /* of facet_table_reduce in all backwards so far, for facet bench */
};

/* Memory of a tensor; NULL for tables. Batch inputs are those of the last forward. */
void *facet_executor_memory(const facet_executor *executor, const facet_tensor *tensor);
/* Gradient of a tensor in the memory of the device; NULL where the plan has none. */
facet_real *facet_executor_gradient(const facet_executor *executor, const facet_tensor *tensor);
/* Runs the call of one step, after filling the buffers that begin in it (seed: of the losses). */
facet_status facet_executor_step(facet_executor *executor, int64_t step, double seed);

#endif
