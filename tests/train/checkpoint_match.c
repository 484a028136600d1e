/* Checkpoints of another model, schema, vocabulary or optimizer; warm start. */
#include "checkpoint_fixture.h"

#include "train/checkpoint_internal.h"

TestSuite(checkpoint_match, .init = make_directory, .fini = remove_directory, .timeout = 120);

/* ---- another model or data set ----------------------------------------------------------------------------------- */

/* Reads what a model of shape `usual` wrote into one of shape s. */
static void expect_refusal(shape s, const char *text) {
  fixture a, b;
  create(&a, "data", usual);
  write_step(&a, 30);
  create(&b, "data", s);
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_read(step_path(30), &b.checkpoint), text);
  destroy(&a);
  destroy(&b);
}

Test(checkpoint_match, another_shape) {
  shape s = usual;
  s.width = 5;
  expect_refusal(s, "model.h5: /parameters/mlp.0.weight: has shape [4, 3], expected [4, 5]");
}

Test(checkpoint_match, parameter_missing_in_the_checkpoint) {
  shape s = usual;
  s.extra = "gate";
  expect_refusal(s, "model.h5: /parameters/gate: the data set is missing");
}

Test(checkpoint_match, parameter_missing_in_the_model) {
  fixture a, b;
  shape s = usual;
  s.extra = "gate";
  create(&a, "data", s);
  write_step(&a, 30);
  create(&b, "data", usual);
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_read(step_path(30), &b.checkpoint),
               "/parameters/gate: the model does not have it");
  destroy(&a);
  destroy(&b);
}

Test(checkpoint_match, another_table) {
  shape s = usual;
  s.table = "goods";
  expect_refusal(s, "/tables/item: the model does not have it");
}

Test(checkpoint_match, another_schema) {
  fixture a, b;
  create(&a, "data", usual);
  write_step(&a, 30);
  create(&b, "data", usual);
  facet_schema_destroy(&b.schema);
  EXPECT_OK(facet_schema_parse("other.yaml",
                               "facet_schema: 1\nname: small\nembedding_width: 4\nvocabularies:\n  item: {size: 6}\n"
                               "features:\n  label: {role: label}\n  item_id: {role: user, vocabulary: item}\n",
                               &b.schema));
  b.checkpoint.schema = b.schema;
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_read(step_path(30), &b.checkpoint),
               "schema.yaml does not match other.yaml: feature item_id: role");
  destroy(&a);
  destroy(&b);
}

Test(checkpoint_match, another_optimizer) {
  fixture a;
  create(&a, "data", usual);
  write_step(&a, 30);
  facet_optimizer_destroy(&a.optimizer);
  a.config.optimizer.dense = FACET_OPTIMIZER_ADAGRAD;
  a.config.optimizer.sparse = FACET_SPARSE_SGD;
  facet_graph_destroy(&a.graph);
  facet_parameters_destroy(&a.parameters);
  declare(&a, &usual);
  EXPECT_OK(facet_optimizer_create(&a.config.optimizer, a.parameters, &a.optimizer));
  a.checkpoint.parameters = a.parameters;
  a.checkpoint.optimizer = a.optimizer;
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_read(step_path(30), &a.checkpoint), "/optimizer/accumulator");
  destroy(&a);
}

Test(checkpoint_match, grown_vocabulary_is_refused_with_a_hint) {
  shape s = usual;
  s.n_items = 8;
  expect_refusal(s, "vocabulary item has 6 ids in");
  cr_assert(strstr(facet_error_get()->hint, "train.warm_start"), "%s", facet_error_get()->hint);
}

Test(checkpoint_match, other_tokens_are_refused) {
  shape s = usual;
  s.first_item = 1;
  expect_refusal(s, "vocab has other tokens than when");
}

/* ---- warm start -------------------------------------------------------------------------------------------------- */

static facet_status warm_start(fixture *f) {
  const facet_checkpoint checkpoint = {.config = &f->config, .schema = f->schema, .parameters = f->parameters};
  return facet_checkpoint_warm_start(step_path(30), &checkpoint, f->config.data_path);
}

