/* kill -9 of the program at random moments, again and again. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "facet/log.h"
#include "facet/rng.h"
#include "fault/run.h"

static const char config_text[] = "model: {name: mean_pooling, mlp: [8], batch_norm: true, dropout: 0.3}\n"
                                  "data: {path: small}\n"
                                  "optimizer: {learning_rate: 0.01}\n"
                                  "train: {batch_size: 16, max_steps: 40, epochs: 8, log_every: 3, evaluate_every: 4,\n"
                                  "        checkpoint_every: 2, keep_checkpoints: 2, threads: 1}\n";

static void create_runs(void) {
  run_create();
  tiny_write("c.yaml", config_text);
}
TestSuite(kills, .init = create_runs, .fini = tiny_remove, .timeout = 300);

static pid_t start(const char *run) {
  const char *const arguments[] = {"facet", "train", tiny_path("c.yaml"), "--output", tiny_path("%s", run), NULL};
  const char *log = tiny_path("log");
  const pid_t pid = fork();
  cr_assert(pid >= 0);
  if (pid == 0) {
    const int file = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(file, 1);
    dup2(file, 2);
    execv(FACET_BINARY_DIR "/facet", (char *const *)arguments);
    _exit(127);
  }
  return pid;
}

/* From the first instruction to a bit after the end of a whole run, the early moments more often. */
static void wait_and_kill(pid_t pid, double seconds) {
  const struct timespec time = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
  nanosleep(&time, NULL);
  kill(pid, SIGKILL);
}

Test(kills, fifty_at_random_moments) {
  const int n = run_stride() == 1 ? 50 : 10;
  const double began = facet_clock();
  int n_killed = 0, n_finished = 0, status;
  cr_assert(waitpid(start("plain"), &status, 0) > 0 && status == 0);
  const double whole = facet_clock() - began;
  while (n_killed < n) {
    const uint64_t word = facet_rng_word64(facet_rng_key_make(7, "kills"), (uint64_t)(n_killed + n_finished));
    const double u = (double)(word >> 11) * 0x1p-53;
    const pid_t pid = start("run");
    wait_and_kill(pid, 1.2 * whole * u * u);
    cr_assert(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status)) {
      n_killed++;
      continue;
    }
    cr_assert_eq(status, 0, "see %s", tiny_path("log"));
    tiny_expect_same_run("plain", "run");
    run_remove("run");
    n_finished++;
  }
  cr_assert(waitpid(start("run"), &status, 0) > 0 && status == 0);
  tiny_expect_same_run("plain", "run");
  cr_log_info("%d kills, %d runs finished between them", n_killed, n_finished);
}
