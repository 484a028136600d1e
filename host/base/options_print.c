/* Options as text: YAML, help, Markdown. */
#include <string.h>

#include "base/text.h"
#include "facet/options.h"

/* Text that YAML reads back as the same text without quotes. */
static bool is_plain_safe(const char *text) {
  static const char *const taken[] = {"null", "~", "true", "false", "yes", "no", "on", "off"};
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/";
  static const char others[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/-.0123456789+=@";
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
    if (strcmp(text, taken[i]) == 0) return false;
  }
  return strspn(text, letters) > 0 && text[strspn(text, others)] == 0;
}

const char *facet_option_format(const facet_option *option, const void *values, char *buffer, size_t n_bytes) {
  const void *field = (const char *)values + option->offset;
  const facet_int_list *list;
  int choice;
  switch (option->type) {
  case FACET_OPTION_BOOL:
    snprintf(buffer, n_bytes, "%s", *(const bool *)field ? "true" : "false");
    break;
  case FACET_OPTION_INT:
    snprintf(buffer, n_bytes, "%lld", (long long)*(const int64_t *)field);
    break;
  case FACET_OPTION_DOUBLE:
    facet_text_format_double(*(const double *)field, buffer, n_bytes);
    break;
  case FACET_OPTION_STRING:
    if (!is_plain_safe(field)) return facet_text_quote(field, buffer, n_bytes);
    snprintf(buffer, n_bytes, "%s", (const char *)field);
    break;
  case FACET_OPTION_CHOICE:
    choice = *(const int *)field;
    snprintf(buffer, n_bytes, "%s", choice >= 0 ? option->choices[choice] : "");
    break;
  case FACET_OPTION_INT_LIST:
    list = field;
    facet_text_list(list->value, list->n, buffer, n_bytes);
    break;
  }
  return buffer;
}

/* ---- YAML ---- */

facet_status facet_options_write_items(const facet_option_section *section, const void *values, FILE *stream) {
  for (const facet_option *option = section->options; option->key; option++) {
    char text[FACET_OPTION_MAX_YAML];
    fprintf(stream, "  %s: %s\n", option->key, facet_option_format(option, values, text, sizeof text));
  }
  FACET_CHECK(!ferror(stream), FACET_ERROR_IO, "cannot write the options of section %s", section->name);
  return FACET_OK;
}

facet_status facet_options_write(const facet_option_section *section, const void *values, FILE *stream) {
  bool is_empty = !section->options->key;
  fprintf(stream, "%s:%s\n", section->name, is_empty ? " {}" : "");
  return facet_options_write_items(section, values, stream);
}

/* ---- help ---- */

/* "integer from 1 to 10", "one of sgd, adam". */
static const char *format_type(const facet_option *option, char *buffer, size_t n_bytes) {
  static const char *const names[] = {"true or false", "integer", "number", "text", "one of", "list of integers, each"};
  bool is_number = option->type == FACET_OPTION_INT || option->type == FACET_OPTION_DOUBLE;
  char detail[512] = "";
  if (option->type == FACET_OPTION_CHOICE) {
    facet_text_join(option->choices, facet_text_count(option->choices), detail, sizeof detail);
  } else if (is_number || option->type == FACET_OPTION_INT_LIST) {
    facet_text_range(option->low, option->high, detail, sizeof detail);
  }
  const char *name = option->type == FACET_OPTION_INT_LIST && !*detail ? "list of integers" : names[option->type];
  snprintf(buffer, n_bytes, "%s%s%s", name, *detail ? " " : "", detail);
  return buffer;
}

static const char *format_default(const facet_option *option) {
  if (!option->default_value) return "required";
  return *option->default_value ? option->default_value : "\"\"";
}

void facet_options_print_help(const facet_option_section *section, FILE *stream) {
  fprintf(stream, "\n%s: %s\n", section->name, section->help);
  for (const facet_option *option = section->options; option->key; option++) {
    char type[640], left[160];
    bool required = !option->default_value;
    snprintf(left, sizeof left, "%.64s%s%.80s%s", option->key, required ? " (" : " = ", format_default(option),
             required ? ")" : "");
    fprintf(stream, "  %-30s %s [%s]\n", left, option->help, format_type(option, type, sizeof type));
  }
}

static void print_cell(const char *text, FILE *stream) {
  for (; *text; text++) fprintf(stream, "%s%c", *text == '|' ? "\\" : "", *text);
}

void facet_options_print_markdown(const facet_option_section *section, FILE *stream) {
  fprintf(stream, "| key | default | value | meaning |\n|---|---|---|---|\n");
  for (const facet_option *option = section->options; option->key; option++) {
    char type[640];
    const char *quote = option->default_value ? "`" : "";
    fprintf(stream, "| `%s` | %s%s%s | %s | ", option->key, quote, format_default(option), quote,
            format_type(option, type, sizeof type));
    print_cell(option->help, stream);
    fprintf(stream, " |\n");
  }
}
