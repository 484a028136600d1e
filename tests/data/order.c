/* The order of an epoch is a bijection, reproducible, and shuffles. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "facet/batch.h"
#include "facet/file.h"

/* Checks that every row occurs exactly once; rows[n] receives the order. */
static void expect_bijection(const facet_order *order, int64_t *rows) {
  bool *seen = calloc((size_t)order->n_rows + 1, sizeof *seen);
  for (int64_t i = 0; i < order->n_rows; i++) {
    rows[i] = facet_order_row(order, i);
    cr_assert(rows[i] >= 0 && rows[i] < order->n_rows && !seen[rows[i]],
              "n %d block %d window %d: position %d gives row %d again or outside", (int)order->n_rows,
              (int)order->block, (int)order->window, (int)i, (int)rows[i]);
    seen[rows[i]] = true;
  }
  free(seen);
}

Test(order, is_a_bijection) {
  int64_t rows[1024];
  const int64_t sizes[] = {1, 2, 3, 7, 64, 65, 100, 127, 500, 1000};
  const int64_t blocks[] = {1, 2, 3, 7, 16, 64, 99, 100, 101, 1000, 5000};
  const int64_t windows[] = {0, 1, 2, 3, 5, 1000};
  for (size_t n = 0; n < 10; n++) {
    for (size_t b = 0; b < 11; b++) {
      for (size_t w = 0; w < 6; w++) {
        for (int64_t epoch = 0; epoch < 3; epoch++) {
          facet_order order = facet_order_make(sizes[n], true, blocks[b], windows[w], 7, epoch);
          expect_bijection(&order, rows);
        }
      }
    }
  }
}

/* The bits of an epoch's order are a promise: a run that is continued must go on with the same rows. */
Test(order, stays_what_it_was) {
  static const struct {
    int64_t n_rows, block, window;
    uint64_t hash; /* of the rows of seed 42 and epoch 3 in order */
  } cases[] = {
      {1, 1, 1, 0xc77b3abb6f87acd9u},          {1000, 16, 4, 0xb05b4ab5fba61937u},
      {100003, 256, 256, 0x40b24ba4fef16185u}, {100003, 256, 8, 0x20cfba27c8a8ebb6u},
      {5000, 7, 3, 0x7fb5572b906194dcu},       {70000, 256, 0, 0x8a65b873e4c326ccu},
      {300, 300, 2, 0xb86a327f9431f57fu},      {65536, 256, 16, 0xc570e663b4b77a99u},
      {12345, 1, 50, 0x523a1e3f3fb675acu},
  };
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    const facet_order order = facet_order_make(cases[c].n_rows, true, cases[c].block, cases[c].window, 42, 3);
    int64_t *rows = calloc((size_t)cases[c].n_rows, sizeof *rows);
    facet_order_rows(&order, 0, cases[c].n_rows, rows);
    cr_assert(facet_hash64(rows, (size_t)cases[c].n_rows * sizeof *rows) == cases[c].hash, "case %d", (int)c);
    free(rows);
  }
}

/* However the positions are asked for: from one to all of them, across windows and the short block. */
Test(order, rows_of_a_range_are_those_of_its_positions) {
  enum { N = 1003 };
  int64_t expected[N], rows[N + 1];
  const int64_t blocks[] = {1, 7, 16, 64}, windows[] = {0, 1, 3, 10}, counts[] = {1, 2, 31, 33, 100, 257, N};
  for (int b = 0; b < 4; b++) {
    for (int w = 0; w < 4; w++) {
      const facet_order order = facet_order_make(N, true, blocks[b], windows[w], 2, 1);
      for (int64_t i = 0; i < N; i++) expected[i] = facet_order_row(&order, i);
      for (int c = 0; c < 7; c++) {
        for (int64_t first = 0, n; first < N; first += n) {
          n = N - first < counts[c] ? N - first : counts[c];
          rows[n] = -7;
          facet_order_rows(&order, first, n, rows);
          cr_assert(memcmp(rows, expected + first, (size_t)n * sizeof *rows) == 0, "block %d window %d first %d n %d",
                    (int)blocks[b], (int)windows[w], (int)first, (int)n);
          cr_assert(rows[n] == -7, "written beyond the range");
        }
      }
    }
  }
}

