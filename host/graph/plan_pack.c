/* Packing of buffers with lifetimes into one arena: first fit by decreasing size. */
#include <stdlib.h>

#include "graph/graph_internal.h"
#include "graph/plan.h"

static size_t align_up(size_t bytes) {
  return (bytes + FACET_ALIGNMENT - 1) / FACET_ALIGNMENT * FACET_ALIGNMENT;
}

static int compare_size(const void *a, const void *b) {
  const facet_plan_buffer *x = *(const facet_plan_buffer *const *)a, *y = *(const facet_plan_buffer *const *)b;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
  return x < y ? -1 : x > y; /* equal sizes in order of the list, so that a plan does not depend on qsort */
}

static bool overlap(const facet_plan_buffer *a, const facet_plan_buffer *b) {
  return a->first <= b->last && b->first <= a->last;
}

/* The lowest offset at which `buffer` fits between those of the n placed ones (ordered by offset) that it overlaps. */
static size_t first_fit(const facet_plan_buffer *buffer, facet_plan_buffer *const *placed, int n) {
  size_t offset = 0;
  for (int i = 0; i < n; i++) {
    if (!overlap(buffer, placed[i])) continue;
    if (offset + buffer->bytes <= placed[i]->offset) return offset;
    size_t end = align_up(placed[i]->offset + placed[i]->bytes);
    if (end > offset) offset = end;
  }
  return offset;
}

facet_status facet_plan_pack(facet_plan_buffer *buffers, int n, size_t *arena_bytes) {
  facet_status status = FACET_OK;
  facet_plan_buffer **order = NULL, **placed = NULL;
  *arena_bytes = 0;
  FACET_TRY_GOTO(status, done, FACET_ALLOC(order, n, "memory plan"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(placed, n, "memory plan"));
  for (int i = 0; i < n; i++) order[i] = &buffers[i];
  qsort(order, (size_t)n, sizeof *order, compare_size);
  for (int i = 0; i < n; i++) {
    facet_plan_buffer *buffer = order[i];
    buffer->offset = first_fit(buffer, placed, i);
    size_t end = align_up(buffer->offset + buffer->bytes);
    if (end > *arena_bytes) *arena_bytes = end;
    int at = i;
    for (; at > 0 && placed[at - 1]->offset > buffer->offset; at--) placed[at] = placed[at - 1];
    placed[at] = buffer;
  }
done:
  facet_memory_free(order);
  facet_memory_free(placed);
  return status;
}
