#include "model_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facet/environment.h"
#include "facet/memory.h"
#include "facet/options.h"
#include "facet/rng.h"
#include "operators.h"

enum { N_CONTEXT = 20 };

static void add_feature(test_schema *s, const char *name, facet_role role, facet_feature_type type, int sequence,
                        int vocabulary, int64_t bag, int64_t length) {
  static const char *const tables[] = {"item", "tag"};
  s->feature[s->schema.n_features++] = (facet_feature){.name = name,
                                                       .column = name,
                                                       .role = role,
                                                       .type = type,
                                                       .sequence = sequence,
                                                       .vocabulary = vocabulary,
                                                       .join = -1,
                                                       .embedding = vocabulary < 0 ? NULL : tables[vocabulary],
                                                       .width = vocabulary < 0    ? 0
                                                                : vocabulary == 0 ? 6
                                                                                  : 3,
                                                       .bag = bag,
                                                       .length = length};
}

void test_make_schema(test_schema *s, bool sequences, bool floats) {
  static char context[N_CONTEXT][24];
  *s = (test_schema){0};
  s->vocabulary[0] = (facet_vocabulary_info){.name = "item", .size = 30};
  s->vocabulary[1] = (facet_vocabulary_info){.name = "tag", .size = 12};
  s->sequence[0] = (facet_sequence){.name = "history", .max_length = 7};
  s->sequence[1] = (facet_sequence){.name = "carts", .max_length = 4};
  add_feature(s, "label", FACET_ROLE_LABEL, FACET_FEATURE_FLOAT, -1, -1, 0, 1);
  add_feature(s, "item_id", FACET_ROLE_ITEM, FACET_FEATURE_ID, -1, 0, 0, 1);
  add_feature(s, "tags", FACET_ROLE_ITEM, FACET_FEATURE_ID, -1, 1, 3, 1);
  add_feature(s, "time", FACET_ROLE_TIME, FACET_FEATURE_INT64, -1, -1, 0, 1);
  for (int i = 0; i < N_CONTEXT; i++) {
    snprintf(context[i], sizeof context[i], "context_%d", i);
    add_feature(s, context[i], FACET_ROLE_CONTEXT, FACET_FEATURE_ID, -1, 1, 0, 1);
  }
  if (floats) {
    add_feature(s, "price", FACET_ROLE_CONTEXT, FACET_FEATURE_FLOAT, -1, -1, 0, 1);
    add_feature(s, "image", FACET_ROLE_ITEM, FACET_FEATURE_FLOAT, -1, -1, 0, 4);
  }
  if (sequences) {
    add_feature(s, "history.item_id", FACET_ROLE_BEHAVIOUR, FACET_FEATURE_ID, 0, 0, 0, 1);
    add_feature(s, "history.tags", FACET_ROLE_BEHAVIOUR, FACET_FEATURE_ID, 0, 1, 3, 1);
    if (floats) add_feature(s, "history.age", FACET_ROLE_BEHAVIOUR, FACET_FEATURE_FLOAT, 0, -1, 0, 2);
    add_feature(s, "carts.item_id", FACET_ROLE_BEHAVIOUR, FACET_FEATURE_ID, 1, 0, 0, 1);
  }
  s->schema = (facet_schema){.path = "schema.yaml",
                             .name = "test",
                             .n_vocabularies = 2,
                             .vocabularies = s->vocabulary,
                             .n_features = s->schema.n_features,
                             .features = s->feature,
                             .n_sequences = sequences ? 2 : 0,
                             .sequences = s->sequence,
                             .label = 0,
                             .weight = -1,
                             .time = 3,
                             .group = -1,
                             .user = -1,
                             .item = 1};
}

/* Random values in the first TEST_ROWS rows; the rest is padding. */
static void fill_batch(const facet_schema *schema, facet_batch *batch, uint64_t seed) {
  facet_rng_key key = facet_rng_key_make(seed, "batch");
  uint64_t counter = 0;
  batch->n_rows = TEST_ROWS;
  for (int b = 0; b < TEST_BATCH; b++) {
    batch->valid[b] = b < TEST_ROWS;
    batch->row[b] = b < TEST_ROWS ? b : -1;
    batch->weight[b] = b < TEST_ROWS ? (facet_real)(1 + b % 3) : 0;
    batch->label[b] = b < TEST_ROWS && facet_rng_below(facet_rng_word64(key, counter++), 2);
    for (int s = 0; s < schema->n_sequences; s++)
      batch->length[s][b] = b < TEST_ROWS ? b % (int)(batch->layout->max_length[s] + 1) : 0;
  }
  for (int f = 0; f < schema->n_features; f++) {
    const facet_feature *feature = &schema->features[f];
    int64_t n = facet_batch_layout_elements(batch->layout, f);
    int64_t slots = feature->sequence < 0 ? 1 : batch->layout->max_length[feature->sequence];
    for (int64_t i = 0; i < TEST_ROWS * n; i++) {
      int64_t b = i / n, slot = i % n / (n / slots);
      if (feature->sequence >= 0 && slot >= batch->length[feature->sequence][b]) continue;
      if (batch->ids[f])
        batch->ids[f][i] = (int32_t)facet_rng_below(facet_rng_word64(key, counter++),
                                                    (uint64_t)schema->vocabularies[feature->vocabulary].size);
      else if (batch->floats[f] && feature->role != FACET_ROLE_LABEL)
        batch->floats[f][i] = (facet_real)(3 * facet_rng_normal(key, counter++));
    }
  }
}

