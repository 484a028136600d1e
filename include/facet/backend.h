/* The seam: host/ decides what, where and when; a backend decides how. The CPU backend, host/graph/backend_cpu.c, is
 * the only one so far. */
#ifndef FACET_BACKEND_H
#define FACET_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "facet/op.h"
#include "facet/status.h"

typedef struct facet_device facet_device;

typedef struct facet_device_info {
  char name[128];      /* "CPU, 2 threads, avx2" */
  int n_threads;       /* CPU */
  size_t memory_bytes; /* of the device */
} facet_device_info;

typedef struct facet_backend {
  const char *name; /* "cpu" */
  facet_status (*open)(int index, facet_device **device);
  void (*close)(facet_device **device);
  facet_status (*query)(facet_device *device, facet_device_info *info);

  facet_status (*alloc)(facet_device *device, size_t n_bytes, const char *what, void **memory); /* zeroed */
  void (*free)(facet_device *device, void *memory);
  facet_status (*copy_in)(facet_device *device, void *device_memory, const void *host_memory, size_t n_bytes);
  facet_status (*copy_out)(facet_device *device, void *host_memory, const void *device_memory, size_t n_bytes);
  facet_status (*fill)(facet_device *device, void *memory, int byte, size_t n_bytes);

  /* Fails with FACET_ERROR_DEVICE, naming what is missing, where products of this precision are not possible. */
  facet_status (*check_precision)(facet_device *device, facet_precision precision);
  /* Kernels of an operator; NULL members where the backend has none. */
  facet_op_kernels (*kernels)(const facet_op *op);
  /* Runs n prepared calls in order; direction +1: forward, −1: backward. */
  facet_status (*run)(facet_device *device, const facet_op_call *const *calls, int64_t n, int direction);
  facet_status (*synchronize)(facet_device *device);
} facet_backend;

struct facet_device {
  const facet_backend *backend;
  int index;
  facet_precision precision; /* of executors that are created from now on; float32 when opened */
};

extern const facet_backend facet_backend_cpu;

/* Opens "cpu". "cuda" and "cuda:<index>" are FACET_ERROR_DEVICE: there is no such backend yet. */
facet_status facet_device_open(const char *name, facet_device **device);
void facet_device_close(facet_device **device);
facet_status facet_device_set_precision(facet_device *device, facet_precision precision);

#endif
