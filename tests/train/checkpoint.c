/* Checkpoints: equal bits, damage, the newest and the best, pruning. */
#include "checkpoint_fixture.h"

TestSuite(checkpoint, .init = make_directory, .fini = remove_directory, .timeout = 120);

/* ---- writing and reading ----------------------------------------------------------------------------------------- */

Test(checkpoint, restores_every_bit) {
  fixture a, b;
  create(&a, "data", usual);
  create(&b, "data", usual);
  write_step(&a, 30);
  cr_assert_neq(hash_all(&a), hash_all(&b));
  EXPECT_OK(facet_checkpoint_read(step_path(30), &b.checkpoint));
  cr_assert_eq(hash_all(&a), hash_all(&b), "every number, and every field of the state");
  cr_assert_eq(b.state.step, 30);
  cr_assert(isnan(b.state.best_metric));
  destroy(&a);
  destroy(&b);
}

Test(checkpoint, reads_only_what_is_asked_for) {
  fixture a, b;
  create(&a, "data", usual);
  create(&b, "data", usual);
  write_step(&a, 30);
  const uint64_t before = hash_all(&b);
  facet_train_state state = {0};
  const facet_checkpoint only_state = {.state = &state};
  EXPECT_OK(facet_checkpoint_read(step_path(30), &only_state));
  cr_assert_eq(state.samples, 1040);
  cr_assert_eq(hash_all(&b), before);
  const facet_checkpoint scoring = {.config = &b.config, .schema = b.schema, .parameters = b.parameters};
  EXPECT_OK(facet_checkpoint_read(step_path(30), &scoring));
  cr_assert_eq(facet_table_rows(facet_parameters_table(b.parameters, 0))[5],
               facet_table_rows(facet_parameters_table(a.parameters, 0))[5]);
  cr_assert_eq(facet_optimizer_state(b.optimizer, 0)[0], 0, "the optimizer is left alone");
  destroy(&a);
  destroy(&b);
}

Test(checkpoint, equal_state_gives_equal_bytes) {
  fixture f;
  size_t n_a, n_b;
  create(&f, "data", usual);
  write_step(&f, 30);
  char *a = test_file_read(path_of("run/checkpoints/step-00000030/model.h5"), &n_a);
  EXPECT_OK(facet_directory_remove(step_path(30)));
  free(memset(malloc(1 << 20), 0xa5, 1 << 20)); /* what the heap held does not matter, nor how long it took */
  f.state.train_seconds *= 2;
  write_step(&f, 30);
  char *b = test_file_read(path_of("run/checkpoints/step-00000030/model.h5"), &n_b);
  cr_assert(n_a == n_b && memcmp(a, b, n_a) == 0);
  facet_memory_free(a);
  facet_memory_free(b);
  destroy(&f);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

/* Flips bits at every `stride`-th byte, all eight of them or a varying one; each must be noticed. */
static void flip(const char *name, size_t stride, bool all_bits) {
  char path[512];
  size_t n_bytes;
  snprintf(path, sizeof path, "%s/%s", step_path(30), name);
  char *data = test_file_read(path, &n_bytes);
  const int descriptor = open(path, O_WRONLY);
  cr_assert_geq(descriptor, 0);
  for (size_t i = 0; i < n_bytes; i += stride)
    for (int bit = 0; bit < 8; bit++) {
      if (!all_bits && bit != (int)(i / stride % 8)) continue;
      const char damaged = (char)(data[i] ^ (1 << bit));
      cr_assert_eq(pwrite(descriptor, &damaged, 1, (off_t)i), 1);
      const facet_status status = facet_checkpoint_verify(step_path(30));
      cr_assert_eq(status, FACET_ERROR_IO, "byte %zu bit %d of %s: status %d", i, bit, name, (int)status);
      cr_assert(strstr(facet_error_get()->message, name), "%s", facet_error_get()->message);
      cr_assert_eq(pwrite(descriptor, &data[i], 1, (off_t)i), 1);
    }
  close(descriptor);
  facet_memory_free(data);
  EXPECT_OK(facet_checkpoint_verify(step_path(30)));
}

Test(checkpoint, every_flipped_bit_is_noticed) {
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  flip("manifest.json", 1, true);
  flip("schema.yaml", 1, false);
  flip("config.yaml", 7, false);
  flip("model.h5", 61, false);
  destroy(&f);
}

Test(checkpoint, truncated_longer_and_missing_files) {
  static const char *const names[] = {"model.h5", "config.yaml", "schema.yaml", "manifest.json"};
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  for (int k = 0; k < 4; k++) {
    char path[512];
    size_t n_bytes;
    snprintf(path, sizeof path, "%s/%s", step_path(30), names[k]);
    char *data = test_file_read(path, &n_bytes);
    for (size_t n = 0; n < n_bytes; n += n_bytes / 37 + 1) {
      test_file_write(path, data, n);
      EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_read(step_path(30), &f.checkpoint), names[k]);
    }
    test_file_write(path, data, n_bytes);
    FILE *stream = fopen(path, "ab");
    fputc('\n', stream);
    fclose(stream);
    EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_read(step_path(30), &f.checkpoint), names[k]);
    cr_assert_eq(unlink(path), 0);
    EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_read(step_path(30), &f.checkpoint), names[k]);
    cr_assert_eq(symlink("/dev/zero", path), 0);
    EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_read(step_path(30), &f.checkpoint), names[k]);
    cr_assert_eq(unlink(path), 0);
    test_file_write(path, data, n_bytes);
    facet_memory_free(data);
  }
  EXPECT_OK(facet_checkpoint_read(step_path(30), &f.checkpoint));
  destroy(&f);
}

