/* Shards that are wrong: each is refused with one message that names the file, the data set, the row, the value and
 * what was expected, by opening or by verification. */
#include "fixture.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "foreign.h"

static fixture f;
static char path[128];

static void setup(void) {
  fixture_create(&f);
  snprintf(path, sizeof path, "%s", fixture_path(&f, "part.h5"));
}
static void teardown(void) {
  fixture_destroy(&f);
}
TestSuite(shard_bad, .init = setup, .fini = teardown);

/* Opens and verifies the shard. */
static facet_status check(void) {
  facet_shard *s;
  facet_status status = facet_shard_open(f.schema, path, &s);
  cr_assert((status == FACET_OK) == (s != NULL));
  if (s) status = facet_shard_verify(s);
  facet_shard_close(&s);
  return status;
}

/* The shard of the fixture, written both ways and changed by `change`, is refused. */
#define REFUSED(change, ...)                                                                                           \
  do {                                                                                                                 \
    for (int compress = 0; compress < 2; compress++) {                                                                 \
      fixture_write(&f, path, compress);                                                                               \
      change;                                                                                                          \
      EXPECT_ERROR(FACET_ERROR_DATA, check(), path, __VA_ARGS__);                                                      \
      cr_assert(!strchr(facet_error_get()->message, '\n'));                                                            \
    }                                                                                                                  \
  } while (0)

/* ---- files ------------------------------------------------------------------------------------------------------- */

Test(shard_bad, a_missing_file) {
  EXPECT_ERROR(FACET_ERROR_IO, check(), path, "No such file or directory");
}

Test(shard_bad, what_is_not_hdf5) {
  EXPECT_OK(facet_file_write(path, "", 0));
  EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "not a readable HDF5 file");
  EXPECT_OK(facet_file_write(path, "user,item\n1,2\n", 14));
  EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "not a readable HDF5 file");
  unlink(path);
  EXPECT_OK(facet_directory_create(path));
  EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "not a readable HDF5 file");
}

Test(shard_bad, truncated_files) {
  for (int compress = 0; compress < 2; compress++) {
    struct stat info;
    fixture_write(&f, path, compress);
    cr_assert(stat(path, &info) == 0);
    for (off_t n_bytes = info.st_size - 1; n_bytes >= 0; n_bytes -= n_bytes > 200 ? 97 : 1) {
      cr_assert(truncate(path, n_bytes) == 0);
      EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "not a readable HDF5 file");
    }
  }
}

/* Any byte may be damaged: the shard is refused, or the byte belongs to a value that is still possible, or to nothing. */
Test(shard_bad, damaged_bytes_do_no_harm) {
  char *content;
  size_t n_bytes;
  int n_refused = 0;
  fixture_write(&f, path, false);
  EXPECT_OK(facet_file_read(path, 1 << 20, &content, &n_bytes));
  for (size_t i = 0; i < n_bytes; i += 5) {
    const char keep = content[i];
    content[i] = (char)(keep ^ (i % 3 == 0 ? 0x01 : i % 3 == 1 ? 0x80 : 0xFF));
    FILE *file = fopen(path, "wb");
    cr_assert(fwrite(content, 1, n_bytes, file) == n_bytes && fclose(file) == 0);
    content[i] = keep;
    const facet_status status = check();
    cr_assert(status == FACET_OK || status == FACET_ERROR_DATA, "byte %d: %s", (int)i, facet_error_get()->message);
    n_refused += status != FACET_OK;
  }
  cr_assert(n_refused > 100, "%d", n_refused);
  facet_memory_free(content);
}

/* ---- attributes -------------------------------------------------------------------------------------------------- */

Test(shard_bad, another_format_or_version) {
  REFUSED(foreign_set_text(path, "facet_format", "tables"), "facet_format is \"tables\", expected \"shard\"");
  REFUSED(foreign_set_attribute(path, "facet_format", 1), "attribute facet_format: expected a string");
  REFUSED(foreign_delete_attribute(path, "facet_format"), "attribute facet_format is missing");
  REFUSED(foreign_set_attribute(path, "facet_version", 2), "facet_version is 2, expected 1 to 1");
  REFUSED(foreign_set_attribute(path, "facet_version", 0), "facet_version is 0, expected 1 to 1");
  REFUSED(foreign_set_text(path, "facet_version", "1"), "attribute facet_version: expected an integer");
  REFUSED(foreign_delete_attribute(path, "facet_version"), "attribute facet_version is missing");
}

Test(shard_bad, wrong_counts) {
  REFUSED(foreign_set_attribute(path, "num_samples", 7), "/samples/", "has 6 rows, expected 7");
  REFUSED(foreign_set_attribute(path, "num_samples", -1), "num_samples is -1, expected a number of rows");
  REFUSED(foreign_set_attribute(path, "num_samples", INT64_MAX), "num_samples is 9223372036854775807");
  REFUSED(foreign_delete_attribute(path, "num_samples"), "attribute num_samples is missing");
  REFUSED(foreign_set_attribute(path, "num_events.history", 6), "/events/history/", "has 7 rows, expected 6");
  REFUSED(foreign_delete_attribute(path, "num_events.history"), "attribute num_events.history is missing");
}

Test(shard_bad, another_schema) {
  char text[sizeof fixture_schema_text];
  facet_schema *own = f.schema;
  static const struct {
    const char *from, *to, *said; /* what was stored against what is expected */
  } changes[] = {
      {"price", "costs", "feature 13: history.price against history.costs"},
      {"max_length: 4", "max_length: 3", "sequence history: max_length 4 against 3"},
      {"type: float, length: 3", "type: float, length: 4", "feature vector: length 3 against 4"},
      {"bag: 2, pooling: sum", "bag: 9, pooling: sum", "feature tags: bag 2 against 9"},
      {"zip: {role: context", "zip: {role: user   ", "feature zip: role context against user"},
  };
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    const char *place = strstr(fixture_schema_text, changes[i].from);
    cr_assert(place);
    const size_t before = (size_t)(place - fixture_schema_text);
    snprintf(text, sizeof text, "%.*s%s%s", (int)before, fixture_schema_text, changes[i].to,
             place + strlen(changes[i].from));
    f.schema = own;
    fixture_write(&f, path, false);
    EXPECT_OK(facet_schema_parse("other.yaml", text, &f.schema));
    EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "was written with another schema than other.yaml: ", changes[i].said);
    foreign_delete(path, "/schema"); /* then only the hashes are known */
    EXPECT_ERROR(FACET_ERROR_DATA, check(), path, "schema_hash is", "of other.yaml");
    facet_schema_destroy(&f.schema);
  }
  f.schema = own;
}
