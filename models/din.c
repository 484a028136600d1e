/* DIN (Zhou et al. 2018): every behaviour is weighted by how it fits the target, and the weighted sum is the user.
 *
 *   q, k_t  = embeddings of the target, and of behaviour t, in the fields that both have       [D]
 *   a_t     = MLP([q, k_t, q − k_t, q ⊙ k_t])   the activation unit; optionally softmax over the history
 *   u       = Σ_t a_t E_t                        E_t: all embeddings of behaviour t
 *   logit   = MLP([features of the sample; u of each such sequence, the mean of the others])
 *   loss    = binary cross-entropy(logit, label)
 *
 * A field of a sequence and a field of the target belong together when they share an embedding table. docs/din.md */
#include <string.h>

#include "facet/blocks.h"
#include "facet/model.h"
#include "facet/ops.h"

typedef struct din_options {
  facet_int_list attention;
  int attention_activation;
  bool softmax;
  facet_mlp_options mlp;
  double embedding_init;
} din_options;

#define FIELD(member) .offset = offsetof(din_options, member)
static const facet_option options[] = {
    {.key = "attention",
     .type = FACET_OPTION_INT_LIST,
     FIELD(attention),
     .default_value = "[64]",
     .low = 1,
     .high = 65536,
     .help = "Widths of the activation unit's hidden layers, one at least."},
    {.key = "attention_activation",
     .type = FACET_OPTION_CHOICE,
     FIELD(attention_activation),
     .default_value = "dice",
     .choices = facet_layer_activation_names,
     .help = "Activation of the activation unit's hidden layers; dice counts the events that there are."},
    {.key = "softmax",
     .type = FACET_OPTION_BOOL,
     FIELD(softmax),
     .default_value = "false",
     .help = "The weights of a history's events are their softmax; false: as they are, so that their sum tells how "
             "much the history fits."},
    FACET_MLP_OPTIONS(din_options, "[512, 128, 64]", "relu", "false"),
    FACET_EMBEDDING_OPTION(din_options),
    {0}};

typedef struct din {
  facet_graph *graph;
  const facet_schema *schema;
  const din_options *option;
  facet_init init;     /* of embeddings */
  facet_tensor *items; /* [B, Σ widths] of the target's id features, in the order of the schema */
  bool attends;        /* some sequence shares a field with the target */
} din;

static bool is_target_id(const facet_feature *feature) {
  return feature->sequence < 0 && feature->role == FACET_ROLE_ITEM && feature->type == FACET_FEATURE_ID;
}

/* The target's embedding [B, width] from the table of a sequence's feature; NULL where the target has no such field. */
static facet_tensor *counterpart(const din *m, const facet_feature *event) {
  int64_t first = 0;
  for (int i = 0; i < m->schema->n_features; i++) {
    const facet_feature *feature = &m->schema->features[i];
    if (!is_target_id(feature)) continue;
    if (strcmp(feature->embedding, event->embedding) == 0)
      return facet_slice(m->graph, facet_graph_name(m->graph, "%s.target", event->name), m->items, first,
                         feature->width);
    first += feature->width;
  }
  return NULL;
}

/* The activation unit: the weights [B, L, 1] of the events k [B, L, D] for the target q [B, D]. */
static facet_tensor *add_attention(const din *m, int sequence, facet_tensor *q, facet_tensor *k) {
  facet_graph *g = m->graph;
  const char *name = m->schema->sequences[sequence].name;
  facet_tensor *length = facet_graph_length(g, sequence), *present = NULL, *x = k;
  if (!k) return NULL;
  if (m->option->attention_activation == FACET_LAYER_DICE)
    present =
        facet_event_valid(g, facet_graph_name(g, "%s.present", name), facet_graph_valid(g), length, k->shape.dim[1]);
  for (int64_t i = 0; i < m->option->attention.n; i++) {
    const char *layer = facet_graph_name(g, "%s.attention.%d", name, (int)i);
    const int64_t width = m->option->attention.value[i];
    x = i == 0 ? facet_pair_linear(g, layer, q, x, length, width)
               : facet_linear(g, layer, x, width, true, FACET_ACTIVATION_NONE);
    x = facet_block_activation(g, layer, x, m->option->attention_activation, present, FACET_NORM_MOMENTUM);
  }
  return facet_linear(g, facet_graph_name(g, "%s.fit", name), x, 1, true, FACET_ACTIVATION_NONE);
}

