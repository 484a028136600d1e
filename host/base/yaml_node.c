/* Reading YAML nodes: structure, typed scalars, and errors with their position. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/yaml_document.h"

#define MAX_SHOWN 200 /* bytes of a value in a message */

/* ---- structure ---- */

facet_yaml_node facet_yaml_root(const facet_yaml *document) {
  bool is_empty = document->document.nodes.top == document->document.nodes.start;
  return (facet_yaml_node){.document = document, .id = is_empty ? 0 : 1};
}

facet_yaml_kind facet_yaml_node_kind(facet_yaml_node node) {
  const yaml_node_t *raw = facet_yaml_raw(node);
  if (!raw) return FACET_YAML_MISSING;
  return raw->type == YAML_SCALAR_NODE     ? FACET_YAML_SCALAR
         : raw->type == YAML_SEQUENCE_NODE ? FACET_YAML_SEQUENCE
                                           : FACET_YAML_MAPPING;
}

static bool is_plain(const yaml_node_t *raw) {
  return raw && raw->type == YAML_SCALAR_NODE && raw->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static const char *text_of(const yaml_node_t *raw) {
  return (const char *)raw->data.scalar.value;
}

bool facet_yaml_is_null(facet_yaml_node node) {
  const yaml_node_t *raw = facet_yaml_raw(node);
  if (!is_plain(raw)) return false;
  const char *text = text_of(raw);
  return !*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

facet_yaml_node facet_yaml_get(facet_yaml_node mapping, const char *key) {
  int64_t n = facet_yaml_node_kind(mapping) == FACET_YAML_MAPPING ? facet_yaml_n_items(mapping) : 0;
  for (int64_t i = 0; i < n; i++) {
    if (strcmp(facet_yaml_key(mapping, i), key) == 0) return facet_yaml_value(mapping, i);
  }
  return (facet_yaml_node){.document = mapping.document, .parent = mapping.id ? mapping.id : mapping.parent};
}

int64_t facet_yaml_n_items(facet_yaml_node node) {
  const yaml_node_t *raw = facet_yaml_raw(node);
  if (raw && raw->type == YAML_SEQUENCE_NODE) return raw->data.sequence.items.top - raw->data.sequence.items.start;
  if (raw && raw->type == YAML_MAPPING_NODE) return raw->data.mapping.pairs.top - raw->data.mapping.pairs.start;
  return 0;
}

facet_yaml_node facet_yaml_item(facet_yaml_node sequence, int64_t i) {
  return (facet_yaml_node){.document = sequence.document, .id = facet_yaml_raw(sequence)->data.sequence.items.start[i]};
}

facet_yaml_node facet_yaml_key_node(facet_yaml_node mapping, int64_t i) {
  return (facet_yaml_node){.document = mapping.document,
                           .id = facet_yaml_raw(mapping)->data.mapping.pairs.start[i].key};
}

facet_yaml_node facet_yaml_value(facet_yaml_node mapping, int64_t i) {
  return (facet_yaml_node){.document = mapping.document,
                           .id = facet_yaml_raw(mapping)->data.mapping.pairs.start[i].value};
}

const char *facet_yaml_key(facet_yaml_node mapping, int64_t i) {
  const yaml_node_t *raw = facet_yaml_raw(facet_yaml_key_node(mapping, i));
  return raw->type == YAML_SCALAR_NODE ? text_of(raw) : "";
}

/* ---- errors ---- */

const char *facet_yaml_where(facet_yaml_node node, char *buffer, size_t n_bytes) {
  facet_yaml_node shown = {.document = node.document, .id = node.id ? node.id : node.parent};
  const yaml_node_t *raw = facet_yaml_raw(shown);
  if (raw && !node.document->is_argument) {
    snprintf(buffer, n_bytes, "%s:%zu:%zu", node.document->name, raw->start_mark.line + 1, raw->start_mark.column + 1);
  } else {
    snprintf(buffer, n_bytes, "%s", node.document->name);
  }
  return buffer;
}

facet_status facet_yaml_fail(facet_yaml_node node, const char *format, ...) {
  char message[1024], where[640];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  FACET_FAIL(node.document->status, "%s: %s", facet_yaml_where(node, where, sizeof where), message);
}

/* "<what> is <the value>; expected <expected>", or "<what> is missing; expected …". */
static facet_status fail_expected(facet_yaml_node node, const char *what, const char *expected) {
  static const char *const kinds[] = {"", "", "a list", "a mapping"}; /* by facet_yaml_kind */
  facet_yaml_kind kind = facet_yaml_node_kind(node);
  if (kind == FACET_YAML_MISSING) return facet_yaml_fail(node, "%s is missing; expected %s", what, expected);
  if (kind != FACET_YAML_SCALAR) return facet_yaml_fail(node, "%s is %s; expected %s", what, kinds[kind], expected);
  if (facet_yaml_is_null(node)) return facet_yaml_fail(node, "%s is empty; expected %s", what, expected);
  const yaml_node_t *raw = facet_yaml_raw(node);
  bool cut = raw->data.scalar.length > MAX_SHOWN;
  return facet_yaml_fail(node, "%s is %s\"%.*s%s\"; expected %s", what, is_plain(raw) ? "" : "the text ", MAX_SHOWN,
                         text_of(raw), cut ? "…" : "", expected);
}

facet_status facet_yaml_expect(facet_yaml_node node, facet_yaml_kind kind, const char *what) {
  static const char *const names[] = {"nothing", "a single value", "a list", "a mapping"}; /* by facet_yaml_kind */
  if (facet_yaml_node_kind(node) == kind) return FACET_OK;
  return fail_expected(node, what, names[kind]);
}

/* ---- scalars ---- */

facet_status facet_yaml_string(facet_yaml_node node, const char *what, const char **out) {
  bool good = facet_yaml_node_kind(node) == FACET_YAML_SCALAR && !facet_yaml_is_null(node);
  if (!good) return fail_expected(node, what, "text (\"\" for none)");
  *out = text_of(facet_yaml_raw(node));
  return FACET_OK;
}

static facet_status fail_number(facet_yaml_node node, const char *what, const char *kind, double low, double high) {
  char range[96], expected[160];
  facet_text_range(low, high, range, sizeof range);
  snprintf(expected, sizeof expected, "%s%s%s", kind, *range ? " " : "", range);
  return fail_expected(node, what, expected);
}

facet_status facet_yaml_int(facet_yaml_node node, const char *what, int64_t low, int64_t high, int64_t *out) {
  const yaml_node_t *raw = facet_yaml_raw(node);
  int64_t value;
  bool good = is_plain(raw) && facet_text_int(text_of(raw), &value) && value >= low && value <= high;
  if (!good) return fail_number(node, what, "an integer", (double)low, (double)high);
  *out = value;
  return FACET_OK;
}

facet_status facet_yaml_double(facet_yaml_node node, const char *what, double low, double high, double *out) {
  const yaml_node_t *raw = facet_yaml_raw(node);
  double value;
  bool good = is_plain(raw) && facet_text_double(text_of(raw), &value) && value >= low && value <= high;
  if (!good) return fail_number(node, what, "a number", low, high);
  *out = value;
  return FACET_OK;
}

facet_status facet_yaml_bool(facet_yaml_node node, const char *what, bool *out) {
  const yaml_node_t *raw = facet_yaml_raw(node);
  bool is_true = is_plain(raw) && strcmp(text_of(raw), "true") == 0;
  bool is_false = is_plain(raw) && strcmp(text_of(raw), "false") == 0;
  if (!is_true && !is_false) return fail_expected(node, what, "true or false");
  *out = is_true;
  return FACET_OK;
}

facet_status facet_yaml_choice(facet_yaml_node node, const char *what, const char *const *choices, int n, int *out) {
  const yaml_node_t *raw = facet_yaml_raw(node);
  bool is_scalar = raw && raw->type == YAML_SCALAR_NODE;
  for (int i = 0; is_scalar && i < n; i++) {
    if (strcmp(text_of(raw), choices[i])) continue;
    *out = i;
    return FACET_OK;
  }
  char list[512], expected[700];
  const char *nearest = is_scalar ? facet_nearest_name(text_of(raw), choices, n) : NULL;
  facet_text_join(choices, n, list, sizeof list);
  snprintf(expected, sizeof expected, "one of %s%s%s%s", list, nearest ? "; did you mean \"" : "",
           nearest ? nearest : "", nearest ? "\"?" : "");
  return fail_expected(node, what, expected);
}

facet_status facet_yaml_check_keys(facet_yaml_node mapping, const char *const *known, int n) {
  int64_t n_items = facet_yaml_node_kind(mapping) == FACET_YAML_MAPPING ? facet_yaml_n_items(mapping) : 0;
  for (int64_t i = 0; i < n_items; i++) {
    const char *key = facet_yaml_key(mapping, i);
    bool is_known = false;
    for (int k = 0; k < n && !is_known; k++) is_known = strcmp(key, known[k]) == 0;
    if (is_known) continue;
    char end[640];
    return facet_yaml_fail(facet_yaml_key_node(mapping, i), "unknown key \"%.*s\"%s", MAX_SHOWN, key,
                           facet_text_suggest(key, "keys", known, n, end, sizeof end));
  }
  return FACET_OK;
}
