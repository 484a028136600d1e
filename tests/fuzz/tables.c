/* Attribute tables: tables.h5 of a data set. */
#include <string.h>

#include "common/data_set.h"
#include "common/fuzz.h"
#include "common/hdf5_file.h"
#include "data/inspect.h"
#include "data/tables.h"

static facet_schema *schema;
static char path[FACET_PATH_MAX];
static FILE *nowhere;

static void begin(void) {
  schema = fuzz_data_set_write(fuzz_path("data"));
  FUZZ_MUST(facet_path_format(path, "%s", fuzz_path("data/tables.h5")));
  fuzz_hdf5_begin(path);
  nowhere = fopen("/dev/null", "w");
}

static void end(void) {
  facet_schema_destroy(&schema);
  fclose(nowhere);
}

static facet_status read_attributes(void) {
  facet_attribute attributes[32] = {0};
  FUZZ_CHECK(schema->n_features <= 32, "features of the data set");
  const facet_status status = facet_tables_read(schema, path, attributes);
  facet_tables_free(schema, attributes);
  return status;
}

static void run(const uint8_t *data, size_t n_bytes) {
  fuzz_hdf5_make(data, n_bytes, path);
  const bool is_sound = fuzz_verdict(facet_tables_verify(schema, path));
  FUZZ_CHECK(fuzz_verdict(read_attributes()) == is_sound, "reading and verifying disagree");
  const facet_inspect_request request = {.path = path, .n_rows = 8, .out = nowhere};
  FUZZ_CHECK(fuzz_verdict(facet_inspect_tables(&request)) || !is_sound, "verified tables cannot be inspected");
}

const fuzz_target fuzz = {.max_bytes = 256,
                          .is_hdf5 = true,
                          .decodes_chunks = true,
                          .begin = begin,
                          .run = run,
                          .end = end,
                          .seeds = fuzz_hdf5_seeds};
