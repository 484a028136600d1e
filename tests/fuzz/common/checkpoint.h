/* A checkpoint of a small model with every kind of thing that one holds. */
#ifndef FACET_TESTS_FUZZ_CHECKPOINT_H
#define FACET_TESTS_FUZZ_CHECKPOINT_H

#include "facet/checkpoint.h"

typedef struct fuzz_checkpoint {
  facet_config config; /* its data set holds vocab/item.h5 */
  facet_schema *schema;
  facet_parameters *parameters;
  facet_graph *graph;
  facet_optimizer *optimizer;
  facet_train_state state;
  double log_sums[2];
  facet_checkpoint checkpoint;
  char path[FACET_PATH_MAX]; /* its directory */
} fuzz_checkpoint;

/* Builds the model and writes its checkpoint into the private directory. */
void fuzz_checkpoint_create(fuzz_checkpoint *c);
void fuzz_checkpoint_destroy(fuzz_checkpoint *c);

#endif
