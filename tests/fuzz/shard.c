/* A shard, as part 0 of a data set: opened, verified, inspected and assembled into batches. */
#include "facet/shard.h"
#include "common/data_set.h"
#include "common/fuzz.h"
#include "common/hdf5_file.h"
#include "data/inspect.h"
#include "facet/batch.h"

static facet_schema *schema;
static char directory[FACET_PATH_MAX], path[FACET_PATH_MAX];
static FILE *nowhere;

static void begin(void) {
  FUZZ_MUST(facet_path_format(directory, "%s", fuzz_path("data")));
  FUZZ_MUST(facet_path_format(path, "%s/train/part-00000.h5", directory));
  schema = fuzz_data_set_write(directory);
  fuzz_hdf5_begin(path);
  nowhere = fopen("/dev/null", "w");
}

static void end(void) {
  facet_schema_destroy(&schema);
  fclose(nowhere);
}

/* Every row, in batches of four, the last rows first. */
static facet_status assemble_rows(facet_dataset *dataset, const facet_batch_layout *layout) {
  facet_batch *batch;
  FUZZ_MUST(facet_batch_create(layout, &batch));
  facet_status status = FACET_OK;
  const int64_t n_rows = facet_dataset_n_samples(dataset), n_read = n_rows < 64 ? n_rows : 64;
  for (int64_t first = 0; status == FACET_OK && first < n_read; first += 4) {
    int64_t rows[4], n = 0;
    for (; n < 4 && first + n < n_read; n++) rows[n] = n_rows - 1 - first - n;
    status = facet_batch_assemble(dataset, rows, n, batch);
  }
  facet_batch_destroy(&batch);
  return status;
}

static bool assemble(facet_dataset *dataset, bool newest_first, int64_t max_length) {
  facet_batch_layout *layout;
  FUZZ_MUST(facet_batch_layout_create(facet_dataset_schema(dataset), 4, max_length, &layout));
  layout->newest_first[0] = newest_first;
  const facet_status status = assemble_rows(dataset, layout);
  facet_batch_layout_destroy(&layout);
  return fuzz_verdict(status);
}

static bool verify_and_assemble(void) {
  facet_dataset *dataset;
  if (!fuzz_verdict(facet_dataset_open(directory, "train", &dataset))) return false;
  const bool is_sound = fuzz_verdict(facet_shard_verify(facet_dataset_part(dataset, 0)));
  for (int i = 0; i < 2; i++)
    FUZZ_CHECK(assemble(dataset, i == 0, i == 0 ? 0 : 2) || !is_sound, "a shard that was verified cannot be read");
  facet_dataset_close(&dataset);
  return is_sound;
}

static void run(const uint8_t *data, size_t n_bytes) {
  const facet_inspect_request request = {.path = path, .n_rows = 8, .out = nowhere};
  fuzz_hdf5_make(data, n_bytes, path);
  const bool is_sound = verify_and_assemble(), is_shown = fuzz_verdict(facet_inspect_shard(&request));
  FUZZ_CHECK(is_shown || !is_sound, "a shard that was verified cannot be inspected");
}

const fuzz_target fuzz = {.max_bytes = 256,
                          .is_hdf5 = true,
                          .decodes_chunks = true,
                          .begin = begin,
                          .run = run,
                          .end = end,
                          .seeds = fuzz_hdf5_seeds};
