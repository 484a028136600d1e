#include "fault/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the shim reads the registers of x86-64"
#endif

#define MAX_CALLS 8192
#define DATA_BYTES ((size_t)256 << 20)
#define MAGIC 0x5b1f0c8e93a7d264ul /* in the unused sixth argument: a call of the shim's own */

/* ---- the calls --------------------------------------------------------------------------------------------------- */

typedef enum shape {                /* where the path is */
                     DESCRIPTOR,    /* a descriptor is argument 0 */
                     PATH,          /* argument 0 */
                     AT_PATH,       /* directory 0, path 1 */
                     TWO_PATHS,     /* 0 and 1 */
                     TWO_AT_PATHS,  /* directories 0 and 2, paths 1 and 3 */
                     TARGET_PATH,   /* symlink: target 0, path 1 */
                     TARGET_AT_PATH /* symlinkat: target 0, directory 1, path 2 */
} shape;

static const struct {
  long number;
  const char *name;
  shape shape;
} table[] = {{SYS_read, "read", DESCRIPTOR},
             {SYS_pread64, "read", DESCRIPTOR},
             {SYS_getdents64, "list", DESCRIPTOR},
             {SYS_write, "write", DESCRIPTOR},
             {SYS_pwrite64, "write", DESCRIPTOR},
             {SYS_writev, "writev", DESCRIPTOR},
             {SYS_pwritev, "writev", DESCRIPTOR},
             {SYS_pwritev2, "writev", DESCRIPTOR},
             {SYS_open, "open", PATH},
             {SYS_creat, "open", PATH},
             {SYS_openat, "open", AT_PATH},
             {SYS_close, "close", DESCRIPTOR},
             {SYS_fsync, "fsync", DESCRIPTOR},
             {SYS_fdatasync, "fsync", DESCRIPTOR},
             {SYS_sync_file_range, "sync_file_range", DESCRIPTOR},
             {SYS_ftruncate, "ftruncate", DESCRIPTOR},
             {SYS_truncate, "truncate", PATH},
             {SYS_fallocate, "fallocate", DESCRIPTOR},
             {SYS_copy_file_range, "copy_file_range", DESCRIPTOR},
             {SYS_sendfile, "sendfile", DESCRIPTOR},
             {SYS_rename, "rename", TWO_PATHS},
             {SYS_renameat, "rename", TWO_AT_PATHS},
             {SYS_renameat2, "rename", TWO_AT_PATHS},
             {SYS_link, "link", TWO_PATHS},
             {SYS_linkat, "link", TWO_AT_PATHS},
             {SYS_symlink, "symlink", TARGET_PATH},
             {SYS_symlinkat, "symlink", TARGET_AT_PATH},
             {SYS_unlink, "unlink", PATH},
             {SYS_unlinkat, "unlink", AT_PATH},
             {SYS_rmdir, "rmdir", PATH},
             {SYS_mkdir, "mkdir", PATH},
             {SYS_mkdirat, "mkdir", AT_PATH},
             {SYS_mknodat, "mknod", AT_PATH},
             {SYS_chmod, "chmod", PATH},
             {SYS_fchmod, "chmod", DESCRIPTOR},
             {SYS_fchmodat, "chmod", AT_PATH}};
enum { N_TABLE = sizeof table / sizeof *table };

typedef struct shared {
  int n_calls; /* that were counted, without marks */
  int n_entries;
  size_t n_bytes; /* of data */
  shim_call entry[MAX_CALLS];
  unsigned char data[];
} shared;

static shared *memory;
static shim_plan plan;

int shim_n_calls(void) {
  return memory->n_entries;
}

const shim_call *shim_get(int i) {
  return &memory->entry[i];
}

void shim_prepare(void) {
  if (!memory) {
    memory = mmap(NULL, sizeof *memory + DATA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    if (memory == MAP_FAILED) abort();
  }
  memory->n_calls = memory->n_entries = 0;
  memory->n_bytes = 0;
}

static shim_call *add_entry(const char *name) {
  const int i = __atomic_fetch_add(&memory->n_entries, 1, __ATOMIC_SEQ_CST);
  if (i >= MAX_CALLS) abort();
  memory->entry[i] = (shim_call){.name = name};
  return &memory->entry[i];
}

void shim_mark(int64_t value) {
  add_entry("mark")->size = value;
}

/* ---- in the handler: nothing here may make a call that the filter catches ---------------------------------------- */

static long call(long number, const long *a) {
  const long result = syscall(number, a[0], a[1], a[2], a[3], a[4], MAGIC);
  return result < 0 ? -errno : result;
}

static void descriptor_path(int descriptor, char *path, size_t n_bytes) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t n = readlink(link, path, n_bytes - 1);
  path[n > 0 ? n : 0] = '\0';
}

