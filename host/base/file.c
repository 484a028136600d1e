/* Paths, directories, whole files and durable writes. */
#include "facet/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_STATIC_LINKING_ONLY /* the size of the state, to keep it on the stack */
#include <xxhash.h>

#include "facet/log.h"

#define IO_FAIL(verb, path) FACET_FAIL(FACET_ERROR_IO, "cannot %s %s: %s", (verb), (path), strerror(errno))

facet_status facet_path_format(char *path, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(path, FACET_PATH_MAX, format, arguments);
  va_end(arguments);
  FACET_CHECK(length >= 0 && length < FACET_PATH_MAX, FACET_ERROR_IO, "path is longer than %d bytes: %.200s…",
              FACET_PATH_MAX - 1, path);
  return FACET_OK;
}

bool facet_file_exists(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool facet_directory_exists(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Syncs the directory that holds `path`, so that a new name survives a crash. */
static facet_status sync_parent(const char *path) {
  char parent[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(parent, "%s", path));
  size_t length = strlen(parent);
  while (length > 1 && parent[length - 1] == '/') parent[--length] = 0;
  char *slash = strrchr(parent, '/');
  if (!slash) return facet_directory_sync(".");
  slash[slash == parent ? 1 : 0] = 0;
  return facet_directory_sync(parent);
}

static facet_status create_one_directory(const char *path) {
  if (mkdir(path, 0777) == 0) return sync_parent(path);
  const int reason = errno; /* an existing directory may say EEXIST, or EROFS and the like */
  FACET_CHECK(facet_directory_exists(path), FACET_ERROR_IO, "cannot create directory %s: %s", path, strerror(reason));
  return FACET_OK;
}

facet_status facet_directory_create(const char *path) {
  char partial[FACET_PATH_MAX];
  FACET_CHECK(path[0], FACET_ERROR_USAGE, "the path of a directory is empty, expected a name");
  FACET_TRY(facet_path_format(partial, "%s", path));
  for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    FACET_TRY(create_one_directory(partial));
    *slash = '/';
  }
  return create_one_directory(partial);
}

/* The next name in a directory, without . and ..; NULL at the end. */
static facet_status next_name(DIR *directory, const char *path, const char **name) {
  struct dirent *entry;
  do {
    errno = 0;
    entry = readdir(directory);
  } while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
  if (!entry && errno != 0) IO_FAIL("read directory", path);
  *name = entry ? entry->d_name : NULL;
  return FACET_OK;
}

static facet_status remove_entry(int parent, const char *name, const char *path, int depth);

/* Removes everything in a directory and closes it. */
static facet_status remove_content(DIR *directory, const char *path, int depth) {
  facet_status status;
  for (;;) {
    const char *name;
    char inner[FACET_PATH_MAX];
    FACET_TRY_GOTO(status, done, next_name(directory, path, &name));
    if (!name) break;
    FACET_TRY_GOTO(status, done, facet_path_format(inner, "%s/%s", path, name));
    FACET_TRY_GOTO(status, done, remove_entry(dirfd(directory), name, inner, depth + 1));
  }
done:
  closedir(directory);
  return status;
}

/* Removes what `name` in directory `parent` is; `path` is for messages. */
static facet_status remove_entry(int parent, const char *name, const char *path, int depth) {
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return FACET_OK;
  if (errno != EISDIR && errno != EPERM) IO_FAIL("remove", path);
  FACET_CHECK(depth < 64, FACET_ERROR_IO, "cannot remove %s: nested deeper than 64 directories", path);
  int descriptor = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) IO_FAIL("open directory", path);
  DIR *directory = fdopendir(descriptor);
  if (!directory) {
    close(descriptor);
    IO_FAIL("read directory", path);
  }
  FACET_TRY(remove_content(directory, path, depth));
  if (unlinkat(parent, name, AT_REMOVEDIR) != 0) IO_FAIL("remove directory", path);
  return FACET_OK;
}

