/* route_behaviours: e [B, L, d], o [B, c, d], length [B] → r [B, c, d], n_selected [B, c], statistics [B, 2].
 *
 * S_tj = e_t · o_j. M_tj = 1 where j is the channel of t's largest S_tj (the first on ties) and S_tj is among the k
 * largest of channel j (ties: lower index). With a = S, relu(S) or 1, a' its derivative, and g_j = dr_j:
 *
 *   r_j = (1/D_j) Σ_t M_tj a_tj e_t
 *   de_t += (M_tj/D_j) (a_tj g_j + a'_tj u_tj o_j),   do_j += Σ_t (M_tj/D_j) a'_tj u_tj e_t,   u_tj = g_j · e_t
 *
 * M and D are constants. Straight-through, in addition, takes M's first factor as π_t = softmax(S_t/τ): with
 * q_tj = (M2_tj/D_j) a_tj u_tj (M2: the k largest; 0 for channels without behaviours)
 *
 *   dS_tj = π_tj (q_tj − Σ_k π_tk q_tk)/τ,   de_t += Σ_j dS_tj o_j,   do_j += Σ_t dS_tj e_t
 *
 * Without the mask, slots beyond the length are behaviours of zeros: they are scored and counted, and have no gradient.
 *
 * Bytes: forward reads the n·d numbers of a history once and the selected rows a second time, from cache; backward
 * reads the selected rows and adds to them, or writes every row once. The floor is the first reading, 4·n·d bytes a
 * sample. Nothing of size L·c·d exists; the scores, L·c, stay in scratch memory. saved: scores, indices and channels of
 * the selected behaviours, at most min(L, c·k). */
#include <math.h>
#include <string.h>

#include "cpu/select.h"
#include "cpu/vector.h"
#include "facet/ops.h"
#include "ops/length.h"

enum { OUT_R, OUT_SELECTED, OUT_STATISTICS, N_BLOCKS = 64, LINE = 64, MILLION = 1000000 };

/* ---- shape and cost --------------------------------------------------------------------------------------------- */

/* k of a history with n behaviours that count. */
static int64_t largest_kept(const facet_route_options *options, int64_t n) {
  int64_t k = options->top_k;
  if (options->mode == FACET_TOP_K_FRACTION) {
    int64_t share = (n * options->top_ppm + MILLION - 1) / MILLION; /* in integers: floats misround at many lengths */
    k = share > k ? share : k;
  }
  return k < n ? k : n;
}

/* Behaviours that a sample selects at most. */
static int64_t capacity_of(const facet_route_options *options, int64_t slots, int64_t c) {
  int64_t k = largest_kept(options, slots);
  return k * c < slots ? k * c : slots;
}

typedef struct route_sizes {
  int64_t batch, slots, c, d, capacity;
} route_sizes;

static route_sizes sizes_of(const facet_route_options *options, const facet_shape *e, const facet_shape *o) {
  return (route_sizes){
      .batch = e->dim[0],
      .slots = e->dim[1],
      .c = o->dim[1],
      .d = e->dim[2],
      .capacity = capacity_of(options, e->dim[1], o->dim[1]),
  };
}

/* Working memory of one block of samples. */
typedef struct route_scratch {
  facet_real *score;     /* [c, L] */
  facet_real *best;      /* [L]: the largest of a behaviour */
  facet_real *direction; /* [⌈c/8⌉, d, 8]: o, transposed for facet_vector.project */
  facet_real *factor;    /* [2, capacity] */
  facet_real *softmax;   /* [2, c]: π, q */
  facet_key *key, *rest; /* [L] */
  int32_t *channel;      /* [L] */
  int32_t *selected;     /* [L] */
  facet_cut *cut;        /* [c] */
} route_scratch;

