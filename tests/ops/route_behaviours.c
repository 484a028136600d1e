#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>

#include "facet/rng.h"
#include "harness.h"
#include "route_reference.h"

#ifdef FACET_DOUBLE
#define CLOSE 1e-12
#else
#define CLOSE 1e-5
#endif

static facet_route_options options;
static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  return facet_route_behaviours(graph, "x", in[0], in[1], in[2], &options, NULL, NULL);
}

static const facet_route_options plain = {.mode = FACET_TOP_K_ABSOLUTE, .top_k = 1, .use_mask = true};

static harness_case case_of(int64_t batch, int64_t slots, int64_t c, int64_t d, const double *e, const double *o,
                            const int32_t *length) {
  return (harness_case){.build = build,
                        .batch = batch,
                        .input = {{"e", {3, {batch, slots, d}}, .values = e, .differentiable = true},
                                  {"o", {3, {batch, c, d}}, .values = o, .differentiable = true},
                                  {"length", {1, {batch}}, .ids = length}}};
}

/* ---- by hand ---------------------------------------------------------------------------------------------------- */

/* With o the unit vectors S = e. Behaviours (2, 1) (1, 3) (4, 0) (−1, −2) go to the channels 0 1 0 0. */
static const double hand_e[] = {2, 1, 1, 3, 4, 0, -1, -2, 1e30, -1e30}, hand_o[] = {1, 0, 0, 1};

static void run_by_hand(const double *r, const double *n_selected, const double *statistics, const double *de) {
  harness_case test = case_of(1, 5, 2, 2, hand_e, hand_o, (int32_t[]){4});
  test.expected = r;
  test.expected_other[0] = n_selected;
  test.expected_other[1] = statistics;
  test.expected_gradient = de;
  test.input[0].differentiable = de != NULL;
  harness_run(&test);
}

/* k = 1: (4, 0) with weight 4, and (1, 3) with weight 3. For g = 1: de = S g + u o with u = 4 in both. */
Test(route_behaviours, the_largest_of_each_channel) {
  options = plain;
  run_by_hand((double[]){16, 0, 3, 9}, (double[]){1, 1}, (double[]){0, log(2)},
              (double[]){0, 0, 3, 3 + 4, 4 + 4, 4, 0, 0, 0, 0});
}

/* k = 2: channel 0 has (4, 0), (2, 1); the second largest S_t1 is behaviour 0's, which went to channel 0. */
Test(route_behaviours, the_two_largest) {
  options = plain;
  options.top_k = 2;
  double p = 1.0 / 3;
  run_by_hand((double[]){10, 1, 3, 9}, (double[]){2, 1}, (double[]){0, -p * log(p) - 2 * p * log(2 * p)},
              (double[]){1 + 1.5, 1, 3, 7, 2 + 2, 2, 0, 0, 0, 0});
}

/* k = 4: all, (−1, −2) with weight −1 in channel 0; ones; relu, where it counts in D only. */
Test(route_behaviours, weights) {
  options = plain;
  options.top_k = 4;
  const double n[] = {3, 1}, statistics[] = {0, -0.25 * log(0.25) - 0.75 * log(0.75)};
  run_by_hand((double[]){21.0 / 3, 4.0 / 3, 3, 9}, n, statistics, NULL);
  options.weight = FACET_ROUTE_ONE;
  run_by_hand((double[]){5.0 / 3, -1.0 / 3, 1, 3}, n, statistics,
              (double[]){1.0 / 3, 1.0 / 3, 1, 1, 1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 0, 0});
  options.weight = FACET_ROUTE_RELU;
  run_by_hand((double[]){20.0 / 3, 2.0 / 3, 3, 9}, n, statistics, NULL);
  options.denominator = FACET_ROUTE_LENGTH; /* 5 slots */
  run_by_hand((double[]){4, 0.4, 0.6, 1.8}, n, statistics, NULL);
}

/* (5, 4) is the largest of both channels and goes to channel 0: nothing is left for channel 1, unless its largest is
 * sought among the behaviours routed to it. */
