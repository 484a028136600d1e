/* Optimizers against the formulas, written out in double for three updates with changing gradients. */
#include "facet/optimizer.h"

#include <criterion/criterion.h>
#include <math.h>

#include "facet/memory.h"

enum { ROWS = 6, WIDTH = 3, MATRIX = 6, BIAS = 2 };

typedef struct fixture {
  facet_parameters *parameters;
  facet_graph *graph;
  facet_optimizer *optimizer;
  facet_optimizer_options options;
  facet_real *matrix, *bias, *d_matrix, *d_bias; /* [2, 3] with decay, [2] without */
  facet_table *table;                            /* [6, 3] */
} fixture;

static facet_optimizer_options defaults(int dense, int sparse) {
  return (facet_optimizer_options){.dense = dense,
                                   .sparse = sparse,
                                   .learning_rate = 0.1,
                                   .beta1 = 0.9,
                                   .beta2 = 0.99,
                                   .epsilon = 1e-6,
                                   .initial_accumulator = 0.25};
}

static facet_real *dense(fixture *f, const char *name, facet_real *arena) {
  for (int i = 0; i < facet_parameters_n_dense(f->parameters); i++) {
    const facet_parameter_info *info = facet_parameters_dense(f->parameters, i);
    if (strcmp(info->name, name) == 0) return arena + info->offset;
  }
  return NULL;
}

static void setup(fixture *f, facet_optimizer_options options) {
  const facet_init normal = {FACET_INIT_NORMAL, 1};
  *f = (fixture){.options = options};
  cr_assert_eq(facet_parameters_create(&f->parameters), FACET_OK);
  cr_assert_eq(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 2, 0, f->parameters, &f->graph), FACET_OK);
  cr_assert(facet_graph_parameter(f->graph, "matrix", facet_shape_make(2, (int64_t)2, (int64_t)3), normal, true));
  cr_assert(facet_graph_parameter(f->graph, "bias", facet_shape_make(1, (int64_t)BIAS), normal, false));
  cr_assert(facet_graph_table(f->graph, "table", ROWS, WIDTH, normal));
  cr_assert_eq(facet_parameters_allocate(f->parameters, 7, true), FACET_OK);
  f->table = facet_parameters_table(f->parameters, 0);
  cr_assert_eq(facet_table_reserve(f->table, 8, 2), FACET_OK);
  cr_assert_eq(facet_optimizer_create(&f->options, f->parameters, &f->optimizer), FACET_OK);
  f->matrix = dense(f, "matrix", facet_parameters_values(f->parameters));
  f->bias = dense(f, "bias", facet_parameters_values(f->parameters));
  f->d_matrix = dense(f, "matrix", facet_parameters_gradients(f->parameters));
  f->d_bias = dense(f, "bias", facet_parameters_gradients(f->parameters));
}

static void teardown(fixture *f) {
  facet_optimizer_destroy(&f->optimizer);
  facet_graph_destroy(&f->graph);
  facet_parameters_destroy(&f->parameters);
}

/* Gradient element i of update s: different in size and sign. */
static double gradient(int s, int i) {
  return 0.5 * sin(1.3 * i + 2.1 * s) + 0.1;
}

/* Rows touched by update s: {2, 4}, {2}, {4, 5}. */
static const int touched[3][2] = {{2, 4}, {2, -1}, {4, 5}};

static void set_gradients(fixture *f, int s) {
  static int32_t slot[2];
  static facet_real rows[2 * WIDTH];
  int n = touched[s][1] < 0 ? 1 : 2;
  for (int i = 0; i < MATRIX; i++) f->d_matrix[i] = (facet_real)gradient(s, i);
  for (int i = 0; i < BIAS; i++) f->d_bias[i] = (facet_real)gradient(s, 10 + i);
  for (int r = 0; r < n; r++) {
    slot[r] = touched[s][r];
    for (int j = 0; j < WIDTH; j++) rows[r * WIDTH + j] = (facet_real)gradient(s, 20 + touched[s][r] * WIDTH + j);
  }
  cr_assert_eq(facet_table_emit(f->table, slot, n, 1, rows, facet_table_width(f->table), NULL), FACET_OK);
  cr_assert_eq(facet_table_reduce(&f->table, 1), FACET_OK);
}

