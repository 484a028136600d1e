/* Checkpoints and a power failure at any moment: what was not synced is lost, or is not, in any combination. One that was
 * written is there, and none that is torn is taken for one. */
#include "train/checkpoint_fixture.h"

#include <sys/wait.h>

#include "fault/replay.h"
#include "fault/shim.h"

static void create_directory(void) {
  if (access("/dev/shm", W_OK) == 0) { /* where fsync takes no time */
    strcpy(directory, "/dev/shm/facet-power-XXXXXX");
    cr_assert(mkdtemp(directory));
    snprintf(run_directory, sizeof run_directory, "%s/run", directory);
  } else {
    make_directory();
  }
}
TestSuite(power, .init = create_directory, .fini = remove_directory, .timeout = 300);

/* What a trainer does at a step; the mark says that the checkpoint was written. */
static void save(fixture *f, int step) {
  fill(f, step);
  if (facet_checkpoint_write(run_directory, &f->checkpoint) != FACET_OK) _exit(1);
  shim_mark(step);
  if (facet_checkpoint_mark_best(run_directory, step) != FACET_OK) _exit(1);
  if (facet_checkpoint_prune(run_directory, step, 1) != FACET_OK) _exit(1);
}

static void record_saves(fixture *f) {
  int status;
  const shim_plan plan = {.directory = directory};
  shim_prepare();
  const pid_t child = fork();
  if (child == 0) {
    if (!shim_begin(&plan)) _exit(77);
    save(f, 20);
    save(f, 30);
    save(f, 30); /* is replaced */
    save(f, 40);
    _exit(0);
  }
  cr_assert_eq(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) cr_skip_test("the system refuses seccomp filters");
  cr_assert_eq(status, 0);
}

static void check_state(fixture *f, fixture *g, replay *r, int n, uint64_t mask) {
  char path[FACET_PATH_MAX];
  if (!replay_is_new(r, replay_state(r, n, mask, NULL) ^ (uint64_t)replay_mark(r, n))) return;
  EXPECT_OK(facet_directory_remove(path_of("disk")));
  replay_state(r, n, mask, path_of("disk"));
  const facet_status status = facet_checkpoint_newest(path_of("disk/run"), path);
  const int64_t written = replay_mark(r, n);
  const int step = path[0] ? atoi(strrchr(path, '-') + 1) : -1;
  cr_assert(status == FACET_OK || (status == FACET_ERROR_IO && written < 0), "call %d, mask %lx: %s", n,
            (unsigned long)mask, facet_error_get()->message);
  cr_assert(step >= written, "call %d, mask %lx: step %d is the newest, %lld was written", n, (unsigned long)mask, step,
            (long long)written);
  if (step < 0) return;
  EXPECT_OK(facet_checkpoint_read(path, &g->checkpoint));
  fill(f, step);
  cr_assert_eq(hash_all(g), hash_all(f), "call %d, mask %lx: another state under step %d", n, (unsigned long)mask,
               step);
}

Test(power, a_written_checkpoint_is_there_in_every_state) {
  fixture f, g;
  uint64_t entries;
  int most = 0;
  create(&f, "data", usual);
  create(&g, "data", usual);
  record_saves(&f);
  capture(true); /* warnings about torn checkpoints */
  replay *r = replay_create(directory);
  for (int n = 0; n <= replay_n(r); n++) {
    const int n_units = replay_n_units(r, n, &entries);
    for (uint64_t mask = 0; mask < 1ul << n_units; mask++) check_state(&f, &g, r, n, mask);
    most = n_units > most ? n_units : most;
  }
  capture(false);
  cr_log_info("%d calls, at most %d units pending, %d different states", replay_n(r), most, replay_n_states(r));
  cr_assert_gt(replay_n_states(r), 300);
  replay_destroy(&r);
  destroy(&f);
  destroy(&g);
}
