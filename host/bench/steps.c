/* Runs the training loop's steps: undisturbed ones for samples/s, then others with a clock around every call. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/measure.h"
#include "facet/log.h"
#include "facet/memory.h"
#include "graph/executor_internal.h"
#include "train/trainer_internal.h"

const char *const facet_bench_part_names[FACET_BENCH_N_PARTS] = {
    "wait for data",   "zero gradients of values", "sparse: sort and sum",         "gradient norm",
    "optimizer dense", "optimizer sparse",         "zero gradients of parameters", "rest"};

/* ---- a backend with a clock ------------------------------------------------------------------------------------- */

/* The functions of a backend have no context: one bench runs at a time. */
static struct {
  facet_backend backend; /* the device's with `run` and `fill` replaced */
  const facet_backend *inner;
  const facet_executor *executor;
  double *seconds; /* [2 n_nodes + FACET_BENCH_N_PARTS] forward, backward, parts; of the present step */
} timer;

static facet_status timed_run(facet_device *device, const facet_op_call *const *calls, int64_t n, int direction) {
  for (int64_t i = 0; i < n; i++) {
    const double start = facet_clock();
    FACET_TRY(timer.inner->run(device, &calls[i], 1, direction));
    FACET_TRY(timer.inner->synchronize(device));
    const int64_t node = calls[i] - timer.executor->call;
    timer.seconds[direction > 0 ? node : timer.executor->graph->n_nodes + node] += facet_clock() - start;
  }
  return FACET_OK;
}

static facet_status timed_fill(facet_device *device, void *memory, int byte, size_t n_bytes) {
  const double start = facet_clock();
  FACET_TRY(timer.inner->fill(device, memory, byte, n_bytes));
  FACET_TRY(timer.inner->synchronize(device));
  timer.seconds[2 * timer.executor->graph->n_nodes + FACET_BENCH_ZERO] += facet_clock() - start;
  return FACET_OK;
}

static void start_timer(facet_device *device, const facet_executor *executor) {
  timer.inner = device->backend;
  timer.backend = *device->backend;
  timer.backend.run = timed_run;
  timer.backend.fill = timed_fill;
  timer.executor = executor;
  device->backend = &timer.backend;
}

static void stop_timer(facet_device *device) {
  device->backend = timer.inner;
}

/* ---- undisturbed steps ------------------------------------------------------------------------------------------ */

/* A line of a file of /proc that begins with `start`. */
static facet_status read_line(const char *path, const char *start, char *line, int n_bytes) {
  FILE *file = fopen(path, "r");
  bool found = false;
  FACET_CHECK(file, FACET_ERROR_IO, "cannot open %s", path);
  while (!found && fgets(line, n_bytes, file)) found = strncmp(line, start, strlen(start)) == 0;
  fclose(file);
  FACET_CHECK(found, FACET_ERROR_IO, "%s has no line \"%s\"", path, start);
  return FACET_OK;
}

/* Seconds since the kernel started this process: field 22 of /proc/self/stat, in ticks of 10 ms after boot. */
static facet_status process_age(double *seconds) {
  char line[4096];
  struct timespec now;
  FACET_TRY(read_line("/proc/self/stat", "", line, sizeof line));
  const char *field = strrchr(line, ')'); /* field 2, a name that may hold spaces */
  for (int i = 2; field && i < 22; i++) field = strchr(field + 1, ' ');
  FACET_CHECK(field, FACET_ERROR_IO, "/proc/self/stat has no field 22");
  clock_gettime(CLOCK_BOOTTIME, &now);
  *seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec - strtod(field, NULL) / (double)sysconf(_SC_CLK_TCK);
  return FACET_OK;
}

static facet_status peak_rss(double *bytes) {
  char line[256];
  FACET_TRY(read_line("/proc/self/status", "VmHWM:", line, sizeof line));
  *bytes = 1024 * strtod(line + 6, NULL);
  return FACET_OK;
}

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static facet_status run_windows(facet_trainer *t, const facet_bench_options *options, facet_bench_result *result) {
  FACET_TRY(facet_trainer_step(t));
  FACET_TRY(process_age(&result->startup_seconds));
  for (int64_t i = 1; i < options->warmup; i++) FACET_TRY(facet_trainer_step(t));
  result->n_windows = options->steps < FACET_BENCH_WINDOWS ? (int)options->steps : FACET_BENCH_WINDOWS;
  result->window_steps = options->steps / result->n_windows;
  for (int w = 0; w < result->n_windows; w++) {
    const int64_t samples = t->state.samples;
    const double start = facet_clock();
    for (int64_t i = 0; i < result->window_steps; i++) FACET_TRY(facet_trainer_step(t));
    result->window_rate[w] = (double)(t->state.samples - samples) / (facet_clock() - start);
  }
  qsort(result->window_rate, (size_t)result->n_windows, sizeof *result->window_rate, compare_doubles);
  result->step_seconds = (double)result->batch_size / result->window_rate[result->n_windows / 2];
  return peak_rss(&result->peak_rss_bytes);
}

