/* What the converter refuses: one message with file, line, value and what was expected, the right status, and neither the
 * output directory nor a temporary one left behind. */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "convert_fixture.h"
#include "fixture.h"

TestSuite(convert_bad, .init = converter_create, .fini = converter_remove);

#define GOOD_CONVERT "convert: {name: test, min_user_events: 1}\n"
#define GOOD_LOG "user\titem\ttime\nu1\ta\t1\nu1\tb\t2\n"

/* The conversion fails, and leaves the directory as it was. */
#define EXPECT_REFUSED(wanted, sets, ...)                                                                              \
  do {                                                                                                                 \
    char *names = converter_names();                                                                                   \
    EXPECT_ERROR(wanted, converter_run("out", sets), __VA_ARGS__);                                                     \
    converter_expect(converter_names(), names);                                                                        \
    cr_assert(!strchr(facet_error_get()->message, '\n'));                                                              \
    free(names);                                                                                                       \
  } while (0)

static void write_files(const char *config, const char *log, const char *items) {
  converter_write("config.yaml", config);
  converter_write("log.tsv", log);
  if (items) converter_write("items.tsv", items);
}

/* ---- configuration ------------------------------------------------------------------------------------------- */

static const struct {
  const char *config;
  const char *texts[3];
} configurations[] = {
    {"convert: {name: x, negativs: 2}\n" CONVERTER_LOG, {"config.yaml:1:", "\"negativs\"", "\"negatives\""}},
    {"convert: {name: x}\ninteraction: {}\n", {"config.yaml:2:", "\"interaction\"", "\"interactions\""}},
    {"convert: {name: x}\ninteractions: {file: log.tsv, usr: user}\n", {"config.yaml:2:", "\"usr\"", "\"user\""}},
    {"convert: {}\n" CONVERTER_LOG, {"config.yaml:1:", "name", ""}},
    {"convert: {name: x}\n", {"config.yaml", "interactions.file", ""}},
    {"convert: {name: x, negatives: -1}\n" CONVERTER_LOG, {"config.yaml:1:", "-1", "0"}},
    {"convert: {name: x, split: users}\n" CONVERTER_LOG, {"config.yaml:1:", "users", "user"}},
    {"convert: {name: x, valid_fraction: 0.5, test_fraction: 0.5}\n" CONVERTER_LOG, {"0.5", "nothing to train on", ""}},
};

Test(convert_bad, configurations) {
  for (size_t i = 0; i < sizeof configurations / sizeof *configurations; i++) {
    write_files(configurations[i].config, GOOD_LOG, NULL);
    EXPECT_REFUSED(FACET_ERROR_USAGE, "", configurations[i].texts[0], configurations[i].texts[1],
                   configurations[i].texts[2]);
  }
  cr_assert(unlink(converter_path("config.yaml")) == 0);
  EXPECT_REFUSED(FACET_ERROR_IO, "", "config.yaml", "No such file");
}

static const struct {
  const char *columns; /* of items */
  const char *texts[3];
} columns[] = {
    {"kind: {seperator: comma}", {"config.yaml:3:", "\"seperator\"", "\"separator\""}},
    {"kind: {type: double}", {"config.yaml:3:", "double", "float"}},
    {"kind: {bag: 0}", {"config.yaml:3:", "0", "1"}},
    {"user_id: {}", {"config.yaml:3:", "\"user_id\" is taken", ""}},
    {"kind: {vocabulary: item}", {"config.yaml:3:", "\"item\" is taken", ""}},
    {"kind: {vocabulary: ../kind}", {"config.yaml:3:", "\"../kind\"", "letters"}},
    {"\"a b\": {}", {"config.yaml:3:", "\"a b\"", "letters"}},
    {"null: {column: kind}", {"config.yaml:3:", "\"null\"", "letters"}},
    {"price: {type: float, separator: comma}", {"config.yaml:3:", "\"price\" is a float", ""}},
    {"price: {type: float, missing: none}", {"config.yaml", "price", "\"none\", expected a finite number"}},
    {"price: {type: float, missing: 1e39}", {"config.yaml", "price", "\"1e39\", expected a finite number"}},
    {"kind: {}, kind: {}", {"config.yaml:3:", "kind", ""}},
    {"kind: {width: 4}, kind2: {vocabulary: kind, width: 5, column: kind}", {"config.yaml", "kind2", "width"}},
    {"kind: {column: kin}", {"items.tsv has no column \"kin\"", "", ""}},
};

