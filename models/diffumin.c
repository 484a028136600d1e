/* DiffuMIN (arXiv 2508.15311): click-through rate from orthogonal interests, completed by conditional diffusion.
 *
 *   e_s   = target W_t + b                                    [B, d]   d: width of a behaviour
 *   o     = orthonormal columns of the matrix e_s W_c + b     [B, c, d]          (orthogonalize)
 *   r_j   = weighted sum of the behaviours routed to o_j      [B, c, d]          (route_behaviours)
 *   r̂     = r / ‖r‖
 *   r*    = reverse diffusion from a noised r̂, given the other channels' r̂ and o [B, c, d]   (denoise)
 *   e*_s  = row of the target in a Transformer encoder over the target and the newest behaviours [B, d]
 *   logit = MLP([r, r*, user, context, dense, e*_s, ..])
 *   loss  = bce + λ1 · diffusion + λ2 · contrast
 *   diffusion = mean (f(x_t, t) − r̂)²,  contrast = InfoNCE(g1(r̂), g2(r*)) over the batch, per channel
 *
 * Every choice that the paper leaves open, or that the published code takes differently, is an option;
 * docs/diffumin.md says which and why. Presets: diffumin.yaml, diffumin_paper.yaml, diffumin_official.yaml. */
#include "facet/blocks.h"
#include "facet/model.h"
#include "facet/ops.h"

enum { R_STAR_CHAIN, R_STAR_INTEREST, R_STAR_NOISE, R_STAR_NONE };
enum { INFER_ZERO, INFER_KEYED, INFER_RANDOM };
enum { START_TPRIME, START_UNIFORM };
enum { TRAIN_LEVELS_ALL, TRAIN_LEVELS_SAMPLED };
enum { HEAD_PAPER, HEAD_PAPER_ES, HEAD_CODE };
enum { ENCODER_PLAIN, ENCODER_REUSE_DIFF };

typedef struct diffumin_options {
  char history[FACET_OPTION_MAX_TEXT];
  bool recent_first;
  double embedding_init;
  /* interests */
  int64_t channels;
  bool chan_bias, orthogonal;
  int qr_sign;
  facet_route_options route;
  double top_p;
  /* diffusion */
  facet_diffusion_options diffusion;
  facet_denoiser_options denoiser;
  int64_t steps, diff_bptt;
  int r_star, diff_param, diff_start, diff_train_t, infer_noise;
  bool diff_sg_target;
  /* losses */
  bool use_aux, skip_empty, cl_mask_same_user;
  double lambda_diffusion, lambda_contrast, cl_temperature;
  /* short-term encoder and head */
  int64_t subseq_len;
  int st_encoder, head_inputs;
  bool logit_bn;
  facet_mlp_options mlp;
} diffumin_options;

static const char *const top_k_modes[] = {"frac", "abs", NULL};
static const char *const top_k_scopes[] = {"all", "routed", NULL};
static const char *const route_weights[] = {"sim", "relu", "one", NULL};
static const char *const denominators[] = {"sel", "len", NULL};
static const char *const qr_signs[] = {"pos", "lapack", NULL};
static const char *const r_stars[] = {"chain", "interest", "noise", "none", NULL};
static const char *const diffusion_parameters[] = {"x0", "eps_bug", "eps", NULL};
static const char *const starts[] = {"tprime", "uniform", NULL};
static const char *const train_levels[] = {"all", "sampled", NULL};
static const char *const infer_noises[] = {"zero", "keyed", "random", NULL};
static const char *const attention_scales[] = {"head", "nkv", NULL};
static const char *const encoders[] = {"plain", "reuse_diff", NULL};
static const char *const heads_inputs[] = {"paper", "paper_es", "code", NULL};

#define FIELD(member) .offset = offsetof(diffumin_options, member)
#define BOOL(name, member, value, text)                                                                                \
  { .key = name, .type = FACET_OPTION_BOOL, FIELD(member), .default_value = value, .help = text }
#define INT(name, member, value, from, to, text)                                                                       \
  {                                                                                                                    \
    .key = name, .type = FACET_OPTION_INT, FIELD(member), .default_value = value, .low = from, .high = to,             \
    .help = text                                                                                                       \
  }
#define REAL(name, member, value, from, to, text)                                                                      \
  {                                                                                                                    \
    .key = name, .type = FACET_OPTION_DOUBLE, FIELD(member), .default_value = value, .low = from, .high = to,          \
    .help = text                                                                                                       \
  }
