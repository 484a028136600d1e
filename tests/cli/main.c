/* The program itself: help, version, unknown commands, exit status. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static char output[1 << 16];

/* Runs `facet <arguments>` in a shell, standard error after standard output; returns the exit status. */
static int facet(const char *arguments) {
  char command[1024];
  snprintf(command, sizeof command, FACET_BINARY_DIR "/facet %s", arguments);
  FILE *pipe = popen(command, "r");
  cr_assert(pipe);
  size_t n_bytes = fread(output, 1, sizeof output - 1, pipe);
  output[n_bytes] = 0;
  int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(cli_main, help_lists_commands_and_environment) {
  cr_assert(facet("--help 2>&1") == 0);
  cr_assert(strstr(output, "\n  config ") && strstr(output, "FACET_POISON=1") && strstr(output, "OMP_NUM_THREADS"));
  cr_assert(facet("config --help 2>&1") == 0);
  cr_assert(strstr(output, "Usage: facet config") && strstr(output, "--markdown") && strstr(output, "--set KEY=VALUE"));
}

Test(cli_main, version) {
  cr_assert(facet("--version 2>&1") == 0);
  cr_assert_str_eq(output, "facet " FACET_VERSION "\n");
}

Test(cli_main, wrong_usage_exits_2) {
  cr_assert(facet("2>&1 >/dev/null") == 2);
  cr_assert(strstr(output, "no command was given"));
  cr_assert(facet("confg 2>&1") == 2);
  cr_assert(strstr(output, "unknown command \"confg\"; did you mean \"config\"?"), "%s", output);
  cr_assert(facet("config --markdwon 2>&1") == 2);
  cr_assert(strstr(output, "unknown argument \"--markdwon\"; did you mean \"--markdown\"?"), "%s", output);
  cr_assert(facet("config --set train.seed=1 2>&1") == 2);
  cr_assert(facet("config /none/c.yaml 2>&1") == 4);
  cr_assert(strstr(output, "/none/c.yaml"), "%s", output);
}

Test(cli_main, wrong_environment_exits_2) {
  char command[512];
  snprintf(command, sizeof command, "FACET_LOG=loud %s/facet --help 2>&1", FACET_BINARY_DIR);
  FILE *pipe = popen(command, "r");
  cr_assert(pipe);
  output[fread(output, 1, sizeof output - 1, pipe)] = 0;
  cr_assert(WEXITSTATUS(pclose(pipe)) == 2);
  cr_assert(strstr(output, "FACET_LOG"), "%s", output);
}

Test(cli_main, output_that_cannot_be_written) {
  cr_assert(facet("config --markdown 2>&1 >/dev/full") == 4);
  cr_assert(strstr(output, "cannot write to standard output"), "%s", output);
  cr_assert(facet("config --markdown 2>&1 | head -n 1") == 0); /* a reader that leaves is no error */
  cr_assert_str_eq(output, "# Configuration reference\n");
}
