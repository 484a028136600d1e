/* The program itself: help, version, unknown commands, exit status. */
#include "cli/program.h"

Test(cli_main, help_lists_commands_and_environment) {
  EXPECT_EXIT(0, program_run("--help"), "\n  config ", "FACET_POISON=1", "OMP_NUM_THREADS");
  EXPECT_EXIT(0, program_run("config --help"), "Usage: facet config", "--markdown", "--set KEY=VALUE");
}

Test(cli_main, version) {
  EXPECT_EXIT(0, program_run("--version"));
  cr_assert_str_eq(program_output, "facet " FACET_VERSION "\n");
}

Test(cli_main, wrong_usage_exits_2) {
  EXPECT_EXIT(2, program_run("%s", ""), "no command was given");
  EXPECT_EXIT(2, program_run("confg"), "unknown command \"confg\"; did you mean \"config\"?");
  EXPECT_EXIT(2, program_run("config --markdwon"), "unknown argument \"--markdwon\"; did you mean \"--markdown\"?");
  EXPECT_EXIT(2, program_run("config --set train.seed=1"));
  EXPECT_EXIT(4, program_run("config /none/c.yaml"), "/none/c.yaml");
}

Test(cli_main, wrong_environment_exits_2) {
  EXPECT_EXIT(2, program_shell("FACET_LOG=loud $FACET --help"), "FACET_LOG");
}

/* libgomp reports what it was loaded with; the program's own output and exit status stay. */
Test(cli_main, threads_spin_shortly_unless_the_user_says_how_they_wait) {
  const char *unset = "env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT OMP_DISPLAY_ENV=verbose";
  EXPECT_EXIT(0, program_shell("%s $FACET --version", unset), "GOMP_SPINCOUNT = '1000'", "facet " FACET_VERSION);
  EXPECT_EXIT(2, program_shell("%s $FACET confg", unset), "GOMP_SPINCOUNT = '1000'", "unknown command");
  EXPECT_EXIT(0, program_shell("%s GOMP_SPINCOUNT=77 $FACET --version", unset), "GOMP_SPINCOUNT = '77'");
  cr_assert(!strstr(program_output, "'1000'"), "%s", program_output);
  EXPECT_EXIT(0, program_shell("%s OMP_WAIT_POLICY=passive $FACET --version", unset), "OMP_WAIT_POLICY = 'PASSIVE'");
  cr_assert(!strstr(program_output, "'1000'"), "%s", program_output);
}

Test(cli_main, output_that_cannot_be_written) {
  EXPECT_EXIT(4, program_run("config --markdown >/dev/full"), "cannot write to standard output");
  EXPECT_EXIT(0, program_shell("$FACET config --markdown | head -n 1")); /* a reader that leaves is no error */
  cr_assert_str_eq(program_output, "# Configuration reference\n");
}
