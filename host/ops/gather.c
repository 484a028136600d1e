/* gather: rows of an embedding table by id, single values, sequences and bags.
 *
 *   y_i = E[id_i]                                   ids [B] or [B, L]; id 0 gives zeros
 *   y_i = s_i Σ_k E[id_ik],  s_i = 1 or 1/n_i       bags: ids [.., K], n_i values with id ≠ 0
 *
 * Backward emits the pair (slot_ik, s_i dy_i) for every id; the arrays are referenced, not copied. */
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"

typedef struct facet_gather_params {
  bool bag;
  facet_pooling pooling;
} facet_gather_params;

enum { PREFETCH = 16 }; /* rows ahead: a row that is not in cache takes about 100 ns */

static facet_status gather_shape(facet_op_rule *rule) {
  const facet_gather_params *params = rule->params;
  const facet_shape *table = &rule->in_shape[0], *ids = &rule->in_shape[1];
  char text[64];
  FACET_OP_CHECK(rule, table->rank == 2, "the table is %s, expected [rows, width]",
                 facet_shape_format(table, text, sizeof text));
  FACET_OP_CHECK(rule, rule->in_dtype[1] == FACET_DTYPE_INT32, "ids %s are real numbers, expected int32",
                 facet_shape_format(ids, text, sizeof text));
  FACET_OP_CHECK(rule, params->bag ? ids->rank == 2 || ids->rank == 3 : ids->rank == 1 || ids->rank == 2,
                 "ids are %s, expected %s", facet_shape_format(ids, text, sizeof text),
                 params->bag ? "[B, K] or [B, L, K]" : "[B] or [B, L]");
  int rank = ids->rank - params->bag;
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0].rank = rank + 1;
  memcpy(rule->out_shape[0].dim, ids->dim, (size_t)rank * sizeof ids->dim[0]);
  rule->out_shape[0].dim[rank] = table->dim[1];
  if (params->bag && params->pooling == FACET_POOLING_MEAN) /* s_i */
    rule->saved_bytes = (size_t)facet_shape_rows(&rule->out_shape[0]) * sizeof(facet_real);
  return FACET_OK;
}

static void gather_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_gather_params *params = rule->params;
  double ids = (double)facet_shape_elements(&rule->in_shape[1]), width = (double)rule->in_shape[0].dim[1];
  double out = (double)facet_shape_elements(&rule->out_shape[0]);
  cost->forward_flops = params->bag ? ids * width + out : 0;
  cost->forward_bytes = ids * (4 + width * sizeof(facet_real)) + out * sizeof(facet_real);
  /* Emitting costs nothing; this is the reduction (graph/table_reduce.c): slots twice, rows once. */
  cost->backward_flops = 2 * ids * width;
  cost->backward_bytes = ids * (8 + 2 * width * sizeof(facet_real));
}

static void gather_rows(const facet_table_view *view, int64_t n, int64_t width, facet_real *y) {
  size_t row_bytes = (size_t)width * sizeof(facet_real);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i++) {
    if (i + PREFETCH < n) __builtin_prefetch(view->rows + view->slot[i + PREFETCH] * width);
    if (view->slot[i] == 0)
      memset(y + i * width, 0, row_bytes);
    else
      memcpy(y + i * width, view->rows + view->slot[i] * width, row_bytes);
  }
}

/* scale [n] receives 1/n_i for means; NULL: sums. */
static void gather_bags(const facet_table_view *view, int64_t n, int64_t n_bag, int64_t width, facet_real *scale,
                        facet_real *y) {
  const facet_vector *vector = facet_vector_get();
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i++) {
    const int32_t *slot = view->slot + i * n_bag;
    facet_real *row = y + i * width;
    memset(row, 0, (size_t)width * sizeof *row);
    int64_t count = 0;
    for (int64_t k = 0; k < n_bag; k++) {
      if (slot[k] == 0) continue;
      vector->axpy(width, 1, view->rows + slot[k] * width, row);
      count++;
    }
    if (!scale) continue;
    facet_real factor = count ? (facet_real)1 / (facet_real)count : 0;
    vector->scale(width, factor, row);
    scale[i] = factor;
  }
}

static facet_status gather_forward(const facet_op_call *call) {
  const facet_gather_params *params = call->params;
  int64_t n = facet_shape_rows(&call->out_shape[0]), width = facet_shape_last(&call->out_shape[0]);
  facet_table_view view;
  FACET_TRY(facet_table_resolve(call->table[0], call->in[1], facet_shape_elements(&call->in_shape[1]), &view));
  if (params->bag)
    gather_bags(&view, n, facet_shape_last(&call->in_shape[1]), width,
                params->pooling == FACET_POOLING_MEAN ? call->saved : NULL, call->out[0]);
  else
    gather_rows(&view, n, width, call->out[0]);
  return FACET_OK;
}

static facet_status gather_backward(const facet_op_call *call) {
  const facet_gather_params *params = call->params;
  int64_t n_ids = facet_shape_elements(&call->in_shape[1]);
  int64_t group = params->bag ? facet_shape_last(&call->in_shape[1]) : 1;
  bool mean = params->bag && params->pooling == FACET_POOLING_MEAN;
  facet_table_view view;
  FACET_TRY(facet_table_resolve(call->table[0], call->in[1], n_ids, &view));
  return facet_table_emit(call->table[0], view.slot, n_ids, group, call->d_out[0], facet_table_width(call->table[0]),
                          mean ? call->saved : NULL);
}

const facet_op facet_op_gather = {.name = "gather",
                                  .params_bytes = sizeof(facet_gather_params),
                                  .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                  .shape = gather_shape,
                                  .cost = gather_cost,
                                  .forward = gather_forward,
                                  .backward = gather_backward};

facet_tensor *facet_gather(facet_graph *graph, const char *name, facet_tensor *table, facet_tensor *ids, bool bag,
                           facet_pooling pooling) {
  facet_gather_params params = {.bag = bag, .pooling = pooling};
  return facet_graph_node(graph, &facet_op_gather, name, (facet_tensor *[]){table, ids}, 2, &params, NULL);
}

facet_tensor *facet_embedding_table(facet_graph *graph, int feature, facet_init init) {
  const facet_schema *schema = facet_graph_schema(graph);
  if (feature < 0 || feature >= schema->n_features)
    return facet_graph_fail(graph, FACET_ERROR_INTERNAL, "feature number %d; the schema has %d", feature,
                            schema->n_features);
  const facet_feature *info = &schema->features[feature];
  if (info->type != FACET_FEATURE_ID)
    return facet_graph_fail(graph, FACET_ERROR_USAGE, "feature %s is of type %s; only ids are embedded", info->name,
                            facet_feature_type_name(info->type));
  return facet_graph_table(graph, facet_graph_name(graph, "embedding.%s", info->embedding),
                           schema->vocabularies[info->vocabulary].size, info->width, init);
}

facet_tensor *facet_embed(facet_graph *graph, int feature, facet_init init) {
  facet_tensor *table = facet_embedding_table(graph, feature, init);
  if (!table) return NULL;
  const facet_feature *info = &facet_graph_schema(graph)->features[feature];
  return facet_gather(graph, facet_graph_name(graph, "embed.%s", info->name), table,
                      facet_graph_feature(graph, feature), info->bag > 0, info->pooling);
}
