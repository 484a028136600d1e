/* The order of an epoch: two keyed permutations composed into a closed form. */
#include "facet/batch.h"

static facet_rng_key order_key(facet_rng_key key, uint64_t index) {
  uint64_t word = facet_rng_word64(key, index);
  return (facet_rng_key){{(uint32_t)word, (uint32_t)(word >> 32)}};
}

facet_order facet_order_make(int64_t n_rows, bool shuffled, int64_t block, int64_t window, uint64_t seed,
                             int64_t epoch) {
  facet_order order = {.n_rows = n_rows, .block = block, .shuffled = shuffled, .seed = seed, .epoch = epoch};
  order.n_blocks = n_rows / block + (n_rows % block != 0);
  order.window = window > 0 && window < order.n_blocks ? window : order.n_blocks;
  if (order.window < 1) order.window = 1;
  if (!shuffled || n_rows == 0) return order;
  order.short_rows = n_rows - (order.n_blocks - 1) * block;
  order.block_key = order_key(facet_rng_key_make(seed, "order/blocks"), (uint64_t)epoch);
  order.row_key = order_key(facet_rng_key_make(seed, "order/rows"), (uint64_t)epoch);
  uint64_t bits = facet_rng_word64(facet_rng_key_make(seed, "order/short_block"), (uint64_t)epoch);
  order.short_block = (int64_t)facet_rng_below(bits, (uint64_t)order.n_blocks);
  return order;
}

/* Position at which the block at `place` of the permuted order starts. */
static int64_t place_start(const facet_order *order, int64_t place) {
  return place * order->block - (place > order->short_block ? order->block - order->short_rows : 0);
}

/* Place in the permuted order of the block that covers `position`: the inverse of place_start. */
static int64_t place_at(const facet_order *order, int64_t position) {
  int64_t before = order->short_block * order->block;
  if (position < before) return position / order->block;
  if (position < before + order->short_rows) return order->short_block;
  return (position + order->block - order->short_rows) / order->block;
}

#define CHUNK 256 /* rows computed at once */

/* Rows of positions first … first + n − 1, n ≤ CHUNK, all in the window of permuted blocks that is positions start …
 * end − 1. Each step goes over all of them, for permutations are fast on many numbers. */
static void window_rows(const facet_order *order, facet_rng_key key, int64_t start, int64_t end, int64_t first,
                        int64_t n, int64_t *rows) {
  const int64_t n_others = order->n_blocks - 1; /* all blocks but the last, which stands at short_block */
  int64_t block[CHUNK];
  for (int64_t i = 0; i < n; i++) rows[i] = first - start + i;
  facet_rng_permute_many(key, (uint64_t)(end - start), n, rows);
  for (int64_t i = 0; i < n; i++) { /* row of the block, and the block before the permutation */
    const int64_t position = start + rows[i], place = place_at(order, position);
    rows[i] = position - place_start(order, place);
    block[i] = place - (place > order->short_block);
    if (place == order->short_block) rows[i] = -1 - rows[i];
  }
  facet_rng_permute_many(order->block_key, (uint64_t)n_others, n, block);
  for (int64_t i = 0; i < n; i++)
    rows[i] = rows[i] < 0 ? n_others * order->block - 1 - rows[i] : block[i] * order->block + rows[i];
}

void facet_order_rows(const facet_order *order, int64_t position, int64_t n, int64_t *rows) {
  if (!order->shuffled || order->window >= order->n_blocks) {
    for (int64_t i = 0; i < n; i++) rows[i] = position + i;
    if (order->shuffled) facet_rng_permute_many(order->row_key, (uint64_t)order->n_rows, n, rows);
    return; /* one window: permuting the blocks as well would change nothing */
  }
  for (int64_t n_taken; n > 0; position += n_taken, rows += n_taken, n -= n_taken) {
    const int64_t window = place_at(order, position) / order->window, place = window * order->window;
    const int64_t start = place_start(order, place);
    const bool is_last = order->window >= order->n_blocks - place;
    const int64_t end = is_last ? order->n_rows : place_start(order, place + order->window);
    n_taken = n < CHUNK ? n : CHUNK;
    if (n_taken > end - position) n_taken = end - position;
    window_rows(order, order_key(order->row_key, (uint64_t)window), start, end, position, n_taken, rows);
  }
}

int64_t facet_order_row(const facet_order *order, int64_t position) {
  int64_t row;
  facet_order_rows(order, position, 1, &row);
  return row;
}
