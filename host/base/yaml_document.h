/* A loaded YAML document: private to yaml.c (loading) and yaml_node.c (reading). */
#ifndef FACET_BASE_YAML_DOCUMENT_H
#define FACET_BASE_YAML_DOCUMENT_H

#include <stdbool.h>
#include <yaml.h>

#include "facet/yaml.h"

struct facet_yaml {
  char *name;          /* file, or the source of the text, for messages */
  facet_status status; /* of errors found in it */
  bool is_argument;    /* messages give no line and column */
  bool is_loaded;      /* `document` is to be deleted */
  yaml_document_t document;
};

/* Node of libyaml; NULL for a missing one. Ids count from 1. */
static inline const yaml_node_t *facet_yaml_raw(facet_yaml_node node) {
  return node.id > 0 ? node.document->document.nodes.start + node.id - 1 : NULL;
}

#endif
