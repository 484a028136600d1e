/* model.h5 of a checkpoint, behind a manifest with its checksum: restored, started from, and inspected. */
#include <stdio.h>

#include "common/checkpoint.h"
#include "common/fuzz.h"
#include "common/hdf5_file.h"
#include "train/checkpoint_internal.h"
#include "train/inspect.h"

static fuzz_checkpoint c;
static char model_path[FACET_PATH_MAX];
static FILE *nowhere;

static void begin(void) {
  fuzz_checkpoint_create(&c);
  FUZZ_MUST(facet_path_format(model_path, "%s/model.h5", c.path));
  fuzz_hdf5_begin(model_path);
  nowhere = fopen("/dev/null", "w");
}

static void end(void) {
  fuzz_checkpoint_destroy(&c);
  fclose(nowhere);
}

static void run(const uint8_t *data, size_t n_bytes) {
  fuzz_hdf5_make(data, n_bytes, model_path);
  FUZZ_MUST(checkpoint_write_manifest(c.path, 1.5));
  FUZZ_MUST(facet_checkpoint_verify(c.path));
  fuzz_verdict(facet_checkpoint_read(c.path, &c.checkpoint));
  fuzz_verdict(facet_checkpoint_warm_start(c.path, &c.checkpoint, c.config.data_path));
  fuzz_verdict(facet_inspect_checkpoint(&(facet_inspect_request){.path = c.path, .out = nowhere}));
}

const fuzz_target fuzz = {
    .max_bytes = 256, .is_hdf5 = true, .begin = begin, .run = run, .end = end, .seeds = fuzz_hdf5_seeds};
