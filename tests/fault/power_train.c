/* A training and a power failure after any call: it goes on from what is left to the same end. */
#include "fault/replay.h"
#include "fault/run.h"

TestSuite(power_train, .init = run_create, .fini = tiny_remove, .timeout = 300);

static void restart(replay *r, int n, uint64_t mask) {
  if (!replay_is_new(r, replay_state(r, n, mask, NULL))) return;
  replay_state(r, n, mask, tiny_path("disk"));
  cr_assert_eq(run_train(NULL, "disk"), 0, "call %d, mask %lx\n%s", n, (unsigned long)mask, program_output);
  tiny_expect_same_run("whole", "disk");
  run_remove("disk");
}

/* All that is pending is lost, only the data are (what remains are empty files), or only the entries. */
Test(power_train, goes_on_from_every_state) {
  uint64_t entries;
  replay *r = replay_create(tiny_path("whole"));
  for (int n = 0; n <= replay_n(r); n += run_stride()) {
    const uint64_t all = (1ul << replay_n_units(r, n, &entries)) - 1;
    restart(r, n, 0);
    restart(r, n, entries);
    restart(r, n, all & ~entries);
  }
  cr_log_info("%d calls, %d different states", replay_n(r), replay_n_states(r));
  cr_assert_gt(replay_n_states(r), 50 / run_stride());
  replay_destroy(&r);
}