Test(convert_bad, attribute_columns) {
  for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
    char config[1024];
    snprintf(config, sizeof config, GOOD_CONVERT CONVERTER_LOG "items: {file: items.tsv, key: item, columns: {%s}}\n",
             columns[i].columns);
    write_files(config, GOOD_LOG, "item\tkind\tprice\na\tx\t1\nb\ty\t2\n");
    EXPECT_REFUSED(FACET_ERROR_USAGE, "", columns[i].texts[0], columns[i].texts[1], columns[i].texts[2]);
  }
}

Test(convert_bad, a_feature_of_users_and_of_items) {
  write_files(GOOD_CONVERT CONVERTER_LOG "users: {file: items.tsv, key: item, columns: {kind: {}}}\n"
                                         "items: {file: items.tsv, key: item, columns: {kind: {}}}\n",
              GOOD_LOG, "item\tkind\na\tx\n");
  EXPECT_REFUSED(FACET_ERROR_USAGE, "", "config.yaml", "\"kind\" is in users and in items");
}

Test(convert_bad, set_options) {
  write_files(GOOD_CONVERT CONVERTER_LOG, GOOD_LOG, NULL);
  EXPECT_REFUSED(FACET_ERROR_USAGE, "negativs=3", "--set", "\"negativs\"", "\"negatives\"");
  EXPECT_REFUSED(FACET_ERROR_USAGE, "negatives=many", "--set", "many", "integer");
  EXPECT_REFUSED(FACET_ERROR_USAGE, "negatives", "--set negatives", "key=value");
  EXPECT_REFUSED(FACET_ERROR_USAGE, "name=\"c:\\logs", "config.yaml", "the name \"\"c:\\logs\" must have");
  EXPECT_REFUSED(FACET_ERROR_USAGE, "name=null", "config.yaml", "the name \"null\" must have");
  EXPECT_REFUSED(FACET_ERROR_USAGE, "name=-", "config.yaml", "the name \"-\" must have");
  EXPECT_REFUSED(FACET_ERROR_USAGE, "interactions.file=x", "--set", "interactions.file");
}

/* ---- the log ------------------------------------------------------------------------------------------------- */

#define RATED "interactions: {file: log.tsv, user: user, item: item, time: time, rating: rating, rating_at_least: 3}\n"

static const struct {
  const char *rows; /* from line 2 */
  const char *texts[3];
} rows[] = {
    {"u1\ta\t1\t5\nu1\tb\t2\n", {"log.tsv:3: the number of fields is \"3\"", "expected 4 fields", ""}},
    {"u1\ta\t1\t5\t9\n", {"log.tsv:2: the number of fields is \"5\"", "expected 4 fields", ""}},
    {"u1\ta\t1\t5\n\nu1\tb\tnoon\t5\n", {"log.tsv:4: time is \"noon\"", "expected a time as a number", ""}},
    {"u1\ta\t\t5\n", {"log.tsv:2: time is \"\"", "expected a time as a number", ""}},
    {"u1\ta\tnan\t5\n", {"log.tsv:2: time is \"nan\"", "expected a time as a number", ""}},
    {"u1\ta\t1e30\t5\n", {"log.tsv:2: time is \"1e30\"", "expected a time as a number", ""}},
    {"u1\ta\t-1\t5\n", {"log.tsv:2: time is \"-1\"", "expected a time that is not negative", ""}},
    {"u1\ta\t1\tgood\n", {"log.tsv:2: rating is \"good\"", "expected a number", ""}},
    {"u1\ta\t1\tnan\n", {"log.tsv:2: rating is \"nan\"", "expected a number", ""}},
    {"u1\ta\t1\tinf\n", {"log.tsv:2: rating is \"inf\"", "expected a number", ""}},
    {"\ta\t1\t5\n", {"log.tsv:2: user is \"\"", "expected a user", ""}},
    {"u1\t\t1\t5\n", {"log.tsv:2: item is \"\"", "expected an item", ""}},
};

Test(convert_bad, rows_of_the_log) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char log[256];
    snprintf(log, sizeof log, "user\titem\ttime\trating\n%s", rows[i].rows);
    write_files(GOOD_CONVERT RATED, log, NULL);
    EXPECT_REFUSED(FACET_ERROR_DATA, "", rows[i].texts[0], rows[i].texts[1], rows[i].texts[2]);
    cr_assert(strstr(facet_error_get()->hint, "drop_bad_rows"));
  }
}

