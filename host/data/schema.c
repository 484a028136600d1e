/* Reading schema.yaml. See facet/schema.h for the format. */
#include "facet/schema.h"

#include <string.h>

#include "data/schema_text.h"
#include "facet/file.h"
#include "facet/memory.h"
#include "facet/yaml.h"

#define MAX_WIDTH 65536

static const char *const roles[] = {"label", "weight", "user", "item", "context", "behaviour", "group", "time"};
static const char *const sample_roles[] = {"label", "weight", "user", "item", "context", "group", "time"};
static const facet_role sample_role_values[] = {FACET_ROLE_LABEL,   FACET_ROLE_WEIGHT, FACET_ROLE_USER, FACET_ROLE_ITEM,
                                                FACET_ROLE_CONTEXT, FACET_ROLE_GROUP,  FACET_ROLE_TIME};
static const char *const event_roles[] = {"time"};
static const char *const types[] = {"id", "float", "int64"};
static const char *const poolings[] = {"mean", "sum"};

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

const char *facet_role_name(facet_role role) {
  return roles[role];
}
const char *facet_feature_type_name(facet_feature_type type) {
  return types[type];
}

/* What is needed while reading; join names are resolved when all features are known. */
typedef struct reader {
  facet_schema *schema;
  int64_t default_width; /* 0: not given */
  const char **join;     /* [n_features] name of the joining feature, or NULL */
  facet_yaml_node *node; /* [n_features] for the positions of errors */
} reader;

facet_status facet_schema_check_name(facet_yaml_node node, const char *name) {
  const size_t n = strlen(name);
  if (n == 0 || n > FACET_SCHEMA_MAX_NAME ||
      strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != n || !strcmp(name, "null") ||
      !strcmp(name, "-"))
    return facet_yaml_fail(node, "the name \"%s\" must have 1 to %d letters, digits, _ or -, and not be null or -",
                           name, FACET_SCHEMA_MAX_NAME);
  return FACET_OK;
}

static facet_status copy_name(reader *r, facet_yaml_node node, const char *name, const char **out) {
  FACET_TRY(facet_schema_check_name(node, name));
  *out = facet_arena_strdup(r->schema->arena, name);
  return *out ? FACET_OK : FACET_ERROR_INTERNAL;
}

static facet_status read_vocabularies(reader *r, facet_yaml_node node) {
  static const char *const known[] = {"size", "hash"};
  facet_schema *schema = r->schema;
  if (facet_yaml_node_kind(node) == FACET_YAML_MISSING) return FACET_OK;
  FACET_TRY(facet_yaml_expect(node, FACET_YAML_MAPPING, "vocabularies"));
  const int64_t n = facet_yaml_n_items(node);
  if (!(schema->vocabularies = facet_arena_alloc(schema->arena, (size_t)n, sizeof *schema->vocabularies)))
    return FACET_ERROR_INTERNAL;
  for (int64_t i = 0; i < n; i++) {
    facet_vocabulary_info *vocabulary = &schema->vocabularies[i];
    const facet_yaml_node value = facet_yaml_value(node, i);
    FACET_TRY(copy_name(r, facet_yaml_key_node(node, i), facet_yaml_key(node, i), &vocabulary->name));
    FACET_TRY(facet_yaml_expect(value, FACET_YAML_MAPPING, "a vocabulary"));
    FACET_TRY(facet_yaml_check_keys(value, known, COUNT(known)));
    const facet_yaml_node size = facet_yaml_get(value, "size"), hash = facet_yaml_get(value, "hash");
    vocabulary->hashed = facet_yaml_node_kind(hash) != FACET_YAML_MISSING;
    if (vocabulary->hashed == (facet_yaml_node_kind(size) != FACET_YAML_MISSING))
      return facet_yaml_fail(value, "vocabulary %s needs either size or hash", vocabulary->name);
    if (vocabulary->hashed)
      FACET_TRY(facet_yaml_int(hash, "hash", FACET_ID_FIRST + 1, INT32_MAX, &vocabulary->size));
    else
      FACET_TRY(facet_yaml_int(size, "size", FACET_ID_FIRST, INT32_MAX, &vocabulary->size));
    schema->n_vocabularies++;
  }
  return FACET_OK;
}

