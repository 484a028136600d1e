/* schema.yaml. A schema that is accepted is written as text that is read back to an equal schema. */
#include <string.h>

#include "common/fuzz.h"
#include "facet/schema.h"

static void run(const uint8_t *data, size_t n_bytes) {
  facet_schema *schema, *again;
  char *text, difference[256];
  size_t n_text;
  const char *path = fuzz_path("schema.yaml");
  fuzz_write(path, data, n_bytes);
  if (!fuzz_verdict(facet_schema_load(path, &schema))) return;
  FUZZ_MUST(facet_schema_format(schema, &text, &n_text));
  FUZZ_MUST(facet_schema_parse("again", text, &again));
  FUZZ_CHECK(strlen(text) == n_text, "length of the text");
  FUZZ_CHECK(again->hash == schema->hash, "the hash of a schema that was written and read");
  FUZZ_CHECK(!facet_schema_difference(again, schema, difference, sizeof difference),
             "a schema that was written and read");
  facet_memory_free(text);
  facet_schema_destroy(&again);
  facet_schema_destroy(&schema);
}

static const char plain[] =
    "facet_schema: 1\nname: small\nembedding_width: 4\nvocabularies:\n  user: {size: 4}\n  item: {size: 7}\n"
    "  zip: {hash: 100}\nfeatures:\n  label: {role: label}\n  weight: {role: weight}\n  time: {role: time}\n"
    "  session: {role: group}\n  user_id: {role: user, vocabulary: user}\n"
    "  item_id: {role: item, vocabulary: item, embedding: thing, width: 3}\n"
    "  tags: {role: item, vocabulary: item, join: item_id, bag: 3, pooling: sum, embedding: tag}\n"
    "  image: {role: item, type: float, length: 2, join: item_id, column: picture}\n"
    "  zip: {role: context, vocabulary: zip}\nsequences:\n  history:\n    max_length: 4\n    features:\n"
    "      item_id: {vocabulary: item, embedding: thing, width: 3}\n      price: {type: float}\n"
    "      time: {role: time}\n      kind: {vocabulary: user, join: item_id}\n";

static const char blocks[] =
    "# a comment\nfacet_schema: 1\nname: \"quoted \\u00e9\"\nvocabularies:\n  a:\n    size: 2\n"
    "features:\n  label:\n    role: 'label'\n  x:\n    role: user\n    vocabulary: a\n"
    "    width: 1\n...\n";

static void seeds(fuzz_emit emit) {
  emit("plain", plain, sizeof plain - 1);
  emit("blocks", blocks, sizeof blocks - 1);
  emit("anchor", "a: &x [1, 2]\nb: *x\n", 19);
  emit("tag", "!!map {a: !!int 1}\n", 19);
  emit("two", "---\na: 1\n---\nb: 2\n", 18);
  emit("utf16",
       "\xff\xfe"
       "a\0:\0 \0"
       "1\0",
       10);
}

const fuzz_target fuzz = {.run = run, .seeds = seeds};