#define CHOICE(name, member, value, names, text)                                                                       \
  { .key = name, .type = FACET_OPTION_CHOICE, FIELD(member), .default_value = value, .choices = names, .help = text }

static const facet_option options[] = {
    {.key = "history",
     .type = FACET_OPTION_STRING,
     FIELD(history),
     .default_value = "",
     .help = "Sequence whose events are routed to interests; empty: the schema's first. Others are mean-pooled."},
    BOOL("recent_first", recent_first, "true",
         "Newest event first; false: oldest first, so that subseq_len takes the oldest."),
    FACET_EMBEDDING_OPTION(diffumin_options),
    /* interests */
    INT("channels", channels, "4", 1, 64, "Interests c; at most the width d of a behaviour."),
    BOOL("chan_bias", chan_bias, "true", "The map from the target to the channels has a bias."),
    BOOL("orthogonal", orthogonal, "true",
         "Channels are made orthonormal; false (ablation): each is only normalised to length 1."),
    CHOICE("qr_sign", qr_sign, "pos", qr_signs,
           "Sign of the orthogonal channels: positive diagonal of R, or LAPACK's."),
    CHOICE("topk_mode", route.mode, "frac", top_k_modes,
           "Behaviours kept per channel: max(top_k, top_p of the valid ones), or top_k."),
    REAL("top_p", top_p, "0.02", 0, 1, "Share of the valid behaviours in topk_mode frac."),
    INT("top_k", route.top_k, "100", 1, 1e9, "Behaviours kept per channel, or their least number in topk_mode frac."),
    CHOICE("topk_scope", route.scope, "all", top_k_scopes,
           "The largest similarities of a channel among all behaviours, or among those routed to it."),
    BOOL("use_mask", route.use_mask, "true",
         "Slots beyond the history's length stay out of routing, top-k, mean and encoder."),
    CHOICE("agg_denom", route.denominator, "sel", denominators,
           "Interests are divided by the selected behaviours, or by L."),
    CHOICE("agg_weight", route.weight, "sim", route_weights,
           "Weight of a behaviour: similarity, its positive part, or one."),
    REAL("route_st", route.straight_through, "0", 0, 1e6,
         "Temperature of a straight-through gradient of the routing; 0: none."),
    /* diffusion */
    CHOICE(
        "r_star", r_star, "chain", r_stars,
        "r*: what reverse diffusion gives (chain). Ablations without denoiser and diffusion loss: r̂ (interest); normal "
        "noise, in evaluation by sample (noise); no r* and no contrast (none)."),
    INT("levels", diffusion.levels, "1000", 1, FACET_DIFFUSION_MAX_LEVELS, "Noise levels T of the schedule."),
    REAL("beta_first", diffusion.beta_first, "1e-4", 1e-9, 0.999, "β of level 0."),
    REAL("beta_last", diffusion.beta_last, "0.02", 1e-9, 0.999, "β of level T − 1."),
    INT("steps", steps, "10", 1, 1000, "Reverse steps T' from level T' − 1 to level 0."),
    CHOICE("diff_param", diff_param, "x0", diffusion_parameters,
           "What the denoiser gives: x0, the noise (eps), or x0 in training but noise in sampling (eps_bug)."),
    CHOICE("diff_start", diff_start, "tprime", starts, "Level of the start of sampling: T' − 1, or uniform in all T."),
    CHOICE("diff_train_t", diff_train_t, "all", train_levels, "Levels of the diffusion loss: all T, or those sampled."),
    CHOICE("infer_noise", infer_noise, "zero", infer_noises,
           "Noise in evaluation: none, at the start by sample (keyed), or in every step by sample (random)."),
    INT("diff_bptt", diff_bptt, "1", 0, 1000, "Last reverse steps that gradients flow through; 0: all."),
    BOOL("diff_sg_target", diff_sg_target, "true", "No gradient to the target of the diffusion loss."),
    BOOL("diff_out_proj", denoiser.output_projection, "true", "A linear map after the denoiser's last norm."),
    BOOL("diff_token_flag", denoiser.token_flag, "true", "A learned mark of the noised token."),
    INT("n_layers", denoiser.n_layers, "2", 1, 6, "Layers of the denoiser and of the short-term encoder."),
    INT("heads", denoiser.heads, "2", 1, 64, "Attention heads of both; they divide d."),
    INT("dff", denoiser.ffn_factor, "3", 1, 64, "Width of their feed-forward layers, in units of d."),
    CHOICE("attn_scale", denoiser.attention_scale, "head", attention_scales,
           "Attention is scaled by the root of the head's width, or of the number of keys."),
    /* losses */
    BOOL("use_aux", use_aux, "true", "The diffusion and contrast losses count; false: they are only reported."),
    REAL("lambda_diffusion", lambda_diffusion, "0.01", 0, 1e6, "Weight of the diffusion loss."),
    REAL("lambda_contrast", lambda_contrast, "0.001", 0, 1e6, "Weight of the contrast loss."),
    REAL("cl_temperature", cl_temperature, "0.05", 1e-4, 1e4, "Temperature of the contrast."),
    BOOL("cl_mask_same_user", cl_mask_same_user, "true", "Other samples of the same user are no negatives."),
    BOOL("skip_empty", skip_empty, "true", "Channels without behaviours stay out of both losses."),
    /* short-term encoder and head */
    INT("subseq_len", subseq_len, "50", 1, 100000, "First events that the short-term encoder sees."),
    CHOICE("st_encoder", st_encoder, "plain", encoders,
           "A Transformer encoder, or one that shares the denoiser's norms and attends to the last channel."),
    CHOICE("head_inputs", head_inputs, "paper_es", heads_inputs,
           "Inputs of the MLP: the paper's, with e_s, or with e_s and the target's embeddings (code)."),
    BOOL("logit_bn", logit_bn, "false", "Normalises the logit over the batch."),
    FACET_MLP_OPTIONS(diffumin_options, "[1024, 512, 256]", "dice", "true"),
    {0}};