/* The role of a sample's feature, and the type: given, or what role and vocabulary imply. */
static facet_status read_role_and_type(facet_yaml_node node, facet_feature *feature) {
  const facet_yaml_node role = facet_yaml_get(node, "role"), type = facet_yaml_get(node, "type");
  const bool has_vocabulary = facet_yaml_node_kind(facet_yaml_get(node, "vocabulary")) != FACET_YAML_MISSING;
  int index;
  feature->role = FACET_ROLE_BEHAVIOUR;
  if (feature->sequence < 0) {
    FACET_TRY(facet_yaml_choice(role, "role", sample_roles, COUNT(sample_roles), &index));
    feature->role = sample_role_values[index];
  } else if (facet_yaml_node_kind(role) != FACET_YAML_MISSING) {
    FACET_TRY(facet_yaml_choice(role, "role in a sequence", event_roles, COUNT(event_roles), &index));
    feature->role = FACET_ROLE_TIME;
  }
  const bool is_float = feature->role == FACET_ROLE_LABEL || feature->role == FACET_ROLE_WEIGHT;
  const bool is_int64 = feature->role == FACET_ROLE_GROUP || feature->role == FACET_ROLE_TIME;
  if (facet_yaml_node_kind(type) != FACET_YAML_MISSING) {
    FACET_TRY(facet_yaml_choice(type, "type", types, COUNT(types), &index));
    feature->type = (facet_feature_type)index;
  } else if (has_vocabulary || is_float || is_int64) {
    feature->type = has_vocabulary ? FACET_FEATURE_ID : is_float ? FACET_FEATURE_FLOAT : FACET_FEATURE_INT64;
  } else {
    return facet_yaml_fail(node, "feature %s needs a vocabulary (ids) or type: float", feature->name);
  }
  const char *required = is_float ? "float" : is_int64 ? "int64" : NULL;
  if (required && strcmp(required, types[feature->type]))
    return facet_yaml_fail(node, "feature %s: role %s has type %s, not %s", feature->name, roles[feature->role],
                           required, types[feature->type]);
  if (!required && feature->type == FACET_FEATURE_INT64)
    return facet_yaml_fail(node, "feature %s: type int64 is for the roles group and time", feature->name);
  if (has_vocabulary != (feature->type == FACET_FEATURE_ID))
    return facet_yaml_fail(node, "feature %s: type id and a vocabulary belong together", feature->name);
  return FACET_OK;
}

/* Keys that only ids, bags or floats have must be absent from the others. */
static facet_status check_applicable(facet_yaml_node node, const facet_feature *feature, bool is_bag) {
  const bool is_id = feature->type == FACET_FEATURE_ID, is_float = feature->type == FACET_FEATURE_FLOAT;
  const bool is_input = feature->role == FACET_ROLE_USER || feature->role == FACET_ROLE_ITEM ||
                        feature->role == FACET_ROLE_CONTEXT || feature->role == FACET_ROLE_BEHAVIOUR;
  const struct {
    const char *key;
    bool allowed;
    const char *why;
  } rules[] = {{"bag", is_id, "only ids form bags"},
               {"pooling", is_bag, "only bags are pooled"},
               {"embedding", is_id, "only ids are embedded"},
               {"width", is_id, "only ids are embedded"},
               {"length", is_float && is_input, "only float inputs can be vectors"},
               {"join", is_input && feature->type != FACET_FEATURE_INT64, "only inputs of a model can be joined"}};
  for (int i = 0; i < COUNT(rules); i++) {
    const facet_yaml_node value = facet_yaml_get(node, rules[i].key);
    if (!rules[i].allowed && facet_yaml_node_kind(value) != FACET_YAML_MISSING)
      return facet_yaml_fail(value, "feature %s: %s is not allowed here: %s", feature->name, rules[i].key,
                             rules[i].why);
  }
  return FACET_OK;
}

