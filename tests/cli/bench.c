/* facet bench from the command line. */
#include "cli/tiny.h"
#include "facet/log.h"

TestSuite(bench, .init = tiny_create, .fini = tiny_remove, .timeout = 120);

/* The object that `facet bench c.yaml --json ARGUMENTS` prints. */
static json_t *run_json(const char *arguments) {
  EXPECT_EXIT(0, program_shell("$FACET bench %s --json --steps 6 --warmup 1 --timed-steps 4 %s 2>/dev/null",
                               tiny_path("c.yaml"), arguments));
  json_error_t error;
  json_t *root = json_loads(program_output, JSON_REJECT_DUPLICATES, &error);
  cr_assert(root, "%s: %s", error.text, program_output);
  return root;
}

static double sum_of(const json_t *rows, const char *key) {
  double sum = 0;
  size_t i;
  json_t *row;
  json_array_foreach(rows, i, row) sum += tiny_number(row, key);
  return sum;
}

static void check_sums(json_t *root) {
  const json_t *nodes = json_object_get(root, "nodes"), *operators = json_object_get(root, "operators");
  const double step = tiny_number(root, "timed_step_seconds");
  const double forward = sum_of(nodes, "forward_seconds"), backward = sum_of(nodes, "backward_seconds");
  cr_assert(forward > 0 && backward > 0);
  cr_assert_float_eq(sum_of(operators, "forward_seconds"), forward, 1e-6 * step);
  cr_assert_float_eq(sum_of(operators, "backward_seconds"), backward, 1e-6 * step);
  cr_assert_float_eq(forward + backward + sum_of(json_object_get(root, "parts"), "seconds"), step, 1e-6 * step);
  cr_assert_float_eq(sum_of(operators, "flops"), 64 * tiny_number(root, "flops_per_sample"), 1);
}

/* Every node of the graph is there once, under its operator. */
static void check_nodes(json_t *root) {
  json_t *row;
  const json_t *nodes = json_object_get(root, "nodes");
  EXPECT_EXIT(0, program_run("graph %s --dot", tiny_path("c.yaml")));
  size_t i;
  json_array_foreach(nodes, i, row) {
    char text[256];
    snprintf(text, sizeof text, "\"%s\"", json_string_value(json_object_get(row, "name")));
    cr_assert(strstr(program_output, text), "%s is not in %s", text, program_output);
  }
  cr_assert_float_eq(sum_of(json_object_get(root, "operators"), "nodes"), (double)json_array_size(nodes), 0);
}

static void check_figures(json_t *root, double elapsed) {
  const double best = tiny_number(root, "samples_per_second_best"), median = tiny_number(root, "samples_per_second");
  const json_t *windows = json_object_get(root, "windows"), *memory = json_object_get(root, "memory");
  cr_assert_eq(json_array_size(windows), 5);
  for (size_t i = 1; i < 5; i++)
    cr_assert_geq(json_number_value(json_array_get(windows, i)), json_number_value(json_array_get(windows, i - 1)));
  cr_assert_eq(json_number_value(json_array_get(windows, 4)), best);
  cr_assert_eq(json_number_value(json_array_get(windows, 2)), median);
  cr_assert(0 < median && median <= best);
  const double share = tiny_number(root, "share_of_peak"), start = tiny_number(root, "startup_seconds");
  cr_assert(0 < share && share < 1.2, "%g", share);
  cr_assert(0 < start && start < elapsed + 0.02, "%g of %g", start, elapsed); /* counted in ticks of 0.01 s */
  cr_assert_gt(tiny_number(memory, "peak_rss_bytes"), tiny_number(json_object_get(memory, "planned_bytes"), "arena"));
  cr_assert_eq(tiny_number(root, "threads"), 1);
}

Test(bench, prints_one_json_object) {
  const double begin = facet_clock();
  json_t *root = run_json("");
  const double elapsed = facet_clock() - begin;
  check_sums(root);
  check_nodes(root);
  check_figures(root, elapsed);
  json_decref(root);
}

Test(bench, prints_tables) {
  EXPECT_EXIT(0, program_run("bench %s --steps 2 --timed-steps 2 --nodes", tiny_path("c.yaml")),
              "mean_pooling, 64 samples a step", "matrix product", "samples/s, median of 2 windows of 1 steps",
              "linear ", "optimizer sparse", "mlp.1 ");
}

/* Micro-batches, and a data set that ends within the bench. */
Test(bench, accumulates_and_begins_the_next_epoch) {
  json_t *root = run_json("--set train.accumulate=4 --set train.batch_size=720");
  cr_assert_eq(tiny_number(root, "batch_size"), 720);
  json_decref(root);
}

/* Nothing is written beside the configuration. */
Test(bench, leaves_no_run_behind) {
  EXPECT_EXIT(
      0, program_shell("cd %s && $FACET bench c.yaml --steps 1 --timed-steps 1 >/dev/null && ls", tiny_path("%s", "")));
  cr_assert_str_eq(program_output, "c.yaml\ndata\n");
}

Test(bench, bad_arguments) {
  EXPECT_EXIT(2, program_run("bench"), "CONFIG.yaml");
  EXPECT_EXIT(2, program_run("bench %s --steps 0", tiny_path("c.yaml")), "--steps is \"0\"");
  EXPECT_EXIT(2, program_run("bench %s --warmup x", tiny_path("c.yaml")), "--warmup is \"x\"");
  EXPECT_EXIT(2, program_run("bench %s --step 3", tiny_path("c.yaml")), "did you mean \"--steps\"");
  EXPECT_EXIT(2, program_run("bench %s --set train.batch=3", tiny_path("c.yaml")), "train");
  EXPECT_EXIT(7, program_run("bench %s --device cuda", tiny_path("c.yaml")), "cuda");
  EXPECT_EXIT(4, program_run("bench /none.yaml"), "/none.yaml");
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

Test(bench, data_counts_the_ids_of_every_batch) {
  static const char *const orders[] = {"sequential", "shuffled"};
  for (int i = 0; i < 2; i++) {
    EXPECT_EXIT(0, program_run("bench data %s --json --seconds 0.05 --batch-size 32 --fields all --length 3 --order %s",
                               tiny_path("data"), orders[i]));
    json_t *root = json_loads(program_output, 0, NULL);
    cr_assert(root, "%s", program_output);
    cr_assert_str_eq(json_string_value(json_object_get(root, "order")), orders[i]);
    const double samples = tiny_number(root, "samples"), ids = tiny_number(root, "ids");
    cr_assert(samples > 0 && samples <= 32 * tiny_number(root, "batches"));
    cr_assert(ids > samples, "%g ids of %g samples", ids, samples);
    const double rate = tiny_number(root, "bytes_per_second");
    cr_assert_float_eq(rate, 4 * ids / tiny_number(root, "wall_seconds"), 1e-4 * rate);
    cr_assert(tiny_number(root, "cpu_seconds") > 0 && tiny_number(root, "copy_bytes_per_second") > 1e8);
    cr_assert(tiny_number(root, "batch_bytes") > 0);
    json_decref(root);
  }
}

Test(bench, data_prints_own_and_joined_fields_in_both_orders) {
  EXPECT_EXIT(0, program_run("bench data %s --seconds 0.05", tiny_path("data")), "GB/CPU second", "own      sequential",
              "own      shuffled", "joined   sequential", "joined   shuffled");
  EXPECT_EXIT(2, program_run("bench data"), "DATASET");
  EXPECT_EXIT(2, program_run("bench data %s --order random", tiny_path("data")), "--order");
  EXPECT_EXIT(3, program_run("bench data %s --split none", tiny_path("data")), "none");
}
