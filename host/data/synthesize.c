/* Writes synthetic logs as a data set (facet/synthesize.h). Memory is bounded by the items and one user. */
#include "facet/synthesize.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset_writer.h"
#include "data/schema_text.h"
#include "data/synthetic_world.h"
#include "facet/file.h"
#include "facet/log.h"
#include "facet/memory.h"
#include "facet/metrics.h"
#include "facet/rng.h"

#define MAX_FIELDS 16     /* event_fields and item_fields */
#define FIELD_TOKENS 1000 /* of each such field */
#define FIELD(name) offsetof(facet_synthesize_options, name)

static const facet_option options_table[] = {
    {"seed", FACET_OPTION_INT, FIELD(seed), "1", 0, 9e15, NULL,
     "Key of every draw; the same seed gives the same bytes."},
    {"users", FACET_OPTION_INT, FIELD(users), "4000", 1, 1e9, NULL, "Number of users."},
    {"items", FACET_OPTION_INT, FIELD(items), "4000", 2, 1e9, NULL, "Number of items."},
    {"clusters", FACET_OPTION_INT, FIELD(clusters), "64", 2, 1e6, NULL, "Latent clusters of items; at most `items`."},
    {"categories", FACET_OPTION_INT, FIELD(categories), "32", 1, 1e6, NULL, "Item categories; at most `clusters`."},
    {"events", FACET_OPTION_INT, FIELD(events), "60", 1, 1e6, NULL,
     "History events per user on average; a user has between half and 1.5 times as many."},
    {"impressions", FACET_OPTION_INT, FIELD(impressions), "40", 3, 1e6, NULL,
     "Shown items per user; the last tenth is the test split, the tenth before it the validation split."},
    {"interests_min", FACET_OPTION_INT, FIELD(interests_min), "2", 1, SYNTHETIC_MAX_INTERESTS, NULL,
     "Fewest interests of a user."},
    {"interests_max", FACET_OPTION_INT, FIELD(interests_max), "4", 1, SYNTHETIC_MAX_INTERESTS, NULL,
     "Most interests of a user; at most `clusters`."},
    {"max_length", FACET_OPTION_INT, FIELD(max_length), "50", 1, 1e5, NULL, "Events in the longest history window."},
    {"embedding_width", FACET_OPTION_INT, FIELD(embedding_width), "8", 1, 4096, NULL, "Embedding width in the schema."},
    {"noise", FACET_OPTION_DOUBLE, FIELD(noise), "0.4", 0.001, 1, NULL, "Share of history events from any cluster."},
    {"interest_share", FACET_OPTION_DOUBLE, FIELD(interest_share), "0.5", 0, 1, NULL,
     "Share of impressions whose item is of one of the user's interests."},
    {"bias", FACET_OPTION_DOUBLE, FIELD(bias), "-1.5", -100, 100, NULL, "Constant of the click logit."},
    {"interest", FACET_OPTION_DOUBLE, FIELD(interest), "2.5", -100, 100, NULL, "Effect of the match on the logit."},
    {"quality", FACET_OPTION_DOUBLE, FIELD(quality), "0.5", -100, 100, NULL, "Effect of the item's quality."},
    {"hour", FACET_OPTION_DOUBLE, FIELD(hour), "0.3", -100, 100, NULL, "Effect of the hour for the item's category."},
    {"position", FACET_OPTION_DOUBLE, FIELD(position), "0.3", -100, 100, NULL, "Effect of -ln(position)."},
    {"event_fields", FACET_OPTION_INT, FIELD(event_fields), "0", 0, MAX_FIELDS, NULL,
     "Id fields of an event besides its item, stored with the event, for measurements of reading."},
    {"item_fields", FACET_OPTION_INT, FIELD(item_fields), "0", 0, MAX_FIELDS, NULL,
     "The same, stored once per item and joined."},
    {"part_samples", FACET_OPTION_INT, FIELD(part_samples), "1000000", 1, 1e12, NULL,
     "A part is closed at the end of the user that reaches this many samples."},
    {"compress", FACET_OPTION_BOOL, FIELD(compress), "false", 0, 0, NULL, "Write chunked, compressed shards."},
    {0}};

const facet_option_section facet_synthesize_section = {.name = "synthesize",
                                                       .help = "Synthetic logs with a known click probability.",
                                                       .options = options_table,
                                                       .struct_bytes = sizeof(facet_synthesize_options)};

