#include "facet/graph.h"

#include <criterion/criterion.h>
#include <string.h>

#include "facet/memory.h"
#include "operators.h"

static facet_graph *new_graph(facet_program program, facet_parameters *parameters) {
  facet_graph *graph = NULL;
  EXPECT_OK(facet_graph_create(program, NULL, 4, 0, parameters, &graph));
  return graph;
}

Test(tensor, shapes) {
  facet_shape s = facet_shape_make(3, (int64_t)4, (int64_t)5, (int64_t)6);
  char text[64], small[8];
  cr_assert_eq(facet_shape_elements(&s), 120);
  cr_assert_eq(facet_shape_rows(&s), 20);
  cr_assert_eq(facet_shape_last(&s), 6);
  cr_assert_str_eq(facet_shape_format(&s, text, sizeof text), "[4, 5, 6]");
  cr_assert_str_eq(facet_shape_format(&s, small, sizeof small), "[4, 5, ");
  facet_shape scalar = facet_shape_make(0);
  cr_assert_eq(facet_shape_elements(&scalar), 1);
  cr_assert_eq(facet_shape_last(&scalar), 1);
  cr_assert_str_eq(facet_shape_format(&scalar, text, sizeof text), "[]");
  cr_assert(facet_shape_equal(&s, &s));
  cr_assert(!facet_shape_equal(&s, &scalar));
}

Test(graph, node_shapes_and_gradients) {
  test_fixture f = test_fixture_open(4);
  facet_tensor *x =
      facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, facet_shape_make(2, (int64_t)4, (int64_t)3), false);
  facet_tensor *w = facet_graph_parameter(f.graph, "w", facet_shape_make(2, (int64_t)3, (int64_t)2),
                                          (facet_init){FACET_INIT_GLOROT_UNIFORM, 0}, true);
  facet_tensor *y = test_binary(f.graph, &test_matmul, "y", x, w);
  facet_tensor *x2 = test_unary(f.graph, &test_square, "x2", x);
  facet_tensor *s = test_unary(f.graph, &test_sign, "s", y);
  facet_tensor *outs[FACET_OP_MAX_OUTPUTS];
  facet_graph_node(f.graph, &test_split, "split", &y, 1, NULL, outs);
  EXPECT_OK(facet_graph_status(f.graph));
  cr_assert(y->shape.dim[0] == 4 && y->shape.dim[1] == 2);
  cr_assert(y->needs_gradient && !x2->needs_gradient && !s->needs_gradient);
  cr_assert_eq(s->dtype, FACET_DTYPE_INT32);
  cr_assert_str_eq(outs[1]->name, "split:1");
  cr_assert_eq(facet_graph_n_nodes(f.graph), 4);
  test_fixture_close(&f);
}

Test(graph, shape_error_names_node_model_and_shapes) {
  test_fixture f = test_fixture_open(4);
  facet_graph_set_model(f.graph, "pooling");
  facet_tensor *x =
      facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, facet_shape_make(2, (int64_t)4, (int64_t)3), false);
  facet_tensor *w = facet_graph_parameter(f.graph, "w", facet_shape_make(2, (int64_t)5, (int64_t)2),
                                          (facet_init){FACET_INIT_ZERO, 0}, true);
  facet_tensor *y = test_binary(f.graph, &test_matmul, "mlp.0", x, w);
  cr_assert_null(y);
  cr_assert_null(test_unary(f.graph, &test_square, "later", y), "NULL inputs give NULL");
  facet_graph_output(f.graph, "logit", y);
  facet_graph_fail(f.graph, FACET_ERROR_DATA, "a later error");
  facet_status status = facet_graph_status(f.graph);
  test_expect_error(status, FACET_ERROR_USAGE, "models/pooling.c: ");
  test_expect_error(status, FACET_ERROR_USAGE, "node \"mlp.0\": x is [4, 3], but w is [5, 2]");
  facet_executor *executor = NULL;
  test_expect_error(facet_executor_create(f.graph, f.device, false, &executor), FACET_ERROR_USAGE, "mlp.0");
  test_fixture_close(&f);
}

