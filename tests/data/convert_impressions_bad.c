/* What the converter refuses of impressions: one message with file, line, value and what was expected. */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "convert_fixture.h"
#include "fixture.h"

TestSuite(convert_impressions_bad, .init = converter_create, .fini = converter_remove);

#define GOOD "convert: {name: test, min_history: 0}\n"
#define LABELS                                                                                                         \
  "impressions: {file: log.tsv, user: user, time: time, impression: id, shown: list, columns: {age: {type: float}}}\n"
#define CLICKS "impressions: {file: log.tsv, user: user, time: time, impression: id, shown: list, clicked: hits}\n"
#define LISTS "history: {items: past, time: when, columns: {read: {type: float}}}\n"

#define EXPECT_REFUSED(wanted, ...)                                                                                    \
  do {                                                                                                                 \
    char *names = converter_names();                                                                                   \
    EXPECT_ERROR(wanted, converter_run("out", ""), __VA_ARGS__);                                                       \
    converter_expect(converter_names(), names);                                                                        \
    cr_assert(!strchr(facet_error_get()->message, '\n'));                                                              \
    free(names);                                                                                                       \
  } while (0)

/* ---- configuration ------------------------------------------------------------------------------------------- */

static const struct {
  const char *config;
  const char *texts[2];
} configurations[] = {
    {GOOD CLICKS, {"history.items", ""}},
    {GOOD LISTS CONVERTER_LOG, {"config.yaml:2:10: section history goes with section impressions", ""}},
    {GOOD CLICKS LISTS CONVERTER_LOG, {"sections interactions and impressions: expected one of them", ""}},
    {GOOD "impressions: {file: log.tsv, user: user, time: time}\n" LISTS, {"impressions.shown", ""}},
    {GOOD "impressions: {file: log.tsv, user: user, time: time, shwn: list}\n" LISTS, {"\"shwn\"", "\"shown\""}},
    {GOOD "impressions: {file: log.tsv, user: user, time: time, shown: list, group: row}\n" LISTS,
     {"row", "impression"}},
    {GOOD "impressions: {file: log.tsv, user: user, time: time, shown: list, list_separator: \"\"}\n" LISTS,
     {"list_separator of impressions or history is empty", ""}},
    {GOOD "impressions: {file: log.tsv, user: user, time: time, shown: list, label_separator: \"\"}\n" LISTS,
     {"label_separator is empty, and `clicked` names no column", ""}},
    {GOOD CLICKS "history: {items: past, file: past.tsv}\n", {"config.yaml:3:", "`file` and `key`"}},
    {GOOD CLICKS "history: {items: past, valid_file: past.tsv}\n", {"config.yaml:3:", "need `file`"}},
    {GOOD CLICKS "history: {items: past, file: past.tsv, key: user, valid_file: past.tsv}\n",
     {"config.yaml:3:", "need those of section impressions"}},
    {GOOD CLICKS "history: {items: past, columns: {way: {separator: comma}}}\n", {"\"way\" has a separator", ""}},
    {GOOD CLICKS "history: {items: past, columns: {item_id: {}}}\n", {"\"item_id\" is taken", ""}},
    {GOOD CLICKS "history: {items: past, columns: {read: {type: float, missing: none}}}\n",
     {"read", "\"none\", expected a finite number"}},
    {GOOD CLICKS
     "history: {items: past, columns: {kind: {}}}\nitems: {file: log.tsv, key: user, columns: {kind: {}}}\n",
     {"\"kind\" is in history and in items", ""}},
    {"convert: {name: x, negatives: 2}\n" CLICKS LISTS,
     {"config.yaml:1:20: convert.negatives is for logs of interactions", ""}},
    {"convert: {name: x, min_user_events: 2}\n" CLICKS LISTS, {"convert.min_user_events is for logs", ""}},
    {"convert: {name: x, split: time}\n"
     "impressions: {file: log.tsv, test_file: log.tsv, user: user, time: time, shown: list}\n" LISTS,
     {"config.yaml:1:20: convert.split has no effect", ""}},
};

Test(convert_impressions_bad, configurations) {
  for (size_t i = 0; i < sizeof configurations / sizeof *configurations; i++) {
    converter_write("config.yaml", configurations[i].config);
    EXPECT_REFUSED(FACET_ERROR_USAGE, configurations[i].texts[0], configurations[i].texts[1]);
  }
  converter_write("config.yaml", GOOD CLICKS LISTS);
  EXPECT_ERROR(FACET_ERROR_USAGE, converter_run("out", "popularity=1"), "--set: convert.popularity is for logs");
}

