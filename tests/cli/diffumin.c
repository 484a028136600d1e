/* DiffuMIN on data that leave its parts with nothing to do. */
#include <hdf5.h>
#include <math.h>

#include "cli/tiny.h"

static void create(void) {
  tiny_create();
  tiny_write("c.yaml", "model: {name: diffumin, mlp: [8]}\ndata: {path: data}\n"
                       "train: {batch_size: 64, max_steps: 12, log_every: 1, threads: 1}\n");
}
TestSuite(diffumin, .init = create, .fini = tiny_remove);

/* Every window of a split gets length 0. */
static void empty_histories(const char *split) {
  int32_t zero[1440] = {0};
  const hid_t file = H5Fopen(tiny_path("data/%s/part-00000.h5", split), H5F_ACC_RDWR, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, "/samples/history/length", H5P_DEFAULT);
  cr_assert(H5Dwrite(dataset, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, zero) >= 0);
  H5Dclose(dataset);
  H5Fclose(file);
}

Test(diffumin, the_loss_falls_and_monitors_are_logged) {
  tiny_train_ok("run", "--set train.max_steps=46 --set train.epochs=2");
  json_t *lines = tiny_lines("run", "train");
  const json_t *first = json_array_get(lines, 0), *last = json_array_get(lines, json_array_size(lines) - 1);
  cr_assert(tiny_number(last, "loss/bce") < tiny_number(first, "loss/bce"));
  cr_assert(tiny_number(last, "loss/diffusion") < tiny_number(first, "loss/diffusion"));
  cr_assert(tiny_number(last, "loss/contrast") < tiny_number(first, "loss/contrast"));
  cr_assert(tiny_number(first, "monitor/empty_channels") >= 0 && tiny_number(first, "monitor/empty_channels") < 1);
  cr_assert(tiny_number(first, "monitor/routing_entropy") > 0 &&
            tiny_number(first, "monitor/routing_entropy") <= log(4) + 1e-6);
  cr_assert(tiny_number(first, "monitor/qr_smallest_ratio") > 0 &&
            tiny_number(first, "monitor/qr_smallest_ratio") <= 1);
  cr_assert(fabs(tiny_number(first, "monitor/cos_interest_denoised")) <= 1);
  json_decref(lines);
}

Test(diffumin, all_histories_empty) {
  static const char *const splits[] = {"train", "valid", "test"};
  for (int i = 0; i < 3; i++) empty_histories(splits[i]);
  tiny_train_ok("run", "");
  cr_assert_eq(tiny_last("run", "train", "loss/diffusion"), 0);
  cr_assert_eq(tiny_last("run", "train", "loss/contrast"), 0);
  cr_assert_eq(tiny_last("run", "train", "monitor/empty_channels"), 1);
  cr_assert(tiny_last("run", "train", "loss/bce") > 0);
}

/* One user, one class, and one row for the statistics of BatchNorm and Dice. */
Test(diffumin, batches_of_one_sample) {
  tiny_train_ok("run", "--set train.batch_size=1 --set evaluate.batch_size=64");
  cr_assert_eq(tiny_last("run", "train", "loss/contrast"), 0);
  cr_assert(isfinite(tiny_last("run", "train", "loss")));
}

Test(diffumin, presets_train) {
  static const char *const presets[] = {"diffumin", "diffumin_paper", "diffumin_official"};
  for (int i = 0; i < 3; i++)
    EXPECT_EXIT(
        0,
        program_run("train %s/models/%s.yaml --set data.path=%s --set 'model.mlp=[8]' --set train.batch_size=64 "
                    "--set train.max_steps=6 --set train.threads=1 --output %s",
                    FACET_SOURCE_DIR, presets[i], tiny_path("data"), tiny_path("%s", presets[i])),
        "finished");
}

/* The contrast's parameters are in the checkpoint and in no program that scores. */
Test(diffumin, a_checkpoint_is_evaluated_and_predicted) {
  tiny_train_ok("run", "");
  EXPECT_EXIT(0, program_run("evaluate %s", tiny_path("run")), "\nlogloss ");
  EXPECT_EXIT(0, program_run("predict %s --output %s", tiny_path("run"), tiny_path("s.h5")), "scores of");
}

Test(diffumin, widths_that_do_not_fit_exit_2) {
  EXPECT_EXIT(2, tiny_train("run", "--set model.channels=17"), "model.channels is 17", "width of a behaviour (16)");
  EXPECT_EXIT(2, tiny_train("run", "--set model.heads=3"), "a behaviour is 16 wide", "model.heads (3) divides");
  EXPECT_EXIT(2, tiny_train("run", "--set model.steps=11 --set model.levels=10"), "model.steps is 11");
}
