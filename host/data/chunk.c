#include "data/chunk.h"

#include <libdeflate.h>
#include <string.h>

/* Shuffle and deflate, each at most once and in this order, which is how HDF5 applies them when writing. */
static bool read_pipeline(hid_t creation, facet_chunk_format *format) {
  const int n = H5Pget_nfilters(creation);
  format->shuffle = format->deflate = -1;
  for (int i = 0; i < n; i++) {
    unsigned flags, config;
    size_t n_values = 0;
    const H5Z_filter_t filter = H5Pget_filter2(creation, (unsigned)i, &flags, &n_values, NULL, 0, NULL, &config);
    if (filter == H5Z_FILTER_SHUFFLE && format->shuffle < 0 && format->deflate < 0)
      format->shuffle = i;
    else if (filter == H5Z_FILTER_DEFLATE && format->deflate < 0)
      format->deflate = i;
    else
      return false;
  }
  return n > 0;
}

facet_chunk_format facet_chunk_describe(hid_t dataset, facet_hdf5_type type) {
  FACET_HDF5_GUARD;
  facet_chunk_format format = {.element_bytes = facet_hdf5_type_bytes(type)};
  hsize_t chunk[FACET_HDF5_MAX_RANK] = {0}, dims[FACET_HDF5_MAX_RANK] = {0};
  FACET_HDF5_SCOPED hid_t creation = H5Dget_create_plist(dataset);
  FACET_HDF5_SCOPED hid_t space = H5Dget_space(dataset);
  FACET_HDF5_SCOPED hid_t stored = H5Dget_type(dataset);
  format.rank = H5Pget_chunk(creation, FACET_HDF5_MAX_RANK, chunk);
  if (format.rank < 1 || H5Sget_simple_extent_dims(space, dims, NULL) != format.rank) return format;
  bool has_whole_rows = true;
  format.row_bytes = format.element_bytes;
  for (int i = 1; i < format.rank; i++) {
    has_whole_rows = has_whole_rows && chunk[i] == dims[i];
    format.row_bytes *= (size_t)chunk[i];
  }
  format.n_rows = (int64_t)chunk[0];
  format.is_known = has_whole_rows && read_pipeline(creation, &format) && H5Tequal(stored, facet_hdf5_native(type)) > 0;
  return format;
}

facet_status facet_chunk_read(const facet_chunk_format *format, hid_t dataset, int64_t first, facet_chunk *chunk) {
  FACET_HDF5_GUARD;
  const hsize_t offset[FACET_HDF5_MAX_RANK] = {(hsize_t)first};
  hsize_t n_bytes;
  if (H5Dget_chunk_storage_size(dataset, offset, &n_bytes) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "cannot find the chunk of row %lld", (long long)first);
  /* as much as deflate can add to what it cannot compress, and more */
  if (n_bytes > 2 * (hsize_t)format->n_rows * format->row_bytes + 4096)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "the chunk of row %lld has impossible %llu bytes",
                            (long long)first, (unsigned long long)n_bytes);
  chunk->n_bytes = (size_t)n_bytes;
  FACET_TRY(FACET_GROW(chunk->bytes, chunk->capacity, chunk->n_bytes, "chunk of a column"));
  if (H5Dread_chunk(dataset, H5P_DEFAULT, offset, &chunk->skipped, chunk->bytes) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "cannot read the chunk of row %lld", (long long)first);
  return FACET_OK;
}

/* Inverts the shuffle of elements: byte b of all N elements stands together at b · N. */
static void unshuffle4(const unsigned char *from, size_t stride, size_t n, unsigned char *out) {
  const unsigned char *b0 = from, *b1 = from + stride, *b2 = from + 2 * stride, *b3 = from + 3 * stride;
  for (size_t i = 0; i < n; i++) {
    const uint32_t word = (uint32_t)b0[i] | (uint32_t)b1[i] << 8 | (uint32_t)b2[i] << 16 | (uint32_t)b3[i] << 24;
    memcpy(out + 4 * i, &word, 4);
  }
}

static void unshuffle(const unsigned char *from, size_t stride, size_t n, size_t element_bytes, unsigned char *out) {
  if (element_bytes == 4 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
    unshuffle4(from, stride, n, out);
    return;
  }
  for (size_t b = 0; b < element_bytes; b++)
    for (size_t i = 0; i < n; i++) out[i * element_bytes + b] = from[b * stride + i];
}

static facet_status inflate_chunk(const facet_chunk *chunk, unsigned char *out, size_t n_bytes) {
  struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
  FACET_CHECK(decompressor, FACET_ERROR_INTERNAL, "cannot allocate a decompressor");
  const enum libdeflate_result result =
      libdeflate_zlib_decompress(decompressor, chunk->bytes, chunk->n_bytes, out, n_bytes, NULL);
  libdeflate_free_decompressor(decompressor);
  FACET_CHECK(result == LIBDEFLATE_SUCCESS, FACET_ERROR_DATA, "the compressed chunk cannot be decoded");
  return FACET_OK;
}

facet_status facet_chunk_decode(const facet_chunk_format *format, const facet_chunk *chunk, int64_t n, void *out) {
  const size_t n_bytes = (size_t)format->n_rows * format->row_bytes;
  const bool is_deflated = format->deflate >= 0 && !(chunk->skipped >> format->deflate & 1);
  const bool is_shuffled = format->shuffle >= 0 && !(chunk->skipped >> format->shuffle & 1);
  unsigned char *inflated = NULL;
  facet_status status = FACET_OK;
  FACET_CHECK(is_deflated || chunk->n_bytes == n_bytes, FACET_ERROR_DATA, "the compressed chunk cannot be decoded");
  if (is_deflated) {
    FACET_TRY(FACET_ALLOC(inflated, n_bytes, "chunk of a column"));
    status = inflate_chunk(chunk, inflated, n_bytes);
  }
  const unsigned char *data = is_deflated ? inflated : chunk->bytes;
  if (status == FACET_OK && is_shuffled)
    unshuffle(data, n_bytes / format->element_bytes, (size_t)n * format->row_bytes / format->element_bytes,
              format->element_bytes, out);
  else if (status == FACET_OK)
    memcpy(out, data, (size_t)n * format->row_bytes);
  facet_memory_free(inflated);
  return status;
}
