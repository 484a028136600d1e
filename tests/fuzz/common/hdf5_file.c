#include "hdf5_file.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- checksums --------------------------------------------------------------------------------------------------- */

uint32_t H5_checksum_lookup3(const void *data, size_t n_bytes, uint32_t start); /* exported by the library */

static uint64_t get(const uint8_t *data, size_t width) {
  uint64_t value = 0;
  memcpy(&value, data, width); /* the format is little-endian, like the machines that facet runs on */
  return value;
}

/* The checksum of `length` bytes from `at` follows them. */
static void seal(uint8_t *data, size_t n_bytes, size_t at, uint64_t length) {
  if (at > n_bytes || length > n_bytes - at || n_bytes - at - length < 4) return;
  const uint32_t checksum = H5_checksum_lookup3(data + at, length, 0);
  memcpy(data + at + length, &checksum, sizeof checksum);
}

/* Messages first … end − 1 of an object header of version 2; seals the blocks that continue it. */
static void seal_continuations(uint8_t *data, size_t n_bytes, size_t first, size_t end, bool has_order, int depth) {
  const size_t head = has_order ? 6 : 4;
  for (size_t at = first; end <= n_bytes && at + head <= end;) {
    const uint64_t size = get(data + at + 1, 2);
    const uint8_t *body = data + at + head;
    if (size > end - at - head) return;
    if (data[at] == 0x10 && size >= 16 && depth < 8) {
      const uint64_t where = get(body, 8), length = get(body + 8, 8);
      if (where < n_bytes && length <= n_bytes - where && length >= 8 && memcmp(data + where, "OCHK", 4) == 0) {
        seal_continuations(data, n_bytes, where + 4, where + length - 4, has_order, depth + 1);
        seal(data, n_bytes, where, length - 4);
      }
    }
    at += head + size;
  }
}

static void seal_object_header(uint8_t *data, size_t n_bytes, size_t at) {
  if (n_bytes - at < 32 || data[at + 4] != 2) return;
  const uint8_t flags = data[at + 5];
  const size_t width = (size_t)1 << (flags & 3), size_at = at + 6 + (flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0);
  if (n_bytes - size_at < 8) return;
  const uint64_t size = get(data + size_at, width);
  const size_t first = size_at + width;
  if (size > n_bytes - first) return;
  seal_continuations(data, n_bytes, first, first + size, flags & 4, 0);
  seal(data, n_bytes, at, first + size - at);
}

static void seal_btree(uint8_t *data, size_t n_bytes, size_t at) {
  if (n_bytes - at < 38) return;
  const uint64_t record = get(data + at + 10, 2), root = get(data + at + 16, 8), n = get(data + at + 24, 2);
  if (root < n_bytes && n_bytes - root > 6 && memcmp(data + root, "BTLF", 4) == 0)
    seal(data, n_bytes, root, 6 + n * record);
  seal(data, n_bytes, at, 34);
}

void fuzz_hdf5_seal(uint8_t *data, size_t n_bytes) {
  if (n_bytes < 64) return;
  if (data[8] == 2 || data[8] == 3) seal(data, n_bytes, 0, 44);
  for (size_t at = 0; at + 8 < n_bytes; at++) {
    const uint8_t *found = memchr(data + at, 'O', n_bytes - 8 - at);
    if (!found) break;
    at = (size_t)(found - data);
    if (memcmp(found, "OHDR", 4) == 0) seal_object_header(data, n_bytes, at);
  }
  for (size_t at = 0; at + 8 < n_bytes; at++) {
    if (memcmp(data + at, "FRHP", 4) == 0) seal(data, n_bytes, at, 142);
    if (memcmp(data + at, "BTHD", 4) == 0) seal_btree(data, n_bytes, at);
  }
}

/* ---- the same content, stored otherwise -------------------------------------------------------------------------- */

typedef enum layout { CONTIGUOUS, CHUNKED, DEFLATED, CHECKSUMMED, COMPACT, N_LAYOUTS } layout;

static hid_t check(hid_t id) {
  FUZZ_CHECK(id >= 0, "HDF5 cannot write a seed");
  return id;
}
#define MUST(call) check((hid_t)(call))

