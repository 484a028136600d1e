/* From logs to a second day: convert, train, convert with the grown vocabulary, train from the first day's model. */
#include "cli/tiny.h"
#include "facet/file.h"
#include "facet/rng.h"

static const char convert_text[] = "convert: {name: days, max_length: 10, negatives: 1, embedding_width: 4}\n"
                                   "interactions: {file: log.tsv, user: user, item: item, time: time}\n"
                                   "items: {file: items.tsv, key: item, columns: {color: {}}}\n";
static const char config_text[] = "model: {name: mean_pooling, mlp: [8], batch_norm: true}\n"
                                  "data: {path: day1}\n"
                                  "optimizer: {learning_rate: 0.02}\n"
                                  "train: {batch_size: 32, epochs: 2, log_every: 1, threads: 1}\n";

/* Each of `n_users` users, from number `first_user`, interacts with 12 of the first `n_items` items. */
static void write_log(const char *directory, int first_user, int n_users, int n_items) {
  char name[64], log[1 << 16] = "user\titem\ttime\n", items[8192] = "item\tcolor\n";
  size_t n = strlen(log), m = strlen(items);
  const facet_rng_key key = facet_rng_key_make(7, directory);
  for (int u = 0; u < n_users; u++) {
    for (int e = 0; e < 12; e++) {
      const int item = (int)facet_rng_below(facet_rng_word64(key, (uint64_t)(u * 100 + e)), (uint64_t)n_items);
      n += (size_t)snprintf(log + n, sizeof log - n, "u%d\ti%d\t%d\n", first_user + u, item, 1000 + u + 100 * e);
    }
  }
  for (int i = 0; i < n_items; i++) m += (size_t)snprintf(items + m, sizeof items - m, "i%d\tc%d\n", i, i % 7);
  cr_assert(facet_directory_create(tiny_path("%s", directory)) == FACET_OK);
  snprintf(name, sizeof name, "%s/log.tsv", directory);
  tiny_write(name, log);
  snprintf(name, sizeof name, "%s/items.tsv", directory);
  tiny_write(name, items);
}

static void convert(const char *input, const char *output, const char *arguments) {
  EXPECT_EXIT(0, program_run("convert %s --input %s --output %s %s", tiny_path("convert.yaml"), tiny_path("%s", input),
                             tiny_path("%s", output), arguments));
}

static void convert_first_day(void) {
  tiny_create();
  tiny_write("convert.yaml", convert_text);
  tiny_write("c.yaml", config_text);
  write_log("log1", 0, 30, 40);
  convert("log1", "day1", "");
  tiny_train_ok("run1", "");
}
TestSuite(warm_start, .init = convert_first_day, .fini = tiny_remove, .timeout = 120);

static const char *last_checkpoint(const char *run) {
  static char name[32];
  snprintf(name, sizeof name, "step-%08lld", (long long)tiny_newest_step(run));
  return name;
}

static int train_from_first_day(const char *data, const char *run, const char *arguments) {
  return tiny_train(run, "--set data.path=%s --set train.warm_start=%s %s", tiny_path("%s", data),
                    tiny_path("run1/checkpoints/%s", last_checkpoint("run1")), arguments);
}