static double apply(fixture *f, int s, double scale) {
  double norm = 0;
  const facet_update update = {s, 0.1, 0.05, scale};
  cr_assert_eq(facet_optimizer_update(f->optimizer, &update, &norm), FACET_OK, "%s", facet_error_get()->message);
  return norm;
}

/* One scalar's state and its step, in double. */
typedef struct scalar {
  double w, m, v;
} scalar;

static void step_dense(const facet_optimizer_options *o, scalar *x, double g, bool decay, int s) {
  double t = s + 1, lr = 0.1;
  if (decay) g += o->l2 * x->w;
  switch (o->dense) {
  case FACET_OPTIMIZER_SGD:
    x->m = o->momentum * x->m + g;
    x->w -= lr * x->m;
    break;
  case FACET_OPTIMIZER_ADAGRAD:
    x->v += g * g;
    x->w -= lr * g / (sqrt(x->v) + o->epsilon);
    break;
  default:
    x->m = o->beta1 * x->m + (1 - o->beta1) * g;
    x->v = o->beta2 * x->v + (1 - o->beta2) * g * g;
    if (o->dense == FACET_OPTIMIZER_ADAMW && decay) x->w -= lr * o->weight_decay * x->w;
    x->w -= lr * (x->m / (1 - pow(o->beta1, t))) / (sqrt(x->v / (1 - pow(o->beta2, t))) + o->epsilon);
  }
}

static void step_row(const facet_optimizer_options *o, scalar *row, const double *gradients, int s) {
  double t = s + 1, lr = 0.05, g[WIDTH], mean = 0;
  for (int j = 0; j < WIDTH; j++) {
    g[j] = gradients[j] + o->l2_embedding * row[j].w;
    mean += g[j] * g[j] / WIDTH;
  }
  for (int j = 0; j < WIDTH; j++) {
    scalar *x = &row[j];
    switch (o->sparse) {
    case FACET_SPARSE_SGD:
      x->w -= lr * g[j];
      break;
    case FACET_SPARSE_ADAGRAD:
      x->v += g[j] * g[j];
      x->w -= lr * g[j] / (sqrt(x->v) + o->epsilon);
      break;
    case FACET_SPARSE_ROWWISE_ADAGRAD:
      x->v += mean;
      x->w -= lr * g[j] / (sqrt(x->v) + o->epsilon);
      break;
    default:
      x->m = o->beta1 * x->m + (1 - o->beta1) * g[j];
      x->v = o->beta2 * x->v + (1 - o->beta2) * g[j] * g[j];
      x->w -= lr * (x->m / (1 - pow(o->beta1, t))) / (sqrt(x->v / (1 - pow(o->beta2, t))) + o->epsilon);
    }
  }
}

