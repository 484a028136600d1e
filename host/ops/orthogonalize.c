/* orthogonalize: a [B, d·c] → o [B, c, d], ratio [B]. Element (r, j) of the matrix A [d, c] of a sample is at r·c + j;
 * thin QR A = Q R, o_j = column j of Q.
 *
 * Forward: modified Gram–Schmidt; each column is projected twice, which keeps |QᵀQ − I| at rounding error up to
 * condition 1e4 in float. A column with R_jj ≤ max(1e-4 ‖a_j‖, 1e-12) would have a direction made by rounding: it is
 * replaced by the fixed vector guard_j (state [c, d]), whose column of R is kept. ratio = min_j R_jj/‖a_j‖ (0 where a_j
 * = 0), before that. sign lapack: the signs of LAPACK's Householder QR (use_lapack_signs).
 *
 * Backward (R's own gradient is 0), copyltu(X) = the lower triangle of X with diagonal, mirrored up:
 *
 *   Ā = (Q̄ − Q copyltu(Q̄ᵀ Q)) R⁻ᵀ,   entry (i, j), i ≥ j, of Q̄ᵀQ is q̄_i · q_j
 *
 * then Ā_j = 0 for replaced columns, which are constants. Samples are independent. saved: R and which columns were
 * replaced. */
#include <math.h>
#include <string.h>

#include "cpu/vector.h"
#include "facet/ops.h"

typedef struct facet_orthogonalize_params {
  int64_t c;
  int sign; /* facet_qr_sign */
} facet_orthogonalize_params;

/* Samples are worked on in blocks, each with its part of the scratch memory. */
enum { IN_A, IN_GUARD, N_INPUTS, N_BLOCKS = 64 };
static const double RATIO_LIMIT = 1e-4, NORM_LIMIT = 1e-12;

static size_t saved_bytes(int64_t batch, int64_t c) {
  return (size_t)(batch * c * c) * sizeof(facet_real) + (size_t)(batch * c);
}

static facet_status orthogonalize_shape(facet_op_rule *rule) {
  const facet_orthogonalize_params *params = rule->params;
  const facet_shape *a = &rule->in_shape[IN_A];
  int64_t c = params->c;
  char text[64];
  facet_shape_format(a, text, sizeof text);
  FACET_OP_CHECK(rule, a->rank == 2 && rule->in_dtype[IN_A] == FACET_DTYPE_REAL, "a is %s, expected real [B, d * c]",
                 text);
  FACET_OP_CHECK(rule, c >= 1 && a->dim[1] % c == 0, "a is %s, whose last dimension is not a multiple of %lld channels",
                 text, (long long)c);
  FACET_OP_CHECK(
      rule, c <= a->dim[1] / c,
      "%lld channels of width %lld (a is %s): at most as many orthogonal channels as their width are possible",
      (long long)c, (long long)(a->dim[1] / c), text);
  FACET_OP_CHECK(rule, params->sign == FACET_QR_POSITIVE || params->sign == FACET_QR_LAPACK,
                 "sign %d, expected positive or lapack", params->sign);
  rule->n_outputs = 2;
  rule->out_dtype[0] = rule->out_dtype[1] = FACET_DTYPE_REAL;
  rule->out_shape[0] = facet_shape_make(3, a->dim[0], c, a->dim[1] / c);
  rule->out_shape[1] = facet_shape_make(1, a->dim[0]);
  rule->saved_bytes = saved_bytes(a->dim[0], c);
  rule->scratch_bytes = (size_t)(N_BLOCKS * (a->dim[1] + c * c)) * sizeof(facet_real);
  return FACET_OK;
}

