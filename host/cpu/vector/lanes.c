/* The lane kernels (cpu/lanes.h) but for the products, compiled once per instruction set. */
#include <tgmath.h>

#include "cpu/bf16/lanes.h"
#include "cpu/vector.h"
#include "cpu/vector/lanes_vector.h"

extern const facet_vector PASTE(facet_vector_, FACET_ISA);

INLINE wide *wide_at(facet_lanes x, int64_t row, int64_t at) {
  return (wide *)(x.at + row * x.stride + at);
}

/* ---- rows and lanes --------------------------------------------------------------------------------------------- */

static void lanes_load(int64_t d, const facet_real *const row[FACET_LANES], facet_lanes y) {
  for (int64_t f = 0; f < d; f++)
    for (int lane = 0; lane < FACET_LANES; lane++) y.at[f * y.stride + lane] = row[lane][f];
}

static void lanes_store(int64_t d, int64_t n_lanes, facet_lanes x, facet_real *const row[FACET_LANES]) {
  for (int64_t lane = 0; lane < n_lanes; lane++)
    for (int64_t f = 0; f < d; f++) row[lane][f] = x.at[f * x.stride + lane];
}

static void lanes_store_add(int64_t d, int64_t n_lanes, facet_real factor, facet_lanes x,
                            facet_real *const row[FACET_LANES]) {
  for (int64_t lane = 0; lane < n_lanes; lane++)
    for (int64_t f = 0; f < d; f++) row[lane][f] += factor * x.at[f * x.stride + lane];
}

/* ---- LayerNorm -------------------------------------------------------------------------------------------------- */

#ifdef __AVX512F__
enum { PANEL = 4 }; /* vectors that go through the features together */
#else
enum { PANEL = PARTS };
#endif
enum { PANEL_COLUMNS = PANEL / PARTS };

/* Where the shift of each vector of a panel stands in a feature's row. */
INLINE void shift_places(const int n, const facet_lanes_norm *s, int64_t at, int64_t place[PANEL]) {
  for (int v = 0; v < n; v++) place[v] = s->shift_step ? at + v * WIDE : (at + v * WIDE) % FACET_LANES;
}

INLINE wide gain(const facet_lanes_norm *s, int64_t f, wide normal, int64_t place) {
  wide y = s->gamma[f] * normal + s->beta[f];
  if (s->shift.at) y += *wide_at(s->shift, f, place);
  return y;
}

/* 1/√x */
INLINE wide inverse_root(wide x) {
  wide y = x;
  for (int i = 0; i < WIDE; i++) y[i] = (facet_real)1 / sqrt(x[i]);
  return y;
}

INLINE void norm_panel(const int n, const facet_lanes_norm *s, int64_t at) {
  wide mean[PANEL], scale[PANEL];
  int64_t place[PANEL];
  const facet_real share = (facet_real)1 / (facet_real)s->d;
  shift_places(n, s, at, place);
  UNROLL for (int v = 0; v < n; v++) mean[v] = scale[v] = broadcast(0);
  for (int64_t f = 0; f < s->d; f++) UNROLL for (int v = 0; v < n; v++) mean[v] += *wide_at(s->x, f, at + v * WIDE);
  UNROLL for (int v = 0; v < n; v++) mean[v] *= share;
  for (int64_t f = 0; f < s->d; f++) UNROLL for (int v = 0; v < n; v++) {
      const wide centred = *wide_at(s->x, f, at + v * WIDE) - mean[v];
      scale[v] += centred * centred;
    }
  UNROLL for (int v = 0; v < n; v++) scale[v] = inverse_root(scale[v] * share + s->eps);
  for (int64_t f = 0; f < s->d; f++) UNROLL for (int v = 0; v < n; v++) {
      const wide normal = (*wide_at(s->x, f, at + v * WIDE) - mean[v]) * scale[v];
      if (s->normal.at) *wide_at(s->normal, f, at + v * WIDE) = normal;
      *wide_at(s->y, f, at + v * WIDE) = gain(s, f, normal, place[v]);
    }
  if (s->inverse) UNROLL for (int v = 0; v < n; v++) * (wide *)(s->inverse + at + v * WIDE) = scale[v];
}

static void lanes_norm(const facet_lanes_norm *norm) {
  const facet_lanes_norm s = *norm; /* a copy, which no store of a vector can change */
  int64_t at = 0, last = s.columns * FACET_LANES;
  for (; at + PANEL * WIDE <= last; at += PANEL * WIDE) norm_panel(PANEL, &s, at);
  for (; at < last; at += WIDE) norm_panel(1, &s, at);
}

