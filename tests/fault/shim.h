/* Faults in the system calls of a process.
 *
 * shim_begin installs a seccomp filter that sends every call which reads or changes files to a handler of
 * this process. It is the kernel that catches the calls, so none is missed, whoever makes it: facet, HDF5, or the C
 * library's streams, whose calls do not pass through symbols that LD_PRELOAD could replace. The handler counts the calls
 * on paths below a directory, writes them down in memory that the parent shares, and kills, fails or shortens those that
 * the plan names. A filter cannot be removed: begin in a forked child, once. */
#ifndef FACET_TESTS_FAULT_SHIM_H
#define FACET_TESTS_FAULT_SHIM_H

#include <stdbool.h>
#include <stdint.h>

typedef enum shim_kind {
  SHIM_DIE,      /* the process ends before the call, with status SHIM_DEATH */
  SHIM_DIE_HALF, /* the same after half of a write; only writes of two bytes or more are hit */
  SHIM_ERROR,    /* the call does nothing and fails with `error`; a close closes, and then fails */
  SHIM_SHORT     /* half of a write is done, and said so; only writes of two bytes or more are hit */
} shim_kind;

#define SHIM_DEATH 99
#define SHIM_FOREVER (1 << 30)

typedef struct shim_plan {
  const char *directory; /* only calls on paths below count */
  int first, n; /* calls first … first + n − 1 are hit, the first call is 1; n = 0: none, they are only counted */
  shim_kind kind;
  int error; /* EINTR hits only what a signal can interrupt, ENOSPC and EDQUOT only what can need space */
} shim_plan;

typedef struct shim_call {
  const char *name; /* "write": the same for write and pwrite64, and so on */
  bool hit;
  bool created;              /* open: the file did not exist */
  bool exchange;             /* rename: two names are swapped */
  bool writable;             /* open, close */
  bool truncated;            /* open */
  long result;               /* ≥ 0, or −errno; of calls that were hit, what the program was told */
  uint64_t inode;            /* of the file, after the call */
  char path[256], to[256];   /* to: rename; symlink: the target is `to` */
  int64_t offset, size;      /* write; ftruncate: size */
  const unsigned char *data; /* [size] what was to be written */
} shim_call;

bool shim_can_hit(const shim_plan *plan, const shim_call *call);

/* Calls of the last process that began, readable by the parent. */
int shim_n_calls(void);
const shim_call *shim_get(int i);

/* Adds an entry of the name "mark" to the list, with `value` as its size; it does not count as a call. */
void shim_mark(int64_t value);

/* Allocates the shared memory (once, in the parent), and empties it. */
void shim_prepare(void);
/* In the child, from here on. False if the system refuses a filter. */
bool shim_begin(const shim_plan *plan);

#endif