Test(order, no_rows_is_allowed) {
  cr_assert(facet_order_make(0, true, 16, 0, 1, 0).n_rows == 0);
  cr_assert(facet_order_make(0, false, 16, 4, 1, 0).n_rows == 0);
}

Test(order, chronological_is_the_stored_order) {
  facet_order order = facet_order_make(1000, false, 16, 4, 3, 2);
  for (int64_t i = 0; i < 1000; i++) cr_assert(facet_order_row(&order, i) == i);
}

static int64_t differences(facet_order a, facet_order b) {
  int64_t n = 0;
  for (int64_t i = 0; i < a.n_rows; i++) n += facet_order_row(&a, i) != facet_order_row(&b, i);
  return n;
}

Test(order, depends_on_seed_and_epoch_only) {
  for (int64_t window = 0; window < 6; window += 5) {
    facet_order order = facet_order_make(10000, true, 64, window, 11, 4);
    cr_assert(differences(order, facet_order_make(10000, true, 64, window, 11, 4)) == 0);
    cr_assert(differences(order, facet_order_make(10000, true, 64, window, 11, 5)) > 9000);
    cr_assert(differences(order, facet_order_make(10000, true, 64, window, 12, 4)) > 9000);
  }
}

/* With window 0 every row can go anywhere: the mean displacement of a random permutation is n / 3, and consecutive
 * positions are unrelated. */
Test(order, shuffles_everything_by_default) {
  enum { N = 20011 };
  facet_order order = facet_order_make(N, true, 128, 0, 5, 1);
  double displacement = 0, product = 0;
  int64_t before = 0, ascending = 0;
  for (int64_t i = 0; i < N; i++) {
    int64_t row = facet_order_row(&order, i);
    displacement += (double)llabs(row - i);
    product += ((double)i / N - 0.5) * ((double)row / N - 0.5);
    ascending += i > 0 && row > before;
    before = row;
  }
  cr_assert(displacement / N > 0.32 * N && displacement / N < 0.347 * N, "mean displacement %g", displacement / N);
  cr_assert(product / N * 12 < 0.03 && product / N * 12 > -0.03, "correlation %g", product / N * 12);
  cr_assert(ascending > 0.48 * N && ascending < 0.52 * N, "%d ascents", (int)ascending);
}

/* The rows of one window of positions come from exactly `window` blocks, so that few blocks are read at a time. */
Test(order, a_window_holds_few_blocks) {
  enum { N = 64 * 40, BLOCK = 64, WINDOW = 4 };
  facet_order order = facet_order_make(N, true, BLOCK, WINDOW, 9, 0);
  int64_t shuffled_within = 0;
  for (int64_t first = 0; first < N; first += BLOCK * WINDOW) {
    int64_t rows_of_block[N / BLOCK] = {0}, n_blocks = 0, before = -1;
    for (int64_t i = first; i < first + BLOCK * WINDOW; i++) {
      int64_t block = facet_order_row(&order, i) / BLOCK;
      n_blocks += rows_of_block[block]++ == 0;
      shuffled_within += before >= 0 && block != before;
      before = block;
    }
    cr_assert(n_blocks == WINDOW, "%d blocks", (int)n_blocks);
  }
  cr_assert(shuffled_within > N / 2, "blocks change %d times", (int)shuffled_within);
}

/* The short last block does not always sit at the same place. */
Test(order, the_short_block_moves) {
  int64_t places[5] = {0};
  for (int64_t epoch = 0; epoch < 200; epoch++) {
    facet_order order = facet_order_make(42, true, 10, 1, 3, epoch);
    cr_assert(order.n_blocks == 5 && order.short_rows == 2);
    places[order.short_block]++;
  }
  for (int i = 0; i < 5; i++) cr_assert(places[i] > 15, "place %d: %d of 200", i, (int)places[i]);
}
