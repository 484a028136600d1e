/* The error context of a thread. */
#include "facet/status.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

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

Test(status, a_message_stays_one_line) {
  facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "cannot open a%sb", "\n\x7f\t");
  cr_assert_str_eq(facet_error_get()->message, "cannot open a???b");
}

Test(status, long_texts_are_cut_with_a_mark) {
  char text[4000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = 0;
  facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "%s", text);
  const char *message = facet_error_get()->message;
  cr_assert(strlen(message) == sizeof facet_error_get()->message - 1);
  cr_assert_str_eq(message + strlen(message) - 4, "x...");
  cr_assert(facet_error_context("%s", text) == FACET_ERROR_IO);
  cr_assert(facet_error_hint("%s", text) == FACET_ERROR_IO);
  cr_assert(strlen(facet_error_get()->hint) == sizeof facet_error_get()->hint - 1);
}

Test(status, context_of_an_undescribed_failure_is_a_failure) {
  cr_assert(facet_error_context("part-0.h5") == FACET_ERROR_INTERNAL);
  cr_assert_str_eq(facet_error_get()->message, "part-0.h5: undescribed error");
}

static facet_status owns_something(int fail, int *freed) {
  facet_status status = FACET_OK;
  FACET_TRY_GOTO(status, done, fail ? fails(9) : FACET_OK);
done:
  (*freed)++;
  return status;
}

static facet_status checks(int value) {
  FACET_CHECK(value > 0, FACET_ERROR_USAGE, "value is %d, expected a positive one", value);
  FACET_TRY(value > 10 ? fails(value) : FACET_OK);
  return FACET_OK;
}

Test(status, macros_propagate) {
  int freed = 0;
  cr_assert(owns_something(0, &freed) == FACET_OK && owns_something(1, &freed) == FACET_ERROR_DATA && freed == 2);
  cr_assert(checks(1) == FACET_OK && checks(11) == FACET_ERROR_DATA && checks(0) == FACET_ERROR_USAGE);
  cr_assert_str_eq(facet_error_get()->message, "value is 0, expected a positive one");
}

/* What facet_error_print writes. */
static void printed(char *text, size_t size) {
  FILE *stream = fmemopen(text, size, "w");
  facet_error_print(stream);
  fclose(stream);
}

Test(status, the_rank_is_named_in_a_job_of_several) {
  char text[1000];
  fails(1);
  printed(text, sizeof text);
  cr_assert(strncmp(text, "facet: data error: row 1 is wrong\n", 34) == 0, "%s", text);
  facet_error_set_rank(3, 4);
  fails(2);
  facet_error_hint("look at row 2");
  printed(text, sizeof text);
  cr_assert(strncmp(text, "facet: [rank 3] data error: row 2 is wrong\n", 43) == 0, "%s", text);
  cr_assert(strstr(text, "hint: look at row 2\n"));
  facet_error_set_rank(0, 1);
}

static void *fail_in_a_thread(void *copy) {
  fails(5);
  *(facet_error *)copy = *facet_error_get();
  return NULL;
}

Test(status, a_thread_hands_its_error_over) {
  facet_error copy;
  pthread_t thread;
  cr_assert(pthread_create(&thread, NULL, fail_in_a_thread, &copy) == 0);
  pthread_join(thread, NULL);
  cr_assert(facet_error_get()->status == FACET_OK);
  cr_assert(facet_error_restore(&copy) == FACET_ERROR_DATA);
  cr_assert_str_eq(facet_error_get()->message, "row 5 is wrong");
}
