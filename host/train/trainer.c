/* The training loop and its verbs. */
#include <math.h>
#include <stdio.h>

#include "train/checkpoint_internal.h"
#include "train/stop.h"
#include "train/trainer_internal.h"

bool facet_trainer_wants_update(const facet_config *config, const facet_train_state *state) {
  const facet_train_options *train = &config->train;
  if (train->max_steps > 0 && state->step >= train->max_steps) return false;
  if (train->early_stop > 0 && state->evaluations_waiting >= train->early_stop) return false;
  return state->epoch < train->epochs;
}

static bool wants_update(const facet_trainer *t) {
  return facet_trainer_wants_update(t->config, &t->state);
}

static facet_log_point log_point(const facet_trainer *t) {
  double part = (double)t->state.position / (double)facet_dataset_n_samples(t->train);
  return (facet_log_point){.step = t->state.step, .samples = t->state.samples, .epoch = (double)t->state.epoch + part};
}

/* ---- stopping --------------------------------------------------------------------------------------------------- */

static facet_status stop_when_asked(void) {
  FACET_CHECK(!facet_stop_signal(), FACET_PREEMPTED, "stopped by %s", facet_stop_signal());
  return FACET_OK;
}

/* Lets a signal cut an evaluation short; it is repeated when the run continues. */
static facet_status stop_evaluation(void *context, const facet_batch *batch, const facet_real *logit) {
  (void)context, (void)batch, (void)logit;
  return stop_when_asked();
}

/* ---- one update ------------------------------------------------------------------------------------------------- */

static facet_status begin_update(facet_trainer *t) {
  t->update_start = facet_clock();
  t->weight_sum = 0;
  t->n_update_samples = 0;
  if (t->loader) return FACET_OK;
  const int64_t n = facet_dataset_n_samples(t->train);
  const facet_order order = facet_config_order(t->config, n, t->state.seed, t->state.epoch);
  return facet_loader_create(t->train, facet_executor_batch_layout(t->train_executor), order, t->state.position, n,
                             t->config->train.accumulate, t->config->data.prefetch, t->config->data.readers,
                             &t->loader);
}

static facet_status next_batch(facet_trainer *t, const facet_batch **batch) {
  FACET_TRY(facet_loader_next(t->loader, batch, &t->window.wait));
  FACET_CHECK(*batch, FACET_ERROR_INTERNAL, "the loader ended at sample %lld of %lld in epoch %lld",
              (long long)(t->state.position + t->n_update_samples), (long long)facet_dataset_n_samples(t->train),
              (long long)t->state.epoch);
  t->n_update_samples += (*batch)->n_rows;
  t->weight_sum += (*batch)->weight_sum;
  return FACET_OK;
}

/* Without the sign that printf gives some NaN. */
static double plain(double value) {
  return isnan(value) ? (double)NAN : value;
}

/* Names step, loss parts and the first node that is not finite. */
static facet_status describe_nonfinite_loss(facet_trainer *t) {
  char parts[512] = "";
  size_t used = 0;
  for (int i = 0; i < facet_executor_n_losses(t->train_executor) && used < sizeof parts; i++)
    used += (size_t)snprintf(parts + used, sizeof parts - used, "%s%s %g", i ? ", " : "",
                             facet_executor_loss_name(t->train_executor, i),
                             plain(facet_executor_loss(t->train_executor, i)));
  if (facet_executor_find_nonfinite(t->train_executor) == FACET_OK)
    facet_error_set(FACET_ERROR_NONFINITE, __FILE__, __LINE__, "every node is finite, their weighted sum is not");
  facet_error_context("step %lld: the loss is %g (%s)", (long long)t->state.step + 1,
                      plain(facet_executor_total_loss(t->train_executor)), parts);
  return facet_error_hint("the last checkpoint is kept; try a smaller optimizer.learning_rate or optimizer.clip_norm");
}

/* A batch without weight would only move running statistics by samples that do not count: it is passed over. */
static facet_status forward(facet_trainer *t, const facet_batch *batch, int64_t micro_step) {
  const facet_run run = {.training = true,
                         .seed = (uint64_t)t->state.seed,
                         .step = t->state.step,
                         .micro_step = micro_step,
                         .epoch = t->state.epoch};
  const double weight = batch->weight_sum;
  if (weight == 0) return FACET_OK;
  FACET_TRY(facet_executor_forward(t->train_executor, batch, &run));
  const double total = facet_executor_total_loss(t->train_executor);
  if (!isfinite(total)) return describe_nonfinite_loss(t);
  const int n_losses = facet_executor_n_losses(t->train_executor);
  double *sums = t->window.sums;
  for (int i = 0; i < t->n_parts; i++)
    sums[i] += weight * (i < n_losses ? facet_executor_loss(t->train_executor, i)
                                      : facet_executor_monitor(t->train_executor, i - n_losses));
  sums[t->n_parts] += weight * total;
  sums[t->n_parts + 1] += weight;
  return FACET_OK;
}