static void join(int directory, const char *name, char *path, size_t n_bytes) {
  if (name[0] == '/') {
    snprintf(path, n_bytes, "%s", name);
    return;
  }
  char parent[PATH_MAX];
  if (directory == AT_FDCWD)
    parent[getcwd(parent, sizeof parent) ? strlen(parent) : 0] = '\0';
  else
    descriptor_path(directory, parent, sizeof parent);
  snprintf(path, n_bytes, "%s/%s", parent, name);
}

static void find_paths(shape s, const long *a, shim_call *c) {
  switch (s) {
  case DESCRIPTOR:
    descriptor_path((int)a[0], c->path, sizeof c->path);
    break;
  case PATH:
    join(AT_FDCWD, (const char *)a[0], c->path, sizeof c->path);
    break;
  case AT_PATH:
    join((int)a[0], (const char *)a[1], c->path, sizeof c->path);
    break;
  case TWO_PATHS:
    join(AT_FDCWD, (const char *)a[0], c->path, sizeof c->path);
    join(AT_FDCWD, (const char *)a[1], c->to, sizeof c->to);
    break;
  case TWO_AT_PATHS:
    join((int)a[0], (const char *)a[1], c->path, sizeof c->path);
    join((int)a[2], (const char *)a[3], c->to, sizeof c->to);
    break;
  case TARGET_PATH:
    snprintf(c->to, sizeof c->to, "%s", (const char *)a[0]);
    join(AT_FDCWD, (const char *)a[1], c->path, sizeof c->path);
    break;
  case TARGET_AT_PATH:
    snprintf(c->to, sizeof c->to, "%s", (const char *)a[0]);
    join((int)a[1], (const char *)a[2], c->path, sizeof c->path);
    break;
  }
}

