/* Attribute tables (tables.h5): writing is in facet/shard.h; reading gives whole columns in memory. */
#ifndef FACET_TABLES_H
#define FACET_TABLES_H

#include "data/column.h"
#include "facet/dataset.h"
#include "facet/schema.h"

/* Reads the column of every joined feature into attributes[n_features] (zeroed; the others stay so), checking sizes,
 * ids, bags and that floats are finite. Free with facet_tables_free, also after an error. */
facet_status facet_tables_read(const facet_schema *schema, const char *path, facet_attribute *attributes);
void facet_tables_free(const facet_schema *schema, facet_attribute *attributes);

/* Checks what facet_tables_read checks, with one column in memory at a time. */
facet_status facet_tables_verify(const facet_schema *schema, const char *path);

/* Opens the column of a joined feature in an open tables.h5: its values, and for bags its offsets (else NULL). `path` must
 * outlive them. After an error both are NULL. */
facet_status facet_tables_open_column(const facet_schema *schema, hid_t file, const char *path,
                                      const facet_feature *feature, facet_column **values, facet_column **offsets);

#endif
