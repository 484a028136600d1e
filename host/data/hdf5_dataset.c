/* Flat data sets of numbers. See hdf5.h. */
#include <string.h>

#include "base/text.h"
#include "data/hdf5.h"

static const struct {
  const char *name;
  size_t n_bytes;
} types[] = {[FACET_HDF5_UINT8] = {"uint8", 1},    [FACET_HDF5_INT32] = {"int32", 4},
             [FACET_HDF5_INT64] = {"int64", 8},    [FACET_HDF5_FLOAT] = {"float32", 4},
             [FACET_HDF5_DOUBLE] = {"float64", 8}, [FACET_HDF5_OTHER] = {"another type", 0}};

const char *facet_hdf5_type_name(facet_hdf5_type type) {
  return types[type].name;
}
size_t facet_hdf5_type_bytes(facet_hdf5_type type) {
  return types[type].n_bytes;
}

hid_t facet_hdf5_native(facet_hdf5_type type) {
  FACET_HDF5_GUARD; /* the names are macros that initialise the library */
  switch (type) {
  case FACET_HDF5_UINT8:
    return H5T_NATIVE_UINT8;
  case FACET_HDF5_INT32:
    return H5T_NATIVE_INT32;
  case FACET_HDF5_INT64:
    return H5T_NATIVE_INT64;
  case FACET_HDF5_FLOAT:
    return H5T_NATIVE_FLOAT;
  case FACET_HDF5_DOUBLE:
    return H5T_NATIVE_DOUBLE;
  default:
    return -1;
  }
}

/* The stored type, whatever its byte order. */
static facet_hdf5_type stored_type(hid_t dataset) {
  FACET_HDF5_SCOPED hid_t type = H5Dget_type(dataset);
  const H5T_class_t class = H5Tget_class(type);
  const size_t n_bytes = H5Tget_size(type);
  const bool is_signed = class == H5T_INTEGER && H5Tget_sign(type) != H5T_SGN_NONE;
  if (class == H5T_INTEGER && is_signed && n_bytes == 4) return FACET_HDF5_INT32;
  if (class == H5T_INTEGER && is_signed && n_bytes == 8) return FACET_HDF5_INT64;
  if (class == H5T_INTEGER && !is_signed && n_bytes == 1) return FACET_HDF5_UINT8;
  if (class == H5T_FLOAT && n_bytes == 4) return FACET_HDF5_FLOAT;
  if (class == H5T_FLOAT && n_bytes == 8) return FACET_HDF5_DOUBLE;
  return FACET_HDF5_OTHER;
}

/* Whether the library's conversion from `stored` to `memory` keeps every value (floats: up to rounding). */
static facet_status check_type(hid_t dataset, facet_hdf5_type memory) {
  const facet_hdf5_type stored = stored_type(dataset);
  const bool both_float = (stored == FACET_HDF5_FLOAT || stored == FACET_HDF5_DOUBLE) &&
                          (memory == FACET_HDF5_FLOAT || memory == FACET_HDF5_DOUBLE);
  const bool wider = stored == FACET_HDF5_INT32 && memory == FACET_HDF5_INT64;
  if (stored != memory && !both_float && !wider)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "is stored as %s, expected %s",
                            facet_hdf5_type_name(stored), facet_hdf5_type_name(memory));
  return FACET_OK;
}

/* ---- creating ------------------------------------------------------------------------------------------------ */

static facet_status set_layout(hid_t creation, facet_hdf5_type type, int rank, const hsize_t *dims,
                               int64_t chunk_rows) {
  hsize_t chunk[FACET_HDF5_MAX_RANK];
  herr_t failed = H5Pset_obj_track_times(creation, false) | H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
  if (chunk_rows > 0 && rank > 0 && dims[0] > 0) {
    memcpy(chunk, dims, (size_t)rank * sizeof *chunk);
    if ((hsize_t)chunk_rows < dims[0]) chunk[0] = (hsize_t)chunk_rows;
    failed |= H5Pset_chunk(creation, rank, chunk);
    if (facet_hdf5_type_bytes(type) > 1) failed |= H5Pset_shuffle(creation);
    failed |= H5Pset_deflate(creation, 1);
  } else {
    failed |= H5Pset_layout(creation, H5D_CONTIGUOUS) | H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
  }
  return failed < 0 ? FACET_ERROR_IO : FACET_OK;
}

