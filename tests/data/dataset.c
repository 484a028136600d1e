/* Data set directories: parts in sequence, attribute tables. */
#include "fixture.h"

#include <math.h>

#include "foreign.h"

static void write_dataset(fixture *f, int n_parts) {
  fixture_create(f);
  EXPECT_OK(facet_schema_write(f->schema, fixture_path(f, "schema.yaml")));
  fixture_write_tables(f, fixture_path(f, "tables.h5"));
  EXPECT_OK(facet_directory_create(fixture_path(f, "train")));
  for (int p = 0; p < n_parts; p++) {
    char name[32];
    snprintf(name, sizeof name, "train/part-%05d.h5", p);
    f->label[0] = (float)(p % 2);
    fixture_write(f, fixture_path(f, name), p % 2);
  }
}

Test(dataset, rows_run_through_the_parts) {
  fixture f;
  facet_dataset *d;
  write_dataset(&f, 3);
  EXPECT_OK(facet_dataset_open(f.directory, "train", &d));
  cr_assert(facet_dataset_n_samples(d) == 18 && facet_dataset_n_parts(d) == 3);
  cr_assert(!strcmp(facet_dataset_split(d), "train") && !strcmp(facet_dataset_path(d), f.directory));
  for (int64_t row = 0; row < 18; row++) {
    int64_t in_part;
    cr_assert(facet_dataset_locate(d, row, &in_part) == row / 6 && in_part == row % 6);
  }
  float label;
  EXPECT_OK(facet_column_read_float(facet_shard_values(facet_dataset_part(d, 1), 0), 0, 1, &label));
  cr_assert(label == 1);
  facet_dataset_close(&d);
  fixture_destroy(&f);
}

Test(dataset, attributes_are_read) {
  fixture f;
  facet_dataset *d;
  write_dataset(&f, 1);
  EXPECT_OK(facet_dataset_open(f.directory, "train", &d));
  const facet_attribute *a = facet_dataset_attribute(d, fixture_feature(&f, "category"));
  cr_assert(a->n_rows == 7 && !a->floats && !a->offsets && !memcmp(a->ids, f.category, sizeof f.category));
  a = facet_dataset_attribute(d, fixture_feature(&f, "history.category"));
  cr_assert(!memcmp(a->ids, f.category, sizeof f.category));
  a = facet_dataset_attribute(d, fixture_feature(&f, "genres"));
  cr_assert(!memcmp(a->offsets, f.genre_offsets, sizeof f.genre_offsets) && !memcmp(a->ids, f.genres, sizeof f.genres));
  a = facet_dataset_attribute(d, fixture_feature(&f, "image"));
  cr_assert(!a->ids && !memcmp(a->floats, f.image, sizeof f.image));
  cr_assert(!facet_dataset_attribute(d, fixture_feature(&f, "item_id")));
  facet_dataset_close(&d);
  fixture_destroy(&f);
}

Test(dataset, gaps_and_missing_things_are_errors) {
  fixture f;
  facet_dataset *d;
  write_dataset(&f, 3);
  EXPECT_ERROR(FACET_ERROR_DATA, facet_dataset_open(f.directory, "test", &d), "/test", "part-00000.h5");
  unlink(fixture_path(&f, "train/part-00001.h5"));
  EXPECT_ERROR(FACET_ERROR_DATA, facet_dataset_open(f.directory, "train", &d), "part-00002.h5, expected part-00001.h5");
  unlink(fixture_path(&f, "train/part-00002.h5"));
  EXPECT_OK(facet_file_write(fixture_path(&f, "train/part-00001.h5.tmp"), "x", 1)); /* left by a killed writer */
  EXPECT_OK(facet_dataset_open(f.directory, "train", &d));
  facet_dataset_close(&d);
  unlink(fixture_path(&f, "train/part-00000.h5"));
  EXPECT_ERROR(FACET_ERROR_DATA, facet_dataset_open(f.directory, "train", &d), "no part-00000.h5");
  unlink(fixture_path(&f, "tables.h5"));
  EXPECT_ERROR(FACET_ERROR_IO, facet_dataset_open(f.directory, "train", &d), "tables.h5");
  unlink(fixture_path(&f, "schema.yaml"));
  EXPECT_ERROR(FACET_ERROR_IO, facet_dataset_open(f.directory, "train", &d), "schema.yaml");
  fixture_destroy(&f);
}

