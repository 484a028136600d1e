/* Random numbers: their counters by the words of include/facet/rng.h, their distribution, and a graph that has them. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "facet/executor.h"
#include "facet/memory.h"
#include "facet/rng.h"
#include "graph/graph_internal.h"
#include "harness.h"

enum { SEED = 9, MAX = 40000 };

static facet_real normal[MAX];
static int32_t integer[MAX];

/* Draws a node "x" of `batch` samples of `width` elements. */
static void draw(int64_t batch, int64_t width, int64_t n, const facet_run *run) {
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  cr_assert_eq(facet_parameters_create(&parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, batch, 0, parameters, &graph), FACET_OK);
  facet_shape shape = facet_shape_make(2, batch, width);
  facet_tensor *x = n ? facet_random_integer(graph, "x", shape, n) : facet_random_normal(graph, "x", shape);
  cr_assert(x && !x->needs_gradient, "%s", facet_error_get()->message);
  cr_assert_eq(x->dtype, n ? FACET_DTYPE_INT32 : FACET_DTYPE_REAL);
  facet_op_call call = {.op = x->producer->op, .params = x->producer->params, .n_outputs = 1, .run = run};
  call.out_shape[0] = x->shape;
  call.out[0] = n ? (void *)integer : (void *)normal;
  memset(call.out[0], 0xFF, n ? sizeof integer : sizeof normal);
  cr_assert_leq(batch * width, MAX);
  cr_assert_eq(call.op->forward(&call), FACET_OK);
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
}

static const facet_run train = {.training = true, .seed = SEED, .step = 5, .micro_step = 2, .first_position = 1000};
static const int64_t rows[] = {70000000000, 3, -1};
static const facet_run evaluate = {.seed = SEED, .step = 5, .row = rows};

static facet_rng_counter counter(const facet_run *run, int64_t b, uint32_t block) {
  return run->training ? facet_rng_counter_train(5, 2, (uint32_t)(1000 + b), block)
                       : facet_rng_counter_row((uint64_t)run->row[b], block);
}

static void expect_normals(const facet_run *run, int64_t width) {
  facet_rng_key key = facet_rng_key_make(SEED, "random/x");
  draw(3, width, 0, run);
  for (int64_t i = 0; i < 3 * width; i++) {
    uint32_t word[4];
    float four[4];
    facet_rng_block(key, counter(run, i / width, (uint32_t)(i % width / 4)), word);
    facet_rng_normals(word, four);
    cr_assert(normal[i] == (facet_real)four[i % width % 4], "element %lld of %lld: %g", (long long)i,
              (long long)(3 * width), (double)normal[i]);
  }
  cr_assert(isnan(normal[3 * width]), "wrote behind the end");
}
Test(random, normals_from_the_counter) {
  const int64_t widths[] = {1, 6, 128, 511, 1203};
  for (int i = 0; i < 5; i++) expect_normals(&train, widths[i]), expect_normals(&evaluate, widths[i]);
}

static void expect_integers(const facet_run *run, int64_t width) {
  facet_rng_key key = facet_rng_key_make(SEED, "random/x");
  draw(3, width, 1000, run);
  for (int64_t i = 0; i < 3 * width; i++) {
    uint32_t word[4];
    int64_t e = i % width;
    facet_rng_block(key, counter(run, i / width, (uint32_t)(e / 2)), word);
    uint64_t bits = word[e % 2 * 2] + ((uint64_t)word[e % 2 * 2 + 1] << 32);
    cr_assert_eq(integer[i], (int32_t)facet_rng_below(bits, 1000), "element %lld", (long long)i);
  }
  cr_assert_eq(integer[3 * width], -1, "wrote behind the end");
}
Test(random, integers_from_the_counter) {
  for (int64_t width = 1; width < 8; width += 3) expect_integers(&train, width), expect_integers(&evaluate, width);
}

Test(random, normals_are_standard) {
  double mean = 0, variance = 0;
  enum { N = 40000 };
  draw(80, 500, 0, &train);
  for (int i = 0; i < N; i++) mean += (double)normal[i] / N;
  for (int i = 0; i < N; i++) variance += ((double)normal[i] - mean) * ((double)normal[i] - mean) / N;
  cr_assert_lt(fabs(mean), 4 / sqrt(N));
  cr_assert_lt(fabs(variance - 1), 4 * sqrt(2.0 / N));
}

Test(random, integers_are_uniform) {
  enum { N = 40000, LIMIT = 10 };
  int count[LIMIT] = {0};
  double chi = 0;
  draw(N / 4, 4, LIMIT, &train);
  for (int i = 0; i < N; i++) {
    cr_assert(integer[i] >= 0 && integer[i] < LIMIT);
    count[integer[i]]++;
  }
  for (int k = 0; k < LIMIT; k++) chi += pow(count[k] - N / LIMIT, 2) / (N / LIMIT);
  cr_assert_lt(chi, 27.9, "chi² of %g with 9 degrees of freedom: 1 in 1000", chi);
  draw(N / 4, 4, INT32_MAX, &train);
  double mean = 0;
  for (int i = 0; i < N; i++) {
    cr_assert_geq(integer[i], 0);
    mean += integer[i] / (double)N;
  }
  cr_assert_lt(fabs(mean / INT32_MAX - 0.5), 4 / sqrt(12.0 * N));
  draw(3, 5, 1, &train);
  for (int i = 0; i < 15; i++) cr_assert_eq(integer[i], 0);
}