static const double interest_epsilon = 1e-6; /* r / max(‖r‖, ε) */
static const double norm_epsilon = 1e-3, dice_momentum = 0.999;

/* What the parts of the model share. Shapes as above. */
typedef struct diffumin {
  facet_graph *graph;
  const diffumin_options *option;
  facet_init init; /* of embeddings */
  int sequence;
  int64_t batch, d;
  facet_tensor *events; /* [B, L, d] */
  facet_tensor *recent; /* [B, min(L, subseq_len), d] */
  facet_tensor *target; /* [B, Σ widths], the item features */
  facet_tensor *e_s, *o, *r, *n_selected, *r_hat, *r_star;
} diffumin;

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

static bool find_history(diffumin *m) {
  const facet_schema *schema = facet_graph_schema(m->graph);
  const char *name = m->option->history;
  if (schema->n_sequences == 0)
    return facet_graph_fail(m->graph, FACET_ERROR_USAGE,
                            "schema %s has no sequence of behaviours, expected one for the interests", schema->path);
  m->sequence = name[0] ? facet_schema_sequence(schema, name) : 0;
  if (m->sequence < 0)
    return facet_graph_fail(m->graph, FACET_ERROR_USAGE, "model.history is %s, which is no sequence of schema %s", name,
                            schema->path);
  return true;
}

static bool check_widths(const diffumin *m) {
  const diffumin_options *o = m->option;
  if (m->d < 4 || m->d % 2 || m->d % o->denoiser.heads)
    return facet_graph_fail(
        m->graph, FACET_ERROR_USAGE,
        "a behaviour is %lld wide (the sum of its embedding widths), expected an even number from 4 "
        "that model.heads (%lld) divides",
        (long long)m->d, (long long)o->denoiser.heads);
  if (o->channels > m->d)
    return facet_graph_fail(m->graph, FACET_ERROR_USAGE,
                            "model.channels is %lld, expected at most the width of a behaviour (%lld)",
                            (long long)o->channels, (long long)m->d);
  if (o->steps > o->diffusion.levels)
    return facet_graph_fail(m->graph, FACET_ERROR_USAGE, "model.steps is %lld, expected at most model.levels (%lld)",
                            (long long)o->steps, (long long)o->diffusion.levels);
  if (o->diffusion.beta_first > o->diffusion.beta_last)
    return facet_graph_fail(m->graph, FACET_ERROR_USAGE,
                            "model.beta_first is %g, expected at most model.beta_last (%g)", o->diffusion.beta_first,
                            o->diffusion.beta_last);
  return true;
}