static facet_status read_embedding(reader *r, facet_yaml_node node, facet_feature *feature) {
  facet_schema *schema = r->schema;
  const facet_yaml_node vocabulary = facet_yaml_get(node, "vocabulary");
  const facet_yaml_node embedding = facet_yaml_get(node, "embedding"), width = facet_yaml_get(node, "width");
  const char *name;
  FACET_TRY(facet_yaml_string(vocabulary, "vocabulary", &name));
  feature->vocabulary = facet_schema_vocabulary(schema, name);
  if (feature->vocabulary < 0)
    return facet_yaml_fail(vocabulary, "feature %s: there is no vocabulary \"%s\" under vocabularies", feature->name,
                           name);
  feature->embedding = schema->vocabularies[feature->vocabulary].name;
  if (facet_yaml_node_kind(embedding) != FACET_YAML_MISSING) {
    FACET_TRY(facet_yaml_string(embedding, "embedding", &name));
    FACET_TRY(copy_name(r, embedding, name, &feature->embedding));
  }
  feature->width = r->default_width;
  if (facet_yaml_node_kind(width) != FACET_YAML_MISSING)
    FACET_TRY(facet_yaml_int(width, "width", 1, MAX_WIDTH, &feature->width));
  if (feature->width == 0)
    return facet_yaml_fail(node, "feature %s needs a width (or set embedding_width for all)", feature->name);
  return FACET_OK;
}

static facet_status read_feature(reader *r, facet_yaml_node node, facet_yaml_node key, const char *name, int sequence) {
  static const char *const known[] = {"type",  "vocabulary", "join", "column", "embedding",
                                      "width", "pooling",    "bag",  "length", "role"};
  facet_schema *schema = r->schema;
  facet_feature *feature = &schema->features[schema->n_features];
  *feature = (facet_feature){.sequence = sequence, .vocabulary = -1, .join = -1, .length = 1};
  FACET_TRY(copy_name(r, key, name, &feature->name));
  feature->column = feature->name;
  if (sequence >= 0)
    if (!(feature->name = facet_arena_printf(schema->arena, "%s.%s", schema->sequences[sequence].name, name)))
      return FACET_ERROR_INTERNAL;
  FACET_TRY(facet_yaml_expect(node, FACET_YAML_MAPPING, "a feature"));
  FACET_TRY(facet_yaml_check_keys(node, known, COUNT(known)));
  FACET_TRY(read_role_and_type(node, feature));

  const facet_yaml_node bag = facet_yaml_get(node, "bag"), pooling = facet_yaml_get(node, "pooling");
  const facet_yaml_node length = facet_yaml_get(node, "length"), join = facet_yaml_get(node, "join");
  const facet_yaml_node column = facet_yaml_get(node, "column");
  const bool is_bag = facet_yaml_node_kind(bag) != FACET_YAML_MISSING;
  FACET_TRY(check_applicable(node, feature, is_bag));
  if (is_bag) FACET_TRY(facet_yaml_int(bag, "bag", 1, 65536, &feature->bag));
  if (facet_yaml_node_kind(pooling) != FACET_YAML_MISSING) {
    int index;
    FACET_TRY(facet_yaml_choice(pooling, "pooling", poolings, COUNT(poolings), &index));
    feature->pooling = (facet_pooling)index;
  }
  if (facet_yaml_node_kind(length) != FACET_YAML_MISSING)
    FACET_TRY(facet_yaml_int(length, "length", 1, MAX_WIDTH, &feature->length));
  if (feature->type == FACET_FEATURE_ID) FACET_TRY(read_embedding(r, node, feature));
  if (facet_yaml_node_kind(join) != FACET_YAML_MISSING)
    FACET_TRY(facet_yaml_string(join, "join", &r->join[schema->n_features]));
  if (facet_yaml_node_kind(column) != FACET_YAML_MISSING) {
    const char *text;
    FACET_TRY(facet_yaml_string(column, "column", &text));
    FACET_TRY(copy_name(r, column, text, &feature->column));
  }
  r->node[schema->n_features++] = node;
  return FACET_OK;
}

static facet_status read_features(reader *r, facet_yaml_node node, int sequence) {
  const int64_t n = facet_yaml_n_items(node);
  for (int64_t i = 0; i < n; i++)
    FACET_TRY(
        read_feature(r, facet_yaml_value(node, i), facet_yaml_key_node(node, i), facet_yaml_key(node, i), sequence));
  return FACET_OK;
}