INLINE void affine_panel(const int n, const facet_lanes_norm *s, int64_t at) {
  int64_t place[PANEL];
  shift_places(n, s, at, place);
  for (int64_t f = 0; f < s->d; f++)
    UNROLL for (int v = 0; v < n; v++) * wide_at(s->y, f, at + v * WIDE) =
        gain(s, f, *wide_at(s->x, f, at + v * WIDE), place[v]);
}

static void lanes_affine(const facet_lanes_norm *norm) {
  const facet_lanes_norm s = *norm; /* a copy, which no store of a vector can change */
  int64_t at = 0, last = s.columns * FACET_LANES;
  for (; at + PANEL * WIDE <= last; at += PANEL * WIDE) affine_panel(PANEL, &s, at);
  for (; at < last; at += WIDE) affine_panel(1, &s, at);
}

/* Adds the sums of a panel's columns to out [FACET_LANES]. */
INLINE void add_columns(const int n, int64_t at, const wide x[PANEL], facet_real *out) {
  if (PANEL_COLUMNS > 1 && n == PANEL) { /* whole columns */
    wide total = x[0];
    UNROLL for (int v = 1; v < n; v++) total += x[v];
    *(wide *)out += total;
  } else {
    UNROLL for (int v = 0; v < n; v++) * (wide *)(out + (at + v * WIDE) % FACET_LANES) += x[v];
  }
}

INLINE void norm_backward_panel(const int n, const facet_lanes_norm_backward *s, int64_t at) {
  wide mean[PANEL], mean_normal[PANEL], inverse[PANEL];
  const facet_real share = (facet_real)1 / (facet_real)s->d;
  UNROLL for (int v = 0; v < n; v++) mean[v] = mean_normal[v] = broadcast(0);
  for (int64_t f = 0; f < s->d; f++) {
    const facet_real gamma = s->gamma[f];
    wide up[PANEL], up_normal[PANEL];
    UNROLL for (int v = 0; v < n; v++) {
      up[v] = *wide_at(s->dx, f, at + v * WIDE);
      up_normal[v] = up[v] * *wide_at(s->normal, f, at + v * WIDE);
      mean[v] += gamma * up[v];
      mean_normal[v] += gamma * up_normal[v];
    }
    add_columns(n, at, up, s->d_beta + f * FACET_LANES);
    add_columns(n, at, up_normal, s->d_gamma + f * FACET_LANES);
  }
  UNROLL for (int v = 0; v < n; v++) {
    inverse[v] = *(const wide *)(s->inverse + at + v * WIDE);
    mean[v] *= share * inverse[v], mean_normal[v] *= share * inverse[v];
  }
  for (int64_t f = 0; f < s->d; f++) {
    const facet_real gamma = s->gamma[f];
    UNROLL for (int v = 0; v < n; v++) {
      wide *dx = wide_at(s->dx, f, at + v * WIDE);
      const wide normal = *wide_at(s->normal, f, at + v * WIDE);
      *dx = gamma * inverse[v] * *dx - mean[v] - normal * mean_normal[v];
    }
  }
}

static void lanes_norm_backward(const facet_lanes_norm_backward *norm_backward) {
  const facet_lanes_norm_backward s = *norm_backward; /* a copy, which no store of a vector can change */
  int64_t at = 0, last = s.columns * FACET_LANES;
  for (; at + PANEL * WIDE <= last; at += PANEL * WIDE) norm_backward_panel(PANEL, &s, at);
  for (; at < last; at += WIDE) norm_backward_panel(1, &s, at);
}

/* ---- attention -------------------------------------------------------------------------------------------------- */

#ifdef __AVX512F__
enum { QUERY_TILE = 4, KEY_TILE = 4 };
#else
enum { QUERY_TILE = 2, KEY_TILE = 4 };
#endif

/* Weights of `outputs` × `inputs`: those of output j and input a at j·of_output + a·of_input columns. */
typedef struct weights {
  facet_real *at;
  int64_t outputs, inputs, of_output, of_input;
} weights;

INLINE wide *weight_at(const weights *p, int64_t j, int64_t a, int64_t part) {
  return (wide *)(p->at + (j * p->of_output + a * p->of_input) * FACET_LANES + part);
}