Test(route_behaviours, scope_of_the_largest) {
  static const double e[] = {5, 4, 1, 3};
  options = plain;
  harness_case test = case_of(1, 2, 2, 2, e, hand_o, (int32_t[]){2});
  test.expected = (double[]){25, 20, 0, 0};
  test.expected_other[0] = (double[]){1, 0};
  test.expected_other[1] = (double[]){0.5, 0};
  harness_run(&test);
  options.scope = FACET_TOP_K_ROUTED;
  test.expected = (double[]){25, 20, 3, 9};
  test.expected_other[0] = (double[]){1, 1};
  test.expected_other[1] = (double[]){0, log(2)};
  harness_run(&test);
}

/* A case whose gradients are not asked for: at ties there are none. */
static void run_forward(harness_case *test, const double *r, const double *n_selected) {
  test->no_gradient = true;
  test->input[0].differentiable = test->input[1].differentiable = false;
  test->expected = r;
  test->expected_other[0] = n_selected;
  harness_run(test);
}

/* Without the mask, a slot beyond the length scores 0 in every channel, goes to channel 0 and outranks −1. */
Test(route_behaviours, pads_count_without_the_mask) {
  static const double e[] = {-1, -3, -2, -1, NAN, NAN};
  harness_case test = case_of(1, 3, 2, 2, e, hand_o, (int32_t[]){2});
  options = plain;
  run_forward(&test, (double[]){1, 3, 2, 1}, (double[]){1, 1});
  options.use_mask = false;
  run_forward(&test, (double[]){0, 0, 0, 0}, (double[]){1, 0});
}

/* Equal scores: the first channel, the first behaviours; −0 is 0. */
Test(route_behaviours, ties) {
  static const double e[] = {0, 0, 1, 1, 1, 1, -0.0, 0, 1, 1};
  harness_case test = case_of(1, 5, 2, 2, e, hand_o, (int32_t[]){5});
  options = plain;
  options.weight = FACET_ROUTE_ONE;
  options.top_k = 2;
  run_forward(&test, (double[]){1, 1, 0, 0}, (double[]){2, 0});
  options.top_k = 4; /* (1, 1) three times, and the first of the zeros */
  run_forward(&test, (double[]){0.75, 0.75, 0, 0}, (double[]){4, 0});
}

/* Equal behaviours all go to channel 0, so n_selected is k. ⌈0.02 n⌉ in floating point is 4 for n = 150. */
Test(route_behaviours, k_grows_with_the_history) {
  enum { B = 400, L = 1200 };
  static double e[B * L], o[B], expected[B];
  static int32_t length[B];
  for (int i = 0; i < B * L; i++) e[i] = 1;
  for (int b = 0; b < B; b++) o[b] = 1, length[b] = 3 * b, expected[b] = (3 * b * 2 + 99) / 100;
  harness_case test = case_of(B, L, 1, 1, e, o, length);
  options = (facet_route_options){.mode = FACET_TOP_K_FRACTION, .top_ppm = 20000, .top_k = 1, .use_mask = true};
  test.no_gradient = true;
  test.input[0].differentiable = test.input[1].differentiable = false;
  test.expected_other[0] = expected;
  harness_run(&test);
  options.top_k = 20; /* a floor */
  for (int b = 0; b < B; b++) expected[b] = fmin(length[b], fmax(20, expected[b]));
  harness_run(&test);
  options.mode = FACET_TOP_K_ABSOLUTE;
  for (int b = 0; b < B; b++) expected[b] = fmin(length[b], 20);
  harness_run(&test);
}

/* ---- against the reference -------------------------------------------------------------------------------------- */

static void compare(const char *what, int64_t b, const facet_real *x, const double *expected, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    cr_assert(
        fabs((double)x[i] - expected[i]) <= CLOSE * (1 + fabs(expected[i])),
        "%s of sample %d, element %d: %.12g, expected %.12g; mode %d scope %d weight %d denominator %d k %d ppm %d "
        "mask %d straight-through %g",
        what, (int)b, (int)i, (double)x[i], expected[i], options.mode, options.scope, options.weight,
        options.denominator, (int)options.top_k, (int)options.top_ppm, options.use_mask, options.straight_through);
}

