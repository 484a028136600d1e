/* Command-line arguments from one table: the parser and the help. */
#include "facet/arguments.h"

#include <string.h>

#include "base/text.h"
#include "facet/yaml.h"

#define MAX_NAMES 64 /* named arguments that a message can list */

static bool is_named(const facet_argument *argument) {
  return strncmp(argument->name, "--", 2) == 0;
}

static void *field_of(const facet_argument *argument, void *values) {
  return (char *)values + argument->offset;
}

static bool has_range(const facet_argument *argument) {
  return argument->low != 0 || argument->high != 0;
}

static const char *range_of(const facet_argument *argument, char *buffer, size_t n_bytes) {
  buffer[0] = 0;
  return has_range(argument) ? facet_text_range(argument->low, argument->high, buffer, n_bytes) : buffer;
}

static facet_status set_number(const facet_argument *argument, const char *text, void *values) {
  char range[96];
  bool is_int = argument->type == FACET_ARGUMENT_INT, good;
  int64_t integer = 0;
  double number = 0;
  if (is_int) {
    good = facet_text_int(text, &integer) &&
           (!has_range(argument) || facet_text_in_range(integer, argument->low, argument->high));
  } else {
    good = facet_text_double(text, &number) &&
           (!has_range(argument) || (number >= argument->low && number <= argument->high));
  }
  range_of(argument, range, sizeof range);
  FACET_CHECK(good, FACET_ERROR_USAGE, "%s is \"%.200s\"; expected %s%s%s", argument->name, text,
              is_int ? "an integer" : "a number", *range ? " " : "", range);
  if (is_int) {
    *(int64_t *)field_of(argument, values) = integer;
  } else {
    *(double *)field_of(argument, values) = number;
  }
  return FACET_OK;
}

static facet_status set_choice(const facet_argument *argument, const char *text, void *values) {
  int n = facet_text_count(argument->choices);
  for (int i = 0; i < n; i++) {
    if (strcmp(argument->choices[i], text)) continue;
    *(int *)field_of(argument, values) = i;
    return FACET_OK;
  }
  char list[512];
  FACET_FAIL(FACET_ERROR_USAGE, "%s is \"%.200s\"; expected one of %s", argument->name, text,
             facet_text_join(argument->choices, n, list, sizeof list));
}

static facet_status set_value(const facet_argument *argument, const char *text, void *values) {
  switch (argument->type) {
  case FACET_ARGUMENT_FLAG:
    *(bool *)field_of(argument, values) = true;
    return FACET_OK;
  case FACET_ARGUMENT_TEXT:
    *(const char **)field_of(argument, values) = text;
    return FACET_OK;
  case FACET_ARGUMENT_INT:
  case FACET_ARGUMENT_DOUBLE:
    return set_number(argument, text, values);
  case FACET_ARGUMENT_CHOICE:
    return set_choice(argument, text, values);
  case FACET_ARGUMENT_LIST: {
    facet_argument_list *list = field_of(argument, values);
    FACET_CHECK(list->n < FACET_ARGUMENT_MAX_LIST, FACET_ERROR_USAGE, "%s is given more than %d times", argument->name,
                FACET_ARGUMENT_MAX_LIST);
    list->item[list->n++] = text;
    return FACET_OK;
  }
  }
  FACET_FAIL(FACET_ERROR_INTERNAL, "argument %s has unknown type %d", argument->name, (int)argument->type);
}

/* `text` is "--name" or "--name=value"; NULL with the error set, which has the nearest known name. */
static const facet_argument *find_named(const facet_argument *table, const char *text) {
  size_t length = strcspn(text, "=");
  const char *names[MAX_NAMES];
  int n = 0;
  for (const facet_argument *argument = table; argument->name; argument++) {
    if (!is_named(argument)) continue;
    if (strlen(argument->name) == length && strncmp(argument->name, text, length) == 0) return argument;
    if (n < MAX_NAMES) names[n++] = argument->name;
  }
  char name[80], end[640];
  snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), text);
  facet_error_set(FACET_ERROR_USAGE, __FILE__, __LINE__, "unknown argument \"%s\"%s", name,
                  facet_text_suggest(name, "arguments", names, n, end, sizeof end));
  return NULL;
}

