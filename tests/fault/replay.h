/* What a power failure may leave of the files that a process wrote: the calls that the shim wrote down, replayed with what
 * was not synced lost or kept, in any combination.
 *
 * A file's data are safe once the file was synced after they were written; a directory's entry (a new name, a rename, a
 * removal) once that directory was synced. What is pending after some calls falls into units: an entry each, and each
 * half of what was written to a file. Any subset of the units may have reached the disk, in any order: that is less than
 * real file systems promise. */
#ifndef FACET_TESTS_FAULT_REPLAY_H
#define FACET_TESTS_FAULT_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct replay replay;

/* From the calls of the last process that began (shim.h), which must not have had faults; `root` is where it
 * begins. */
replay *replay_create(const char *root);
void replay_destroy(replay **r);

/* Number of calls and marks; the replay may be cut before each, and after the last. */
int replay_n(const replay *r);
/* Value of the last mark among the first `n` calls; −1: none. */
int64_t replay_mark(const replay *r, int n);
/* Number of pending units after n calls; *entries: the mask of those that are entries. */
int replay_n_units(replay *r, int n, uint64_t *entries);
/* What is on the disk after n calls, with the units of the mask: a hash of it. With a target, also writes it there. */
uint64_t replay_state(replay *r, int n, uint64_t mask, const char *target);

/* True the first time that it is asked for a hash; so many were new. */
bool replay_is_new(replay *r, uint64_t hash);
int replay_n_states(const replay *r);

#endif
