/* A small data set with every kind of column: schema.yaml, tables.h5, vocab/item.h5, train/part-00000.h5. */
#ifndef FACET_TESTS_FUZZ_DATA_SET_H
#define FACET_TESTS_FUZZ_DATA_SET_H

#include "facet/schema.h"

/* Writes it to `directory`. The caller destroys the schema. */
facet_schema *fuzz_data_set_write(const char *directory);

/* Writes the vocabulary of seven items. */
void fuzz_vocabulary_write(const char *path);

#endif