enum {
  FEATURE_LABEL,
  FEATURE_TIME,
  FEATURE_USER,
  FEATURE_ITEM,
  FEATURE_HOUR,
  FEATURE_POSITION,
  FEATURE_EVENT_ITEM,
  FEATURE_EVENT_TIME,
  N_FEATURES
};
static const char *const feature_names[N_FEATURES] = {"label", "time",     "user_id",         "item_id",
                                                      "hour",  "position", "history.item_id", "history.time"};

typedef struct synthesis {
  const facet_synthesize_options *options;
  char directory[FACET_PATH_MAX]; /* temporary name */
  facet_schema *schema;
  int feature[N_FEATURES], event_field[MAX_FIELDS]; /* indices in the schema */
  int32_t *field[2 * MAX_FIELDS];                   /* [id of an item] values of event_fields, then of item_fields */
  synthetic_world *world;
  split_writer split[N_SPLITS];
  facet_metrics *best, *target_aware, *without_history; /* of the test split */
  /* buffers of one user */
  synthetic_event *events;
  synthetic_impression *impressions;
  int32_t *ids;
  int64_t *longs;
  float *floats;
} synthesis;

/* ---- schema, tables, vocabularies ------------------------------------------------------------------------------- */

static void print_schema(const void *options, FILE *text) {
  const facet_synthesize_options *o = options;
  fprintf(text,
          "facet_schema: 1\nname: synthetic\nembedding_width: %lld\n"
          "vocabularies:\n  user: {size: %lld}\n  item: {size: %lld}\n  category: {size: %lld}\n"
          "  hour: {size: %d}\n  position: {size: %d}\n",
          (long long)o->embedding_width, (long long)o->users + FACET_ID_FIRST, (long long)o->items + FACET_ID_FIRST,
          (long long)o->categories + FACET_ID_FIRST, SYNTHETIC_HOURS + FACET_ID_FIRST,
          SYNTHETIC_POSITIONS + FACET_ID_FIRST);
  if (o->event_fields + o->item_fields > 0) fprintf(text, "  field: {size: %d}\n", FIELD_TOKENS + FACET_ID_FIRST);
  fprintf(text,
          "features:\n  label: {role: label}\n  time: {role: time}\n  user_id: {role: user, vocabulary: user}\n"
          "  item_id: {role: item, vocabulary: item}\n"
          "  category: {role: item, vocabulary: category, join: item_id}\n"
          "  hour: {role: context, vocabulary: hour}\n  position: {role: context, vocabulary: position}\n"
          "sequences:\n  history:\n    max_length: %lld\n    features:\n      item_id: {vocabulary: item}\n"
          "      category: {vocabulary: category, join: item_id}\n      time: {role: time}\n",
          (long long)o->max_length);
  for (int64_t k = 0; k < o->event_fields; k++) fprintf(text, "      event_%lld: {vocabulary: field}\n", (long long)k);
  for (int64_t k = 0; k < o->item_fields; k++)
    fprintf(text, "      joined_%lld: {vocabulary: field, join: item_id}\n", (long long)k);
}

static facet_status make_schema(synthesis *self) {
  FACET_TRY(facet_schema_make("synthetic schema", print_schema, self->options, &self->schema));
  for (int i = 0; i < N_FEATURES; i++) self->feature[i] = facet_schema_feature(self->schema, feature_names[i]);
  for (int64_t k = 0; k < self->options->event_fields; k++) {
    char name[48];
    snprintf(name, sizeof name, "history.event_%lld", (long long)k);
    self->event_field[k] = facet_schema_feature(self->schema, name);
  }
  char path[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(path, "%s/schema.yaml", self->directory));
  return facet_schema_write(self->schema, path);
}

/* Id fields beyond the category: a token for each item. */
static facet_status draw_fields(synthesis *self) {
  const facet_synthesize_options *o = self->options;
  for (int64_t k = 0; k < o->event_fields + o->item_fields; k++) {
    char purpose[48];
    snprintf(purpose, sizeof purpose, "synthetic field %lld", (long long)k);
    const facet_rng_key key = facet_rng_key_make((uint64_t)o->seed, purpose);
    FACET_TRY(FACET_ALLOC(self->field[k], o->items + FACET_ID_FIRST, "item fields"));
    self->field[k][FACET_ID_UNKNOWN] = FACET_ID_UNKNOWN;
    for (int64_t i = 0; i < o->items; i++)
      self->field[k][i + FACET_ID_FIRST] =
          FACET_ID_FIRST + (int32_t)facet_rng_below(facet_rng_word64(key, (uint64_t)i), FIELD_TOKENS);
  }
  return FACET_OK;
}

