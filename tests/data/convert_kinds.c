/* Interactions of several kinds: which become samples, which are history, and the fields of events. */
#include <stdio.h>

#include "convert_fixture.h"
#include "fixture.h"

TestSuite(convert_kinds, .init = converter_create, .fini = converter_remove);

#define ALL "convert: {name: test, negatives: 0, min_history: 0, min_user_events: 1}\n"
#define KINDS(more) "interactions: {file: log.tsv, user: user, item: item, time: time, kind: kind" more "}\n"
#define FIELD ", columns: {what: {column: kind}}"

static void write_files(const char *config, const char *rows) {
  char log[2048];
  snprintf(log, sizeof log, "user\titem\ttime\tkind\tamount\n%s", rows);
  converter_write("config.yaml", config);
  converter_write("log.tsv", log);
}

static void expect_report(const char *line) {
  cr_assert(strstr(converter_report, line), "\"%s\" is not in:\n%s", line, converter_report);
}

Test(convert_kinds, samples_of_some_kinds_and_histories_of_more) {
  write_files(ALL KINDS(", event_kinds: \"pv, cart , buy\", sample_kinds: buy" FIELD),
              "u1\ta\t1\tpv\t\nu1\tb\t2\tcart\t\nu1\tb\t3\tbuy\t\nu1\tc\t4\tfav\t\nu1\td\t5\tpv\t\nu1\td\t6\tbuy\t\n"
              "u2\te\t1\tpv\t\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 b=1 @3: a/pv@1 b/cart@2\n"
                                                      "u1 d=1 @6: a/pv@1 b/cart@2 b/buy@3 d/pv@5\n");
  converter_expect(converter_tokens("out", "what"), "pv cart buy");
  converter_expect(converter_tokens("out", "item"), "a b d e");
  expect_report("7 read from log.tsv\n             6 kept as events\n"
                "             1 dropped: kinds that interactions.event_kinds lacks\n");
}

Test(convert_kinds, negatives_are_of_no_kind_in_the_log_of_their_user) {
  write_files("convert: {name: test, negatives: 40, min_history: 0, min_user_events: 1}\n" KINDS(", event_kinds: buy"),
              "u1\ta\t1\tbuy\t\nu1\tb\t2\tpv\t\nu2\tb\t1\tbuy\t\nu2\tc\t2\tbuy\t\n");
  EXPECT_OK(converter_run("out", ""));
  char *samples = converter_samples("out", "train");
  cr_assert(strstr(samples, "u1 a=1") && strstr(samples, "u1 c=0") && !strstr(samples, "u1 b=0"), "%s", samples);
  free(samples);
}

Test(convert_kinds, the_last_samples_of_a_user_are_held_out) {
  write_files(ALL KINDS(", sample_kinds: buy" FIELD),
              "u1\ta\t1\tbuy\t\nu1\tb\t2\tpv\t\nu1\tc\t3\tbuy\t\nu1\td\t4\tpv\t\n"
              "u1\ta\t5\tbuy\t\nu1\te\t6\tpv\t\n"
              "u2\ta\t1\tpv\t\nu2\ta\t2\tpv\t\nu2\ta\t3\tbuy\t\nu2\tb\t4\tbuy\t\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 a=1 @1:\n"
                                                      "u2 a=1 @3: a/pv@1 a/pv@2\nu2 b=1 @4: a/pv@1 a/pv@2 a/buy@3\n");
  converter_expect(converter_samples("out", "valid"), "u1 <unknown>=1 @3: a/buy@1 b/pv@2\n");
  converter_expect(converter_samples("out", "test"), "u1 a=1 @5: a/buy@1 b/pv@2 <unknown>/buy@3 <unknown>/pv@4\n");
  EXPECT_OK(converter_run("late", "min_history=1")); /* u1 has two samples with a history: none is held out */
  converter_expect(converter_samples("late", "train"),
                   "u1 c=1 @3: a/buy@1 b/pv@2\nu1 a=1 @5: a/buy@1 b/pv@2 c/buy@3 d/pv@4\n"
                   "u2 a=1 @3: a/pv@1 a/pv@2\nu2 b=1 @4: a/pv@1 a/pv@2 a/buy@3\n");
}

Test(convert_kinds, times_of_samples_split_by_time) {
  write_files(ALL KINDS(", sample_kinds: buy"), "u1\ta\t1\tbuy\t\nu1\ta\t2\tbuy\t\nu1\ta\t3\tbuy\t\nu1\ta\t4\tbuy\t\n"
                                                "u2\ta\t9\tpv\t\nu2\ta\t10\tpv\t\nu2\ta\t11\tpv\t\nu2\ta\t12\tpv\t\n");
  EXPECT_OK(converter_run("out", "split=time valid_fraction=0.25 test_fraction=0.25"));
  converter_expect(converter_samples("out", "train"), "u1 a=1 @1:\nu1 a=1 @2: a@1\n");
  converter_expect(converter_samples("out", "valid"), "u1 a=1 @3: a@1 a@2\n");
  converter_expect(converter_samples("out", "test"), "u1 a=1 @4: a@1 a@2 a@3\n");
}