Test(random, a_row_has_its_numbers_in_every_batch) {
  facet_real alone[6];
  facet_run one = {.seed = SEED, .step = 77, .micro_step = 1, .first_position = 40, .row = rows + 1};
  draw(1, 6, 0, &one);
  memcpy(alone, normal, sizeof alone);
  draw(3, 6, 0, &evaluate);
  cr_assert_eq(memcmp(alone, normal + 6, sizeof alone), 0, "row 3, alone and second of three");
  for (int i = 0; i < 6; i++) cr_assert(isfinite(normal[12 + i]), "padding");
}

Test(random, training_numbers_move_with_the_step) {
  facet_real first[12];
  facet_run run = train;
  draw(2, 6, 0, &run);
  memcpy(first, normal, sizeof first);
  cr_assert_neq(first[0], first[6], "samples differ");
  for (int k = 0; k < 3; k++) { /* step, micro-step, seed */
    run = train;
    run.step += k == 0, run.micro_step += k == 1, run.seed += k == 2;
    draw(2, 6, 0, &run);
    for (int i = 0; i < 12; i++) cr_assert_neq(normal[i], first[i], "change %d, element %d", k, i);
  }
  run = train;
  run.first_position++;
  draw(1, 6, 0, &run);
  cr_assert_eq(memcmp(normal, first + 6, 6 * sizeof *first), 0, "the next rank's first sample");
}

Test(random, threads_do_not_matter) {
  facet_real first[500];
  omp_set_num_threads(1);
  draw(5, 100, 0, &train);
  memcpy(first, normal, sizeof first);
  omp_set_num_threads(3);
  draw(5, 100, 0, &train);
  cr_assert_eq(memcmp(first, normal, sizeof first), 0);
}

/* A node without inputs in a whole program: y = x w, x random; the plan, the printed graph, forward and backward. */
Test(random, in_a_graph) {
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  facet_device *device = NULL;
  facet_executor *executor = NULL;
  char *text = NULL;
  size_t n_text = 0;
  cr_assert_eq(facet_device_open("cpu", &device), FACET_OK);
  cr_assert_eq(facet_parameters_create(&parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 3, 0, parameters, &graph), FACET_OK);
  facet_tensor *x = facet_random_normal(graph, "x", facet_shape_make(2, 3, 6));
  facet_random_integer(graph, "level", facet_shape_make(2, 3, 2), 50);
  facet_tensor *y = facet_linear(graph, "y", x, 1, false, FACET_ACTIVATION_NONE);
  facet_tensor *one = facet_graph_input(graph, "one", FACET_DTYPE_REAL, facet_shape_make(1, 3), false);
  facet_graph_loss(graph, "loss", facet_bce_logits(graph, "loss", y, one, one, one), 1);
  cr_assert_eq(facet_parameters_allocate(parameters, 1, true), FACET_OK);
  for (int i = 0; i < 6; i++) facet_parameters_values(parameters)[i] = 1; /* y.weight */
  cr_assert_eq(facet_executor_create(graph, device, true, &executor), FACET_OK, "%s", facet_error_get()->message);
  FILE *stream = open_memstream(&text, &n_text);
  facet_graph_print(graph, stream);
  facet_graph_print_dot(graph, stream);
  fclose(stream);
  cr_assert(strstr(text, "level") && strstr(text, "\"n:x\" [shape=box"), "%s", text);
  for (int i = 0; i < 3; i++) ((facet_real *)facet_executor_input(executor, "one"))[i] = 1;
  facet_run run = {.training = true, .seed = SEED, .step = 5, .micro_step = 2, .first_position = 1000};
  cr_assert_eq(facet_executor_forward(executor, NULL, &run), FACET_OK);
  double loss = facet_executor_loss(executor, 0), expected = 0;
  cr_assert_eq(facet_executor_backward(executor, 1), FACET_OK);
  draw(3, 6, 0, &run);
  for (int b = 0; b < 3; b++) {
    double z = 0;
    for (int i = 0; i < 6; i++) z += (double)normal[b * 6 + i];
    expected += log1p(exp(-z)) / 3;
  }
  cr_assert_float_eq(loss, expected, 1e-5);
  cr_assert_neq(facet_parameters_gradients(parameters)[0], 0);
  run.training = false; /* rows 0, 1, 2 */
  cr_assert_eq(facet_executor_forward(executor, NULL, &run), FACET_OK);
  cr_assert_neq(facet_executor_loss(executor, 0), loss);
  cr_assert_eq(facet_executor_find_nonfinite(executor), FACET_OK);
  free(text);
  facet_executor_destroy(&executor);
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
  facet_device_close(&device);
}

static facet_tensor *no_batch(facet_graph *graph, facet_tensor *const *in) {
  (void)in;
  return facet_random_normal(graph, "x", facet_shape_make(2, 4, 3));
}
static facet_tensor *nothing(facet_graph *graph, facet_tensor *const *in) {
  (void)in;
  return facet_random_integer(graph, "x", facet_shape_make(1, 5), 0);
}
static facet_tensor *too_many(facet_graph *graph, facet_tensor *const *in) {
  (void)in;
  return facet_random_integer(graph, "x", facet_shape_make(1, 5), (int64_t)1 << 31);
}
Test(random, wrong_arguments) {
  harness_fails(&(harness_case){.build = no_batch, .batch = 5}, "shape [4, 3], expected [5, ..]");
  harness_fails(&(harness_case){.build = nothing, .batch = 5}, "n is 0, expected 1 to 2147483647");
  harness_fails(&(harness_case){.build = too_many, .batch = 5}, "n is 2147483648");
}

Test(random, cost) {
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  cr_assert_eq(facet_parameters_create(&parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 3, 0, parameters, &graph), FACET_OK);
  facet_tensor *x = facet_random_normal(graph, "x", facet_shape_make(2, 3, 6));
  cr_assert_eq(x->producer->cost.forward_bytes, 18 * sizeof(facet_real));
  cr_assert_eq(x->producer->cost.backward_flops, 0);
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
}
