/* Matrix products: oneDNN's sgemm in the float build, plain loops in the double build. */
#include "cpu/gemm.h"

#ifdef FACET_DOUBLE

/* One row of C: row-major B is read along its rows, a transposed B as dot products. */
static void gemm_row(bool transpose_b, int64_t n, int64_t k, double alpha, const double *a, int64_t a_step,
                     const double *b, int64_t ldb, double beta, double *c) {
  for (int64_t j = 0; j < n; j++) c[j] = beta == 0 ? 0 : beta * c[j];
  if (transpose_b) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < k; p++) sum += a[p * a_step] * b[j * ldb + p];
      c[j] += alpha * sum;
    }
    return;
  }
  for (int64_t p = 0; p < k; p++) {
    double factor = alpha * a[p * a_step];
    for (int64_t j = 0; j < n; j++) c[j] += factor * b[p * ldb + j];
  }
}

facet_status facet_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double alpha,
                        const double *a, int64_t lda, const double *b, int64_t ldb, double beta, double *c,
                        int64_t ldc) {
#pragma omp parallel for schedule(static) if (m * n * k > 100000)
  for (int64_t i = 0; i < m; i++)
    gemm_row(transpose_b, n, k, alpha, transpose_a ? a + i : a + i * lda, transpose_a ? lda : 1, b, ldb, beta,
             c + i * ldc);
  return FACET_OK;
}

facet_status facet_gemm_check_bf16(void) {
  FACET_FAIL(FACET_ERROR_DEVICE, "products in bf16: this is the build in double precision, which has none");
}

void facet_to_bf16(int64_t n, const double *x, facet_bf16 *y) {
  (void)n, (void)x, (void)y;
}

facet_status facet_gemm_bf16(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const facet_bf16 *a,
                             const facet_bf16 *b, bool add, double *c) {
  (void)transpose_a, (void)transpose_b, (void)m, (void)n, (void)k, (void)a, (void)b, (void)add, (void)c;
  return facet_gemm_check_bf16();
}

#else

#include <dnnl.h>
#include <omp.h>
#include <pthread.h>

#include "cpu/vector.h"
#include "facet/memory.h"

#if DNNL_VERSION_MAJOR < 2 || DNNL_VERSION_MAJOR > 3
#error "facet is written for oneDNN 2.x and 3.x (dnnl_sgemm is the same in both)"
#endif

facet_status facet_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                        const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc) {
  if (m == 0 || n == 0) return FACET_OK;
  dnnl_status_t status =
      dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  FACET_CHECK(status == dnnl_success, FACET_ERROR_INTERNAL,
              "oneDNN failed with status %d in a product [%lld, %lld] x [%lld, %lld]", (int)status, (long long)m,
              (long long)k, (long long)k, (long long)n);
  return FACET_OK;
}

/* ---- bf16 ------------------------------------------------------------------------------------------------------- */

facet_status facet_gemm_check_bf16(void) {
  FACET_CHECK(__builtin_cpu_supports("avx512bf16"), FACET_ERROR_DEVICE,
              "products in bf16: this CPU lacks avx512_bf16 (Intel Cooper Lake, Sapphire Rapids, AMD Zen 4 and later "
              "have it); use train.precision float32");
  return FACET_OK;
}

enum { CONVERTED = 4096 }; /* elements that a thread takes at a time */

void facet_to_bf16(int64_t n, const float *x, facet_bf16 *y) {
  const facet_vector *vector = facet_vector_get();
#pragma omp parallel for schedule(static) if (n > CONVERTED)
  for (int64_t i = 0; i < n; i += CONVERTED) vector->to_bf16(n - i < CONVERTED ? n - i : CONVERTED, x + i, y + i);
}

/* What oneDNN prepares for a product: once for each shape, transposition and number of threads, kept to the end. */
typedef struct prepared {
  bool transpose_a, transpose_b, add;
  int n_threads;
  int64_t m, n, k;
  dnnl_primitive_t primitive;
  dnnl_memory_t a, b, c;
} prepared;

