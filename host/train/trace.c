/* Writing a trace (facet/trace.h). */
#include "facet/trace.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/hdf5.h"
#include "facet/checkpoint.h"
#include "facet/executor.h"
#include "facet/file.h"
#include "facet/model.h"
#include "facet/rng.h"

typedef struct tracer {
  const facet_trace_request *request;
  const facet_config *config;
  facet_device *device;
  facet_dataset *dataset;
  facet_parameters *parameters;
  facet_graph *graph;
  facet_executor *executor;
  facet_loader *loader;
  facet_run run;
  hid_t file;
  int64_t index; /* of the next data set */
} tracer;

/* ---- writing a data set ------------------------------------------------------------------------------------------ */

static facet_status write_data(tracer *t, hid_t group, const char *name, facet_hdf5_type type, const facet_shape *shape,
                               const void *values) {
  FACET_HDF5_SCOPED hid_t dataset = -1;
  FACET_TRY(facet_hdf5_write(group, name, type, shape->rank, shape->dim, values));
  FACET_TRY(facet_hdf5_dataset_open(group, name, &dataset));
  return facet_hdf5_set_int64(dataset, "index", t->index++);
}

static facet_status write_real(tracer *t, hid_t group, const char *name, const facet_shape *shape,
                               const facet_real *values) {
  return write_data(t, group, name, FACET_HDF5_REAL, shape, values);
}

static facet_status write_scalar(tracer *t, hid_t group, const char *name, double value) {
  const facet_shape scalar = facet_shape_make(1, (int64_t)1);
  return write_data(t, group, name, FACET_HDF5_DOUBLE, &scalar, &value);
}

/* A tensor in the memory of the device. */
static facet_status write_device(tracer *t, hid_t group, const char *name, facet_dtype dtype, const facet_shape *shape,
                                 const void *memory) {
  const bool real = dtype == FACET_DTYPE_REAL;
  const size_t n_bytes = (size_t)facet_shape_elements(shape) * (real ? sizeof(facet_real) : sizeof(int32_t));
  char *copy;
  FACET_TRY(FACET_ALLOC(copy, (int64_t)n_bytes, "a copy of a tensor"));
  facet_status status = t->device->backend->copy_out(t->device, copy, memory, n_bytes);
  if (status == FACET_OK) status = write_data(t, group, name, real ? FACET_HDF5_REAL : FACET_HDF5_INT32, shape, copy);
  facet_memory_free(copy);
  return status;
}

/* ---- the groups -------------------------------------------------------------------------------------------------- */

static facet_status write_config(tracer *t) {
  char *text = NULL;
  size_t n_bytes;
  FILE *stream = open_memstream(&text, &n_bytes);
  FACET_CHECK(stream, FACET_ERROR_INTERNAL, "cannot allocate the text of the configuration");
  facet_status status = facet_config_print(t->config, stream);
  fclose(stream);
  if (status == FACET_OK) status = facet_hdf5_set_string(t->file, "config", text);
  free(text);
  return status;
}

static facet_status write_attributes(tracer *t, const facet_batch *batch) {
  FACET_TRY(facet_hdf5_set_format(t->file, "trace", 1));
  FACET_TRY(facet_hdf5_set_string(t->file, "program_version", FACET_VERSION));
  FACET_TRY(facet_hdf5_set_string(t->file, "model", t->config->model->name));
  FACET_TRY(write_config(t));
  FACET_TRY(facet_hdf5_set_int64(t->file, "seed", t->config->train.seed));
  FACET_TRY(facet_hdf5_set_int64(t->file, "step", t->run.step));
  FACET_TRY(facet_hdf5_set_int64(t->file, "micro_step", t->run.micro_step));
  FACET_TRY(facet_hdf5_set_int64(t->file, "epoch", t->run.epoch));
  FACET_TRY(facet_hdf5_set_int64(t->file, "batch_size", batch->layout->batch_size));
  return facet_hdf5_set_int64(t->file, "n_rows", batch->n_rows);
}

static facet_status write_constants(tracer *t) {
  FACET_HDF5_SCOPED hid_t parameters = -1, states = -1, tables = -1;
  FACET_TRY(facet_hdf5_group_create(t->file, "parameters", &parameters));
  FACET_TRY(facet_hdf5_group_create(t->file, "states", &states));
  FACET_TRY(facet_hdf5_group_create(t->file, "tables", &tables));
  for (int i = 0; i < facet_parameters_n_dense(t->parameters); i++) {
    const facet_parameter_info *info = facet_parameters_dense(t->parameters, i);
    FACET_TRY(
        write_real(t, parameters, info->name, &info->shape, facet_parameters_values(t->parameters) + info->offset));
  }
  for (int i = 0; i < facet_parameters_n_states(t->parameters); i++) {
    const facet_parameter_info *info = facet_parameters_state(t->parameters, i);
    FACET_TRY(
        write_real(t, states, info->name, &info->shape, facet_parameters_state_values(t->parameters) + info->offset));
  }
  for (int i = 0; i < facet_parameters_n_tables(t->parameters); i++) {
    facet_table *table = facet_parameters_table(t->parameters, i);
    const facet_shape shape = facet_shape_make(2, facet_table_n_rows(table), facet_table_width(table));
    FACET_TRY(write_real(t, tables, facet_table_name(table), &shape, facet_table_rows(table)));
  }
  return FACET_OK;
}

