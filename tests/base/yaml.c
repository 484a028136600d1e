/* YAML documents: positions, typed scalars, everything that is refused. */
#include "facet/yaml.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "facet/file.h"
#include "support/files.h"

static facet_yaml *parse(const char *text) {
  facet_yaml *document;
  facet_status status = facet_yaml_parse("a.yaml", text, strlen(text), FACET_ERROR_DATA, &document);
  cr_assert(status == FACET_OK, "%s", facet_error_get()->message);
  return document;
}

/* The text is refused with exactly this message. */
static void expect_refused(const char *text, size_t n_bytes, const char *message) {
  facet_yaml *document;
  cr_assert(facet_yaml_parse("a.yaml", text, n_bytes, FACET_ERROR_DATA, &document) == FACET_ERROR_DATA, "%s", text);
  cr_assert_null(document);
  cr_assert_str_eq(facet_error_get()->message, message);
}

#define expect_message(status, text)                                                                                   \
  do {                                                                                                                 \
    cr_assert((status) == FACET_ERROR_DATA);                                                                           \
    cr_assert_str_eq(facet_error_get()->message, text);                                                                \
  } while (0)

Test(yaml, structure_and_positions) {
  facet_yaml *document = parse("features:\n  - name: item\n    width: 8\n  - {name: user}\nversion: 2\n");
  facet_yaml_node root = facet_yaml_root(document);
  char where[64];
  cr_assert(facet_yaml_node_kind(root) == FACET_YAML_MAPPING && facet_yaml_n_items(root) == 2);
  cr_assert_str_eq(facet_yaml_key(root, 1), "version");
  cr_assert_str_eq(facet_yaml_where(facet_yaml_key_node(root, 1), where, sizeof where), "a.yaml:5:1");
  cr_assert_str_eq(facet_yaml_where(facet_yaml_value(root, 1), where, sizeof where), "a.yaml:5:10");
  facet_yaml_node features = facet_yaml_get(root, "features");
  cr_assert(facet_yaml_node_kind(features) == FACET_YAML_SEQUENCE && facet_yaml_n_items(features) == 2);
  facet_yaml_node width = facet_yaml_get(facet_yaml_item(features, 0), "width");
  cr_assert_str_eq(facet_yaml_where(width, where, sizeof where), "a.yaml:3:12");
  facet_yaml_node missing = facet_yaml_get(facet_yaml_item(features, 1), "width");
  cr_assert(facet_yaml_node_kind(missing) == FACET_YAML_MISSING && missing.id == 0);
  cr_assert_str_eq(facet_yaml_where(missing, where, sizeof where), "a.yaml:4:5"); /* of the mapping that lacks it */
  cr_assert(facet_yaml_node_kind(facet_yaml_get(missing, "deeper")) == FACET_YAML_MISSING);
  facet_yaml_destroy(&document);
  cr_assert_null(document);
}

Test(yaml, an_empty_document_has_no_root) {
  facet_yaml *document = parse("# nothing\n");
  facet_yaml_node root = facet_yaml_root(document);
  cr_assert(facet_yaml_node_kind(root) == FACET_YAML_MISSING);
  expect_message(facet_yaml_expect(root, FACET_YAML_MAPPING, "the schema"),
                 "a.yaml: the schema is missing; expected a mapping");
  facet_yaml_destroy(&document);
}

Test(yaml, typed_scalars) {
  facet_yaml *document = parse("i: -12\nd: 1e-3\nb: false\ns: a # comment\nq: \"512\"\ne: ''\nc: adam\n");
  facet_yaml_node root = facet_yaml_root(document);
  static const char *const choices[] = {"sgd", "adam"};
  int64_t i;
  double d;
  bool b = true;
  const char *s;
  int c;
  cr_assert(facet_yaml_int(facet_yaml_get(root, "i"), "i", -12, -12, &i) == FACET_OK && i == -12);
  cr_assert(facet_yaml_double(facet_yaml_get(root, "d"), "d", 0, 1, &d) == FACET_OK && d == 1e-3);
  cr_assert(facet_yaml_double(facet_yaml_get(root, "i"), "i", -INFINITY, INFINITY, &d) == FACET_OK && d == -12);
  cr_assert(facet_yaml_bool(facet_yaml_get(root, "b"), "b", &b) == FACET_OK && !b);
  cr_assert(facet_yaml_string(facet_yaml_get(root, "s"), "s", &s) == FACET_OK && strcmp(s, "a") == 0);
  cr_assert(facet_yaml_string(facet_yaml_get(root, "q"), "q", &s) == FACET_OK && strcmp(s, "512") == 0);
  cr_assert(facet_yaml_string(facet_yaml_get(root, "e"), "e", &s) == FACET_OK && strcmp(s, "") == 0);
  cr_assert(facet_yaml_choice(facet_yaml_get(root, "c"), "c", choices, 2, &c) == FACET_OK && c == 1);
  facet_yaml_destroy(&document);
}

