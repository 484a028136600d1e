/* What the writers, readers and verifiers of shards, attribute tables and vocabularies share. */
#ifndef FACET_SHARD_FORMAT_H
#define FACET_SHARD_FORMAT_H

#include "data/column.h"
#include "data/hdf5.h"
#include "facet/schema.h"
#include "facet/shard.h"

#define FACET_SHARD_VERSION 1
#define FACET_TABLES_VERSION 1
#define FACET_VOCABULARY_VERSION 1
#define FACET_SHARD_MAX_NAME 256 /* "/events/<seq>/<column>/offsets" with names of at most 64 bytes */

/* The type that a feature's values are written with. */
facet_hdf5_type facet_shard_stored_type(const facet_feature *feature);

struct facet_shard {
  const facet_schema *schema;
  char *path;
  int64_t n_samples;
  int64_t *n_events;      /* [n_sequences] */
  facet_column **values;  /* [n_features] NULL for joined ones */
  facet_column **offsets; /* [n_features] of bags; NULL for others */
  facet_column **starts;  /* [n_sequences] */
  facet_column **lengths; /* [n_sequences] */
  facet_mapping *mapping;
};

#endif
