/* A small model with every kind of thing that a checkpoint holds, on a tiny data set; for the suites of checkpoints. */
#ifndef FACET_TESTS_CHECKPOINT_FIXTURE_H
#define FACET_TESTS_CHECKPOINT_FIXTURE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "facet/checkpoint.h"
#include "facet/file.h"
#include "facet/memory.h"
#include "facet/model.h"
#include "facet/vocabulary.h"
#include "support/files.h"

#define EXPECT_OK(expression) cr_assert_eq((expression), FACET_OK, "%s", facet_error_get()->message)

#define EXPECT_ERROR(wanted, expression, text)                                                                         \
  do {                                                                                                                 \
    const facet_status expect_status = (expression);                                                                   \
    const char *expect_message = facet_error_get()->message;                                                           \
    cr_assert_eq(expect_status, wanted, "status %d: %s", (int)expect_status, expect_message);                          \
    cr_assert(strstr(expect_message, text), "no \"%s\" in: %s", text, expect_message);                                 \
  } while (0)

/* ---- what is saved ----------------------------------------------------------------------------------------------- */

static char directory[64], run_directory[128];

static inline void make_directory(void) {
  test_directory_create(directory);
  snprintf(run_directory, sizeof run_directory, "%s/run", directory);
}

static inline void remove_directory(void) {
  test_directory_remove(directory);
}

/* "<directory>/<text>" in one of four buffers. */
static inline const char *path_of(const char *format, ...) {
  static char paths[4][512];
  static int next;
  char *path = paths[next++ % 4], text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  snprintf(path, 512, "%s/%s", directory, text);
  return path;
}

static const facet_option no_options[] = {{0}};
static const facet_model model = {.name = "small", .options = {"model", "", no_options, 0}};

typedef struct shape { /* of a model and its data set */
  int n_items;         /* ids of vocabulary `item`, rows of its table */
  int first_item;      /* number of its first token */
  int hash_size;       /* of the hashed vocabulary */
  int width;           /* of the hidden layer */
  const char *extra;   /* name of another parameter; NULL: none */
  const char *table;   /* name of the table of items */
} shape;

static const shape usual = {.n_items = 6, .hash_size = 9, .width = 3, .table = "item"};

typedef struct fixture {
  facet_config config;
  facet_schema *schema;
  facet_parameters *parameters;
  facet_graph *graph;
  facet_optimizer *optimizer;
  facet_train_state state;
  double log_sums[4];
  facet_checkpoint checkpoint;
} fixture;

static inline void write_vocabulary(const char *data_path, const shape *s) {
  facet_vocabulary *vocabulary;
  char path[FACET_PATH_MAX], token[32];
  int64_t id;
  EXPECT_OK(facet_path_format(path, "%s/vocab", data_path));
  EXPECT_OK(facet_directory_create(path));
  EXPECT_OK(facet_path_format(path, "%s/vocab/item.h5", data_path));
  EXPECT_OK(facet_vocabulary_create("item", &vocabulary));
  for (int i = 2; i < s->n_items; i++) {
    int n = snprintf(token, sizeof token, "item-%d", s->first_item + i);
    EXPECT_OK(facet_vocabulary_add(vocabulary, token, (size_t)n, &id));
  }
  EXPECT_OK(facet_vocabulary_save(vocabulary, path));
  facet_vocabulary_destroy(&vocabulary);
}

