/* Conversion of interaction logs: what becomes a sample, with which history, in which split, with which ids. */
#include <stdio.h>

#include "convert_fixture.h"
#include "facet/environment.h"
#include "facet/rng.h"
#include "fixture.h"

TestSuite(convert, .init = converter_create, .fini = converter_remove);

/* No negatives, and every event a sample: a user of three events or more has one each for validation and test. */
#define EVERY_EVENT "name: test, negatives: 0, min_history: 0, min_user_events: 1"

static void write_config(const char *text) {
  converter_write("config.yaml", text);
}

/* ---- samples and windows ------------------------------------------------------------------------------------- */

Test(convert, windows_hold_what_came_before_in_time_and_input_order) {
  write_config("convert: {" EVERY_EVENT ", max_length: 3}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\n"
                             "u1\tc\t30\n" /* c, d and e share a time: they keep this order */
                             "u2\te\t5\n"
                             "u1\ta\t10\n"
                             "u1\td\t30\n"
                             "u1\tb\t20\n"
                             "u1\te\t30\n"
                             "u2\td\t6\n"
                             "u2\tx\t7\n"
                             "u2\ty\t8\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 a=1 @10:\n"
                                                      "u1 b=1 @20: a@10\n"
                                                      "u1 c=1 @30: a@10 b@20\n"
                                                      "u2 e=1 @5:\n"
                                                      "u2 d=1 @6: e@5\n");
  converter_expect(converter_samples("out", "valid"), "u1 d=1 @30: a@10 b@20 c@30\n"
                                                      "u2 <unknown>=1 @7: e@5 d@6\n");
  converter_expect(converter_samples("out", "test"), "u1 e=1 @30: b@20 c@30 d@30\n" /* cut to max_length */
                                                     "u2 <unknown>=1 @8: e@5 d@6 <unknown>@7\n");
  converter_expect(converter_tokens("out", "item"), "c e a d b"); /* training items, as they appear in the log */
  converter_expect(converter_tokens("out", "user"), "u1 u2");
  cr_assert(strstr(converter_report, "0 samples have an unknown user and 2 an unknown item"), "%s", converter_report);
}

Test(convert, a_user_is_held_out_only_where_a_training_sample_is_left) {
  write_config("convert: {name: test, negatives: 0}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\n"
                             "u1\td\t1\nu1\tb\t2\nu1\tc\t3\n" /* the first event has no history */
                             "u2\ta\t1\nu2\tb\t2\nu2\tc\t3\nu2\td\t4\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 b=1 @2: d@1\n"
                                                      "u1 c=1 @3: d@1 b@2\n"
                                                      "u2 b=1 @2: a@1\n");
  converter_expect(converter_samples("out", "valid"), "u2 c=1 @3: a@1 b@2\n");
  converter_expect(converter_samples("out", "test"), "u2 d=1 @4: a@1 b@2 c@3\n");
  cr_assert(strstr(converter_report, "2 events have fewer than 1 before them and are history only"), "%s",
            converter_report);
}

Test(convert, split_by_time) {
  write_config("convert: {" EVERY_EVENT ", split: time, valid_fraction: 0.2, test_fraction: 0.2}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\n"
                             "A\ta\t1\nA\tb\t3\nA\tc\t5\nA\td\t7\nA\te\t9\n" /* the 7th and 8th event share time 7 */
                             "B\ta\t2\nB\tb\t4\nB\td\t6\nB\te\t7\nB\tc\t10\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "A a=1 @1:\nA b=1 @3: a@1\nA c=1 @5: a@1 b@3\n"
                                                      "B a=1 @2:\nB b=1 @4: a@2\nB d=1 @6: a@2 b@4\n");
  converter_expect(converter_samples("out", "valid"), "A d=1 @7: a@1 b@3 c@5\n"
                                                      "B <unknown>=1 @7: a@2 b@4 d@6\n");
  converter_expect(converter_samples("out", "test"), "A <unknown>=1 @9: a@1 b@3 c@5 d@7\n"
                                                     "B c=1 @10: a@2 b@4 d@6 <unknown>@7\n");
}

Test(convert, an_empty_split_has_no_directory) {
  write_config("convert: {" EVERY_EVENT ", split: time, valid_fraction: 0, test_fraction: 0.25}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\nA\ta\t1\nB\ta\t2\nB\tb\t3\nC\ta\t4\n");
  EXPECT_OK(converter_run("out", ""));
  cr_assert(!facet_directory_exists(converter_path("out/valid")));
  converter_expect(converter_samples("out", "train"), "A a=1 @1:\nB a=1 @2:\nB b=1 @3: a@2\n");
  converter_expect(converter_samples("out", "test"), "<unknown> a=1 @4:\n");
}