/* Losses are means Σ w·loss / Σ w of a micro-batch m; W_m = Σ w as its seed and 1 / Σ_m W_m as the update's scale make
 * the gradient that of the mean over the update. */
static facet_status backward(facet_trainer *t, const facet_batch *batch) {
  if (batch->weight_sum == 0) return FACET_OK;
  return facet_executor_backward(t->train_executor, t->config->train.accumulate > 1 ? batch->weight_sum : 1);
}

static facet_status apply_gradients(facet_trainer *t) {
  const facet_optimizer_options *options = &t->config->optimizer;
  const facet_plateau plateau = {t->state.plateau_factor, t->state.plateau_waiting};
  const double factor = facet_schedule_factor(options, t->state.step, t->total_steps, &plateau);
  const double sparse = options->sparse_learning_rate > 0 ? options->sparse_learning_rate : options->learning_rate;
  t->rate = factor * options->learning_rate;
  t->sparse_rate = factor * sparse;
  t->gradient_norm = NAN;
  if (t->weight_sum == 0) return FACET_OK; /* no gradient was made: the update only counts */
  const facet_update update = {.step = t->state.step,
                               .learning_rate = t->rate,
                               .sparse_learning_rate = t->sparse_rate,
                               .gradient_scale = t->config->train.accumulate > 1 ? 1 / t->weight_sum : 1};
  facet_status status = facet_optimizer_update(t->optimizer, &update, &t->gradient_norm);
  if (status != FACET_OK) facet_error_context("step %lld", (long long)t->state.step + 1);
  return status;
}

static facet_status update(facet_trainer *t) {
  FACET_TRY(apply_gradients(t));
  t->state.step++;
  t->state.samples += t->n_update_samples;
  t->state.position += t->n_update_samples;
  if (t->state.position >= facet_dataset_n_samples(t->train)) {
    t->state.position = 0;
    t->state.epoch++;
    facet_loader_destroy(&t->loader);
  }
  const double seconds = facet_clock() - t->update_start;
  t->window.seconds += seconds;
  t->window.samples += t->n_update_samples;
  t->state.train_seconds += seconds;
  return FACET_OK;
}

/* ---- logging ---------------------------------------------------------------------------------------------------- */

static void describe_progress(facet_trainer *t) {
  snprintf(t->detail, sizeof t->detail, "step %lld, loss %.4f%s", (long long)t->state.step, t->logged_loss,
           t->valid_detail);
}

static facet_status write_log(facet_trainer *t) {
  facet_log_window *window = &t->window;
  double *sums = window->sums;
  const double weight = sums[t->n_parts + 1] > 0 ? sums[t->n_parts + 1] : NAN;
  for (int i = 0; i < t->n_parts; i++) t->parts[i].value = sums[i] / weight;
  const facet_train_record record = {.point = log_point(t),
                                     .loss = sums[t->n_parts] / weight,
                                     .n_parts = t->n_parts,
                                     .parts = t->parts,
                                     .lr = t->rate,
                                     .lr_sparse = t->sparse_rate,
                                     .grad_norm = t->gradient_norm,
                                     .samples_per_second = (double)window->samples / window->seconds,
                                     .data_wait = window->wait / window->seconds};
  t->logged_loss = record.loss;
  describe_progress(t);
  for (int i = 0; i < t->n_parts + 2; i++) sums[i] = 0;
  *window = (facet_log_window){.sums = sums};
  return facet_run_log_train(t->log, &record);
}

static facet_status log_when_due(facet_trainer *t) {
  if (t->state.step % t->config->train.log_every == 0 || !wants_update(t)) FACET_TRY(write_log(t));
  facet_progress_update(&t->progress, t->state.samples - t->first_samples, t->detail);
  return FACET_OK;
}

/* ---- evaluation ------------------------------------------------------------------------------------------------- */

