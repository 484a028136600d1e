/* A small data set and a temporary directory for the suites of this folder. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "facet/dataset.h"
#include "facet/file.h"
#include "facet/schema.h"
#include "facet/shard.h"
#include "facet/vocabulary.h"
#include "support/files.h"

#define EXPECT_OK(expression)                                                                                          \
  do {                                                                                                                 \
    facet_status expect_status = (expression);                                                                         \
    cr_assert(expect_status == FACET_OK, "%s", facet_error_get()->message);                                            \
  } while (0)

/* The expression fails with the status, and the message contains every text given (NULL-terminated list). */
#define EXPECT_ERROR(wanted, expression, ...)                                                                          \
  do {                                                                                                                 \
    facet_status expect_status = (expression);                                                                         \
    const char *expect_texts[] = {__VA_ARGS__};                                                                        \
    cr_assert(expect_status == (wanted), "status %d, expected %d: %s", (int)expect_status, (int)(wanted),              \
              facet_error_get()->message);                                                                             \
    for (size_t expect_i = 0; expect_i < sizeof expect_texts / sizeof *expect_texts; expect_i++)                       \
      cr_assert(strstr(facet_error_get()->message, expect_texts[expect_i]), "\"%s\" is not in: %s",                    \
                expect_texts[expect_i], facet_error_get()->message);                                                   \
  } while (0)

/* Six samples; histories of 4 and 3 events; item attributes: a category, a bag of genres, an image vector. */
static const char fixture_schema_text[] = "facet_schema: 1\n"
                                          "name: small\n"
                                          "embedding_width: 4\n"
                                          "vocabularies:\n"
                                          "  user: {size: 4}\n"
                                          "  item: {size: 7}\n"
                                          "  genre: {size: 5}\n"
                                          "  category: {size: 4}\n"
                                          "  zip: {hash: 100}\n"
                                          "features:\n"
                                          "  label: {role: label}\n"
                                          "  weight: {role: weight}\n"
                                          "  time: {role: time}\n"
                                          "  user_id: {role: user, vocabulary: user}\n"
                                          "  item_id: {role: item, vocabulary: item}\n"
                                          "  category: {role: item, vocabulary: category, join: item_id}\n"
                                          "  genres: {role: item, vocabulary: genre, join: item_id, bag: 3}\n"
                                          "  image: {role: item, type: float, length: 2, join: item_id}\n"
                                          "  zip: {role: context, vocabulary: zip}\n"
                                          "  tags: {role: context, vocabulary: genre, bag: 2, pooling: sum}\n"
                                          "  vector: {role: context, type: float, length: 3}\n"
                                          "sequences:\n"
                                          "  history:\n"
                                          "    max_length: 4\n"
                                          "    features:\n"
                                          "      item_id: {vocabulary: item}\n"
                                          "      price: {type: float}\n"
                                          "      time: {role: time}\n"
                                          "      tags: {vocabulary: genre, bag: 2}\n"
                                          "      category: {vocabulary: category, join: item_id}\n";

typedef struct fixture {
  char directory[64];
  facet_schema *schema;
  /* The columns, to be changed before fixture_write. */
  float label[6], weight[6], vector[18], price[7];
  int64_t time[6], start[6], event_time[7];
  int32_t user[6], item[6], zip[6], length[6], event_item[7];
  int32_t tag_count[6], tags[6], event_tag_count[7], event_tags[5];
  /* Attributes of the items, to be changed before fixture_write_tables. */
  int32_t category[7], genres[7];
  int64_t genre_offsets[8];
  float image[14];
} fixture;

