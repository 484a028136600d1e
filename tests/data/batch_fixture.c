#include "batch_fixture.h"

#include <stdio.h>
#include <string.h>

#include "facet/file.h"
#include "facet/memory.h"
#include "facet/schema.h"
#include "facet/shard.h"

const int64_t fixture_n_samples[FIXTURE_PARTS] = {37, 1, 50};
const int64_t fixture_n_events[FIXTURE_PARTS] = {60, 9, 200};

static const char *const schema_text = "facet_schema: 1\n"
                                       "name: fixture\n"
                                       "embedding_width: 4\n"
                                       "vocabularies:\n"
                                       "  user: {size: 12}\n"
                                       "  item: {size: 40}\n"
                                       "  genre: {size: 9}\n"
                                       "  shop: {size: 6}\n"
                                       "features:\n"
                                       "  label: {role: label}\n"
                                       "%s"
                                       "%s"
                                       "  user_id: {role: user, vocabulary: user}\n"
                                       "  age: {role: user, type: float, join: user_id}\n"
                                       "  genres: {role: item, vocabulary: genre, join: item_id, bag: 3}\n"
                                       "  item_id: {role: item, vocabulary: item}\n"
                                       "  shop: {role: item, vocabulary: shop, join: item_id}\n"
                                       "  image: {role: item, type: float, length: 2, join: item_id}\n"
                                       "  price: {role: context, type: float}\n"
                                       "  vector: {role: context, type: float, length: 3}\n"
                                       "  tags: {role: context, vocabulary: genre, bag: 3}\n"
                                       "sequences:\n"
                                       "  history:\n"
                                       "    max_length: 6\n"
                                       "    features:\n"
                                       "      item_id: {vocabulary: item}\n"
                                       "      genres: {vocabulary: genre, join: item_id, bag: 3}\n"
                                       "      shop: {vocabulary: shop, join: item_id}\n"
                                       "      image: {type: float, length: 2, join: item_id}\n"
                                       "      dwell: {type: float}\n"
                                       "      vector: {type: float, length: 2}\n"
                                       "      tags: {vocabulary: genre, bag: 2}\n";

/* ---- values -------------------------------------------------------------------------------------------------- */

static uint64_t value(const char *what, int64_t part, int64_t row, int64_t element) {
  int64_t words[3] = {part, row, element};
  return facet_hash64(what, strlen(what)) ^ facet_hash64(words, sizeof words);
}

int32_t fixture_id(const char *what, int64_t part, int64_t row, int64_t size) {
  return (int32_t)(1 + value(what, part, row, 0) % (uint64_t)(size - 1));
}

float fixture_float(const char *what, int64_t part, int64_t row, int64_t element) {
  return (float)(value(what, part, row, element) % 1000) / 8 - 50;
}

int32_t fixture_count(const char *what, int64_t part, int64_t row, int64_t bag) {
  return (int32_t)(value(what, part, row, -1) % (uint64_t)(bag + 1));
}

int32_t fixture_bag_id(const char *what, int64_t part, int64_t row, int64_t element, int64_t size) {
  return (int32_t)(1 + value(what, part, row, element) % (uint64_t)(size - 1));
}

float fixture_label(int64_t part, int64_t row) {
  return (float)(value("label", part, row, 0) % 2);
}
float fixture_weight(int64_t part, int64_t row) {
  return (float)(value("weight", part, row, 0) % 8) / 4;
}
int64_t fixture_session(int64_t part, int64_t row) {
  return (int64_t)(value("session", part, row, 0) >> 2);
}
int32_t fixture_length(int64_t part, int64_t row) {
  return (int32_t)((part + row * 5) % 7);
}

