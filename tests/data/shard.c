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
