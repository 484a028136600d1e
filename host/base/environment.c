/* All environment switches of facet are read here. */
#include "facet/environment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "facet/memory.h"

static facet_environment switches = {.log = FACET_LOG_INFO};

static facet_status read_poison(facet_environment *environment) {
  const char *text = getenv("FACET_POISON");
  if (!text || !*text) return FACET_OK;
  FACET_CHECK(strcmp(text, "0") == 0 || strcmp(text, "1") == 0, FACET_ERROR_USAGE,
              "environment variable FACET_POISON is \"%s\", expected 0 or 1", text);
  environment->poison = text[0] == '1';
  return FACET_OK;
}

static facet_status read_fail_allocation(facet_environment *environment) {
  const char *text = getenv("FACET_FAIL_ALLOCATION");
  if (!text || !*text) return FACET_OK;
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  FACET_CHECK(errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == 0, FACET_ERROR_USAGE,
              "environment variable FACET_FAIL_ALLOCATION is \"%s\", expected the number of an allocation (from 1)",
              text);
  environment->fail_allocation = value;
  return FACET_OK;
}

static facet_status read_isa(facet_environment *environment) {
  const char *text = getenv("FACET_ISA");
  if (!text || !*text) return FACET_OK;
  FACET_CHECK(strcmp(text, "avx512") == 0 || strcmp(text, "avx2") == 0 || strcmp(text, "portable") == 0,
              FACET_ERROR_USAGE, "environment variable FACET_ISA is \"%s\", expected avx512, avx2 or portable", text);
  memcpy(environment->isa, text, strlen(text) + 1);
  return FACET_OK;
}

static facet_status read_log(facet_environment *environment) {
  static const char *const names[] = {"quiet", "info", "debug"};
  const char *text = getenv("FACET_LOG");
  if (!text || !*text) return FACET_OK;
  for (int i = 0; i < 3; i++) {
    if (strcmp(text, names[i]) != 0) continue;
    environment->log = (facet_log_level)i;
    return FACET_OK;
  }
  FACET_FAIL(FACET_ERROR_USAGE, "environment variable FACET_LOG is \"%s\", expected quiet, info or debug", text);
}

facet_status facet_environment_read(void) {
  facet_environment environment = {.log = FACET_LOG_INFO};
  FACET_TRY(read_poison(&environment));
  FACET_TRY(read_fail_allocation(&environment));
  FACET_TRY(read_isa(&environment));
  FACET_TRY(read_log(&environment));
  facet_environment_set(&environment);
  return FACET_OK;
}

const facet_environment *facet_environment_get(void) {
  return &switches;
}

void facet_environment_set(const facet_environment *environment) {
  switches = *environment;
  facet_memory_restart_count();
}
