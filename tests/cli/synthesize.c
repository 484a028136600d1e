/* facet synthesize: options, refusals and exit statuses. */
#include "cli/program.h"

static char directory[64];

static void setup(void) {
  test_directory_create(directory);
}
static void teardown(void) {
  test_directory_remove(directory);
}
TestSuite(cli_synthesize, .init = setup, .fini = teardown);

#define SMALL "--set users=40 --set items=100 --set clusters=8 --set categories=4"

Test(cli_synthesize, writes_a_data_set) {
  EXPECT_EXIT(0, program_run("synthesize --output %s/data/ " SMALL, directory), "test AUC: ", "train ");
  EXPECT_EXIT(0, program_shell("cd %s && echo * && echo data/*", directory), "data\n",
              "data/schema.yaml data/tables.h5 data/test data/train data/truth.json data/valid data/vocab\n");
  EXPECT_EXIT(2, program_run("synthesize --output %s/data " SMALL, directory), "exists and is not an empty directory");
}

Test(cli_synthesize, a_configuration_and_sets_over_it) {
  EXPECT_EXIT(0,
              program_shell("printf 'synthesize: {users: 70, items: 300, impressions: 10}\\n' >%s/c.yaml; "
                            "$FACET synthesize %s/c.yaml --output %s/data --set synthesize.users=50",
                            directory, directory, directory),
              "train  400 samples", "test   50 samples");
}

Test(cli_synthesize, wrong_options_exit_2_and_leave_nothing) {
  static const char *const cases[][2] = {
      {"clusters=9 --set items=8", "clusters is 9, expected at most items (8)"},
      {"categories=65", "categories is 65, expected at most clusters (64)"},
      {"interests_min=5", "interests_min is 5 and interests_max 4"},
      {"users=0", "users"},
      {"noise=2", "noise"},
      {"users=many", "many"},
      {"user=3", "did you mean \"users\""},
      {"users", "expected key=value"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    EXPECT_EXIT(2, program_run("synthesize --output %s/data --set %s", directory, cases[i][0]), cases[i][1]);
  EXPECT_EXIT(2, program_run("synthesize --set users=40"), "--output");
  EXPECT_EXIT(4, program_run("synthesize %s/none.yaml --output %s/data", directory, directory), "none.yaml");
  EXPECT_EXIT(1, program_shell("ls -A %s | grep .", directory));
}
