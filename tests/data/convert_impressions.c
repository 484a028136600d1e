/* Conversion of logs of impressions: every item shown is a sample, with the history that its row or user has. */
#include <stdio.h>

#include "convert_fixture.h"
#include "fixture.h"

TestSuite(convert_impressions, .init = converter_create, .fini = converter_remove);

/* Columns of log.tsv: id, user, time, history, shown. */
#define ROWS "impressions: {file: log.tsv, header: false, impression: \"1\", user: \"2\", time: \"3\", shown: \"5\"}\n"
#define OWN_HISTORY "history: {items: \"4\"}\n"

static void write_config(const char *options, const char *sections) {
  char text[2048];
  snprintf(text, sizeof text, "convert: {name: test, min_history: 0%s}\n%s", options, sections);
  converter_write("config.yaml", text);
}

static void expect_report(const char *line) {
  cr_assert(strstr(converter_report, line), "\"%s\" is not in:\n%s", line, converter_report);
}

/* ---- samples and windows ------------------------------------------------------------------------------------- */

Test(convert_impressions, every_item_shown_is_a_sample_with_its_label) {
  write_config(", max_length: 3", ROWS OWN_HISTORY);
  converter_write("log.tsv", "7\tu2\t50\ta b c d\tx-0 y-1 a-0\n"
                             "8\tu1\t60\t\tx-1\n"
                             "9\tu2\t40\tb c\tx-0 z-0\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u2 x=0 #9 @40: b c\n"
                                                      "u2 z=0 #9 @40: b c\n"
                                                      "u2 x=0 #7 @50: b c d\n"
                                                      "u2 y=1 #7 @50: b c d\n"
                                                      "u2 a=0 #7 @50: b c d\n"
                                                      "u1 x=1 #8 @60:\n");
  converter_expect(converter_tokens("out", "user"), "u2 u1");         /* as they appear in the log */
  converter_expect(converter_tokens("out", "item"), "x y a b c d z"); /* what is shown before the history */
  expect_report("3 read from log.tsv\n             3 kept as impressions\n");
  expect_report("train               6 samples, 2 positive, 3 history events, 1 part"); /* b c, then d */
}

Test(convert_impressions, histories_that_agree_are_stored_once) {
  write_config(", max_length: 3, split: time, valid_fraction: 0, test_fraction: 0", ROWS OWN_HISTORY);
  converter_write("log.tsv", "1\tu1\t1\ta b c\tx-0\n"
                             "2\tu1\t2\ta b c\tx-0\n"   /* the same */
                             "3\tu1\t3\tb c a b\tx-0\n" /* its last three share one event with a b c */
                             "4\tu1\t4\ta b\tx-0\n"     /* the end of c a b */
                             "5\tu1\t5\t\tx-0\n"
                             "6\tu1\t6\tb a\tx-0\n"
                             "7\tu2\t6\tb a\tx-0\n"); /* another user's */
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 x=0 #1 @1: a b c\nu1 x=0 #2 @2: a b c\n"
                                                      "u1 x=0 #3 @3: c a b\nu1 x=0 #4 @4: a b\n"
                                                      "u1 x=0 #5 @5:\nu1 x=0 #6 @6: b a\nu2 x=0 #7 @6: b a\n");
  expect_report("7 samples, 0 positive, 9 history events"); /* a b c, then a b, b a, b a */
}

Test(convert_impressions, users_stay_in_one_part) {
  write_config(", part_samples: 3", ROWS OWN_HISTORY);
  converter_write("log.tsv", "1\tu1\t1\ta\tx-0 y-1\n2\tu2\t2\ta\tx-0 y-1\n"
                             "3\tu1\t3\ta b\tx-0 y-1\n4\tu3\t4\tb\tx-0\n5\tu2\t5\ta\tx-0\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 x=0 #1 @1: a\nu1 y=1 #1 @1: a\n"
                                                      "u1 x=0 #3 @3: a b\nu1 y=1 #3 @3: a b\n--\n"
                                                      "u2 x=0 #2 @2: a\nu2 y=1 #2 @2: a\nu2 x=0 #5 @5: a\n--\n"
                                                      "u3 x=0 #4 @4: b\n");
}

