/* Shards that are wrong: each is refused with one message that names the file, the data set, the row, the value and
 * what was expected, by opening or by verification. */
#include "fixture.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "foreign.h"

static fixture f;
static char path[128];

static void setup(void) {
  fixture_create(&f);
  snprintf(path, sizeof path, "%s", fixture_path(&f, "part.h5"));
}
static void teardown(void) {
  fixture_destroy(&f);
}
TestSuite(shard_bad, .init = setup, .fini = teardown);

/* Opens and verifies the shard. */
static facet_status check(void) {
  facet_shard *s;
  facet_status status = facet_shard_open(f.schema, path, &s);
  cr_assert((status == FACET_OK) == (s != NULL));
  if (s) status = facet_shard_verify(s);
  facet_shard_close(&s);
  return status;
}

/* The shard of the fixture, written both ways and changed by `change`, is refused. */
#define REFUSED(change, ...)                                                                                           \
  do {                                                                                                                 \
    for (int compress = 0; compress < 2; compress++) {                                                                 \
      fixture_write(&f, path, compress);                                                                               \
      change;                                                                                                          \
      EXPECT_ERROR(FACET_ERROR_DATA, check(), path, __VA_ARGS__);                                                      \
      cr_assert(!strchr(facet_error_get()->message, '\n'));                                                            \
    }                                                                                                                  \
  } while (0)

/* ---- files ------------------------------------------------------------------------------------------------------- */

Test(shard_bad, a_missing_file) {
  EXPECT_ERROR(FACET_ERROR_IO, check(), path, "No such file or directory");
}

Test(shard_bad, what_is_not_hdf5) {
  EXPECT_OK(facet_file_write(path, "", 0));
  EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "not a readable HDF5 file");
  EXPECT_OK(facet_file_write(path, "user,item\n1,2\n", 14));
  EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "not a readable HDF5 file");
  unlink(path);
  EXPECT_OK(facet_directory_create(path));
  EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "not a readable HDF5 file");
}

Test(shard_bad, truncated_files) {
  for (int compress = 0; compress < 2; compress++) {
    struct stat info;
    fixture_write(&f, path, compress);
    cr_assert(stat(path, &info) == 0);
    for (off_t n_bytes = info.st_size - 1; n_bytes >= 0; n_bytes -= n_bytes > 200 ? 97 : 1) {
      cr_assert(truncate(path, n_bytes) == 0);
      EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "not a readable HDF5 file");
    }
  }
}

/* The library would crash on it. */
Test(shard_bad, a_chunk_too_short_for_its_checksum) {
  const hsize_t first = 0;
  fixture_write(&f, path, false);
  foreign_restore(path, "/samples/weight", -1, FOREIGN_CHECKSUM, 4);
  const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), set = H5Dopen2(file, "/samples/weight", H5P_DEFAULT);
  cr_assert(H5Dwrite_chunk(set, H5P_DEFAULT, 0, &first, 2, "ab") >= 0);
  H5Dclose(set), H5Fclose(file);
  EXPECT_ERROR(FACET_ERROR_DATA, check(), path,
               "/samples/weight: has a chunk at row 0 that is too short for its checksum");
}

Test(shard_bad, a_checksum_before_another_filter) {
  const hsize_t rows = 6, chunk = 4;
  fixture_write(&f, path, false);
  const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), space = H5Screate_simple(1, &rows, NULL);
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  cr_assert((H5Pset_chunk(creation, 1, &chunk) | H5Pset_fletcher32(creation) | H5Pset_deflate(creation, 1)) >= 0);
  const hid_t set = H5Dcreate2(file, "other", H5T_IEEE_F32LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  cr_assert(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, f.weight) >= 0);
  H5Dclose(set), H5Pclose(creation), H5Sclose(space), H5Fclose(file);
  EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "/other: uses fletcher32 before another filter, expected it last");
}

