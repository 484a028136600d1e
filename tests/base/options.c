/* Options: defaults, reading, --set, required ones, writing and reading back, comparison, help. */
#include "facet/options.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct values {
  bool flag;
  int64_t width;
  double rate;
  char path[FACET_OPTION_MAX_TEXT];
  int kind;
  facet_int_list hidden;
} values;

static const char *const kinds[] = {"sum", "mean", NULL};
static const facet_option table[] = {
    {"flag", FACET_OPTION_BOOL, offsetof(values, flag), "true", 0, 0, NULL, "A flag."},
    {"width", FACET_OPTION_INT, offsetof(values, width), "8", 1, 1024, NULL, "Width in floats."},
    {"rate", FACET_OPTION_DOUBLE, offsetof(values, rate), "1e-3", 0, INFINITY, NULL, "Rate | per step."},
    {"path", FACET_OPTION_STRING, offsetof(values, path), "", 0, 0, NULL, "A path."},
    {"kind", FACET_OPTION_CHOICE, offsetof(values, kind), "mean", 0, 0, kinds, "A kind."},
    {"hidden", FACET_OPTION_INT_LIST, offsetof(values, hidden), "[64, 32]", 1, 4096, NULL, "Widths of the layers."},
    {0}};
static const facet_option_section section = {"model", "A model.", table, sizeof(values)};

static const facet_option required_table[] = {
    {"width", FACET_OPTION_INT, offsetof(values, width), NULL, -INFINITY, INFINITY, NULL, "Width."},
    {"rate", FACET_OPTION_DOUBLE, offsetof(values, rate), NULL, -INFINITY, INFINITY, NULL, "Rate."},
    {"path", FACET_OPTION_STRING, offsetof(values, path), NULL, 0, 0, NULL, "A path."},
    {"kind", FACET_OPTION_CHOICE, offsetof(values, kind), NULL, 0, 0, kinds, "A kind."},
    {"hidden", FACET_OPTION_INT_LIST, offsetof(values, hidden), NULL, 1, 9, NULL, "Layers."},
    {0}};
static const facet_option_section required_section = {"needs", "All required.", required_table, sizeof(values)};

static values defaults(void) {
  values v;
  cr_assert(facet_options_default(&section, &v) == FACET_OK, "%s", facet_error_get()->message);
  return v;
}

static facet_status read_text(const char *text, values *v) {
  static const char *const extra[] = {"name", NULL};
  facet_yaml *document;
  cr_assert(facet_yaml_parse("c.yaml", text, strlen(text), FACET_ERROR_USAGE, &document) == FACET_OK);
  facet_status status = facet_options_read(&section, facet_yaml_root(document), extra, v);
  facet_yaml_destroy(&document);
  return status;
}

static void expect_refused(const char *text, const char *message) {
  values v = defaults();
  cr_assert(read_text(text, &v) == FACET_ERROR_USAGE, "%s", text);
  cr_assert_str_eq(facet_error_get()->message, message);
}

static void expect_set_refused(const char *key, const char *text, const char *message) {
  values v = defaults();
  cr_assert(facet_options_set(&section, key, text, "--set x", &v) == FACET_ERROR_USAGE);
  cr_assert_str_eq(facet_error_get()->message, message);
}

Test(options, defaults) {
  values v = defaults();
  cr_assert(v.flag && v.width == 8 && v.rate == 1e-3 && v.path[0] == 0 && v.kind == 1);
  cr_assert(v.hidden.n == 2 && v.hidden.value[0] == 64 && v.hidden.value[1] == 32);
}

Test(options, reading_replaces_only_what_is_given) {
  values v = defaults();
  cr_assert(read_text("name: x\nwidth: 16\nhidden: []\npath: a b\n", &v) == FACET_OK);
  cr_assert(v.flag && v.width == 16 && v.hidden.n == 0 && v.kind == 1);
  cr_assert_str_eq(v.path, "a b");
  cr_assert(read_text("", &v) == FACET_OK && read_text("~", &v) == FACET_OK && v.width == 16);
}

