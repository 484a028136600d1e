/* A trace, compared with a sound one in both directions. */
#include "facet/trace.h"
#include "common/fuzz.h"
#include "common/hdf5_file.h"
#include "data/hdf5.h"

static char base[FACET_PATH_MAX];
static FILE *nowhere;

static void write_numbers(hid_t file, const char *group_name, const char *name, facet_hdf5_type type, int rank,
                          const void *data, int64_t index) {
  const int64_t dims[] = {3, 2};
  hid_t group, set;
  FUZZ_MUST(facet_hdf5_group_create(file, group_name, &group));
  FUZZ_MUST(facet_hdf5_write(group, name, type, rank, dims, data));
  FUZZ_MUST(facet_hdf5_dataset_open(group, name, &set));
  FUZZ_MUST(facet_hdf5_set_int64(set, "index", index));
  facet_hdf5_release(&set);
  facet_hdf5_release(&group);
}

static void begin(void) {
  static const int64_t rows[] = {1, 2, 3};
  static const float weights[] = {0, 1, 2, 3, 4, 5};
  static const double loss = 0.5;
  hid_t file;
  FUZZ_MUST(facet_path_format(base, "%s", fuzz_path("base.h5")));
  FUZZ_MUST(facet_hdf5_create(base, &file));
  FUZZ_MUST(facet_hdf5_set_format(file, "trace", 1));
  write_numbers(file, "inputs", "row", FACET_HDF5_INT64, 1, rows, 0);
  write_numbers(file, "parameters", "w", FACET_HDF5_FLOAT, 2, weights, 1);
  write_numbers(file, "losses", "total", FACET_HDF5_DOUBLE, 0, &loss, 2);
  FUZZ_MUST(facet_hdf5_close(&file));
  fuzz_hdf5_begin(base);
  nowhere = fopen("/dev/null", "w");
}

static void end(void) {
  fclose(nowhere);
}

static void run(const uint8_t *data, size_t n_bytes) {
  facet_trace_difference difference;
  const char *path = fuzz_path("trace.h5");
  fuzz_hdf5_make(data, n_bytes, path);
  const bool is_sound = fuzz_verdict(facet_trace_compare(path, path, 0, nowhere, &difference));
  FUZZ_CHECK(!is_sound || difference.n_different == 0, "a trace differs from itself");
  fuzz_verdict(facet_trace_compare(base, path, 0, nowhere, &difference));
  fuzz_verdict(facet_trace_compare(path, base, 1e-3, nowhere, &difference));
}

const fuzz_target fuzz = {
    .max_bytes = 256, .is_hdf5 = true, .begin = begin, .run = run, .end = end, .seeds = fuzz_hdf5_seeds};