Test(checkpoint_match, warm_start_of_a_grown_table) {
  fixture a, b, fresh;
  shape s = usual;
  s.n_items = 8;
  create(&a, "data", usual);
  write_step(&a, 30);
  create(&b, "more", s);
  create(&fresh, "more", s);
  EXPECT_OK(warm_start(&b));
  const facet_real *old = facet_table_rows(facet_parameters_table(a.parameters, 0)),
                   *rows = facet_table_rows(facet_parameters_table(b.parameters, 0)),
                   *initial = facet_table_rows(facet_parameters_table(fresh.parameters, 0));
  cr_assert_eq(memcmp(rows, old, 6 * 4 * sizeof *rows), 0, "the old rows");
  cr_assert_eq(memcmp(rows + 6 * 4, initial + 6 * 4, 2 * 4 * sizeof *rows), 0, "the new rows start as always");
  cr_assert_eq(facet_parameters_values(b.parameters)[3], facet_parameters_values(a.parameters)[3]);
  cr_assert_eq(facet_parameters_state_values(b.parameters)[1], facet_parameters_state_values(a.parameters)[1]);
  destroy(&a);
  destroy(&b);
  destroy(&fresh);
}

Test(checkpoint_match, warm_start_names_what_differs) {
  fixture a, b, fresh;
  shape s = usual, t = usual;
  s.extra = "gate";
  t.width = 5;
  create(&a, "data", s);
  write_step(&a, 30);
  create(&b, "data", t);
  create(&fresh, "data", t);
  capture(true);
  const facet_status status = warm_start(&b);
  const char *text = capture(false);
  EXPECT_OK(status);
  cr_assert(strstr(text, "mlp.0.weight has shape [4, 3] in the checkpoint and [4, 5] here; it keeps"), "%s", text);
  cr_assert(strstr(text, "the model does not have gate of the checkpoint"), "%s", text);
  cr_assert(strstr(text, "table item: 6 of 6 rows"), "%s", text);
  cr_assert_eq(facet_parameters_values(b.parameters)[3], facet_parameters_values(fresh.parameters)[3]);
  destroy(&a);
  destroy(&b);
  destroy(&fresh);
}

/* Warm start of shape s in data set `name` from a checkpoint of shape `usual`. */
static void expect_cold(const char *name, shape s, const char *text) {
  fixture a, b;
  create(&a, "data", usual);
  write_step(&a, 30);
  create(&b, name, s);
  EXPECT_ERROR(FACET_ERROR_DATA, warm_start(&b), text);
  destroy(&a);
  destroy(&b);
}

Test(checkpoint_match, warm_start_needs_the_old_vocabulary_as_prefix) {
  shape s = usual;
  s.n_items = 8;
  s.first_item = 1;
  expect_cold("changed", s, "changed/vocab/item.h5 is not an extension of the vocabulary");
}

Test(checkpoint_match, warm_start_of_a_smaller_vocabulary) {
  shape s = usual;
  s.n_items = 5;
  expect_cold("smaller", s, "vocabulary item has 6 ids in");
}

Test(checkpoint_match, warm_start_of_another_hash_size) {
  shape s = usual;
  s.hash_size = 12;
  expect_cold("data", s, "the size of a hashed one may not change");
}

/* The hash of a prefix of fewer than no tokens would be read before the tokens. */
Test(checkpoint_match, warm_start_from_an_impossible_vocabulary) {
  fixture f;
  hid_t vocabulary;
  const int64_t size = -5;
  create(&f, "data", usual);
  write_step(&f, 30);
  const hid_t file = H5Fopen(path_of("run/checkpoints/step-00000030/model.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
  EXPECT_OK(facet_hdf5_group_open(file, "vocabularies/item", &vocabulary));
  const hid_t attribute = H5Aopen(vocabulary, "size", H5P_DEFAULT);
  cr_assert(H5Awrite(attribute, H5T_NATIVE_INT64, &size) >= 0);
  H5Aclose(attribute), H5Gclose(vocabulary), H5Fclose(file);
  EXPECT_OK(checkpoint_write_manifest(step_path(30), 1.5));
  EXPECT_ERROR(FACET_ERROR_DATA, warm_start(&f), "step-00000030: vocabulary item has -5 ids, expected at least 2");
  destroy(&f);
}

Test(checkpoint_match, warm_start_from_a_damaged_checkpoint) {
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  cr_assert_eq(truncate(path_of("run/checkpoints/step-00000030/model.h5"), 1000), 0);
  EXPECT_ERROR(FACET_ERROR_IO, warm_start(&f), "it has 1000 bytes");
  destroy(&f);
}
