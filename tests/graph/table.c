/* Embedding tables: resolve, emit, reduce, merge, state. */
#include "facet/table.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "facet/rng.h"

static facet_table *make_table(int64_t n_rows, int64_t width, int64_t n_pairs, int64_t accumulate) {
  facet_table *table = NULL;
  cr_assert_eq(facet_table_create("items", n_rows, width, &table), FACET_OK, "%s", facet_error_get()->message);
  if (n_pairs >= 0) cr_assert_eq(facet_table_reserve(table, n_pairs, accumulate), FACET_OK);
  return table;
}

static void emit(facet_table *table, const int32_t *slot, int64_t n, int64_t group, const facet_real *gradient,
                 const facet_real *scale) {
  cr_assert_eq(facet_table_emit(table, slot, n, group, gradient, facet_table_width(table), scale), FACET_OK, "%s",
               facet_error_get()->message);
}

static void expect(facet_table *table, int64_t n, const int32_t *slot, const facet_real *rows) {
  const facet_sparse_gradient *gradient = facet_table_gradient(table);
  cr_assert_eq(gradient->n, n, "%lld rows, expected %lld", (long long)gradient->n, (long long)n);
  for (int64_t i = 0; i < n; i++) {
    cr_assert_eq(gradient->slot[i], slot[i], "row %lld has slot %d", (long long)i, gradient->slot[i]);
    for (int64_t j = 0, width = facet_table_width(table); j < width; j++)
      cr_assert_eq(gradient->rows[i * width + j], rows[i * width + j], "slot %d, column %lld: %g", slot[i],
                   (long long)j, (double)gradient->rows[i * width + j]);
  }
}

Test(table, resolves_to_itself) {
  facet_table *table = make_table(4, 2, -1, 0);
  facet_table_view view;
  int32_t ids[] = {3, 0, 1};
  cr_assert_eq(facet_table_resolve(table, ids, 3, &view), FACET_OK);
  cr_assert_eq(view.rows, facet_table_rows(table));
  for (int i = 0; i < 3; i++) cr_assert_eq(view.slot[i], ids[i]);
  cr_assert_str_eq(facet_table_name(table), "items");
  cr_assert_eq(facet_table_n_rows(table), 4);
  facet_table_destroy(&table);
  cr_assert_null(table);
}

/* Two fields share the table: single values, and bags of two with a mean. Slot 0 is skipped. */
Test(table, sums_emissions) {
  facet_table *table = make_table(9, 2, 20, 1);
  int32_t single[] = {7, 0, 2, 7}, bag[] = {2, 8, 0, 7};
  facet_real g[] = {1, 2, 3, 4, 5, 6, 7, 8}, g_bag[] = {10, 20, 30, 40}, scale[] = {0.5f, 1};
  emit(table, single, 4, 1, g, NULL);
  emit(table, bag, 4, 2, g_bag, scale);
  cr_assert_eq(facet_table_reduce(&table, 1), FACET_OK);
  expect(table, 3, (int32_t[]){2, 7, 8}, (facet_real[]){5 + 5, 6 + 10, 1 + 7 + 30, 2 + 8 + 40, 5, 10});
  facet_table_clear_gradient(table);
  expect(table, 0, NULL, NULL);
  cr_assert_eq(facet_table_reduce(&table, 1), FACET_OK); /* nothing emitted */
  expect(table, 0, NULL, NULL);
  facet_table_destroy(&table);
}

Test(table, merges_micro_batches) {
  facet_table *table = make_table(100, 1, 4, 3);
  facet_real one[] = {1, 2, 3, 4}, ten[] = {10, 20, 30, 40}, hundred[] = {100};
  emit(table, (int32_t[]){5, 50, 5, 99}, 4, 1, one, NULL);
  cr_assert_eq(facet_table_reduce(&table, 1), FACET_OK);
  emit(table, (int32_t[]){1, 50, 60, 50}, 4, 1, ten, NULL);
  cr_assert_eq(facet_table_reduce(&table, 1), FACET_OK);
  emit(table, (int32_t[]){99}, 1, 1, hundred, NULL);
  cr_assert_eq(facet_table_reduce(&table, 1), FACET_OK);
  expect(table, 5, (int32_t[]){1, 5, 50, 60, 99}, (facet_real[]){10, 4, 62, 30, 104});
  facet_table_clear_gradient(table);
  emit(table, (int32_t[]){0, 0}, 2, 1, one, NULL);
  cr_assert_eq(facet_table_reduce(&table, 1), FACET_OK);
  expect(table, 0, NULL, NULL);
  emit(table, (int32_t[]){3}, 1, 1, one, NULL);
  cr_assert_eq(facet_table_reduce(&table, 1), FACET_OK);
  expect(table, 1, (int32_t[]){3}, (facet_real[]){1});
  facet_table_destroy(&table);
}

enum { MANY = 60000, MANY_ROWS = 200000, MANY_WIDTH = 11 };

