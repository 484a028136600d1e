/* Hashes of the vocabularies of a data set, by which a checkpoint knows what its ids mean. */
#include "data/hdf5.h"
#include "facet/file.h"
#include "facet/vocabulary.h"
#include "train/checkpoint_internal.h"

/* The attributes size and hash of a vocabulary file; 0 where an older or foreign file lacks them. */
static facet_status read_attributes(const char *path, int64_t *size, uint64_t *hash) {
  FACET_HDF5_GUARD;
  hid_t file;
  facet_status status = FACET_OK;
  *size = 0;
  *hash = 0;
  FACET_TRY(facet_hdf5_open(path, &file));
  if (facet_hdf5_has_attribute(file, "hash")) {
    status = facet_hdf5_get_int64(file, "size", size);
    if (status == FACET_OK) status = facet_hdf5_get_uint64(file, "hash", hash);
  }
  facet_hdf5_discard(&file);
  return status;
}

facet_status checkpoint_vocabulary_hash(const char *data_path, const char *name, int64_t size, uint64_t *hash) {
  char path[FACET_PATH_MAX];
  int64_t stored_size;
  facet_vocabulary *vocabulary;
  *hash = 0;
  FACET_TRY(facet_path_format(path, "%s/vocab/%s.h5", data_path, name));
  if (!facet_file_exists(path)) return FACET_OK;
  FACET_TRY(read_attributes(path, &stored_size, hash));
  if (stored_size == size) return FACET_OK;
  FACET_TRY(facet_vocabulary_load(path, &vocabulary));
  *hash = facet_vocabulary_hash_prefix(vocabulary, size);
  facet_vocabulary_destroy(&vocabulary);
  return FACET_OK;
}
