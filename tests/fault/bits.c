/* Damaged checkpoints are refused, whichever bit of whichever file it is, before anything is read from them. */
#include "train/checkpoint_fixture.h"

#include "fault/run.h"

TestSuite(bits, .init = make_directory, .fini = remove_directory, .timeout = 300);

static const char *const files[] = {"manifest.json", "config.yaml", "schema.yaml", "model.h5"};
enum { N_FILES = sizeof files / sizeof *files };

static char checkpoint[256]; /* of step 20; that of step 10 is beside it */

static void write_two(fixture *f) {
  create(f, "data", usual);
  write_step(f, 10);
  write_step(f, 20);
  snprintf(checkpoint, sizeof checkpoint, "%.255s", step_path(20));
  EXPECT_OK(facet_checkpoint_verify(checkpoint));
}

/* Refused by the verification that stands before every use, with a message that names a file of the checkpoint. */
static void expect_refused(const char *what, long at) {
  const facet_status status = facet_checkpoint_verify(checkpoint);
  const char *message = facet_error_get()->message;
  cr_assert(status == FACET_ERROR_IO && strstr(message, checkpoint), "%s, %ld: status %d: %s", what, at, (int)status,
            message);
}

Test(bits, every_flipped_bit_is_found) {
  fixture f;
  write_two(&f);
  for (int i = 0; i < N_FILES; i++) {
    const char *path = path_of("run/checkpoints/step-00000020/%s", files[i]);
    size_t n_bytes;
    char *data = test_file_read(path, &n_bytes);
    const int file = open(path, O_RDWR);
    cr_assert(file >= 0);
    for (size_t at = 0; at < n_bytes; at++) {
      for (int bit = 0; bit < 8; bit++) {
        const char damaged = (char)(data[at] ^ (1 << bit));
        cr_assert_eq(pwrite(file, &damaged, 1, (off_t)at), 1);
        expect_refused(files[i], (long)(8 * at) + bit);
      }
      cr_assert_eq(pwrite(file, data + at, 1, (off_t)at), 1);
    }
    cr_log_info("%s: %zu bits", files[i], 8 * n_bytes);
    close(file);
    facet_memory_free(data);
  }
  EXPECT_OK(facet_checkpoint_verify(checkpoint));
  destroy(&f);
}

Test(bits, files_of_another_length) {
  fixture f;
  write_two(&f);
  for (int i = 0; i < N_FILES; i++) {
    const char *path = path_of("run/checkpoints/step-00000020/%s", files[i]);
    size_t n_bytes;
    char *data = test_file_read(path, &n_bytes);
    for (size_t k = 0; k < 64; k++) { /* at the 64 boundaries, and before the last byte */
      test_file_write(path, data, n_bytes * k / 64);
      expect_refused(files[i], (long)k);
    }
    test_file_write(path, data, n_bytes - 1);
    expect_refused(files[i], 64);
    test_file_write(path, data, n_bytes);
    cr_assert_eq(truncate(path, (off_t)n_bytes + 1), 0);
    expect_refused(files[i], 65);
    test_file_write(path, data, n_bytes);
    EXPECT_OK(facet_checkpoint_verify(checkpoint));
    facet_memory_free(data);
  }
  destroy(&f);
}

Test(bits, files_that_are_missing_or_no_files) {
  fixture f;
  write_two(&f);
  for (int i = 0; i < N_FILES; i++) {
    char path[512], away[512];
    snprintf(path, sizeof path, "%s/%s", checkpoint, files[i]);
    snprintf(away, sizeof away, "%s", path_of("away"));
    cr_assert_eq(rename(path, away), 0);
    expect_refused(files[i], 0);
    EXPECT_OK(facet_directory_create(path));
    expect_refused(files[i], 1);
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(rename(away, path), 0);
    EXPECT_OK(facet_checkpoint_verify(checkpoint));
  }
  destroy(&f);
}

Test(bits, files_of_another_checkpoint) {
  fixture f;
  write_two(&f);
  for (int i = 0; i < N_FILES; i++) {
    char path[512], away[512], other[512];
    snprintf(path, sizeof path, "%s/%s", checkpoint, files[i]);
    snprintf(away, sizeof away, "%s", path_of("away"));
    snprintf(other, sizeof other, "%s/%s", step_path(10), files[i]);
    cr_assert_eq(rename(path, away), 0);
    copy_file(other, path);
    if (strstr(files[i], ".yaml")) /* the same in both */
      EXPECT_OK(facet_checkpoint_verify(checkpoint));
    else
      expect_refused(files[i], 0);
    cr_assert_eq(rename(away, path), 0);
  }
  destroy(&f);
}

/* What the manifest does not list is never read. */
Test(bits, another_file_in_the_directory_does_not_matter) {
  fixture f, g;
  write_two(&f);
  test_file_write(path_of("run/checkpoints/step-00000020/.nfs0001"), "left by a file system", 21);
  create(&g, "data", usual);
  EXPECT_OK(facet_checkpoint_read(checkpoint, &g.checkpoint));
  cr_assert_eq(hash_all(&g), hash_all(&f));
  destroy(&f);
  destroy(&g);
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

TestSuite(damage, .init = run_create, .fini = tiny_remove, .timeout = 300);

/* With its only checkpoint damaged, a run does not train, and an evaluation does not evaluate. */
Test(damage, is_refused_by_every_command) {
  char path[512];
  run_remove("whole/checkpoints/step-00000001"); /* the best */
  for (int i = 0; i < N_FILES; i++) {
    snprintf(path, sizeof path, "%s", tiny_path("whole/checkpoints/step-00000002/%s", files[i]));
    size_t n_bytes;
    char *data = test_file_read(path, &n_bytes);
    data[n_bytes / 2] ^= 4;
    test_file_write(path, data, n_bytes);
    cr_assert_eq(
        run_facet(NULL, "train %s --set train.max_steps=5 --output %s", tiny_path("c.yaml"), tiny_path("whole")), 4,
        "%s\n%s", files[i], program_output);
    cr_assert(strstr(program_output, path) && strstr(program_output, "is damaged") &&
                  !strstr(program_output, "resumed from"),
              "%s\n%s", files[i], program_output);
    cr_assert_eq(run_facet(NULL, "evaluate %s --split valid", tiny_path("whole/checkpoints/step-00000002")), 4, "%s",
                 program_output);
    cr_assert(strstr(program_output, path), "%s", program_output);
    data[n_bytes / 2] ^= 4;
    test_file_write(path, data, n_bytes);
    facet_memory_free(data);
  }
  cr_assert_eq(run_facet(NULL, "train %s --set train.max_steps=5 --output %s", tiny_path("c.yaml"), tiny_path("whole")),
               0);
}
