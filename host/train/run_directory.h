/* The rules of a run directory: who may use it, and where a run starts.
 *
 *   .lock          held by the live run
 *   config.yaml    the resolved configuration of the latest start
 *   metrics.jsonl, events.out.tfevents.*, checkpoints/
 *
 * Starting on a directory that holds a run continues it, if the configuration is the same. Nothing is ever deleted. */
#ifndef FACET_TRAIN_RUN_DIRECTORY_H
#define FACET_TRAIN_RUN_DIRECTORY_H

#include "facet/file.h"
#include "facet/trainer.h"

/* Creates the directory if needed, locks it (FACET_ERROR_IO if a live run holds it), and finds the checkpoint to start
 * from: its path into checkpoint[FACET_PATH_MAX], or "". Errors (FACET_ERROR_USAGE): another configuration, naming the
 * key and both values; resume none on a directory that is not empty; a resume path that would mix two runs. */
facet_status facet_run_directory_open(const facet_train_request *request, facet_lock *lock, char *checkpoint);

#endif
