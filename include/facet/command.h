/* A subcommand of the program: one file in host/cli. */
#ifndef FACET_COMMAND_H
#define FACET_COMMAND_H

#include "facet/arguments.h"
#include "facet/status.h"

typedef struct facet_command {
  const char *name;    /* "train" */
  const char *usage;   /* "facet train CONFIG.yaml [--set key=value]… [--device cpu] [--output DIR]" */
  const char *summary; /* one line for `facet --help` */
  const char *help;    /* the rest of `facet <name> --help`; may be NULL */
  /* argv[0] is the subcommand's name. Results go to standard output, log lines to standard error. */
  facet_status (*run)(int argc, char **argv);
  const facet_argument *arguments; /* the table that `run` parses, printed after `help`; may be NULL */
  /* Prints what else belongs to the help, e.g. the keys of a configuration, at its end; may be NULL. */
  void (*print_options)(void);
} facet_command;

#endif