Test(yaml, wrong_values_name_position_value_and_expectation) {
  facet_yaml *document = parse("i: 5x\nq: \"512\"\nbig: 99999999999999999999\nn:\nl: [1]\nb: yes\nc: adm\nf: .inf\n");
  facet_yaml_node root = facet_yaml_root(document);
  static const char *const choices[] = {"sgd", "adam"};
  int64_t i;
  double d;
  bool b;
  const char *s;
  int c;
  expect_message(facet_yaml_int(facet_yaml_get(root, "i"), "width", 1, 9, &i),
                 "a.yaml:1:4: width is \"5x\"; expected an integer from 1 to 9");
  expect_message(facet_yaml_int(facet_yaml_get(root, "q"), "width", 1, INT64_MAX, &i),
                 "a.yaml:2:4: width is the text \"512\"; expected an integer of at least 1");
  expect_message(facet_yaml_int(facet_yaml_get(root, "big"), "width", INT64_MIN, INT64_MAX, &i),
                 "a.yaml:3:6: width is \"99999999999999999999\"; expected an integer");
  expect_message(facet_yaml_string(facet_yaml_get(root, "n"), "name", &s),
                 "a.yaml:4:3: name is empty; expected text (\"\" for none)");
  expect_message(facet_yaml_string(facet_yaml_get(root, "l"), "name", &s),
                 "a.yaml:5:4: name is a list; expected text (\"\" for none)");
  expect_message(facet_yaml_bool(facet_yaml_get(root, "b"), "flag", &b),
                 "a.yaml:6:4: flag is \"yes\"; expected true or false");
  expect_message(facet_yaml_choice(facet_yaml_get(root, "c"), "dense", choices, 2, &c),
                 "a.yaml:7:4: dense is \"adm\"; expected one of sgd, adam; did you mean \"adam\"?");
  expect_message(facet_yaml_double(facet_yaml_get(root, "f"), "rate", -INFINITY, 0.5, &d),
                 "a.yaml:8:4: rate is \".inf\"; expected a number of at most 0.5");
  expect_message(facet_yaml_int(facet_yaml_get(root, "absent"), "width", 1, 9, &i),
                 "a.yaml:1:1: width is missing; expected an integer from 1 to 9");
  expect_message(facet_yaml_expect(facet_yaml_get(root, "i"), FACET_YAML_SEQUENCE, "the list of features"),
                 "a.yaml:1:4: the list of features is \"5x\"; expected a list");
  facet_yaml_destroy(&document);
}

Test(yaml, unknown_keys_name_the_nearest) {
  static const char *const known[] = {"batch_size", "epochs"};
  facet_yaml *document = parse("epochs: 1\nBatchsize: 2\n");
  expect_message(facet_yaml_check_keys(facet_yaml_root(document), known, 2),
                 "a.yaml:2:1: unknown key \"Batchsize\"; did you mean \"batch_size\"?");
  facet_yaml_destroy(&document);
  document = parse("colour: 1\n");
  expect_message(facet_yaml_check_keys(facet_yaml_root(document), known, 2),
                 "a.yaml:1:1: unknown key \"colour\"; known keys: batch_size, epochs");
  facet_yaml_destroy(&document);
}

