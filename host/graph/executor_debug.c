/* Finding the first non-finite value, and the gradient check of a whole program. */
#include <math.h>
#include <string.h>

#include "facet/rng.h"
#include "graph/executor_internal.h"

/* ---- first non-finite value -------------------------------------------------------------------------------------- */

/* "[3, 17]" of element i of a shape. */
static const char *format_position(const facet_shape *shape, int64_t i, char *buffer, size_t n_bytes) {
  facet_shape position = {.rank = shape->rank};
  for (int k = shape->rank - 1; k >= 0; k--) {
    position.dim[k] = i % shape->dim[k];
    i /= shape->dim[k];
  }
  return facet_shape_format(&position, buffer, n_bytes);
}

static facet_status check_host_values(const char *what, const char *name, const facet_shape *shape,
                                      const facet_real *values) {
  int64_t n = facet_shape_elements(shape);
  for (int64_t i = 0; i < n; i++) {
    if (isfinite(values[i])) continue;
    char at[64], text[64];
    FACET_FAIL(FACET_ERROR_NONFINITE, "%s \"%s\" is the first that is not finite: element %s of %s is %g", what, name,
               format_position(shape, i, at, sizeof at), facet_shape_format(shape, text, sizeof text),
               (double)values[i]);
  }
  return FACET_OK;
}

/* A tensor in the memory of the device. */
static facet_status check_tensor(const facet_executor *executor, const char *what, const facet_tensor *tensor) {
  if (tensor->dtype != FACET_DTYPE_REAL) return FACET_OK;
  facet_real *values = NULL;
  facet_status status = FACET_OK;
  FACET_TRY(FACET_ALLOC(values, facet_shape_elements(&tensor->shape), "a copy of a tensor"));
  FACET_TRY_GOTO(status, done,
                 executor->device->backend->copy_out(executor->device, values, facet_executor_memory(executor, tensor),
                                                     facet_tensor_bytes(tensor)));
  status = check_host_values(what, tensor->name, &tensor->shape, values);
done:
  facet_memory_free(values);
  return status;
}

static facet_status check_constants(const facet_executor *executor) {
  const facet_graph *graph = executor->graph;
  for (int i = 0; i < graph->n_slots; i++) FACET_TRY(check_tensor(executor, "input", graph->slot[i].tensor));
  for (int i = 0; i < graph->n_constants; i++) {
    const facet_tensor *tensor = graph->constant[i];
    if (tensor->kind == FACET_TENSOR_PARAMETER)
      FACET_TRY(check_host_values("parameter", tensor->name, &tensor->shape, facet_executor_memory(executor, tensor)));
    if (tensor->kind == FACET_TENSOR_TABLE)
      FACET_TRY(check_host_values("table", tensor->name, &tensor->shape,
                                  facet_table_rows(facet_parameters_table(graph->parameters, tensor->index))));
  }
  return FACET_OK;
}

static facet_status check_nodes(facet_executor *executor) {
  const facet_graph *graph = executor->graph;
  for (int64_t i = 0; i < graph->n_nodes; i++) {
    FACET_TRY(facet_executor_step(executor, i, 0));
    for (int k = 0; k < graph->node[i]->n_outputs; k++)
      if (check_tensor(executor, "node", graph->node[i]->out[k]))
        return facet_error_context("operator %s", graph->node[i]->op->name);
  }
  return FACET_OK;
}

/* A copy of the operator states, which a forward moves. */
static facet_status save_states(const facet_parameters *parameters, facet_real **copy) {
  FACET_TRY(FACET_ALLOC(*copy, parameters->states.n_elements, "a copy of the operator states"));
  memcpy(*copy, parameters->state_values, (size_t)parameters->states.n_elements * sizeof(facet_real));
  return FACET_OK;
}

static void restore_states(facet_parameters *parameters, const facet_real *copy) {
  memcpy(parameters->state_values, copy, (size_t)parameters->states.n_elements * sizeof(facet_real));
}

facet_status facet_executor_find_nonfinite(facet_executor *executor) {
  FACET_CHECK(executor->run.row, FACET_ERROR_INTERNAL, "find_nonfinite before the first forward");
  facet_real *states = NULL;
  FACET_TRY(save_states(executor->graph->parameters, &states));
  facet_status status = check_constants(executor);
  if (!status) status = check_nodes(executor);
  restore_states(executor->graph->parameters, states);
  facet_memory_free(states);
  return status;
}

/* ---- gradient check ---------------------------------------------------------------------------------------------- */

/* Step of the central difference relative to the size of the elements: about the cube root of the rounding unit, where
 * truncation (h²) and rounding (ε/h) balance. */
#ifdef FACET_DOUBLE
static const double relative_step = 1e-5;
#define N_STEPS 4 /* h, h/8, h/64, h/512 */
#else
static const double relative_step = 1e-2;
#define N_STEPS 3
#endif