static bool add_inputs(diffumin *m) {
  if (!find_history(m)) return false;
  const facet_schema *schema = facet_graph_schema(m->graph);
  facet_graph_newest_first(m->graph, m->sequence, m->option->recent_first);
  m->events = facet_block_events(m->graph, m->sequence, m->init);
  m->target = facet_block_embeddings(m->graph, FACET_ROLE_ITEM, m->init);
  if (facet_graph_status(m->graph)) return false;
  if (!m->events || !m->target)
    return facet_graph_fail(m->graph, FACET_ERROR_USAGE, "schema %s has no id feature %s, expected one at least",
                            schema->path, m->events ? "of role item" : "in the sequence of behaviours");
  m->batch = m->events->shape.dim[0];
  m->d = facet_shape_last(&m->events->shape);
  return check_widths(m);
}

/* ---- interests and diffusion ------------------------------------------------------------------------------------- */

static facet_shape channel_shape(const diffumin *m) {
  return facet_shape_make(3, m->batch, m->option->channels, m->d);
}

static void add_monitor(facet_graph *graph, const char *name, facet_tensor *x, facet_reduction reduction) {
  facet_graph_monitor(graph, name, facet_batch_reduce(graph, name, x, facet_graph_valid(graph), reduction));
}

/* o [B, c, d] from a [B, d·c]. */
static facet_tensor *add_channels(const diffumin *m, facet_tensor *a) {
  facet_graph *g = m->graph;
  const diffumin_options *o = m->option;
  if (!o->orthogonal)
    return facet_l2_normalize(g, "channels.unit", facet_reshape(g, "channels.split", a, channel_shape(m)),
                              interest_epsilon);
  facet_tensor *ratio;
  facet_tensor *q = facet_orthogonalize(g, "orthogonal", a, o->channels, (facet_qr_sign)o->qr_sign, &ratio);
  if (facet_graph_program(g) == FACET_PROGRAM_TRAIN) add_monitor(g, "qr_smallest_ratio", ratio, FACET_REDUCE_MIN);
  return q;
}

static void add_interests(diffumin *m) {
  facet_graph *g = m->graph;
  const diffumin_options *o = m->option;
  facet_route_options route = o->route;
  route.top_ppm = (int64_t)(o->top_p * 1e6 + 0.5);
  m->e_s = facet_linear(g, "target", m->target, m->d, true, FACET_ACTIVATION_NONE);
  facet_tensor *a = facet_linear(g, "channels", m->e_s, m->d * o->channels, o->chan_bias, FACET_ACTIVATION_NONE);
  facet_tensor *statistics;
  m->o = add_channels(m, a);
  m->recent = facet_block_recent(g, "encoder", m->events, o->subseq_len);
  m->r = facet_route_behaviours(g, "interests", m->events, m->o, facet_graph_length(g, m->sequence), &route,
                                &m->n_selected, &statistics);
  m->r_hat = facet_l2_normalize(g, "interests.unit", m->r, interest_epsilon);
  if (facet_graph_program(g) != FACET_PROGRAM_TRAIN) return;
  add_monitor(g, "empty_channels", facet_slice(g, "interests.empty", statistics, 0, 1), FACET_REDUCE_MEAN);
  add_monitor(g, "routing_entropy", facet_slice(g, "interests.entropy", statistics, 1, 1), FACET_REDUCE_MEAN);
}

/* Uniform in 0 … n − 1 per sample and channel. */
static facet_tensor *draw_levels(const diffumin *m, const char *name, int64_t n) {
  return facet_random_integer(m->graph, name, facet_shape_make(2, m->batch, m->option->channels), n);
}

/* r* by sampling: training draws all noise; evaluation what infer_noise says. */
static facet_tensor *add_chain(const diffumin *m) {
  facet_graph *g = m->graph;
  const diffumin_options *o = m->option;
  const bool training = facet_graph_program(g) == FACET_PROGRAM_TRAIN;
  facet_tensor *noise = NULL, *level = NULL, *z = NULL;
  if (training || o->infer_noise != INFER_ZERO) noise = facet_random_normal(g, "chain.noise", channel_shape(m));
  if (o->steps > 1 && (training || o->infer_noise == INFER_RANDOM))
    z = facet_random_normal(g, "chain.z", facet_shape_make(4, m->batch, o->steps - 1, o->channels, m->d));
  if (o->diff_start == START_UNIFORM) level = draw_levels(m, "chain.level", o->diffusion.levels);
  facet_tensor *start = facet_diffuse(g, "chain.start", m->r_hat, noise, level, o->steps - 1, &o->diffusion);
  const int64_t gradient_steps = o->diff_bptt == 0 || o->diff_bptt > o->steps ? o->steps : o->diff_bptt;
  return facet_denoise_chain(g, "chain", "denoiser", start, z, m->r_hat, m->o, &o->denoiser, &o->diffusion,
                             (facet_diffusion_parameter)o->diff_param, o->steps, gradient_steps);
}

