/* Tokens ↔ ids: tokens one behind the other in memory, and an open-addressing hash table of hashes and ids. */
#include "facet/vocabulary.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/hdf5.h"
#include "data/shard_format.h"
#include "facet/file.h"
#include "facet/memory.h"
#include "facet/schema.h"

#define AHEAD 32 /* tokens that are looked up side by side */

typedef struct hash_slot {
  int32_t id;    /* 0: empty */
  uint32_t hash; /* low half of the token's XXH3 */
} hash_slot;

struct facet_vocabulary {
  char *name;
  int64_t n_tokens; /* token t has id t + FACET_ID_FIRST */
  char *bytes;      /* tokens, each followed by a 0 byte */
  size_t bytes_capacity;
  int64_t *offset; /* [n_tokens + 1] of the tokens in bytes, including the 0 bytes */
  size_t offset_capacity;
  hash_slot *slot; /* [n_slots] a power of two ≥ 2 · n_tokens */
  uint64_t n_slots;
};

facet_status facet_vocabulary_create(const char *name, facet_vocabulary **out) {
  facet_vocabulary *vocabulary;
  *out = NULL;
  FACET_TRY(FACET_ALLOC(vocabulary, 1, "vocabulary"));
  facet_status status = FACET_ERROR_INTERNAL;
  if (!(vocabulary->name = facet_memory_strdup(name))) goto done;
  vocabulary->n_slots = 64;
  FACET_TRY_GOTO(status, done, FACET_ALLOC(vocabulary->slot, vocabulary->n_slots, "vocabulary"));
  FACET_TRY_GOTO(status, done, FACET_GROW(vocabulary->offset, vocabulary->offset_capacity, 1, "vocabulary"));
  FACET_TRY_GOTO(status, done, FACET_GROW(vocabulary->bytes, vocabulary->bytes_capacity, 1, "vocabulary"));
  *out = vocabulary;
done:
  if (status != FACET_OK) facet_vocabulary_destroy(&vocabulary);
  return status;
}

void facet_vocabulary_destroy(facet_vocabulary **vocabulary) {
  if (!*vocabulary) return;
  facet_memory_free((*vocabulary)->name);
  facet_memory_free((*vocabulary)->bytes);
  facet_memory_free((*vocabulary)->offset);
  facet_memory_free((*vocabulary)->slot);
  facet_memory_free(*vocabulary);
  *vocabulary = NULL;
}

const char *facet_vocabulary_name(const facet_vocabulary *vocabulary) {
  return vocabulary->name;
}

int64_t facet_vocabulary_size(const facet_vocabulary *vocabulary) {
  return vocabulary->n_tokens + FACET_ID_FIRST;
}

const char *facet_vocabulary_token(const facet_vocabulary *vocabulary, int64_t id, size_t *n_bytes) {
  const char *special = id == FACET_ID_PADDING ? "<padding>" : id == FACET_ID_UNKNOWN ? "<unknown>" : NULL;
  if (special) {
    *n_bytes = strlen(special);
    return special;
  }
  const int64_t *offset = vocabulary->offset + (id - FACET_ID_FIRST);
  *n_bytes = (size_t)(offset[1] - offset[0]) - 1;
  return vocabulary->bytes + offset[0];
}

/* The slot of a token: where its id is, or the empty one where it would go. */
static hash_slot *find_slot(const facet_vocabulary *vocabulary, const char *token, size_t n_bytes, uint64_t hash) {
  const uint64_t mask = vocabulary->n_slots - 1;
  uint64_t place = hash & mask;
  for (; vocabulary->slot[place].id; place = (place + 1) & mask) {
    size_t n_stored;
    if (vocabulary->slot[place].hash != (uint32_t)hash) continue;
    const char *stored = facet_vocabulary_token(vocabulary, vocabulary->slot[place].id, &n_stored);
    if (n_stored == n_bytes && !memcmp(stored, token, n_bytes)) break;
  }
  return &vocabulary->slot[place];
}

int64_t facet_vocabulary_find(const facet_vocabulary *vocabulary, const char *token, size_t n_bytes) {
  const int32_t id = find_slot(vocabulary, token, n_bytes, facet_hash64(token, n_bytes))->id;
  return id ? id : FACET_ID_UNKNOWN;
}