/* Lays the parts out from `memory` on (NULL: only to count); returns the bytes. */
static size_t lay_out(const route_sizes *s, char *memory, route_scratch *scratch) {
  size_t bytes = 0;
#define PART(field, n)                                                                                                 \
  do {                                                                                                                 \
    scratch->field = (void *)((uintptr_t)memory + bytes);                                                              \
    bytes += ((size_t)(n) * sizeof *scratch->field + LINE - 1) / LINE * LINE;                                          \
  } while (0)
  PART(score, s->c * s->slots);
  PART(best, s->slots);
  PART(direction, (s->c + FACET_VECTOR_COLUMNS - 1) / FACET_VECTOR_COLUMNS * FACET_VECTOR_COLUMNS * s->d);
  PART(factor, 2 * s->capacity);
  PART(softmax, 2 * s->c);
  PART(key, s->slots);
  PART(rest, s->slots);
  PART(channel, s->slots);
  PART(selected, s->slots);
  PART(cut, s->c);
#undef PART
  return bytes;
}

/* From forward to backward. */
typedef struct route_saved {
  facet_real *score;        /* [B, capacity] S of the selected behaviours */
  facet_real *inverse;      /* [B, c] 1/D; 0 for empty channels */
  int32_t *index, *channel; /* [B, capacity] slots, ascending, and where they go */
  int32_t *n;               /* [B] */
} route_saved;

static size_t saved_bytes(const route_sizes *s) {
  return (size_t)s->batch *
         ((size_t)(s->capacity + s->c) * sizeof(facet_real) + (size_t)(2 * s->capacity + 1) * sizeof(int32_t));
}

/* The part of sample b. */
static route_saved saved_of(const route_sizes *s, void *memory, int64_t b) {
  const int64_t at = b * s->capacity, all = s->batch * s->capacity;
  facet_real *score = memory, *inverse = score + all;
  int32_t *index = (int32_t *)(void *)(inverse + s->batch * s->c), *channel = index + all, *n = channel + all;
  return (route_saved){score + at, inverse + b * s->c, index + at, channel + at, n + b};
}

static facet_route_rows rows_of(const route_sizes *s, const facet_real *e, const route_saved *saved) {
  return (facet_route_rows){.n = *saved->n, .width = s->d, .index = saved->index, .channel = saved->channel, .x = e};
}

static facet_status check_options(const facet_op_rule *rule) {
  const facet_route_options *options = rule->params;
  FACET_OP_CHECK(rule, options->mode == FACET_TOP_K_FRACTION || options->mode == FACET_TOP_K_ABSOLUTE,
                 "mode %d, expected fraction or absolute", options->mode);
  FACET_OP_CHECK(rule, options->scope == FACET_TOP_K_ALL || options->scope == FACET_TOP_K_ROUTED,
                 "scope %d, expected all or routed", options->scope);
  FACET_OP_CHECK(rule, options->weight >= FACET_ROUTE_SIMILARITY && options->weight <= FACET_ROUTE_ONE,
                 "weight %d, expected similarity, relu or one", options->weight);
  FACET_OP_CHECK(rule, options->denominator == FACET_ROUTE_SELECTED || options->denominator == FACET_ROUTE_LENGTH,
                 "denominator %d, expected selected or length", options->denominator);
  FACET_OP_CHECK(rule, options->top_k >= 1, "top_k is %lld, expected at least 1", (long long)options->top_k);
  FACET_OP_CHECK(rule, options->top_ppm >= 0 && options->top_ppm <= MILLION, "top_ppm is %lld, expected 0 to 1000000",
                 (long long)options->top_ppm);
  FACET_OP_CHECK(rule, options->straight_through >= 0 && isfinite(options->straight_through),
                 "straight_through is %g, expected a temperature, or 0 for none", options->straight_through);
  return FACET_OK;
}