/* NULL where the model has none. */
static facet_tensor *add_r_star(const diffumin *m) {
  switch (m->option->r_star) {
  case R_STAR_CHAIN:
    return add_chain(m);
  case R_STAR_INTEREST:
    return m->r_hat;
  case R_STAR_NOISE:
    return facet_random_normal(m->graph, "chain.noise", channel_shape(m));
  default:
    return NULL;
  }
}

/* ---- losses ------------------------------------------------------------------------------------------------------ */

static facet_tensor *add_diffusion_loss(const diffumin *m, facet_tensor *omega) {
  facet_graph *g = m->graph;
  const diffumin_options *o = m->option;
  facet_tensor *level =
      draw_levels(m, "diffusion.level", o->diff_train_t == TRAIN_LEVELS_ALL ? o->diffusion.levels : o->steps);
  facet_tensor *noise = facet_random_normal(g, "diffusion.noise", channel_shape(m));
  facet_tensor *x = facet_diffuse(g, "diffusion.x", m->r_hat, noise, level, 0, &o->diffusion);
  facet_tensor *f = facet_denoise(g, "diffusion.f", "denoiser", x, level, m->r_hat, m->o, &o->denoiser);
  facet_tensor *target = o->diff_param == FACET_DIFFUSION_EPS ? noise : m->r_hat;
  if (o->diff_sg_target && target == m->r_hat) target = facet_detach(g, "diffusion.target", target);
  return facet_mse(g, "diffusion", f, target, omega);
}

/* norm(g(x)), g: Linear(d → 4d), ReLU, Linear(4d → d); shared by the channels. */
static facet_tensor *add_contrast_head(const diffumin *m, const char *name, facet_tensor *x) {
  facet_graph *g = m->graph;
  x = facet_linear(g, facet_graph_name(g, "%s.0", name), x, 4 * m->d, true, FACET_ACTIVATION_RELU);
  x = facet_linear(g, facet_graph_name(g, "%s.1", name), x, m->d, true, FACET_ACTIVATION_NONE);
  return facet_l2_normalize(g, facet_graph_name(g, "%s.unit", name), x, interest_epsilon);
}

static facet_tensor *add_contrast_loss(const diffumin *m, facet_tensor *omega) {
  facet_graph *g = m->graph;
  const int user = facet_graph_schema(g)->user;
  facet_tensor *users = m->option->cl_mask_same_user && user >= 0 ? facet_graph_feature(g, user) : NULL;
  facet_tensor *a = add_contrast_head(m, "contrast.g1", m->r_hat);
  facet_tensor *p = add_contrast_head(m, "contrast.g2", m->r_star);
  return facet_info_nce(g, "contrast", a, p, omega, facet_graph_valid(g), users, m->option->cl_temperature);
}

/* A loss that counts, or a monitor. */
static void report_loss(const diffumin *m, const char *name, facet_tensor *loss, double weight) {
  if (m->option->use_aux)
    facet_graph_loss(m->graph, name, loss, weight);
  else
    facet_graph_monitor(m->graph, name, loss);
}

static void add_auxiliary_losses(const diffumin *m) {
  facet_graph *g = m->graph;
  const diffumin_options *o = m->option;
  facet_tensor *omega = facet_channel_weight(g, "channel_weight", facet_graph_valid(g), facet_graph_weight(g),
                                             m->n_selected, o->skip_empty);
  if (o->r_star == R_STAR_CHAIN) report_loss(m, "diffusion", add_diffusion_loss(m, omega), o->lambda_diffusion);
  report_loss(m, "contrast", add_contrast_loss(m, omega), o->lambda_contrast);
  facet_tensor *unit = facet_l2_normalize(g, "chain.unit", m->r_star, interest_epsilon);
  add_monitor(g, "cos_interest_denoised", facet_row_dot(g, "chain.cos", m->r_hat, unit), FACET_REDUCE_MEAN);
}