Test(yaml, what_is_refused) {
  static const char zero[] = "a: \"x\\0y\"\n", bytes[] = "a: 1\nb: \xff\n";
  expect_refused("a: &x 1\nb: 2\n", 13, "a.yaml:1:4: an anchor (&); anchors are not supported");
  expect_refused("a: 1\nb: *a\n", 11, "a.yaml:2:4: an alias (*); write the value out, aliases are not supported");
  expect_refused("a: !!int 1\n", 11, "a.yaml:1:4: a tag (!); tags are not supported");
  expect_refused("a: 1\nb: 2\nb: 3\na: 4\n", 20, "a.yaml:3:1: the key \"b\" is given twice (first in line 2)");
  expect_refused("[a]: 1\n", 7, "a.yaml:1:1: a key must be a scalar");
  expect_refused("a: 1\n---\nb: 1\n", 14, "a.yaml:2:1: a second document; expected only one");
  expect_refused(zero, sizeof zero - 1, "a.yaml:1:4: the text contains a 0 byte");
  expect_refused(bytes, sizeof bytes - 1, "a.yaml:2:4: not valid YAML: invalid leading UTF-8 octet");
  expect_refused("a: b: c\n", 8, "a.yaml:1:5: not valid YAML: mapping values are not allowed in this context");
  expect_refused("a: [1, 2\n", 9,
                 "a.yaml:2:1: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence");
}

Test(yaml, depth_is_limited) {
  char text[256];
  memset(text, '[', 65), memset(text + 65, ']', 65);
  expect_refused(text, 130, "a.yaml:1:65: nested deeper than 64 levels");
  facet_yaml *document;
  cr_assert(facet_yaml_parse("a.yaml", text + 1, 128, FACET_ERROR_DATA, &document) == FACET_OK);
  facet_yaml_destroy(&document);
  memset(text, '[', sizeof text); /* refused at its depth, before the missing ] is noticed */
  expect_refused(text, sizeof text, "a.yaml:1:65: nested deeper than 64 levels");
}

Test(yaml, size_is_limited) {
  size_t n_bytes = ((size_t)16 << 20) + 1;
  char *text = malloc(n_bytes);
  memset(text, '#', n_bytes);
  expect_refused(text, n_bytes, "a.yaml: 16777217 bytes of YAML; expected at most 16777216");
  free(text);
}

Test(yaml, every_prefix_of_a_document_is_read_or_refused) {
  static const char text[] = "model:\n  name: \"a\\x41\"\n  hidden: [64, {x: 1}]\n# end\ndata: |\n  block\n";
  for (size_t n = 0; n < sizeof text; n++) {
    facet_yaml *document;
    facet_status status = facet_yaml_parse("a.yaml", text, n, FACET_ERROR_USAGE, &document);
    cr_assert(status == FACET_OK || (status == FACET_ERROR_USAGE && !document));
    facet_yaml_destroy(&document);
  }
}

Test(yaml, files) {
  char directory[64], path[FACET_PATH_MAX];
  facet_yaml *document;
  test_directory_create(directory);
  snprintf(path, sizeof path, "%s/x.yaml", directory);
  cr_assert(facet_yaml_load(path, FACET_ERROR_DATA, &document) == FACET_ERROR_IO);
  cr_assert(strstr(facet_error_get()->message, path));
  cr_assert(facet_file_write(path, "a: 1\n", 5) == FACET_OK);
  cr_assert(facet_yaml_load(path, FACET_ERROR_DATA, &document) == FACET_OK);
  cr_assert(facet_yaml_n_items(facet_yaml_root(document)) == 1);
  facet_yaml_destroy(&document);
  test_directory_remove(directory);
}

Test(yaml, nearest_name) {
  static const char *const names[] = {"batch_size", "accumulate", "auc", "gauc", "train"};
  cr_assert_str_eq(facet_nearest_name("batchsize", names, 5), "batch_size");
  cr_assert_str_eq(facet_nearest_name("trian", names, 5), "train"); /* a swap is one change */
  cr_assert_str_eq(facet_nearest_name("AUC", names, 5), "auc");
  cr_assert_str_eq(facet_nearest_name("guc", names, 5), "auc"); /* the first of equally near ones */
  cr_assert_null(facet_nearest_name("zzz", names, 5));
  cr_assert_null(facet_nearest_name("", names, 5));
  cr_assert_null(facet_nearest_name("x", names, 0));
}
