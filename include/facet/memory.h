/* Memory: checked allocation and arenas.
 *
 * All allocations of facet go through this file, so that the debug switch FACET_FAIL_ALLOCATION=n (fail the n-th)
 * and the accounting of planned bytes see every one. Memory is zeroed and aligned to 64 bytes. */
#ifndef FACET_MEMORY_H
#define FACET_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "facet/status.h"

#define FACET_ALIGNMENT 64

/* `count` elements of `size` bytes, zeroed; NULL with the error set ("cannot allocate 12.3 GB for <what>") when the
 * product overflows or memory is short. A count of 0 gives a valid pointer. `what` names the purpose. */
void *facet_memory_alloc(size_t count, size_t size, const char *what);

/* Frees memory of facet_memory_alloc; NULL is allowed. */
void facet_memory_free(void *pointer);

/* Grows an array of facet_memory_alloc to at least `needed` elements (geometrically), keeping its content and
 * zeroing the new part. Updates *pointer and *capacity. Use FACET_GROW. */
facet_status facet_memory_grow(void **pointer, size_t *capacity, size_t needed, size_t size, const char *what);

/* FACET_TRY(FACET_ALLOC(array, n, "sample order")): `array` keeps its type. */
#define FACET_ALLOC(pointer, count, what)                                                                              \
  (((pointer) = facet_memory_alloc((size_t)(count), sizeof *(pointer), (what))) ? FACET_OK : FACET_ERROR_INTERNAL)

#define FACET_GROW(pointer, capacity, needed, what)                                                                    \
  facet_memory_grow((void **)&(pointer), &(capacity), (size_t)(needed), sizeof *(pointer), (what))

/* A copy of a string; NULL with the error set when memory is short. Free with facet_memory_free. */
char *facet_memory_strdup(const char *text);

/* Bytes currently allocated. */
size_t facet_memory_in_use(void);

/* Counts allocations for FACET_FAIL_ALLOCATION from 1 again; facet_environment_set and _read do this. */
void facet_memory_restart_count(void);

/* An arena hands out memory that is freed all at once. */
typedef struct facet_arena facet_arena;

facet_status facet_arena_create(facet_arena **arena);
void facet_arena_destroy(facet_arena **arena);

/* Zeroed and aligned to 64 bytes; NULL with the error set when memory is short. */
void *facet_arena_alloc(facet_arena *arena, size_t count, size_t size);
/* Strings follow each other without alignment. */
char *facet_arena_strdup(facet_arena *arena, const char *text);
char *facet_arena_printf(facet_arena *arena, const char *format, ...) FACET_PRINTF(2, 3);

#endif
