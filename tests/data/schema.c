/* Reading, writing and comparing schemas. */
#include "fixture.h"

Test(schema, reads_every_kind_of_feature) {
  facet_schema *s;
  EXPECT_OK(facet_schema_parse("small.yaml", fixture_schema_text, &s));
  cr_assert(s->n_features == 16 && s->n_sequences == 1 && s->n_vocabularies == 5);
  cr_assert(s->label == 0 && s->weight == 1 && s->time == 2 && s->group == -1 && s->user == 3 && s->item == 4);

  const facet_feature *genres = &s->features[facet_schema_feature(s, "genres")];
  cr_assert(genres->type == FACET_FEATURE_ID && genres->bag == 3 && genres->pooling == FACET_POOLING_MEAN);
  cr_assert(genres->join == s->item && genres->width == 4 && !strcmp(genres->embedding, "genre"));
  const facet_feature *vector = &s->features[facet_schema_feature(s, "vector")];
  cr_assert(vector->type == FACET_FEATURE_FLOAT && vector->length == 3 && vector->width == 0 && !vector->embedding);
  const facet_feature *event = &s->features[facet_schema_feature(s, "history.category")];
  cr_assert(event->sequence == 0 && event->role == FACET_ROLE_BEHAVIOUR && !strcmp(event->column, "category"));
  cr_assert(event->join == facet_schema_feature(s, "history.item_id"));
  const facet_feature *time = &s->features[facet_schema_feature(s, "history.time")];
  cr_assert(time->role == FACET_ROLE_TIME && time->type == FACET_FEATURE_INT64);
  cr_assert(s->vocabularies[4].hashed && s->vocabularies[4].size == 100);
  facet_schema_destroy(&s);
  cr_assert(!s);
}

Test(schema, writes_what_it_reads) {
  facet_schema *s, *again;
  char *text, *text_again, difference[256];
  size_t n_bytes, n_again;
  EXPECT_OK(facet_schema_parse("small.yaml", fixture_schema_text, &s));
  EXPECT_OK(facet_schema_format(s, &text, &n_bytes));
  cr_assert(strlen(text) == n_bytes);
  EXPECT_OK(facet_schema_parse("again.yaml", text, &again));
  EXPECT_OK(facet_schema_format(again, &text_again, &n_again));
  cr_assert(!strcmp(text, text_again), "%s\n%s", text, text_again);
  cr_assert(s->hash == again->hash && !facet_schema_difference(s, again, difference, sizeof difference));
  facet_memory_free(text);
  facet_memory_free(text_again);
  facet_schema_destroy(&s);
  facet_schema_destroy(&again);
}

/* The fixture's text with `from` replaced by `to`. */
static char *replaced(const char *from, const char *to) {
  static char text[4096];
  const char *at = strstr(fixture_schema_text, from);
  cr_assert(at, "%s", from);
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - fixture_schema_text), fixture_schema_text, to, at + strlen(from));
  return text;
}

Test(schema, hash_covers_meaning_but_not_sizes) {
  const struct {
    const char *from, *to, *difference; /* NULL: no difference */
  } cases[] = {
      {"item: {size: 7}", "item: {size: 9}", NULL},
      {"embedding_width: 4", "embedding_width: 8", NULL},
      {"name: small", "name: other", NULL},
      {"bag: 2, pooling: sum", "bag: 2, pooling: mean", NULL},
      {"  weight: {role: weight}\n", "", "feature 2: weight against time"},
      {"zip: {hash: 100}", "zip: {hash: 101}", "feature zip: hash 100 against 101"},
      {"length: 3", "length: 4", "feature vector: length 3 against 4"},
      {"max_length: 4", "max_length: 5", "sequence history: max_length 4 against 5"},
      {"user_id: {role: user", "user_id: {role: context", "feature user_id: role user against context"},
      {"category: {role: item, vocabulary: category, join: item_id}", "category: {role: item, vocabulary: category}",
       "feature category: join item_id against none"},
  };
  facet_schema *s;
  EXPECT_OK(facet_schema_parse("small.yaml", fixture_schema_text, &s));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    facet_schema *other;
    char text[256] = "";
    EXPECT_OK(facet_schema_parse("other.yaml", replaced(cases[i].from, cases[i].to), &other));
    const bool differs = facet_schema_difference(s, other, text, sizeof text);
    cr_assert(differs == (cases[i].difference != NULL), "%s: %s", cases[i].to, text);
    cr_assert((s->hash != other->hash) == differs, "%s", cases[i].to);
    if (differs) cr_assert(!strcmp(text, cases[i].difference), "%s, expected %s", text, cases[i].difference);
    facet_schema_destroy(&other);
  }
  facet_schema_destroy(&s);
}

