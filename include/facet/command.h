/* A subcommand of the program: one file in host/cli. */
#ifndef FACET_COMMAND_H
#define FACET_COMMAND_H

#include "facet/status.h"

typedef struct facet_command {
  const char *name;    /* "train" */
  const char *usage;   /* "facet train CONFIG.yaml [--set key=value]… [--device cpu] [--output DIR]" */
  const char *summary; /* one line for `facet --help` */
  const char *help;    /* the rest of `facet <name> --help`; may be NULL */
  /* argv[0] is the subcommand's name. Results go to standard output, log lines to standard error. */
  facet_status (*run)(int argc, char **argv);
  /* Prints generated help (tables of options) after `help`; may be NULL. */
  void (*print_options)(void);
} facet_command;

#endif
