#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "cpu/denoise_plan.h"
#include "cpu/vector.h"
#include "denoise_reference.h"
#include "facet/environment.h"
#include "graph/graph_internal.h"

/* The node under test; a test changes it and runs. */
static struct setting {
  int64_t batch, n_valid, c, d;
  facet_denoiser_options options;
  bool single, noise; /* one call, with levels given; else a chain, with z */
  reference_chain chain;
  int64_t gradient_steps, stride;
  const int32_t *level; /* of one call */
} is = {.batch = 3,
        .n_valid = 2,
        .c = 3,
        .d = 8,
        .options = {.n_layers = 2, .heads = 2, .ffn_factor = 2},
        .noise = true,
        .chain = {.diffusion = {.levels = 5, .beta_first = 0.05, .beta_last = 0.3}, .steps = 3},
        .gradient_steps = 3,
        .stride = 31};

static facet_tensor *build(facet_graph *graph, facet_tensor *const *in) {
  if (is.single) return facet_denoise(graph, "x", "net", in[0], in[3], in[1], in[2], &is.options);
  return facet_denoise_chain(graph, "x", "net", in[0], is.noise ? in[3] : NULL, in[1], in[2], &is.options,
                             &is.chain.diffusion, is.chain.parameter, is.chain.steps, is.gradient_steps);
}

static void reference_row(const harness_inputs *now, const harness_inputs *before, int64_t b, int64_t i, double *out) {
  const int64_t c = is.c, d = is.d, at = b * c * d, row = at + i * d;
  reference_denoiser m = {.c = c, .d = d, .options = is.options, .name = "net", .from = now};
  const double *r = harness_values(now, "r") + at, *o = harness_values(now, "o") + row;
  if (is.single) {
    reference_denoise(&m, i, harness_values(now, "extra")[b * c + i], harness_values(now, "start") + row, r, o, out);
    return;
  }
  const int64_t z_at = b * (is.chain.steps - 1) * c * d;
  const double *z = is.noise ? harness_values(now, "extra") + z_at : NULL;
  const bool cut = is.gradient_steps < is.chain.steps; /* the steps before are constant */
  memcpy(out, harness_values(cut ? before : now, "start") + row, (size_t)d * sizeof *out);
  if (cut) {
    m.from = before;
    reference_reverse(&m, &is.chain, is.chain.steps - 1, is.gradient_steps, i,
                      is.noise ? harness_values(before, "extra") + z_at : NULL, harness_values(before, "r") + at,
                      harness_values(before, "o") + row, out);
    m.from = now;
  }
  reference_reverse(&m, &is.chain, is.gradient_steps - 1, 0, i, z, r, o, out);
}

static void reference(const harness_inputs *now, const harness_inputs *before, double *output) {
  const int64_t n_valid = is.n_valid ? is.n_valid : is.batch;
  memset(output, 0, (size_t)(is.batch * is.c * is.d) * sizeof *output);
  for (int64_t row = 0; row < n_valid * is.c; row++)
    reference_row(now, before, row / is.c, row % is.c, output + row * is.d);
}

static harness_case make_case(void) {
  const facet_shape x = {3, {is.batch, is.c, is.d}};
  harness_case test = {.build = build,
                       .batch = is.batch,
                       .n_valid = is.n_valid,
                       .input = {{"start", x, .differentiable = true},
                                 {"r", x, .differentiable = true},
                                 {"o", x, .differentiable = true}},
                       .reference = reference,
                       .scale = 1 / sqrt((double)is.d),
                       .stride = is.stride};
  if (is.single)
    test.input[3] = (harness_input){"extra", {2, {is.batch, is.c}}, .ids = is.level};
  else if (is.noise)
    test.input[3] = (harness_input){"extra", {4, {is.batch, is.chain.steps - 1, is.c, is.d}}, .differentiable = true};
  return test;
}

static void run(void) {
  harness_case test = make_case();
  harness_run(&test);
}

/* ---- every switch, against the reference ------------------------------------------------------------------------ */