/* ---- timed steps ------------------------------------------------------------------------------------------------ */

typedef struct timed_step { /* sorted by total */
  double total;
  double *seconds;
} timed_step;

static int compare_steps(const void *a, const void *b) {
  return compare_doubles(&((const timed_step *)a)->total, &((const timed_step *)b)->total);
}

static facet_status run_timed_step(facet_trainer *t, timed_step *step) {
  const int64_t n_nodes = t->train_graph->n_nodes;
  double *part = step->seconds + 2 * n_nodes;
  const double wait = t->window.wait, reduce = t->train_executor->reduce_seconds, start = facet_clock();
  const facet_optimizer_times before = facet_optimizer_get_times(t->optimizer);
  timer.seconds = step->seconds;
  FACET_TRY(facet_trainer_step(t));
  step->total = facet_clock() - start;
  const facet_optimizer_times after = facet_optimizer_get_times(t->optimizer);
  part[FACET_BENCH_WAIT] = t->window.wait - wait;
  part[FACET_BENCH_REDUCE] = t->train_executor->reduce_seconds - reduce;
  part[FACET_BENCH_NORM] = after.norm - before.norm;
  part[FACET_BENCH_DENSE] = after.dense - before.dense;
  part[FACET_BENCH_SPARSE] = after.sparse - before.sparse;
  part[FACET_BENCH_CLEAR] = after.clear - before.clear;
  double sum = 0;
  for (int64_t i = 0; i < 2 * n_nodes + FACET_BENCH_REST; i++) sum += step->seconds[i];
  part[FACET_BENCH_REST] = step->total - sum;
  return FACET_OK;
}

/* Means over the faster half: steps that something else disturbed are left out, and the parts still add up. */
static void average(const timed_step *steps, int64_t n_steps, facet_bench_result *result) {
  const int64_t n_nodes = result->n_nodes, half = (n_steps + 1) / 2;
  result->n_timed_steps = n_steps;
  for (int64_t s = 0; s < half; s++) {
    result->timed_step_seconds += steps[s].total / (double)half;
    for (int64_t i = 0; i < n_nodes; i++) {
      result->node[i].forward_seconds += steps[s].seconds[i] / (double)half;
      result->node[i].backward_seconds += steps[s].seconds[n_nodes + i] / (double)half;
    }
    for (int i = 0; i < FACET_BENCH_N_PARTS; i++)
      result->part_seconds[i] += steps[s].seconds[2 * n_nodes + i] / (double)half;
  }
}

/* Arrays that an optimizer reads or writes: the gradient, and weights and states twice. */
static double optimizer_arrays(int n_states) {
  return 3 + 2 * n_states;
}

static int table_states(const facet_trainer *t) {
  int n = 0;
  if (facet_parameters_n_tables(t->parameters) == 0) return 0;
  while (n < FACET_TABLE_MAX_STATES && facet_table_state(facet_parameters_table(t->parameters, 0), n, NULL, NULL)) n++;
  return n;
}

