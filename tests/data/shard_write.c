/* Writing shards and tables: what the writer refuses, and disks that fill up. */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "data/dataset_writer.h"
#include "fixture.h"

/* Entries of the fixture's directory. */
static int n_files(const fixture *f) {
  int n = -2; /* . and .. */
  DIR *directory = opendir(f->directory);
  while (readdir(directory)) n++;
  closedir(directory);
  return n;
}

static facet_shard_writer *open_writer(const fixture *f) {
  facet_shard_writer *w;
  EXPECT_OK(facet_shard_writer_create(f->schema, fixture_path(f, "a.h5"), (facet_shard_layout){0}, &w));
  return w;
}

Test(shard_write, a_shard_without_rows) {
  fixture f;
  facet_shard *s;
  fixture_create(&f);
  for (int compress = 0; compress < 2; compress++) {
    facet_shard_writer *w;
    EXPECT_OK(facet_shard_writer_create(f.schema, fixture_path(&f, "a.h5"), (facet_shard_layout){compress, 0}, &w));
    EXPECT_OK(facet_shard_writer_finish(w));
    facet_shard_writer_destroy(&w);
    EXPECT_OK(facet_shard_open(f.schema, fixture_path(&f, "a.h5"), &s));
    cr_assert(facet_shard_n_samples(s) == 0 && facet_shard_n_events(s, 0) == 0);
    EXPECT_OK(facet_shard_verify(s));
    facet_shard_close(&s);
  }
  fixture_destroy(&f);
}

Test(shard_write, nothing_is_left_without_finish) {
  fixture f;
  fixture_create(&f);
  facet_shard_writer *w = open_writer(&f);
  fixture_append(&f, w);
  facet_shard_writer_destroy(&w);
  facet_shard_writer_destroy(&w);
  cr_assert(n_files(&f) == 0);
  fixture_destroy(&f);
}

Test(shard_write, wrong_values_are_refused) {
  fixture f;
  fixture_create(&f);
  facet_shard_writer *w = open_writer(&f);
  const int64_t start[2] = {0, 2}, negative_start[2] = {0, -1};
  const int32_t ids[9] = {1}, length[2] = {4, 1}, too_long[2] = {1, 5}, negative[2] = {1, -1}, count[2] = {2, 3};
  const float floats[2] = {0};
#define F(name) fixture_feature(&f, name)
  EXPECT_ERROR(FACET_ERROR_DATA, facet_shard_append_windows(w, 0, negative_start, length, 2), "a.h5",
               "history row 1: start -1, length 1, expected");
  EXPECT_ERROR(FACET_ERROR_DATA, facet_shard_append_windows(w, 0, start, too_long, 2), "row 1", "length 5", "0 to 4");
  EXPECT_ERROR(FACET_ERROR_DATA, facet_shard_append_windows(w, 0, start, negative, 2), "row 1", "length -1");
  EXPECT_ERROR(FACET_ERROR_DATA, facet_shard_append_bags(w, F("tags"), count, ids, 2), "tags row 1: 3 values",
               "0 to 2");
  EXPECT_ERROR(FACET_ERROR_DATA, facet_shard_append_bags(w, F("tags"), negative + 1, ids, 1), "-1 values");
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_shard_append_ids(w, F("category"), ids, 1), "category is joined");
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_shard_append_ids(w, F("tags"), ids, 1), "tags is a bag of");
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_shard_append_floats(w, F("time"), floats, 1), "time is one", "float");
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_shard_append_int64s(w, F("label"), start, 1), "label is one", "int64");
#undef F
  facet_shard_writer_destroy(&w);
  fixture_destroy(&f);
}

Test(shard_write, columns_of_different_lengths_are_refused) {
  fixture f;
  fixture_create(&f);
  facet_shard_writer *w = open_writer(&f);
  fixture_append(&f, w);
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_shard_writer_finish(w), "history has 0 windows for 6 samples");
  f.start[5] = 6; /* ends at event 8 of 7 */
  EXPECT_OK(facet_shard_append_windows(w, 0, f.start, f.length, 6));
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_shard_writer_finish(w), "history ends at event 8, of 7");
  EXPECT_OK(facet_shard_append_ids(w, fixture_feature(&f, "history.item_id"), f.event_item, 1));
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_shard_writer_finish(w), "7 rows", "history.item_id has 8");
  EXPECT_OK(facet_shard_append_ids(w, fixture_feature(&f, "user_id"), f.user, 1));
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_shard_writer_finish(w), "user_id has 7 rows");
  facet_shard_writer_destroy(&w);
  cr_assert(n_files(&f) == 0);
  fixture_destroy(&f);
}

Test(shard_write, the_count_of_samples_is_optional) {
  fixture f;
  fixture_create(&f);
  facet_shard_writer *w = open_writer(&f);
  fixture_append(&f, w);
  EXPECT_OK(facet_shard_append_windows(w, 0, f.start, f.length, 6));
  EXPECT_OK(facet_shard_writer_finish(w));
  facet_shard_writer_destroy(&w);
  fixture_destroy(&f);
}

/* ---- disks that fill up ---------------------------------------------------------------------------------------- */

