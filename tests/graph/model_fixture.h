/* Models on hand-made schemas and batches: any file models/<model>.c can be tested with these. */
#ifndef TESTS_MODEL_FIXTURE_H
#define TESTS_MODEL_FIXTURE_H

#include "facet/executor.h"
#include "facet/model.h"
#include "facet/schema.h"

/* Samples in a batch, and how many of them are valid; the rest is padding. */
enum { TEST_BATCH = 12, TEST_ROWS = 9 };

enum { TEST_MAX_FEATURES = 32 };

typedef struct test_schema {
  facet_schema schema;
  facet_feature feature[TEST_MAX_FEATURES];
  facet_sequence sequence[2];
  facet_vocabulary_info vocabulary[2];
} test_schema;

/* An item, a bag of tags and twenty context ids. With sequences: ids, a bag and floats per event in `history`, only ids
 * in `carts`. With floats: a scalar and a vector of the sample, and the floats of events. */
void test_make_schema(test_schema *s, bool sequences, bool floats);

typedef struct test_model {
  test_schema schema;
  char *options;
  facet_device *device;
  facet_parameters *parameters;
  facet_graph *graph[3]; /* by facet_program */
  facet_executor *executor[3];
  facet_batch *batch; /* random values in the valid rows */
} test_model;

/* Builds all programs of a model; `sets` are "key=value" of its options with NULL at the end, or NULL. */
void test_open_model(test_model *m, const char *name, bool sequences, bool floats, const char *const *sets);
void test_close_model(test_model *m);

/* The dense parameter with this name; the test fails where there is none. */
const facet_parameter_info *test_dense_parameter(const test_model *m, const char *name);

/* The evaluate and serve programs give the same bits, finite in the valid rows; afterwards the executor of the evaluate
 * program holds that pass. The serve program has no loss. */
void test_expect_same_scores(test_model *m);

/* facet_executor_check_gradients on the train program. Activations with a kink (relu, prelu) belong in the double build,
 * where a step does not cross it. */
void test_expect_gradients(const char *name, bool sequences, bool floats, const char *const *sets);

/* Loss and gradients do not depend on what buffers hold before they are written (FACET_POISON). */
void test_expect_poison_changes_nothing(const char *name, const char *const *sets);

#endif
