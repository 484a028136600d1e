/* Calls that fail, once or from then on, and writes that write half: either nothing is lost by it and the run ends as
 * without it, or it ends with status 4 and one message that names the file and the reason, and a restart ends as if
 * nothing had happened. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fault/run.h"

TestSuite(errors, .init = run_create, .fini = tiny_remove, .timeout = 300);

/* No file is synced again after a sync of it failed: the second could succeed though the data are lost. */
static void expect_no_second_sync(void) {
  for (int i = 0; i < shim_n_calls(); i++) {
    const shim_call *failed = shim_get(i);
    if (strcmp(failed->name, "fsync") != 0 || !failed->hit || failed->result == -EINTR) continue;
    for (int k = i + 1; k < shim_n_calls(); k++) {
      const shim_call *later = shim_get(k);
      const bool same = later->inode == failed->inode && strcmp(later->path, failed->path) == 0;
      cr_assert(!same || strcmp(later->name, "fsync") != 0, "%s: after it failed", run_describe(k));
    }
  }
}

/* Lets every call of a training fail with `error`; `n`: so many calls from it on. */
static void fail_every_call(int error, int n) {
  int n_calls, n_failed = 0, n_ignored = 0; /* failed: the run ended */
  shim_call *clean = run_clean_calls(&n_calls);
  for (int at = 1; at <= n_calls; at += run_stride()) {
    const shim_plan plan = {.first = at, .n = n, .kind = SHIM_ERROR, .error = error};
    if (!shim_can_hit(&plan, &clean[at - 1])) continue;
    const int status = run_train(&plan, "run"), hit = run_first_hit();
    cr_assert(hit == at - 1 && strcmp(shim_get(hit)->name, clean[hit].name) == 0, "%s: expected %s", run_describe(hit),
              clean[at - 1].name);
    if (status == 0) {
      cr_assert(run_may_be_ignored(clean, hit), "%s: the run took no notice\n%s", run_describe(hit), program_output);
      n_ignored++;
    } else {
      cr_assert_eq(status, 4, "%s: status %d\n%s", run_describe(hit), status, program_output);
      run_expect_error(tiny_path("run"), error, run_describe(hit));
      expect_no_second_sync();
      n_failed++;
      run_newest("run");
      cr_assert_eq(run_train(NULL, "run"), 0, "%s: restart\n%s", run_describe(hit), program_output);
    }
    tiny_expect_same_run("whole", "run");
    run_remove("run");
  }
  cr_log_info("of %d calls %d ended the run, %d did not matter", n_calls, n_failed, n_ignored);
  cr_assert_gt(n_failed, 100 / run_stride(), "only %d", n_failed);
  free(clean);
}

Test(errors, every_call_fails_once) {
  fail_every_call(EIO, 1);
}

Test(errors, every_call_fails_from_then_on) {
  fail_every_call(EIO, SHIM_FOREVER);
}

Test(errors, the_disk_is_full) {
  fail_every_call(ENOSPC, SHIM_FOREVER);
}

Test(errors, the_disk_is_full_for_a_moment) {
  fail_every_call(ENOSPC, 1);
}

Test(errors, the_quota_is_used_up) {
  fail_every_call(EDQUOT, SHIM_FOREVER);
}

/* Reads, writes and syncs are repeated; a call that is not must say so. */
Test(errors, a_signal_interrupts_every_call) {
  int n_calls, n_repeated = 0, n_failed = 0;
  shim_call *clean = run_clean_calls(&n_calls);
  for (int at = 1; at <= n_calls; at += run_stride()) {
    const shim_plan plan = {.first = at, .n = 1, .kind = SHIM_ERROR, .error = EINTR};
    if (!shim_can_hit(&plan, &clean[at - 1])) continue;
    const int status = run_train(&plan, "run"), hit = run_first_hit();
    cr_assert_eq(hit, at - 1);
    if (status != 0) {
      cr_assert_eq(status, 4, "%s: status %d\n%s", run_describe(hit), status, program_output);
      run_expect_error(tiny_path("run"), EINTR, run_describe(hit));
      cr_assert_eq(run_train(NULL, "run"), 0, "%s: restart\n%s", run_describe(hit), program_output);
      n_failed++;
    }
    const char *name = clean[hit].name;
    if (strcmp(name, "read") == 0 || strcmp(name, "write") == 0 || strcmp(name, "fsync") == 0) {
      cr_assert(status == 0, "%s\n%s", run_describe(hit), program_output);
      n_repeated++;
    }
    tiny_expect_same_run("whole", "run");
    run_remove("run");
  }
  cr_log_info("%d calls: %d reads, writes and syncs were repeated, %d other calls ended the run", n_calls, n_repeated,
              n_failed);
  cr_assert_gt(n_repeated, 100 / run_stride(), "only %d", n_repeated);
  free(clean);
}

