/* facet inspect on damaged files: exact messages, exit status, and what it shows of them without --verify. */
#include <fcntl.h>

#include "cli/inspect_fixture.h"

TestSuite(cli_inspect_faults, .init = inspect_create, .fini = inspect_remove);

/* Overwrites one row of a data set in a file. */
static void write_row(const char *path, const char *name, facet_hdf5_type type, int64_t row, const void *value) {
  hid_t dataset, file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
  cr_assert(file >= 0);
  EXPECT_OK(facet_hdf5_dataset_open(file, name, &dataset));
  EXPECT_OK(facet_hdf5_dataset_write(dataset, type, row, 1, value));
  facet_hdf5_release(&dataset);
  EXPECT_OK(facet_hdf5_close(&file));
}

static void write_int32(const char *path, const char *name, int64_t row, int32_t value) {
  write_row(path, name, FACET_HDF5_INT32, row, &value);
}

static void flip_byte(const char *path, off_t at) {
  unsigned char c;
  const int descriptor = open(path, O_RDWR);
  cr_assert(pread(descriptor, &c, 1, at) == 1);
  c ^= 0x10;
  cr_assert(pwrite(descriptor, &c, 1, at) == 1);
  close(descriptor);
}

static off_t size_of(const char *path) {
  const int descriptor = open(path, O_RDONLY);
  const off_t size = lseek(descriptor, 0, SEEK_END);
  close(descriptor);
  return size;
}

/* --verify of the file, and of its data set, ends with the message and status 3. */
#define EXPECT_FAULT(path, message)                                                                                    \
  do {                                                                                                                 \
    EXPECT_EXIT(3, program_run("inspect %s --verify", (path)), message);                                               \
    EXPECT_EXIT(3, program_run("inspect %s --verify", path_of("small")), message);                                     \
    cr_assert(!strstr(program_output, "verified"));                                                                    \
  } while (0)

/* ---- shards ------------------------------------------------------------------------------------------------------ */

Test(cli_inspect_faults, an_id_outside_its_vocabulary) {
  write_small();
  const char *part = path_of("small/train/part-00001.h5");
  write_int32(part, "samples/item_id", 4, 99);
  EXPECT_FAULT(part, "/part-00001.h5: /samples/item_id: row 4: id 99, expected 0 to 6 (vocabulary item)\n");
  cr_assert(strstr(program_output, "ok           train/part-00000.h5      6 samples\n"));
  EXPECT_EXIT(0, program_run("inspect %s --rows 5", part), "\n  item_id                99 <none>\n",
              "\n  image (by item_id)     <none>\n");
}

Test(cli_inspect_faults, windows_outside_the_events) {
  write_small();
  const char *part = path_of("small/train/part-00000.h5");
  write_int32(part, "samples/history/length", 1, 7);
  write_int32(part, "samples/history/length", 3, -2);
  EXPECT_FAULT(part, "/part-00000.h5: /samples/history/length: row 1: length 7, expected 0 to 4\n");
  EXPECT_EXIT(0, program_run("inspect %s --rows 4", part),
              "\nsequence  events  limit  shortest  mean  p50  p99  longest  empty  impossible\n"
              "history        7      4         0   2.2    2    4        4      1           2\n",
              "\n  history                -2 events from 4: outside the 7 events of the part\n");
}

Test(cli_inspect_faults, a_bag_whose_offsets_fall) {
  write_small();
  const char *part = path_of("small/train/part-00000.h5");
  const int64_t offset = 9;
  write_row(part, "samples/tags/offsets", FACET_HDF5_INT64, 2, &offset);
  EXPECT_FAULT(part, "/part-00000.h5: /samples/tags/offsets: row 1: a bag from value 0 to 9, expected 0 to 2 values\n");
  EXPECT_EXIT(0, program_run("inspect %s --rows 3", part), "\n  tags                   <values 0 to 9 of 6>\n",
              "\n  tags                   <values 9 to 3 of 6>\n");
}