Test(convert, hour_and_weekday_of_the_sample) {
  write_config("convert: {" EVERY_EVENT ", hour: true, weekday: true}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\n"
                             "u1\ta\t0\n"      /* Thursday 1970-01-01 00:00:00 */
                             "u2\ta\t345599\n" /* Sunday 1970-01-04 23:59:59 */
                             "u3\ta\t345600\n" /* Monday 1970-01-05 00:00:00 */
                             "u4\ta\t1709215199\n" /* Thursday 2024-02-29 13:59:59 */);
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 a=1 @0 hour=0 weekday=3:\n"
                                                      "u2 a=1 @345599 hour=23 weekday=6:\n"
                                                      "u3 a=1 @345600 hour=0 weekday=0:\n"
                                                      "u4 a=1 @1709215199 hour=13 weekday=3:\n");
}

Test(convert, times_in_other_units) {
  write_config("convert: {" EVERY_EVENT "}\n"
               "interactions: {file: log.tsv, user: user, item: item, time: time, time_unit: 0.001}\n");
  converter_write("log.tsv", "user\titem\ttime\nu1\ta\t1709215199999\nu1\tb\t3000\n"); /* fractions are cut */
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 b=1 @3:\nu1 a=1 @1709215199: b@3\n");
}

/* ---- what is kept -------------------------------------------------------------------------------------------- */

#define RATED_LOG                                                                                                      \
  "interactions: {file: log.tsv, user: user, item: item, time: time, rating: rating, rating_at_least: 4}\n"

Test(convert, low_ratings_are_dropped_and_never_drawn_as_negatives) {
  write_config("convert: {name: test, negatives: 3, min_user_events: 1}\n" RATED_LOG);
  converter_write("log.tsv", "user\titem\ttime\trating\n"
                             "u1\ta\t1\t5\n"
                             "u1\tb\t2\t4\n"   /* the threshold is positive */
                             "u1\tc\t3\t3.9\n" /* below it */
                             "u1\td\t4\t4.5\n"
                             "u2\te\t1\t5\n"
                             "u2\tc\t2\t5\n"); /* c is a training item */
  EXPECT_OK(converter_run("out", ""));
  char *samples = converter_samples("out", "train");
  static const char expected[] = "u1 b=1 @2: a@1\nu1 e=0 @2: a@1\nu1 e=0 @2: a@1\nu1 e=0 @2: a@1\n"
                                 "u1 d=1 @4: a@1 b@2\nu1 e=0 @4: a@1 b@2\nu1 e=0 @4: a@1 b@2\nu1 e=0 @4: a@1 b@2\n"
                                 "u2 c=1 @2: e@1\n";
  cr_assert(strncmp(samples, expected, strlen(expected)) == 0, "%s", samples);
  cr_assert(strstr(converter_report, "1 dropped: rating below interactions.rating_at_least"), "%s", converter_report);
  free(samples);
}

Test(convert, repeated_rows) {
  write_config("convert: {" EVERY_EVENT ", split: time, valid_fraction: 0, test_fraction: 0}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\nu1\ta\t1\nu1\ta\t1\nu1\tb\t1\nu1\ta\t1\nu1\ta\t2\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 a=1 @1:\n"
                                                      "u1 b=1 @1: a@1\n"
                                                      "u1 a=1 @1: a@1 b@1\n" /* not next to its twin */
                                                      "u1 a=1 @2: a@1 b@1 a@1\n");
  cr_assert(strstr(converter_report, "1 dropped: repeat user, item and time"), "%s", converter_report);
  EXPECT_OK(converter_run("kept", "keep_duplicates=true"));
  converter_expect(converter_samples("kept", "train"), "u1 a=1 @1:\n"
                                                       "u1 a=1 @1: a@1\n"
                                                       "u1 b=1 @1: a@1 a@1\n"
                                                       "u1 a=1 @1: a@1 a@1 b@1\n"
                                                       "u1 a=1 @2: a@1 a@1 b@1 a@1\n");
  cr_assert(!strstr(converter_report, "dropped"), "%s", converter_report);
}

Test(convert, users_with_few_events_are_dropped_and_their_items_get_no_id) {
  write_config("convert: {name: test, negatives: 0, min_user_events: 3}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\nu2\tz\t1\nu1\ta\t1\nu1\tb\t2\nu1\tc\t3\nu2\ta\t2\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 b=1 @2: a@1\nu1 c=1 @3: a@1 b@2\n");
  converter_expect(converter_tokens("out", "item"), "a b c");
  converter_expect(converter_tokens("out", "user"), "u1");
  cr_assert(strstr(converter_report, "2 dropped: of 1 users with fewer than 3 events"), "%s", converter_report);
}

