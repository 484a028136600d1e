/* The CPU backend: host memory, OpenMP threads. It is the specification of every operator. */
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu/gemm.h"
#include "cpu/vector.h"
#include "facet/backend.h"
#include "facet/memory.h"

typedef struct facet_device_cpu {
  facet_device device;
  int n_threads; /* as set when the device was opened (omp_set_num_threads, OMP_NUM_THREADS) */
} facet_device_cpu;

static facet_status cpu_open(int index, facet_device **device) {
  facet_device_cpu *cpu = NULL;
  FACET_TRY(facet_vector_select());
  FACET_TRY(FACET_ALLOC(cpu, 1, "device"));
  cpu->device = (facet_device){.backend = &facet_backend_cpu, .index = index};
  cpu->n_threads = omp_get_max_threads();
  *device = &cpu->device;
  return FACET_OK;
}

static void cpu_close(facet_device **device) {
  facet_memory_free(*device);
  *device = NULL;
}

static facet_status cpu_query(facet_device *device, facet_device_info *info) {
  const facet_device_cpu *cpu = (const facet_device_cpu *)device;
  info->n_threads = cpu->n_threads;
  info->memory_bytes = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
  snprintf(info->name, sizeof info->name, "CPU, %d thread%s, %s", cpu->n_threads, cpu->n_threads == 1 ? "" : "s",
           facet_vector_get()->name);
  return FACET_OK;
}

static facet_status cpu_alloc(facet_device *device, size_t n_bytes, const char *what, void **memory) {
  (void)device;
  *memory = facet_memory_alloc(n_bytes, 1, what);
  return *memory ? FACET_OK : FACET_ERROR_INTERNAL;
}

static void cpu_free(facet_device *device, void *memory) {
  (void)device;
  facet_memory_free(memory);
}

static facet_status cpu_copy_in(facet_device *device, void *device_memory, const void *host_memory, size_t n_bytes) {
  (void)device;
  memcpy(device_memory, host_memory, n_bytes);
  return FACET_OK;
}

static facet_status cpu_copy_out(facet_device *device, void *host_memory, const void *device_memory, size_t n_bytes) {
  (void)device;
  memcpy(host_memory, device_memory, n_bytes);
  return FACET_OK;
}

static facet_status cpu_fill(facet_device *device, void *memory, int byte, size_t n_bytes) {
  (void)device;
  enum { CHUNK = 1 << 18 };
  int64_t n_chunks = (int64_t)((n_bytes + CHUNK - 1) / CHUNK);
#pragma omp parallel for schedule(static) if (n_chunks > 4)
  for (int64_t i = 0; i < n_chunks; i++) {
    size_t first = (size_t)i * CHUNK, rest = n_bytes - first;
    memset((char *)memory + first, byte, rest < CHUNK ? rest : CHUNK);
  }
  return FACET_OK;
}

static facet_op_kernels cpu_kernels(const facet_op *op) {
  return (facet_op_kernels){.forward = op->forward, .backward = op->backward};
}

static facet_status cpu_check_precision(facet_device *device, facet_precision precision) {
  (void)device;
  return precision == FACET_PRECISION_BF16 ? facet_gemm_check_bf16() : FACET_OK;
}

static facet_status cpu_run(facet_device *device, const facet_op_call *const *calls, int64_t n, int direction) {
  (void)device;
  for (int64_t i = 0; i < n; i++) {
    const facet_op_call *call = calls[i];
    facet_status status = direction > 0 ? call->kernels.forward(call) : call->kernels.backward(call);
    if (status) return facet_error_context("node \"%s\" (%s)", call->node, call->op->name);
  }
  return FACET_OK;
}

static facet_status cpu_synchronize(facet_device *device) {
  (void)device;
  return FACET_OK;
}

const facet_backend facet_backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .query = cpu_query,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .copy_in = cpu_copy_in,
    .copy_out = cpu_copy_out,
    .fill = cpu_fill,
    .check_precision = cpu_check_precision,
    .kernels = cpu_kernels,
    .run = cpu_run,
    .synchronize = cpu_synchronize,
};
