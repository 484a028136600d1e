/* Directories for the suites of facet inspect: a small data set of known content, a synthetic one, a run. */
#ifndef INSPECT_FIXTURE_H
#define INSPECT_FIXTURE_H

#include <stdio.h>
#include <unistd.h>

#include "cli/program.h"
#include "data/fixture.h"
#include "data/hdf5.h"
#include "facet/log.h"

static char inspect_root[64];

static void inspect_create(void) {
  test_directory_create(inspect_root);
}

static void inspect_remove(void) {
  test_directory_remove(inspect_root);
}

/* "<root>/<name>" in a buffer that lives until the eighth call after. */
static inline const char *path_of(const char *name) {
  static char paths[8][256];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, 256, "%s/%s", inspect_root, name);
  return path;
}

/* Item tokens: plain, UTF-8, control characters and invalid bytes, quotes, one of 100 bytes with two-byte characters. */
static inline void write_item_tokens(void) {
  static const char odd[] = "\xff\0\x1b[2J\xc2\x9b";
  char longest[101];
  facet_vocabulary *v;
  int64_t id;
  for (int i = 0; i < 100; i++) longest[i] = (char)('0' + i % 10);
  memcpy(longest + 59, "\xc3\xa9", 2); /* across the 60 bytes that are shown */
  EXPECT_OK(facet_vocabulary_create("item", &v));
  EXPECT_OK(facet_vocabulary_add(v, "plain", 5, &id));
  EXPECT_OK(facet_vocabulary_add(v, "caf\xc3\xa9", 5, &id));
  EXPECT_OK(facet_vocabulary_add(v, odd, sizeof odd - 1, &id));
  EXPECT_OK(facet_vocabulary_add(v, "quo\"te\\", 7, &id));
  EXPECT_OK(facet_vocabulary_add(v, longest, 100, &id));
  EXPECT_OK(facet_vocabulary_save(v, path_of("small/vocab/item.h5")));
  facet_vocabulary_destroy(&v);
}

/* <root>/small: the data set of data/fixture.h with tables, item tokens, a mapped part and a compressed one. */
static inline void write_small(void) {
  fixture f;
  fixture_create(&f);
  EXPECT_OK(facet_directory_create(path_of("small/train")));
  EXPECT_OK(facet_directory_create(path_of("small/vocab")));
  EXPECT_OK(facet_schema_write(f.schema, path_of("small/schema.yaml")));
  fixture_write_tables(&f, path_of("small/tables.h5"));
  write_item_tokens();
  fixture_write(&f, path_of("small/train/part-00000.h5"), false);
  f.label[0] = 0;
  fixture_write(&f, path_of("small/train/part-00001.h5"), true);
  fixture_destroy(&f);
}

/* <root>/data: a synthetic data set. */
static inline void synthesize(const char *sets) {
  EXPECT_EXIT(0, program_run("synthesize %s/datasets/synthetic/small.yaml --output %s %s", FACET_SOURCE_DIR,
                             path_of("data"), sets));
}

/* <root>/run: three steps of a narrow model, with the checkpoints 0 and 3. */
static inline void train(void) {
  synthesize("--set users=40 --set impressions=30");
  EXPECT_EXIT(0, program_shell("OMP_NUM_THREADS=1 $FACET train %s/models/mean_pooling.yaml --output %s "
                               "--set data.path=%s --set train.max_steps=3 --set train.batch_size=64 "
                               "--set 'model.mlp=[8]'",
                               FACET_SOURCE_DIR, path_of("run"), path_of("data")));
}

#endif