Test(graph, names_are_unique) {
  facet_parameters *parameters = NULL;
  EXPECT_OK(facet_parameters_create(&parameters));
  facet_shape shape = facet_shape_make(2, (int64_t)4, (int64_t)4);
  facet_init zero = {FACET_INIT_ZERO, 0};
  facet_graph *g = new_graph(FACET_PROGRAM_TRAIN, parameters);
  facet_tensor *x = facet_graph_input(g, "x", FACET_DTYPE_REAL, shape, false);
  test_unary(g, &test_square, "a", x);
  EXPECT_OK(facet_graph_status(g));
  test_unary(g, &test_square, "a", x);
  test_expect_error(facet_graph_status(g), FACET_ERROR_USAGE, "node \"a\" (test_square) is made twice");
  facet_graph_destroy(&g);

  g = new_graph(FACET_PROGRAM_TRAIN, parameters);
  facet_graph_state(g, "s", shape, zero);
  facet_graph_state(g, "s", shape, zero);
  test_expect_error(facet_graph_status(g), FACET_ERROR_USAGE, "state \"s\" is made twice");
  facet_graph_destroy(&g);

  g = new_graph(FACET_PROGRAM_TRAIN, parameters);
  facet_graph_state(g, "s", shape, zero);
  facet_graph_parameter(g, "s", shape, zero, true);
  test_expect_error(facet_graph_status(g), FACET_ERROR_USAGE, "parameter \"s\" has the name of a parameter, state");
  facet_graph_destroy(&g);

  g = new_graph(FACET_PROGRAM_TRAIN, parameters);
  facet_tensor *table = facet_graph_table(g, "t", 10, 4, zero);
  cr_assert_eq(facet_graph_table(g, "t", 10, 4, zero), table, "a table is shared inside a program");
  facet_graph_table(g, "t", 10, 5, zero);
  test_expect_error(facet_graph_status(g), FACET_ERROR_USAGE, "[10, 5] here and shape [10, 4]");
  facet_graph_destroy(&g);
  facet_parameters_destroy(&parameters);
}

Test(graph, parameters_are_shared_inside_a_program) {
  facet_parameters *parameters = NULL;
  EXPECT_OK(facet_parameters_create(&parameters));
  facet_shape shape = facet_shape_make(2, (int64_t)4, (int64_t)4);
  facet_init zero = {FACET_INIT_ZERO, 0};
  facet_graph *g = new_graph(FACET_PROGRAM_TRAIN, parameters);
  facet_tensor *w = facet_graph_parameter(g, "w", shape, zero, true);
  cr_assert(w && facet_graph_parameter(g, "w", shape, zero, true) == w);
  cr_assert_eq(facet_parameters_n_dense(parameters), 1);
  EXPECT_OK(facet_graph_status(g));
  facet_graph_parameter(g, "w", facet_shape_make(2, (int64_t)4, (int64_t)5), zero, true);
  test_expect_error(facet_graph_status(g), FACET_ERROR_USAGE, "\"w\" has shape [4, 5] here and shape [4, 4]");
  facet_graph_destroy(&g);
  g = new_graph(FACET_PROGRAM_TRAIN, parameters);
  facet_graph_parameter(g, "w", shape, (facet_init){FACET_INIT_CONSTANT, 1}, true);
  test_expect_error(facet_graph_status(g), FACET_ERROR_USAGE, "\"w\" has another initial value or decay");
  facet_graph_destroy(&g);
  facet_parameters_destroy(&parameters);
}

Test(graph, parameters_are_shared_between_programs) {
  facet_parameters *parameters = NULL;
  EXPECT_OK(facet_parameters_create(&parameters));
  facet_init init = {FACET_INIT_NORMAL, 1};
  facet_graph *train = new_graph(FACET_PROGRAM_TRAIN, parameters);
  facet_graph *serve = new_graph(FACET_PROGRAM_SERVE, parameters);
  facet_tensor *a = facet_graph_parameter(train, "w", facet_shape_make(2, (int64_t)2, (int64_t)3), init, true);
  facet_tensor *b = facet_graph_parameter(serve, "w", facet_shape_make(2, (int64_t)2, (int64_t)3), init, true);
  cr_assert_eq(a->index, b->index);
  cr_assert_eq(facet_parameters_n_dense(parameters), 1);
  facet_graph_destroy(&serve);
  serve = new_graph(FACET_PROGRAM_SERVE, parameters);
  facet_graph_parameter(serve, "w", facet_shape_make(2, (int64_t)3, (int64_t)3), init, true);
  test_expect_error(facet_graph_status(serve), FACET_ERROR_USAGE, "\"w\" has shape [3, 3] here and shape [2, 3]");
  facet_graph_destroy(&serve);
  EXPECT_OK(facet_parameters_allocate(parameters, 1, false));
  serve = new_graph(FACET_PROGRAM_SERVE, parameters);
  facet_graph_parameter(serve, "new", facet_shape_make(1, (int64_t)3), init, true);
  test_expect_error(facet_graph_status(serve), FACET_ERROR_USAGE, "\"new\" is new in this program");
  facet_graph_destroy(&serve);
  facet_graph_destroy(&train);
  facet_parameters_destroy(&parameters);
}

