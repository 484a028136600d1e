/* Writing and reading shards. */
#include "fixture.h"

#include "data/column.h"
#include "data/hdf5.h"
#include "foreign.h"

/* Every column of a shard equals the fixture's. */
static void expect_content(const fixture *f, facet_shard *s) {
  float floats[18];
  int32_t ids[7];
  int64_t ints[8];
#define VALUES(name) facet_shard_values(s, fixture_feature(f, name))
  cr_assert(facet_shard_n_samples(s) == 6 && facet_shard_n_events(s, 0) == 7);
  EXPECT_OK(facet_column_read_float(VALUES("label"), 0, 6, floats));
  cr_assert(!memcmp(floats, f->label, sizeof f->label));
  EXPECT_OK(facet_column_read_float(VALUES("vector"), 0, 6, floats));
  cr_assert(!memcmp(floats, f->vector, sizeof f->vector));
  for (int i = 0; i < 6; i++) {
    EXPECT_OK(facet_column_read_float(VALUES("vector"), i, 1, floats));
    cr_assert(!memcmp(floats, f->vector + 3 * i, 3 * sizeof *floats));
  }
  EXPECT_OK(facet_column_read_int32(VALUES("item_id"), 1, 5, ids));
  cr_assert(!memcmp(ids, f->item + 1, 5 * sizeof *ids));
  EXPECT_OK(facet_column_read_int64(VALUES("item_id"), 1, 5, ints));
  for (int i = 0; i < 5; i++) cr_assert(ints[i] == f->item[i + 1]);
  EXPECT_OK(facet_column_read_int64(VALUES("time"), 0, 6, ints));
  cr_assert(!memcmp(ints, f->time, sizeof f->time));
  EXPECT_OK(facet_column_read_int32(VALUES("time"), 0, 6, ids));
  for (int i = 0; i < 6; i++) cr_assert(ids[i] == f->time[i]);
  EXPECT_OK(facet_column_read_int32(VALUES("history.item_id"), 0, 7, ids));
  cr_assert(!memcmp(ids, f->event_item, sizeof f->event_item));
  EXPECT_OK(facet_column_read_int64(facet_shard_starts(s, 0), 0, 6, ints));
  cr_assert(!memcmp(ints, f->start, sizeof f->start));
  EXPECT_OK(facet_column_read_int32(facet_shard_lengths(s, 0), 0, 6, ids));
  cr_assert(!memcmp(ids, f->length, sizeof f->length));

  const int64_t offsets[7] = {0, 0, 1, 3, 3, 5, 6};
  EXPECT_OK(facet_column_read_int64(facet_shard_offsets(s, fixture_feature(f, "tags")), 0, 7, ints));
  cr_assert(!memcmp(ints, offsets, sizeof offsets));
  EXPECT_OK(facet_column_read_int32(VALUES("tags"), 0, 6, ids));
  cr_assert(!memcmp(ids, f->tags, sizeof f->tags));
  cr_assert(facet_column_n_rows(VALUES("history.tags")) == 5);
  cr_assert(!VALUES("category") && !VALUES("history.category") && !facet_shard_offsets(s, 0));
  cr_assert(!strcmp(facet_column_name(VALUES("history.price")), "/events/history/price"));
#undef VALUES
}

Test(shard, reads_what_was_written) {
  fixture f;
  facet_shard *s;
  fixture_create(&f);
  for (int compress = 0; compress < 2; compress++) {
    const char *path = fixture_path(&f, compress ? "compressed.h5" : "contiguous.h5");
    fixture_write(&f, path, compress);
    EXPECT_OK(facet_shard_open(f.schema, path, &s));
    cr_assert(!strcmp(facet_shard_path(s), path));
    expect_content(&f, s);
    EXPECT_OK(facet_shard_verify(s));
    facet_shard_close(&s);
  }
  fixture_destroy(&f);
}

/* ---- the schema it was written with ---- */

