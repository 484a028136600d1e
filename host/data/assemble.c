/* Assembly of a batch: rows → parts → windows → features → joins → labels, weights and padding. */
#include <math.h>
#include <string.h>

#include "data/batch.h"

/* ---- rows ---------------------------------------------------------------------------------------------------- */

/* Sorts entries first … end − 1 of key and slot by key (≥ 0), stably: a radix sort by bytes. */
static void sort_entries(facet_batch_scratch *scratch, int64_t first, int64_t end) {
  int64_t n = end - first, largest = 0, *key = scratch->key + first;
  int32_t *slot = scratch->slot + first;
  bool sorted = true;
  for (int64_t k = 0; k < n; k++) {
    sorted = sorted && (k == 0 || key[k - 1] <= key[k]);
    if (key[k] > largest) largest = key[k];
  }
  for (int shift = 0; !sorted && shift < 63 && largest >> shift > 0; shift += 8) {
    int64_t next[257] = {0};
    for (int64_t k = 0; k < n; k++) next[((key[k] >> shift) & 255) + 1]++;
    for (int b = 0; b < 256; b++) next[b + 1] += next[b];
    for (int64_t k = 0; k < n; k++) {
      int64_t place = next[(key[k] >> shift) & 255]++;
      scratch->swap_key[place] = key[k];
      scratch->swap_slot[place] = slot[k];
    }
    memcpy(key, scratch->swap_key, (size_t)n * sizeof *key);
    memcpy(slot, scratch->swap_slot, (size_t)n * sizeof *slot);
  }
}

/* Brings the rows of one part together, in the order of the batch. */
static facet_status sort_by_part(const facet_dataset *dataset, const int64_t *rows, int64_t n,
                                 facet_batch_scratch *scratch) {
  int64_t n_samples = facet_dataset_n_samples(dataset), part_start = 0, part_end = 0, row_in_part;
  int part = 0;
  for (int64_t k = 0; k < n; k++) {
    FACET_CHECK(rows[k] >= 0 && rows[k] < n_samples, FACET_ERROR_INTERNAL,
                "%s/%s: row %lld asked for: it has rows 0 … %lld", facet_dataset_path(dataset),
                facet_dataset_split(dataset), (long long)rows[k], (long long)n_samples - 1);
    if (rows[k] < part_start || rows[k] >= part_end) {
      part = facet_dataset_locate(dataset, rows[k], &row_in_part);
      part_start = rows[k] - row_in_part;
      part_end = part_start + facet_shard_n_samples(facet_dataset_part(dataset, part));
    }
    scratch->key[k] = part;
    scratch->slot[k] = (int32_t)k;
  }
  sort_entries(scratch, 0, n);
  return FACET_OK;
}

/* Makes a group of each part's rows; scope 0 gets their rows in the part. Where columns are read in chunks the rows are
 * sorted, so that nearby ones are read together; in place the batch's order is better, as memory is then written in
 * order. */
static void find_groups(const facet_batch *batch, const facet_dataset *dataset, const int64_t *rows, int64_t n) {
  facet_batch_scratch *scratch = batch->scratch;
  int64_t *row_in_part = scratch->scopes[0].first, first_row;
  scratch->n_groups = 0;
  for (int64_t k = 0; k < n;) {
    facet_batch_group *group = &scratch->groups[scratch->n_groups++];
    *group = (facet_batch_group){(int)scratch->key[k], k, k};
    facet_dataset_locate(dataset, rows[scratch->slot[k]], &first_row);
    int64_t part_start = rows[scratch->slot[k]] - first_row;
    while (group->end < n && scratch->key[group->end] == group->part) group->end++;
    for (; k < group->end; k++) scratch->key[k] = rows[scratch->slot[k]] - part_start;
    if (!facet_batch_in_place(batch, dataset, group->part)) sort_entries(scratch, group->first, group->end);
    memcpy(row_in_part + group->first, scratch->key + group->first,
           (size_t)(group->end - group->first) * sizeof *row_in_part);
  }
}

/* ---- windows ------------------------------------------------------------------------------------------------- */

