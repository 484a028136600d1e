/* The program: reads the environment, finds the subcommand, runs it, prints its error and returns its status.
 * Every other file of this folder is a subcommand. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "facet/environment.h"
#include "facet/registry.h"

#define MAX_COMMANDS 64
#define SPIN_COUNT "1000"

static const char environment_help[] =
    "Environment:\n"
    "  OMP_NUM_THREADS=N          threads\n"
    "  OMP_WAIT_POLICY=passive|active, GOMP_SPINCOUNT=N\n"
    "                             how long threads spin where they wait (default: GOMP_SPINCOUNT=" SPIN_COUNT ")\n"
    "  FACET_LOG=quiet|info|debug amount of log output (default info)\n"
    "  FACET_ISA=avx512|avx2|portable\n"
    "                             vector code to use (default: the best that this CPU has)\n"
    "  FACET_POISON=1             fills every planned buffer with NaN before it is written (debugging)\n"
    "  FACET_FAIL_ALLOCATION=N    the N-th allocation fails (debugging)\n";

static const char status_help[] =
    "Exit status: 0 ok, 1 out of memory or a bug, 2 usage or configuration, 3 data, 4 input or output, 5 a non-finite\n"
    "number, 6 another rank was lost (planned), 7 device, 75 stopped by a signal after saving a checkpoint.\n";

static void print_help(void) {
  printf("facet %s: trains click-through-rate models on behaviour logs.\n\n"
         "Usage: facet COMMAND [ARGUMENTS]\n       facet COMMAND --help\n       facet --version\n\nCommands:\n",
         FACET_VERSION);
  for (const facet_command *const *command = facet_registry_commands; *command; command++) {
    printf("  %-11s %s\n", (*command)->name, (*command)->summary);
  }
  printf("\n%s\n%s", environment_help, status_help);
}

static void print_command_help(const facet_command *command) {
  printf("%s\n\nUsage: %s\n", command->summary, command->usage);
  if (command->help) printf("\n%s\n", command->help);
  if (command->arguments) facet_arguments_print_help(command->arguments, stdout);
  if (command->print_options) command->print_options();
}

/* NULL with the error set if there is none. */
static const facet_command *find_command(const char *name) {
  const char *names[MAX_COMMANDS];
  int n = 0;
  for (const facet_command *const *command = facet_registry_commands; *command; command++) {
    if (strcmp((*command)->name, name) == 0) return *command;
    if (n < MAX_COMMANDS) names[n++] = (*command)->name;
  }
  char end[640];
  facet_error_set(FACET_ERROR_USAGE, __FILE__, __LINE__, "unknown command \"%.80s\"%s", name,
                  facet_text_suggest(name, "commands", names, n, end, sizeof end));
  return NULL;
}

static bool asks_for_help(int argc, char **argv) {
  for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
  }
  return false;
}

static facet_status run(int argc, char **argv) {
  FACET_TRY(facet_environment_read());
  if (argc < 2) {
    print_help();
    FACET_FAIL(FACET_ERROR_USAGE, "no command was given");
  }
  const char *name = argv[1];
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
    print_help();
    return FACET_OK;
  }
  if (strcmp(name, "--version") == 0) {
    printf("facet %s\n", FACET_VERSION);
    return FACET_OK;
  }
  const facet_command *command = find_command(name);
  if (!command) return FACET_ERROR_USAGE;
  if (asks_for_help(argc - 1, argv + 1)) {
    print_command_help(command);
    return FACET_OK;
  }
  return command->run(argc - 1, argv + 1);
}

/* A reader that went away (`facet inspect FILE | head`) is no error; a full disk is. */
static bool reader_has_left(void) {
  struct pollfd output = {.fd = STDOUT_FILENO};
  return poll(&output, 1, 0) == 1 && (output.revents & POLLERR);
}

static facet_status close_output(void) {
  errno = 0;
  const bool failed = fflush(stdout) != 0 || ferror(stdout);
  FACET_CHECK(!failed || reader_has_left(), FACET_ERROR_IO, "cannot write to standard output: %s",
              errno ? strerror(errno) : "an earlier write failed");
  return FACET_OK;
}

/* Threads of libgomp spin for milliseconds before they sleep, unless told otherwise: on a machine that other programs
 * use, too, they take the cores from those they wait for, and a run is twenty times slower. Some microseconds cover the
 * waits inside a step. libgomp reads the environment when it is loaded, before main, so the program starts again. */
static void limit_spinning(char **argv) {
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
  setenv("GOMP_SPINCOUNT", SPIN_COUNT, 1);
  execv("/proc/self/exe", argv);
  unsetenv("GOMP_SPINCOUNT"); /* no /proc: slower on a busy machine, and otherwise the same */
}

int main(int argc, char **argv) {
  limit_spinning(argv);
  signal(SIGPIPE, SIG_IGN); /* a run outlives the reader of its output */
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error, as on a full disk */
  setvbuf(stdout, NULL, _IOLBF, 0);
  facet_status status = run(argc, argv);
  if (status != FACET_OK && status != FACET_PREEMPTED) facet_error_print(stderr);
  if (status == FACET_OK && (status = close_output()) != FACET_OK) facet_error_print(stderr);
  return (int)status;
}
