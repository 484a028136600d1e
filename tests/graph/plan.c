#include "graph/plan.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "facet/memory.h"
#include "facet/ops.h"
#include "facet/rng.h"
#include "random_graph.h"

static const facet_plan_buffer *find_buffer(const facet_plan *plan, facet_plan_part part, const char *name) {
  for (int i = 0; i < plan->n_buffers; i++)
    if (plan->buffer[i].part == part && strcmp(plan->buffer[i].name, name) == 0) return &plan->buffer[i];
  return NULL;
}

static void expect_life(const facet_plan *plan, facet_plan_part part, const char *name, int first, int last) {
  const facet_plan_buffer *b = find_buffer(plan, part, name);
  cr_assert(b, "no buffer %s of part %d", name, part);
  cr_assert(b->first == first && b->last == last, "%s of part %d lives %d … %d, expected %d … %d", name, part,
            (int)b->first, (int)b->last, first, last);
}

static void expect_packed(const facet_plan_buffer *buffer, int n, size_t arena) {
  size_t sum = 0;
  for (int i = 0; i < n; i++) {
    const facet_plan_buffer *a = &buffer[i];
    cr_assert_eq(a->offset % FACET_ALIGNMENT, 0);
    cr_assert_leq(a->offset + a->bytes, arena);
    sum += (a->bytes + FACET_ALIGNMENT - 1) / FACET_ALIGNMENT * FACET_ALIGNMENT;
    for (int k = 0; k < i; k++) {
      const facet_plan_buffer *b = &buffer[k];
      bool together = a->first <= b->last && b->first <= a->last;
      bool share = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
      cr_assert(!(together && share), "buffers %d and %d are alive together and share bytes", i, k);
    }
  }
  cr_assert_leq(arena, sum);
}

Test(plan, packing_by_hand) {
  /* a and c are never alive together, b is alive with both: c takes the place of a */
  facet_plan_buffer buffer[] = {{.name = "a", .bytes = 128, .first = 0, .last = 1},
                                {.name = "b", .bytes = 100, .first = 1, .last = 2},
                                {.name = "c", .bytes = 64, .first = 2, .last = 3}};
  size_t arena = 0;
  EXPECT_OK(facet_plan_pack(buffer, 3, &arena));
  cr_assert_eq(buffer[0].offset, 0);
  cr_assert_eq(buffer[1].offset, 128);
  cr_assert_eq(buffer[2].offset, 0);
  cr_assert_eq(arena, 256);
}

Test(plan, packing_of_random_lifetimes) {
  for (uint64_t seed = 0; seed < 40; seed++) {
    facet_plan_buffer buffer[80] = {0};
    facet_rng_key key = facet_rng_key_make(seed, "lifetimes");
    for (uint64_t i = 0; i < 80; i++) {
      buffer[i].bytes = 1 + facet_rng_below(facet_rng_word64(key, 3 * i), 5000);
      buffer[i].first = (int64_t)facet_rng_below(facet_rng_word64(key, 3 * i + 1), 50);
      buffer[i].last = buffer[i].first + (int64_t)facet_rng_below(facet_rng_word64(key, 3 * i + 2), 12);
    }
    size_t arena = 0;
    EXPECT_OK(facet_plan_pack(buffer, 80, &arena));
    expect_packed(buffer, 80, arena);
  }
}