/* Any byte may be damaged: the shard is refused, or the byte belongs to a value that is still possible, or to nothing. */
Test(shard_bad, damaged_bytes_do_no_harm) {
  char *content;
  size_t n_bytes;
  int n_refused = 0;
  fixture_write(&f, path, false);
  EXPECT_OK(facet_file_read(path, 1 << 20, &content, &n_bytes));
  for (size_t i = 0; i < n_bytes; i += 37) {
    const char keep = content[i];
    content[i] = (char)(keep ^ (i % 3 == 0 ? 0x01 : i % 3 == 1 ? 0x80 : 0xFF));
    FILE *file = fopen(path, "wb");
    cr_assert(fwrite(content, 1, n_bytes, file) == n_bytes && fclose(file) == 0);
    content[i] = keep;
    const facet_status status = check();
    cr_assert(status == FACET_OK || status == FACET_ERROR_DATA, "byte %d: %s", (int)i, facet_error_get()->message);
    n_refused += status != FACET_OK;
  }
  cr_assert(n_refused > 20, "%d", n_refused);
  facet_memory_free(content);
}

/* ---- attributes -------------------------------------------------------------------------------------------------- */

Test(shard_bad, another_format_or_version) {
  REFUSED(foreign_set_text(path, "facet_format", "tables"), "facet_format is \"tables\", expected \"shard\"");
  REFUSED(foreign_set_attribute(path, "facet_format", 1), "attribute facet_format: expected a string");
  REFUSED(foreign_delete_attribute(path, "facet_format"), "attribute facet_format is missing");
  REFUSED(foreign_set_attribute(path, "facet_version", 2), "facet_version is 2, expected 1 to 1");
  REFUSED(foreign_set_attribute(path, "facet_version", 0), "facet_version is 0, expected 1 to 1");
  REFUSED(foreign_set_text(path, "facet_version", "1"), "attribute facet_version: expected an integer");
  REFUSED(foreign_delete_attribute(path, "facet_version"), "attribute facet_version is missing");
}

Test(shard_bad, wrong_counts) {
  REFUSED(foreign_set_attribute(path, "num_samples", 7), "/samples/", "has 6 rows, expected 7");
  REFUSED(foreign_set_attribute(path, "num_samples", -1), "num_samples is -1, expected a number of rows");
  REFUSED(foreign_set_attribute(path, "num_samples", INT64_MAX), "num_samples is 9223372036854775807");
  REFUSED(foreign_delete_attribute(path, "num_samples"), "attribute num_samples is missing");
  REFUSED(foreign_set_attribute(path, "num_events.history", 6), "/events/history/", "has 7 rows, expected 6");
  REFUSED(foreign_delete_attribute(path, "num_events.history"), "attribute num_events.history is missing");
}

Test(shard_bad, another_schema) {
  char text[sizeof fixture_schema_text];
  facet_schema *own = f.schema;
  static const struct {
    const char *from, *to, *said; /* what was stored against what is expected */
  } changes[] = {
      {"price", "costs", "feature 13: history.price against history.costs"},
      {"max_length: 4", "max_length: 3", "sequence history: max_length 4 against 3"},
      {"type: float, length: 3", "type: float, length: 4", "feature vector: length 3 against 4"},
      {"bag: 2, pooling: sum", "bag: 9, pooling: sum", "feature tags: bag 2 against 9"},
      {"zip: {role: context", "zip: {role: user   ", "feature zip: role context against user"},
  };
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    const char *place = strstr(fixture_schema_text, changes[i].from);
    cr_assert(place);
    const size_t before = (size_t)(place - fixture_schema_text);
    snprintf(text, sizeof text, "%.*s%s%s", (int)before, fixture_schema_text, changes[i].to,
             place + strlen(changes[i].from));
    f.schema = own;
    fixture_write(&f, path, false);
    EXPECT_OK(facet_schema_parse("other.yaml", text, &f.schema));
    EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "was written with another schema than other.yaml: ", changes[i].said);
    foreign_delete(path, "/schema"); /* then only the hashes are known */
    EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "schema_hash is", "of other.yaml");
    facet_schema_destroy(&f.schema);
  }
  f.schema = own;
}