typedef struct facet_checker {
  facet_executor *executor;
  const facet_batch *batch;
  const facet_run *run;
  const facet_real *states;
  double tolerance;
  int n_directions;
  FILE *stream;
  double worst_error;     /* over the variables that are wrong */
  const char *worst_name; /* NULL: none */
  int n_by_rounding;      /* variables that agree only within the rounding of f */
} facet_checker;

/* What is perturbed: a dense parameter, or the touched rows of a table. */
typedef struct facet_variable {
  const char *name;
  facet_real *values;
  const int32_t *slot; /* [n / width] rows; NULL: dense */
  int64_t n, width;
  const facet_real *gradient; /* [n] */
} facet_variable;

static facet_real *element(const facet_variable *variable, int64_t i) {
  if (!variable->slot) return &variable->values[i];
  return &variable->values[variable->slot[i / variable->width] * variable->width + i % variable->width];
}

/* f = Σ weight · loss with the operator states of the beginning. */
static facet_status evaluate(facet_checker *checker, double *f) {
  FACET_TRY(facet_executor_forward(checker->executor, checker->batch, checker->run));
  restore_states(checker->executor->graph->parameters, checker->states);
  *f = facet_executor_total_loss(checker->executor);
  return FACET_OK;
}

/* f(θ + h u); puts θ back from `start`. */
static facet_status evaluate_at(facet_checker *checker, const facet_variable *variable, const facet_real *start,
                                const facet_real *direction, double h, double *f) {
  for (int64_t i = 0; i < variable->n; i++)
    *element(variable, i) = (facet_real)((double)start[i] + h * (double)direction[i]);
  facet_status status = evaluate(checker, f);
  for (int64_t i = 0; i < variable->n; i++) *element(variable, i) = start[i];
  return status;
}

typedef struct facet_comparison {
  double analytic, numeric, error;
  bool by_rounding; /* the difference is larger than the tolerance, but the rounding of f explains it */
} facet_comparison;

static double analytic_slope(const facet_checker *checker, const facet_variable *variable, int number,
                             facet_real *direction) {
  char purpose[300]; /* not the bare name: initial values must not be a direction */
  snprintf(purpose, sizeof purpose, "check/%s", variable->name);
  facet_rng_key key = facet_rng_key_make(checker->run->seed, purpose);
  double slope = 0;
  for (int64_t i = 0; i < variable->n; i++) {
    direction[i] = (facet_real)facet_rng_normal(key, (uint64_t)(i + number * variable->n));
    slope += (double)direction[i] * (double)variable->gradient[i];
  }
  return slope;
}

/* One direction at one step. What a few units in the last place of |f| over 2h explain passes. */
static facet_status compare_at(facet_checker *checker, const facet_variable *variable, const facet_real *start,
                               const facet_real *direction, double h, facet_comparison *comparison) {
  double plus = 0, minus = 0, analytic = comparison->analytic;
  FACET_TRY(evaluate_at(checker, variable, start, direction, h, &plus));
  FACET_TRY(evaluate_at(checker, variable, start, direction, -h, &minus));
  double numeric = (plus - minus) / (2 * h), difference = fabs(analytic - numeric);
  double rounding = 8 * FACET_REAL_EPSILON * fmax(fabs(plus), fabs(minus)) / (2 * h);
  double scale = fmax(fabs(analytic), fabs(numeric)), error = scale > 0 ? difference / scale : 0;
  *comparison = (facet_comparison){.analytic = analytic,
                                   .numeric = numeric,
                                   .error = isfinite(error) ? error : HUGE_VAL,
                                   .by_rounding = error > checker->tolerance && difference <= rounding};
  return FACET_OK;
}

static bool agrees(const facet_checker *checker, const facet_comparison *comparison) {
  return comparison->error <= checker->tolerance || comparison->by_rounding;
}

/* One direction. A kink of f (ReLU) or much curvature within the step is no error: smaller steps are tried, although f's
 * rounding counts for more in them. */
static facet_status compare(facet_checker *checker, const facet_variable *variable, const facet_real *start,
                            facet_real *direction, int number, double h, facet_comparison *best) {
  *best = (facet_comparison){.error = HUGE_VAL};
  const double analytic = analytic_slope(checker, variable, number, direction);
  for (int i = 0; i < N_STEPS && !agrees(checker, best); i++, h /= 8) {
    facet_comparison comparison = {.analytic = analytic};
    FACET_TRY(compare_at(checker, variable, start, direction, h, &comparison));
    if (i == 0 || comparison.error < best->error || agrees(checker, &comparison)) *best = comparison;
  }
  return FACET_OK;
}

/* A wrong direction is worse than one that agrees. */
static bool is_worse(const facet_checker *checker, const facet_comparison *a, const facet_comparison *b) {
  const bool a_agrees = agrees(checker, a), b_agrees = agrees(checker, b);
  return a_agrees != b_agrees ? b_agrees : a->error > b->error;
}

