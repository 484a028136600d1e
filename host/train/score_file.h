/* Files of scores: one line or row per sample, in shard order, with
 *   row          int64    row of the split
 *   label        float32
 *   group        int64    the schema's group feature, else the user's id, else 0
 *   logit        float32
 *   probability  float32  σ(logit), corrected for negative sampling: p / (p + (1 − p)/w)
 * FILE.h5 holds one data set of each name and the attributes facet_format = "scores", facet_version; FILE.tsv and
 * FILE.csv begin with a header line. Written beside, then renamed: the file is whole or absent. */
#ifndef FACET_TRAIN_SCORE_FILE_H
#define FACET_TRAIN_SCORE_FILE_H

#include <stdint.h>

#include "facet/batch.h"
#include "facet/status.h"

typedef struct facet_score_file facet_score_file;

/* The ending of `path` decides the format (FACET_ERROR_USAGE if it is none of the three); n is the number of samples. */
facet_status facet_score_file_create(const char *path, int64_t n, double negative_sampling_rate,
                                     facet_score_file **file);
/* A facet_score_sink: appends the samples of a batch. */
facet_status facet_score_file_append(void *file, const facet_batch *batch, const facet_real *logit);
/* Makes the file durable under its name. */
facet_status facet_score_file_finish(facet_score_file *file);
/* Without finish nothing is left on disk. */
void facet_score_file_destroy(facet_score_file **file);

#endif
