/* Sparse gradients: emitted pairs → one row per touched slot → merged over micro-batches.
 *
 * No sort: the slots of all pairs are marked in a bitmap; reading it in order gives the touched slots, ascending, and each
 * one its row (the number of marks before it); then the pairs are added to their rows. Several tables are summed at once,
 * CHUNK positions at a time, so that fields which lie side by side in the rows of one gradient are read together, from
 * cache. Threads own ranges of slots, so the order of every sum is by matrix, chunk, emission and position, whatever the
 * number of threads.
 *
 * Floor for n pairs of width w, u unique slots, in bytes: 4 n (slots) + 4 w n (gradients once) + 4 w u (result);
 * FLOPs: n w. At n = 100,000, w = 8: 4.4 MB. */
#include <omp.h>
#include <stdbool.h>
#include <string.h>

#include "cpu/vector.h"
#include "facet/memory.h"
#include "graph/table_internal.h"

enum {
  WORD = 64,               /* slots in a word of the bitmap */
  SUMMARY = WORD * WORD,   /* slots in a word of the bitmap of words that are not 0 */
  OCTAVE = 32,             /* buckets for slots 2^k … 2^(k+1) − 1 */
  N_BUCKETS = 28 * OCTAVE, /* of slots below 2^32 */
  SAMPLE = 8,              /* pairs of which one is counted, to share them among threads */
  PARALLEL_PAIRS = 4096,   /* with fewer, one thread is faster */
  CHUNK = 64               /* positions whose gradients stay in the first cache while all fields are summed */
};

static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t words_of(const facet_table *table, int64_t slots) {
  return (table->n_rows + slots - 1) / slots;
}

facet_status facet_table_reserve(facet_table *table, int64_t n_pairs, int64_t accumulate) {
  FACET_CHECK(!table->emissions, FACET_ERROR_INTERNAL, "table %s: room for gradients is reserved already", table->name);
  FACET_CHECK(n_pairs >= 0 && n_pairs <= UINT32_MAX && accumulate >= 1, FACET_ERROR_USAGE,
              "table %s: %lld gradient pairs per micro-batch, %lld micro-batches; expected at most %u pairs: use a "
              "smaller batch",
              table->name, (long long)n_pairs, (long long)accumulate, UINT32_MAX);
  int64_t unique = least(n_pairs, table->n_rows), words = words_of(table, WORD), summary = words_of(table, SUMMARY);
  int64_t accumulated = n_pairs > table->n_rows / accumulate ? table->n_rows : n_pairs * accumulate;
  FACET_TRY(FACET_ALLOC(table->emissions, FACET_TABLE_MAX_EMISSIONS, "gradient emissions of a table"));
  FACET_TRY(FACET_ALLOC(table->touched, words, "touched slots of a table"));
  FACET_TRY(FACET_ALLOC(table->summary, summary, "touched slots of a table"));
  FACET_TRY(FACET_ALLOC(table->rank, words, "touched slots of a table"));
  FACET_TRY(FACET_ALLOC(table->gradient.slot, accumulated, "gradient slots of a table"));
  FACET_TRY(FACET_ALLOC(table->gradient.rows, accumulated * table->width, "gradient rows of a table"));
  int64_t micro = accumulate > 1 ? unique : 0;
  FACET_TRY(FACET_ALLOC(table->micro.slot, micro, "micro-batch slots of a table"));
  FACET_TRY(FACET_ALLOC(table->micro.rows, micro * table->width, "micro-batch rows of a table"));
  table->max_pairs = n_pairs;
  table->max_accumulated = accumulated;
  table->max_micro = micro;
  table->reserved_bytes = FACET_TABLE_MAX_EMISSIONS * sizeof *table->emissions +
                          (size_t)(words + summary) * sizeof(uint64_t) + (size_t)words * sizeof(uint32_t) +
                          (size_t)(accumulated + micro) * (sizeof(int32_t) + (size_t)table->width * sizeof(facet_real));
  return FACET_OK;
}

/* ---- which slots ------------------------------------------------------------------------------------------------- */

/* Buckets grow with the slots, since low ids are often the frequent ones: their bounds are those of small floating-point
 * numbers. */
static uint32_t bucket_of(uint32_t slot) {
  if (slot < OCTAVE) return slot;
  uint32_t exponent = 31 - (uint32_t)__builtin_clz(slot); /* at least 5 */
  return (exponent - 4) * OCTAVE + ((slot >> (exponent - 5)) & (OCTAVE - 1));
}

static uint64_t first_of_bucket(uint32_t bucket) {
  if (bucket < OCTAVE) return bucket;
  return (uint64_t)(OCTAVE + bucket % OCTAVE) << (bucket / OCTAVE - 1);
}

