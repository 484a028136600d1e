/* Files: paths, whole-file reads, durable writes, checksums, locks.
 *
 * Errors are FACET_ERROR_IO and name the path and the reason that the system gives. */
#ifndef FACET_FILE_H
#define FACET_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "facet/memory.h"
#include "facet/status.h"

#define FACET_PATH_MAX 4096

/* Formats a path into path[FACET_PATH_MAX]; too long is an error. */
facet_status facet_path_format(char *path, const char *format, ...) FACET_PRINTF(2, 3);

bool facet_file_exists(const char *path);
bool facet_directory_exists(const char *path);

/* Creates a directory and its parents, durably; an existing one is fine. */
facet_status facet_directory_create(const char *path);

/* Removes a directory and everything in it, without following links (a link is removed itself). A missing one is fine. */
facet_status facet_directory_remove(const char *path);

/* Names in a directory (without . and ..), sorted; memory from the arena. */
facet_status facet_directory_list(const char *path, facet_arena *arena, char ***names, int64_t *n_names);

/* Reads a whole file, adding a 0 byte after it; the caller frees *text. An error if it is not a regular file
 * or is larger than max_bytes. */
facet_status facet_file_read(const char *path, size_t max_bytes, char **text, size_t *n_bytes);

/* Writes a whole file durably: temporary name beside it, fsync, rename, fsync of the directory. */
facet_status facet_file_write(const char *path, const char *text, size_t n_bytes);

/* All of it to or from an open file, again when a signal interrupts; fsync of an open file. The path is for messages. */
facet_status facet_descriptor_write(int descriptor, const char *path, const void *data, size_t n_bytes);
facet_status facet_descriptor_read_at(int descriptor, const char *path, void *data, size_t n_bytes, int64_t offset);
facet_status facet_descriptor_sync(int descriptor, const char *path);

/* An unnamed temporary file in `directory` (NULL or "": TMPDIR or /tmp), removed by the kernel when closed. */
facet_status facet_temporary_file(const char *directory, int *descriptor);

facet_status facet_file_sync(const char *path);      /* fsync of a closed file */
facet_status facet_directory_sync(const char *path); /* fsync of a directory */

/* Renames durably: the directory that holds `to` is synced afterwards. Replaces a file, or an empty directory. */
facet_status facet_file_rename(const char *from, const char *to);

/* A directory that appears complete under its name or not at all: stage checks that `path` is absent or an empty
 * directory (else FACET_ERROR_USAGE) and gives the name to make and fill, "<path>.tmp-<process id>", in
 * staging[FACET_PATH_MAX]; publish renames it if `status`, how the filling went, is FACET_OK, and else removes it and
 * returns `status` with its error. */
facet_status facet_directory_stage(const char *path, char *staging);
facet_status facet_directory_publish(const char *staging, const char *path, facet_status status);

/* XXH3, 128 bit, of a whole file as 32 hex digits and a 0 byte; *n_bytes is its size. */
facet_status facet_file_checksum(const char *path, char hex[33], int64_t *n_bytes);

/* XXH3, 64 bit, of bytes. */
uint64_t facet_hash64(const void *data, size_t n_bytes);

/* Advisory lock on <path> (created if missing; holds host and process id). Held by a live process: FACET_ERROR_IO,
 * the message names the holder. Released by facet_lock_release, or by the kernel when the process ends. */
typedef struct facet_lock {
  int descriptor;
} facet_lock;
facet_status facet_lock_acquire(const char *path, facet_lock *lock);
void facet_lock_release(facet_lock *lock);
/* Whether a live process holds the lock, and which ("process 12 on host x", or "unknown") into holder[n_bytes]. Changes
 * nothing; a missing file is not held. */
facet_status facet_lock_query(const char *path, bool *is_held, char *holder, size_t n_bytes);

/* Closes a stream after checking that everything was written, and sets it to NULL, also on failure. NULL is fine. */
facet_status facet_stream_close(FILE **stream, const char *path);

#endif
