/* What `facet inspect` prints: of data here, of checkpoints and runs in host/train/inspect_*.c. Private to host/.
 *
 * Columns are read in blocks, tokens and attributes row by row, so that memory does not grow with the data. */
#ifndef FACET_DATA_INSPECT_H
#define FACET_DATA_INSPECT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "data/column.h"
#include "data/hdf5.h"
#include "facet/file.h"
#include "facet/schema.h"
#include "facet/shard.h"
#include "facet/status.h"

typedef struct facet_inspect_request {
  const char *path;
  bool verify;       /* check everything before anything is described; the first fault is the error */
  int64_t n_rows;    /* rows to print */
  const char *split; /* of a data set: only this one; NULL: all */
  FILE *out;
} facet_inspect_request;

facet_status facet_inspect_shard(const facet_inspect_request *request);
facet_status facet_inspect_tables(const facet_inspect_request *request);
facet_status facet_inspect_vocabulary(const facet_inspect_request *request);
facet_status facet_inspect_dataset(const facet_inspect_request *request);

/* ---- text (inspect_text.c); strings live in thread-local rings ------------------------------------------------ */

/* A line "name         value". */
void inspect_field(FILE *out, const char *name, const char *format, ...) FACET_PRINTF(3, 4);
/* A line "ok           name   detail". */
void inspect_ok(FILE *out, const char *name, const char *format, ...) FACET_PRINTF(3, 4);

const char *inspect_count(int64_t n);                     /* "1,234,567" */
const char *inspect_plural(int64_t n, const char *noun);  /* "1 part", "1,200 parts" */
const char *inspect_share(int64_t n, int64_t total);      /* "40.1 %"; "-" of nothing */
const char *inspect_time(int64_t seconds);                /* "2023-11-14 22:13:20", UTC */
const char *inspect_shape(int rank, const int64_t *dims); /* "[8400, 3]" */

/* A token in quotes, with \xNN for bytes that cannot be printed: "Toy Story", "\xFF\x00". The first INSPECT_TOKEN_BYTES are
 * shown (a longer one ends with "…), and at most three more are looked at. */
#define INSPECT_TOKEN_BYTES 60
const char *inspect_quote(const void *token, size_t n_bytes);

/* Bytes of a file, or of the regular files in a directory; 0 if there is none. */
int64_t inspect_file_bytes(const char *path);
/* The directory that holds the file, or is `levels` above that, into directory[FACET_PATH_MAX]. */
facet_status inspect_directory_of(const char *path, int levels, char *directory);

/* A table with aligned columns. Cells are added row by row. A title that begins with > is of a column aligned to the
 * right. */
typedef struct inspect_grid inspect_grid;
facet_status inspect_grid_create(int n_columns, const char *const *titles, int indent, inspect_grid **grid);
void inspect_grid_destroy(inspect_grid **grid);
facet_status inspect_cell(inspect_grid *grid, const char *format, ...) FACET_PRINTF(2, 3);
/* Prints and forgets the rows, without columns whose cells are all empty; the titles come once. */
void inspect_grid_print(inspect_grid *grid, FILE *out);

/* ---- what ids mean (inspect_names.c) --------------------------------------------------------------------------- */

/* An open vocabulary file. */
typedef struct inspect_tokens {
  char *path, name[256];
  hid_t file, offsets, bytes;
  int64_t size, n_bytes;
  bool has_hash;
  uint64_t hash;
} inspect_tokens;

facet_status inspect_tokens_open(const char *path, inspect_tokens **tokens);
void inspect_tokens_close(inspect_tokens **tokens);
/* The token of an id in quotes, <padding>, <unknown>, or <none> for an id outside the vocabulary. */
facet_status inspect_tokens_get(const inspect_tokens *tokens, int64_t id, const char **text);

/* The vocabularies and attribute tables of a data set directory, as far as they are there. */
typedef struct inspect_names {
  const facet_schema *schema;
  char tables_path[FACET_PATH_MAX];
  hid_t tables;                     /* −1: no tables.h5 */
  inspect_tokens **tokens;          /* [n_vocabularies] NULL where there is no file */
  facet_column **values, **offsets; /* [n_features] of joined features */
} inspect_names;

facet_status inspect_names_open(const facet_schema *schema, const char *directory, inspect_names **names);
void inspect_names_close(inspect_names **names);

#define INSPECT_VALUE_BYTES 4096

/* One row of a column in words into text[INSPECT_VALUE_BYTES]: 5 "c3"; [2 "a", 3 "b"]; 0.25; a date. `feature` says
 * what it holds; tokens[vocabulary] may be NULL. */
facet_status inspect_value(const facet_feature *feature, inspect_tokens *const *tokens, facet_column *values,
                           facet_column *offsets, int64_t row, char *text);
/* The same for a feature of a sample, or of an event, of the shard, also if it is joined. */
facet_status inspect_feature(const inspect_names *names, facet_shard *shard, int feature, int64_t row, char *text);

/* ---- statistics of shards (inspect_statistics.c) --------------------------------------------------------------- */

typedef struct inspect_windows {
  int64_t *histogram; /* [capacity] windows by length */
  size_t capacity;
  int64_t n, n_outside, n_events; /* n_outside: of impossible length, not in the histogram */
} inspect_windows;

typedef struct inspect_statistics {
  const facet_schema *schema;
  int64_t n_parts, n_samples, n_positives, n_bytes;
  double label_sum;
  int64_t time_min, time_max; /* of samples; min > max: none */
  inspect_windows *windows;   /* [n_sequences] */
} inspect_statistics;

facet_status inspect_statistics_create(const facet_schema *schema, inspect_statistics **statistics);
void inspect_statistics_destroy(inspect_statistics **statistics);
facet_status inspect_statistics_add(inspect_statistics *statistics, facet_shard *shard);
int64_t inspect_statistics_n_events(const inspect_statistics *statistics);
facet_status inspect_windows_grid(inspect_grid **grid);
/* Adds a row per sequence; `split` may be "". */
facet_status inspect_windows_add(inspect_grid *grid, const inspect_statistics *statistics, const char *split);

/* ---- parts of the reports that a data set shares with its files ------------------------------------------------ */

/* Prints rows 0 … n − 1 of a shard, numbered from `first`. */
facet_status inspect_rows(const inspect_names *names, facet_shard *shard, int64_t first, int64_t n, FILE *out);
/* Loads a vocabulary, which checks tokens, duplicates and hash, and compares its name and size with those of `info` of
 * the schema (may be NULL). */
facet_status inspect_verify_vocabulary(const char *path, const facet_schema *schema, const facet_vocabulary_info *info);

#endif