Test(graph, results_must_be_node_outputs) {
  test_fixture f = test_fixture_open(4);
  facet_tensor *x = facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, facet_shape_make(1, (int64_t)4), false);
  facet_graph_output(f.graph, "logit", x);
  test_expect_error(facet_graph_status(f.graph), FACET_ERROR_USAGE, "output \"logit\" is an input");
  test_fixture_close(&f);
  f = test_fixture_open(4);
  x = facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, facet_shape_make(1, (int64_t)4), false);
  facet_graph_loss(f.graph, "bce", test_unary(f.graph, &test_square, "sq", x), 1);
  test_expect_error(facet_graph_status(f.graph), FACET_ERROR_USAGE, "\"sq\" of shape [4]: expected one real number");
  test_fixture_close(&f);
}

Test(graph, bad_calls_are_errors) {
  test_fixture f = test_fixture_open(4);
  cr_assert_null(facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, facet_shape_make(2, (int64_t)4, (int64_t)0), false));
  test_expect_error(facet_graph_status(f.graph), FACET_ERROR_USAGE, "input \"x\" has shape [4, 0]");
  test_fixture_close(&f);
  f = test_fixture_open(4);
  cr_assert_null(facet_graph_label(f.graph));
  test_expect_error(facet_graph_status(f.graph), FACET_ERROR_USAGE, "no schema");
  test_fixture_close(&f);
  f = test_fixture_open(4);
  cr_assert_null(test_unary(f.graph, &test_square, "sq", NULL));
  test_expect_error(facet_graph_status(f.graph), FACET_ERROR_USAGE, "node \"sq\" (test_square): input 0 is NULL");
  test_fixture_close(&f);
  f = test_fixture_open(4);
  facet_graph_parameter(f.graph, "b", facet_shape_make(1, (int64_t)4), (facet_init){FACET_INIT_GLOROT_UNIFORM, 0},
                        false);
  test_expect_error(facet_graph_status(f.graph), FACET_ERROR_USAGE, "needs a matrix");
  test_fixture_close(&f);
}

/* ---- inputs from a schema ---- */

static facet_feature features[] = {
    {.name = "label",
     .role = FACET_ROLE_LABEL,
     .type = FACET_FEATURE_FLOAT,
     .sequence = -1,
     .vocabulary = -1,
     .length = 1},
    {.name = "user", .role = FACET_ROLE_USER, .type = FACET_FEATURE_ID, .sequence = -1, .length = 1},
    {.name = "tags", .role = FACET_ROLE_ITEM, .type = FACET_FEATURE_ID, .sequence = -1, .length = 1, .bag = 3},
    {.name = "price",
     .role = FACET_ROLE_CONTEXT,
     .type = FACET_FEATURE_FLOAT,
     .sequence = -1,
     .vocabulary = -1,
     .length = 2},
    {.name = "h.item", .role = FACET_ROLE_BEHAVIOUR, .type = FACET_FEATURE_ID, .sequence = 0, .length = 1},
    {.name = "h.tags", .role = FACET_ROLE_BEHAVIOUR, .type = FACET_FEATURE_ID, .sequence = 0, .length = 1, .bag = 3},
    {.name = "h.age", .role = FACET_ROLE_BEHAVIOUR, .type = FACET_FEATURE_FLOAT, .sequence = 0, .length = 1},
    {.name = "time", .role = FACET_ROLE_TIME, .type = FACET_FEATURE_INT64, .sequence = -1, .length = 1},
};
static facet_sequence sequences[] = {{.name = "h", .max_length = 9}};
static const facet_schema schema = {.n_features = 8, .features = features, .n_sequences = 1, .sequences = sequences};

