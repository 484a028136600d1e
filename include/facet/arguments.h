/* Command-line arguments of a subcommand: one table drives the parser and the help.
 *
 * An entry whose name starts with "--" is given as `--name value`, `--name=value`, or alone for a flag; any other
 * entry is positional and filled in table order. `--` ends the named arguments. Values go into a struct of the
 * subcommand; fields that are not given keep what the struct holds, so its initial values are the defaults.
 *
 *   typedef struct arguments { const char *config, *output; facet_argument_list sets; bool verbose; } arguments;
 *   static const facet_argument table[] = {
 *       {.name = "CONFIG.yaml", .type = FACET_ARGUMENT_TEXT, .offset = offsetof(arguments, config), .required = true,
 *        .help = "configuration of the run"},
 *       {.name = "--set", .value = "KEY=VALUE", .type = FACET_ARGUMENT_LIST, .offset = offsetof(arguments, sets),
 *        .help = "sets a key, e.g. train.batch_size=512; may be repeated"},
 *       {0}};
 *
 * -h and --help are answered by main before a subcommand runs. */
#ifndef FACET_ARGUMENTS_H
#define FACET_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "facet/status.h"

#define FACET_ARGUMENT_MAX_LIST 256

/* Repeated values, in order. The strings belong to argv. */
typedef struct facet_argument_list {
  int n;
  const char *item[FACET_ARGUMENT_MAX_LIST];
} facet_argument_list;

typedef enum facet_argument_type {
  FACET_ARGUMENT_FLAG,   /* bool; takes no value */
  FACET_ARGUMENT_TEXT,   /* const char *, points into argv */
  FACET_ARGUMENT_INT,    /* int64_t in low … high */
  FACET_ARGUMENT_DOUBLE, /* double in low … high */
  FACET_ARGUMENT_CHOICE, /* int: index into `choices` */
  FACET_ARGUMENT_LIST    /* facet_argument_list; a positional one takes all that remain */
} facet_argument_type;

typedef struct facet_argument {
  const char *name;  /* "--output", or "CONFIG.yaml" for a positional one */
  const char *value; /* name of the value in help, "DIR"; NULL: from the type */
  facet_argument_type type;
  size_t offset; /* of the field in the subcommand's struct */
  bool required;
  double low, high;           /* inclusive range of INT and DOUBLE; both 0: no limit */
  const char *const *choices; /* NULL-terminated, for CHOICE */
  const char *help;           /* one sentence */
} facet_argument;

/* Parses argv[1] … argv[argc − 1] by `table` (ended by an entry with name NULL) into *values. Errors have status
 * FACET_ERROR_USAGE and name the argument, its value, what was expected, and the nearest known name. */
facet_status facet_arguments_parse(const facet_argument *table, int argc, char **argv, void *values);

/* Prints the table as help text, one line per argument. */
void facet_arguments_print_help(const facet_argument *table, FILE *stream);

#endif
