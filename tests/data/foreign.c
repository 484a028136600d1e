#include "foreign.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void check_call(int64_t result, const char *call) {
  cr_assert(result >= 0, "failed: %s", call);
}
#define must(call) check_call((call), #call)

/* Opens the file for changes; data sets are created at multiples of `alignment`. */
static hid_t open_aligned(const char *path, hsize_t alignment) {
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  must(H5Pset_alignment(access, 1, alignment));
  must(H5Pset_meta_block_size(access, 0));
  must(H5Pset_small_data_block_size(access, 0)); /* data sets end to end, none in a block of its own */
  hid_t file = H5Fopen(path, H5F_ACC_RDWR, access);
  must(file);
  H5Pclose(access);
  return file;
}

hid_t foreign_open(const char *path) {
  return open_aligned(path, 1);
}

/* ---- storing again ----------------------------------------------------------------------------------------------- */

static hid_t make_creation(foreign_layout layout, int rank, const hsize_t *dims, int64_t chunk_rows) {
  hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  hsize_t chunk[2] = {(hsize_t)chunk_rows, rank > 1 ? dims[1] : 1};
  if (chunk[0] > dims[0]) chunk[0] = dims[0];
  if (layout == FOREIGN_COMPACT) must(H5Pset_layout(creation, H5D_COMPACT));
  if (layout >= FOREIGN_CHUNKED && layout <= FOREIGN_DEFLATE) must(H5Pset_chunk(creation, rank, chunk));
  if (layout == FOREIGN_CHECKSUM) must(H5Pset_fletcher32(creation));
  if (layout == FOREIGN_DEFLATE) must(H5Pset_shuffle(creation) | H5Pset_deflate(creation, 4));
  return creation;
}

/* Creates a data set that holds its space, at an odd offset: a few bytes before each try. */
static hid_t create_at_odd_offset(hid_t file, const char *name, hid_t type, hid_t space) {
  static int n_tries;
  hid_t early = H5Pcreate(H5P_DATASET_CREATE), set = -1;
  must(H5Pset_alloc_time(early, H5D_ALLOC_TIME_EARLY));
  for (int i = 0; i < 50 && set < 0; i++) {
    char pad[32], trial[32];
    snprintf(pad, sizeof pad, "/pad%d", n_tries);
    snprintf(trial, sizeof trial, "/trial%d", n_tries++);
    const hsize_t n_bytes = 1 + (hsize_t)i % 3;
    hid_t bytes = H5Screate_simple(1, &n_bytes, NULL);
    must(H5Dclose(H5Dcreate2(file, pad, H5T_NATIVE_UINT8, bytes, H5P_DEFAULT, early, H5P_DEFAULT)));
    H5Sclose(bytes);
    set = H5Dcreate2(file, trial, type, space, H5P_DEFAULT, early, H5P_DEFAULT);
    must(set);
    if (H5Dget_offset(set) % 2 == 1 || H5Sget_simple_extent_npoints(space) == 0) {
      must(H5Lmove(file, trial, file, name, H5P_DEFAULT, H5P_DEFAULT));
    } else {
      H5Dclose(set);
      set = -1;
    }
  }
  H5Pclose(early);
  return set;
}

