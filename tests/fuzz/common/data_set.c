#include "data_set.h"

#include <stdio.h>
#include <string.h>

#include "facet/shard.h"
#include "facet/vocabulary.h"
#include "fuzz.h"

static const char schema_text[] =
    "facet_schema: 1\nname: small\nembedding_width: 4\n"
    "vocabularies:\n  user: {size: 4}\n  item: {size: 7}\n  genre: {size: 5}\n"
    "features:\n  label: {role: label}\n  weight: {role: weight}\n  time: {role: time}\n  session: {role: group}\n"
    "  user_id: {role: user, vocabulary: user}\n  item_id: {role: item, vocabulary: item}\n"
    "  kind: {role: item, vocabulary: genre, join: item_id}\n"
    "  genres: {role: item, vocabulary: genre, join: item_id, bag: 3}\n"
    "  image: {role: item, type: float, length: 2, join: item_id}\n"
    "  tags: {role: context, vocabulary: genre, bag: 2}\n  vector: {role: context, type: float, length: 3}\n"
    "sequences:\n  history:\n    max_length: 4\n    features:\n      item_id: {vocabulary: item}\n"
    "      price: {type: float}\n      time: {role: time}\n      tags: {vocabulary: genre, bag: 2}\n"
    "      kind: {vocabulary: genre, join: item_id}\n";

static void write_part(const facet_schema *schema, const char *path) {
  static const float label[] = {1, 0, 0, 1, 0, 1}, weight[] = {1, 1, 0.5f, 2, 0, 1};
  static const float vector[18] = {0, 1, 2, 3, 4, 5, 6, 7}, price[] = {0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f};
  static const int64_t time[] = {100, 200, 300, 400, 500, 600}, start[] = {0, 0, 0, 4, 4, 5};
  static const int64_t event_time[] = {10, 20, 30, 40, 5, 6, 6}, session[] = {1, 1, 1, 2, 2, -3};
  static const int32_t user[] = {2, 2, 2, 3, 3, 3}, item[] = {2, 3, 4, 5, 6, 1}, length[] = {0, 2, 4, 1, 3, 2};
  static const int32_t event_item[] = {2, 3, 4, 5, 6, 2, 3}, tag_count[] = {0, 1, 2, 0, 2, 1};
  static const int32_t tags[] = {2, 3, 4, 2, 3, 4}, event_tag_count[] = {1, 0, 0, 2, 0, 1, 1};
  facet_shard_writer *w;
#define F(name) facet_schema_feature(schema, name)
  FUZZ_MUST(facet_shard_writer_create(schema, path, (facet_shard_layout){0}, &w));
  FUZZ_MUST(facet_shard_append_floats(w, F("label"), label, 6));
  FUZZ_MUST(facet_shard_append_floats(w, F("weight"), weight, 6));
  FUZZ_MUST(facet_shard_append_floats(w, F("vector"), vector, 6));
  FUZZ_MUST(facet_shard_append_int64s(w, F("time"), time, 6));
  FUZZ_MUST(facet_shard_append_int64s(w, F("session"), session, 6));
  FUZZ_MUST(facet_shard_append_ids(w, F("user_id"), user, 6));
  FUZZ_MUST(facet_shard_append_ids(w, F("item_id"), item, 6));
  FUZZ_MUST(facet_shard_append_bags(w, F("tags"), tag_count, tags, 6));
  FUZZ_MUST(facet_shard_append_ids(w, F("history.item_id"), event_item, 7));
  FUZZ_MUST(facet_shard_append_floats(w, F("history.price"), price, 7));
  FUZZ_MUST(facet_shard_append_int64s(w, F("history.time"), event_time, 7));
  FUZZ_MUST(facet_shard_append_bags(w, F("history.tags"), event_tag_count, tags, 7));
  FUZZ_MUST(facet_shard_append_windows(w, 0, start, length, 6));
  FUZZ_MUST(facet_shard_writer_finish(w));
  facet_shard_writer_destroy(&w);
#undef F
}

static void write_tables(const facet_schema *schema, const char *path) {
  static const int32_t kinds[] = {0, 1, 2, 3, 4, 2, 3}, genres[] = {2, 3, 4, 2, 3, 4, 1};
  static const int64_t offsets[] = {0, 0, 1, 4, 4, 5, 6, 7};
  static const float image[14] = {0, 0, 1, 1, 0.5f, -1};
  const int v = facet_schema_vocabulary(schema, "item");
  const facet_table_column columns[] = {
      {.vocabulary = v, .column = "kind", .type = FACET_FEATURE_ID, .length = 1, .values = kinds},
      {.vocabulary = v,
       .column = "genres",
       .type = FACET_FEATURE_ID,
       .length = 1,
       .is_bag = true,
       .offsets = offsets,
       .values = genres},
      {.vocabulary = v, .column = "image", .type = FACET_FEATURE_FLOAT, .length = 2, .values = image}};
  FUZZ_MUST(facet_tables_write(schema, path, columns, 3));
}

void fuzz_vocabulary_write(const char *path) {
  static const char *const tokens[] = {"a", "item-2", "\xc3\xa9", "", "with space"};
  facet_vocabulary *vocabulary;
  int64_t id;
  FUZZ_MUST(facet_vocabulary_create("item", &vocabulary));
  for (int i = 0; i < 5; i++) FUZZ_MUST(facet_vocabulary_add(vocabulary, tokens[i], strlen(tokens[i]), &id));
  FUZZ_MUST(facet_vocabulary_add(vocabulary, "\0x", 2, &id));
  FUZZ_MUST(facet_vocabulary_save(vocabulary, path));
  facet_vocabulary_destroy(&vocabulary);
}

facet_schema *fuzz_data_set_write(const char *directory) {
  char path[FACET_PATH_MAX];
  facet_schema *schema;
  static const char *const folders[] = {"train", "vocab"};
  for (int i = 0; i < 2; i++) {
    FUZZ_MUST(facet_path_format(path, "%s/%s", directory, folders[i]));
    FUZZ_MUST(facet_directory_create(path));
  }
  FUZZ_MUST(facet_path_format(path, "%s/schema.yaml", directory));
  fuzz_write(path, schema_text, sizeof schema_text - 1);
  FUZZ_MUST(facet_schema_load(path, &schema));
  FUZZ_MUST(facet_path_format(path, "%s/tables.h5", directory));
  write_tables(schema, path);
  FUZZ_MUST(facet_path_format(path, "%s/vocab/item.h5", directory));
  fuzz_vocabulary_write(path);
  FUZZ_MUST(facet_path_format(path, "%s/train/part-00000.h5", directory));
  write_part(schema, path);
  return schema;
}
