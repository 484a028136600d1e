/* info_nce: in-batch contrast. a, p [B, c, d], weight ω [B, c], valid [B], user int32 [B] (or none) → scalar.
 *
 *   ℓ_i,bb' = a_bi · p_b'i / τ,   P = softmax over b',   L = Σ ω_bi (logsumexp_b' ℓ_i,bb' − ℓ_i,bb) / Σ ω
 *   Δ_i,bb' = dL ω_bi/(τ Σ ω) (P_i,bb' − [b = b']),   da_bi += Σ_b' Δ_i,bb' p_b'i,   dp_b'i += Σ_b Δ_i,bb' a_bi
 *
 * b' runs over the valid rows, without other rows of the same user; b = b' always stays. L = 0 where Σ ω = 0.
 *
 * Valid rows are packed by channel, [c, n, d], so that garbage in others is never read and products have dense operands.
 * Tiles of ROWS × COLUMNS logits are all that exists of the matrix ("Breaking the memory barrier", arXiv 2410.17243):
 * forward keeps the running maximum and sum of each row over its tiles; backward computes each tile once more and adds
 * Δ p to the rows and Δᵀ a to the columns. Tiles of rows are dealt to at most GROUPS groups, each of which adds into a
 * dp of its own; these are added in order. Tiles and groups depend on n alone, so bits do not depend on threads.
 * Sums over rows and of the loss in double. saved: Σ ω, then maximum and 1/Σ exp of each row. */
#include <math.h>
#include <string.h>

#include "cpu/gemm.h"
#include "cpu/vector.h"
#include "facet/ops.h"

typedef struct facet_info_nce_params {
  double temperature;
} facet_info_nce_params;

enum { ROWS = 64, COLUMNS = 128, GROUPS = 8 };

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

static facet_status info_nce_shape(facet_op_rule *rule) {
  static const char *const role[] = {"a", "p", "weight", "valid", "user"};
  const facet_info_nce_params *params = rule->params;
  const facet_shape *a = &rule->in_shape[0];
  char text[64], text_a[64], text_expected[64];
  facet_shape_format(a, text_a, sizeof text_a);
  FACET_OP_CHECK(rule, a->rank == 3, "a is %s, expected [B, c, d]", text_a);
  const facet_shape sample = {1, {a->dim[0]}}, channel = {2, {a->dim[0], a->dim[1]}};
  const facet_shape expected[] = {*a, *a, channel, sample, sample};
  for (int i = 0; i < rule->n_inputs; i++) {
    FACET_OP_CHECK(rule, (rule->in_dtype[i] == FACET_DTYPE_INT32) == (i == 4), "%s is %s", role[i],
                   i == 4 ? "real, expected int32" : "int32, expected real");
    FACET_OP_CHECK(rule, facet_shape_equal(&rule->in_shape[i], &expected[i]), "%s is %s, expected %s for a %s", role[i],
                   facet_shape_format(&rule->in_shape[i], text, sizeof text),
                   facet_shape_format(&expected[i], text_expected, sizeof text_expected), text_a);
  }
  FACET_OP_CHECK(rule, isfinite(params->temperature) && params->temperature > 0,
                 "the temperature is %g, expected a positive number", params->temperature);
  size_t batch = (size_t)a->dim[0], rows = batch * (size_t)a->dim[1], elements = rows * (size_t)a->dim[2];
  rule->n_outputs = 1;
  rule->out_dtype[0] = FACET_DTYPE_REAL;
  rule->out_shape[0] = facet_shape_make(0);
  rule->saved_bytes = sizeof(double) + 2 * rows * sizeof(facet_real);
  rule->scratch_bytes =
      rows * sizeof(double) + ((3 + GROUPS) * elements + rows) * sizeof(facet_real) + 2 * batch * sizeof(int32_t);
  return FACET_OK;
}

static void info_nce_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_shape *a = &rule->in_shape[0];
  double logits = (double)(a->dim[0] * a->dim[0] * a->dim[1]), d = (double)a->dim[2];
  double elements = (double)facet_shape_elements(a);
  cost->forward_flops = logits * (2 * d + 22);
  cost->backward_flops = logits * (4 * d + 22);
  cost->forward_bytes = 2 * elements * sizeof(facet_real);
  cost->backward_bytes = 6 * elements * sizeof(facet_real);
}

