/* A vocabulary: tokens (byte strings) ↔ ids. Id 0 is padding, id 1 unknown; tokens have ids from 2 in order of adding.
 *
 * File vocab/<name>.h5: attributes facet_format = "vocabulary", facet_version, name, size, hash (optional uint64,
 * facet_vocabulary_hash_prefix of all ids); data sets /offsets int64 [size − 1] and /bytes uint8: token of id i is
 * bytes[offsets[i−2] … offsets[i−1]). */
#ifndef FACET_VOCABULARY_H
#define FACET_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include "facet/status.h"

typedef struct facet_vocabulary facet_vocabulary;

facet_status facet_vocabulary_create(const char *name, facet_vocabulary **vocabulary);
void facet_vocabulary_destroy(facet_vocabulary **vocabulary);
facet_status facet_vocabulary_load(const char *path, facet_vocabulary **vocabulary);
facet_status facet_vocabulary_save(const facet_vocabulary *vocabulary, const char *path);

const char *facet_vocabulary_name(const facet_vocabulary *vocabulary);
int64_t facet_vocabulary_size(const facet_vocabulary *vocabulary); /* counts padding and unknown: ids are < size */
int64_t facet_vocabulary_find(const facet_vocabulary *vocabulary, const char *token, size_t n_bytes); /* 1 if unknown */
/* The id of a token, which is added if it is new; FACET_ID_UNKNOWN for an empty one. */
facet_status facet_vocabulary_add(facet_vocabulary *vocabulary, const char *token, size_t n_bytes, int64_t *id);

#define FACET_VOCABULARY_MAX_TOKEN_BYTES ((size_t)1 << 20)

typedef struct facet_token {
  const char *text;
  size_t n_bytes;
} facet_token;

/* The same for n tokens one after the other, with their waits for memory overlapped: three times faster where the
 * vocabulary is larger than the caches. */
facet_status facet_vocabulary_add_many(facet_vocabulary *vocabulary, const facet_token *tokens, int64_t n,
                                       int64_t *ids);

/* The token of an id; "<padding>" and "<unknown>" for 0 and 1. Owned by the vocabulary, 0-terminated. */
const char *facet_vocabulary_token(const facet_vocabulary *vocabulary, int64_t id, size_t *n_bytes);

/* Id of a token in a hashed vocabulary of `size` ids: 2 + XXH3(token) mod (size − 2); empty tokens give 1. */
int32_t facet_vocabulary_hash(const char *token, size_t n_bytes, int64_t size);

/* Hash of names and tokens, saved in checkpoints so that a changed vocabulary is noticed. A vocabulary that was only
 * extended has the old one as its prefix: facet_vocabulary_hash_prefix(grown, old size) equals the old hash. */
uint64_t facet_vocabulary_hash_prefix(const facet_vocabulary *vocabulary, int64_t size);

#endif