static inline void declare(fixture *f, const shape *s) {
  const facet_init normal = {FACET_INIT_NORMAL, 1}, one = {FACET_INIT_CONSTANT, 1};
  const int64_t width = s->width;
  EXPECT_OK(facet_parameters_create(&f->parameters));
  EXPECT_OK(facet_graph_create(FACET_PROGRAM_TRAIN, NULL, 2, 0, f->parameters, &f->graph));
  cr_assert(facet_graph_parameter(f->graph, "mlp.0.weight", facet_shape_make(2, (int64_t)4, width), normal, true));
  cr_assert(facet_graph_parameter(f->graph, "mlp.0.bias", facet_shape_make(1, width), normal, false));
  cr_assert(facet_graph_parameter(f->graph, "scale", facet_shape_make(0), normal, false));
  if (s->extra) cr_assert(facet_graph_parameter(f->graph, s->extra, facet_shape_make(1, (int64_t)2), normal, false));
  cr_assert(facet_graph_state(f->graph, "norm.variance", facet_shape_make(1, width), one));
  cr_assert(facet_graph_table(f->graph, s->table, s->n_items, 4, normal));
  cr_assert(facet_graph_table(f->graph, "zip", s->hash_size, 2, normal));
  EXPECT_OK(facet_parameters_allocate(f->parameters, 7, true));
  for (int i = 0; i < 2; i++) EXPECT_OK(facet_table_reserve(facet_parameters_table(f->parameters, i), 8, 1));
}

/* A model with Adam's state, everything with its initial values, on data set <directory>/<name>. */
static inline void create(fixture *f, const char *name, shape s) {
  char text[512];
  *f = (fixture){.config = {.model = &model}, .state = {.plateau_factor = 1, .best_metric = NAN}};
  snprintf(f->config.data_path, sizeof f->config.data_path, "%s", path_of("%s", name));
  f->config.optimizer = (facet_optimizer_options){.dense = FACET_OPTIMIZER_ADAM, .sparse = FACET_SPARSE_LAZY_ADAM};
  snprintf(text, sizeof text,
           "facet_schema: 1\nname: small\nembedding_width: 4\n"
           "vocabularies:\n  item: {size: %d}\n  zip: {hash: %d}\n"
           "features:\n  label: {role: label}\n  item_id: {role: item, vocabulary: item}\n"
           "  zip: {role: user, vocabulary: zip, width: 2}\n",
           s.n_items, s.hash_size);
  EXPECT_OK(facet_schema_parse(name, text, &f->schema));
  write_vocabulary(f->config.data_path, &s);
  declare(f, &s);
  EXPECT_OK(facet_optimizer_create(&f->config.optimizer, f->parameters, &f->optimizer));
  f->checkpoint = (facet_checkpoint){.config = &f->config,
                                     .schema = f->schema,
                                     .parameters = f->parameters,
                                     .optimizer = f->optimizer,
                                     .state = &f->state,
                                     .log_sums = f->log_sums,
                                     .n_log_sums = 4};
}

static inline void destroy(fixture *f) {
  facet_optimizer_destroy(&f->optimizer);
  facet_graph_destroy(&f->graph);
  facet_parameters_destroy(&f->parameters);
  facet_schema_destroy(&f->schema);
}

/* Every array of numbers that a checkpoint holds. */
typedef void (*visit)(void *context, facet_real *values, int64_t n);

static inline void each_array(fixture *f, visit visitor, void *context) {
  facet_parameters *p = f->parameters;
  for (int i = 0; i < facet_parameters_n_dense(p); i++) {
    const facet_parameter_info *info = facet_parameters_dense(p, i);
    const int64_t n = facet_shape_elements(&info->shape);
    visitor(context, facet_parameters_values(p) + info->offset, n);
    for (int s = 0; s < facet_optimizer_n_states(f->optimizer); s++)
      visitor(context, facet_optimizer_state(f->optimizer, s) + info->offset, n);
  }
  for (int i = 0; i < facet_parameters_n_states(p); i++) {
    const facet_parameter_info *info = facet_parameters_state(p, i);
    visitor(context, facet_parameters_state_values(p) + info->offset, facet_shape_elements(&info->shape));
  }
  for (int i = 0; i < facet_parameters_n_tables(p); i++) {
    facet_table *table = facet_parameters_table(p, i);
    const int64_t n_rows = facet_table_n_rows(table);
    visitor(context, facet_table_rows(table), n_rows * facet_table_width(table));
    for (int s = 0; s < FACET_TABLE_MAX_STATES; s++) {
      const char *name;
      int64_t width = 0;
      facet_real *values = facet_table_state(table, s, &name, &width);
      if (values) visitor(context, values, n_rows * width);
    }
  }
}