static facet_status read_sequences(reader *r, facet_yaml_node node) {
  static const char *const known[] = {"max_length", "features"};
  facet_schema *schema = r->schema;
  for (int64_t i = 0; i < facet_yaml_n_items(node); i++) {
    const facet_yaml_node value = facet_yaml_value(node, i);
    const int index = schema->n_sequences++;
    facet_sequence *sequence = &schema->sequences[index];
    FACET_TRY(copy_name(r, facet_yaml_key_node(node, i), facet_yaml_key(node, i), &sequence->name));
    FACET_TRY(facet_yaml_expect(value, FACET_YAML_MAPPING, "a sequence"));
    FACET_TRY(facet_yaml_check_keys(value, known, COUNT(known)));
    FACET_TRY(facet_yaml_int(facet_yaml_get(value, "max_length"), "max_length", 1, INT32_MAX, &sequence->max_length));
    FACET_TRY(read_features(r, facet_yaml_get(value, "features"), index));
  }
  return FACET_OK;
}

/* ---- checks over all features -------------------------------------------------------------------------------- */

static facet_status resolve_join(reader *r, int i) {
  facet_schema *schema = r->schema;
  facet_feature *feature = &schema->features[i];
  const char *prefix = feature->sequence < 0 ? "" : schema->sequences[feature->sequence].name;
  const facet_yaml_node node = facet_yaml_get(r->node[i], "join");
  if (!r->join[i]) return FACET_OK;
  for (int j = 0; j < schema->n_features && feature->join < 0; j++) {
    const facet_feature *other = &schema->features[j];
    const char *name = other->name + (feature->sequence < 0 ? 0 : strlen(prefix) + 1);
    if (other->sequence == feature->sequence && !strcmp(name, r->join[i])) feature->join = j;
  }
  if (feature->join < 0)
    return facet_yaml_fail(node, "feature %s: join names \"%s\", which is no feature of %s", feature->name, r->join[i],
                           feature->sequence < 0 ? "the sample" : prefix);
  const facet_feature *through = &schema->features[feature->join];
  if (through->type != FACET_FEATURE_ID || through->bag || r->join[feature->join])
    return facet_yaml_fail(node, "feature %s: join names %s, expected a stored single-valued id", feature->name,
                           through->name);
  return FACET_OK;
}

/* Pairs of features that would be one data set, or one embedding table in two shapes. */
static facet_status check_pair(reader *r, int i, int j) {
  const facet_schema *schema = r->schema;
  const facet_feature *a = &schema->features[j], *b = &schema->features[i];
  if (a->join < 0 && b->join < 0 && a->sequence == b->sequence && !strcmp(a->column, b->column))
    return facet_yaml_fail(r->node[i], "features %s and %s are both stored in column %s", a->name, b->name, a->column);
  if (!a->embedding || !b->embedding || strcmp(a->embedding, b->embedding)) return FACET_OK;
  if (a->vocabulary != b->vocabulary)
    return facet_yaml_fail(r->node[i], "features %s and %s share embedding %s but have vocabularies %s and %s", a->name,
                           b->name, a->embedding, schema->vocabularies[a->vocabulary].name,
                           schema->vocabularies[b->vocabulary].name);
  if (a->width != b->width)
    return facet_yaml_fail(r->node[i], "features %s and %s share embedding %s but have widths %lld and %lld", a->name,
                           b->name, a->embedding, (long long)a->width, (long long)b->width);
  return FACET_OK;
}

static facet_status check_sequences(reader *r, facet_yaml_node node) {
  const facet_schema *schema = r->schema;
  for (int s = 0; s < schema->n_sequences; s++) {
    int n_stored = 0, n_times = 0;
    for (int i = 0; i < schema->n_features; i++) {
      const facet_feature *feature = &schema->features[i];
      if (feature->sequence == s) {
        n_stored += feature->join < 0;
        n_times += feature->role == FACET_ROLE_TIME;
      } else if (feature->sequence < 0 && feature->join < 0 && !strcmp(feature->column, schema->sequences[s].name)) {
        return facet_yaml_fail(r->node[i], "feature %s is stored under the name of a sequence", feature->name);
      }
    }
    if (n_stored == 0)
      return facet_yaml_fail(facet_yaml_value(node, s), "sequence %s needs a feature that is stored with its events",
                             schema->sequences[s].name);
    if (n_times > 1)
      return facet_yaml_fail(facet_yaml_value(node, s),
                             "sequence %s has %d features of role time, expected at most one",
                             schema->sequences[s].name, n_times);
  }
  return FACET_OK;
}

