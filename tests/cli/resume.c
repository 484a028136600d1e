/* A run that is stopped, killed or finds its newest checkpoint damaged ends as if nothing had happened: the same bytes in
 * model.h5, the same numbers in metrics.jsonl. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/tiny.h"
#include "facet/file.h"

/* Everything that has state: running statistics, dropout, Adam and lazy Adam, the plateau schedule, best
 * metric, accumulation, a shuffled order over blocks of compressed parts, sums between log lines. Early stopping ends it
 * (at step 450 where this was written). */
static const char config_text[] =
    "model: {name: mean_pooling, mlp: [16, 8], batch_norm: true, dropout: 0.3, activation: dice}\n"
    "data: {path: compressed, shuffle_block: 16, shuffle_window: 8}\n"
    "optimizer: {learning_rate: 0.01, schedule: plateau, plateau_patience: 3, decay_rate: 0.7, warmup_steps: 30,\n"
    "            l2: 0.0001, clip_norm: 0.5}\n"
    "train: {batch_size: 64, accumulate: 2, epochs: 60, log_every: 7, evaluate_every: 30, checkpoint_every: 20,\n"
    "        min_improvement: 0.01, early_stop: 10, threads: 1}\n";

static int64_t last_step;

static void train_whole(void) {
  tiny_create();
  tiny_synthesize("compressed", "compress=true part_samples=300");
  tiny_write("c.yaml", config_text);
  tiny_train_ok("whole", "");
  last_step = tiny_newest_step("whole");
  cr_assert(last_step > 250 && last_step < 23 * 60, "stopped early at step %lld", (long long)last_step);
  cr_assert(tiny_last("whole", "train", "lr") < 0.006, "the plateau cut the rate");
}
TestSuite(resume, .init = train_whole, .fini = tiny_remove, .timeout = 300);

/* ---- a process beside the test --------------------------------------------------------------------------------- */

static void sleep_ms(int milliseconds) {
  const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
  nanosleep(&time, NULL);
}

/* Step of the last whole line of metrics.jsonl; 0 if there is none yet. */
static long long logged_step(const char *run) {
  char tail[1025];
  long long step = 0;
  FILE *file = fopen(tiny_path("%s/metrics.jsonl", run), "r");
  if (!file) return 0;
  fseek(file, 0, SEEK_END);
  const long size = ftell(file);
  fseek(file, size > 1024 ? size - 1024 : 0, SEEK_SET);
  tail[fread(tail, 1, 1024, file)] = '\0';
  fclose(file);
  for (const char *c = tail; (c = strstr(c, "\"step\":")) && strchr(c, '\n'); c++) sscanf(c, "\"step\":%lld", &step);
  return step;
}

