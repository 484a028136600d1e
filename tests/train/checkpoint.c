/* Checkpoints: equal bits, damage, crashes and failures at every system call, disagreement with model and data set. */
#include "facet/checkpoint.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "facet/file.h"
#include "facet/memory.h"
#include "facet/model.h"
#include "facet/vocabulary.h"

#define EXPECT_OK(expression) cr_assert_eq((expression), FACET_OK, "%s", facet_error_get()->message)

#define EXPECT_ERROR(wanted, expression, text)                                                                         \
  do {                                                                                                                 \
    const facet_status expect_status = (expression);                                                                   \
    const char *expect_message = facet_error_get()->message;                                                           \
    cr_assert_eq(expect_status, wanted, "status %d: %s", (int)expect_status, expect_message);                          \
    cr_assert(strstr(expect_message, text), "no \"%s\" in: %s", text, expect_message);                                 \
  } while (0)

/* ---- the system calls that change directories, and fsync, in place of the C library's ----------------------------- */

static int shim_calls, shim_at; /* the shim_at-th call dies or fails; 0: none */
static bool shim_dies, shim_cannot_swap;

static bool shim_fails(void) {
  if (shim_at == 0 || ++shim_calls != shim_at) return false;
  if (shim_dies) _exit(9);
  errno = EIO;
  return true;
}

int fsync(int descriptor) {
  return shim_fails() ? -1 : (int)syscall(SYS_fsync, descriptor);
}