void test_open_model(test_model *m, const char *name, bool sequences, bool floats, const char *const *sets) {
  const facet_model *model = facet_model_find(name);
  cr_assert_not_null(model, "%s", name);
  *m = (test_model){0};
  test_make_schema(&m->schema, sequences, floats);
  m->options = facet_memory_alloc(1, model->options.struct_bytes, "options");
  EXPECT_OK(facet_options_default(&model->options, m->options));
  for (; sets && *sets; sets++) {
    char key[64];
    const char *value = strchr(*sets, '=') + 1;
    snprintf(key, sizeof key, "%.*s", (int)(value - 1 - *sets), *sets);
    EXPECT_OK(facet_options_set(&model->options, key, value, "test", m->options));
  }
  EXPECT_OK(facet_device_open("cpu", &m->device));
  EXPECT_OK(facet_parameters_create(&m->parameters));
  for (int p = 0; p < 3; p++)
    EXPECT_OK(facet_model_build(model, m->options, (facet_program)p, &m->schema.schema, TEST_BATCH, 5, m->parameters,
                                &m->graph[p]));
  EXPECT_OK(facet_parameters_allocate(m->parameters, 11, true));
  for (int p = 0; p < 3; p++)
    EXPECT_OK(facet_executor_create(m->graph[p], m->device, p == FACET_PROGRAM_TRAIN, &m->executor[p]));
  EXPECT_OK(facet_executor_reserve_tables(m->executor[0], 1));
  EXPECT_OK(facet_batch_create(facet_executor_batch_layout(m->executor[0]), &m->batch));
  fill_batch(&m->schema.schema, m->batch, 3);
}

void test_close_model(test_model *m) {
  facet_batch_destroy(&m->batch);
  for (int p = 0; p < 3; p++) facet_executor_destroy(&m->executor[p]);
  for (int p = 0; p < 3; p++) facet_graph_destroy(&m->graph[p]);
  facet_parameters_destroy(&m->parameters);
  facet_device_close(&m->device);
  facet_memory_free(m->options);
}

const facet_parameter_info *test_dense_parameter(const test_model *m, const char *name) {
  for (int i = 0; i < facet_parameters_n_dense(m->parameters); i++) {
    const facet_parameter_info *info = facet_parameters_dense(m->parameters, i);
    if (strcmp(info->name, name) == 0) return info;
  }
  cr_assert_fail("no parameter %s", name);
  return NULL;
}

void test_expect_same_scores(test_model *m) {
  facet_real evaluated[TEST_BATCH], served[TEST_BATCH];
  facet_run run = {.seed = 3};
  EXPECT_OK(facet_executor_forward(m->executor[FACET_PROGRAM_EVALUATE], m->batch, &run));
  EXPECT_OK(facet_executor_forward(m->executor[FACET_PROGRAM_SERVE], m->batch, &run));
  EXPECT_OK(facet_executor_output(m->executor[FACET_PROGRAM_EVALUATE], "logit", evaluated, TEST_BATCH));
  EXPECT_OK(facet_executor_output(m->executor[FACET_PROGRAM_SERVE], "logit", served, TEST_BATCH));
  cr_assert_eq(memcmp(evaluated, served, sizeof served), 0);
  for (int b = 0; b < TEST_ROWS; b++) cr_assert(isfinite(evaluated[b]));
  cr_assert_eq(facet_executor_n_losses(m->executor[FACET_PROGRAM_SERVE]), 0);
}

void test_expect_gradients(const char *name, bool sequences, bool floats, const char *const *sets) {
  test_model m;
  char *text = NULL;
  size_t n = 0;
  FILE *stream = open_memstream(&text, &n);
  facet_run run = {.training = true, .seed = 3, .step = 1};
  omp_set_num_threads(1); /* twelve samples: threads only wait for each other */
  test_open_model(&m, name, sequences, floats, sets);
  facet_status status = facet_executor_check_gradients(m.executor[0], m.batch, &run, 3, FACET_CHECK_TOLERANCE, stream);
  fclose(stream);
  cr_assert_eq(status, FACET_OK, "%s of %s with %s\n%s", facet_error_get()->message, name, sets ? sets[0] : "defaults",
               text);
  free(text);
  test_close_model(&m);
}

void test_expect_poison_changes_nothing(const char *name, const char *const *sets) {
  test_model m;
  double loss[2];
  facet_real gradient[2][64];
  facet_run run = {.training = true, .seed = 3};
  for (int poison = 0; poison < 2; poison++) {
    facet_environment_set(&(facet_environment){.poison = poison});
    test_open_model(&m, name, true, true, sets);
    EXPECT_OK(facet_executor_forward(m.executor[0], m.batch, &run));
    EXPECT_OK(facet_executor_backward(m.executor[0], 1));
    loss[poison] = facet_executor_total_loss(m.executor[0]);
    memcpy(gradient[poison], facet_parameters_gradients(m.parameters), sizeof gradient[0]);
    test_close_model(&m);
  }
  cr_assert(isfinite(loss[0]) && loss[0] == loss[1]);
  cr_assert_eq(memcmp(gradient[0], gradient[1], sizeof gradient[0]), 0);
}