Test(checkpoint, files_of_two_checkpoints_do_not_mix) {
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  write_step(&f, 40);
  copy_file(path_of("run/checkpoints/step-00000030/model.h5"), path_of("run/checkpoints/step-00000040/model.h5"));
  EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_verify(step_path(40)), "model.h5 is damaged: its checksum is");
  copy_file(path_of("run/checkpoints/step-00000030/manifest.json"),
            path_of("run/checkpoints/step-00000040/manifest.json"));
  EXPECT_OK(facet_checkpoint_verify(step_path(40))); /* now all of it is the other's */
  destroy(&f);
}

Test(checkpoint, manifests_that_are_not_ours) {
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  char path[512];
  snprintf(path, sizeof path, "%s/manifest.json", step_path(30));
  static const char *const texts[] = {"", "{}", "[]", "null", "{\"checksum\": 1}", "{\"a\": 1, \"a\": 1}", "\xff\xfe"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    test_file_write(path, texts[i], strlen(texts[i]));
    EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_verify(step_path(30)), "manifest.json is damaged");
  }
  /* Whole, but of a later format: not damage, which an older checkpoint would make good. */
  const char *const inner = "{\n  \"facet_checkpoint\": 2\n}";
  char later[256];
  snprintf(later, sizeof later, "{\n  \"checksum\": \"%016llx\",\n  \"facet_checkpoint\": 2\n}",
           (unsigned long long)facet_hash64(inner, strlen(inner)));
  test_file_write(path, later, strlen(later));
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_verify(step_path(30)), "format 2");
  char found[FACET_PATH_MAX];
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_newest(run_directory, found), "format 2");
  destroy(&f);
}

/* ---- which checkpoint -------------------------------------------------------------------------------------------- */

