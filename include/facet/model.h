/* A model: its hyper-parameters and one function that builds its graph (models/<model>.c). */
#ifndef FACET_MODEL_H
#define FACET_MODEL_H

#include "facet/graph.h"
#include "facet/options.h"
#include "facet/schema.h"
#include "facet/status.h"

struct facet_model {
  const char *name;
  const char *summary;                /* one line */
  const facet_option_section options; /* the model's own keys of section "model" (besides `name`) */

  /* Builds one program (facet_graph_program tells which) into `graph`, reading the fields it wants from the schema:
   * inputs → operators → facet_graph_loss (train, evaluate) and facet_graph_output "logit" (all programs).
   * Parameters are shared between programs by name. Builders return NULL after an error and accept NULL inputs, so
   * the function reads straight through; the error is returned by facet_graph_status. */
  facet_status (*build)(facet_graph *graph, const facet_schema *schema, const void *options);
};
typedef struct facet_model facet_model;

/* The model of a name (models/<name>.c); NULL if there is none. */
const facet_model *facet_model_find(const char *name);

/* Makes the graph of one program: creates it, calls the model's build function and checks what it built. Errors name the
 * model file, the node and both shapes. On success the caller owns *graph. */
facet_status facet_model_build(const facet_model *model, const void *options, facet_program program,
                               const facet_schema *schema, int64_t batch_size, int64_t max_length,
                               facet_parameters *parameters, facet_graph **graph);

#endif
