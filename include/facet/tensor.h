/* Tensors: the edges of a graph. Dense, row-major, shapes known when the graph is built; the first dimension of
 * activations is the batch. */
#ifndef FACET_TENSOR_H
#define FACET_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facet/real.h"

#define FACET_MAX_RANK 4

typedef enum facet_dtype { FACET_DTYPE_REAL, FACET_DTYPE_INT32 } facet_dtype;

typedef struct facet_shape {
  int rank; /* 0: a scalar (one element) */
  int64_t dim[FACET_MAX_RANK];
} facet_shape;

/* facet_shape_make(2, B, d) */
facet_shape facet_shape_make(int rank, ...);
int64_t facet_shape_elements(const facet_shape *shape);
bool facet_shape_equal(const facet_shape *a, const facet_shape *b);
/* Product of all dimensions but the last: the rows of a matrix view. */
int64_t facet_shape_rows(const facet_shape *shape);
int64_t facet_shape_last(const facet_shape *shape); /* last dimension; 1 for scalars */
/* "[256, 50, 8]" into buffer; returns buffer. */
const char *facet_shape_format(const facet_shape *shape, char *buffer, size_t n_bytes);

typedef enum facet_tensor_kind {
  FACET_TENSOR_INPUT,     /* filled from the batch */
  FACET_TENSOR_PARAMETER, /* dense, trained, in the parameter arena; shared between programs by name */
  FACET_TENSOR_TABLE,     /* embedding table [rows, width]; outside the arenas */
  FACET_TENSOR_STATE,     /* persistent and not trained (BatchNorm's statistics); saved in checkpoints */
  FACET_TENSOR_ACTIVATION /* output of a node */
} facet_tensor_kind;

#endif
