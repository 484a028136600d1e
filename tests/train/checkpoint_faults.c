/* Checkpoints on full disks, and when any system call that changes directories, or fsync, fails or is the last one. */
#include "checkpoint_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

TestSuite(checkpoint_faults, .init = make_directory, .fini = remove_directory, .timeout = 120);

/* ---- the system calls that change directories, and fsync, in place of the C library's ---------------------------- */

static int shim_calls, shim_at; /* the shim_at-th call dies or fails; 0: none */
static bool shim_dies, shim_cannot_swap;

static bool shim_fails(void) {
  if (shim_at == 0 || ++shim_calls != shim_at) return false;
  if (shim_dies) _exit(9);
  errno = EIO;
  return true;
}

int fsync(int descriptor) {
  return shim_fails() ? -1 : (int)syscall(SYS_fsync, descriptor);
}

int rename(const char *from, const char *to) {
  return shim_fails() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
  if (shim_cannot_swap) {
    errno = EINVAL;
    return -1;
  }
  return shim_fails() ? -1 : (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
}

int unlinkat(int parent, const char *path, int flags) {
  return shim_fails() ? -1 : (int)syscall(SYS_unlinkat, parent, path, flags);
}

int mkdir(const char *path, mode_t mode) {
  return shim_fails() ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int symlink(const char *target, const char *path) {
  return shim_fails() ? -1 : (int)syscall(SYS_symlinkat, target, AT_FDCWD, path);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

Test(checkpoint_faults, places_that_cannot_be_written) {
  fixture f;
  create(&f, "data", usual);
  fill(&f, 30);
  test_file_write(path_of("file"), "", 0);
  EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_write(path_of("file/run"), &f.checkpoint), "/file: File exists");
  EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_write("/proc/none", &f.checkpoint), "/proc/none");
  char longest[FACET_PATH_MAX];
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_write(longest, &f.checkpoint), "longer than");
  destroy(&f);
}

/* In a process whose files cannot grow beyond `limit` bytes, a checkpoint fails as on a full disk. */
static int write_with_limit(fixture *f, rlim_t limit) {
  const pid_t child = fork();
  if (child == 0) {
    const struct rlimit bound = {limit, limit};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &bound);
    fill(f, 40);
    const facet_status status = facet_checkpoint_write(run_directory, &f->checkpoint);
    const bool named = strstr(facet_error_get()->message, "the checkpoint of step 40 was not written: ") &&
                       strstr(facet_error_get()->message, "step-00000040/") &&
                       strstr(facet_error_get()->message, "File too large");
    _exit(status == FACET_OK ? 0 : status == FACET_ERROR_IO && named ? 4 : 1);
  }
  int status;
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
  return WEXITSTATUS(status);
}

Test(checkpoint_faults, full_disk) {
  fixture f;
  size_t n_bytes;
  create(&f, "data", usual);
  write_step(&f, 30);
  facet_memory_free(test_file_read(path_of("run/checkpoints/step-00000030/model.h5"), &n_bytes));
  for (rlim_t limit = 0; limit < n_bytes; limit += limit < 8192 ? 512 : 8192) {
    const int status = write_with_limit(&f, limit);
    cr_assert_eq(status, 4, "files of %ld bytes at most: %d", (long)limit, status);
    cr_assert_eq(newest(), 30);
    cr_assert_eq(count(""), 1, "the half-written one is gone");
  }
  cr_assert_eq(write_with_limit(&f, 2 * n_bytes), 0);
  cr_assert_eq(newest(), 40);
  destroy(&f);
}

/* What a trainer does at a step. */
static facet_status save(fixture *f, int step) {
  fill(f, step);
  FACET_TRY(facet_checkpoint_write(run_directory, &f->checkpoint));
  FACET_TRY(facet_checkpoint_mark_best(run_directory, step));
  return facet_checkpoint_prune(run_directory, step, 1);
}

/* In a child: saves steps 30, 30 again and 40 with the `at`-th call dying or failing; returns its exit status. */
static int save_with_shim(fixture *f, int at, bool dies, bool cannot_swap) {
  const pid_t child = fork();
  if (child == 0) {
    freopen("/dev/null", "w", stderr);
    shim_at = at;
    shim_dies = dies;
    shim_cannot_swap = cannot_swap;
    facet_status status = save(f, 30);
    if (status == FACET_OK) status = save(f, 30);
    if (status == FACET_OK) status = save(f, 40);
    _exit(shim_calls < at ? 77 : (int)status);
  }
  int status;
  cr_assert_eq(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Whatever call the process dies at, or fails, a complete checkpoint is there once one was, and it can go on. (mkdir may
 * fail without consequence where the directory exists.) */
static void try_every_call(bool dies, bool cannot_swap) {
  fixture f, g;
  int at = 1, best = -1;
  create(&f, "data", usual);
  create(&g, "data", usual);
  for (;; at++) {
    EXPECT_OK(facet_directory_remove(run_directory));
    write_step(&f, 20);
    const int status = save_with_shim(&f, at, dies, cannot_swap);
    if (status == 77) break;
    const int step = newest();
    cr_assert(dies ? status == 9 : status == FACET_ERROR_IO || (status == FACET_OK && step == 40),
              "call %d: status %d, newest %d", at, status, step);
    cr_assert(step >= 20 && (!dies || step >= best), "call %d: step %d after step %d", at, step, best);
    best = step > best ? step : best;
    char path[FACET_PATH_MAX];
    EXPECT_OK(facet_checkpoint_newest(run_directory, path));
    EXPECT_OK(facet_checkpoint_read(path, &g.checkpoint));
    fill(&f, step);
    cr_assert_eq(hash_all(&g), hash_all(&f), "call %d: another state under step %d", at, step);
    EXPECT_OK(save(&f, 50));
    cr_assert_eq(newest(), 50);
    cr_assert_eq(count("."), 0, "call %d: leftovers", at);
    cr_assert_eq(count("step-"), 1, "call %d: old checkpoints", at);
  }
  cr_assert_gt(at, 40, "only %d calls", at);
  cr_assert_eq(best, 40);
  destroy(&f);
  destroy(&g);
}

Test(checkpoint_faults, death_at_every_call) {
  try_every_call(true, false);
}

Test(checkpoint_faults, death_at_every_call_without_swapping) {
  try_every_call(true, true);
}

Test(checkpoint_faults, failure_of_every_call) {
  try_every_call(false, false);
}

Test(checkpoint_faults, failure_of_every_call_without_swapping) {
  try_every_call(false, true);
}

Test(checkpoint_faults, the_same_step_is_replaced) {
  fixture f;
  facet_train_state state;
  const facet_checkpoint only_state = {.state = &state};
  create(&f, "data", usual);
  for (int round = 0; round < 2; round++) {
    shim_cannot_swap = round == 1;
    write_step(&f, 30);
    f.state.best_metric = 0.75;
    EXPECT_OK(facet_checkpoint_write(run_directory, &f.checkpoint));
    EXPECT_OK(facet_checkpoint_read(step_path(30), &only_state));
    cr_assert_eq(state.best_metric, 0.75);
    cr_assert_eq(count(""), 1, "and nothing else is left");
  }
  destroy(&f);
}
