/* Runs of the facet program in forked children, with faults, and a small training to run.
 *
 * The children call the program's own main function: without exec, and with what the libraries set up at their first use
 * already there, a run takes a third of the time, so that every call can be tried. */
#ifndef FACET_TESTS_FAULT_RUN_H
#define FACET_TESTS_FAULT_RUN_H

#include "cli/tiny.h"
#include "fault/shim.h"

/* A suite's .init: the test's directory (tests/cli/tiny.h; .fini is tiny_remove) with a data set of 80 samples, `small`,
 * and c.yaml, which trains on it in two updates with an evaluation and a checkpoint after each (and one before),
 * of which the newest is kept. Skips the test where the system allows no filter. */
void run_create(void);

/* 1 if $FACET_FAULT is "all": every call is tried; else 7, so that a look at the tests takes seconds. */
int run_stride(void);

/* Runs `facet ARGUMENTS` (split at spaces) with the plan; NULL: without a filter. Returns the exit status, or −1 if a signal
 * ended it; the output goes to program_output. */
int run_facet(const shim_plan *plan, const char *format, ...) FACET_PRINTF(2, 3);
/* Runs `facet train c.yaml --output <directory>/<run>`; with a plan, calls on paths below the run count. */
int run_train(const shim_plan *plan, const char *run);

/* Removes a file or directory of the test. */
void run_remove(const char *name);

/* Step of the newest complete checkpoint of a run; −1 if there is none; fails the test if there are only damaged ones. */
int64_t run_newest(const char *run);

/* A copy of the calls of the last run with a plan; the caller frees it. */
shim_call *run_clean_calls(int *n);
/* The first call that was hit; −1: none. */
int run_first_hit(void);

/* Calls whose failure costs nothing: closing what was only read, is synced, is the lock or has no name, and those that fail
 * anyway (mkdir of an existing directory). */
bool run_may_be_ignored(const shim_call *calls, int i);

/* Fails the test unless program_output has one error message, which names the reason and a file below `path`. */
void run_expect_error(const char *path, int error, const char *what);

/* "call 17, write of 96 bytes to …/model.h5" in a static buffer; for messages. */
const char *run_describe(int i);

#endif
