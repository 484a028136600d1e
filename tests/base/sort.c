/* External sort: equal results in memory and spilled, ties, rewind, errors. */
#include "facet/sort.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "facet/rng.h"

typedef struct record {
  int64_t key, row;
} record;

static int compare_records(const void *a, const void *b) {
  const record *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

/* Sorts n keyed records (many ties) and checks order, completeness and the number of runs. */
static void check_sort(int64_t n, size_t memory_bytes, bool expect_spill) {
  facet_sorter *sorter;
  cr_assert(facet_sorter_create(sizeof(record), compare_records, memory_bytes, NULL, &sorter) == FACET_OK);
  facet_rng_key key = facet_rng_key_make(7, "sort test");
  for (int64_t i = 0; i < n; i++) {
    record r = {(int64_t)(facet_rng_word64(key, (uint64_t)i) % 97), i};
    cr_assert(facet_sorter_add(sorter, &r) == FACET_OK);
  }
  cr_assert(facet_sorter_finish(sorter) == FACET_OK);
  cr_assert((facet_sorter_n_runs(sorter) > 0) == expect_spill);
  for (int pass = 0; pass < 2; pass++) {
    record last = {-1, -1};
    int64_t count = 0, sum = 0;
    const void *next;
    for (;;) {
      cr_assert(facet_sorter_next(sorter, &next) == FACET_OK);
      if (!next) break;
      record r = *(const record *)next;
      cr_assert(compare_records(&last, &r) < 0);
      last = r;
      sum += r.row;
      count++;
    }
    cr_assert(facet_sorter_next(sorter, &next) == FACET_OK && next == NULL);
    cr_assert(count == n && sum == n * (n - 1) / 2);
    cr_assert(facet_sorter_rewind(sorter) == FACET_OK);
  }
  facet_sorter_destroy(&sorter);
  cr_assert(sorter == NULL);
}

Test(sort, in_memory) {
  check_sort(1000, 1 << 20, false);
}
Test(sort, empty) {
  check_sort(0, 1 << 20, false);
}
Test(sort, one_record) {
  check_sort(1, 1 << 20, false);
}
Test(sort, spilled_runs) {
  check_sort(10007, 4096, true);
}
Test(sort, exactly_full_buffers) {
  check_sort(128 * 5, 4096, true);
}

Test(sort, too_many_runs_for_the_budget) {
  facet_sorter *sorter;
  cr_assert(facet_sorter_create(sizeof(record), compare_records, 1, NULL, &sorter) == FACET_OK);
  for (int64_t i = 0; i < 64 * 200; i++) {
    record r = {i, i};
    cr_assert(facet_sorter_add(sorter, &r) == FACET_OK);
  }
  cr_assert(facet_sorter_finish(sorter) == FACET_ERROR_INTERNAL);
  cr_assert(strstr(facet_error_get()->message, "200 runs"), "%s", facet_error_get()->message);
  facet_sorter_destroy(&sorter);
}

Test(sort, spill_directory_that_does_not_exist) {
  facet_sorter *sorter;
  cr_assert(facet_sorter_create(sizeof(record), compare_records, 1, "/nonexistent/facet", &sorter) == FACET_OK);
  record r = {0, 0};
  for (int i = 0; i < 64; i++) cr_assert(facet_sorter_add(sorter, &r) == FACET_OK);
  cr_assert(facet_sorter_add(sorter, &r) == FACET_ERROR_IO);
  cr_assert(strstr(facet_error_get()->message, "/nonexistent/facet"));
  facet_sorter_destroy(&sorter);
}
