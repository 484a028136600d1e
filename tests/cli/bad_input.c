/* Wrong configurations and damaged or wrong data: one clear message and the right exit status. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/tiny.h"
#include "facet/file.h"

TestSuite(bad_input, .init = tiny_create, .fini = tiny_remove, .timeout = 120);

#define TRAIN_PART "data/train/part-00000.h5"

/* The program said one thing, in one line (and a hint). */
static void expect_one_message(void) {
  int n = 0;
  for (const char *c = program_output; (c = strstr(c, "facet: ")); c++) n += c == program_output || c[-1] == '\n';
  cr_assert_eq(n, 1, "%s", program_output);
}

#define EXPECT_REFUSED(status, run, ...)                                                                               \
  do {                                                                                                                 \
    EXPECT_EXIT(status, run, __VA_ARGS__);                                                                             \
    expect_one_message();                                                                                              \
  } while (0)

/* ---- configuration --------------------------------------------------------------------------------------------- */

static int train_text(const char *text) {
  tiny_write("bad.yaml", text);
  return program_run("train %s --output %s", tiny_path("bad.yaml"), tiny_path("run"));
}

Test(bad_input, configuration) {
  EXPECT_REFUSED(2, train_text("model: {name: mean_pooling}\ndata: {path: data}\ntrian: {epochs: 1}\n"),
                 "bad.yaml:3:1: ", "unknown key \"trian\"; did you mean \"train\"?");
  EXPECT_REFUSED(2, train_text("model: {name: mean_pooling}\ndata: {path: data}\ntrain: {epoch: 1}\n"),
                 "bad.yaml:3:9: ", "unknown key \"epoch\"; did you mean \"epochs\"?");
  EXPECT_REFUSED(2, train_text("model: {name: mean_poling}\ndata: {path: data}\n"),
                 "bad.yaml:1:15: ", "did you mean \"mean_pooling\"?");
  EXPECT_REFUSED(2, train_text("model: {name: mean_pooling, dropuot: 0.1}\ndata: {path: data}\n"),
                 "bad.yaml:1:29: ", "did you mean \"dropout\"?");
  EXPECT_REFUSED(2, train_text("model: {name: mean_pooling}\ndata: {path: data}\ntrain: {epochs: many}\n"),
                 "bad.yaml:3:17: ", "train.epochs is \"many\"; expected an integer");
  EXPECT_REFUSED(2, train_text("model: {name: mean_pooling}\ndata: {path: data}\ntrain: {epochs: 1.5}\n"),
                 "bad.yaml:3:17: ", "train.epochs is \"1.5\"; expected an integer");
  EXPECT_REFUSED(2, train_text("model: {name: mean_pooling, dropout: 0.99}\ndata: {path: data}\n"),
                 "bad.yaml:1:38: ", "expected a number from 0 to 0.95");
  EXPECT_REFUSED(2, train_text("model: {name: mean_pooling, mlp: []}\ndata: {path: data}\ntrain: {batch_size: 0}\n"),
                 "bad.yaml:3:21: ", "train.batch_size is \"0\"");
  EXPECT_REFUSED(2, train_text("model: {name: mean_pooling}\n"), "data.path is missing");
  EXPECT_REFUSED(2, train_text("data: {path: data}\n"), "model.name is missing; known models: ", "mean_pooling");
  EXPECT_REFUSED(2, train_text("model: {name: mean_pooling\ndata: {path: data}\n"), "bad.yaml:");
  EXPECT_REFUSED(2, train_text(""), "the configuration is missing");
  EXPECT_REFUSED(4, program_run("train %s", tiny_path("none.yaml")), "none.yaml", "No such file");
  cr_assert(!facet_directory_exists(tiny_path("run"))); /* nothing was begun */
}

Test(bad_input, command_line) {
  EXPECT_REFUSED(2, tiny_train("run", "--set train.epochs"), "--set train.epochs", "expected SECTION.KEY=VALUE");
  EXPECT_REFUSED(2, tiny_train("run", "--set trian.epochs=1"), "unknown section \"trian\"; did you mean \"train\"?");
  EXPECT_REFUSED(2, tiny_train("run", "--set train.epochs=-1"), "expected an integer from 1");
  EXPECT_REFUSED(2, tiny_train("run", "--set optimizer.learning_rate=nan"), "optimizer.learning_rate");
  EXPECT_REFUSED(2, tiny_train("run", "--set optimizer.learning_rate=inf"), "optimizer.learning_rate");
  EXPECT_REFUSED(2, tiny_train("run", "--set train.monitor=acu"), "did you mean \"auc\"?");
  EXPECT_REFUSED(2, tiny_train("run", "--resum auto"), "did you mean \"--resume\"?");
  EXPECT_REFUSED(2, program_run("train"), "CONFIG.yaml");
  EXPECT_REFUSED(2, tiny_train("run", "--device gpu"), "\"gpu\"", "expected cpu");
  EXPECT_REFUSED(7, tiny_train("run", "--device cuda"), "\"cuda\"", "there is no CUDA backend");
  cr_assert(!facet_directory_exists(tiny_path("run")));
}

