/* Register tiles: a function of constant sizes, chosen by sizes that are known at run time. */
#ifndef FACET_VECTOR_TILE_H
#define FACET_VECTOR_TILE_H

/* Calls tile(rows, vectors, …) with constants: 1 to TILE_ROWS rows (at most 8), 1 to TILE_VECTORS vectors (at most 5),
 * which the file that includes this defines. */
#define TILE_OF_VECTORS(tile, rows, n_vectors, ...)                                                                    \
  switch (n_vectors) {                                                                                                 \
  case 1:                                                                                                              \
    if (1 <= TILE_VECTORS) tile(rows, 1, __VA_ARGS__);                                                                 \
    break;                                                                                                             \
  case 2:                                                                                                              \
    if (2 <= TILE_VECTORS) tile(rows, 2, __VA_ARGS__);                                                                 \
    break;                                                                                                             \
  case 3:                                                                                                              \
    if (3 <= TILE_VECTORS) tile(rows, 3, __VA_ARGS__);                                                                 \
    break;                                                                                                             \
  case 4:                                                                                                              \
    if (4 <= TILE_VECTORS) tile(rows, 4, __VA_ARGS__);                                                                 \
    break;                                                                                                             \
  case 5:                                                                                                              \
    if (5 <= TILE_VECTORS) tile(rows, 5, __VA_ARGS__);                                                                 \
    break;                                                                                                             \
  }
#define TILE(tile, n_rows, n_vectors, ...)                                                                             \
  switch (n_rows) {                                                                                                    \
  case 1:                                                                                                              \
    if (1 <= TILE_ROWS) {                                                                                              \
      TILE_OF_VECTORS(tile, 1, n_vectors, __VA_ARGS__)                                                                 \
    }                                                                                                                  \
    break;                                                                                                             \
  case 2:                                                                                                              \
    if (2 <= TILE_ROWS) {                                                                                              \
      TILE_OF_VECTORS(tile, 2, n_vectors, __VA_ARGS__)                                                                 \
    }                                                                                                                  \
    break;                                                                                                             \
  case 3:                                                                                                              \
    if (3 <= TILE_ROWS) {                                                                                              \
      TILE_OF_VECTORS(tile, 3, n_vectors, __VA_ARGS__)                                                                 \
    }                                                                                                                  \
    break;                                                                                                             \
  case 4:                                                                                                              \
    if (4 <= TILE_ROWS) {                                                                                              \
      TILE_OF_VECTORS(tile, 4, n_vectors, __VA_ARGS__)                                                                 \
    }                                                                                                                  \
    break;                                                                                                             \
  case 5:                                                                                                              \
    if (5 <= TILE_ROWS) {                                                                                              \
      TILE_OF_VECTORS(tile, 5, n_vectors, __VA_ARGS__)                                                                 \
    }                                                                                                                  \
    break;                                                                                                             \
  case 6:                                                                                                              \
    if (6 <= TILE_ROWS) {                                                                                              \
      TILE_OF_VECTORS(tile, 6, n_vectors, __VA_ARGS__)                                                                 \
    }                                                                                                                  \
    break;                                                                                                             \
  case 7:                                                                                                              \
    if (7 <= TILE_ROWS) {                                                                                              \
      TILE_OF_VECTORS(tile, 7, n_vectors, __VA_ARGS__)                                                                 \
    }                                                                                                                  \
    break;                                                                                                             \
  case 8:                                                                                                              \
    if (8 <= TILE_ROWS) {                                                                                              \
      TILE_OF_VECTORS(tile, 8, n_vectors, __VA_ARGS__)                                                                 \
    }                                                                                                                  \
    break;                                                                                                             \
  }

#endif
