#include "denoise_reference.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const double *weight(const reference_denoiser *m, const char *format, ...) {
  char text[64], name[128];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  snprintf(name, sizeof name, "%s.%s", m->name, text);
  return harness_values(m->from, name);
}

/* y [rows, n] = x [rows, k] W (+ b) */
static void affine(int64_t rows, int64_t k, int64_t n, const double *x, const double *w, const double *b, double *y) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = b ? b[j] : 0;
      for (int64_t p = 0; p < k; p++) sum += x[i * k + p] * w[p * n + j];
      y[i * n + j] = sum;
    }
}

/* h ← LN(h + y), eps 1e-6 */
static void add_norm(const reference_denoiser *m, int64_t layer, int which, const double *y, double *h) {
  const double *gamma = weight(m, "%d.norm%d.gamma", (int)layer, which);
  const double *beta = weight(m, "%d.norm%d.beta", (int)layer, which);
  for (int64_t row = 0; row < m->c; row++) {
    double *x = h + row * m->d, mean = 0, variance = 0;
    for (int64_t k = 0; k < m->d; k++) x[k] += y[row * m->d + k];
    for (int64_t k = 0; k < m->d; k++) mean += x[k] / (double)m->d;
    for (int64_t k = 0; k < m->d; k++) variance += (x[k] - mean) * (x[k] - mean) / (double)m->d;
    for (int64_t k = 0; k < m->d; k++) x[k] = gamma[k] * (x[k] - mean) / sqrt(variance + 1e-6) + beta[k];
  }
}

/* MHA(h, keys, keys) of c query rows over n key rows; `kind` is self or cross. */
static void attend(const reference_denoiser *m, int64_t layer, const char *kind, const double *h, const double *keys,
                   int64_t n, double *y) {
  const int64_t c = m->c, d = m->d, width = d / m->options.heads;
  const double scale = 1 / sqrt(m->options.attention_scale == FACET_SCALE_KEYS ? (double)n : (double)width);
  double *q = calloc((size_t)(2 * c * d + 2 * n * d), sizeof *q), *mixed = q + c * d, *k = mixed + c * d,
         *v = k + n * d, p[64];
  affine(c, d, d, h, weight(m, "%d.%s.q.weight", (int)layer, kind), NULL, q);
  affine(n, d, d, keys, weight(m, "%d.%s.k.weight", (int)layer, kind), NULL, k);
  affine(n, d, d, keys, weight(m, "%d.%s.v.weight", (int)layer, kind), NULL, v);
  for (int64_t row = 0; row < c; row++)
    for (int64_t first = 0; first < d; first += width) {
      double total = 0, largest = -INFINITY;
      for (int64_t a = 0; a < n; a++) {
        p[a] = 0;
        for (int64_t e = first; e < first + width; e++) p[a] += scale * q[row * d + e] * k[a * d + e];
        largest = fmax(largest, p[a]);
      }
      for (int64_t a = 0; a < n; a++) total += p[a] = exp(p[a] - largest);
      for (int64_t e = first; e < first + width; e++)
        for (int64_t a = 0; a < n; a++) mixed[row * d + e] += p[a] / total * v[a * d + e];
    }
  affine(c, d, d, mixed, weight(m, "%d.%s.o.weight", (int)layer, kind), NULL, y);
  free(q);
}

/* W_b relu(W_a h + b_a) + b_b */
static void feed_forward(const reference_denoiser *m, int64_t layer, const double *h, double *y) {
  const int64_t width = m->options.ffn_factor * m->d;
  double *hidden = malloc((size_t)(m->c * width) * sizeof *hidden);
  affine(m->c, m->d, width, h, weight(m, "%d.ffn.0.weight", (int)layer), weight(m, "%d.ffn.0.bias", (int)layer),
         hidden);
  for (int64_t k = 0; k < m->c * width; k++) hidden[k] = fmax(hidden[k], 0);
  affine(m->c, width, m->d, hidden, weight(m, "%d.ffn.1.weight", (int)layer), weight(m, "%d.ffn.1.bias", (int)layer),
         y);
  free(hidden);
}

