/* Assembly of batches against values computed one by one. */
#include "facet/batch.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch_fixture.h"

static void must(facet_status status) {
  cr_assert(status == FACET_OK, "%s", facet_error_get()->message);
}

typedef struct opened {
  char path[64];
  facet_dataset *dataset;
  facet_batch_layout *layout;
  facet_batch *batch;
} opened;

static opened open_fixture(fixture_options options, int64_t batch_size, int64_t max_length) {
  opened it = {0};
  must(fixture_create(options, it.path));
  must(facet_dataset_open(it.path, "train", &it.dataset));
  must(facet_batch_layout_create(facet_dataset_schema(it.dataset), batch_size, max_length, &it.layout));
  return it;
}

static void close_fixture(opened *it) {
  facet_batch_destroy(&it->batch);
  facet_batch_layout_destroy(&it->layout);
  facet_dataset_close(&it->dataset);
  test_directory_remove(it->path);
}

static int feature(const opened *it, const char *name) {
  int f = facet_schema_feature(it->layout->schema, name);
  cr_assert(f >= 0, "no feature %s", name);
  return f;
}

/* ---- expected values ----------------------------------------------------------------------------------------- */

static void locate(int64_t row, int64_t *part, int64_t *row_in_part) {
  for (*part = 0; row >= fixture_n_samples[*part]; ++*part) row -= fixture_n_samples[*part];
  *row_in_part = row;
}

/* Expected element `i` of one event (or sample) of a feature at (part, row); `item` is what it joins. */
static double expected_element(const opened *it, int f, int64_t part, int64_t row, int64_t i) {
  const facet_schema *schema = it->layout->schema;
  const facet_feature *feature = &schema->features[f];
  const char *what = feature->name;
  if (f == schema->label) return (double)fixture_label(part, row);
  if (f == schema->weight) return (double)fixture_weight(part, row);
  if (feature->join >= 0) {
    row = (int64_t)expected_element(it, feature->join, part, row, 0);
    part = 0;
    what = feature->column;
  }
  if (feature->type == FACET_FEATURE_FLOAT) return (double)fixture_float(what, part, row, i);
  int64_t size = schema->vocabularies[feature->vocabulary].size;
  if (feature->bag == 0) return fixture_id(what, part, row, size);
  return i < fixture_count(what, part, row, feature->bag) ? fixture_bag_id(what, part, row, i, size) : 0;
}

static double found_element(const opened *it, int f, int64_t i) {
  return it->batch->ids[f] ? it->batch->ids[f][i] : (double)it->batch->floats[f][i];
}

static void expect_feature(const opened *it, int f, int64_t slot, int64_t row) {
  const facet_feature *feature = &it->layout->schema->features[f];
  int64_t elements = facet_batch_layout_elements(it->layout, f), part, in_part;
  int64_t per_event = feature->bag > 0 ? feature->bag : feature->length;
  locate(row, &part, &in_part);
  int64_t stored = fixture_length(part, in_part), start = fixture_start(part, in_part), length = 1;
  bool reverse = false;
  if (feature->sequence >= 0) {
    int64_t most = it->layout->max_length[feature->sequence];
    length = stored < most ? stored : most;
    reverse = it->layout->newest_first[feature->sequence];
  }
  for (int64_t i = 0; i < elements; i++) {
    int64_t event = i / per_event;
    double expected = 0;
    if (event < length) {
      int64_t of = feature->sequence < 0 ? in_part
                   : reverse             ? start + stored - 1 - event
                                         : start + stored - length + event;
      expected = expected_element(it, f, part, of, i % per_event);
    }
    double found = found_element(it, f, slot * elements + i);
    cr_assert(found == expected, "%s: row %d element %d: %g, expected %g", feature->name, (int)row, (int)i, found,
              expected);
  }
}

