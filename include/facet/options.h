/* Options: one table (name, type, default, range, help) drives the parser, --help and the config reference.
 *
 * A section of the configuration ("train", "optimizer", a model's hyper-parameters) is a struct plus a table of
 * facet_option that gives each field's key, type, offset, default, range and help. Parsing fills the struct. */
#ifndef FACET_OPTIONS_H
#define FACET_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "facet/status.h"
#include "facet/yaml.h"

#define FACET_OPTION_MAX_LIST 16
#define FACET_OPTION_MAX_TEXT 512
#define FACET_OPTION_MAX_YAML (4 * FACET_OPTION_MAX_TEXT + 8) /* any value as YAML text */

typedef struct facet_int_list {
  int64_t n;
  int64_t value[FACET_OPTION_MAX_LIST];
} facet_int_list;

typedef enum facet_option_type {
  FACET_OPTION_BOOL,    /* field type bool */
  FACET_OPTION_INT,     /* int64_t */
  FACET_OPTION_DOUBLE,  /* double */
  FACET_OPTION_STRING,  /* char[FACET_OPTION_MAX_TEXT] */
  FACET_OPTION_CHOICE,  /* int: index into `choices` */
  FACET_OPTION_INT_LIST /* facet_int_list; the range holds for each item */
} facet_option_type;

typedef struct facet_option {
  const char *key; /* inside its section, e.g. "batch_size" */
  facet_option_type type;
  size_t offset;              /* of the field in the section's struct */
  const char *default_value;  /* as written in YAML; NULL: required */
  double low, high;           /* inclusive range of numbers; ignored for others */
  const char *const *choices; /* NULL-terminated, for CHOICE */
  const char *help;           /* one sentence with the unit */
} facet_option;

typedef struct facet_option_section {
  const char *name; /* "train" */
  const char *help;
  const facet_option *options; /* terminated by an entry with key NULL */
  size_t struct_bytes;
} facet_option_section;

/* Fills *values (section->struct_bytes) with the defaults; options without one are marked as unset: "" for text, an
 * empty list, INT64_MIN, NaN, or choice −1 (a bool has no such mark and needs a default). */
facet_status facet_options_default(const facet_option_section *section, void *values);

/* Reads the mapping (missing: nothing to read) over what *values holds. Unknown keys, wrong types and values out
 * of range are errors with line, column, the value, what was expected and the nearest known key. `extra` (may be
 * NULL, NULL-terminated) lists keys that the caller reads itself. */
facet_status facet_options_read(const facet_option_section *section, facet_yaml_node mapping, const char *const *extra,
                                void *values);

/* Sets one option from text, as in --set train.batch_size=512 with key "batch_size". `where` names the source. The text of
 * a STRING is taken as it is, any other is read as YAML ("[64, 32]"). */
facet_status facet_options_set(const facet_option_section *section, const char *key, const char *text,
                               const char *where, void *values);

/* Sets one option from an argument of --set, KEY=VALUE or <section>.KEY=VALUE; the key goes to `key`. */
#define FACET_OPTION_MAX_KEY 128
facet_status facet_options_set_argument(const facet_option_section *section, const char *argument,
                                        char key[FACET_OPTION_MAX_KEY], void *values);

/* Every required option (no default) must have been set; names the first that is not. `where` names the source. */
facet_status facet_options_check(const facet_option_section *section, const char *where, const void *values);

/* Writes the section as YAML ("train:\n  batch_size: 512\n…"), the resolved values in table order. */
facet_status facet_options_write(const facet_option_section *section, const void *values, FILE *stream);
/* The same without the line of the section's name. */
facet_status facet_options_write_items(const facet_option_section *section, const void *values, FILE *stream);

/* One value as YAML text into buffer, of FACET_OPTION_MAX_YAML bytes to hold any; returns buffer. */
const char *facet_option_format(const facet_option *option, const void *values, char *buffer, size_t n_bytes);

/* Whether two values of a section agree on an option. Numbers are compared by value. */
bool facet_option_equal(const facet_option *option, const void *a, const void *b);

/* Finds the first option on which two values of a section differ; NULL if they are equal. */
const facet_option *facet_options_difference(const facet_option_section *section, const void *a, const void *b);

/* Prints the table as help text, or as a Markdown table (without a heading) for the config reference. */
void facet_options_print_help(const facet_option_section *section, FILE *stream);
void facet_options_print_markdown(const facet_option_section *section, FILE *stream);

#endif