/* p[j, a] = scale Σ_f x[f][j] y[f][a] */
INLINE void score_tile(const int n_j, const int n_a, int64_t width, facet_real scale, facet_lanes x, facet_lanes y,
                       const weights *p, int64_t j, int64_t a, int64_t part) {
  wide sum[QUERY_TILE][KEY_TILE];
  UNROLL for (int i = 0; i < n_j; i++) UNROLL for (int k = 0; k < n_a; k++) sum[i][k] = broadcast(0);
  for (int64_t f = 0; f < width; f++) {
    wide key[KEY_TILE];
    UNROLL for (int k = 0; k < n_a; k++) key[k] = *wide_at(y, f, (a + k) * FACET_LANES + part);
    UNROLL for (int i = 0; i < n_j; i++) {
      const wide query = *wide_at(x, f, (j + i) * FACET_LANES + part);
      UNROLL for (int k = 0; k < n_a; k++) sum[i][k] += query * key[k];
    }
  }
  UNROLL for (int i = 0; i < n_j; i++) UNROLL for (int k = 0; k < n_a; k++) * weight_at(p, j + i, a + k, part) =
      scale * sum[i][k];
}

INLINE void score_queries(const int n_j, int64_t width, facet_real scale, facet_lanes x, facet_lanes y,
                          const weights *p, int64_t j, int64_t part) {
  int64_t a = 0;
  for (; a + KEY_TILE <= p->inputs; a += KEY_TILE) score_tile(n_j, KEY_TILE, width, scale, x, y, p, j, a, part);
  for (; a < p->inputs; a++) score_tile(n_j, 1, width, scale, x, y, p, j, a, part);
}

static void scores(int64_t width, facet_real scale, facet_lanes x, facet_lanes y, const weights *p) {
  for (int64_t part = 0; part < FACET_LANES; part += WIDE) {
    int64_t j = 0;
    for (; j + QUERY_TILE <= p->outputs; j += QUERY_TILE) score_queries(QUERY_TILE, width, scale, x, y, p, j, part);
    for (; j < p->outputs; j++) score_queries(1, width, scale, x, y, p, j, part);
  }
}

/* What a mix begins with: columns, or with step 0 one column for all; at = NULL: zeros. */
typedef struct start {
  facet_lanes x;
  int64_t step;
} start;
static const start nothing = {{0}, 0};

/* y[f][j] = start + Σ_a p[j, a] x[f][a] */
INLINE void mix_tile(const int n_j, const int n_a, start from, int64_t width, const weights *p, facet_lanes x,
                     facet_lanes y, int64_t j, int64_t a, int64_t part) {
  wide weight[QUERY_TILE][KEY_TILE];
  UNROLL for (int i = 0; i < n_j; i++) UNROLL for (int k = 0; k < n_a; k++) weight[i][k] =
      *weight_at(p, j + i, a + k, part);
  for (int64_t f = 0; f < width; f++) {
    wide in[KEY_TILE];
    UNROLL for (int k = 0; k < n_a; k++) in[k] = *wide_at(x, f, (a + k) * FACET_LANES + part);
    UNROLL for (int i = 0; i < n_j; i++) {
      wide sum = from.x.at ? *wide_at(from.x, f, (j + i) * from.step * FACET_LANES + part) : broadcast(0);
      UNROLL for (int k = 0; k < n_a; k++) sum += weight[i][k] * in[k];
      *wide_at(y, f, (j + i) * FACET_LANES + part) = sum;
    }
  }
}

INLINE void mix_outputs(const int n_j, start from, int64_t width, const weights *p, facet_lanes x, facet_lanes y,
                        int64_t j, int64_t part) {
  int64_t a = 0;
  for (; a + KEY_TILE <= p->inputs; a += KEY_TILE) {
    mix_tile(n_j, KEY_TILE, from, width, p, x, y, j, a, part);
    from = (start){y, 1};
  }
  for (; a < p->inputs; a++) {
    mix_tile(n_j, 1, from, width, p, x, y, j, a, part);
    from = (start){y, 1};
  }
}

static void mix(start from, int64_t width, const weights *p, facet_lanes x, facet_lanes y) {
  for (int64_t part = 0; part < FACET_LANES; part += WIDE) {
    int64_t j = 0;
    for (; j + QUERY_TILE <= p->outputs; j += QUERY_TILE) mix_outputs(QUERY_TILE, from, width, p, x, y, j, part);
    for (; j < p->outputs; j++) mix_outputs(1, from, width, p, x, y, j, part);
  }
}