/* Waits until the run has logged `step` or its process has ended; true if it lives. */
static bool wait_for_step(pid_t pid, const char *run, long long step) {
  siginfo_t info = {0};
  for (int i = 0; i < 60000; i++) {
    if (logged_step(run) >= step) break;
    cr_assert(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
    if (info.si_pid == pid) return false;
    sleep_ms(1);
  }
  cr_assert(logged_step(run) >= step, "step %lld was not reached in a minute", step);
  return true;
}

/* Exit status, or −1 if a signal ended the process. */
static int end_of(pid_t pid) {
  int status;
  cr_assert(waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *const no_sets[] = {NULL};

static const char *log_of(const char *run) {
  static char text[1 << 16];
  char *read;
  size_t n_bytes;
  cr_assert(facet_file_read(tiny_path("%s.log", run), sizeof text - 1, &read, &n_bytes) == FACET_OK);
  snprintf(text, sizeof text, "%s", read);
  facet_memory_free(read);
  return text;
}

/* ---- stopped --------------------------------------------------------------------------------------------------- */

/* Stops a run every `every` steps by a signal until it is finished. */
static void stop_again_and_again(const char *run, int signal_number, long long every, const char *const *sets) {
  int n_stopped = 0;
  for (long long at = every;; at += every) {
    const pid_t pid = tiny_start(run, sets);
    wait_for_step(pid, run, at);
    kill(pid, signal_number);
    const int status = end_of(pid);
    if (status == 0) break;
    cr_assert_eq(status, 75, "exit status %d:\n%s", status, log_of(run));
    cr_assert(tiny_newest_step(run) >= at && tiny_newest_step(run) <= last_step, "step %lld was logged, %lld saved", at,
              (long long)tiny_newest_step(run));
    n_stopped++;
  }
  cr_assert(n_stopped >= 2, "the run was stopped %d times only", n_stopped);
}

Test(resume, after_sigterm_in_the_middle_of_epochs) {
  stop_again_and_again("run", SIGTERM, 95, no_sets);
  cr_assert(strstr(log_of("run"), "stopped by SIGTERM; saved step ") && strstr(log_of("run"), "the same command"));
  tiny_expect_same_run("whole", "run");
}

Test(resume, after_sigusr1) {
  stop_again_and_again("run", SIGUSR1, 130, no_sets);
  cr_assert(strstr(log_of("run"), "stopped by SIGUSR1; saved step "));
  tiny_expect_same_run("whole", "run");
}

/* Evaluation takes most of the time here, so a signal cuts one short; it is repeated. The same at the end, where the test
 * split is evaluated with the best checkpoint while the last one is to be kept. */
Test(resume, after_a_signal_during_an_evaluation) {
  static const char *const sets[] = {"data.valid=train",
                                     "data.test=train",
                                     "evaluate.batch_size=1",
                                     "train.log_every=1",
                                     "train.evaluate_every=10",
                                     "train.epochs=2",
                                     NULL};
  static const char arguments[] = "--set data.valid=train --set data.test=train --set evaluate.batch_size=1 "
                                  "--set train.log_every=1 --set train.evaluate_every=10 --set train.epochs=2";
  tiny_train_ok("slow", arguments);
  for (long long at = 10; at <= 50; at += at == 40 ? 6 : 10) { /* 10, 20, 30, 40, 46 */
    const pid_t pid = tiny_start("run", sets);
    if (wait_for_step(pid, "run", at)) kill(pid, SIGTERM);
    const int status = end_of(pid);
    cr_assert(status == 75 || status == 0, "exit status %d:\n%s", status, log_of("run"));
    if (at == 46) break;
  }
  EXPECT_EXIT(0, tiny_train("run", "%s", arguments));
  tiny_expect_same_run("slow", "run");
}

Test(resume, with_two_threads) {
  static const char *const sets[] = {"train.threads=2", "train.batch_size=1440", "train.epochs=150", NULL};
  static const char arguments[] = "--set train.threads=2 --set train.batch_size=1440 --set train.epochs=150";
  tiny_train_ok("parallel", arguments);
  stop_again_and_again("run", SIGTERM, 50, sets);
  tiny_expect_same_run("parallel", "run");
}

/* Two more losses, noise drawn in every step, and parameters that two nodes share. */
Test(resume, with_diffumin) {
  tiny_write("c.yaml", "model: {name: diffumin, mlp: [8], dropout: 0.2}\n"
                       "data: {path: compressed, shuffle_block: 16, shuffle_window: 8}\n"
                       "optimizer: {learning_rate: 0.003, schedule: plateau, plateau_patience: 1}\n"
                       "train: {batch_size: 64, accumulate: 2, max_steps: 32, epochs: 2, log_every: 3,\n"
                       "        evaluate_every: 8, threads: 1}\n");
  tiny_train_ok("diffumin", "");
  last_step = 32;
  stop_again_and_again("run", SIGTERM, 9, no_sets);
  tiny_expect_same_run("diffumin", "run");
}

/* ---- killed ---------------------------------------------------------------------------------------------------- */

Test(resume, after_sigkill_in_training) {
  for (long long at = 7; at < last_step; at += 90) {
    const pid_t pid = tiny_start("run", no_sets);
    if (wait_for_step(pid, "run", at)) kill(pid, SIGKILL);
    cr_assert(end_of(pid) <= 0, "%s", log_of("run"));
  }
  tiny_train_ok("run", "");
  tiny_expect_same_run("whole", "run");
}

/* From the first instruction on, at times that fall into starting, writing checkpoints (here after every update) and
 * pruning them. */
Test(resume, after_sigkill_at_any_time) {
  static const char *const sets[] = {"train.checkpoint_every=1", "train.keep_checkpoints=2", "train.max_steps=60",
                                     NULL};
  static const char arguments[] =
      "--set train.checkpoint_every=1 --set train.keep_checkpoints=2 --set train.max_steps=60";
  tiny_train_ok("short", arguments);
  for (int milliseconds = 0; milliseconds < 60; milliseconds += 3) {
    const pid_t pid = tiny_start("run", sets);
    sleep_ms(milliseconds);
    kill(pid, SIGKILL);
    cr_assert(end_of(pid) <= 0, "%s", log_of("run"));
  }
  tiny_train_ok("run", arguments);
  tiny_expect_same_run("short", "run");
}

/* ---- damaged checkpoints --------------------------------------------------------------------------------------- */

static void flip_byte(const char *checkpoint, long at) {
  FILE *file = fopen(tiny_path("run/checkpoints/%s/model.h5", checkpoint), "r+");
  cr_assert(file);
  fseek(file, at, SEEK_SET);
  const int byte = fgetc(file);
  fseek(file, at, SEEK_SET);
  fputc(byte ^ 1, file);
  fclose(file);
}

/* A run that was stopped after step 100; returns the step of its newest checkpoint. */
static long long stopped_run(void) {
  const pid_t pid = tiny_start("run", no_sets);
  wait_for_step(pid, "run", 100);
  kill(pid, SIGTERM);
  cr_assert_eq(end_of(pid), 75);
  return tiny_newest_step("run");
}

Test(resume, from_an_older_checkpoint_when_the_newest_is_damaged) {
  char name[32], older[64];
  const long long newest = stopped_run();
  snprintf(name, sizeof name, "step-%08lld", newest);
  snprintf(older, sizeof older, "step-%08lld", (newest - 1) / 20 * 20);
  flip_byte(name, 30000);
  EXPECT_EXIT(0, tiny_train("run", "%s", ""), "warning: ", name, "is damaged", "trying an older checkpoint",
              "resumed from", older);
  tiny_expect_same_run("whole", "run");
}

Test(resume, stops_when_every_checkpoint_is_damaged) {
  char name[32];
  stopped_run();
  for (long long step = tiny_newest_step("run"); step > 0; step--) {
    snprintf(name, sizeof name, "step-%08lld", step);
    if (facet_directory_exists(tiny_path("run/checkpoints/%s", name))) flip_byte(name, 30000 + (long)step);
  }
  json_t *before = tiny_lines("run", NULL);
  EXPECT_EXIT(4, tiny_train("run", "%s", ""), "none of the ", "is complete", "is damaged",
              "hint: restore a checkpoint");
  json_t *after = tiny_lines("run", NULL);
  cr_assert(json_equal(before, after));
  json_decref(before), json_decref(after);
}

/* ---- where to start -------------------------------------------------------------------------------------------- */

Test(resume, none_needs_an_empty_directory) {
  stopped_run();
  EXPECT_EXIT(2, tiny_train("run", "--resume none"), "is not empty", "nothing is ever deleted");
  EXPECT_EXIT(0, tiny_train("fresh", "--resume none --set train.max_steps=5"));
  EXPECT_EXIT(2, tiny_train("fresh", "--resume none --set train.max_steps=5"), "is not empty");
}

Test(resume, from_a_path) {
  const long long newest = stopped_run();
  char name[32];
  snprintf(name, sizeof name, "step-%08lld", newest);
  EXPECT_EXIT(2, tiny_train("x", "--resume %s", tiny_path("none")), "is neither a checkpoint");
  EXPECT_EXIT(2, tiny_train("whole", "--resume %s", tiny_path("run/checkpoints/%s", name)), "cannot start ",
              "--output");
  /* a branch into a new directory goes on from there with the same numbers */
  EXPECT_EXIT(0,
              tiny_train("branch", "--set train.max_steps=%lld --set train.log_every=1 --resume %s", newest + 3,
                         tiny_path("run/checkpoints/%s", name)),
              "resumed from", name);
  EXPECT_EXIT(0, tiny_train("run", "--set train.max_steps=%lld --set train.log_every=1", newest + 3));
  json_t *branch = tiny_lines("branch", "train"), *run = tiny_lines("run", "train");
  cr_assert_eq(json_array_size(branch), 3);
  for (size_t i = 0; i < 3; i++)
    cr_assert_eq(tiny_number(json_array_get(branch, i), "loss"),
                 tiny_number(json_array_get(run, json_array_size(run) - 3 + i), "loss"));
  json_decref(branch), json_decref(run);
  /* the newest checkpoint of the run itself may be named, too */
  EXPECT_EXIT(0,
              tiny_train("run", "--resume %s --set train.max_steps=%lld",
                         tiny_path("run/checkpoints/step-%08lld", newest + 3), newest + 5),
              "resumed from");
}