Test(denoise, every_gradient) {
  is.batch = 2;
  is.n_valid = 0;
  is.c = 2;
  is.chain.steps = is.gradient_steps = 2;
  is.stride = 1;
  run();
}

Test(denoise, channels) {
  for (is.c = 1; is.c <= 8; is.c++) {
    is.stride = 173 + is.c;
    run();
  }
}

Test(denoise, widths) {
  static const int64_t widths[] = {10, 24, 40};
  for (int k = 0; k < 3; k++) {
    is.d = widths[k];
    is.stride = 200 * is.d + 1;
    run();
  }
}

Test(denoise, narrow) { /* one frequency beside ω = 1, heads of width one */
  is.d = 4;
  is.options.heads = 4;
  run();
}

Test(denoise, heads) {
  static const int64_t heads[] = {1, 4, 8};
  for (int k = 0; k < 3; k++) {
    is.options.heads = heads[k];
    is.stride = 101;
    run();
  }
}

Test(denoise, one_layer) {
  is.options.n_layers = 1;
  run();
}

Test(denoise, three_layers) {
  is.options.n_layers = 3;
  is.stride = 61;
  run();
}

Test(denoise, feed_forward_widths) {
  for (is.options.ffn_factor = 1; is.options.ffn_factor <= 3; is.options.ffn_factor += 2) run();
}

Test(denoise, scale_by_the_number_of_keys) {
  is.options.attention_scale = FACET_SCALE_KEYS;
  run();
}

Test(denoise, token_flag) {
  is.options.token_flag = true;
  run();
}

Test(denoise, token_flag_in_one_layer) {
  is.options.token_flag = true;
  is.options.n_layers = 1;
  run();
}

Test(denoise, output_projection) {
  is.options.output_projection = true;
  run();
}

Test(denoise, noise_is_the_target) {
  is.chain.parameter = FACET_DIFFUSION_EPS;
  run();
}

Test(denoise, published_code) {
  is.chain.parameter = FACET_DIFFUSION_EPS_BUG;
  is.options.attention_scale = FACET_SCALE_KEYS;
  run();
}

Test(denoise, without_noise) {
  is.noise = false;
  run();
}

Test(denoise, one_step) {
  is.noise = false;
  is.chain.steps = is.gradient_steps = 1;
  run();
}

Test(denoise, ten_steps) {
  is.chain.diffusion = (facet_diffusion_options){.levels = 1000, .beta_first = 1e-4, .beta_last = 0.02};
  is.chain.steps = is.gradient_steps = 10;
  is.stride = 97;
  run();
}

/* The reference computes the steps before the last gradient_steps from numbers that stay. */
Test(denoise, gradient_steps) {
  static const facet_diffusion_parameter parameters[] = {FACET_DIFFUSION_X0, FACET_DIFFUSION_EPS};
  is.chain.steps = 4;
  is.stride = 173;
  for (int k = 0; k < 2; k++)
    for (is.gradient_steps = 1; is.gradient_steps <= 4; is.gradient_steps++) {
      is.chain.parameter = parameters[k];
      run();
    }
}

Test(denoise, one_call) {
  static const int32_t level[] = {7, 0, 999, 7, 500, 7, 3, 3, 3};
  is.single = true;
  is.level = level;
  is.stride = 3;
  run();
}

Test(denoise, one_call_with_everything) {
  static const int32_t level[] = {0, 1, 2, 3, 4, 0, 1, 2, 3, 4};
  is.single = true;
  is.level = level;
  is.batch = 2;
  is.n_valid = 0;
  is.c = 5;
  is.options = (facet_denoiser_options){.n_layers = 3,
                                        .heads = 4,
                                        .ffn_factor = 3,
                                        .attention_scale = FACET_SCALE_KEYS,
                                        .token_flag = true,
                                        .output_projection = true};
  is.stride = 23;
  run();
}

