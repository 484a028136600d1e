/* metrics.jsonl and the TensorBoard file: content, cutting back, errors. */
#include "train/run_log.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "event.pb-c.h"
#include "facet/file.h"
#include "facet/memory.h"
#include "support/files.h"
#include "train/event_file.h"

static char directory[64];

static void make_directory(void) {
  test_directory_create(directory);
}

static void remove_directory(void) {
  test_directory_remove(directory);
}

TestSuite(run_log, .init = make_directory, .fini = remove_directory);

static char *read_file(const char *name, size_t *n_bytes) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return test_file_read(path, n_bytes);
}

static char *read_events(size_t *n_bytes) {
  DIR *listing = opendir(directory);
  char name[256] = "";
  int n = 0;
  for (struct dirent *entry; (entry = readdir(listing));)
    if (strncmp(entry->d_name, "events.out.tfevents.", 20) == 0) {
      snprintf(name, sizeof name, "%s", entry->d_name);
      n++;
    }
  closedir(listing);
  cr_assert_eq(n, 1, "%d event files", n);
  return read_file(name, n_bytes);
}

/* Writes a log of three steps with an evaluation at step 2, a final evaluation and a summary. */
static void write_run(void) {
  facet_run_log *log;
  facet_log_value part = {"loss/bce", 0.5};
  const facet_metrics_result result = {
      .n_samples = 10, .n_positives = 4, .auc = 0.75, .gauc = NAN, .logloss = 0.6, .ne = 0.9, .calibration = 1};
  cr_assert_eq(facet_run_log_open(directory, 0, true, &log), FACET_OK, "%s", facet_error_get()->message);
  for (int step = 1; step <= 3; step++) {
    const facet_train_record record = {.point = {step, 100 * step, 0.25 * step},
                                       .loss = 1.0 / step,
                                       .n_parts = 1,
                                       .parts = &part,
                                       .lr = 0.1,
                                       .lr_sparse = 0.2,
                                       .grad_norm = NAN};
    cr_assert_eq(facet_run_log_train(log, &record), FACET_OK);
    if (step == 2) cr_assert_eq(facet_run_log_evaluate(log, &record.point, "valid", false, &result), FACET_OK);
  }
  const facet_log_point end = {3, 300, 0.75};
  const facet_train_state state = {.best_step = 2, .best_metric = 0.75, .train_seconds = 1.5};
  cr_assert_eq(facet_run_log_evaluate(log, &end, "test", true, &result), FACET_OK);
  cr_assert_eq(facet_run_log_summary(log, &end, "auc", &state), FACET_OK);
  facet_run_log_close(&log);
}

/* "train1 train2 evaluate2 …" */
static void lines(char *out) {
  size_t n_bytes;
  char *text = read_file("metrics.jsonl", &n_bytes), *rest = text;
  out[0] = '\0';
  for (char *line; (line = strsep(&rest, "\n")) && *line;) {
    json_t *object = json_loads(line, 0, NULL);
    cr_assert(object, "%s", line);
    sprintf(out + strlen(out), "%s%d ", json_string_value(json_object_get(object, "type")),
            (int)json_integer_value(json_object_get(object, "step")));
    json_decref(object);
  }
  facet_memory_free(text);
}

Test(run_log, lines_have_the_documented_fields) {
  size_t n_bytes;
  char order[256];
  write_run();
  lines(order);
  cr_assert_str_eq(order, "train1 train2 evaluate2 train3 evaluate3 summary3 ");
  char *text = read_file("metrics.jsonl", &n_bytes);
  cr_assert(strstr(text, "{\"type\":\"train\",\"step\":2,\"epoch\":0.5,\"samples\":200,\"loss\":0.5,\"loss/bce\":0.5,"
                         "\"lr\":0.1,\"lr_sparse\":0.2,\"grad_norm\":null,\"samples_per_second\":0.0,"
                         "\"data_wait\":0.0}\n"),
            "%s", text);
  cr_assert(strstr(text, "{\"type\":\"evaluate\",\"split\":\"valid\",\"step\":2,\"epoch\":0.5,\"samples\":200,"
                         "\"auc\":0.75,\"gauc\":null,\"logloss\":0.6,\"ne\":0.9,\"calibration\":1.0,\"n_samples\":10,"
                         "\"n_positives\":4}\n"),
            "%s", text);
  facet_memory_free(text);
}

Test(run_log, complete_only_with_the_summary_of_the_step) {
  bool complete = true;
  cr_assert_eq(facet_run_log_is_complete(directory, 3, &complete), FACET_OK);
  cr_assert_not(complete, "no file");
  write_run();
  cr_assert_eq(facet_run_log_is_complete(directory, 3, &complete), FACET_OK);
  cr_assert(complete);
  cr_assert_eq(facet_run_log_is_complete(directory, 2, &complete), FACET_OK);
  cr_assert_not(complete);
}