int rename(const char *from, const char *to) {
  return shim_fails() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
  if (shim_cannot_swap) {
    errno = EINVAL;
    return -1;
  }
  return shim_fails() ? -1 : (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
}

int unlinkat(int directory, const char *path, int flags) {
  return shim_fails() ? -1 : (int)syscall(SYS_unlinkat, directory, path, flags);
}

int mkdir(const char *path, mode_t mode) {
  return shim_fails() ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int symlink(const char *target, const char *path) {
  return shim_fails() ? -1 : (int)syscall(SYS_symlinkat, target, AT_FDCWD, path);
}

/* ---- what is saved ------------------------------------------------------------------------------------------------- */

static char directory[64], run_directory[128];

static void make_directory(void) {
  strcpy(directory, "/tmp/facet-checkpoint-XXXXXX");
  cr_assert(mkdtemp(directory));
  snprintf(run_directory, sizeof run_directory, "%s/run", directory);
}

static void remove_directory(void) {
  facet_directory_remove(directory);
}

TestSuite(checkpoint, .init = make_directory, .fini = remove_directory, .timeout = 120);

/* "<directory>/<text>" in one of four buffers. */
static const char *path_of(const char *format, ...) {
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

static void write_vocabulary(const char *data_path, const shape *s) {
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

static void declare(fixture *f, const shape *s) {
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
static void create(fixture *f, const char *name, shape s) {
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

static void destroy(fixture *f) {
  facet_optimizer_destroy(&f->optimizer);
  facet_graph_destroy(&f->graph);
  facet_parameters_destroy(&f->parameters);
  facet_schema_destroy(&f->schema);
}

/* Every array of numbers that a checkpoint holds. */
typedef void (*visit)(void *context, facet_real *values, int64_t n);

static void each_array(fixture *f, visit visitor, void *context) {
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

static void fill_array(void *context, facet_real *values, int64_t n) {
  double *next = context;
  for (int64_t i = 0; i < n; i++) values[i] = (facet_real)sin(*next += 0.7);
}

/* Numbers that differ everywhere and with `seed`. */
static void fill(fixture *f, int seed) {
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

static void hash_array(void *context, facet_real *values, int64_t n) {
  uint64_t *hash = context, parts[] = {*hash, facet_hash64(values, (size_t)n * sizeof *values)};
  *hash = facet_hash64(parts, sizeof parts);
}

static uint64_t hash_all(fixture *f) {
  uint64_t hash = 0, parts[3];
  each_array(f, hash_array, &hash);
  parts[0] = hash;
  parts[1] = facet_hash64(&f->state, sizeof f->state);
  parts[2] = facet_hash64(f->log_sums, sizeof f->log_sums);
  return facet_hash64(parts, sizeof parts);
}

static void write_step(fixture *f, int step) {
  fill(f, step);
  EXPECT_OK(facet_checkpoint_write(run_directory, &f->checkpoint));
}

static const char *step_path(int step) {
  return path_of("run/checkpoints/step-%08d", step);
}

/* The newest checkpoint's step; −1 if there is none. */
static int newest(void) {
  char path[FACET_PATH_MAX];
  EXPECT_OK(facet_checkpoint_newest(run_directory, path));
  return path[0] ? atoi(strrchr(path, '-') + 1) : -1;
}

static bool is_there(const char *name) {
  struct stat info;
  return lstat(path_of("run/checkpoints/%s", name), &info) == 0;
}

/* Number of names in checkpoints/ that begin so. */
static int count(const char *prefix) {
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

static char *read_file(const char *path, size_t *n_bytes) {
  char *text;
  EXPECT_OK(facet_file_read(path, 1 << 22, &text, n_bytes));
  return text;
}

static void write_file(const char *path, const char *data, size_t n_bytes) {
  FILE *stream = fopen(path, "wb");
  cr_assert(stream && fwrite(data, 1, n_bytes, stream) == n_bytes && fclose(stream) == 0);
}

static void copy_file(const char *from, const char *to) {
  size_t n_bytes;
  char *data = read_file(from, &n_bytes);
  write_file(to, data, n_bytes);
  facet_memory_free(data);
}

/* ---- writing and reading ------------------------------------------------------------------------------------------- */

Test(checkpoint, restores_every_bit) {
  fixture a, b;
  create(&a, "data", usual);
  create(&b, "data", usual);
  write_step(&a, 30);
  cr_assert_neq(hash_all(&a), hash_all(&b));
  EXPECT_OK(facet_checkpoint_read(step_path(30), &b.checkpoint));
  cr_assert_eq(hash_all(&a), hash_all(&b), "every number, and every field of the state");
  cr_assert_eq(b.state.step, 30);
  cr_assert(isnan(b.state.best_metric));
  destroy(&a);
  destroy(&b);
}

Test(checkpoint, reads_only_what_is_asked_for) {
  fixture a, b;
  create(&a, "data", usual);
  create(&b, "data", usual);
  write_step(&a, 30);
  const uint64_t before = hash_all(&b);
  facet_train_state state = {0};
  const facet_checkpoint only_state = {.state = &state};
  EXPECT_OK(facet_checkpoint_read(step_path(30), &only_state));
  cr_assert_eq(state.samples, 1040);
  cr_assert_eq(hash_all(&b), before);
  const facet_checkpoint scoring = {.config = &b.config, .schema = b.schema, .parameters = b.parameters};
  EXPECT_OK(facet_checkpoint_read(step_path(30), &scoring));
  cr_assert_eq(facet_table_rows(facet_parameters_table(b.parameters, 0))[5],
               facet_table_rows(facet_parameters_table(a.parameters, 0))[5]);
  cr_assert_eq(facet_optimizer_state(b.optimizer, 0)[0], 0, "the optimizer is left alone");
  destroy(&a);
  destroy(&b);
}

Test(checkpoint, equal_state_gives_equal_bytes) {
  fixture f;
  size_t n_a, n_b;
  create(&f, "data", usual);
  write_step(&f, 30);
  char *a = read_file(path_of("run/checkpoints/step-00000030/model.h5"), &n_a);
  EXPECT_OK(facet_directory_remove(step_path(30)));
  free(memset(malloc(1 << 20), 0xa5, 1 << 20)); /* what the heap held does not matter */
  write_step(&f, 30);
  char *b = read_file(path_of("run/checkpoints/step-00000030/model.h5"), &n_b);
  cr_assert(n_a == n_b && memcmp(a, b, n_a) == 0);
  facet_memory_free(a);
  facet_memory_free(b);
  destroy(&f);
}

/* ---- damage -------------------------------------------------------------------------------------------------------- */

/* Flips bits at every `stride`-th byte, all eight of them or a varying one; each must be noticed. */
static void flip(const char *name, size_t stride, bool all_bits) {
  char path[512];
  size_t n_bytes;
  snprintf(path, sizeof path, "%s/%s", step_path(30), name);
  char *data = read_file(path, &n_bytes);
  const int descriptor = open(path, O_WRONLY);
  cr_assert_geq(descriptor, 0);
  for (size_t i = 0; i < n_bytes; i += stride)
    for (int bit = 0; bit < 8; bit++) {
      if (!all_bits && bit != (int)(i / stride % 8)) continue;
      const char damaged = (char)(data[i] ^ (1 << bit));
      cr_assert_eq(pwrite(descriptor, &damaged, 1, (off_t)i), 1);
      const facet_status status = facet_checkpoint_verify(step_path(30));
      cr_assert_eq(status, FACET_ERROR_IO, "byte %zu bit %d of %s: status %d", i, bit, name, (int)status);
      cr_assert(strstr(facet_error_get()->message, name), "%s", facet_error_get()->message);
      cr_assert_eq(pwrite(descriptor, &data[i], 1, (off_t)i), 1);
    }
  close(descriptor);
  facet_memory_free(data);
  EXPECT_OK(facet_checkpoint_verify(step_path(30)));
}

Test(checkpoint, every_flipped_bit_is_noticed) {
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  flip("manifest.json", 1, true);
  flip("schema.yaml", 1, false);
  flip("config.yaml", 7, false);
  flip("model.h5", 61, false);
  destroy(&f);
}

Test(checkpoint, truncated_longer_and_missing_files) {
  static const char *const names[] = {"model.h5", "config.yaml", "schema.yaml", "manifest.json"};
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  for (int k = 0; k < 4; k++) {
    char path[512];
    size_t n_bytes;
    snprintf(path, sizeof path, "%s/%s", step_path(30), names[k]);
    char *data = read_file(path, &n_bytes);
    for (size_t n = 0; n < n_bytes; n += n_bytes / 37 + 1) {
      write_file(path, data, n);
      EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_read(step_path(30), &f.checkpoint), names[k]);
    }
    write_file(path, data, n_bytes);
    FILE *stream = fopen(path, "ab");
    fputc('\n', stream);
    fclose(stream);
    EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_read(step_path(30), &f.checkpoint), names[k]);
    cr_assert_eq(unlink(path), 0);
    EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_read(step_path(30), &f.checkpoint), names[k]);
    cr_assert_eq(symlink("/dev/zero", path), 0);
    EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_read(step_path(30), &f.checkpoint), names[k]);
    cr_assert_eq(unlink(path), 0);
    write_file(path, data, n_bytes);
    facet_memory_free(data);
  }
  EXPECT_OK(facet_checkpoint_read(step_path(30), &f.checkpoint));
  destroy(&f);
}

Test(checkpoint, files_of_two_checkpoints_do_not_mix) {
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  write_step(&f, 40);
  copy_file(path_of("run/checkpoints/step-00000030/model.h5"), path_of("run/checkpoints/step-00000040/model.h5"));
  EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_verify(step_path(40)), "model.h5 is damaged: its checksum is");
  copy_file(path_of("run/checkpoints/step-00000030/manifest.json"),
            path_of("run/checkpoints/step-00000040/manifest.json"));
  EXPECT_OK(facet_checkpoint_verify(step_path(40))); /* now all of it is the other's */
  destroy(&f);
}

Test(checkpoint, manifests_that_are_not_ours) {
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  char path[512];
  snprintf(path, sizeof path, "%s/manifest.json", step_path(30));
  static const char *const texts[] = {"", "{}", "[]", "null", "{\"checksum\": 1}", "{\"a\": 1, \"a\": 1}", "\xff\xfe"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    write_file(path, texts[i], strlen(texts[i]));
    EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_verify(step_path(30)), "manifest.json is damaged");
  }
  /* Whole, but of a later format: not damage, which an older checkpoint would make good. */
  const char *const inner = "{\n  \"facet_checkpoint\": 2\n}";
  char later[256];
  snprintf(later, sizeof later, "{\n  \"checksum\": \"%016llx\",\n  \"facet_checkpoint\": 2\n}",
           (unsigned long long)facet_hash64(inner, strlen(inner)));
  write_file(path, later, strlen(later));
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_verify(step_path(30)), "format 2");
  char found[FACET_PATH_MAX];
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_newest(run_directory, found), "format 2");
  destroy(&f);
}

/* ---- which checkpoint ---------------------------------------------------------------------------------------------- */

/* Sends standard error to a file until the second call, which gives what was written. */
static const char *capture(bool begin) {
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

Test(checkpoint, newest_passes_over_damaged_ones) {
  fixture f;
  char path[FACET_PATH_MAX];
  cr_assert_eq(newest(), -1, "no directory");
  create(&f, "data", usual);
  for (int step = 10; step <= 40; step += 10) write_step(&f, step);
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints/step-5"))); /* not a name of ours */
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints/step-00000099x")));
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints/.tmp-step-00000050")));
  cr_assert_eq(newest(), 40);
  cr_assert_eq(truncate(path_of("run/checkpoints/step-00000040/model.h5"), 100), 0);
  cr_assert_eq(unlink(path_of("run/checkpoints/step-00000030/manifest.json")), 0);
  capture(true);
  cr_assert_eq(newest(), 20);
  const char *text = capture(false);
  cr_assert(strstr(text, "warning: ") && strstr(text, "step-00000040/model.h5 is damaged: it has 100 bytes") &&
                strstr(text, "step-00000030 is not a complete checkpoint: it has no manifest.json"),
            "%s", text);
  cr_assert_eq(unlink(path_of("run/checkpoints/step-00000020/schema.yaml")), 0);
  cr_assert_eq(unlink(path_of("run/checkpoints/step-00000010/config.yaml")), 0);
  capture(true);
  const facet_status status = facet_checkpoint_newest(run_directory, path);
  capture(false);
  EXPECT_ERROR(FACET_ERROR_IO, status, "none of the 4 checkpoints of");
  cr_assert(facet_error_get()->hint[0]);
  cr_assert_eq(path[0], '\0');
  destroy(&f);
}

Test(checkpoint, best_and_resolve) {
  fixture f;
  char path[FACET_PATH_MAX], target[64] = "";
  create(&f, "data", usual);
  EXPECT_ERROR(FACET_ERROR_USAGE, facet_checkpoint_resolve(run_directory, path), "neither a checkpoint");
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints")));
  EXPECT_ERROR(FACET_ERROR_USAGE, facet_checkpoint_resolve(run_directory, path), "holds no checkpoint");
  for (int step = 10; step <= 30; step += 10) write_step(&f, step);
  EXPECT_OK(facet_checkpoint_resolve(run_directory, path));
  cr_assert_str_eq(path, step_path(30), "the newest where none is the best");
  EXPECT_OK(facet_checkpoint_mark_best(run_directory, 10));
  EXPECT_OK(facet_checkpoint_mark_best(run_directory, 20));
  EXPECT_OK(facet_checkpoint_mark_best(run_directory, 20));
  cr_assert_eq(readlink(path_of("run/checkpoints/best"), target, sizeof target - 1), 13);
  cr_assert_str_eq(target, "step-00000020", "relative, so that the run can be moved");
  EXPECT_OK(facet_checkpoint_resolve(run_directory, path));
  cr_assert_str_eq(path, step_path(20));
  EXPECT_OK(facet_checkpoint_resolve(path_of("run/checkpoints/best"), path));
  EXPECT_OK(facet_checkpoint_verify(path));
  EXPECT_OK(facet_checkpoint_resolve(step_path(10), path));
  cr_assert_str_eq(path, step_path(10));
  destroy(&f);
}

Test(checkpoint, prune_keeps_the_newest_and_the_best) {
  fixture f;
  create(&f, "data", usual);
  for (int step = 10; step <= 70; step += 10) write_step(&f, step);
  EXPECT_OK(facet_checkpoint_mark_best(run_directory, 20));
  EXPECT_OK(facet_checkpoint_prune(run_directory, 60, 2));
  cr_assert_eq(count("step-"), 4);
  cr_assert(is_there("step-00000070"), "later than the present step: left alone");
  cr_assert(is_there("step-00000060") && is_there("step-00000050") && is_there("step-00000020"));
  EXPECT_OK(facet_checkpoint_prune(run_directory, 70, 0));
  cr_assert_eq(count("step-"), 2, "at least the newest, and the best");
  cr_assert_eq(count("."), 0, "nothing is left half removed");
  destroy(&f);
}

Test(checkpoint, the_same_step_is_replaced) {
  fixture f;
  facet_train_state state;
  const facet_checkpoint only_state = {.state = &state};
  create(&f, "data", usual);
  for (int round = 0; round < 2; round++) {
    shim_cannot_swap = round == 1;
    write_step(&f, 30);
    f.state.best_metric = 0.75;
    EXPECT_OK(facet_checkpoint_write(run_directory, &f.checkpoint));
    EXPECT_OK(facet_checkpoint_read(step_path(30), &only_state));
    cr_assert_eq(state.best_metric, 0.75);
    cr_assert_eq(count(""), 1, "and nothing else is left");
  }
  destroy(&f);
}

Test(checkpoint, leftovers_are_removed) {
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints/.tmp-step-00000035")));
  write_file(path_of("run/checkpoints/.tmp-step-00000035/model.h5"), "half", 4);
  EXPECT_OK(facet_directory_create(path_of("run/checkpoints/.tmp-doomed/deeper")));
  cr_assert_eq(symlink("step-00000030", path_of("run/checkpoints/.tmp-best")), 0);
  write_file(path_of("run/checkpoints/notes.txt"), "mine", 4);
  write_step(&f, 40);
  cr_assert_eq(count("."), 0);
  cr_assert(is_there("notes.txt") && is_there("step-00000030") && is_there("step-00000040"));
  destroy(&f);
}

/* ---- failures ------------------------------------------------------------------------------------------------------ */

Test(checkpoint, places_that_cannot_be_written) {
  fixture f;
  create(&f, "data", usual);
  fill(&f, 30);
  write_file(path_of("file"), "", 0);
  EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_write(path_of("file/run"), &f.checkpoint), "/file: File exists");
  EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_write("/proc/none", &f.checkpoint), "/proc/none");
  char longest[FACET_PATH_MAX];
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  EXPECT_ERROR(FACET_ERROR_IO, facet_checkpoint_write(longest, &f.checkpoint), "longer than");
  destroy(&f);
}

