#include "data/mapping.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
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

facet_status facet_mapping_create(const char *path, int descriptor, facet_mapping **out) {
  static pthread_once_t installed = PTHREAD_ONCE_INIT;
  facet_mapping *mapping;
  struct stat info;
  void *data = NULL;
  *out = NULL;
  FACET_CHECK(fstat(descriptor, &info) == 0, FACET_ERROR_IO, "%s: cannot find its size: %s", path, strerror(errno));
  pthread_once(&installed, install_handler);
  FACET_TRY(FACET_ALLOC(mapping, 1, "mapped file"));
  mapping->path = facet_memory_strdup(path);
  mapping->n_bytes = (size_t)info.st_size;
  if (mapping->path && mapping->n_bytes > 0) data = mmap(NULL, mapping->n_bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  if (!mapping->path || data == MAP_FAILED) {
    const facet_status status = mapping->path ? facet_error_set(FACET_ERROR_IO, __FILE__, __LINE__,
                                                                "%s: cannot map the file: %s", path, strerror(errno))
                                              : FACET_ERROR_INTERNAL;
    facet_memory_free(mapping->path);
    facet_memory_free(mapping);
    return status;
  }
  mapping->data = data;
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
  if (mapping->data) munmap((void *)mapping->data, mapping->n_bytes);
  facet_memory_free(mapping->path);
  facet_memory_free(mapping);
  *out = NULL;
}