/* ---- files of the data set ------------------------------------------------------------------------------------- */

Test(bad_input, missing_data) {
  EXPECT_REFUSED(4, tiny_train("run", "--set data.path=/none"), "/none/schema.yaml", "No such file");
  EXPECT_REFUSED(3, tiny_train("run", "--set data.train=tarin"), "data/tarin", "no such directory");
  cr_assert_eq(unlink(tiny_path("data/tables.h5")), 0);
  EXPECT_REFUSED(4, tiny_train("run", "%s", ""), "data/tables.h5", "No such file");
  cr_assert_eq(unlink(tiny_path(TRAIN_PART)), 0);
  EXPECT_REFUSED(4, tiny_train("run", "%s", ""), "tables.h5");
}

/* The data may come back: a start that failed for want of data leaves nothing in the way. */
Test(bad_input, the_run_starts_when_the_data_are_there) {
  cr_assert_eq(rename(tiny_path("data"), tiny_path("away")), 0);
  EXPECT_REFUSED(4, tiny_train("run", "%s", ""), "schema.yaml");
  cr_assert_eq(rename(tiny_path("away"), tiny_path("data")), 0);
  tiny_train_ok("run", "--set train.epochs=1");
}

static long size_of(const char *name) {
  size_t n_bytes;
  char *text;
  cr_assert(facet_file_read(tiny_path("%s", name), 1 << 24, &text, &n_bytes) == FACET_OK);
  facet_memory_free(text);
  return (long)n_bytes;
}

Test(bad_input, truncated_shards) {
  const long size = size_of(TRAIN_PART);
  for (int part = 9; part >= 0; part -= 3) {
    cr_assert_eq(truncate(tiny_path(TRAIN_PART), size * part / 10), 0);
    EXPECT_REFUSED(3, tiny_train("run", "%s", ""), TRAIN_PART, "not a readable HDF5 file");
  }
  tiny_write(TRAIN_PART, "this is not HDF5");
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), TRAIN_PART, "not a readable HDF5 file");
}

Test(bad_input, a_truncated_validation_shard_is_found_before_training) {
  cr_assert_eq(truncate(tiny_path("data/valid/part-00000.h5"), 20000), 0);
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), "data/valid/part-00000.h5", "not a readable HDF5 file");
  cr_assert_eq(tiny_newest_step("run"), -1);
}

static void replace_in_schema(const char *old, const char *new) {
  EXPECT_EXIT(0, program_shell("grep -q '%s' %s && sed -i 's/%s/%s/' %s", old, tiny_path("data/schema.yaml"), old, new,
                               tiny_path("data/schema.yaml")));
}

Test(bad_input, a_shard_of_another_schema) {
  replace_in_schema("max_length: 20", "max_length: 21");
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), TRAIN_PART, "another schema than", "max_length 20 against 21");
}

Test(bad_input, schemas) {
  replace_in_schema("hour:", "houre:");
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), "data/schema.yaml:", "there is no vocabulary \"hour\"");
  tiny_write("data/schema.yaml", "facet_schema: 99\n");
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), "data/schema.yaml:", "99");
  tiny_write("data/schema.yaml", "");
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), "data/schema.yaml");
}

Test(bad_input, a_checkpoint_of_another_schema) {
  tiny_train_ok("run", "--set train.epochs=1");
  tiny_synthesize("other", "max_length=21");
  EXPECT_REFUSED(3, program_run("evaluate %s --set data.path=%s", tiny_path("run"), tiny_path("other")), "schema.yaml",
                 "does not match", "max_length");
  tiny_synthesize("larger", "users=61");
  EXPECT_REFUSED(3, program_run("evaluate %s --set data.path=%s", tiny_path("run"), tiny_path("larger")),
                 "vocabulary user has 62 ids in", "and 63 in");
  /* the data changed under a run that is to be continued */
  EXPECT_EXIT(0, program_shell("rm -r %s && mv %s %s", tiny_path("data"), tiny_path("other"), tiny_path("data")));
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), "does not match", "max_length");
}