/* The metrics that are defined, as "auc 0.7123 logloss 0.4312". */
static const char *format_metrics(const facet_metrics_result *result, char *text, size_t n_bytes) {
  size_t used = 0;
  text[0] = '\0';
  for (int i = 0; facet_metric_names[i] && used < n_bytes; i++) {
    double value = facet_metric_value(result, facet_metric_names[i]);
    if (isfinite(value))
      used +=
          (size_t)snprintf(text + used, n_bytes - used, "%s%s %.5f", used ? ", " : "", facet_metric_names[i], value);
  }
  return text;
}

/* Due every evaluate_every updates, or after each epoch, and at the end. */
static bool evaluation_is_due(const facet_trainer *t) {
  const int64_t every = t->config->train.evaluate_every;
  if (t->state.step == 0 || t->state.last_evaluation_step == t->state.step) return false;
  return !wants_update(t) || (every > 0 ? t->state.step % every == 0 : t->state.position == 0);
}

static facet_status save(facet_trainer *t);

/* The checkpoint of the best metric, early stopping and the plateau cannot go on without the metric. */
static facet_status fail_undefined(facet_trainer *t, const facet_metrics_result *result) {
  char reason[256];
  const char *monitor = t->config->train.monitor;
  FACET_TRY(save(t));
  facet_metric_undefined_reason(result, monitor, reason, sizeof reason);
  facet_error_set(FACET_ERROR_DATA, __FILE__, __LINE__,
                  "step %lld: train.monitor %s is undefined on split %s of %s: %s", (long long)t->state.step, monitor,
                  t->config->data.valid, t->config->data_path, reason);
  return facet_error_hint("choose another train.monitor or another data.valid");
}

/* Best metric, early stopping and plateau. */
static void judge(facet_trainer *t, double value) {
  const facet_train_options *train = &t->config->train;
  facet_train_state *state = &t->state;
  facet_plateau plateau = {state->plateau_factor, state->plateau_waiting};
  t->improved = facet_metric_improves(train->monitor, value, state->best_metric, train->min_improvement);
  if (t->improved) {
    state->best_metric = value;
    state->best_step = state->step;
  }
  state->evaluations_waiting = t->improved ? 0 : state->evaluations_waiting + 1;
  facet_plateau_report(&t->config->optimizer, t->improved, &plateau);
  state->plateau_factor = plateau.factor;
  state->plateau_waiting = plateau.n_waiting;
}

