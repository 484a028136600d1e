/* External sort of fixed-size records: memory bounded by a budget, sorted runs in one unnamed temporary file.
 *
 *   facet_sorter_create → facet_sorter_add … → facet_sorter_finish → facet_sorter_next … (NULL at the end)
 * The comparison must be a total order (break ties, e.g. by input row), so that the result does not depend on the
 * budget. */
#ifndef FACET_SORT_H
#define FACET_SORT_H

#include <stddef.h>
#include <stdint.h>

#include "facet/status.h"

typedef struct facet_sorter facet_sorter;

/* < 0, 0, > 0 as in qsort. */
typedef int (*facet_compare)(const void *a, const void *b);

/* memory_bytes bounds the buffers (at least 64 records are held). Spill files go to `directory`; NULL or "": TMPDIR or
 * /tmp. */
facet_status facet_sorter_create(size_t record_bytes, facet_compare compare, size_t memory_bytes, const char *directory,
                                 facet_sorter **sorter);
void facet_sorter_destroy(facet_sorter **sorter);

facet_status facet_sorter_add(facet_sorter *sorter, const void *record);
/* Sorts what is left in memory and prepares the merge; no more records may be added. */
facet_status facet_sorter_finish(facet_sorter *sorter);
/* Starts reading from the first record again (after finish). */
facet_status facet_sorter_rewind(facet_sorter *sorter);
/* The next record in order, valid until the next call; *record = NULL at the end. */
facet_status facet_sorter_next(facet_sorter *sorter, const void **record);

int64_t facet_sorter_n_records(const facet_sorter *sorter);
int64_t facet_sorter_n_runs(const facet_sorter *sorter); /* runs spilled to disk; 0: all in memory */

#endif