Test(run_log, resume_cuts_back) {
  char order[256];
  facet_run_log *log;
  write_run();
  cr_assert_eq(facet_run_log_open(directory, 3, true, &log), FACET_OK);
  facet_run_log_close(&log);
  lines(order);
  cr_assert_str_eq(order, "train1 train2 evaluate2 train3 ", "final lines go when a finished run continues");
  cr_assert_eq(facet_run_log_open(directory, 2, true, &log), FACET_OK);
  facet_run_log_close(&log);
  lines(order);
  cr_assert_str_eq(order, "train1 train2 evaluate2 ");
  cr_assert_eq(facet_run_log_open(directory, 2, false, &log), FACET_OK);
  facet_run_log_close(&log);
  lines(order);
  cr_assert_str_eq(order, "train1 train2 ", "an evaluation that will be repeated goes");
}

Test(run_log, torn_last_line_goes) {
  char path[FACET_PATH_MAX], order[256];
  facet_run_log *log;
  write_run();
  facet_path_format(path, "%s/metrics.jsonl", directory);
  FILE *stream = fopen(path, "a");
  fputs("{\"type\":\"train\",\"step\":3,\"ep", stream);
  fclose(stream);
  cr_assert_eq(facet_run_log_open(directory, 3, true, &log), FACET_OK);
  facet_run_log_close(&log);
  lines(order);
  cr_assert_str_eq(order, "train1 train2 evaluate2 train3 ");
}

/* Steps of the events, and the value of a tag in the last event that has it. */
static int events(int64_t *steps, const char *tag, float *value) {
  size_t n_bytes, at = 0;
  int n = 0;
  char *data = read_events(&n_bytes);
  while (at < n_bytes) {
    uint64_t length;
    memcpy(&length, data + at, 8);
    Facet__Event *event = facet__event__unpack(NULL, length, (uint8_t *)data + at + 12);
    cr_assert(event);
    steps[n++] = event->step;
    if (event->what_case == FACET__EVENT__WHAT_SUMMARY)
      for (size_t i = 0; i < event->summary->n_value; i++)
        if (strcmp(event->summary->value[i]->tag, tag) == 0) *value = event->summary->value[i]->simple_value;
    facet__event__free_unpacked(event, NULL);
    at += length + 16;
  }
  cr_assert_eq(at, n_bytes);
  facet_memory_free(data);
  return n;
}

Test(run_log, tensorboard_events) {
  int64_t steps[16];
  float value = -1;
  write_run();
  int n = events(steps, "eval/auc", &value);
  cr_assert_eq(n, 6, "version, three logs, two evaluations, got %d", n);
  cr_assert_eq(steps[3], 2);
  cr_assert_float_eq(value, 0.75, 1e-6);
  events(steps, "samples_per_second", &value);
  cr_assert_eq(value, 0, "zeros are on the wire");
  events(steps, "lr/sparse", &value);
  cr_assert_float_eq(value, 0.2, 1e-6);
  value = -1;
  events(steps, "eval/gauc", &value);
  cr_assert_eq(value, -1, "undefined values are left out");
}

Test(run_log, resume_cuts_events_back_and_appends) {
  int64_t steps[16];
  float value;
  facet_event_file *file;
  const char *tag = "loss/total";
  double loss = 0.125;
  write_run();
  cr_assert_eq(facet_event_file_open(directory, 1, true, &file), FACET_OK);
  cr_assert_eq(facet_event_file_write(file, 2, 1, &tag, &loss), FACET_OK);
  facet_event_file_close(&file);
  cr_assert_eq(events(steps, tag, &value), 3);
  cr_assert_eq(steps[2], 2);
  cr_assert_eq(value, 0.125f);
}

Test(run_log, resume_cuts_events_of_an_evaluation_that_is_repeated) {
  int64_t steps[16];
  float value;
  facet_event_file *file;
  write_run();
  cr_assert_eq(facet_event_file_open(directory, 3, true, &file), FACET_OK);
  facet_event_file_close(&file);
  cr_assert_eq(events(steps, "test/auc", &value), 5, "the final evaluation goes");
  cr_assert_eq(facet_event_file_open(directory, 2, true, &file), FACET_OK);
  facet_event_file_close(&file);
  cr_assert_eq(events(steps, "eval/auc", &value), 4);
  cr_assert_eq(facet_event_file_open(directory, 2, false, &file), FACET_OK);
  facet_event_file_close(&file);
  cr_assert_eq(events(steps, "eval/auc", &value), 3, "version and two logs");
}

Test(run_log, crc32c_known_answer) {
  /* RFC 3720, B.4: 32 bytes of zeros, and the check value of "123456789" */
  const char zeros[32] = {0};
  cr_assert_eq(facet_crc32c(zeros, 32), 0x8a9136aau);
  cr_assert_eq(facet_crc32c("123456789", 9), 0xe3069283u);
}

Test(run_log, full_device_is_named) {
  char path[FACET_PATH_MAX];
  facet_run_log *log;
  facet_path_format(path, "%s/metrics.jsonl", directory);
  cr_assert_eq(symlink("/dev/full", path), 0);
  facet_status status = facet_run_log_open(directory, 0, true, &log);
  if (status == FACET_OK) {
    const facet_train_record record = {.point = {1, 1, 1}};
    status = facet_run_log_train(log, &record);
    facet_run_log_close(&log);
  }
  cr_assert_eq(status, FACET_ERROR_IO);
  cr_assert(strstr(facet_error_get()->message, "metrics.jsonl"), "%s", facet_error_get()->message);
}