Test(convert_bad, bad_rows_can_be_dropped) {
  FILE *log = fopen(converter_path("log.tsv"), "w");
  fputs("user\titem\ttime\trating\nu1\ta\t1\t5\nu1\tb\t2\t5\n", log);
  for (size_t i = 1; i < sizeof rows / sizeof *rows; i++)
    fputs(rows[i].rows, log); /* the first ends in a bad row, too */
  fclose(log);
  converter_write("config.yaml", GOOD_CONVERT RATED);
  EXPECT_OK(converter_run("out", "drop_bad_rows=true negatives=0"));
  cr_assert(strstr(converter_report, " 11 dropped: fields missing or not readable"), "%s", converter_report);
}

Test(convert_bad, times_beyond_range_in_other_units) {
  write_files(GOOD_CONVERT "interactions: {file: log.tsv, user: user, item: item, time: time, time_unit: 1e9}\n",
              "user\titem\ttime\nu1\ta\t1e300\n", NULL);
  EXPECT_REFUSED(FACET_ERROR_DATA, "", "log.tsv:2: time is \"1e300\"", "expected a time as a number");
}

Test(convert_bad, logs_without_rows) {
  write_files(GOOD_CONVERT CONVERTER_LOG, "", NULL);
  EXPECT_REFUSED(FACET_ERROR_DATA, "", "log.tsv is empty; expected a header line");
  converter_write("log.tsv", "user\titem\ttime\n");
  EXPECT_REFUSED(FACET_ERROR_DATA, "", "log.tsv has no rows");
  cr_assert(unlink(converter_path("log.tsv")) == 0);
  EXPECT_REFUSED(FACET_ERROR_IO, "", "cannot open", "log.tsv", "No such file");
}

Test(convert_bad, logs_without_a_training_sample) {
  write_files(GOOD_CONVERT CONVERTER_LOG, GOOD_LOG, NULL);
  EXPECT_REFUSED(FACET_ERROR_DATA, "min_user_events=3", "no user of log.tsv has the 3 positive interactions",
                 "convert.min_user_events");
  EXPECT_REFUSED(FACET_ERROR_DATA, "min_history=2", "log.tsv gives no training sample", "2 events");
  write_files(GOOD_CONVERT RATED, "user\titem\ttime\trating\nu1\ta\t1\t2\nu1\tb\t2\t1\n", NULL);
  EXPECT_REFUSED(FACET_ERROR_DATA, "", "no user of log.tsv has the 1 positive interactions");
}

Test(convert_bad, columns_of_the_log) {
  write_files(GOOD_CONVERT "interactions: {file: log.tsv, user: user, item: item, time: tim}\n", GOOD_LOG, NULL);
  EXPECT_REFUSED(FACET_ERROR_USAGE, "", "log.tsv has no column \"tim\" in its header");
  cr_assert(strstr(facet_error_get()->hint, "\"time\""));
  write_files(GOOD_CONVERT "interactions: {file: log.tsv, header: false, user: '1', item: '2', time: '4'}\n", GOOD_LOG,
              NULL);
  EXPECT_REFUSED(FACET_ERROR_USAGE, "", "column \"4\" of", "log.tsv", "expected a number from 1 to 3");
}

/* A line of 2 MiB in one field. */
static void write_long_token(const char *name, const char *before, const char *after) {
  FILE *file = fopen(converter_path(name), "w");
  fputs(before, file);
  for (int i = 0; i < 2 << 20; i++) fputc('x', file);
  fputs(after, file);
  fclose(file);
}

Test(convert_bad, tokens_that_are_too_long) {
  write_files(GOOD_CONVERT CONVERTER_LOG "items: {file: items.tsv, key: item, columns: {kind: {}}}\n", GOOD_LOG, "");
  write_long_token("items.tsv", "item\tkind\nb\ty\na\t", "\n");
  EXPECT_REFUSED(FACET_ERROR_DATA, "", "items.tsv:3: vocabulary kind: a token of 2097152 bytes",
                 "expected at most 1048576");
  write_long_token("log.tsv", "user\titem\ttime\nu1\ta\t1\nu1\t", "\t2\n");
  EXPECT_REFUSED(FACET_ERROR_DATA, "", "log.tsv:3: ", "item", "a token of 2097152 bytes", "expected at most 1048576");
}

/* ---- attributes ---------------------------------------------------------------------------------------------- */

