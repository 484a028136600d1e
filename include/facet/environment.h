/* Environment switches, parsed once in one file (host/base/environment.c); `facet --help` lists them.
 *
 *   FACET_POISON=1            fill every buffer of the memory plan with NaN before it is written
 *   FACET_FAIL_ALLOCATION=n   the n-th allocation (from 1) fails
 *   FACET_ISA=avx512|avx2|portable   vector code to use; an error if this CPU lacks it (default: the best it has)
 *   FACET_LOG=quiet|info|debug       amount of log output (default info)
 * OMP_NUM_THREADS sets the number of threads, as usual. */
#ifndef FACET_ENVIRONMENT_H
#define FACET_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/status.h"

typedef enum facet_log_level { FACET_LOG_QUIET, FACET_LOG_INFO, FACET_LOG_DEBUG } facet_log_level;

typedef struct facet_environment {
  bool poison;
  int64_t fail_allocation; /* 0: none */
  char isa[16];            /* "" : best available */
  facet_log_level log;
} facet_environment;

/* Reads the variables (an empty one counts as unset); an unknown value is an error that names variable, value and what
 * was expected. Whether this CPU has the named vector code is checked where it is chosen (host/cpu). Called once
 * by main; before that, and in tests, facet_environment_get gives the defaults. */
facet_status facet_environment_read(void);
const facet_environment *facet_environment_get(void);
/* Replaces the switches and counts allocations from 1 again (tests). */
void facet_environment_set(const facet_environment *environment);

#endif
