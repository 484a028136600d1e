/* facet trace: what the file holds, the same bytes twice, and comparison. */
#include <math.h>

#include "cli/program.h"
#include "data/hdf5.h"

static char directory[64], config[512], data[128];

static void setup(void) {
  test_directory_create(directory);
  snprintf(data, sizeof data, "%s/data", directory);
  snprintf(config, sizeof config, "%s/models/mean_pooling.yaml --set data.path=%s --set train.batch_size=60",
           FACET_SOURCE_DIR, data);
  EXPECT_EXIT(0, program_run("synthesize --set users=40 --set items=30 --set clusters=6 --set categories=3 "
                             "--set impressions=10 --set events=12 --output %s",
                             data));
}

static void teardown(void) {
  test_directory_remove(directory);
}

TestSuite(trace, .init = setup, .fini = teardown);

static void trace(const char *name, const char *sets) {
  EXPECT_EXIT(0, program_run("trace %s %s --output %s/%s", config, sets, directory, name));
}

static void read_reals(hid_t file, const char *name, int64_t n, double *out) {
  facet_hdf5_type type;
  int rank;
  int64_t dims[FACET_HDF5_MAX_RANK], elements = 1;
  cr_assert(facet_hdf5_shape(file, name, &type, &rank, dims) == FACET_OK, "%s", facet_error_get()->message);
  for (int i = 0; i < rank; i++) elements *= dims[i];
  cr_assert(elements == n, "%s has %lld elements", name, (long long)elements);
  cr_assert(facet_hdf5_read(file, name, FACET_HDF5_DOUBLE, rank, dims, out) == FACET_OK);
}

Test(trace, holds_the_step) { /* the loss and the gradient of the logit follow from logit, label and weight */
  enum { B = 60 };
  char path[128];
  double logit[B], gradient[B], label[B], weight[B], valid[B], loss, weights = 0, sum = 0;
  trace("a.h5", "--batch 5"); /* 320 samples: the last batch has 20 */
  snprintf(path, sizeof path, "%s/a.h5", directory);
  hid_t file;
  cr_assert(facet_hdf5_open(path, &file) == FACET_OK);
  read_reals(file, "activations/logit", B, logit);
  read_reals(file, "gradients/activations/logit", B, gradient);
  read_reals(file, "inputs/label", B, label);
  read_reals(file, "inputs/weight", B, weight);
  read_reals(file, "inputs/valid", B, valid);
  read_reals(file, "losses/bce", 1, &loss);
  for (int i = 0; i < B; i++) weights += valid[i] * weight[i];
  cr_assert(weights == 20, "%g", weights);
  for (int i = 0; i < B; i++) {
    sum += valid[i] * weight[i] * (log1p(exp(logit[i])) - label[i] * logit[i]) / weights;
    const double expected = valid[i] * weight[i] * (1 / (1 + exp(-logit[i])) - label[i]) / weights;
    cr_assert(fabs(gradient[i] - expected) < 1e-7, "row %d: %g, expected %g", i, gradient[i], expected);
  }
  cr_assert(fabs(loss - sum) < 1e-6, "%g, expected %g", loss, sum);
  facet_hdf5_discard(&file);
}

Test(trace, same_bytes_again) {
  trace("a.h5", "--perturb 0.1 --set model.dropout=0.3");
  trace("b.h5", "--perturb 0.1 --set model.dropout=0.3");
  EXPECT_EXIT(0, program_shell("cmp %s/a.h5 %s/b.h5", directory, directory));
  EXPECT_EXIT(0, program_run("trace --compare %s/a.h5 %s/b.h5", directory, directory), "0 of ");
}

/* Which hidden values dropout keeps in a batch of 30 samples: sigmoid gives no other zeros. */
static void read_dropped(const char *name, int64_t n, bool *dropped) {
  char path[128];
  double value[30 * 256];
  hid_t file;
  snprintf(path, sizeof path, "%s/%s", directory, name);
  cr_assert(facet_hdf5_open(path, &file) == FACET_OK);
  read_reals(file, "activations/mlp.0.dropout", n, value);
  facet_hdf5_discard(&file);
  for (int64_t i = 0; i < n; i++) dropped[i] = value[i] == 0;
}

