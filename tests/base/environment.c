/* The environment switches. */
#include "facet/environment.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"FACET_POISON", "FACET_FAIL_ALLOCATION", "FACET_ISA", "FACET_LOG"};

static void clear(void) {
  for (int i = 0; i < 4; i++) unsetenv(names[i]);
}
TestSuite(environment, .init = clear);

Test(environment, defaults) {
  cr_assert(facet_environment_read() == FACET_OK);
  const facet_environment *switches = facet_environment_get();
  cr_assert(!switches->poison && switches->fail_allocation == 0 && !switches->isa[0]);
  cr_assert(switches->log == FACET_LOG_INFO);
}

Test(environment, every_switch_is_read) {
  setenv("FACET_POISON", "1", 1);
  setenv("FACET_FAIL_ALLOCATION", "12345678901", 1);
  setenv("FACET_ISA", "portable", 1);
  setenv("FACET_LOG", "debug", 1);
  cr_assert(facet_environment_read() == FACET_OK);
  const facet_environment *switches = facet_environment_get();
  cr_assert(switches->poison && switches->fail_allocation == 12345678901);
  cr_assert_str_eq(switches->isa, "portable");
  cr_assert(switches->log == FACET_LOG_DEBUG);
}

Test(environment, a_wrong_value_is_named_and_changes_nothing) {
  static const char *const wrong[4][4] = {{"yes", "2", "-1", "11"},
                                          {"x", "-1", "3x", "99999999999999999999"},
                                          {"avx", "AVX2", "sse", "avx5120000000000000"},
                                          {"loud", "2", "Info", " info"}};
  setenv("FACET_LOG", "quiet", 1);
  cr_assert(facet_environment_read() == FACET_OK);
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < 4; j++) {
      clear();
      setenv(names[i], wrong[i][j], 1);
      cr_assert(facet_environment_read() == FACET_ERROR_USAGE, "%s=%s", names[i], wrong[i][j]);
      const char *message = facet_error_get()->message;
      cr_assert(strstr(message, names[i]) && strstr(message, wrong[i][j]) && strstr(message, "expected"), "%s",
                message);
      cr_assert(facet_environment_get()->log == FACET_LOG_QUIET);
    }
  }
}

Test(environment, an_empty_value_counts_as_unset) {
  for (int i = 0; i < 4; i++) setenv(names[i], "", 1);
  cr_assert(facet_environment_read() == FACET_OK);
}