/* Edits a shard as another program would have written it. */
static void edit(const char *path, bool drop_hash, bool drop_schema, const char *schema_text) {
  hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
  cr_assert(file >= 0);
  if (drop_hash) cr_assert(H5Adelete(file, "schema_hash") >= 0);
  if (drop_schema || schema_text) cr_assert(H5Ldelete(file, "schema", H5P_DEFAULT) >= 0);
  const int64_t n_bytes = schema_text ? (int64_t)strlen(schema_text) : 0;
  if (schema_text) EXPECT_OK(facet_hdf5_write(file, "schema", FACET_HDF5_UINT8, 1, &n_bytes, schema_text));
  cr_assert(H5Fclose(file) >= 0);
}

/* The fixture's schema with one text replaced by another. */
static const char *changed_schema(const char *from, const char *to) {
  static char text[sizeof fixture_schema_text + 64];
  const char *at = strstr(fixture_schema_text, from);
  cr_assert(at);
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - fixture_schema_text), fixture_schema_text, to, at + strlen(from));
  return text;
}

Test(shard, a_writer_without_the_hash_stores_the_schema) {
  fixture f;
  facet_shard *s;
  fixture_create(&f);
  const char *path = fixture_path(&f, "foreign.h5");
  fixture_write(&f, path, false);
  edit(path, true, false, changed_schema("item: {size: 7}", "item: {size: 6}")); /* it grew since */
  EXPECT_OK(facet_shard_open(f.schema, path, &s));
  expect_content(&f, s);
  facet_shard_close(&s);

  edit(path, false, false, changed_schema("bag: 2, pooling: sum", "bag: 3, pooling: sum"));
  EXPECT_ERROR(FACET_ERROR_DATA, facet_shard_open(f.schema, path, &s),
               "foreign.h5: was written with another schema than small.yaml: feature tags: bag 3 against 2");
  edit(path, false, false, changed_schema("name: small", "name small"));
  EXPECT_ERROR(FACET_ERROR_DATA, facet_shard_open(f.schema, path, &s), "foreign.h5: /schema:");
  edit(path, false, true, NULL);
  EXPECT_ERROR(FACET_ERROR_DATA, facet_shard_open(f.schema, path, &s),
               "foreign.h5: has neither attribute schema_hash nor");
  cr_assert_null(s);
  fixture_destroy(&f);
}

Test(shard, another_hash_is_explained_by_the_stored_schema) {
  fixture f;
  facet_shard *s;
  facet_schema *other;
  fixture_create(&f);
  const char *path = fixture_path(&f, "part.h5");
  fixture_write(&f, path, false);
  EXPECT_OK(facet_schema_parse("other.yaml", changed_schema("length: 3", "length: 4"), &other));
  EXPECT_ERROR(FACET_ERROR_DATA, facet_shard_open(other, path, &s),
               "was written with another schema than other.yaml: feature vector: length 3 against 4");
  edit(path, false, true, NULL);
  EXPECT_ERROR(FACET_ERROR_DATA, facet_shard_open(other, path, &s), "schema_hash is ", " of other.yaml");
  facet_schema_destroy(&other);
  fixture_destroy(&f);
}

/* ---- foreign layouts ------------------------------------------------------------------------------------------ */

/* Opens the shard, compares everything with the fixture and says how the data set of the users is read. */
static facet_column_info check_shard(const fixture *f, const char *path) {
  facet_shard *s;
  EXPECT_OK(facet_shard_open(f->schema, path, &s));
  expect_content(f, s);
  EXPECT_OK(facet_shard_verify(s));
  const facet_column_info info = facet_column_describe(facet_shard_values(s, fixture_feature(f, "user_id")));
  facet_shard_close(&s);
  return info;
}

