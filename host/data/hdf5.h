/* HDF5 for the whole of facet: the lock, files, attributes and flat data sets of numbers. Private to host/.
 *
 * The HDF5 library is not thread-safe. Every function below takes the lock itself (it is recursive); code that calls
 * the library directly does so between facet_hdf5_lock and facet_hdf5_unlock. Errors name file and object, and carry
 * the library's own innermost description. A failed write is FACET_ERROR_IO; content that is wrong is
 * FACET_ERROR_DATA, unless it is the system that cannot open or read the file: FACET_ERROR_IO.
 *
 * Files are written in the format of HDF5 1.8 (checksummed metadata; every later library and h5py read it), without
 * time stamps, so that the same content gives the same bytes. Objects of 4096 bytes or more are aligned to 4096. */
#ifndef FACET_HDF5_H
#define FACET_HDF5_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facet/memory.h"
#include "facet/real.h"
#include "facet/status.h"

void facet_hdf5_lock(void);
void facet_hdf5_unlock(void);

/* Holds the lock until the end of the enclosing block, whichever way it is left. */
#define FACET_HDF5_GUARD                                                                                               \
  __attribute__((cleanup(facet_hdf5_guard_end), unused)) int facet_hdf5_guard = facet_hdf5_guard_begin()
int facet_hdf5_guard_begin(void);
void facet_hdf5_guard_end(int *guard);

/* Declares a variable that releases its id at the end of the enclosing block: FACET_HDF5_SCOPED hid_t space = -1; */
#define FACET_HDF5_SCOPED __attribute__((cleanup(facet_hdf5_release)))

/* Describes a failure as "<file>: <object>[/<name>]: <text>[: <library's description>]"; `name` may be NULL. Call it with
 * the lock still held since the library's call. */
facet_status facet_hdf5_error(facet_status status, hid_t location, const char *name, const char *format, ...)
    FACET_PRINTF(4, 5);
/* The library's innermost description of the last failure in text[n_bytes] (empty if none); clears its error stack. True
 * if it is what the system said. */
bool facet_hdf5_description(char *text, size_t n_bytes);

/* ---- files and groups ---------------------------------------------------------------------------------------- */

/* Creates (or truncates) a file; on failure there is none. */
facet_status facet_hdf5_create(const char *path, hid_t *file);
/* Opens a file for reading and walks all of it, refusing what facet never writes and what could reach outside the file
 * or exhaust memory: external, soft and user-defined links, external storage, virtual data sets, filters other than
 * shuffle, deflate and fletcher32, types other than integers and floats of 1 to 8 bytes, more than four dimensions,
 * data that are missing or lie beyond the end of the file, chunks above 256 MB, groups nested deeper than eight. */
facet_status facet_hdf5_open(const char *path, hid_t *file);
/* Flushes and closes a file; *file becomes −1. A negative id is fine. */
facet_status facet_hdf5_close(hid_t *file);
/* Closes a file that was only read, or that is of no use any more, without touching the present error. */
void facet_hdf5_discard(hid_t *file);
/* Discards a file that was being written, and removes it. */
void facet_hdf5_abandon(hid_t *file, const char *path);
/* Makes a closed file durable under its final name: fsync, rename, fsync of the directory. */
facet_status facet_hdf5_publish(const char *temporary, const char *path);
/* All of that: a new file that `fill` fills appears complete under its name, or not at all. */
facet_status facet_hdf5_write_file(const char *path, facet_status (*fill)(hid_t file, const void *context),
                                   const void *context);

facet_status facet_hdf5_group_create(hid_t location, const char *name, hid_t *group);
facet_status facet_hdf5_group_open(hid_t location, const char *name, hid_t *group);
/* Releases any id that is not a file; *id becomes −1. A negative id is fine. */
void facet_hdf5_release(hid_t *id);
/* True if every element of the path `name` ("samples/history/start") exists. */
bool facet_hdf5_exists(hid_t location, const char *name);
bool facet_hdf5_is_group(hid_t location, const char *name);
/* Names of the members of a file or group, sorted; memory from the arena. */
facet_status facet_hdf5_list(hid_t location, facet_arena *arena, char ***names, int64_t *n_names);

