/* TensorBoard event files: scalars only (event.proto). A record is
 *   uint64 length, uint32 masked CRC of the length, the serialized Event, uint32 masked CRC of the Event
 * in little-endian order, with CRC-32C (Castagnoli) masked as ((crc >> 15) | (crc << 17)) + 0xa282ead8.
 * Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/lib/hash/crc32c.h. */
#ifndef FACET_TRAIN_EVENT_FILE_H
#define FACET_TRAIN_EVENT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facet/status.h"

typedef struct facet_event_file facet_event_file;

/* Opens the events.out.tfevents.* of a directory for appending, after cutting it before the first event that is torn, whose
 * step is larger than `step`, or that is the evaluation of `step` ("eval/…", unless it is `evaluated`; "test/…");
 * makes one if there is none. */
facet_status facet_event_file_open(const char *directory, int64_t step, bool evaluated, facet_event_file **file);
facet_status facet_event_file_sync(facet_event_file *file);
/* Closes without an error: every event was written at once. */
void facet_event_file_close(facet_event_file **file);

/* Writes one event with n values; values that are not finite are left out. */
facet_status facet_event_file_write(facet_event_file *file, int64_t step, int n, const char *const *tags,
                                    const double *values);

uint32_t facet_crc32c(const void *data, size_t n_bytes);

#endif
