/* Memory that is poisoned, allocations that fail, places that cannot be written: one message, the right exit status. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/tiny.h"
#include "facet/file.h"

TestSuite(faults, .init = tiny_create, .fini = tiny_remove, .timeout = 300);

static int count_errors(void) {
  int n = 0;
  for (const char *c = program_output; (c = strstr(c, "facet: ")); c++) n += c == program_output || c[-1] == '\n';
  return n;
}

Test(faults, poison_changes_nothing) {
  const char *arguments = "--set model.batch_norm=true --set model.dropout=0.2 --set train.accumulate=2";
  tiny_train_ok("clean", arguments);
  EXPECT_EXIT(0, program_shell("FACET_POISON=1 $FACET train %s --output %s %s", tiny_path("c.yaml"),
                               tiny_path("poisoned"), arguments));
  tiny_expect_same_run("clean", "poisoned");
}

/* Lets the N-th allocation of a command fail for growing N until it succeeds. */
static void fail_allocations(const char *command, const char *left_over) {
  int n = 1, n_failures = 0;
  for (;; n += 1 + n / 12) {
    const int status = program_shell("FACET_FAIL_ALLOCATION=%d $FACET %s", n, command);
    if (status == 0) break;
    n_failures++;
    cr_assert_eq(status, 1, "allocation %d of `facet %s`: exit status %d:\n%s", n, command, status, program_output);
    cr_assert_eq(count_errors(), 1, "allocation %d of `facet %s`:\n%s", n, command, program_output);
    cr_assert(strstr(program_output, "facet: error: ") && strstr(program_output, "cannot allocate"), "%s",
              program_output);
    cr_assert(!left_over || access(left_over, F_OK) != 0, "allocation %d left %s", n, left_over);
  }
  cr_assert(n_failures >= 10, "`facet %s` needed only %d allocations", command, n);
}

Test(faults, allocations_of_scoring) {
  char command[512];
  tiny_train_ok("run", "--set train.max_steps=3");
  snprintf(command, sizeof command, "evaluate %s", tiny_path("run"));
  fail_allocations(command, NULL);
  snprintf(command, sizeof command, "predict %s --output %s", tiny_path("run"), tiny_path("s.h5"));
  fail_allocations(command, tiny_path("s.h5"));
}

Test(faults, allocations_of_the_graph_and_its_check) {
  char command[512];
  snprintf(command, sizeof command, "graph %s", tiny_path("c.yaml"));
  fail_allocations(command, NULL);
  snprintf(command, sizeof command, "check %s", tiny_path("c.yaml"));
  fail_allocations(command, NULL);
}

Test(faults, allocations_of_data_and_configurations) {
  char command[512];
  snprintf(command, sizeof command, "config %s", tiny_path("c.yaml"));
  fail_allocations(command, NULL);
  snprintf(command, sizeof command, "synthesize --set users=20 --output %s", tiny_path("made"));
  fail_allocations(command, tiny_path("made"));
}

/* The run goes on from whatever the failures left, to the same end as one without them. */
Test(faults, allocations_of_training) {
  char command[512];
  const char *arguments = "--set train.max_steps=6 --set train.checkpoint_every=2 --set train.evaluate_every=3";
  tiny_train_ok("clean", arguments);
  snprintf(command, sizeof command, "train %s --output %s %s", tiny_path("c.yaml"), tiny_path("run"), arguments);
  fail_allocations(command, NULL);
  tiny_expect_same_run("clean", "run");
}

/* ---- places that cannot be written ----------------------------------------------------------------------------- */

Test(faults, an_output_that_is_no_directory) {
  tiny_write("file", "");
  EXPECT_EXIT(4, tiny_train("file", "%s", ""), "file", "File exists");
  EXPECT_EXIT(4, tiny_train("file/run", "%s", ""), "file");
  EXPECT_EXIT(4, program_run("train %s --output /proc/none", tiny_path("c.yaml")), "/proc/none");
  cr_assert(facet_directory_create(tiny_path("run")) == FACET_OK);
  tiny_write("run/checkpoints", "");
  EXPECT_EXIT(4, tiny_train("run", "%s", ""), "run/checkpoints", "File exists");
  cr_assert(facet_directory_create(tiny_path("logs/metrics.jsonl")) == FACET_OK);
  EXPECT_EXIT(4, tiny_train("logs", "%s", ""), "logs/");
}

/* A full disk: a file system of 256 kB of the test's own, in a mount name space that ends with the shell. */
Test(faults, a_full_disk_keeps_the_last_complete_checkpoint) {
  const char *disk = tiny_path("disk"), *config = tiny_path("c.yaml");
  cr_assert(facet_directory_create(disk) == FACET_OK);
  if (program_shell("unshare --mount sh -c 'mount -t tmpfs -o size=256k none %s'", disk) != 0)
    cr_skip_test("no mount of an own file system is allowed here");
  /* checkpoints of about 120 kB: the second or third does not fit; once there is room, the same command goes on */
  EXPECT_EXIT(0,
              program_shell("unshare --mount sh -c 'mount -t tmpfs -o size=256k none %s; run=\"$0 train %s --output "
                            "%s/run --set train.checkpoint_every=5 --set train.keep_checkpoints=9\"; "
                            "$run; echo \"first $?\"; ls %s/run/checkpoints; mount -o remount,size=16m %s; $run; "
                            "echo \"second $?\"; cp -r %s/run %s' $FACET",
                            disk, config, disk, disk, disk, disk, tiny_path("saved")),
              "No space left on device", "first 4", "step-00000005", "resumed from", "second 0");
  cr_assert_eq(count_errors(), 1, "%s", program_output);
  tiny_train_ok("clean", "--set train.checkpoint_every=5 --set train.keep_checkpoints=9");
  tiny_expect_same_run("clean", "saved");
}

/* A limit on the size of files, as a quota would set, ends a write in the middle. */
Test(faults, a_checkpoint_that_cannot_be_written_whole) {
  EXPECT_EXIT(4, program_shell("ulimit -f 20; $FACET train %s --output %s", tiny_path("c.yaml"), tiny_path("run")),
              "the checkpoint of step 0 was not written");
  cr_assert_eq(count_errors(), 1, "%s", program_output);
  cr_assert_eq(tiny_newest_step("run"), -1);
  tiny_train_ok("run", "");
  tiny_train_ok("clean", "");
  tiny_expect_same_run("clean", "run");
}
