/* Names in schemas, and the canonical text, which the hash covers. */
#ifndef FACET_SCHEMA_TEXT_H
#define FACET_SCHEMA_TEXT_H

#include <stdio.h>

#include "facet/schema.h"
#include "facet/yaml.h"

#define FACET_SCHEMA_MAX_NAME 64

/* Fails at the node unless the name can be part of file names and HDF5 paths, and YAML reads it back without quotes. */
facet_status facet_schema_check_name(facet_yaml_node node, const char *name);

/* Parses the text that `print` writes; `name` stands for its file in messages. */
facet_status facet_schema_make(const char *name, void (*print)(const void *context, FILE *stream), const void *context,
                               facet_schema **schema);

facet_status facet_schema_text_hash(const facet_schema *schema, uint64_t *hash);

#endif