Test(checkpoint, newest_passes_over_damaged_ones) {
  fixture f;
  char path[FACET_PATH_MAX];
  cr_assert_eq(newest(), -1, "no directory");
  create(&f, "data", usual);
  for (int step = 10; step <= 40; step += 10) write_step(&f, step);
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints/step-5"))); /* not a name of ours */
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints/step-00000099x")));
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints/.tmp-step-00000050")));
  cr_assert_eq(newest(), 40);
  cr_assert_eq(truncate(path_of("run/checkpoints/step-00000040/model.h5"), 100), 0);
  cr_assert_eq(unlink(path_of("run/checkpoints/step-00000030/manifest.json")), 0);
  capture(true);
  cr_assert_eq(newest(), 20);
  const char *text = capture(false);
  cr_assert(strstr(text, "warning: ") && strstr(text, "step-00000040/model.h5 is damaged: it has 100 bytes") &&
                strstr(text, "step-00000030 is not a complete checkpoint: it has no manifest.json"),
            "%s", text);
  cr_assert_eq(unlink(path_of("run/checkpoints/step-00000020/schema.yaml")), 0);
  cr_assert_eq(unlink(path_of("run/checkpoints/step-00000010/config.yaml")), 0);
  capture(true);
  const facet_status status = facet_checkpoint_newest(run_directory, path);
  capture(false);
  EXPECT_ERROR(FACET_ERROR_IO, status, "none of the 4 checkpoints of");
  cr_assert(facet_error_get()->hint[0]);
  cr_assert_eq(path[0], '\0');
  destroy(&f);
}

Test(checkpoint, best_and_resolve) {
  fixture f;
  char path[FACET_PATH_MAX], target[64] = "";
  create(&f, "data", usual);
  EXPECT_ERROR(FACET_ERROR_USAGE, facet_checkpoint_resolve(run_directory, path), "neither a checkpoint");
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints")));
  EXPECT_ERROR(FACET_ERROR_USAGE, facet_checkpoint_resolve(run_directory, path), "holds no checkpoint");
  for (int step = 10; step <= 30; step += 10) write_step(&f, step);
  EXPECT_OK(facet_checkpoint_resolve(run_directory, path));
  cr_assert_str_eq(path, step_path(30), "the newest where none is the best");
  EXPECT_OK(facet_checkpoint_mark_best(run_directory, 10));
  EXPECT_OK(facet_checkpoint_mark_best(run_directory, 20));
  EXPECT_OK(facet_checkpoint_mark_best(run_directory, 20));
  cr_assert_eq(readlink(path_of("run/checkpoints/best"), target, sizeof target - 1), 13);
  cr_assert_str_eq(target, "step-00000020", "relative, so that the run can be moved");
  EXPECT_OK(facet_checkpoint_resolve(run_directory, path));
  cr_assert_str_eq(path, step_path(20));
  EXPECT_OK(facet_checkpoint_resolve(path_of("run/checkpoints/best"), path));
  EXPECT_OK(facet_checkpoint_verify(path));
  EXPECT_OK(facet_checkpoint_resolve(step_path(10), path));
  cr_assert_str_eq(path, step_path(10));
  destroy(&f);
}

Test(checkpoint, prune_keeps_the_newest_and_the_best) {
  fixture f;
  create(&f, "data", usual);
  for (int step = 10; step <= 70; step += 10) write_step(&f, step);
  EXPECT_OK(facet_checkpoint_mark_best(run_directory, 20));
  EXPECT_OK(facet_checkpoint_prune(run_directory, 60, 2));
  cr_assert_eq(count("step-"), 4);
  cr_assert(is_there("step-00000070"), "later than the present step: left alone");
  cr_assert(is_there("step-00000060") && is_there("step-00000050") && is_there("step-00000020"));
  EXPECT_OK(facet_checkpoint_prune(run_directory, 70, 0));
  cr_assert_eq(count("step-"), 2, "at least the newest, and the best");
  cr_assert_eq(count("."), 0, "nothing is left half removed");
  destroy(&f);
}

Test(checkpoint, leftovers_are_removed) {
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints/.tmp-step-00000035")));
  test_file_write(path_of("run/checkpoints/.tmp-step-00000035/model.h5"), "half", 4);
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints/.tmp-doomed/deeper")));
  cr_assert_eq(symlink("step-00000030", path_of("run/checkpoints/.tmp-best")), 0);
  test_file_write(path_of("run/checkpoints/notes.txt"), "mine", 4);
  write_step(&f, 40);
  cr_assert_eq(count("."), 0);
  cr_assert(is_there("notes.txt") && is_there("step-00000030") && is_there("step-00000040"));
  destroy(&f);
}
