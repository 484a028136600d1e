/* What trainer.c (the loop), trainer_setup.c (everything before it) and host/bench share. */
#ifndef FACET_TRAIN_TRAINER_INTERNAL_H
#define FACET_TRAIN_TRAINER_INTERNAL_H

#include "facet/file.h"
#include "facet/log.h"
#include "facet/trainer.h"
#include "train/run_log.h"

typedef struct facet_log_window { /* over the micro-batches since the last log line */
  double *sums; /* [n_parts + 2] Σ valid · weight · value of each loss and monitor, the same of the total
                                   * loss, and Σ valid · weight; saved, so that a resumed run logs the same numbers */
  int64_t samples;
  double seconds, wait; /* of training, and of waiting for data in it */
} facet_log_window;

typedef struct facet_trainer {
  const facet_train_request *request;
  const facet_config *config;
  facet_lock lock;
  char start[FACET_PATH_MAX]; /* checkpoint that the run starts from; "" : none */

  facet_device *device;
  facet_dataset *train, *valid, *test; /* valid, test: NULL where the data set has no such split */
  facet_parameters *parameters;
  facet_graph *train_graph, *evaluate_graph;
  facet_executor *train_executor, *evaluate_executor;
  facet_optimizer *optimizer;
  facet_loader *loader; /* of the present epoch; NULL between epochs */
  facet_run_log *log;
  facet_progress progress;

  facet_train_state state;
  int64_t total_steps;   /* updates of the whole training */
  int64_t saved_step;    /* of the newest checkpoint; −1: none */
  int64_t first_samples; /* state.samples when this process began */
  bool evaluated;        /* an evaluation is not yet saved */
  bool improved;         /* it was the best so far */
  facet_log_window window;
  double weight_sum;        /* Σ valid · weight of the present update */
  int64_t n_update_samples; /* of the present update */
  double update_start;      /* clock */
  double rate, sparse_rate; /* of the last update */
  double gradient_norm;     /* of the last update, before clipping; NaN: it had no weight */
  int n_parts;              /* losses and monitors */
  facet_log_value *parts;   /* [n_parts] names, and values of the last log */
  double logged_loss;       /* of the last log */
  char detail[256];         /* of the progress line */
  char valid_detail[96];    /* its last validation metric */
} facet_trainer;

/* Opens device and data, builds, allocates: all that needs no run directory. */
facet_status facet_trainer_open(facet_trainer *trainer);
/* The state of a run that begins, with the parameters of train.warm_start if that is set. */
facet_status facet_trainer_start_fresh(facet_trainer *trainer);
/* One update: batches, forward, backward, optimizer. */
facet_status facet_trainer_step(facet_trainer *trainer);

/* Opens, builds, allocates and restores; *finished: the run is complete and nothing was opened. The caller destroys the
 * trainer in any case. */
facet_status facet_trainer_prepare(facet_trainer *trainer, bool *finished);
void facet_trainer_destroy(facet_trainer *trainer);

/* What a checkpoint of this trainer saves and restores. */
facet_checkpoint facet_trainer_checkpoint(facet_trainer *trainer);

/* False when the epochs or steps are done, or early stopping has struck. */
bool facet_trainer_wants_update(const facet_config *config, const facet_train_state *state);

#endif
