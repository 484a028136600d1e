/* The lock, error texts, files and groups. See hdf5.h. */
#include "data/hdf5.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/hdf5_check.h"
#include "facet/file.h"

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void facet_hdf5_lock(void) {
  static _Thread_local bool quiet;
  static bool initialised;
  pthread_mutex_lock(&lock);
  if (!initialised) { /* before any other call. Where a file could not be written, the library crashes when it ends */
    initialised = true;
    H5dont_atexit();
  }
  if (!quiet) { /* the library keeps this setting per thread */
    quiet = true;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLset_loading_state(0); /* no filter or driver plugins from the environment */
  }
}

void facet_hdf5_unlock(void) {
  pthread_mutex_unlock(&lock);
}

int facet_hdf5_guard_begin(void) {
  facet_hdf5_lock();
  return 0;
}

void facet_hdf5_guard_end(int *guard) {
  (void)guard;
  facet_hdf5_unlock();
}

/* ---- errors -------------------------------------------------------------------------------------------------- */

typedef struct description {
  char *text;
  size_t n_bytes;
  bool from_system;
} description;

static herr_t take_innermost(unsigned n, const H5E_error2_t *entry, void *data) {
  description *out = data;
  if (n > 0 || !entry->desc) return 0;
  /* The file driver's "file write failed: time = …, error message = '…', buf = …" holds what the system said. */
  const char *said = strstr(entry->desc, "error message = '");
  const char *text = said ? said + strlen("error message = '") : entry->desc;
  const char *end = said ? strchr(text, '\'') : NULL;
  out->from_system = end != NULL;
  snprintf(out->text, out->n_bytes, "%.*s", end ? (int)(end - text) : (int)strlen(text), text);
  return 0;
}

bool facet_hdf5_description(char *text, size_t n_bytes) {
  FACET_HDF5_GUARD;
  description out = {.text = text, .n_bytes = n_bytes};
  text[0] = 0;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, &out);
  H5Eclear2(H5E_DEFAULT);
  return out.from_system;
}

facet_status facet_hdf5_error(facet_status status, hid_t location, const char *name, const char *format, ...) {
  FACET_HDF5_GUARD;
  char library[256], file[FACET_PATH_MAX] = "?", object[512] = "", text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (facet_hdf5_description(library, sizeof library) && status == FACET_ERROR_DATA) status = FACET_ERROR_IO;
  H5Fget_name(location, file, sizeof file);
  if (H5Iget_type(location) != H5I_FILE) H5Iget_name(location, object, sizeof object);
  if (object[0] == '/' && !object[1]) object[0] = 0;
  H5Eclear2(H5E_DEFAULT);
  const bool has_object = object[0] || name;
  return facet_error_set(status, __FILE__, __LINE__, "%s: %s%s%s%s%s%s%s", file, object, name ? "/" : "",
                         name ? name : "", has_object ? ": " : "", text, library[0] ? ": " : "", library);
}

/* The library keeps data back and writes them when their object is closed. What fails there, in facet_hdf5_release, is told
 * by the close of the file. */
static struct {
  char path[FACET_PATH_MAX]; /* the last file where something failed; "": none */
  char reason[256];
} failed_release;

/* ---- files --------------------------------------------------------------------------------------------------- */

facet_status facet_hdf5_create(const char *path, hid_t *file) {
  FACET_HDF5_GUARD;
  *file = -1;
  FACET_HDF5_SCOPED hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  FACET_HDF5_SCOPED hid_t creation = H5Pcreate(H5P_FILE_CREATE);
  if (access < 0 || creation < 0 || H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) < 0 ||
      H5Pset_alignment(access, 4096, 4096) < 0 || H5Pset_obj_track_times(creation, false) < 0 ||
      (*file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access)) < 0) {
    char library[256];
    facet_hdf5_description(library, sizeof library);
    unlink(path); /* the library leaves an empty file where its first write fails */
    FACET_FAIL(FACET_ERROR_IO, "%s: cannot create the file: %s", path, library);
  }
  if (strcmp(failed_release.path, path) == 0) failed_release.path[0] = 0; /* of a former file of the name */
  return FACET_OK;
}

facet_status facet_hdf5_open(const char *path, hid_t *file) {
  FACET_HDF5_GUARD;
  *file = -1;
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC); /* the system's own error, before the library's */
  if (descriptor < 0) FACET_FAIL(FACET_ERROR_IO, "%s: cannot open the file: %s", path, strerror(errno));
  close(descriptor);
  FACET_HDF5_SCOPED hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (access < 0 || H5Pset_file_locking(access, true, true) < 0 ||
      (*file = H5Fopen(path, H5F_ACC_RDONLY, access)) < 0) {
    char library[256];
    const bool from_system = facet_hdf5_description(library, sizeof library);
    FACET_CHECK(!from_system || !facet_file_exists(path), FACET_ERROR_IO, "%s: cannot read the file: %s", path,
                library);
    FACET_FAIL(FACET_ERROR_DATA, "%s: not a readable HDF5 file: %s", path, library);
  }
  const facet_status status = facet_hdf5_check_file(*file);
  if (status != FACET_OK) {
    H5Fclose(*file);
    *file = -1;
  }
  return status;
}

