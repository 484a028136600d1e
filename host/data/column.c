/* Reading columns: from the mapped file, or in blocks through the library with a cache of decoded blocks. Threads decode
 * side by side, and hold the cache's lock only to find, add and drop blocks; a block in use is pinned. */
#include "data/column.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data/chunk.h"
#include "facet/memory.h"

#define CACHE_BYTES ((size_t)512 << 20) /* of decoded blocks, over all columns */
#define BLOCK_BYTES ((size_t)64 << 10)  /* of contiguous data sets that cannot be mapped */

/* Rows index · block_rows … of a column in memory, in the cache's list. */
typedef struct block {
  struct block *newer, *older;
  facet_column *column;
  int64_t index;
  size_t n_bytes;
  int n_pins;    /* readers that copy from it */
  bool was_used; /* since the cache last looked for room */
  alignas(FACET_ALIGNMENT) unsigned char data[];
} block;

struct facet_column {
  const char *path;
  char *name;
  facet_hdf5_type type; /* INT32, INT64 or FLOAT */
  int64_t n_rows, length;
  size_t row_bytes;
  bool chunked;
  facet_chunk_format format; /* of chunks */
  int64_t stored_bytes;
  const unsigned char *mapped; /* NULL: through the library */
  hid_t dataset;               /* −1 when mapped */
  int64_t file_bytes;          /* on opening, where not mapped */
  int64_t block_rows;
  block **blocks; /* [ceil(n_rows / block_rows)] NULL where not cached */
};

/* ---- the cache of blocks, under its lock ---------------------------------------------------------------------- */

static struct {
  pthread_mutex_t lock;
  block *newest, *oldest;
  size_t n_bytes, limit;
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = CACHE_BYTES};

static void unlink_block(block *b) {
  *(b->newer ? &b->newer->older : &cache.newest) = b->older;
  *(b->older ? &b->older->newer : &cache.oldest) = b->newer;
  cache.n_bytes -= b->n_bytes;
}

static void link_newest(block *b) {
  b->newer = NULL;
  b->older = cache.newest;
  *(cache.newest ? &cache.newest->newer : &cache.oldest) = b;
  cache.newest = b;
  cache.n_bytes += b->n_bytes;
}

static void drop_block(block *b) {
  unlink_block(b);
  b->column->blocks[b->index] = NULL;
  facet_memory_free(b);
}

/* Drops blocks until the rest fits, from the oldest on: one that was used since the last look is passed over once ("second
 * chance"), one that is being read always. A hit so touches no other block, as a list by last use would. */
static void shrink_cache(void) {
  for (int round = 0; round < 2; round++) {
    block *last = cache.newest;
    for (block *b = cache.oldest, *newer; b && cache.n_bytes > cache.limit; b = newer) {
      newer = b == last ? NULL : b->newer;
      if (b->n_pins == 0 && !b->was_used) {
        drop_block(b);
      } else {
        b->was_used = false;
        unlink_block(b);
        link_newest(b);
      }
    }
  }
}

size_t facet_column_cache_limit(size_t n_bytes) {
  pthread_mutex_lock(&cache.lock);
  const size_t before = cache.limit;
  cache.limit = n_bytes;
  shrink_cache();
  pthread_mutex_unlock(&cache.lock);
  return before;
}

/* The block of a column, pinned; NULL if it is not there. */
static block *pin_block(const facet_column *column, int64_t index) {
  pthread_mutex_lock(&cache.lock);
  block *b = column->blocks[index];
  if (b) {
    b->n_pins++;
    b->was_used = true;
  }
  pthread_mutex_unlock(&cache.lock);
  return b;
}

static void unpin_block(block *b) {
  pthread_mutex_lock(&cache.lock);
  b->n_pins--;
  pthread_mutex_unlock(&cache.lock);
}

/* Adds a block, pinned, unless another thread was faster: then that one's. */
static block *add_block(block *b) {
  facet_column *column = b->column;
  pthread_mutex_lock(&cache.lock);
  block *present = column->blocks[b->index];
  if (!present) {
    link_newest(b);
    column->blocks[b->index] = b;
    present = b;
  }
  present->n_pins++;
  shrink_cache();
  pthread_mutex_unlock(&cache.lock);
  if (present != b) facet_memory_free(b);
  return present;
}

/* ---- reading blocks -------------------------------------------------------------------------------------------- */