/* More units of samples than groups that add up gradients, the last unit with padding. */
Test(denoise, many_units) {
  is.batch = 560;
  is.n_valid = 555;
  is.c = 2;
  is.options.n_layers = 1;
  is.options.ffn_factor = 1;
  is.noise = false;
  is.chain.steps = is.gradient_steps = 2;
  is.stride = 100000;
  run();
}

Test(denoise, many_units_in_one_call) {
  int32_t level[70 * 2];
  for (int k = 0; k < 140; k++) level[k] = k * k % 97;
  is.single = true;
  is.level = level;
  is.batch = 70;
  is.n_valid = 53;
  is.c = 2;
  is.options.n_layers = 1;
  is.stride = 501;
  run();
}

/* The best instruction set is that of all other tests. */
Test(denoise, every_instruction_set) {
  static const char *const names[] = {"portable", "avx2", "avx512"};
  is.d = 18;
  is.c = 5;
  is.options = (facet_denoiser_options){.n_layers = 3, .heads = 3, .ffn_factor = 2, .output_projection = true};
  is.chain.steps = is.gradient_steps = 2;
  is.stride = 307;
  for (int k = 0; k < 3; k++) {
    if (!facet_vector_find(names[k])) continue;
    facet_environment environment = *facet_environment_get();
    snprintf(environment.isa, sizeof environment.isa, "%s", names[k]);
    facet_environment_set(&environment);
    cr_assert_eq(facet_vector_select(), FACET_OK);
    cr_assert_str_eq(facet_vector_get()->name, names[k]);
    run();
  }
}

