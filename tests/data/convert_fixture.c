#include "convert_fixture.h"

#include <stdio.h>

#include "facet/convert.h"
#include "facet/environment.h"
#include "fixture.h"

char converter_report[8192];
static char root[64];

void converter_create(void) {
  test_directory_create(root);
  facet_environment environment = *facet_environment_get();
  environment.log = FACET_LOG_QUIET;
  facet_environment_set(&environment);
}

void converter_remove(void) {
  test_directory_remove(root);
}

const char *converter_path(const char *name) {
  static char paths[4][512];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", root, name);
  return path;
}

void converter_write_bytes(const char *name, const void *bytes, size_t n_bytes) {
  test_file_write(converter_path(name), bytes, n_bytes);
}

void converter_write(const char *name, const char *text) {
  converter_write_bytes(name, text, strlen(text));
}

facet_status converter_run_later(const char *output, const char *sets, const char *earlier, int freeze) {
  char words[256];
  const char *list[16];
  int n = 0;
  snprintf(words, sizeof words, "%s", sets);
  for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) list[n++] = word;
  FILE *report = fmemopen(converter_report, sizeof converter_report, "w");
  const facet_convert_request request = {.config = converter_path("config.yaml"),
                                         .output = converter_path(output),
                                         .vocabulary = earlier ? converter_path(earlier) : NULL,
                                         .freeze = freeze,
                                         .sets = list,
                                         .n_sets = n,
                                         .report = report};
  const facet_status status = facet_convert(&request);
  fclose(report);
  return status;
}

facet_status converter_run(const char *output, const char *sets) {
  return converter_run_later(output, sets, NULL, 0);
}

/* ---- reading back -------------------------------------------------------------------------------------------- */

typedef struct opened {
  facet_dataset *dataset;
  const facet_schema *schema;
  facet_vocabulary *vocabularies[32]; /* as in the schema */
  FILE *out;                          /* to output_text */
} opened;

static char *output_text;
static size_t output_bytes;

static opened open_output(const char *output, const char *split) {
  opened it = {0};
  char name[256];
  EXPECT_OK(facet_dataset_open(converter_path(output), split, &it.dataset));
  it.schema = facet_dataset_schema(it.dataset);
  for (int v = 0; v < it.schema->n_vocabularies; v++) {
    snprintf(name, sizeof name, "%s/vocab/%s.h5", output, it.schema->vocabularies[v].name);
    EXPECT_OK(facet_vocabulary_load(converter_path(name), &it.vocabularies[v]));
    cr_assert(facet_vocabulary_size(it.vocabularies[v]) == it.schema->vocabularies[v].size);
  }
  it.out = open_memstream(&output_text, &output_bytes);
  return it;
}

static char *close_output(opened *it) {
  for (int v = 0; v < it->schema->n_vocabularies; v++) facet_vocabulary_destroy(&it->vocabularies[v]);
  facet_dataset_close(&it->dataset);
  fclose(it->out);
  return output_text;
}

static const char *token(const opened *it, int feature, int32_t id) {
  size_t n_bytes;
  return facet_vocabulary_token(it->vocabularies[it->schema->features[feature].vocabulary], id, &n_bytes);
}

static const char *token_at(const opened *it, facet_shard *part, const char *name, int64_t row) {
  int32_t id;
  const int feature = facet_schema_feature(it->schema, name);
  EXPECT_OK(facet_column_read_int32(facet_shard_values(part, feature), row, 1, &id));
  return token(it, feature, id);
}

/* A value of a sample or event: its token, or a number. */
static void print_value(const opened *it, facet_shard *part, int feature, int64_t row) {
  const facet_feature *info = &it->schema->features[feature];
  float number;
  if (info->type == FACET_FEATURE_ID) {
    fputs(token_at(it, part, info->name, row), it->out);
    return;
  }
  EXPECT_OK(facet_column_read_float(facet_shard_values(part, feature), row, 1, &number));
  fprintf(it->out, "%g", (double)number);
}

static long long time_at(const opened *it, facet_shard *part, const char *name, int64_t row) {
  int64_t time;
  EXPECT_OK(facet_column_read_int64(facet_shard_values(part, facet_schema_feature(it->schema, name)), row, 1, &time));
  return time;
}

static void print_event(const opened *it, facet_shard *part, int64_t row) {
  fprintf(it->out, " %s", token_at(it, part, "history.item_id", row));
  for (int f = 0; f < it->schema->n_features; f++) {
    const facet_feature *info = &it->schema->features[f];
    if (info->role != FACET_ROLE_BEHAVIOUR || info->join >= 0 || strcmp(info->name, "history.item_id") == 0) continue;
    fputc('/', it->out);
    print_value(it, part, f, row);
  }
  if (facet_schema_feature(it->schema, "history.time") >= 0)
    fprintf(it->out, "@%lld", time_at(it, part, "history.time", row));
}

