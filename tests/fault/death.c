/* A process that ends at any call: the newest complete checkpoint is there, and the run goes on from it to the same end. */
#include <stdlib.h>

#include "fault/run.h"

TestSuite(death, .init = run_create, .fini = tiny_remove, .timeout = 300);

/* Lets a training die at every call that `kind` can hit. */
static void die_at_every_call(shim_kind kind) {
  int64_t best = -1;
  int n_calls, n_tried = 0;
  shim_call *clean = run_clean_calls(&n_calls);
  for (int at = 1; at <= n_calls; at += run_stride()) {
    const shim_plan plan = {.first = at, .n = 1, .kind = kind};
    if (!shim_can_hit(&plan, &clean[at - 1])) continue;
    const int status = run_train(&plan, "run");
    cr_assert_eq(status, SHIM_DEATH, "%s: %d\n%s", run_describe(at - 1), status, program_output);
    const int64_t step = run_newest("run");
    cr_assert(step >= best, "%s: step %lld is the newest after step %lld was", run_describe(at - 1), (long long)step,
              (long long)best);
    best = step;
    cr_assert_eq(run_train(NULL, "run"), 0, "%s: restart\n%s", run_describe(at - 1), program_output);
    tiny_expect_same_run("whole", "run");
    run_remove("run");
    n_tried++;
  }
  cr_log_info("%d of %d calls", n_tried, n_calls);
  cr_assert_geq(best, run_stride() == 1 ? 2 : 1);
  cr_assert_gt(n_tried, 100 / run_stride(), "only %d calls", n_tried);
  free(clean);
}

Test(death, before_every_call) {
  die_at_every_call(SHIM_DIE);
}

Test(death, in_the_middle_of_every_write) {
  die_at_every_call(SHIM_DIE_HALF);
}