Test(convert_impressions_bad, columns_that_the_log_lacks) {
  converter_write("log.tsv", "user\ttime\tid\tlist\tpast\twhen\nu1\t1\t1\tx-0\ta\t0\n");
  converter_write("config.yaml", GOOD CLICKS "history: {items: past}\n");
  EXPECT_REFUSED(FACET_ERROR_USAGE, "log.tsv has no column \"hits\" in its header");
  converter_write("config.yaml", GOOD "impressions: {file: log.tsv, user: user, time: time, shown: list}\n" LISTS);
  EXPECT_REFUSED(FACET_ERROR_USAGE, "log.tsv has no column \"read\" in its header");
  converter_write("config.yaml", GOOD "impressions: {file: log.tsv, user: user, time: time, shown: list}\n"
                                      "history: {file: past.tsv, key: user, items: past}\n");
  EXPECT_REFUSED(FACET_ERROR_IO, "cannot open", "past.tsv");
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

typedef struct bad_row {
  const char *row; /* line 3 of log.tsv */
  const char *texts[2];
} bad_row;

#define N(array) (sizeof(array) / sizeof *(array))

/* Columns user, time, id, list, past, when, read, and age or hits. */
static const bad_row labels[] = {
    {"u1\t2\t1\tx-0\ta\t0\t1", {"the number of fields is \"7\"", "expected 8 fields"}},
    {"\t2\t1\tx-0\ta\t0\t1\t5", {"user is \"\"", "expected a user"}},
    {"u1\tnoon\t1\tx-0\ta\t0\t1\t5", {"time is \"noon\"", "expected a time as a number"}},
    {"u1\t-2\t1\tx-0\ta\t0\t1\t5", {"time is \"-2\"", "not negative"}},
    {"u1\t2\tone\tx-0\ta\t0\t1\t5", {"id is \"one\"", "expected an integer"}},
    {"u1\t2\t\tx-0\ta\t0\t1\t5", {"id is \"\"", "expected an integer"}},
    {"u1\t2\t1\tx-0 y\ta\t0\t1\t5", {"list is \"y\"", "expected item-0 or item-1"}},
    {"u1\t2\t1\tx-0 y-2\ta\t0\t1\t5", {"list is \"y-2\"", "expected item-0 or item-1"}},
    {"u1\t2\t1\tx-01\ta\t0\t1\t5", {"list is \"x-01\"", "expected item-0 or item-1"}},
    {"u1\t2\t1\tx-\ta\t0\t1\t5", {"list is \"x-\"", "expected item-0 or item-1"}},
    {"u1\t2\t1\t-1\ta\t0\t1\t5", {"list is \"-1\"", "expected item-0 or item-1"}},
    {"u1\t2\t1\tx-0\ta\t0\t1\told", {"age is \"old\"", "expected a finite number"}},
    {"u1\t2\t1\tx-0\ta\t0\t1\t", {"age is \"\"", "expected a finite number"}},
    {"u1\t2\t1\tx-0\ta b\t0\t1 2\t5", {"the number of values of when is \"1\"", "expected 2 as of the items"}},
    {"u1\t2\t1\tx-0\ta\t0 1\t1\t5", {"the number of values of when is \"2\"", "expected 1 as of the items"}},
    {"u1\t2\t1\tx-0\ta b\t0 1\t1\t5", {"the number of values of read is \"1\"", "expected 2 as of the items"}},
    {"u1\t2\t1\tx-0\ta\tnoon\t1\t5", {"when is \"noon\"", "expected a time as a number"}},
    {"u1\t2\t1\tx-0\ta\t-7\t1\t5", {"when is \"-7\"", "not negative"}},
    {"u1\t2\t1\tx-0\ta\t0\tnan\t5", {"read is \"nan\"", "expected a finite number"}},
    {"u1\t2\t1\tx-0\ta\t0\t\t5", {"read is \"\"", "expected a finite number"}},
    {"u1\t2\t1\tx-0\ta  b\t0 1 1\t1 1 1\t5", {"past is \"a  b\"", "expected no empty item in the list"}},
};
static const bad_row clicks[] = {
    {"u1\t2\t1\tx y\ta\t0\t1\tx z y", {"hits is \"z\"", "expected an item that was shown"}},
    {"u1\t2\t1\t\ta\t0\t1\tx", {"hits is \"x\"", "expected an item that was shown"}},
};

static void expect_bad_rows(const char *config, const char *header, const bad_row *rows, size_t n) {
  char text[1024];
  const char *good = strstr(config, "clicked") ? "x\ta\t0\t1\t" : "x-1\ta\t0\t1\t3";
  converter_write("config.yaml", config);
  for (size_t i = 0; i < n; i++) {
    snprintf(text, sizeof text, "%s\nu1\t1\t1\t%s\n%s\n", header, good, rows[i].row);
    converter_write("log.tsv", text);
    EXPECT_REFUSED(FACET_ERROR_DATA, "log.tsv:3: ", rows[i].texts[0], rows[i].texts[1]);
    cr_assert(strstr(facet_error_get()->hint, "drop_bad_rows"));
    EXPECT_OK(converter_run("dropped", "drop_bad_rows=true"));
    cr_assert(
        strstr(converter_report, " 1 kept as impressions\n             1 dropped: fields missing or not readable"),
        "%s", converter_report);
    EXPECT_OK(facet_directory_remove(converter_path("dropped")));
  }
}

Test(convert_impressions_bad, rows_with_labels) {
  expect_bad_rows(GOOD LABELS LISTS, "user\ttime\tid\tlist\tpast\twhen\tread\tage", labels, N(labels));
}

Test(convert_impressions_bad, rows_with_clicks) {
  expect_bad_rows(GOOD CLICKS LISTS, "user\ttime\tid\tlist\tpast\twhen\tread\thits", clicks, N(clicks));
}

Test(convert_impressions_bad, times_in_text) {
  static const char *const times[] = {"11/31/2019 9:05:58 AM",     "13/11/2019 9:05:58 AM",  "11/11/2019 9:05:58",
                                      "11/11/2019 9:05:58 AM UTC", "11/11/2019 9:05:58 AM.", "",
                                      "12/31/1969 1:00:00 AM"};
  converter_write("config.yaml", GOOD "impressions: {file: log.tsv, user: user, time: time, shown: list,\n"
                                      "              time_format: \"%m/%d/%Y %I:%M:%S %p\"}\nhistory: {items: past}\n");
  for (size_t i = 0; i < N(times); i++) {
    char log[128], value[64];
    snprintf(log, sizeof log, "user\ttime\tpast\tlist\nu1\t%s\ta\tx-0\n", times[i]);
    snprintf(value, sizeof value, "log.tsv:2: time is \"%s\"", times[i]);
    converter_write("log.tsv", log);
    EXPECT_REFUSED(FACET_ERROR_DATA, value,
                   i + 1 < N(times) ? "expected a time as \"%m/%d/%Y %I:%M:%S %p\"" : "a time that is not negative");
  }
}

Test(convert_impressions_bad, rows_of_the_file_of_histories) {
  static const struct {
    const char *row, *text;
  } rows[] = {{"\ta\t1", "past.tsv:2: who is \"\", expected a user"},
              {"u1\ta\tnoon", "past.tsv:2: when is \"noon\", expected a time as a number"},
              {"u1\ta", "past.tsv:2: the number of fields is \"2\", expected 3 fields"}};
  converter_write("config.yaml", GOOD "impressions: {file: log.tsv, user: user, time: time, shown: list}\n"
                                      "history: {file: past.tsv, key: who, items: what, time: when}\n");
  converter_write("log.tsv", "user\ttime\tlist\nu1\t5\tx-0\n");
  for (size_t i = 0; i < N(rows); i++) {
    char text[128];
    snprintf(text, sizeof text, "who\twhat\twhen\n%s\n", rows[i].row);
    converter_write("past.tsv", text);
    EXPECT_REFUSED(FACET_ERROR_DATA, rows[i].text);
    EXPECT_OK(converter_run("dropped", "drop_bad_rows=true"));
    cr_assert(strstr(converter_report, "histories: 1 rows read from past.tsv; 0 repeated, 1 dropped"), "%s",
              converter_report);
    cr_assert(strstr(converter_report, " 1 kept as impressions\n1 impressions are of users without a history"), "%s",
              converter_report);
    EXPECT_OK(facet_directory_remove(converter_path("dropped")));
  }
}

Test(convert_impressions_bad, logs_without_samples) {
  converter_write("config.yaml", GOOD "impressions: {file: log.tsv, user: user, time: time, shown: list}\n"
                                      "history: {items: past}\n");
  converter_write("log.tsv", "user\ttime\tpast\tlist\n");
  EXPECT_REFUSED(FACET_ERROR_DATA, "log.tsv has no impression: 0 rows read");
  converter_write("log.tsv", "user\ttime\tpast\tlist\nu1\t1\ta\t\n");
  EXPECT_REFUSED(FACET_ERROR_DATA, "log.tsv has no impression: 1 rows read");
  converter_write("log.tsv", "user\ttime\tpast\tlist\nu1\t1\ta\tx-0\n");
  EXPECT_ERROR(FACET_ERROR_DATA, converter_run("out", "min_history=2"), "log.tsv gives no training sample",
               "1 of them have too short a history");
}

Test(convert_impressions_bad, a_disk_that_is_full) {
  converter_write("config.yaml", GOOD "impressions: {file: log.tsv, user: user, time: time, shown: list}\n"
                                      "history: {items: past}\n");
  FILE *log = fopen(converter_path("log.tsv"), "w");
  fputs("user\ttime\tpast\tlist\n", log);
  for (int i = 0; i < 20000; i++)
    fprintf(log, "%d\t%d\t%d %d %d %d %d\t%d-0\n", i % 1000, i, i % 7, i % 9, i % 11, i % 13, i % 17, i % 777);
  fclose(log);
  signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files stands for the full disk */
  const struct rlimit limit = {.rlim_cur = 300000, .rlim_max = RLIM_INFINITY};
  cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  EXPECT_REFUSED(FACET_ERROR_IO, "/impressions: cannot write a temporary file beside it: File too large");
}