/* In a process whose files cannot grow beyond `limit` bytes, a checkpoint fails as on a full disk. */
static int write_with_limit(fixture *f, rlim_t limit) {
  const pid_t child = fork();
  if (child == 0) {
    const struct rlimit bound = {limit, limit};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &bound);
    fill(f, 40);
    const facet_status status = facet_checkpoint_write(run_directory, &f->checkpoint);
    const bool named = strstr(facet_error_get()->message, "the checkpoint of step 40 was not written: ") &&
                       strstr(facet_error_get()->message, "step-00000040/") &&
                       strstr(facet_error_get()->message, "File too large");
    _exit(status == FACET_OK ? 0 : status == FACET_ERROR_IO && named ? 4 : 1);
  }
  int status;
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
  return WEXITSTATUS(status);
}

Test(checkpoint, full_disk) {
  fixture f;
  size_t n_bytes;
  create(&f, "data", usual);
  write_step(&f, 30);
  facet_memory_free(read_file(path_of("run/checkpoints/step-00000030/model.h5"), &n_bytes));
  for (rlim_t limit = 0; limit < n_bytes; limit += limit < 8192 ? 512 : 8192) {
    const int status = write_with_limit(&f, limit);
    cr_assert_eq(status, 4, "files of %ld bytes at most: %d", (long)limit, status);
    cr_assert_eq(newest(), 30);
    cr_assert_eq(count(""), 1, "the half-written one is gone");
  }
  cr_assert_eq(write_with_limit(&f, 2 * n_bytes), 0);
  cr_assert_eq(newest(), 40);
  destroy(&f);
}