Test(convert_impressions, groups_are_impressions_or_users) {
  const char *log = "n\tuser\ttime\tpast\tlist\nx\tu1\t1\ta\tx-0\nx\tu1\t2\ta\ty-0\n";
  converter_write("log.tsv", log);
  write_config("", "impressions: {file: log.tsv, user: user, time: time, shown: list}\nhistory: {items: past}\n");
  EXPECT_OK(converter_run("rows", "")); /* without ids the rows are numbered */
  converter_expect(converter_samples("rows", "train"), "u1 x=0 #0 @1: a\nu1 y=0 #1 @2: a\n");
  write_config("", "impressions: {file: log.tsv, user: user, time: time, shown: list, group: user}\n"
                   "history: {items: past}\n");
  EXPECT_OK(converter_run("users", ""));
  converter_expect(converter_samples("users", "train"), "u1 x=0 @1: a\nu1 y=0 @2: a\n");
}

Test(convert_impressions, rows_that_show_nothing_and_items_shown_twice) {
  write_config("", ROWS OWN_HISTORY);
  converter_write("log.tsv", "1\tu1\t1\ta\t\n2\tu1\t2\ta  b \t x-0  y-0 x-1 y-0\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 x=1 #2 @2: a b\nu1 y=0 #2 @2: a b\n");
  expect_report("1 kept as impressions\n             1 dropped: nothing was shown\n");
  expect_report("2 items were shown again in their impression");
  EXPECT_OK(converter_run("all", "keep_duplicates=true"));
  converter_expect(converter_samples("all", "train"), "u1 x=0 #2 @2: a b\nu1 y=0 #2 @2: a b\n"
                                                      "u1 x=1 #2 @2: a b\nu1 y=0 #2 @2: a b\n");
}

Test(convert_impressions, short_histories_can_be_left_out) {
  write_config("", ROWS OWN_HISTORY);
  converter_write("log.tsv", "1\tu1\t1\ta b\tx-0\n2\tu2\t2\tc\ty-0\n3\tu3\t3\t\tz-0\n");
  EXPECT_OK(converter_run("out", "min_history=2"));
  converter_expect(converter_samples("out", "train"), "u1 x=0 #1 @1: a b\n");
  converter_expect(converter_tokens("out", "item"), "x a b"); /* of the samples that are left */
  expect_report("1 kept as impressions\n             2 dropped: fewer than 2 events before them");
}

/* ---- other forms of the lists -------------------------------------------------------------------------------- */

Test(convert_impressions, clicks_in_a_list_of_their_own) {
  write_config(", split: time, valid_fraction: 0, test_fraction: 0",
               "impressions: {file: log.csv, separator: semicolon, list_separator: comma, user: user, time: time,\n"
               "              shown: inview, clicked: clicked}\n"
               "history: {items: past, list_separator: \"|\"}\n");
  converter_write("log.csv", "user;time;past;inview;clicked\n"
                             "u1;1;a|b;x-0,y,z;z,x-0\n" /* an item may look as if it had a label */
                             "u1;2;a|b;x-0,y;\n"
                             "u1;3;a|b;y,x,y;y,y\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 x-0=1 #0 @1: a b\nu1 y=0 #0 @1: a b\nu1 z=1 #0 @1: a b\n"
                                                      "u1 x-0=0 #1 @2: a b\nu1 y=0 #1 @2: a b\n"
                                                      "u1 y=1 #2 @3: a b\nu1 x=0 #2 @3: a b\n");
}

Test(convert_impressions, labels_follow_the_last_separator) {
  write_config("", "impressions: {file: log.tsv, user: user, time: time, shown: list, list_separator: comma,\n"
                   "              label_separator: \"::\"}\n"
                   "history: {items: past}\n");
  converter_write("log.tsv", "user\ttime\tpast\tlist\nu1\t1\ta\tx::0::1,::::0\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 x::0=1 #0 @1: a\nu1 ::=0 #0 @1: a\n");
}

Test(convert_impressions, times_in_text) {
  static const struct {
    const char *format, *time;
    long long seconds;
  } times[] = {
      {"%m/%d/%Y %I:%M:%S %p", "11/11/2019 9:05:58 AM", 1573463158},
      {"%m/%d/%Y %I:%M:%S %p", "11/11/2019 12:05:58 PM", 1573473958},
      {"%Y-%m-%d %H:%M:%S", "2019-11-11 09:05:58.75", 1573463158}, /* a fraction is cut */
      {"%Y-%m-%dT%H:%M:%S%z", "2019-11-11T09:05:58+0200", 1573455958},
      {"%Y-%m-%d", "2020-02-29", 1582934400},
      {"", "1573463158.75", 1573463158},
  };
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    char sections[512], log[128], expected[64], name[16];
    snprintf(sections, sizeof sections,
             "impressions: {file: log.tsv, user: user, time: time, shown: list,\n"
             "              time_format: \"%s\"}\nhistory: {items: past}\n",
             times[i].format);
    write_config("", sections);
    snprintf(log, sizeof log, "user\ttime\tpast\tlist\nu1\t%s\ta\tx-0\n", times[i].time);
    converter_write("log.tsv", log);
    snprintf(name, sizeof name, "out%d", (int)i);
    EXPECT_OK(converter_run(name, ""));
    snprintf(expected, sizeof expected, "u1 x=0 #0 @%lld: a\n", times[i].seconds);
    converter_expect(converter_samples(name, "train"), expected);
  }
}

