/* Tiny operators of the graph tests, and a graph of them. */
#ifndef TESTS_GRAPH_OPERATORS_H
#define TESTS_GRAPH_OPERATORS_H

#include "facet/executor.h"
#include "facet/graph.h"

extern const facet_op test_matmul;      /* x [B, n], w [n, m] → [B, m]; backward reads inputs */
extern const facet_op test_curve;       /* y = x + x³/3; saves 1 + x² */
extern const facet_op test_square;      /* y = x²; backward reads the inputs */
extern const facet_op test_exponential; /* y = exp(x); backward reads the output */
extern const facet_op test_add;    /* a + b, equal shapes; backward reads nothing; 64 bytes of scratch are written */
extern const facet_op test_mean;   /* [..] → scalar */
extern const facet_op test_split;  /* x [B, n] → x, 2x */
extern const facet_op test_sign;   /* x → int32 [..] 0 or 1: no gradient */
extern const facet_op test_count;  /* int32 [..] → real [..] */
extern const facet_op test_lookup; /* table [n, d], ids [B] → [B, d] */
extern const facet_op test_center; /* x [B, n] − running mean state [n], which moves in training */
extern const facet_op test_wrong;  /* y = x², whose backward forgets the 2 */

facet_tensor *test_unary(facet_graph *graph, const facet_op *op, const char *name, facet_tensor *x);
facet_tensor *test_binary(facet_graph *graph, const facet_op *op, const char *name, facet_tensor *a, facet_tensor *b);

/* A device, parameters and a graph without a schema, B samples. */
typedef struct test_fixture {
  facet_device *device;
  facet_parameters *parameters;
  facet_graph *graph;
  facet_executor *executor;
  facet_run run;
} test_fixture;
test_fixture test_fixture_open(int64_t batch_size);
void test_fixture_compile(test_fixture *fixture, bool with_backward);
void test_fixture_close(test_fixture *fixture);

/* Fails the test with the error's message. */
#define EXPECT_OK(expression) cr_assert_eq((expression), FACET_OK, "%s", facet_error_get()->message)
/* The last error has the status, and its message contains the text. */
void test_expect_error(facet_status actual, facet_status expected, const char *text);

#endif
