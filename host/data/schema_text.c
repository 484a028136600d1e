/* Writing a schema as YAML; what its hash covers; the first difference of two schemas. */
#include "data/schema_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facet/file.h"
#include "facet/memory.h"

/* ---- what the hash covers ------------------------------------------------------------------------------------ */

/* Of each feature, what decides how its values are stored and what they mean. Widths, poolings and shared embeddings
 * are choices of the model's user, and vocabularies may grow. */
enum { COLUMN, ROLE, TYPE, VOCABULARY, HASH, JOIN, BAG, LENGTH, N_PROPERTIES };
static const char *const property_names[N_PROPERTIES] = {"column", "role", "type", "vocabulary",
                                                         "hash",   "join", "bag",  "length"};
#define MAX_PROPERTY 160

static const char *property(const facet_schema *schema, const facet_feature *feature, int which, char *text) {
  const facet_vocabulary_info *vocabulary = feature->vocabulary < 0 ? NULL : &schema->vocabularies[feature->vocabulary];
  const char *value = "none";
  int64_t number = -1;
  switch (which) {
  case COLUMN:
    value = feature->column;
    break;
  case ROLE:
    value = facet_role_name(feature->role);
    break;
  case TYPE:
    value = facet_feature_type_name(feature->type);
    break;
  case VOCABULARY:
    value = vocabulary ? vocabulary->name : value;
    break;
  case HASH:
    number = vocabulary && vocabulary->hashed ? vocabulary->size : 0;
    break;
  case JOIN:
    value = feature->join < 0 ? value : schema->features[feature->join].name;
    break;
  case BAG:
    number = feature->bag;
    break;
  default:
    number = feature->length;
    break;
  }
  if (number >= 0)
    snprintf(text, MAX_PROPERTY, "%" PRId64, number);
  else
    snprintf(text, MAX_PROPERTY, "%s", value);
  return text;
}

/* What `print` writes, 0-terminated; the caller frees *out with facet_memory_free. */
static facet_status make_text(void (*print)(const void *context, FILE *stream), const void *context, char **out,
                              size_t *n_bytes) {
  char *text = NULL;
  *out = NULL;
  FILE *stream = open_memstream(&text, n_bytes);
  FACET_CHECK(stream, FACET_ERROR_INTERNAL, "cannot allocate the text of a schema");
  print(context, stream);
  const bool is_written = fclose(stream) == 0 && text;
  if (is_written) *out = facet_memory_strdup(text);
  free(text);
  FACET_CHECK(is_written, FACET_ERROR_INTERNAL, "cannot allocate the text of a schema");
  return *out ? FACET_OK : FACET_ERROR_INTERNAL;
}

static void write_hashed(const void *context, FILE *stream) {
  const facet_schema *schema = context;
  char value[MAX_PROPERTY];
  fprintf(stream, "facet schema 1\n");
  for (int s = 0; s < schema->n_sequences; s++)
    fprintf(stream, "sequence %s max_length %" PRId64 "\n", schema->sequences[s].name, schema->sequences[s].max_length);
  for (int i = 0; i < schema->n_features; i++) {
    fprintf(stream, "feature %s", schema->features[i].name);
    for (int k = 0; k < N_PROPERTIES; k++)
      fprintf(stream, " %s %s", property_names[k], property(schema, &schema->features[i], k, value));
    fprintf(stream, "\n");
  }
}

facet_status facet_schema_text_hash(const facet_schema *schema, uint64_t *hash) {
  char *text;
  size_t n_bytes;
  FACET_TRY(make_text(write_hashed, schema, &text, &n_bytes));
  *hash = facet_hash64(text, n_bytes);
  facet_memory_free(text);
  return FACET_OK;
}

facet_status facet_schema_make(const char *name, void (*print)(const void *context, FILE *stream), const void *context,
                               facet_schema **schema) {
  char *text;
  size_t n_bytes;
  *schema = NULL;
  FACET_TRY(make_text(print, context, &text, &n_bytes));
  const facet_status status = facet_schema_parse(name, text, schema);
  facet_memory_free(text);
  return status;
}

