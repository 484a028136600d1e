/* Sparse gradients: emitted pairs → sorted by slot → summed per slot → merged over micro-batches.
 *
 * The order of every sum is the order of emission, whatever the number of threads: the sort is stable, a slot is summed
 * by one part, and parts depend on the number of pairs alone.
 *
 * Floor for n pairs of width w, u unique slots, p radix passes, in bytes: 4 n + 8 n (collect) + 24 n p (histogram,
 * read, write) + 4 w n (gradients once) + 4 w u (result); FLOPs: 2 n w. At n = 100,000, w = 8, p = 2: 9.2 MB. */
#include <stdbool.h>
#include <string.h>

#include "cpu/vector.h"
#include "facet/memory.h"
#include "graph/table_internal.h"

enum {
  MAX_PARTS = 64,
  MIN_PART_PAIRS = 4096,
  MAX_DIGIT_BITS = 11, /* 2,048 counters: 8 kB a part, inside L1 */
  CHUNK = 128          /* gradient rows prefetched ahead of their sum */
};

static int64_t n_parts(int64_t n) {
  int64_t parts = n / MIN_PART_PAIRS;
  return parts < 1 ? 1 : parts > MAX_PARTS ? MAX_PARTS : parts;
}

static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

facet_status facet_table_reserve(facet_table *table, int64_t n_pairs, int64_t accumulate) {
  FACET_CHECK(!table->emissions, FACET_ERROR_INTERNAL, "table %s: room for gradients is reserved already", table->name);
  FACET_CHECK(n_pairs >= 0 && n_pairs <= UINT32_MAX && accumulate >= 1, FACET_ERROR_USAGE,
              "table %s: %lld gradient pairs per micro-batch, %lld micro-batches; expected at most %u pairs: use a "
              "smaller batch",
              table->name, (long long)n_pairs, (long long)accumulate, UINT32_MAX);
  int64_t parts = n_parts(n_pairs), unique = least(n_pairs, table->n_rows);
  int64_t accumulated = n_pairs > table->n_rows / accumulate ? table->n_rows : n_pairs * accumulate;
  FACET_TRY(FACET_ALLOC(table->emissions, FACET_TABLE_MAX_EMISSIONS, "gradient emissions of a table"));
  FACET_TRY(FACET_ALLOC(table->pairs, n_pairs, "gradient pairs of a table"));
  FACET_TRY(FACET_ALLOC(table->sorted, n_pairs, "sorted gradient pairs of a table"));
  FACET_TRY(FACET_ALLOC(table->counts, parts << MAX_DIGIT_BITS, "sort counters of a table"));
  FACET_TRY(FACET_ALLOC(table->gradient.slot, accumulated, "gradient slots of a table"));
  FACET_TRY(FACET_ALLOC(table->gradient.rows, accumulated * table->width, "gradient rows of a table"));
  int64_t micro = accumulate > 1 ? unique : 0;
  FACET_TRY(FACET_ALLOC(table->micro.slot, micro, "micro-batch slots of a table"));
  FACET_TRY(FACET_ALLOC(table->micro.rows, micro * table->width, "micro-batch rows of a table"));
  table->max_pairs = n_pairs;
  table->max_accumulated = accumulated;
  table->max_micro = micro;
  table->reserved_bytes = FACET_TABLE_MAX_EMISSIONS * sizeof *table->emissions +
                          (size_t)(2 * n_pairs) * sizeof *table->pairs +
                          (size_t)(parts << MAX_DIGIT_BITS) * sizeof *table->counts +
                          (size_t)(accumulated + micro) * (sizeof(int32_t) + (size_t)table->width * sizeof(facet_real));
  return FACET_OK;
}

/* ---- collect ---------------------------------------------------------------------------------------------------- */

/* Pairs first … last − 1 of the micro-batch whose slot is not 0: counts them, and writes them if `out`. */
static int64_t collect_range(const facet_table *table, int64_t first, int64_t last, facet_table_pair *out) {
  int64_t n = 0;
  for (int e = 0; e < table->n_emissions; e++) {
    const facet_table_emission *emission = &table->emissions[e];
    int64_t begin = first > emission->first ? first : emission->first;
    int64_t end = least(last, emission->first + emission->n);
    for (int64_t i = begin; i < end; i++) {
      int32_t slot = emission->slot[i - emission->first];
      if (slot == 0) continue;
      if (out) out[n] = (facet_table_pair){.slot = (uint32_t)slot, .index = (uint32_t)i};
      n++;
    }
  }
  return n;
}

