/* Layouts and the memory of batches. */
#include "data/batch.h"

/* ---- layout -------------------------------------------------------------------------------------------------- */

facet_status facet_batch_layout_create(const facet_schema *schema, int64_t batch_size, int64_t max_length,
                                       facet_batch_layout **layout) {
  *layout = NULL;
  FACET_CHECK(batch_size >= 1 && batch_size <= INT32_MAX, FACET_ERROR_USAGE,
              "a batch size of %lld: expected 1 … %d samples", (long long)batch_size, INT32_MAX);
  facet_status status = FACET_OK;
  facet_batch_layout *made;
  FACET_TRY(FACET_ALLOC(made, 1, "batch layout"));
  made->schema = schema;
  made->batch_size = batch_size;
  FACET_TRY_GOTO(status, done, FACET_ALLOC(made->max_length, schema->n_sequences, "batch layout"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(made->newest_first, schema->n_sequences, "batch layout"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(made->used, schema->n_features, "batch layout"));
  for (int s = 0; s < schema->n_sequences; s++) {
    int64_t stored = schema->sequences[s].max_length;
    made->max_length[s] = max_length > 0 && max_length < stored ? max_length : stored;
  }
  for (int f = 0; f < schema->n_features; f++) made->used[f] = true;
  *layout = made;
  made = NULL;
done:
  facet_batch_layout_destroy(&made);
  return status;
}

void facet_batch_layout_destroy(facet_batch_layout **layout) {
  if (!*layout) return;
  facet_memory_free((*layout)->max_length);
  facet_memory_free((*layout)->newest_first);
  facet_memory_free((*layout)->used);
  facet_memory_free(*layout);
  *layout = NULL;
}

int64_t facet_batch_layout_elements(const facet_batch_layout *layout, int feature) {
  const facet_feature *f = &layout->schema->features[feature];
  if (f->type == FACET_FEATURE_INT64) return 0;
  return facet_feature_elements(f) * (f->sequence >= 0 ? layout->max_length[f->sequence] : 1);
}

/* ---- batch --------------------------------------------------------------------------------------------------- */

/* Zeroed array of `count` × `n_elements` elements from the batch's arena. */
static facet_status batch_array(facet_arena *arena, int64_t count, int64_t n_elements, size_t size, void *pointer) {
  size_t n;
  FACET_CHECK(!__builtin_mul_overflow((size_t)count, (size_t)n_elements, &n), FACET_ERROR_USAGE,
              "a batch of %lld samples with %lld elements each does not fit into memory", (long long)count,
              (long long)n_elements);
  void *array = facet_arena_alloc(arena, n, size);
  if (!array) return FACET_ERROR_INTERNAL;
  *(void **)pointer = array;
  return FACET_OK;
}

#define BATCH_ARRAY(arena, pointer, count, n_elements)                                                                 \
  batch_array((arena), (count), (n_elements), sizeof *(pointer), &(pointer))

/* Lists the features to fill: the used ones, those they join, and what every batch has. A joined feature joins a stored
 * one, so the stored ones come first. */
static facet_status plan_filled(const facet_batch_layout *layout, facet_batch_scratch *scratch) {
  const facet_schema *schema = layout->schema;
  bool *wanted;
  FACET_TRY(BATCH_ARRAY(scratch->arena, wanted, schema->n_features, 1));
  FACET_TRY(BATCH_ARRAY(scratch->arena, scratch->filled, schema->n_features, 1));
  for (int f = 0; f < schema->n_features; f++) {
    bool is_group = f == schema->user && schema->group < 0;
    bool always = f == schema->label || f == schema->weight || is_group;
    if (schema->features[f].type == FACET_FEATURE_INT64 || !(layout->used[f] || always)) continue;
    wanted[f] = true;
    if (schema->features[f].join >= 0) wanted[schema->features[f].join] = true;
  }
  for (int joined = 0; joined < 2; joined++) {
    for (int f = 0; f < schema->n_features; f++) {
      if (wanted[f] && (schema->features[f].join >= 0) == joined) scratch->filled[scratch->n_filled++] = f;
    }
  }
  return FACET_OK;
}

static facet_status create_scopes(const facet_batch_layout *layout, facet_batch_scratch *scratch) {
  const facet_schema *schema = layout->schema;
  facet_arena *arena = scratch->arena;
  FACET_TRY(BATCH_ARRAY(arena, scratch->scopes, schema->n_sequences + 1, 1));
  scratch->scopes[0] = (facet_batch_scope){.max_length = 1, .filled = true};
  for (int s = 0; s < schema->n_sequences; s++) {
    FACET_CHECK(layout->max_length[s] >= 1 && layout->max_length[s] <= INT32_MAX, FACET_ERROR_USAGE,
                "sequence %s: a length of %lld: expected 1 … %d events", schema->sequences[s].name,
                (long long)layout->max_length[s], INT32_MAX);
    scratch->scopes[s + 1] =
        (facet_batch_scope){.max_length = layout->max_length[s], .newest_first = layout->newest_first[s]};
  }
  for (int i = 0; i < scratch->n_filled; i++) {
    scratch->scopes[schema->features[scratch->filled[i]].sequence + 1].filled = true;
  }
  for (int s = 0; s <= schema->n_sequences; s++) {
    FACET_TRY(BATCH_ARRAY(arena, scratch->scopes[s].first, layout->batch_size, 1));
    FACET_TRY(BATCH_ARRAY(arena, scratch->scopes[s].count, layout->batch_size, 1));
  }
  /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the loop above has run for s = 0 */
  for (int64_t k = 0; k < layout->batch_size; k++) scratch->scopes[0].count[k] = 1;
  return FACET_OK;
}

static facet_status create_scratch(const facet_batch_layout *layout, facet_batch_scratch *scratch) {
  int64_t n = layout->batch_size;
  FACET_TRY(plan_filled(layout, scratch));
  FACET_TRY(create_scopes(layout, scratch));
  FACET_TRY(BATCH_ARRAY(scratch->arena, scratch->groups, n, 1));
  FACET_TRY(BATCH_ARRAY(scratch->arena, scratch->slot, n, 1));
  FACET_TRY(BATCH_ARRAY(scratch->arena, scratch->key, n, 1));
  FACET_TRY(BATCH_ARRAY(scratch->arena, scratch->swap_key, n, 1));
  FACET_TRY(BATCH_ARRAY(scratch->arena, scratch->swap_slot, n, 1));
  return BATCH_ARRAY(scratch->arena, scratch->group, n, 1);
}

static facet_status create_features(const facet_batch_layout *layout, facet_batch *batch) {
  const facet_schema *schema = layout->schema;
  facet_arena *arena = batch->scratch->arena;
  FACET_TRY(BATCH_ARRAY(arena, batch->ids, schema->n_features, 1));
  FACET_TRY(BATCH_ARRAY(arena, batch->floats, schema->n_features, 1));
  FACET_TRY(BATCH_ARRAY(arena, batch->length, schema->n_sequences, 1));
  for (int i = 0; i < batch->scratch->n_filled; i++) {
    int f = batch->scratch->filled[i];
    int64_t n_elements = facet_batch_layout_elements(layout, f);
    if (schema->features[f].type == FACET_FEATURE_ID) {
      FACET_TRY(BATCH_ARRAY(arena, batch->ids[f], layout->batch_size, n_elements));
    } else {
      FACET_TRY(BATCH_ARRAY(arena, batch->floats[f], layout->batch_size, n_elements));
    }
  }
  for (int s = 0; s < schema->n_sequences; s++) {
    if (!batch->scratch->scopes[s + 1].filled) continue;
    FACET_TRY(BATCH_ARRAY(arena, batch->length[s], layout->batch_size, 1));
  }
  batch->label = batch->floats[schema->label];
  if (schema->weight < 0) return BATCH_ARRAY(arena, batch->weight, layout->batch_size, 1);
  batch->weight = batch->floats[schema->weight];
  return FACET_OK;
}

static facet_status create_arrays(const facet_batch_layout *layout, facet_batch *batch) {
  facet_arena *arena = batch->scratch->arena;
  batch->layout = layout;
  FACET_TRY(BATCH_ARRAY(arena, batch->row, layout->batch_size, 1));
  FACET_TRY(BATCH_ARRAY(arena, batch->valid, layout->batch_size, 1));
  FACET_TRY(BATCH_ARRAY(arena, batch->group, layout->batch_size, 1));
  FACET_TRY(create_scratch(layout, batch->scratch));
  return create_features(layout, batch);
}

facet_status facet_batch_create(const facet_batch_layout *layout, facet_batch **batch) {
  *batch = NULL;
  facet_status status = FACET_OK;
  facet_arena *arena;
  FACET_TRY(facet_arena_create(&arena));
  facet_batch *made;
  FACET_TRY_GOTO(status, done, BATCH_ARRAY(arena, made, 1, 1));
  FACET_TRY_GOTO(status, done, BATCH_ARRAY(arena, made->scratch, 1, 1));
  made->scratch->arena = arena;
  FACET_TRY_GOTO(status, done, create_arrays(layout, made));
  *batch = made;
  arena = NULL;
done:
  facet_arena_destroy(&arena);
  return status;
}

void facet_batch_destroy(facet_batch **batch) {
  if (!*batch) return;
  facet_arena *arena = (*batch)->scratch->arena;
  facet_memory_free((*batch)->scratch->values.bytes);
  facet_memory_free((*batch)->scratch->offsets.bytes);
  facet_arena_destroy(&arena);
  *batch = NULL;
}
