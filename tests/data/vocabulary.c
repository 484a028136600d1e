/* Tokens and ids, in memory and in files. */
#include "fixture.h"

#include "data/hdf5.h"

static int64_t add(facet_vocabulary *v, const char *token) {
  int64_t id;
  EXPECT_OK(facet_vocabulary_add(v, token, strlen(token), &id));
  return id;
}

Test(vocabulary, ids_follow_the_order_of_adding) {
  facet_vocabulary *v;
  size_t n;
  EXPECT_OK(facet_vocabulary_create("item", &v));
  cr_assert(facet_vocabulary_size(v) == 2);
  cr_assert(add(v, "b") == 2 && add(v, "a") == 3 && add(v, "b") == 2 && add(v, "") == 1);
  cr_assert(facet_vocabulary_size(v) == 4);
  cr_assert(facet_vocabulary_find(v, "a", 1) == 3 && facet_vocabulary_find(v, "c", 1) == 1);
  cr_assert(facet_vocabulary_find(v, "", 0) == 1);
  cr_assert(!strcmp(facet_vocabulary_token(v, 2, &n), "b") && n == 1);
  cr_assert(!strcmp(facet_vocabulary_token(v, 0, &n), "<padding>") && n == 9);
  cr_assert(!strcmp(facet_vocabulary_token(v, 1, &n), "<unknown>"));
  facet_vocabulary_destroy(&v);
}

/* In any pieces, with repeats in one call, empty tokens and tables that grow meanwhile. */
Test(vocabulary, many_are_added_as_one_by_one) {
  enum { N = 5000 };
  static char text[N][16];
  static facet_token tokens[N];
  static int64_t expected[N], ids[N];
  facet_vocabulary *one, *many;
  EXPECT_OK(facet_vocabulary_create("item", &one));
  for (int i = 0; i < N; i++) {
    const int n = i % 97 == 0 ? 0 : snprintf(text[i], sizeof text[i], "t%d", i * 7919 % 3001);
    tokens[i] = (facet_token){text[i], (size_t)n};
    EXPECT_OK(facet_vocabulary_add(one, text[i], (size_t)n, &expected[i]));
  }
  const int64_t pieces[] = {1, 31, 32, 33, 700, N};
  for (int p = 0; p < 6; p++) {
    EXPECT_OK(facet_vocabulary_create("item", &many));
    for (int64_t first = 0, n; first < N; first += n) {
      n = N - first < pieces[p] ? N - first : pieces[p];
      EXPECT_OK(facet_vocabulary_add_many(many, tokens + first, n, ids + first));
    }
    cr_assert(memcmp(ids, expected, sizeof ids) == 0, "pieces of %d", (int)pieces[p]);
    const int64_t size = facet_vocabulary_size(one);
    cr_assert(facet_vocabulary_size(many) == size);
    cr_assert(facet_vocabulary_hash_prefix(many, size) == facet_vocabulary_hash_prefix(one, size));
    facet_vocabulary_destroy(&many);
  }
  facet_vocabulary_destroy(&one);
}

/* 100,000 tokens with 0 bytes, through a file and back. */
Test(vocabulary, survives_a_file) {
  fixture f;
  facet_vocabulary *v, *loaded;
  fixture_create(&f);
  const char *path = fixture_path(&f, "item.h5");
  EXPECT_OK(facet_vocabulary_create("item", &v));
  for (int i = 0; i < 100000; i++) {
    char token[16] = {0};
    int64_t id;
    const int n = snprintf(token, sizeof token, "t%d", i) + 1 + i % 2;
    EXPECT_OK(facet_vocabulary_add(v, token, (size_t)n, &id));
    cr_assert(id == i + 2);
  }
  const uint64_t before = facet_vocabulary_hash_prefix(v, facet_vocabulary_size(v));
  EXPECT_OK(facet_vocabulary_save(v, path));
  EXPECT_OK(facet_vocabulary_load(path, &loaded));
  cr_assert(facet_vocabulary_size(loaded) == 100002 && !strcmp(facet_vocabulary_name(loaded), "item"));
  for (int i = 0; i < 100000; i++) {
    size_t n, n_loaded;
    const char *token = facet_vocabulary_token(v, i + 2, &n);
    cr_assert(!memcmp(token, facet_vocabulary_token(loaded, i + 2, &n_loaded), n) && n == n_loaded);
    cr_assert(facet_vocabulary_find(loaded, token, n) == i + 2);
  }
  const int64_t grown_from = facet_vocabulary_size(loaded);
  add(loaded, "new");
  cr_assert(facet_vocabulary_hash_prefix(loaded, grown_from) == before);
  cr_assert(facet_vocabulary_hash_prefix(loaded, grown_from + 1) != before);
  facet_vocabulary_destroy(&v);
  facet_vocabulary_destroy(&loaded);
  fixture_destroy(&f);
}