static facet_status evaluate_when_due(facet_trainer *t) {
  char text[256];
  facet_metrics_result result;
  if (!evaluation_is_due(t)) return FACET_OK;
  if (t->valid) {
    FACET_TRY(facet_evaluate(t->evaluate_executor, t->valid, t->config, stop_evaluation, NULL, &result));
    const double value = facet_metric_value(&result, t->config->train.monitor);
    if (!isfinite(value)) return fail_undefined(t, &result);
    judge(t, value);
    const facet_log_point point = log_point(t);
    FACET_TRY(facet_run_log_evaluate(t->log, &point, t->config->data.valid, false, &result));
    facet_log("step %lld, epoch %.4g, %s: %s%s", (long long)point.step, point.epoch, t->config->data.valid,
              format_metrics(&result, text, sizeof text), t->improved ? " (best)" : "");
    snprintf(t->valid_detail, sizeof t->valid_detail, ", %.32s %.32s %.4f", t->config->data.valid,
             t->config->train.monitor, value);
    describe_progress(t);
  }
  t->state.last_evaluation_step = t->state.step;
  t->evaluated = true;
  return FACET_OK;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------ */

/* Without a validation split the newest checkpoint is the best. */
static facet_status save(facet_trainer *t) {
  facet_train_state *state = &t->state;
  state->finished = !wants_update(t);
  if (!t->valid) state->best_step = state->step;
  const facet_checkpoint checkpoint = facet_trainer_checkpoint(t);
  FACET_TRY(facet_run_log_sync(t->log));
  FACET_TRY(facet_checkpoint_write(t->request->run_directory, &checkpoint));
  if (state->step > 0 && state->best_step == state->step)
    FACET_TRY(facet_checkpoint_mark_best(t->request->run_directory, state->step));
  t->saved_step = state->step;
  t->improved = t->evaluated = false;
  return facet_checkpoint_prune(t->request->run_directory, state->step, t->config->train.keep_checkpoints);
}

/* Due every checkpoint_every updates, or after each evaluation, at a new best metric, at the end, and at the start from
 * another run's checkpoint, of which this run keeps its own. */
static facet_status checkpoint_when_due(facet_trainer *t) {
  const int64_t every = t->config->train.checkpoint_every, step = t->state.step;
  const bool starts_elsewhere = t->start[0] && t->saved_step < 0;
  const bool due = every > 0 ? step % every == 0 : t->state.last_evaluation_step == step;
  if (step == t->saved_step && !t->evaluated) return FACET_OK;
  return due || starts_elsewhere || t->improved || !wants_update(t) ? save(t) : FACET_OK;
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

facet_status facet_trainer_step(facet_trainer *t) {
  const facet_batch *batch;
  FACET_TRY(begin_update(t));
  for (int64_t micro_step = 0; micro_step < t->config->train.accumulate; micro_step++) {
    FACET_TRY(next_batch(t, &batch));
    FACET_TRY(forward(t, batch, micro_step));
    FACET_TRY(backward(t, batch));
  }
  return update(t);
}

static facet_status train(facet_trainer *t) {
  FACET_TRY(evaluate_when_due(t)); /* what a signal cut off before a resume */
  FACET_TRY(checkpoint_when_due(t));
  while (wants_update(t)) {
    FACET_TRY(stop_when_asked());
    FACET_TRY(facet_trainer_step(t));
    FACET_TRY(log_when_due(t));
    FACET_TRY(evaluate_when_due(t));
    FACET_TRY(checkpoint_when_due(t));
  }
  return FACET_OK;
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

static facet_status load_best(facet_trainer *t) {
  char path[FACET_PATH_MAX];
  if (t->state.best_step == t->state.step) return FACET_OK;
  FACET_TRY(checkpoint_step_path(path, t->request->run_directory, t->state.best_step));
  const facet_checkpoint best = {
      .config = t->config, .schema = facet_dataset_schema(t->train), .parameters = t->parameters};
  return facet_checkpoint_read(path, &best);
}

static facet_status evaluate_test(facet_trainer *t) {
  const facet_log_point point = log_point(t);
  facet_metrics_result result;
  if (!t->test) return FACET_OK;
  FACET_TRY(load_best(t));
  FACET_TRY(facet_evaluate(t->evaluate_executor, t->test, t->config, stop_evaluation, NULL, &result));
  FACET_TRY(facet_run_log_evaluate(t->log, &point, t->config->data.test, true, &result));
  FILE *report = t->request->report;
  fprintf(report, "split %s, checkpoint of step %lld (%s)\n", t->config->data.test, (long long)t->state.best_step,
          t->valid ? "the best" : "the last");
  facet_metrics_print(&result, &t->config->evaluate.metrics, report);
  return FACET_OK;
}

static facet_status finish(facet_trainer *t) {
  const facet_train_state *state = &t->state;
  const facet_log_point point = log_point(t);
  if (t->config->train.early_stop > 0 && state->evaluations_waiting >= t->config->train.early_stop)
    facet_log("stopped early: %lld evaluations without a better %s", (long long)state->evaluations_waiting,
              t->config->train.monitor);
  FACET_TRY(evaluate_test(t));
  FACET_TRY(facet_run_log_summary(t->log, &point, t->config->train.monitor, state));
  facet_log("finished %s at step %lld after %.1f s of training", t->request->run_directory, (long long)state->step,
            state->train_seconds);
  return FACET_OK;
}

/* After a signal: what was trained so far is kept. */
static facet_status save_and_stop(facet_trainer *t) {
  if (t->saved_step != t->state.step) FACET_TRY(save(t));
  facet_log("stopped by %s; saved step %lld in %s: the same command continues", facet_stop_signal(),
            (long long)t->state.step, t->request->run_directory);
  FACET_FAIL(FACET_PREEMPTED, "stopped by %s", facet_stop_signal());
}

facet_status facet_train(const facet_train_request *request) {
  facet_trainer trainer = {.request = request, .config = request->config, .lock = {.descriptor = -1}, .saved_step = -1};
  bool finished = false;
  facet_stop_install();
  facet_status status = facet_trainer_prepare(&trainer, &finished);
  if (status == FACET_OK && !finished) {
    status = train(&trainer);
    facet_progress_finish(&trainer.progress, trainer.state.samples - trainer.first_samples, trainer.detail);
    if (status == FACET_OK) status = finish(&trainer);
    if (status == FACET_PREEMPTED) status = save_and_stop(&trainer);
  }
  facet_trainer_destroy(&trainer);
  facet_stop_restore();
  return status;
}