static void expect_batch(const opened *it, const int64_t *rows, int64_t n) {
  const facet_batch *batch = it->batch;
  const facet_schema *schema = it->layout->schema;
  double weight_sum = 0;
  cr_assert(batch->n_rows == n);
  for (int64_t slot = 0; slot < n; slot++) {
    int64_t part, in_part;
    locate(rows[slot], &part, &in_part);
    for (int f = 0; f < schema->n_features; f++) {
      if (batch->ids[f] || batch->floats[f]) expect_feature(it, f, slot, rows[slot]);
    }
    int64_t length = fixture_length(part, in_part), most = it->layout->max_length[0];
    cr_assert(!batch->length[0] || batch->length[0][slot] == (length < most ? length : most));
    cr_assert(batch->row[slot] == rows[slot] && batch->valid[slot] == 1);
    cr_assert((double)batch->label[slot] == (double)fixture_label(part, in_part));
    double weight = schema->weight >= 0 ? (double)fixture_weight(part, in_part) : 1;
    cr_assert((double)batch->weight[slot] == weight);
    weight_sum += weight;
    int64_t group =
        schema->group >= 0 ? fixture_session(part, in_part) : fixture_id("user_id", part, in_part, FIXTURE_USERS);
    cr_assert(batch->group[slot] == group);
  }
  cr_assert(batch->weight_sum == weight_sum);
}

/* Rows n … B − 1 hold nothing. */
static void expect_padding(const opened *it, int64_t n) {
  const facet_batch *batch = it->batch;
  for (int64_t slot = n; slot < it->layout->batch_size; slot++) {
    cr_assert(batch->row[slot] == -1 && batch->valid[slot] == 0 && batch->weight[slot] == 0);
    cr_assert(batch->label[slot] == 0 && batch->group[slot] == 0 && batch->length[0][slot] == 0);
    for (int f = 0; f < it->layout->schema->n_features; f++) {
      int64_t elements = facet_batch_layout_elements(it->layout, f);
      for (int64_t i = 0; i < elements; i++) cr_assert(found_element(it, f, slot * elements + i) == 0);
    }
  }
}

static const fixture_options storages[] = {
    {.compress = {false, false, false}}, {.compress = {true, true, true}}, {.compress = {false, true, false}}};

/* ---- content ------------------------------------------------------------------------------------------------- */

Test(batch, sequential_rows_match) {
  for (size_t s = 0; s < 3; s++) {
    opened it = open_fixture(storages[s], FIXTURE_SAMPLES, 0);
    must(facet_batch_create(it.layout, &it.batch));
    int64_t rows[FIXTURE_SAMPLES];
    for (int64_t i = 0; i < FIXTURE_SAMPLES; i++) rows[i] = i;
    must(facet_batch_assemble(it.dataset, rows, FIXTURE_SAMPLES, it.batch));
    expect_batch(&it, rows, FIXTURE_SAMPLES);
    close_fixture(&it);
  }
}

Test(batch, any_rows_match) {
  for (size_t s = 0; s < 3; s++) {
    opened it = open_fixture(storages[s], 100, 4);
    it.layout->newest_first[0] = true;
    must(facet_batch_create(it.layout, &it.batch));
    int64_t rows[100];
    for (int64_t i = 0; i < 100; i++) rows[i] = (i * 53 + 11) % FIXTURE_SAMPLES; /* with repetitions */
    must(facet_batch_assemble(it.dataset, rows, 100, it.batch));
    expect_batch(&it, rows, 100);
    close_fixture(&it);
  }
}

Test(batch, sorts_rows_beyond_one_byte) {
  opened it = open_fixture(storages[0], 300, 0);
  must(facet_batch_create(it.layout, &it.batch));
  int64_t rows[300];
  for (int64_t i = 0; i < 300; i++) rows[i] = FIXTURE_SAMPLES - 1 - (i * 7) % FIXTURE_SAMPLES;
  must(facet_batch_assemble(it.dataset, rows, 300, it.batch));
  expect_batch(&it, rows, 300);
  close_fixture(&it);
}

