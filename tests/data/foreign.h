/* Shards as other programs would write them: changes to a shard's file by plain calls of the HDF5 library. */
#ifndef FOREIGN_H
#define FOREIGN_H

#include <hdf5.h>
#include <stdint.h>

/* How a data set is stored. */
typedef enum foreign_layout {
  FOREIGN_ALIGNED,    /* contiguous, at an offset that 8 divides */
  FOREIGN_MISALIGNED, /* contiguous, at an odd offset */
  FOREIGN_CHUNKED,    /* chunks of `chunk_rows` rows without filters */
  FOREIGN_CHECKSUM,   /* the same with fletcher32 */
  FOREIGN_DEFLATE,    /* the same with shuffle and deflate */
  FOREIGN_COMPACT     /* in the object's header */
} foreign_layout;

/* Stores the data set `name` again with the same values in another type (< 0: its own) and layout. */
void foreign_restore(const char *path, const char *name, hid_t type, foreign_layout layout, int64_t chunk_rows);

/* Stores every data set again; integers and floats keep their width, in this machine's byte order or the other one. */
void foreign_restore_all(const char *path, foreign_layout layout, int64_t chunk_rows, int other_byte_order);

/* Replaces the data set `name` by n rows (× length, if > 1) of zeros; `length` −1 makes it one-dimensional [n] inside a
 * second dimension [n, 1]. */
void foreign_replace(const char *path, const char *name, hid_t type, int64_t n, int64_t length);

void foreign_delete(const char *path, const char *name);
void foreign_create_group(const char *path, const char *name);
void foreign_set_attribute(const char *path, const char *name, int64_t value);
void foreign_set_text(const char *path, const char *name, const char *value);
void foreign_delete_attribute(const char *path, const char *name);

/* The file open for changes, with data sets created at odd offsets; to be closed with H5Fclose. */
hid_t foreign_open(const char *path);

#endif