static facet_status route_behaviours_shape(facet_op_rule *rule) {
  const facet_shape *e = &rule->in_shape[0], *o = &rule->in_shape[1];
  char text_e[64], text[64];
  facet_shape_format(e, text_e, sizeof text_e);
  FACET_OP_CHECK(rule, e->rank == 3 && rule->in_dtype[0] == FACET_DTYPE_REAL, "e is %s, expected real [B, L, d]",
                 text_e);
  FACET_OP_CHECK(
      rule, o->rank == 3 && o->dim[0] == e->dim[0] && o->dim[2] == e->dim[2] && rule->in_dtype[1] == FACET_DTYPE_REAL,
      "o is %s, expected real [B, c, d] for e %s", facet_shape_format(o, text, sizeof text), text_e);
  FACET_TRY(facet_length_check(rule, 2, 0, "e"));
  FACET_TRY(check_options(rule));
  route_sizes s = sizes_of(rule->params, e, o);
  rule->n_outputs = 3;
  for (int i = 0; i < 3; i++) rule->out_dtype[i] = FACET_DTYPE_REAL;
  rule->out_shape[OUT_R] = *o;
  rule->out_shape[OUT_SELECTED] = facet_shape_make(2, s.batch, s.c);
  rule->out_shape[OUT_STATISTICS] = facet_shape_make(2, s.batch, (int64_t)2);
  rule->saved_bytes = saved_bytes(&s);
  rule->scratch_bytes = N_BLOCKS * lay_out(&s, NULL, &(route_scratch){0});
  return FACET_OK;
}

static void route_behaviours_cost(const facet_op_rule *rule, facet_cost *cost) {
  route_sizes s = sizes_of(rule->params, &rule->in_shape[0], &rule->in_shape[1]);
  double batch = (double)s.batch, selected = batch * (double)(s.capacity * s.d), all = batch * (double)(s.slots * s.d);
  cost->forward_flops = 2 * all * (double)s.c + 2 * selected;
  cost->backward_flops = 8 * selected;
  cost->forward_bytes = (all + 2 * batch * (double)(s.c * s.d)) * sizeof(facet_real);
  cost->backward_bytes = (3 * selected + 4 * batch * (double)(s.c * s.d)) * sizeof(facet_real);
}

/* ---- selection -------------------------------------------------------------------------------------------------- */

typedef struct route_sample {
  const facet_real *e, *o; /* [L, d], [c, d] */
  int64_t n, n_counted;    /* behaviours; slots that count, of which those from n on are zeros */
} route_sample;

static route_sample sample_of(const facet_op_call *call, const route_sizes *s, int64_t b) {
  const facet_route_options *options = call->params;
  const int64_t n = facet_length_clamp(((const int32_t *)call->in[2])[b], s->slots);
  return (route_sample){.e = (const facet_real *)call->in[0] + b * s->slots * s->d,
                        .o = (const facet_real *)call->in[1] + b * s->c * s->d,
                        .n = n,
                        .n_counted = options->use_mask ? n : s->slots};
}

static void score_behaviours(const route_sizes *s, const route_sample *x, route_scratch *w) {
  const facet_vector *vector = facet_vector_get();
  for (int64_t j = 0; j < s->c; j += FACET_VECTOR_COLUMNS) {
    int64_t n_columns = s->c - j < FACET_VECTOR_COLUMNS ? s->c - j : FACET_VECTOR_COLUMNS;
    facet_real *direction = w->direction + j * s->d;
    for (int64_t k = 0; k < s->d; k++)
      for (int64_t i = 0; i < FACET_VECTOR_COLUMNS; i++)
        direction[k * FACET_VECTOR_COLUMNS + i] = i < n_columns ? x->o[(j + i) * s->d + k] : 0;
    vector->project(x->n, s->d, n_columns, x->e, direction, s->slots, w->score + j * s->slots);
  }
  for (int64_t j = 0; j < s->c; j++)
    memset(w->score + j * s->slots + x->n, 0, (size_t)(x->n_counted - x->n) * sizeof *w->score);
}

/* Without branches, which would be mispredicted half the time; restrict lets the compiler make vectors of it. */
static void take_larger(int64_t n, int32_t j, const facet_real *restrict score, facet_real *restrict best,
                        int32_t *restrict channel) {
  for (int64_t t = 0; t < n; t++) channel[t] = score[t] > best[t] ? j : channel[t];
  for (int64_t t = 0; t < n; t++) best[t] = score[t] > best[t] ? score[t] : best[t];
}

static void assign_channels(const route_sizes *s, const route_sample *x, route_scratch *w) {
  memcpy(w->best, w->score, (size_t)x->n_counted * sizeof *w->best);
  memset(w->channel, 0, (size_t)x->n_counted * sizeof *w->channel);
  for (int64_t j = 1; j < s->c; j++)
    take_larger(x->n_counted, (int32_t)j, w->score + j * s->slots, w->best, w->channel);
}