Test(bad_input, a_training_split_of_another_size_cannot_be_continued) {
  tiny_train_ok("run", "--set train.epochs=1");
  tiny_synthesize("other", "impressions=40");
  EXPECT_EXIT(0, program_shell("rm -r %s && mv %s %s", tiny_path("data"), tiny_path("other"), tiny_path("data")));
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), "has 1920 samples", "was made with 1440");
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

static void expect_value_refused(const char *dataset, int64_t row, double value, const char *message) {
  char where[64];
  snprintf(where, sizeof where, "%s: row %lld: ", dataset, (long long)row);
  tiny_poke(TRAIN_PART, dataset, row, value);
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), TRAIN_PART, where, message);
  tiny_poke(TRAIN_PART, dataset, row, 1);
}

Test(bad_input, values_of_samples) {
  expect_value_refused("/samples/item_id", 7, 82, "id 82 is outside its vocabulary item (0 … 81)");
  expect_value_refused("/samples/item_id", 7, -1, "id -1 is outside its vocabulary");
  expect_value_refused("/samples/user_id", 1439, 2147483647, "id 2147483647 is outside its vocabulary");
  expect_value_refused("/samples/label", 3, 2, "the label is 2: expected 0 or 1");
  expect_value_refused("/samples/label", 3, NAN, "expected");
  expect_value_refused("/samples/label", 3, 0.5, "the label is 0.5: expected 0 or 1");
}

Test(bad_input, windows) {
  expect_value_refused("/samples/history/start", 100, 1e6, "the window starts at 1000000");
  expect_value_refused("/samples/history/start", 100, -1, "the window starts at -1");
  tiny_poke(TRAIN_PART, "/samples/history/length", 100, -1);
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), "/samples/history/start: row 100: ", "length -1");
}

/* An id of an event is seen by every sample whose window holds it. */
Test(bad_input, values_of_events) {
  tiny_poke(TRAIN_PART, "/events/history/item_id", 0, 99);
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), TRAIN_PART,
                 "/events/history/item_id: row 0: ", "id 99 is outside its vocabulary item (0 … 81)");
}

Test(bad_input, attributes) {
  tiny_poke("data/tables.h5", "/item/category", 5, 10);
  EXPECT_REFUSED(3, tiny_train("run", "%s", ""), "data/tables.h5",
                 "/item/category: row 5: ", "id 10, expected 0 to 9 (vocabulary category)");
}

Test(bad_input, attributes_that_are_not_finite) {
  tiny_write("convert.yaml", "convert: {name: priced, min_history: 0, negatives: 0, min_user_events: 1}\n"
                             "interactions: {file: log.tsv, user: user, item: item, time: time}\n"
                             "items: {file: items.tsv, key: item, columns: {price: {type: float}}}\n");
  tiny_write("log.tsv", "user\titem\ttime\nu\ta\t1\nu\tb\t2\nu\ta\t3\nu\tb\t4\nu\ta\t5\n");
  tiny_write("items.tsv", "item\tprice\na\t1.5\nb\t2.5\n");
  EXPECT_EXIT(0, program_run("convert %s --output %s", tiny_path("convert.yaml"), tiny_path("priced")));
  static const double values[] = {NAN, INFINITY, -INFINITY};
  for (int i = 0; i < 3; i++) {
    tiny_poke("priced/tables.h5", "/item/price", 2, values[i]);
    EXPECT_REFUSED(3, tiny_train("run", "--set data.path=%s --set data.valid=", tiny_path("priced")),
                   "priced/tables.h5", "/item/price: row 2", "finite");
  }
}

/* A wrong value deep in the validation split ends training with its place; what was trained before is kept. */
Test(bad_input, a_value_of_the_validation_split) {
  tiny_poke("data/valid/part-00000.h5", "/samples/label", 170, 3);
  EXPECT_REFUSED(3, tiny_train("run", "--set train.checkpoint_every=10"), "data/valid/part-00000.h5",
                 "/samples/label: row 170: the label is 3");
  cr_assert_eq(tiny_newest_step("run"), 20);
  tiny_poke("data/valid/part-00000.h5", "/samples/label", 170, 1);
  EXPECT_EXIT(0, tiny_train("run", "--set train.checkpoint_every=10"), "resumed from", "step 20");
}

Test(bad_input, empty_histories_train) {
  for (int64_t row = 0; row < 1440; row++) tiny_poke(TRAIN_PART, "/samples/history/length", row, 0);
  tiny_train_ok("run", "--set model.batch_norm=true");
  cr_assert(isfinite(tiny_last("run", "train", "loss")));
  EXPECT_EXIT(0, program_run("check %s", tiny_path("c.yaml")), "embedding.item");
}