Test(dataset, bad_attributes_are_errors) {
  fixture f;
  facet_dataset *d;
  write_dataset(&f, 1);
  const char *path = fixture_path(&f, "tables.h5");
  f.category[3] = 4;
  fixture_write_tables(&f, path);
  EXPECT_ERROR(FACET_ERROR_DATA, facet_dataset_open(f.directory, "train", &d), "tables.h5: /item/category: row 3: id 4",
               "expected 0 to 3");
  f.category[3] = -1;
  fixture_write_tables(&f, path);
  EXPECT_ERROR(FACET_ERROR_DATA, facet_dataset_open(f.directory, "train", &d), "/item/category: row 3: id -1");
  f.category[3] = 3;
  f.image[5] = NAN;
  fixture_write_tables(&f, path);
  EXPECT_ERROR(FACET_ERROR_DATA, facet_dataset_open(f.directory, "train", &d), "/item/image: row 2: nan", "finite");
  EXPECT_OK(facet_tables_write(f.schema, path, NULL, 0));
  EXPECT_ERROR(FACET_ERROR_DATA, facet_dataset_open(f.directory, "train", &d), "item/category", "missing");
  fixture_destroy(&f);
}

/* Tables of another size than their vocabulary, of other types, and bags whose offsets are no offsets. */
Test(dataset, tables_that_do_not_fit_their_vocabulary) {
  fixture f;
  facet_dataset *d;
  write_dataset(&f, 1);
  const char *path = fixture_path(&f, "tables.h5");
#define REFUSED(change, ...)                                                                                           \
  do {                                                                                                                 \
    fixture_write_tables(&f, path);                                                                                    \
    change;                                                                                                            \
    EXPECT_ERROR(FACET_ERROR_DATA, facet_dataset_open(f.directory, "train", &d), path, __VA_ARGS__);                   \
    cr_assert_null(d);                                                                                                 \
  } while (0)
  REFUSED(foreign_replace(path, "/item/category", H5T_STD_I32LE, 6, 1), "/item/category: has 6 rows, expected 7");
  REFUSED(foreign_replace(path, "/item/category", H5T_STD_I32LE, 8, 1), "/item/category: has 8 rows, expected 7");
  REFUSED(foreign_replace(path, "/item/category", H5T_IEEE_F32LE, 7, 1), "is stored as float32, expected int32 or");
  REFUSED(foreign_replace(path, "/item/image", H5T_IEEE_F32LE, 7, 3),
          "/item/image: has rows of 3 elements, expected 2");
  REFUSED(foreign_replace(path, "/item/image", H5T_IEEE_F64LE, 7, 2), "/item/image: is stored as float64, expected");
  REFUSED(foreign_replace(path, "/item/genres/offsets", H5T_STD_I64LE, 7, 1), "has 7 rows, expected 8");
  REFUSED(foreign_delete(path, "/item/genres/values"), "item/genres/values: the data set is missing");
  REFUSED(test_hdf5_poke(path, "/item/genres/offsets", 0, 1), "/item/genres/offsets: row 0: 1, expected 0");
  REFUSED(test_hdf5_poke(path, "/item/genres/offsets", 7, 8), "/item/genres/values: has 7 rows, expected 8");
  REFUSED(test_hdf5_poke(path, "/item/genres/offsets", 4, 1), "/item/genres/offsets: row 4: 5 values, expected 0 to 3");
  REFUSED(test_hdf5_poke(path, "/item/genres/offsets", 4, 0),
          "/item/genres/offsets: row 3: -1 values, expected 0 to 3");
  REFUSED(test_hdf5_poke(path, "/item/genres/values", 6, 5), "/item/genres/values: row 6: id 5, expected 0 to 4");
  REFUSED(test_hdf5_poke(path, "/item/image", 13, INFINITY), "/item/image: row 6: inf, expected a finite number");
  REFUSED(foreign_set_text(path, "facet_format", "shard"), "facet_format is \"shard\", expected \"tables\"");
  REFUSED(truncate(path, 1000), "not a readable HDF5 file");
#undef REFUSED
  fixture_destroy(&f);
}