/* ---- packed rows ------------------------------------------------------------------------------------------------- */

typedef struct info_nce_pack {
  int64_t batch, c, d;
  int64_t n;              /* valid rows */
  facet_real inverse_tau; /* 1/τ */
  double sum_weights;
  double *loss;           /* [c, n] of a row */
  facet_real *a, *p;      /* [c, n, d] */
  facet_real *da;         /* [c, n, d] */
  facet_real *dp;         /* [groups, c, n, d] */
  facet_real *weight;     /* [c, n] */
  int32_t *row, *user;    /* [n] of the batch; user NULL: all differ */
  facet_real *statistics; /* saved: [c, n, 2] maximum and 1/Σ exp */
} info_nce_pack;

static int64_t n_tiles(const info_nce_pack *w) {
  return (w->n + ROWS - 1) / ROWS;
}

static int64_t n_groups(const info_nce_pack *w) {
  return n_tiles(w) < GROUPS ? n_tiles(w) : GROUPS;
}

static info_nce_pack pack(const facet_op_call *call) {
  const facet_info_nce_params *params = call->params;
  const facet_real *a = call->in[0], *p = call->in[1], *weight = call->in[2], *valid = call->in[3];
  const int32_t *user = call->n_inputs > 4 ? call->in[4] : NULL;
  info_nce_pack w = {.batch = call->in_shape[0].dim[0], .c = call->in_shape[0].dim[1], .d = call->in_shape[0].dim[2]};
  const int64_t rows = w.batch * w.c, c = w.c, d = w.d;
  w.inverse_tau = (facet_real)(1 / params->temperature);
  w.loss = call->scratch;
  w.a = (facet_real *)(w.loss + rows);
  w.p = w.a + rows * d;
  w.da = w.p + rows * d;
  w.dp = w.da + rows * d;
  w.weight = w.dp + GROUPS * rows * d;
  w.row = (int32_t *)(w.weight + rows);
  w.user = user ? w.row + w.batch : NULL;
  w.statistics = (facet_real *)((double *)call->saved + 1);
  for (int64_t b = 0; b < w.batch; b++) {
    if (valid[b] == 0) continue;
    if (user) w.user[w.n] = user[b];
    w.row[w.n++] = (int32_t)b;
  }
  for (int64_t i = 0; i < c; i++)
    for (int64_t r = 0; r < w.n; r++) w.sum_weights += (double)(w.weight[i * w.n + r] = weight[w.row[r] * c + i]);
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < w.n; r++)
    for (int64_t i = 0; i < c; i++) {
      memcpy(w.a + (i * w.n + r) * d, a + (w.row[r] * c + i) * d, (size_t)d * sizeof *a);
      memcpy(w.p + (i * w.n + r) * d, p + (w.row[r] * c + i) * d, (size_t)d * sizeof *p);
    }
  return w;
}

/* ---- tiles ------------------------------------------------------------------------------------------------------- */

typedef struct info_nce_tile {
  int64_t channel, row, n_rows, column, n_columns;
  facet_real logit[ROWS * COLUMNS]; /* [n_rows, n_columns] */
} info_nce_tile;

/* The column of row r's own pair in the tile; −1 where it is in another tile. */
static int64_t own_column(const info_nce_tile *t, int64_t r) {
  int64_t j = t->row + r - t->column;
  return j >= 0 && j < t->n_columns ? j : -1;
}

static void mask_same_user(const info_nce_pack *w, info_nce_tile *t) {
  for (int64_t r = 0; r < t->n_rows; r++) {
    facet_real *x = t->logit + r * t->n_columns;
    const int32_t *other = w->user + t->column, user = w->user[t->row + r];
    int64_t own = own_column(t, r);
    facet_real kept = own >= 0 ? x[own] : 0;
    for (int64_t j = 0; j < t->n_columns; j++) x[j] = other[j] == user ? -(facet_real)INFINITY : x[j];
    if (own >= 0) x[own] = kept;
  }
}