/* Against sums in the order of emission, slot by slot; several radix passes, hot slots, parts; then with one thread. */
Test(table, many_pairs) {
  int32_t *slot = malloc(MANY * sizeof *slot);
  facet_real *g = malloc(MANY * MANY_WIDTH * sizeof *g), *scale = malloc(MANY * sizeof *scale);
  facet_real *expected = calloc((size_t)MANY_ROWS * MANY_WIDTH, sizeof *expected);
  bool *touched = calloc(MANY_ROWS, sizeof *touched);
  facet_rng_key key = facet_rng_key_make(1, "test");
  for (int64_t i = 0; i < MANY; i++) {
    uint64_t word = facet_rng_word64(key, (uint64_t)i);
    slot[i] = word % 4 == 0 ? 0 : word % 4 == 1 ? 77 : (int32_t)(word >> 20) % MANY_ROWS;
    if (slot[i] < 0) slot[i] = -slot[i];
    scale[i] = 1 + (facet_real)(word % 3);
    for (int64_t j = 0; j < MANY_WIDTH; j++)
      g[i * MANY_WIDTH + j] = facet_rng_normal(key, (uint64_t)(i * MANY_WIDTH + j)); /* scaled by 1, 2 or 3 */
    for (int64_t j = 0; slot[i] && j < MANY_WIDTH; j++)
      expected[slot[i] * MANY_WIDTH + j] += scale[i] * g[i * MANY_WIDTH + j];
    touched[slot[i]] = slot[i] != 0;
  }
  for (int n_threads = 2; n_threads >= 1; n_threads--) {
    omp_set_num_threads(n_threads);
    facet_table *table = make_table(MANY_ROWS, MANY_WIDTH, MANY, 1);
    emit(table, slot, 50000, 1, g, scale);
    emit(table, slot + 50000, MANY - 50000, 1, g + 50000 * MANY_WIDTH, scale + 50000);
    cr_assert_eq(facet_table_reduce(&table, 1), FACET_OK);
    const facet_sparse_gradient *gradient = facet_table_gradient(table);
    int64_t k = 0;
    for (int64_t s = 1; s < MANY_ROWS; s++) {
      if (!touched[s]) continue;
      cr_assert(k < gradient->n && gradient->slot[k] == s, "slot %lld is missing", (long long)s);
      for (int64_t j = 0; j < MANY_WIDTH; j++) {
        double difference = (double)(gradient->rows[k * MANY_WIDTH + j] - expected[s * MANY_WIDTH + j]);
        cr_assert(difference * difference < 1e-4, "slot %lld: off by %g", (long long)s, difference);
      }
      k++;
    }
    cr_assert_eq(k, gradient->n);
    if (n_threads == 2) { /* keep the bits for the comparison */
      memset(expected, 0, (size_t)MANY_ROWS * MANY_WIDTH * sizeof *expected);
      for (int64_t i = 0; i < gradient->n; i++)
        memcpy(expected + gradient->slot[i] * MANY_WIDTH, gradient->rows + i * MANY_WIDTH,
               MANY_WIDTH * sizeof *expected);
    } else {
      for (int64_t i = 0; i < gradient->n; i++)
        cr_assert(!memcmp(expected + gradient->slot[i] * MANY_WIDTH, gradient->rows + i * MANY_WIDTH,
                          MANY_WIDTH * sizeof *expected),
                  "slot %d depends on the number of threads", gradient->slot[i]);
    }
    facet_table_destroy(&table);
  }
  free(slot), free(g), free(scale), free(expected), free(touched);
}

enum { SIDE = 9000, SIDE_ROWS = 700, SIDE_STRIDE = 3 + 8 + 3 };

/* One gradient with the fields of two tables, the first of which has two of them; and a second, smaller gradient whose
 * bags have means. Against plain sums, and with other numbers of threads bit for bit. */
