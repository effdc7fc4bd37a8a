/* A bridge on one thread and without sockets: the sessions of one worker, the hub and the memory bus of
 * src/, where the loops of the threads are a function that is called (stage_turn()) and the far end of a
 * connection is a counter. What it costs is what the bridge itself costs, without the kernel and
 * libwebsockets: for `make bench-guard` (guard.c) and for sizes that no machine has sockets for (grow.c).
 *
 * stage.c takes the place of src/bus/thread.c: what is linked with it has no other bus_thread_…().
 *
 * Time stands still but for stage_wait(). Of /ws only; the configuration is stage.jsonc of this folder,
 * found from the top folder. Mistakes end the program with a sentence. */
#ifndef BENCH_STAGE_H
#define BENCH_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "access/access.h"
#include "base/inbox.h"
#include "base/timers.h"
#include "config/config.h"
#include "hub/hub.h"
#include "hub/route.h"
#include "session/session.h"

/* The far end of a connection. */
struct far {
    struct transport transport;
    struct session *session;
    uint64_t bytes, writes;
    bool stalled; /* takes what is written, and then says that it is choked */
    int code;     /* it was closed with this; 0: it is open */
};

struct stage {
    struct config config;
    struct route_table *routes;
    struct access *access;
    struct timers wheel;
    struct inbox inbox, *inboxes[1]; /* of the worker */
    struct hub *hub;
    struct session_worker *worker;
    bool woken;
    uint64_t longest_ns; /* what the worker or the bus did in one go; only with `timed` */
    bool timed;
};

/* `sets` as on the command line ("limits.queue_bytes=1000"), ends with NULL. */
void stage_open(struct stage *s, const char *const *sets);
void stage_close(struct stage *s); /* connections must be gone */
/* The loops turn until nothing is left to do. */
void stage_turn(struct stage *s);
/* Time goes on; timers fire when they are due, to the millisecond. */
void stage_wait(struct stage *s, uint64_t ms);
/* Messages that have been queued for clients so far. */
uint64_t stage_delivered(struct stage *s);

void far_open(struct stage *s, struct far *f); /* with its welcome */
void far_say(struct far *f, const char *text); /* a text message of the client */
/* The same with the number in the place of its first '#'. */
void far_say_of(struct far *f, const char *text, unsigned n);
void far_gone(struct far *f);

uint64_t stage_cpu_ns(void); /* of this thread */

/* Times that each write to a far end goes round a loop for nothing: for the test of the guard. */
extern unsigned stage_waste;

#endif
