/* The model mean_pooling on hand-made schemas and batches. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facet/environment.h"
#include "facet/memory.h"
#include "facet/model.h"
#include "facet/options.h"
#include "facet/rng.h"
#include "operators.h"

enum { N_CONTEXT = 20, MAX_FEATURES = 32, B = 12, ROWS = 9 };

typedef struct test_schema {
  facet_schema schema;
  facet_feature feature[MAX_FEATURES];
  facet_sequence sequence[2];
  facet_vocabulary_info vocabulary[2];
} test_schema;

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

/* With sequences: ids, a bag and floats per event in one, only ids in the other. */
static void make_schema(test_schema *s, bool sequences, bool floats) {
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

/* Random values in the first ROWS rows; the rest is padding. */
static void fill_batch(const facet_schema *schema, facet_batch *batch, uint64_t seed) {
  facet_rng_key key = facet_rng_key_make(seed, "batch");
  uint64_t counter = 0;
  batch->n_rows = ROWS;
  for (int b = 0; b < B; b++) {
    batch->valid[b] = b < ROWS;
    batch->row[b] = b < ROWS ? b : -1;
    batch->weight[b] = b < ROWS ? (facet_real)(1 + b % 3) : 0;
    batch->label[b] = b < ROWS && facet_rng_below(facet_rng_word64(key, counter++), 2);
    for (int s = 0; s < schema->n_sequences; s++)
      batch->length[s][b] = b < ROWS ? b % (int)(batch->layout->max_length[s] + 1) : 0;
  }
  for (int f = 0; f < schema->n_features; f++) {
    const facet_feature *feature = &schema->features[f];
    int64_t n = facet_batch_layout_elements(batch->layout, f);
    int64_t slots = feature->sequence < 0 ? 1 : batch->layout->max_length[feature->sequence];
    for (int64_t i = 0; i < ROWS * n; i++) {
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

typedef struct test_model {
  test_schema schema;
  char *options;
  facet_device *device;
  facet_parameters *parameters;
  facet_graph *graph[3];
  facet_executor *executor[3];
  facet_batch *batch;
} test_model;

/* Builds all programs; `sets` are "key=value" with NULL at the end. */
static void open_model(test_model *m, bool sequences, bool floats, const char *const *sets) {
  const facet_model *model = facet_model_find("mean_pooling");
  cr_assert_not_null(model);
  *m = (test_model){0};
  make_schema(&m->schema, sequences, floats);
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
    EXPECT_OK(
        facet_model_build(model, m->options, (facet_program)p, &m->schema.schema, B, 5, m->parameters, &m->graph[p]));
  EXPECT_OK(facet_parameters_allocate(m->parameters, 11, true));
  for (int p = 0; p < 3; p++)
    EXPECT_OK(facet_executor_create(m->graph[p], m->device, p == FACET_PROGRAM_TRAIN, &m->executor[p]));
  EXPECT_OK(facet_executor_reserve_tables(m->executor[0], 1));
  EXPECT_OK(facet_batch_create(facet_executor_batch_layout(m->executor[0]), &m->batch));
  fill_batch(&m->schema.schema, m->batch, 3);
}

static void close_model(test_model *m) {
  facet_batch_destroy(&m->batch);
  for (int p = 0; p < 3; p++) facet_executor_destroy(&m->executor[p]);
  for (int p = 0; p < 3; p++) facet_graph_destroy(&m->graph[p]);
  facet_parameters_destroy(&m->parameters);
  facet_device_close(&m->device);
  facet_memory_free(m->options);
}

Test(mean_pooling, programs_share_parameters_and_scores) {
  test_model m;
  facet_real evaluated[B], served[B];
  facet_run run = {.seed = 3};
  open_model(&m, true, true, (const char *[]){"batch_norm=true", "dropout=0.5", NULL});
  EXPECT_OK(facet_executor_forward(m.executor[FACET_PROGRAM_EVALUATE], m.batch, &run));
  EXPECT_OK(facet_executor_forward(m.executor[FACET_PROGRAM_SERVE], m.batch, &run));
  EXPECT_OK(facet_executor_output(m.executor[FACET_PROGRAM_EVALUATE], "logit", evaluated, B));
  EXPECT_OK(facet_executor_output(m.executor[FACET_PROGRAM_SERVE], "logit", served, B));
  cr_assert_eq(memcmp(evaluated, served, sizeof served), 0);
  for (int b = 0; b < ROWS; b++) cr_assert(isfinite(evaluated[b]));
  cr_assert_eq(facet_executor_n_losses(m.executor[FACET_PROGRAM_SERVE]), 0);
  double loss = facet_executor_total_loss(m.executor[FACET_PROGRAM_EVALUATE]);
  cr_assert(loss > 0.3 && loss < 1.5, "near log 2 before training: %g", loss);
  cr_assert_eq(facet_parameters_n_tables(m.parameters), 2, "features that name one embedding share its table");
  /* 6 + 3 of the item, 20 · 3 of the context, 5 floats; history 6 + 3 + 2, carts 6 */
  const facet_parameter_info *w = NULL;
  for (int i = 0; i < facet_parameters_n_dense(m.parameters); i++)
    if (strcmp(facet_parameters_dense(m.parameters, i)->name, "mlp.0.weight") == 0)
      w = facet_parameters_dense(m.parameters, i);
  cr_assert_not_null(w);
  cr_assert_eq(w->shape.dim[0], 9 + 60 + 5 + 11 + 6);
  cr_assert_eq(w->shape.dim[1], 256);
  close_model(&m);
}

static void expect_gradients(bool sequences, bool floats, const char *const *sets) {
  test_model m;
  char *text = NULL;
  size_t n = 0;
  FILE *stream = open_memstream(&text, &n);
  facet_run run = {.training = true, .seed = 3, .step = 1};
  open_model(&m, sequences, floats, sets);
  facet_status status = facet_executor_check_gradients(m.executor[0], m.batch, &run, 3, FACET_CHECK_TOLERANCE, stream);
  fclose(stream);
  cr_assert_eq(status, FACET_OK, "%s with %s\n%s", facet_error_get()->message, sets[0], text);
  free(text);
  close_model(&m);
}

/* Smooth activations in both precisions; those with a kink where a step of double precision does not cross it. */
Test(mean_pooling, gradients) {
  const char *start = "embedding_init=0.3", *small = "mlp=[12, 5]";
  expect_gradients(true, true, (const char *[]){"activation=swish", start, small, NULL});
  expect_gradients(true, true,
                   (const char *[]){"activation=tanh", "batch_norm=true", "dropout=0.3", start, small, NULL});
  expect_gradients(true, false, (const char *[]){"activation=dice", start, small, NULL});
  expect_gradients(false, true, (const char *[]){"activation=sigmoid", start, small, NULL});
  expect_gradients(false, false, (const char *[]){"mlp=[]", start, NULL});
#ifdef FACET_DOUBLE
  expect_gradients(true, true, (const char *[]){"activation=relu", "batch_norm=true", start, small, NULL});
  expect_gradients(true, true, (const char *[]){"activation=prelu", start, small, NULL});
#endif
}

Test(mean_pooling, poison_does_not_change_results) {
  test_model m;
  double loss[2];
  facet_real gradient[2][64];
  facet_run run = {.training = true, .seed = 3};
  for (int poison = 0; poison < 2; poison++) {
    facet_environment_set(&(facet_environment){.poison = poison});
    open_model(&m, true, true, (const char *[]){"batch_norm=true", "dropout=0.2", "activation=dice", NULL});
    EXPECT_OK(facet_executor_forward(m.executor[0], m.batch, &run));
    EXPECT_OK(facet_executor_backward(m.executor[0], 1));
    loss[poison] = facet_executor_total_loss(m.executor[0]);
    memcpy(gradient[poison], facet_parameters_gradients(m.parameters), sizeof gradient[0]);
    close_model(&m);
  }
  cr_assert(isfinite(loss[0]) && loss[0] == loss[1]);
  cr_assert_eq(memcmp(gradient[0], gradient[1], sizeof gradient[0]), 0);
}

Test(mean_pooling, a_schema_without_features_is_an_error) {
  const facet_model *model = facet_model_find("mean_pooling");
  test_schema s;
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  char *options = facet_memory_alloc(1, model->options.struct_bytes, "options");
  make_schema(&s, false, false);
  s.schema.n_features = 1;
  EXPECT_OK(facet_options_default(&model->options, options));
  EXPECT_OK(facet_parameters_create(&parameters));
  test_expect_error(facet_model_build(model, options, FACET_PROGRAM_TRAIN, &s.schema, B, 0, parameters, &graph),
                    FACET_ERROR_USAGE, "models/mean_pooling.c: schema schema.yaml has no feature");
  cr_assert_null(graph);
  cr_assert_null(facet_model_find("median_pooling"));
  facet_parameters_destroy(&parameters);
  facet_memory_free(options);
}