/* The cut of channel j's k largest scores. */
static facet_cut cut_channel(const route_sizes *s, const facet_route_options *options, const route_sample *x, int64_t j,
                             route_scratch *w) {
  const facet_real *score = w->score + j * s->slots;
  bool routed = options->scope == FACET_TOP_K_ROUTED;
  int64_t k = largest_kept(options, x->n_counted), n = routed ? 0 : x->n_counted;
  for (int64_t t = 0; routed && t < x->n_counted; t++) n += w->channel[t] == j;
  if (k >= n) return (facet_cut){.threshold = FACET_KEY_NONE};
  for (int64_t t = 0; t < x->n_counted; t++) w->key[t] = facet_key_of(score[t]);
  for (int64_t t = 0; routed && t < x->n_counted; t++)
    if (w->channel[t] != j) w->key[t] = FACET_KEY_NONE;
  return facet_select_largest(x->n_counted, w->key, k, w->rest);
}

/* Scores, channels and cuts of one sample. */
static void route_sample_channels(const route_sizes *s, const facet_route_options *options, const route_sample *x,
                                  route_scratch *w) {
  score_behaviours(s, x, w);
  assign_channels(s, x, w);
  for (int64_t j = 0; j < s->c; j++) w->cut[j] = cut_channel(s, options, x, j, w);
}

static bool is_among_largest(const route_sizes *s, const route_scratch *w, int64_t t, int64_t j) {
  return facet_cut_holds(w->cut[j], facet_key_of(w->score[j * s->slots + t]), t);
}

/* Whether behaviour t is selected, by its channel: its score there is its best one. */
static bool is_selected(const route_scratch *w, int64_t t) {
  return facet_cut_holds(w->cut[w->channel[t]], facet_key_of(w->best[t]), t);
}

