/* SIGTERM and SIGUSR1 ask a run to stop: a flag that is read between updates and between batches of an evaluation. */
#ifndef FACET_TRAIN_STOP_H
#define FACET_TRAIN_STOP_H

/* Installs the handlers and clears the flag. Other signals keep what they do. */
void facet_stop_install(void);
/* Puts the former handlers back. */
void facet_stop_restore(void);
/* Name of the signal that came ("SIGTERM"), or NULL. */
const char *facet_stop_signal(void);

#endif
