/* Options: defaults, reading from YAML and from --set, required options, comparison. */
#include "facet/options.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "facet/memory.h"

#define MAX_WHAT 160 /* "section.key" in messages */
#define MAX_KEYS 128 /* of a section */

static void *field_of(const facet_option *option, void *values) {
  return (char *)values + option->offset;
}

static const void *value_of(const facet_option *option, const void *values) {
  return (const char *)values + option->offset;
}

/* ---- one value ---- */

/* Limits of the table, given as double, as integers. */
static int64_t integer_limit(double limit) {
  if (limit <= -9.2e18) return INT64_MIN;
  return limit >= 9.2e18 ? INT64_MAX : (int64_t)limit;
}

static facet_status read_string(facet_yaml_node node, const char *what, char *field) {
  const char *text;
  FACET_TRY(facet_yaml_string(node, what, &text));
  size_t length = strlen(text);
  if (length >= FACET_OPTION_MAX_TEXT) {
    return facet_yaml_fail(node, "%s has %zu bytes; expected at most %d", what, length, FACET_OPTION_MAX_TEXT - 1);
  }
  memset(field, 0, FACET_OPTION_MAX_TEXT);
  memcpy(field, text, length + 1);
  return FACET_OK;
}

static facet_status read_list(const facet_option *option, facet_yaml_node node, const char *what,
                              facet_int_list *field) {
  facet_int_list list = {0};
  FACET_TRY(facet_yaml_expect(node, FACET_YAML_SEQUENCE, what));
  int64_t n = facet_yaml_n_items(node);
  if (n > FACET_OPTION_MAX_LIST) {
    return facet_yaml_fail(node, "%s has %lld items; expected at most %d", what, (long long)n, FACET_OPTION_MAX_LIST);
  }
  for (int64_t i = 0; i < n; i++) {
    char item[MAX_WHAT + 24];
    snprintf(item, sizeof item, "%s[%lld]", what, (long long)i);
    FACET_TRY(facet_yaml_int(facet_yaml_item(node, i), item, integer_limit(option->low), integer_limit(option->high),
                             &list.value[i]));
  }
  list.n = n;
  *field = list;
  return FACET_OK;
}

static facet_status read_value(const facet_option *option, facet_yaml_node node, const char *what, void *values) {
  void *field = field_of(option, values);
  switch (option->type) {
  case FACET_OPTION_BOOL:
    return facet_yaml_bool(node, what, field);
  case FACET_OPTION_INT:
    return facet_yaml_int(node, what, integer_limit(option->low), integer_limit(option->high), field);
  case FACET_OPTION_DOUBLE:
    return facet_yaml_double(node, what, option->low, option->high, field);
  case FACET_OPTION_STRING:
    return read_string(node, what, field);
  case FACET_OPTION_CHOICE:
    return facet_yaml_choice(node, what, option->choices, facet_text_count(option->choices), field);
  case FACET_OPTION_INT_LIST:
    return read_list(option, node, what, field);
  }
  FACET_FAIL(FACET_ERROR_INTERNAL, "option %s has unknown type %d", what, (int)option->type);
}

static const char *name_of(const facet_option_section *section, const facet_option *option, char *what) {
  snprintf(what, MAX_WHAT, "%.64s.%.64s", section->name, option->key);
  return what;
}

static facet_status set_text(const facet_option_section *section, const facet_option *option, const char *text,
                             const char *where, void *values) {
  char what[MAX_WHAT], *quoted = NULL;
  name_of(section, option, what);
  facet_yaml *document = NULL;
  facet_status status = FACET_OK;
  if (option->type == FACET_OPTION_STRING) { /* taken as it is: through the quoted form, which YAML reads back */
    size_t n_bytes = 4 * strlen(text) + 3;
    FACET_TRY(FACET_ALLOC(quoted, n_bytes, "quoted text of an option"));
    text = facet_text_quote(text, quoted, n_bytes);
  }
  FACET_TRY_GOTO(status, done, facet_yaml_parse_argument(where, text, &document));
  status = read_value(option, facet_yaml_root(document), what, values);
done:
  facet_yaml_destroy(&document);
  facet_memory_free(quoted);
  return status;
}

/* ---- sections ---- */

static void mark_unset(const facet_option *option, void *values) {
  void *field = field_of(option, values);
  if (option->type == FACET_OPTION_INT) *(int64_t *)field = INT64_MIN;
  if (option->type == FACET_OPTION_DOUBLE) *(double *)field = NAN;
  if (option->type == FACET_OPTION_CHOICE) *(int *)field = -1;
}

static bool is_unset(const facet_option *option, const void *values) {
  const void *field = value_of(option, values);
  switch (option->type) {
  case FACET_OPTION_BOOL:
    return false;
  case FACET_OPTION_INT:
    return *(const int64_t *)field == INT64_MIN;
  case FACET_OPTION_DOUBLE:
    return isnan(*(const double *)field);
  case FACET_OPTION_STRING:
    return *(const char *)field == 0;
  case FACET_OPTION_CHOICE:
    return *(const int *)field < 0;
  case FACET_OPTION_INT_LIST:
    return ((const facet_int_list *)field)->n == 0;
  }
  return false;
}

