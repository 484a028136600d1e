/* Attribute tables (tables.h5): writing is in facet/shard.h; reading gives whole columns in memory. */
#ifndef FACET_TABLES_H
#define FACET_TABLES_H

#include "facet/dataset.h"
#include "facet/schema.h"

/* Reads the column of every joined feature into attributes[n_features] (zeroed; the others stay so), checking sizes,
 * ids, bags and that floats are finite. Free with facet_tables_free, also after an error. */
facet_status facet_tables_read(const facet_schema *schema, const char *path, facet_attribute *attributes);
void facet_tables_free(const facet_schema *schema, facet_attribute *attributes);

#endif