/* Marks a slot that is mostly marked already. */
static inline void mark(facet_table *table, uint32_t slot, bool shared) {
  uint64_t *word = &table->touched[slot / WORD], *summary = &table->summary[slot / SUMMARY];
  const uint64_t mask = (uint64_t)1 << slot % WORD, summary_mask = (uint64_t)1 << slot / WORD % WORD;
  if (__atomic_load_n(word, __ATOMIC_RELAXED) & mask) return;
  if (shared) {
    __atomic_fetch_or(word, mask, __ATOMIC_RELAXED);
    __atomic_fetch_or(summary, summary_mask, __ATOMIC_RELAXED);
  } else {
    *word |= mask;
    *summary |= summary_mask;
  }
}

/* Marks the slots of all pairs; count[b] is the number of sampled pairs in bucket b (not with one thread). */
static void mark_slots(facet_table *table, int n_threads, int64_t *count) {
  memset(count, 0, N_BUCKETS * sizeof *count);
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
  {
    uint32_t own[N_BUCKETS] = {0};
    for (int e = 0; e < table->n_emissions; e++) {
      const facet_table_emission *emission = &table->emissions[e];
#pragma omp for schedule(static) nowait
      for (int64_t i = 0; i < emission->n; i++) mark(table, (uint32_t)emission->slot[i], n_threads > 1);
      if (n_threads == 1) continue;
#pragma omp for schedule(static) nowait
      for (int64_t i = 0; i < emission->n; i += SAMPLE) own[bucket_of((uint32_t)emission->slot[i])]++;
    }
#pragma omp critical(facet_table_mark)
    for (int b = 0; b < N_BUCKETS; b++) count[b] += own[b];
  }
  table->touched[0] &= ~(uint64_t)1; /* padding */
  count[0] = 0;
}

/* Lists the marked slots in order; rank[w] is the number of marks before word w. */
static void list_slots(const facet_table *table, facet_sparse_gradient *result) {
  int64_t n = 0, n_summary = words_of(table, SUMMARY);
  for (int64_t s = 0; s < n_summary; s++)
    for (uint64_t words = table->summary[s]; words; words &= words - 1) {
      const int64_t w = s * WORD + __builtin_ctzll(words);
      table->rank[w] = (uint32_t)n;
      for (uint64_t bits = table->touched[w]; bits; bits &= bits - 1)
        result->slot[n++] = (int32_t)(w * WORD + __builtin_ctzll(bits));
    }
  result->n = n;
}