static void restore(hid_t file, const char *name, hid_t type, foreign_layout layout, int64_t chunk_rows) {
  hid_t old = H5Dopen2(file, name, H5P_DEFAULT);
  must(old);
  hid_t space = H5Dget_space(old), old_type = H5Dget_type(old), memory = H5Tget_native_type(old_type, H5T_DIR_ASCEND);
  hsize_t dims[2] = {0, 1};
  const int rank = H5Sget_simple_extent_dims(space, dims, NULL);
  void *values = calloc(dims[0] * dims[1] + 1, H5Tget_size(memory));
  must(H5Dread(old, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
  H5Dclose(old);
  must(H5Ldelete(file, name, H5P_DEFAULT));
  hid_t creation = make_creation(layout, rank, dims, chunk_rows);
  if (type < 0) type = old_type;
  hid_t set = layout == FOREIGN_MISALIGNED ? create_at_odd_offset(file, name, type, space)
                                           : H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  must(set);
  must(H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
  H5Dclose(set);
  H5Pclose(creation);
  free(values);
  H5Tclose(memory);
  H5Tclose(old_type);
  H5Sclose(space);
}

void foreign_restore(const char *path, const char *name, hid_t type, foreign_layout layout, int64_t chunk_rows) {
  hid_t file = open_aligned(path, layout == FOREIGN_ALIGNED ? 8 : 1);
  restore(file, name, type, layout, chunk_rows);
  must(H5Fclose(file));
}

typedef struct name_list {
  char name[64][128];
  int n;
} name_list;

static herr_t list_dataset(hid_t file, const char *name, const H5O_info_t *info, void *data) {
  name_list *list = data;
  (void)file;
  if (info->type == H5O_TYPE_DATASET && strcmp(name, "schema")) snprintf(list->name[list->n++], 128, "/%s", name);
  return 0;
}

static hid_t swapped_type(hid_t type) {
  hid_t swapped = H5Tcopy(type);
  must(H5Tset_order(swapped, H5Tget_order(type) == H5T_ORDER_LE ? H5T_ORDER_BE : H5T_ORDER_LE));
  return swapped;
}

void foreign_restore_all(const char *path, foreign_layout layout, int64_t chunk_rows, int other_byte_order) {
  hid_t file = open_aligned(path, layout == FOREIGN_ALIGNED ? 8 : 1);
  name_list list = {.n = 0};
  must(H5Ovisit(file, H5_INDEX_NAME, H5_ITER_INC, list_dataset, &list));
  for (int i = 0; i < list.n; i++) {
    hid_t set = H5Dopen2(file, list.name[i], H5P_DEFAULT), type = H5Dget_type(set), swapped = swapped_type(type);
    H5Dclose(set);
    restore(file, list.name[i], other_byte_order ? swapped : type, layout, chunk_rows);
    H5Tclose(swapped);
    H5Tclose(type);
  }
  must(H5Fclose(file));
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

void foreign_replace(const char *path, const char *name, hid_t type, int64_t n, int64_t length) {
  hid_t file = foreign_open(path);
  const hsize_t dims[2] = {(hsize_t)n, (hsize_t)(length < 0 ? 1 : length)};
  hid_t space = H5Screate_simple(length == 1 ? 1 : 2, dims, NULL);
  must(H5Ldelete(file, name, H5P_DEFAULT));
  hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  must(set);
  char *zeros = calloc(dims[0] * dims[1] + 1, 16);
  must(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros));
  free(zeros);
  H5Dclose(set);
  H5Sclose(space);
  must(H5Fclose(file));
}

void foreign_delete(const char *path, const char *name) {
  hid_t file = foreign_open(path);
  must(H5Ldelete(file, name, H5P_DEFAULT));
  must(H5Fclose(file));
}

void foreign_create_group(const char *path, const char *name) {
  hid_t file = foreign_open(path);
  must(H5Gclose(H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)));
  must(H5Fclose(file));
}

static void set_attribute(const char *path, const char *name, hid_t type, const void *value) {
  hid_t file = foreign_open(path), space = H5Screate(H5S_SCALAR);
  must(H5Adelete(file, name));
  hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  must(attribute);
  must(H5Awrite(attribute, type, value));
  H5Aclose(attribute);
  H5Sclose(space);
  must(H5Fclose(file));
}

void foreign_set_attribute(const char *path, const char *name, int64_t value) {
  set_attribute(path, name, H5T_NATIVE_INT64, &value);
}

void foreign_set_text(const char *path, const char *name, const char *value) { /* of variable length, as h5py does */
  hid_t type = H5Tcopy(H5T_C_S1);
  must(H5Tset_size(type, H5T_VARIABLE));
  set_attribute(path, name, type, &value);
  H5Tclose(type);
}

void foreign_delete_attribute(const char *path, const char *name) {
  hid_t file = foreign_open(path);
  must(H5Adelete(file, name));
  must(H5Fclose(file));
}
