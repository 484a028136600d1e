/* Files: durable writes, removal, locks, checksums. */
#include "facet/file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "facet/environment.h"
#include "support/files.h"

static char root[64];
static char path[FACET_PATH_MAX];

static void setup(void) {
  test_directory_create(root);
}
static void teardown(void) {
  test_directory_remove(root);
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
  cr_assert(facet_directory_create("") == FACET_ERROR_USAGE);
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

Test(file, no_temporary_file_is_left) {
  facet_arena *arena;
  char **names;
  int64_t n;
  cr_assert(facet_file_write(in_root("a"), "x", 1) == FACET_OK);
  cr_assert(facet_directory_create(in_root("taken/inner")) == FACET_OK);
  cr_assert(facet_file_write(in_root("taken"), "x", 1) == FACET_ERROR_IO); /* the rename fails */
  cr_assert(facet_arena_create(&arena) == FACET_OK);
  cr_assert(facet_directory_list(root, arena, &names, &n) == FACET_OK);
  cr_assert(n == 2 && strcmp(names[0], "a") == 0 && strcmp(names[1], "taken") == 0);
  facet_arena_destroy(&arena);
}

Test(file, a_failed_write_keeps_the_old_content) {
  char *text;
  size_t n_bytes;
  cr_assert(facet_file_write(in_root("a"), "old", 3) == FACET_OK);
  char temporary[FACET_PATH_MAX];
  snprintf(temporary, sizeof temporary, "%s/a.tmp-%ld", root, (long)getpid());
  cr_assert(mkdir(temporary, 0777) == 0); /* the new file cannot be created */
  cr_assert(facet_file_write(in_root("a"), "new", 3) == FACET_ERROR_IO);
  cr_assert(facet_file_read(in_root("a"), 10, &text, &n_bytes) == FACET_OK);
  cr_assert_str_eq(text, "old");
  facet_memory_free(text);
}

Test(file, a_write_beyond_the_limit_of_the_process_fails_and_leaves_nothing) {
  const struct rlimit limit = {1000, 1000};
  char *large = calloc(1, 5000);
  signal(SIGXFSZ, SIG_IGN);
  cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  cr_assert(facet_file_write(in_root("large"), large, 5000) == FACET_ERROR_IO);
  cr_assert(strstr(facet_error_get()->message, "large") && strstr(facet_error_get()->message, "File too large"));
  cr_assert(rmdir(root) == 0, "the directory is empty");
  free(large);
}

Test(file, renaming_works_with_every_form_of_path) {
  cr_assert(facet_directory_create(in_root("from")) == FACET_OK);
  char to[FACET_PATH_MAX];
  snprintf(to, sizeof to, "%s/to/", root);
  cr_assert(facet_file_rename(in_root("from"), to) == FACET_OK);
  cr_assert(facet_directory_exists(in_root("to")));
  cr_assert(chdir(root) == 0);
  cr_assert(facet_file_rename("to", "here") == FACET_OK && facet_directory_exists("here"));
  cr_assert(facet_file_rename("missing", "there") == FACET_ERROR_IO);
  cr_assert(strstr(facet_error_get()->message, "missing") && strstr(facet_error_get()->message, "there"));
  cr_assert(facet_file_sync(in_root("missing")) == FACET_ERROR_IO);
  cr_assert(facet_file_write(in_root("a"), "x", 1) == FACET_OK);
  cr_assert(facet_file_sync(in_root("a")) == FACET_OK && facet_directory_sync(in_root("a")) == FACET_ERROR_IO);
}

Test(file, what_is_not_a_regular_file_is_not_read) {
  char *text = "", hex[33];
  size_t n_bytes;
  int64_t size;
  cr_assert(facet_file_read(root, 10, &text, &n_bytes) == FACET_ERROR_IO && text == NULL);
  cr_assert(facet_file_checksum("/dev/zero", hex, &size) == FACET_ERROR_IO);
}

Test(file, listing_a_missing_directory_is_an_error) {
  facet_arena *arena;
  char **names;
  int64_t n;
  cr_assert(facet_arena_create(&arena) == FACET_OK);
  cr_assert(facet_directory_list(in_root("missing"), arena, &names, &n) == FACET_ERROR_IO);
  cr_assert(facet_directory_create(in_root("empty")) == FACET_OK);
  cr_assert(facet_directory_list(in_root("empty"), arena, &names, &n) == FACET_OK && n == 0 && names);
  facet_arena_destroy(&arena);
}

Test(file, every_failing_allocation_is_reported_and_leaks_nothing) {
  facet_environment environment = *facet_environment_get();
  cr_assert(facet_directory_create(in_root("d/e")) == FACET_OK);
  facet_status status = FACET_ERROR_INTERNAL;
  int64_t fail = 0;
  while (status != FACET_OK) {
    char **names, hex[33], *text = NULL;
    int64_t n;
    size_t n_bytes;
    facet_arena *arena = NULL;
    environment.fail_allocation = ++fail;
    facet_environment_set(&environment);
    status = facet_arena_create(&arena);
    if (status == FACET_OK) status = facet_directory_list(in_root("d"), arena, &names, &n);
    if (status == FACET_OK) status = facet_file_write(in_root("a"), "x", 1);
    if (status == FACET_OK) status = facet_file_checksum(in_root("a"), hex, &n);
    if (status == FACET_OK) status = facet_file_read(in_root("a"), 10, &text, &n_bytes);
    facet_memory_free(text);
    facet_arena_destroy(&arena);
    cr_assert(facet_memory_in_use() == 0, "allocation %d", (int)fail);
    cr_assert(status == FACET_OK || (status == FACET_ERROR_INTERNAL && facet_error_get()->status == status));
  }
  cr_assert(fail == 6, "5 allocations, %d seen", (int)fail - 1);
}

Test(file, a_directory_appears_complete_or_not_at_all) {
  char staging[FACET_PATH_MAX];
  cr_assert(facet_directory_stage(in_root("new//"), staging) == FACET_OK);
  cr_assert(strstr(staging, "/new.tmp-"), "%s", staging);
  cr_assert(facet_directory_create(staging) == FACET_OK);
  cr_assert(facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__, "row 7") == FACET_ERROR_DATA);
  cr_assert(facet_directory_publish(staging, in_root("new"), FACET_ERROR_DATA) == FACET_ERROR_DATA);
  cr_assert_str_eq(facet_error_get()->message, "row 7");
  cr_assert(!facet_directory_exists(staging) && !facet_directory_exists(in_root("new")));
  cr_assert(facet_directory_create(in_root("new")) == FACET_OK); /* an empty one may be there */
  cr_assert(facet_directory_stage(in_root("new"), staging) == FACET_OK);
  cr_assert(facet_directory_create(staging) == FACET_OK);
  cr_assert(facet_directory_create(in_root("new/inner")) == FACET_OK); /* filled by another program meanwhile */
  cr_assert(facet_directory_publish(staging, in_root("new"), FACET_OK) == FACET_ERROR_IO);
  cr_assert(!facet_directory_exists(staging) && facet_directory_exists(in_root("new/inner")));
  cr_assert(facet_directory_stage(in_root("new"), staging) == FACET_ERROR_USAGE);
}