/* ---- columns --------------------------------------------------------------------------------------------------- */

Test(convert_impressions, context_and_attributes) {
  write_config(", hour: true", "impressions: {file: log.tsv, user: user, time: time, shown: list,\n"
                               "              columns: {device: {}, age: {type: float, missing: -1}}}\n"
                               "history: {items: past}\n"
                               "items: {file: items.tsv, key: item, columns: {kind: {}}}\n");
  converter_write("log.tsv", "user\ttime\tpast\tlist\tdevice\tage\n"
                             "u1\t3600\ta\tx-0 y-1\tphone\t0.5\nu1\t7200\ta\tx-0\t\t\n");
  converter_write("items.tsv", "item\tkind\nx\tnew\na\told\nother\told\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 x=0 #0 @3600 device=phone age=0.5 hour=1: a\n"
                                                      "u1 y=1 #0 @3600 device=phone age=0.5 hour=1: a\n"
                                                      "u1 x=0 #1 @7200 device=<unknown> age=-1 hour=2: a\n");
  converter_expect(converter_column("out", "kind"), "<unknown>=<unknown>\nx=new\ny=<unknown>\na=old\n");
  converter_expect(converter_column("out", "history.kind"), "<unknown>=<unknown>\nx=new\ny=<unknown>\na=old\n");
  expect_report("item attributes: 2 of 3 items have a row in items.tsv; 1 rows of others");
}

Test(convert_impressions, values_outside_the_training_split_are_unknown) {
  write_config("", "impressions: {file: train.tsv, valid_file: valid.tsv, user: user, time: time, shown: list,\n"
                   "              columns: {device: {}}}\n"
                   "history: {items: past, columns: {way: {}}}\n");
  converter_write("train.tsv", "user\ttime\tpast\tway\tlist\tdevice\nu1\t9\ta b\tw v\tx-0\tphone\n");
  converter_write("valid.tsv",
                  "user\ttime\tpast\tway\tlist\tdevice\nu1\t1\tb x\tv w\tx-1\ttv\nu2\t1\tc\tnew\tz-0\tphone\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 x=0 #0 @9 device=phone: a/w b/v\n");
  converter_expect(converter_samples("out", "valid"),
                   "u1 x=1 #1 @1 device=<unknown>: b/v x/w\n"
                   "<unknown> <unknown>=0 #2 @1 device=phone: <unknown>/<unknown>\n");
  converter_expect(converter_tokens("out", "item"), "x a b");
  converter_expect(converter_tokens("out", "way"), "w v");
  converter_expect(converter_tokens("out", "device"), "phone");
  expect_report("1 samples have an unknown user and 1 an unknown item");
  expect_report("3 read from train.tsv, valid.tsv");
}

/* ---- splits ---------------------------------------------------------------------------------------------------- */

Test(convert_impressions, splits_by_user_and_by_time) {
  write_config("", ROWS OWN_HISTORY);
  converter_write("log.tsv",
                  "1\tu1\t9\ta\tx-0\n2\tu1\t5\ta\ty-0\n3\tu1\t7\ta\tz-0\n4\tu2\t8\ta\tx-0\n5\tu2\t6\ta\ty-0\n");
  EXPECT_OK(converter_run("user", ""));
  converter_expect(converter_samples("user", "train"), "u1 y=0 #2 @5: a\nu2 y=0 #5 @6: a\nu2 x=0 #4 @8: a\n");
  converter_expect(converter_samples("user", "valid"), "u1 <unknown>=0 #3 @7: a\n");
  converter_expect(converter_samples("user", "test"), "u1 x=0 #1 @9: a\n");
  EXPECT_OK(converter_run("time", "split=time valid_fraction=0.4 test_fraction=0.2"));
  converter_expect(converter_samples("time", "train"), "u1 y=0 #2 @5: a\nu2 y=0 #5 @6: a\n");
  converter_expect(converter_samples("time", "valid"), "u1 <unknown>=0 #3 @7: a\nu2 <unknown>=0 #4 @8: a\n");
  converter_expect(converter_samples("time", "test"), "u1 <unknown>=0 #1 @9: a\n");
}