/* Runs a function in a process whose files may have at most `n_bytes`, and returns its exit status. */
static int run_limited(facet_status (*run)(const fixture *), const fixture *f, int64_t n_bytes) {
  int status;
  const pid_t child = fork();
  cr_assert(child >= 0);
  if (child == 0) {
    const struct rlimit limit = {(rlim_t)n_bytes, (rlim_t)n_bytes};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(99);
    const facet_status result = run(f);
    const char *message = facet_error_get()->message;
    if (result == FACET_ERROR_IO && (!strstr(message, f->directory) || !strstr(message, "File too large"))) {
      fprintf(stderr, "message: %s\n", message);
      _exit(98);
    }
    _exit((int)result);
  }
  cr_assert(waitpid(child, &status, 0) == child);
  cr_assert(WIFEXITED(status), "ended by signal %d with a limit of %d bytes", WTERMSIG(status), (int)n_bytes);
  return WEXITSTATUS(status);
}

/* Every limit below what succeeds gives an I/O error and leaves nothing. */
static void expect_failures(facet_status (*run)(const fixture *), const char *name) {
  fixture f;
  struct stat info;
  fixture_create(&f);
  cr_assert(run_limited(run, &f, 1 << 30) == 0 && n_files(&f) == 1);
  cr_assert(stat(fixture_path(&f, name), &info) == 0);
  unlink(fixture_path(&f, name));
  int n_failed = 0;
  for (int64_t limit = 0; limit < info.st_size; limit = limit < 4096 ? limit + 512 : limit + info.st_size / 16) {
    const int status = run_limited(run, &f, limit);
    cr_assert(status == FACET_ERROR_IO, "limit of %d bytes: status %d", (int)limit, status);
    cr_assert(n_files(&f) == 0, "limit of %d bytes: a file is left", (int)limit);
    n_failed++;
  }
  cr_assert(n_failed >= 4);
  fixture_destroy(&f);
}

static facet_status write_shard(const fixture *f, bool compress, int n_repeats) {
  facet_shard_writer *w;
  FACET_TRY(facet_shard_writer_create(f->schema, fixture_path(f, "a.h5"), (facet_shard_layout){compress, 4}, &w));
  facet_status status = FACET_OK;
  for (int i = 0; i < n_repeats; i++) fixture_append(f, w);
  for (int i = 0; i < n_repeats && status == FACET_OK; i++)
    status = facet_shard_append_windows(w, 0, f->start, f->length, 6);
  if (status == FACET_OK) status = facet_shard_writer_finish(w);
  facet_shard_writer_destroy(&w);
  return status;
}

static facet_status write_contiguous(const fixture *f) {
  return write_shard(f, false, 1000);
}
static facet_status write_compressed(const fixture *f) {
  return write_shard(f, true, 30);
}

static facet_status write_tables(const fixture *f) {
  static float image[14];
  const facet_table_column column = {.vocabulary = facet_schema_vocabulary(f->schema, "item"),
                                     .column = "image",
                                     .type = FACET_FEATURE_FLOAT,
                                     .length = 2,
                                     .values = image};
  return facet_tables_write(f->schema, fixture_path(f, "tables.h5"), &column, 1);
}

static facet_status write_vocabulary(const fixture *f) {
  facet_vocabulary *vocabulary;
  int64_t id;
  FACET_TRY(facet_vocabulary_create("item", &vocabulary));
  facet_status status = FACET_OK;
  for (int i = 0; i < 2000 && status == FACET_OK; i++) {
    char token[16];
    const int n = snprintf(token, sizeof token, "token%d", i);
    status = facet_vocabulary_add(vocabulary, token, (size_t)n, &id);
  }
  if (status == FACET_OK) status = facet_vocabulary_save(vocabulary, fixture_path(f, "item.h5"));
  facet_vocabulary_destroy(&vocabulary);
  return status;
}

Test(shard_write, a_full_disk_leaves_no_contiguous_shard) {
  expect_failures(write_contiguous, "a.h5");
}
Test(shard_write, a_full_disk_leaves_no_compressed_shard) {
  expect_failures(write_compressed, "a.h5");
}
Test(shard_write, a_full_disk_leaves_no_tables) {
  expect_failures(write_tables, "tables.h5");
}
Test(shard_write, a_full_disk_leaves_no_vocabulary) {
  expect_failures(write_vocabulary, "item.h5");
}

Test(shard_write, a_directory_that_cannot_be_written) {
  fixture f;
  facet_shard_writer *w;
  fixture_create(&f);
  EXPECT_ERROR(FACET_ERROR_IO,
               facet_shard_writer_create(f.schema, fixture_path(&f, "none/a.h5"), (facet_shard_layout){0}, &w),
               "none/a.h5", "No such file or directory");
  cr_assert(!w);
  EXPECT_OK(facet_directory_create(fixture_path(&f, "a.h5/inner"))); /* the rename fails */
  w = open_writer(&f);
  EXPECT_ERROR(FACET_ERROR_IO, facet_shard_writer_finish(w), "a.h5");
  facet_shard_writer_destroy(&w);
  cr_assert(n_files(&f) == 1);
  fixture_destroy(&f);
}

/* The order of parts is that of their names. */
Test(shard_write, a_split_has_no_part_with_six_digits) {
  fixture f;
  split_writer writer = {.n_parts = SPLIT_MAX_PARTS - 1};
  fixture_create(&f);
  EXPECT_OK(dataset_create_directories(f.directory));
  EXPECT_OK(split_open_part(&writer, SPLIT_VALID, f.schema, f.directory, false));
  facet_shard_writer_destroy(&writer.part);
  EXPECT_ERROR(FACET_ERROR_USAGE, split_open_part(&writer, SPLIT_VALID, f.schema, f.directory, false),
               "split valid has more than 100000 parts", "part_samples");
  fixture_destroy(&f);
}
