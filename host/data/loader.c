/* Batches prepared ahead by reader threads.
 *
 * Batch i lives in slot i mod n_slots. A reader takes the next batch nobody has taken and fills it once batch i − n_slots
 * was given back. `taken`, `ready` (all batches before it are filled) and `released` (given back) only grow, under the
 * mutex. What a batch holds depends on its number alone, so the readers change nothing but the speed. */
#include <pthread.h>
#include <signal.h>

#include "facet/batch.h"
#include "facet/log.h"
#include "facet/memory.h"

struct facet_loader {
  facet_dataset *dataset; /* borrowed */
  facet_order order;
  int64_t start, stop;
  int64_t batch_size, n_batches, n_slots;
  facet_batch **slots; /* [n_slots] */
  struct reader *readers;
  int64_t *rows;     /* [readers × B] */
  int64_t n_readers; /* that were started */
  int64_t next;      /* batch that facet_loader_next hands out; the consumer's own */
  bool held;         /* the consumer holds batch next − 1 */
  pthread_mutex_t mutex;
  pthread_cond_t changed; /* one of the following */
  int64_t taken, ready, released;
  bool *filled; /* [n_slots] the slot's batch, at or behind `ready` */
  bool stopping;
  facet_error error; /* status FACET_OK, or why batch n_good cannot be had */
  int64_t n_good;    /* batches before the first one that failed */
};

typedef struct reader {
  facet_loader *loader;
  pthread_t thread;
  int64_t *rows; /* [B] of the batch being filled; in the loader's rows */
} reader;

static facet_status fill_batch(const reader *self, int64_t index) {
  const facet_loader *loader = self->loader;
  int64_t first = loader->start + index * loader->batch_size, end = first + loader->batch_size;
  if (first > loader->stop) first = loader->stop;
  if (end > loader->stop) end = loader->stop;
  facet_order_rows(&loader->order, first, end - first, self->rows);
  facet_batch *batch = loader->slots[index % loader->n_slots];
  batch->position = first;
  return facet_batch_assemble(loader->dataset, self->rows, end - first, batch);
}

/* Batch `index` is filled, or failed with the present error. The mutex is held. */
static void finish_batch(facet_loader *loader, int64_t index, facet_status status) {
  if (status == FACET_OK) {
    loader->filled[index % loader->n_slots] = true;
    while (loader->filled[loader->ready % loader->n_slots]) loader->filled[loader->ready++ % loader->n_slots] = false;
  } else if (index < loader->n_good) {
    loader->error = *facet_error_get();
    loader->n_good = index;
  }
  pthread_cond_broadcast(&loader->changed);
}

static void *read_batches(void *argument) {
  const reader *self = argument;
  facet_loader *loader = self->loader;
  pthread_mutex_lock(&loader->mutex);
  while (!loader->stopping && loader->taken < loader->n_good) {
    if (loader->taken - loader->released >= loader->n_slots) {
      pthread_cond_wait(&loader->changed, &loader->mutex);
      continue;
    }
    const int64_t index = loader->taken++;
    pthread_mutex_unlock(&loader->mutex);
    const facet_status status = fill_batch(self, index);
    pthread_mutex_lock(&loader->mutex);
    finish_batch(loader, index, status);
  }
  pthread_mutex_unlock(&loader->mutex);
  return NULL;
}