bool facet_schema_difference(const facet_schema *a, const facet_schema *b, char *text, size_t n_bytes) {
  for (int s = 0; s < a->n_sequences || s < b->n_sequences; s++) {
    const char *in_a = s < a->n_sequences ? a->sequences[s].name : "none";
    const char *in_b = s < b->n_sequences ? b->sequences[s].name : "none";
    if (strcmp(in_a, in_b)) {
      snprintf(text, n_bytes, "sequence %d: %s against %s", s + 1, in_a, in_b);
      return true;
    }
    if (a->sequences[s].max_length != b->sequences[s].max_length) {
      snprintf(text, n_bytes, "sequence %s: max_length %" PRId64 " against %" PRId64, in_a, a->sequences[s].max_length,
               b->sequences[s].max_length);
      return true;
    }
  }
  for (int i = 0; i < a->n_features || i < b->n_features; i++) {
    const char *in_a = i < a->n_features ? a->features[i].name : "none";
    const char *in_b = i < b->n_features ? b->features[i].name : "none";
    if (strcmp(in_a, in_b)) {
      snprintf(text, n_bytes, "feature %d: %s against %s", i + 1, in_a, in_b);
      return true;
    }
    for (int k = 0; k < N_PROPERTIES; k++) {
      char of_a[MAX_PROPERTY], of_b[MAX_PROPERTY];
      if (!strcmp(property(a, &a->features[i], k, of_a), property(b, &b->features[i], k, of_b))) continue;
      snprintf(text, n_bytes, "feature %s: %s %s against %s", in_a, property_names[k], of_a, of_b);
      return true;
    }
  }
  return false;
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

static void write_feature(const facet_schema *schema, const facet_feature *feature, const char *indent, FILE *stream) {
  const size_t skip = feature->sequence < 0 ? 0 : strlen(schema->sequences[feature->sequence].name) + 1;
  const char *separator = "";
  fprintf(stream, "%s%s: {", indent, feature->name + skip);
#define FIELD(...) (fputs(separator, stream), separator = ", ", fprintf(stream, __VA_ARGS__))
  if (feature->role != FACET_ROLE_BEHAVIOUR) FIELD("role: %s", facet_role_name(feature->role));
  if (feature->vocabulary >= 0)
    FIELD("vocabulary: %s", schema->vocabularies[feature->vocabulary].name);
  else
    FIELD("type: %s", facet_feature_type_name(feature->type));
  if (feature->length > 1) FIELD("length: %" PRId64, feature->length);
  if (feature->join >= 0) FIELD("join: %s", schema->features[feature->join].name + skip);
  if (strcmp(feature->column, feature->name + skip)) FIELD("column: %s", feature->column);
  if (feature->bag > 0)
    FIELD("bag: %" PRId64 ", pooling: %s", feature->bag, feature->pooling == FACET_POOLING_SUM ? "sum" : "mean");
  if (feature->embedding) {
    if (strcmp(feature->embedding, schema->vocabularies[feature->vocabulary].name))
      FIELD("embedding: %s", feature->embedding);
    FIELD("width: %" PRId64, feature->width);
  }
#undef FIELD
  fprintf(stream, "}\n");
}

static void write_schema(const void *context, FILE *stream) {
  const facet_schema *schema = context;
  fprintf(stream, "facet_schema: 1\nname: %s\n", schema->name);
  if (schema->n_vocabularies > 0) fprintf(stream, "vocabularies:\n");
  for (int v = 0; v < schema->n_vocabularies; v++)
    fprintf(stream, "  %s: {%s: %" PRId64 "}\n", schema->vocabularies[v].name,
            schema->vocabularies[v].hashed ? "hash" : "size", schema->vocabularies[v].size);
  fprintf(stream, "features:\n");
  for (int i = 0; i < schema->n_features; i++)
    if (schema->features[i].sequence < 0) write_feature(schema, &schema->features[i], "  ", stream);
  if (schema->n_sequences > 0) fprintf(stream, "sequences:\n");
  for (int s = 0; s < schema->n_sequences; s++) {
    fprintf(stream, "  %s:\n    max_length: %" PRId64 "\n    features:\n", schema->sequences[s].name,
            schema->sequences[s].max_length);
    for (int i = 0; i < schema->n_features; i++)
      if (schema->features[i].sequence == s) write_feature(schema, &schema->features[i], "      ", stream);
  }
}

facet_status facet_schema_format(const facet_schema *schema, char **text, size_t *n_bytes) {
  return make_text(write_schema, schema, text, n_bytes);
}

facet_status facet_schema_write(const facet_schema *schema, const char *path) {
  char *text = NULL;
  size_t n_bytes;
  FACET_TRY(facet_schema_format(schema, &text, &n_bytes));
  const facet_status status = facet_file_write(path, text, n_bytes);
  facet_memory_free(text);
  return status;
}
