/* facet inspect: what it prints of every kind of file and directory. */
#include <sys/stat.h>

#include "cli/inspect_fixture.h"
#include "train/checkpoint_internal.h"

TestSuite(cli_inspect, .init = inspect_create, .fini = inspect_remove);

/* ---- the six samples of the small data set ----------------------------------------------------------------------- */

Test(cli_inspect, shard) {
  write_small();
  EXPECT_EXIT(0, program_run("inspect %s", path_of("small/train/part-00000.h5")),
              "\nlayout       contiguous, read through HDF5\n" /* too small to be aligned */,
              "\nsamples      6\nevents       7\nlabels       3 positive, mean 0.5000\n",
              "\ntime         1970-01-01 00:01:40 to 1970-01-01 00:10:00 UTC\n",
              "\nsequence  events  limit  shortest  mean  p50  p99  longest  empty\n"
              "history        7      4         0   2.0    2    4        4      1\n",
              "\n/samples/vector               float32  [6, 3]   72 B\n",
              "\n/samples/tags/values          int32    [6]      24 B  genre\n",
              "\n/samples/zip                  int32    [6]      24 B  zip\n",
              "\n/events/history/time          int64    [7]      56 B\n");
  char size[64];
  struct stat info;
  cr_assert(stat(path_of("small/train/part-00000.h5"), &info) == 0);
  snprintf(size, sizeof size, "\nsize         %s\n", facet_format_bytes((double)info.st_size));
  cr_assert(strstr(program_output, size), "%s", program_output);
  EXPECT_EXIT(0, program_run("inspect %s", path_of("small/train/part-00001.h5")), "\nlayout       chunked, ",
              "times smaller by compression\n", "\nlabels       2 positive, mean 0.3333\n");
}

Test(cli_inspect, rows_of_a_shard) {
  write_small();
  EXPECT_EXIT(0, program_run("inspect %s --rows 3", path_of("small/train/part-00000.h5")),
              "\nrow 0\n"
              "  label                  1\n"
              "  weight                 1\n"
              "  time                   1970-01-01 00:01:40\n"
              "  user_id                2\n" /* there is no vocab/user.h5 */
              "  item_id                2 \"plain\"\n"
              "  category (by item_id)  2\n"
              "  genres (by item_id)    [2]\n"
              "  image (by item_id)     [1, 2]\n"
              "  zip                    2\n"
              "  tags                   []\n"
              "  vector                 [0, 1, 2]\n"
              "  history                0 events\n",
              "  tags                   [3, 4]\n", "  weight                 0.5\n",
              "  history                2 events:\n"
              "             item_id    price  time                 tags  category (by item_id)\n"
              "    event 0  2 \"plain\"  0.5    1970-01-01 00:00:10  [2]   2\n"
              "    event 1  3 \"caf\xc3\xa9\"   1.5    1970-01-01 00:00:20  []    3\n");
  cr_assert(!strstr(program_output, "row 3"));
}

/* Bytes that would move the cursor are shown as numbers; a long token is cut at a character. */
Test(cli_inspect, tokens_of_any_bytes) {
  write_small();
  EXPECT_EXIT(
      0, program_run("inspect %s", path_of("small/vocab/item.h5")), "\nname         item\n",
      "\nids          7: padding, unknown and 5 tokens\n",
      "\n2  \"plain\"\n3  \"caf\xc3\xa9\"\n4  \"\\xFF\\x00\\x1B[2J\\xC2\\x9B\"\n5  \"quo\\\"te\\\\\"\n6  \"0123456789",
      "89012345678\"…\n");
  EXPECT_EXIT(0, program_run("inspect %s --rows 1", path_of("small/vocab/item.h5")), "\n\n2  \"plain\"\n");
  cr_assert(!strstr(program_output, "\n3  "));
}

Test(cli_inspect, tables) {
  write_small();
  EXPECT_EXIT(0, program_run("inspect %s --rows 2", path_of("small/tables.h5")),
              "\ntable  column    type     rows  values a row  filled  read by\n"
              "item   category  int32       7             1  85.7 %  category, history.category\n"
              "item   genres    int32       7       up to 3  57.1 %  genres\n"
              "item   image     float32     7             2  71.4 %  image\n",
              "\ntable item\n"
              "  id  token    category  genres  image\n"
              "   2  \"plain\"  2         [2]     [1, 2]\n"
              "   3  \"caf\xc3\xa9\"   3         [3, 4]  [3, 4]\n");
}

Test(cli_inspect, tables_without_a_schema) {
  write_small();
  cr_assert(rename(path_of("small/tables.h5"), path_of("alone.h5")) == 0);
  EXPECT_EXIT(0, program_run("inspect %s --rows 1", path_of("alone.h5")), "\nschema       missing",
              "\nitem   genres    int32       7       up to 3  57.1 %\n", "  id  category  genres  image\n   2  2 ");
  EXPECT_EXIT(3, program_run("inspect %s --verify", path_of("alone.h5")), "cannot be verified without a schema");
}

