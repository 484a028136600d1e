/* Allocation, accounting, arenas, and the error context. */
#include "facet/memory.h"

#include <criterion/criterion.h>
#include <string.h>

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
  cr_assert(facet_memory_in_use() == before && facet_memory_peak() >= 5 << 20);
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

static facet_status fails(int row) {
  FACET_FAIL(FACET_ERROR_DATA, "row %d is wrong", row);
}

Test(status, description_context_and_hint) {
  cr_assert(fails(3) == FACET_ERROR_DATA);
  cr_assert(facet_error_context("part-%d.h5", 1) == FACET_ERROR_DATA);
  cr_assert(facet_error_hint("try %s", "again") == FACET_ERROR_DATA);
  cr_assert_str_eq(facet_error_get()->message, "part-1.h5: row 3 is wrong");
  facet_error copy = *facet_error_get();
  facet_error_clear();
  cr_assert(facet_error_get()->status == FACET_OK);
  cr_assert(facet_error_restore(&copy) == FACET_ERROR_DATA);
  cr_assert_str_eq(facet_error_get()->hint, "try again");
}

Test(status, a_message_may_quote_the_present_one) {
  fails(1);
  facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "wrapped: %s", facet_error_get()->message);
  cr_assert_str_eq(facet_error_get()->message, "wrapped: row 1 is wrong");
}