/* ---- columns ----------------------------------------------------------------------------------------------------- */

Test(shard_bad, missing_columns) {
  static const char *const names[] = {
      "/samples/label",         "/samples/vector",         "/samples/tags/offsets",   "/samples/tags/values",
      "/samples/history/start", "/samples/history/length", "/events/history/item_id", "/events/history/tags/values"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    REFUSED(foreign_delete(path, names[i]), names[i] + 1, "the data set is missing");
  REFUSED(foreign_delete(path, "/events"), "events/history/item_id: the data set is missing");
  REFUSED(foreign_delete(path, "/samples"), "samples/label: the data set is missing");
}

Test(shard_bad, groups_for_data_sets_and_the_reverse) {
  REFUSED((foreign_delete(path, "/samples/label"), foreign_create_group(path, "/samples/label")),
          "samples/label: is a group, expected a data set");
  REFUSED(foreign_replace(path, "/samples/tags", H5T_STD_I32LE, 6, 1), "samples/tags/offsets", "missing");
  REFUSED(foreign_replace(path, "/events/history", H5T_STD_I32LE, 6, 1), "events/history/item_id", "missing");
}

Test(shard_bad, wrong_shapes) {
  REFUSED(foreign_replace(path, "/samples/label", H5T_IEEE_F32LE, 6, 2),
          "/samples/label: has 2 dimensions, expected 1");
  REFUSED(foreign_replace(path, "/samples/item_id", H5T_STD_I32LE, 6, -1),
          "/samples/item_id: has 2 dimensions, expected 1");
  REFUSED(foreign_replace(path, "/samples/vector", H5T_IEEE_F32LE, 18, 1),
          "/samples/vector: has 1 dimensions, expected 2");
  REFUSED(foreign_replace(path, "/samples/vector", H5T_IEEE_F32LE, 6, 4),
          "/samples/vector: has rows of 4 elements, expected 3");
  REFUSED(foreign_replace(path, "/samples/item_id", H5T_STD_I32LE, 5, 1), "/samples/item_id: has 5 rows, expected 6");
  REFUSED(foreign_replace(path, "/samples/item_id", H5T_STD_I32LE, 7, 1), "/samples/item_id: has 7 rows, expected 6");
  REFUSED(foreign_replace(path, "/samples/history/start", H5T_STD_I64LE, 5, 1), "/samples/history/start: has 5 rows");
  REFUSED(foreign_replace(path, "/samples/history/length", H5T_STD_I32LE, 0, 1), "/samples/history/length: has 0 rows");
  REFUSED(foreign_replace(path, "/events/history/price", H5T_IEEE_F32LE, 8, 1),
          "/events/history/price: has 8 rows, expected 7");
  REFUSED(foreign_replace(path, "/samples/tags/offsets", H5T_STD_I64LE, 6, 1),
          "/samples/tags/offsets: has 6 rows, expected 7");
}

Test(shard_bad, wrong_types) {
  static const struct {
    const char *name, *said;
    hid_t *type;
  } cases[] = {
      {"/samples/label", "is stored as float64, expected float32", &H5T_IEEE_F64LE_g},
      {"/samples/label", "is stored as int32, expected float32", &H5T_STD_I32LE_g},
      {"/samples/vector", "is stored as float64, expected float32", &H5T_IEEE_F64LE_g},
      {"/samples/item_id", "is stored as float32, expected int32 or int64", &H5T_IEEE_F32LE_g},
      {"/samples/item_id", "is stored as another type, expected int32 or int64", &H5T_STD_I16LE_g},
      {"/samples/item_id", "is stored as another type, expected int32 or int64", &H5T_STD_U32LE_g},
      {"/samples/item_id", "is stored as uint8, expected int32 or int64", &H5T_STD_U8LE_g},
      {"/samples/time", "is stored as float64, expected int32 or int64", &H5T_IEEE_F64LE_g},
      {"/samples/history/start", "is stored as another type, expected int32 or int64", &H5T_STD_U64LE_g},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    REFUSED(foreign_restore(path, cases[i].name, *cases[i].type, FOREIGN_ALIGNED, 0), cases[i].name, cases[i].said);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

Test(shard_bad, offsets_of_bags) { /* of 0, 1, 2, 0, 2, 1 values: 0 0 1 3 3 5 6 */
  REFUSED(test_hdf5_poke(path, "/samples/tags/offsets", 0, 1), "/samples/tags/offsets: runs from 1 to 6, expected 0");
  REFUSED(test_hdf5_poke(path, "/samples/tags/offsets", 0, -1), "/samples/tags/offsets: runs from -1 to 6, expected 0");
  REFUSED(test_hdf5_poke(path, "/samples/tags/offsets", 6, 7), "/samples/tags/values: has 6 rows, expected 7");
  REFUSED(test_hdf5_poke(path, "/samples/tags/offsets", 6, 5), "/samples/tags/values: has 6 rows, expected 5");
  REFUSED(test_hdf5_poke(path, "/samples/tags/offsets", 6, -6), "/samples/tags/offsets: runs from 0 to -6");
  REFUSED(test_hdf5_poke(path, "/samples/tags/offsets", 2, 4),
          "/samples/tags/offsets: row 1: a bag from value 0 to 4, expected 0 to 2 values");
  REFUSED(test_hdf5_poke(path, "/samples/tags/offsets", 3, 0),
          "/samples/tags/offsets: row 2: a bag from value 1 to 0, expected 0 to 2 values");
  REFUSED(test_hdf5_poke(path, "/samples/tags/offsets", 3, -9e18),
          "/samples/tags/offsets: row 2: a bag from value 1 to -9");
  REFUSED(test_hdf5_poke(path, "/events/history/tags/offsets", 4, 0),
          "/events/history/tags/offsets: row 3: a bag from value 1 to 0");
}

Test(shard_bad, windows) { /* starts 0 0 0 4 4 5, lengths 0 2 4 1 3 2 of 7 events, at most 4 */
  REFUSED(test_hdf5_poke(path, "/samples/history/start", 1, -1),
          "/samples/history/start: row 1: window of 2 events from -1, expected inside 0 to 7");
  REFUSED(test_hdf5_poke(path, "/samples/history/start", 5, 6),
          "/samples/history/start: row 5: window of 2 events from 6, expected inside 0 to 7");
  REFUSED(test_hdf5_poke(path, "/samples/history/start", 0, 8),
          "/samples/history/start: row 0: window of 0 events from 8");
  REFUSED(test_hdf5_poke(path, "/samples/history/start", 3, 9e18), "/samples/history/start: row 3: window of 1 events");
  REFUSED(test_hdf5_poke(path, "/samples/history/length", 4, -1),
          "/samples/history/length: row 4: length -1, expected 0 to 4");
  REFUSED(test_hdf5_poke(path, "/samples/history/length", 2, 5),
          "/samples/history/length: row 2: length 5, expected 0 to 4");
}

Test(shard_bad, ids) {
  REFUSED(test_hdf5_poke(path, "/samples/item_id", 3, -1),
          "/samples/item_id: row 3: id -1, expected 0 to 6 (vocabulary item)");
  REFUSED(test_hdf5_poke(path, "/samples/item_id", 5, 7),
          "/samples/item_id: row 5: id 7, expected 0 to 6 (vocabulary item)");
  REFUSED(test_hdf5_poke(path, "/samples/zip", 0, 100),
          "/samples/zip: row 0: id 100, expected 0 to 99 (vocabulary zip)");
  REFUSED(test_hdf5_poke(path, "/samples/tags/values", 2, 5), "/samples/tags/values: row 2: id 5, expected 0 to 4");
  REFUSED(test_hdf5_poke(path, "/events/history/item_id", 6, 7),
          "/events/history/item_id: row 6: id 7, expected 0 to 6");
  REFUSED(test_hdf5_poke(path, "/events/history/tags/values", 0, -2), "/events/history/tags/values: row 0: id -2");
  REFUSED((foreign_restore(path, "/samples/user_id", H5T_STD_I64LE, FOREIGN_ALIGNED, 0),
           test_hdf5_poke(path, "/samples/user_id", 2, 4294967298)), /* 2 in the lower half */
          "/samples/user_id: row 2: 4294967298 does not fit 32 bits");
}

Test(shard_bad, floats) {
  REFUSED(test_hdf5_poke(path, "/samples/vector", 13, NAN), "/samples/vector: row 4: nan, expected a finite number");
  REFUSED(test_hdf5_poke(path, "/samples/vector", 17, INFINITY),
          "/samples/vector: row 5: inf, expected a finite number");
  REFUSED(test_hdf5_poke(path, "/events/history/price", 6, -INFINITY),
          "/events/history/price: row 6: -inf, expected a finite");
  REFUSED(test_hdf5_poke(path, "/samples/label", 2, 2), "/samples/label: row 2: label 2, expected 0 or 1");
  REFUSED(test_hdf5_poke(path, "/samples/label", 2, 0.5), "/samples/label: row 2: label 0.5, expected 0 or 1");
  REFUSED(test_hdf5_poke(path, "/samples/label", 0, NAN), "/samples/label: row 0: nan, expected a finite number");
  REFUSED(test_hdf5_poke(path, "/samples/weight", 5, -0.5), "/samples/weight: row 5: weight -0.5, expected 0 or more");
  REFUSED(test_hdf5_poke(path, "/samples/weight", 5, INFINITY),
          "/samples/weight: row 5: inf, expected a finite number");
}

Test(shard_bad, times) { /* of samples 100 … 600, of events 10 20 30 40 and 5 6 6 */
  REFUSED(test_hdf5_poke(path, "/samples/time", 1, -1), "/samples/time: row 1: time -1, expected 0 or more");
  REFUSED(test_hdf5_poke(path, "/events/history/time", 4, -1),
          "/events/history/time: row 4: time -1, expected 0 or more");
  REFUSED(
      test_hdf5_poke(path, "/events/history/time", 2, 19),
      "/events/history/time: row 2: time 19 after 20, expected times that do not decrease in the window of sample 2");
  REFUSED(test_hdf5_poke(path, "/events/history/time", 6, 5), "/events/history/time: row 6: time 5 after 6",
          "sample 4");
  REFUSED(test_hdf5_poke(path, "/samples/time", 2, 39),
          "/events/history/time: row 3: time 40, expected at most 39, the time of sample 2 whose window it ends");
}

/* A time that falls between two users' events, outside every window, is none of the shard's business. */
Test(shard_bad, times_between_windows_are_free) {
  f.length[2] = 3; /* event 3 is in no window */
  f.event_time[3] = 0;
  fixture_write(&f, path, false);
  EXPECT_OK(check());
}

/* ---- what could reach outside the file, load code or exhaust memory ---------------------------------------------- */

static void add_external_link(void) {
  foreign_delete(path, "/samples/label");
  hid_t file = foreign_open(path);
  cr_assert(H5Lcreate_external("other.h5", "/label", file, "/samples/label", H5P_DEFAULT, H5P_DEFAULT) >= 0);
  H5Fclose(file);
}

static void add_soft_link(void) {
  hid_t file = foreign_open(path);
  cr_assert(H5Lcreate_soft("/samples/label", file, "/samples/alias", H5P_DEFAULT, H5P_DEFAULT) >= 0);
  H5Fclose(file);
}

static hid_t follow_link(const char *name, hid_t group, const void *data, size_t n_bytes, hid_t access,
                         hid_t transfer) {
  (void)name, (void)group, (void)data, (void)n_bytes, (void)access, (void)transfer;
  cr_assert(false, "the link was followed");
  return -1;
}

static void add_user_defined_link(void) {
  const H5L_class_t class = {.version = H5L_LINK_CLASS_T_VERS, .id = (H5L_type_t)200, .trav_func = follow_link};
  hid_t file = foreign_open(path);
  cr_assert(H5Lregister(&class) >= 0);
  cr_assert(H5Lcreate_ud(file, "/samples/alias", class.id, "x", 1, H5P_DEFAULT, H5P_DEFAULT) >= 0);
  H5Fclose(file);
}

Test(shard_bad, links) {
  REFUSED(add_external_link(), "/samples/label: is an external link, which is refused");
  REFUSED(add_soft_link(), "/samples/alias: is a soft link, which is refused");
  REFUSED(add_user_defined_link(), "/samples/alias: is a user-defined link, which is refused");
}

/* Replaces the labels by a data set with the creation properties and, if given, another type and data space. */
static void add_dataset(hid_t creation, hid_t type, hid_t space) {
  foreign_delete(path, "/samples/label");
  hid_t file = foreign_open(path), made = H5Screate_simple(1, (hsize_t[]){6}, NULL);
  hid_t set = H5Dcreate2(file, "/samples/label", type < 0 ? H5T_IEEE_F32LE : type, space < 0 ? made : space,
                         H5P_DEFAULT, creation, H5P_DEFAULT);
  cr_assert(set >= 0);
  H5Dclose(set);
  H5Sclose(made);
  if (creation > 0) H5Pclose(creation);
  H5Fclose(file);
}

static hid_t with_chunks(hsize_t n) {
  hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  cr_assert(H5Pset_chunk(creation, 1, &n) >= 0);
  return creation;
}

static hid_t with_external_storage(void) {
  hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  cr_assert(H5Pset_external(creation, "/etc/hostname", 0, 24) >= 0);
  return creation;
}

static hid_t with_virtual_source(void) {
  hid_t creation = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, (hsize_t[]){6}, NULL);
  cr_assert(H5Pset_virtual(creation, space, "other.h5", "/label", space) >= 0);
  H5Sclose(space);
  return creation;
}

Test(shard_bad, storage_elsewhere) {
  REFUSED(add_dataset(with_external_storage(), -1, -1),
          "/samples/label: is stored in external files, which are refused");
  REFUSED(add_dataset(with_virtual_source(), -1, -1), "/samples/label: is a virtual data set, which is refused");
}

Test(shard_bad, missing_data) {
  REFUSED(add_dataset(H5P_DEFAULT, -1, -1), "/samples/label: holds none of its 24 bytes: data are missing");
  REFUSED(add_dataset(with_chunks(4), -1, -1), "/samples/label: holds 0 of 2 chunks: data are missing");
}

static hid_t unlimited_space(void) {
  static hid_t space = -1;
  if (space < 0) space = H5Screate_simple(1, (hsize_t[]){6}, (hsize_t[]){H5S_UNLIMITED});
  return space;
}

static hid_t huge_space(void) { /* 2^62 floats are 2^64 bytes */
  static hid_t space = -1;
  if (space < 0) space = H5Screate_simple(2, (hsize_t[]){(hsize_t)1 << 31, (hsize_t)1 << 31}, NULL);
  return space;
}

static hid_t with_square_chunks(void) {
  hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  cr_assert(H5Pset_chunk(creation, 2, (hsize_t[]){64, 64}) >= 0);
  return creation;
}

Test(shard_bad, sizes_that_exhaust_memory) {
  REFUSED(add_dataset(with_chunks((hsize_t)1 << 27), -1, unlimited_space()), "/samples/label: has chunks above 256 MB");
  REFUSED(add_dataset(with_square_chunks(), -1, huge_space()), "/samples/label: has impossible sizes");
}

static size_t copy_filter(unsigned flags, size_t n, const unsigned values[], size_t n_bytes, size_t *size,
                          void **data) {
  (void)flags, (void)n, (void)values, (void)size, (void)data;
  return n_bytes;
}

/* A filter that this process knows, and that facet refuses all the same. */
static hid_t with_own_filter(void) {
  static const H5Z_class2_t class = {H5Z_CLASS_T_VERS, 300, 1, 1, "own filter", NULL, NULL, copy_filter};
  hid_t creation = with_chunks(6);
  cr_assert(H5Zregister(&class) >= 0 && H5Pset_filter(creation, 300, 0, 0, NULL) >= 0);
  return creation;
}

static hid_t with_scale_offset(void) {
  hid_t creation = with_chunks(6);
  cr_assert(H5Pset_scaleoffset(creation, H5Z_SO_FLOAT_DSCALE, 2) >= 0);
  return creation;
}

static void add_filtered(hid_t creation) {
  const float labels[6] = {0};
  add_dataset(creation, -1, -1);
  hid_t file = foreign_open(path), set = H5Dopen2(file, "/samples/label", H5P_DEFAULT);
  cr_assert(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels) >= 0);
  H5Dclose(set);
  H5Fclose(file);
}

Test(shard_bad, filters) {
  REFUSED(add_filtered(with_own_filter()),
          "/samples/label: uses filter 300 (own filter), expected deflate, shuffle or");
  REFUSED(add_filtered(with_scale_offset()), "/samples/label: uses filter 6",
          "expected deflate, shuffle or fletcher32");
}

static hid_t type_of(const char *kind) {
  hid_t type = H5Tcopy(H5T_C_S1);
  if (!strcmp(kind, "sequence")) return H5Tvlen_create(H5T_IEEE_F32LE);
  if (!strcmp(kind, "compound")) return H5Tcreate(H5T_COMPOUND, 8);
  if (!strcmp(kind, "array")) return H5Tarray_create2(H5T_IEEE_F32LE, 1, (hsize_t[]){2});
  if (!strcmp(kind, "reference")) return H5T_STD_REF_OBJ;
  H5Tset_size(type, !strcmp(kind, "string") ? H5T_VARIABLE : 4);
  return type;
}

static hid_t compound(void) {
  hid_t type = type_of("compound");
  H5Tinsert(type, "a", 0, H5T_IEEE_F32LE);
  H5Tinsert(type, "b", 4, H5T_IEEE_F32LE);
  return type;
}

Test(shard_bad, types_that_hold_no_numbers) {
  static const char neither[] = "/samples/label: has neither an integer nor a float type of at most 8 bytes";
  REFUSED(add_dataset(H5P_DEFAULT, type_of("sequence"), -1),
          "/samples/label: has a variable-length type, which is refused");
  REFUSED(add_dataset(H5P_DEFAULT, type_of("string"), -1),
          "/samples/label: has a variable-length type, which is refused");
  REFUSED(add_dataset(H5P_DEFAULT, type_of("text"), -1), neither);
  REFUSED(add_dataset(H5P_DEFAULT, type_of("array"), -1), neither);
  REFUSED(add_dataset(H5P_DEFAULT, type_of("reference"), -1), neither);
  REFUSED(add_dataset(H5P_DEFAULT, compound(), -1), neither);
  REFUSED(add_dataset(H5P_DEFAULT, H5T_NATIVE_LDOUBLE, -1), neither);
}

static void add_deep_groups(void) {
  hid_t file = foreign_open(path), lists = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(lists, 1);
  hid_t group = H5Gcreate2(file, "/a/b/c/d/e/f/g/h/i/j", lists, H5P_DEFAULT, H5P_DEFAULT);
  cr_assert(group >= 0);
  H5Gclose(group);
  H5Pclose(lists);
  H5Fclose(file);
}

static void add_cycle(void) {
  hid_t file = foreign_open(path);
  cr_assert(H5Lcreate_hard(file, "/samples", file, "/samples/again", H5P_DEFAULT, H5P_DEFAULT) >= 0);
  H5Fclose(file);
}

static void add_dimensions(void) {
  hid_t space = H5Screate_simple(5, (hsize_t[]){1, 1, 1, 1, 6}, NULL);
  add_dataset(H5P_DEFAULT, -1, space);
  H5Sclose(space);
}

static void add_named_type(void) {
  hid_t file = foreign_open(path), type = H5Tcopy(H5T_IEEE_F32LE);
  cr_assert(H5Tcommit2(file, "/samples/kind", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT) >= 0);
  H5Tclose(type);
  H5Fclose(file);
}

Test(shard_bad, structures) {
  REFUSED(add_deep_groups(), "groups are nested deeper than 8");
  REFUSED(add_cycle(), "groups are nested deeper than 8");
  REFUSED(add_dimensions(), "/samples/label: has 5 dimensions, expected at most 4");
  REFUSED(add_named_type(), "/samples/kind: is neither a group nor a data set");
}

/* ---- files that change ------------------------------------------------------------------------------------------- */

/* In a process of its own: opens the shard, cuts the file to `n_bytes` (from its end where negative) and verifies.
 * Returns the exit status; what the process prints goes to `text`. */
static int verify_shrunk(off_t n_bytes, char text[1024]) {
  int status, ends[2];
  cr_assert(pipe(ends) == 0);
  const pid_t child = fork();
  cr_assert(child >= 0);
  if (child == 0) {
    facet_shard *s;
    dup2(ends[1], STDERR_FILENO);
    struct stat info;
    if (facet_shard_open(f.schema, path, &s) != FACET_OK || stat(path, &info) != 0) _exit(99);
    if (truncate(path, n_bytes < 0 ? info.st_size + n_bytes : n_bytes) != 0) _exit(99);
    const facet_status result = facet_shard_verify(s);
    if (result != FACET_OK) facet_error_print(stderr);
    _exit((int)result);
  }
  close(ends[1]);
  size_t n_read = 0;
  for (ssize_t n; n_read < 1023 && (n = read(ends[0], text + n_read, 1023 - n_read)) > 0;) n_read += (size_t)n;
  text[n_read] = 0;
  close(ends[0]);
  cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status), "ended by a signal");
  return WEXITSTATUS(status);
}

