/* What the writers of data sets share: directories, the parts of splits, vocabularies of numbers. Private to host/data. */
#ifndef FACET_DATASET_WRITER_H
#define FACET_DATASET_WRITER_H

#include "facet/shard.h"

enum { SPLIT_TRAIN, SPLIT_VALID, SPLIT_TEST, N_SPLITS };
extern const char *const split_names[N_SPLITS];

#define SPLIT_MAX_PARTS 100000 /* part-00000.h5 to part-99999.h5: their order is that of their names */

typedef struct split_writer {
  facet_shard_writer *part;                /* NULL: none is open */
  int64_t n_parts, n_samples, n_events;    /* samples and events of the present part */
  int64_t n_samples_total, n_events_total; /* of the closed parts */
} split_writer;

/* Opens the next part of a split (SPLIT_TRAIN, …) unless one is open. */
facet_status split_open_part(split_writer *writer, int split, const facet_schema *schema, const char *directory,
                             bool compress);
facet_status split_close_part(split_writer *writer);

/* The directories of the splits and of vocabularies. */
facet_status dataset_create_directories(const char *directory);

/* Writes the vocabulary of the tokens "<prefix><first>" … "<prefix><first + n − 1>". */
facet_status dataset_save_numbers(const char *directory, const char *name, const char *prefix, int64_t first,
                                  int64_t n);

#endif
