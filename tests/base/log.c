/* Log lines and progress lines, in a file and on a pseudo-terminal. */
#include "facet/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "facet/environment.h"

static char text[1 << 16]; /* what was written to standard error */
static int saved, reader;

/* Sends standard error to a pipe. */
static void capture(void) {
  int ends[2];
  fflush(stderr);
  cr_assert(pipe(ends) == 0);
  saved = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  reader = ends[0];
}

/* Sends standard error to a terminal of `columns`. */
static void capture_terminal(unsigned short columns, const char *kind) {
  fflush(stderr);
  reader = posix_openpt(O_RDWR | O_NOCTTY);
  cr_assert(reader >= 0 && grantpt(reader) == 0 && unlockpt(reader) == 0);
  int terminal = open(ptsname(reader), O_RDWR | O_NOCTTY);
  const struct winsize size = {.ws_row = 24, .ws_col = columns};
  cr_assert(terminal >= 0 && ioctl(terminal, TIOCSWINSZ, &size) == 0);
  setenv("TERM", kind, 1);
  saved = dup(STDERR_FILENO);
  dup2(terminal, STDERR_FILENO);
  close(terminal);
}

/* Gives standard error back, which closes the other end; what was written is in `text`. */
static void release(void) {
  size_t used = 0;
  fflush(stderr);
  dup2(saved, STDERR_FILENO);
  close(saved);
  for (ssize_t n; (n = read(reader, text + used, sizeof text - 1 - used)) > 0;) used += (size_t)n;
  text[used] = 0;
  close(reader);
}

static void set_level(facet_log_level level) {
  facet_environment environment = *facet_environment_get();
  environment.log = level;
  facet_environment_set(&environment);
}

static void three_lines(facet_log_level level) {
  set_level(level);
  capture();
  facet_log("log %d", 1);
  facet_warn("careful %d", 2);
  facet_debug("detail %d", 3);
  release();
}

Test(log, levels) {
  three_lines(FACET_LOG_INFO);
  cr_assert_str_eq(text, "log 1\nwarning: careful 2\n");
  three_lines(FACET_LOG_DEBUG);
  cr_assert_str_eq(text, "log 1\nwarning: careful 2\ndebug: detail 3\n");
  three_lines(FACET_LOG_QUIET);
  cr_assert_str_eq(text, "warning: careful 2\n");
}

static void *write_lines(void *word) {
  for (int i = 0; i < 100; i++) facet_log("%s", (const char *)word);
  return NULL;
}

Test(log, lines_of_threads_do_not_mix) {
  pthread_t threads[2];
  int n = 0;
  capture();
  pthread_create(&threads[0], NULL, write_lines, "aaaaaaaaaaaaaaaaaaaaaaaa");
  pthread_create(&threads[1], NULL, write_lines, "bbbbbbbbbbbbbbbbbbbbbbbb");
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  release();
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), n++)
    cr_assert(strlen(line) == 24 && strspn(line, line[0] == 'a' ? "a" : "b") == 24, "%s", line);
  cr_assert(n == 200);
}

Test(log, progress_in_a_file_is_a_plain_line_every_ten_seconds) {
  facet_progress progress;
  capture();
  facet_progress_start(&progress, "converting", "rows", 1000);
  facet_progress_update(&progress, 1, NULL); /* not due */
  progress.start -= 11;                      /* eleven seconds later */
  progress.last -= 11;
  facet_progress_update(&progress, 500, NULL);
  facet_progress_update(&progress, 501, NULL); /* not due again */
  facet_progress_finish(&progress, 1000, "done");
  release();
  cr_assert_str_eq(text, "converting: 500 of 1.00 k (50 %) rows, 45.5 rows/s, 11s left\n"
                         "converting: 1.00 k of 1.00 k (100 %) rows, 90.9 rows/s, 11s elapsed, done\n");
}

Test(log, progress_of_a_resumed_run_counts_its_own_rows) {
  facet_progress progress;
  capture();
  facet_progress_start(&progress, "train", "samples", 4000);
  progress.from = 1000;
  progress.start -= 10;
  progress.last -= 10;
  facet_progress_update(&progress, 2000, "loss 0.5");
  release();
  cr_assert(strstr(text, "2.00 k of 4.00 k (50 %) samples, 100 samples/s, 20s left, loss 0.5\n"), "%s", text);
}

Test(log, progress_on_a_terminal_is_redrawn_and_cut) {
  facet_progress progress;
  capture_terminal(40, "xterm");
  facet_progress_start(&progress, "train", "samples", 0);
  facet_progress_update(&progress, 1, NULL); /* not due */
  progress.start -= 1;
  progress.last -= 1;
  facet_progress_update(&progress, 10, "a long detail that does not fit into the line");
  facet_progress_update(&progress, 11, NULL); /* not due: within a tenth of a second */
  facet_log("a line");
  facet_progress_finish(&progress, 20, NULL);
  release();
  const char *expected = "\r\033[Ktrain: 10 samples, 10.0 samples/s, 1s e\r\033[Ka line\r\n\r\033[Ktrain: 20 samples, ";
  cr_assert(strncmp(text, expected, strlen(expected)) == 0, "%s", text);
  cr_assert_str_eq(text + strlen(text) - 2, "\r\n");
}

Test(log, progress_on_a_dumb_terminal_is_plain) {
  facet_progress progress;
  capture_terminal(80, "dumb");
  facet_progress_start(&progress, "train", "samples", 0);
  progress.last -= 1;
  facet_progress_update(&progress, 10, NULL);
  facet_progress_finish(&progress, 20, NULL);
  release();
  cr_assert(strncmp(text, "train: 20 samples", 17) == 0 && !strchr(text, '\033'), "%s", text);
}

Test(log, a_quiet_run_shows_no_progress) {
  facet_progress progress;
  set_level(FACET_LOG_QUIET);
  capture();
  facet_progress_start(&progress, "train", "samples", 10);
  progress.last -= 60;
  facet_progress_update(&progress, 5, NULL);
  facet_progress_finish(&progress, 10, NULL);
  release();
  cr_assert_str_eq(text, "");
}

Test(log, the_clock_runs_forward) {
  const double before = facet_clock();
  usleep(1000);
  cr_assert(facet_clock() - before >= 0.001);
}

Test(log, numbers_are_scaled) {
  cr_assert_str_eq(facet_format_bytes(0), "0 B");
  cr_assert_str_eq(facet_format_bytes(999), "999 B");
  cr_assert_str_eq(facet_format_bytes(1234567), "1.23 MB");
  cr_assert_str_eq(facet_format_count(45600), "45.6 k");
  cr_assert_str_eq(facet_format_count(2e9), "2.00 G");
}
