/* Runs the facet program as a user's shell would. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

#include "facet/status.h"
#include "support/files.h"

/* What the last program printed: standard output and standard error in the order of writing. */
extern char program_output[1 << 18];

/* Runs `facet ARGUMENTS` in a shell and returns its exit status, or −1 if a signal ended it. */
int program_run(const char *format, ...) FACET_PRINTF(1, 2);
/* Runs any shell command the same way; "$FACET" is the program. */
int program_shell(const char *format, ...) FACET_PRINTF(1, 2);

/* Fails the test with the program's output unless it ended with the status and printed every text given. */
#define EXPECT_EXIT(wanted, run, ...)                                                                                  \
  do {                                                                                                                 \
    const int expect_exit = (run);                                                                                     \
    const char *expect_texts[] = {"", ##__VA_ARGS__};                                                                  \
    cr_assert(expect_exit == (wanted), "exit status %d, expected %d:\n%s", expect_exit, (int)(wanted),                 \
              program_output);                                                                                         \
    for (size_t expect_i = 0; expect_i < sizeof expect_texts / sizeof *expect_texts; expect_i++)                       \
      cr_assert(strstr(program_output, expect_texts[expect_i]), "\"%s\" is not in:\n%s", expect_texts[expect_i],       \
                program_output);                                                                                       \
  } while (0)

#endif