static void orthogonalize_cost(const facet_op_rule *rule, facet_cost *cost) {
  const facet_orthogonalize_params *params = rule->params;
  double n = (double)facet_shape_elements(&rule->in_shape[IN_A]), c = (double)params->c;
  cost->forward_flops = n * (4 * (c - 1) + 5); /* two projections on (c − 1)/2 columns each; norms and scaling */
  cost->backward_flops = n * (4 * c + 3);
  cost->forward_bytes = 2 * n * sizeof(facet_real);
  cost->backward_bytes = 4 * n * sizeof(facet_real);
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

/* v ← v − Σ_{k<j} q_k (q_k · v), twice; column j of R (row-major [c, c]) gets the coefficients. Returns ‖v‖. */
static double project(int64_t c, int64_t d, int64_t j, const facet_real *q, facet_real *v, facet_real *r) {
  const facet_vector *vector = facet_vector_get();
  for (int64_t k = 0; k < j; k++) r[k * c + j] = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int64_t k = 0; k < j; k++) {
      facet_real along = vector->dot(d, q + k * d, v);
      vector->axpy(d, -along, q + k * d, v);
      r[k * c + j] += along;
    }
  return sqrt(vector->square_sum(d, v));
}

/* A = Q R of one sample with diag(R) > 0: q [c, d] holds columns of A and then of Q. Returns min_j R_jj/‖a_j‖. */
static double factorize(int64_t c, int64_t d, const facet_real *guard, facet_real *q, facet_real *r,
                        unsigned char *replaced) {
  const facet_vector *vector = facet_vector_get();
  double min_ratio = INFINITY;
  for (int64_t j = 0; j < c; j++) {
    facet_real *v = q + j * d;
    double norm = sqrt(vector->square_sum(d, v)), left = project(c, d, j, q, v, r);
    double ratio = norm > 0 ? left / norm : norm; /* NaN stays */
    if (!(ratio >= min_ratio)) min_ratio = ratio;
    replaced[j] = left <= fmax(RATIO_LIMIT * norm, NORM_LIMIT);
    if (replaced[j]) {
      memcpy(v, guard + j * d, (size_t)d * sizeof *v);
      left = project(c, d, j, q, v, r);
    }
    r[j * c + j] = (facet_real)left;
    vector->scale(d, (facet_real)(1 / left), v);
  }
  return min_ratio;
}

/* Householder's Q is ours with other signs of columns. LU of Q[:c, :c] finds them: the reflections' sign is −sign(pivot),
 * and subtracting it from the pivot makes the elimination stable (Ballard et al. 2014, TSQR-HR). For d = c the last
 * column is not reflected and keeps its sign. (LAPACK reflects no column either that is a multiple of a unit vector to
 * the last bit; that case has no rule here.) */
static void use_lapack_signs(int64_t c, int64_t d, facet_real *q, facet_real *r, facet_real *lu) {
  const facet_vector *vector = facet_vector_get();
  for (int64_t i = 0; i < c; i++)
    for (int64_t j = 0; j < c; j++) lu[i * c + j] = q[j * d + i];
  for (int64_t j = 0; j < c; j++) {
    bool reflected = j < d - 1, positive = lu[j * c + j] >= 0;
    facet_real sign = positive == reflected ? -1 : 1;
    lu[j * c + j] -= sign;
    for (int64_t i = j + 1; i < c; i++) {
      facet_real factor = lu[i * c + j] / lu[j * c + j];
      for (int64_t k = j + 1; k < c; k++) lu[i * c + k] -= factor * lu[j * c + k];
    }
    vector->scale(d, sign, q + j * d);
    for (int64_t k = j; k < c; k++) r[j * c + k] *= sign;
  }
}

static facet_status orthogonalize_forward(const facet_op_call *call) {
  const facet_orthogonalize_params *params = call->params;
  int64_t batch = call->in_shape[IN_A].dim[0], c = params->c, d = call->out_shape[0].dim[2];
  facet_real *saved_r = call->saved, *ratio = call->out[1];
  unsigned char *replaced = (unsigned char *)(saved_r + batch * c * c);
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < N_BLOCKS; block++)
    for (int64_t b = block * batch / N_BLOCKS; b < (block + 1) * batch / N_BLOCKS; b++) {
      const facet_real *a = (const facet_real *)call->in[IN_A] + b * d * c;
      facet_real *q = (facet_real *)call->out[0] + b * c * d, *r = saved_r + b * c * c;
      for (int64_t j = 0; j < c; j++)
        for (int64_t i = 0; i < d; i++) q[j * d + i] = a[i * c + j];
      ratio[b] = (facet_real)factorize(c, d, call->in[IN_GUARD], q, r, replaced + b * c);
      if (params->sign == FACET_QR_LAPACK) use_lapack_signs(c, d, q, r, (facet_real *)call->scratch + block * c * c);
    }
  return FACET_OK;
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