Test(shard, foreign_layouts_hold_the_same_values) {
  static const foreign_layout layouts[] = {FOREIGN_ALIGNED,  FOREIGN_MISALIGNED, FOREIGN_CHUNKED,
                                           FOREIGN_CHECKSUM, FOREIGN_DEFLATE,    FOREIGN_COMPACT};
  fixture f;
  fixture_create(&f);
  const char *path = fixture_path(&f, "foreign.h5");
  for (int other_byte_order = 0; other_byte_order < 2; other_byte_order++)
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
      fixture_write(&f, path, false);
      foreign_restore_all(path, layouts[i], 4, other_byte_order);
      const facet_column_info info = check_shard(&f, path);
      cr_assert(info.chunked == (layouts[i] >= FOREIGN_CHUNKED && layouts[i] <= FOREIGN_DEFLATE));
      cr_assert(info.mapped == (layouts[i] == FOREIGN_ALIGNED && !other_byte_order), "layout %d", (int)layouts[i]);
    }
  fixture_destroy(&f);
}

/* Ids, offsets, lengths and times may be stored in either width. */
Test(shard, integers_of_the_other_width_hold_the_same_values) {
  static const char *const wider[] = {
      "/samples/user_id",           "/samples/item_id",        "/samples/zip",
      "/samples/tags/values",       "/samples/history/length", "/events/history/item_id",
      "/events/history/tags/values"};
  static const char *const narrower[] = {"/samples/time", "/samples/history/start", "/samples/tags/offsets",
                                         "/events/history/time", "/events/history/tags/offsets"};
  fixture f;
  fixture_create(&f);
  const char *path = fixture_path(&f, "widths.h5");
  for (int compress = 0; compress < 2; compress++) {
    const foreign_layout layout = compress ? FOREIGN_DEFLATE : FOREIGN_ALIGNED;
    fixture_write(&f, path, false);
    for (size_t i = 0; i < sizeof wider / sizeof *wider; i++) foreign_restore(path, wider[i], H5T_STD_I64LE, layout, 4);
    for (size_t i = 0; i < sizeof narrower / sizeof *narrower; i++)
      foreign_restore(path, narrower[i], H5T_STD_I32LE, layout, 4);
    check_shard(&f, path);
  }
  fixture_destroy(&f);
}

/* A file with 512 bytes of another program before it: offsets in the file are not addresses of the library. */
Test(shard, a_user_block_shifts_the_data) {
  fixture f;
  fixture_create(&f);
  const char *path = fixture_path(&f, "plain.h5"), *shifted = fixture_path(&f, "shifted.h5");
  fixture_write(&f, path, false);
  hid_t creation = H5Pcreate(H5P_FILE_CREATE);
  H5Pset_userblock(creation, 512);
  hid_t from = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t to = H5Fcreate(shifted, H5F_ACC_TRUNC, creation, H5P_DEFAULT);
  static const char *const members[] = {"samples", "events", "schema"};
  for (int i = 0; i < 3; i++) cr_assert(H5Ocopy(from, members[i], to, members[i], H5P_DEFAULT, H5P_DEFAULT) >= 0);
  EXPECT_OK(facet_hdf5_set_format(to, "shard", 1));
  EXPECT_OK(facet_hdf5_set_uint64(to, "schema_hash", f.schema->hash));
  EXPECT_OK(facet_hdf5_set_int64(to, "num_samples", 6));
  EXPECT_OK(facet_hdf5_set_int64(to, "num_events.history", 7));
  H5Fclose(from);
  H5Fclose(to);
  H5Pclose(creation);
  check_shard(&f, shifted);
  fixture_destroy(&f);
}

/* ---- borders of blocks ----------------------------------------------------------------------------------------- */

/* Every value is a function of its row, so that a row read from the wrong place is seen. */
#define N_ROWS 40000
#define CHUNK_ROWS 1000