static facet_status write_tables(synthesis *self) {
  const facet_synthesize_options *o = self->options;
  facet_table_column columns[1 + MAX_FIELDS];
  char names[MAX_FIELDS][32], path[FACET_PATH_MAX];
  int32_t *category;
  FACET_TRY(FACET_ALLOC(category, o->items + FACET_ID_FIRST, "item table"));
  for (int64_t i = 0; i < o->items; i++) category[i + FACET_ID_FIRST] = self->world->category_of[i] + FACET_ID_FIRST;
  category[FACET_ID_UNKNOWN] = FACET_ID_UNKNOWN;
  columns[0] = (facet_table_column){.vocabulary = facet_schema_vocabulary(self->schema, "item"),
                                    .column = "category",
                                    .type = FACET_FEATURE_ID,
                                    .length = 1,
                                    .values = category};
  for (int64_t k = 0; k < o->item_fields; k++) {
    columns[k + 1] = columns[0];
    columns[k + 1].values = self->field[o->event_fields + k];
    columns[k + 1].column = names[k];
    snprintf(names[k], sizeof names[k], "joined_%lld", (long long)k);
  }
  facet_status status = facet_path_format(path, "%s/tables.h5", self->directory);
  if (status == FACET_OK) status = facet_tables_write(self->schema, path, columns, 1 + (int)o->item_fields);
  facet_memory_free(category);
  return status;
}

static facet_status write_vocabularies(const synthesis *self) {
  const facet_synthesize_options *o = self->options;
  FACET_TRY(dataset_save_numbers(self->directory, "user", "u", 0, o->users));
  FACET_TRY(dataset_save_numbers(self->directory, "item", "i", 0, o->items));
  FACET_TRY(dataset_save_numbers(self->directory, "category", "c", 0, o->categories));
  if (o->event_fields + o->item_fields > 0)
    FACET_TRY(dataset_save_numbers(self->directory, "field", "f", 0, FIELD_TOKENS));
  FACET_TRY(dataset_save_numbers(self->directory, "hour", "", 0, SYNTHETIC_HOURS));
  return dataset_save_numbers(self->directory, "position", "", 1, SYNTHETIC_POSITIONS);
}

/* ---- samples ---------------------------------------------------------------------------------------------------- */

static facet_status append_events(synthesis *self, split_writer *split, const synthetic_event *events, int64_t n) {
  for (int64_t t = 0; t < n; t++) {
    self->ids[t] = events[t].item + FACET_ID_FIRST;
    self->longs[t] = events[t].time;
  }
  FACET_TRY(facet_shard_append_ids(split->part, self->feature[FEATURE_EVENT_ITEM], self->ids, n));
  for (int64_t k = 0; k < self->options->event_fields; k++) {
    for (int64_t t = 0; t < n; t++) self->ids[t] = self->field[k][events[t].item + FACET_ID_FIRST];
    FACET_TRY(facet_shard_append_ids(split->part, self->event_field[k], self->ids, n));
  }
  return facet_shard_append_int64s(split->part, self->feature[FEATURE_EVENT_TIME], self->longs, n);
}

static facet_status append_windows(synthesis *self, split_writer *split, const synthetic_impression *shown, int64_t n,
                                   int64_t first_event) {
  for (int64_t i = 0; i < n; i++) {
    const int64_t length = shown[i].event < self->options->max_length ? shown[i].event : self->options->max_length;
    self->ids[i] = (int32_t)length;
    self->longs[i] = split->n_events + shown[i].event - length - first_event;
  }
  return facet_shard_append_windows(split->part, 0, self->longs, self->ids, n);
}

static facet_status append_samples(synthesis *self, split_writer *split, int64_t user,
                                   const synthetic_impression *shown, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    self->floats[i] = shown[i].label;
    self->longs[i] = shown[i].time;
  }
  FACET_TRY(facet_shard_append_floats(split->part, self->feature[FEATURE_LABEL], self->floats, n));
  FACET_TRY(facet_shard_append_int64s(split->part, self->feature[FEATURE_TIME], self->longs, n));
  for (int64_t i = 0; i < n; i++) self->ids[i] = (int32_t)user + FACET_ID_FIRST;
  FACET_TRY(facet_shard_append_ids(split->part, self->feature[FEATURE_USER], self->ids, n));
  for (int64_t i = 0; i < n; i++) self->ids[i] = shown[i].item + FACET_ID_FIRST;
  FACET_TRY(facet_shard_append_ids(split->part, self->feature[FEATURE_ITEM], self->ids, n));
  for (int64_t i = 0; i < n; i++) self->ids[i] = shown[i].hour + FACET_ID_FIRST;
  FACET_TRY(facet_shard_append_ids(split->part, self->feature[FEATURE_HOUR], self->ids, n));
  for (int64_t i = 0; i < n; i++) self->ids[i] = shown[i].position - 1 + FACET_ID_FIRST;
  return facet_shard_append_ids(split->part, self->feature[FEATURE_POSITION], self->ids, n);
}

