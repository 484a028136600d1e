/* Dense optimizers: sweeps over the parameter arena in blocks whose bounds depend on the parameters alone, so that the
 * gradient norm is summed in the same order for any number of threads. */
#include "facet/optimizer.h"

#include <math.h>
#include <string.h>

#include "cpu/vector.h"
#include "facet/log.h"
#include "facet/memory.h"
#include "train/optimizer_internal.h"

#define BLOCK_ELEMENTS 16384
#define MAX_STATES 2

typedef struct dense_block { /* part of one parameter */
  int64_t first, n;          /* elements of the arena */
  bool decay;                /* ℓ2 and weight decay apply */
} dense_block;

struct facet_optimizer {
  const facet_optimizer_options *options;
  facet_parameters *parameters;
  int64_t n_elements;
  int n_states;
  const char *state_name[MAX_STATES];
  facet_real *state[MAX_STATES]; /* [n_elements] */
  int64_t n_blocks;
  dense_block *blocks;
  double *square_sum; /* [n_blocks] */
  facet_optimizer_times times;
};

/* ---- creation --------------------------------------------------------------------------------------------------- */

static facet_status add_state(facet_optimizer *optimizer, const char *name, double initial) {
  facet_real *state;
  FACET_TRY(FACET_ALLOC(state, optimizer->n_elements, "optimizer state"));
  for (int64_t i = 0; i < optimizer->n_elements; i++) state[i] = (facet_real)initial;
  optimizer->state_name[optimizer->n_states] = name;
  optimizer->state[optimizer->n_states++] = state;
  return FACET_OK;
}

static facet_status add_states(facet_optimizer *optimizer) {
  const facet_optimizer_options *options = optimizer->options;
  switch ((facet_optimizer_kind)options->dense) {
  case FACET_OPTIMIZER_SGD:
    if (options->momentum > 0) FACET_TRY(add_state(optimizer, "momentum", 0));
    break;
  case FACET_OPTIMIZER_ADAGRAD:
    FACET_TRY(add_state(optimizer, "accumulator", options->initial_accumulator));
    break;
  case FACET_OPTIMIZER_ADAM:
  case FACET_OPTIMIZER_ADAMW:
    FACET_TRY(add_state(optimizer, "m", 0));
    FACET_TRY(add_state(optimizer, "v", 0));
    break;
  }
  for (int i = 0; i < facet_parameters_n_tables(optimizer->parameters); i++)
    FACET_TRY(facet_sparse_add_states(options, facet_parameters_table(optimizer->parameters, i)));
  return FACET_OK;
}

static facet_status make_blocks(facet_optimizer *optimizer) {
  int n_dense = facet_parameters_n_dense(optimizer->parameters);
  int64_t n_blocks = 0;
  for (int i = 0; i < n_dense; i++) {
    int64_t n = facet_shape_elements(&facet_parameters_dense(optimizer->parameters, i)->shape);
    n_blocks += (n + BLOCK_ELEMENTS - 1) / BLOCK_ELEMENTS;
  }
  FACET_TRY(FACET_ALLOC(optimizer->blocks, n_blocks, "optimizer blocks"));
  FACET_TRY(FACET_ALLOC(optimizer->square_sum, n_blocks, "optimizer blocks"));
  for (int i = 0; i < n_dense; i++) {
    const facet_parameter_info *info = facet_parameters_dense(optimizer->parameters, i);
    int64_t n = facet_shape_elements(&info->shape);
    for (int64_t first = 0; first < n; first += BLOCK_ELEMENTS) {
      int64_t length = n - first < BLOCK_ELEMENTS ? n - first : BLOCK_ELEMENTS;
      optimizer->blocks[optimizer->n_blocks++] = (dense_block){info->offset + first, length, info->decay};
    }
  }
  return FACET_OK;
}

facet_status facet_optimizer_create(const facet_optimizer_options *options, facet_parameters *parameters,
                                    facet_optimizer **out) {
  facet_optimizer *optimizer;
  facet_status status = FACET_OK;
  FACET_TRY(FACET_ALLOC(optimizer, 1, "optimizer"));
  optimizer->options = options;
  optimizer->parameters = parameters;
  optimizer->n_elements = facet_parameters_n_elements(parameters);
  FACET_TRY_GOTO(status, fail, make_blocks(optimizer));
  FACET_TRY_GOTO(status, fail, add_states(optimizer));
  *out = optimizer;
  return FACET_OK;
fail:
  facet_optimizer_destroy(&optimizer);
  return status;
}