int64_t fixture_start(int64_t part, int64_t row) {
  return (int64_t)(value("start", part, row, 0) % (uint64_t)(fixture_n_events[part] - fixture_length(part, row) + 1));
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

/* Appends the stored column of a feature with n rows. */
static facet_status append_feature(facet_shard_writer *writer, const facet_schema *schema, int f, int64_t part,
                                   int64_t n) {
  const facet_feature *feature = &schema->features[f];
  for (int64_t row = 0; row < n; row++) {
    if (feature->bag > 0) {
      int32_t ids[8], count = fixture_count(feature->name, part, row, feature->bag);
      for (int i = 0; i < count; i++) ids[i] = fixture_bag_id(feature->name, part, row, i, FIXTURE_GENRES);
      FACET_TRY(facet_shard_append_bags(writer, f, &count, ids, 1));
    } else if (feature->type == FACET_FEATURE_ID) {
      int32_t id = fixture_id(feature->name, part, row, schema->vocabularies[feature->vocabulary].size);
      FACET_TRY(facet_shard_append_ids(writer, f, &id, 1));
    } else if (feature->type == FACET_FEATURE_INT64) {
      int64_t session = fixture_session(part, row);
      FACET_TRY(facet_shard_append_int64s(writer, f, &session, 1));
    } else {
      float values[8];
      for (int i = 0; i < feature->length; i++) values[i] = fixture_float(feature->name, part, row, i);
      if (f == schema->label) values[0] = fixture_label(part, row);
      if (f == schema->weight) values[0] = fixture_weight(part, row);
      FACET_TRY(facet_shard_append_floats(writer, f, values, 1));
    }
  }
  return FACET_OK;
}

static facet_status write_part(const char *path, const facet_schema *schema, int part, bool compress) {
  facet_status status = FACET_OK;
  facet_shard_writer *writer = NULL;
  char name[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(name, "%s/train/part-%05d.h5", path, part));
  FACET_TRY(facet_shard_writer_create(schema, name, (facet_shard_layout){compress, 16}, &writer));
  for (int f = 0; f < schema->n_features; f++) {
    if (schema->features[f].join >= 0) continue;
    bool of_events = schema->features[f].sequence >= 0;
    FACET_TRY_GOTO(
        status, done,
        append_feature(writer, schema, f, part, of_events ? fixture_n_events[part] : fixture_n_samples[part]));
  }
  for (int64_t row = 0; row < fixture_n_samples[part]; row++) {
    int64_t start = fixture_start(part, row);
    int32_t length = fixture_length(part, row);
    FACET_TRY_GOTO(status, done, facet_shard_append_windows(writer, 0, &start, &length, 1));
  }
  FACET_TRY_GOTO(status, done, facet_shard_writer_finish(writer));
done:
  facet_shard_writer_destroy(&writer);
  return status;
}

static facet_status write_tables(const char *path, const facet_schema *schema) {
  static float age[FIXTURE_USERS], image[FIXTURE_ITEMS * 2];
  static int32_t shop[FIXTURE_ITEMS], genres[FIXTURE_ITEMS * 3];
  static int64_t offsets[FIXTURE_ITEMS + 1];
  for (int i = 0; i < FIXTURE_USERS; i++) age[i] = fixture_float("age", 0, i, 0);
  for (int i = 0; i < FIXTURE_ITEMS; i++) {
    shop[i] = fixture_id("shop", 0, i, FIXTURE_SHOPS);
    for (int e = 0; e < 2; e++) image[i * 2 + e] = fixture_float("image", 0, i, e);
    int32_t count = fixture_count("genres", 0, i, 3);
    for (int e = 0; e < count; e++) genres[offsets[i] + e] = fixture_bag_id("genres", 0, i, e, FIXTURE_GENRES);
    offsets[i + 1] = offsets[i] + count;
  }
  int user = facet_schema_vocabulary(schema, "user"), item = facet_schema_vocabulary(schema, "item");
  const facet_table_column columns[] = {
      {user, "age", FACET_FEATURE_FLOAT, 1, false, NULL, age},
      {item, "shop", FACET_FEATURE_ID, 1, false, NULL, shop},
      {item, "genres", FACET_FEATURE_ID, 1, true, offsets, genres},
      {item, "image", FACET_FEATURE_FLOAT, 2, false, NULL, image},
  };
  char name[FACET_PATH_MAX];
  FACET_TRY(facet_path_format(name, "%s/tables.h5", path));
  return facet_tables_write(schema, name, columns, 4);
}

static facet_status write_all(fixture_options options, const char *path) {
  char text[4096], name[FACET_PATH_MAX];
  snprintf(text, sizeof text, schema_text, options.no_weight ? "" : "  weight: {role: weight}\n",
           options.no_group ? "" : "  session: {role: group}\n");
  FACET_TRY(facet_path_format(name, "%s/train", path));
  FACET_TRY(facet_directory_create(name));
  FACET_TRY(facet_path_format(name, "%s/schema.yaml", path));
  FACET_TRY(facet_file_write(name, text, strlen(text)));
  facet_schema *schema;
  FACET_TRY(facet_schema_load(name, &schema));
  facet_status status = write_tables(path, schema);
  for (int part = 0; part < FIXTURE_PARTS && status == FACET_OK; part++) {
    status = write_part(path, schema, part, options.compress[part]);
  }
  facet_schema_destroy(&schema);
  return status;
}

facet_status fixture_create(fixture_options options, char *path) {
  test_directory_create(path);
  return write_all(options, path);
}

void fixture_poke(const char *path, int part, const char *name, int64_t element, double value) {
  char file_name[128];
  if (part < 0)
    snprintf(file_name, sizeof file_name, "%s/tables.h5", path);
  else
    snprintf(file_name, sizeof file_name, "%s/train/part-%05d.h5", path, part);
  test_hdf5_poke(file_name, name, element, value);
}
