#include "harness.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "facet/memory.h"
#include "facet/rng.h"
#include "graph/graph_internal.h"
#include "harness_numeric.h"

#ifdef FACET_DOUBLE
#define STEP 1e-5           /* of central differences */
#define TOLERANCE 1e-7      /* of gradients, relative to the root mean square of the tensor's gradient */
#define EXPECTED 1e-12      /* of outputs, relative */
#define REFERENCE_STEP STEP /* where a reference in double gives the numeric gradients */
#define REFERENCE_TOLERANCE TOLERANCE
#else
#define STEP 1e-2
#define TOLERANCE 3e-2
#define EXPECTED 1e-5
#define REFERENCE_STEP 1e-4
#define REFERENCE_TOLERANCE 1e-3
#endif

enum { GUARD = 64, GUARD_BYTE = 0xA5, SEED = 7 };

typedef struct buffer { /* bytes with guard zones before and after */
  unsigned char *memory;
  size_t n_bytes;
} buffer;

typedef struct fixture {
  const harness_case *test;
  facet_parameters *parameters;
  facet_graph *graph;
  facet_node *node;
  facet_run run;
  facet_op_call call;
  buffer in[FACET_OP_MAX_INPUTS], in_copy[FACET_OP_MAX_INPUTS], d_in[FACET_OP_MAX_INPUTS];
  buffer out[FACET_OP_MAX_OUTPUTS], d_out[FACET_OP_MAX_OUTPUTS];
  buffer saved, scratch;
  bool garbage; /* padded rows hold huge numbers: what comes of them need not be finite */
} fixture;

/* ---- buffers ---------------------------------------------------------------------------------------------------- */

static void *data(const buffer *b) {
  return b->memory ? b->memory + GUARD : NULL;
}

static buffer make_buffer(size_t n_bytes) {
  buffer b = {.memory = aligned_alloc(64, (2 * GUARD + n_bytes + 63) / 64 * 64), .n_bytes = n_bytes};
  cr_assert(b.memory);
  memset(b.memory, GUARD_BYTE, 2 * GUARD + n_bytes);
  return b;
}

static void check_guards(const buffer *b, const char *what, int i) {
  if (!b->memory) return;
  for (size_t k = 0; k < GUARD; k++)
    cr_assert(b->memory[k] == GUARD_BYTE && b->memory[GUARD + b->n_bytes + k] == GUARD_BYTE,
              "%s %d: written outside its buffer", what, i);
}

static void poison(const buffer *b) {
  if (b->memory) memset(data(b), 0xFF, b->n_bytes); /* NaN in float and double */
}

static void fill_random(facet_real *x, int64_t n, const char *purpose, double scale) {
  facet_rng_key key = facet_rng_key_make(SEED, purpose);
  for (int64_t i = 0; i < n; i++) {
    double normal = (double)facet_rng_normal(key, (uint64_t)i);
    x[i] = (facet_real)(scale * (normal + copysign(0.1, normal))); /* away from the kink at 0 */
  }
}

static void fill_values(facet_real *x, int64_t n, const double *values) {
  for (int64_t i = 0; i < n; i++) x[i] = (facet_real)values[i];
}

/* ---- set-up ----------------------------------------------------------------------------------------------------- */