void facet_optimizer_destroy(facet_optimizer **optimizer) {
  if (!*optimizer) return;
  for (int i = 0; i < (*optimizer)->n_states; i++) facet_memory_free((*optimizer)->state[i]);
  facet_memory_free((*optimizer)->blocks);
  facet_memory_free((*optimizer)->square_sum);
  facet_memory_free(*optimizer);
  *optimizer = NULL;
}

int facet_optimizer_n_states(const facet_optimizer *optimizer) {
  return optimizer->n_states;
}
const char *facet_optimizer_state_name(const facet_optimizer *optimizer, int i) {
  return optimizer->state_name[i];
}
facet_real *facet_optimizer_state(facet_optimizer *optimizer, int i) {
  return optimizer->state[i];
}
size_t facet_optimizer_bytes(const facet_optimizer *optimizer) {
  return (size_t)optimizer->n_states * (size_t)optimizer->n_elements * sizeof(facet_real);
}

facet_optimizer_times facet_optimizer_get_times(const facet_optimizer *optimizer) {
  return optimizer->times;
}

/* ---- gradient norm ---------------------------------------------------------------------------------------------- */

double facet_gradient_square_sum(int64_t n, double scale, const facet_real *g, double l2, const facet_real *w) {
  if (l2 == 0) return scale * scale * facet_vector_get()->square_sum(n, g);
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double gradient = scale * (double)g[i] + l2 * (double)w[i];
    sum += gradient * gradient;
  }
  return sum;
}

static double dense_square_sum(facet_optimizer *optimizer, double scale) {
  const facet_real *g = facet_parameters_gradients(optimizer->parameters);
  const facet_real *w = facet_parameters_values(optimizer->parameters);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < optimizer->n_blocks; i++) {
    const dense_block *block = &optimizer->blocks[i];
    double l2 = block->decay ? optimizer->options->l2 : 0;
    optimizer->square_sum[i] = facet_gradient_square_sum(block->n, scale, g + block->first, l2, w + block->first);
  }
  double sum = 0;
  for (int64_t i = 0; i < optimizer->n_blocks; i++) sum += optimizer->square_sum[i];
  return sum;
}

static double gradient_norm(facet_optimizer *optimizer, double scale) {
  double sum = dense_square_sum(optimizer, scale);
  for (int i = 0; i < facet_parameters_n_tables(optimizer->parameters); i++)
    sum += facet_sparse_square_sum(optimizer->options, facet_parameters_table(optimizer->parameters, i), scale);
  return sqrt(sum);
}

/* The error for a norm that is not finite. */
static facet_status describe_nonfinite(const facet_optimizer *optimizer, double norm) {
  const facet_real *gradients = facet_parameters_gradients(optimizer->parameters);
  for (int i = 0; i < facet_parameters_n_dense(optimizer->parameters); i++) {
    const facet_parameter_info *info = facet_parameters_dense(optimizer->parameters, i);
    int64_t n = facet_shape_elements(&info->shape);
    for (int64_t j = 0; j < n; j++) {
      double value = (double)gradients[info->offset + j];
      FACET_CHECK(isfinite(value), FACET_ERROR_NONFINITE, "the gradient of parameter %s is %g at element %lld",
                  info->name, value, (long long)j);
    }
  }
  for (int i = 0; i < facet_parameters_n_tables(optimizer->parameters); i++)
    FACET_TRY(facet_sparse_check_finite(facet_parameters_table(optimizer->parameters, i)));
  FACET_FAIL(FACET_ERROR_NONFINITE, "the gradient norm is %g although every gradient is finite: too large to square",
             norm);
}

/* ---- update ----------------------------------------------------------------------------------------------------- */

/* v ← μ v + g′; w ← w − lr v (v is g′ itself without momentum). */
static void sgd(const facet_step *step, double l2, double momentum, int64_t n, const facet_real *g, facet_real *v,
                facet_real *w) {
  const facet_real scale = (facet_real)(step->clip * step->scale), decay = (facet_real)(step->clip * l2);
  const facet_real rate = (facet_real)step->rate, mu = (facet_real)momentum;
  for (int64_t i = 0; i < n; i++) {
    facet_real gradient = scale * g[i] + decay * w[i];
    if (v) gradient = v[i] = mu * v[i] + gradient;
    w[i] -= rate * gradient;
  }
}

