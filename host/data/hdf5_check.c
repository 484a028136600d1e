/* What is refused when a file is opened: everything that facet never writes and that could reach outside the file,
 * load code, exhaust memory or recurse without end. The library itself does not promise to survive crafted files;
 * these checks keep out its features, not its faults. */
#include "data/hdf5_check.h"

#define MAX_DEPTH 8
#define MAX_OBJECTS 1000000
#define MAX_CHUNK_BYTES ((uint64_t)256 << 20)

typedef struct object_walk {
  int depth;
  int64_t n_objects;
  hsize_t file_bytes;
  facet_status status;
} object_walk;

static facet_status check_type(hid_t dataset) {
  FACET_HDF5_SCOPED hid_t type = H5Dget_type(dataset);
  const H5T_class_t class = H5Tget_class(type);
  const size_t n_bytes = H5Tget_size(type);
  if (class == H5T_VLEN || H5Tis_variable_str(type) > 0)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has a variable-length type, which is refused");
  if ((class != H5T_INTEGER && class != H5T_FLOAT) || n_bytes < 1 || n_bytes > 8)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL,
                            "has neither an integer nor a float type of at most 8 bytes");
  return FACET_OK;
}

static facet_status check_filters(hid_t dataset, hid_t creation) {
  const int n = H5Pget_nfilters(creation);
  for (int i = 0; i < n; i++) {
    unsigned flags, config;
    size_t n_values = 0;
    char name[64] = "";
    const H5Z_filter_t filter =
        H5Pget_filter2(creation, (unsigned)i, &flags, &n_values, NULL, sizeof name, name, &config);
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE && filter != H5Z_FILTER_FLETCHER32)
      return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL,
                              "uses filter %d%s%s%s, expected deflate, shuffle or fletcher32 only", (int)filter,
                              name[0] ? " (" : "", name, name[0] ? ")" : "");
    if (filter == H5Z_FILTER_FLETCHER32 && i + 1 < n)
      return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL,
                              "uses fletcher32 before another filter, expected it last");
  }
  return FACET_OK;
}

/* The library subtracts the checksum's 4 bytes from the size of a chunk that it reads, and crashes where there are fewer. */
static facet_status check_checksums(hid_t dataset, hid_t creation, int rank, const hsize_t *dims,
                                    const hsize_t *chunk) {
  hsize_t offset[FACET_HDF5_MAX_RANK] = {0}, n_bytes;
  unsigned flags;
  size_t n_values = 0;
  const bool has_checksums =
      H5Pget_filter_by_id2(creation, H5Z_FILTER_FLETCHER32, &flags, &n_values, NULL, 0, NULL, NULL) >= 0;
  H5Eclear2(H5E_DEFAULT);
  while (has_checksums && offset[0] < dims[0]) {
    if (H5Dget_chunk_storage_size(dataset, offset, &n_bytes) < 0 || n_bytes < 4)
      return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL,
                              "has a chunk at row %lld that is too short for its checksum", (long long)offset[0]);
    int i = rank - 1;
    for (; i > 0 && offset[i] + chunk[i] >= dims[i]; i--) offset[i] = 0;
    offset[i] += chunk[i];
  }
  return FACET_OK;
}

/* Chunked: every chunk must be stored, so that sizes are bounded by what the file really holds. */
static facet_status check_chunks(hid_t dataset, hid_t creation, hid_t space, int rank, const hsize_t *dims,
                                 size_t element_bytes) {
  hsize_t chunk[FACET_HDF5_MAX_RANK], n_stored = 0, n_expected = 1;
  uint64_t chunk_bytes = element_bytes;
  if (H5Pget_chunk(creation, FACET_HDF5_MAX_RANK, chunk) != rank)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has an unreadable chunk layout");
  for (int i = 0; i < rank; i++) {
    if (__builtin_mul_overflow(chunk_bytes, chunk[i], &chunk_bytes) || chunk_bytes > MAX_CHUNK_BYTES)
      return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has chunks above 256 MB");
    n_expected *= (dims[i] + chunk[i] - 1) / chunk[i]; /* no overflow: at most the number of elements */
  }
  if (H5Dget_num_chunks(dataset, space, &n_stored) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has an unreadable chunk index");
  if (n_stored != n_expected)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "holds %lld of %lld chunks: data are missing",
                            (long long)n_stored, (long long)n_expected);
  FACET_TRY(check_filters(dataset, creation));
  return check_checksums(dataset, creation, rank, dims, chunk);
}