Test(trace, draws_what_training_draws) { /* micro-batch 2 of two an update is the first of update 1 */
  enum { N = 30 * 256 };
  static bool one[N], two[N];
  trace("a.h5", "--set model.dropout=0.3 --set model.activation=sigmoid --set train.batch_size=30 --batch 1");
  trace("b.h5", "--set model.dropout=0.3 --set model.activation=sigmoid --set train.accumulate=2 --batch 2");
  read_dropped("a.h5", N, one);
  read_dropped("b.h5", N, two);
  cr_assert(memcmp(one, two, sizeof one) == 0);
  trace("c.h5", "--set model.dropout=0.3 --set model.activation=sigmoid --set train.accumulate=2 --batch 3");
  read_dropped("c.h5", N, two);
  cr_assert(memcmp(one, two, sizeof one) != 0);
}

Test(trace, compare_names_the_first_and_the_largest_difference) {
  trace("a.h5", "");
  trace("b.h5", "--set model.activation=tanh");
  EXPECT_EXIT(3, program_run("trace --compare %s/a.h5 %s/b.h5", directory, directory),
              "first     activations/mlp.0: ", "largest   ");
  EXPECT_EXIT(0, program_run("trace --compare --tolerance 10 %s/a.h5 %s/b.h5", directory, directory));
  trace("c.h5", "--set 'model.mlp=[8]'");
  EXPECT_EXIT(3, program_run("trace --compare %s/a.h5 %s/c.h5", directory, directory),
              "first     parameters/mlp.0.weight: [56, 256] in ", "[56, 8] in ", "differ in ");
}

Test(trace, takes_the_parameters_of_a_run) {
  EXPECT_EXIT(0, program_run("train %s --output %s/run", config, directory));
  trace("a.h5", "");
  char sets[128];
  snprintf(sets, sizeof sets, "--checkpoint %s/run", directory);
  trace("b.h5", sets);
  EXPECT_EXIT(3, program_run("trace --compare %s/a.h5 %s/b.h5", directory, directory), "first     parameters/");
  char path[160];
  snprintf(path, sizeof path, "%s/run/checkpoints/best/model.h5", directory);
  hid_t model, file;
  double saved, traced;
  cr_assert(facet_hdf5_open(path, &model) == FACET_OK);
  snprintf(path, sizeof path, "%s/b.h5", directory);
  cr_assert(facet_hdf5_open(path, &file) == FACET_OK);
  read_reals(model, "parameters/logit.bias", 1, &saved);
  read_reals(file, "parameters/logit.bias", 1, &traced);
  cr_assert(saved == traced && saved != 0, "%g and %g", saved, traced);
  facet_hdf5_discard(&model);
  facet_hdf5_discard(&file);
}

Test(trace, wrong_usage_leaves_nothing) {
  EXPECT_EXIT(2, program_run("trace %s", config), "--output FILE.h5 is required");
  EXPECT_EXIT(2, program_run("trace --compare %s/a.h5", directory), "needs two traces, 1 given");
  EXPECT_EXIT(2, program_run("trace %s --batch 6 --output %s/x.h5", config, directory),
              "batch 6 does not exist: split train has 320 samples, 60 in a batch");
  EXPECT_EXIT(
      2,
      program_run("trace %s --set train.batch_size=16384 --batch 562949953421312 --output %s/x.h5", config, directory),
      "batch 562949953421312 does not exist");
  EXPECT_EXIT(2, program_run("trace %s --output %s", config, data), "exists; facet never overwrites a trace");
  EXPECT_EXIT(4, program_run("trace %s --output %s/none/x.h5", config, directory), "none/x.h5");
  EXPECT_EXIT(4, program_run("trace --compare %s/x.h5 %s/y.h5", directory, directory), "x.h5");
  EXPECT_EXIT(3, program_run("trace --compare %s/train/part-00000.h5 %s/y.h5", data, directory), "trace");
  EXPECT_EXIT(0, program_shell("ls %s", directory));
  cr_assert_str_eq(program_output, "data\n");
}