static facet_tensor *build(fixture *f) {
  const harness_case *test = f->test;
  facet_tensor *in[HARNESS_MAX_INPUTS] = {0};
  cr_assert_eq(facet_parameters_create(&f->parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(test->evaluate ? FACET_PROGRAM_EVALUATE : FACET_PROGRAM_TRAIN, NULL, test->batch, 0,
                                  f->parameters, &f->graph),
               FACET_OK, "%s", facet_error_get()->message);
  for (int i = 0; i < HARNESS_MAX_INPUTS && test->input[i].name; i++)
    in[i] = facet_graph_input(f->graph, test->input[i].name, test->input[i].ids ? FACET_DTYPE_INT32 : FACET_DTYPE_REAL,
                              test->input[i].shape, test->input[i].differentiable);
  return test->build(f->graph, in);
}

static const double *values_of(const harness_value *list, const char *name) {
  for (int i = 0; i < HARNESS_MAX_VALUES && list[i].name; i++)
    if (!strcmp(list[i].name, name)) return list[i].values;
  return NULL;
}

static void fill_tensor(const fixture *f, const facet_tensor *tensor, facet_real *x) {
  const harness_case *test = f->test;
  int64_t n = facet_shape_elements(&tensor->shape);
  const double *values = values_of(test->value, tensor->name);
  if (tensor->kind == FACET_TENSOR_INPUT) {
    const harness_input *input = test->input;
    while (strcmp(input->name, tensor->name)) input++;
    if (input->ids) {
      memcpy(x, input->ids, (size_t)n * sizeof(int32_t));
      return;
    }
    values = input->values;
  }
  if (values)
    fill_values(x, n, values);
  else if (tensor->kind == FACET_TENSOR_STATE)
    memcpy(x,
           facet_parameters_state_values(f->parameters) + facet_parameters_state(f->parameters, tensor->index)->offset,
           (size_t)n * sizeof *x);
  else
    fill_random(x, n, tensor->name, test->scale > 0 ? test->scale : 0.7);
}

static void set_up_input(fixture *f, int i) {
  const facet_tensor *tensor = f->node->in[i];
  int64_t n = facet_shape_elements(&tensor->shape);
  f->call.in_shape[i] = tensor->shape;
  if (tensor->kind == FACET_TENSOR_TABLE) {
    f->call.table[i] = facet_parameters_table(f->parameters, tensor->index);
    int64_t n_pairs = 0; /* ids follow their table, which may come again */
    for (int k = 0; k < f->node->n_inputs; k++) {
      if (f->node->in[k] != tensor) continue;
      if (k < i) return;
      n_pairs += facet_shape_elements(&f->node->in[k + 1]->shape);
    }
    cr_assert_eq(facet_table_reserve(f->call.table[i], n_pairs, 1), FACET_OK);
    fill_tensor(f, tensor, facet_table_rows(f->call.table[i]));
    return;
  }
  f->in[i] = make_buffer((size_t)n * (tensor->dtype == FACET_DTYPE_INT32 ? sizeof(int32_t) : sizeof(facet_real)));
  fill_tensor(f, tensor, data(&f->in[i]));
  f->in_copy[i] = make_buffer(f->in[i].n_bytes);
  memcpy(data(&f->in_copy[i]), data(&f->in[i]), f->in[i].n_bytes);
  f->call.in[i] = data(&f->in[i]);
  if (!tensor->needs_gradient) return;
  f->d_in[i] = make_buffer((size_t)n * sizeof(facet_real));
  f->call.d_in[i] = data(&f->d_in[i]);
}

static int64_t n_valid(const harness_case *test) {
  return test->n_valid < 0 ? 0 : test->n_valid ? test->n_valid : test->batch;
}

static void set_up(fixture *f, const harness_case *test) {
  *f = (fixture){.test = test};
  facet_tensor *tensor = build(f);
  cr_assert(tensor, "%s", facet_error_get()->message);
  cr_assert_eq(facet_parameters_allocate(f->parameters, SEED, true), FACET_OK);
  f->node = tensor->producer;
  for (int i = 0; test->no_gradient && i < f->node->n_outputs; i++)
    cr_assert(!f->node->out[i]->needs_gradient, "output %d needs a gradient", i);
  f->run = (facet_run){.training = !test->evaluate,
                       .seed = SEED,
                       .step = 3,
                       .micro_step = 1,
                       .batch_size = test->batch,
                       .n_rows = n_valid(test),
                       .first_position = 100};
  f->call = (facet_op_call){.op = f->node->op,
                            .node = f->node->name,
                            .params = f->node->params,
                            .n_inputs = f->node->n_inputs,
                            .n_outputs = f->node->n_outputs,
                            .run = &f->run};
  for (int i = 0; i < f->node->n_inputs; i++) set_up_input(f, i);
  for (int i = 0; i < f->node->n_outputs; i++) {
    f->call.out_shape[i] = f->node->out[i]->shape;
    size_t n_bytes = (size_t)facet_shape_elements(&f->call.out_shape[i]) * sizeof(facet_real);
    f->out[i] = make_buffer(n_bytes);
    f->d_out[i] = make_buffer(n_bytes);
    f->call.out[i] = data(&f->out[i]);
    f->call.d_out[i] = data(&f->d_out[i]);
  }
  if (f->node->saved_bytes) f->saved = make_buffer(f->node->saved_bytes);
  if (f->node->scratch_bytes) f->scratch = make_buffer(f->node->scratch_bytes);
  f->call.saved = data(&f->saved);
  f->call.scratch = data(&f->scratch);
}

static void tear_down(fixture *f) {
  buffer *all[] = {f->in, f->in_copy, f->d_in};
  for (int i = 0; i < FACET_OP_MAX_INPUTS; i++)
    for (int k = 0; k < 3; k++) free(all[k][i].memory);
  for (int i = 0; i < FACET_OP_MAX_OUTPUTS; i++) {
    free(f->out[i].memory);
    free(f->d_out[i].memory);
  }
  free(f->saved.memory);
  free(f->scratch.memory);
  facet_graph_destroy(&f->graph);
  facet_parameters_destroy(&f->parameters);
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

static int64_t elements(const facet_shape *shape) {
  return facet_shape_elements(shape);
}

/* Does the first axis of this shape count samples? */
static bool by_sample(const fixture *f, const facet_shape *shape) {
  return shape->rank >= 1 && shape->dim[0] == f->test->batch;
}

/* Elements of a tensor that belong to valid rows. */
static int64_t valid_elements(const fixture *f, const facet_shape *shape) {
  return by_sample(f, shape) ? elements(shape) / f->test->batch * n_valid(f->test) : elements(shape);
}

static void check_call(const fixture *f, facet_status status, const char *direction) {
  cr_assert_eq(status, FACET_OK, "%s: %s", direction, facet_error_get()->message);
  for (int i = 0; i < f->node->n_inputs; i++) {
    check_guards(&f->in[i], "input", i);
    check_guards(&f->d_in[i], "input gradient", i);
    bool may_change = f->node->in[i]->kind == FACET_TENSOR_STATE;
    cr_assert(may_change || !f->in[i].memory || !memcmp(data(&f->in[i]), data(&f->in_copy[i]), f->in[i].n_bytes),
              "%s changed input %d", direction, i);
  }
  for (int i = 0; i < f->node->n_outputs; i++) {
    check_guards(&f->out[i], "output", i);
    check_guards(&f->d_out[i], "output gradient", i);
  }
  check_guards(&f->saved, "saved", 0);
  check_guards(&f->scratch, "scratch", 0);
}

/* Forward from the states of the case. */
static void forward(fixture *f) {
  for (int i = 0; i < f->node->n_inputs; i++)
    if (f->node->in[i]->kind == FACET_TENSOR_STATE) memcpy(data(&f->in[i]), data(&f->in_copy[i]), f->in[i].n_bytes);
  for (int i = 0; i < f->node->n_outputs; i++) poison(&f->out[i]);
  poison(&f->saved);
  poison(&f->scratch);
  check_call(f, f->call.op->forward(&f->call), "forward");
  for (int i = 0; i < f->node->n_outputs; i++) {
    const facet_real *y = f->call.out[i];
    const facet_shape *shape = &f->call.out_shape[i];
    for (int64_t k = 0; k < (f->garbage ? valid_elements(f, shape) : elements(shape)); k++)
      cr_assert(isfinite(y[k]), "output %d, element %lld: %g", i, (long long)k, (double)y[k]);
  }
}

const double *harness_values(const harness_inputs *inputs, const char *name) {
  for (int i = 0; i < inputs->n; i++)
    if (!strcmp(inputs->name[i], name)) return inputs->value[i];
  return NULL;
}

/* The inputs of the call as they are, in memory of one block that begins with the numbers of input 0. */
static harness_inputs read_inputs(const fixture *f) {
  harness_inputs inputs = {.n = f->node->n_inputs};
  int64_t n = 0;
  for (int i = 0; i < inputs.n; i++) n += facet_shape_elements(&f->call.in_shape[i]);
  double *value = malloc((size_t)n * sizeof *value);
  cr_assert(value);
  for (int i = 0; i < inputs.n; i++) {
    const facet_tensor *in = f->node->in[i];
    inputs.name[i] = in->name;
    inputs.value[i] = value;
    for (int64_t k = 0; k < facet_shape_elements(&in->shape); k++)
      *value++ = in->dtype == FACET_DTYPE_INT32 ? (double)((const int32_t *)f->call.in[i])[k]
                                                : (double)((const facet_real *)f->call.in[i])[k];
  }
  return inputs;
}

static void free_inputs(harness_inputs *inputs) {
  free((void *)inputs->value[0]);
}

/* Output 0 of the reference, where numbers that it takes as constant are those of `before`. The caller frees it. */
static double *reference_output(const fixture *f, const harness_inputs *before) {
  harness_inputs now = read_inputs(f);
  double *output = malloc((size_t)elements(&f->call.out_shape[0]) * sizeof *output);
  cr_assert(output);
  f->test->reference(&now, before, output);
  free_inputs(&now);
  return output;
}

/* Σ of d_out · out: what the gradients are of. */
static double objective(fixture *f, const harness_inputs *before) {
  double sum = 0;
  if (before) {
    double *output = reference_output(f, before);
    for (int64_t k = 0; k < elements(&f->call.out_shape[0]); k++) sum += (double)f->call.d_out[0][k] * output[k];
    free(output);
    return sum;
  }
  forward(f);
  for (int i = 0; i < f->node->n_outputs; i++)
    for (int64_t k = 0; k < elements(&f->call.out_shape[i]); k++) {
      double weight = (double)f->call.d_out[i][k];
      if (weight != 0) sum += weight * (double)((const facet_real *)f->call.out[i])[k];
    }
  return sum;
}

/* d_out: 1 or random in valid rows, 0 in others and in outputs without gradient. */
static void fill_upstream(fixture *f, bool ones) {
  for (int i = 0; i < f->node->n_outputs; i++) {
    int64_t n = elements(&f->call.out_shape[i]);
    int64_t n_upstream = f->node->out[i]->needs_gradient ? valid_elements(f, &f->call.out_shape[i]) : 0;
    fill_random(f->call.d_out[i], n, "upstream", 1);
    for (int64_t k = 0; k < n; k++) f->call.d_out[i][k] = k >= n_upstream ? 0 : ones ? 1 : f->call.d_out[i][k];
  }
}

/* Runs forward and, where there is one, backward; d_in begins with `start` (times random numbers). */
static void backward(fixture *f, double start) {
  forward(f);
  poison(&f->scratch);
  for (int i = 0; i < f->node->n_inputs; i++)
    if (f->d_in[i].memory) fill_random(data(&f->d_in[i]), elements(&f->call.in_shape[i]), "start", start);
  if (f->test->no_gradient) return;
  cr_assert(f->call.op->backward, "no backward");
  check_call(f, f->call.op->backward(&f->call), "backward");
}

/* ---- checks ----------------------------------------------------------------------------------------------------- */

static void *copy_of(const void *x, size_t n_bytes) {
  void *copy = malloc(n_bytes + 1);
  cr_assert(copy);
  return memcpy(copy, x, n_bytes);
}

static void check_close(const char *what, const facet_real *x, const double *expected, int64_t n) {
  for (int64_t k = 0; k < n; k++)
    cr_assert(fabs((double)x[k] - expected[k]) <= EXPECTED * (1 + fabs(expected[k])),
              "%s, element %lld: %.17g, expected %.17g", what, (long long)k, (double)x[k], expected[k]);
}

static void check_expected(fixture *f) {
  const harness_case *test = f->test;
  forward(f);
  if (test->reference) {
    harness_inputs inputs = read_inputs(f);
    double *output = reference_output(f, &inputs);
    check_close("output against the reference", f->call.out[0], output, valid_elements(f, &f->call.out_shape[0]));
    free(output);
    free_inputs(&inputs);
  }
  for (int i = 0; i < f->node->n_outputs && i <= HARNESS_MAX_OTHERS; i++) {
    const double *expected = i ? test->expected_other[i - 1] : test->expected;
    if (expected) check_close(f->node->out[i]->name, f->call.out[i], expected, elements(&f->call.out_shape[i]));
  }
  for (int i = 0; i < f->node->n_inputs; i++) {
    const facet_tensor *in = f->node->in[i];
    const double *expected = values_of(test->expected_state, in->name);
    if (expected) check_close(in->name, data(&f->in[i]), expected, elements(&in->shape));
  }
  if (!test->expected_gradient) return;
  fill_upstream(f, true);
  backward(f, 0);
  check_close("gradient", data(&f->d_in[0]), test->expected_gradient, elements(&f->call.in_shape[0]));
}

/* Everything that a run writes, one array after the other. */
static facet_real *snapshot(fixture *f, int64_t *n_out) {
  int64_t n = 0, capacity = 0;
  for (int i = 0; i < f->node->n_outputs; i++) capacity += elements(&f->call.out_shape[i]);
  for (int i = 0; i < f->node->n_inputs; i++) capacity += 2 * elements(&f->call.in_shape[i]);
  facet_real *all = calloc((size_t)capacity + 1, sizeof *all);
  for (int i = 0; i < f->node->n_outputs; i++) {
    int64_t m = valid_elements(f, &f->call.out_shape[i]);
    memcpy(all + n, f->call.out[i], (size_t)m * sizeof *all);
    n += m;
  }
  for (int i = 0; i < f->node->n_inputs; i++) {
    int64_t m = valid_elements(f, &f->call.in_shape[i]);
    if (f->node->in[i]->kind == FACET_TENSOR_STATE) {
      memcpy(all + n, f->call.in[i], (size_t)m * sizeof *all);
      n += m;
    }
    if (f->call.d_in[i]) memcpy(all + n, f->call.d_in[i], (size_t)m * sizeof *all);
    n += m;
    if (!f->call.table[i]) continue;
    cr_assert_eq(facet_table_reduce(&f->call.table[i], 1), FACET_OK);
    const facet_sparse_gradient *gradient = facet_table_gradient(f->call.table[i]);
    int64_t width = facet_table_width(f->call.table[i]);
    for (int64_t k = 0; k < gradient->n; k++) {
      cr_assert(gradient->slot[k] > (k ? gradient->slot[k - 1] : 0), "slots are not ascending from 1");
      memcpy(all + n - m + gradient->slot[k] * width, gradient->rows + k * width, (size_t)width * sizeof *all);
    }
    facet_table_clear_gradient(f->call.table[i]);
  }
  *n_out = n;
  return all;
}

static void check_bits(const char *what, const facet_real *a, const facet_real *b, int64_t n) {
  for (int64_t k = 0; k < n; k++)
    cr_assert(a[k] == b[k] && isfinite(a[k]), "%s: number %lld is %.17g, was %.17g", what, (long long)k, (double)b[k],
              (double)a[k]);
}

/* The same bits again, with other threads, and with garbage in rows that do not count. */
static void check_repeats(fixture *f) {
  int64_t n;
  fill_upstream(f, false);
  omp_set_num_threads(2);
  backward(f, 0);
  facet_real *first = snapshot(f, &n);
  for (int n_threads = 2; n_threads >= 1; n_threads--) {
    omp_set_num_threads(n_threads);
    backward(f, 0);
    facet_real *again = snapshot(f, &n);
    check_bits(n_threads == 2 ? "again" : "one thread", first, again, n);
    free(again);
  }
  for (int i = 0; i < f->node->n_inputs; i++) {
    const facet_tensor *in = f->node->in[i];
    if (in->kind != FACET_TENSOR_INPUT || in->dtype != FACET_DTYPE_REAL || !by_sample(f, &in->shape)) continue;
    const harness_input *input = f->test->input;
    while (strcmp(input->name, in->name)) input++;
    facet_real *x = data(&f->in[i]);
    for (int64_t k = valid_elements(f, &in->shape); k < elements(&in->shape) && !input->keep; k++)
      x[k] = (facet_real)(k % 2 ? 1e30 : -3e29);
    memcpy(data(&f->in_copy[i]), x, f->in[i].n_bytes);
  }
  f->garbage = true;
  backward(f, 0);
  facet_real *garbage = snapshot(f, &n);
  check_bits("garbage in padded rows", first, garbage, n);
  free(garbage);
  free(first);
}

static void clear_tables(fixture *f) {
  for (int i = 0; i < f->node->n_inputs; i++)
    if (f->call.table[i]) facet_table_clear_gradient(f->call.table[i]);
}

/* Backward adds to what is there. */
static void check_accumulates(fixture *f) {
  facet_real *with_start[FACET_OP_MAX_INPUTS] = {0};
  fill_upstream(f, false);
  backward(f, 1);
  clear_tables(f);
  for (int i = 0; i < f->node->n_inputs; i++)
    if (f->d_in[i].memory) with_start[i] = copy_of(data(&f->d_in[i]), f->d_in[i].n_bytes);
  backward(f, 0);
  clear_tables(f);
  for (int i = 0; i < f->node->n_inputs; i++) {
    if (!with_start[i]) continue;
    int64_t n = elements(&f->call.in_shape[i]);
    const facet_real *gradient = data(&f->d_in[i]);
    facet_real *start = malloc((size_t)n * sizeof *start);
    fill_random(start, n, "start", 1);
    for (int64_t k = 0; k < n; k++)
      cr_assert(fabs((double)(with_start[i][k] - start[k] - gradient[k])) <=
                    64 * FACET_REAL_EPSILON * (1 + fabs((double)gradient[k]) + fabs((double)start[k])),
                "input %d, element %lld: backward does not add", i, (long long)k);
    free(start);
    free(with_start[i]);
  }
}

/* Where the call says so, backward writes every element over what is there. */
static void check_stores(fixture *f) {
  int64_t n, n_again;
  if (!f->call.op->backward_stores) return;
  backward(f, 0);
  facet_real *added = snapshot(f, &n);
  forward(f);
  poison(&f->scratch);
  for (int i = 0; i < f->node->n_inputs; i++) {
    f->call.store[i] = f->node->in[i]->kind == FACET_TENSOR_INPUT && f->d_in[i].memory;
    if (f->call.store[i])
      poison(&f->d_in[i]);
    else if (f->d_in[i].memory)
      memset(data(&f->d_in[i]), 0, f->d_in[i].n_bytes);
  }
  check_call(f, f->call.op->backward(&f->call), "backward that stores");
  facet_real *stored = snapshot(f, &n_again);
  cr_assert_eq(n, n_again);
  for (int i = 0; i < f->node->n_inputs; i++)
    for (int64_t k = 0; f->call.store[i] && k < elements(&f->call.in_shape[i]); k++)
      cr_assert(isfinite(f->call.d_in[i][k]), "input %d, element %lld: not stored", i, (long long)k);
  for (int64_t k = 0; k < n; k++)
    cr_assert(fabs((double)(stored[k] - added[k])) <= 64 * FACET_REAL_EPSILON * (1 + fabs((double)added[k])),
              "number %lld: stored %g, added to zero %g", (long long)k, (double)stored[k], (double)added[k]);
  memset(f->call.store, 0, sizeof f->call.store);
  free(added);
  free(stored);
}

/* A gradient that is not wanted is not written, and the others stay what they are. */
static void check_unwanted(fixture *f) {
  int64_t n, n_again;
  backward(f, 0);
  facet_real *all = snapshot(f, &n);
  for (int i = 0; i < f->node->n_inputs; i++) {
    if (!f->d_in[i].memory) continue;
    f->call.d_in[i] = NULL;
    backward(f, 0);
    f->call.d_in[i] = data(&f->d_in[i]);
    for (int64_t k = 0; k < elements(&f->call.in_shape[i]); k++)
      cr_assert(f->call.d_in[i][k] == 0, "input %d: gradient written though it is not wanted", i);
    facet_real *others = snapshot(f, &n_again);
    cr_assert_eq(n, n_again);
    for (int64_t k = 0; k < n; k++)
      cr_assert(others[k] == all[k] || others[k] == 0, "without the gradient of input %d, number %lld changes", i,
                (long long)k);
    free(others);
  }
  free(all);
}

typedef struct objective_context {
  fixture *f;
  const harness_inputs *before;
} objective_context;

static double objective_of(void *c) {
  return objective(((objective_context *)c)->f, ((objective_context *)c)->before);
}

/* Compares `analytic` with numeric derivatives of the objective in x. */
static void check_numeric(fixture *f, const char *name, facet_real *x, facet_real *x_copy, const facet_real *analytic,
                          int64_t n) {
  const int64_t stride = f->test->stride ? f->test->stride : 1;
  const double tolerance = f->test->reference ? REFERENCE_TOLERANCE : TOLERANCE;
  double square = 0;
  harness_inputs inputs;
  objective_context c = {.f = f};
  if (f->test->reference) inputs = read_inputs(f), c.before = &inputs;
  for (int64_t k = 0; k < n; k++) square += (double)analytic[k] * (double)analytic[k];
  for (int64_t k = 0; k < n; k += stride) {
    if (!isfinite(x[k])) continue; /* masked: no gradient */
    const harness_variable v = {.objective = objective_of,
                                .context = &c,
                                .x = &x[k],
                                .x_copy = &x_copy[k],
                                .step = (c.before ? REFERENCE_STEP : STEP) * (1 + fabs((double)x[k]))};
    double numeric = harness_central_difference(&v);
    double bound = tolerance * fmax(fabs(numeric), sqrt(square / (double)n)) + 0.01 * tolerance;
    cr_assert(harness_derivative_agrees(&v, numeric, (double)analytic[k], bound),
              "gradient of %s, element %lld: analytic %.12g, numeric %.12g", name, (long long)k, (double)analytic[k],
              numeric);
  }
  if (c.before) free_inputs(&inputs);
}

static void check_gradients(fixture *f) {
  fill_upstream(f, false);
  for (int i = 0; i < f->node->n_inputs; i++) {
    int64_t n = elements(&f->call.in_shape[i]);
    if (!f->d_in[i].memory && !f->call.table[i]) continue;
    backward(f, 0);
    facet_real *analytic = calloc((size_t)n, sizeof *analytic);
    if (f->d_in[i].memory) memcpy(analytic, data(&f->d_in[i]), (size_t)n * sizeof *analytic);
    facet_table *table = f->call.table[i];
    if (table) {
      cr_assert_eq(facet_table_reduce(&table, 1), FACET_OK);
      const facet_sparse_gradient *gradient = facet_table_gradient(table);
      int64_t width = facet_table_width(table);
      for (int64_t r = 0; r < gradient->n; r++)
        memcpy(analytic + gradient->slot[r] * width, gradient->rows + r * width, (size_t)width * sizeof *analytic);
    }
    clear_tables(f);
    facet_real *x = table ? facet_table_rows(table) : f->call.in[i];
    facet_real *x_copy = table ? x : data(&f->in_copy[i]);
    check_numeric(f, f->node->in[i]->name, x, x_copy, analytic, n);
    free(analytic);
  }
}

void harness_run(const harness_case *test) {
  fixture f;
  omp_set_num_threads(1); /* suites run side by side */
  set_up(&f, test);
  check_expected(&f);
  if (!test->no_gradient) {
    if (!test->surrogate) check_gradients(&f);
    check_accumulates(&f);
    check_stores(&f);
    check_unwanted(&f);
  }
  check_repeats(&f);
  tear_down(&f);
}

void harness_call(const harness_case *test, void (*check)(const facet_op_call *call, void *context), void *context) {
  fixture f;
  omp_set_num_threads(1);
  set_up(&f, test);
  fill_upstream(&f, false);
  backward(&f, 0);
  check(&f.call, context);
  tear_down(&f);
}

void harness_fails(const harness_case *test, const char *text) {
  fixture f = {.test = test};
  facet_tensor *tensor = build(&f);
  cr_assert(!tensor, "the node was built");
  cr_assert_eq(facet_graph_status(f.graph), FACET_ERROR_USAGE, "status %d: %s", (int)facet_graph_status(f.graph),
               facet_error_get()->message);
  cr_assert(strstr(facet_error_get()->message, text), "\"%s\" does not contain \"%s\"", facet_error_get()->message,
            text);
  facet_graph_destroy(&f.graph);
  facet_parameters_destroy(&f.parameters);
}

facet_cost harness_cost(const harness_case *test) {
  fixture f = {.test = test};
  facet_tensor *tensor = build(&f);
  cr_assert(tensor, "%s", facet_error_get()->message);
  facet_cost cost = tensor->producer->cost;
  facet_graph_destroy(&f.graph);
  facet_parameters_destroy(&f.parameters);
  return cost;
}
