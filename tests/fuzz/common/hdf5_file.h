/* HDF5 files as inputs. */
#ifndef FACET_TESTS_FUZZ_HDF5_FILE_H
#define FACET_TESTS_FUZZ_HDF5_FILE_H

#include "fuzz.h"

/* An input of a reader of HDF5 files is one of two. A recipe is a list of changes to a file that facet's own writers made,
 * in one of six ways of storing it; the library makes the changes, so the file is always one that it can read, and what
 * is tested is facet. An input that begins with the signature of HDF5 is the file itself: regressions, and with
 * FACET_FUZZ_RAW=1 the playground of the mutator, where the library's parser is tested too. */

/* Keeps the file at `path`, and the same content as other programs store it: in the older format, contiguous, chunked,
 * compressed, with checksums, and in the objects' headers. To be called once. */
void fuzz_hdf5_begin(const char *path);
/* Writes the input's file. */
void fuzz_hdf5_make(const uint8_t *data, size_t n_bytes, const char *path);
/* Emits recipes, or with FACET_FUZZ_RAW=1 files. */
void fuzz_hdf5_seeds(fuzz_emit emit);

/* Makes the checksums of superblock, object headers, heaps and B-trees right again (format of HDF5 1.8, which facet
 * writes; the older format has none). */
void fuzz_hdf5_seal(uint8_t *data, size_t n_bytes);

enum { FUZZ_HDF5_LAYOUTS = 6 };
typedef struct fuzz_file {
  char *data;
  size_t n_bytes;
} fuzz_file;
/* The file and its five copies, to be freed with facet_memory_free. */
void fuzz_hdf5_copies(const char *path, fuzz_file files[FUZZ_HDF5_LAYOUTS]);

#endif
