/* facet convert: arguments, report, exit status. */
#include "cli/program.h"

#include "facet/convert.h"
#include "facet/file.h"

static char directory[64];

static void write_text(const char *name, const char *text) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  test_file_write(path, text, strlen(text));
}

static void create(void) {
  test_directory_create(directory);
  write_text("config.yaml", "convert: {name: test, min_user_events: 1}\n"
                            "interactions: {file: log.tsv, user: user, item: item, time: time}\n");
  write_text("log.tsv", "user\titem\ttime\nu1\ta\t1\nu1\tb\t2\nu2\tc\t1\nu2\td\t2\n");
}

static void destroy(void) {
  test_directory_remove(directory);
}

TestSuite(cli_convert, .init = create, .fini = destroy);

Test(cli_convert, help_lists_every_section) {
  EXPECT_EXIT(0, program_run("convert --help"), "Usage: facet convert", "--vocabulary", "convert", "interactions",
              "impressions", "history", "users, items", "columns.<feature>", "rating_at_least");
}

Test(cli_convert, a_data_set_is_made_and_described) {
  EXPECT_EXIT(0, program_run("convert %s/config.yaml --output %s/out --set negatives=2", directory, directory),
              "4 read from log.tsv", "4 kept as events", "train               6 samples, 2 positive");
  EXPECT_EXIT(0, program_shell("ls %s/out", directory), "schema.yaml\ntrain\nvocab\n");
}

Test(cli_convert, input_is_where_the_files_are) {
  EXPECT_EXIT(0, program_shell("mkdir %s/logs && mv %s/log.tsv %s/logs/", directory, directory, directory));
  EXPECT_EXIT(4, program_run("convert %s/config.yaml --output %s/out", directory, directory), "log.tsv");
  EXPECT_EXIT(0,
              program_run("convert %s/config.yaml --input %s/logs --output %s/out", directory, directory, directory));
}

Test(cli_convert, exit_status) {
  EXPECT_EXIT(2, program_run("convert %s/config.yaml", directory), "--output");
  EXPECT_EXIT(2, program_run("convert %s/config.yaml --output %s", directory, directory), "never overwrites data");
  EXPECT_EXIT(2, program_run("convert %s/config.yaml --output %s/out --freeze", directory, directory), "--vocabulary");
  write_text("log.tsv", "user\titem\ttime\nu1\ta\tnoon\n");
  EXPECT_EXIT(3, program_run("convert %s/config.yaml --output %s/out", directory, directory),
              "data error: ", "/log.tsv:2: time is \"noon\", expected a time as a number", "drop_bad_rows");
}

/* docs/convert.md holds the tables of options as they are; the message gives the text to put there. */
Test(cli_convert, the_reference_is_up_to_date) {
  char *document, *table;
  size_t n_bytes;
  cr_assert(facet_file_read(FACET_SOURCE_DIR "/docs/convert.md", 1 << 20, &document, &n_bytes) == FACET_OK);
  for (int i = 0; i < facet_convert_n_sections; i++) {
    const facet_option_section *section = &facet_convert_sections[i];
    FILE *out = open_memstream(&table, &n_bytes);
    fprintf(out, "### %s\n\n%s\n\n", section->name, section->help);
    facet_options_print_markdown(section, out);
    fclose(out);
    cr_assert(strstr(document, table), "docs/convert.md lacks:\n%s", table);
    free(table);
  }
  facet_memory_free(document);
}

/* Their data are not here: the configurations are read, and the first file is missed. */
Test(cli_convert, the_configurations_of_the_real_data_sets_are_valid) {
  static const char *const sets[][2] = {{"ml-100k", "/ml-100k.inter"},
                                        {"amazon-sports", "/joined.tsv"},
                                        {"mind-small", "/behaviors.tsv"},
                                        {"ebnerd", "/history.tsv"},
                                        {"userbehavior", "/UserBehavior.csv"}};
  for (int i = 0; i < 5; i++) {
    EXPECT_EXIT(4,
                program_run("convert " FACET_SOURCE_DIR "/datasets/%s/convert.yaml --input %s --output %s/out",
                            sets[i][0], directory, directory),
                "cannot open", sets[i][1]);
    EXPECT_EXIT(0, program_run("config " FACET_SOURCE_DIR "/datasets/%s/train.yaml", sets[i][0]), "mean_pooling");
  }
}
