/* Everything else that facet writes: scores, data sets, traces. Whatever call fails, or is the last, there is nothing under
 * the final name, or all of it; a failure is told with the file's name and status 4, and the same command works then. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "facet/file.h"
#include "fault/run.h"

static void create_inputs(void) {
  run_create();
  tiny_write("convert.yaml", "convert: {name: test, min_user_events: 1, part_samples: 3}\n"
                             "interactions: {file: log.tsv, user: user, item: item, time: time}\n"
                             "items: {file: items.tsv, key: item, columns: {price: {width: 2}}}\n");
  tiny_write("log.tsv", "user\titem\ttime\nu1\ta\t1\nu1\tb\t2\nu1\tc\t3\nu2\tc\t1\nu2\td\t2\nu2\ta\t3\n");
  tiny_write("items.tsv", "item\tprice\na\t1\nb\t2\nc\t3\nd\t4\n");
}
TestSuite(outputs, .init = create_inputs, .fini = tiny_remove, .timeout = 300);

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static bool exists(const char *path) {
  struct stat info;
  return lstat(path, &info) == 0;
}

/* Fails unless both are the same file, or directories that hold the same. */
static void expect_same(const char *a, const char *b) {
  facet_arena *arena;
  char **names_a, **names_b, inner_a[FACET_PATH_MAX], inner_b[FACET_PATH_MAX];
  int64_t n_a, n_b;
  if (!facet_directory_exists(a)) {
    cr_assert(tiny_same_file(a, b), "%s and %s differ", a, b);
    return;
  }
  cr_assert(facet_arena_create(&arena) == FACET_OK && facet_directory_list(a, arena, &names_a, &n_a) == FACET_OK &&
            facet_directory_list(b, arena, &names_b, &n_b) == FACET_OK);
  cr_assert_eq(n_a, n_b, "%s has %lld entries, %s %lld", a, (long long)n_a, b, (long long)n_b);
  for (int64_t i = 0; i < n_a; i++) {
    cr_assert_str_eq(names_a[i], names_b[i]);
    snprintf(inner_a, sizeof inner_a, "%s/%s", a, names_a[i]);
    snprintf(inner_b, sizeof inner_b, "%s/%s", b, names_b[i]);
    expect_same(inner_a, inner_b);
  }
  facet_arena_destroy(&arena);
}

/* ---- every call -------------------------------------------------------------------------------------------------- */

typedef struct command {
  char arguments[512]; /* without --output */
  const char *name;    /* of the output */
} command;

static char reference[512], output[512], parent[512];

/* A new, empty directory for the output of each run: only calls in it count. */
static int run_command(const command *c, shim_plan plan) {
  plan.directory = parent;
  return run_facet(&plan, "%s --output %s", c->arguments, output);
}

static void try_call(const command *c, const shim_call *clean, const shim_plan *plan) {
  const shim_plan none = {0};
  const int at = plan->first;
  cr_assert(facet_directory_create(parent) == FACET_OK);
  const int status = run_command(c, *plan), hit = run_first_hit();
  const bool dies = plan->kind == SHIM_DIE || plan->kind == SHIM_DIE_HALF;
  cr_assert_eq(hit, at - 1);
  const char *what = run_describe(hit);
  if (dies)
    cr_assert_eq(status, SHIM_DEATH, "%s: %d\n%s", what, status, program_output);
  else if (plan->kind == SHIM_SHORT || (plan->error == EINTR && status == 0))
    cr_assert_eq(status, 0, "%s: %d\n%s", what, status, program_output);
  else if (status == 0)
    cr_assert(run_may_be_ignored(clean, hit), "%s: it took no notice\n%s", what, program_output);
  else {
    cr_assert_eq(status, 4, "%s: %d\n%s", what, status, program_output);
    run_expect_error(parent, plan->error, what);
  }
  if (exists(output))
    expect_same(reference, output);
  else
    cr_assert_neq(status, 0, "%s\n%s", what, program_output);
  if (!exists(output)) {
    if (!dies) cr_assert_eq(rmdir(parent), 0, "%s: something was left", what); /* nothing lies about */
    cr_assert(facet_directory_create(parent) == FACET_OK);
    cr_assert_eq(run_command(c, none), 0, "%s: again\n%s", what, program_output);
    expect_same(reference, output);
  }
  cr_assert(facet_directory_remove(parent) == FACET_OK);
}

/* Every `step`-th call, that is. */
static void try_every_call(const command *c, int step) {
  static const shim_plan plans[] = {
      {.n = 1, .kind = SHIM_DIE},
      {.n = 1, .kind = SHIM_ERROR, .error = EIO},
      {.n = 1, .kind = SHIM_DIE_HALF},
      {.n = 1, .kind = SHIM_SHORT},
      {.n = SHIM_FOREVER, .kind = SHIM_ERROR, .error = ENOSPC},
      {.n = 1, .kind = SHIM_ERROR, .error = EINTR},
  };
  const shim_plan none = {0};
  int n_calls, n_tried = 0;
  snprintf(parent, sizeof parent, "%.400s", tiny_path("out"));
  snprintf(output, sizeof output, "%.400s/%s", parent, c->name);
  snprintf(reference, sizeof reference, "%.400s/%s", tiny_path("reference"), c->name);
  cr_assert(facet_directory_create(parent) == FACET_OK);
  cr_assert_eq(run_command(c, none), 0, "%s", program_output);
  cr_assert_eq(rename(parent, tiny_path("reference")), 0);
  shim_call *clean = run_clean_calls(&n_calls);
  for (size_t p = 0; p < sizeof plans / sizeof *plans; p++) {
    const bool first_two = p < 2; /* of the others every third is enough: tests/fault/errors.c tries them all */
    for (int at = 1; at <= n_calls; at += step * run_stride() * (first_two ? 1 : 3)) {
      shim_plan plan = plans[p];
      plan.first = at;
      if (!shim_can_hit(&plan, &clean[at - 1])) continue;
      try_call(c, clean, &plan);
      n_tried++;
    }
  }
  cr_log_info("%s: %d calls, %d faults", c->name, n_calls, n_tried);
  cr_assert_gt(n_tried, run_stride() == 1 ? 20 : 2);
  free(clean);
}

Test(outputs, scores_in_hdf5) {
  command c = {.name = "scores.h5"};
  snprintf(c.arguments, sizeof c.arguments, "predict %s --split valid", tiny_path("whole"));
  try_every_call(&c, 1);
}

Test(outputs, scores_as_text) {
  command c = {.name = "scores.tsv"};
  snprintf(c.arguments, sizeof c.arguments, "predict %s --split valid", tiny_path("whole"));
  try_every_call(&c, 1);
}

Test(outputs, a_converted_data_set) {
  command c = {.name = "data"};
  snprintf(c.arguments, sizeof c.arguments, "convert %s", tiny_path("convert.yaml"));
  try_every_call(&c, 1);
}

Test(outputs, a_synthetic_data_set_with_compression) {
  command c = {.name = "data",
               .arguments = "synthesize --set users=4 --set items=6 --set clusters=2 --set categories=2 "
                            "--set events=4 --set impressions=3 --set interests_max=2 --set compress=true"};
  try_every_call(&c, 3);
}

Test(outputs, a_trace) {
  command c = {.name = "trace.h5"};
  snprintf(c.arguments, sizeof c.arguments, "trace %s", tiny_path("c.yaml"));
  try_every_call(&c, 1);
}
