/* What `facet inspect` prints of checkpoints and runs. Private to host/. */
#ifndef FACET_TRAIN_INSPECT_H
#define FACET_TRAIN_INSPECT_H

#include "data/inspect.h"

/* Verification is of the sizes and checksums in manifest.json: FACET_ERROR_IO where they differ. */
facet_status facet_inspect_checkpoint(const facet_inspect_request *request);
facet_status facet_inspect_run(const facet_inspect_request *request);

/* A scalar of <directory>/config.yaml as text. Models and keys that this facet does not know are fine. */
facet_status inspect_config_value(const char *directory, const char *section, const char *key, char *text,
                                  size_t n_bytes);

#endif
