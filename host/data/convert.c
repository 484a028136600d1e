/* Conversion of logs (facet/convert.h): read → sort → split → ids → tables → shards → vocabularies. */
#include "facet/convert.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "data/convert_internal.h"
#include "facet/log.h"
#include "facet/memory.h"

static facet_status save_vocabulary(const conversion *self, const facet_vocabulary *vocabulary) {
  char path[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(path, "%s/vocab/%s.h5", self->directory, facet_vocabulary_name(vocabulary)));
  return facet_vocabulary_save(vocabulary, path);
}

static facet_status save_vocabularies(const conversion *self) {
  for (int e = 0; e < CONVERT_N_ENTITIES; e++) FACET_TRY(save_vocabulary(self, self->entities[e].final));
  for (int i = 0; i < self->n_vocabularies; i++) FACET_TRY(save_vocabulary(self, self->vocabularies[i].vocabulary));
  if (self->options.hour) FACET_TRY(dataset_save_numbers(self->directory, "hour", "", 0, CONVERT_N_HOURS));
  if (!self->options.weekday) return FACET_OK;
  return dataset_save_numbers(self->directory, "weekday", "", 0, CONVERT_N_WEEKDAYS); /* 0 is Monday */
}

static void report_dropped(FILE *report, int64_t n, const char *reason) {
  if (n > 0) fprintf(report, "  %12lld dropped: %s\n", (long long)n, reason);
}

static void report_interactions(const conversion *self, FILE *out) {
  const convert_counts *c = &self->counts;
  fprintf(out, "rows     %12lld read from %s\n  %12lld kept as events\n", (long long)c->rows, self->interactions.file,
          (long long)c->kept);
  report_dropped(out, c->below_rating, "rating below interactions.rating_at_least");
  report_dropped(out, c->other_kind, "kinds that interactions.event_kinds lacks");
  report_dropped(out, c->outside, "time outside interactions.time_from and time_until");
  report_dropped(out, c->bad, "fields missing or not readable");
  report_dropped(out, c->duplicates, "repeat user, item and time of the row before");
  char reason[128];
  snprintf(reason, sizeof reason, "of %lld users with fewer than %lld events (convert.min_user_events)",
           (long long)c->short_users, (long long)self->options.min_user_events);
  report_dropped(out, c->short_user_rows, reason);
}

static void report_impressions(const conversion *self, FILE *out) {
  const convert_counts *c = &self->counts;
  const convert_impressions *impressions = &self->impressions;
  fprintf(out, "rows     %12lld read from %s", (long long)c->rows, impressions->log.file);
  if (impressions->valid_file[0]) fprintf(out, ", %s", impressions->valid_file);
  if (impressions->test_file[0]) fprintf(out, ", %s", impressions->test_file);
  fprintf(out, "\n  %12lld kept as impressions\n", (long long)(c->kept - c->short_history));
  report_dropped(out, c->bad, "fields missing or not readable");
  report_dropped(out, c->outside, "time outside impressions.time_from and time_until");
  report_dropped(out, c->nothing_shown, "nothing was shown");
  char reason[128];
  snprintf(reason, sizeof reason, "fewer than %lld events before them (convert.min_history)",
           (long long)self->options.min_history);
  report_dropped(out, c->short_history, reason);
  if (c->shown_again > 0)
    fprintf(out, "%lld items were shown again in their impression and are left out (convert.keep_duplicates)\n",
            (long long)c->shown_again);
  if (c->no_list > 0)
    fprintf(out, "%lld impressions are of users without a history in %s\n", (long long)c->no_list,
            self->history.log.file);
  if (c->unsorted > 0)
    fprintf(out, "%lld histories were not in the order of their times and have been sorted\n", (long long)c->unsorted);
  if (c->later_events > 0)
    fprintf(out, "%lld impressions have events in their list that are not before them and are left out of the window\n",
            (long long)c->later_events);
}

static void report_samples(const conversion *self, FILE *out) {
  const convert_counts *c = &self->counts;
  if (facet_sorter_n_runs(self->sorter) > 0)
    fprintf(out, "%lld sorted runs were spilled to disk (convert.memory_mb)\n",
            (long long)facet_sorter_n_runs(self->sorter));
  for (int e = 0; e < CONVERT_N_ENTITIES; e++)
    fprintf(out, "%-8s %12lld with an id\n", e == CONVERT_USER ? "users" : "items",
            (long long)facet_vocabulary_size(self->entities[e].final) - FACET_ID_FIRST);
  for (int s = 0; s < N_SPLITS; s++) {
    const split_writer *split = &self->splits[s];
    fprintf(out, "%-8s %12lld samples, %lld positive, %lld history events, %lld part%s\n", split_names[s],
            (long long)split->n_samples_total, (long long)c->positives[s], (long long)split->n_events_total,
            (long long)split->n_parts, split->n_parts == 1 ? "" : "s");
  }
  if (c->no_history > 0)
    fprintf(out, "%lld events have fewer than %lld before them and are history only (convert.min_history)\n",
            (long long)c->no_history, (long long)self->options.min_history);
  if (c->unknown_users + c->unknown_items > 0)
    fprintf(out, "%lld samples have an unknown user and %lld an unknown item: not often enough in the training split\n",
            (long long)c->unknown_users, (long long)c->unknown_items);
  if (c->no_negative > 0)
    fprintf(out, "%lld negatives were not drawn: their users know every training item\n", (long long)c->no_negative);
}