Test(cli_inspect, data_set) {
  write_small();
  EXPECT_EXIT(0, program_run("inspect %s/ --rows 7", path_of("small")),
              "\nschema       small: 16 features, 1 sequence\n", "\nlabel             label      float\n",
              "\ngenres            item       id     genre         5      4  item_id            3  mean\n",
              "\ntags              context    id     genre         5      4                     2  sum\n",
              "\nzip               context    id     zip         100      4\n",
              "\nvector            context    float                                                              3\n",
              "\nsplit  parts  samples  positives   share     size  first (UTC)          last (UTC)\n"
              "train      2       12          5  41.7 %",
              "  1970-01-01 00:01:40  1970-01-01 00:10:00\n",
              "\nsplit  sequence  events  limit  shortest  mean  p50  p99  longest  empty\n"
              "train  history       14      4         0   2.0    2    4        4      2\n",
              "\nfirst rows of train\n", "\nrow 6\n"); /* of the second part */
  cr_assert(!strstr(program_output, "row 7"));
}

/* ---- a synthetic data set and a run on it ------------------------------------------------------------------------ */

/* "1,234" for numbers below a million. */
static const char *grouped(long long n) {
  static char text[2][16];
  static int next;
  char *to = text[next++ % 2];
  snprintf(to, 16, n < 1000 ? "%.0lld%lld" : "%lld,%03lld", n / 1000, n % 1000);
  return to;
}

/* Counts of a split by the library's own reader. */
static void expect_split(const char *directory, const char *split) {
  facet_dataset *d;
  char row[128];
  int64_t n_positives = 0;
  EXPECT_OK(facet_dataset_open(directory, split, &d));
  for (int p = 0; p < facet_dataset_n_parts(d); p++) {
    facet_shard *shard = facet_dataset_part(d, p);
    for (int64_t i = 0; i < facet_shard_n_samples(shard); i++) {
      float label;
      EXPECT_OK(facet_column_read_float(facet_shard_values(shard, facet_dataset_schema(d)->label), i, 1, &label));
      n_positives += label == 1;
    }
  }
  snprintf(row, sizeof row, "\n%-5s  %5d  %7s  %9s  ", split, facet_dataset_n_parts(d),
           grouped(facet_dataset_n_samples(d)), grouped(n_positives));
  cr_assert(strstr(program_output, row), "\"%s\" is not in:\n%s", row, program_output);
  facet_dataset_close(&d);
}

Test(cli_inspect, synthetic_data_set) {
  synthesize("--set impressions=30 --set part_samples=5000 --set compress=true");
  EXPECT_EXIT(0, program_run("inspect %s --verify", path_of("data")),
              "ok           schema.yaml              10 features, 1 sequence\n",
              "\nok           vocab/item.h5            500 tokens\n",
              "\nok           tables.h5                the columns of 2 joined features\n",
              "\nok           train/part-00001.h5      ", "\nok           test/part-00000.h5       1,200 samples\n",
              "\nverified     11 files, no fault\n", "\nuser_id           user       id     user        402      8\n",
              "\nhistory.category  behaviour  id     category     10      8  history.item_id\n",
              "\ntruth.json\nsplit                \"test\"\nsamples              1,200\n",
              "\nbest_auc             0.8");
  expect_split(path_of("data"), "train");
  expect_split(path_of("data"), "valid");
  const char *train = strstr(program_output, "\ntrain "), *valid = strstr(program_output, "\nvalid ");
  cr_assert(train && train < valid && valid < strstr(program_output, "\ntest "));
  EXPECT_EXIT(0, program_run("inspect %s --split valid --rows 1", path_of("data")), "\nfirst rows of valid\n",
              "  user_id                2 \"u0\"\n", "  history                18 events, the newest 5:\n",
              "\n    event 13  ", "\n    event 17  ");
  cr_assert(!strstr(program_output, "\n    event 12  ") && !strstr(program_output, "\n    event 18  "));
  cr_assert(!strstr(program_output, "\ntrain ") && !strstr(program_output, "\ntest "));
}

