#include "cli/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

char program_output[1 << 18];

static int run(const char *command) {
  fflush(NULL);
  FILE *pipe = popen(command, "r");
  cr_assert(pipe);
  size_t n_bytes = 0, n;
  while (n_bytes < sizeof program_output - 1 &&
         (n = fread(program_output + n_bytes, 1, sizeof program_output - 1 - n_bytes, pipe)) > 0)
    n_bytes += n;
  program_output[n_bytes] = 0;
  const int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int program_run(const char *format, ...) {
  char arguments[4096], command[8192];
  va_list list;
  va_start(list, format);
  vsnprintf(arguments, sizeof arguments, format, list);
  va_end(list);
  snprintf(command, sizeof command, "exec 2>&1; exec " FACET_BINARY_DIR "/facet %s", arguments);
  return run(command);
}

int program_shell(const char *format, ...) {
  char text[4096], command[8192];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  snprintf(command, sizeof command, "exec 2>&1; FACET=" FACET_BINARY_DIR "/facet; %s", text);
  return run(command);
}