static void compare_with_reference(const facet_op_call *call, void *context) {
  static route_reference x;
  static double e[REFERENCE_MAX], o[REFERENCE_MAX / 16], g[REFERENCE_MAX / 16];
  const facet_shape *shape = &call->in_shape[0];
  x = (route_reference){.slots = shape->dim[1], .c = call->in_shape[1].dim[1], .d = shape->dim[2], .options = options};
  x.e = e;
  x.o = o;
  (void)context;
  int64_t n_e = x.slots * x.d, n_o = x.c * x.d;
  for (int64_t b = 0; b < shape->dim[0]; b++) {
    x.n = ((const int32_t *)call->in[2])[b];
    for (int64_t i = 0; i < n_e; i++) e[i] = (double)((const facet_real *)call->in[0])[b * n_e + i];
    for (int64_t i = 0; i < n_o; i++) {
      o[i] = (double)((const facet_real *)call->in[1])[b * n_o + i];
      g[i] = (double)call->d_out[0][b * n_o + i];
    }
    reference_forward(&x);
    reference_backward(&x, g);
    compare("r", b, (const facet_real *)call->out[0] + b * n_o, x.r, n_o);
    compare("n_selected", b, (const facet_real *)call->out[1] + b * x.c, x.n_selected, x.c);
    compare("statistics", b, (const facet_real *)call->out[2] + 2 * b, x.statistics, 2);
    compare("de", b, call->d_in[0] + b * n_e, x.de, n_e);
    compare("do", b, call->d_in[1] + b * n_o, x.d_o, n_o);
  }
}

/* Multiples of 1/2 and small whole numbers: products are exact in float, and ties are frequent. */
static void fill_quantised(const char *purpose, int64_t n, int range, double grain, double *x) {
  facet_rng_key key = facet_rng_key_make(23, purpose);
  for (int64_t i = 0; i < n; i++)
    x[i] = grain * ((int)facet_rng_below(facet_rng_word64(key, (uint64_t)i), (uint64_t)(2 * range + 1)) - range);
}

static void compare_case(int64_t batch, int64_t slots, int64_t c, int64_t d) {
  double *e = calloc((size_t)(batch * slots * d), sizeof *e), *o = calloc((size_t)(batch * c * d), sizeof *o);
  int32_t *length = calloc((size_t)batch, sizeof *length);
  fill_quantised("e", batch * slots * d, 4, 0.5, e);
  fill_quantised("o", batch * c * d, 2, 1, o);
  for (int64_t b = 0; b < batch; b++) { /* empty, full, and between */
    length[b] = (int32_t)(b == 0 ? 0 : b == 1 ? slots : (b * 37 + 11) % (slots + 1));
    for (int64_t i = length[b] * d; i < slots * d; i++) e[b * slots * d + i] = NAN;
  }
  harness_case test = case_of(batch, slots, c, d, e, o, length);
  harness_call(&test, compare_with_reference, NULL);
  free(e);
  free(o);
  free(length);
}

/* Calls check for every combination of switches. */
static void for_all_switches(void (*check)(void)) {
  for (int i = 0; i < 2 * 2 * 3 * 2 * 2 * 2; i++) {
    options = (facet_route_options){.mode = i % 2,
                                    .scope = i / 2 % 2,
                                    .weight = i / 4 % 3,
                                    .denominator = i / 12 % 2,
                                    .use_mask = i / 24 % 2,
                                    .straight_through = i / 48 % 2 * 0.7,
                                    .top_k = 3,
                                    .top_ppm = 300000};
    check();
  }
}

static void compare_small(void) {
  compare_case(6, 20, 3, 5);
  compare_case(4, 1, 2, 3);
  compare_case(3, 13, 4, 4); /* c = d */
  compare_case(3, 9, 1, 2);
  options.top_k = 1;
  options.top_ppm = 0;
  compare_case(5, 16, 10, 11); /* more channels than one product takes */
  options.top_k = 1000;
  compare_case(3, 30, 3, 5);
}
Test(route_behaviours, equals_the_reference_for_every_switch) {
  for_all_switches(compare_small);
}