/* Doubles the hash table. Half a hash is enough: a table of more than 2³² slots is never needed for int32 ids. */
static facet_status rehash(facet_vocabulary *vocabulary) {
  hash_slot *slots;
  const uint64_t n_slots = 2 * vocabulary->n_slots;
  FACET_TRY(FACET_ALLOC(slots, n_slots, "hash table of a vocabulary"));
  for (uint64_t i = 0; i < vocabulary->n_slots; i++) {
    const hash_slot old = vocabulary->slot[i];
    uint64_t place = old.hash & (n_slots - 1);
    while (old.id && slots[place].id) place = (place + 1) & (n_slots - 1);
    if (old.id) slots[place] = old;
  }
  facet_memory_free(vocabulary->slot);
  vocabulary->slot = slots;
  vocabulary->n_slots = n_slots;
  return FACET_OK;
}

static facet_status add_hashed(facet_vocabulary *vocabulary, const char *token, size_t n_bytes, uint64_t hash,
                               int64_t *id) {
  *id = FACET_ID_UNKNOWN;
  if (n_bytes == 0) return FACET_OK;
  FACET_CHECK(n_bytes <= FACET_VOCABULARY_MAX_TOKEN_BYTES, FACET_ERROR_DATA,
              "vocabulary %s: a token of %zu bytes, expected at most %zu", vocabulary->name, n_bytes,
              FACET_VOCABULARY_MAX_TOKEN_BYTES);
  hash_slot *slot = find_slot(vocabulary, token, n_bytes, hash);
  if (slot->id) {
    *id = slot->id;
    return FACET_OK;
  }
  const int64_t t = vocabulary->n_tokens;
  FACET_CHECK(t + FACET_ID_FIRST < INT32_MAX, FACET_ERROR_DATA, "vocabulary %s: more than %d tokens", vocabulary->name,
              INT32_MAX - FACET_ID_FIRST);
  if (2 * (uint64_t)(t + 1) > vocabulary->n_slots) {
    FACET_TRY(rehash(vocabulary));
    slot = find_slot(vocabulary, token, n_bytes, hash);
  }
  const size_t end = (size_t)vocabulary->offset[t];
  FACET_TRY(FACET_GROW(vocabulary->bytes, vocabulary->bytes_capacity, end + n_bytes + 1, "tokens of a vocabulary"));
  FACET_TRY(FACET_GROW(vocabulary->offset, vocabulary->offset_capacity, t + 2, "tokens of a vocabulary"));
  memcpy(vocabulary->bytes + end, token, n_bytes);
  vocabulary->bytes[end + n_bytes] = 0;
  vocabulary->offset[t + 1] = (int64_t)(end + n_bytes + 1);
  *slot = (hash_slot){.id = (int32_t)(t + FACET_ID_FIRST), .hash = (uint32_t)hash};
  vocabulary->n_tokens = t + 1;
  *id = t + FACET_ID_FIRST;
  return FACET_OK;
}

facet_status facet_vocabulary_add(facet_vocabulary *vocabulary, const char *token, size_t n_bytes, int64_t *id) {
  return add_hashed(vocabulary, token, n_bytes, facet_hash64(token, n_bytes), id);
}

/* Slot, offset and bytes of a token lie anywhere in memory: each is asked for while those of the others arrive. */
facet_status facet_vocabulary_add_many(facet_vocabulary *vocabulary, const facet_token *tokens, int64_t n,
                                       int64_t *ids) {
  uint64_t hash[AHEAD];
  int64_t known[AHEAD]; /* likely token, −1: a new one */
  for (int64_t first = 0; first < n; first += AHEAD) {
    const int64_t count = n - first < AHEAD ? n - first : AHEAD;
    const facet_token *token = tokens + first;
    const uint64_t mask = vocabulary->n_slots - 1;
    for (int64_t i = 0; i < count; i++) {
      hash[i] = facet_hash64(token[i].text, token[i].n_bytes);
      __builtin_prefetch(&vocabulary->slot[hash[i] & mask]);
    }
    for (int64_t i = 0; i < count; i++) {
      const hash_slot *slot = &vocabulary->slot[hash[i] & mask];
      known[i] = slot->id && slot->hash == (uint32_t)hash[i] ? slot->id - FACET_ID_FIRST : -1;
      if (known[i] >= 0) __builtin_prefetch(&vocabulary->offset[known[i]]);
    }
    for (int64_t i = 0; i < count; i++)
      if (known[i] >= 0) __builtin_prefetch(vocabulary->bytes + vocabulary->offset[known[i]]);
    for (int64_t i = 0; i < count; i++)
      FACET_TRY(add_hashed(vocabulary, token[i].text, token[i].n_bytes, hash[i], &ids[first + i]));
  }
  return FACET_OK;
}

