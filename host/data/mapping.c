#include "data/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "facet/memory.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(facet_mapping *) list; /* changed under list_lock; the handler reads it without */
static struct sigaction previous_action;

static void write_text(const char *text) {
  if (write(STDERR_FILENO, text, strlen(text)) < 0) return; /* nothing is left to be done about it */
}

static void handle_bus_error(int signal_number, siginfo_t *info, void *context) {
  (void)context;
  const unsigned char *address = info->si_addr;
  for (const facet_mapping *m = atomic_load(&list); m; m = m->next)
    if (address >= m->data && address < m->data + m->n_bytes) {
      write_text("facet: error: ");
      write_text(m->path);
      write_text(": the file shrank, or could not be read, while it was in use\n");
      _exit(FACET_ERROR_DATA);
    }
  sigaction(signal_number, &previous_action, NULL); /* the instruction runs again and meets the previous handler */
}

static void install_handler(void) {
  struct sigaction action = {.sa_sigaction = handle_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous_action);
}

/* Every mapped file keeps a descriptor, so that a data set may have more parts than the usual limit of 1024. */
static void raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit); /* where it fails, opening a file beyond the limit says so */
}

static void prepare_process(void) {
  install_handler();
  raise_descriptor_limit();
}

static facet_status map_file(facet_mapping *mapping, const char *path, int descriptor) {
  struct stat info;
  mapping->descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  FACET_CHECK(mapping->descriptor >= 0, FACET_ERROR_IO, "%s: cannot keep the file open: %s", path, strerror(errno));
  FACET_CHECK(fstat(descriptor, &info) == 0, FACET_ERROR_IO, "%s: cannot find its size: %s", path, strerror(errno));
  mapping->path = facet_memory_strdup(path);
  if (!mapping->path) return FACET_ERROR_INTERNAL;
  mapping->n_bytes = (size_t)info.st_size;
  if (mapping->n_bytes == 0) return FACET_OK;
  void *data = mmap(NULL, mapping->n_bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  FACET_CHECK(data != MAP_FAILED, FACET_ERROR_IO, "%s: cannot map the file: %s", path, strerror(errno));
  mapping->data = data;
  return FACET_OK;
}

static void free_mapping(facet_mapping *mapping) {
  if (mapping->data) munmap((void *)mapping->data, mapping->n_bytes);
  if (mapping->descriptor >= 0) close(mapping->descriptor);
  facet_memory_free(mapping->path);
  facet_memory_free(mapping);
}

facet_status facet_mapping_create(const char *path, int descriptor, facet_mapping **out) {
  static pthread_once_t prepared = PTHREAD_ONCE_INIT;
  facet_mapping *mapping;
  *out = NULL;
  pthread_once(&prepared, prepare_process);
  FACET_TRY(FACET_ALLOC(mapping, 1, "mapped file"));
  const facet_status status = map_file(mapping, path, descriptor);
  if (status != FACET_OK) {
    free_mapping(mapping);
    return status;
  }
  pthread_mutex_lock(&list_lock);
  mapping->next = atomic_load(&list);
  atomic_store(&list, mapping);
  pthread_mutex_unlock(&list_lock);
  *out = mapping;
  return FACET_OK;
}

void facet_mapping_destroy(facet_mapping **out) {
  facet_mapping *mapping = *out;
  if (!mapping) return;
  pthread_mutex_lock(&list_lock);
  facet_mapping *before = atomic_load(&list);
  if (before == mapping) {
    atomic_store(&list, mapping->next);
  } else {
    while (before->next != mapping) before = before->next;
    before->next = mapping->next;
  }
  pthread_mutex_unlock(&list_lock);
  free_mapping(mapping);
  *out = NULL;
}

facet_status facet_mapping_check(const facet_mapping *mapping) {
  struct stat info;
  FACET_CHECK(fstat(mapping->descriptor, &info) == 0, FACET_ERROR_IO, "%s: cannot find its size: %s", mapping->path,
              strerror(errno));
  FACET_CHECK((size_t)info.st_size >= mapping->n_bytes, FACET_ERROR_DATA,
              "%s: the file shrank while it was in use, from %zu bytes to %zu", mapping->path, mapping->n_bytes,
              (size_t)info.st_size);
  return FACET_OK;
}