static void update_block(facet_optimizer *optimizer, const dense_block *block, const facet_step *step) {
  const facet_optimizer_options *options = optimizer->options;
  const double l2 = block->decay ? options->l2 : 0;
  const facet_real scale = (facet_real)(step->clip * step->scale);
  const facet_real *g = facet_parameters_gradients(optimizer->parameters) + block->first;
  facet_real *w = facet_parameters_values(optimizer->parameters) + block->first;
  facet_real *state[MAX_STATES] = {NULL, NULL};
  for (int i = 0; i < optimizer->n_states; i++) state[i] = optimizer->state[i] + block->first;
  switch ((facet_optimizer_kind)options->dense) {
  case FACET_OPTIMIZER_SGD:
    sgd(step, l2, options->momentum, block->n, g, state[0], w);
    break;
  case FACET_OPTIMIZER_ADAGRAD: {
    facet_adagrad_step adagrad = {.scale = scale,
                                  .l2 = (facet_real)(step->clip * l2),
                                  .rate = (facet_real)step->rate,
                                  .eps = (facet_real)options->epsilon};
    facet_vector_get()->adagrad(&adagrad, block->n, g, state[0], w);
    break;
  }
  case FACET_OPTIMIZER_ADAM:
  case FACET_OPTIMIZER_ADAMW: {
    bool decoupled = options->dense == FACET_OPTIMIZER_ADAMW && block->decay;
    facet_adam_step adam = {.scale = scale,
                            .l2 = (facet_real)(step->clip * l2),
                            .decay = (facet_real)(decoupled ? step->rate * options->weight_decay : 0),
                            .rate = (facet_real)(step->rate * step->correct_m),
                            .root = (facet_real)step->root_correct_v,
                            .beta1 = (facet_real)options->beta1,
                            .beta2 = (facet_real)options->beta2,
                            .eps = (facet_real)options->epsilon};
    facet_vector_get()->adam(&adam, block->n, g, state[0], state[1], w);
    break;
  }
  }
}

static void clear_gradients(facet_optimizer *optimizer) {
  facet_real *gradients = facet_parameters_gradients(optimizer->parameters);
  memset(gradients, 0, (size_t)optimizer->n_elements * sizeof *gradients);
  for (int i = 0; i < facet_parameters_n_tables(optimizer->parameters); i++)
    facet_table_clear_gradient(facet_parameters_table(optimizer->parameters, i));
}

/* Adds the seconds since *start, which moves on, to a part's. */
static void add_time(double *start, double *part) {
  const double now = facet_clock();
  *part += now - *start;
  *start = now;
}

facet_status facet_optimizer_update(facet_optimizer *optimizer, const facet_update *update, double *out_norm) {
  const facet_optimizer_options *options = optimizer->options;
  facet_optimizer_times *times = &optimizer->times;
  double start = facet_clock();
  const double norm = gradient_norm(optimizer, update->gradient_scale), t = (double)(update->step + 1);
  *out_norm = norm;
  if (!isfinite(norm)) return describe_nonfinite(optimizer, norm);
  const facet_step step = {.scale = update->gradient_scale,
                           .clip = options->clip_norm > 0 && norm > options->clip_norm ? options->clip_norm / norm : 1,
                           .rate = update->learning_rate,
                           .sparse_rate = update->sparse_learning_rate,
                           .correct_m = 1 / (1 - pow(options->beta1, t)),
                           .root_correct_v = 1 / sqrt(1 - pow(options->beta2, t))};
  add_time(&start, &times->norm);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < optimizer->n_blocks; i++) update_block(optimizer, &optimizer->blocks[i], &step);
  add_time(&start, &times->dense);
  for (int i = 0; i < facet_parameters_n_tables(optimizer->parameters); i++) {
    facet_table *table = facet_parameters_table(optimizer->parameters, i);
    times->sparse_elements += (double)(facet_table_gradient(table)->n * facet_table_width(table));
    facet_sparse_update(options, table, &step);
  }
  add_time(&start, &times->sparse);
  clear_gradients(optimizer);
  add_time(&start, &times->clear);
  return FACET_OK;
}
