/* Embedding tables on the host: replicated, slot = id. The reduction of gradients is in table_reduce.c. */
#include "facet/table.h"

#include <limits.h>

#include "facet/memory.h"
#include "graph/table_internal.h"

facet_status facet_table_create(const char *name, int64_t n_rows, int64_t width, facet_table **table_out) {
  *table_out = NULL;
  FACET_CHECK(n_rows >= 1 && n_rows <= INT32_MAX && width >= 1, FACET_ERROR_USAGE,
              "table %s: %lld rows of width %lld; expected 1 to %d rows and a width of at least 1", name,
              (long long)n_rows, (long long)width, INT32_MAX);
  facet_table *table = facet_memory_alloc(1, sizeof *table, "table");
  if (!table) return FACET_ERROR_INTERNAL;
  facet_status status = FACET_OK;
  table->n_rows = n_rows;
  table->width = width;
  table->name = facet_memory_strdup(name);
  if (!table->name) status = FACET_ERROR_INTERNAL;
  if (status == FACET_OK) status = FACET_ALLOC(table->rows, n_rows * width, "rows of an embedding table");
  if (status != FACET_OK) {
    facet_error_context("table %s", name);
    facet_table_destroy(&table);
  }
  *table_out = table;
  return status;
}

void facet_table_destroy(facet_table **table_pointer) {
  facet_table *table = *table_pointer;
  if (!table) return;
  facet_memory_free(table->name);
  facet_memory_free(table->rows);
  for (int i = 0; i < FACET_TABLE_MAX_STATES; i++) {
    facet_memory_free(table->state[i].name);
    facet_memory_free(table->state[i].values);
  }
  facet_memory_free(table->emissions);
  facet_memory_free(table->touched);
  facet_memory_free(table->summary);
  facet_memory_free(table->rank);
  facet_memory_free(table->gradient.slot);
  facet_memory_free(table->gradient.rows);
  facet_memory_free(table->micro.slot);
  facet_memory_free(table->micro.rows);
  facet_memory_free(table);
  *table_pointer = NULL;
}

const char *facet_table_name(const facet_table *table) {
  return table->name;
}
int64_t facet_table_n_rows(const facet_table *table) {
  return table->n_rows;
}
int64_t facet_table_width(const facet_table *table) {
  return table->width;
}
facet_real *facet_table_rows(facet_table *table) {
  return table->rows;
}
facet_sparse_gradient *facet_table_gradient(facet_table *table) {
  return &table->gradient;
}

size_t facet_table_bytes(const facet_table *table) {
  size_t bytes = (size_t)(table->n_rows * table->width) * sizeof(facet_real) + table->reserved_bytes;
  for (int i = 0; i < FACET_TABLE_MAX_STATES; i++)
    bytes += (size_t)(table->n_rows * table->state[i].width) * sizeof(facet_real);
  return bytes;
}

/* ---- optimizer state -------------------------------------------------------------------------------------------- */

facet_status facet_table_add_state(facet_table *table, int i, const char *name, int64_t state_width, double initial) {
  FACET_CHECK(i >= 0 && i < FACET_TABLE_MAX_STATES && state_width >= 1, FACET_ERROR_INTERNAL,
              "table %s: state %d (%s) of width %lld; expected a number below %d and a width of at least 1",
              table->name, i, name, (long long)state_width, FACET_TABLE_MAX_STATES);
  facet_table_state_rows *state = &table->state[i];
  FACET_CHECK(!state->values, FACET_ERROR_INTERNAL, "table %s: state %d exists already (%s)", table->name, i,
              state->name);
  state->name = facet_memory_strdup(name);
  if (!state->name) return FACET_ERROR_INTERNAL;
  FACET_TRY(FACET_ALLOC(state->values, table->n_rows * state_width, "optimizer state of an embedding table"));
  state->width = state_width;
  if (initial != 0)
    for (int64_t j = 0; j < table->n_rows * state_width; j++) state->values[j] = (facet_real)initial;
  return FACET_OK;
}

facet_real *facet_table_state(facet_table *table, int i, const char **name, int64_t *state_width) {
  if (i < 0 || i >= FACET_TABLE_MAX_STATES || !table->state[i].values) return NULL;
  if (name) *name = table->state[i].name;
  if (state_width) *state_width = table->state[i].width;
  return table->state[i].values;
}

/* ---- resolve and emit ------------------------------------------------------------------------------------------- */

facet_status facet_table_resolve(facet_table *table, const int32_t *ids, int64_t n_ids, facet_table_view *view) {
#ifdef FACET_DEBUG /* batches are checked when they are made */
  for (int64_t i = 0; i < n_ids; i++)
    FACET_CHECK(ids[i] >= 0 && ids[i] < table->n_rows, FACET_ERROR_INTERNAL,
                "table %s: id %d at position %lld; expected 0 to %lld", table->name, (int)ids[i], (long long)i,
                (long long)table->n_rows - 1);
#else
  (void)n_ids;
#endif
  view->rows = table->rows;
  view->slot = ids;
  return FACET_OK;
}

facet_status facet_table_emit(facet_table *table, const int32_t *slot, int64_t n, int64_t group,
                              const facet_real *gradient, int64_t stride, const facet_real *scale) {
  FACET_CHECK(group >= 1, FACET_ERROR_INTERNAL, "table %s: group %lld; expected at least 1", table->name,
              (long long)group);
  FACET_CHECK(table->n_emitted + n <= table->max_pairs && table->n_emissions < FACET_TABLE_MAX_EMISSIONS,
              FACET_ERROR_INTERNAL,
              "table %s: emission %d brings %lld pairs to %lld; room was reserved for %d emissions of %lld pairs",
              table->name, table->n_emissions + 1, (long long)n, (long long)(table->n_emitted + n),
              FACET_TABLE_MAX_EMISSIONS, (long long)table->max_pairs);
  table->emissions[table->n_emissions++] = (facet_table_emission){.slot = slot,
                                                                  .first = table->n_emitted,
                                                                  .n = n,
                                                                  .group = group,
                                                                  .stride = stride,
                                                                  .gradient = gradient,
                                                                  .scale = scale};
  table->n_emitted += n;
  return FACET_OK;
}

void facet_table_clear_gradient(facet_table *table) {
  table->gradient.n = 0;
  table->n_emissions = 0;
  table->n_emitted = 0;
}