Test(options, wrong_values) {
  expect_refused("widht: 1", "c.yaml:1:1: unknown key \"widht\"; did you mean \"width\"?");
  expect_refused("flag: 1", "c.yaml:1:7: model.flag is \"1\"; expected true or false");
  expect_refused("width: 0", "c.yaml:1:8: model.width is \"0\"; expected an integer from 1 to 1024");
  expect_refused("width: 1025", "c.yaml:1:8: model.width is \"1025\"; expected an integer from 1 to 1024");
  expect_refused("width: 1.5", "c.yaml:1:8: model.width is \"1.5\"; expected an integer from 1 to 1024");
  expect_refused("rate: -1", "c.yaml:1:7: model.rate is \"-1\"; expected a number of at least 0");
  expect_refused("rate: nan", "c.yaml:1:7: model.rate is \"nan\"; expected a number of at least 0");
  expect_refused("rate: 0x10", "c.yaml:1:7: model.rate is \"0x10\"; expected a number of at least 0");
  expect_refused("path: {a: 1}", "c.yaml:1:7: model.path is a mapping; expected text (\"\" for none)");
  expect_refused("kind: men", "c.yaml:1:7: model.kind is \"men\"; expected one of sum, mean; did you mean \"mean\"?");
  expect_refused("hidden: 3", "c.yaml:1:9: model.hidden is \"3\"; expected a list");
  expect_refused("hidden: [3, 0]", "c.yaml:1:13: model.hidden[1] is \"0\"; expected an integer from 1 to 4096");
  expect_refused("hidden: [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
                 "c.yaml:1:9: model.hidden has 17 items; expected at most 16");
  expect_refused("[1]", "c.yaml:1:1: model is a list; expected a mapping");
}

Test(options, text_has_a_limit) {
  char text[FACET_OPTION_MAX_TEXT + 1];
  values v = defaults();
  memset(text, 'x', FACET_OPTION_MAX_TEXT), text[FACET_OPTION_MAX_TEXT] = 0;
  cr_assert(facet_options_set(&section, "path", text, "--set x", &v) == FACET_ERROR_USAGE);
  cr_assert_str_eq(facet_error_get()->message, "--set x: model.path has 512 bytes; expected at most 511");
  cr_assert(facet_options_set(&section, "path", text + 1, "--set x", &v) == FACET_OK);
  cr_assert(strlen(v.path) == 511);
}

Test(options, set_from_text) {
  values v = defaults();
  cr_assert(facet_options_set(&section, "hidden", "[1024,512]", "--set x", &v) == FACET_OK);
  cr_assert(v.hidden.n == 2 && v.hidden.value[0] == 1024 && v.hidden.value[1] == 512);
  cr_assert(facet_options_set(&section, "flag", "false", "--set x", &v) == FACET_OK && !v.flag);
  cr_assert(facet_options_set(&section, "path", "a: \"b\" # \\ *c\t", "--set x", &v) == FACET_OK);
  cr_assert_str_eq(v.path, "a: \"b\" # \\ *c\t"); /* text is taken as it is */
  cr_assert(facet_options_set(&section, "path", "", "--set x", &v) == FACET_OK && v.path[0] == 0);
  expect_set_refused("widht", "1", "--set x: unknown key \"widht\" of model; did you mean \"width\"?");
  expect_set_refused("width", "5000", "--set x: model.width is \"5000\"; expected an integer from 1 to 1024");
  expect_set_refused("width", "", "--set x: model.width is missing; expected an integer from 1 to 1024");
  expect_set_refused("hidden", "[1",
                     "--set x: not valid YAML: did not find expected ',' or ']' while parsing a flow "
                     "sequence");
  expect_set_refused("path", "\xff", "--set x: not valid YAML: invalid leading UTF-8 octet");
}

Test(options, required_ones_must_be_set_in_table_order) {
  static const char *const keys[] = {"width", "rate", "path", "kind", "hidden"};
  static const char *const texts[] = {"0", "0", "p", "sum", "[1]"};
  values v;
  cr_assert(facet_options_default(&required_section, &v) == FACET_OK);
  for (int i = 0; i < 5; i++) {
    char start[64];
    snprintf(start, sizeof start, "c.yaml: needs.%s is missing", keys[i]);
    cr_assert(facet_options_check(&required_section, "c.yaml", &v) == FACET_ERROR_USAGE);
    cr_assert(strncmp(facet_error_get()->message, start, strlen(start)) == 0, "%s", facet_error_get()->message);
    cr_assert(facet_options_set(&required_section, keys[i], texts[i], "--set x", &v) == FACET_OK);
  }
  cr_assert(facet_options_check(&required_section, "c.yaml", &v) == FACET_OK);
}