static void print_comparison(facet_checker *checker, const facet_variable *variable, const facet_comparison *worst) {
  if (!variable->n) {
    fprintf(checker->stream, "%-40s %12s %14s %14s %10s\n", variable->name, "0", "-", "-", "no rows");
    return;
  }
  fprintf(checker->stream, "%-40s %12lld %14.6e %14.6e %10.2e%s\n", variable->name, (long long)variable->n,
          worst->analytic, worst->numeric, worst->error,
          worst->by_rounding       ? "  rounding"
          : agrees(checker, worst) ? ""
                                   : "  WRONG");
}

static facet_status check_variable(facet_checker *checker, const facet_variable *variable) {
  facet_real *start = NULL, *direction = NULL;
  facet_status status = FACET_OK;
  facet_comparison worst = {.error = -1};
  double square = 0;
  FACET_TRY_GOTO(status, done, FACET_ALLOC(start, variable->n, "gradient check"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(direction, variable->n, "gradient check"));
  for (int64_t i = 0; i < variable->n; i++) {
    start[i] = *element(variable, i);
    square += (double)start[i] * (double)start[i];
  }
  double size = sqrt(square / (double)(variable->n ? variable->n : 1)); /* of an element; zero where all start from 0 */
  double h = relative_step * fmax(size, 0.1);
  for (int k = 0; k < checker->n_directions && variable->n; k++) {
    facet_comparison comparison;
    FACET_TRY_GOTO(status, done, compare(checker, variable, start, direction, k, h, &comparison));
    if (is_worse(checker, &comparison, &worst)) worst = comparison;
  }
  print_comparison(checker, variable, &worst);
  if (worst.by_rounding) checker->n_by_rounding++;
  if (!agrees(checker, &worst) && worst.error > checker->worst_error) {
    checker->worst_error = worst.error;
    checker->worst_name = variable->name;
  }
done:
  facet_memory_free(start);
  facet_memory_free(direction);
  return status;
}

static void clear_gradients(facet_parameters *parameters) {
  memset(parameters->gradients, 0, (size_t)parameters->dense.n_elements * sizeof(facet_real));
  for (int i = 0; i < parameters->n_tables; i++) facet_table_clear_gradient(parameters->table[i].table);
}

static facet_variable variable_of(const facet_executor *executor, const facet_tensor *tensor) {
  facet_parameters *parameters = executor->graph->parameters;
  if (tensor->kind == FACET_TENSOR_PARAMETER)
    return (facet_variable){.name = tensor->name,
                            .values = facet_executor_memory(executor, tensor),
                            .n = facet_shape_elements(&tensor->shape),
                            .gradient = parameters->gradients + parameters->dense.item[tensor->index].info.offset};
  facet_table *table = facet_parameters_table(parameters, tensor->index);
  const facet_sparse_gradient *gradient = facet_table_gradient(table);
  int64_t width = facet_table_width(table);
  return (facet_variable){.name = tensor->name,
                          .values = facet_table_rows(table),
                          .slot = gradient->slot,
                          .n = gradient->n * width,
                          .width = width,
                          .gradient = gradient->rows};
}

static facet_status check_all(facet_checker *checker) {
  facet_executor *executor = checker->executor;
  const facet_graph *graph = executor->graph;
  clear_gradients(graph->parameters);
  double f;
  FACET_TRY(evaluate(checker, &f));
  FACET_TRY(facet_executor_backward(executor, 1));
  fprintf(checker->stream, "%-40s %12s %14s %14s %10s\n", "parameter", "elements", "analytic", "numeric", "error");
  for (int i = 0; i < graph->n_constants; i++) {
    if (!graph->constant[i]->needs_gradient) continue;
    facet_variable variable = variable_of(executor, graph->constant[i]);
    FACET_TRY(check_variable(checker, &variable));
  }
  if (checker->n_by_rounding)
    fprintf(checker->stream,
            "rounding: %d parameters are too coarse to compare in this precision; they differ by no more "
            "than the rounding of the loss\n",
            checker->n_by_rounding);
  FACET_CHECK(!checker->worst_name, FACET_ERROR_INTERNAL,
              "the gradient of \"%s\" is wrong: relative error %.3g, tolerance %.3g", checker->worst_name,
              checker->worst_error, checker->tolerance);
  return FACET_OK;
}

facet_status facet_executor_check_gradients(facet_executor *executor, const facet_batch *batch, const facet_run *run,
                                            int n_directions, double tolerance, FILE *stream) {
  FACET_CHECK(executor->plan->n_steps > executor->plan->n_nodes, FACET_ERROR_INTERNAL,
              "the executor was made without backward");
  facet_real *states = NULL;
  FACET_TRY(save_states(executor->graph->parameters, &states));
  facet_checker checker = {.executor = executor,
                           .batch = batch,
                           .run = run,
                           .states = states,
                           .tolerance = tolerance,
                           .n_directions = n_directions,
                           .stream = stream};
  facet_status status = check_all(&checker);
  restore_states(executor->graph->parameters, states);
  clear_gradients(executor->graph->parameters);
  facet_memory_free(states);
  return status;
}
