/* Writing and reading shards. */
#include "fixture.h"

#include "data/column.h"
#include "data/hdf5.h"

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