/* The section written and read again. */
static values round_trip(const values *v, char *text, size_t n_bytes) {
  FILE *stream = fmemopen(text, n_bytes, "w");
  cr_assert(facet_options_write(&section, v, stream) == FACET_OK);
  fclose(stream);
  facet_yaml *document;
  facet_status status = facet_yaml_parse("w.yaml", text, strlen(text), FACET_ERROR_USAGE, &document);
  cr_assert(status == FACET_OK, "%s\n%s", facet_error_get()->message, text);
  values back = defaults();
  status = facet_options_read(&section, facet_yaml_get(facet_yaml_root(document), "model"), NULL, &back);
  cr_assert(status == FACET_OK, "%s\n%s", facet_error_get()->message, text);
  facet_yaml_destroy(&document);
  return back;
}

Test(options, written_values_read_back) {
  static const char *const paths[] = {"",     "plain/path-1.0",
                                      "null", "true",
                                      "no",   "12",
                                      "-x",   " a",
                                      "a ",   "a: b",
                                      "#c",   "[x]",
                                      "~",    "\"",
                                      "\\",   "é ü",
                                      "@x",   "a\nb",
                                      "\t",   "\x7f\x01",
                                      "1e5",  "x=1",
                                      "---",  "...",
                                      "*",    "&a",
                                      "!t",   "a #b",
                                      "?"};
  static char text[8192];
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    values v = defaults();
    strcpy(v.path, paths[i]);
    values back = round_trip(&v, text, sizeof text);
    cr_assert_str_eq(back.path, paths[i], "%s", text);
  }
  static const double rates[] = {0, 0.1, 1.0 / 3, 1e-300, 123456789.123, 5e-324, 1.7976931348623157e308};
  for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
    values v = defaults();
    v.rate = rates[i], v.kind = 0, v.flag = false, v.width = 1024, v.hidden = (facet_int_list){0};
    values back = round_trip(&v, text, sizeof text);
    cr_assert(facet_options_difference(&section, &v, &back) == NULL, "%s", text);
  }
  values v = defaults();
  round_trip(&v, text, sizeof text);
  cr_assert_str_eq(text, "model:\n  flag: true\n  width: 8\n  rate: 0.001\n  path: \"\"\n  kind: mean\n"
                         "  hidden: [64, 32]\n");
}

Test(options, difference_names_the_first_key) {
  values a = defaults(), b = defaults();
  cr_assert_null(facet_options_difference(&section, &a, &b));
  b.hidden.value[1] = 31;
  cr_assert_str_eq(facet_options_difference(&section, &a, &b)->key, "hidden");
  strcpy(b.path, "x");
  cr_assert_str_eq(facet_options_difference(&section, &a, &b)->key, "path");
  b.flag = false;
  cr_assert_str_eq(facet_options_difference(&section, &a, &b)->key, "flag");
}

Test(options, a_default_out_of_range_is_an_error) {
  static const facet_option bad[] = {{"width", FACET_OPTION_INT, offsetof(values, width), "0", 1, 2, NULL, "Width."},
                                     {0}};
  static const facet_option_section bad_section = {"bad", "Bad.", bad, sizeof(values)};
  values v;
  cr_assert(facet_options_default(&bad_section, &v) != FACET_OK);
  cr_assert(strstr(facet_error_get()->message, "default value of bad.width"));
}

Test(options, help_and_markdown) {
  static char text[4096];
  FILE *stream = fmemopen(text, sizeof text, "w");
  facet_options_print_markdown(&section, stream);
  fclose(stream);
  cr_assert(strstr(text, "| `width` | `8` | integer from 1 to 1024 | Width in floats. |\n"), "%s", text);
  cr_assert(strstr(text, "| `rate` | `1e-3` | number of at least 0 | Rate \\| per step. |\n"), "%s", text);
  cr_assert(strstr(text, "| `kind` | `mean` | one of sum, mean | A kind. |\n"), "%s", text);
  memset(text, 0, sizeof text);
  stream = fmemopen(text, sizeof text, "w");
  facet_options_print_help(&required_section, stream);
  fclose(stream);
  cr_assert(strstr(text, "needs: All required.\n  width (required) "), "%s", text);
}