/* The user's impressions first … first + n − 1 and the events that their windows reach. */
static facet_status write_split(synthesis *self, int which, const synthetic_user *user, int64_t first, int64_t n) {
  split_writer *split = &self->split[which];
  const synthetic_impression *shown = &self->impressions[first];
  FACET_TRY(split_open_part(split, which, self->schema, self->directory, self->options->compress));
  const int64_t reach = shown[0].event - self->options->max_length, first_event = reach > 0 ? reach : 0;
  const int64_t n_events = shown[n - 1].event - first_event;
  FACET_TRY(append_windows(self, split, shown, n, first_event));
  FACET_TRY(append_samples(self, split, user->id, shown, n));
  FACET_TRY(append_events(self, split, self->events + first_event, n_events));
  split->n_samples += n;
  split->n_events += n_events;
  return split->n_samples >= self->options->part_samples ? split_close_part(split) : FACET_OK;
}

/* ---- the reachable AUCs ------------------------------------------------------------------------------------------ */

static facet_status score_test_sample(synthesis *self, const synthetic_user *user, const synthetic_impression *shown) {
  synthetic_world *world = self->world;
  const int64_t length = shown->event < self->options->max_length ? shown->event : self->options->max_length;
  const int32_t cluster = world->cluster_of[shown->item];
  int64_t n_same = 0;
  for (int64_t t = shown->event - length; t < shown->event; t++)
    n_same += world->cluster_of[self->events[t].item] == cluster;
  double expected;
  FACET_TRY(synthetic_expected_match(world, n_same, length, &expected));
  const struct {
    facet_metrics *metrics;
    double match;
  } scores[] = {{self->best, synthetic_match(world, user, shown->item)},
                {self->target_aware, expected},
                {self->without_history, world->prior_mean}};
  const facet_real label = (facet_real)shown->label, one = 1;
  for (int i = 0; i < 3; i++) {
    const facet_real logit = (facet_real)synthetic_logit(world, shown, scores[i].match);
    FACET_TRY(facet_metrics_add(scores[i].metrics, 1, &logit, &label, &one, &one, NULL));
  }
  return FACET_OK;
}

static facet_status write_truth(synthesis *self) {
  facet_metrics_result best, target_aware, without_history;
  FACET_TRY(facet_metrics_compute(self->best, &best));
  FACET_TRY(facet_metrics_compute(self->target_aware, &target_aware));
  FACET_TRY(facet_metrics_compute(self->without_history, &without_history));
  json_t *truth =
      json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f}", "split", "test", "samples", (json_int_t)best.n_samples,
                "positives", (json_int_t)best.n_positives, "best_auc", best.auc, "target_aware_auc", target_aware.auc,
                "without_history_auc", without_history.auc, "best_logloss", best.logloss);
  char *text = truth ? json_dumps(truth, JSON_INDENT(2)) : NULL;
  json_decref(truth);
  FACET_CHECK(text, FACET_ERROR_DATA,
              "the test split has %lld samples of which %lld are positive: no AUC is defined; use more users",
              (long long)best.n_samples, (long long)best.n_positives);
  char path[FACET_PATH_MAX];
  facet_status status = facet_path_format(path, "%s/truth.json", self->directory);
  if (status == FACET_OK) status = facet_file_write(path, text, strlen(text));
  free(text);
  FACET_TRY(status);
  facet_log("test AUC: %.4f best reachable, %.4f target-aware oracle, %.4f without history", best.auc, target_aware.auc,
            without_history.auc);
  return FACET_OK;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static facet_status check_options(const facet_synthesize_options *o) {
  FACET_CHECK(o->clusters <= o->items, FACET_ERROR_USAGE, "synthesize.clusters is %lld, expected at most items (%lld)",
              (long long)o->clusters, (long long)o->items);
  FACET_CHECK(o->categories <= o->clusters, FACET_ERROR_USAGE,
              "synthesize.categories is %lld, expected at most clusters (%lld)", (long long)o->categories,
              (long long)o->clusters);
  FACET_CHECK(o->interests_min <= o->interests_max && o->interests_max <= o->clusters, FACET_ERROR_USAGE,
              "synthesize.interests_min is %lld and interests_max %lld, expected min ≤ max ≤ clusters (%lld)",
              (long long)o->interests_min, (long long)o->interests_max, (long long)o->clusters);
  return FACET_OK;
}

