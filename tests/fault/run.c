#include "fault/run.h"

#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "facet/checkpoint.h"
#include "facet/file.h"

int facet_main(int argc, char **argv); /* host/cli/main.c */

static const char config_text[] = "model: {name: mean_pooling, mlp: [4]}\n"
                                  "data: {path: small, test: \"\"}\n"
                                  "optimizer: {learning_rate: 0.01}\n"
                                  "train: {batch_size: 32, max_steps: 2, log_every: 1, evaluate_every: 1,\n"
                                  "        checkpoint_every: 1, keep_checkpoints: 1, threads: 1}\n";

/* ---- running ----------------------------------------------------------------------------------------------------- */

static int split(char *text, char **words, int capacity) {
  int n = 0;
  char *rest;
  words[n++] = (char *)(uintptr_t) "facet";
  for (char *word = strtok_r(text, " ", &rest); word && n + 1 < capacity; word = strtok_r(NULL, " ", &rest))
    words[n++] = word;
  words[n] = NULL;
  return n;
}

/* In the child. */
static void run_child(const shim_plan *plan, int output, int argc, char **argv) {
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  close(output);
  if (plan && !shim_begin(plan)) _exit(77);
  const int status = facet_main(argc, argv);
  fflush(NULL);
  _exit(status);
}

static int run(const shim_plan *plan, char *text) {
  char *words[64];
  const int n = split(text, words, 64);
  const int output = memfd_create("output", MFD_CLOEXEC);
  cr_assert(output >= 0);
  if (plan) shim_prepare();
  fflush(NULL);
  const pid_t child = fork();
  cr_assert(child >= 0);
  if (child == 0) run_child(plan, output, n, words);
  int status;
  cr_assert(waitpid(child, &status, 0) == child);
  const ssize_t n_bytes = pread(output, program_output, sizeof program_output - 1, 0);
  cr_assert(n_bytes >= 0);
  program_output[n_bytes] = '\0';
  close(output);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int run_facet(const shim_plan *plan, const char *format, ...) {
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return run(plan, text);
}

int run_train(const shim_plan *plan, const char *name) {
  char text[1024];
  shim_plan below;
  if (plan) {
    below = *plan;
    below.directory = tiny_path("%s", name);
  }
  snprintf(text, sizeof text, "train %s --output %s", tiny_path("c.yaml"), tiny_path("%s", name));
  return run(plan ? &below : NULL, text);
}

void run_remove(const char *name) {
  cr_assert(facet_directory_remove(tiny_path("%s", name)) == FACET_OK, "%s", facet_error_get()->message);
}

/* ---- the small training ------------------------------------------------------------------------------------------ */

/* Once in this process, so that its children find the libraries set up. */
static void warm_up(void) {
  char text[1024], *words[64];
  snprintf(text, sizeof text, "train %s --output %s", tiny_path("c.yaml"), tiny_path("warm"));
  fflush(NULL);
  const int n = split(text, words, 64), saved[] = {dup(1), dup(2)}, null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  dup2(null, 1);
  dup2(null, 2);
  const int status = facet_main(n, words);
  fflush(NULL);
  for (int i = 0; i < 2; i++) {
    dup2(saved[i], 1 + i);
    close(saved[i]);
  }
  close(null);
  cr_assert_eq(status, 0, "%s", facet_error_get()->message);
}

void run_create(void) {
  const shim_plan count = {0};
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1); /* where fsync takes no time: ten times faster */
  setenv("OMP_WAIT_POLICY", "passive", 1); /* else main starts the program, here the test, anew */
  omp_set_num_threads(1);                  /* a child cannot use the threads of its parent */
  tiny_create();
  tiny_synthesize("small", "users=20 items=24 clusters=4 categories=4 events=10 impressions=6 max_length=8 "
                           "embedding_width=4");
  tiny_write("c.yaml", config_text);
  warm_up();
  const int status = run_train(&count, "whole");
  if (status == 77) cr_skip_test("the system refuses seccomp filters");
  cr_assert_eq(status, 0, "%s", program_output);
}

int64_t run_newest(const char *run) {
  char path[FACET_PATH_MAX];
  cr_assert(facet_checkpoint_newest(tiny_path("%s", run), path) == FACET_OK, "%s", facet_error_get()->message);
  return path[0] ? atoll(strrchr(path, '-') + 1) : -1;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

int run_stride(void) {
  const char *wanted = getenv("FACET_FAULT");
  return wanted && strcmp(wanted, "all") == 0 ? 1 : 7;
}

shim_call *run_clean_calls(int *n) {
  *n = shim_n_calls();
  shim_call *calls = malloc((size_t)*n * sizeof *calls);
  cr_assert(calls);
  for (int i = 0; i < *n; i++) calls[i] = *shim_get(i);
  return calls;
}

int run_first_hit(void) {
  for (int i = 0; i < shim_n_calls(); i++)
    if (shim_get(i)->hit) return i;
  return -1;
}

/* True if what was written to the file of a call was synced before it. */
static bool is_synced(const shim_call *calls, int i) {
  for (int k = i - 1; k >= 0; k--) {
    if (strcmp(calls[k].path, calls[i].path) != 0) continue;
    if (strcmp(calls[k].name, "write") == 0) return false;
    if (strcmp(calls[k].name, "fsync") == 0) return true;
  }
  return true;
}

bool run_may_be_ignored(const shim_call *calls, int i) {
  const shim_call *c = &calls[i];
  const bool temporary = strstr(c->path, "/.lock") || strstr(c->path, " (deleted)");
  return c->result < 0 || (strcmp(c->name, "close") == 0 && (!c->writable || is_synced(calls, i) || temporary));
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static int count_errors(void) {
  int n = 0;
  for (const char *c = program_output; (c = strstr(c, "facet: ")); c++) n += c == program_output || c[-1] == '\n';
  return n;
}

void run_expect_error(const char *path, int error, const char *what) {
  const char *message = strstr(program_output, "facet: i/o error: ");
  cr_assert_eq(count_errors(), 1, "%s: %d error messages:\n%s", what, count_errors(), program_output);
  cr_assert(message && strstr(message, path), "%s: no %s in the message:\n%s", what, path, program_output);
  cr_assert(strstr(message, strerror(error)), "%s: no \"%s\" in the message:\n%s", what, strerror(error),
            program_output);
}

const char *run_describe(int i) {
  static char text[640];
  const shim_call *c = shim_get(i);
  snprintf(text, sizeof text, "call %d, %s %s%s%s (%lld bytes)", i + 1, c->name, c->path, c->to[0] ? " to " : "", c->to,
           (long long)c->size);
  return text;
}