Test(shard_bad, a_file_that_shrinks_ends_the_process_with_its_name) {
  char text[1024];
  static const foreign_layout layouts[] = {FOREIGN_ALIGNED, FOREIGN_MISALIGNED, FOREIGN_CHUNKED, FOREIGN_DEFLATE};
  for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
    fixture_write(&f, path, false);
    foreign_restore_all(path, layouts[i], 4, 0);
    const int status = verify_shrunk(layouts[i] == FOREIGN_ALIGNED ? 0 : 4096, text);
    cr_assert(status == FACET_ERROR_DATA, "layout %d: status %d: %s", (int)layouts[i], status, text);
    cr_assert(strstr(text, path) && strstr(text, "the file shrank"), "layout %d: %s", (int)layouts[i], text);
  }
}

/* The rest of the last page reads as zeros, which would be taken for values: no signal comes. */
Test(shard_bad, a_file_that_shrinks_within_its_last_page_is_an_error) {
  char text[1024];
  static const foreign_layout layouts[] = {FOREIGN_ALIGNED, FOREIGN_MISALIGNED, FOREIGN_CHUNKED, FOREIGN_DEFLATE};
  for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
    fixture_write(&f, path, false);
    foreign_restore_all(path, layouts[i], 4, 0);
    cr_assert(verify_shrunk(-1, text) == FACET_ERROR_DATA, "layout %d: %s", (int)layouts[i], text);
    cr_assert(strstr(text, path) && strstr(text, "the file shrank"), "layout %d: %s", (int)layouts[i], text);
  }
}