static facet_status read_windows(facet_batch *batch, facet_dataset *dataset, const facet_batch_group *group,
                                 int sequence) {
  facet_batch_scratch *scratch = batch->scratch;
  facet_batch_scope *scope = &scratch->scopes[sequence + 1];
  facet_shard *shard = facet_dataset_part(dataset, group->part);
  int64_t n_events = facet_shard_n_events(shard, sequence);
  int64_t longest = facet_dataset_schema(dataset)->sequences[sequence].max_length;
  FACET_TRY(facet_batch_read_int64s(scratch, facet_shard_starts(shard, sequence), group, scope->first));
  FACET_TRY(facet_batch_read_int32s(scratch, facet_shard_lengths(shard, sequence), group, scope->count));
  for (int64_t k = group->first; k < group->end; k++) {
    int64_t start = scope->first[k], length = scope->count[k];
    FACET_CHECK(start >= 0 && length >= 0 && length <= n_events && start <= n_events - length, FACET_ERROR_DATA,
                "%s: %s: row %lld: the window starts at %lld and has length %lld: expected to lie within the %lld "
                "events of the part",
                facet_shard_path(shard), facet_column_name(facet_shard_starts(shard, sequence)),
                (long long)scratch->scopes[0].first[k], (long long)start, (long long)length, (long long)n_events);
    FACET_CHECK(length <= longest, FACET_ERROR_DATA, "%s: %s: row %lld: the window has length %lld: expected 0 to %lld",
                facet_shard_path(shard), facet_column_name(facet_shard_lengths(shard, sequence)),
                (long long)scratch->scopes[0].first[k], (long long)length, (long long)longest);
    int64_t taken = length < scope->max_length ? length : scope->max_length;
    scope->first[k] = start + length - taken;
    scope->count[k] = (int32_t)taken;
    batch->length[sequence][scratch->slot[k]] = (int32_t)taken;
  }
  return FACET_OK;
}

/* ---- joins --------------------------------------------------------------------------------------------------- */

/* A joined feature being looked up for the whole batch. */
typedef struct join_fill {
  const facet_feature *feature;
  const facet_attribute *attribute;
  int64_t n_elements; /* per event */
  int64_t last_id;
} join_fill;

/* The attribute of n ids into ids of the batch; the top bit of the result is set if one is outside. That the whole table
 * is inside is known from reading it, and saves looking again. */
static uint32_t join_ids(const join_fill *fill, const int32_t *ids, int64_t n, int32_t *out) {
  const facet_attribute *attribute = fill->attribute;
  uint32_t last = (uint32_t)fill->last_id, bad = 0;
  if (!attribute->offsets && attribute->largest_id <= fill->last_id) {
    for (int64_t e = 0; e < n; e++) out[e] = attribute->ids[ids[e]];
    return 0;
  }
  if (!attribute->offsets) {
    for (int64_t e = 0; e < n; e++) {
      uint32_t id = (uint32_t)attribute->ids[ids[e]];
      bad |= id | (last - id);
      out[e] = (int32_t)id;
    }
    return bad;
  }
  for (int64_t e = 0; e < n; e++) {
    int64_t begin = attribute->offsets[ids[e]], count = attribute->offsets[ids[e] + 1] - begin;
    if (count > fill->n_elements) return 1u << 31;
    bad |=
        facet_batch_copy_ids(attribute->ids + begin, out + e * fill->n_elements, count, fill->n_elements, false, last);
  }
  return bad;
}

static uint32_t join_floats(const join_fill *fill, const int32_t *ids, int64_t n, facet_real *out) {
  uint32_t bad = 0;
  for (int64_t e = 0; e < n; e++) {
    bad |= facet_batch_copy_floats(fill->attribute->floats + ids[e] * fill->n_elements, out + e * fill->n_elements,
                                   fill->n_elements);
  }
  return bad;
}

/* Describes the first wrong attribute of n ids. */
static facet_status report_attribute(const join_fill *fill, const facet_batch *batch, const facet_dataset *dataset,
                                     const int32_t *ids, int64_t n) {
  const facet_schema *schema = batch->layout->schema;
  const char *path = facet_dataset_path(dataset), *column = fill->feature->column;
  const char *table = schema->vocabularies[schema->features[fill->feature->join].vocabulary].name;
  const facet_attribute *attribute = fill->attribute;
  for (int64_t e = 0; e < n; e++) {
    int64_t begin = (int64_t)ids[e] * fill->n_elements, end = begin + fill->n_elements;
    if (attribute->offsets) {
      begin = attribute->offsets[ids[e]];
      end = attribute->offsets[ids[e] + 1];
      FACET_CHECK(end - begin <= fill->n_elements, FACET_ERROR_DATA,
                  "%s/tables.h5: /%s/%s: row %d: the bag has %lld values: the schema allows %lld", path, table, column,
                  ids[e], (long long)(end - begin), (long long)fill->n_elements);
    }
    for (int64_t i = begin; i < end; i++) {
      FACET_CHECK(!attribute->ids || (attribute->ids[i] >= 0 && attribute->ids[i] <= fill->last_id), FACET_ERROR_DATA,
                  "%s/tables.h5: /%s/%s: row %d: id %d is outside its vocabulary %s (0 … %lld)", path, table, column,
                  ids[e], attribute->ids[i], schema->vocabularies[fill->feature->vocabulary].name,
                  (long long)fill->last_id);
      FACET_CHECK(!attribute->floats || isfinite(attribute->floats[i]), FACET_ERROR_DATA,
                  "%s/tables.h5: /%s/%s: row %d: the value is %g: expected a finite number", path, table, column,
                  ids[e], (double)attribute->floats[i]);
    }
  }
  FACET_FAIL(FACET_ERROR_INTERNAL, "%s/tables.h5: /%s/%s: a value failed its check but was not found", path, table,
             column);
}

