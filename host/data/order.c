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

/* Block at a place: the last one at short_block, the others permuted over the remaining places. */
static int64_t block_at(const facet_order *order, int64_t place) {
  int64_t n_others = order->n_blocks - 1;
  if (place == order->short_block) return n_others;
  int64_t index = place - (place > order->short_block);
  return (int64_t)facet_rng_permute(order->block_key, (uint64_t)n_others, (uint64_t)index);
}

int64_t facet_order_row(const facet_order *order, int64_t position) {
  if (!order->shuffled) return position;
  if (order->window >= order->n_blocks) { /* permuting the blocks first would change nothing */
    return (int64_t)facet_rng_permute(order->row_key, (uint64_t)order->n_rows, (uint64_t)position);
  }
  int64_t window = place_at(order, position) / order->window;
  int64_t first_place = window * order->window, end_place = first_place + order->window;
  if (end_place > order->n_blocks) end_place = order->n_blocks;
  int64_t first = place_start(order, first_place), end = place_start(order, end_place);

  facet_rng_key key = order_key(order->row_key, (uint64_t)window);
  position = first + (int64_t)facet_rng_permute(key, (uint64_t)(end - first), (uint64_t)(position - first));

  int64_t place = place_at(order, position);
  return block_at(order, place) * order->block + position - place_start(order, place);
}