/* τ(t) = W₂ swish(W₁ pe(t) + b₁) + b₂ */
static void time_row(const reference_denoiser *m, double t, double *tau) {
  const int64_t d = m->d;
  double position[256], hidden[1024];
  for (int64_t j = 0; j < d / 2; j++) {
    double omega = exp(-(double)j * log(1e4) / ((double)d / 2 - 1));
    position[j] = sin(t * omega);
    position[d / 2 + j] = cos(t * omega);
  }
  affine(1, d, 4 * d, position, weight(m, "time.0.weight"), weight(m, "time.0.bias"), hidden);
  for (int64_t k = 0; k < 4 * d; k++) hidden[k] /= 1 + exp(-hidden[k]);
  affine(1, 4 * d, d, hidden, weight(m, "time.1.weight"), weight(m, "time.1.bias"), tau);
}

void reference_denoise(const reference_denoiser *m, int64_t i, double t, const double *x, const double *r,
                       const double *o_i, double *f) {
  const int64_t c = m->c, d = m->d;
  double *h = malloc((size_t)(2 * c * d) * sizeof *h), *y = h + c * d, tau[256];
  memcpy(h, r, (size_t)(c * d) * sizeof *h);
  memcpy(h + i * d, x, (size_t)d * sizeof *h);
  time_row(m, t, tau);
  for (int64_t row = 0; row < c; row++)
    for (int64_t k = 0; k < d; k++) {
      if (m->options.token_flag) h[row * d + k] += weight(m, "flag")[(row == i) * d + k];
      h[row * d + k] += tau[k];
    }
  for (int64_t layer = 0; layer < m->options.n_layers; layer++) {
    attend(m, layer, "self", h, h, c, y);
    add_norm(m, layer, 1, y, h);
    attend(m, layer, "cross", h, o_i, 1, y);
    add_norm(m, layer, 2, y, h);
    feed_forward(m, layer, h, y);
    add_norm(m, layer, 3, y, h);
  }
  if (m->options.output_projection)
    affine(1, d, d, h + i * d, weight(m, "out.weight"), weight(m, "out.bias"), f);
  else
    memcpy(f, h + i * d, (size_t)d * sizeof *f);
  free(h);
}

void reference_reverse(const reference_denoiser *m, const reference_chain *chain, int64_t from, int64_t last, int64_t i,
                       const double *z, const double *r, const double *o_i, double *x) {
  const int64_t c = m->c, d = m->d, levels = chain->diffusion.levels;
  double f[256];
  for (int64_t t = from; t >= last; t--) {
    double before = 1, beta = 0; /* ᾱ_{t−1}, β_t */
    for (int64_t s = 0; s <= t; s++) {
      before *= 1 - beta;
      beta = chain->diffusion.beta_first;
      if (levels > 1)
        beta += (chain->diffusion.beta_last - chain->diffusion.beta_first) * (double)s / (double)(levels - 1);
    }
    double now = before * (1 - beta);
    double c1 = t ? beta * sqrt(before) / (1 - now) : 1, c2 = t ? (1 - before) * sqrt(1 - beta) / (1 - now) : 0;
    double variance = t ? beta * (1 - before) / (1 - now) : 0;
    reference_denoise(m, i, (double)t, x, r, o_i, f);
    for (int64_t k = 0; k < d; k++) {
      double estimate = f[k];
      if (chain->parameter != FACET_DIFFUSION_X0) estimate = x[k] / sqrt(now) - sqrt(1 / now - 1) * f[k];
      x[k] = c1 * estimate + c2 * x[k];
      if (z && t > 0) x[k] += sqrt(variance) * z[((t - 1) * c + i) * d + k];
    }
  }
}