int32_t facet_vocabulary_hash(const char *token, size_t n_bytes, int64_t size) {
  if (n_bytes == 0) return FACET_ID_UNKNOWN;
  return (int32_t)(FACET_ID_FIRST + (int64_t)(facet_hash64(token, n_bytes) % (uint64_t)(size - FACET_ID_FIRST)));
}

uint64_t facet_vocabulary_hash_prefix(const facet_vocabulary *vocabulary, int64_t size) {
  const int64_t n =
      (size < facet_vocabulary_size(vocabulary) ? size : facet_vocabulary_size(vocabulary)) - FACET_ID_FIRST;
  const uint64_t parts[] = {facet_hash64(vocabulary->name, strlen(vocabulary->name)),
                            facet_hash64(vocabulary->bytes, (size_t)vocabulary->offset[n]),
                            facet_hash64(vocabulary->offset, (size_t)(n + 1) * sizeof(int64_t))};
  return facet_hash64(parts, sizeof parts);
}

/* ---- files --------------------------------------------------------------------------------------------------- */

/* Writes /offsets and /bytes; the tokens in memory have a 0 byte more each. */
static facet_status write_tokens(const facet_vocabulary *vocabulary, hid_t file) {
  const int64_t n = vocabulary->n_tokens, n_offsets = n + 1, n_bytes = vocabulary->offset[n] - n;
  int64_t *offsets = NULL;
  uint8_t *bytes = NULL;
  facet_status status;
  FACET_TRY_GOTO(status, done, FACET_ALLOC(offsets, n_offsets, "offsets of a vocabulary"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(bytes, n_bytes, "bytes of a vocabulary"));
  for (int64_t t = 0; t <= n; t++) offsets[t] = vocabulary->offset[t] - t;
  for (int64_t t = 0; t < n; t++)
    memcpy(bytes + offsets[t], vocabulary->bytes + vocabulary->offset[t], (size_t)(offsets[t + 1] - offsets[t]));
  FACET_TRY_GOTO(status, done, facet_hdf5_write(file, "offsets", FACET_HDF5_INT64, 1, &n_offsets, offsets));
  FACET_TRY_GOTO(status, done, facet_hdf5_write(file, "bytes", FACET_HDF5_UINT8, 1, &n_bytes, bytes));
done:
  facet_memory_free(offsets);
  facet_memory_free(bytes);
  return status;
}

static facet_status fill_file(hid_t file, const void *context) {
  const facet_vocabulary *vocabulary = context;
  const int64_t size = facet_vocabulary_size(vocabulary);
  FACET_TRY(facet_hdf5_set_format(file, "vocabulary", FACET_VOCABULARY_VERSION));
  FACET_TRY(facet_hdf5_set_string(file, "name", vocabulary->name));
  FACET_TRY(facet_hdf5_set_int64(file, "size", size));
  FACET_TRY(facet_hdf5_set_uint64(file, "hash", facet_vocabulary_hash_prefix(vocabulary, size)));
  return write_tokens(vocabulary, file);
}

facet_status facet_vocabulary_save(const facet_vocabulary *vocabulary, const char *path) {
  return facet_hdf5_write_file(path, fill_file, vocabulary);
}

/* Adds all tokens; checks that offsets cover bytes[n_bytes] in order and that no token is empty or twice there. */
static facet_status add_tokens(facet_vocabulary *vocabulary, const char *path, const int64_t *offsets, int64_t n,
                               const uint8_t *bytes, int64_t n_bytes) {
  FACET_CHECK(offsets[0] == 0 && offsets[n] == n_bytes, FACET_ERROR_DATA,
              "%s: /offsets runs from %" PRId64 " to %" PRId64 ", expected 0 to %" PRId64, path, offsets[0], offsets[n],
              n_bytes);
  for (int64_t t = 0; t < n; t++) {
    int64_t id;
    FACET_CHECK(offsets[t] >= 0 && offsets[t] < offsets[t + 1] && offsets[t + 1] <= n_bytes, FACET_ERROR_DATA,
                "%s: /offsets row %" PRId64 ": %" PRId64 " is not below the next value %" PRId64, path, t, offsets[t],
                offsets[t + 1]);
    FACET_TRY(
        facet_vocabulary_add(vocabulary, (const char *)bytes + offsets[t], (size_t)(offsets[t + 1] - offsets[t]), &id));
    FACET_CHECK(id == t + FACET_ID_FIRST, FACET_ERROR_DATA,
                "%s: token %" PRId64 " equals token %" PRId64 ", expected different tokens", path, t + FACET_ID_FIRST,
                id);
  }
  return FACET_OK;
}

static facet_status read_tokens(facet_vocabulary *vocabulary, const char *path, hid_t file, int64_t size) {
  facet_hdf5_type type;
  int rank;
  int64_t n_bytes[FACET_HDF5_MAX_RANK];
  int64_t *offsets = NULL;
  uint8_t *bytes = NULL;
  const int64_t n = size - FACET_ID_FIRST, n_offsets = n + 1;
  FACET_CHECK(size >= FACET_ID_FIRST && size <= INT32_MAX, FACET_ERROR_DATA,
              "%s: attribute size is %" PRId64 ", expected %d to %d", path, size, FACET_ID_FIRST, INT32_MAX);
  FACET_TRY(facet_hdf5_shape(file, "offsets", &type, &rank, n_bytes));
  FACET_CHECK(rank == 1 && n_bytes[0] == n_offsets, FACET_ERROR_DATA, "%s: /offsets: expected %" PRId64 " rows", path,
              n_offsets);
  FACET_TRY(facet_hdf5_shape(file, "bytes", &type, &rank, n_bytes));
  FACET_CHECK(rank == 1, FACET_ERROR_DATA, "%s: /bytes has %d dimensions, expected 1", path, rank);
  facet_status status;
  FACET_TRY_GOTO(status, done, FACET_ALLOC(offsets, n_offsets, "offsets of a vocabulary"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(bytes, n_bytes[0], "bytes of a vocabulary"));
  FACET_TRY_GOTO(status, done, facet_hdf5_read(file, "offsets", FACET_HDF5_INT64, 1, &n_offsets, offsets));
  FACET_TRY_GOTO(status, done, facet_hdf5_read(file, "bytes", FACET_HDF5_UINT8, 1, n_bytes, bytes));
  FACET_TRY_GOTO(status, done, add_tokens(vocabulary, path, offsets, n, bytes, n_bytes[0]));
done:
  facet_memory_free(offsets);
  facet_memory_free(bytes);
  return status;
}

/* Files that other programs wrote may lack the hash. */
static facet_status check_hash(const facet_vocabulary *vocabulary, const char *path, hid_t file) {
  uint64_t stored;
  if (!facet_hdf5_has_attribute(file, "hash")) return FACET_OK;
  FACET_TRY(facet_hdf5_get_uint64(file, "hash", &stored));
  const uint64_t hash = facet_vocabulary_hash_prefix(vocabulary, facet_vocabulary_size(vocabulary));
  FACET_CHECK(stored == hash, FACET_ERROR_DATA,
              "%s: its tokens have hash %016" PRIx64 ", attribute hash is %016" PRIx64, path, hash, stored);
  return FACET_OK;
}

facet_status facet_vocabulary_load(const char *path, facet_vocabulary **vocabulary) {
  hid_t file = -1;
  char name[256];
  int64_t size;
  facet_status status;
  *vocabulary = NULL;
  FACET_TRY_GOTO(status, done, facet_hdf5_open(path, &file));
  FACET_TRY_GOTO(status, done, facet_hdf5_check_format(file, "vocabulary", FACET_VOCABULARY_VERSION));
  FACET_TRY_GOTO(status, done, facet_hdf5_get_string(file, "name", name, sizeof name));
  FACET_TRY_GOTO(status, done, facet_hdf5_get_int64(file, "size", &size));
  FACET_TRY_GOTO(status, done, facet_vocabulary_create(name, vocabulary));
  FACET_TRY_GOTO(status, done, read_tokens(*vocabulary, path, file, size));
  FACET_TRY_GOTO(status, done, check_hash(*vocabulary, path, file));
done:
  if (status != FACET_OK) facet_vocabulary_destroy(vocabulary);
  facet_hdf5_discard(&file);
  return status;
}