/* Three updates, with the gradients scaled by 2 and the scale ½, against the formulas. */
static void check(facet_optimizer_options options) {
  fixture f;
  setup(&f, options);
  facet_real *rows = facet_table_rows(f.table);
  scalar matrix[MATRIX], bias[BIAS], row[ROWS * WIDTH];
  double a = options.initial_accumulator, dense_v = options.dense == FACET_OPTIMIZER_ADAGRAD ? a : 0;
  double sparse_v = options.sparse == FACET_SPARSE_LAZY_ADAM ? 0 : a;
  for (int i = 0; i < MATRIX; i++) matrix[i] = (scalar){f.matrix[i], 0, dense_v};
  for (int i = 0; i < BIAS; i++) bias[i] = (scalar){f.bias[i], 0, dense_v};
  for (int i = 0; i < ROWS * WIDTH; i++) row[i] = (scalar){rows[i], 0, sparse_v};
  for (int s = 0; s < 3; s++) {
    set_gradients(&f, s);
    apply(&f, s, 0.5);
    for (int i = 0; i < MATRIX; i++) step_dense(&options, &matrix[i], 0.5 * gradient(s, i), true, s);
    for (int i = 0; i < BIAS; i++) step_dense(&options, &bias[i], 0.5 * gradient(s, 10 + i), false, s);
    for (int r = 0; r < 2 && touched[s][r] >= 0; r++) {
      double g[WIDTH];
      for (int j = 0; j < WIDTH; j++) g[j] = 0.5 * gradient(s, 20 + touched[s][r] * WIDTH + j);
      step_row(&options, &row[touched[s][r] * WIDTH], g, s);
    }
    for (int i = 0; i < MATRIX; i++)
      cr_assert_float_eq(f.matrix[i], matrix[i].w, 2e-6, "update %d, matrix %d: %g, expected %g", s, i,
                         (double)f.matrix[i], matrix[i].w);
    for (int i = 0; i < BIAS; i++)
      cr_assert_float_eq(f.bias[i], bias[i].w, 2e-6, "update %d, bias %d: %g, expected %g", s, i, (double)f.bias[i],
                         bias[i].w);
    for (int i = 0; i < ROWS * WIDTH; i++)
      cr_assert_float_eq(rows[i], row[i].w, 2e-6, "update %d, row %d: %g, expected %g", s, i / WIDTH, (double)rows[i],
                         row[i].w);
    for (int i = 0; i < MATRIX; i++) cr_assert_eq(f.d_matrix[i], 0, "gradients are cleared");
    cr_assert_eq(facet_table_gradient(f.table)->n, 0, "table gradients are cleared");
  }
  teardown(&f);
}

Test(optimizer, sgd) {
  check(defaults(FACET_OPTIMIZER_SGD, FACET_SPARSE_SGD));
}

Test(optimizer, sgd_momentum_l2) {
  facet_optimizer_options options = defaults(FACET_OPTIMIZER_SGD, FACET_SPARSE_SGD);
  options.momentum = 0.8;
  options.l2 = 0.3;
  options.l2_embedding = 0.2;
  check(options);
}

Test(optimizer, adagrad) {
  facet_optimizer_options options = defaults(FACET_OPTIMIZER_ADAGRAD, FACET_SPARSE_ADAGRAD);
  options.l2 = 0.3;
  options.l2_embedding = 0.2;
  check(options);
}

Test(optimizer, rowwise_adagrad) {
  facet_optimizer_options options = defaults(FACET_OPTIMIZER_ADAGRAD, FACET_SPARSE_ROWWISE_ADAGRAD);
  options.l2_embedding = 0.2;
  check(options);
}

Test(optimizer, adam_with_lazy_adam) {
  facet_optimizer_options options = defaults(FACET_OPTIMIZER_ADAM, FACET_SPARSE_LAZY_ADAM);
  options.l2 = 0.3;
  options.l2_embedding = 0.2;
  options.weight_decay = 0.5; /* AdamW's; Adam must ignore it */
  check(options);
}

Test(optimizer, adamw_decays_matrices_only) {
  facet_optimizer_options options = defaults(FACET_OPTIMIZER_ADAMW, FACET_SPARSE_LAZY_ADAM);
  options.weight_decay = 0.5;
  check(options);
}

