/* Chunks decoded outside the library hold what the library reads. */
#include "data/chunk.h"

#include "facet/environment.h"
#include "fixture.h"

enum { N = 1000, CHUNK_ROWS = 192 }; /* the last chunk is cut */

typedef enum chunk_content { CONSTANT, COUNTING, NOISE } chunk_content;

typedef struct stored {
  facet_hdf5_type type;
  int rank; /* 2: rows of three elements */
  bool shuffle, deflate, checksum, big_endian, split_rows;
  chunk_content content;
} stored;

static char directory[64], path[80];
static hid_t file = -1, dataset = -1;

static void create(const stored *s) {
  const hsize_t dims[2] = {N, 3}, chunk[2] = {CHUNK_ROWS, s->split_rows ? 2 : 3};
  const size_t n_bytes = N * 3 * facet_hdf5_type_bytes(s->type);
  unsigned char *values = calloc(1, n_bytes);
  uint64_t state = 1;
  for (size_t i = 0; i < n_bytes; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    values[i] = s->content == NOISE                    ? (unsigned char)(state >> 40)
                : s->content == COUNTING && i % 4 == 0 ? (unsigned char)(i / 16)
                                                       : 7;
  }
  hid_t creation = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(s->rank, dims, NULL);
  hid_t type = s->big_endian ? H5T_STD_I32BE : facet_hdf5_native(s->type);
  cr_assert(H5Pset_chunk(creation, s->rank, chunk) >= 0);
  if (s->shuffle) H5Pset_shuffle(creation);
  if (s->deflate) H5Pset_deflate(creation, 6);
  if (s->checksum) H5Pset_fletcher32(creation);
  test_directory_create(directory);
  snprintf(path, sizeof path, "%s/x.h5", directory);
  file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  dataset = H5Dcreate2(file, "x", type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  cr_assert(H5Dwrite(dataset, facet_hdf5_native(s->type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Pclose(creation);
  H5Sclose(space);
  H5Fflush(file, H5F_SCOPE_GLOBAL);
  free(values);
}

static void destroy(void) {
  H5Dclose(dataset);
  H5Fclose(file);
  test_directory_remove(directory);
}

static void expect_equal(const stored *s) {
  const facet_chunk_format format = facet_chunk_describe(dataset, s->type);
  facet_chunk chunk = {0};
  unsigned char *expected = calloc(CHUNK_ROWS, format.row_bytes), *found = calloc(CHUNK_ROWS, format.row_bytes);
  cr_assert(format.is_known && format.n_rows == CHUNK_ROWS);
  for (int64_t first = 0; first < N; first += CHUNK_ROWS) {
    const int64_t n = N - first < CHUNK_ROWS ? N - first : CHUNK_ROWS;
    EXPECT_OK(facet_hdf5_dataset_read(dataset, s->type, first, n, expected));
    EXPECT_OK(facet_chunk_read(&format, dataset, first, &chunk));
    cr_assert(facet_chunk_decode(&format, &chunk, n, found) == FACET_OK, "rows from %d: %d bytes, skipped %d",
              (int)first, (int)chunk.n_bytes, (int)chunk.skipped);
    cr_assert(memcmp(found, expected, (size_t)n * format.row_bytes) == 0, "rows from %d", (int)first);
  }
  facet_memory_free(chunk.bytes);
  free(expected);
  free(found);
}

Test(chunk, decodes_what_the_library_decodes) {
  static const facet_hdf5_type types[] = {FACET_HDF5_INT32, FACET_HDF5_INT64, FACET_HDF5_FLOAT};
  for (int t = 0; t < 3; t++) {
    for (int filters = 1; filters < 4; filters++) {
      for (int rank = 1; rank < 3; rank++) {
        for (int c = CONSTANT; c <= NOISE; c++) {
          const stored s = {.type = types[t],
                            .rank = rank,
                            .shuffle = filters & 1,
                            .deflate = filters >> 1,
                            .content = (chunk_content)c};
          create(&s);
          expect_equal(&s);
          destroy();
        }
      }
    }
  }
}

/* A writer may leave filters out of single chunks, which then are as large as their rows. */
Test(chunk, filters_that_were_skipped) {
  const stored s = {.type = FACET_HDF5_INT32, .rank = 1, .shuffle = true, .deflate = true, .content = COUNTING};
  const hsize_t first = 0;
  unsigned char raw[CHUNK_ROWS * sizeof(int32_t)];
  for (size_t i = 0; i < sizeof raw; i++) raw[i] = (unsigned char)(i * 7);
  for (uint32_t skipped = 2; skipped < 4; skipped++) { /* deflate; both */
    create(&s);
    cr_assert(H5Dwrite_chunk(dataset, H5P_DEFAULT, skipped, &first, sizeof raw, raw) >= 0);
    H5Dclose(dataset); /* the library keeps what it knew of the chunk */
    H5Fclose(file);
    file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    dataset = H5Dopen2(file, "x", H5P_DEFAULT);
    expect_equal(&s);
    destroy();
  }
}

Test(chunk, leaves_to_the_library_what_it_does_not_know) {
  static const stored cases[] = {{.type = FACET_HDF5_INT32, .rank = 1},
                                 {.type = FACET_HDF5_INT32, .rank = 1, .deflate = true, .checksum = true},
                                 {.type = FACET_HDF5_INT32, .rank = 1, .deflate = true, .big_endian = true},
                                 {.type = FACET_HDF5_INT32, .rank = 2, .deflate = true, .split_rows = true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    create(&cases[i]);
    cr_assert(!facet_chunk_describe(dataset, cases[i].type).is_known, "case %d", (int)i);
    destroy();
  }
}

/* Every damaged byte is found: deflated data carry a checksum. */
Test(chunk, damaged_bytes_are_refused) {
  const stored s = {.type = FACET_HDF5_INT32, .rank = 1, .shuffle = true, .deflate = true, .content = COUNTING};
  create(&s);
  const facet_chunk_format format = facet_chunk_describe(dataset, s.type);
  facet_chunk chunk = {0};
  int32_t rows[CHUNK_ROWS];
  EXPECT_OK(facet_chunk_read(&format, dataset, 0, &chunk));
  cr_assert(chunk.n_bytes > 20 && chunk.n_bytes < sizeof rows);
  for (size_t i = 2; i < chunk.n_bytes; i++) {
    chunk.bytes[i] ^= 0x10;
    cr_assert(facet_chunk_decode(&format, &chunk, CHUNK_ROWS, rows) == FACET_ERROR_DATA, "byte %d", (int)i);
    chunk.bytes[i] ^= 0x10;
  }
  chunk.n_bytes--;
  cr_assert(facet_chunk_decode(&format, &chunk, CHUNK_ROWS, rows) == FACET_ERROR_DATA, "a cut chunk");
  facet_memory_free(chunk.bytes);
  destroy();
}

Test(chunk, short_memory_is_no_damage) {
  const stored s = {.type = FACET_HDF5_INT32, .rank = 1, .deflate = true, .content = COUNTING};
  create(&s);
  const facet_chunk_format format = facet_chunk_describe(dataset, s.type);
  facet_chunk chunk = {0};
  int32_t rows[CHUNK_ROWS];
  EXPECT_OK(facet_chunk_read(&format, dataset, 0, &chunk));
  facet_environment environment = *facet_environment_get();
  environment.fail_allocation = 1;
  facet_environment_set(&environment);
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_chunk_decode(&format, &chunk, CHUNK_ROWS, rows), "cannot allocate 768 B");
  facet_memory_free(chunk.bytes);
  destroy();
}