/* ---- attributes ---------------------------------------------------------------------------------------------- */

bool facet_hdf5_has_attribute(hid_t location, const char *name);
facet_status facet_hdf5_set_string(hid_t location, const char *name, const char *value);
facet_status facet_hdf5_set_int64(hid_t location, const char *name, int64_t value);
facet_status facet_hdf5_set_uint64(hid_t location, const char *name, uint64_t value);
facet_status facet_hdf5_set_double(hid_t location, const char *name, double value);
/* Strings may be of fixed or variable length (h5py writes the latter); too long for the buffer is an error. */
facet_status facet_hdf5_get_string(hid_t location, const char *name, char *text, size_t n_bytes);
/* Integers of any width that holds the value; doubles from any float. */
facet_status facet_hdf5_get_int64(hid_t location, const char *name, int64_t *value);
facet_status facet_hdf5_get_uint64(hid_t location, const char *name, uint64_t *value);
facet_status facet_hdf5_get_double(hid_t location, const char *name, double *value);

/* Attributes facet_format and facet_version, which every file of facet has. */
facet_status facet_hdf5_set_format(hid_t file, const char *format, int64_t version);
/* Requires the format, and a version from 1 to `version`. */
facet_status facet_hdf5_check_format(hid_t file, const char *format, int64_t version);

/* ---- data sets ----------------------------------------------------------------------------------------------- */

#define FACET_HDF5_MAX_RANK 4

typedef enum facet_hdf5_type {
  FACET_HDF5_UINT8,
  FACET_HDF5_INT32,
  FACET_HDF5_INT64,
  FACET_HDF5_FLOAT,
  FACET_HDF5_DOUBLE,
  FACET_HDF5_OTHER /* another number, in what facet_hdf5_dataset_shape reports */
} facet_hdf5_type;

#ifdef FACET_DOUBLE
#define FACET_HDF5_REAL FACET_HDF5_DOUBLE
#else
#define FACET_HDF5_REAL FACET_HDF5_FLOAT
#endif

hid_t facet_hdf5_native(facet_hdf5_type type);          /* the library's id; not to be closed */
const char *facet_hdf5_type_name(facet_hdf5_type type); /* "int32" */
size_t facet_hdf5_type_bytes(facet_hdf5_type type);

/* Writes a whole data set of dims[rank] in row-major order. */
facet_status facet_hdf5_write(hid_t location, const char *name, facet_hdf5_type type, int rank, const int64_t *dims,
                              const void *data);
/* Reads a whole data set into memory of the given type. The stored rank and sizes must equal dims[rank]. Integers must
 * be stored in the same signedness and not wider; floats may be of either width. */
facet_status facet_hdf5_read(hid_t location, const char *name, facet_hdf5_type type, int rank, const int64_t *dims,
                             void *data);
/* Rank, sizes and stored type of a data set. */
facet_status facet_hdf5_shape(hid_t location, const char *name, facet_hdf5_type *type, int *rank,
                              int64_t dims[FACET_HDF5_MAX_RANK]);

/* Creates a data set to be filled row-wise: contiguous, or with chunk_rows > 0 chunked with shuffle and deflate. */
facet_status facet_hdf5_dataset_create(hid_t location, const char *name, facet_hdf5_type type, int rank,
                                       const int64_t *dims, int64_t chunk_rows, hid_t *dataset);
facet_status facet_hdf5_dataset_open(hid_t location, const char *name, hid_t *dataset);
facet_status facet_hdf5_dataset_shape(hid_t dataset, facet_hdf5_type *type, int *rank,
                                      int64_t dims[FACET_HDF5_MAX_RANK]);
/* Rows first … first + n − 1 of the first dimension. */
facet_status facet_hdf5_dataset_write(hid_t dataset, facet_hdf5_type type, int64_t first, int64_t n, const void *data);
facet_status facet_hdf5_dataset_read(hid_t dataset, facet_hdf5_type type, int64_t first, int64_t n, void *data);

#endif