facet_status facet_options_default(const facet_option_section *section, void *values) {
  memset(values, 0, section->struct_bytes);
  for (const facet_option *option = section->options; option->key; option++) {
    char what[MAX_WHAT], where[MAX_WHAT + 32];
    if (!option->default_value) {
      mark_unset(option, values);
      continue;
    }
    snprintf(where, sizeof where, "default value of %s", name_of(section, option, what));
    FACET_TRY(set_text(section, option, option->default_value, where, values));
  }
  return FACET_OK;
}

/* Keys of the section into names; returns their number. */
static int list_keys(const facet_option_section *section, const char *const *extra, const char **names, int max) {
  int n = 0;
  for (const facet_option *option = section->options; option->key && n < max; option++) names[n++] = option->key;
  for (; extra && *extra && n < max; extra++) names[n++] = *extra;
  return n;
}

facet_status facet_options_read(const facet_option_section *section, facet_yaml_node mapping, const char *const *extra,
                                void *values) {
  const char *names[MAX_KEYS];
  if (facet_yaml_node_kind(mapping) == FACET_YAML_MISSING || facet_yaml_is_null(mapping)) return FACET_OK;
  FACET_TRY(facet_yaml_expect(mapping, FACET_YAML_MAPPING, section->name));
  FACET_TRY(facet_yaml_check_keys(mapping, names, list_keys(section, extra, names, MAX_KEYS)));
  for (const facet_option *option = section->options; option->key; option++) {
    char what[MAX_WHAT];
    facet_yaml_node node = facet_yaml_get(mapping, option->key);
    if (facet_yaml_node_kind(node) == FACET_YAML_MISSING) continue;
    FACET_TRY(read_value(option, node, name_of(section, option, what), values));
  }
  return FACET_OK;
}

facet_status facet_options_set(const facet_option_section *section, const char *key, const char *text,
                               const char *where, void *values) {
  for (const facet_option *option = section->options; option->key; option++) {
    if (strcmp(option->key, key) == 0) return set_text(section, option, text, where, values);
  }
  const char *names[MAX_KEYS];
  char end[640];
  FACET_FAIL(FACET_ERROR_USAGE, "%s: unknown key \"%.80s\" of %s%s", where, key, section->name,
             facet_text_suggest(key, "keys", names, list_keys(section, NULL, names, MAX_KEYS), end, sizeof end));
}

facet_status facet_options_set_argument(const facet_option_section *section, const char *argument,
                                        char key[FACET_OPTION_MAX_KEY], void *values) {
  const char *equals = strchr(argument, '=');
  FACET_CHECK(equals && equals - argument < FACET_OPTION_MAX_KEY, FACET_ERROR_USAGE,
              "--set %s: expected key=value with a key of %s", argument, section->name);
  const size_t n_section = strlen(section->name);
  const bool has_section = strncmp(argument, section->name, n_section) == 0 && argument[n_section] == '.';
  const char *name = has_section ? argument + n_section + 1 : argument;
  snprintf(key, FACET_OPTION_MAX_KEY, "%.*s", (int)(equals - name), name);
  return facet_options_set(section, key, equals + 1, "--set", values);
}

facet_status facet_options_check(const facet_option_section *section, const char *where, const void *values) {
  for (const facet_option *option = section->options; option->key; option++) {
    FACET_CHECK(option->default_value || !is_unset(option, values), FACET_ERROR_USAGE, "%s: %s.%s is missing (%s)",
                where, section->name, option->key, option->help);
  }
  return FACET_OK;
}

bool facet_option_equal(const facet_option *option, const void *a, const void *b) {
  const void *x = value_of(option, a), *y = value_of(option, b);
  switch (option->type) {
  case FACET_OPTION_BOOL:
    return *(const bool *)x == *(const bool *)y;
  case FACET_OPTION_INT:
    return *(const int64_t *)x == *(const int64_t *)y;
  case FACET_OPTION_DOUBLE:
    return *(const double *)x == *(const double *)y || (isnan(*(const double *)x) && isnan(*(const double *)y));
  case FACET_OPTION_STRING:
    return strcmp(x, y) == 0;
  case FACET_OPTION_CHOICE:
    return *(const int *)x == *(const int *)y;
  case FACET_OPTION_INT_LIST: {
    const facet_int_list *s = x, *t = y;
    return s->n == t->n && memcmp(s->value, t->value, (size_t)s->n * sizeof *s->value) == 0;
  }
  }
  return false;
}

const facet_option *facet_options_difference(const facet_option_section *section, const void *a, const void *b) {
  for (const facet_option *option = section->options; option->key; option++) {
    if (!facet_option_equal(option, a, b)) return option;
  }
  return NULL;
}