facet_status facet_directory_remove(const char *path) {
  return remove_entry(AT_FDCWD, path, path, 0);
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

facet_status facet_directory_list(const char *path, facet_arena *arena, char ***names, int64_t *n_names) {
  *names = NULL;
  *n_names = 0;
  DIR *directory = opendir(path);
  if (!directory) IO_FAIL("read directory", path);
  char **found = NULL;
  size_t n = 0, capacity = 0;
  facet_status status;
  for (;;) {
    const char *name;
    FACET_TRY_GOTO(status, done, next_name(directory, path, &name));
    if (!name) break;
    FACET_TRY_GOTO(status, done, FACET_GROW(found, capacity, n + 1, "directory listing"));
    found[n] = facet_arena_strdup(arena, name);
    FACET_TRY_GOTO(status, done, found[n] ? FACET_OK : FACET_ERROR_INTERNAL);
    n++;
  }
  if (n > 0) qsort(found, n, sizeof *found, compare_names);
  *names = facet_arena_alloc(arena, n, sizeof **names);
  FACET_TRY_GOTO(status, done, *names ? FACET_OK : FACET_ERROR_INTERNAL);
  if (n > 0) memcpy(*names, found, n * sizeof *found);
  *n_names = (int64_t)n;
done:
  facet_memory_free(found);
  closedir(directory);
  return status;
}

facet_status facet_descriptor_write(int descriptor, const char *path, const void *data, size_t n_bytes) {
  for (const char *left = data; n_bytes > 0;) {
    ssize_t written = write(descriptor, left, n_bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) IO_FAIL("write", path);
    left += written;
    n_bytes -= (size_t)written;
  }
  return FACET_OK;
}

facet_status facet_descriptor_read_at(int descriptor, const char *path, void *data, size_t n_bytes, int64_t offset) {
  for (char *left = data; n_bytes > 0;) {
    ssize_t got = pread(descriptor, left, n_bytes, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) IO_FAIL("read", path);
    FACET_CHECK(got > 0, FACET_ERROR_IO, "cannot read %s: it became shorter while it was read", path);
    left += got;
    n_bytes -= (size_t)got;
    offset += got;
  }
  return FACET_OK;
}

facet_status facet_temporary_file(const char *directory, int *descriptor) {
  if (!directory || !*directory) directory = getenv("TMPDIR");
  if (!directory || !*directory) directory = "/tmp";
  *descriptor = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (*descriptor < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    char path[FACET_PATH_MAX]; /* a file system without O_TMPFILE */
    FACET_TRY(facet_path_format(path, "%s/facet-temporary-XXXXXX", directory));
    *descriptor = mkostemp(path, O_CLOEXEC);
    if (*descriptor >= 0) unlink(path);
  }
  FACET_CHECK(*descriptor >= 0, FACET_ERROR_IO, "cannot create a temporary file in %s: %s", directory, strerror(errno));
  return FACET_OK;
}

/* Opens a regular file for reading and gives its size. */
static facet_status open_file(const char *path, int *descriptor, size_t *n_bytes) {
  struct stat info;
  *descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (*descriptor < 0) IO_FAIL("open", path);
  if (fstat(*descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(*descriptor);
    FACET_FAIL(FACET_ERROR_IO, "cannot read %s: it is not a regular file", path);
  }
  *n_bytes = (size_t)info.st_size;
  return FACET_OK;
}

facet_status facet_file_read(const char *path, size_t max_bytes, char **text, size_t *n_bytes) {
  int descriptor;
  *text = NULL;
  FACET_TRY(open_file(path, &descriptor, n_bytes));
  facet_status status = FACET_OK;
  if (*n_bytes > max_bytes)
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "%s has %s, more than the %s that are read", path,
                             facet_format_bytes((double)*n_bytes), facet_format_bytes((double)max_bytes));
  if (status == FACET_OK) status = FACET_ALLOC(*text, *n_bytes + 1, path);
  if (status == FACET_OK) status = facet_descriptor_read_at(descriptor, path, *text, *n_bytes, 0);
  close(descriptor);
  if (status != FACET_OK) {
    facet_memory_free(*text);
    *text = NULL;
  }
  return status;
}

/* 0 or errno. Again when a signal interrupts it; any other failure is final: a second fsync of the same file may succeed
 * though the data are lost. */
static int sync_descriptor(int descriptor) {
  int result;
  do {
    result = fsync(descriptor);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

facet_status facet_descriptor_sync(int descriptor, const char *path) {
  const int reason = sync_descriptor(descriptor);
  FACET_CHECK(reason == 0, FACET_ERROR_IO, "cannot sync %s: %s", path, strerror(reason));
  return FACET_OK;
}

static facet_status sync_path(const char *path, int flags) {
  int descriptor = open(path, flags | O_CLOEXEC);
  if (descriptor < 0) IO_FAIL("open", path);
  int reason = sync_descriptor(descriptor);
  if (reason == EINVAL && (flags & O_DIRECTORY)) reason = 0; /* a file system without syncing of directories */
  close(descriptor);
  FACET_CHECK(reason == 0, FACET_ERROR_IO, "cannot sync %s: %s", path, strerror(reason));
  return FACET_OK;
}

facet_status facet_file_sync(const char *path) {
  return sync_path(path, O_RDONLY);
}
facet_status facet_directory_sync(const char *path) {
  return sync_path(path, O_RDONLY | O_DIRECTORY);
}

facet_status facet_file_rename(const char *from, const char *to) {
  FACET_CHECK(rename(from, to) == 0, FACET_ERROR_IO, "cannot rename %s to %s: %s", from, to, strerror(errno));
  return sync_parent(to);
}

facet_status facet_directory_stage(const char *path, char *staging) {
  struct stat info;
  if (stat(path, &info) == 0) {
    facet_arena *arena;
    char **names;
    int64_t n_names = 1;
    FACET_TRY(facet_arena_create(&arena));
    const facet_status status = S_ISDIR(info.st_mode) ? facet_directory_list(path, arena, &names, &n_names) : FACET_OK;
    facet_arena_destroy(&arena);
    FACET_TRY(status);
    FACET_CHECK(n_names == 0, FACET_ERROR_USAGE, "%s exists and is not an empty directory; facet never overwrites data",
                path);
  }
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/') length--;
  return facet_path_format(staging, "%.*s.tmp-%ld", (int)length, path, (long)getpid());
}

facet_status facet_directory_publish(const char *staging, const char *path, facet_status status) {
  if (status == FACET_OK) status = facet_file_rename(staging, path);
  if (status != FACET_OK) {
    const facet_error error = *facet_error_get();
    facet_directory_remove(staging);
    facet_error_restore(&error);
  }
  return status;
}

/* Writes a new file and syncs it. */
static facet_status write_new_file(const char *path, const char *text, size_t n_bytes) {
  int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor < 0) IO_FAIL("create", path);
  facet_status status = facet_descriptor_write(descriptor, path, text, n_bytes);
  if (status == FACET_OK) status = facet_descriptor_sync(descriptor, path);
  if (close(descriptor) != 0 && errno != EINTR && status == FACET_OK)
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "cannot close %s: %s", path, strerror(errno));
  return status;
}

facet_status facet_file_write(const char *path, const char *text, size_t n_bytes) {
  char temporary[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(temporary, "%s.tmp-%ld", path, (long)getpid()));
  facet_status status = write_new_file(temporary, text, n_bytes);
  if (status == FACET_OK) status = facet_file_rename(temporary, path);
  if (status != FACET_OK) unlink(temporary); /* gone already where only the directory could not be synced */
  return status;
}

facet_status facet_file_checksum(const char *path, char hex[33], int64_t *n_bytes) {
  int descriptor;
  size_t size;
  char *buffer = NULL;
  const size_t buffer_bytes = (size_t)1 << 20;
  XXH3_state_t state;
  FACET_TRY(open_file(path, &descriptor, &size));
  facet_status status;
  FACET_TRY_GOTO(status, done, FACET_ALLOC(buffer, buffer_bytes, "checksum buffer"));
  XXH3_INITSTATE(&state);
  XXH3_128bits_reset(&state);
  for (size_t left = size; left > 0;) {
    size_t n = left < buffer_bytes ? left : buffer_bytes;
    FACET_TRY_GOTO(status, done, facet_descriptor_read_at(descriptor, path, buffer, n, (int64_t)(size - left)));
    XXH3_128bits_update(&state, buffer, n);
    left -= n;
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(&state);
  snprintf(hex, 33, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
  *n_bytes = (int64_t)size;
done:
  facet_memory_free(buffer);
  close(descriptor);
  return status;
}

uint64_t facet_hash64(const void *data, size_t n_bytes) {
  return XXH3_64bits(data, n_bytes);
}

/* What the holder of a lock wrote into it. */
static void read_holder(int descriptor, char *holder, size_t n_bytes) {
  const ssize_t n = pread(descriptor, holder, n_bytes - 1, 0);
  holder[n > 0 ? n : 0] = 0;
  holder[strcspn(holder, "\n")] = 0;
  if (!holder[0]) snprintf(holder, n_bytes, "unknown");
}

/* The exclusive lock. A query holds it for an instant, so it is tried for a tenth of a second; 0 or errno. */
static int try_lock(int descriptor) {
  int reason = 0;
  for (int i = 0; i < 10; i++) {
    reason = flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    if (reason != EWOULDBLOCK) return reason;
    usleep(10000);
  }
  return reason;
}

facet_status facet_lock_acquire(const char *path, facet_lock *lock) {
  char holder[256], host[128] = "";
  lock->descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (lock->descriptor < 0) IO_FAIL("create", path);
  const int reason = try_lock(lock->descriptor);
  if (reason != 0) {
    read_holder(lock->descriptor, holder, sizeof holder);
    close(lock->descriptor);
    lock->descriptor = -1;
    FACET_CHECK(reason == EWOULDBLOCK, FACET_ERROR_IO, "cannot lock %s: %s", path, strerror(reason));
    FACET_FAIL(FACET_ERROR_IO, "%s is held by a live process: %s", path, holder);
  }
  gethostname(host, sizeof host - 1);
  int n = snprintf(holder, sizeof holder, "process %ld on host %s\n", (long)getpid(), host);
  facet_status status = FACET_OK;
  if (ftruncate(lock->descriptor, 0) != 0)
    status = facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__, "cannot write %s: %s", path, strerror(errno));
  if (status == FACET_OK) status = facet_descriptor_write(lock->descriptor, path, holder, (size_t)n);
  if (status != FACET_OK) facet_lock_release(lock);
  return status;
}

facet_status facet_lock_query(const char *path, bool *is_held, char *holder, size_t n_bytes) {
  *is_held = false;
  holder[0] = 0;
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0 && errno == ENOENT) return FACET_OK;
  if (descriptor < 0) IO_FAIL("open", path);
  *is_held = flock(descriptor, LOCK_SH | LOCK_NB) != 0;
  const int reason = *is_held ? errno : 0;
  if (*is_held) read_holder(descriptor, holder, n_bytes);
  close(descriptor);
  FACET_CHECK(reason == 0 || reason == EWOULDBLOCK, FACET_ERROR_IO, "cannot ask for the lock %s: %s", path,
              strerror(reason));
  return FACET_OK;
}

void facet_lock_release(facet_lock *lock) {
  if (lock->descriptor >= 0) close(lock->descriptor);
  lock->descriptor = -1;
}

facet_status facet_stream_close(FILE **stream, const char *path) {
  if (!*stream) return FACET_OK;
  const bool failed_before = ferror(*stream) != 0;
  const int reason = fclose(*stream) == 0 ? 0 : errno;
  *stream = NULL;
  FACET_CHECK(reason == 0, FACET_ERROR_IO, "cannot write %s: %s", path, strerror(reason));
  FACET_CHECK(!failed_before, FACET_ERROR_IO, "cannot write %s: an earlier write failed", path);
  return FACET_OK;
}