/* ---- histories in a file of their own ---------------------------------------------------------------------------- */

#define OWN_FILE                                                                                                       \
  "impressions: {file: log.tsv, valid_file: later.tsv, user: user, time: time, shown: list}\n"                         \
  "history: {file: past.tsv, valid_file: more.tsv, key: who, items: what, time: when, columns: {read: {type: "         \
  "float}}}\n"

Test(convert_impressions, histories_of_a_file_by_user) {
  write_config(", max_length: 3", OWN_FILE);
  converter_write("log.tsv", "user\ttime\tlist\nu1\t30\tx-0 y-1\nu2\t100\tx-0\nu1\t100\ty-1\n");
  converter_write("later.tsv", "user\ttime\tlist\nu1\t100\tx-1\nu2\t100\ty-0\n");
  converter_write("past.tsv", "who\twhat\twhen\tread\n"
                              "u1\ta b c d\t10 30 20 40\t.1 .3 .2 .4\n" /* not in order */
                              "u3\tq\t1\t7\n"                           /* shows up nowhere */
                              "u1\tz\t1\t0\n");                         /* again */
  converter_write("more.tsv", "who\twhat\twhen\tread\nu2\tb\t99\t1\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 x=0 #0 @30: a/0.1@10 c/0.2@20\n" /* b is not before 30 */
                                                      "u1 y=1 #0 @30: a/0.1@10 c/0.2@20\n"
                                                      "u1 y=1 #2 @100: c/0.2@20 b/0.3@30 d/0.4@40\n"
                                                      "u2 x=0 #1 @100:\n");
  converter_expect(converter_samples("out", "valid"), "u1 x=1 #3 @100:\nu2 y=0 #4 @100: b/1@99\n");
  converter_expect(converter_tokens("out", "item"), "a b c d x y"); /* as they appear, the histories first */
  expect_report("histories: 3 rows read from past.tsv; 1 repeated, 0 dropped\n"
                "histories: 1 rows read from more.tsv; 0 repeated, 0 dropped\n");
  expect_report("2 impressions are of users without a history in past.tsv");
  expect_report("1 histories were not in the order of their times");
  expect_report("1 impressions have events in their list that are not before them");
  expect_report("train               4 samples, 2 positive, 4 history events"); /* a c, then b d */
}

/* ---- the same bytes ---------------------------------------------------------------------------------------------- */

static void write_large_log(void) {
  FILE *log = fopen(converter_path("log.tsv"), "w");
  for (int i = 0; i < 20000; i++)
    fprintf(log, "%d\tu%d\t%d\ti%d i%d\ti%d-%d i%d-0\n", i, i * 7 % 999, i * 31 % 5000, i % 50, i % 17, i % 80, i % 2,
            80 + i % 3);
  fclose(log);
}

Test(convert_impressions, memory_does_not_change_the_bytes) {
  write_config(", split: time", ROWS OWN_HISTORY);
  write_large_log();
  EXPECT_OK(converter_run("roomy", ""));
  cr_assert(!strstr(converter_report, "spilled"));
  EXPECT_OK(converter_run("tight", "memory_mb=1"));
  expect_report("sorted runs were spilled to disk");
  converter_expect_same_bytes("roomy", "tight");
}

Test(convert_impressions, a_later_day_keeps_the_ids) {
  write_config("", "impressions: {file: log.tsv, user: user, time: time, shown: list, columns: {device: {}}}\n"
                   "history: {items: past}\n");
  converter_write("log.tsv", "user\ttime\tpast\tlist\tdevice\nu1\t1\ta\tx-0\tphone\n");
  EXPECT_OK(converter_run("first", ""));
  converter_write("log.tsv", "user\ttime\tpast\tlist\tdevice\nu2\t2\tb\tx-0\ttv\n");
  EXPECT_OK(converter_run_later("frozen", "", "first", 1));
  converter_expect(converter_samples("frozen", "train"), "<unknown> x=0 #0 @2 device=<unknown>: <unknown>\n");
  EXPECT_OK(converter_run_later("later", "", "first", 0));
  converter_expect(converter_samples("later", "train"), "u2 x=0 #0 @2 device=tv: b\n");
  converter_expect(converter_tokens("later", "device"), "phone tv");
  converter_expect(converter_tokens("later", "item"), "x a b");
}
