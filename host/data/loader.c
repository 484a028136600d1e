/* Batches prepared ahead by one reader thread.
 *
 * Batch i lives in slot i mod n_slots. The reader fills it once batch i − n_slots was given back, so `ready` (batches
 * filled) and `released` (batches given back) are all the state there is; both only grow, under the mutex. */
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
  int64_t *rows;       /* [B] of the batch being filled */
  pthread_t thread;
  bool running;
  int64_t next; /* batch that facet_loader_next hands out; the consumer's own */
  bool held;    /* the consumer holds batch next − 1 */
  pthread_mutex_t mutex;
  pthread_cond_t changed; /* one of the following */
  int64_t ready, released;
  bool stopping;
  facet_error error; /* status FACET_OK, or why the reader stopped after `ready` batches */
};

static facet_status fill_batch(facet_loader *loader, int64_t index) {
  int64_t first = loader->start + index * loader->batch_size, end = first + loader->batch_size;
  if (first > loader->stop) first = loader->stop;
  if (end > loader->stop) end = loader->stop;
  facet_order_rows(&loader->order, first, end - first, loader->rows);
  facet_batch *batch = loader->slots[index % loader->n_slots];
  batch->position = first;
  return facet_batch_assemble(loader->dataset, loader->rows, end - first, batch);
}

static void *read_batches(void *argument) {
  facet_loader *loader = argument;
  pthread_mutex_lock(&loader->mutex);
  for (int64_t index = 0; index < loader->n_batches; index++) {
    while (!loader->stopping && index - loader->released >= loader->n_slots) {
      pthread_cond_wait(&loader->changed, &loader->mutex);
    }
    if (loader->stopping) break;
    pthread_mutex_unlock(&loader->mutex);
    facet_status status = fill_batch(loader, index);
    pthread_mutex_lock(&loader->mutex);
    if (status != FACET_OK) {
      loader->error = *facet_error_get();
    } else {
      loader->ready = index + 1;
    }
    pthread_cond_broadcast(&loader->changed);
    if (status != FACET_OK) break;
  }
  pthread_mutex_unlock(&loader->mutex);
  return NULL;
}

/* The thread takes no signals but those of its own faults, so that SIGTERM and the like reach the main thread. */
static facet_status start_thread(facet_loader *loader) {
  sigset_t blocked, before;
  sigfillset(&blocked);
  sigdelset(&blocked, SIGBUS);
  sigdelset(&blocked, SIGSEGV);
  sigdelset(&blocked, SIGFPE);
  sigdelset(&blocked, SIGILL);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  loader->running = pthread_create(&loader->thread, NULL, read_batches, loader) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  FACET_CHECK(loader->running, FACET_ERROR_INTERNAL, "cannot start the thread that reads batches");
  return FACET_OK;
}

facet_status facet_loader_create(facet_dataset *dataset, const facet_batch_layout *layout, facet_order order,
                                 int64_t start, int64_t stop, int64_t align, int64_t prefetch, facet_loader **loader) {
  *loader = NULL;
  FACET_CHECK(0 <= start && start <= stop && stop <= order.n_rows && order.n_rows <= facet_dataset_n_samples(dataset),
              FACET_ERROR_INTERNAL, "positions %lld … %lld of an order of %lld rows of a data set of %lld",
              (long long)start, (long long)stop, (long long)order.n_rows, (long long)facet_dataset_n_samples(dataset));
  FACET_CHECK(align >= 1 && prefetch >= 0, FACET_ERROR_INTERNAL, "align %lld and prefetch %lld: expected ≥ 1 and ≥ 0",
              (long long)align, (long long)prefetch);
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
  made->n_slots = prefetch + 1;
  pthread_mutex_init(&made->mutex, NULL);
  pthread_cond_init(&made->changed, NULL);
  FACET_TRY_GOTO(status, done, FACET_ALLOC(made->rows, layout->batch_size, "rows of a batch"));
  FACET_TRY_GOTO(status, done, FACET_ALLOC(made->slots, made->n_slots, "batches"));
  for (int64_t i = 0; i < made->n_slots; i++) {
    FACET_TRY_GOTO(status, done, facet_batch_create(layout, &made->slots[i]));
  }
  FACET_TRY_GOTO(status, done, start_thread(made));
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
  while (!at_end && loader->ready == loader->next && loader->error.status == FACET_OK) {
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
  if (old->running) {
    pthread_mutex_lock(&old->mutex);
    old->stopping = true;
    pthread_cond_broadcast(&old->changed);
    pthread_mutex_unlock(&old->mutex);
    pthread_join(old->thread, NULL);
  }
  for (int64_t i = 0; old->slots && i < old->n_slots; i++) facet_batch_destroy(&old->slots[i]);
  facet_memory_free(old->slots);
  facet_memory_free(old->rows);
  pthread_mutex_destroy(&old->mutex);
  pthread_cond_destroy(&old->changed);
  facet_memory_free(old);
  *loader = NULL;
}
