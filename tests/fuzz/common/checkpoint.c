#include "checkpoint.h"

#include <math.h>
#include <stdio.h>

#include "data_set.h"
#include "facet/model.h"
#include "fuzz.h"

static const facet_option no_options[] = {{0}};
static const facet_model model = {.name = "small", .options = {"model", "", no_options, 0}};

static const char schema_text[] =
    "facet_schema: 1\nname: small\nembedding_width: 4\nvocabularies:\n  item: {size: 7}\n  zip: {hash: 9}\n"
    "features:\n  label: {role: label}\n  item_id: {role: item, vocabulary: item}\n"
    "  zip: {role: user, vocabulary: zip, width: 2}\n";

static void declare(fuzz_checkpoint *c) {
  const facet_init normal = {FACET_INIT_NORMAL, 1};
  FUZZ_MUST(facet_parameters_create(&c->parameters));
  FUZZ_MUST(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 2, 0, c->parameters, &c->graph));
  const bool made =
      facet_graph_parameter(c->graph, "mlp.0.weight", facet_shape_make(2, (int64_t)4, (int64_t)3), normal, true) &&
      facet_graph_parameter(c->graph, "scale", facet_shape_make(0), normal, false) &&
      facet_graph_state(c->graph, "norm.variance", facet_shape_make(1, (int64_t)3), normal) &&
      facet_graph_table(c->graph, "item", 7, 4, normal) && facet_graph_table(c->graph, "zip", 9, 2, normal);
  FUZZ_CHECK(made, "the model cannot be declared");
  FUZZ_MUST(facet_parameters_allocate(c->parameters, 7, true));
  for (int i = 0; i < 2; i++) FUZZ_MUST(facet_table_reserve(facet_parameters_table(c->parameters, i), 8, 1));
  FUZZ_MUST(facet_optimizer_create(&c->config.optimizer, c->parameters, &c->optimizer));
}

void fuzz_checkpoint_create(fuzz_checkpoint *c) {
  *c = (fuzz_checkpoint){.config = {.model = &model}, .state = {.step = 3, .plateau_factor = 1, .best_metric = NAN}};
  FUZZ_MUST(facet_path_format(c->config.data_path, "%s", fuzz_path("data")));
  FUZZ_MUST(facet_directory_create(fuzz_path("data/vocab")));
  fuzz_vocabulary_write(fuzz_path("data/vocab/item.h5"));
  c->config.optimizer = (facet_optimizer_options){.dense = FACET_OPTIMIZER_ADAM, .sparse = FACET_SPARSE_LAZY_ADAM};
  FUZZ_MUST(facet_schema_parse("small", schema_text, &c->schema));
  declare(c);
  c->checkpoint = (facet_checkpoint){.config = &c->config,
                                     .schema = c->schema,
                                     .parameters = c->parameters,
                                     .optimizer = c->optimizer,
                                     .state = &c->state,
                                     .log_sums = c->log_sums,
                                     .n_log_sums = 2};
  FUZZ_MUST(facet_checkpoint_write(fuzz_path("run"), &c->checkpoint));
  FUZZ_MUST(facet_path_format(c->path, "%s", fuzz_path("run/checkpoints/step-00000003")));
}

void fuzz_checkpoint_destroy(fuzz_checkpoint *c) {
  facet_optimizer_destroy(&c->optimizer);
  facet_graph_destroy(&c->graph);
  facet_parameters_destroy(&c->parameters);
  facet_schema_destroy(&c->schema);
}
