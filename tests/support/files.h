/* Files and directories of tests, for programs with and without Criterion. What fails aborts the test with a message. */
#ifndef TEST_FILES_H
#define TEST_FILES_H

#include <stddef.h>
#include <stdint.h>

/* Makes a new directory under $TMPDIR, or else /tmp; its name goes to path[64]. */
void test_directory_create(char *path);
/* Removes it with all it holds. */
void test_directory_remove(const char *path);

void test_file_write(const char *path, const void *data, size_t n_bytes);
/* A whole file of up to 4 MB; free with facet_memory_free. */
char *test_file_read(const char *path, size_t *n_bytes);

/* Overwrites one element of a data set in an HDF5 file, counted in row-major order. */
void test_hdf5_poke(const char *path, const char *name, int64_t element, double value);

#endif