facet_status facet_hdf5_close(hid_t *file) {
  if (*file < 0) return FACET_OK;
  FACET_HDF5_GUARD;
  facet_status status = FACET_OK;
  if (H5Fflush(*file, H5F_SCOPE_LOCAL) < 0)
    status = facet_hdf5_error(FACET_ERROR_IO, *file, NULL, "cannot write the file");
  char path[FACET_PATH_MAX] = "?";
  H5Fget_name(*file, path, sizeof path);
  if (H5Fclose(*file) < 0 && status == FACET_OK) {
    char library[256];
    facet_hdf5_description(library, sizeof library);
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "%s: cannot close the file: %s", path, library);
  }
  if (status == FACET_OK && strcmp(failed_release.path, path) == 0)
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "%s: cannot write: %s", path, failed_release.reason);
  *file = -1;
  return status;
}

void facet_hdf5_discard(hid_t *file) {
  if (*file < 0) return;
  FACET_HDF5_GUARD;
  H5Fclose(*file);
  H5Eclear2(H5E_DEFAULT);
  *file = -1;
}

void facet_hdf5_abandon(hid_t *file, const char *path) {
  facet_hdf5_discard(file);
  unlink(path);
}

facet_status facet_hdf5_publish(const char *temporary, const char *path) {
  FACET_TRY(facet_file_sync(temporary));
  return facet_file_rename(temporary, path);
}

facet_status facet_hdf5_write_file(const char *path, facet_status (*fill)(hid_t file, const void *context),
                                   const void *context) {
  char temporary[FACET_PATH_MAX];
  hid_t file;
  FACET_TRY(facet_path_format(temporary, "%s.tmp-%ld", path, (long)getpid()));
  FACET_TRY(facet_hdf5_create(temporary, &file));
  facet_status status = fill(file, context);
  if (status == FACET_OK) status = facet_hdf5_close(&file);
  if (status == FACET_OK) status = facet_hdf5_publish(temporary, path);
  if (status != FACET_OK) facet_hdf5_abandon(&file, temporary);
  return status;
}

/* ---- groups -------------------------------------------------------------------------------------------------- */

facet_status facet_hdf5_group_create(hid_t location, const char *name, hid_t *group) {
  FACET_HDF5_GUARD;
  FACET_HDF5_SCOPED hid_t creation = H5Pcreate(H5P_GROUP_CREATE);
  *group = -1;
  if (creation < 0 || H5Pset_obj_track_times(creation, false) < 0 ||
      (*group = H5Gcreate2(location, name, H5P_DEFAULT, creation, H5P_DEFAULT)) < 0)
    return facet_hdf5_error(FACET_ERROR_IO, location, name, "cannot create the group");
  return FACET_OK;
}

facet_status facet_hdf5_group_open(hid_t location, const char *name, hid_t *group) {
  FACET_HDF5_GUARD;
  *group = -1;
  if (!facet_hdf5_exists(location, name))
    return facet_hdf5_error(FACET_ERROR_DATA, location, name, "the group is missing");
  if (!facet_hdf5_is_group(location, name))
    return facet_hdf5_error(FACET_ERROR_DATA, location, name, "is a data set, expected a group");
  if ((*group = H5Gopen2(location, name, H5P_DEFAULT)) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, location, name, "cannot open the group");
  return FACET_OK;
}

void facet_hdf5_release(hid_t *id) {
  if (*id < 0) return;
  FACET_HDF5_GUARD;
  char path[FACET_PATH_MAX] = "";
  const H5I_type_t type = H5Iget_type(*id);
  if (type == H5I_DATASET || type == H5I_GROUP || type == H5I_ATTR) H5Fget_name(*id, path, sizeof path);
  if (H5Idec_ref(*id) < 0 && path[0]) {
    memcpy(failed_release.path, path, sizeof path);
    facet_hdf5_description(failed_release.reason, sizeof failed_release.reason);
  }
  *id = -1;
}

bool facet_hdf5_exists(hid_t location, const char *name) {
  FACET_HDF5_GUARD;
  char part[FACET_PATH_MAX];
  const size_t n = strlen(name);
  if (n >= sizeof part) return false;
  for (size_t i = 1; i <= n; i++) { /* the library wants every prefix asked for in turn */
    if (name[i] != '/' && name[i] != 0) continue;
    memcpy(part, name, i);
    part[i] = 0;
    if (H5Lexists(location, part, H5P_DEFAULT) <= 0)
      return false; /* a failure is described by the error that follows */
  }
  return n > 0;
}

bool facet_hdf5_is_group(hid_t location, const char *name) {
  FACET_HDF5_GUARD;
  H5O_info_t info;
  if (!facet_hdf5_exists(location, name)) return false;
  if (H5Oget_info_by_name2(location, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0) {
    H5Eclear2(H5E_DEFAULT);
    return false;
  }
  return info.type == H5O_TYPE_GROUP;
}

facet_status facet_hdf5_list(hid_t location, facet_arena *arena, char ***names, int64_t *n_names) {
  FACET_HDF5_GUARD;
  H5G_info_t info;
  if (H5Gget_info(location, &info) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "cannot list the members");
  *n_names = (int64_t)info.nlinks;
  if (!(*names = facet_arena_alloc(arena, (size_t)info.nlinks, sizeof **names))) return FACET_ERROR_INTERNAL;
  for (hsize_t i = 0; i < info.nlinks; i++) {
    char name[1024];
    if (H5Lget_name_by_idx(location, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT) < 0)
      return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "cannot list the members");
    if (!((*names)[i] = facet_arena_strdup(arena, name))) return FACET_ERROR_INTERNAL;
  }
  return FACET_OK;
}
