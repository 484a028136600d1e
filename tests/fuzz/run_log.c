/* The logs of a run, which a resumed run cuts back: metrics.jsonl, or the event file of TensorBoard. */
#include <string.h>

#include "common/fuzz.h"
#include "train/event_file.h"
#include "train/run_log.h"

enum { EVALUATED = 1, EVENTS = 2, SEALED = 4 }; /* SEALED: the input is one event, of which a record is made */

static char directory[FACET_PATH_MAX], metrics[FACET_PATH_MAX], events[FACET_PATH_MAX];

static void begin(void) {
  FUZZ_MUST(facet_path_format(directory, "%s", fuzz_path("run")));
  FUZZ_MUST(facet_path_format(metrics, "%s/metrics.jsonl", directory));
  FUZZ_MUST(facet_path_format(events, "%s/events.out.tfevents.1.host", directory));
  FUZZ_MUST(facet_directory_create(directory));
}

static uint32_t masked_crc(const void *data, size_t n_bytes) {
  const uint32_t crc = facet_crc32c(data, n_bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static void write_event(const uint8_t *data, size_t n_bytes) {
  uint8_t record[4096 + 16];
  if (n_bytes > 4096) n_bytes = 4096;
  const uint64_t length = n_bytes;
  memcpy(record, &length, 8);
  const uint32_t length_crc = masked_crc(record, 8), crc = masked_crc(data, n_bytes);
  memcpy(record + 8, &length_crc, 4);
  memcpy(record + 12, data, n_bytes);
  memcpy(record + 12 + n_bytes, &crc, 4);
  fuzz_write(events, record, n_bytes + 16);
}

/* Bytes of both files. */
static size_t cut(int64_t step, bool evaluated) {
  facet_run_log *log;
  size_t a = 0, b = 0;
  if (!fuzz_verdict(facet_run_log_open(directory, step, evaluated, &log))) return 0;
  facet_run_log_close(&log);
  facet_memory_free(fuzz_read(metrics, &a));
  facet_memory_free(fuzz_read(events, &b));
  return a + b;
}

static void run(const uint8_t *data, size_t n_bytes) {
  bool complete;
  if (n_bytes < 2) return;
  const uint8_t flags = data[0], step = data[1];
  data += 2, n_bytes -= 2;
  fuzz_write(metrics, data, flags & EVENTS ? 0 : n_bytes);
  if (flags & SEALED)
    write_event(data, n_bytes);
  else
    fuzz_write(events, data, flags & EVENTS ? n_bytes : 0);
  fuzz_verdict(facet_run_log_is_complete(directory, step, &complete));
  const size_t n_kept = cut(step, flags & EVALUATED);
  FUZZ_CHECK(cut(step, flags & EVALUATED) == n_kept, "cutting a log again changes it");
  fuzz_verdict(facet_run_log_is_complete(directory, step, &complete));
  FUZZ_CHECK(!complete, "a log that was cut is complete");
}

static void seeds(fuzz_emit emit) {
#define SEED(name, text) emit(name, text, sizeof text - 1)
  SEED("metrics", "\x01\x05{\"type\": \"train\", \"step\": 5, \"loss\": 0.5}\n{\"type\": \"evaluate\", \"step\": 5}\n"
                  "{\"type\": \"evaluate\", \"step\": 5, \"final\": true}\n{\"type\": \"train\", \"step\": 6}\n"
                  "{\"type\": \"summary\", \"step\": 5}\n{\"type\": ");
  SEED("step", "\x06\x05\x09\0\0\0\0\0\0\xf0?\x10\x04*\x0d\x0a\x0b\x0a\x04loss\x15\0\0\0?");
  SEED("evaluation", "\x07\x05\x10\x05*\x10\x0a\x0e\x0a\x08"
                     "eval/auc\x15\0\0\0?");
  SEED("version", "\x06\x05\x1a\x0d"
                  "brain.Event:2");
#undef SEED
  const uint8_t record[] = {2, 5, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 16, 4, 1, 2, 3, 4};
  emit("damaged", record, sizeof record);
}

const fuzz_target fuzz = {.begin = begin, .run = run, .seeds = seeds};