static const struct {
  const char *rows; /* of items.tsv, from line 2 */
  const char *texts[2];
} items[] = {
    {"a\t1\nb\tnan\n", {"items.tsv:3: price is \"nan\"", "expected a finite number"}},
    {"a\t1\nb\t-inf\n", {"items.tsv:3: price is \"-inf\"", "expected a finite number"}},
    {"a\t1e39\nb\t2\n", {"items.tsv:2: price is \"1e39\"", "expected a finite number"}}, /* beyond float32 */
    {"a\tcheap\nb\t2\n", {"items.tsv:2: price is \"cheap\"", "expected a finite number"}},
    {"a\t\nb\t2\n", {"items.tsv:2: price is \"\"", "`missing` gives a value to empty fields"}},
    {"a\t1\n", {"items.tsv has no row for item \"b\"", "`missing` gives column price no value"}},
    {"a\t1\t2\nb\t2\n", {"items.tsv:2: 3 fields, expected 2", ""}},
};

Test(convert_bad, rows_of_attributes) {
  for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
    char text[256];
    snprintf(text, sizeof text, "item\tprice\n%s", items[i].rows);
    write_files(GOOD_CONVERT CONVERTER_LOG "items: {file: items.tsv, key: item, columns: {price: {type: float}}}\n",
                GOOD_LOG, text);
    EXPECT_REFUSED(FACET_ERROR_DATA, "", items[i].texts[0], items[i].texts[1]);
  }
}

Test(convert_bad, files_of_attributes) {
  write_files(GOOD_CONVERT CONVERTER_LOG "items: {file: items.tsv, key: itm, columns: {price: {type: float}}}\n",
              GOOD_LOG, "item\tprice\na\t1\nb\t2\n");
  EXPECT_REFUSED(FACET_ERROR_USAGE, "", "items.tsv has no column \"itm\"");
  converter_write("items.tsv", "");
  EXPECT_REFUSED(FACET_ERROR_DATA, "", "items.tsv is empty");
  cr_assert(unlink(converter_path("items.tsv")) == 0);
  EXPECT_REFUSED(FACET_ERROR_IO, "", "cannot open", "items.tsv");
}

/* ---- output -------------------------------------------------------------------------------------------------- */

Test(convert_bad, output_that_exists) {
  write_files(GOOD_CONVERT CONVERTER_LOG, GOOD_LOG, NULL);
  EXPECT_OK(facet_directory_create(converter_path("out")));
  converter_write("out/mine", "kept");
  EXPECT_REFUSED(FACET_ERROR_USAGE, "", "/out exists and is not an empty directory");
  cr_assert(facet_file_exists(converter_path("out/mine")));
  EXPECT_ERROR(FACET_ERROR_USAGE, converter_run("log.tsv", ""), "/log.tsv exists and is not an empty directory");
  cr_assert(facet_file_exists(converter_path("log.tsv")));
}

Test(convert_bad, output_that_cannot_be_made) {
  write_files(GOOD_CONVERT CONVERTER_LOG, GOOD_LOG, NULL);
  EXPECT_ERROR(FACET_ERROR_IO, converter_run("log.tsv/out", ""), "cannot create directory", "/log.tsv: File exists");
  converter_expect(converter_names(), "config.yaml log.tsv");
}

static void write_large_log(void) {
  FILE *log = fopen(converter_path("log.tsv"), "w");
  fputs("user\titem\ttime\n", log);
  for (int i = 0; i < 40000; i++) fprintf(log, "%d\t%d\t%d\n", i % 1000, i % 777, i);
  fclose(log);
}

Test(convert_bad, a_disk_that_is_full) {
  write_files(GOOD_CONVERT CONVERTER_LOG, "", NULL);
  write_large_log();
  signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files stands for the full disk */
  const struct rlimit limit = {.rlim_cur = 400000, .rlim_max = RLIM_INFINITY};
  cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  EXPECT_REFUSED(FACET_ERROR_IO, "memory_mb=1", "cannot write a sorted run", "File too large");
  EXPECT_REFUSED(FACET_ERROR_IO, "", "cannot write", "train/part-00000.h5", "File too large");
}

Test(convert_bad, no_directory_to_spill_to) {
  write_files(GOOD_CONVERT CONVERTER_LOG, "", NULL);
  write_large_log();
  setenv("TMPDIR", converter_path("none"), 1);
  EXPECT_REFUSED(FACET_ERROR_IO, "memory_mb=1", "cannot create a temporary file in", "/none");
}
