#include "train/stop.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t received;
static struct sigaction former_term, former_usr1;

static void on_signal(int number) {
  received = number;
}

void facet_stop_install(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  received = 0;
  sigaction(SIGTERM, &action, &former_term);
  sigaction(SIGUSR1, &action, &former_usr1);
}

void facet_stop_restore(void) {
  sigaction(SIGTERM, &former_term, NULL);
  sigaction(SIGUSR1, &former_usr1, NULL);
}

const char *facet_stop_signal(void) {
  if (!received) return NULL;
  return received == SIGTERM ? "SIGTERM" : "SIGUSR1";
}