static void clear_marks(const facet_table *table, const facet_sparse_gradient *result) {
  table->summary[0] = 0; /* padding */
  for (int64_t i = 0; i < result->n; i++) {
    table->touched[result->slot[i] / WORD] = 0;
    table->summary[result->slot[i] / SUMMARY] = 0;
  }
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

/* Whether two emissions are columns of the same rows. */
static bool side_by_side(const facet_table_emission *a, const facet_table_emission *b) {
  const uintptr_t x = (uintptr_t)a->gradient, y = (uintptr_t)b->gradient;
  return a->n == b->n && a->group == b->group && a->stride == b->stride && a->scale == b->scale &&
         (x < y ? y - x : x - y) < (size_t)a->stride * sizeof(facet_real);
}

static const facet_table_emission *find_leader(facet_table *const *table, const facet_table_emission *emission) {
  for (int i = 0;; i++)
    for (int e = 0; e < table[i]->n_emissions; e++) {
      const facet_table_emission *first = &table[i]->emissions[e];
      if (first == emission || (first->leader == first && side_by_side(first, emission))) return first;
    }
}

/* bound[t] … bound[t + 1] − 1 are the slots of thread t: about as many pairs for each. */
static void share_slots(facet_table *table, const int64_t *count, int n_threads) {
  uint32_t *bound = table->bound;
  int64_t total = 0, before = 0;
  int t = 1;
  for (uint32_t b = 0; b < N_BUCKETS; b++) total += count[b];
  bound[0] = 1; /* 0 is padding */
  for (uint32_t b = 0; b < N_BUCKETS; b++) {
    while (t < n_threads && before >= total * t / n_threads) bound[t++] = (uint32_t)first_of_bucket(b);
    before += count[b];
  }
  while (t <= n_threads) bound[t++] = (uint32_t)table->n_rows;
  for (t = 1; t <= n_threads; t++) {
    if (bound[t] > (uint32_t)table->n_rows) bound[t] = (uint32_t)table->n_rows;
    if (bound[t] < bound[t - 1]) bound[t] = bound[t - 1];
  }
}

/* Pairs first … last − 1 of an emission, those with slots of thread t. */
static void sum_chunk(facet_table *table, const facet_table_emission *emission, int64_t first, int64_t last, int t) {
  const facet_scatter *scatter = facet_vector_get()->scatter;
  const facet_slot_rows to = {table->touched, table->rank, table->width, table->sums->rows};
  const uint32_t low = table->bound[t], n_slots = table->bound[t + 1] - low;
  uint32_t position[CHUNK], row[CHUNK];
  if (n_slots == 0) return;
  int64_t n = scatter->select(&to, last - first, emission->slot + first, low, n_slots, position, row);
  int64_t at = first / emission->group, within = first % emission->group;
  for (int64_t k = 0; emission->group != 1 && k < n; k++)
    position[k] = (uint32_t)((within + position[k]) / emission->group);
  scatter->add(&to, n, position, row, emission->gradient + at * emission->stride, emission->stride,
               emission->scale ? emission->scale + at : NULL, CHUNK / emission->group);
}

/* All emissions of the rows of one gradient. */
static void sum_matrix(facet_table *const *table, int n, const facet_table_emission *leader, int t) {
  for (int64_t first = 0; first < leader->n; first += CHUNK)
    for (int i = 0; i < n; i++)
      for (int e = 0; e < table[i]->n_emissions; e++)
        if (table[i]->emissions[e].leader == leader)
          sum_chunk(table[i], &table[i]->emissions[e], first, least(first + CHUNK, leader->n), t);
}

static void sum_pairs(facet_table *const *table, int n, int n_threads) {
  for (int i = 0; i < n; i++)
    for (int e = 0; e < table[i]->n_emissions; e++)
      table[i]->emissions[e].leader = find_leader(table, &table[i]->emissions[e]);
#pragma omp parallel for schedule(static) num_threads(n_threads) if (n_threads > 1)
  for (int t = 0; t < n_threads; t++)
    for (int i = 0; i < n; i++)
      for (int e = 0; e < table[i]->n_emissions; e++)
        if (table[i]->emissions[e].leader == &table[i]->emissions[e]) sum_matrix(table, n, &table[i]->emissions[e], t);
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

/* Adds the sums of a second or later micro-batch to the accumulated gradient. */
static facet_status merge_micro(facet_table *table) {
  facet_sparse_gradient *total = &table->gradient, *micro = table->sums;
  if (micro == total) return FACET_OK;
  int64_t n_union = union_size(total, micro);
  FACET_CHECK(n_union <= table->max_accumulated, FACET_ERROR_INTERNAL,
              "table %s: %lld rows have gradients; room was reserved for %lld: more micro-batches than reserved",
              table->name, (long long)n_union, (long long)table->max_accumulated);
  merge(total, micro, n_union, table->width);
  return FACET_OK;
}

/* ---- the reduction ---------------------------------------------------------------------------------------------- */

static facet_status choose_sums(facet_table *table) {
  table->sums = table->gradient.n ? &table->micro : &table->gradient;
  FACET_CHECK(table->n_emissions == 0 || table->sums == &table->gradient || table->max_micro > 0, FACET_ERROR_INTERNAL,
              "table %s: a second micro-batch where room was reserved for one", table->name);
  return FACET_OK;
}

/* Rows of zeros for the slots of all pairs. */
static void prepare(facet_table *table, int n_threads) {
  int64_t count[N_BUCKETS];
  mark_slots(table, n_threads, count);
  share_slots(table, count, n_threads);
  list_slots(table, table->sums);
  memset(table->sums->rows, 0, (size_t)(table->sums->n * table->width) * sizeof *table->sums->rows);
}

facet_status facet_table_reduce(facet_table *const *table, int n) {
  int64_t n_pairs = 0;
  for (int i = 0; i < n; i++) {
    FACET_TRY(choose_sums(table[i]));
    n_pairs += table[i]->n_emitted;
  }
  int n_threads = n_pairs < PARALLEL_PAIRS ? 1 : (int)least(omp_get_max_threads(), FACET_TABLE_MAX_THREADS);
  for (int i = 0; i < n; i++)
    if (table[i]->n_emissions) prepare(table[i], n_threads);
  sum_pairs(table, n, n_threads);
  for (int i = 0; i < n; i++) {
    if (table[i]->n_emissions == 0) continue;
    clear_marks(table[i], table[i]->sums);
    table[i]->n_emissions = 0;
    table[i]->n_emitted = 0;
    FACET_TRY(merge_micro(table[i]));
  }
  return FACET_OK;
}