static void print_sample(const opened *it, facet_shard *part, int64_t row) {
  float label;
  int64_t start;
  int32_t length;
  EXPECT_OK(facet_column_read_float(facet_shard_values(part, it->schema->label), row, 1, &label));
  EXPECT_OK(facet_column_read_int64(facet_shard_starts(part, 0), row, 1, &start));
  EXPECT_OK(facet_column_read_int32(facet_shard_lengths(part, 0), row, 1, &length));
  fprintf(it->out, "%s %s=%g ", token_at(it, part, "user_id", row), token_at(it, part, "item_id", row), (double)label);
  if (it->schema->group >= 0)
    fprintf(it->out, "#%lld ", time_at(it, part, it->schema->features[it->schema->group].name, row));
  fprintf(it->out, "@%lld", time_at(it, part, "time", row));
  for (int f = 0; f < it->schema->n_features; f++) {
    if (it->schema->features[f].role != FACET_ROLE_CONTEXT) continue;
    fprintf(it->out, " %s=", it->schema->features[f].name);
    print_value(it, part, f, row);
  }
  fputc(':', it->out);
  for (int64_t event = start; event < start + length; event++) print_event(it, part, event);
  fputc('\n', it->out);
}

char *converter_samples(const char *output, const char *split) {
  opened it = open_output(output, split);
  for (int p = 0; p < facet_dataset_n_parts(it.dataset); p++) {
    facet_shard *part = facet_dataset_part(it.dataset, p);
    EXPECT_OK(facet_shard_verify(part));
    if (p > 0) fputs("--\n", it.out);
    for (int64_t row = 0; row < facet_shard_n_samples(part); row++) print_sample(&it, part, row);
  }
  return close_output(&it);
}

char *converter_column(const char *output, const char *name) {
  opened it = open_output(output, "train");
  const int feature = facet_schema_feature(it.schema, name);
  const facet_attribute *column = facet_dataset_attribute(it.dataset, feature);
  cr_assert(column, "%s", name);
  for (int32_t id = FACET_ID_UNKNOWN; id < column->n_rows; id++) {
    fprintf(it.out, "%s=", token(&it, it.schema->features[feature].join, id));
    if (column->floats) fprintf(it.out, "%g", (double)column->floats[id]);
    if (column->ids && !column->offsets) fputs(token(&it, feature, column->ids[id]), it.out);
    for (int64_t i = column->offsets ? column->offsets[id] : 0; column->offsets && i < column->offsets[id + 1]; i++)
      fprintf(it.out, "%s%s", i > column->offsets[id] ? "," : "", token(&it, feature, column->ids[i]));
    fputc('\n', it.out);
  }
  return close_output(&it);
}

char *converter_tokens(const char *output, const char *name) {
  opened it = open_output(output, "train");
  const int v = facet_schema_vocabulary(it.schema, name);
  size_t n_bytes;
  for (int64_t id = FACET_ID_FIRST; id < facet_vocabulary_size(it.vocabularies[v]); id++)
    fprintf(it.out, "%s%s", id > FACET_ID_FIRST ? " " : "", facet_vocabulary_token(it.vocabularies[v], id, &n_bytes));
  return close_output(&it);
}

char *converter_names(void) {
  facet_arena *arena;
  char **names, *text;
  int64_t n;
  size_t n_bytes;
  FILE *out = open_memstream(&text, &n_bytes);
  EXPECT_OK(facet_arena_create(&arena));
  EXPECT_OK(facet_directory_list(root, arena, &names, &n));
  for (int64_t i = 0; i < n; i++) fprintf(out, "%s%s", i ? " " : "", names[i]);
  facet_arena_destroy(&arena);
  fclose(out);
  return text;
}

static void expect_same(const char *a, const char *b, facet_arena *arena) {
  char **names_a, **names_b, inner_a[512], inner_b[512];
  int64_t n_a, n_b, n_bytes;
  EXPECT_OK(facet_directory_list(a, arena, &names_a, &n_a));
  EXPECT_OK(facet_directory_list(b, arena, &names_b, &n_b));
  cr_assert(n_a == n_b, "%s has %d names, %s has %d", a, (int)n_a, b, (int)n_b);
  for (int64_t i = 0; i < n_a; i++) {
    char hex_a[33], hex_b[33];
    cr_assert_str_eq(names_a[i], names_b[i]);
    snprintf(inner_a, sizeof inner_a, "%s/%s", a, names_a[i]);
    snprintf(inner_b, sizeof inner_b, "%s/%s", b, names_b[i]);
    if (facet_directory_exists(inner_a)) {
      expect_same(inner_a, inner_b, arena);
      continue;
    }
    EXPECT_OK(facet_file_checksum(inner_a, hex_a, &n_bytes));
    EXPECT_OK(facet_file_checksum(inner_b, hex_b, &n_bytes));
    cr_assert(strcmp(hex_a, hex_b) == 0, "%s and %s differ", inner_a, inner_b);
  }
}

void converter_expect_same_bytes(const char *a, const char *b) {
  facet_arena *arena;
  EXPECT_OK(facet_arena_create(&arena));
  expect_same(converter_path(a), converter_path(b), arena);
  facet_arena_destroy(&arena);
}

void converter_expect(char *text, const char *expected) {
  cr_assert(strcmp(text, expected) == 0, "got:\n%s\nexpected:\n%s", text, expected);
  free(text);
}