static struct {
  pthread_mutex_t mutex;
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  prepared *item;
  int n;
  size_t capacity;
} cache = {.mutex = PTHREAD_MUTEX_INITIALIZER};

#define DNNL_TRY(call)                                                                                                 \
  do {                                                                                                                 \
    dnnl_status_t status_ = (call);                                                                                    \
    FACET_CHECK(status_ == dnnl_success, FACET_ERROR_INTERNAL, "oneDNN failed with status %d in %s", (int)status_,     \
                #call);                                                                                                \
  } while (0)

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t description;
#define REFER(x) (x)

static facet_status describe(description *out, int64_t rows, int64_t columns, dnnl_data_type_t type, bool transposed) {
  const dnnl_dims_t dims = {rows, columns}, strides = {transposed ? 1 : columns, transposed ? rows : 1};
  DNNL_TRY(dnnl_memory_desc_create_with_strides(out, 2, dims, type, strides));
  return FACET_OK;
}

static void forget(description *x) {
  if (*x) dnnl_memory_desc_destroy(*x);
}

static facet_status append_sum(dnnl_post_ops_t operations) {
  DNNL_TRY(dnnl_post_ops_append_sum(operations, 1, 0, dnnl_f32));
  return FACET_OK;
}

static facet_status describe_product(dnnl_primitive_desc_t *out, const description *a, const description *b,
                                     const description *c, const_dnnl_primitive_attr_t attributes) {
  DNNL_TRY(dnnl_matmul_primitive_desc_create(out, cache.engine, *a, *b, NULL, *c, attributes));
  return FACET_OK;
}
#else
typedef dnnl_memory_desc_t description;
#define REFER(x) (&(x))

static facet_status describe(description *out, int64_t rows, int64_t columns, dnnl_data_type_t type, bool transposed) {
  const dnnl_dims_t dims = {rows, columns}, strides = {transposed ? 1 : columns, transposed ? rows : 1};
  DNNL_TRY(dnnl_memory_desc_init_by_strides(out, 2, dims, type, strides));
  return FACET_OK;
}

static void forget(description *x) {
  (void)x; /* a plain struct */
}

static facet_status append_sum(dnnl_post_ops_t operations) {
  DNNL_TRY(dnnl_post_ops_append_sum(operations, 1));
  return FACET_OK;
}

static facet_status describe_product(dnnl_primitive_desc_t *out, const description *a, const description *b,
                                     const description *c, const_dnnl_primitive_attr_t attributes) {
  dnnl_matmul_desc_t product;
  DNNL_TRY(dnnl_matmul_desc_init(&product, a, b, NULL, c));
  DNNL_TRY(dnnl_primitive_desc_create(out, &product, attributes, cache.engine, NULL));
  return FACET_OK;
}
#endif

/* With `add`, C is the third addend of the product. */
static facet_status make_attributes(bool add, dnnl_primitive_attr_t *out) {
  dnnl_post_ops_t operations = NULL;
  DNNL_TRY(dnnl_primitive_attr_create(out));
  if (!add) return FACET_OK;
  DNNL_TRY(dnnl_post_ops_create(&operations));
  facet_status status = append_sum(operations);
  if (status == FACET_OK && dnnl_primitive_attr_set_post_ops(*out, operations) != dnnl_success)
    status = facet_error_set(FACET_ERROR_INTERNAL, __FILE__, __LINE__, "oneDNN takes no sum after a product");
  dnnl_post_ops_destroy(operations);
  return status;
}

static facet_status make_memory(prepared *p, const description *a, const description *b, const description *c) {
  DNNL_TRY(dnnl_memory_create(&p->a, REFER(*a), cache.engine, DNNL_MEMORY_NONE));
  DNNL_TRY(dnnl_memory_create(&p->b, REFER(*b), cache.engine, DNNL_MEMORY_NONE));
  DNNL_TRY(dnnl_memory_create(&p->c, REFER(*c), cache.engine, DNNL_MEMORY_NONE));
  return FACET_OK;
}

/* Fills p, whose shape is set. An error here ends the run: what was made before it is not freed. */
static facet_status prepare(prepared *p) {
  description a = {0}, b = {0}, c = {0};
  dnnl_primitive_attr_t attributes = NULL;
  dnnl_primitive_desc_t product = NULL;
  if (!cache.engine) {
    DNNL_TRY(dnnl_engine_create(&cache.engine, dnnl_cpu, 0));
    DNNL_TRY(dnnl_stream_create(&cache.stream, cache.engine, dnnl_stream_default_flags));
  }
  FACET_TRY(describe(&a, p->m, p->k, dnnl_bf16, p->transpose_a));
  FACET_TRY(describe(&b, p->k, p->n, dnnl_bf16, p->transpose_b));
  FACET_TRY(describe(&c, p->m, p->n, dnnl_f32, false));
  FACET_TRY(make_attributes(p->add, &attributes));
  FACET_TRY(describe_product(&product, &a, &b, &c, attributes));
  DNNL_TRY(dnnl_primitive_create(&p->primitive, product));
  FACET_TRY(make_memory(p, &a, &b, &c));
  dnnl_primitive_desc_destroy(product);
  dnnl_primitive_attr_destroy(attributes);
  forget(&a), forget(&b), forget(&c);
  return FACET_OK;
}

static bool is_for(const prepared *p, const prepared *wanted) {
  return p->m == wanted->m && p->n == wanted->n && p->k == wanted->k && p->transpose_a == wanted->transpose_a &&
         p->transpose_b == wanted->transpose_b && p->add == wanted->add && p->n_threads == wanted->n_threads;
}

/* With the mutex. */
static facet_status find_prepared(const prepared *wanted, prepared **out) {
  for (int i = 0; i < cache.n; i++) {
    *out = &cache.item[i];
    if (is_for(*out, wanted)) return FACET_OK;
  }
  FACET_TRY(FACET_GROW(cache.item, cache.capacity, cache.n + 1, "prepared products"));
  *out = &cache.item[cache.n];
  **out = *wanted;
  FACET_TRY(prepare(*out));
  cache.n++;
  return FACET_OK;
}

/* With the mutex: the memory objects of p are its own. */
static facet_status execute(const prepared *p, const facet_bf16 *a, const facet_bf16 *b, float *c) {
  DNNL_TRY(dnnl_memory_set_data_handle(p->a, (void *)(uintptr_t)a));
  DNNL_TRY(dnnl_memory_set_data_handle(p->b, (void *)(uintptr_t)b));
  DNNL_TRY(dnnl_memory_set_data_handle(p->c, c));
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, p->a}, {DNNL_ARG_WEIGHTS, p->b}, {DNNL_ARG_DST, p->c}};
  DNNL_TRY(dnnl_primitive_execute(p->primitive, cache.stream, 3, arguments));
  DNNL_TRY(dnnl_stream_wait(cache.stream));
  return FACET_OK;
}

facet_status facet_gemm_bf16(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const facet_bf16 *a,
                             const facet_bf16 *b, bool add, float *c) {
  if (m == 0 || n == 0) return FACET_OK;
  const prepared wanted = {.transpose_a = transpose_a,
                           .transpose_b = transpose_b,
                           .add = add,
                           .n_threads = omp_get_max_threads(),
                           .m = m,
                           .n = n,
                           .k = k};
  prepared *found = NULL;
  pthread_mutex_lock(&cache.mutex);
  facet_status status = find_prepared(&wanted, &found);
  if (status == FACET_OK) status = execute(found, a, b, c);
  pthread_mutex_unlock(&cache.mutex);
  if (status == FACET_OK) return FACET_OK;
  return facet_error_context("a product [%lld, %lld] x [%lld, %lld] in bf16", (long long)m, (long long)k, (long long)k,
                             (long long)n);
}

#endif