/* Sets the index of a role that at most one feature has. */
static facet_status set_single(reader *r, int i, int *index) {
  const facet_feature *feature = &r->schema->features[i];
  if (*index >= 0)
    return facet_yaml_fail(r->node[i], "features %s and %s both have role %s", r->schema->features[*index].name,
                           feature->name, roles[feature->role]);
  *index = i;
  return FACET_OK;
}

static facet_status index_roles(reader *r, facet_yaml_node root) {
  facet_schema *schema = r->schema;
  schema->label = schema->weight = schema->time = schema->group = schema->user = schema->item = -1;
  for (int i = 0; i < schema->n_features; i++) {
    const facet_feature *feature = &schema->features[i];
    if (feature->sequence >= 0) continue;
    const bool is_key = feature->type == FACET_FEATURE_ID && feature->join < 0 && feature->bag == 0;
    switch (feature->role) {
    case FACET_ROLE_LABEL:
      FACET_TRY(set_single(r, i, &schema->label));
      break;
    case FACET_ROLE_WEIGHT:
      FACET_TRY(set_single(r, i, &schema->weight));
      break;
    case FACET_ROLE_TIME:
      FACET_TRY(set_single(r, i, &schema->time));
      break;
    case FACET_ROLE_GROUP:
      FACET_TRY(set_single(r, i, &schema->group));
      break;
    case FACET_ROLE_USER:
      if (is_key && schema->user < 0) schema->user = i;
      break;
    case FACET_ROLE_ITEM:
      if (is_key && schema->item < 0) schema->item = i;
      break;
    default:
      break;
    }
  }
  if (schema->label < 0) return facet_yaml_fail(root, "no feature has role label");
  return FACET_OK;
}

/* ---- the whole ----------------------------------------------------------------------------------------------- */

static int64_t count_features(facet_yaml_node features, facet_yaml_node sequences) {
  int64_t n = facet_yaml_n_items(features);
  for (int64_t i = 0; i < facet_yaml_n_items(sequences); i++) {
    const facet_yaml_node sequence = facet_yaml_value(sequences, i);
    if (facet_yaml_node_kind(sequence) == FACET_YAML_MAPPING) {
      const facet_yaml_node members = facet_yaml_get(sequence, "features");
      if (facet_yaml_node_kind(members) == FACET_YAML_MAPPING) n += facet_yaml_n_items(members);
    }
  }
  return n;
}

static facet_status allocate(reader *r, facet_yaml_node features, facet_yaml_node sequences) {
  facet_schema *schema = r->schema;
  FACET_TRY(facet_yaml_expect(features, FACET_YAML_MAPPING, "features"));
  if (facet_yaml_node_kind(sequences) != FACET_YAML_MISSING)
    FACET_TRY(facet_yaml_expect(sequences, FACET_YAML_MAPPING, "sequences"));
  for (int64_t i = 0; i < facet_yaml_n_items(sequences); i++) {
    FACET_TRY(facet_yaml_expect(facet_yaml_value(sequences, i), FACET_YAML_MAPPING, "a sequence"));
    FACET_TRY(facet_yaml_expect(facet_yaml_get(facet_yaml_value(sequences, i), "features"), FACET_YAML_MAPPING,
                                "the features of a sequence"));
  }
  const size_t n = (size_t)count_features(features, sequences);
  const size_t n_sequences = (size_t)facet_yaml_n_items(sequences);
  schema->features = facet_arena_alloc(schema->arena, n, sizeof *schema->features);
  schema->sequences = facet_arena_alloc(schema->arena, n_sequences, sizeof *schema->sequences);
  r->join = facet_arena_alloc(schema->arena, n, sizeof *r->join);
  r->node = facet_arena_alloc(schema->arena, n, sizeof *r->node);
  return schema->features && schema->sequences && r->join && r->node ? FACET_OK : FACET_ERROR_INTERNAL;
}

