/* The thread of one bus: a libuv loop, the services of struct wsbus_host, and an inbox.
 *
 * It knows nothing of feeds: what comes out of the backend and out of the inbox goes to a handler
 * (hub/). The sink functions of the host given to the backend are the handler's. Everything in
 * the handler runs on the bus thread.
 *
 * Where the backend says that it is `light`, a worker that has posted a little while the bus thread sleeps
 * does the work in its place, as a visitor: to wake a thread costs several times what a publish does. There
 * is one of them at a time; nobody waits for a visitor but the bus thread itself. What is to be done later
 * (timers, turns) is left to it. */
#ifndef BUS_THREAD_H
#define BUS_THREAD_H

#include <wsbus/backend.h>

#include "base/inbox.h"
#include "base/timers.h"

struct bus_thread;

struct bus_thread_spec {
    const char *name; /* of the bus */
    const struct wsbus_backend *backend;
    const struct wsbus_value *values;
    size_t inbox_bytes;
    unsigned readers; /* for the host */
    /* A host whose sink members are set; thread.c fills in the services. bus_thread_handler() gets
     * from the host pointer that a sink function receives back to `handler`. */
    struct wsbus_host sink;
    void *handler;
    /* One item of the inbox; the handler settles (bus_thread_inbox) and frees it. */
    void (*item)(void *handler, struct inbox_item *item);
    /* All that waited in the inbox has been handed over. True: call it again after the loop has
     * looked at everything else once, so that work that can wait does not hold up what cannot.
     * May be NULL. */
    bool (*turn)(void *handler);
    /* Is there something for turn() to do? With a light backend; else it may be NULL. */
    bool (*waits)(void *handler);
};

/* Starts the thread, which opens the instance. NULL with one sentence in `err`. Sink functions may
 * be called before this returns. */
struct bus_thread *bus_thread_start(const struct bus_thread_spec *spec, char *err, size_t err_size);
/* Any thread, once: hands over what waits in the inbox, asks the instance to close within
 * deadline_ms, then waits for the thread's end. From the call of close() on bus_thread_instance()
 * is NULL; items are still handed over. */
void bus_thread_stop(struct bus_thread *t, uint64_t deadline_ms);
/* After bus_thread_stop(), when nobody posts any more; until then posting to the inbox of a stopped
 * thread is harmless. Hands over what was posted since. */
void bus_thread_free(struct bus_thread *t);

void *bus_thread_handler(const struct wsbus_host *host); /* the `handler` of the spec */
struct inbox *bus_thread_inbox(struct bus_thread *t);    /* post from any thread */
/* On the bus thread: */
void *bus_thread_instance(struct bus_thread *t); /* first argument of the operations; or NULL */
struct timers *bus_thread_timers(struct bus_thread *t); /* the thread's wheel; armed by itself */

#endif