/* What a trainer does at a step. */
static facet_status save(fixture *f, int step) {
  fill(f, step);
  FACET_TRY(facet_checkpoint_write(run_directory, &f->checkpoint));
  FACET_TRY(facet_checkpoint_mark_best(run_directory, step));
  return facet_checkpoint_prune(run_directory, step, 1);
}

/* In a child: saves steps 30, 30 again and 40 with the `at`-th call dying or failing; returns its exit status. */
static int save_with_shim(fixture *f, int at, bool dies, bool cannot_swap) {
  const pid_t child = fork();
  if (child == 0) {
    freopen("/dev/null", "w", stderr);
    shim_at = at;
    shim_dies = dies;
    shim_cannot_swap = cannot_swap;
    facet_status status = save(f, 30);
    if (status == FACET_OK) status = save(f, 30);
    if (status == FACET_OK) status = save(f, 40);
    _exit(shim_calls < at ? 77 : (int)status);
  }
  int status;
  cr_assert_eq(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Whatever call the process dies at, or fails, a complete checkpoint is there once one was, and it can go on. (mkdir may
 * fail without consequence where the directory exists.) */
static void try_every_call(bool dies, bool cannot_swap) {
  fixture f, g;
  int at = 1, best = -1;
  create(&f, "data", usual);
  create(&g, "data", usual);
  for (;; at++) {
    EXPECT_OK(facet_directory_remove(run_directory));
    write_step(&f, 20);
    const int status = save_with_shim(&f, at, dies, cannot_swap);
    if (status == 77) break;
    const int step = newest();
    cr_assert(dies ? status == 9 : status == FACET_ERROR_IO || (status == FACET_OK && step == 40),
              "call %d: status %d, newest %d", at, status, step);
    cr_assert(step >= 20 && (!dies || step >= best), "call %d: step %d after step %d", at, step, best);
    best = step > best ? step : best;
    char path[FACET_PATH_MAX];
    EXPECT_OK(facet_checkpoint_newest(run_directory, path));
    EXPECT_OK(facet_checkpoint_read(path, &g.checkpoint));
    fill(&f, step);
    cr_assert_eq(hash_all(&g), hash_all(&f), "call %d: another state under step %d", at, step);
    EXPECT_OK(save(&f, 50));
    cr_assert_eq(newest(), 50);
    cr_assert_eq(count("."), 0, "call %d: leftovers", at);
    cr_assert_eq(count("step-"), 1, "call %d: old checkpoints", at);
  }
  cr_assert_gt(at, 40, "only %d calls", at);
  cr_assert_eq(best, 40);
  destroy(&f);
  destroy(&g);
}

Test(checkpoint, death_at_every_call) {
  try_every_call(true, false);
}

Test(checkpoint, death_at_every_call_without_swapping) {
  try_every_call(true, true);
}

Test(checkpoint, failure_of_every_call) {
  try_every_call(false, false);
}

Test(checkpoint, failure_of_every_call_without_swapping) {
  try_every_call(false, true);
}

/* ---- another model or data set ------------------------------------------------------------------------------------- */

/* Reads what a model of shape `usual` wrote into one of shape s. */
static void expect_refusal(shape s, const char *text) {
  fixture a, b;
  create(&a, "data", usual);
  write_step(&a, 30);
  create(&b, "data", s);
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_read(step_path(30), &b.checkpoint), text);
  destroy(&a);
  destroy(&b);
}

Test(checkpoint, another_shape) {
  shape s = usual;
  s.width = 5;
  expect_refusal(s, "model.h5: /parameters/mlp.0.weight: has shape [4, 3], expected [4, 5]");
}

Test(checkpoint, parameter_missing_in_the_checkpoint) {
  shape s = usual;
  s.extra = "gate";
  expect_refusal(s, "model.h5: /parameters/gate: the data set is missing");
}

Test(checkpoint, parameter_missing_in_the_model) {
  fixture a, b;
  shape s = usual;
  s.extra = "gate";
  create(&a, "data", s);
  write_step(&a, 30);
  create(&b, "data", usual);
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_read(step_path(30), &b.checkpoint),
               "/parameters/gate: the model does not have it");
  destroy(&a);
  destroy(&b);
}