Test(schema, errors_name_place_and_expectation) {
  const struct {
    const char *from, *to, *message;
  } cases[] = {
      {"facet_schema: 1", "facet_schema: 2", "facet_schema"},
      {"role: weight", "rolle: weight", "role"},
      {"role: weight", "role: wait", "weight"},
      {"role: weight", "role: label", "both have role label"},
      {"label: {role: label}", "label: {role: weight}", "role weight"},
      {"  label: {role: label}\n", "", "no feature has role label"},
      {"vocabulary: user}", "vocabulary: usr}", "no vocabulary \"usr\""},
      {"vocabulary: user}", "type: float, bag: 3}", "only ids form bags"},
      {"vocabulary: user}", "type: int64}", "for the roles group and time"},
      {"vocabulary: user}", "width: 3}", "needs a vocabulary"},
      {"vocabulary: user}", "vocabulary: user, type: float}", "belong together"},
      {"length: 3", "bag: 3", "only ids form bags"},
      {"length: 3", "length: 0", "length"},
      {"bag: 2, pooling: sum", "pooling: sum", "only bags are pooled"},
      {"bag: 2, pooling: sum", "bag: 2, pooling: max", "mean"},
      {"category, join: item_id}", "category, join: item}", "no feature of the sample"},
      {"category, join: item_id}", "category, join: genres}", "stored single-valued id"},
      {"category, join: item_id}", "category, join: label}", "stored single-valued id"},
      {"user: {size: 4}", "user: {size: 1}", "size"},
      {"user: {size: 4}", "user: {size: 4, hash: 10}", "either size or hash"},
      {"embedding_width: 4\n", "", "needs a width"},
      {"{vocabulary: item}", "{vocabulary: item, width: 5}", "widths 4 and 5"},
      {"{vocabulary: item}", "{vocabulary: user, embedding: item}", "vocabularies item and user"},
      {"price: {type: float}", "price: {type: float, column: item_id}", "both stored in column item_id"},
      {"vector: {", "history: {", "name of a sequence"},
      {"vector: {", "a/b: {", "must have 1 to 64 letters"},
      {"vector: {", "null: {", "not be null or -"},
      {"price: {type: float}", "price: {role: time}", "2 features of role time"},
      {"price: {type: float}", "price: {role: label}", "time"},
      {"max_length: 4", "max_length: 0", "max_length"},
      {"      item_id: {vocabulary: item}\n", "", "no feature of history"},
      {"name: small", "name: [1]", "name"},
      {"features:\n  label", "fields:\n  label", "features"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    facet_schema *s;
    EXPECT_ERROR(FACET_ERROR_DATA, facet_schema_parse("bad.yaml", replaced(cases[i].from, cases[i].to), &s),
                 "bad.yaml:", cases[i].message);
    cr_assert(!s);
  }
}

Test(schema, missing_file_is_an_io_error) {
  facet_schema *s;
  EXPECT_ERROR(FACET_ERROR_IO, facet_schema_load("/nonexistent/schema.yaml", &s), "/nonexistent/schema.yaml");
}