facet_status facet_hdf5_dataset_create(hid_t location, const char *name, facet_hdf5_type type, int rank,
                                       const int64_t *dims, int64_t chunk_rows, hid_t *dataset) {
  FACET_HDF5_GUARD;
  *dataset = -1;
  if (rank < 0 || rank > FACET_HDF5_MAX_RANK)
    return facet_hdf5_error(FACET_ERROR_INTERNAL, location, name, "rank %d, at most %d", rank, FACET_HDF5_MAX_RANK);
  hsize_t sizes[FACET_HDF5_MAX_RANK];
  for (int i = 0; i < rank; i++) sizes[i] = (hsize_t)dims[i];
  FACET_HDF5_SCOPED hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  FACET_HDF5_SCOPED hid_t space = rank ? H5Screate_simple(rank, sizes, NULL) : H5Screate(H5S_SCALAR);
  if (creation < 0 || space < 0 || set_layout(creation, type, rank, sizes, chunk_rows) != FACET_OK ||
      (*dataset = H5Dcreate2(location, name, facet_hdf5_native(type), space, H5P_DEFAULT, creation, H5P_DEFAULT)) < 0)
    return facet_hdf5_error(FACET_ERROR_IO, location, name, "cannot create the data set");
  return FACET_OK;
}

/* ---- opening ------------------------------------------------------------------------------------------------- */

facet_status facet_hdf5_dataset_open(hid_t location, const char *name, hid_t *dataset) {
  FACET_HDF5_GUARD;
  *dataset = -1;
  if (!facet_hdf5_exists(location, name))
    return facet_hdf5_error(FACET_ERROR_DATA, location, name, "the data set is missing");
  if (facet_hdf5_is_group(location, name))
    return facet_hdf5_error(FACET_ERROR_DATA, location, name, "is a group, expected a data set");
  FACET_HDF5_SCOPED hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
  /* No chunk cache: callers read whole chunks, or whole data sets, once. */
  if (access < 0 || H5Pset_chunk_cache(access, 0, 0, 0) < 0 || (*dataset = H5Dopen2(location, name, access)) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, location, name, "cannot open the data set");
  return FACET_OK;
}

