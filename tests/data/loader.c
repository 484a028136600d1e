/* The loader delivers what assembly gives, in order, and ends cleanly however it is used. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "batch_fixture.h"
#include "data/column.h"
#include "facet/batch.h"

static void must(facet_status status) {
  cr_assert(status == FACET_OK, "%s", facet_error_get()->message);
}

typedef struct opened {
  char path[64];
  facet_dataset *dataset;
  facet_batch_layout *layout;
  facet_loader *loader;
} opened;

/* With a label that is wrong in two rows of part 2, poke_row ≥ 0 and 25. */
static opened open_fixture(int64_t batch_size, int poke_row) {
  opened it = {0};
  must(fixture_create((fixture_options){.compress = {false, false, true}}, it.path));
  if (poke_row >= 0) fixture_poke(it.path, 2, "/samples/label", poke_row, 3);
  if (poke_row >= 0) fixture_poke(it.path, 2, "/samples/label", 25, 3);
  must(facet_dataset_open(it.path, "train", &it.dataset));
  must(facet_batch_layout_create(facet_dataset_schema(it.dataset), batch_size, 0, &it.layout));
  return it;
}

static void close_fixture(opened *it) {
  facet_loader_destroy(&it->loader);
  facet_batch_layout_destroy(&it->layout);
  facet_dataset_close(&it->dataset);
  test_directory_remove(it->path);
}

static facet_order chronological(void) {
  return facet_order_make(FIXTURE_SAMPLES, false, 16, 0, 0, 0);
}

static void expect_order(opened *it, const facet_order *order, int64_t prefetch, int64_t readers) {
  double waited = 0;
  int64_t position = 13, stop = 86;
  const facet_batch *batch;
  must(facet_loader_create(it->dataset, it->layout, *order, position, stop, 1, prefetch, readers, &it->loader));
  for (;;) {
    must(facet_loader_next(it->loader, &batch, &waited));
    if (!batch) break;
    cr_assert(batch->position == position);
    cr_assert(batch->n_rows == (stop - position < 10 ? stop - position : 10));
    for (int64_t i = 0; i < batch->n_rows; i++) cr_assert(batch->row[i] == facet_order_row(order, position + i));
    position += batch->n_rows;
  }
  cr_assert(position == stop && waited >= 0);
  must(facet_loader_next(it->loader, &batch, NULL));
  cr_assert(batch == NULL, "the end stays the end");
  facet_loader_destroy(&it->loader);
  cr_assert(it->loader == NULL);
}

Test(loader, delivers_the_order) {
  opened it = open_fixture(10, -1);
  const facet_order order = facet_order_make(FIXTURE_SAMPLES, true, 8, 3, 5, 2);
  for (int64_t prefetch = 0; prefetch < 5; prefetch++) {
    for (int64_t readers = 1; readers < 5; readers++) expect_order(&it, &order, prefetch, readers);
  }
  close_fixture(&it);
}

/* The batches equal those of direct assembly, though the readers run ahead in other memory. */
Test(loader, delivers_what_assembly_gives) {
  opened it = open_fixture(16, -1), direct = open_fixture(16, -1);
  facet_order order = facet_order_make(FIXTURE_SAMPLES, true, 4, 0, 1, 0);
  facet_batch *expected;
  must(facet_batch_create(direct.layout, &expected));
  must(facet_loader_create(it.dataset, it.layout, order, 0, FIXTURE_SAMPLES, 1, 2, 2, &it.loader));
  const facet_batch *batch;
  for (;;) {
    must(facet_loader_next(it.loader, &batch, NULL));
    if (!batch) break;
    must(facet_batch_assemble(direct.dataset, batch->row, batch->n_rows, expected));
    usleep(2000); /* lets the reader run ahead: it must not touch this batch */
    for (int f = 0; f < it.layout->schema->n_features; f++) {
      size_t n = (size_t)(16 * facet_batch_layout_elements(it.layout, f));
      cr_assert(!batch->ids[f] || memcmp(batch->ids[f], expected->ids[f], n * sizeof(int32_t)) == 0);
      cr_assert(!batch->floats[f] || memcmp(batch->floats[f], expected->floats[f], n * sizeof(facet_real)) == 0);
    }
    cr_assert(batch->weight_sum == expected->weight_sum);
  }
  facet_batch_destroy(&expected);
  close_fixture(&it);
  close_fixture(&direct);
}

