/* gather_fields: rows of several embedding tables side by side: y_i = [E_1[id_1i], E_2[id_2i], …], ids [B] or [B, L].
 * Inputs: table, ids, table, ids, … Id 0 gives zeros.
 *
 * Backward emits the pair (slot_ki, the part of dy_i that belongs to table k) for every id; the arrays are referenced,
 * not copied. */
#include <string.h>

#include "facet/ops.h"

enum { PREFETCH = 16, CHUNK = 128 }; /* rows ahead; positions whose output stays in cache while all tables fill it */

static facet_status gather_fields_shape(facet_op_rule *rule) {
  const facet_shape *first = &rule->in_shape[1];
  char text[64], text_first[64];
  FACET_OP_CHECK(rule, first->rank == 1 || first->rank == 2, "ids are %s, expected [B] or [B, L]",
                 facet_shape_format(first, text_first, sizeof text_first));
  int64_t columns = 0;
  for (int i = 0; i < rule->n_inputs; i += 2) {
    const facet_shape *table = &rule->in_shape[i], *ids = &rule->in_shape[i + 1];
    FACET_OP_CHECK(rule, table->rank == 2, "table %d is %s, expected [rows, width]", i / 2,
                   facet_shape_format(table, text, sizeof text));
    FACET_OP_CHECK(
        rule, rule->in_dtype[i + 1] == FACET_DTYPE_INT32 && facet_shape_equal(ids, first),
        "ids %d are %s %s, expected int32 %s", i / 2, rule->in_dtype[i + 1] == FACET_DTYPE_INT32 ? "int32" : "real",
        facet_shape_format(ids, text, sizeof text), facet_shape_format(first, text_first, sizeof text_first));
    columns += table->dim[1];
  }
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = *first;
  rule->out_shape[0].rank = first->rank + 1;
  rule->out_shape[0].dim[first->rank] = columns;
  return FACET_OK;
}

static void gather_fields_cost(const facet_op_rule *rule, facet_cost *cost) {
  double n = (double)facet_shape_elements(&rule->in_shape[1]), fields = rule->n_inputs / 2.0;
  double out = (double)facet_shape_elements(&rule->out_shape[0]);
  cost->forward_flops = 0;
  cost->forward_bytes = fields * n * 4 + 2 * out * sizeof(facet_real);
  /* Emitting costs nothing; this is the reduction (graph/table_reduce.c): slots twice, rows once. */
  cost->backward_flops = 2 * out;
  cost->backward_bytes = fields * n * 8 + 2 * out * sizeof(facet_real);
}

/* Rows of one table for positions [first, last) into columns of y that are `stride` elements apart. */
static inline __attribute__((always_inline)) void copy_rows(const facet_table_view *view, int64_t first, int64_t last,
                                                            int64_t n, int64_t width, int64_t stride, facet_real *y) {
  size_t row_bytes = (size_t)width * sizeof(facet_real);
  for (int64_t i = first; i < last; i++) {
    if (i + PREFETCH < n) __builtin_prefetch(view->rows + view->slot[i + PREFETCH] * width);
    if (view->slot[i] == 0)
      memset(y + i * stride, 0, row_bytes);
    else
      memcpy(y + i * stride, view->rows + view->slot[i] * width, row_bytes);
  }
}

/* With the usual widths as constants the copies are a few moves, not calls. */
static void copy_field(const facet_table_view *view, int64_t first, int64_t last, int64_t n, int64_t width,
                       int64_t stride, facet_real *y) {
  switch (width) {
  case 4:
    copy_rows(view, first, last, n, 4, stride, y);
    break;
  case 8:
    copy_rows(view, first, last, n, 8, stride, y);
    break;
  case 16:
    copy_rows(view, first, last, n, 16, stride, y);
    break;
  default:
    copy_rows(view, first, last, n, width, stride, y);
  }
}

static facet_status gather_fields_forward(const facet_op_call *call) {
  int64_t n = facet_shape_elements(&call->in_shape[1]), stride = facet_shape_last(&call->out_shape[0]);
  int n_fields = call->n_inputs / 2;
  facet_table_view view[FACET_OP_MAX_INPUTS / 2];
  for (int k = 0; k < n_fields; k++)
    FACET_TRY(facet_table_resolve(call->table[2 * k], call->in[2 * k + 1], n, &view[k]));
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < n; first += CHUNK) {
    int64_t last = first + CHUNK < n ? first + CHUNK : n;
    facet_real *y = call->out[0];
    for (int k = 0; k < n_fields; k++) {
      int64_t width = call->in_shape[2 * k].dim[1];
      copy_field(&view[k], first, last, n, width, stride, y);
      y += width;
    }
  }
  return FACET_OK;
}

static facet_status gather_fields_backward(const facet_op_call *call) {
  int64_t n = facet_shape_elements(&call->in_shape[1]), stride = facet_shape_last(&call->out_shape[0]);
  const facet_real *dy = call->d_out[0];
  for (int k = 0; k < call->n_inputs; k += 2) {
    facet_table_view view;
    FACET_TRY(facet_table_resolve(call->table[k], call->in[k + 1], n, &view));
    FACET_TRY(facet_table_emit(call->table[k], view.slot, n, 1, dy, stride, NULL));
    dy += call->in_shape[k].dim[1];
  }
  return FACET_OK;
}

const facet_op facet_op_gather_fields = {.name = "gather_fields",
                                         .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                         .shape = gather_fields_shape,
                                         .cost = gather_fields_cost,
                                         .forward = gather_fields_forward,
                                         .backward = gather_fields_backward};

facet_tensor *facet_gather_fields(facet_graph *graph, const char *name, facet_tensor *const *table,
                                  facet_tensor *const *ids, int n) {
  facet_tensor *in[FACET_OP_MAX_INPUTS];
  if (n < 1 || n > FACET_OP_MAX_INPUTS / 2)
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "%s: gathers from %d tables; expected 1 to %d", name, n,
                            FACET_OP_MAX_INPUTS / 2);
  for (int k = 0; k < n; k++) {
    in[2 * k] = table[k];
    in[2 * k + 1] = ids[k];
  }
  return facet_graph_node(graph, &facet_op_gather_fields, name, in, 2 * n, NULL, NULL);
}