static void compare_long(void) {
  options.top_ppm = 20000;
  if (options.denominator == FACET_ROUTE_SELECTED && options.straight_through == 0) compare_case(2, 1100, 3, 6);
}
Test(route_behaviours, equals_the_reference_on_long_histories) {
  for_all_switches(compare_long);
}

Test(route_behaviours, more_samples_than_blocks) {
  options = plain;
  compare_case(131, 7, 2, 3);
}

/* ---- gradients -------------------------------------------------------------------------------------------------- */

/* Behaviours whose largest similarity, and whose rank in their channel, stay the same for small changes: e_t is
 * (0.8 + 0.4 t) times a channel's direction and a little of the others. In sample 2, every other behaviour is against all
 * channels, least against one, so that relu has negative similarities. The fourth sample is empty, the fifth padding. */
static void check_gradients(void) {
  enum { B = 5, L = 6, C = 3, D = 4 };
  static const double direction[C][D] = {{1, 0.2, 0, -0.3}, {-0.2, 0.9, 0.1, 0}, {0, -0.1, 1.1, 0.2}};
  static double e[B * L * D], o[B * C * D];
  static const int32_t length[B] = {6, 1, 4, 0, 3};
  for (int b = 0; b < B; b++) {
    for (int i = 0; i < C * D; i++) o[b * C * D + i] = direction[i / D][i % D];
    for (int i = 0; i < L * D; i++) {
      int t = i / D, k = i % D, j = (t + b) % C;
      bool against = t % 2 == 1 && b == 2;
      double x = direction[j][k];
      if (against) x = 0.4 * x - direction[0][k] - direction[1][k] - direction[2][k];
      e[b * L * D + i] = (0.8 + 0.4 * t) * x + 0.05 * ((b + 2 * t + 3 * k) % 5 - 2);
    }
  }
  harness_case test = case_of(B, L, C, D, e, o, length);
  test.n_valid = 4;
  bool more = options.denominator == FACET_ROUTE_LENGTH || !options.use_mask;
  if (options.mode == FACET_TOP_K_ABSOLUTE || (options.straight_through > 0 && more)) return; /* enough */
  options.top_k = 2;
  options.top_ppm = 500000;
  test.surrogate = options.straight_through > 0;
  harness_run(&test);
}
Test(route_behaviours, gradients) {
  for_all_switches(check_gradients);
}

#ifdef FACET_DOUBLE
/* Straight-through is the gradient of g · r with M1 replaced by M1 + π − π₀, where M2, D and π₀ are constants. */
static double surrogate(const route_reference *at, const double *g, const double *e, const double *o) {
  static route_reference x;
  double sum = 0;
  x = *at;
  x.e = e;
  x.o = o;
  for (int64_t t = 0; t < x.n; t++)
    for (int64_t j = 0; j < x.c; j++) {
      x.score[t * x.c + j] = 0;
      for (int64_t k = 0; k < x.d; k++) x.score[t * x.c + j] += e[t * x.d + k] * o[j * x.d + k];
    }
  for (int64_t t = 0; t < x.n; t++)
    for (int64_t j = 0; j < x.c; j++) {
      double m1 = x.m1[t * x.c + j];
      if (x.n_selected[j] > 0) m1 += reference_softmax(&x, t, j) - reference_softmax(at, t, j);
      sum +=
          m1 * x.m2[t * x.c + j] / x.denominator[j] * reference_a(&x, x.score[t * x.c + j]) * reference_u(&x, g, t, j);
    }
  return sum;
}