static int64_t collect(facet_table *table) {
  int64_t total = table->n_emitted, parts = n_parts(total), start[MAX_PARTS + 1] = {0};
#pragma omp parallel for schedule(static) if (parts > 1)
  for (int64_t p = 0; p < parts; p++)
    start[p + 1] = collect_range(table, total * p / parts, total * (p + 1) / parts, NULL);
  for (int64_t p = 0; p < parts; p++) start[p + 1] += start[p];
#pragma omp parallel for schedule(static) if (parts > 1)
  for (int64_t p = 0; p < parts; p++)
    collect_range(table, total * p / parts, total * (p + 1) / parts, table->pairs + start[p]);
  return start[parts];
}

/* ---- sort ------------------------------------------------------------------------------------------------------- */

/* One stable pass over a digit, from table->pairs to table->sorted; then the two change names. */
static void sort_pass(facet_table *table, int64_t n, int shift, int bits) {
  int64_t parts = n_parts(n), digits = (int64_t)1 << bits;
  uint32_t mask = (uint32_t)digits - 1, *counts = table->counts;
  const facet_table_pair *from = table->pairs;
  facet_table_pair *to = table->sorted;
#pragma omp parallel for schedule(static) if (parts > 1)
  for (int64_t p = 0; p < parts; p++) {
    uint32_t *count = counts + p * digits;
    memset(count, 0, (size_t)digits * sizeof *count);
    for (int64_t i = n * p / parts; i < n * (p + 1) / parts; i++) count[(from[i].slot >> shift) & mask]++;
  }
  uint32_t start = 0;
  for (int64_t d = 0; d < digits; d++)
    for (int64_t p = 0; p < parts; p++) {
      uint32_t count = counts[p * digits + d];
      counts[p * digits + d] = start;
      start += count;
    }
#pragma omp parallel for schedule(static) if (parts > 1)
  for (int64_t p = 0; p < parts; p++) {
    uint32_t *next = counts + p * digits;
    for (int64_t i = n * p / parts; i < n * (p + 1) / parts; i++) to[next[(from[i].slot >> shift) & mask]++] = from[i];
  }
  table->pairs = to;
  table->sorted = (facet_table_pair *)from;
}

/* Sorts table->pairs by slot, keeping the order of emission: as many passes as the largest slot needs. */
static void sort_pairs(facet_table *table, int64_t n) {
  int bits = 0;
  while ((table->n_rows - 1) >> bits) bits++;
  int passes = (bits + MAX_DIGIT_BITS - 1) / MAX_DIGIT_BITS;
  int digit = passes ? (bits + passes - 1) / passes : 0;
  for (int i = 0; i < passes; i++) sort_pass(table, n, i * digit, digit);
}

/* ---- sum -------------------------------------------------------------------------------------------------------- */

/* Gradient rows and scales of pairs [0, n): at most CHUNK. */
static void locate_rows(const facet_table *table, const facet_table_pair *pairs, int64_t n, const facet_real **row,
                        facet_real *scale) {
  for (int64_t i = 0; i < n; i++) {
    const facet_table_emission *emission = table->emissions;
    while (pairs[i].index >= emission->first + emission->n) emission++;
    uint32_t position = pairs[i].index - (uint32_t)emission->first;
    if (emission->group != 1) position /= (uint32_t)emission->group;
    row[i] = emission->gradient + (int64_t)position * table->width;
    scale[i] = emission->scale ? emission->scale[position] : (facet_real)1;
    __builtin_prefetch(row[i]);
  }
}

/* Sums the sorted pairs first … last − 1 (whole slots) into result rows from number `unique` on. */
static void sum_range(const facet_table *table, int64_t first, int64_t last, int64_t unique,
                      facet_sparse_gradient *result) {
  const facet_vector *vector = facet_vector_get();
  const facet_table_pair *pairs = table->pairs;
  const facet_real *row[CHUNK];
  facet_real scale[CHUNK];
  unique--;
  for (int64_t begin = first; begin < last; begin += CHUNK) {
    int64_t n = least(CHUNK, last - begin);
    locate_rows(table, pairs + begin, n, row, scale);
    for (int64_t i = 0; i < n;) {
      uint32_t slot = pairs[begin + i].slot;
      if (begin + i == first || pairs[begin + i - 1].slot != slot) {
        unique++;
        result->slot[unique] = (int32_t)slot;
        memset(result->rows + unique * table->width, 0, (size_t)table->width * sizeof(facet_real));
      }
      int64_t run = 1;
      while (i + run < n && pairs[begin + i + run].slot == slot) run++;
      vector->row_sum(run, table->width, row + i, scale + i, result->rows + unique * table->width);
      i += run;
    }
  }
}