Test(checkpoint, another_table) {
  shape s = usual;
  s.table = "goods";
  expect_refusal(s, "/tables/item: the model does not have it");
}

Test(checkpoint, another_schema) {
  fixture a, b;
  create(&a, "data", usual);
  write_step(&a, 30);
  create(&b, "data", usual);
  facet_schema_destroy(&b.schema);
  EXPECT_OK(facet_schema_parse("other.yaml",
                               "facet_schema: 1\nname: small\nembedding_width: 4\nvocabularies:\n  item: {size: 6}\n"
                               "features:\n  label: {role: label}\n  item_id: {role: user, vocabulary: item}\n",
                               &b.schema));
  b.checkpoint.schema = b.schema;
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_read(step_path(30), &b.checkpoint),
               "schema.yaml does not match other.yaml: feature item_id: role");
  destroy(&a);
  destroy(&b);
}

Test(checkpoint, another_optimizer) {
  fixture a;
  create(&a, "data", usual);
  write_step(&a, 30);
  facet_optimizer_destroy(&a.optimizer);
  a.config.optimizer.dense = FACET_OPTIMIZER_ADAGRAD;
  a.config.optimizer.sparse = FACET_SPARSE_SGD;
  facet_graph_destroy(&a.graph);
  facet_parameters_destroy(&a.parameters);
  declare(&a, &usual);
  EXPECT_OK(facet_optimizer_create(&a.config.optimizer, a.parameters, &a.optimizer));
  a.checkpoint.parameters = a.parameters;
  a.checkpoint.optimizer = a.optimizer;
  EXPECT_ERROR(FACET_ERROR_DATA, facet_checkpoint_read(step_path(30), &a.checkpoint), "/optimizer/accumulator");
  destroy(&a);
}

