/* Sparse gradients: emitted pairs → one row per touched slot → merged over micro-batches.
 *
 * No sort: the slots of all pairs are marked in a bitmap; reading it in order gives the touched slots, ascending, and each
 * one its row (the number of marks before it); then the pairs are added to their rows, read in the order of emission.
 * Threads own ranges of slots, so the order of every sum is the order of emission, whatever the number of threads.
 *
 * Floor for n pairs of width w, u unique slots, in bytes: 4 n (slots) + 4 w n (gradients once) + 4 w u (result);
 * FLOPs: 2 n w. At n = 100,000, w = 8: 4.4 MB. */
#include <omp.h>
#include <stdbool.h>
#include <string.h>

#include "facet/memory.h"
#include "graph/table_internal.h"

enum {
  WORD = 64,               /* slots in a word of the bitmap */
  SUMMARY = WORD * WORD,   /* slots in a word of the bitmap of words that are not 0 */
  OCTAVE = 32,             /* buckets for slots 2^k … 2^(k+1) − 1 */
  N_BUCKETS = 28 * OCTAVE, /* of slots below 2^32 */
  MAX_THREADS = 256,
  PARALLEL_PAIRS = 4096, /* with fewer, one thread is faster */
  AHEAD = 24,            /* pairs whose rows are fetched ahead */
  CHUNK = 512            /* pairs selected ahead of their sum */
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

/* Sets a bit, mostly set already. */
static void set_bit(uint64_t *word, uint32_t bit) {
  const uint64_t mask = (uint64_t)1 << bit;
  if (!(__atomic_load_n(word, __ATOMIC_RELAXED) & mask)) __atomic_fetch_or(word, mask, __ATOMIC_RELAXED);
}

/* Marks the slots of all pairs; count[b] is the number of pairs in bucket b. */
static void mark_slots(facet_table *table, int64_t *count) {
  memset(count, 0, N_BUCKETS * sizeof *count);
#pragma omp parallel if (table->n_emitted >= PARALLEL_PAIRS)
  {
    uint32_t own[N_BUCKETS] = {0};
    for (int e = 0; e < table->n_emissions; e++) {
      const facet_table_emission *emission = &table->emissions[e];
#pragma omp for schedule(static) nowait
      for (int64_t i = 0; i < emission->n; i++) {
        const uint32_t slot = (uint32_t)emission->slot[i];
        own[bucket_of(slot)]++;
        set_bit(&table->touched[slot / WORD], slot % WORD);
        set_bit(&table->summary[slot / SUMMARY], slot / WORD % WORD);
      }
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

/* Bits of a word, without an instruction that not every x86-64 has. */
static inline int64_t count_bits(uint64_t x) {
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return (int64_t)((x * 0x0101010101010101u) >> 56);
}

/* The row of a marked slot in the result. */
static inline int64_t row_of(const facet_table *table, uint32_t slot) {
  const uint64_t before = ((uint64_t)1 << slot % WORD) - 1;
  return table->rank[slot / WORD] + count_bits(table->touched[slot / WORD] & before);
}

/* Pairs of a chunk whose slots one thread owns. */
typedef struct selection {
  int64_t n;
  uint32_t position[CHUNK]; /* of the gradient row */
  uint32_t row[CHUNK];      /* of the result */
} selection;

/* Positions of the pairs [first, last) with slots in [low, high); no branch, which would be mispredicted. */
static void select_pairs(const facet_table *table, const facet_table_emission *emission, int64_t first, int64_t last,
                         uint32_t low, uint32_t n_slots, selection *found) {
  int64_t n = 0;
  for (int64_t i = first; i < last; i++) {
    found->position[n] = (uint32_t)i;
    n += (uint32_t)emission->slot[i] - low < n_slots;
  }
  for (int64_t k = 0; k < n; k++) found->row[k] = (uint32_t)row_of(table, (uint32_t)emission->slot[found->position[k]]);
  for (int64_t k = 0; emission->group != 1 && k < n; k++) found->position[k] /= (uint32_t)emission->group;
  found->n = n;
}

static inline __attribute__((always_inline)) void add_width(const facet_table_emission *emission,
                                                            const selection *found, int64_t width, facet_real *rows) {
  for (int64_t k = 0; k < found->n; k++) {
    const int64_t position = found->position[k];
    const facet_real *restrict g = emission->gradient + position * emission->stride;
    const facet_real scale = emission->scale ? emission->scale[position] : (facet_real)1;
    facet_real *restrict out = rows + (int64_t)found->row[k] * width;
    if (k + AHEAD < found->n) {
      __builtin_prefetch(emission->gradient + found->position[k + AHEAD] * emission->stride);
      __builtin_prefetch(rows + (int64_t)found->row[k + AHEAD] * width, 1);
    }
    for (int64_t c = 0; c < width; c++) out[c] += scale * g[c];
  }
}

/* With the usual widths as constants the rows are added in a few instructions. */
static void add_pairs(const facet_table_emission *emission, const selection *found, int64_t width, facet_real *rows) {
  switch (width) {
  case 4:
    add_width(emission, found, 4, rows);
    break;
  case 8:
    add_width(emission, found, 8, rows);
    break;
  case 16:
    add_width(emission, found, 16, rows);
    break;
  default:
    add_width(emission, found, width, rows);
  }
}

/* Sums of the slots low … high − 1. */
static void sum_range(const facet_table *table, uint32_t low, uint32_t high, facet_sparse_gradient *result) {
  selection found;
  for (int e = 0; e < table->n_emissions; e++) {
    const facet_table_emission *emission = &table->emissions[e];
    for (int64_t first = 0; first < emission->n; first += CHUNK) {
      select_pairs(table, emission, first, least(first + CHUNK, emission->n), low, high - low, &found);
      add_pairs(emission, &found, table->width, result->rows);
    }
  }
}

/* bound[t] … bound[t + 1] − 1 are the slots of thread t: about as many pairs for each. */
static void share_slots(const facet_table *table, const int64_t *count, int n_threads, uint32_t *bound) {
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

static void sum_pairs(const facet_table *table, const int64_t *count, facet_sparse_gradient *result) {
  uint32_t bound[MAX_THREADS + 1];
  int n_threads = table->n_emitted < PARALLEL_PAIRS ? 1 : (int)least(omp_get_max_threads(), MAX_THREADS);
  share_slots(table, count, n_threads, bound);
  memset(result->rows, 0, (size_t)(result->n * table->width) * sizeof *result->rows);
#pragma omp parallel for schedule(static) if (n_threads > 1)
  for (int t = 0; t < n_threads; t++) sum_range(table, bound[t], bound[t + 1], result);
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
  int64_t count[N_BUCKETS];
  facet_sparse_gradient *total = &table->gradient, *micro = total->n ? &table->micro : total;
  FACET_CHECK(micro == total || table->max_micro > 0, FACET_ERROR_INTERNAL,
              "table %s: a second micro-batch where room was reserved for one", table->name);
  mark_slots(table, count);
  list_slots(table, micro);
  sum_pairs(table, count, micro);
  clear_marks(table, micro);
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