Test(cli_inspect_faults, labels_that_are_none) {
  write_small();
  const char *part = path_of("small/train/part-00000.h5");
  const float label = 2;
  write_row(part, "samples/label", FACET_HDF5_FLOAT, 2, &label);
  EXPECT_FAULT(part, "/part-00000.h5: /samples/label: row 2: label 2, expected 0 or 1\n");
  EXPECT_EXIT(0, program_run("inspect %s", part), "\nlabels       3 positive, mean 0.8333\n");
}

Test(cli_inspect_faults, a_part_cut_short) {
  write_small();
  const char *part = path_of("small/train/part-00000.h5");
  cr_assert(truncate(part, size_of(part) - 100) == 0);
  EXPECT_FAULT(part, "/part-00000.h5: not a readable HDF5 file: truncated file");
  EXPECT_EXIT(3, program_run("inspect %s", part), "truncated file");
}

Test(cli_inspect_faults, a_missing_part) {
  write_small();
  cr_assert(unlink(path_of("small/train/part-00000.h5")) == 0);
  EXPECT_EXIT(3, program_run("inspect %s --verify", path_of("small")),
              "small: no directory in it holds a part-00000.h5\n");
  EXPECT_EXIT(0, program_run("inspect %s", path_of("small")), "\nsplits       none: ");
  EXPECT_EXIT(3, program_run("inspect %s --split train", path_of("small")),
              "small/train: found part-00001.h5, expected part-00000.h5\n");
}

Test(cli_inspect_faults, another_schema) {
  write_small();
  EXPECT_EXIT(0, program_shell("sed -i 's/length: 3/length: 4/' %s", path_of("small/schema.yaml")));
  EXPECT_FAULT(path_of("small/train/part-00000.h5"), "was written with another schema than ");
}

/* ---- tables and vocabularies ------------------------------------------------------------------------------------- */

Test(cli_inspect_faults, tables_with_an_id_outside_its_vocabulary) {
  write_small();
  write_int32(path_of("small/tables.h5"), "item/category", 5, 4);
  EXPECT_FAULT(path_of("small/tables.h5"),
               "/tables.h5: /item/category: row 5: id 4, expected 0 to 3 (vocabulary category)\n");
}

Test(cli_inspect_faults, tables_of_another_size) {
  write_small();
  EXPECT_EXIT(0, program_shell("sed -i 's/item: {size: 7}/item: {size: 8}/' %s", path_of("small/schema.yaml")));
  EXPECT_EXIT(3, program_run("inspect %s --verify", path_of("small/tables.h5")),
              "/tables.h5: /item/category: has 7 rows, expected 8\n");
  EXPECT_EXIT(3, program_run("inspect %s --verify", path_of("small")),
              "/vocab/item.h5: size 7, expected 8 (vocabulary item of ");
  EXPECT_EXIT(3, program_run("inspect %s --verify", path_of("small/vocab/item.h5")),
              "/vocab/item.h5: size 7, expected 8 (vocabulary item of ");
  EXPECT_EXIT(0, program_run("inspect %s", path_of("small/vocab/item.h5")), "\nids          7: ");
}

Test(cli_inspect_faults, a_missing_table) {
  write_small();
  cr_assert(unlink(path_of("small/tables.h5")) == 0);
  EXPECT_EXIT(4, program_run("inspect %s --verify", path_of("small")), "/small/tables.h5: cannot open the file");
  EXPECT_EXIT(0, program_run("inspect %s --rows 1", path_of("small")), "\n  genres (by item_id)    <no tables.h5>\n");
}

Test(cli_inspect_faults, a_vocabulary_with_another_token) {
  write_small();
  const uint8_t letter = 'P';
  write_row(path_of("small/vocab/item.h5"), "bytes", FACET_HDF5_UINT8, 0, &letter);
  EXPECT_FAULT(path_of("small/vocab/item.h5"), "/vocab/item.h5: its tokens have hash ");
  EXPECT_EXIT(0, program_run("inspect %s", path_of("small/vocab/item.h5")), "\n2  \"Plain\"\n");
}

