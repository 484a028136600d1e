/* A small data set whose every value is a function of (part, row), for the tests of batches, orders and loaders. */
#ifndef FACET_TESTS_BATCH_FIXTURE_H
#define FACET_TESTS_BATCH_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "facet/status.h"
#include "support/files.h"

#define FIXTURE_PARTS 3
#define FIXTURE_SAMPLES 88 /* 37 + 1 + 50 */
#define FIXTURE_ITEMS 40
#define FIXTURE_USERS 12
#define FIXTURE_GENRES 9
#define FIXTURE_SHOPS 6

extern const int64_t fixture_n_samples[FIXTURE_PARTS];
extern const int64_t fixture_n_events[FIXTURE_PARTS];

typedef struct fixture_options {
  bool compress[FIXTURE_PARTS];
  bool no_group, no_weight;
} fixture_options;

/* Makes a new directory and the data set with split `train` in it; path has 64 bytes. */
facet_status fixture_create(fixture_options options, char *path);

/* Overwrites one element of a data set of part `part` (−1: tables.h5), e.g. "/samples/label". */
void fixture_poke(const char *path, int part, const char *name, int64_t element, double value);

/* The values. `what` is the feature's name; events and samples of one name differ. */
int32_t fixture_id(const char *what, int64_t part, int64_t row, int64_t size);
float fixture_float(const char *what, int64_t part, int64_t row, int64_t element);
int32_t fixture_count(const char *what, int64_t part, int64_t row, int64_t bag); /* values in a bag, 0 … bag */
int32_t fixture_bag_id(const char *what, int64_t part, int64_t row, int64_t element, int64_t size);
float fixture_label(int64_t part, int64_t row);
float fixture_weight(int64_t part, int64_t row);
int64_t fixture_session(int64_t part, int64_t row);
int64_t fixture_start(int64_t part, int64_t row);
int32_t fixture_length(int64_t part, int64_t row); /* 0 … 6 */

#endif