Test(table, fields_side_by_side) {
  int32_t *slot = malloc(3 * SIDE * sizeof *slot);
  facet_real *g = malloc((size_t)SIDE * SIDE_STRIDE * sizeof *g), scale[SIDE / 3];
  double *expected[] = {calloc(SIDE_ROWS * 3, sizeof(double)), calloc(SIDE_ROWS * 8, sizeof(double))};
  facet_real *first[2] = {NULL};
  const int64_t width[] = {3, 8};
  facet_rng_key key = facet_rng_key_make(2, "fields");
  for (int64_t i = 0; i < 3 * SIDE; i++) {
    uint64_t word = facet_rng_word64(key, (uint64_t)i);
    slot[i] = word % 3 == 0 ? (int32_t)(word / 3 % 5) : (int32_t)(word / 3 % SIDE_ROWS);
  }
  for (int64_t i = 0; i < (int64_t)SIDE * SIDE_STRIDE; i++) g[i] = (facet_real)facet_rng_normal(key, (uint64_t)i);
  for (int64_t i = 0; i < SIDE / 3; i++) scale[i] = g[i];
  for (int64_t i = 0; i < SIDE; i++) {
    for (int64_t j = 0; j < 3; j++) expected[0][slot[i] * 3 + j] += (double)g[i * SIDE_STRIDE + j];
    for (int64_t j = 0; j < 8; j++) expected[1][slot[SIDE + i] * 8 + j] += (double)g[i * SIDE_STRIDE + 3 + j];
    for (int64_t j = 0; j < 3; j++) expected[0][slot[2 * SIDE + i] * 3 + j] += (double)g[i * SIDE_STRIDE + 11 + j];
    for (int64_t j = 0; j < 8; j++) expected[1][slot[i] * 8 + j] += (double)scale[i / 3] * (double)g[i / 3 * 8 + j];
  }
  for (int n_threads = 1; n_threads <= 3; n_threads++) {
    omp_set_num_threads(n_threads);
    facet_table *table[] = {make_table(SIDE_ROWS, 3, 2 * SIDE, 1), make_table(SIDE_ROWS, 8, 2 * SIDE, 1)};
    cr_assert_eq(facet_table_emit(table[0], slot, SIDE, 1, g, SIDE_STRIDE, NULL), FACET_OK);
    cr_assert_eq(facet_table_emit(table[0], slot + 2 * SIDE, SIDE, 1, g + 11, SIDE_STRIDE, NULL), FACET_OK);
    cr_assert_eq(facet_table_emit(table[1], slot + SIDE, SIDE, 1, g + 3, SIDE_STRIDE, NULL), FACET_OK);
    cr_assert_eq(facet_table_emit(table[1], slot, SIDE, 3, g, 8, scale), FACET_OK);
    cr_assert_eq(facet_table_reduce(table, 2), FACET_OK);
    for (int t = 0; t < 2; t++) {
      const facet_sparse_gradient *gradient = facet_table_gradient(table[t]);
      const size_t bytes = (size_t)(gradient->n * width[t]) * sizeof *gradient->rows;
      cr_assert_eq(gradient->n, SIDE_ROWS - 1);
      for (int64_t i = 0; i < gradient->n * width[t]; i++)
        cr_assert(fabs((double)gradient->rows[i] - expected[t][width[t] + i]) < 1e-3,
                  "table %d, element %lld: %g, not %g", t, (long long)i, (double)gradient->rows[i],
                  expected[t][width[t] + i]);
      if (!first[t]) memcpy(first[t] = malloc(bytes), gradient->rows, bytes);
      cr_assert(!memcmp(first[t], gradient->rows, bytes), "%d threads have other bits than one", n_threads);
      facet_table_destroy(&table[t]);
    }
  }
  free(slot), free(g);
  for (int t = 0; t < 2; t++) free(expected[t]), free(first[t]);
}

Test(table, state) {
  facet_table *table = make_table(3, 4, 2, 1);
  size_t before = facet_table_bytes(table);
  const char *name;
  int64_t width;
  cr_assert_null(facet_table_state(table, 0, NULL, NULL));
  cr_assert_eq(facet_table_add_state(table, 0, "m", 4, 0), FACET_OK);
  cr_assert_eq(facet_table_add_state(table, 1, "accumulator", 1, 0.5), FACET_OK);
  const facet_real *accumulator = facet_table_state(table, 1, &name, &width);
  cr_assert_str_eq(name, "accumulator");
  cr_assert_eq(width, 1);
  for (int i = 0; i < 3; i++) cr_assert_eq(accumulator[i], (facet_real)0.5);
  cr_assert_eq(facet_table_state(table, 0, NULL, NULL)[11], 0);
  cr_assert_eq(facet_table_bytes(table) - before, (3 * 4 + 3) * sizeof(facet_real));
  cr_assert_neq(facet_table_add_state(table, 0, "v", 4, 0), FACET_OK);
  facet_table_destroy(&table);
}

Test(table, errors) {
  facet_table *table = NULL;
  cr_assert_eq(facet_table_create("big", (int64_t)1 << 40, 8, &table), FACET_ERROR_USAGE);
  cr_assert_null(table);
  table = make_table(4, 1, -1, 0);
  facet_real g[3] = {1, 1, 1};
  int32_t slot[] = {1, 2, 3};
  cr_assert_neq(facet_table_emit(table, slot, 3, 1, g, facet_table_width(table), NULL), FACET_OK,
                "emitted without room");
  cr_assert_eq(facet_table_reserve(table, 3, 1), FACET_OK);
  cr_assert_neq(facet_table_reserve(table, 5, 1), FACET_OK, "reserved twice");
  emit(table, slot, 3, 1, g, NULL);
  cr_assert_neq(facet_table_emit(table, slot, 1, 1, g, facet_table_width(table), NULL), FACET_OK,
                "emitted more than reserved");
  cr_assert(strstr(facet_error_get()->message, "table items"), "%s", facet_error_get()->message);
  cr_assert_eq(facet_table_reduce(&table, 1), FACET_OK);
  emit(table, slot, 1, 1, g, NULL);
  cr_assert_neq(facet_table_reduce(&table, 1), FACET_OK, "a second micro-batch where one was reserved");
  facet_table_destroy(&table);
}