Test(batch, a_shorter_batch_leaves_nothing_behind) {
  opened it = open_fixture(storages[2], 20, 0);
  must(facet_batch_create(it.layout, &it.batch));
  int64_t rows[20];
  for (int64_t i = 0; i < 20; i++) rows[i] = 36 - i;
  must(facet_batch_assemble(it.dataset, rows, 20, it.batch));
  must(facet_batch_assemble(it.dataset, rows + 9, 7, it.batch));
  expect_batch(&it, rows + 9, 7);
  expect_padding(&it, 7);
  must(facet_batch_assemble(it.dataset, NULL, 0, it.batch));
  cr_assert(it.batch->n_rows == 0 && it.batch->weight_sum == 0);
  expect_padding(&it, 0);
  close_fixture(&it);
}

Test(batch, group_is_the_user_and_weight_one_by_default) {
  opened it = open_fixture((fixture_options){.no_group = true, .no_weight = true}, 30, 0);
  for (int f = 0; f < it.layout->schema->n_features; f++) it.layout->used[f] = false;
  must(facet_batch_create(it.layout, &it.batch));
  int64_t rows[30];
  for (int64_t i = 0; i < 30; i++) rows[i] = i * 2;
  must(facet_batch_assemble(it.dataset, rows, 30, it.batch));
  expect_batch(&it, rows, 30);
  cr_assert(it.batch->weight_sum == 30);
  close_fixture(&it);
}

Test(batch, fills_what_is_used_and_what_it_joins) {
  opened it = open_fixture(storages[0], 8, 0);
  for (int f = 0; f < it.layout->schema->n_features; f++) it.layout->used[f] = false;
  it.layout->used[feature(&it, "genres")] = true;
  must(facet_batch_create(it.layout, &it.batch));
  const int64_t rows[] = {80, 3, 37};
  must(facet_batch_assemble(it.dataset, rows, 3, it.batch));
  expect_batch(&it, rows, 3);
  cr_assert(it.batch->ids[feature(&it, "genres")] && it.batch->ids[feature(&it, "item_id")]);
  cr_assert(!it.batch->ids[feature(&it, "user_id")] && !it.batch->floats[feature(&it, "price")]);
  cr_assert(!it.batch->ids[feature(&it, "history.item_id")] && !it.batch->length[0]);
  close_fixture(&it);
}

Test(batch, layout_counts_elements) {
  opened it = open_fixture(storages[0], 8, 4);
  cr_assert(facet_batch_layout_elements(it.layout, feature(&it, "item_id")) == 1);
  cr_assert(facet_batch_layout_elements(it.layout, feature(&it, "genres")) == 3);
  cr_assert(facet_batch_layout_elements(it.layout, feature(&it, "vector")) == 3);
  cr_assert(facet_batch_layout_elements(it.layout, feature(&it, "history.item_id")) == 4);
  cr_assert(facet_batch_layout_elements(it.layout, feature(&it, "history.tags")) == 8);
  cr_assert(facet_batch_layout_elements(it.layout, feature(&it, "history.vector")) == 8);
  cr_assert(facet_batch_layout_elements(it.layout, feature(&it, "session")) == 0);
  close_fixture(&it);
}

/* ---- errors -------------------------------------------------------------------------------------------------- */

/* Overwrites one element and expects assembly of all rows to fail with a message that has all of the words. */
static void expect_error(int part, const char *name, int64_t element, double value, const char *const *words) {
  for (int compress = 0; compress < 2; compress++) {
    fixture_options options = {.compress = {compress, compress, compress}};
    opened it = {0};
    must(fixture_create(options, it.path));
    fixture_poke(it.path, part, name, element, value);
    facet_batch_layout *layout = NULL;
    facet_status status = facet_dataset_open(it.path, "train", &it.dataset);
    if (status == FACET_OK) {
      int64_t rows[FIXTURE_SAMPLES];
      for (int64_t i = 0; i < FIXTURE_SAMPLES; i++) rows[i] = FIXTURE_SAMPLES - 1 - i;
      must(facet_batch_layout_create(facet_dataset_schema(it.dataset), FIXTURE_SAMPLES, 0, &layout));
      must(facet_batch_create(layout, &it.batch));
      status = facet_batch_assemble(it.dataset, rows, FIXTURE_SAMPLES, it.batch);
    }
    cr_assert(status == FACET_ERROR_DATA, "%s: status %d", name, status);
    for (const char *const *word = words; *word; word++) {
      cr_assert(strstr(facet_error_get()->message, *word), "'%s' is not in '%s'", *word, facet_error_get()->message);
    }
    it.layout = layout;
    close_fixture(&it);
  }
}