/* Size of the file that holds a data set, or −1. */
static int64_t file_size(hid_t dataset) {
  FACET_HDF5_SCOPED hid_t file = H5Iget_file_id(dataset);
  int *descriptor = NULL;
  struct stat info;
  if (H5Fget_vfd_handle(file, H5P_DEFAULT, (void **)&descriptor) < 0 || fstat(*descriptor, &info) != 0) return -1;
  return (int64_t)info.st_size;
}

/* Where a file has shrunk the library reads zeros, without an error. */
static facet_status check_size(const facet_column *column) {
  FACET_HDF5_GUARD;
  const int64_t n_bytes = file_size(column->dataset);
  FACET_CHECK(n_bytes >= column->file_bytes, FACET_ERROR_DATA,
              "%s: the file shrank while it was in use, from %" PRId64 " bytes to %" PRId64, column->path,
              column->file_bytes, n_bytes);
  return FACET_OK;
}

/* Decodes a chunk outside the library. */
static facet_status decode_block(const facet_column *column, int64_t first, int64_t n, void *data) {
  facet_chunk chunk = {0};
  facet_status status = facet_chunk_read(&column->format, column->dataset, first, &chunk);
  if (status == FACET_OK && facet_chunk_decode(&column->format, &chunk, n, data) != FACET_OK)
    status =
        facet_error_context("%s: %s: rows %" PRId64 " to %" PRId64, column->path, column->name, first, first + n - 1);
  facet_memory_free(chunk.bytes);
  return status;
}

static facet_status load_block(facet_column *column, int64_t index, block **out) {
  const int64_t first = index * column->block_rows;
  const int64_t n = column->n_rows - first < column->block_rows ? column->n_rows - first : column->block_rows;
  const size_t n_bytes = (size_t)n * column->row_bytes;
  block *b = facet_memory_alloc(1, sizeof *b + n_bytes, "block of a column");
  if (!b) return FACET_ERROR_INTERNAL;
  facet_status status = column->format.is_known
                            ? decode_block(column, first, n, b->data)
                            : facet_hdf5_dataset_read(column->dataset, column->type, first, n, b->data);
  const facet_status size_status = check_size(column); /* explains other errors, too */
  if (size_status != FACET_OK) status = size_status;
  if (status != FACET_OK) {
    facet_memory_free(b);
    return status;
  }
  b->column = column;
  b->index = index;
  b->n_bytes = n_bytes;
  *out = add_block(b);
  return FACET_OK;
}

static facet_status find_block(facet_column *column, int64_t index, block **out) {
  *out = pin_block(column, index);
  return *out ? FACET_OK : load_block(column, index, out);
}

/* ---- opening ------------------------------------------------------------------------------------------------- */

static facet_status check_shape(hid_t dataset, facet_column *column, facet_column_expect expect) {
  int rank;
  int64_t dims[FACET_HDF5_MAX_RANK];
  FACET_TRY(facet_hdf5_dataset_shape(dataset, &column->type, &rank, dims));
  const bool is_float = column->type == FACET_HDF5_FLOAT;
  const bool is_int = column->type == FACET_HDF5_INT32 || column->type == FACET_HDF5_INT64;
  if (expect.type == FACET_FEATURE_FLOAT ? !is_float : !is_int)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "is stored as %s, expected %s",
                            facet_hdf5_type_name(column->type),
                            expect.type == FACET_FEATURE_FLOAT ? "float32" : "int32 or int64");
  const int rank_expected = expect.length > 1 ? 2 : 1;
  if (rank != rank_expected)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has %d dimensions, expected %d", rank, rank_expected);
  if (rank == 2 && dims[1] != expect.length)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has rows of %" PRId64 " elements, expected %" PRId64,
                            dims[1], expect.length);
  if (expect.n_rows >= 0 && dims[0] != expect.n_rows)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has %" PRId64 " rows, expected %" PRId64, dims[0],
                            expect.n_rows);
  column->n_rows = dims[0];
  column->length = expect.length;
  column->row_bytes = (size_t)expect.length * facet_hdf5_type_bytes(column->type);
  return FACET_OK;
}

/* Points into the mapping where the data set is contiguous, in this machine's byte order, and aligned to its
 * element; else *mapped stays NULL. */
