/* The configuration of a run: CONFIG.yaml with the sections model, data, optimizer, train and evaluate.
 *
 * One table of options per section (host/train/config_options.c; a model's own options are in models/<model>.c) drives the
 * parser, --help and docs/config.md. Values given by --set section.key=value win over the file. */
#ifndef FACET_CONFIG_H
#define FACET_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "facet/backend.h"
#include "facet/batch.h"
#include "facet/file.h"
#include "facet/metrics.h"
#include "facet/options.h"
#include "facet/status.h"

typedef struct facet_model facet_model;

typedef enum facet_optimizer_kind {
  FACET_OPTIMIZER_SGD,
  FACET_OPTIMIZER_ADAGRAD,
  FACET_OPTIMIZER_ADAM,
  FACET_OPTIMIZER_ADAMW
} facet_optimizer_kind;

typedef enum facet_sparse_optimizer_kind {
  FACET_SPARSE_SGD,
  FACET_SPARSE_ADAGRAD,
  FACET_SPARSE_ROWWISE_ADAGRAD, /* one accumulator per row: the mean of the squared gradient over the row */
  FACET_SPARSE_LAZY_ADAM /* moments of a row move only when the row has a gradient; bias correction by the global step */
} facet_sparse_optimizer_kind;

typedef enum facet_schedule_kind {
  FACET_SCHEDULE_CONSTANT,
  FACET_SCHEDULE_COSINE,
  FACET_SCHEDULE_EXPONENTIAL,
  FACET_SCHEDULE_PLATEAU
} facet_schedule_kind;

typedef enum facet_order_kind { FACET_ORDER_SHUFFLED, FACET_ORDER_CHRONOLOGICAL } facet_order_kind;

typedef struct facet_data_options {
  /* data set directory, relative to the configuration file; given by --set: to the working directory */
  char path[FACET_OPTION_MAX_TEXT];
  char train[FACET_OPTION_MAX_TEXT]; /* split names (subdirectories): "train", "valid", "test" */
  char valid[FACET_OPTION_MAX_TEXT];
  char test[FACET_OPTION_MAX_TEXT];
  int order;              /* facet_order_kind */
  int64_t shuffle_block;  /* rows that stay together when blocks are permuted */
  int64_t shuffle_window; /* blocks among which rows are permuted; 0: the whole set */
  int64_t max_length;     /* newest events of a sequence that a sample sees; 0: the schema's max_length */
  int64_t prefetch;       /* batches prepared ahead by the reader threads */
  int64_t readers;        /* threads that prepare them */
} facet_data_options;

typedef struct facet_optimizer_options {
  int dense;                    /* facet_optimizer_kind */
  int sparse;                   /* facet_sparse_optimizer_kind */
  double learning_rate;         /* dense parameters */
  double sparse_learning_rate;  /* embedding tables; 0: the same as learning_rate */
  double momentum;              /* SGD */
  double beta1, beta2, epsilon; /* Adam; epsilon also Adagrad */
  double initial_accumulator;   /* Adagrad */
  double weight_decay;          /* AdamW, decoupled; dense matrices only, not biases or norms */
  double l2;                    /* λ/2·‖w‖² on dense parameters: adds λ·w to the gradient */
  double l2_embedding;          /* the same on the table rows touched by the update */
  double clip_norm;             /* global norm over dense and sparse gradients; 0: no clipping */
  int schedule;                 /* facet_schedule_kind, after the warm-up */
  int64_t warmup_steps;         /* linear from 0 */
  int64_t decay_steps;          /* cosine: length (0: to the end of training); exponential: period */
  double decay_rate;            /* exponential, plateau: factor */
  double min_learning_rate;
  int64_t plateau_patience; /* evaluations without improvement before the factor is applied */
} facet_optimizer_options;

typedef struct facet_train_options {
  int64_t batch_size; /* samples per update, over all ranks and accumulation */
  int64_t accumulate; /* micro-batches per update; batch_size must divide by it */
  int64_t epochs;
  int64_t max_steps; /* 0: no limit */
  int64_t seed;
  int precision;            /* facet_precision of products */
  int64_t threads;          /* 0: OMP_NUM_THREADS or all cores */
  int64_t log_every;        /* steps */
  int64_t evaluate_every;   /* steps; 0: at the end of each epoch */
  int64_t checkpoint_every; /* steps; 0: at each evaluation and at the end */
  int64_t keep_checkpoints; /* newest ones kept, besides the best */
  /* metric that chooses the best checkpoint, early stopping and the plateau: "auc", "gauc", "logloss", … */
  char monitor[FACET_OPTION_MAX_TEXT];
  int64_t early_stop; /* stop after this many evaluations without improvement; 0: never */
  double min_improvement;
  /* checkpoint whose parameters and tables start the run; its vocabularies may be smaller */
  char warm_start[FACET_OPTION_MAX_TEXT];
} facet_train_options;

typedef struct facet_evaluate_options {
  int64_t batch_size;  /* 0: the micro-batch of training */
  int64_t max_samples; /* 0: all; else the first rows of the split */
  facet_metrics_options metrics;
} facet_evaluate_options;

typedef struct facet_config {
  char path[FACET_PATH_MAX];      /* the configuration file, for messages */
  char data_path[FACET_PATH_MAX]; /* data.path as an absolute path */
  const facet_model *model;       /* from model.name */
  void *model_options;            /* the model's struct, owned */
  facet_data_options data;
  facet_optimizer_options optimizer;
  facet_train_options train;
  facet_evaluate_options evaluate;
} facet_config;

/* The sections in order: data, optimizer, train, evaluate (the model's section is model->options). */
extern const facet_option_section facet_config_sections[];
extern const int facet_config_n_sections;
/* Section i in this order, −1 for the model's, and its values. */
const facet_option_section *facet_config_section(const facet_config *config, int i);
const void *facet_config_values(const facet_config *config, int i);

/* Reads and checks a configuration; `sets` are the arguments of --set ("train.batch_size=512"), n_sets of them.
 * Errors have status FACET_ERROR_USAGE and name file, line, column and the nearest known key. */
facet_status facet_config_load(const char *path, const char *const *sets, int n_sets, facet_config **config);
void facet_config_destroy(facet_config **config);

/* Writes the resolved configuration as YAML that facet_config_load reads back to equal values. data.path is written
 * as an absolute path. */
facet_status facet_config_write(const facet_config *config, const char *path);
facet_status facet_config_print(const facet_config *config, FILE *stream);

/* Prints the reference of all sections and of every model's options, as help text or as the Markdown of
 * docs/config.md. */
void facet_config_print_reference(FILE *stream, bool markdown);

/* The first key on which two configurations differ (a static or thread-local string "section.key"); NULL if equal. Keys
 * that only change speed or reporting (threads, log_every, prefetch, readers, keep_checkpoints, memory_mb,
 * spill_directory, epochs, max_steps) may differ between a run and its resume and are skipped. */
const char *facet_config_difference(const facet_config *a, const facet_config *b);

/* The order of n_rows training samples in an epoch. */
facet_order facet_config_order(const facet_config *config, int64_t n_rows, int64_t seed, int64_t epoch);
/* Opens the device `name` with train.threads and train.precision. */
facet_status facet_config_open_device(const facet_config *config, const char *name, facet_device **device);

#endif