static void expect_shape(const facet_tensor *tensor, const char *expected, facet_dtype dtype) {
  char text[64];
  cr_assert_not_null(tensor);
  cr_assert_str_eq(facet_shape_format(&tensor->shape, text, sizeof text), expected, "%s is %s", tensor->name, text);
  cr_assert_eq(tensor->dtype, dtype);
}

Test(graph, inputs_have_the_shapes_of_the_batch) {
  facet_parameters *parameters = NULL;
  facet_graph *g = NULL;
  EXPECT_OK(facet_parameters_create(&parameters));
  EXPECT_OK(facet_graph_create(FACET_PROGRAM_TRAIN, &schema, 6, 5, parameters, &g));
  facet_graph_newest_first(g, 0, true);
  expect_shape(facet_graph_feature(g, 1), "[6]", FACET_DTYPE_INT32);
  expect_shape(facet_graph_feature(g, 2), "[6, 3]", FACET_DTYPE_INT32);
  expect_shape(facet_graph_feature(g, 3), "[6, 2]", FACET_DTYPE_REAL);
  expect_shape(facet_graph_feature(g, 4), "[6, 5]", FACET_DTYPE_INT32);
  expect_shape(facet_graph_feature(g, 5), "[6, 5, 3]", FACET_DTYPE_INT32);
  expect_shape(facet_graph_feature(g, 6), "[6, 5, 1]", FACET_DTYPE_REAL);
  expect_shape(facet_graph_length(g, 0), "[6]", FACET_DTYPE_INT32);
  expect_shape(facet_graph_valid(g), "[6]", FACET_DTYPE_REAL);
  cr_assert_eq(facet_graph_label(g), facet_graph_label(g), "made once");
  cr_assert_eq(facet_graph_feature(g, 4), facet_graph_feature(g, 4), "made once");
  facet_graph_newest_first(g, 0, false);
  test_expect_error(facet_graph_status(g), FACET_ERROR_USAGE, "must come before input \"h.item\"");
  facet_graph_destroy(&g);
  EXPECT_OK(facet_graph_create(FACET_PROGRAM_TRAIN, &schema, 6, 0, parameters, &g));
  expect_shape(facet_graph_feature(g, 4), "[6, 9]", FACET_DTYPE_INT32);
  facet_graph_destroy(&g);
  facet_parameters_destroy(&parameters);
}

Test(graph, label_and_times_are_not_features) {
  int refused[] = {0, 7, 8};
  for (int i = 0; i < 3; i++) {
    facet_parameters *parameters = NULL;
    facet_graph *g = NULL;
    EXPECT_OK(facet_parameters_create(&parameters));
    EXPECT_OK(facet_graph_create(FACET_PROGRAM_TRAIN, &schema, 6, 0, parameters, &g));
    cr_assert_null(facet_graph_feature(g, refused[i]));
    cr_assert_eq(facet_graph_status(g), FACET_ERROR_USAGE);
    facet_graph_destroy(&g);
    facet_parameters_destroy(&parameters);
  }
}

/* ---- printing ---- */

Test(graph, print_and_dot) {
  test_fixture f = test_fixture_open(4);
  facet_tensor *x =
      facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, facet_shape_make(2, (int64_t)4, (int64_t)3), false);
  facet_tensor *w = facet_graph_parameter(f.graph, "w\"q", facet_shape_make(2, (int64_t)3, (int64_t)2),
                                          (facet_init){FACET_INIT_GLOROT_UNIFORM, 0}, true);
  facet_tensor *y = test_binary(f.graph, &test_matmul, "y", x, w);
  facet_graph_loss(f.graph, "mean", test_unary(f.graph, &test_mean, "m", y), 0.5);
  char *text = NULL;
  size_t n = 0;
  FILE *stream = open_memstream(&text, &n);
  facet_graph_print(f.graph, stream);
  facet_graph_print_dot(f.graph, stream);
  fclose(stream);
  cr_assert(strstr(text, "test_matmul"));
  cr_assert(strstr(text, "loss mean = 0.5 · m"));
  cr_assert(strstr(text, "\"n:y\" -> \"n:m\""));
  cr_assert(strstr(text, "w\\\"q"), "quotes are escaped");
  free(text);
  test_fixture_close(&f);
}
