/* Shapes of tensors. */
#include "facet/tensor.h"

#include <stdarg.h>

#include "base/text.h"

facet_shape facet_shape_make(int rank, ...) {
  facet_shape shape = {.rank = rank};
  va_list dims;
  va_start(dims, rank);
  for (int i = 0; i < rank && i < FACET_MAX_RANK; i++) shape.dim[i] = va_arg(dims, int64_t);
  va_end(dims);
  return shape;
}

int64_t facet_shape_elements(const facet_shape *shape) {
  int64_t n = 1;
  for (int i = 0; i < shape->rank; i++) n *= shape->dim[i];
  return n;
}

bool facet_shape_equal(const facet_shape *a, const facet_shape *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

int64_t facet_shape_rows(const facet_shape *shape) {
  int64_t n = 1;
  for (int i = 0; i < shape->rank - 1; i++) n *= shape->dim[i];
  return n;
}

int64_t facet_shape_last(const facet_shape *shape) {
  return shape->rank ? shape->dim[shape->rank - 1] : 1;
}

const char *facet_shape_format(const facet_shape *shape, char *buffer, size_t n_bytes) {
  return facet_text_list(shape->dim, shape->rank, buffer, n_bytes);
}
