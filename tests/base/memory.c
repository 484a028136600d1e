/* Allocation, accounting and arenas. */
#include "facet/memory.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/resource.h>

#include "facet/environment.h"

Test(memory, zeroed_aligned_and_counted) {
  size_t before = facet_memory_in_use();
  const size_t sizes[] = {0, 1, 64, 100, 5 << 20};
  for (int i = 0; i < 5; i++) {
    unsigned char *p = facet_memory_alloc(sizes[i], 1, "test");
    cr_assert(p && (uintptr_t)p % FACET_ALIGNMENT == 0);
    for (size_t k = 0; k < sizes[i]; k++) cr_assert(p[k] == 0);
    cr_assert(facet_memory_in_use() == before + sizes[i]);
    facet_memory_free(p);
  }
  cr_assert(facet_memory_in_use() == before);
  facet_memory_free(NULL);
}

Test(memory, overflowing_size_is_an_error) {
  cr_assert(facet_memory_alloc(SIZE_MAX / 2, 3, "a huge table") == NULL);
  cr_assert(facet_error_get()->status == FACET_ERROR_INTERNAL);
  cr_assert(strstr(facet_error_get()->message, "a huge table"));
}

Test(memory, the_nth_allocation_fails) {
  facet_environment environment = *facet_environment_get();
  environment.fail_allocation = 2;
  facet_environment_set(&environment);
  char *first = facet_memory_alloc(1, 1, "first"), *second = facet_memory_alloc(1, 1, "second"),
       *third = facet_memory_alloc(1, 1, "third");
  cr_assert(first && !second && third);
  facet_memory_free(first);
  facet_memory_free(third);
}

Test(memory, growing_keeps_the_content_and_zeroes_the_rest) {
  int32_t *array = NULL;
  size_t capacity = 0;
  for (int32_t i = 0; i < 1000; i++) {
    cr_assert(FACET_GROW(array, capacity, i + 1, "test") == FACET_OK);
    cr_assert(array[i] == 0);
    array[i] = i;
  }
  for (int32_t i = 0; i < 1000; i++) cr_assert(array[i] == i);
  facet_memory_free(array);
}

Test(memory, arena) {
  facet_arena *arena;
  cr_assert(facet_arena_create(&arena) == FACET_OK);
  char *text = facet_arena_strdup(arena, "token"), *formatted = facet_arena_printf(arena, "%s-%d", "part", 7);
  for (int i = 0; i < 100; i++) cr_assert(facet_arena_alloc(arena, 10000, 1));
  cr_assert_str_eq(text, "token");
  cr_assert_str_eq(formatted, "part-7");
  facet_arena_destroy(&arena);
  cr_assert(arena == NULL && facet_memory_in_use() == 0);
}

Test(memory, the_count_of_allocations_restarts) {
  facet_environment environment = *facet_environment_get();
  environment.fail_allocation = 1;
  for (int i = 0; i < 2; i++) {
    facet_environment_set(&environment);
    cr_assert(facet_memory_alloc(1, 1, "first") == NULL);
    char *second = facet_memory_alloc(1, 1, "second");
    cr_assert(second);
    facet_memory_free(second);
  }
}

Test(memory, a_failed_growth_keeps_the_array) {
  int32_t *array = NULL;
  size_t capacity = 0;
  cr_assert(FACET_GROW(array, capacity, 4, "test") == FACET_OK);
  array[3] = 42;
  const int32_t *before = array;
  const size_t capacity_before = capacity;
  cr_assert(FACET_GROW(array, capacity, SIZE_MAX / 2, "too many rows") == FACET_ERROR_INTERNAL);
  cr_assert(array == before && capacity == capacity_before && array[3] == 42);
  cr_assert(strstr(facet_error_get()->message, "too many rows"));
  facet_memory_free(array);
}

/* The name of the suite keeps it out of tests/valgrind.txt: valgrind itself touches what it allocates. */
Test(large_memory, a_large_block_costs_nothing_until_it_is_touched) {
  enum { GIB = 1 << 30 };
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  unsigned char *block = facet_memory_alloc(GIB, 1, "an untouched block");
  cr_assert(block && block[0] == 0 && block[GIB - 1] == 0);
  getrusage(RUSAGE_SELF, &after);
  cr_assert(after.ru_maxrss - before.ru_maxrss < 256 << 10, "%ld KiB", after.ru_maxrss - before.ru_maxrss);
  facet_memory_free(block);
}

Test(memory, arena_is_zeroed_aligned_and_fails_cleanly) {
  facet_arena *arena;
  cr_assert(facet_arena_create(&arena) == FACET_OK);
  cr_assert(facet_arena_strdup(arena, "odd"));
  for (size_t size = 0; size < 200000; size = 2 * size + 1) {
    unsigned char *p = facet_arena_alloc(arena, size, 1);
    cr_assert(p && (uintptr_t)p % FACET_ALIGNMENT == 0);
    for (size_t i = 0; i < size; i++) cr_assert(p[i] == 0);
    memset(p, 0xff, size);
    cr_assert_str_eq(facet_arena_strdup(arena, "text"), "text");
  }
  cr_assert(facet_arena_alloc(arena, SIZE_MAX / 2, 3) == NULL);
  cr_assert(facet_arena_alloc(arena, SIZE_MAX - 8, 1) == NULL);
  cr_assert(facet_error_get()->status == FACET_ERROR_INTERNAL);
  facet_environment environment = *facet_environment_get();
  environment.fail_allocation = 1;
  facet_environment_set(&environment);
  cr_assert(facet_arena_alloc(arena, 1 << 20, 1) == NULL);
  cr_assert(facet_arena_alloc(arena, 1 << 20, 1) != NULL);
  facet_arena_destroy(&arena);
  cr_assert(facet_memory_in_use() == 0);
}
