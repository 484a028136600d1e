/* Exercises the threads of the loader; meant to be run under ThreadSanitizer, which Criterion does not start under.
 * Exits 0 when every case behaved. */
#include <stdio.h>
#include <unistd.h>

#include "../data/batch_fixture.h"
#include "facet/batch.h"

typedef struct opened {
  char path[64];
  facet_dataset *dataset;
  facet_batch_layout *layout;
} opened;

static facet_status open_fixture(bool broken, opened *it) {
  FACET_TRY(fixture_create((fixture_options){.compress = {false, false, true}}, it->path));
  if (broken) fixture_poke(it->path, 2, "/samples/label", 5, 3);
  FACET_TRY(facet_dataset_open(it->path, "train", &it->dataset));
  return facet_batch_layout_create(facet_dataset_schema(it->dataset), 7, 0, &it->layout);
}

static void close_fixture(opened *it) {
  facet_batch_layout_destroy(&it->layout);
  facet_dataset_close(&it->dataset);
  if (it->path[0]) test_directory_remove(it->path);
}

/* Reads every value of the batch, as a model would. */
static double checksum(const facet_batch *batch) {
  double sum = batch->weight_sum;
  for (int f = 0; f < batch->layout->schema->n_features; f++) {
    int64_t n = batch->layout->batch_size * facet_batch_layout_elements(batch->layout, f);
    for (int64_t i = 0; i < n; i++) sum += batch->ids[f] ? batch->ids[f][i] : (double)batch->floats[f][i];
  }
  return sum;
}

/* Takes up to `most` batches; *n_batches counts them. */
static facet_status take(facet_loader *loader, int most, int *n_batches, double *sum) {
  for (int i = 0; i < most; i++) {
    const facet_batch *batch;
    FACET_TRY(facet_loader_next(loader, &batch, NULL));
    if (!batch) return FACET_OK;
    *sum += checksum(batch);
    ++*n_batches;
  }
  return FACET_OK;
}

static facet_status start(const opened *it, int64_t prefetch, facet_loader **loader) {
  facet_order order = facet_order_make(FIXTURE_SAMPLES, true, 4, 3, 1, 0);
  return facet_loader_create(it->dataset, it->layout, order, 0, FIXTURE_SAMPLES, 2, prefetch, 2, loader);
}

static facet_status whole_epoch(const opened *it, double *sum) {
  facet_loader *loader = NULL;
  int n_batches = 0;
  facet_status status;
  for (int64_t prefetch = 0; prefetch < 4; prefetch++) {
    FACET_TRY(start(it, prefetch, &loader));
    status = take(loader, 1000, &n_batches, sum);
    facet_loader_destroy(&loader);
    FACET_TRY(status);
  }
  FACET_CHECK(n_batches == 4 * 14, FACET_ERROR_INTERNAL, "%d batches, expected 56", n_batches);
  return FACET_OK;
}

static facet_status destroyed_early(const opened *it, double *sum) {
  for (int taken = 0; taken < 8; taken++) {
    facet_loader *loader = NULL;
    int n_batches = 0;
    FACET_TRY(start(it, 1 + taken % 3, &loader));
    facet_status status = take(loader, taken, &n_batches, sum);
    if (taken % 2) usleep(2000);
    facet_loader_destroy(&loader);
    FACET_TRY(status);
  }
  return FACET_OK;
}

static facet_status error_in_the_reader(const opened *broken, double *sum) {
  facet_loader *loader = NULL;
  int n_batches = 0;
  FACET_TRY(start(broken, 2, &loader));
  facet_status status = take(loader, 1000, &n_batches, sum);
  facet_loader_destroy(&loader);
  FACET_CHECK(status == FACET_ERROR_DATA, FACET_ERROR_INTERNAL, "status %d, expected a data error", status);
  facet_error_clear();
  return FACET_OK;
}

static facet_status two_at_once(const opened *one, const opened *two, double *sum) {
  facet_loader *loaders[2] = {0};
  int n_batches = 0;
  facet_status status = start(one, 2, &loaders[0]);
  if (status == FACET_OK) status = start(two, 2, &loaders[1]);
  for (int i = 0; i < 14 && status == FACET_OK; i++) {
    status = take(loaders[0], 1, &n_batches, sum);
    if (status == FACET_OK) status = take(loaders[1], 1, &n_batches, sum);
  }
  facet_loader_destroy(&loaders[0]);
  facet_loader_destroy(&loaders[1]);
  FACET_TRY(status);
  FACET_CHECK(n_batches == 28, FACET_ERROR_INTERNAL, "%d batches, expected 28", n_batches);
  return FACET_OK;
}

static facet_status run(opened *one, opened *two, opened *broken, double *sum) {
  FACET_TRY(open_fixture(false, one));
  FACET_TRY(open_fixture(false, two));
  FACET_TRY(open_fixture(true, broken));
  FACET_TRY(whole_epoch(one, sum));
  FACET_TRY(destroyed_early(one, sum));
  FACET_TRY(error_in_the_reader(broken, sum));
  return two_at_once(one, two, sum);
}

int main(void) {
  opened one = {0}, two = {0}, broken = {0};
  double sum = 0;
  facet_status status = run(&one, &two, &broken, &sum);
  if (status != FACET_OK) facet_error_print(stderr);
  close_fixture(&one);
  close_fixture(&two);
  close_fixture(&broken);
  if (status == FACET_OK) printf("loader threads: every case behaved (checksum %.3f)\n", sum);
  return (int)status;
}