static bool is_below(const char *path) {
  const size_t n = strlen(plan.directory);
  return strncmp(path, plan.directory, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static bool is(const shim_call *c, const char *name) {
  return strcmp(c->name, name) == 0;
}

static void describe_write(long number, const long *a, shim_call *c) {
  struct stat info;
  const struct iovec *vector = (const struct iovec *)a[1];
  const bool is_vector = is(c, "writev");
  const void *data = is_vector ? vector->iov_base : (const void *)a[1];
  c->size = is_vector ? (int64_t)vector->iov_len : a[2];
  c->offset = number == SYS_pwrite64 ? a[3] : lseek((int)a[0], 0, SEEK_CUR);
  if ((fcntl((int)a[0], F_GETFL) & O_APPEND) && fstat((int)a[0], &info) == 0) c->offset = info.st_size;
  const size_t at = __atomic_fetch_add(&memory->n_bytes, (size_t)c->size, __ATOMIC_SEQ_CST);
  if (at + (size_t)c->size > DATA_BYTES) abort();
  c->data = memcpy(memory->data + at, data, (size_t)c->size);
}

static void describe(long number, const long *a, shim_call *c) {
  struct stat info;
  if (is(c, "open")) {
    const long flags = number == SYS_openat ? a[2] : number == SYS_open ? a[1] : O_WRONLY | O_CREAT | O_TRUNC;
    c->writable = (flags & O_ACCMODE) != O_RDONLY;
    c->truncated = flags & O_TRUNC;
    c->created = (flags & O_CREAT) && lstat(c->path, &info) != 0;
  }
  if (is(c, "close")) c->writable = (fcntl((int)a[0], F_GETFL) & O_ACCMODE) != O_RDONLY;
  if (is(c, "ftruncate") || is(c, "truncate")) c->size = a[1];
  if (is(c, "rename")) c->exchange = number == SYS_renameat2 && a[4] == 2 /* RENAME_EXCHANGE */;
  if (is(c, "write") || is(c, "writev")) describe_write(number, a, c);
  if (!is(c, "open") && !is(c, "mkdir") && !is(c, "symlink") && lstat(c->path, &info) == 0) c->inode = info.st_ino;
}

bool shim_can_hit(const shim_plan *p, const shim_call *c) {
  const bool is_write = is(c, "write") || is(c, "writev"), opens = is(c, "open") || is(c, "close");
  if (p->kind == SHIM_DIE_HALF || p->kind == SHIM_SHORT) return is_write && c->size > 1;
  if (p->kind != SHIM_ERROR) return true;
  const bool reads = is(c, "read") || is(c, "list");
  if (p->error == EINTR) return is_write || opens || is(c, "read") || is(c, "fsync") || is(c, "ftruncate");
  if (p->error == ENOSPC || p->error == EDQUOT) return !is(c, "unlink") && !reads && (!opens || c->writable);
  return true;
}

static long half_write(long number, const long *a, const shim_call *c) {
  const long plain[5] = {a[0], (long)c->data, c->size / 2, a[3], 0};
  return call(number == SYS_pwrite64 ? SYS_pwrite64 : SYS_write, plain);
}

static long hit(long number, const long *a, const shim_call *c) {
  switch (plan.kind) {
  case SHIM_DIE_HALF:
    half_write(number, a, c);
    _exit(SHIM_DEATH);
  case SHIM_DIE:
    _exit(SHIM_DEATH);
  case SHIM_SHORT:
    return half_write(number, a, c);
  case SHIM_ERROR:
    if (is(c, "close")) call(number, a);
    break;
  }
  return -plan.error;
}

static long handle(int row, const long *a) {
  const long number = table[row].number;
  shim_call draft = {.name = table[row].name};
  struct stat info;
  find_paths(table[row].shape, a, &draft);
  if (!is_below(draft.path)) return call(number, a);
  describe(number, a, &draft);
  shim_call *c = add_entry(draft.name);
  const int i = __atomic_add_fetch(&memory->n_calls, 1, __ATOMIC_SEQ_CST);
  draft.hit = plan.n > 0 && i >= plan.first && i < plan.first + plan.n && shim_can_hit(&plan, &draft);
  *c = draft;
  c->result = draft.hit ? hit(number, a, &draft) : call(number, a);
  if (c->inode == 0 && lstat(c->path, &info) == 0) c->inode = info.st_ino;
  return c->result;
}

static void on_trap(int signal_number, siginfo_t *info, void *context) {
  (void)signal_number;
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  const long a[5] = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8]};
  const int saved = errno;
  for (int row = 0; row < N_TABLE; row++)
    if (table[row].number == info->si_syscall) r[REG_RAX] = handle(row, a);
  errno = saved;
}

/* ---- the filter -------------------------------------------------------------------------------------------------- */

/* A thread that blocks the signal would be killed by its next call. */
int pthread_sigmask(int how, const sigset_t *set, sigset_t *former) {
  sigset_t wanted;
  if (set) {
    wanted = *set;
    sigdelset(&wanted, SIGSYS);
  }
  return sigprocmask(how, set ? &wanted : NULL, former) == 0 ? 0 : errno;
}

bool shim_begin(const shim_plan *wanted) {
  struct sock_filter code[N_TABLE + 16];
  unsigned short n = 0;
  const struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_RESTART};
#define LOAD(field) code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, field)
#define EQUAL(value, yes, no) code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(value) code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, value)
  LOAD(offsetof(struct seccomp_data, arch));
  EQUAL(AUDIT_ARCH_X86_64, 1, 0);
  RETURN(SECCOMP_RET_ALLOW);
  LOAD(offsetof(struct seccomp_data, nr));
  for (int i = 0; i < N_TABLE; i++) EQUAL((unsigned)table[i].number, (unsigned char)(N_TABLE - i), 0);
  RETURN(SECCOMP_RET_ALLOW);
  LOAD(offsetof(struct seccomp_data, args[5]));
  EQUAL((unsigned)MAGIC, 0, 2);
  LOAD(offsetof(struct seccomp_data, args[5]) + 4);
  EQUAL((unsigned)(MAGIC >> 32), 1, 0);
  RETURN(SECCOMP_RET_TRAP);
  RETURN(SECCOMP_RET_ALLOW);
#undef LOAD
#undef EQUAL
#undef RETURN
  const struct sock_fprog program = {n, code};
  plan = *wanted;
  return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}