static facet_status write_forward(tracer *t, const facet_batch *batch) {
  FACET_HDF5_SCOPED hid_t inputs = -1, draws = -1, activations = -1;
  FACET_TRY(facet_hdf5_group_create(t->file, "inputs", &inputs));
  FACET_TRY(facet_hdf5_group_create(t->file, "draws", &draws));
  FACET_TRY(facet_hdf5_group_create(t->file, "activations", &activations));
  const facet_shape rows = facet_shape_make(1, batch->layout->batch_size);
  FACET_TRY(write_data(t, inputs, "row", FACET_HDF5_INT64, &rows, batch->row));
  for (int64_t i = 0; i < facet_executor_n_traced(t->executor); i++) {
    const facet_traced_tensor tensor = facet_executor_traced(t->executor, i);
    const hid_t group = tensor.is_input ? inputs : tensor.is_random ? draws : activations;
    FACET_TRY(write_device(t, group, tensor.name, tensor.dtype, &tensor.shape, tensor.value));
  }
  return FACET_OK;
}

static facet_status write_losses(tracer *t) {
  FACET_HDF5_SCOPED hid_t losses = -1, monitors = -1;
  FACET_TRY(facet_hdf5_group_create(t->file, "losses", &losses));
  FACET_TRY(facet_hdf5_group_create(t->file, "monitors", &monitors));
  for (int i = 0; i < facet_executor_n_losses(t->executor); i++)
    FACET_TRY(write_scalar(t, losses, facet_executor_loss_name(t->executor, i), facet_executor_loss(t->executor, i)));
  for (int i = 0; i < facet_executor_n_monitors(t->executor); i++)
    FACET_TRY(
        write_scalar(t, monitors, facet_executor_monitor_name(t->executor, i), facet_executor_monitor(t->executor, i)));
  return write_scalar(t, losses, "total", facet_executor_total_loss(t->executor));
}

static facet_status write_table_gradient(tracer *t, hid_t tables, facet_table *table) {
  FACET_HDF5_SCOPED hid_t group = -1;
  const facet_sparse_gradient *gradient = facet_table_gradient(table);
  const facet_shape slots = facet_shape_make(1, gradient->n);
  const facet_shape rows = facet_shape_make(2, gradient->n, facet_table_width(table));
  FACET_TRY(facet_hdf5_group_create(tables, facet_table_name(table), &group));
  FACET_TRY(write_data(t, group, "slot", FACET_HDF5_INT32, &slots, gradient->slot));
  return write_real(t, group, "rows", &rows, gradient->rows);
}

/* In the order of the backward pass. */
static facet_status write_gradients(tracer *t) {
  FACET_HDF5_SCOPED hid_t gradients = -1, activations = -1, parameters = -1, tables = -1;
  FACET_TRY(facet_hdf5_group_create(t->file, "gradients", &gradients));
  FACET_TRY(facet_hdf5_group_create(gradients, "activations", &activations));
  FACET_TRY(facet_hdf5_group_create(gradients, "parameters", &parameters));
  FACET_TRY(facet_hdf5_group_create(gradients, "tables", &tables));
  for (int64_t i = facet_executor_n_traced(t->executor) - 1; i >= 0; i--) {
    const facet_traced_tensor tensor = facet_executor_traced(t->executor, i);
    if (!tensor.gradient) continue;
    FACET_TRY(write_device(t, activations, tensor.name, tensor.dtype, &tensor.shape, tensor.gradient));
  }
  for (int i = 0; i < facet_parameters_n_dense(t->parameters); i++) {
    const facet_parameter_info *info = facet_parameters_dense(t->parameters, i);
    FACET_TRY(
        write_real(t, parameters, info->name, &info->shape, facet_parameters_gradients(t->parameters) + info->offset));
  }
  for (int i = 0; i < facet_parameters_n_tables(t->parameters); i++)
    FACET_TRY(write_table_gradient(t, tables, facet_parameters_table(t->parameters, i)));
  return FACET_OK;
}

/* ---- the step ---------------------------------------------------------------------------------------------------- */