Test(checkpoint, grown_vocabulary_is_refused_with_a_hint) {
  shape s = usual;
  s.n_items = 8;
  expect_refusal(s, "vocabulary item has 6 ids in");
  cr_assert(strstr(facet_error_get()->hint, "train.warm_start"), "%s", facet_error_get()->hint);
}

Test(checkpoint, other_tokens_are_refused) {
  shape s = usual;
  s.first_item = 1;
  expect_refusal(s, "vocab has other tokens than when");
}

/* ---- warm start ---------------------------------------------------------------------------------------------------- */

static facet_status warm_start(fixture *f) {
  const facet_checkpoint checkpoint = {.config = &f->config, .schema = f->schema, .parameters = f->parameters};
  return facet_checkpoint_warm_start(step_path(30), &checkpoint, f->config.data_path);
}

Test(checkpoint, warm_start_of_a_grown_table) {
  fixture a, b, fresh;
  shape s = usual;
  s.n_items = 8;
  create(&a, "data", usual);
  write_step(&a, 30);
  create(&b, "more", s);
  create(&fresh, "more", s);
  EXPECT_OK(warm_start(&b));
  const facet_real *old = facet_table_rows(facet_parameters_table(a.parameters, 0)),
                   *rows = facet_table_rows(facet_parameters_table(b.parameters, 0)),
                   *initial = facet_table_rows(facet_parameters_table(fresh.parameters, 0));
  cr_assert_eq(memcmp(rows, old, 6 * 4 * sizeof *rows), 0, "the old rows");
  cr_assert_eq(memcmp(rows + 6 * 4, initial + 6 * 4, 2 * 4 * sizeof *rows), 0, "the new rows start as always");
  cr_assert_eq(facet_parameters_values(b.parameters)[3], facet_parameters_values(a.parameters)[3]);
  cr_assert_eq(facet_parameters_state_values(b.parameters)[1], facet_parameters_state_values(a.parameters)[1]);
  destroy(&a);
  destroy(&b);
  destroy(&fresh);
}