Test(plan, lifetimes_by_hand) {
  /*  0 y = x w      1 c = curve(y)     2 e = exp(c)     3 l = mean(e)     backward: 4 l, 5 e, 6 c, 7 y */
  test_fixture f = test_fixture_open(4);
  facet_tensor *x =
      facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, facet_shape_make(2, (int64_t)4, (int64_t)3), false);
  facet_tensor *w = facet_graph_parameter(f.graph, "w", facet_shape_make(2, (int64_t)3, (int64_t)8),
                                          (facet_init){FACET_INIT_NORMAL, 1}, true);
  facet_tensor *y = test_binary(f.graph, &test_matmul, "y", x, w);
  facet_tensor *e = test_unary(f.graph, &test_exponential, "e", test_unary(f.graph, &test_curve, "c", y));
  facet_graph_loss(f.graph, "l", test_unary(f.graph, &test_mean, "l", e), 1);
  facet_plan *plan = NULL;
  EXPECT_OK(facet_plan_create(f.graph, true, false, &plan));
  cr_assert_eq(plan->n_steps, 8);
  expect_life(plan, FACET_PLAN_ACTIVATION, "y", 0, 1); /* curve keeps what it needs in saved memory */
  expect_life(plan, FACET_PLAN_ACTIVATION, "c", 1, 2);
  expect_life(plan, FACET_PLAN_ACTIVATION, "e", 2, 5); /* exp reads its output in backward */
  expect_life(plan, FACET_PLAN_ACTIVATION, "l", 3, 7);
  expect_life(plan, FACET_PLAN_SAVED, "c", 1, 6);
  expect_life(plan, FACET_PLAN_GRADIENT, "l", 4, 4);
  expect_life(plan, FACET_PLAN_GRADIENT, "e", 4, 5);
  expect_life(plan, FACET_PLAN_GRADIENT, "c", 5, 6);
  expect_life(plan, FACET_PLAN_GRADIENT, "y", 6, 7);
  size_t tensor = 4 * 8 * sizeof(facet_real);
  cr_assert_eq(plan->report.activations, 3 * tensor + sizeof(facet_real));
  cr_assert_eq(plan->report.gradients, 3 * tensor + sizeof(facet_real));
  cr_assert_eq(plan->report.saved, tensor);
  facet_plan_destroy(&plan);
  EXPECT_OK(facet_plan_create(f.graph, false, false, &plan));
  cr_assert_eq(plan->report.gradients, 0);
  expect_life(plan, FACET_PLAN_SAVED, "c", 1, 1);
  expect_life(plan, FACET_PLAN_ACTIVATION, "e", 2, 3);
  facet_plan_destroy(&plan);
  EXPECT_OK(facet_plan_create(f.graph, true, true, &plan)); /* for traces: all to the end */
  expect_life(plan, FACET_PLAN_ACTIVATION, "y", 0, 7);
  expect_life(plan, FACET_PLAN_GRADIENT, "l", 4, 7);
  facet_plan_destroy(&plan);
  test_fixture_close(&f);
}

Test(plan, a_view_has_the_buffers_of_its_input) {
  /*  0 y = relu(x w)   1 v = reshape(y)   2 s = slice(v)   3 l = mean(s)   4 m = mean(y)    backward: 5 m, 6 l, 7 s, 8 v, 9 y */
  test_fixture f = test_fixture_open(4);
  facet_tensor *x =
      facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, facet_shape_make(2, (int64_t)4, (int64_t)3), false);
  facet_tensor *y = facet_linear(f.graph, "y", x, 8, false, FACET_ACTIVATION_RELU);
  facet_tensor *v = facet_reshape(f.graph, "v", y, facet_shape_make(3, (int64_t)4, (int64_t)4, (int64_t)2));
  facet_graph_loss(f.graph, "l", test_unary(f.graph, &test_mean, "l", facet_slice(f.graph, "s", v, 0, 1)), 1);
  facet_graph_loss(f.graph, "m", test_unary(f.graph, &test_mean, "m", y), 1);
  facet_plan *plan = NULL;
  EXPECT_OK(facet_plan_create(f.graph, true, false, &plan));
  cr_assert_null(find_buffer(plan, FACET_PLAN_ACTIVATION, "v"));
  cr_assert_null(find_buffer(plan, FACET_PLAN_GRADIENT, "v"));
  cr_assert_eq(plan->value[v->index], plan->value[y->index]);
  cr_assert_eq(plan->value_gradient[v->index], plan->value_gradient[y->index]);
  expect_life(plan, FACET_PLAN_ACTIVATION, "y", 0, 9);
  expect_life(plan, FACET_PLAN_GRADIENT, "y", 5, 9); /* test_mean adds: it is zeroed, and slice adds, too */
  cr_assert_eq(find_buffer(plan, FACET_PLAN_GRADIENT, "y")->storing_node, -1);
  cr_assert_eq(find_buffer(plan, FACET_PLAN_GRADIENT, "l")->storing_node, -1);
  facet_plan_destroy(&plan);
  EXPECT_OK(facet_plan_create(f.graph, true, true, &plan)); /* for traces: all have their own */
  cr_assert(find_buffer(plan, FACET_PLAN_ACTIVATION, "v") && find_buffer(plan, FACET_PLAN_GRADIENT, "v"));
  facet_plan_destroy(&plan);
  test_fixture_close(&f);
}

