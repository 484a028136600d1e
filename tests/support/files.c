#include "support/files.h"

#include <hdf5.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "facet/file.h"

static void must(bool is_done, const char *what, const char *path) {
  if (is_done) return;
  fprintf(stderr, "cannot %s %s\n", what, path);
  abort();
}

void test_directory_create(char *path) {
  const char *parent = getenv("TMPDIR");
  snprintf(path, 64, "%.45s/facet_test_XXXXXX", parent && *parent ? parent : "/tmp");
  must(mkdtemp(path), "make directory", path);
}

void test_directory_remove(const char *path) {
  must(facet_directory_remove(path) == FACET_OK, "remove", path);
}

void test_file_write(const char *path, const void *data, size_t n_bytes) {
  FILE *stream = fopen(path, "wb");
  must(stream && fwrite(data, 1, n_bytes, stream) == n_bytes && fclose(stream) == 0, "write", path);
}

char *test_file_read(const char *path, size_t *n_bytes) {
  char *text;
  must(facet_file_read(path, 1 << 22, &text, n_bytes) == FACET_OK, "read", path);
  return text;
}

void test_hdf5_poke(const char *path, const char *name, int64_t element, double value) {
  hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), set = H5Dopen2(file, name, H5P_DEFAULT),
        space = H5Dget_space(set);
  hsize_t size[2] = {0, 1}, one = 1;
  H5Sget_simple_extent_dims(space, size, NULL);
  const hsize_t place[2] = {(hsize_t)element / size[1], (hsize_t)element % size[1]};
  must(H5Sselect_elements(space, H5S_SELECT_SET, 1, place) >= 0, "find the element in", path);
  hid_t memory = H5Screate_simple(1, &one, NULL);
  must(H5Dwrite(set, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, &value) >= 0, "overwrite an element of", path);
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(set);
  must(H5Fclose(file) >= 0, "close", path);
}