/* Logits of `n_rows` rows from `row` on against the columns from `column` on. */
static facet_status compute_logits(const info_nce_pack *w, int64_t column, info_nce_tile *t) {
  t->column = column;
  t->n_columns = w->n - column < COLUMNS ? w->n - column : COLUMNS;
  FACET_TRY(facet_gemm(false, true, t->n_rows, t->n_columns, w->d, w->inverse_tau,
                       w->a + (t->channel * w->n + t->row) * w->d, w->d, w->p + (t->channel * w->n + column) * w->d,
                       w->d, 0, t->logit, t->n_columns));
  if (w->user) mask_same_user(w, t);
  return FACET_OK;
}

static void begin_rows(const info_nce_pack *w, int64_t channel, int64_t tile, info_nce_tile *t) {
  t->channel = channel;
  t->row = tile * ROWS;
  t->n_rows = w->n - t->row < ROWS ? w->n - t->row : ROWS;
}

/* An error belongs to the thread that met it: the first one is kept for the caller. */
static void keep_error(facet_status status, facet_error *first) {
  if (status == FACET_OK) return;
#pragma omp critical(facet_info_nce_error)
  if (first->status == FACET_OK) *first = *facet_error_get();
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* Maximum and sum of the rows of a tile of rows over all columns, and their losses. */
static facet_status forward_rows(const info_nce_pack *w, int64_t channel, int64_t tile) {
  const facet_vector *vector = facet_vector_get();
  facet_real largest[ROWS], own[ROWS];
  double sum[ROWS];
  info_nce_tile t;
  begin_rows(w, channel, tile, &t);
  for (int64_t r = 0; r < ROWS; r++) {
    largest[r] = -(facet_real)INFINITY;
    own[r] = 0;
    sum[r] = 0;
  }
  for (int64_t column = 0; column < w->n; column += COLUMNS) {
    FACET_TRY(compute_logits(w, column, &t));
    for (int64_t r = 0; r < t.n_rows; r++) {
      facet_real *x = t.logit + r * t.n_columns, top = vector->max(t.n_columns, x);
      int64_t j = own_column(&t, r);
      if (j >= 0) own[r] = x[j];
      if (top > largest[r]) {
        sum[r] *= exp((double)(largest[r] - top));
        largest[r] = top;
      }
      if (largest[r] == -(facet_real)INFINITY) continue; /* nothing but masked pairs so far */
      sum[r] += (double)vector->exp_sum(t.n_columns, largest[r], x, x);
    }
  }
  for (int64_t r = 0; r < t.n_rows; r++) {
    int64_t at = channel * w->n + t.row + r;
    w->loss[at] = (double)(largest[r] - own[r]) + log(sum[r]);
    w->statistics[2 * at] = largest[r];
    w->statistics[2 * at + 1] = (facet_real)(1 / sum[r]);
  }
  return FACET_OK;
}

static facet_status info_nce_forward(const facet_op_call *call) {
  const info_nce_pack w = pack(call);
  facet_real *loss = call->out[0];
  *(double *)call->saved = w.sum_weights;
  *loss = 0;
  if (w.sum_weights == 0) return FACET_OK;
  facet_error error = {0};
#pragma omp parallel for schedule(dynamic)
  for (int64_t task = 0; task < w.c * n_tiles(&w); task++)
    keep_error(forward_rows(&w, task / n_tiles(&w), task % n_tiles(&w)), &error);
  if (error.status != FACET_OK) return facet_error_restore(&error);
  double sum = 0;
  for (int64_t at = 0; at < w.c * w.n; at++)
    if (w.weight[at] != 0) sum += (double)w.weight[at] * w.loss[at];
  *loss = (facet_real)(sum / w.sum_weights);
  return FACET_OK;
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* Logits → Δ. */
static void derive_logits(const info_nce_pack *w, double factor, info_nce_tile *t) {
  const facet_vector *vector = facet_vector_get();
  for (int64_t r = 0; r < t->n_rows; r++) {
    int64_t at = t->channel * w->n + t->row + r, j = own_column(t, r);
    facet_real *x = t->logit + r * t->n_columns, scale = (facet_real)(factor * (double)w->weight[at]);
    vector->exp_sum(t->n_columns, w->statistics[2 * at], x, x);
    vector->scale(t->n_columns, scale * w->statistics[2 * at + 1], x);
    if (j >= 0) x[j] -= scale;
  }
}

/* One channel of one group: da of its rows, and its share of dp. factor = dL/(τ Σ ω). */
static facet_status backward_group(const info_nce_pack *w, double factor, int64_t channel, int64_t group) {
  const int64_t first = group * n_tiles(w) / n_groups(w), last = (group + 1) * n_tiles(w) / n_groups(w);
  const facet_real *p = w->p + channel * w->n * w->d;
  facet_real *dp = w->dp + (group * w->c + channel) * w->n * w->d;
  info_nce_tile t;
  memset(dp, 0, (size_t)(w->n * w->d) * sizeof *dp);
  for (int64_t tile = first; tile < last; tile++) {
    begin_rows(w, channel, tile, &t);
    const int64_t at = (channel * w->n + t.row) * w->d;
    for (int64_t column = 0; column < w->n; column += COLUMNS) {
      FACET_TRY(compute_logits(w, column, &t));
      derive_logits(w, factor, &t);
      FACET_TRY(facet_gemm(false, false, t.n_rows, w->d, t.n_columns, 1, t.logit, t.n_columns, p + column * w->d, w->d,
                           column > 0, w->da + at, w->d));
      FACET_TRY(facet_gemm(true, false, t.n_columns, w->d, t.n_rows, 1, t.logit, t.n_columns, w->a + at, w->d, 1,
                           dp + column * w->d, w->d));
    }
  }
  return FACET_OK;
}

/* Adds the packed gradients to those of the batch. */
static void unpack(const info_nce_pack *w, facet_real *da, facet_real *dp) {
  const facet_vector *vector = facet_vector_get();
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < w->n; r++)
    for (int64_t i = 0; i < w->c; i++) {
      int64_t from = (i * w->n + r) * w->d, to = (w->row[r] * w->c + i) * w->d;
      if (da) vector->axpy(w->d, 1, w->da + from, da + to);
      for (int64_t g = 0; dp && g < n_groups(w); g++)
        vector->axpy(w->d, 1, w->dp + g * w->c * w->n * w->d + from, dp + to);
    }
}

static facet_status info_nce_backward(const facet_op_call *call) {
  const facet_info_nce_params *params = call->params;
  if (*(const double *)call->saved == 0) return FACET_OK;
  const info_nce_pack w = pack(call);
  const double factor = (double)call->d_out[0][0] / (w.sum_weights * params->temperature);
  facet_error error = {0};
#pragma omp parallel for schedule(dynamic)
  for (int64_t task = 0; task < w.c * n_groups(&w); task++)
    keep_error(backward_group(&w, factor, task / n_groups(&w), task % n_groups(&w)), &error);
  if (error.status != FACET_OK) return facet_error_restore(&error);
  unpack(&w, call->d_in[0], call->d_in[1]);
  return FACET_OK;
}

const facet_op facet_op_info_nce = {.name = "info_nce",
                                    .params_bytes = sizeof(facet_info_nce_params),
                                    .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                    .shape = info_nce_shape,
                                    .cost = info_nce_cost,
                                    .forward = info_nce_forward,
                                    .backward = info_nce_backward};

facet_tensor *facet_info_nce(facet_graph *graph, const char *name, facet_tensor *a, facet_tensor *p,
                             facet_tensor *weight, facet_tensor *valid, facet_tensor *user, double temperature) {
  facet_info_nce_params params = {.temperature = temperature};
  facet_tensor *in[] = {a, p, weight, valid, user};
  for (int i = 2; i < 4; i++)
    if (in[i] && in[i]->needs_gradient)
      return facet_graph_fail(graph, FACET_ERROR_USAGE, "%s: %s needs a gradient; info_nce has one for a and p only",
                              name, in[i]->name);
  return facet_graph_node(graph, &facet_op_info_nce, name, in, user ? 5 : 4, &params, NULL);
}