/* z [c, d] = (Q̄ − Q copyltu(Q̄ᵀQ)) R⁻ᵀ of one sample; q, dq [c, d]; lower [c, c] is working memory. */
static void solve(int64_t c, int64_t d, const facet_real *q, const facet_real *r, const facet_real *dq,
                  facet_real *lower, facet_real *z) {
  const facet_vector *vector = facet_vector_get();
  for (int64_t i = 0; i < c; i++)
    for (int64_t j = 0; j <= i; j++) lower[i * c + j] = vector->dot(d, dq + i * d, q + j * d);
  memcpy(z, dq, (size_t)(c * d) * sizeof *z);
  for (int64_t j = c - 1; j >= 0; j--) { /* Z Rᵀ = X, last column first */
    for (int64_t i = 0; i < c; i++)
      vector->axpy(d, -(i >= j ? lower[i * c + j] : lower[j * c + i]), q + i * d, z + j * d);
    for (int64_t k = j + 1; k < c; k++) vector->axpy(d, -r[j * c + k], z + k * d, z + j * d);
    vector->scale(d, 1 / r[j * c + j], z + j * d);
  }
}

static facet_status orthogonalize_backward(const facet_op_call *call) {
  const facet_orthogonalize_params *params = call->params;
  int64_t batch = call->in_shape[IN_A].dim[0], c = params->c, d = call->out_shape[0].dim[2];
  const facet_real *saved_r = call->saved;
  const unsigned char *replaced = (const unsigned char *)(saved_r + batch * c * c);
  if (!call->d_in[IN_A]) return FACET_OK;
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < N_BLOCKS; block++) {
    facet_real *lower = (facet_real *)call->scratch + block * (c * c + c * d), *z = lower + c * c;
    for (int64_t b = block * batch / N_BLOCKS; b < (block + 1) * batch / N_BLOCKS; b++) {
      facet_real *da = call->d_in[IN_A] + b * d * c;
      solve(c, d, (const facet_real *)call->out[0] + b * c * d, saved_r + b * c * c, call->d_out[0] + b * c * d, lower,
            z);
      for (int64_t j = 0; j < c; j++)
        for (int64_t i = 0; i < d && !replaced[b * c + j]; i++) da[i * c + j] += z[j * d + i];
    }
  }
  return FACET_OK;
}

const facet_op facet_op_orthogonalize = {.name = "orthogonalize",
                                         .params_bytes = sizeof(facet_orthogonalize_params),
                                         .backward_reads = FACET_BACKWARD_READS_OUTPUTS,
                                         .shape = orthogonalize_shape,
                                         .cost = orthogonalize_cost,
                                         .forward = orthogonalize_forward,
                                         .backward = orthogonalize_backward};

facet_tensor *facet_orthogonalize(facet_graph *graph, const char *name, facet_tensor *a, int64_t c, facet_qr_sign sign,
                                  facet_tensor **ratio) {
  facet_orthogonalize_params params = {.c = c, .sign = (int)sign};
  facet_tensor *out[FACET_OP_MAX_OUTPUTS] = {0};
  if (ratio) *ratio = NULL;
  if (!a) return NULL;
  int64_t d = c >= 1 ? facet_shape_last(&a->shape) / c : 0;
  facet_tensor *in[N_INPUTS] = {a};
  in[IN_GUARD] =
      facet_graph_state(graph, facet_graph_name(graph, "%s.guard", name),
                        facet_shape_make(2, c < 1 ? 1 : c, d < 1 ? 1 : d), (facet_init){FACET_INIT_NORMAL, 1});
  if (!facet_graph_node(graph, &facet_op_orthogonalize, name, in, N_INPUTS, &params, out)) return NULL;
  out[1]->needs_gradient = false;
  if (ratio) *ratio = out[1];
  return out[0];
}