Test(cli_inspect_faults, a_vocabulary_with_a_token_twice) {
  write_small();
  for (int64_t i = 0; i < 5; i++)
    write_row(path_of("small/vocab/item.h5"), "bytes", FACET_HDF5_UINT8, i + 5, "plain" + i);
  EXPECT_FAULT(path_of("small/vocab/item.h5"), "/vocab/item.h5: token 3 equals token 2, expected different tokens\n");
}

Test(cli_inspect_faults, a_vocabulary_whose_offsets_fall) {
  write_small();
  const int64_t offset = 1000;
  write_row(path_of("small/vocab/item.h5"), "offsets", FACET_HDF5_INT64, 1, &offset);
  EXPECT_FAULT(path_of("small/vocab/item.h5"), "/vocab/item.h5: /offsets row 0: 0 is not below the next value 1000\n");
  EXPECT_EXIT(3, program_run("inspect %s", path_of("small/vocab/item.h5")),
              "/vocab/item.h5: /offsets row 0: token from byte 0 to 1000 of 125\n");
}

Test(cli_inspect_faults, the_vocabulary_of_another_name) {
  write_small();
  cr_assert(rename(path_of("small/vocab/item.h5"), path_of("small/vocab/user.h5")) == 0);
  EXPECT_EXIT(3, program_run("inspect %s --verify", path_of("small")),
              "/vocab/user.h5: holds vocabulary item, expected user\n");
  EXPECT_EXIT(0, program_run("inspect %s", path_of("small")));
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

Test(cli_inspect_faults, damaged_checkpoints) {
  train();
  const char *checkpoint = path_of("run/checkpoints/step-00000003"), *run = path_of("run");
  flip_byte(path_of("run/checkpoints/step-00000003/model.h5"), 8192); /* in the middle of some numbers */
  EXPECT_EXIT(4, program_run("inspect %s --verify", checkpoint), "/step-00000003/model.h5 is damaged: its checksum is ",
              ", manifest.json says ");
  EXPECT_EXIT(4, program_run("inspect %s --verify", run),
              "ok           step-00000000            sizes and checksums agree\n",
              "/step-00000003/model.h5 is damaged: its checksum is ");
  EXPECT_EXIT(0, program_run("inspect %s", checkpoint), "\nstep         3: ");
  flip_byte(path_of("run/checkpoints/step-00000003/model.h5"), 9); /* in the superblock of HDF5 */
  EXPECT_EXIT(4, program_run("inspect %s/model.h5 --verify", checkpoint), "model.h5 is damaged: its checksum is ");
  EXPECT_EXIT(3, program_run("inspect %s/model.h5", checkpoint), "model.h5: not a readable HDF5 file: ");
  cr_assert(truncate(path_of("run/checkpoints/step-00000003/model.h5"), 4096) == 0);
  EXPECT_EXIT(4, program_run("inspect %s --verify", checkpoint), "is damaged: it has 4096 bytes, manifest.json says ");
  EXPECT_EXIT(3, program_run("inspect %s", run), "\nstatus       stopped, not finished, at step 0, ",
              "\nstep-00000003                                      6.", "  unreadable\n", "\nstep-00000000     0 ",
              "/step-00000003/model.h5: not a readable HDF5 file: ");
  cr_assert(unlink(path_of("run/checkpoints/step-00000003/manifest.json")) == 0);
  EXPECT_EXIT(4, program_run("inspect %s --verify", checkpoint),
              "is not a complete checkpoint: it has no manifest.json\n");
  EXPECT_EXIT(4, program_run("inspect %s", run), "  unreadable\n", "it has no manifest.json\n");
}

Test(cli_inspect_faults, a_run_without_checkpoints) {
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints")));
  EXPECT_EXIT(4, program_run("inspect %s", path_of("run")), "run/config.yaml");
  EXPECT_EXIT(
      0, program_shell("$FACET config %s/models/mean_pooling.yaml >%s", FACET_SOURCE_DIR, path_of("run/config.yaml")));
  EXPECT_EXIT(0, program_run("inspect %s", path_of("run")), "\nstatus       no checkpoint, no live run\n");
}
