/* Mean pooling: every feature of the sample, and the mean of every history, through a multi-layer perceptron.
 *
 *   x      = [embeddings of user, item and context ids; BN(floats); mean over each history's events]
 *   logit  = w · MLP(x) + b
 *   loss   = binary cross-entropy(logit, label)
 *
 * The mean forgets which of a user's interests the target belongs to: this is the baseline that multi-interest models
 * are compared with. */
#include "facet/blocks.h"
#include "facet/model.h"
#include "facet/ops.h"

typedef struct mean_pooling_options {
  facet_mlp_options mlp;
  double embedding_init;
} mean_pooling_options;

static const facet_option options[] = {FACET_MLP_OPTIONS(mean_pooling_options, "[256, 128]", "relu", "false"),
                                       FACET_EMBEDDING_OPTION(mean_pooling_options),
                                       {0}};

static facet_status build(facet_graph *graph, const facet_schema *schema, const void *model_options) {
  const mean_pooling_options *option = model_options;
  facet_init init = {FACET_INIT_NORMAL, option->embedding_init};

  /* inputs */
  facet_concat_list inputs = facet_concat_begin(graph, "inputs");
  facet_concat_add(&inputs, facet_block_embeddings(graph, FACET_ROLE_USER, init));
  facet_concat_add(&inputs, facet_block_embeddings(graph, FACET_ROLE_ITEM, init));
  facet_concat_add(&inputs, facet_block_embeddings(graph, FACET_ROLE_CONTEXT, init));
  facet_concat_add(&inputs, facet_block_dense(graph, FACET_NORM_EPSILON));
  for (int s = 0; s < schema->n_sequences; s++) {
    facet_concat_add(&inputs, facet_block_pooled_events(graph, s, init));
    facet_concat_add(&inputs, facet_block_pooled_event_floats(graph, s, FACET_NORM_EPSILON));
  }
  facet_tensor *x = facet_concat_end(&inputs); /* [B, n] */
  if (!x) facet_graph_fail(graph, FACET_ERROR_USAGE, "schema %s has no feature that a model reads", schema->path);

  /* hidden layers and logit */
  x = facet_block_mlp(graph, "mlp", x, &option->mlp);
  facet_tensor *logit = facet_linear(graph, "logit", x, 1, true, FACET_ACTIVATION_NONE); /* [B, 1] */
  facet_block_click(graph, logit);
  return facet_graph_status(graph);
}

const facet_model facet_model_mean_pooling = {
    .name = "mean_pooling",
    .summary = "mean-pooled histories, target, user and context through an MLP",
    .options = {.name = "model",
                .help = "Mean pooling: the baseline of multi-interest models.",
                .options = options,
                .struct_bytes = sizeof(mean_pooling_options)},
    .build = build,
};
