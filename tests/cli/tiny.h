/* A tiny synthetic data set, a configuration that trains on it in a few hundredths of a second, and what runs left. */
#ifndef TINY_H
#define TINY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/program.h"

/* A suite's .init and .fini: a directory of the test with
 *   data/   60 users, 80 items; 1440 training samples, 180 validation and 180 test samples
 *   c.yaml  mean_pooling with two small layers: 23 updates of 64 samples an epoch, 2 epochs, one thread */
void tiny_create(void);
void tiny_remove(void);
/* Makes the data set `name` in the test's directory; `sets` are more options of facet synthesize, "" for none. */
void tiny_synthesize(const char *name, const char *sets);

/* "<directory>/<text>" in a buffer that lives until the eighth call after. */
const char *tiny_path(const char *format, ...) FACET_PRINTF(1, 2);
void tiny_write(const char *name, const char *text);

/* Runs `facet train c.yaml --output <run> ARGUMENTS` and returns its exit status. */
int tiny_train(const char *run, const char *format, ...) FACET_PRINTF(2, 3);
/* The same, which must succeed. */
void tiny_train_ok(const char *run, const char *arguments);

/* Starts `facet train c.yaml --output <run> [--set SET]…` beside the test, its output going to <run>.log; `sets` end with
 * NULL. */
pid_t tiny_start(const char *run, const char *const *sets);

/* ---- what a run left ------------------------------------------------------------------------------------------- */

/* Lines of metrics.jsonl as an array (each must be one JSON object); those of a type, if given. */
json_t *tiny_lines(const char *run, const char *type);
/* Lines with what depends on the clock (samples_per_second, data_wait, train_seconds) removed. */
json_t *tiny_lines_without_time(const char *run);
/* A number of a line; the key must be there and not null. */
double tiny_number(const json_t *line, const char *key);
/* The same of the last line of a type. */
double tiny_last(const char *run, const char *type, const char *key);

/* Step of the newest checkpoint that has its final name; −1 if there is none. */
int64_t tiny_newest_step(const char *run);
/* Name that checkpoints/best points at. */
const char *tiny_best(const char *run);
/* Reads a float data set of a checkpoint's model.h5; returns its number of values (at most `capacity`). */
size_t tiny_read(const char *run, const char *checkpoint, const char *name, float *values, size_t capacity);

bool tiny_same_file(const char *a, const char *b);
/* Both runs ended with the same bytes in the newest model.h5 and the same lines. */
void tiny_expect_same_run(const char *a, const char *b);

/* Overwrites one value of a data set in an HDF5 file of the test's directory. */
void tiny_poke(const char *file, const char *dataset, int64_t element, double value);

#endif
