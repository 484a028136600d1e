/* The tables of options of the sections data, optimizer, train and evaluate. The order of choices is that of the
 * enumerations in facet/config.h. */
#include <stddef.h>

#include "facet/config.h"

#define MAX_COUNT 1e12 /* steps or samples: beyond any run */
#define SHARE 0.999999 /* the largest number below 1 that a decay may have */

static const char *const order_names[] = {"shuffled", "chronological", NULL};
static const char *const dense_names[] = {"sgd", "adagrad", "adam", "adamw", NULL};
static const char *const sparse_names[] = {"sgd", "adagrad", "rowwise_adagrad", "lazy_adam", NULL};
static const char *const schedule_names[] = {"constant", "cosine", "exponential", "plateau", NULL};
static const char *const precision_names[] = {"float32", "bf16", NULL};
static const char *const gauc_names[] = {"samples", "positives", "none", NULL};

/* An option is the field of the same name in VALUES, or in a struct there. */
#define IN_VALUES(field) field
#define TEXT(field, value, help)                                                                                       \
  { #field, FACET_OPTION_STRING, offsetof(VALUES, IN_VALUES(field)), value, 0, 0, NULL, help }
#define CHOICE(field, value, names, help)                                                                              \
  { #field, FACET_OPTION_CHOICE, offsetof(VALUES, IN_VALUES(field)), value, 0, 0, names, help }
#define INT(field, value, low, high, help)                                                                             \
  { #field, FACET_OPTION_INT, offsetof(VALUES, IN_VALUES(field)), value, low, high, NULL, help }
#define DOUBLE(field, value, low, high, help)                                                                          \
  { #field, FACET_OPTION_DOUBLE, offsetof(VALUES, IN_VALUES(field)), value, low, high, NULL, help }

#define VALUES facet_data_options
static const facet_option data_options[] = {
    TEXT(path, NULL,
         "Directory of the data set, relative to the configuration file (to the working directory if given by --set)."),
    TEXT(train, "train", "Split (subdirectory of the data set) that is trained on."),
    TEXT(valid, "valid", "Split evaluated during training, which chooses the best checkpoint; empty: none."),
    TEXT(test, "test", "Split evaluated by `facet evaluate` unless it is told another one; empty: none."),
    CHOICE(order, "shuffled", order_names, "Order of the samples in an epoch; chronological keeps the stored order."),
    INT(shuffle_block, "256", 1, 1e9, "Rows that stay together when the blocks of the split are permuted."),
    INT(shuffle_window, "256", 0, 1e9,
        "Permuted blocks among which single rows are permuted; 0: the whole split at once."),
    INT(max_length, "0", 0, 1e6, "Newest events of each sequence that a sample sees; 0: max_length of the schema."),
    INT(prefetch, "2", 1, 64, "Batches prepared ahead by the reader threads."),
    INT(readers, "1", 1, 64,
        "Threads that prepare batches; at most prefetch + 1 are used. The batches do not depend on it."),
    {0}};
#undef VALUES

#define VALUES facet_optimizer_options
static const facet_option optimizer_options[] = {
    CHOICE(dense, "adam", dense_names, "Optimizer of the dense parameters."),
    CHOICE(sparse, "lazy_adam", sparse_names,
           "Optimizer of the embedding tables: it moves only the rows that an update touches."),
    DOUBLE(learning_rate, "0.001", 0, 1e6, "Learning rate of the dense parameters after the warm-up."),
    DOUBLE(sparse_learning_rate, "0", 0, 1e6,
           "Learning rate of the embedding tables, on the same schedule; 0: the same as learning_rate."),
    DOUBLE(momentum, "0", 0, SHARE, "Momentum of SGD."),
    DOUBLE(beta1, "0.9", 0, SHARE, "Decay per step of Adam's mean of the gradient."),
    DOUBLE(beta2, "0.999", 0, SHARE, "Decay per step of Adam's mean of the squared gradient."),
    DOUBLE(epsilon, "1e-8", 1e-20, 1, "Added to the denominator of Adam and Adagrad."),
    DOUBLE(initial_accumulator, "0.1", 0, 1e6, "Sum of squared gradients with which Adagrad starts."),
    DOUBLE(weight_decay, "0.01", 0, 1e6, "Decoupled weight decay of AdamW, on matrices only (no biases, no norms)."),
    DOUBLE(l2, "0", 0, 1e6, "λ of the penalty λ/2·‖w‖² on the dense parameters."),
    DOUBLE(l2_embedding, "0", 0, 1e6, "λ of the penalty λ/2·‖w‖² on the table rows that an update touches."),
    DOUBLE(clip_norm, "0", 0, 1e12,
           "Global norm to which the dense and sparse gradients together are clipped; 0: no clipping."),
    CHOICE(schedule, "constant", schedule_names, "Course of the learning rate after the warm-up."),
    INT(warmup_steps, "0", 0, MAX_COUNT, "Steps in which the learning rate rises linearly from 0."),
    INT(decay_steps, "0", 0, MAX_COUNT,
        "cosine: steps until the minimum (0: the end of training); exponential: steps per factor decay_rate."),
    DOUBLE(decay_rate, "0.5", 1e-9, 1,
           "Factor of exponential (each decay_steps) and plateau (each time it is reached)."),
    DOUBLE(min_learning_rate, "0", 0, 1e6, "Learning rate below which no schedule goes."),
    INT(plateau_patience, "2", 1, 1e6,
        "Evaluations without improvement of train.monitor before plateau applies decay_rate."),
    {0}};
#undef VALUES

#define VALUES facet_train_options
static const facet_option train_options[] = {
    INT(batch_size, "512", 1, 1 << 24, "Samples per update, over all ranks and accumulated micro-batches."),
    INT(accumulate, "1", 1, 65536, "Micro-batches per update; batch_size must be a multiple of it."),
    INT(epochs, "1", 1, 1e9, "Passes over the training split."),
    INT(max_steps, "0", 0, MAX_COUNT, "Updates after which training ends; 0: no limit."),
    INT(seed, "1", 0, 9007199254740991.0, "Seed of initial values, order of the samples and dropout."),
    CHOICE(precision, "float32", precision_names,
           "Factors of dense products, also in evaluation; bf16 needs a CPU with AVX512-BF16. Sums, losses, norms, "
           "scores and tables stay float32."),
    INT(threads, "0", 0, 1024, "Threads; 0: OMP_NUM_THREADS, or all cores."),
    INT(log_every, "100", 1, MAX_COUNT, "Steps between log lines."),
    INT(evaluate_every, "0", 0, MAX_COUNT, "Steps between evaluations; 0: at the end of each epoch."),
    INT(checkpoint_every, "0", 0, MAX_COUNT, "Steps between checkpoints; 0: at each evaluation and at the end."),
    INT(keep_checkpoints, "3", 1, 1e6, "Newest checkpoints that are kept, besides the best."),
    TEXT(monitor, "auc",
         "Metric that chooses the best checkpoint, early stopping and plateau: auc, gauc, logloss, ne or calibration."),
    INT(early_stop, "0", 0, 1e6, "Evaluations without improvement of monitor after which training ends; 0: never."),
    DOUBLE(min_improvement, "0", 0, 1e6, "Smallest change of monitor that counts as an improvement."),
    TEXT(
        warm_start, "",
        "Checkpoint whose parameters and tables start the run, relative to the working directory; its vocabularies may "
        "be smaller; empty: none."),
    {0}};
#undef VALUES

#define VALUES facet_evaluate_options
static const facet_option evaluate_options[] = {
    INT(batch_size, "0", 0, 1 << 24, "Samples per batch of an evaluation; 0: the micro-batch of training."),
    INT(max_samples, "0", 0, MAX_COUNT, "First rows of the split that are evaluated; 0: all."),
#undef IN_VALUES
#define IN_VALUES(field) metrics.field
    CHOICE(gauc_weight, "samples", gauc_names,
           "Weight of a group in gauc: its samples, its positives, or none (all equal)."),
    DOUBLE(negative_sampling_rate, "1", 1e-9, 1,
           "Rate w at which negatives were kept in the data: p becomes p/(p + (1 − p)/w); 1: no correction."),
    INT(memory_mb, "256", 1, 1e7, "Memory in MB for the metrics' sort buffers; beyond it sorted runs spill to disk."),
    TEXT(spill_directory, "", "Directory of the spilled runs; empty: TMPDIR, or /tmp."),
    {0}};
#undef VALUES

const facet_option_section facet_config_sections[] = {
    {"data", "The data set and the order of its samples.", data_options, sizeof(facet_data_options)},
    {"optimizer", "How gradients change parameters and embedding tables.", optimizer_options,
     sizeof(facet_optimizer_options)},
    {"train", "Length of the run, batches, checkpoints and reporting.", train_options, sizeof(facet_train_options)},
    {"evaluate", "Evaluation and metrics.", evaluate_options, sizeof(facet_evaluate_options)}};
const int facet_config_n_sections = sizeof facet_config_sections / sizeof *facet_config_sections;