#define EXPECT_ERROR(part, name, element, value, ...)                                                                  \
  expect_error((part), (name), (element), (value), (const char *const[]){__VA_ARGS__, NULL})

Test(batch_errors, ids_outside_their_vocabulary) {
  EXPECT_ERROR(2, "/samples/item_id", 7, 40, "part-00002.h5", "/samples/item_id", "row 7", "40", "item", "0 … 39");
  EXPECT_ERROR(0, "/samples/user_id", 36, -1, "part-00000.h5", "/samples/user_id", "row 36", "-1", "0 … 11");
  EXPECT_ERROR(0, "/samples/tags/values", 0, 9, "part-00000.h5", "/samples/tags", "9", "genre", "0 … 8");
  int64_t event = fixture_start(2, 10), length = fixture_length(2, 10);
  cr_assert(length > 0 && length <= 6);
  char row[32];
  snprintf(row, sizeof row, "row %d:", (int)event);
  EXPECT_ERROR(2, "/events/history/item_id", event, 1e6, "part-00002.h5", "/events/history/item_id", row, "1000000");
}

Test(batch_errors, floats_that_are_not_finite) {
  EXPECT_ERROR(1, "/samples/price", 0, NAN, "part-00001.h5", "/samples/price", "row 0", "nan");
  EXPECT_ERROR(2, "/samples/vector", 3 * 11 + 2, -INFINITY, "part-00002.h5", "/samples/vector", "row 11", "-inf");
  char row[32];
  snprintf(row, sizeof row, "row %d:", (int)fixture_start(2, 10));
  EXPECT_ERROR(2, "/events/history/dwell", fixture_start(2, 10), INFINITY, "/events/history/dwell", row, "inf");
}

Test(batch_errors, labels_and_weights) {
  EXPECT_ERROR(2, "/samples/label", 13, 0.5, "part-00002.h5", "/samples/label", "row 13", "0.5", "expected 0 or 1");
  EXPECT_ERROR(2, "/samples/label", 13, NAN, "part-00002.h5", "/samples/label", "row 13", "nan");
  EXPECT_ERROR(0, "/samples/weight", 5, -0.25, "part-00000.h5", "/samples/weight", "row 5", "-0.25", "≥ 0");
  EXPECT_ERROR(0, "/samples/weight", 5, INFINITY, "part-00000.h5", "/samples/weight", "row 5", "inf", "finite");
}

Test(batch_errors, windows_outside_the_events) {
  EXPECT_ERROR(0, "/samples/history/start", 4, -1, "part-00000.h5", "/samples/history", "row 4", "-1", "60");
  EXPECT_ERROR(0, "/samples/history/start", 4, 60, "part-00000.h5", "row 4", "starts at 60", "60");
  EXPECT_ERROR(1, "/samples/history/length", 0, -3, "part-00001.h5", "row 0", "-3");
  EXPECT_ERROR(1, "/samples/history/length", 0, 10, "part-00001.h5", "row 0", "length 10", "9");
  EXPECT_ERROR(2, "/samples/history/start", 9, 9e18, "part-00002.h5", "row 9", "starts at 9000000000000000000", "200");
}

/* Inside the events, but longer than the schema's max_length: what the oldest events are would depend on the reader. */
Test(batch_errors, windows_longer_than_the_schema_allows) {
  EXPECT_ERROR(2, "/samples/history/length", 10, 7, "part-00002.h5", "/samples/history/length", "row 10", "length 7",
               "expected 0 to 6");
}