/* Whatever is dropped from the cache of decoded blocks meanwhile, also by other readers. */
Test(loader, decoded_blocks_may_be_dropped_at_any_time) {
  static const size_t limits[] = {0, 300, 1000, 3000};
  for (int l = 0; l < 4; l++) {
    opened it = open_fixture(8, -1), direct = open_fixture(8, -1);
    const facet_order order = facet_order_make(FIXTURE_SAMPLES, true, 4, 0, 1, 0);
    facet_batch *expected;
    must(facet_batch_create(direct.layout, &expected));
    const size_t before = facet_column_cache_limit(limits[l]);
    must(facet_loader_create(it.dataset, it.layout, order, 0, FIXTURE_SAMPLES, 1, 4, 4, &it.loader));
    for (const facet_batch *batch;;) {
      must(facet_loader_next(it.loader, &batch, NULL));
      if (!batch) break;
      must(facet_batch_assemble(direct.dataset, batch->row, batch->n_rows, expected));
      for (int f = 0; f < it.layout->schema->n_features; f++) {
        const size_t n = (size_t)(8 * facet_batch_layout_elements(it.layout, f));
        cr_assert(!batch->ids[f] || memcmp(batch->ids[f], expected->ids[f], n * sizeof(int32_t)) == 0);
      }
    }
    facet_column_cache_limit(before);
    facet_batch_destroy(&expected);
    close_fixture(&it);
    close_fixture(&direct);
  }
}

Test(loader, aligns_with_batches_of_padding) {
  opened it = open_fixture(20, -1);
  const facet_batch *batch;
  int64_t n_batches = 0, n_rows = 0;
  must(facet_loader_create(it.dataset, it.layout, chronological(), 0, 50, 4, 1, 1, &it.loader));
  for (;;) {
    must(facet_loader_next(it.loader, &batch, NULL));
    if (!batch) break;
    n_rows += batch->n_rows;
    if (n_batches == 3) {
      cr_assert(batch->n_rows == 0 && batch->weight_sum == 0 && batch->position == 50);
      for (int i = 0; i < 20; i++) cr_assert(batch->valid[i] == 0 && batch->row[i] == -1);
    }
    n_batches++;
  }
  cr_assert(n_batches == 4 && n_rows == 50);
  close_fixture(&it);
}

Test(loader, no_positions_is_the_end_at_once) {
  opened it = open_fixture(20, -1);
  const facet_batch *batch;
  must(facet_loader_create(it.dataset, it.layout, chronological(), 30, 30, 4, 1, 1, &it.loader));
  must(facet_loader_next(it.loader, &batch, NULL));
  cr_assert(batch == NULL);
  close_fixture(&it);
}

/* Also where a later batch, which is wrong too, fails first. */
Test(loader, an_error_comes_after_the_batches_before_it) {
  for (int64_t readers = 1; readers < 5; readers++) {
    opened it = open_fixture(10, 5); /* row 38 + 5 = 43, in the fifth batch */
    const facet_batch *batch;
    must(facet_loader_create(it.dataset, it.layout, chronological(), 0, FIXTURE_SAMPLES, 1, 3, readers, &it.loader));
    for (int i = 0; i < 4; i++) {
      usleep(1000);
      must(facet_loader_next(it.loader, &batch, NULL));
      cr_assert(batch && batch->position == i * 10);
    }
    for (int i = 0; i < 2; i++) { /* and it stays */
      facet_error_clear();
      cr_assert(facet_loader_next(it.loader, &batch, NULL) == FACET_ERROR_DATA);
      cr_assert(batch == NULL);
      cr_assert(strstr(facet_error_get()->message, "/samples/label: row 5"), "%s", facet_error_get()->message);
    }
    close_fixture(&it);
  }
}

Test(loader, can_be_destroyed_at_any_time) {
  opened it = open_fixture(5, -1);
  const facet_batch *batch;
  for (int taken = 0; taken < 6; taken++) {
    must(facet_loader_create(it.dataset, it.layout, chronological(), 0, FIXTURE_SAMPLES, 1, taken % 4, 2, &it.loader));
    for (int i = 0; i < taken; i++) must(facet_loader_next(it.loader, &batch, NULL));
    if (taken % 2) usleep(3000); /* the reader waits for a free batch */
    facet_loader_destroy(&it.loader);
  }
  close_fixture(&it);
}

Test(loader, refuses_positions_outside_the_data) {
  opened it = open_fixture(5, -1);
  cr_assert(facet_loader_create(it.dataset, it.layout, chronological(), 0, FIXTURE_SAMPLES + 1, 1, 1, 1, &it.loader) ==
            FACET_ERROR_INTERNAL);
  cr_assert(facet_loader_create(it.dataset, it.layout, chronological(), 0, 5, 0, 1, 1, &it.loader) ==
            FACET_ERROR_INTERNAL);
  cr_assert(it.loader == NULL);
  close_fixture(&it);
}
