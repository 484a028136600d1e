/* kill -9 of the program at random moments, again and again. */
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

static const char *const no_sets[] = {NULL};

static void create_runs(void) {
  run_create();
  tiny_write("c.yaml", config_text);
}
TestSuite(kills, .init = create_runs, .fini = tiny_remove, .timeout = 300);

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
  cr_assert(waitpid(tiny_start("plain", no_sets), &status, 0) > 0 && status == 0);
  const double whole = facet_clock() - began;
  while (n_killed < n) {
    const uint64_t word = facet_rng_word64(facet_rng_key_make(7, "kills"), (uint64_t)(n_killed + n_finished));
    const double u = (double)(word >> 11) * 0x1p-53;
    const pid_t pid = tiny_start("run", no_sets);
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
  cr_assert(waitpid(tiny_start("run", no_sets), &status, 0) > 0 && status == 0);
  tiny_expect_same_run("plain", "run");
  cr_log_info("%d kills, %d runs finished between them", n_killed, n_finished);
}