static void try_map(hid_t dataset, facet_column *column, const facet_mapping *mapping) {
  FACET_HDF5_SCOPED hid_t type = H5Dget_type(dataset);
  const size_t element_bytes = facet_hdf5_type_bytes(column->type),
               n_bytes = (size_t)column->n_rows * column->row_bytes;
  if (!mapping || column->chunked || H5Tequal(type, facet_hdf5_native(column->type)) <= 0) return;
  const haddr_t offset = H5Dget_offset(dataset);
  H5Eclear2(H5E_DEFAULT);
  if (offset == HADDR_UNDEF || offset % element_bytes || n_bytes > mapping->n_bytes ||
      offset > mapping->n_bytes - n_bytes)
    return;
  column->mapped = mapping->data + offset;
}

static facet_status prepare_blocks(hid_t dataset, facet_column *column) {
  FACET_HDF5_SCOPED hid_t creation = H5Dget_create_plist(dataset);
  hsize_t chunk[FACET_HDF5_MAX_RANK] = {0};
  column->block_rows = column->row_bytes < BLOCK_BYTES ? (int64_t)(BLOCK_BYTES / column->row_bytes) : 1;
  if (column->chunked && H5Pget_chunk(creation, FACET_HDF5_MAX_RANK, chunk) > 0)
    column->block_rows = chunk[0] < (hsize_t)column->n_rows ? (int64_t)chunk[0] : column->n_rows;
  if (column->chunked) column->format = facet_chunk_describe(dataset, column->type);
  const int64_t n_blocks = (column->n_rows + column->block_rows - 1) / column->block_rows;
  return FACET_ALLOC(column->blocks, n_blocks, "blocks of a column");
}

static facet_status open_column(hid_t file, facet_column *column, const facet_mapping *mapping,
                                facet_column_expect expect) {
  FACET_HDF5_SCOPED hid_t dataset = -1;
  FACET_TRY(facet_hdf5_dataset_open(file, column->name + 1, &dataset)); /* without the leading "/" */
  FACET_TRY(check_shape(dataset, column, expect));
  FACET_HDF5_SCOPED hid_t creation = H5Dget_create_plist(dataset);
  column->chunked = H5Pget_layout(creation) == H5D_CHUNKED;
  column->stored_bytes = (int64_t)H5Dget_storage_size(dataset);
  if (column->n_rows == 0) return FACET_OK;
  try_map(dataset, column, mapping);
  if (column->mapped) return FACET_OK;
  FACET_TRY(prepare_blocks(dataset, column));
  column->file_bytes = file_size(dataset);
  column->dataset = dataset;
  dataset = -1;
  return FACET_OK;
}

facet_status facet_column_open(hid_t file, const char *path, const facet_mapping *mapping, const char *name,
                               facet_column_expect expect, facet_column **out) {
  FACET_HDF5_GUARD;
  facet_column *column;
  *out = NULL;
  FACET_TRY(FACET_ALLOC(column, 1, "column"));
  column->path = path;
  column->dataset = -1;
  column->name = facet_memory_strdup(name);
  const facet_status status = column->name ? open_column(file, column, mapping, expect) : FACET_ERROR_INTERNAL;
  if (status != FACET_OK) facet_column_close(&column);
  *out = column;
  return status;
}

void facet_column_close(facet_column **out) {
  facet_column *column = *out;
  if (!column) return;
  pthread_mutex_lock(&cache.lock);
  if (column->blocks)
    for (int64_t i = 0; i * column->block_rows < column->n_rows; i++)
      if (column->blocks[i]) drop_block(column->blocks[i]);
  pthread_mutex_unlock(&cache.lock);
  FACET_HDF5_GUARD;
  facet_memory_free(column->blocks);
  facet_hdf5_release(&column->dataset);
  facet_memory_free(column->name);
  facet_memory_free(column);
  *out = NULL;
}

facet_column_info facet_column_describe(const facet_column *column) {
  return (facet_column_info){.type = column->type,
                             .n_rows = column->n_rows,
                             .length = column->length,
                             .mapped = column->mapped,
                             .chunked = column->chunked,
                             .stored_bytes = column->stored_bytes};
}

int64_t facet_column_n_rows(const facet_column *column) {
  return column->n_rows;
}
const char *facet_column_name(const facet_column *column) {
  return column->name;
}

