/* The order of an epoch is a bijection, reproducible, and shuffles. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "facet/batch.h"

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