/* Scores to probabilities: `rows` softmaxes over n columns. */
static void softmax(int64_t rows, int64_t n, facet_real *p) {
  for (int64_t row = 0; row < rows; row++)
    for (int64_t part = 0; part < FACET_LANES; part += WIDE) {
      facet_real *x = p + row * n * FACET_LANES + part;
      wide largest = *(wide *)x;
      for (int64_t a = 1; a < n; a++) {
        const wide score = *(wide *)(x + a * FACET_LANES);
        const mask_t above = score > largest;
        largest = (wide)((above & (mask_t)score) | (~above & (mask_t)largest));
      }
      for (int64_t a = 0; a < n; a++) *(wide *)(x + a * FACET_LANES) -= largest;
    }
  (PASTE(facet_vector_, FACET_ISA).exp)(rows * n * FACET_LANES, p, p); /* in brackets: not the macro of <tgmath.h> */
  for (int64_t row = 0; row < rows; row++)
    for (int64_t part = 0; part < FACET_LANES; part += WIDE) {
      facet_real *x = p + row * n * FACET_LANES + part;
      wide total = broadcast(0);
      for (int64_t a = 0; a < n; a++) total += *(wide *)(x + a * FACET_LANES);
      total = (facet_real)1 / total;
      for (int64_t a = 0; a < n; a++) *(wide *)(x + a * FACET_LANES) *= total;
    }
}

/* Probabilities' gradients to scores' gradients, in place: scale · p (dp − Σ p dp). */
static void softmax_backward(int64_t rows, int64_t n, facet_real scale, const facet_real *p, facet_real *dp) {
  for (int64_t row = 0; row < rows; row++)
    for (int64_t part = 0; part < FACET_LANES; part += WIDE) {
      const int64_t at = row * n * FACET_LANES + part;
      wide mean = broadcast(0);
      for (int64_t a = 0; a < n * FACET_LANES; a += FACET_LANES)
        mean += *(const wide *)(p + at + a) * *(const wide *)(dp + at + a);
      for (int64_t a = 0; a < n * FACET_LANES; a += FACET_LANES) {
        wide *dx = (wide *)(dp + at + a);
        *dx = scale * *(const wide *)(p + at + a) * (*dx - mean);
      }
    }
}

/* The features of head h of queries, and of keys or values. */
INLINE facet_lanes head(const facet_lanes_attention *s, facet_lanes x, int64_t h) {
  return (facet_lanes){x.at + h * s->width * x.stride, x.stride};
}
INLINE facet_lanes key_head(const facet_lanes_attention *s, facet_lanes x, int64_t h) {
  return s->shared_keys ? x : head(s, x, h);
}
INLINE weights head_weights(const facet_lanes_attention *s, facet_real *p, int64_t h) {
  return (weights){p + h * s->queries * s->keys * FACET_LANES, s->queries, s->keys, s->keys, 1};
}
INLINE weights transposed(weights p) {
  return (weights){p.at, p.inputs, p.outputs, p.of_input, p.of_output};
}

static void lanes_attend(const facet_lanes_attention *s) {
  for (int64_t h = 0; h < s->heads; h++) {
    const weights p = head_weights(s, s->p, h);
    scores(s->width, s->scale, head(s, s->q, h), key_head(s, s->k, h), &p);
  }
  softmax(s->heads * s->queries, s->keys, s->p);
  for (int64_t h = 0; h < s->heads; h++) {
    const weights p = head_weights(s, s->p, h);
    const start from = s->shift.at ? (start){head(s, s->shift, h), 0} : nothing;
    mix(from, s->width, &p, key_head(s, s->v, h), head(s, s->y, h));
  }
}

static void lanes_attend_backward(const facet_lanes_attention *s) {
  const int64_t width = s->width;
  for (int64_t h = 0; h < s->heads; h++) {
    const weights dp = head_weights(s, s->dp, h);
    scores(width, 1, head(s, s->y, h), key_head(s, s->v, h), &dp);
  }
  softmax_backward(s->heads * s->queries, s->keys, s->scale, s->p, s->dp);
  for (int64_t h = 0; h < s->heads; h++) {
    const weights dp = head_weights(s, s->dp, h), back = transposed(dp), p = transposed(head_weights(s, s->p, h));
    const facet_lanes dk = key_head(s, s->dk, h), dv = s->shared_keys ? dk : head(s, s->dv, h);
    mix(nothing, width, &dp, key_head(s, s->k, h), head(s, s->dq, h));
    mix(s->shared_keys && h > 0 ? (start){dk, 1} : nothing, width, &back, head(s, s->q, h), dk);
    mix(s->shared_keys ? (start){dv, 1} : nothing, width, &p, head(s, s->y, h), dv);
  }
}