static inline void fixture_create(fixture *f) {
  *f = (fixture){
      .label = {1, 0, 0, 1, 0, 1},
      .weight = {1, 1, 0.5f, 2, 0, 1},
      .vector = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17},
      .price = {0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f},
      .time = {100, 200, 300, 400, 500, 600},
      .start = {0, 0, 0, 4, 4, 5},
      .length = {0, 2, 4, 1, 3, 2},
      .event_time = {10, 20, 30, 40, 5, 6, 6},
      .user = {2, 2, 2, 3, 3, 3},
      .item = {2, 3, 4, 5, 6, 1},
      .zip = {2, 50, 99, 1, 0, 7},
      .event_item = {2, 3, 4, 5, 6, 2, 3},
      .tag_count = {0, 1, 2, 0, 2, 1},
      .tags = {2, 3, 4, 2, 3, 4},
      .event_tag_count = {1, 0, 0, 2, 0, 1, 1},
      .event_tags = {2, 3, 4, 2, 3},
      .category = {0, 1, 2, 3, 2, 3, 2},
      .genre_offsets = {0, 0, 0, 1, 3, 6, 6, 7},
      .genres = {2, 3, 4, 2, 3, 4, 2},
      .image = {0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
  };
  test_directory_create(f->directory);
  EXPECT_OK(facet_schema_parse("small.yaml", fixture_schema_text, &f->schema));
}

static inline void fixture_destroy(fixture *f) {
  facet_schema_destroy(&f->schema);
  test_directory_remove(f->directory);
}

static inline int fixture_feature(const fixture *f, const char *name) {
  const int i = facet_schema_feature(f->schema, name);
  cr_assert(i >= 0, "%s", name);
  return i;
}

/* Appends everything but the windows, a few rows at a time. */
static inline void fixture_append(const fixture *f, facet_shard_writer *w) {
#define F(name) fixture_feature(f, name)
  EXPECT_OK(facet_shard_append_floats(w, F("label"), f->label, 4));
  EXPECT_OK(facet_shard_append_floats(w, F("label"), f->label + 4, 2));
  EXPECT_OK(facet_shard_append_floats(w, F("weight"), f->weight, 6));
  EXPECT_OK(facet_shard_append_floats(w, F("vector"), f->vector, 6));
  EXPECT_OK(facet_shard_append_int64s(w, F("time"), f->time, 6));
  EXPECT_OK(facet_shard_append_ids(w, F("user_id"), f->user, 6));
  EXPECT_OK(facet_shard_append_ids(w, F("item_id"), f->item, 6));
  EXPECT_OK(facet_shard_append_ids(w, F("zip"), f->zip, 6));
  EXPECT_OK(facet_shard_append_bags(w, F("tags"), f->tag_count, f->tags, 3));
  EXPECT_OK(facet_shard_append_bags(w, F("tags"), f->tag_count + 3, f->tags + 3, 3));
  EXPECT_OK(facet_shard_append_ids(w, F("history.item_id"), f->event_item, 7));
  EXPECT_OK(facet_shard_append_floats(w, F("history.price"), f->price, 7));
  EXPECT_OK(facet_shard_append_int64s(w, F("history.time"), f->event_time, 7));
  EXPECT_OK(facet_shard_append_bags(w, F("history.tags"), f->event_tag_count, f->event_tags, 7));
#undef F
}

/* Writes the attributes of the items. */
static inline void fixture_write_tables(const fixture *f, const char *path) {
  const int item = facet_schema_vocabulary(f->schema, "item");
  const facet_table_column columns[] = {
      {.vocabulary = item, .column = "category", .type = FACET_FEATURE_ID, .length = 1, .values = f->category},
      {.vocabulary = item,
       .column = "genres",
       .type = FACET_FEATURE_ID,
       .length = 1,
       .is_bag = true,
       .offsets = f->genre_offsets,
       .values = f->genres},
      {.vocabulary = item, .column = "image", .type = FACET_FEATURE_FLOAT, .length = 2, .values = f->image},
  };
  EXPECT_OK(facet_tables_write(f->schema, path, columns, 3));
}

/* Writes the columns as a shard. */
static inline void fixture_write(const fixture *f, const char *path, bool compress) {
  facet_shard_writer *w;
  EXPECT_OK(facet_shard_writer_create(f->schema, path, (facet_shard_layout){compress, 4}, &w));
  fixture_append(f, w);
  EXPECT_OK(facet_shard_append_windows(w, 0, f->start, f->length, 6));
  EXPECT_OK(facet_shard_writer_finish(w));
  facet_shard_writer_destroy(&w);
}

/* "<directory>/<name>" in a buffer that lives until the fourth call after. */
static inline const char *fixture_path(const fixture *f, const char *name) {
  static char paths[4][256];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, 256, "%s/%s", f->directory, name);
  return path;
}

#endif