Test(vocabulary, empty_one_survives_a_file) {
  fixture f;
  facet_vocabulary *v;
  fixture_create(&f);
  EXPECT_OK(facet_vocabulary_create("none", &v));
  EXPECT_OK(facet_vocabulary_save(v, fixture_path(&f, "none.h5")));
  facet_vocabulary_destroy(&v);
  EXPECT_OK(facet_vocabulary_load(fixture_path(&f, "none.h5"), &v));
  cr_assert(facet_vocabulary_size(v) == 2);
  facet_vocabulary_destroy(&v);
  fixture_destroy(&f);
}

Test(vocabulary, hash_is_in_range_and_spread) {
  int counts[8] = {0};
  for (int i = 0; i < 8000; i++) {
    char token[16];
    const int32_t id = facet_vocabulary_hash(token, (size_t)snprintf(token, sizeof token, "%d", i), 10);
    cr_assert(id >= 2 && id < 10);
    counts[id - 2]++;
  }
  for (int i = 0; i < 8; i++) cr_assert(counts[i] > 850 && counts[i] < 1150, "%d", counts[i]);
  cr_assert(facet_vocabulary_hash("", 0, 10) == 1);
}

/* Writes a vocabulary file with the given parts. */
static void write_file(const char *path, int64_t size, const int64_t *offsets, int64_t n_offsets, const char *bytes) {
  hid_t file;
  const int64_t n_bytes = (int64_t)strlen(bytes);
  EXPECT_OK(facet_hdf5_create(path, &file));
  EXPECT_OK(facet_hdf5_set_format(file, "vocabulary", 1));
  EXPECT_OK(facet_hdf5_set_string(file, "name", "item"));
  EXPECT_OK(facet_hdf5_set_int64(file, "size", size));
  EXPECT_OK(facet_hdf5_write(file, "offsets", FACET_HDF5_INT64, 1, &n_offsets, offsets));
  EXPECT_OK(facet_hdf5_write(file, "bytes", FACET_HDF5_UINT8, 1, &n_bytes, bytes));
  EXPECT_OK(facet_hdf5_close(&file));
}

Test(vocabulary, bad_files_are_refused) {
  fixture f;
  facet_vocabulary *v;
  fixture_create(&f);
  const char *path = fixture_path(&f, "bad.h5");
  write_file(path, 4, (int64_t[]){0, 1, 3}, 3, "abc");
  EXPECT_OK(facet_vocabulary_load(path, &v));
  facet_vocabulary_destroy(&v);
  write_file(path, 5, (int64_t[]){0, 1, 3}, 3, "abc");
  EXPECT_ERROR(FACET_ERROR_DATA, facet_vocabulary_load(path, &v), path, "offsets", "expected 4 rows");
  write_file(path, 4, (int64_t[]){0, 1, 4}, 3, "abc");
  EXPECT_ERROR(FACET_ERROR_DATA, facet_vocabulary_load(path, &v), path, "0 to 4, expected 0 to 3");
  write_file(path, 5, (int64_t[]){0, 3, 1, 3}, 4, "abc");
  EXPECT_ERROR(FACET_ERROR_DATA, facet_vocabulary_load(path, &v), path, "row 1", "3 is not below");
  write_file(path, 4, (int64_t[]){0, 1, 2}, 3, "aa");
  EXPECT_ERROR(FACET_ERROR_DATA, facet_vocabulary_load(path, &v), path, "token 3 equals token 2");
  write_file(path, INT64_MAX, (int64_t[]){0, 1, 2}, 3, "ab");
  EXPECT_ERROR(FACET_ERROR_DATA, facet_vocabulary_load(path, &v), path, "size");
  EXPECT_ERROR(FACET_ERROR_IO, facet_vocabulary_load(fixture_path(&f, "none.h5"), &v), "none.h5", "No such file");
  fixture_destroy(&f);
}
