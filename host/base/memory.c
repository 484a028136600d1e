/* Checked allocation with accounting, and arenas. Each block is preceded by a 64-byte header that keeps its size. */
#include "facet/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "facet/environment.h"
#include "facet/log.h"

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define ARENA_BLOCK_BYTES ((size_t)64 << 10)

typedef struct block_header {
  size_t n_bytes; /* without the header */
} block_header;
_Static_assert(sizeof(block_header) <= FACET_ALIGNMENT, "the header fits the alignment");

static atomic_size_t in_use, peak;
static atomic_int_fast64_t n_allocations;

static facet_status allocation_failed(double n_bytes, const char *what) {
  return facet_error_set(FACET_ERROR_INTERNAL, __FILE__, __LINE__, "cannot allocate %s for %s",
                         facet_format_bytes(n_bytes), what);
}

static void account(size_t n_bytes) {
  size_t now = atomic_fetch_add(&in_use, n_bytes) + n_bytes;
  size_t highest = atomic_load(&peak);
  while (now > highest && !atomic_compare_exchange_weak(&peak, &highest, now)) {
  }
}

void *facet_memory_alloc(size_t count, size_t size, const char *what) {
  const int64_t fail_at = facet_environment_get()->fail_allocation;
  const bool fail = fail_at > 0 && atomic_fetch_add(&n_allocations, 1) + 1 == fail_at;
  size_t n_bytes, padded;
  if (fail || __builtin_mul_overflow(count, size, &n_bytes) ||
      __builtin_add_overflow(n_bytes, 2 * (size_t)FACET_ALIGNMENT, &padded)) {
    allocation_failed((double)count * (double)size, what);
    return NULL;
  }
  padded = (padded - 1) / FACET_ALIGNMENT * FACET_ALIGNMENT;
  const bool is_large = padded >= HUGE_PAGE_BYTES;
  char *memory = aligned_alloc(is_large ? HUGE_PAGE_BYTES : FACET_ALIGNMENT,
                               is_large ? (padded + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES : padded);
  if (!memory) {
    allocation_failed((double)n_bytes, what);
    return NULL;
  }
  if (is_large) madvise(memory, padded, MADV_HUGEPAGE);
  memset(memory, 0, padded);
  ((block_header *)memory)->n_bytes = n_bytes;
  account(n_bytes);
  return memory + FACET_ALIGNMENT;
}

void facet_memory_free(void *pointer) {
  if (!pointer) return;
  char *memory = (char *)pointer - FACET_ALIGNMENT;
  atomic_fetch_sub(&in_use, ((block_header *)memory)->n_bytes);
  free(memory);
}

facet_status facet_memory_grow(void **pointer, size_t *capacity, size_t needed, size_t size, const char *what) {
  if (needed <= *capacity) return FACET_OK;
  size_t larger = *capacity + *capacity / 2 + 8;
  if (larger < needed) larger = needed;
  void *grown = facet_memory_alloc(larger, size, what);
  if (!grown) return FACET_ERROR_INTERNAL;
  if (*pointer) memcpy(grown, *pointer, *capacity * size);
  facet_memory_free(*pointer);
  *pointer = grown;
  *capacity = larger;
  return FACET_OK;
}

char *facet_memory_strdup(const char *text) {
  size_t n_bytes = strlen(text) + 1;
  char *copy = facet_memory_alloc(n_bytes, 1, "a string");
  return copy ? memcpy(copy, text, n_bytes) : NULL;
}

size_t facet_memory_in_use(void) {
  return atomic_load(&in_use);
}
size_t facet_memory_peak(void) {
  return atomic_load(&peak);
}

typedef struct arena_block {
  struct arena_block *next;
  size_t used, n_bytes;
  char *memory;
} arena_block;

struct facet_arena {
  arena_block *blocks; /* the newest first; only it has room */
};

facet_status facet_arena_create(facet_arena **arena) {
  return FACET_ALLOC(*arena, 1, "arena");
}

void facet_arena_destroy(facet_arena **arena) {
  if (!*arena) return;
  for (arena_block *block = (*arena)->blocks, *next; block; block = next) {
    next = block->next;
    facet_memory_free(block->memory);
    facet_memory_free(block);
  }
  facet_memory_free(*arena);
  *arena = NULL;
}

void *facet_arena_alloc(facet_arena *arena, size_t count, size_t size) {
  size_t n_bytes;
  if (__builtin_mul_overflow(count, size, &n_bytes) || n_bytes > SIZE_MAX - FACET_ALIGNMENT) {
    allocation_failed((double)count * (double)size, "an arena");
    return NULL;
  }
  n_bytes = (n_bytes + FACET_ALIGNMENT - 1) / FACET_ALIGNMENT * FACET_ALIGNMENT;
  arena_block *block = arena->blocks;
  if (!block || block->n_bytes - block->used < n_bytes) {
    block = facet_memory_alloc(1, sizeof *block, "an arena");
    if (!block) return NULL;
    block->n_bytes = n_bytes > ARENA_BLOCK_BYTES ? n_bytes : ARENA_BLOCK_BYTES;
    block->memory = facet_memory_alloc(block->n_bytes, 1, "an arena");
    if (!block->memory) {
      facet_memory_free(block);
      return NULL;
    }
    block->next = arena->blocks;
    arena->blocks = block;
  }
  void *result = block->memory + block->used;
  block->used += n_bytes;
  return result;
}

char *facet_arena_strdup(facet_arena *arena, const char *text) {
  size_t n_bytes = strlen(text) + 1;
  char *copy = facet_arena_alloc(arena, n_bytes, 1);
  return copy ? memcpy(copy, text, n_bytes) : NULL;
}

char *facet_arena_printf(facet_arena *arena, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0) return NULL;
  char *text = facet_arena_alloc(arena, (size_t)length + 1, 1);
  if (!text) return NULL;
  va_start(arguments, format);
  vsnprintf(text, (size_t)length + 1, format, arguments);
  va_end(arguments);
  return text;
}
