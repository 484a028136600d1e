/* Models: lookup by name, and building one program. */
#include "facet/model.h"

#include <string.h>

#include "facet/registry.h"
#include "graph/graph_internal.h"

const facet_model *facet_model_find(const char *name) {
  for (int i = 0; facet_registry_models[i]; i++)
    if (strcmp(facet_registry_models[i]->name, name) == 0) return facet_registry_models[i];
  return NULL;
}

/* What every program of a model must have. */
static facet_status check_program(const facet_model *model, const facet_graph *graph) {
  const char *program = facet_program_name(graph->program);
  FACET_CHECK(graph->program == FACET_PROGRAM_SERVE || graph->losses.n > 0, FACET_ERROR_USAGE,
              "models/%s.c: program %s has no loss; call facet_graph_loss", model->name, program);
  for (int i = 0; i < graph->outputs.n; i++)
    if (strcmp(graph->outputs.item[i].name, "logit") == 0) return FACET_OK;
  FACET_FAIL(FACET_ERROR_USAGE, "models/%s.c: program %s has no output \"logit\"; call facet_graph_output", model->name,
             program);
}

facet_status facet_model_build(const facet_model *model, const void *options, facet_program program,
                               const facet_schema *schema, int64_t batch_size, int64_t max_length,
                               facet_parameters *parameters, facet_graph **out) {
  facet_graph *graph = NULL;
  facet_status status = FACET_OK;
  FACET_TRY(facet_graph_create(program, schema, batch_size, max_length, parameters, &graph));
  facet_graph_set_model(graph, model->name);
  FACET_TRY_GOTO(status, fail, model->build(graph, schema, options));
  FACET_TRY_GOTO(status, fail, facet_graph_status(graph));
  FACET_TRY_GOTO(status, fail, check_program(model, graph));
  *out = graph;
  return FACET_OK;
fail:
  facet_graph_destroy(&graph);
  return status;
}
