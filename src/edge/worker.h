/* A worker: one thread with a libuv loop, a libwebsockets context on that loop, listening sockets
 * of its own (SO_REUSEPORT) and the sessions of the connections it accepted.
 *
 * Nothing here polls: the loop wakes for sockets, for the inbox (base/bell.h) and for the next due
 * timer of the worker's wheel. libwebsockets is used in this folder and nowhere else.
 *
 * Order of life, all but the worker's own thread on the main thread: worker_new(), hub_start()
 * with the inboxes, worker_start(); worker_drain(), hub_stop() (what it still answers is in the
 * inboxes then), worker_stop(), worker_join(), worker_free(), hub_free(). */
#ifndef EDGE_WORKER_H
#define EDGE_WORKER_H

#include "access/access.h"
#include "config/config.h"
#include "edge/addresses.h"
#include "edge/admission.h"
#include "edge/listen.h"
#include "edge/trust.h"
#include "hub/hub.h"
#include "hub/route.h"

struct worker;

struct worker_spec {
    unsigned index;
    const struct config *config;
    const struct route_table *routes;
    const struct access *access;
    struct admission *admission; /* one for all workers, likewise the next four */
    struct addresses *addresses;
    const struct trust *trust;
    struct tls *tls;                  /* NULL: no listener speaks it */
    int root;                         /* the folder web.root; -1: none */
    const struct listener *listeners; /* this worker's share, already listening */
    size_t listener_count;
    const struct listener *admin; /* NULL: this worker has none */
};

/* Makes the loop, the context and the inbox; nothing runs yet. NULL with a sentence in `err`. */
struct worker *worker_new(const struct worker_spec *spec, char *err, size_t err_size);
struct inbox *worker_inbox(struct worker *w);
/* All workers, itself among them, for the one with the admin listener. Copied. Before any starts. */
void worker_others(struct worker *w, struct worker *const *all, unsigned count);
/* Starts the thread. 0, or -1 with a sentence in `err`. */
int worker_start(struct worker *w, struct hub *hub, char *err, size_t err_size);

/* Any thread: tell the sessions to go (see session_worker_drain). Upgrades are refused with 503
 * from the moment when admission->draining is set, which is the caller's; health is answered until
 * the end. */
void worker_drain(struct worker *w, uint64_t window_ms);
/* Any thread, once, after worker_start() and when the hub has stopped: accept no more, close what
 * is left and end the thread as soon as the close frames are out, at the latest after
 * `deadline_ms`. */
void worker_stop(struct worker *w, uint64_t deadline_ms);
/* Any thread: connections that are open. */
uint64_t worker_connections(const struct worker *w);
void worker_join(struct worker *w);
void worker_free(struct worker *w); /* joined, or never started */

#endif