Test(checkpoint, warm_start_names_what_differs) {
  fixture a, b, fresh;
  shape s = usual, t = usual;
  s.extra = "gate";
  t.width = 5;
  create(&a, "data", s);
  write_step(&a, 30);
  create(&b, "data", t);
  create(&fresh, "data", t);
  capture(true);
  const facet_status status = warm_start(&b);
  const char *text = capture(false);
  EXPECT_OK(status);
  cr_assert(strstr(text, "mlp.0.weight has shape [4, 3] in the checkpoint and [4, 5] here; it keeps"), "%s", text);
  cr_assert(strstr(text, "the model does not have gate of the checkpoint"), "%s", text);
  cr_assert(strstr(text, "table item: 6 of 6 rows"), "%s", text);
  cr_assert_eq(facet_parameters_values(b.parameters)[3], facet_parameters_values(fresh.parameters)[3]);
  destroy(&a);
  destroy(&b);
  destroy(&fresh);
}

/* Warm start of shape s in data set `name` from a checkpoint of shape `usual`. */
static void expect_cold(const char *name, shape s, const char *text) {
  fixture a, b;
  create(&a, "data", usual);
  write_step(&a, 30);
  create(&b, name, s);
  EXPECT_ERROR(FACET_ERROR_DATA, warm_start(&b), text);
  destroy(&a);
  destroy(&b);
}

Test(checkpoint, warm_start_needs_the_old_vocabulary_as_prefix) {
  shape s = usual;
  s.n_items = 8;
  s.first_item = 1;
  expect_cold("changed", s, "changed/vocab/item.h5 is not an extension of the vocabulary");
}

Test(checkpoint, warm_start_of_a_smaller_vocabulary) {
  shape s = usual;
  s.n_items = 5;
  expect_cold("smaller", s, "vocabulary item has 6 ids in");
}

Test(checkpoint, warm_start_of_another_hash_size) {
  shape s = usual;
  s.hash_size = 12;
  expect_cold("data", s, "the size of a hashed one may not change");
}

Test(checkpoint, warm_start_from_a_damaged_checkpoint) {
  fixture f;
  create(&f, "data", usual);
  write_step(&f, 30);
  cr_assert_eq(truncate(path_of("run/checkpoints/step-00000030/model.h5"), 1000), 0);
  EXPECT_ERROR(FACET_ERROR_IO, warm_start(&f), "it has 1000 bytes");
  destroy(&f);
}
