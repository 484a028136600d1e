/* The result of a bench as tables and as JSON. */
#include <jansson.h>
#include <stdlib.h>

#include "bench/measure.h"
#include "facet/log.h"
#include "facet/model.h"

double facet_bench_floor(const facet_bench_peaks *peaks, double flops, double bytes) {
  const double compute = flops / peaks->flops, memory = bytes / peaks->bytes;
  return compute > memory ? compute : memory;
}

static double seconds_of(const facet_bench_row *row) {
  return row->forward_seconds + row->backward_seconds;
}

static double part_bytes(const facet_bench_result *result, int part) {
  if (part == FACET_BENCH_DENSE) return result->dense_bytes;
  return part == FACET_BENCH_SPARSE ? result->sparse_bytes : 0;
}

/* Sums over all nodes. */
static facet_bench_row total_of(const facet_bench_result *result) {
  facet_bench_row total = {.name = "all nodes"};
  for (int64_t i = 0; i < result->n_nodes; i++) {
    const facet_bench_row *node = &result->node[i];
    total.n_nodes++;
    total.forward_seconds += node->forward_seconds;
    total.backward_seconds += node->backward_seconds;
    total.flops += node->flops;
    total.bytes += node->bytes;
  }
  return total;
}

static double total_floor(const facet_bench_result *result) {
  double sum = facet_bench_floor(&result->peaks, 0, result->dense_bytes) +
               facet_bench_floor(&result->peaks, 0, result->sparse_bytes);
  for (int64_t i = 0; i < result->n_nodes; i++)
    sum += facet_bench_floor(&result->peaks, result->node[i].flops, result->node[i].bytes);
  return sum;
}

static double best_rate(const facet_bench_result *result) {
  return result->window_rate[result->n_windows - 1];
}