static const char large_schema[] = "facet_schema: 1\nname: large\nembedding_width: 4\n"
                                   "vocabularies: {item: {size: 50000}, site: {hash: 2000000000}}\n"
                                   "features:\n"
                                   "  label: {role: label}\n"
                                   "  session: {role: group}\n"
                                   "  item_id: {role: item, vocabulary: item}\n"
                                   "  site: {role: context, vocabulary: site}\n"
                                   "  price: {role: context, type: float}\n"
                                   "  vector: {role: context, type: float, length: 3}\n"
                                   "  tags: {role: context, vocabulary: item, bag: 2}\n"
                                   "sequences:\n"
                                   "  history: {max_length: 9, features: {item_id: {vocabulary: item}}}\n";

static float price_of(int64_t row) {
  return (float)row / 3;
}
static int32_t site_of(int64_t row) {
  return (int32_t)(row * 49999 % 2000000000);
}
static int64_t session_of(int64_t row) {
  return row * (INT64_MAX / N_ROWS) - 1;
}

static void write_large(const facet_schema *schema, const char *path, bool compress) {
  facet_shard_writer *w;
#define F(name) facet_schema_feature(schema, name)
  EXPECT_OK(facet_shard_writer_create(schema, path, (facet_shard_layout){compress, CHUNK_ROWS}, &w));
  for (int64_t row = 0; row < N_ROWS; row++) {
    const float label = (float)(row % 2), price = price_of(row);
    const float vector[3] = {price_of(3 * row), price_of(3 * row + 1), price_of(3 * row + 2)};
    const int64_t session = session_of(row), start = row / 2;
    const int32_t item = (int32_t)row, site = site_of(row), length = (int32_t)(row % 10), count = (int32_t)(row % 3);
    const int32_t tags[2] = {item, item + 1};
    EXPECT_OK(facet_shard_append_floats(w, F("label"), &label, 1));
    EXPECT_OK(facet_shard_append_floats(w, F("price"), &price, 1));
    EXPECT_OK(facet_shard_append_floats(w, F("vector"), vector, 1));
    EXPECT_OK(facet_shard_append_int64s(w, F("session"), &session, 1));
    EXPECT_OK(facet_shard_append_ids(w, F("item_id"), &item, 1));
    EXPECT_OK(facet_shard_append_ids(w, F("site"), &site, 1));
    EXPECT_OK(facet_shard_append_bags(w, F("tags"), &count, tags, 1));
    EXPECT_OK(facet_shard_append_ids(w, F("history.item_id"), &item, 1));
    EXPECT_OK(facet_shard_append_windows(w, 0, &start, &length, 1));
  }
#undef F
  EXPECT_OK(facet_shard_writer_finish(w));
  facet_shard_writer_destroy(&w);
}

/* Rows first … first + n − 1 of every column. */
static void expect_rows(facet_shard *s, const facet_schema *schema, int64_t first, int64_t n) {
  static float floats[3 * N_ROWS];
  static int32_t ids[N_ROWS];
  static int64_t ints[N_ROWS];
#define VALUES(name) facet_shard_values(s, facet_schema_feature(schema, name))
#define EXPECT_COLUMN(reader, column, out, n_values, expected)                                                         \
  do {                                                                                                                 \
    EXPECT_OK(reader(column, first, n, out));                                                                          \
    for (int64_t i = 0; i < (n_values); i++)                                                                           \
      cr_assert((out)[i] == (expected), "%s: value %d of rows %d + %d", facet_column_name(column), (int)i, (int)first, \
                (int)n);                                                                                               \
  } while (0)
  EXPECT_COLUMN(facet_column_read_float, VALUES("label"), floats, n, (float)((first + i) % 2));
  EXPECT_COLUMN(facet_column_read_float, VALUES("price"), floats, n, price_of(first + i));
  EXPECT_COLUMN(facet_column_read_float, VALUES("vector"), floats, 3 * n, price_of(3 * first + i));
  EXPECT_COLUMN(facet_column_read_int64, VALUES("session"), ints, n, session_of(first + i));
  EXPECT_COLUMN(facet_column_read_int32, VALUES("item_id"), ids, n, first + i);
  EXPECT_COLUMN(facet_column_read_int64, VALUES("item_id"), ints, n, first + i);
  EXPECT_COLUMN(facet_column_read_int32, VALUES("site"), ids, n, site_of(first + i));
  EXPECT_COLUMN(facet_column_read_int32, VALUES("history.item_id"), ids, n, first + i);
  EXPECT_COLUMN(facet_column_read_int64, facet_shard_starts(s, 0), ints, n, (first + i) / 2);
  EXPECT_COLUMN(facet_column_read_int32, facet_shard_lengths(s, 0), ids, n, (first + i) % 10);
  facet_column *offsets = facet_shard_offsets(s, facet_schema_feature(schema, "tags"));
  EXPECT_COLUMN(facet_column_read_int64, offsets, ints, n,
                (first + i) / 3 * 3 + ((first + i) % 3 == 2)); /* 0 1 3 3 … */
#undef EXPECT_COLUMN
#undef VALUES
}