/* Counts the selected rows and lists those that are behaviours, without a branch, which would often be mispredicted. */
static void list_selected(const route_sizes *s, const route_sample *x, const route_scratch *w, const route_saved *saved,
                          facet_real *n_selected) {
  int32_t n = 0;
  for (int64_t t = 0; t < x->n; t++) {
    w->selected[n] = (int32_t)t;
    n += is_selected(w, t);
  }
  for (int64_t j = 0; j < s->c; j++) n_selected[j] = 0;
  for (int32_t i = 0; i < n; i++) {
    const int32_t t = w->selected[i];
    saved->index[i] = t;
    saved->channel[i] = w->channel[t];
    saved->score[i] = w->best[t];
    n_selected[w->channel[t]] += 1;
  }
  for (int64_t t = x->n; t < x->n_counted; t++) n_selected[w->channel[t]] += is_selected(w, t) ? 1 : 0;
  *saved->n = n;
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

/* a of a similarity, and a'. */
static facet_real weight_of(const facet_route_options *options, facet_real score) {
  if (options->weight == FACET_ROUTE_ONE) return 1;
  return options->weight == FACET_ROUTE_RELU && score < 0 ? 0 : score;
}
static facet_real weight_slope(const facet_route_options *options, facet_real score) {
  if (options->weight == FACET_ROUTE_ONE) return 0;
  return options->weight == FACET_ROUTE_RELU && score <= 0 ? 0 : 1;
}

static void aggregate(const route_sizes *s, const facet_route_options *options, const route_sample *x,
                      const route_scratch *w, const route_saved *saved, const facet_real *n_selected, facet_real *r) {
  const facet_vector *vector = facet_vector_get();
  const facet_route_rows rows = rows_of(s, x->e, saved);
  memset(r, 0, (size_t)(s->c * s->d) * sizeof *r);
  for (int64_t i = 0; i < rows.n; i++) w->factor[i] = weight_of(options, saved->score[i]);
  vector->route->sum(&rows, w->factor, r);
  for (int64_t j = 0; j < s->c; j++) {
    facet_real denominator = options->denominator == FACET_ROUTE_LENGTH ? (facet_real)s->slots : n_selected[j];
    saved->inverse[j] = n_selected[j] > 0 ? 1 / denominator : 0;
    vector->scale(s->d, saved->inverse[j], r + j * s->d);
  }
}

/* The share of empty channels; the entropy of the selected over the channels. */
static void describe(int64_t c, const facet_real *n_selected, facet_real *statistics) {
  double n_empty = 0, sum = 0, entropy = 0;
  for (int64_t j = 0; j < c; j++) {
    n_empty += n_selected[j] == 0;
    sum += (double)n_selected[j];
  }
  for (int64_t j = 0; j < c; j++)
    if (n_selected[j] > 0) entropy -= (double)n_selected[j] / sum * log((double)n_selected[j] / sum);
  statistics[0] = (facet_real)(n_empty / (double)c);
  statistics[1] = (facet_real)entropy;
}

static route_scratch scratch_of(const facet_op_call *call, const route_sizes *s, int64_t block) {
  route_scratch scratch;
  size_t bytes = lay_out(s, NULL, &scratch);
  lay_out(s, (char *)call->scratch + (size_t)block * bytes, &scratch);
  return scratch;
}

static facet_status route_behaviours_forward(const facet_op_call *call) {
  const facet_route_options *options = call->params;
  route_sizes s = sizes_of(options, &call->in_shape[0], &call->in_shape[1]);
#pragma omp parallel for schedule(dynamic)
  for (int64_t block = 0; block < N_BLOCKS; block++) {
    route_scratch w = scratch_of(call, &s, block);
    for (int64_t b = block * s.batch / N_BLOCKS; b < (block + 1) * s.batch / N_BLOCKS; b++) {
      route_sample x = sample_of(call, &s, b);
      route_saved saved = saved_of(&s, call->saved, b);
      facet_real *n_selected = (facet_real *)call->out[OUT_SELECTED] + b * s.c;
      route_sample_channels(&s, options, &x, &w);
      list_selected(&s, &x, &w, &saved, n_selected);
      aggregate(&s, options, &x, &w, &saved, n_selected, (facet_real *)call->out[OUT_R] + b * s.c * s.d);
      describe(s.c, n_selected, (facet_real *)call->out[OUT_STATISTICS] + 2 * b);
    }
  }
  return FACET_OK;
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

typedef struct route_gradients { /* of one sample */
  const facet_real *g;           /* [c, d] */
  facet_real *de, *d_o;          /* [L, d], [c, d]; NULL: not wanted */
  bool store;                    /* de holds nothing yet */
} route_gradients;

static void add_selected(const route_sizes *s, const facet_route_options *options, const route_sample *x,
                         const route_scratch *w, const route_saved *saved, const route_gradients *gradients) {
  const facet_route_rows rows = rows_of(s, x->e, saved);
  facet_real *along = w->factor, *across = along + s->capacity;
  for (int64_t i = 0; i < rows.n; i++) {
    const facet_real inverse = saved->inverse[rows.channel[i]];
    along[i] = inverse * weight_slope(options, saved->score[i]);
    across[i] = inverse * weight_of(options, saved->score[i]);
  }
  const facet_route_back back = {.along = along,
                                 .across = across,
                                 .g = gradients->g,
                                 .o = x->o,
                                 .slots = s->slots,
                                 .store = gradients->store,
                                 .dx = gradients->de,
                                 .d_o = options->weight == FACET_ROUTE_ONE ? NULL : gradients->d_o};
  facet_vector_get()->route->back(&rows, &back);
}

/* dS of behaviour t in w->softmax[0 … c − 1]; false where it is 0. */
static bool straight_through_scores(const route_sizes *s, const facet_route_options *options, const route_sample *x,
                                    const route_scratch *w, const route_saved *saved, const facet_real *g, int64_t t) {
  const facet_vector *vector = facet_vector_get();
  const facet_real temperature = (facet_real)options->straight_through, *e = x->e + t * s->d;
  facet_real *pi = w->softmax, *q = pi + s->c, sum = 0, mean = 0;
  bool any = false;
  for (int64_t j = 0; j < s->c; j++) {
    facet_real score = w->score[j * s->slots + t];
    bool candidate = options->scope == FACET_TOP_K_ALL || w->channel[t] == j;
    bool kept = candidate && is_among_largest(s, w, t, j);
    q[j] = kept ? saved->inverse[j] * weight_of(options, score) * vector->dot(s->d, g + j * s->d, e) : 0;
    pi[j] = (score - w->best[t]) / temperature;
    any = any || kept;
  }
  if (!any) return false;
  vector->exp(s->c, pi, pi);
  for (int64_t j = 0; j < s->c; j++) sum += pi[j];
  for (int64_t j = 0; j < s->c; j++) mean += pi[j] / sum * q[j];
  for (int64_t j = 0; j < s->c; j++) pi[j] *= (q[j] - mean) / (sum * temperature);
  return true;
}

static void add_straight_through(const route_sizes *s, const facet_route_options *options, const route_sample *x,
                                 route_scratch *w, const route_saved *saved, const route_gradients *gradients) {
  const facet_vector *vector = facet_vector_get();
  route_sample_channels(s, options, x, w);
  for (int64_t t = 0; t < x->n; t++) {
    if (!straight_through_scores(s, options, x, w, saved, gradients->g, t)) continue;
    for (int64_t j = 0; j < s->c; j++) {
      if (gradients->de) vector->axpy(s->d, w->softmax[j], x->o + j * s->d, gradients->de + t * s->d);
      if (gradients->d_o) vector->axpy(s->d, w->softmax[j], x->e + t * s->d, gradients->d_o + j * s->d);
    }
  }
}

static facet_status route_behaviours_backward(const facet_op_call *call) {
  const facet_route_options *options = call->params;
  route_sizes s = sizes_of(options, &call->in_shape[0], &call->in_shape[1]);
#pragma omp parallel for schedule(dynamic)
  for (int64_t block = 0; block < N_BLOCKS; block++) {
    route_scratch w = scratch_of(call, &s, block);
    for (int64_t b = block * s.batch / N_BLOCKS; b < (block + 1) * s.batch / N_BLOCKS; b++) {
      route_sample x = sample_of(call, &s, b);
      route_saved saved = saved_of(&s, call->saved, b);
      route_gradients gradients = {.g = call->d_out[OUT_R] + b * s.c * s.d,
                                   .de = call->d_in[0] ? call->d_in[0] + b * s.slots * s.d : NULL,
                                   .d_o = call->d_in[1] ? call->d_in[1] + b * s.c * s.d : NULL,
                                   .store = call->store[0]};
      if (gradients.d_o && call->store[1]) memset(gradients.d_o, 0, (size_t)(s.c * s.d) * sizeof *gradients.d_o);
      add_selected(&s, options, &x, &w, &saved, &gradients);
      if (options->straight_through > 0) add_straight_through(&s, options, &x, &w, &saved, &gradients);
    }
  }
  return FACET_OK;
}

/* ---- the operator ----------------------------------------------------------------------------------------------- */

const facet_op facet_op_route_behaviours = {.name = "route_behaviours",
                                            .params_bytes = sizeof(facet_route_options),
                                            .backward_reads = FACET_BACKWARD_READS_INPUTS,
                                            .backward_stores = true,
                                            .shape = route_behaviours_shape,
                                            .cost = route_behaviours_cost,
                                            .forward = route_behaviours_forward,
                                            .backward = route_behaviours_backward};

facet_tensor *facet_route_behaviours(facet_graph *graph, const char *name, facet_tensor *e, facet_tensor *o,
                                     facet_tensor *length, const facet_route_options *options,
                                     facet_tensor **n_selected, facet_tensor **statistics) {
  facet_tensor *out[FACET_OP_MAX_OUTPUTS] = {0};
  facet_tensor *r =
      facet_graph_node(graph, &facet_op_route_behaviours, name, (facet_tensor *[]){e, o, length}, 3, options, out);
  if (r) out[OUT_SELECTED]->needs_gradient = out[OUT_STATISTICS]->needs_gradient = false;
  if (n_selected) *n_selected = out[OUT_SELECTED];
  if (statistics) *statistics = out[OUT_STATISTICS];
  return r;
}