const void *facet_column_mapped(const facet_column *column, int *element_bytes) {
  *element_bytes = (int)facet_hdf5_type_bytes(column->type);
  return column->mapped;
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* Copies elements of the stored type to the destination's; `row` is of the first one. */
typedef facet_status (*convert_rows)(const facet_column *column, const void *stored, int64_t row, int64_t n, void *out);

static facet_status wrong_type(const facet_column *column, const char *wanted) {
  return facet_error_set(FACET_ERROR_INTERNAL, __FILE__, __LINE__, "%s: %s: holds %s, asked for as %s", column->path,
                         column->name, facet_hdf5_type_name(column->type), wanted);
}

static facet_status to_int32(const facet_column *column, const void *stored, int64_t row, int64_t n, void *out) {
  int32_t *to = out;
  if (column->type == FACET_HDF5_INT32) {
    memcpy(to, stored, (size_t)(n * column->length) * sizeof *to);
    return FACET_OK;
  }
  if (column->type != FACET_HDF5_INT64) return wrong_type(column, "int32");
  const int64_t *from = stored;
  for (int64_t i = 0; i < n * column->length; i++) {
    FACET_CHECK(from[i] >= INT32_MIN && from[i] <= INT32_MAX, FACET_ERROR_DATA,
                "%s: %s: row %" PRId64 ": %" PRId64 " does not fit 32 bits", column->path, column->name,
                row + i / column->length, from[i]);
    to[i] = (int32_t)from[i];
  }
  return FACET_OK;
}

static facet_status to_int64(const facet_column *column, const void *stored, int64_t row, int64_t n, void *out) {
  (void)row;
  int64_t *to = out;
  if (column->type == FACET_HDF5_INT64) {
    memcpy(to, stored, (size_t)(n * column->length) * sizeof *to);
    return FACET_OK;
  }
  if (column->type != FACET_HDF5_INT32) return wrong_type(column, "int64");
  for (int64_t i = 0; i < n * column->length; i++) to[i] = ((const int32_t *)stored)[i];
  return FACET_OK;
}

static facet_status to_float(const facet_column *column, const void *stored, int64_t row, int64_t n, void *out) {
  (void)row;
  if (column->type != FACET_HDF5_FLOAT) return wrong_type(column, "float32");
  memcpy(out, stored, (size_t)(n * column->length) * sizeof(float));
  return FACET_OK;
}

static facet_status read_rows(facet_column *column, int64_t first, int64_t n, convert_rows convert, size_t out_bytes,
                              unsigned char *out) {
  if (n <= 0) return FACET_OK;
  if (column->mapped) return convert(column, column->mapped + (size_t)first * column->row_bytes, first, n, out);
  while (n > 0) {
    block *b;
    const int64_t index = first / column->block_rows, skip = first % column->block_rows;
    const int64_t take = n < column->block_rows - skip ? n : column->block_rows - skip;
    FACET_TRY(find_block(column, index, &b));
    const facet_status status = convert(column, b->data + (size_t)skip * column->row_bytes, first, take, out);
    unpin_block(b);
    FACET_TRY(status);
    out += (size_t)(take * column->length) * out_bytes;
    first += take;
    n -= take;
  }
  return FACET_OK;
}

void facet_column_prefetch(const facet_column *column, int64_t first, int64_t n) {
  const int64_t index = first / (column->blocks ? column->block_rows : 1);
  if (n <= 0 || !column->blocks || first < 0 || first >= column->n_rows) return;
  pthread_mutex_lock(&cache.lock); /* the address must not be that of a block that has just been dropped */
  const block *b = column->blocks[index];
  if (b) {
    const size_t begin = (size_t)(first - index * column->block_rows) * column->row_bytes;
    const size_t end =
        begin + (size_t)n * column->row_bytes < b->n_bytes ? begin + (size_t)n * column->row_bytes : b->n_bytes;
    __builtin_prefetch(b);
    for (size_t at = begin; at < end; at += FACET_ALIGNMENT) __builtin_prefetch(b->data + at);
  }
  pthread_mutex_unlock(&cache.lock);
}

facet_status facet_column_read_int32(facet_column *column, int64_t first, int64_t n, int32_t *out) {
  return read_rows(column, first, n, to_int32, sizeof *out, (unsigned char *)out);
}

facet_status facet_column_read_int64(facet_column *column, int64_t first, int64_t n, int64_t *out) {
  return read_rows(column, first, n, to_int64, sizeof *out, (unsigned char *)out);
}

facet_status facet_column_read_float(facet_column *column, int64_t first, int64_t n, float *out) {
  return read_rows(column, first, n, to_float, sizeof *out, (unsigned char *)out);
}