/* u of a sequence [B, Σ widths], or the mean of one that shares no field with the target; NULL where it has no ids. */
static facet_tensor *add_interest(din *m, int sequence) {
  facet_graph *g = m->graph;
  const char *name = m->schema->sequences[sequence].name;
  facet_concat_list all = facet_concat_begin(g, name), keys = facet_concat_begin(g, facet_graph_name(g, "%s.k", name));
  facet_concat_list target = facet_concat_begin(g, facet_graph_name(g, "%s.q", name));
  int n_fields = 0, n_paired = 0;
  for (int i = 0; i < m->schema->n_features; i++) {
    const facet_feature *event = &m->schema->features[i];
    if (event->sequence != sequence || event->type != FACET_FEATURE_ID) continue;
    facet_tensor *x = facet_embed(g, i, m->init), *q = counterpart(m, event);
    facet_concat_add(&all, x);
    n_fields++;
    if (!q) continue;
    facet_concat_add(&keys, x);
    facet_concat_add(&target, q);
    n_paired++;
  }
  if (n_fields == 0) return NULL;
  facet_tensor *events = facet_concat_end(&all), *length = facet_graph_length(g, sequence);
  if (n_paired == 0) return facet_masked_mean(g, facet_graph_name(g, "%s.mean", name), events, length);
  m->attends = true;
  facet_tensor *k = n_paired == n_fields ? events : facet_concat_end(&keys);
  facet_tensor *weight = add_attention(m, sequence, facet_concat_end(&target), k);
  return facet_weighted_sum(g, facet_graph_name(g, "%s.interest", name), weight, events, length, m->option->softmax);
}

static facet_status build(facet_graph *graph, const facet_schema *schema, const void *model_options) {
  const din_options *option = model_options;
  din m = {.graph = graph, .schema = schema, .option = option, .init = {FACET_INIT_NORMAL, option->embedding_init}};
  if (option->attention.n == 0)
    facet_graph_fail(graph, FACET_ERROR_USAGE, "model.attention is empty, expected one hidden layer at least");

  facet_concat_list inputs = facet_concat_begin(graph, "inputs");
  facet_concat_add(&inputs, facet_block_embeddings(graph, FACET_ROLE_USER, m.init));
  m.items = facet_block_embeddings(graph, FACET_ROLE_ITEM, m.init);
  facet_concat_add(&inputs, m.items);
  facet_concat_add(&inputs, facet_block_embeddings(graph, FACET_ROLE_CONTEXT, m.init));
  facet_concat_add(&inputs, facet_block_dense(graph, FACET_NORM_EPSILON));
  for (int s = 0; s < schema->n_sequences; s++) {
    facet_concat_add(&inputs, add_interest(&m, s));
    facet_concat_add(&inputs, facet_block_pooled_event_floats(graph, s, FACET_NORM_EPSILON));
  }
  if (!m.attends)
    facet_graph_fail(graph, FACET_ERROR_USAGE,
                     "schema %s has no sequence with a feature that shares its embedding with a feature of role item, "
                     "expected one for the attention",
                     schema->path);

  facet_tensor *x = facet_block_mlp(graph, "mlp", facet_concat_end(&inputs), &option->mlp);
  facet_tensor *logit = facet_linear(graph, "logit", x, 1, true, FACET_ACTIVATION_NONE); /* [B, 1] */
  facet_block_click(graph, logit);
  return facet_graph_status(graph);
}

const facet_model facet_model_din = {
    .name = "din",
    .summary = "histories weighted by how each behaviour fits the target (DIN)",
    .options = {.name = "model",
                .help = "DIN: target attention.",
                .options = options,
                .struct_bytes = sizeof(din_options)},
    .build = build,
};