static facet_status run_timed(facet_trainer *t, int64_t n_steps, facet_bench_result *result) {
  const int64_t n_values = 2 * result->n_nodes + FACET_BENCH_N_PARTS;
  timed_step *steps;
  double *seconds;
  facet_status status = FACET_OK;
  const double elements = facet_optimizer_get_times(t->optimizer).sparse_elements;
  FACET_TRY(FACET_ALLOC(steps, n_steps, "timed steps"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(seconds, n_steps * n_values, "timed steps"));
  start_timer(t->device, t->train_executor);
  for (int64_t s = 0; s < n_steps && status == FACET_OK; s++) {
    steps[s].seconds = seconds + s * n_values;
    status = run_timed_step(t, &steps[s]);
  }
  stop_timer(t->device);
  if (status == FACET_OK) {
    const double touched = (facet_optimizer_get_times(t->optimizer).sparse_elements - elements) / (double)n_steps;
    qsort(steps, (size_t)n_steps, sizeof *steps, compare_steps);
    average(steps, n_steps, result);
    result->sparse_bytes = touched * sizeof(facet_real) * optimizer_arrays(table_states(t));
  }
  facet_memory_free(seconds);
done:
  facet_memory_free(steps);
  return status;
}

/* ---- assembling ------------------------------------------------------------------------------------------------- */

enum { ASSEMBLED_BATCHES = 5 };

/* The least time of a few batches, without the loader's thread. */
static facet_status time_assembly(facet_trainer *t, facet_bench_result *result) {
  const int64_t size = result->batch_size / t->config->train.accumulate, n = facet_dataset_n_samples(t->train);
  const facet_order order = facet_config_order(t->config, n, t->state.seed, t->state.epoch);
  facet_batch *batch = NULL;
  int64_t *rows = NULL;
  facet_status status = FACET_OK;
  facet_loader_destroy(&t->loader);
  FACET_TRY_GOTO(status, done, facet_batch_create(facet_executor_batch_layout(t->train_executor), &batch));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(rows, size, "rows of a batch"));
  result->assemble_seconds = 1e30;
  for (int64_t i = 0; i < ASSEMBLED_BATCHES; i++) {
    const double start = facet_clock();
    for (int64_t k = 0; k < size; k++) rows[k] = facet_order_row(&order, (i * size + k) % n);
    FACET_TRY_GOTO(status, done, facet_batch_assemble(t->train, rows, size, batch));
    const double seconds = facet_clock() - start;
    if (seconds < result->assemble_seconds) result->assemble_seconds = seconds;
  }
  result->assemble_seconds *= (double)t->config->train.accumulate;
done:
  facet_batch_destroy(&batch);
  facet_memory_free(rows);
  return status;
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

static facet_status describe_nodes(const facet_trainer *t, facet_bench_result *result) {
  const facet_graph *graph = t->train_graph;
  FACET_TRY(facet_arena_create(&result->arena));
  FACET_TRY(FACET_ALLOC(result->node, graph->n_nodes, "rows of the bench"));
  FACET_TRY(FACET_ALLOC(result->op, graph->n_nodes, "rows of the bench"));
  result->n_nodes = graph->n_nodes;
  const double n_micro = (double)t->config->train.accumulate;
  for (int64_t i = 0; i < graph->n_nodes; i++) {
    const facet_node *node = graph->node[i];
    const bool backward = t->train_executor->plan->backward[i];
    result->node[i] =
        (facet_bench_row){.name = facet_arena_strdup(result->arena, node->name),
                          .op = node->op->name,
                          .n_nodes = 1,
                          .flops = n_micro * (node->cost.forward_flops + (backward ? node->cost.backward_flops : 0)),
                          .bytes = n_micro * (node->cost.forward_bytes + (backward ? node->cost.backward_bytes : 0))};
    if (!result->node[i].name) return FACET_ERROR_INTERNAL;
  }
  return FACET_OK;
}

static int compare_rows(const void *a, const void *b) {
  const facet_bench_row *x = a, *y = b;
  const double p = x->forward_seconds + x->backward_seconds, q = y->forward_seconds + y->backward_seconds;
  return (p < q) - (p > q);
}

static void group_by_operator(facet_bench_result *result) {
  for (int64_t i = 0; i < result->n_nodes; i++) {
    const facet_bench_row *node = &result->node[i];
    int64_t k = 0;
    while (k < result->n_ops && strcmp(result->op[k].name, node->op) != 0) k++;
    if (k == result->n_ops) result->op[result->n_ops++].name = node->op;
    facet_bench_row *op = &result->op[k];
    op->n_nodes++;
    op->forward_seconds += node->forward_seconds;
    op->backward_seconds += node->backward_seconds;
    op->flops += node->flops;
    op->bytes += node->bytes;
  }
  qsort(result->op, (size_t)result->n_ops, sizeof *result->op, compare_rows);
}

static facet_status describe(facet_trainer *t, facet_bench_result *result) {
  facet_device_info info;
  FACET_TRY(t->device->backend->query(t->device, &info));
  memcpy(result->device, info.name, sizeof result->device);
  result->n_threads = info.n_threads;
  result->batch_size = t->config->train.batch_size;
  result->plan = facet_executor_report(t->train_executor);
  result->optimizer_bytes = facet_optimizer_bytes(t->optimizer);
  for (int i = 0; i < facet_parameters_n_tables(t->parameters); i++)
    result->table_bytes += facet_table_bytes(facet_parameters_table(t->parameters, i));
  result->dense_bytes = (double)result->plan.parameters * optimizer_arrays(facet_optimizer_n_states(t->optimizer));
  return describe_nodes(t, result);
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

static facet_status measure(facet_trainer *t, const facet_bench_options *options, facet_bench_result *result) {
  FACET_TRY(facet_trainer_open(t));
  FACET_TRY(facet_trainer_start_fresh(t));
  FACET_TRY(describe(t, result));
  FACET_TRY(run_windows(t, options, result));
  FACET_TRY(facet_bench_measure_peaks(&result->peaks));
  FACET_TRY(run_timed(t, options->timed_steps, result));
  FACET_TRY(facet_bench_measure_peaks(&result->peaks));
  group_by_operator(result);
  FACET_TRY(time_assembly(t, result));
  return facet_bench_measure_peaks(&result->peaks);
}

facet_status facet_bench_measure(const facet_config *config, const char *device, const facet_bench_options *options,
                                 facet_bench_result *result) {
  const facet_train_request request = {.config = config, .device = device};
  facet_trainer trainer = {.request = &request, .config = config, .lock = {.descriptor = -1}, .saved_step = -1};
  *result = (facet_bench_result){0};
  const facet_status status = measure(&trainer, options, result);
  facet_trainer_destroy(&trainer);
  return status;
}

void facet_bench_result_destroy(facet_bench_result *result) {
  facet_memory_free(result->node);
  facet_memory_free(result->op);
  facet_arena_destroy(&result->arena);
}