Test(warm_start, a_grown_vocabulary_keeps_the_old_rows) {
  static const char *const tables[] = {"/tables/embedding.user/rows", "/tables/embedding.item/rows",
                                       "/tables/embedding.color/rows"};
  static float old[4096], grown[4096], fresh[4096];
  write_log("log2", 20, 40, 55); /* ten users of the first day, thirty new ones; fifteen new items */
  char arguments[512];
  snprintf(arguments, sizeof arguments, "--vocabulary %s", tiny_path("day1"));
  convert("log2", "day2", arguments);
  /* without an update and with a learning rate of zero, what the run starts from is what it saves */
  const char *still = "--set optimizer.learning_rate=0 --set train.max_steps=1";
  EXPECT_EXIT(0, train_from_first_day("day2", "still", still), "warm, from the parameters of",
              "table embedding.item: 4", " rows from the checkpoint");
  snprintf(arguments, sizeof arguments, "--set data.path=%s %s", tiny_path("day2"), still);
  tiny_train_ok("fresh", arguments);
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
    const size_t n_old = tiny_read("run1", last_checkpoint("run1"), tables[t], old, 4096);
    const size_t n_grown = tiny_read("still", "step-00000001", tables[t], grown, 4096);
    cr_assert_eq(tiny_read("fresh", "step-00000001", tables[t], fresh, 4096), n_grown);
    cr_assert(t == 2 ? n_grown == n_old : n_grown > n_old, "%s: %zu values, before %zu", tables[t], n_grown, n_old);
    cr_assert_eq(memcmp(old, grown, n_old * sizeof *old), 0, "%s: the old rows", tables[t]);
    cr_assert_eq(memcmp(fresh + n_old, grown + n_old, (n_grown - n_old) * sizeof *old), 0, "%s: new rows", tables[t]);
    cr_assert_neq(memcmp(old, fresh, n_old * sizeof *old), 0);
  }
  const size_t n = tiny_read("run1", last_checkpoint("run1"), "/parameters/mlp.0.weight", old, 4096);
  tiny_read("still", "step-00000001", "/parameters/mlp.0.weight", grown, 4096);
  cr_assert_eq(memcmp(old, grown, n * sizeof *old), 0);
  /* and it trains, from Adam's beginning: the first step is 1 */
  EXPECT_EXIT(0, train_from_first_day("day2", "run2", ""));
  cr_assert(tiny_last("run2", "summary", "step") > 0);
  EXPECT_EXIT(0, train_from_first_day("day2", "run2", ""), "is finished");
  EXPECT_EXIT(0, program_run("evaluate %s", tiny_path("run2")), "day2");
}

Test(warm_start, helps_the_second_day) {
  /* on the same data the warm model starts where the first ended: its first loss is lower than a fresh one's */
  EXPECT_EXIT(0, train_from_first_day("day1", "warm", "--set train.max_steps=1"));
  tiny_train_ok("cold", "--set train.max_steps=1");
  cr_assert(tiny_last("warm", "train", "loss") < tiny_last("cold", "train", "loss"));
}

Test(warm_start, another_vocabulary_exits_3) {
  write_log("log2", 100, 40, 55);
  convert("log2", "other", ""); /* ids of its own */
  EXPECT_EXIT(3, train_from_first_day("other", "run2", ""), "/vocab/",
              ".h5 is not an extension of the vocabulary that");
  cr_assert_eq(tiny_newest_step("run2"), -1);
  EXPECT_EXIT(3, program_run("evaluate %s --set data.path=%s", tiny_path("run1"), tiny_path("other")), "vocabulary");
}

Test(warm_start, a_smaller_vocabulary_exits_3) {
  write_log("log2", 0, 10, 12);
  convert("log2", "smaller", "");
  EXPECT_EXIT(3, train_from_first_day("smaller", "run2", ""), "it may only grow");
}

Test(warm_start, a_frozen_vocabulary_keeps_every_id) {
  write_log("log2", 20, 40, 55);
  char arguments[512];
  snprintf(arguments, sizeof arguments, "--vocabulary %s --freeze", tiny_path("day1"));
  convert("log2", "frozen", arguments);
  /* the same vocabularies: the first day's model can be evaluated and continued on it */
  EXPECT_EXIT(0, program_run("evaluate %s --set data.path=%s", tiny_path("run1"), tiny_path("frozen")), "\nauc ");
}

Test(warm_start, names_what_does_not_fit) {
  EXPECT_EXIT(0, train_from_first_day("day1", "wide", "--set model.mlp=[9]"),
              "mlp.0.weight has shape [20, 8] in the checkpoint and [20, 9] here", "it keeps its initial values",
              "table embedding.item: ");
  EXPECT_EXIT(2, tiny_train("run3", "--set train.warm_start=%s", tiny_path("none")), "is neither a checkpoint");
}