/* First pair of part p: the even bound, moved on to where a slot begins. */
static int64_t part_start(const facet_table_pair *pairs, int64_t n, int64_t p, int64_t parts) {
  int64_t i = n * p / parts;
  while (i > 0 && i < n && pairs[i].slot == pairs[i - 1].slot) i++;
  return i;
}

static void sum_pairs(const facet_table *table, int64_t n, facet_sparse_gradient *result) {
  int64_t parts = n_parts(n), first[MAX_PARTS + 1], unique[MAX_PARTS + 1] = {0};
  for (int64_t p = 0; p <= parts; p++) first[p] = part_start(table->pairs, n, p, parts);
#pragma omp parallel for schedule(static) if (parts > 1)
  for (int64_t p = 0; p < parts; p++)
    for (int64_t i = first[p]; i < first[p + 1]; i++)
      unique[p + 1] += i == first[p] || table->pairs[i].slot != table->pairs[i - 1].slot;
  for (int64_t p = 0; p < parts; p++) unique[p + 1] += unique[p];
#pragma omp parallel for schedule(static) if (parts > 1)
  for (int64_t p = 0; p < parts; p++) sum_range(table, first[p], first[p + 1], unique[p], result);
  result->n = unique[parts];
}

/* ---- merge ------------------------------------------------------------------------------------------------------ */

static int64_t union_size(const facet_sparse_gradient *a, const facet_sparse_gradient *b) {
  int64_t i = 0, j = 0, n = 0;
  for (; i < a->n && j < b->n; n++) {
    int32_t x = a->slot[i], y = b->slot[j];
    i += x <= y;
    j += y <= x;
  }
  return n + (a->n - i) + (b->n - j);
}

/* a ← a + b, from the end so that no row of a is overwritten before it is read. n: the size of the union. */
static void merge(facet_sparse_gradient *a, const facet_sparse_gradient *b, int64_t n, int64_t width) {
  int64_t i = a->n - 1, j = b->n - 1;
  size_t row_bytes = (size_t)width * sizeof(facet_real);
  for (int64_t k = n - 1; j >= 0; k--) {
    bool from_a = i >= 0 && a->slot[i] >= b->slot[j], from_b = i < 0 || b->slot[j] >= a->slot[i];
    facet_real *to = a->rows + k * width;
    const facet_real *row_b = b->rows + j * width;
    a->slot[k] = from_a ? a->slot[i] : b->slot[j];
    if (from_a && k != i) memcpy(to, a->rows + i * width, row_bytes);
    if (from_a && from_b)
      for (int64_t c = 0; c < width; c++) to[c] += row_b[c];
    else if (from_b)
      memcpy(to, row_b, row_bytes);
    i -= from_a;
    j -= from_b;
  }
  a->n = n;
}

facet_status facet_table_reduce(facet_table *table) {
  if (table->n_emissions == 0) return FACET_OK;
  facet_sparse_gradient *total = &table->gradient, *micro = total->n ? &table->micro : total;
  FACET_CHECK(micro == total || table->max_micro > 0, FACET_ERROR_INTERNAL,
              "table %s: a second micro-batch where room was reserved for one", table->name);
  int64_t n = collect(table);
  sort_pairs(table, n);
  sum_pairs(table, n, micro);
  table->n_emissions = 0;
  table->n_emitted = 0;
  if (micro == total) return FACET_OK;
  int64_t n_union = union_size(total, micro);
  FACET_CHECK(n_union <= table->max_accumulated, FACET_ERROR_INTERNAL,
              "table %s: %lld rows have gradients; room was reserved for %lld: more micro-batches than reserved",
              table->name, (long long)n_union, (long long)table->max_accumulated);
  merge(total, micro, n_union, table->width);
  return FACET_OK;
}