/* ---- elementwise ------------------------------------------------------------------------------------------------ */

static void lanes_blend(int64_t d, int64_t columns, facet_real a, facet_lanes x, facet_real b, facet_lanes y) {
  for (int64_t f = 0; f < d; f++)
    for (int64_t at = 0; at < columns * FACET_LANES; at += WIDE) {
      wide sum = a * *wide_at(x, f, at);
      if (b != 0) sum += b * *wide_at(y, f, at);
      *wide_at(y, f, at) = sum;
    }
}

static void lanes_sum(int64_t d, int64_t columns, facet_lanes x, facet_lanes out) {
  for (int64_t f = 0; f < d; f++)
    for (int64_t part = 0; part < FACET_LANES; part += WIDE) {
      wide total = *wide_at(out, f, part);
      for (int64_t j = 0; j < columns; j++) total += *wide_at(x, f, j * FACET_LANES + part);
      *wide_at(out, f, part) = total;
    }
}

static void lanes_spread(int64_t d, int64_t columns, int64_t own, facet_lanes x, facet_lanes x_own, facet_lanes shift,
                         facet_lanes y) {
  for (int64_t f = 0; f < d; f++)
    for (int64_t part = 0; part < FACET_LANES; part += WIDE) {
      const wide add = shift.at ? *wide_at(shift, f, part) : broadcast(0);
      for (int64_t at = part; at < columns * FACET_LANES; at += FACET_LANES)
        *wide_at(y, f, at) = *wide_at(x, f, at) + add;
      *wide_at(y, f, own * FACET_LANES + part) = *wide_at(x_own, f, part) + add;
    }
}

static void lanes_spread_backward(int64_t d, int64_t columns, int64_t own, facet_lanes dy, facet_lanes dx,
                                  facet_lanes dx_own, facet_lanes d_shift) {
  for (int64_t f = 0; f < d; f++)
    for (int64_t part = 0; part < FACET_LANES; part += WIDE) {
      const int64_t own_at = own * FACET_LANES + part;
      wide total = broadcast(0);
      for (int64_t at = part; at < columns * FACET_LANES; at += FACET_LANES) {
        const wide up = *wide_at(dy, f, at);
        total += up;
        if (at != own_at) *wide_at(dx, f, at) += up;
      }
      *wide_at(dx_own, f, part) = *wide_at(dy, f, own_at);
      if (d_shift.at) *wide_at(d_shift, f, part) += total;
    }
}

#define KERNELS(product_, round_, pack_, gradient_, ...)                                                               \
  {                                                                                                                    \
    .load = lanes_load, .store = lanes_store, .store_add = lanes_store_add, .product = product_, .round = round_,      \
    .pack = pack_, .gradient = gradient_, .norm = lanes_norm, .norm_backward = lanes_norm_backward,                    \
    .affine = lanes_affine, .attend = lanes_attend, .attend_backward = lanes_attend_backward, .blend = lanes_blend,    \
    .sum = lanes_sum, .spread = lanes_spread, .spread_backward = lanes_spread_backward, __VA_ARGS__                    \
  }

extern const facet_lane_kernels LANES(kernels);
const facet_lane_kernels LANES(kernels) = KERNELS(LANES(product), NULL, LANES(pack), LANES(gradient));

#if defined __AVX512F__ && !defined FACET_DOUBLE /* with the products of cpu/bf16 */
extern const facet_lane_kernels facet_lanes_kernels_bf16;
const facet_lane_kernels facet_lanes_kernels_bf16 =
    KERNELS(facet_lanes_product_bf16, facet_lanes_round_bf16, facet_lanes_pack_bf16, facet_lanes_gradient_bf16);
extern const facet_lane_kernels facet_lanes_kernels_amx;
const facet_lane_kernels facet_lanes_kernels_amx =
    KERNELS(facet_lanes_product_amx, facet_lanes_round_bf16, facet_lanes_pack_bf16, facet_lanes_gradient_amx,
            .begin = facet_lanes_begin_amx, .end = facet_lanes_end_amx);
#endif