/* The threads take no signals but those of their own faults, so that SIGTERM and the like reach the main thread. */
static facet_status start_threads(facet_loader *loader, int64_t n_readers) {
  sigset_t blocked, before;
  sigfillset(&blocked);
  sigdelset(&blocked, SIGBUS);
  sigdelset(&blocked, SIGSEGV);
  sigdelset(&blocked, SIGFPE);
  sigdelset(&blocked, SIGILL);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  while (loader->n_readers < n_readers) {
    reader *self = &loader->readers[loader->n_readers];
    if (pthread_create(&self->thread, NULL, read_batches, self) != 0) break;
    loader->n_readers++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  FACET_CHECK(loader->n_readers == n_readers, FACET_ERROR_INTERNAL, "cannot start a thread that reads batches");
  return FACET_OK;
}

static facet_status allocate_buffers(facet_loader *loader, const facet_batch_layout *layout, int64_t n_readers) {
  FACET_TRY(FACET_ALLOC(loader->filled, loader->n_slots, "batches"));
  FACET_TRY(FACET_ALLOC(loader->slots, loader->n_slots, "batches"));
  for (int64_t i = 0; i < loader->n_slots; i++) FACET_TRY(facet_batch_create(layout, &loader->slots[i]));
  FACET_TRY(FACET_ALLOC(loader->readers, n_readers, "readers of batches"));
  FACET_TRY(FACET_ALLOC(loader->rows, n_readers * layout->batch_size, "rows of batches"));
  for (int64_t i = 0; i < n_readers; i++) {
    loader->readers[i].loader = loader;
    loader->readers[i].rows = loader->rows + i * layout->batch_size;
  }
  return FACET_OK;
}

facet_status facet_loader_create(facet_dataset *dataset, const facet_batch_layout *layout, facet_order order,
                                 int64_t start, int64_t stop, int64_t align, int64_t prefetch, int64_t readers,
                                 facet_loader **loader) {
  *loader = NULL;
  FACET_CHECK(0 <= start && start <= stop && stop <= order.n_rows && order.n_rows <= facet_dataset_n_samples(dataset),
              FACET_ERROR_INTERNAL, "positions %lld … %lld of an order of %lld rows of a data set of %lld",
              (long long)start, (long long)stop, (long long)order.n_rows, (long long)facet_dataset_n_samples(dataset));
  FACET_CHECK(align >= 1 && prefetch >= 0 && readers >= 1, FACET_ERROR_INTERNAL,
              "align %lld, prefetch %lld, readers %lld: expected ≥ 1, ≥ 0, ≥ 1", (long long)align, (long long)prefetch,
              (long long)readers);
  facet_status status = FACET_OK;
  facet_loader *made;
  FACET_TRY(FACET_ALLOC(made, 1, "loader"));
  made->dataset = dataset;
  made->order = order;
  made->start = start;
  made->stop = stop;
  made->batch_size = layout->batch_size;
  made->n_batches = (stop - start + layout->batch_size - 1) / layout->batch_size;
  made->n_batches = (made->n_batches + align - 1) / align * align;
  made->n_good = made->n_batches;
  made->n_slots = prefetch + 1;
  if (readers > made->n_slots) readers = made->n_slots;
  pthread_mutex_init(&made->mutex, NULL);
  pthread_cond_init(&made->changed, NULL);
  FACET_TRY_GOTO(status, done, allocate_buffers(made, layout, readers));
  FACET_TRY_GOTO(status, done, start_threads(made, readers));
  *loader = made;
  made = NULL;
done:
  facet_loader_destroy(&made);
  return status;
}

facet_status facet_loader_next(facet_loader *loader, const facet_batch **batch, double *wait_seconds) {
  *batch = NULL;
  pthread_mutex_lock(&loader->mutex);
  if (loader->held) {
    loader->held = false;
    loader->released++;
    pthread_cond_broadcast(&loader->changed);
  }
  bool at_end = loader->next == loader->n_batches;
  double before = facet_clock();
  while (!at_end && loader->ready == loader->next && loader->next < loader->n_good) {
    pthread_cond_wait(&loader->changed, &loader->mutex);
  }
  if (wait_seconds) *wait_seconds += facet_clock() - before;
  bool available = !at_end && loader->ready > loader->next;
  if (available) {
    *batch = loader->slots[loader->next % loader->n_slots];
    loader->next++;
    loader->held = true;
  }
  pthread_mutex_unlock(&loader->mutex);
  return at_end || available ? FACET_OK : facet_error_restore(&loader->error);
}

void facet_loader_destroy(facet_loader **loader) {
  facet_loader *old = *loader;
  if (!old) return;
  pthread_mutex_lock(&old->mutex);
  old->stopping = true;
  pthread_cond_broadcast(&old->changed);
  pthread_mutex_unlock(&old->mutex);
  for (int64_t i = 0; i < old->n_readers; i++) pthread_join(old->readers[i].thread, NULL);
  for (int64_t i = 0; old->slots && i < old->n_slots; i++) facet_batch_destroy(&old->slots[i]);
  facet_memory_free(old->readers);
  facet_memory_free(old->rows);
  facet_memory_free(old->slots);
  facet_memory_free(old->filled);
  pthread_mutex_destroy(&old->mutex);
  pthread_cond_destroy(&old->changed);
  facet_memory_free(old);
  *loader = NULL;
}