/* An empty split has no directory. */
static facet_status remove_empty_splits(const conversion *self) {
  char path[FACET_PATH_MAX];
  for (int split = SPLIT_VALID; split < N_SPLITS; split++) {
    FACET_TRY(facet_path_format(path, "%s/%s", self->directory, split_names[split]));
    FACET_CHECK(rmdir(path) == 0 || errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST, FACET_ERROR_IO,
                "cannot remove directory %s: %s", path, strerror(errno));
  }
  return FACET_OK;
}

static facet_status read_log(conversion *self) {
  if (self->has_impressions) return convert_read_impressions(self);
  FACET_TRY(convert_read_interactions(self));
  return convert_find_time_limits(self);
}

static facet_status check_training_samples(const conversion *self) {
  if (self->splits[SPLIT_TRAIN].n_samples_total > 0) return FACET_OK;
  FACET_CHECK(!self->has_impressions, FACET_ERROR_DATA,
              "%s gives no training sample: %lld impressions are read, %lld of them have too short a history",
              self->impressions.log.file, (long long)self->counts.kept, (long long)self->counts.short_history);
  FACET_FAIL(FACET_ERROR_DATA, "%s gives no training sample: %lld events of users with enough of them are kept",
             self->interactions.file, (long long)self->counts.kept);
}

static facet_status run(conversion *self) {
  convert_tables *tables = NULL;
  FACET_TRY(dataset_create_directories(self->directory));
  FACET_TRY(read_log(self));
  FACET_TRY(convert_assign_ids(self));
  facet_status status = convert_read_tables(self, &tables);
  if (status == FACET_OK) status = convert_make_schema(self);
  if (status == FACET_OK) status = convert_write_tables(self, tables);
  convert_destroy_tables(&tables);
  FACET_TRY(status);
  FACET_TRY(self->has_impressions ? convert_write_impressions(self) : convert_write_samples(self));
  FACET_TRY(check_training_samples(self));
  FACET_TRY(save_vocabularies(self));
  FACET_TRY(remove_empty_splits(self));
  if (self->has_impressions)
    report_impressions(self, self->request->report);
  else
    report_interactions(self, self->request->report);
  report_samples(self, self->request->report);
  return FACET_OK;
}

static void close_conversion(conversion *self) {
  for (int e = 0; e < CONVERT_N_ENTITIES; e++) {
    facet_vocabulary_destroy(&self->entities[e].raw);
    facet_vocabulary_destroy(&self->entities[e].final);
    facet_memory_free(self->entities[e].train_count);
    facet_memory_free(self->entities[e].final_id);
  }
  for (int i = 0; i < self->n_vocabularies; i++) facet_vocabulary_destroy(&self->vocabularies[i].vocabulary);
  convert_close_fields(&self->context);
  convert_close_fields(&self->event_fields);
  convert_destroy_impressions(self);
  for (int split = 0; split < N_SPLITS; split++) facet_shard_writer_destroy(&self->splits[split].part);
  facet_sorter_destroy(&self->sorter);
  facet_vocabulary_destroy(&self->kinds);
  facet_memory_free(self->log.fields);
  facet_schema_destroy(&self->schema);
  facet_memory_free(self->log.events);
  facet_memory_free(self->log.split);
  facet_memory_free(self->log.items);
  facet_memory_free(self);
}

facet_status facet_convert(const facet_convert_request *request) {
  conversion *self;
  FACET_TRY(FACET_ALLOC(self, 1, "conversion"));
  self->request = request;
  self->entities[CONVERT_USER].name = "user";
  self->entities[CONVERT_USER].id_feature = "user_id";
  self->entities[CONVERT_ITEM].name = "item";
  self->entities[CONVERT_ITEM].id_feature = "item_id";
  facet_status status = convert_read_config(self);
  if (status == FACET_OK) status = facet_directory_stage(request->output, self->directory);
  if (status == FACET_OK) status = facet_directory_publish(self->directory, request->output, run(self));
  close_conversion(self);
  return status;
}