static facet_status read_schema(reader *r, facet_yaml_node root) {
  static const char *const known[] = {"facet_schema", "name",     "embedding_width",
                                      "vocabularies", "features", "sequences"};
  facet_schema *schema = r->schema;
  int64_t version;
  const char *name;
  FACET_TRY(facet_yaml_expect(root, FACET_YAML_MAPPING, "a schema"));
  FACET_TRY(facet_yaml_check_keys(root, known, COUNT(known)));
  FACET_TRY(facet_yaml_int(facet_yaml_get(root, "facet_schema"), "facet_schema", 1, 1, &version));
  FACET_TRY(facet_yaml_string(facet_yaml_get(root, "name"), "name", &name));
  FACET_TRY(copy_name(r, facet_yaml_get(root, "name"), name, &schema->name));
  const facet_yaml_node width = facet_yaml_get(root, "embedding_width");
  if (facet_yaml_node_kind(width) != FACET_YAML_MISSING)
    FACET_TRY(facet_yaml_int(width, "embedding_width", 1, MAX_WIDTH, &r->default_width));
  const facet_yaml_node features = facet_yaml_get(root, "features"), sequences = facet_yaml_get(root, "sequences");
  FACET_TRY(read_vocabularies(r, facet_yaml_get(root, "vocabularies")));
  FACET_TRY(allocate(r, features, sequences));
  FACET_TRY(read_features(r, features, -1));
  FACET_TRY(read_sequences(r, sequences));
  for (int i = 0; i < schema->n_features; i++) FACET_TRY(resolve_join(r, i));
  for (int i = 0; i < schema->n_features; i++)
    for (int j = 0; j < i; j++) FACET_TRY(check_pair(r, i, j));
  FACET_TRY(check_sequences(r, sequences));
  FACET_TRY(index_roles(r, root));
  return facet_schema_text_hash(schema, &schema->hash);
}

static facet_status schema_from_document(const char *path, const facet_yaml *document, facet_schema **out) {
  facet_arena *arena = NULL;
  *out = NULL;
  FACET_TRY(facet_arena_create(&arena));
  facet_status status = FACET_ERROR_INTERNAL;
  facet_schema *schema = facet_arena_alloc(arena, 1, sizeof *schema);
  if (!schema) goto done;
  reader r = {.schema = schema};
  schema->arena = arena;
  if (!(schema->path = facet_arena_strdup(arena, path))) goto done;
  FACET_TRY_GOTO(status, done, read_schema(&r, facet_yaml_root(document)));
  *out = schema;
done:
  if (status != FACET_OK) facet_arena_destroy(&arena);
  return status;
}

facet_status facet_schema_load(const char *path, facet_schema **schema) {
  facet_yaml *document = NULL;
  *schema = NULL;
  FACET_TRY(facet_yaml_load(path, FACET_ERROR_DATA, &document));
  const facet_status status = schema_from_document(path, document, schema);
  facet_yaml_destroy(&document);
  return status;
}

facet_status facet_schema_parse(const char *name, const char *text, facet_schema **schema) {
  facet_yaml *document = NULL;
  *schema = NULL;
  FACET_TRY(facet_yaml_parse(name, text, strlen(text), FACET_ERROR_DATA, &document));
  const facet_status status = schema_from_document(name, document, schema);
  facet_yaml_destroy(&document);
  return status;
}

void facet_schema_destroy(facet_schema **schema) {
  if (!*schema) return;
  facet_arena *arena = (*schema)->arena; /* holds the schema itself */
  *schema = NULL;
  facet_arena_destroy(&arena);
}

int facet_schema_feature(const facet_schema *schema, const char *name) {
  for (int i = 0; i < schema->n_features; i++)
    if (!strcmp(schema->features[i].name, name)) return i;
  return -1;
}

int facet_schema_sequence(const facet_schema *schema, const char *name) {
  for (int i = 0; i < schema->n_sequences; i++)
    if (!strcmp(schema->sequences[i].name, name)) return i;
  return -1;
}

int facet_schema_vocabulary(const facet_schema *schema, const char *name) {
  for (int i = 0; i < schema->n_vocabularies; i++)
    if (!strcmp(schema->vocabularies[i].name, name)) return i;
  return -1;
}