Test(convert_kinds, another_kind_at_the_same_time_is_no_repeat) {
  write_files(ALL KINDS(FIELD), "u1\ta\t1\tpv\t\nu1\ta\t1\tbuy\t\nu1\ta\t1\tbuy\t\n");
  EXPECT_OK(converter_run("out", "min_history=1"));
  converter_expect(converter_samples("out", "train"), "u1 a=1 @1: a/pv@1\n");
  expect_report("1 dropped: repeat user, item and time of the row before");
}

Test(convert_kinds, fields_of_events) {
  write_files(
      ALL "interactions: {file: log.tsv, user: user, item: item, time: time,\n"
          "               columns: {kind: {width: 3}, amount: {type: float, missing: 0}}}\n",
      "u1\tb\t2\tbuy\t2.5\nu1\ta\t1\tpv\t\nu2\tc\t1\t\t7\nu1\tc\t3\tpv\t1\nu2\tc\t2\tnew\t8\nu2\ta\t3\tbuy\t9\n");
  EXPECT_OK(converter_run("out", "split=time valid_fraction=0 test_fraction=0.3"));
  converter_expect(converter_samples("out", "train"), "u1 a=1 @1:\nu1 b=1 @2: a/pv/0@1\n"
                                                      "u2 c=1 @1:\nu2 c=1 @2: c/<unknown>/7@1\n");
  converter_expect(converter_samples("out", "test"), "u1 c=1 @3: a/pv/0@1 b/buy/2.5@2\n"
                                                     "u2 a=1 @3: c/<unknown>/7@1 c/new/8@2\n");
  converter_expect(converter_tokens("out", "kind"), "buy pv new");
  EXPECT_OK(converter_run("cut", "split=time valid_fraction=0 test_fraction=0.3 max_length=1"));
  converter_expect(converter_samples("cut", "test"), "u1 c=1 @3: b/buy/2.5@2\nu2 a=1 @3: c/new/8@2\n");
}

Test(convert_kinds, rows_outside_a_range_of_time_are_dropped) {
  write_files(ALL "interactions: {file: log.tsv, user: user, item: item, time: time, time_from: 2, time_until: 4}\n",
              "u1\ta\t1\tpv\t\nu1\tb\t2\tpv\t\nu1\tc\t3\tpv\t\nu1\td\t4\tpv\t\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 b=1 @2:\nu1 c=1 @3: b@2\n");
  expect_report("2 kept as events\n             2 dropped: time outside interactions.time_from and time_until");
  converter_write("config.yaml", "convert: {name: test, min_history: 0}\nhistory: {items: kind}\n"
                                 "impressions: {file: log.tsv, user: user, time: time, shown: amount, time_from: 2,\n"
                                 "              time_until: 3}\n");
  converter_write("log.tsv", "user\titem\ttime\tkind\tamount\nu1\t\t1\tb\tx\nu1\t\t2\tc\ty-1\nu1\t\t3\td\tz-0\n");
  EXPECT_OK(converter_run("shown", "")); /* the first row has no label, which is of no interest */
  converter_expect(converter_samples("shown", "train"), "u1 y=1 #1 @2: c\n");
  expect_report("1 kept as impressions\n             2 dropped: time outside impressions.time_from and time_until");
}

/* ---- what is refused ------------------------------------------------------------------------------------------- */

Test(convert_kinds, bad_configurations_and_rows) {
  static const struct {
    const char *config, *text;
  } configurations[] = {
      {ALL "interactions: {file: log.tsv, user: user, item: item, time: time, sample_kinds: buy}\n",
       "config.yaml:2:15: event_kinds and sample_kinds need `kind`"},
      {ALL KINDS(", event_kinds: \"pv, cart\", sample_kinds: \"pv,buy\""),
       "sample_kinds has \"buy\", which event_kinds lacks"},
      {ALL KINDS(FIELD) "items: {file: log.tsv, key: item, columns: {what: {column: amount}}}\n",
       "\"what\" is in interactions and in items"},
      {ALL KINDS(", columns: {what: {separator: comma}}"), "\"what\" has a separator"},
      {ALL "interactions: {file: log.tsv, user: user, item: item, time: time, kind: knd}\n", "no column \"knd\""},
      {ALL KINDS(", columns: {what: {column: knd}}"), "no column \"knd\""},
  };
  for (size_t i = 0; i < sizeof configurations / sizeof *configurations; i++) {
    write_files(configurations[i].config, "u1\ta\t1\tpv\t\n");
    EXPECT_ERROR(FACET_ERROR_USAGE, converter_run("out", ""), configurations[i].text);
  }
  write_files(ALL KINDS(", columns: {amount: {type: float}}"), "u1\ta\t1\tpv\t1\nu1\ta\t1\tpv\tmuch\n");
  EXPECT_ERROR(FACET_ERROR_DATA, converter_run("out", ""), "log.tsv:3: amount is \"much\", expected a finite number");
  write_files(ALL KINDS(""), "u1\ta\t1\t\t1\n");
  EXPECT_ERROR(FACET_ERROR_DATA, converter_run("out", ""), "log.tsv:2: kind is \"\", expected a kind");
  write_files(ALL KINDS(", sample_kinds: but"), "u1\ta\t1\tbuy\t1\n");
  EXPECT_ERROR(FACET_ERROR_DATA, converter_run("out", ""), "log.tsv gives no training sample: 1 events");
}