/* ---- head -------------------------------------------------------------------------------------------------------- */

static facet_tensor *add_encoder(const diffumin *m) {
  const diffumin_options *o = m->option;
  facet_encoder_options encoder = {.n_layers = o->denoiser.n_layers,
                                   .heads = o->denoiser.heads,
                                   .ffn_factor = o->denoiser.ffn_factor,
                                   .attention_scale = o->denoiser.attention_scale,
                                   .n_recent = o->subseq_len};
  if (o->st_encoder == ENCODER_REUSE_DIFF) {
    facet_tensor *flat =
        facet_reshape(m->graph, "orthogonal.flat", m->o, facet_shape_make(2, m->batch, o->channels * m->d));
    encoder.cross = facet_slice(m->graph, "orthogonal.last", flat, (o->channels - 1) * m->d, m->d);
    encoder.norms = "denoiser";
  }
  facet_tensor *length = o->route.use_mask ? facet_graph_length(m->graph, m->sequence) : NULL;
  return facet_block_encoder(m->graph, "encoder", m->e_s, m->recent, length, &encoder);
}

/* Float features, those of events and other sequences pooled, normalised over the batch. */
static void add_dense(const diffumin *m, facet_concat_list *inputs) {
  const facet_schema *schema = facet_graph_schema(m->graph);
  facet_concat_add(inputs, facet_block_dense(m->graph, norm_epsilon));
  for (int s = 0; s < schema->n_sequences; s++) {
    if (s != m->sequence) facet_concat_add(inputs, facet_block_pooled_events(m->graph, s, m->init));
    facet_concat_add(inputs, facet_block_pooled_event_floats(m->graph, s, norm_epsilon));
  }
}

static facet_tensor *add_head(diffumin *m) {
  facet_graph *g = m->graph;
  const diffumin_options *o = m->option;
  const facet_shape flat = facet_shape_make(2, m->batch, o->channels * m->d);
  facet_concat_list inputs = facet_concat_begin(g, "head");
  facet_concat_add(&inputs, facet_reshape(g, "interests.flat", m->r, flat));
  if (o->r_star != R_STAR_NONE) facet_concat_add(&inputs, facet_reshape(g, "chain.flat", m->r_star, flat));
  facet_concat_add(&inputs, facet_block_embeddings(g, FACET_ROLE_USER, m->init));
  facet_concat_add(&inputs, facet_block_embeddings(g, FACET_ROLE_CONTEXT, m->init));
  add_dense(m, &inputs);
  facet_concat_add(&inputs, add_encoder(m));
  if (o->head_inputs != HEAD_PAPER) facet_concat_add(&inputs, m->e_s);
  if (o->head_inputs == HEAD_CODE) facet_concat_add(&inputs, m->target);
  facet_mlp_options mlp = o->mlp;
  mlp.norm_epsilon = norm_epsilon;
  mlp.dice_momentum = dice_momentum;
  facet_tensor *x = facet_block_mlp(g, "mlp", facet_concat_end(&inputs), &mlp);
  facet_tensor *logit = facet_linear(g, "logit", x, 1, true, FACET_ACTIVATION_NONE); /* [B, 1] */
  if (o->logit_bn)
    logit = facet_batch_norm(g, "logit.norm", logit, facet_graph_valid(g), FACET_NORM_MOMENTUM, norm_epsilon);
  return logit;
}

static facet_status build(facet_graph *graph, const facet_schema *schema, const void *model_options) {
  (void)schema; /* the blocks read it from the graph */
  const diffumin_options *option = model_options;
  diffumin m = {.graph = graph, .option = option, .init = {FACET_INIT_NORMAL, option->embedding_init}};
  if (!add_inputs(&m)) return facet_graph_status(graph);
  add_interests(&m);
  m.r_star = add_r_star(&m);
  facet_block_click(graph, add_head(&m));
  if (facet_graph_program(graph) == FACET_PROGRAM_TRAIN && option->r_star != R_STAR_NONE) add_auxiliary_losses(&m);
  return facet_graph_status(graph);
}

const facet_model facet_model_diffumin = {
    .name = "diffumin",
    .summary = "orthogonal interests, completed by conditional diffusion, with contrast (DiffuMIN)",
    .options = {.name = "model",
                .help = "DiffuMIN: multi-interest click-through rate with diffusion.",
                .options = options,
                .struct_bytes = sizeof(diffumin_options)},
    .build = build,
};
