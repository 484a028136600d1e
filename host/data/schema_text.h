/* The canonical text of a schema, which the hash covers. */
#ifndef FACET_SCHEMA_TEXT_H
#define FACET_SCHEMA_TEXT_H

#include "facet/schema.h"

facet_status facet_schema_text_hash(const facet_schema *schema, uint64_t *hash);

#endif
