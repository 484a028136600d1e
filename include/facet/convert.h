/* Conversion of logs in delimited text, with files of item and user attributes, to a data set for click prediction.
 * docs/convert.md has the configuration.
 *
 * Interactions (user, item, time, optional rating): every positive interaction becomes a sample with label 1, and
 * `negatives` samples with label 0 whose items are drawn from the training items, never from the user's own log. A
 * sample's window holds the user's positive interactions strictly before it in (time, input row) order. Impressions
 * (user, time, items shown and clicked): every item shown becomes a sample with its label, and the window that the
 * log's histories give. Sorting is external; memory is bounded by the vocabularies, the attributes, one user's log and
 * the sort budget. */
#ifndef FACET_CONVERT_H
#define FACET_CONVERT_H

#include <stdbool.h>
#include <stdio.h>

#include "facet/options.h"
#include "facet/status.h"

typedef struct facet_convert_request {
  const char *config;      /* path of the configuration */
  const char *input;       /* directory of the log files; NULL: the configuration's directory */
  const char *output;      /* data set directory: absent or empty */
  const char *vocabulary;  /* earlier data set whose vocabularies are used and extended; NULL: none */
  bool freeze;             /* do not extend them: unseen tokens become unknown (1) */
  const char *const *sets; /* "negatives=4": options of section convert */
  int n_sets;
  FILE *report; /* what was read, kept and dropped, with reasons */
} facet_convert_request;

/* The directory appears complete under its name, or not at all. Same input and configuration, same bytes. */
facet_status facet_convert(const facet_convert_request *request);

/* Sections of the configuration, for help and docs: convert, interactions, impressions, history, users and items,
 * columns of these. */
extern const facet_option_section facet_convert_sections[];
extern const int facet_convert_n_sections;

#endif