Test(batch_errors, bags_that_are_too_long_or_unordered) {
  EXPECT_ERROR(2, "/samples/tags/offsets", 20, 1e9, "part-00002.h5", "/samples/tags/offsets", "1000000000");
  EXPECT_ERROR(2, "/samples/tags/offsets", 0, -1, "part-00002.h5", "/samples/tags/offsets", "-1");
  EXPECT_ERROR(2, "/samples/tags/offsets", 1, -5, "part-00002.h5", "/samples/tags/offsets", "-5");
  EXPECT_ERROR(2, "/samples/tags/offsets", 49, 0, "part-00002.h5", "/samples/tags/offsets");
}

Test(batch_errors, attributes) {
  EXPECT_ERROR(-1, "/item/shop", fixture_id("item_id", 0, 3, FIXTURE_ITEMS), 6, "tables.h5", "/item/shop", "6");
  EXPECT_ERROR(-1, "/user/age", fixture_id("user_id", 0, 3, FIXTURE_USERS), NAN, "tables.h5", "/user/age", "nan");
}

/* The last page of a mapped file that is cut reads zeros behind the end. Batches of other parts are not touched by it. */
Test(batch_errors, a_part_that_shrinks_by_a_byte) {
  for (int compress = 0; compress < 2; compress++) {
    opened it = open_fixture((fixture_options){.compress = {compress, compress, compress}}, 4, 0);
    must(facet_batch_create(it.layout, &it.batch));
    char file[128];
    struct stat info;
    snprintf(file, sizeof file, "%s/train/part-00002.h5", it.path);
    cr_assert(stat(file, &info) == 0 && truncate(file, info.st_size - 1) == 0);
    const int64_t others[] = {0, 37, 5}, rows[] = {0, 40, 5};
    must(facet_batch_assemble(it.dataset, others, 3, it.batch));
    cr_assert(facet_batch_assemble(it.dataset, rows, 3, it.batch) == FACET_ERROR_DATA);
    cr_assert(strstr(facet_error_get()->message, "part-00002.h5: the file shrank"), "%s", facet_error_get()->message);
    close_fixture(&it);
  }
}

Test(batch_errors, rows_that_do_not_exist) {
  opened it = open_fixture(storages[0], 2, 0);
  must(facet_batch_create(it.layout, &it.batch));
  const int64_t rows[] = {0, FIXTURE_SAMPLES};
  cr_assert(facet_batch_assemble(it.dataset, rows, 2, it.batch) == FACET_ERROR_INTERNAL);
  cr_assert(strstr(facet_error_get()->message, "row 88"), "%s", facet_error_get()->message);
  cr_assert(facet_batch_assemble(it.dataset, rows, 3, it.batch) == FACET_ERROR_INTERNAL);
  close_fixture(&it);
}

Test(batch_errors, another_schema) {
  opened it = open_fixture(storages[0], 2, 0), other = open_fixture((fixture_options){.no_weight = true}, 2, 0);
  must(facet_batch_create(it.layout, &it.batch));
  const int64_t rows[] = {0};
  cr_assert(facet_batch_assemble(other.dataset, rows, 1, it.batch) == FACET_ERROR_DATA);
  cr_assert(strstr(facet_error_get()->message, "weight"), "%s", facet_error_get()->message);
  close_fixture(&it);
  close_fixture(&other);
}

Test(batch_errors, batch_sizes) {
  opened it = open_fixture(storages[0], 2, 0);
  facet_batch_layout *layout;
  cr_assert(facet_batch_layout_create(it.layout->schema, 0, 0, &layout) == FACET_ERROR_USAGE);
  cr_assert(layout == NULL && strstr(facet_error_get()->message, "batch size"));
  it.layout->max_length[0] = 0;
  cr_assert(facet_batch_create(it.layout, &it.batch) == FACET_ERROR_USAGE && it.batch == NULL);
  close_fixture(&it);
}
