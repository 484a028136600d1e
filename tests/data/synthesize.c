/* Synthetic logs: same seed, same bytes; what is stored is what the documented process draws, recomputed here. */
#include "facet/synthesize.h"

#include <jansson.h>
#include <math.h>

#include "data/synthetic_world.h"
#include "fixture.h"

static const char *const splits[] = {"train", "valid", "test"};

static char directory[64];

static void setup(void) {
  test_directory_create(directory);
}
static void teardown(void) {
  test_directory_remove(directory);
}
TestSuite(synthesize, .init = setup, .fini = teardown);

static const char *in_directory(const char *name) {
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static facet_synthesize_options options_of(int64_t users) {
  facet_synthesize_options options;
  EXPECT_OK(facet_options_default(&facet_synthesize_section, &options));
  options.users = users;
  options.items = 500;
  options.clusters = 20;
  options.categories = 10;
  return options;
}

static void synthesize(const facet_synthesize_options *options, const char *name) {
  EXPECT_OK(facet_synthesize(options, in_directory(name)));
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* "schema.yaml 0123… \n" of every file below a directory, in order of names; appended to text. */
static void describe_files(const char *path, size_t n_root, char *text, size_t capacity) {
  facet_arena *arena;
  char **names;
  int64_t n_names, n_bytes;
  EXPECT_OK(facet_arena_create(&arena));
  EXPECT_OK(facet_directory_list(path, arena, &names, &n_names));
  for (int64_t i = 0; i < n_names; i++) {
    char name[256], hex[33];
    snprintf(name, sizeof name, "%s/%s", path, names[i]);
    if (facet_directory_exists(name)) {
      describe_files(name, n_root, text, capacity);
      continue;
    }
    EXPECT_OK(facet_file_checksum(name, hex, &n_bytes));
    snprintf(text + strlen(text), capacity - strlen(text), "%s %s\n", name + n_root, hex);
  }
  facet_arena_destroy(&arena);
}

static const char *bytes_of(const char *name) {
  static char texts[2][8192];
  static int next;
  char *text = texts[next++ % 2];
  text[0] = 0;
  describe_files(in_directory(name), strlen(in_directory(name)), text, sizeof texts[0]);
  return text;
}

/* The checksum of one file in what bytes_of gives. */
static const char *line_of(const char *text, const char *file) {
  static char lines[2][256];
  static int next;
  const char *at = strstr(text, file);
  cr_assert(at, "%s is not in\n%s", file, text);
  return snprintf(lines[next % 2], 256, "%.*s", (int)strcspn(at, "\n"), at), lines[next++ % 2];
}

Test(synthesize, the_same_seed_gives_the_same_bytes) {
  for (int compress = 0; compress < 2; compress++) {
    facet_synthesize_options options = options_of(60);
    options.part_samples = 1000; /* train: 1000, 1000, … */
    options.compress = compress;
    synthesize(&options, compress ? "a1" : "a0");
    synthesize(&options, compress ? "b1" : "b0");
    const char *a = bytes_of(compress ? "a1" : "a0");
    cr_assert_str_eq(a, bytes_of(compress ? "b1" : "b0"));
    static const char *const files[] = {"/schema.yaml",         "/tables.h5",           "/truth.json",
                                        "/train/part-00001.h5", "/valid/part-00000.h5", "/test/part-00000.h5",
                                        "/vocab/item.h5",       "/vocab/user.h5",       "/vocab/category.h5",
                                        "/vocab/hour.h5",       "/vocab/position.h5"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) line_of(a, files[i]);
  }
}

Test(synthesize, another_seed_gives_another_world) {
  facet_synthesize_options options = options_of(60);
  synthesize(&options, "a");
  options.seed = 2;
  synthesize(&options, "b");
  const char *a = bytes_of("a"), *b = bytes_of("b");
  static const char *const differ[] = {"/tables.h5", "/truth.json", "/train/part-00000.h5", "/valid/part-00000.h5",
                                       "/test/part-00000.h5"};
  static const char *const agree[] = {"/schema.yaml", "/vocab/item.h5", "/vocab/user.h5"};
  for (size_t i = 0; i < sizeof differ / sizeof *differ; i++)
    cr_assert_str_neq(line_of(a, differ[i]), line_of(b, differ[i]));
  for (size_t i = 0; i < sizeof agree / sizeof *agree; i++)
    cr_assert_str_eq(line_of(a, agree[i]), line_of(b, agree[i]));
}

/* Further id fields of events, stored or joined, are functions of the item and change nothing else. */
Test(synthesize, fields_of_events_and_items) {
  facet_synthesize_options options = options_of(60);
  facet_dataset *d, *plain;
  synthesize(&options, "plain");
  options.event_fields = 2;
  options.item_fields = 3;
  synthesize(&options, "fields");
  EXPECT_OK(facet_dataset_open(in_directory("plain"), "train", &plain));
  EXPECT_OK(facet_dataset_open(in_directory("fields"), "train", &d));
  const facet_schema *schema = facet_dataset_schema(d);
  facet_shard *shard = facet_dataset_part(d, 0);
  const int64_t n = facet_shard_n_events(shard, 0);
  int32_t *item = calloc((size_t)n, sizeof *item), *value = calloc((size_t)n, sizeof *value), token[502] = {0};
  EXPECT_OK(
      facet_column_read_int32(facet_shard_values(shard, facet_schema_feature(schema, "history.item_id")), 0, n, item));
  EXPECT_OK(
      facet_column_read_int32(facet_shard_values(shard, facet_schema_feature(schema, "history.event_1")), 0, n, value));
  for (int64_t i = 0; i < n; i++) {
    cr_assert(value[i] >= 2 && value[i] < 1002 && (!token[item[i]] || token[item[i]] == value[i]));
    token[item[i]] = value[i];
  }
  int64_t n_equal = 0;
  const facet_attribute *joined = facet_dataset_attribute(d, facet_schema_feature(schema, "history.joined_2"));
  cr_assert(joined->n_rows == 502 && joined->ids[0] == 0 && joined->ids[1] == 1);
  for (int64_t i = 2; i < 502; i++) n_equal += joined->ids[i] == token[i];
  cr_assert(n_equal < 10, "the fields are not the same: %d of 500", (int)n_equal);
  EXPECT_OK(facet_shard_verify(shard));
  cr_assert(facet_shard_n_events(facet_dataset_part(plain, 0), 0) == n);
  EXPECT_OK(
      facet_column_read_int32(facet_shard_values(facet_dataset_part(plain, 0),
                                                 facet_schema_feature(facet_dataset_schema(plain), "history.item_id")),
                              0, n, value));
  cr_assert(memcmp(item, value, (size_t)n * sizeof *item) == 0);
  free(item);
  free(value);
  facet_dataset_close(&d);
  facet_dataset_close(&plain);
}

/* ---- content ----------------------------------------------------------------------------------------------------- */

/* The next impression expected of a split, and the users drawn again one after the other. */
typedef struct reader {
  const facet_synthesize_options *options;
  synthetic_world *world;
  synthetic_user user;
  synthetic_event *events;
  synthetic_impression *impressions;
  int split;
  int64_t next; /* impression of the user */
} reader;

static void draw_user(reader *r, int64_t id) {
  const int64_t n_held_out = r->options->impressions / 10 > 1 ? r->options->impressions / 10 : 1;
  synthetic_user_draw(r->world, id, &r->user, r->events, r->impressions);
  r->next = r->split == 0 ? 0 : r->options->impressions - (3 - r->split) * n_held_out;
}

static int64_t end_of_split(const reader *r) {
  const int64_t n_held_out = r->options->impressions / 10 > 1 ? r->options->impressions / 10 : 1;
  return r->options->impressions - (2 - r->split) * n_held_out;
}

static void open_reader(reader *r, const facet_synthesize_options *options) {
  *r = (reader){.options = options};
  EXPECT_OK(synthetic_world_create(options, &r->world));
  r->events = calloc((size_t)options->events * 3 / 2 + 2, sizeof *r->events);
  r->impressions = calloc((size_t)options->impressions, sizeof *r->impressions);
}

static void close_reader(reader *r) {
  synthetic_world_destroy(&r->world);
  free(r->events);
  free(r->impressions);
}

/* One stored column of a part in memory. */
static int64_t *read_column(facet_column *column) {
  int64_t *values = calloc((size_t)facet_column_n_rows(column) + 1, sizeof *values);
  EXPECT_OK(facet_column_read_int64(column, 0, facet_column_n_rows(column), values));
  return values;
}

enum { TIME, USER, ITEM, HOUR, POSITION, EVENT_ITEM, EVENT_TIME, N_INTS };
static const char *const int_names[N_INTS] = {"time",     "user_id",         "item_id",     "hour",
                                              "position", "history.item_id", "history.time"};

/* The window must hold the newest events strictly before the impression's time, `n` of them. */
static void expect_window(const reader *r, const synthetic_impression *shown, const int64_t *items,
                          const int64_t *times, int64_t n) {
  int64_t before = 0;
  while (before < r->user.n_events && r->events[before].time < shown->time) before++;
  cr_assert(n == (before < r->options->max_length ? before : r->options->max_length),
            "user %d: a window of %d events, %d are before it", (int)r->user.id, (int)n, (int)before);
  for (int64_t t = 0; t < n; t++) {
    const synthetic_event *event = &r->events[before - n + t];
    cr_assert(items[t] == event->item + 2 && times[t] == event->time && times[t] < shown->time);
  }
}

/* The columns of a part. */
typedef struct part {
  facet_shard *shard;
  float *label;
  int64_t *column[N_INTS], *start, *length;
} part;

static void open_part(part *p, const facet_dataset *d, int index) {
  const facet_schema *schema = facet_dataset_schema(d);
  p->shard = facet_dataset_part(d, index);
  const int64_t n = facet_shard_n_samples(p->shard);
  EXPECT_OK(facet_shard_verify(p->shard));
  p->label = calloc((size_t)n, sizeof *p->label);
  EXPECT_OK(facet_column_read_float(facet_shard_values(p->shard, schema->label), 0, n, p->label));
  for (int i = 0; i < N_INTS; i++)
    p->column[i] = read_column(facet_shard_values(p->shard, facet_schema_feature(schema, int_names[i])));
  p->start = read_column(facet_shard_starts(p->shard, 0));
  p->length = read_column(facet_shard_lengths(p->shard, 0));
}

static void close_part(part *p) {
  for (int i = 0; i < N_INTS; i++) free(p->column[i]);
  free(p->label);
  free(p->start);
  free(p->length);
}

static void expect_sample(const reader *r, const part *p, int64_t row) {
  const synthetic_impression *shown = &r->impressions[r->next];
  const int64_t start = p->start[row];
  cr_assert(p->label[row] == shown->label && p->column[TIME][row] == shown->time);
  cr_assert(p->column[USER][row] == r->user.id + 2 && p->column[ITEM][row] == shown->item + 2);
  cr_assert(p->column[HOUR][row] == shown->time / 3600 % 24 + 2 && p->column[POSITION][row] == shown->position + 1);
  expect_window(r, shown, p->column[EVENT_ITEM] + start, p->column[EVENT_TIME] + start, p->length[row]);
}

/* Every sample of a split is the next impression of its users; parts end where the option says. */
static void expect_split(reader *r, const char *name, int split) {
  facet_dataset *d;
  const facet_synthesize_options *o = r->options;
  int64_t n_rows = 0;
  r->split = split;
  draw_user(r, 0);
  const int64_t n_per_user = end_of_split(r) - r->next;
  EXPECT_OK(facet_dataset_open(in_directory(name), splits[split], &d));
  for (int index = 0; index < facet_dataset_n_parts(d); index++) {
    part p;
    open_part(&p, d, index);
    const int64_t n = facet_shard_n_samples(p.shard);
    cr_assert(n - n_per_user < o->part_samples && n % n_per_user == 0);
    cr_assert(n >= o->part_samples || index + 1 == facet_dataset_n_parts(d));
    for (int64_t row = 0; row < n; row++, r->next++) {
      if (r->next == end_of_split(r)) draw_user(r, r->user.id + 1);
      expect_sample(r, &p, row);
    }
    n_rows += n;
    close_part(&p);
  }
  cr_assert(n_rows == o->users * n_per_user);
  facet_dataset_close(&d);
}

static void expect_dataset(const facet_synthesize_options *options, const char *name) {
  reader r;
  open_reader(&r, options);
  synthesize(options, name);
  for (int split = 0; split < 3; split++) expect_split(&r, name, split);
  close_reader(&r);
}

Test(synthesize, stores_the_impressions_and_the_events_before_them) {
  facet_synthesize_options options = options_of(50);
  expect_dataset(&options, "usual");
  options.compress = true;
  expect_dataset(&options, "compressed");
  options.part_samples = 300;
  expect_dataset(&options, "parts");
  options.compress = false;
  options.max_length = 3;
  expect_dataset(&options, "short_windows");
}

/* Many impressions after one event reach beyond the next event's time; few events leave windows empty. */
Test(synthesize, windows_of_users_with_many_impressions_or_few_events) {
  facet_synthesize_options options = options_of(40);
  options.events = 3;
  options.impressions = 2000;
  expect_dataset(&options, "many_impressions");
  options.users = 8;
  options.events = 1;
  options.impressions = 3;
  options.part_samples = 1;
  expect_dataset(&options, "few_events");
}

Test(synthesize, tables_and_vocabularies_name_the_items) {
  facet_synthesize_options options = options_of(30);
  reader r;
  facet_dataset *d;
  facet_vocabulary *vocabulary;
  open_reader(&r, &options);
  synthesize(&options, "a");
  EXPECT_OK(facet_dataset_open(in_directory("a"), "test", &d));
  const facet_schema *schema = facet_dataset_schema(d);
  const facet_attribute *category = facet_dataset_attribute(d, facet_schema_feature(schema, "category"));
  cr_assert(category->n_rows == 502 && category->ids[0] == 0 && category->ids[1] == 1);
  for (int64_t i = 0; i < 500; i++) cr_assert(category->ids[i + 2] == r.world->category_of[i] + 2);
  EXPECT_OK(facet_vocabulary_load(in_directory("a/vocab/item.h5"), &vocabulary));
  cr_assert(facet_vocabulary_size(vocabulary) == 502 && facet_vocabulary_find(vocabulary, "i499", 4) == 501);
  facet_vocabulary_destroy(&vocabulary);
  EXPECT_OK(facet_vocabulary_load(in_directory("a/vocab/position.h5"), &vocabulary));
  cr_assert(facet_vocabulary_size(vocabulary) == 12 && facet_vocabulary_find(vocabulary, "10", 2) == 11);
  facet_vocabulary_destroy(&vocabulary);
  facet_dataset_close(&d);
  close_reader(&r);
}

/* ---- click probability ------------------------------------------------------------------------------------------- */

/* The logit as facet/synthesize.h documents it. */
static double logit_of(const reader *r, const synthetic_impression *shown, double match) {
  const facet_synthesize_options *o = r->options;
  const synthetic_world *w = r->world;
  const double hour = (double)w->hour_effect[shown->hour * o->categories + w->category_of[shown->item]];
  return o->bias + o->interest * match + o->quality * (double)w->quality_of[shown->item] + o->hour * hour +
         o->position * -log((double)shown->position);
}

static double match_of(const reader *r, const synthetic_impression *shown) {
  double match = 0;
  for (int64_t k = 0; k < r->user.n_interests; k++)
    if (r->user.cluster[k] == r->world->cluster_of[shown->item])
      match = (double)r->user.n_interests * r->user.weight[k];
  return match;
}

/* E[match | window] of an impression whose window is the newest events before it. */
static double expected_match_of(const reader *r, const synthetic_impression *shown) {
  double expected;
  int64_t n_same = 0, n = 0;
  for (int64_t t = r->user.n_events - 1; t >= 0 && n < r->options->max_length; t--) {
    if (r->events[t].time >= shown->time) continue;
    n_same += r->world->cluster_of[r->events[t].item] == r->world->cluster_of[shown->item];
    n++;
  }
  EXPECT_OK(synthetic_expected_match(r->world, n_same, n, &expected));
  return expected;
}

/* Counts of labels and sums of probabilities (or of matches) in ten bins. */
typedef struct bins {
  double n[10], said[10], happened[10], variance[10];
} bins;

static void add(bins *b, double place, double said, double happened) {
  const int i = place >= 1 ? 9 : (int)(10 * place);
  b->n[i]++;
  b->said[i] += said;
  b->happened[i] += happened;
  b->variance[i] += said * (1 - said);
}

Test(synthesize, labels_happen_as_often_as_the_probability_says) {
  const facet_synthesize_options options = options_of(2000);
  reader r;
  bins labels = {0};
  open_reader(&r, &options);
  for (int64_t id = 0; id < options.users; id++) {
    draw_user(&r, id);
    for (int64_t i = 0; i < options.impressions; i++) {
      const synthetic_impression *shown = &r.impressions[i];
      const double p = 1 / (1 + exp(-logit_of(&r, shown, match_of(&r, shown))));
      add(&labels, p, p, (double)shown->label);
    }
  }
  for (int i = 0; i < 10; i++) {
    cr_assert(labels.n[i] > 500, "bin %d has %g samples", i, labels.n[i]);
    cr_assert(fabs(labels.happened[i] - labels.said[i]) < 4 * sqrt(labels.variance[i]),
              "bin %d: %g clicks, %g expected", i, labels.happened[i], labels.said[i]);
  }
  close_reader(&r);
}

/* The oracle's E[match | window] is right on average wherever it is low or high, and so is its mean without history. */
Test(synthesize, the_expected_match_is_unbiased) {
  const facet_synthesize_options options = options_of(2000);
  reader r;
  bins matches = {0};
  double mean = 0;
  open_reader(&r, &options);
  for (int64_t id = 0; id < options.users; id++) {
    draw_user(&r, id);
    for (int64_t i = 0; i < options.impressions; i++) {
      const double match = match_of(&r, &r.impressions[i]), expected = expected_match_of(&r, &r.impressions[i]);
      add(&matches, expected / 1.5, expected, match);
      mean += match / (double)(options.users * options.impressions);
    }
  }
  for (int i = 0; i < 10; i++) {
    if (matches.n[i] < 500) continue;
    const double said = matches.said[i] / matches.n[i], happened = matches.happened[i] / matches.n[i];
    cr_assert(fabs(said - happened) < 0.05 + 0.05 * happened, "bin %d: expected %g, was %g", i, said, happened);
  }
  cr_assert(fabs(r.world->prior_mean - mean) < 0.05, "prior mean %g, was %g", r.world->prior_mean, mean);
  close_reader(&r);
}

/* ---- reachable AUCs ---------------------------------------------------------------------------------------------- */

static double truth_of(const char *name, const char *key) {
  char path[192];
  json_error_t error;
  snprintf(path, sizeof path, "%s/truth.json", in_directory(name));
  json_t *truth = json_load_file(path, 0, &error);
  cr_assert(truth, "%s", error.text);
  const double value = json_number_value(json_object_get(truth, key));
  json_decref(truth);
  return value;
}

/* Pairs counted one by one. */
static double auc_of(int64_t n, const float *score, const float *label) {
  double won = 0, pairs = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; label[i] == 1 && j < n; j++) {
      if (label[j] == 1) continue;
      pairs++;
      won += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
    }
  return won / pairs;
}

Test(synthesize, truth_equals_a_recomputation) {
  const facet_synthesize_options options = options_of(700);
  static float label[2800], best[2800], target_aware[2800], without_history[2800];
  reader r;
  double loss = 0, n_positives = 0;
  int64_t n = 0;
  synthesize(&options, "a");
  open_reader(&r, &options);
  r.split = 2;
  for (int64_t id = 0; id < options.users; id++)
    for (draw_user(&r, id); r.next < end_of_split(&r); r.next++, n++) {
      const synthetic_impression *shown = &r.impressions[r.next];
      const double logit = logit_of(&r, shown, match_of(&r, shown));
      label[n] = shown->label;
      best[n] = (float)logit;
      target_aware[n] = (float)logit_of(&r, shown, expected_match_of(&r, shown));
      without_history[n] = (float)logit_of(&r, shown, r.world->prior_mean);
      loss += log1p(exp(shown->label == 1 ? -logit : logit));
      n_positives += (double)shown->label;
    }
  cr_assert(n == 2800 && truth_of("a", "samples") == 2800 && truth_of("a", "positives") == n_positives);
  cr_assert_float_eq(truth_of("a", "best_auc"), auc_of(n, best, label), 1e-6);
  cr_assert_float_eq(truth_of("a", "target_aware_auc"), auc_of(n, target_aware, label), 1e-6);
  cr_assert_float_eq(truth_of("a", "without_history_auc"), auc_of(n, without_history, label), 1e-6);
  cr_assert_float_eq(truth_of("a", "best_logloss"), loss / (double)n, 1e-6);
  close_reader(&r);
}

/* What a model can learn from the history is worth a tenth of AUC; what no model can know, some more. */
Test(synthesize, the_history_matters) {
  facet_synthesize_options options;
  EXPECT_OK(facet_options_default(&facet_synthesize_section, &options));
  options.users = 2000;
  synthesize(&options, "a");
  const double best = truth_of("a", "best_auc"), aware = truth_of("a", "target_aware_auc"),
               without = truth_of("a", "without_history_auc");
  cr_assert(best > aware + 0.005 && aware > without + 0.1 && without > 0.55 && best < 0.95, "%g %g %g", best, aware,
            without);
  options.interest = 0; /* then nothing is to be learnt from it */
  synthesize(&options, "b");
  cr_assert_float_eq(truth_of("b", "best_auc"), truth_of("b", "without_history_auc"), 1e-9);
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

/* Nothing is in the test's directory. */
static bool nothing_is_left(void) {
  facet_arena *arena;
  char **names;
  int64_t n;
  EXPECT_OK(facet_arena_create(&arena));
  EXPECT_OK(facet_directory_list(directory, arena, &names, &n));
  facet_arena_destroy(&arena);
  return n == 0;
}

Test(synthesize, options_that_contradict_each_other) {
  static const struct {
    const char *key, *value, *said;
  } cases[] = {{"clusters", "501", "synthesize.clusters is 501, expected at most items (500)"},
               {"categories", "21", "synthesize.categories is 21, expected at most clusters (20)"},
               {"interests_min", "5", "interests_min is 5 and interests_max 4, expected min"},
               {"clusters", "3", "synthesize.categories is 10, expected at most clusters (3)"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    facet_synthesize_options options = options_of(10);
    EXPECT_OK(facet_options_set(&facet_synthesize_section, cases[i].key, cases[i].value, "--set", &options));
    EXPECT_ERROR(FACET_ERROR_USAGE, facet_synthesize(&options, in_directory("a")), cases[i].said);
  }
  facet_synthesize_options options = options_of(10);
  options.clusters = 3;
  options.categories = 3;
  EXPECT_ERROR(FACET_ERROR_USAGE, facet_synthesize(&options, in_directory("a")), "interests_max 4", "clusters (3)");
  cr_assert(nothing_is_left());
}

Test(synthesize, options_outside_their_range) {
  static const char *const cases[][2] = {{"users", "0"},          {"items", "1"},        {"impressions", "2"},
                                         {"noise", "0"},          {"noise", "1.5"},      {"interests_max", "17"},
                                         {"interest_share", "2"}, {"part_samples", "0"}, {"max_length", "0"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    facet_synthesize_options options = options_of(10);
    EXPECT_ERROR(FACET_ERROR_USAGE,
                 facet_options_set(&facet_synthesize_section, cases[i][0], cases[i][1], "--set", &options), cases[i][0],
                 cases[i][1]);
  }
}

Test(synthesize, a_test_split_without_an_auc_is_an_error) {
  facet_synthesize_options options = options_of(1);
  options.impressions = 3;
  EXPECT_ERROR(FACET_ERROR_DATA, facet_synthesize(&options, in_directory("a")),
               "the test split has 1 samples of which");
  cr_assert(nothing_is_left());
}

Test(synthesize, an_output_that_exists_is_kept) {
  const facet_synthesize_options options = options_of(20);
  EXPECT_OK(facet_file_write(in_directory("file"), "x", 1));
  EXPECT_ERROR(FACET_ERROR_USAGE, facet_synthesize(&options, in_directory("file")), "file exists");
  cr_assert(facet_file_exists(in_directory("file")) && unlink(in_directory("file")) == 0);
  synthesize(&options, "a");
  const char *before = bytes_of("a");
  EXPECT_ERROR(FACET_ERROR_USAGE, facet_synthesize(&options, in_directory("a")), "/a exists and is not an empty");
  cr_assert_str_eq(before, bytes_of("a"));
  EXPECT_OK(facet_directory_create(in_directory("empty")));
  synthesize(&options, "empty");
  cr_assert_str_eq(before, bytes_of("empty"));
}