static inline void fill_array(void *context, facet_real *values, int64_t n) {
  double *next = context;
  for (int64_t i = 0; i < n; i++) values[i] = (facet_real)sin(*next += 0.7);
}

/* Numbers that differ everywhere and with `seed`. */
static inline void fill(fixture *f, int seed) {
  double next = seed;
  each_array(f, fill_array, &next);
  f->state = (facet_train_state){.step = seed,
                                 .epoch = 2,
                                 .position = 40,
                                 .samples = 1040,
                                 .seed = 7,
                                 .n_train_samples = 500,
                                 .plateau_factor = 0.25,
                                 .plateau_waiting = 1,
                                 .evaluations_waiting = 3,
                                 .best_metric = NAN,
                                 .best_step = 10,
                                 .last_evaluation_step = 20,
                                 .finished = 1,
                                 .train_seconds = 1.5};
  for (int i = 0; i < 4; i++) f->log_sums[i] = seed + 0.1 * i;
}

static inline void hash_array(void *context, facet_real *values, int64_t n) {
  uint64_t *hash = context, parts[] = {*hash, facet_hash64(values, (size_t)n * sizeof *values)};
  *hash = facet_hash64(parts, sizeof parts);
}

static inline uint64_t hash_all(fixture *f) {
  uint64_t hash = 0, parts[3];
  each_array(f, hash_array, &hash);
  parts[0] = hash;
  parts[1] = facet_hash64(&f->state, sizeof f->state);
  parts[2] = facet_hash64(f->log_sums, sizeof f->log_sums);
  return facet_hash64(parts, sizeof parts);
}

static inline void write_step(fixture *f, int step) {
  fill(f, step);
  EXPECT_OK(facet_checkpoint_write(run_directory, &f->checkpoint));
}

static inline const char *step_path(int step) {
  return path_of("run/checkpoints/step-%08d", step);
}

/* The newest checkpoint's step; −1 if there is none. */
static inline int newest(void) {
  char path[FACET_PATH_MAX];
  EXPECT_OK(facet_checkpoint_newest(run_directory, path));
  return path[0] ? atoi(strrchr(path, '-') + 1) : -1;
}

static inline bool is_there(const char *name) {
  struct stat info;
  return lstat(path_of("run/checkpoints/%s", name), &info) == 0;
}

/* Number of names in checkpoints/ that begin so. */
static inline int count(const char *prefix) {
  facet_arena *arena;
  char **names;
  int64_t n_names;
  int n = 0;
  EXPECT_OK(facet_arena_create(&arena));
  EXPECT_OK(facet_directory_list(path_of("run/checkpoints"), arena, &names, &n_names));
  for (int64_t i = 0; i < n_names; i++) n += strncmp(names[i], prefix, strlen(prefix)) == 0;
  facet_arena_destroy(&arena);
  return n;
}

static inline void copy_file(const char *from, const char *to) {
  size_t n_bytes;
  char *data = test_file_read(from, &n_bytes);
  test_file_write(to, data, n_bytes);
  facet_memory_free(data);
}
/* Sends standard error to a file until the second call, which gives what was written. */
static inline const char *capture(bool begin) {
  static int saved;
  static char text[8192];
  fflush(stderr);
  if (begin) {
    saved = dup(2);
    const int file = open(path_of("stderr"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(file, 2);
    close(file);
    return NULL;
  }
  dup2(saved, 2);
  close(saved);
  FILE *stream = fopen(path_of("stderr"), "r");
  text[fread(text, 1, sizeof text - 1, stream)] = '\0';
  fclose(stream);
  return text;
}

#endif
