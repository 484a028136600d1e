/* The schema of a data set (schema.yaml): what each feature is, where it is stored and how it enters a model.
 *
 *   facet_schema: 1
 *   name: ml-100k
 *   embedding_width: 8                   # default width of embeddings
 *   vocabularies:                        # id spaces; id 0 is padding, id 1 is unknown
 *     user: {size: 945}                  # size counts both; tokens are in vocab/user.h5
 *     item: {size: 1684}
 *     genre: {size: 21}
 *     zip: {hash: 10000}                 # no vocabulary file: id = 2 + XXH3(token) mod (10000 − 2)
 *   features:                            # one value per sample, in this order
 *     label:   {role: label}             # float, 0 or 1
 *     weight:  {role: weight}            # float ≥ 0 (optional)
 *     time:    {role: time}              # int64 seconds since 1970, ≥ 0 (optional)
 *     session: {role: group}             # int64; groups of GAUC (optional; default: the user's id)
 *     user_id: {role: user, vocabulary: user}
 *     age:     {role: user, vocabulary: age, join: user_id}                  # column `age` of table `user`
 *     item_id: {role: item, vocabulary: item}
 *     genres:  {role: item, vocabulary: genre, join: item_id, bag: 6, pooling: mean}
 *     image:   {role: item, type: float, length: 64, join: item_id}          # float vector
 *     hour:    {role: context, vocabulary: hour, width: 4}
 *     price:   {role: context, type: float}
 *   sequences:                           # role behaviour
 *     history:
 *       max_length: 50                   # longest window stored
 *       features:
 *         item_id: {vocabulary: item}    # named history.item_id
 *         genres:  {vocabulary: genre, join: item_id, bag: 6}
 *         age_of_event: {type: float}
 *         time:    {role: time}          # int64 seconds of the event, not decreasing in a window (optional)
 *
 * A feature is stored with the sample or the event, unless `join` names a single-valued id feature of the same scope:
 * then its value is row `id` of column `column` (default: the feature's name) of the attribute table named like that
 * feature's vocabulary (tables.h5). Names have 1 to 64 letters, digits, _ or - and are not null or -. `embedding`
 * (default: the vocabulary's name) says which features share one embedding table; they must agree in vocabulary and
 * width. A bag holds at most `bag` values per sample or event. */
#ifndef FACET_SCHEMA_H
#define FACET_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facet/status.h"

#define FACET_ID_PADDING 0
#define FACET_ID_UNKNOWN 1
#define FACET_ID_FIRST 2

typedef enum facet_role {
  FACET_ROLE_LABEL,
  FACET_ROLE_WEIGHT,
  FACET_ROLE_USER,
  FACET_ROLE_ITEM,
  FACET_ROLE_CONTEXT,
  FACET_ROLE_BEHAVIOUR, /* every feature of a sequence but its time */
  FACET_ROLE_GROUP,
  FACET_ROLE_TIME /* of the sample, or in a sequence of its events */
} facet_role;

typedef enum facet_feature_type {
  FACET_FEATURE_ID,    /* int32 ids of a vocabulary; of a hashed one the ids, not the tokens */
  FACET_FEATURE_FLOAT, /* float32 scalar or vector */
  FACET_FEATURE_INT64  /* group, time and the time of events: not given to a model */
} facet_feature_type;

typedef enum facet_pooling { FACET_POOLING_MEAN, FACET_POOLING_SUM } facet_pooling;

typedef struct facet_vocabulary_info {
  const char *name;
  int64_t size; /* ids are 0 … size − 1 */
  bool hashed;
} facet_vocabulary_info;

typedef struct facet_feature {
  const char *name;   /* "item_id"; in a sequence "history.item_id" */
  const char *column; /* data set in the shard's group, or column of the attribute table */
  facet_role role;
  facet_feature_type type;
  int sequence;          /* index of its sequence; −1: one value per sample */
  int vocabulary;        /* index; −1 unless type is ID */
  int join;              /* index of the id feature of the same scope whose attribute table holds it; −1: stored */
  const char *embedding; /* name of the embedding table; NULL unless type is ID */
  int64_t width;         /* embedding width; 0 unless type is ID */
  facet_pooling pooling; /* of a bag */
  int64_t bag;           /* most values per bag; 0: single-valued */
  int64_t length;        /* elements of a float vector; 1 for scalars and ids */
} facet_feature;

typedef struct facet_sequence {
  const char *name;
  int64_t max_length;
} facet_sequence;

typedef struct facet_schema { /* read-only after loading */
  const char *path;           /* for messages */
  const char *name;
  int n_vocabularies;
  facet_vocabulary_info *vocabularies;
  int n_features;
  facet_feature *features;
  int n_sequences;
  facet_sequence *sequences;
  int label, weight, time, group; /* feature indices; −1 where absent (label is required) */
  int user;                       /* the first stored id feature of role user; −1 if there is none */
  int item;                       /* the first stored id feature of role item; −1 if there is none */
  /* Of names, longest windows, columns, roles, types, vocabularies' names, hash sizes, joins, bags and lengths; not of
   * sizes of vocabularies, widths, poolings and embeddings. */
  uint64_t hash;
  struct facet_arena *arena;
} facet_schema;

/* Loads and checks a schema; errors are FACET_ERROR_DATA with line, column and what was expected. */
facet_status facet_schema_load(const char *path, facet_schema **schema);
facet_status facet_schema_parse(const char *name, const char *text, facet_schema **schema);
void facet_schema_destroy(facet_schema **schema);

/* Writes the schema as YAML that loads back to the same schema (converters, checkpoints). */
facet_status facet_schema_write(const facet_schema *schema, const char *path);
/* The same text in memory, 0-terminated; the caller frees *text with facet_memory_free. */
facet_status facet_schema_format(const facet_schema *schema, char **text, size_t *n_bytes);

/* Index of a feature, sequence or vocabulary by name; −1 if there is none. */
int facet_schema_feature(const facet_schema *schema, const char *name);
int facet_schema_sequence(const facet_schema *schema, const char *name);
int facet_schema_vocabulary(const facet_schema *schema, const char *name);

/* Describes the first difference in what the hash covers, as "feature item_id: type id against float"; false if there
 * is none. For messages when a shard, checkpoint or second data set does not match. */
bool facet_schema_difference(const facet_schema *a, const facet_schema *b, char *text, size_t n_bytes);

const char *facet_role_name(facet_role role);
const char *facet_feature_type_name(facet_feature_type type);

#endif