static facet_status open_synthesis(synthesis *self) {
  const facet_synthesize_options *o = self->options;
  const facet_metrics_options metrics = {.negative_sampling_rate = 1, .memory_mb = 128};
  FACET_TRY(dataset_create_directories(self->directory));
  FACET_TRY(synthetic_world_create(o, &self->world));
  FACET_TRY(facet_metrics_create(&metrics, &self->best));
  FACET_TRY(facet_metrics_create(&metrics, &self->target_aware));
  FACET_TRY(facet_metrics_create(&metrics, &self->without_history));
  const int64_t n_events = o->events * 3 / 2 + 2, n = n_events > o->impressions ? n_events : o->impressions;
  FACET_TRY(FACET_ALLOC(self->events, n_events, "synthetic user"));
  FACET_TRY(FACET_ALLOC(self->impressions, o->impressions, "synthetic user"));
  FACET_TRY(FACET_ALLOC(self->ids, n, "synthetic user"));
  FACET_TRY(FACET_ALLOC(self->longs, n, "synthetic user"));
  return FACET_ALLOC(self->floats, n, "synthetic user");
}

static facet_status write_users(synthesis *self) {
  const facet_synthesize_options *o = self->options;
  const int64_t n_held_out = o->impressions / 10 > 1 ? o->impressions / 10 : 1;
  const int64_t n_train = o->impressions - 2 * n_held_out;
  facet_progress progress;
  facet_progress_start(&progress, "synthesizing", "users", o->users);
  for (int64_t id = 0; id < o->users; id++) {
    synthetic_user user;
    synthetic_user_draw(self->world, id, &user, self->events, self->impressions);
    FACET_TRY(write_split(self, SPLIT_TRAIN, &user, 0, n_train));
    FACET_TRY(write_split(self, SPLIT_VALID, &user, n_train, n_held_out));
    FACET_TRY(write_split(self, SPLIT_TEST, &user, n_train + n_held_out, n_held_out));
    for (int64_t i = n_train + n_held_out; i < o->impressions; i++)
      FACET_TRY(score_test_sample(self, &user, &self->impressions[i]));
    facet_progress_update(&progress, id + 1, NULL);
  }
  for (int i = 0; i < N_SPLITS; i++) FACET_TRY(split_close_part(&self->split[i]));
  facet_progress_finish(&progress, o->users, NULL);
  return FACET_OK;
}

static void close_synthesis(synthesis *self) {
  for (int i = 0; i < N_SPLITS; i++) facet_shard_writer_destroy(&self->split[i].part);
  facet_metrics_destroy(&self->best);
  facet_metrics_destroy(&self->target_aware);
  facet_metrics_destroy(&self->without_history);
  synthetic_world_destroy(&self->world);
  facet_schema_destroy(&self->schema);
  facet_memory_free(self->events);
  facet_memory_free(self->impressions);
  facet_memory_free(self->ids);
  facet_memory_free(self->longs);
  facet_memory_free(self->floats);
  for (int k = 0; k < 2 * MAX_FIELDS; k++) facet_memory_free(self->field[k]);
}

static facet_status run(synthesis *self) {
  FACET_TRY(open_synthesis(self));
  FACET_TRY(make_schema(self));
  FACET_TRY(draw_fields(self));
  FACET_TRY(write_tables(self));
  FACET_TRY(write_vocabularies(self));
  FACET_TRY(write_users(self));
  for (int i = 0; i < N_SPLITS; i++)
    facet_log("%-5s  %s samples, %s events, %lld part%s", split_names[i],
              facet_format_count((double)self->split[i].n_samples_total),
              facet_format_count((double)self->split[i].n_events_total), (long long)self->split[i].n_parts,
              self->split[i].n_parts == 1 ? "" : "s");
  return write_truth(self);
}

facet_status facet_synthesize(const facet_synthesize_options *options, const char *directory) {
  synthesis self = {.options = options};
  FACET_TRY(check_options(options));
  FACET_TRY(facet_directory_stage(directory, self.directory));
  facet_status status = facet_directory_create(self.directory);
  if (status == FACET_OK) status = run(&self);
  close_synthesis(&self);
  return facet_directory_publish(self.directory, directory, status);
}