Test(file, a_lock_is_held_once_and_again_after_its_release) {
  facet_lock lock, second;
  cr_assert(facet_lock_acquire(in_root("lock"), &lock) == FACET_OK);
  cr_assert(facet_lock_acquire(in_root("lock"), &second) == FACET_ERROR_IO && second.descriptor == -1);
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  cr_assert(strstr(facet_error_get()->message, host), "%s", facet_error_get()->message);
  facet_lock_release(&second);
  facet_lock_release(&lock);
  facet_lock_release(&lock);
  cr_assert(facet_lock_acquire(in_root("lock"), &lock) == FACET_OK);
  facet_lock_release(&lock);
  cr_assert(facet_lock_acquire(in_root("missing/lock"), &lock) == FACET_ERROR_IO);
}

Test(file, a_lock_can_be_asked_for_without_taking_it) {
  facet_lock lock;
  bool is_held = true;
  char holder[256], expected[64];
  cr_assert(facet_lock_query(in_root("lock"), &is_held, holder, sizeof holder) == FACET_OK && !is_held);
  cr_assert(!facet_file_exists(in_root("lock")));
  cr_assert(facet_lock_acquire(in_root("lock"), &lock) == FACET_OK);
  cr_assert(facet_lock_query(in_root("lock"), &is_held, holder, sizeof holder) == FACET_OK && is_held);
  snprintf(expected, sizeof expected, "process %ld on host ", (long)getpid());
  cr_assert(strstr(holder, expected) && !strchr(holder, '\n'), "%s", holder);
  facet_lock_release(&lock);
  cr_assert(facet_lock_query(in_root("lock"), &is_held, holder, sizeof holder) == FACET_OK && !is_held && !holder[0]);
  cr_assert(facet_lock_query(in_root("lock/x"), &is_held, holder, sizeof holder) == FACET_ERROR_IO);
}

/* A query holds the lock for an instant; that is no live run. */
Test(file, a_lock_waits_for_a_query) {
  facet_lock lock;
  int ready[2];
  char byte;
  cr_assert(facet_file_write(in_root("lock"), "", 0) == FACET_OK && pipe(ready) == 0);
  pid_t child = fork();
  if (child == 0) {
    const int descriptor = open(in_root("lock"), O_RDONLY);
    if (flock(descriptor, LOCK_SH) != 0 || write(ready[1], "x", 1) != 1) _exit(1);
    usleep(30000);
    _exit(0);
  }
  cr_assert(read(ready[0], &byte, 1) == 1);
  cr_assert(facet_lock_acquire(in_root("lock"), &lock) == FACET_OK);
  facet_lock_release(&lock);
  waitpid(child, NULL, 0);
}

Test(file, a_killed_holder_frees_the_lock) {
  facet_lock lock;
  int ready[2];
  char byte;
  cr_assert(pipe(ready) == 0);
  pid_t child = fork();
  if (child == 0) {
    char ok = facet_lock_acquire(in_root("lock"), &lock) == FACET_OK;
    if (write(ready[1], &ok, 1) != 1) _exit(1);
    for (;;) pause();
  }
  cr_assert(read(ready[0], &byte, 1) == 1 && byte == 1);
  cr_assert(facet_lock_acquire(in_root("lock"), &lock) == FACET_ERROR_IO);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  cr_assert(facet_lock_acquire(in_root("lock"), &lock) == FACET_OK);
  facet_lock_release(&lock);
}