Test(plan, the_last_reader_stores_the_gradient) {
  test_fixture f = test_fixture_open(4);
  facet_tensor *x =
      facet_graph_input(f.graph, "x", FACET_DTYPE_REAL, facet_shape_make(2, (int64_t)4, (int64_t)3), false);
  facet_tensor *y = facet_linear(f.graph, "y", x, 8, false, FACET_ACTIVATION_RELU);
  facet_tensor *s = facet_slice(f.graph, "s", y, 0, 4);    /* node 1 */
  facet_tensor *t = facet_slice(f.graph, "t", y, 4, 4);    /* node 2 */
  facet_tensor *twice = facet_add(f.graph, "twice", s, s); /* node 3 */
  facet_tensor *sum = facet_add(f.graph, "sum", twice, t); /* node 4 */
  facet_graph_loss(f.graph, "l", test_unary(f.graph, &test_mean, "l", sum), 1);
  facet_plan *plan = NULL;
  EXPECT_OK(facet_plan_create(f.graph, true, false, &plan));
  cr_assert_eq(find_buffer(plan, FACET_PLAN_GRADIENT, "y")->storing_node, 2);
  cr_assert_eq(find_buffer(plan, FACET_PLAN_GRADIENT, "s")->storing_node, -1); /* read twice by one node */
  cr_assert_eq(find_buffer(plan, FACET_PLAN_GRADIENT, "t")->storing_node, 4);
  cr_assert_eq(find_buffer(plan, FACET_PLAN_GRADIENT, "sum")->storing_node, -1); /* test_mean adds */
  facet_plan_destroy(&plan);
  test_fixture_close(&f);
}

Test(plan, tables_keep_gradients_to_the_end) {
  test_fixture f = test_fixture_open(4);
  facet_tensor *ids = facet_graph_input(f.graph, "ids", FACET_DTYPE_INT32, facet_shape_make(1, (int64_t)4), false);
  facet_tensor *table = facet_graph_table(f.graph, "t", 10, 8, (facet_init){FACET_INIT_NORMAL, 1});
  facet_tensor *rows = test_binary(f.graph, &test_lookup, "rows", table, ids);
  facet_tensor *dead = test_unary(f.graph, &test_square, "dead", rows); /* no loss depends on it */
  facet_graph_output(f.graph, "logit", dead);
  facet_graph_loss(f.graph, "l", test_unary(f.graph, &test_mean, "l", rows), 1);
  facet_plan *plan = NULL;
  EXPECT_OK(facet_plan_create(f.graph, true, false, &plan));
  cr_assert(plan->backward[0] && !plan->backward[1] && plan->backward[2]);
  cr_assert_null(find_buffer(plan, FACET_PLAN_GRADIENT, "dead"));
  expect_life(plan, FACET_PLAN_GRADIENT, "rows", 3, 5);
  expect_life(plan, FACET_PLAN_ACTIVATION, "dead", 1, 5);
  facet_plan_destroy(&plan);
  test_fixture_close(&f);
}

Test(plan, random_graphs) {
  for (uint64_t seed = 0; seed < 60; seed++) {
    test_fixture f = test_fixture_open(4);
    test_random_graph(f.graph, seed, 30, false);
    for (int backward = 0; backward < 2; backward++) {
      facet_plan *plan = NULL;
      EXPECT_OK(facet_plan_create(f.graph, backward, false, &plan));
      expect_packed(plan->buffer, plan->n_buffers, plan->report.arena);
      for (int i = 0; i < plan->n_buffers; i++)
        cr_assert(plan->buffer[i].first <= plan->buffer[i].last && plan->buffer[i].last < plan->n_steps);
      facet_plan_destroy(&plan);
    }
    test_fixture_close(&f);
  }
}

Test(plan, print_has_every_buffer_and_total) {
  test_fixture f = test_fixture_open(4);
  test_random_graph(f.graph, 1, 6, false);
  facet_plan *plan = NULL;
  EXPECT_OK(facet_plan_create(f.graph, true, false, &plan));
  char *text = NULL;
  size_t n = 0;
  FILE *stream = open_memstream(&text, &n);
  facet_plan_print(plan, stream);
  fclose(stream);
  for (int i = 0; i < plan->n_buffers; i++) cr_assert(strstr(text, plan->buffer[i].name));
  cr_assert(strstr(text, "arena (the three, packed)"));
  free(text);
  facet_plan_destroy(&plan);
  test_fixture_close(&f);
}