facet_status facet_hdf5_dataset_shape(hid_t dataset, facet_hdf5_type *type, int *rank,
                                      int64_t dims[FACET_HDF5_MAX_RANK]) {
  FACET_HDF5_GUARD;
  FACET_HDF5_SCOPED hid_t space = H5Dget_space(dataset);
  hsize_t sizes[FACET_HDF5_MAX_RANK];
  *rank = H5Sget_simple_extent_ndims(space);
  if (*rank < 0 || *rank > FACET_HDF5_MAX_RANK || H5Sget_simple_extent_dims(space, sizes, NULL) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has an unreadable shape");
  for (int i = 0; i < *rank; i++) dims[i] = (int64_t)sizes[i];
  *type = stored_type(dataset);
  return FACET_OK;
}

facet_status facet_hdf5_shape(hid_t location, const char *name, facet_hdf5_type *type, int *rank,
                              int64_t dims[FACET_HDF5_MAX_RANK]) {
  FACET_HDF5_GUARD;
  FACET_HDF5_SCOPED hid_t dataset = -1;
  FACET_TRY(facet_hdf5_dataset_open(location, name, &dataset));
  return facet_hdf5_dataset_shape(dataset, type, rank, dims);
}

/* ---- transfer ------------------------------------------------------------------------------------------------ */

/* Selects rows first … first + n − 1 in the file and a memory space of their size. */
static facet_status select_rows(hid_t dataset, int64_t first, int64_t n, hid_t *file_space, hid_t *memory_space) {
  hsize_t start[FACET_HDF5_MAX_RANK] = {0}, count[FACET_HDF5_MAX_RANK];
  *file_space = H5Dget_space(dataset);
  const int rank = H5Sget_simple_extent_ndims(*file_space);
  if (rank < 1 || rank > FACET_HDF5_MAX_RANK || H5Sget_simple_extent_dims(*file_space, count, NULL) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has no rows");
  if (first < 0 || n < 0 || first > (int64_t)count[0] - n)
    return facet_hdf5_error(FACET_ERROR_INTERNAL, dataset, NULL, "rows %lld to %lld are outside its %lld rows",
                            (long long)first, (long long)(first + n), (long long)count[0]);
  start[0] = (hsize_t)first;
  count[0] = (hsize_t)n;
  if (H5Sselect_hyperslab(*file_space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
      (*memory_space = H5Screate_simple(rank, count, NULL)) < 0)
    return facet_hdf5_error(FACET_ERROR_INTERNAL, dataset, NULL, "cannot select rows");
  return FACET_OK;
}

facet_status facet_hdf5_dataset_write(hid_t dataset, facet_hdf5_type type, int64_t first, int64_t n, const void *data) {
  FACET_HDF5_GUARD;
  FACET_HDF5_SCOPED hid_t file_space = -1;
  FACET_HDF5_SCOPED hid_t memory_space = -1;
  if (n == 0) return FACET_OK;
  FACET_TRY(select_rows(dataset, first, n, &file_space, &memory_space));
  if (H5Dwrite(dataset, facet_hdf5_native(type), memory_space, file_space, H5P_DEFAULT, data) < 0)
    return facet_hdf5_error(FACET_ERROR_IO, dataset, NULL, "cannot write");
  return FACET_OK;
}

facet_status facet_hdf5_dataset_read(hid_t dataset, facet_hdf5_type type, int64_t first, int64_t n, void *data) {
  FACET_HDF5_GUARD;
  FACET_HDF5_SCOPED hid_t file_space = -1;
  FACET_HDF5_SCOPED hid_t memory_space = -1;
  FACET_TRY(check_type(dataset, type));
  if (n == 0) return FACET_OK;
  FACET_TRY(select_rows(dataset, first, n, &file_space, &memory_space));
  if (H5Dread(dataset, facet_hdf5_native(type), memory_space, file_space, H5P_DEFAULT, data) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "cannot read");
  return FACET_OK;
}

facet_status facet_hdf5_write(hid_t location, const char *name, facet_hdf5_type type, int rank, const int64_t *dims,
                              const void *data) {
  FACET_HDF5_GUARD;
  FACET_HDF5_SCOPED hid_t dataset = -1;
  FACET_TRY(facet_hdf5_dataset_create(location, name, type, rank, dims, 0, &dataset));
  for (int i = 0; i < rank; i++)
    if (dims[i] == 0) return FACET_OK;
  if (H5Dwrite(dataset, facet_hdf5_native(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
    return facet_hdf5_error(FACET_ERROR_IO, dataset, NULL, "cannot write");
  return FACET_OK;
}

facet_status facet_hdf5_read(hid_t location, const char *name, facet_hdf5_type type, int rank, const int64_t *dims,
                             void *data) {
  FACET_HDF5_GUARD;
  FACET_HDF5_SCOPED hid_t dataset = -1;
  facet_hdf5_type stored;
  int stored_rank;
  int64_t stored_dims[FACET_HDF5_MAX_RANK] = {0};
  char a[96], b[96];
  FACET_TRY(facet_hdf5_dataset_open(location, name, &dataset));
  FACET_TRY(facet_hdf5_dataset_shape(dataset, &stored, &stored_rank, stored_dims));
  if (stored_rank != rank || memcmp(stored_dims, dims, (size_t)rank * sizeof *dims))
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has shape %s, expected %s",
                            facet_text_list(stored_dims, stored_rank, a, sizeof a),
                            facet_text_list(dims, rank, b, sizeof b));
  FACET_TRY(check_type(dataset, type));
  if (H5Dread(dataset, facet_hdf5_native(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "cannot read");
  return FACET_OK;
}