Test(errors, every_write_is_short_once) {
  int n_calls, n_short = 0;
  shim_call *clean = run_clean_calls(&n_calls);
  for (int at = 1; at <= n_calls; at += run_stride()) {
    const shim_plan plan = {.first = at, .n = 1, .kind = SHIM_SHORT};
    if (!shim_can_hit(&plan, &clean[at - 1])) continue;
    cr_assert_eq(run_train(&plan, "run"), 0, "call %d\n%s", at, program_output);
    cr_assert_eq(run_first_hit(), at - 1);
    tiny_expect_same_run("whole", "run");
    run_remove("run");
    n_short++;
  }
  cr_log_info("%d short writes", n_short);
  cr_assert_gt(n_short, 100 / run_stride(), "only %d", n_short);
  free(clean);
}

Test(errors, all_writes_are_short) {
  const shim_plan plan = {.first = 1, .n = SHIM_FOREVER, .kind = SHIM_SHORT};
  cr_assert_eq(run_train(&plan, "run"), 0, "%s", program_output);
  cr_assert_geq(run_first_hit(), 0);
  tiny_expect_same_run("whole", "run");
}

/* ---- while a run is taken up again ------------------------------------------------------------------------------- */

/* A run that died while it wrote its last checkpoint, with a torn line at the end of metrics.jsonl. */
static void make_interrupted(void) {
  int n_calls, at = 0;
  shim_call *clean = run_clean_calls(&n_calls);
  for (int i = 0; i < n_calls; i++)
    if (strstr(clean[i].path, ".tmp-step-00000002/model.h5") && strcmp(clean[i].name, "write") == 0) at = i + 1;
  const shim_plan plan = {.first = at, .n = 1, .kind = SHIM_DIE};
  cr_assert_eq(run_train(&plan, "interrupted"), SHIM_DEATH, "%s", program_output);
  FILE *log = fopen(tiny_path("interrupted/metrics.jsonl"), "a");
  cr_assert(log && fputs("{\"type\":\"train\",\"st", log) >= 0 && fclose(log) == 0);
  free(clean);
}

static int train_copy(const shim_plan *plan) {
  cr_assert_eq(program_shell("cp -a %s %s", tiny_path("interrupted"), tiny_path("run")), 0, "%s", program_output);
  return run_train(plan, "run");
}

/* A read of the newest checkpoint that fails sends the run to an older one, with a warning. */
Test(errors, every_call_of_a_restart_fails_once) {
  int n_calls, n_failed = 0, n_older = 0, n_ignored = 0;
  make_interrupted();
  cr_assert_eq(train_copy(&(shim_plan){0}), 0, "%s", program_output);
  cr_assert(strstr(program_output, "resumed from"), "%s", program_output);
  tiny_expect_same_run("whole", "run");
  shim_call *clean = run_clean_calls(&n_calls);
  for (int at = 1; at <= n_calls; at += run_stride()) {
    const shim_plan plan = {.first = at, .n = 1, .kind = SHIM_ERROR, .error = EIO};
    run_remove("run");
    const int status = train_copy(&plan), hit = run_first_hit();
    if (status == 4) {
      run_expect_error(tiny_path("run"), EIO, run_describe(hit));
      n_failed++;
      cr_assert_eq(run_train(NULL, "run"), 0, "%s: restart\n%s", run_describe(hit), program_output);
    } else {
      const bool older = strstr(program_output, "trying an older checkpoint");
      cr_assert_eq(status, 0, "%s: status %d\n%s", run_describe(hit), status, program_output);
      cr_assert(older || run_may_be_ignored(clean, hit), "%s: it took no notice\n%s", run_describe(hit),
                program_output);
      n_older += older;
      n_ignored += !older;
    }
    tiny_expect_same_run("whole", "run");
  }
  cr_log_info("of %d calls %d ended the run, %d sent it to an older checkpoint, %d did not matter", n_calls, n_failed,
              n_older, n_ignored);
  cr_assert_gt(n_failed, 100 / run_stride());
  free(clean);
}