static facet_status build(tracer *t) {
  const facet_config *config = t->config;
  FACET_TRY(facet_config_open_device(config, "cpu", &t->device));
  FACET_TRY(facet_dataset_open(config->data_path, config->data.train, &t->dataset));
  FACET_TRY(facet_parameters_create(&t->parameters));
  FACET_TRY(facet_model_build(config->model, config->model_options, FACET_PROGRAM_TRAIN,
                              facet_dataset_schema(t->dataset), config->train.batch_size / config->train.accumulate,
                              config->data.max_length, t->parameters, &t->graph));
  FACET_TRY(facet_parameters_allocate(t->parameters, (uint64_t)config->train.seed, true));
  FACET_TRY(facet_executor_create_traced(t->graph, t->device, &t->executor));
  return facet_executor_reserve_tables(t->executor, 1);
}

static facet_status load_checkpoint(tracer *t) {
  char path[FACET_PATH_MAX];
  if (!t->request->checkpoint) return FACET_OK;
  const facet_checkpoint checkpoint = {
      .config = t->config, .schema = facet_dataset_schema(t->dataset), .parameters = t->parameters};
  FACET_TRY(facet_checkpoint_resolve(t->request->checkpoint, path));
  return facet_checkpoint_read(path, &checkpoint);
}

static void add_noise(facet_real *values, int64_t n, double sd, uint64_t seed, const char *name) {
  char purpose[256];
  snprintf(purpose, sizeof purpose, "trace/%s", name);
  const facet_rng_key key = facet_rng_key_make(seed, purpose);
  for (int64_t i = 0; i < n; i++) values[i] += (facet_real)(sd * (double)facet_rng_normal(key, (uint64_t)i));
}

/* Row 0 of a table is padding and stays zero. */
static void perturb(tracer *t) {
  const double sd = t->request->perturb;
  const uint64_t seed = (uint64_t)t->config->train.seed;
  if (sd == 0) return;
  for (int i = 0; i < facet_parameters_n_dense(t->parameters); i++) {
    const facet_parameter_info *info = facet_parameters_dense(t->parameters, i);
    add_noise(facet_parameters_values(t->parameters) + info->offset, facet_shape_elements(&info->shape), sd, seed,
              info->name);
  }
  for (int i = 0; i < facet_parameters_n_tables(t->parameters); i++) {
    facet_table *table = facet_parameters_table(t->parameters, i);
    const int64_t width = facet_table_width(table);
    add_noise(facet_table_rows(table) + width, (facet_table_n_rows(table) - 1) * width, sd, seed,
              facet_table_name(table));
  }
}

static facet_status load_batch(tracer *t, const facet_batch **batch) {
  const int64_t n = facet_dataset_n_samples(t->dataset), batch_number = t->request->batch;
  const int64_t micro_batch = t->config->train.batch_size / t->config->train.accumulate;
  FACET_CHECK(batch_number < (n + micro_batch - 1) / micro_batch, FACET_ERROR_USAGE,
              "batch %lld does not exist: split %s has %lld samples, %lld in a batch", (long long)batch_number,
              t->config->data.train, (long long)n, (long long)micro_batch);
  const facet_order order = facet_config_order(t->config, n, t->config->train.seed, 0);
  const int64_t first = batch_number * micro_batch, last = first + micro_batch < n ? first + micro_batch : n;
  FACET_TRY(facet_loader_create(t->dataset, facet_executor_batch_layout(t->executor), order, first, last, 1, 0, 1,
                                &t->loader));
  return facet_loader_next(t->loader, batch, NULL);
}

static facet_status trace_step(tracer *t) {
  const facet_train_options *train = &t->config->train;
  const facet_batch *batch;
  t->run = (facet_run){.training = true,
                       .seed = (uint64_t)train->seed,
                       .step = t->request->batch / train->accumulate,
                       .micro_step = t->request->batch % train->accumulate};
  FACET_TRY(build(t));
  FACET_TRY(load_checkpoint(t));
  perturb(t);
  FACET_TRY(load_batch(t, &batch));
  FACET_TRY(write_attributes(t, batch));
  FACET_TRY(write_constants(t));
  FACET_TRY(facet_executor_forward(t->executor, batch, &t->run));
  FACET_TRY(write_forward(t, batch));
  FACET_TRY(write_losses(t));
  FACET_TRY(facet_executor_backward(t->executor, 1));
  return write_gradients(t);
}

static void close_tracer(tracer *t) {
  facet_loader_destroy(&t->loader);
  facet_executor_destroy(&t->executor);
  facet_graph_destroy(&t->graph);
  facet_parameters_destroy(&t->parameters);
  facet_dataset_close(&t->dataset);
  facet_device_close(&t->device);
}

static facet_status fill_file(hid_t file, const void *context) {
  const facet_trace_request *request = context;
  tracer t = {.request = request, .config = request->config, .file = file};
  const facet_status status = trace_step(&t);
  close_tracer(&t);
  return status;
}

facet_status facet_trace_write(const facet_trace_request *request) {
  FACET_CHECK(access(request->output, F_OK) != 0, FACET_ERROR_USAGE, "%s exists; facet never overwrites a trace",
              request->output);
  return facet_hdf5_write_file(request->output, fill_file, request);
}