/* The next positional entry to fill; a list stays the next one. */
static const facet_argument *next_positional(const facet_argument *table, int64_t index) {
  int64_t i = 0;
  for (const facet_argument *argument = table; argument->name; argument++) {
    if (is_named(argument)) continue;
    if (i == index || argument->type == FACET_ARGUMENT_LIST) return argument;
    i++;
  }
  return NULL;
}

static facet_status parse_named(const facet_argument *table, int argc, char **argv, int *i, uint64_t *given,
                                void *values) {
  const facet_argument *argument = find_named(table, argv[*i]);
  if (!argument) return FACET_ERROR_USAGE;
  const char *equals = strchr(argv[*i], '=');
  const char *text = equals ? equals + 1 : NULL;
  if (argument->type == FACET_ARGUMENT_FLAG) {
    FACET_CHECK(!text, FACET_ERROR_USAGE, "%s takes no value, but \"%.200s\" was given", argument->name, text);
  } else if (!text) {
    bool follows = *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0;
    FACET_CHECK(follows, FACET_ERROR_USAGE, "%s needs a value", argument->name);
    text = argv[++*i];
  }
  uint64_t bit = UINT64_C(1) << (argument - table);
  FACET_CHECK(argument->type == FACET_ARGUMENT_LIST || !(*given & bit), FACET_ERROR_USAGE, "%s is given twice",
              argument->name);
  *given |= bit;
  return set_value(argument, text, values);
}

facet_status facet_arguments_parse(const facet_argument *table, int argc, char **argv, void *values) {
  uint64_t given = 0; /* bit i: entry i of the table */
  int64_t n_positional = 0;
  bool named = true;
  for (int i = 1; i < argc; i++) {
    if (named && strcmp(argv[i], "--") == 0) {
      named = false;
    } else if (named && argv[i][0] == '-' && argv[i][1]) {
      FACET_TRY(parse_named(table, argc, argv, &i, &given, values));
    } else {
      const facet_argument *argument = next_positional(table, n_positional++);
      FACET_CHECK(argument, FACET_ERROR_USAGE, "unexpected argument \"%.200s\"", argv[i]);
      given |= UINT64_C(1) << (argument - table);
      FACET_TRY(set_value(argument, argv[i], values));
    }
  }
  for (const facet_argument *argument = table; argument->name; argument++) {
    bool missing = argument->required && !(given & UINT64_C(1) << (argument - table));
    FACET_CHECK(!missing, FACET_ERROR_USAGE, "the argument %s is missing (%s)", argument->name, argument->help);
  }
  return FACET_OK;
}

static const char *value_name(const facet_argument *argument) {
  static const char *const names[] = {"", "TEXT", "N", "X", "NAME", "TEXT"}; /* by facet_argument_type */
  return argument->value ? argument->value : names[argument->type];
}

void facet_arguments_print_help(const facet_argument *table, FILE *stream) {
  fprintf(stream, "\nArguments:\n");
  for (const facet_argument *argument = table; argument->name; argument++) {
    char left[128], choices[256] = "", range[96];
    bool named = is_named(argument);
    if (argument->choices) {
      facet_text_join(argument->choices, facet_text_count(argument->choices), choices, sizeof choices);
    }
    const char *value = named ? value_name(argument) : "";
    snprintf(left, sizeof left, "%s%s%s%s", argument->name, *value ? " " : "", value,
             argument->type == FACET_ARGUMENT_LIST ? "…" : "");
    range_of(argument, range, sizeof range);
    int pad = 26 + (argument->type == FACET_ARGUMENT_LIST ? 2 : 0); /* "…" is three bytes, one column */
    fprintf(stream, "  %-*s %s", pad, left, argument->help);
    if (*choices) fprintf(stream, " (%s)", choices);
    if (*range) fprintf(stream, " (%s)", range);
    fprintf(stream, "%s\n", argument->required ? " (required)" : "");
  }
}
