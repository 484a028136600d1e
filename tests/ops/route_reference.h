/* The routing of one sample in double, one line per formula, with no regard to speed: what route_behaviours is compared
 * with.
 *
 *   S = E Qᵀ;  k*(t) = argmax_j S_tj, first index on ties;  M1_tj = 1[j = k*(t)]
 *   M2_tj = 1 if S_tj is among the k largest of channel j, over all positions or over those routed to j
 *   M = M1 ⊙ M2 ⊙ m;   r_j = (1/D_j) Σ_t M_tj a_tj E_t
 */
#ifndef TESTS_OPS_ROUTE_REFERENCE_H
#define TESTS_OPS_ROUTE_REFERENCE_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "facet/ops.h"

enum { REFERENCE_MAX = 64 * 1024 };

typedef struct route_reference {
  int64_t slots, c, d, n; /* L, channels, width, valid behaviours */
  facet_route_options options;
  const double *e, *o; /* [L, d], [c, d]; e is not read beyond n */
  double r[REFERENCE_MAX / 16], n_selected[64], statistics[2];
  double score[REFERENCE_MAX], m1[REFERENCE_MAX], m2[REFERENCE_MAX], denominator[64];
  double de[REFERENCE_MAX], d_o[REFERENCE_MAX / 16];
} route_reference;

static inline double reference_e(const route_reference *x, int64_t t, int64_t k) {
  return t < x->n ? x->e[t * x->d + k] : 0;
}
static inline bool reference_counts(const route_reference *x, int64_t t) {
  return x->options.use_mask ? t < x->n : true;
}
static inline double reference_a(const route_reference *x, double s) {
  return x->options.weight == FACET_ROUTE_ONE ? 1 : x->options.weight == FACET_ROUTE_RELU ? fmax(s, 0) : s;
}
static inline double reference_slope(const route_reference *x, double s) {
  return x->options.weight == FACET_ROUTE_ONE ? 0 : x->options.weight == FACET_ROUTE_RELU ? s > 0 : 1;
}

/* M2_tj by counting what stands before S_tj. */
static inline double reference_top(const route_reference *x, int64_t t, int64_t j) {
  const int64_t c = x->c;
  int64_t n_counted = 0, before = 0;
  if (x->options.scope == FACET_TOP_K_ROUTED && x->m1[t * c + j] == 0) return 0;
  for (int64_t u = 0; u < x->slots; u++) {
    if (!reference_counts(x, u)) continue;
    n_counted++;
    if (x->options.scope == FACET_TOP_K_ROUTED && x->m1[u * c + j] == 0) continue;
    before += x->score[u * c + j] > x->score[t * c + j] || (x->score[u * c + j] == x->score[t * c + j] && u < t);
  }
  int64_t k = x->options.top_k;
  if (x->options.mode == FACET_TOP_K_FRACTION) {
    int64_t share = n_counted * x->options.top_ppm / 1000000 + (n_counted * x->options.top_ppm % 1000000 != 0);
    if (share > k) k = share;
  }
  return before < k;
}

static inline void reference_forward(route_reference *x) {
  const int64_t c = x->c, d = x->d;
  memset(x->score, 0, sizeof x->score);
  memset(x->m1, 0, sizeof x->m1);
  memset(x->m2, 0, sizeof x->m2);
  memset(x->r, 0, sizeof x->r);
  for (int64_t t = 0; t < x->slots; t++) {
    if (!reference_counts(x, t)) continue;
    for (int64_t j = 0; j < c; j++)
      for (int64_t k = 0; k < d; k++) x->score[t * c + j] += reference_e(x, t, k) * x->o[j * d + k];
    int64_t best = 0;
    for (int64_t j = 1; j < c; j++)
      if (x->score[t * c + j] > x->score[t * c + best]) best = j;
    x->m1[t * c + best] = 1;
  }
  double n_empty = 0, total = 0, entropy = 0;
  for (int64_t j = 0; j < c; j++) {
    x->n_selected[j] = 0;
    for (int64_t t = 0; t < x->slots; t++) {
      x->m2[t * c + j] = reference_counts(x, t) ? reference_top(x, t, j) : 0;
      x->n_selected[j] += x->m1[t * c + j] * x->m2[t * c + j];
    }
    x->denominator[j] = x->options.denominator == FACET_ROUTE_LENGTH ? (double)x->slots : fmax(1, x->n_selected[j]);
    for (int64_t t = 0; t < x->slots; t++)
      for (int64_t k = 0; k < d; k++)
        x->r[j * d + k] += x->m1[t * c + j] * x->m2[t * c + j] * reference_a(x, x->score[t * c + j]) *
                           reference_e(x, t, k) / x->denominator[j];
    n_empty += x->n_selected[j] == 0;
    total += x->n_selected[j];
  }
  for (int64_t j = 0; j < c; j++)
    if (x->n_selected[j] > 0) entropy -= x->n_selected[j] / total * log(x->n_selected[j] / total);
  x->statistics[0] = n_empty / (double)c;
  x->statistics[1] = entropy;
}

/* π_tj = softmax_j(S_tj/τ). */
static inline double reference_softmax(const route_reference *x, int64_t t, int64_t j) {
  double sum = 0;
  for (int64_t k = 0; k < x->c; k++)
    sum += exp((x->score[t * x->c + k] - x->score[t * x->c + j]) / x->options.straight_through);
  return 1 / sum;
}

static inline double reference_u(const route_reference *x, const double *g, int64_t t, int64_t j) {
  double sum = 0;
  for (int64_t k = 0; k < x->d; k++) sum += g[j * x->d + k] * reference_e(x, t, k);
  return sum;
}

/* q_tj = (M2_tj m_t/D_j) a_tj u_tj; 0 for an empty channel. */
static inline double reference_q(const route_reference *x, const double *g, int64_t t, int64_t j) {
  if (x->n_selected[j] == 0) return 0;
  return x->m2[t * x->c + j] / x->denominator[j] * reference_a(x, x->score[t * x->c + j]) * reference_u(x, g, t, j);
}

/* g = r̄ [c, d] → de, d_o, after reference_forward. */
static inline void reference_backward(route_reference *x, const double *g) {
  const int64_t c = x->c, d = x->d;
  memset(x->de, 0, sizeof x->de);
  memset(x->d_o, 0, sizeof x->d_o);
  for (int64_t t = 0; t < x->n; t++)
    for (int64_t j = 0; j < c; j++) {
      double s = x->score[t * c + j], m = x->m1[t * c + j] * x->m2[t * c + j] / x->denominator[j];
      double du = m * reference_slope(x, s) * reference_u(x, g, t, j), ds = 0;
      if (x->options.straight_through > 0) {
        double mean = 0;
        for (int64_t k = 0; k < c; k++) mean += reference_softmax(x, t, k) * reference_q(x, g, t, k);
        ds = reference_softmax(x, t, j) * (reference_q(x, g, t, j) - mean) / x->options.straight_through;
      }
      for (int64_t k = 0; k < d; k++) {
        x->de[t * d + k] += m * reference_a(x, s) * g[j * d + k] + (du + ds) * x->o[j * d + k];
        x->d_o[j * d + k] += (du + ds) * x->e[t * d + k];
      }
    }
}

#endif