static void expect_large(const facet_schema *schema, const char *path, bool mapped) {
  /* 64 KB of int64, of [3] floats and of int32 or floats; the chunks above */
  static const int64_t block_rows[] = {8192, 5461, 16384, CHUNK_ROWS};
  facet_shard *s;
  EXPECT_OK(facet_shard_open(schema, path, &s));
  cr_assert(facet_column_describe(facet_shard_values(s, facet_schema_feature(schema, "vector"))).mapped == mapped);
  for (int k = 0; k < 4; k++)
    for (int64_t border = 0; border <= N_ROWS; border += block_rows[k] * (k == 3 ? 13 : 1)) {
      if (border > 0) expect_rows(s, schema, border - 1, 1);
      if (border < N_ROWS) expect_rows(s, schema, border, 1);
      if (border > 1 && border + 2 <= N_ROWS) expect_rows(s, schema, border - 2, 4);
    }
  expect_rows(s, schema, 0, N_ROWS);
  expect_rows(s, schema, N_ROWS - 1, 1);
  expect_rows(s, schema, 999, 17002);
  EXPECT_OK(facet_shard_verify(s));
  facet_shard_close(&s);
}

Test(shard, every_path_reads_the_same_rows_at_the_borders_of_blocks) {
  fixture f;
  facet_schema *schema;
  fixture_create(&f);
  EXPECT_OK(facet_schema_parse("large.yaml", large_schema, &schema));
  const char *path = fixture_path(&f, "large.h5");
  write_large(schema, path, true);
  expect_large(schema, path, false);
  write_large(schema, path, false);
  expect_large(schema, path, true);
  foreign_restore_all(path, FOREIGN_MISALIGNED, 0, 0);
  expect_large(schema, path, false);
  facet_schema_destroy(&schema);
  fixture_destroy(&f);
}

Test(shard, values_outside_the_type_asked_for_are_errors) {
  fixture f;
  facet_shard *s;
  int32_t ids[6];
  int64_t ints[6];
  float floats[6];
  fixture_create(&f);
  const char *path = fixture_path(&f, "a.h5");
  f.time[4] = (int64_t)1 << 31;
  fixture_write(&f, path, false);
  EXPECT_OK(facet_shard_open(f.schema, path, &s));
  facet_column *time = facet_shard_values(s, fixture_feature(&f, "time"));
  EXPECT_OK(facet_column_read_int32(time, 0, 4, ids));
  EXPECT_ERROR(FACET_ERROR_DATA, facet_column_read_int32(time, 2, 4, ids), path, "/samples/time: row 4: 2147483648");
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_column_read_float(time, 0, 1, floats), "int64", "float32");
  facet_column *label = facet_shard_values(s, fixture_feature(&f, "label"));
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_column_read_int32(label, 0, 1, ids), "holds float32, asked for as int32");
  EXPECT_ERROR(FACET_ERROR_INTERNAL, facet_column_read_int64(label, 0, 1, ints), "holds float32, asked for as int64");
  facet_shard_close(&s);
  fixture_destroy(&f);
}