Test(convert, rare_users_and_items_are_unknown) {
  write_config("convert: {" EVERY_EVENT ", min_count: 2}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\n" /* training: u1 a, u2 a and c, u3 a */
                             "u1\ta\t1\nu1\tb\t2\nu1\ta\t3\n"
                             "u2\ta\t1\nu2\tc\t2\nu2\ta\t3\nu2\tb\t4\n"
                             "u3\ta\t9\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_tokens("out", "item"), "a");
  converter_expect(converter_tokens("out", "user"), "u2");
  converter_expect(converter_samples("out", "train"), "<unknown> a=1 @1:\n"
                                                      "u2 a=1 @1:\n"
                                                      "u2 <unknown>=1 @2: a@1\n"
                                                      "<unknown> a=1 @9:\n");
  converter_expect(converter_samples("out", "valid"), "<unknown> <unknown>=1 @2: a@1\n"
                                                      "u2 a=1 @3: a@1 <unknown>@2\n");
  cr_assert(strstr(converter_report, "4 samples have an unknown user and 3 an unknown item"), "%s", converter_report);
}

Test(convert, the_report_accounts_for_every_row) {
  write_config("convert: {name: test, negatives: 0, drop_bad_rows: true}\n" RATED_LOG);
  converter_write("log.tsv", "user\titem\ttime\trating\n"
                             "u1\ta\t1\t5\n"
                             "u1\tb\t2\t3\n"
                             "u1\tc\t3\t5\n"
                             "u1\tc\t3\t5\n"
                             "u1\td\t4\t5\n"
                             "u1\te\tx\t5\n"
                             "u1\tf\t6\n"
                             "u2\ta\t1\t5\n");
  EXPECT_OK(converter_run("out", ""));
  cr_assert_str_eq(converter_report, "rows                8 read from log.tsv\n"
                                     "             3 kept as events\n"
                                     "             1 dropped: rating below interactions.rating_at_least\n"
                                     "             2 dropped: fields missing or not readable\n"
                                     "             1 dropped: repeat user, item and time of the row before\n"
                                     "             1 dropped: of 1 users with fewer than 3 events "
                                     "(convert.min_user_events)\n"
                                     "users               1 with an id\n"
                                     "items               3 with an id\n"
                                     "train               2 samples, 2 positive, 2 history events, 1 part\n"
                                     "valid               0 samples, 0 positive, 0 history events, 0 parts\n"
                                     "test                0 samples, 0 positive, 0 history events, 0 parts\n"
                                     "1 events have fewer than 1 before them and are history only "
                                     "(convert.min_history)\n");
}

/* ---- negatives ----------------------------------------------------------------------------------------------- */

enum { N_USERS = 40, N_ITEMS = 60, N_ROWS = 1200, N_NEGATIVES = 4 };
static bool is_own[N_USERS][N_ITEMS], is_trained[N_ITEMS];

/* A log of random rows with ratings 1 … 5; fills is_own. */
static void write_random_log(void) {
  FILE *log = fopen(converter_path("log.tsv"), "w");
  const facet_rng_key key = facet_rng_key_make(1, "log of a test");
  fputs("user\titem\ttime\trating\n", log);
  for (uint64_t i = 0; i < N_ROWS; i++) {
    const uint64_t word = facet_rng_word64(key, i);
    const int user = (int)(word % N_USERS), item = (int)(word / 64 % N_ITEMS), rating = (int)(word / 8192 % 5);
    is_own[user][item] = true;
    fprintf(log, "%d\t%d\t%d\t%d\n", user, item, (int)(i / 3), rating + 1);
  }
  fclose(log);
}

typedef struct sample {
  int user, item, label;
  char rest[4096]; /* time and history */
} sample;

static bool next_sample(char **text, sample *s) {
  int used = 0;
  if (sscanf(*text, "%d %d=%d %4095[^\n]\n%n", &s->user, &s->item, &s->label, s->rest, &used) < 4) return false;
  *text += used;
  return true;
}

/* Every positive is followed by its negatives: training items that the user never had. */
static void expect_negatives(const char *split) {
  char *samples = converter_samples("out", split), *text = samples;
  sample positive, s;
  int n_positives = 0;
  while (next_sample(&text, &positive)) {
    cr_assert(positive.label == 1);
    n_positives++;
    for (int k = 0; k < N_NEGATIVES; k++) {
      cr_assert(next_sample(&text, &s) && s.label == 0 && s.user == positive.user && !strcmp(s.rest, positive.rest));
      cr_assert(!is_own[s.user][s.item], "user %d has item %d in the log", s.user, s.item);
      cr_assert(is_trained[s.item], "item %d is in no training event", s.item);
    }
  }
  cr_assert(n_positives > 30 && *text == 0, "%d positives in %s", n_positives, split);
  free(samples);
}

/* The positive lines of the training split. */
static char *positives(const char *output) {
  char *samples = converter_samples(output, "train"), *to = samples;
  for (char *line = strtok(samples, "\n"); line; line = strtok(NULL, "\n"))
    if (strstr(line, "=1 @")) to += sprintf(to, "%s;", line); /* never longer than what was read */
  return samples;
}

#define RANDOM_CONFIG "convert: {name: test, negatives: 4, min_history: 0}\n" RATED_LOG

Test(convert, negatives_are_training_items_outside_the_users_whole_log) {
  write_config(RANDOM_CONFIG);
  write_random_log();
  EXPECT_OK(converter_run("out", ""));
  char *samples = converter_samples("out", "train"), *text = samples;
  for (sample s; next_sample(&text, &s);)
    if (s.label == 1) is_trained[s.item] = true;
  free(samples);
  expect_negatives("train");
  expect_negatives("valid");
  expect_negatives("test");
}

Test(convert, the_seed_chooses_the_negatives_and_nothing_else) {
  write_config(RANDOM_CONFIG);
  write_random_log();
  EXPECT_OK(converter_run("one", ""));
  EXPECT_OK(converter_run("same", "seed=1"));
  EXPECT_OK(converter_run("other", "seed=2"));
  converter_expect_same_bytes("one", "same");
  char *one = converter_samples("one", "train"), *other = converter_samples("other", "train");
  cr_assert(strcmp(one, other) != 0);
  free(one);
  free(other);
  one = positives("one");
  converter_expect(positives("other"), one);
  free(one);
}

/* User u0 has only item z, 9 users have p and one has q: u0's negatives are p or q. */
static int count_p(const char *output) {
  char *samples = converter_samples(output, "train");
  int n_p = 0, n_q = 0;
  for (const char *line = samples; *line; line = strchr(line, '\n') + 1) {
    n_p += strncmp(line, "u0 p=0 ", 7) == 0;
    n_q += strncmp(line, "u0 q=0 ", 7) == 0;
  }
  free(samples);
  cr_assert(n_p + n_q == 1600);
  return n_p;
}

Test(convert, popularity_of_negatives) {
  write_config(
      "convert: {name: test, negatives: 4, min_history: 0, min_user_events: 1, max_length: 1}\n" CONVERTER_LOG);
  FILE *log = fopen(converter_path("log.tsv"), "w");
  fputs("user\titem\ttime\n", log);
  for (int t = 0; t < 402; t++) fprintf(log, "u0\tz\t%d\n", t); /* the last two are held out */
  for (int u = 1; u < 11; u++) fprintf(log, "u%d\t%s\t1\n", u, u < 10 ? "p" : "q");
  fclose(log);
  EXPECT_OK(converter_run("uniform", "popularity=0"));
  EXPECT_OK(converter_run("popular", "popularity=1"));
  const int n_uniform = count_p("uniform"), n_popular = count_p("popular"); /* expected 800 ± 20 and 1440 ± 12 */
  cr_assert(n_uniform > 720 && n_uniform < 880, "%d", n_uniform);
  cr_assert(n_popular > 1390 && n_popular < 1490, "%d", n_popular);
}

Test(convert, a_user_who_knows_every_item_has_no_negatives) {
  write_config("convert: {name: test, negatives: 2}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\nu1\ta\t1\nu1\tb\t2\nu1\tc\t3\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 b=1 @2: a@1\nu1 c=1 @3: a@1 b@2\n");
  cr_assert(strstr(converter_report, "4 negatives were not drawn: their users know every training item"), "%s",
            converter_report);
}

/* ---- storage ------------------------------------------------------------------------------------------------- */

Test(convert, whole_users_go_into_parts) {
  write_config("convert: {" EVERY_EVENT ", part_samples: 2}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\nu1\ta\t1\nu1\tb\t2\nu2\ta\t3\nu3\tb\t4\nu3\ta\t5\nu4\tb\t6\n");
  EXPECT_OK(converter_run("out", ""));
  converter_expect(converter_samples("out", "train"), "u1 a=1 @1:\nu1 b=1 @2: a@1\n"
                                                      "--\n"
                                                      "u2 a=1 @3:\nu3 b=1 @4:\nu3 a=1 @5: b@4\n"
                                                      "--\n"
                                                      "u4 b=1 @6:\n");
}

static bool is_mapped(const char *output) {
  facet_dataset *dataset;
  int element_bytes;
  EXPECT_OK(facet_dataset_open(converter_path(output), "train", &dataset));
  const bool mapped = facet_column_mapped(facet_shard_values(facet_dataset_part(dataset, 0), 0), &element_bytes);
  facet_dataset_close(&dataset);
  return mapped;
}

Test(convert, compressed_shards_hold_the_same) {
  write_config(RANDOM_CONFIG);
  write_random_log();
  EXPECT_OK(converter_run("plain", ""));
  EXPECT_OK(converter_run("compressed", "compress=true"));
  cr_assert(is_mapped("plain") && !is_mapped("compressed"));
  static const char *const splits[] = {"train", "valid", "test"};
  for (int s = 0; s < 3; s++) {
    char *plain = converter_samples("plain", splits[s]);
    converter_expect(converter_samples("compressed", splits[s]), plain);
    free(plain);
  }
}

Test(convert, a_spilled_sort_gives_the_same_bytes) {
  static const char *const splits[] = {"split=user", "split=time"};
  write_config("convert: {name: test, max_length: 5}\n" CONVERTER_LOG);
  FILE *log = fopen(converter_path("log.tsv"), "w");
  const facet_rng_key key = facet_rng_key_make(1, "log of a test");
  fputs("user\titem\ttime\n", log);
  for (uint64_t i = 0; i < 40000; i++) { /* 32 bytes each: more than the 1 MB below; many rows share user and time */
    const uint64_t word = facet_rng_word64(key, i);
    fprintf(log, "%d\t%d\t%d\n", (int)(word % 509), (int)(word >> 20) % 300, (int)(word >> 40) % 40);
  }
  fclose(log);
  for (int s = 0; s < 2; s++) {
    char sets[64];
    snprintf(sets, sizeof sets, "%s memory_mb=1", splits[s]);
    EXPECT_OK(converter_run("spilled", sets));
    cr_assert(strstr(converter_report, "sorted runs were spilled"), "%s", converter_report);
    EXPECT_OK(converter_run("held", splits[s]));
    cr_assert(!strstr(converter_report, "spilled"), "%s", converter_report);
    converter_expect_same_bytes("spilled", "held");
    EXPECT_OK(facet_directory_remove(converter_path("spilled")));
    EXPECT_OK(facet_directory_remove(converter_path("held")));
  }
}

Test(convert, output_may_be_an_empty_directory_and_end_in_a_slash) {
  write_config("convert: {" EVERY_EVENT "}\n" CONVERTER_LOG);
  converter_write("log.tsv", "user\titem\ttime\nu1\ta\t1\n");
  EXPECT_OK(facet_directory_create(converter_path("empty")));
  EXPECT_OK(converter_run("empty/", ""));
  EXPECT_OK(converter_run("new/inner/", ""));
  converter_expect_same_bytes("empty", "new/inner");
  converter_expect(converter_names(), "config.yaml empty log.tsv new");
}

/* The n-th allocation fails: an error, no memory left behind, no directory. */
Test(convert, short_memory) {
  write_config("convert: {" EVERY_EVENT ", hour: true}\n" CONVERTER_LOG
               "items: {file: items.tsv, key: item, columns: {tags: {separator: comma}}}\n");
  converter_write("log.tsv", "user\titem\ttime\nu1\ta\t1\nu1\tb\t2\n");
  converter_write("items.tsv", "item\ttags\na\tx,y\n");
  facet_status status = FACET_ERROR_INTERNAL;
  int n_failed = 0;
  for (int64_t n = 1; status != FACET_OK; n += 1 + n / 16, n_failed++) {
    facet_environment environment = *facet_environment_get();
    environment.fail_allocation = n;
    facet_environment_set(&environment);
    status = converter_run("out", "");
    environment.fail_allocation = 0;
    facet_environment_set(&environment);
    cr_assert(status == FACET_OK || status == FACET_ERROR_INTERNAL, "%s", facet_error_get()->message);
    cr_assert(facet_memory_in_use() == 0, "allocation %d", (int)n);
    if (status != FACET_OK) converter_expect(converter_names(), "config.yaml items.tsv log.tsv");
  }
  cr_assert(n_failed > 20, "%d", n_failed);
}