static double median_rate(const facet_bench_result *result) {
  return result->window_rate[result->n_windows / 2];
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

static const char line_format[] = "%-32s %5s %9.3f %9.3f %6.1f%% %10.3f %9.3f %8.1f %7.1f %9.3f %8.1f%%\n";

static void print_row(const facet_bench_result *result, const facet_bench_row *row, FILE *out) {
  char nodes[16];
  const double seconds = seconds_of(row), floor = facet_bench_floor(&result->peaks, row->flops, row->bytes);
  snprintf(nodes, sizeof nodes, "%lld", (long long)row->n_nodes);
  fprintf(out, line_format, row->name, nodes, 1e3 * row->forward_seconds, 1e3 * row->backward_seconds,
          100 * seconds / result->timed_step_seconds, row->flops / 1e6, row->bytes / 1e6, row->flops / seconds / 1e9,
          row->bytes / seconds / 1e9, 1e3 * floor, 100 * floor / seconds);
}

static void print_part(const facet_bench_result *result, int part, FILE *out) {
  const double seconds = result->part_seconds[part], bytes = part_bytes(result, part);
  fprintf(out, "%-32s %5s %9.3f %9s %6.1f%%", facet_bench_part_names[part], "", 1e3 * seconds, "",
          100 * seconds / result->timed_step_seconds);
  if (bytes > 0)
    fprintf(out, " %10s %9.3f %8s %7.1f %9.3f %8.1f%%", "", bytes / 1e6, "", bytes / seconds / 1e9,
            1e3 * bytes / result->peaks.bytes, 100 * bytes / result->peaks.bytes / seconds);
  fprintf(out, "\n");
}

static void print_heading(const char *what, FILE *out) {
  fprintf(out, "\n%-32s %5s %9s %9s %7s %10s %9s %8s %7s %9s %9s\n", what, "nodes", "forw. ms", "backw. ms", "of step",
          "MFLOP", "MB", "GFLOP/s", "GB/s", "floor ms", "of peak");
}

static void print_step(const facet_bench_result *result, FILE *out) {
  const facet_bench_row nodes = total_of(result);
  const double floor = total_floor(result);
  print_heading("one step", out);
  for (int64_t i = 0; i < result->n_ops; i++) print_row(result, &result->op[i], out);
  for (int i = 0; i < FACET_BENCH_N_PARTS; i++) print_part(result, i, out);
  fprintf(out, "%-32s %5s %9.3f %9s %6.1f%% %10.3f %9.3f %8.1f %7.1f %9.3f %8.1f%%\n", "sum", "",
          1e3 * result->timed_step_seconds, "", 100.0, nodes.flops / 1e6,
          (nodes.bytes + result->dense_bytes + result->sparse_bytes) / 1e6,
          nodes.flops / result->timed_step_seconds / 1e9, nodes.bytes / result->timed_step_seconds / 1e9, 1e3 * floor,
          100 * floor / result->timed_step_seconds);
}

static void print_speed(const facet_bench_result *result, FILE *out) {
  const double flops = total_of(result).flops / (double)result->batch_size;
  fprintf(out, "speed      %.0f samples/s, median of %d windows of %lld steps; best %.0f\n", median_rate(result),
          result->n_windows, (long long)result->window_steps, best_rate(result));
  fprintf(out, "           %.2f MFLOP a sample: %.1f%% of the peak (best window %.1f%%)\n", flops / 1e6,
          100 * flops * median_rate(result) / result->peaks.flops,
          100 * flops * best_rate(result) / result->peaks.flops);
  fprintf(out, "           %.3f ms a step; %.3f ms with a clock around every call (mean of the faster half of %lld)\n",
          1e3 * result->step_seconds, 1e3 * result->timed_step_seconds, (long long)result->n_timed_steps);
  fprintf(out, "data       %.3f ms to assemble a batch, in the thread that reads ahead\n",
          1e3 * result->assemble_seconds);
}

void facet_bench_print(const facet_bench_result *result, const facet_config *config, bool nodes, FILE *out) {
  const facet_plan_report *plan = &result->plan;
  fprintf(out, "model      %s, %lld samples a step (%s)\n", config->model->name, (long long)result->batch_size,
          config->path);
  fprintf(out, "device     %s\n", result->device);
  fprintf(out, "peaks      matrix product %.1f GFLOP/s, copy %.1f GB/s (read + written)\n", result->peaks.flops / 1e9,
          result->peaks.bytes / 1e9);
  fprintf(out, "memory     %s resident at most; planned: %s", facet_format_bytes(result->peak_rss_bytes),
          facet_format_bytes((double)plan->arena));
  fprintf(out, " for activations and gradients, scratch %s, parameters and their gradients %s, ",
          facet_format_bytes((double)plan->scratch),
          facet_format_bytes((double)(plan->parameters + plan->parameter_gradients)));
  fprintf(out, "optimizer %s, tables %s\n", facet_format_bytes((double)result->optimizer_bytes),
          facet_format_bytes((double)result->table_bytes));
  fprintf(out, "start      %.2f s from the start of the process to the end of the first step\n",
          result->startup_seconds);
  print_speed(result, out);
  print_step(result, out);
  if (!nodes) return;
  print_heading("node", out);
  for (int64_t i = 0; i < result->n_nodes; i++) print_row(result, &result->node[i], out);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

static json_t *pack_rows(const facet_bench_result *result, const facet_bench_row *rows, int64_t n) {
  json_t *array = json_array();
  for (int64_t i = 0; i < n; i++) {
    const facet_bench_row *row = &rows[i];
    const double floor = facet_bench_floor(&result->peaks, row->flops, row->bytes);
    json_array_append_new(array, json_pack("{s:s, s:s*, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "name", row->name,
                                           "operator", row->op, "nodes", (json_int_t)row->n_nodes, "forward_seconds",
                                           row->forward_seconds, "backward_seconds", row->backward_seconds,
                                           "share_of_step", seconds_of(row) / result->timed_step_seconds, "flops",
                                           row->flops, "bytes", row->bytes, "floor_seconds", floor));
  }
  return array;
}

static json_t *pack_parts(const facet_bench_result *result) {
  json_t *array = json_array();
  for (int i = 0; i < FACET_BENCH_N_PARTS; i++)
    json_array_append_new(
        array, json_pack("{s:s, s:f, s:f, s:f, s:f}", "name", facet_bench_part_names[i], "seconds",
                         result->part_seconds[i], "share_of_step", result->part_seconds[i] / result->timed_step_seconds,
                         "bytes", part_bytes(result, i), "floor_seconds", part_bytes(result, i) / result->peaks.bytes));
  return array;
}

static json_t *pack_planned(const facet_bench_result *result) {
  const facet_plan_report *plan = &result->plan;
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "arena", (json_int_t)plan->arena, "scratch",
                   (json_int_t)plan->scratch, "parameters", (json_int_t)plan->parameters, "parameter_gradients",
                   (json_int_t)plan->parameter_gradients, "optimizer", (json_int_t)result->optimizer_bytes, "tables",
                   (json_int_t)result->table_bytes);
}

static json_t *pack_windows(const facet_bench_result *result) {
  json_t *array = json_array();
  for (int i = 0; i < result->n_windows; i++) json_array_append_new(array, json_real(result->window_rate[i]));
  return array;
}

facet_status facet_bench_print_json(const facet_bench_result *result, const facet_config *config, FILE *out) {
  const double flops = total_of(result).flops / (double)result->batch_size;
  json_t *root = json_pack(
      "{s:s, s:s, s:s, s:i, s:I, s:f, s:f, s:o, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o}", "config",
      config->path, "model", config->model->name, "device", result->device, "threads", result->n_threads, "batch_size",
      (json_int_t)result->batch_size, "samples_per_second", median_rate(result), "samples_per_second_best",
      best_rate(result), "windows", pack_windows(result), "window_steps", (json_int_t)result->window_steps,
      "step_seconds", result->step_seconds, "timed_step_seconds", result->timed_step_seconds, "flops_per_sample", flops,
      "peak_flops_per_second", result->peaks.flops, "peak_bytes_per_second", result->peaks.bytes, "share_of_peak",
      flops * median_rate(result) / result->peaks.flops, "startup_seconds", result->startup_seconds, "memory",
      json_pack("{s:f, s:o}", "peak_rss_bytes", result->peak_rss_bytes, "planned_bytes", pack_planned(result)),
      "operators", pack_rows(result, result->op, result->n_ops), "parts", pack_parts(result), "nodes",
      pack_rows(result, result->node, result->n_nodes));
  char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
  json_decref(root);
  FACET_CHECK(text, FACET_ERROR_INTERNAL, "cannot write the result as JSON");
  fprintf(out, "%s\n", text);
  free(text);
  return FACET_OK;
}
