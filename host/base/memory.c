/* Checked allocation with accounting, and arenas.
 *
 *   block:  [slack][header, 64 bytes][content, aligned to 64 bytes][slack]
 *
 * calloc gives large blocks as fresh zero pages, so a large buffer costs neither time nor memory until it is touched. */
#include "facet/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "facet/environment.h"
#include "facet/log.h"

/* With AddressSanitizer header and slack are poisoned, so that an overrun of one byte is found. */
#ifdef __SANITIZE_ADDRESS__ /* gcc */
#define ADDRESS_SANITIZER 1
#elif defined __has_feature /* clang */
#define ADDRESS_SANITIZER __has_feature(address_sanitizer)
#else
#define ADDRESS_SANITIZER 0
#endif
#if ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, n_bytes) ((void)(address), (void)(n_bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, n_bytes) ((void)(address), (void)(n_bytes))
#endif

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define PAGE_BYTES ((size_t)4096)
#define ARENA_BLOCK_BYTES ((size_t)64 << 10)
#define OVERHEAD_BYTES ((size_t)2 * FACET_ALIGNMENT) /* header and slack */

typedef struct block_header {
  char *memory;   /* what calloc gave */
  size_t n_bytes; /* of the content */
} block_header;
_Static_assert(sizeof(block_header) <= FACET_ALIGNMENT, "the header fits the alignment");

static atomic_size_t in_use;
static atomic_int_fast64_t n_allocations;

static block_header *header_of(void *content) {
  return (block_header *)(void *)((char *)content - FACET_ALIGNMENT);
}

/* Asks for huge pages in the whole pages of a large block: fewer TLB misses in random reads of tables. A kernel without
 * them refuses; that costs speed only. */
static void advise_huge_pages(const char *content, size_t n_bytes) {
  if (n_bytes < HUGE_PAGE_BYTES) return;
  const uintptr_t first = ((uintptr_t)content + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
  const uintptr_t end = ((uintptr_t)content + n_bytes) / PAGE_BYTES * PAGE_BYTES;
  (void)madvise((void *)first, end - first, MADV_HUGEPAGE);
}

void *facet_memory_alloc(size_t count, size_t size, const char *what) {
  const int64_t number = atomic_fetch_add(&n_allocations, 1) + 1;
  size_t n_bytes, total;
  char *memory = NULL;
  if (number != facet_environment_get()->fail_allocation && !__builtin_mul_overflow(count, size, &n_bytes) &&
      !__builtin_add_overflow(n_bytes, OVERHEAD_BYTES, &total)) {
    memory = calloc(1, total);
  }
  if (!memory) {
    facet_error_set(FACET_ERROR_INTERNAL, __FILE__, __LINE__, "cannot allocate %s for %s",
                    facet_format_bytes((double)count * (double)size), what);
    return NULL;
  }
  const size_t before = OVERHEAD_BYTES - (uintptr_t)memory % FACET_ALIGNMENT;
  char *content = memory + before;
  *header_of(content) = (block_header){memory, n_bytes};
  advise_huge_pages(content, n_bytes);
  ASAN_POISON_MEMORY_REGION(memory, before);
  ASAN_POISON_MEMORY_REGION(content + n_bytes, total - before - n_bytes);
  atomic_fetch_add(&in_use, n_bytes);
  return content;
}

void facet_memory_free(void *pointer) {
  if (!pointer) return;
  ASAN_UNPOISON_MEMORY_REGION(header_of(pointer), FACET_ALIGNMENT);
  const block_header header = *header_of(pointer);
  ASAN_UNPOISON_MEMORY_REGION(header.memory, header.n_bytes + OVERHEAD_BYTES);
  atomic_fetch_sub(&in_use, header.n_bytes);
  free(header.memory);
}

facet_status facet_memory_grow(void **pointer, size_t *capacity, size_t needed, size_t size, const char *what) {
  if (needed <= *capacity) return FACET_OK;
  size_t larger = *capacity + *capacity / 2 + 8; /* a count that needed its memory: no overflow */
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
void facet_memory_restart_count(void) {
  atomic_store(&n_allocations, 0);
}

/* The block's content follows its header, FACET_ALIGNMENT bytes further. */
typedef struct arena_block {
  struct arena_block *next;
  size_t used, n_bytes; /* of the content */
} arena_block;
_Static_assert(sizeof(arena_block) <= FACET_ALIGNMENT, "the header fits the alignment");

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
    facet_memory_free(block);
  }
  facet_memory_free(*arena);
  *arena = NULL;
}

static arena_block *add_block(facet_arena *arena, size_t n_bytes) {
  size_t total;
  if (n_bytes < ARENA_BLOCK_BYTES) n_bytes = ARENA_BLOCK_BYTES;
  if (__builtin_add_overflow(n_bytes, (size_t)FACET_ALIGNMENT, &total)) total = SIZE_MAX; /* fails, with its message */
  arena_block *block = facet_memory_alloc(total, 1, "an arena");
  if (!block) return NULL;
  *block = (arena_block){.next = arena->blocks, .n_bytes = n_bytes};
  arena->blocks = block;
  return block;
}

/* n_bytes of zeroed memory; `alignment` is a power of two up to FACET_ALIGNMENT. */
static void *take(facet_arena *arena, size_t n_bytes, size_t alignment) {
  arena_block *block = arena->blocks;
  size_t first = block ? (block->used + alignment - 1) / alignment * alignment : 0;
  if (!block || first > block->n_bytes || block->n_bytes - first < n_bytes) {
    block = add_block(arena, n_bytes);
    if (!block) return NULL;
    first = 0;
  }
  block->used = first + n_bytes;
  return (char *)block + FACET_ALIGNMENT + first;
}

void *facet_arena_alloc(facet_arena *arena, size_t count, size_t size) {
  size_t n_bytes;
  if (__builtin_mul_overflow(count, size, &n_bytes)) n_bytes = SIZE_MAX; /* fails, with its message */
  return take(arena, n_bytes, FACET_ALIGNMENT);
}

char *facet_arena_strdup(facet_arena *arena, const char *text) {
  size_t n_bytes = strlen(text) + 1;
  char *copy = take(arena, n_bytes, 1);
  return copy ? memcpy(copy, text, n_bytes) : NULL;
}

char *facet_arena_printf(facet_arena *arena, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0) {
    facet_error_set(FACET_ERROR_INTERNAL, __FILE__, __LINE__, "cannot format \"%s\"", format);
    return NULL;
  }
  char *text = take(arena, (size_t)length + 1, 1);
  if (!text) return NULL;
  va_start(arguments, format);
  vsnprintf(text, (size_t)length + 1, format, arguments);
  va_end(arguments);
  return text;
}