static facet_status fill_joined(facet_batch *batch, const facet_dataset *dataset, int64_t n, int feature) {
  const facet_feature *described = &batch->layout->schema->features[feature];
  join_fill fill = {.feature = described,
                    .attribute = facet_dataset_attribute(dataset, feature),
                    .n_elements = facet_feature_elements(described)};
  FACET_CHECK(fill.attribute && fill.attribute->n_rows > facet_batch_last_id(batch, dataset, described->join),
              FACET_ERROR_INTERNAL, "%s: feature %s: its attribute table is not loaded", facet_dataset_path(dataset),
              described->name);
  if (described->type == FACET_FEATURE_ID) fill.last_id = facet_batch_last_id(batch, dataset, feature);
  int64_t n_slots = batch->scratch->scopes[described->sequence + 1].max_length, stride = n_slots * fill.n_elements;
  for (int64_t i = 0; i < n; i++) {
    int64_t count = described->sequence < 0 ? 1 : batch->length[described->sequence][i];
    const int32_t *ids = batch->ids[described->join] + i * n_slots;
    int64_t filled = count * fill.n_elements;
    uint32_t bad;
    if (described->type == FACET_FEATURE_ID) {
      int32_t *out = batch->ids[feature] + i * stride;
      bad = join_ids(&fill, ids, count, out);
      memset(out + filled, 0, (size_t)(stride - filled) * sizeof *out);
    } else {
      facet_real *out = batch->floats[feature] + i * stride;
      bad = join_floats(&fill, ids, count, out);
      memset(out + filled, 0, (size_t)(stride - filled) * sizeof *out);
    }
    if (bad >> 31) return report_attribute(&fill, batch, dataset, ids, count);
  }
  return FACET_OK;
}

/* ---- labels, weights, groups --------------------------------------------------------------------------------- */

/* "part-00001.h5: /samples/label: row 7" of a sample, as the context of its error. */
static facet_status sample_context(const facet_dataset *dataset, int64_t row, int feature) {
  int64_t row_in_part;
  facet_shard *shard = facet_dataset_part(dataset, facet_dataset_locate(dataset, row, &row_in_part));
  return facet_error_context("%s: %s: row %lld", facet_shard_path(shard),
                             facet_column_name(facet_shard_values(shard, feature)), (long long)row_in_part);
}

static facet_status check_label(double label) {
  FACET_CHECK(label == 0 || label == 1, FACET_ERROR_DATA, "the label is %g: expected 0 or 1", label);
  return FACET_OK;
}

static facet_status check_weight(double weight) {
  FACET_CHECK(weight >= 0, FACET_ERROR_DATA, "the weight is %g: expected a number ≥ 0", weight);
  return FACET_OK;
}

static facet_status finish_samples(facet_batch *batch, const facet_dataset *dataset, const int64_t *rows, int64_t n) {
  const facet_schema *schema = batch->layout->schema;
  batch->weight_sum = 0;
  for (int64_t i = 0; i < n; i++) {
    batch->row[i] = rows[i];
    batch->valid[i] = 1;
    if (schema->weight < 0) batch->weight[i] = 1;
    batch->weight_sum += (double)batch->weight[i];
    if (check_label((double)batch->label[i])) return sample_context(dataset, rows[i], schema->label);
    if (check_weight((double)batch->weight[i])) return sample_context(dataset, rows[i], schema->weight);
    if (schema->group < 0) batch->group[i] = schema->user >= 0 ? batch->ids[schema->user][i] : 0;
  }
  return FACET_OK;
}