static herr_t copy_attribute(hid_t from, const char *name, const H5A_info_t *info, void *data) {
  const hid_t to = *(hid_t *)data, old = MUST(H5Aopen(from, name, H5P_DEFAULT));
  const hid_t type = MUST(H5Aget_type(old)), space = MUST(H5Aget_space(old));
  char value[4096];
  FUZZ_CHECK(info->data_size <= sizeof value, "a long attribute");
  const hid_t new = MUST(H5Acreate2(to, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
  MUST(H5Aread(old, type, value));
  MUST(H5Awrite(new, type, value));
  H5Aclose(new), H5Sclose(space), H5Tclose(type), H5Aclose(old);
  return 0;
}

static hid_t make_creation(layout how, int rank, const hsize_t *dims) {
  const hid_t creation = MUST(H5Pcreate(H5P_DATASET_CREATE));
  hsize_t chunk[8], n = 1;
  for (int i = 0; i < rank; i++) {
    chunk[i] = i == 0 && dims[0] > 4 ? 4 : dims[i];
    n *= dims[i];
  }
  if (n == 0 || rank == 0) return creation;
  if (how == COMPACT) MUST(H5Pset_layout(creation, H5D_COMPACT));
  if (how == CHUNKED || how == DEFLATED || how == CHECKSUMMED) MUST(H5Pset_chunk(creation, rank, chunk));
  if (how == CHECKSUMMED) MUST(H5Pset_fletcher32(creation));
  if (how == DEFLATED) MUST(H5Pset_shuffle(creation) | H5Pset_deflate(creation, 4));
  return creation;
}

static void copy_dataset(hid_t old, hid_t to, const char *name, layout how) {
  const hid_t type = MUST(H5Dget_type(old)), space = MUST(H5Dget_space(old));
  hsize_t dims[8];
  const int rank = H5Sget_simple_extent_dims(space, dims, NULL);
  const hid_t creation = make_creation(how, rank, dims);
  const size_t n = (size_t)H5Sget_simple_extent_npoints(space);
  void *data = malloc(n * H5Tget_size(type) + 1);
  FUZZ_CHECK(data, "memory for a seed");
  MUST(H5Dread(old, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
  hid_t new = MUST(H5Dcreate2(to, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT));
  MUST(H5Dwrite(new, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
  MUST(H5Aiterate2(old, H5_INDEX_NAME, H5_ITER_INC, NULL, copy_attribute, &new));
  free(data);
  H5Dclose(new), H5Pclose(creation), H5Sclose(space), H5Tclose(type);
}

typedef struct copy {
  hid_t to;
  layout how;
} copy;

static void copy_members(hid_t from, hid_t to, layout how);

static herr_t copy_member(hid_t from, const char *name, const H5L_info_t *info, void *data) {
  const copy *c = data;
  (void)info;
  const hid_t old = MUST(H5Oopen(from, name, H5P_DEFAULT));
  if (H5Iget_type(old) == H5I_GROUP) {
    const hid_t new = MUST(H5Gcreate2(c->to, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    copy_members(old, new, c->how);
    H5Gclose(new);
  } else {
    copy_dataset(old, c->to, name, c->how);
  }
  H5Oclose(old);
  return 0;
}

static void copy_members(hid_t from, hid_t to, layout how) {
  copy c = {to, how};
  MUST(H5Aiterate2(from, H5_INDEX_NAME, H5_ITER_INC, NULL, copy_attribute, &c.to));
  MUST(H5Literate(from, H5_INDEX_NAME, H5_ITER_INC, NULL, copy_member, &c));
}

void fuzz_hdf5_copies(const char *path, fuzz_file files[FUZZ_HDF5_LAYOUTS]) {
  const char *other = fuzz_path("other.h5");
  files[0].data = fuzz_read(path, &files[0].n_bytes);
  for (layout how = 0; how < N_LAYOUTS; how++) {
    const hid_t from = MUST(H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT)), access = MUST(H5Pcreate(H5P_FILE_ACCESS));
    const hid_t creation = MUST(H5Pcreate(H5P_FILE_CREATE));
    MUST(H5Pset_meta_block_size(access, 0) | H5Pset_istore_k(creation, 4)); /* smaller files */
    const hid_t to = MUST(H5Fcreate(other, H5F_ACC_TRUNC, creation, access));
    copy_members(from, to, how);
    H5Fclose(to), H5Pclose(creation), H5Pclose(access), H5Fclose(from);
    files[how + 1].data = fuzz_read(other, &files[how + 1].n_bytes);
  }
}