static facet_status check_contiguous(hid_t dataset, hid_t creation, uint64_t n_bytes, hsize_t file_bytes) {
  if (H5Pget_external_count(creation) > 0)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "is stored in external files, which are refused");
  if (n_bytes == 0) return FACET_OK;
  const haddr_t offset = H5Dget_offset(dataset);
  H5Eclear2(H5E_DEFAULT);
  if (offset == HADDR_UNDEF)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "holds none of its %llu bytes: data are missing",
                            (unsigned long long)n_bytes);
  if (H5Dget_storage_size(dataset) < n_bytes || n_bytes > file_bytes || offset > file_bytes - n_bytes)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has data beyond the end of the file");
  return FACET_OK;
}

static facet_status check_dataset(hid_t dataset, hsize_t file_bytes) {
  FACET_HDF5_SCOPED hid_t creation = H5Dget_create_plist(dataset);
  FACET_HDF5_SCOPED hid_t space = H5Dget_space(dataset);
  FACET_HDF5_SCOPED hid_t type = H5Dget_type(dataset);
  if (creation < 0 || space < 0 || type < 0) return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "cannot be read");
  FACET_TRY(check_type(dataset));
  const int rank = H5Sget_simple_extent_ndims(space);
  hsize_t dims[H5S_MAX_RANK];
  if (rank < 0 || rank > FACET_HDF5_MAX_RANK)
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has %d dimensions, expected at most %d", rank,
                            FACET_HDF5_MAX_RANK);
  H5Sget_simple_extent_dims(space, dims, NULL);
  uint64_t n_bytes = H5Sget_simple_extent_type(space) == H5S_NULL ? 0 : H5Tget_size(type);
  for (int i = 0; i < rank; i++)
    if (__builtin_mul_overflow(n_bytes, dims[i], &n_bytes) || n_bytes > INT64_MAX)
      return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has impossible sizes");
  switch (H5Pget_layout(creation)) {
  case H5D_COMPACT:
    return FACET_OK;
  case H5D_CONTIGUOUS:
    return check_contiguous(dataset, creation, n_bytes, file_bytes);
  case H5D_CHUNKED:
    return n_bytes ? check_chunks(dataset, creation, space, rank, dims, H5Tget_size(type))
                   : check_filters(dataset, creation);
  case H5D_VIRTUAL:
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "is a virtual data set, which is refused");
  default:
    return facet_hdf5_error(FACET_ERROR_DATA, dataset, NULL, "has an unknown layout");
  }
}

static herr_t check_link(hid_t group, const char *name, const H5L_info_t *link, void *data);

static facet_status check_object(hid_t group, const char *name, const H5L_info_t *link, object_walk *walk) {
  if (link->type != H5L_TYPE_HARD)
    return facet_hdf5_error(FACET_ERROR_DATA, group, name, "is %s link, which is refused",
                            link->type == H5L_TYPE_EXTERNAL ? "an external"
                            : link->type == H5L_TYPE_SOFT   ? "a soft"
                                                            : "a user-defined");
  if (++walk->n_objects > MAX_OBJECTS)
    return facet_hdf5_error(FACET_ERROR_DATA, group, name, "the file holds more than %d objects", MAX_OBJECTS);
  FACET_HDF5_SCOPED hid_t object = H5Oopen(group, name, H5P_DEFAULT);
  if (object < 0) return facet_hdf5_error(FACET_ERROR_DATA, group, name, "cannot be read");
  switch (H5Iget_type(object)) {
  case H5I_DATASET:
    return check_dataset(object, walk->file_bytes);
  case H5I_GROUP:
    if (walk->depth == MAX_DEPTH)
      return facet_hdf5_error(FACET_ERROR_DATA, group, name, "groups are nested deeper than %d", MAX_DEPTH);
    walk->depth++;
    if (H5Literate(object, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, check_link, walk) < 0 && walk->status == FACET_OK)
      return facet_hdf5_error(FACET_ERROR_DATA, object, NULL, "cannot list the members");
    walk->depth--;
    return walk->status;
  default:
    return facet_hdf5_error(FACET_ERROR_DATA, group, name, "is neither a group nor a data set");
  }
}

static herr_t check_link(hid_t group, const char *name, const H5L_info_t *link, void *data) {
  object_walk *walk = data;
  walk->status = check_object(group, name, link, walk);
  return walk->status == FACET_OK ? 0 : 1; /* 1 stops the iteration */
}

facet_status facet_hdf5_check_file(hid_t file) {
  object_walk walk = {.status = FACET_OK};
  if (H5Fget_filesize(file, &walk.file_bytes) < 0)
    return facet_hdf5_error(FACET_ERROR_IO, file, NULL, "cannot find the size of the file");
  if (H5Literate(file, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, check_link, &walk) < 0 && walk.status == FACET_OK)
    return facet_hdf5_error(FACET_ERROR_DATA, file, NULL, "cannot list the objects");
  return walk.status;
}