/* √(Σ (x − y)² / Σ y²) */
static double distance(int64_t n, const facet_real *x, const facet_real *y) {
  double difference = 0, size = 0;
  for (int64_t k = 0; k < n; k++) {
    difference += ((double)x[k] - (double)y[k]) * ((double)x[k] - (double)y[k]);
    size += (double)y[k] * (double)y[k];
  }
  return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

static facet_real *take_copy(int64_t n, const facet_real *x) {
  facet_real *copy = malloc((size_t)n * sizeof *copy);
  memcpy(copy, x, (size_t)n * sizeof *copy);
  return copy;
}

/* Factors in bf16 have a relative error of 2^-9 at most. */
static void expect_near_in_bf16(const facet_op_call *call, void *context) {
  facet_op_call bf16 = *call;
  const int64_t n_out = facet_shape_elements(&call->out_shape[0]);
  const bool rounds = facet_vector_lanes(true) != facet_vector_lanes(false);
  facet_real *out = take_copy(n_out, call->out[0]), *gradient[FACET_OP_MAX_INPUTS] = {0};
  (void)context;
  for (int i = 0; i < call->n_inputs; i++) {
    const int64_t n = facet_shape_elements(&call->in_shape[i]);
    gradient[i] = take_copy(n, call->d_in[i]);
    memset(call->d_in[i], 0, (size_t)n * sizeof(facet_real));
  }
  bf16.precision = FACET_PRECISION_BF16;
  cr_assert(call->op->forward(&bf16) == FACET_OK && call->op->backward(&bf16) == FACET_OK);
  const double error = distance(n_out, call->out[0], out);
  cr_assert(error < 0.01 && (error > 0) == rounds, "%g", error);
  for (int i = 0; i < call->n_inputs; i++) {
    const double of_gradient = distance(facet_shape_elements(&call->in_shape[i]), call->d_in[i], gradient[i]);
    cr_assert_lt(of_gradient, 0.05, "input %d: %g", i, of_gradient);
    free(gradient[i]);
  }
  free(out);
}

Test(denoise, factors_in_bf16) {
  is.c = 4;
  is.d = 40;
  is.batch = 20;
  is.n_valid = 0;
  is.options.output_projection = true;
  const harness_case test = make_case();
  harness_call(&test, expect_near_in_bf16, NULL);
}

/* Channels do not fit a block together: 3 · 4 of 10. */
Test(denoise, several_blocks_of_channels) {
  is.c = 10;
  is.d = 40;
  is.n_valid = 0;
  is.batch = 2;
  is.options.n_layers = 2;
  is.options.ffn_factor = 1;
  is.chain.steps = is.gradient_steps = 2;
  is.stride = 1201;
  facet_denoise_work work;
  const facet_denoise_params params = {.denoiser = is.options, .chain = true, .steps = 2, .gradient_steps = 2};
  facet_denoise_work_make(&params, &(facet_shape){3, {2, is.c, is.d}}, &work);
  cr_assert_gt(work.n_parts, 1);
  run();
}

/* The same node as `build` makes, but that it keeps no norms for backward, as with batches that are too large. */
static facet_tensor *build_without_norms(facet_graph *graph, facet_tensor *const *in) {
  const facet_node *node =
      facet_denoise_chain(graph, "kept", "net", in[0], in[3], in[1], in[2], &is.options, &is.chain.diffusion,
                          is.chain.parameter, is.chain.steps, is.gradient_steps)
          ->producer;
  facet_denoise_params params = *(const facet_denoise_params *)node->params;
  params.max_norm_bytes = 0;
  facet_tensor *x = facet_graph_node(graph, node->op, "x", node->in, node->n_inputs, &params, NULL);
  cr_assert_lt(x->producer->saved_bytes, node->saved_bytes);
  return x;
}

Test(denoise, norms_that_are_not_kept) {
  is.options.output_projection = true;
  is.chain.steps = 4;
  harness_case test = make_case();
  test.build = build_without_norms;
  harness_run(&test);
}

Test(denoise, large_batches_keep_no_norms) {
  facet_denoise_params params = {
      .denoiser = is.options, .chain = true, .steps = 10, .gradient_steps = 10, .max_norm_bytes = 1 << 20};
  facet_denoise_work work;
  facet_denoise_work_make(&params, &(facet_shape){3, {64, 1, 8}}, &work);
  cr_assert(work.keep_norms);
  facet_denoise_work_make(&params, &(facet_shape){3, {1024, 1, 8}}, &work);
  cr_assert_not(work.keep_norms);
}

static void expect_nothing(const facet_op_call *call, void *context) {
  (void)context;
  for (int k = 0; k < 3 * 3 * 8; k++) cr_assert_eq(((facet_real *)call->out[0])[k], 0);
  for (int i = 0; i < call->n_inputs; i++)
    for (int64_t k = 0; k < facet_shape_elements(&call->in_shape[i]); k++) cr_assert_eq(call->d_in[i][k], 0);
}

Test(denoise, padded_rows_only) { /* nothing is read and no gradient comes back */
  is.options.token_flag = true;
  harness_case test = make_case();
  test.n_valid = -1;
  harness_call(&test, expect_nothing, NULL);
}

/* ---- by hand ---------------------------------------------------------------------------------------------------- */

static const double zeros[256];

/* All weights of one layer of width 4 zero, other values given: one channel, one head. */
static harness_case small_case(int n_values, const harness_value *values) {
  static const char *const names[] = {"time.0.weight",    "time.0.bias",      "time.1.weight",    "time.1.bias",
                                      "0.self.q.weight",  "0.self.k.weight",  "0.self.v.weight",  "0.self.o.weight",
                                      "0.cross.q.weight", "0.cross.k.weight", "0.cross.v.weight", "0.cross.o.weight",
                                      "0.norm1.gamma",    "0.norm1.beta",     "0.norm2.gamma",    "0.norm2.beta",
                                      "0.norm3.gamma",    "0.norm3.beta",     "0.ffn.0.weight",   "0.ffn.0.bias",
                                      "0.ffn.1.weight",   "0.ffn.1.bias"};
  static char full[22][32];
  is.c = is.batch = 1;
  is.n_valid = 0;
  is.d = 4;
  is.noise = false;
  is.options = (facet_denoiser_options){.n_layers = 1, .heads = 1, .ffn_factor = 1};
  harness_case test = make_case();
  for (int k = 0; k < n_values; k++) test.value[k] = values[k]; /* the first of a name counts */
  for (int k = 0; k < 22; k++) {
    snprintf(full[k], sizeof full[k], "net.%s", names[k]);
    cr_assert(n_values + k < HARNESS_MAX_VALUES);
    test.value[n_values + k] = (harness_value){full[k], zeros};
  }
  return test;
}

static void copy_output(const facet_op_call *call, void *output) {
  for (int k = 0; k < 4; k++) ((double *)output)[k] = (double)((facet_real *)call->out[0])[k];
}

/* x = 2u with u = (1, −1, 1, −1). Norm 1, gain 3: 3u, short by eps; cross-attention adds −4u: −a₂ u; norm 2: −n₂ u;
 * W_a = 1, W_b = 10 gives 10 n₂ where u < 0: rows of −n₂ and 11 n₂, which is 5 n₂ − 6 n₂ u; norm 3: −n₃ u. */
Test(denoise, one_layer_by_hand) {
  static const double u[] = {1, -1, 1, -1}, identity[] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
  double start[4], ten[16], cross[16] = {0}, expected[4];
  const double n1 = 3 * 2 / sqrt(4 + 1e-6), a2 = 4 - n1, n2 = a2 / sqrt(a2 * a2 + 1e-6);
  const double n3 = 6 * n2 / sqrt(36 * n2 * n2 + 1e-6), gain[] = {1, 2, 3, 4}, offset[] = {10, 20, 30, 40};
  for (int k = 0; k < 16; k++) ten[k] = 10 * identity[k];
  for (int k = 0; k < 4; k++) {
    start[k] = 2 * u[k];
    cross[k] = -2 * u[k]; /* o = (2, 0, 0, 0), W_v = 1 */
    expected[k] = offset[k] - gain[k] * n3 * u[k];
  }
  is.single = true;
  is.level = (int32_t[]){3};
  harness_case test = small_case(9, (harness_value[]){{"net.0.norm1.gamma", (double[]){3, 3, 3, 3}},
                                                      {"net.0.cross.v.weight", identity},
                                                      {"net.0.cross.o.weight", cross},
                                                      {"net.0.norm2.gamma", (double[]){1, 1, 1, 1}},
                                                      {"net.0.ffn.0.weight", identity},
                                                      {"net.0.ffn.1.weight", ten},
                                                      {"net.0.norm3.gamma", gain},
                                                      {"net.0.norm3.beta", offset},
                                                      {"net.0.ffn.0.bias", zeros}});
  test.input[0].values = start;
  test.input[2].values = (double[]){2, 0, 0, 0};
  double output[4];
  harness_call(&test, copy_output, output);
  for (int k = 0; k < 4; k++)
    cr_assert(fabs(output[k] - expected[k]) < 1e-4, "%g, expected %g", output[k], expected[k]);
}

/* f = v whatever comes in. Returns the end of the chain that begins at x. */
static double constant_denoiser(double x, double v, const double *z) {
  harness_case test = small_case(1, (harness_value[]){{"net.0.norm3.beta", (double[]){v, v, v, v}}});
  double output[4];
  if (z) {
    is.noise = true;
    test.input[3] = (harness_input){"extra", {4, {1, is.chain.steps - 1, 1, 4}}, .values = z};
  }
  test.input[0].values = (double[]){x, x, x, x};
  harness_call(&test, copy_output, output);
  return output[0];
}

/* β = 1/4, 1/2 of a schedule of three: ᾱ = 3/4, 3/8. */
Test(denoise, chain_by_hand) {
  static const double z[] = {5, 5, 5, 5};
  is.chain = (reference_chain){.diffusion = {.levels = 3, .beta_first = 0.25, .beta_last = 0.75}, .steps = 2};
  is.gradient_steps = 1;
  cr_assert_eq(constant_denoiser(1000, 7, z), 7, "the last step of x0 gives f exactly");
  const double first =
      0.4 * sqrt(3) * (1000 / sqrt(3.0 / 8) - sqrt(5.0 / 3) * 7) + 0.4 * sqrt(0.5) * 1000 + sqrt(0.2) * 5;
  const double expected = first / sqrt(3.0 / 4) - sqrt(1.0 / 3) * 7;
  is.chain.parameter = FACET_DIFFUSION_EPS;
  double end = constant_denoiser(1000, 7, z);
  cr_assert(fabs(end - expected) < 1e-6 * expected, "%.12g, expected %.12g", end, expected);
}

/* With f read as the noise, ten steps keep the start: its coefficient is 1.0009, and f contributes −0.072 f. */
Test(denoise, published_sampler_keeps_its_start) {
  is.chain = (reference_chain){.diffusion = {.levels = 1000, .beta_first = 1e-4, .beta_last = 0.02},
                               .parameter = FACET_DIFFUSION_EPS_BUG,
                               .steps = 10};
  double of_start = constant_denoiser(1, 0, NULL), of_f = constant_denoiser(0, 1, NULL);
  cr_assert(fabs(of_start - 1.0009) < 5e-5, "%g", of_start);
  cr_assert(fabs(of_f + 0.072) < 5e-4, "%g", of_f);
}

/* Input of weight j of layer l, without flag and projection. */
static int layer_input(int l, int j) {
  return 4 + DENOISE_FLAG + l * DENOISE_N_LAYER + j;
}

static double largest(const facet_op_call *call, int i) {
  double value = 0;
  for (int64_t k = 0; k < facet_shape_elements(&call->in_shape[i]); k++)
    value = fmax(value, fabs((double)call->d_in[i][k]));
  return value;
}

static void expect_dead(const facet_op_call *call, void *context) {
  (void)context;
  for (int l = 0; l < 2; l++) {
    cr_assert_eq(largest(call, layer_input(l, DENOISE_CROSS_Q)), 0);
    cr_assert_eq(largest(call, layer_input(l, DENOISE_CROSS_K)), 0);
    cr_assert_gt(largest(call, layer_input(l, DENOISE_CROSS_V)), 0);
  }
}

Test(denoise, queries_and_keys_of_one_key_are_dead) {
  const harness_case test = make_case();
  harness_call(&test, expect_dead, NULL);
}

static void expect_start_gradient(const facet_op_call *call, void *wanted) {
  cr_assert_eq(largest(call, 0) > 0, *(bool *)wanted, "%g", largest(call, 0));
}

Test(denoise, the_start_gets_a_gradient_only_through_all_steps) {
  for (is.gradient_steps = 1; is.gradient_steps <= 3; is.gradient_steps++) {
    bool wanted = is.gradient_steps == 3;
    const harness_case test = make_case();
    harness_call(&test, expect_start_gradient, &wanted);
  }
}

/* ---- parameters ------------------------------------------------------------------------------------------------- */

/* A program with one call of the denoiser with flag and projection, whose inputs are in[0 … 2]. */
static facet_graph *open_call(facet_parameters **parameters, facet_tensor *in[3]) {
  facet_graph *graph = NULL;
  cr_assert_eq(facet_parameters_create(parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 2, 0, *parameters, &graph), FACET_OK);
  const facet_shape shape = {3, {2, 3, 8}};
  facet_tensor *level = facet_graph_input(graph, "level", FACET_DTYPE_INT32, (facet_shape){2, {2, 3}}, false);
  for (int k = 0; k < 3; k++)
    in[k] = facet_graph_input(graph, (const char *[]){"a", "b", "c"}[k], FACET_DTYPE_REAL, shape, false);
  is.options.token_flag = is.options.output_projection = true;
  cr_assert(facet_denoise(graph, "call", "net", in[0], level, in[1], in[2], &is.options));
  return graph;
}

Test(denoise, two_nodes_share_the_weights) {
  facet_parameters *parameters = NULL;
  facet_tensor *in[3];
  facet_graph *graph = open_call(&parameters, in);
  cr_assert_eq(facet_parameters_n_dense(parameters), 4 + 1 + 2 + 2 * 18);
  cr_assert(facet_denoise_chain(graph, "chain", "net", in[0], NULL, in[1], in[2], &is.options, &is.chain.diffusion,
                                FACET_DIFFUSION_X0, 3, 1));
  cr_assert_eq(facet_parameters_n_dense(parameters), 4 + 1 + 2 + 2 * 18);
  for (int k = 0; k < facet_parameters_n_dense(parameters); k++) {
    const facet_parameter_info *info = facet_parameters_dense(parameters, k);
    bool matrix = strstr(info->name, "weight");
    cr_assert_eq(info->decay, matrix, "%s", info->name);
    cr_assert_eq(info->shape.rank, matrix || strstr(info->name, "flag") ? 2 : 1, "%s", info->name);
  }
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
}

/* Matrices: U(±√(6/(fan_in + fan_out))); the flag: N(0, 0.02²); gains 1, the rest 0. */
static void expect_initial_values(const facet_parameter_info *info, const facet_real *value) {
  const int64_t n = facet_shape_elements(&info->shape);
  double largest_value = 0, squares = 0;
  for (int64_t i = 0; i < n; i++) {
    largest_value = fmax(largest_value, fabs((double)value[i]));
    squares += (double)value[i] * (double)value[i];
  }
  if (strstr(info->name, "weight")) {
    const double bound = sqrt(6.0 / (double)(info->shape.dim[0] + info->shape.dim[1]));
    cr_assert(largest_value <= bound && largest_value > 0.9 * bound, "%s: %g, bound %g", info->name, largest_value,
              bound);
  } else if (strstr(info->name, "flag")) {
    const double deviation = sqrt(squares / (double)n);
    cr_assert(fabs(deviation - 0.02) < 0.01, "%s: %g", info->name, deviation);
  } else {
    const facet_real expected = strstr(info->name, "gamma") != NULL;
    for (int64_t i = 0; i < n; i++) cr_assert_eq(value[i], expected, "%s", info->name);
  }
}

Test(denoise, initial_values) {
  facet_parameters *parameters = NULL;
  facet_tensor *in[3];
  facet_graph *graph = open_call(&parameters, in);
  cr_assert_eq(facet_parameters_allocate(parameters, 1, false), FACET_OK);
  for (int k = 0; k < facet_parameters_n_dense(parameters); k++) {
    const facet_parameter_info *info = facet_parameters_dense(parameters, k);
    expect_initial_values(info, facet_parameters_values(parameters) + info->offset);
  }
  facet_graph_destroy(&graph);
  facet_parameters_destroy(&parameters);
}

/* ---- cost ------------------------------------------------------------------------------------------------------- */

/* Four channels of width 40, two layers, feed-forward width 120, two heads, as counted by hand: a call of one channel
 * 101,760 in block 1; in block 2, of one row, 4 · 3,200 for the query, the weights of keys and values on its side and
 * W_o, 1,280 for the attention and 19,200; set-up of a sample 89,600; a row of the time table 32,000. */
Test(denoise, cost) {
  const double call = 101760 + 4 * 3200 + 1280 + 19200, set_up = 89600, row = 32000;
  is.batch = 5;
  is.n_valid = 0;
  is.c = 4;
  is.d = 40;
  is.options.ffn_factor = 3;
  is.chain.diffusion.levels = is.chain.steps = 10;
  harness_case test = make_case();
  facet_cost cost = harness_cost(&test);
  cr_assert_eq(cost.forward_flops, 5 * (set_up + 4 * 10 * call) + 10 * row);
  cr_assert_eq(cost.backward_flops, 2 * (5 * (set_up + 4 * 3 * call) + 10 * row));
  const double weights = 2 * 40 * 160 + 160 + 40 + 2 * (8 * 1600 + 6 * 40 + 2 * 40 * 120 + 120 + 40);
  const double inputs = 3 * 5 * 160 + 5 * 9 * 160 + weights;
  cr_assert_eq(cost.forward_bytes, (inputs + 5 * 160 + 3 * 5 * 160) * sizeof(facet_real));
  cr_assert_eq(cost.backward_bytes, (3 * inputs + 5 * 160 + 3 * 5 * 160) * sizeof(facet_real));
  is.single = true;
  is.level = (int32_t[20]){0};
  is.options.output_projection = true;
  test = make_case();
  cost = harness_cost(&test);
  cr_assert_eq(cost.forward_flops, 5 * (set_up + 4 * (call + 3200)) + 20 * row);
  cr_assert_eq(cost.backward_flops, 2 * cost.forward_flops);
}

/* ---- wrong arguments -------------------------------------------------------------------------------------------- */

static void refused(const char *text) {
  const harness_case test = make_case();
  harness_fails(&test, text);
}

/* Sets one number, expects the message, and puts the number back. */
#define REFUSED(field, value, text)                                                                                    \
  do {                                                                                                                 \
    const struct setting before = is;                                                                                  \
    is.field = (value);                                                                                                \
    refused(text);                                                                                                     \
    is = before;                                                                                                       \
  } while (0)

Test(denoise, wrong_options) {
  REFUSED(d, 7, "x is [3, 3, 7], expected an even width of at least 4");
  REFUSED(d, 2, "expected an even width of at least 4");
  REFUSED(options.heads, 3, "x is [3, 3, 8], whose width does not divide into 3 heads");
  REFUSED(options.heads, 0, "0 heads");
  REFUSED(options.n_layers, 0, "0 layers, expected 1 to 6");
  REFUSED(options.n_layers, 7, "7 layers, expected 1 to 6");
  REFUSED(options.ffn_factor, 0, "ffn_factor is 0, expected at least 1");
  REFUSED(options.attention_scale, 2, "attention_scale is 2, expected 0 (head) or 1 (keys)");
  REFUSED(chain.steps, 6, "6 steps, expected 1 to 5, the number of levels");
  REFUSED(chain.diffusion.levels, 0, "0 diffusion levels");
  REFUSED(chain.diffusion.beta_last, 1, "beta goes from 0.05 to 1");
  REFUSED(chain.parameter, 3, "the diffusion parameter is 3, expected 0 to 2");
  REFUSED(gradient_steps, 0, "gradient_steps is 0, expected 1 to 3, the number of steps");
  REFUSED(gradient_steps, 4, "gradient_steps is 4, expected 1 to 3");
  is.noise = false;
  REFUSED(chain.steps, 0, "0 steps, expected 1 to 5");
  REFUSED(chain.steps, -1, "-1 steps, expected 1 to 5");
}

static void refused_input(int i, facet_shape shape, const int32_t *ids, const char *text) {
  harness_case test = make_case();
  test.input[i] = (harness_input){.name = "in", .shape = shape, .ids = ids};
  harness_fails(&test, text);
}

Test(denoise, wrong_shapes) {
  static const int32_t ids[3 * 3 * 8];
  refused_input(0, (facet_shape){2, {3, 8}}, NULL, "x is [3, 8], expected real [B, c, d]");
  refused_input(0, (facet_shape){3, {3, 3, 8}}, ids, "expected real [B, c, d]");
  refused_input(1, (facet_shape){3, {3, 2, 8}}, NULL, "r is [3, 2, 8], expected real [3, 3, 8] like x");
  refused_input(2, (facet_shape){2, {3, 8}}, NULL, "o is [3, 8], expected real [3, 3, 8] like x");
  refused_input(3, (facet_shape){4, {3, 3, 3, 8}}, NULL, "z is [3, 3, 3, 8], expected real [3, 2, 3, 8]");
  refused_input(3, (facet_shape){3, {3, 3, 8}}, NULL, "z is [3, 3, 8], expected real [3, 2, 3, 8]");
  is.chain.steps = is.gradient_steps = 1;
  refused_input(3, (facet_shape){4, {3, 1, 3, 8}}, NULL, "z is [3, 1, 3, 8], but a chain of one step");
  is.single = true;
  is.level = ids;
  refused_input(3, (facet_shape){1, {3}}, ids, "level is [3], expected int32 [3, 3]");
  refused_input(3, (facet_shape){2, {3, 3}}, NULL, "level is [3, 3], expected int32 [3, 3]");
}