Test(cli_inspect, checkpoint_and_run) {
  train();
  EXPECT_OK(checkpoint_write_manifest(path_of("run/checkpoints/step-00000003"), 1234.5)); /* seconds of training */
  EXPECT_EXIT(0, program_run("inspect %s --verify", path_of("run/checkpoints/step-00000003")),
              "verified     sizes and checksums of all files\n\ncheckpoint   ",
              "\nmodel        mean_pooling, written by facet " FACET_VERSION "\n",
              "\nstep         3: 0 epochs completed, 192 samples in all\n",
              "\nposition     192 of 960 samples of the epoch under way\n", "\nbest         auc 0.",
              "\ntraining     finished after 1234.5 s\n", "\noptimizer    m, v of every parameter\n",
              "\nmlp.0.weight  [56, 8]      448\n",
              "\nembedding.item       502      8    4,016  m [502, 8], v [502, 8]\n", "\nitem        502  ");
  EXPECT_EXIT(0, program_run("inspect %s", path_of("run/checkpoints/step-00000003/model.h5")), "\nstep         3: ");
  EXPECT_EXIT(0, program_run("inspect %s --verify", path_of("run")),
              "ok           step-00000000            sizes and checksums agree\n"
              "ok           step-00000003            sizes and checksums agree\n"
              "verified     2 checkpoints, no fault\n",
              "\nmodel        mean_pooling\n",
              "\nstatus       finished at step 3, after 1234.5 s of training; no live run\n", "\nbest         auc 0.",
              "\nstep-00000003     3       0      192     0.", "  newest, best\n",
              "\nstep-00000000     0       0        0         none  ");
  facet_lock lock;
  char holder[96];
  EXPECT_OK(facet_lock_acquire(path_of("run/.lock"), &lock));
  snprintf(holder, sizeof holder, "\nstatus       in use by a live run: process %ld on host ", (long)getpid());
  EXPECT_EXIT(0, program_run("inspect %s", path_of("run")), holder);
  facet_lock_release(&lock);
  cr_assert(unlink(path_of("run/checkpoints/step-00000003/manifest.json")) == 0);
  EXPECT_EXIT(0, program_run("inspect %s", path_of("run/checkpoints/step-00000003")), "\ntraining     finished\n");
}

/* ---- usage ------------------------------------------------------------------------------------------------------- */

Test(cli_inspect, shard_without_a_schema) {
  write_small();
  cr_assert(unlink(path_of("small/schema.yaml")) == 0);
  const char *part = path_of("small/train/part-00000.h5");
  EXPECT_EXIT(0, program_run("inspect %s", part), "\nschema       missing: there is no ", "small/schema.yaml",
              "\nsamples      6\n", "\n/events/history/tags/offsets  int64    [8]        64 B\n");
  EXPECT_EXIT(3, program_run("inspect %s --verify", part), "cannot be verified without a schema: there is no ",
              "small/schema.yaml");
  EXPECT_EXIT(3, program_run("inspect %s --rows 1", part), "cannot print rows without a schema");
}

Test(cli_inspect, what_is_no_known_kind) {
  static const char expected[] = "expected a shard, tables.h5, a vocabulary file, or the directory of";
  hid_t file;
  EXPECT_EXIT(4, program_run("inspect %s", path_of("none")), "cannot open ", "/none: No such file or directory");
  EXPECT_EXIT(3, program_run("inspect %s", path_of("")), "holds none of schema.yaml, manifest.json and checkpoints/",
              expected);
  EXPECT_EXIT(3, program_run("inspect /dev/null"), "neither a file nor a directory", expected);
  EXPECT_OK(facet_file_write(path_of("text"), "text", 4));
  EXPECT_EXIT(3, program_run("inspect %s", path_of("text")), "/text: not a readable HDF5 file", expected);
  EXPECT_OK(facet_hdf5_create(path_of("foreign.h5"), &file));
  EXPECT_OK(facet_hdf5_close(&file));
  EXPECT_EXIT(3, program_run("inspect %s", path_of("foreign.h5")), "attribute facet_format is missing", expected);
  EXPECT_OK(facet_hdf5_create(path_of("foreign.h5"), &file));
  EXPECT_OK(facet_hdf5_set_format(file, "recipe", 1));
  EXPECT_OK(facet_hdf5_close(&file));
  EXPECT_EXIT(3, program_run("inspect %s", path_of("foreign.h5")), "attribute facet_format is recipe", expected);
}

Test(cli_inspect, arguments_that_do_not_fit_the_kind) {
  write_small();
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints")));
  EXPECT_EXIT(2, program_run("inspect"), "PATH");
  EXPECT_EXIT(2, program_run("inspect %s --rows 0", path_of("small")), "--rows", "at least 1");
  EXPECT_EXIT(2, program_run("inspect %s --rows 1", path_of("run")), "--rows: ", "is a run, which has no rows");
  EXPECT_EXIT(2, program_run("inspect %s --split train", path_of("small/tables.h5")),
              "--split: ", "is attribute tables, expected a data set");
  EXPECT_EXIT(3, program_run("inspect %s --split test", path_of("small")), "/small/test: there is no such directory");
}

Test(cli_inspect, a_reader_that_leaves) {
  write_small();
  EXPECT_EXIT(0, program_shell("$FACET inspect %s --rows 12 | head -n 1", path_of("small")));
  EXPECT_EXIT(4, program_run("inspect %s >/dev/full", path_of("small")), "cannot write to standard output");
}