static facet_status read_groups(facet_batch *batch, facet_dataset *dataset, const facet_batch_group *group) {
  facet_batch_scratch *scratch = batch->scratch;
  facet_column *column = facet_shard_values(facet_dataset_part(dataset, group->part), batch->layout->schema->group);
  FACET_TRY(facet_batch_read_int64s(scratch, column, group, scratch->group));
  for (int64_t k = group->first; k < group->end; k++) batch->group[scratch->slot[k]] = scratch->group[k];
  return FACET_OK;
}

/* Empties rows n … B − 1. */
static void pad(facet_batch *batch, int64_t n) {
  const facet_batch_layout *layout = batch->layout;
  int64_t n_padding = layout->batch_size - n;
  for (int64_t i = n; i < layout->batch_size; i++) batch->row[i] = -1;
  memset(batch->weight + n, 0, (size_t)n_padding * sizeof *batch->weight);
  memset(batch->valid + n, 0, (size_t)n_padding * sizeof *batch->valid);
  memset(batch->group + n, 0, (size_t)n_padding * sizeof *batch->group);
  for (int s = 0; s < layout->schema->n_sequences; s++) {
    if (batch->length[s]) memset(batch->length[s] + n, 0, (size_t)n_padding * sizeof **batch->length);
  }
  for (int f = 0; f < layout->schema->n_features; f++) {
    size_t n_elements = (size_t)facet_batch_layout_elements(layout, f), count = (size_t)n_padding * n_elements;
    if (batch->ids[f]) memset(batch->ids[f] + (size_t)n * n_elements, 0, count * sizeof **batch->ids);
    if (batch->floats[f]) memset(batch->floats[f] + (size_t)n * n_elements, 0, count * sizeof **batch->floats);
  }
}

/* ---- the batch ----------------------------------------------------------------------------------------------- */

static facet_status check_dataset(const facet_batch *batch, const facet_dataset *dataset) {
  const facet_schema *wanted = batch->layout->schema, *found = facet_dataset_schema(dataset);
  if (wanted == found || wanted->hash == found->hash) return FACET_OK;
  char difference[512] = "it differs";
  facet_schema_difference(wanted, found, difference, sizeof difference);
  FACET_FAIL(FACET_ERROR_DATA, "%s: its schema does not match %s: %s", facet_dataset_path(dataset), wanted->path,
             difference);
}

static facet_status assemble(facet_dataset *dataset, const int64_t *rows, int64_t n, facet_batch *batch) {
  const facet_schema *schema = batch->layout->schema;
  facet_batch_scratch *scratch = batch->scratch;
  FACET_CHECK(n >= 0 && n <= batch->layout->batch_size, FACET_ERROR_INTERNAL, "%lld rows asked for in a batch of %lld",
              (long long)n, (long long)batch->layout->batch_size);
  FACET_TRY(sort_by_part(dataset, rows, n, scratch));
  find_groups(batch, dataset, rows, n);
  for (int64_t g = 0; g < scratch->n_groups; g++) {
    for (int s = 0; s < schema->n_sequences; s++) {
      if (scratch->scopes[s + 1].filled) FACET_TRY(read_windows(batch, dataset, &scratch->groups[g], s));
    }
    if (schema->group >= 0) FACET_TRY(read_groups(batch, dataset, &scratch->groups[g]));
  }
  for (int i = 0; i < scratch->n_filled; i++) {
    int f = scratch->filled[i];
    if (schema->features[f].join >= 0) {
      FACET_TRY(fill_joined(batch, dataset, n, f));
      continue;
    }
    for (int64_t g = 0; g < scratch->n_groups; g++) {
      FACET_TRY(facet_batch_fill_stored(batch, dataset, &scratch->groups[g], f));
    }
  }
  FACET_TRY(finish_samples(batch, dataset, rows, n));
  pad(batch, n);
  batch->n_rows = n;
  return FACET_OK;
}

facet_status facet_batch_assemble(facet_dataset *dataset, const int64_t *rows, int64_t n, facet_batch *batch) {
  facet_batch_scratch *scratch = batch->scratch;
  scratch->n_groups = 0;
  FACET_TRY(check_dataset(batch, dataset));
  const facet_status status = assemble(dataset, rows, n, batch);
  for (int64_t g = 0; g < scratch->n_groups; g++) { /* a part that shrank explains other errors, too */
    FACET_TRY(facet_shard_check(facet_dataset_part(dataset, scratch->groups[g].part)));
  }
  return status;
}
