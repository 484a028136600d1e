/* A data set split: schema, attribute tables and all parts, as one sequence of rows 0 … n − 1. */
#ifndef FACET_DATASET_H
#define FACET_DATASET_H

#include <stdint.h>

#include "facet/schema.h"
#include "facet/shard.h"
#include "facet/status.h"

typedef struct facet_dataset facet_dataset;

/* Opens <path>/schema.yaml, tables.h5 (where a feature joins) and <path>/<split>/part-*.h5. Missing numbers between
 * parts, an empty split and a part that does not match the schema are errors. */
facet_status facet_dataset_open(const char *path, const char *split, facet_dataset **dataset);
void facet_dataset_close(facet_dataset **dataset);

const facet_schema *facet_dataset_schema(const facet_dataset *dataset);
const char *facet_dataset_path(const facet_dataset *dataset);
const char *facet_dataset_split(const facet_dataset *dataset);
int64_t facet_dataset_n_samples(const facet_dataset *dataset);
int facet_dataset_n_parts(const facet_dataset *dataset);
facet_shard *facet_dataset_part(const facet_dataset *dataset, int part);

/* Number of parts in the directory of a split: part-00000.h5, part-00001.h5, … A gap between them, or none at all, is an
 * error; what a writer left unfinished is skipped. */
facet_status facet_dataset_count_parts(const char *directory, int *n_parts);

/* Part that holds a row, and the row's index in it. */
int facet_dataset_locate(const facet_dataset *dataset, int64_t row, int64_t *row_in_part);

/* Attribute table column of a joined feature, in memory. */
typedef struct facet_attribute {
  int64_t n_rows;         /* ids of the joining feature's vocabulary */
  const int32_t *ids;     /* [n_rows], or bag values; NULL for floats */
  int32_t largest_id;     /* of ids */
  const int64_t *offsets; /* bags: [n_rows + 1]; NULL otherwise */
  const float *floats;    /* [n_rows × length]; NULL for ids */
} facet_attribute;
const facet_attribute *facet_dataset_attribute(const facet_dataset *dataset, int feature); /* NULL unless joined */

#endif
