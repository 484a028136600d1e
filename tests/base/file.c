/* Files: durable writes, removal, locks, checksums, formatting of numbers. */
#include "facet/file.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "facet/log.h"

static char root[] = "/tmp/facet-file-XXXXXX";
static char path[FACET_PATH_MAX];

static void setup(void) {
  cr_assert(mkdtemp(root));
}
static void teardown(void) {
  facet_directory_remove(root);
}
TestSuite(file, .init = setup, .fini = teardown);

static const char *in_root(const char *name) {
  snprintf(path, sizeof path, "%s/%s", root, name);
  return path;
}

Test(file, write_read_and_checksum) {
  char *text, hex[33];
  size_t n_bytes;
  int64_t size;
  cr_assert(facet_file_write(in_root("a"), "hello", 5) == FACET_OK);
  cr_assert(facet_file_write(in_root("a"), "hello world", 11) == FACET_OK);
  cr_assert(facet_file_read(in_root("a"), 100, &text, &n_bytes) == FACET_OK);
  cr_assert(n_bytes == 11 && strcmp(text, "hello world") == 0);
  facet_memory_free(text);
  cr_assert(facet_file_checksum(in_root("a"), hex, &size) == FACET_OK);
  cr_assert(size == 11);
  cr_assert_str_eq(hex, "df8d09e93f874900a99b8775cc15b6c7"); /* xxhsum -H128 */
  cr_assert(facet_file_read(in_root("a"), 10, &text, &n_bytes) == FACET_ERROR_IO);
  cr_assert(facet_file_read(in_root("missing"), 10, &text, &n_bytes) == FACET_ERROR_IO);
  cr_assert(strstr(facet_error_get()->message, "missing"));
}

Test(file, writing_below_a_file_fails_and_leaves_nothing) {
  cr_assert(facet_file_write(in_root("file"), "x", 1) == FACET_OK);
  cr_assert(facet_file_write(in_root("file/inner"), "x", 1) == FACET_ERROR_IO);
  cr_assert(facet_directory_create(in_root("file/inner")) == FACET_ERROR_IO);
}

Test(file, directories_are_created_listed_and_removed_without_following_links) {
  facet_arena *arena;
  char **names;
  int64_t n;
  cr_assert(facet_directory_create(in_root("keep")) == FACET_OK);
  cr_assert(facet_file_write(in_root("keep/me"), "x", 1) == FACET_OK);
  cr_assert(facet_directory_create(in_root("d/e/f")) == FACET_OK);
  cr_assert(facet_directory_create(in_root("d/e/f")) == FACET_OK);
  cr_assert(facet_file_write(in_root("d/e/x"), "x", 1) == FACET_OK);
  cr_assert(symlink("../keep", in_root("d/link")) == 0);
  cr_assert(facet_arena_create(&arena) == FACET_OK);
  cr_assert(facet_directory_list(in_root("d"), arena, &names, &n) == FACET_OK);
  cr_assert(n == 2 && strcmp(names[0], "e") == 0 && strcmp(names[1], "link") == 0);
  facet_arena_destroy(&arena);
  cr_assert(facet_directory_remove(in_root("d")) == FACET_OK);
  cr_assert(!facet_directory_exists(in_root("d")) && facet_file_exists(in_root("keep/me")));
  cr_assert(facet_directory_remove(in_root("d")) == FACET_OK);
}

Test(file, a_path_that_is_too_long_is_an_error) {
  char *name = calloc(1, FACET_PATH_MAX + 1);
  memset(name, 'x', FACET_PATH_MAX);
  cr_assert(facet_path_format(path, "%s", name) == FACET_ERROR_IO);
  free(name);
}

Test(file, a_lock_names_its_live_holder_and_ends_with_it) {
  facet_lock lock;
  int ready[2], stop[2];
  char byte;
  cr_assert(pipe(ready) == 0 && pipe(stop) == 0);
  pid_t child = fork();
  if (child == 0) {
    char status = facet_lock_acquire(in_root("lock"), &lock) == FACET_OK;
    if (write(ready[1], &status, 1) != 1 || read(stop[0], &byte, 1) != 1) _exit(1);
    _exit(0);
  }
  cr_assert(read(ready[0], &byte, 1) == 1 && byte == 1);
  cr_assert(facet_lock_acquire(in_root("lock"), &lock) == FACET_ERROR_IO);
  char pid[32];
  snprintf(pid, sizeof pid, "process %d ", (int)child);
  cr_assert(strstr(facet_error_get()->message, pid), "%s", facet_error_get()->message);
  cr_assert(write(stop[1], "x", 1) == 1);
  waitpid(child, NULL, 0);
  cr_assert(facet_lock_acquire(in_root("lock"), &lock) == FACET_OK);
  facet_lock_release(&lock);
}

Test(file, a_full_device_is_reported_at_close) {
  FILE *stream = fopen("/dev/full", "w");
  fputs("x", stream);
  cr_assert(facet_stream_close(&stream, "/dev/full") == FACET_ERROR_IO);
  cr_assert(stream == NULL && strstr(facet_error_get()->message, "/dev/full"));
}

Test(log, numbers_are_scaled) {
  cr_assert_str_eq(facet_format_bytes(0), "0 B");
  cr_assert_str_eq(facet_format_bytes(999), "999 B");
  cr_assert_str_eq(facet_format_bytes(1234567), "1.23 MB");
  cr_assert_str_eq(facet_format_count(45600), "45.6 k");
  cr_assert_str_eq(facet_format_count(2e9), "2.00 G");
}