static void check_surrogate(const facet_op_call *call, void *context) {
  static route_reference at;
  enum { H = 100000 };
  (void)context;
  at = (route_reference){.slots = call->in_shape[0].dim[1],
                         .c = call->in_shape[1].dim[1],
                         .d = call->in_shape[0].dim[2],
                         .n = *(const int32_t *)call->in[2],
                         .options = options,
                         .e = call->in[0],
                         .o = call->in[1]};
  reference_forward(&at);
  for (int i = 0; i < 2; i++) {
    double *x = call->in[i];
    for (int64_t k = 0; k < facet_shape_elements(&call->in_shape[i]); k++) {
      double keep = x[k];
      x[k] = keep + 1.0 / H;
      double above = surrogate(&at, call->d_out[0], call->in[0], call->in[1]);
      x[k] = keep - 1.0 / H;
      double below = surrogate(&at, call->d_out[0], call->in[0], call->in[1]);
      x[k] = keep;
      cr_assert(fabs((above - below) * H / 2 - call->d_in[i][k]) < 1e-7, "input %d, element %d: %.12g, numeric %.12g",
                i, (int)k, call->d_in[i][k], (above - below) * H / 2);
    }
  }
}
static void check_straight_through(void) {
  harness_case test = case_of(1, 8, 3, 4, NULL, NULL, (int32_t[]){7});
  if (options.straight_through > 0) harness_call(&test, check_surrogate, NULL);
}
Test(route_behaviours, straight_through_is_the_gradient_of_its_surrogate) {
  for_all_switches(check_straight_through);
}
#endif

/* ---- the rest --------------------------------------------------------------------------------------------------- */

/* A behaviour that is NaN is selected and reaches r: it must not vanish behind the finite ones. */
static void check_nan(const facet_op_call *call, void *context) {
  (void)context;
  facet_op_call again = *call;
  facet_real e[] = {1, 2, 3, (facet_real)NAN, 5, 6}, r[2] = {0};
  again.in[0] = e;
  again.out[0] = r;
  cr_assert_eq(again.op->forward(&again), FACET_OK);
  cr_assert(isnan(r[0]) && isnan(r[1]));
}
Test(route_behaviours, nan_comes_through) {
  options = plain;
  harness_case test = case_of(1, 3, 1, 2, NULL, NULL, (int32_t[]){3});
  harness_call(&test, check_nan, NULL);
}

static void fails(harness_case *test, facet_route_options with, const char *text) {
  options = with;
  harness_fails(test, text);
}

Test(route_behaviours, wrong_arguments) {
  harness_case good = case_of(2, 4, 3, 5, NULL, NULL, (int32_t[]){4, 4}), bad = good;
  bad.input[0].shape = (facet_shape){2, {2, 4}};
  fails(&bad, plain, "e is [2, 4], expected real [B, L, d]");
  bad = good;
  bad.input[1].shape = (facet_shape){3, {2, 3, 4}};
  fails(&bad, plain, "o is [2, 3, 4], expected real [B, c, d] for e [2, 4, 5]");
  bad = good;
  bad.input[2].shape = (facet_shape){1, {3}};
  fails(&bad, plain, "length is [3], expected int32 [B]");
  facet_route_options with = plain;
  with.top_k = 0;
  fails(&good, with, "top_k is 0");
  with = plain, with.top_ppm = 1000001;
  fails(&good, with, "top_ppm is 1000001");
  with = plain, with.straight_through = -1;
  fails(&good, with, "straight_through is -1");
  with = plain, with.mode = 2;
  fails(&good, with, "mode 2");
  with = plain, with.scope = -1;
  fails(&good, with, "scope -1");
  with = plain, with.weight = 3;
  fails(&good, with, "weight 3");
  with = plain, with.denominator = 2;
  fails(&good, with, "denominator 2");
}

Test(route_behaviours, counts_and_statistics_have_no_gradient) {
  facet_parameters *parameters = NULL;
  facet_graph *graph = NULL;
  options = plain;
  cr_assert_eq(facet_parameters_create(&parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 2, 0, parameters, &graph), FACET_OK);
  facet_tensor *e = facet_graph_input(graph, "e", FACET_DTYPE_REAL, facet_shape_make(3, 2, 4, 5), true);
  facet_tensor *o = facet_graph_input(graph, "o", FACET_DTYPE_REAL, facet_shape_make(3, 2, 3, 5), true);
  facet_tensor *length = facet_graph_input(graph, "length", FACET_DTYPE_INT32, facet_shape_make(1, 2), false);
  facet_tensor *n_selected, *statistics;
  facet_tensor *r = facet_route_behaviours(graph, "x", e, o, length, &options, &n_selected, &statistics);
  cr_assert(r && r->needs_gradient && !n_selected->needs_gradient && !statistics->needs_gradient);
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
}