Test(optimizer, norm_and_clipping) {
  facet_optimizer_options options = defaults(FACET_OPTIMIZER_SGD, FACET_SPARSE_SGD);
  options.clip_norm = 0.7;
  options.l2 = 0.3;
  options.l2_embedding = 0.2;
  fixture f;
  setup(&f, options);
  facet_real before[MATRIX], *rows = facet_table_rows(f.table), row2 = rows[2 * WIDTH], row3 = rows[3 * WIDTH];
  double sum = 0;
  set_gradients(&f, 0);
  for (int i = 0; i < MATRIX; i++) {
    before[i] = f.matrix[i];
    sum += pow(gradient(0, i) + 0.3 * f.matrix[i], 2);
  }
  for (int i = 0; i < BIAS; i++) sum += pow(gradient(0, 10 + i), 2);
  for (int r = 0; r < 2; r++)
    for (int j = 0; j < WIDTH; j++) {
      int i = touched[0][r] * WIDTH + j;
      sum += pow(gradient(0, 20 + i) + 0.2 * rows[i], 2);
    }
  const double norm = apply(&f, 0, 1), clip = 0.7 / sqrt(sum);
  cr_assert_float_eq(norm, sqrt(sum), 1e-5, "norm %g, expected %g", norm, sqrt(sum));
  cr_assert_lt(clip, 1);
  for (int i = 0; i < MATRIX; i++)
    cr_assert_float_eq(f.matrix[i], before[i] - 0.1 * clip * (gradient(0, i) + 0.3 * before[i]), 1e-6);
  cr_assert_float_eq(rows[2 * WIDTH], row2 - 0.05 * clip * (gradient(0, 20 + 2 * WIDTH) + 0.2 * row2), 1e-6);
  cr_assert_eq(rows[3 * WIDTH], row3, "a row without a gradient has no l2");
  teardown(&f);
}

Test(optimizer, scale_of_weights_cancels) {
  /* gradients multiplied by a power of two and scaled back give the same bits */
  for (int kind = FACET_OPTIMIZER_SGD; kind <= FACET_OPTIMIZER_ADAMW; kind++) {
    fixture a, b;
    setup(&a, defaults(kind, FACET_SPARSE_LAZY_ADAM));
    setup(&b, defaults(kind, FACET_SPARSE_LAZY_ADAM));
    for (int s = 0; s < 3; s++) {
      set_gradients(&a, s);
      set_gradients(&b, s);
      for (int i = 0; i < MATRIX; i++) b.d_matrix[i] *= 1024;
      for (int i = 0; i < BIAS; i++) b.d_bias[i] *= 1024;
      facet_sparse_gradient *gradient = facet_table_gradient(b.table);
      for (int64_t i = 0; i < gradient->n * WIDTH; i++) gradient->rows[i] *= 1024;
      apply(&a, s, 1);
      apply(&b, s, 1.0 / 1024);
    }
    for (int i = 0; i < MATRIX; i++) cr_assert_eq(a.matrix[i], b.matrix[i], "optimizer %d", kind);
    for (int i = 0; i < ROWS * WIDTH; i++) cr_assert_eq(facet_table_rows(a.table)[i], facet_table_rows(b.table)[i]);
    teardown(&a);
    teardown(&b);
  }
}

Test(optimizer, nonfinite_gradient_is_named_and_changes_nothing) {
  fixture f;
  setup(&f, defaults(FACET_OPTIMIZER_ADAM, FACET_SPARSE_LAZY_ADAM));
  double norm;
  const facet_update update = {0, 0.1, 0.1, 1};
  facet_real before = f.matrix[0];
  set_gradients(&f, 0);
  f.d_bias[1] = NAN;
  cr_assert_eq(facet_optimizer_update(f.optimizer, &update, &norm), FACET_ERROR_NONFINITE);
  cr_assert(strstr(facet_error_get()->message, "parameter bias"), "%s", facet_error_get()->message);
  cr_assert_eq(f.matrix[0], before);
  f.d_bias[1] = 0;
  facet_table_gradient(f.table)->rows[WIDTH + 1] = INFINITY;
  cr_assert_eq(facet_optimizer_update(f.optimizer, &update, &norm), FACET_ERROR_NONFINITE);
  cr_assert(strstr(facet_error_get()->message, "table table is inf in row 4, column 1"), "%s",
            facet_error_get()->message);
  teardown(&f);
}
