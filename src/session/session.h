/* A session: the state of one WebSocket connection above the wire. All on its worker's thread.
 *
 * edge/ opens one after the handshake and hands in whole messages; what the session wants to say
 * waits in its queue (session/outq.h) and goes out through its transport when the worker flushes.
 * State is one enum (session.c); nothing is freed inside the event that ended it:
 * session_worker_turn() does that at the end of the loop's turn. */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "access/access.h"
#include "base/counters.h"
#include "base/inbox.h"
#include "base/span.h"
#include "base/timers.h"
#include "config/config.h"
#include "hub/route.h"
#include "session/transport.h"

struct session;
struct session_worker;

/* ---- a worker's share ---------------------------------------------------------------------- */

struct session_worker_spec {
    unsigned index;
    const struct config *config;
    const struct route_table *routes;
    const struct access *access;
    struct timers *timers; /* the worker's wheel */
    struct inbox *inbox;   /* the worker's */
};

struct session_worker *session_worker_new(const struct session_worker_spec *spec);
/* The inboxes of the buses, by index, copied. Before the first session: the hub is started when
 * the workers' inboxes exist. */
void session_worker_buses(struct session_worker *w, struct inbox *const *buses, unsigned count);
void session_worker_free(struct session_worker *w); /* no session may be left */

/* Takes all that waits in the inbox and deals with it (called when the inbox woke the loop). */
void session_worker_inbox(struct session_worker *w);
/* Writes to the sockets that have something waiting, in rotation, for at most `slice` sockets.
 * True: more wait, call again in the next turn of the loop (after the loop has looked at its
 * sockets). Called at the end of each turn; also frees what ended in this turn. */
bool session_worker_turn(struct session_worker *w, unsigned slice);

/* Drain: `goaway` to every session, each with its own random retry_after, evenly spread over
 * `window_ms`; then each is closed with 1012 at its time, once its requests are answered and its
 * queue is out, at the latest at the end of the window. New sessions are closed at once. */
void session_worker_drain(struct session_worker *w, uint64_t window_ms);
/* Close what is left, now: requests that are open are answered first. */
void session_worker_finish(struct session_worker *w);
uint64_t session_worker_count(const struct session_worker *w);
/* What this worker counts: the thread's own, also for those who hold the sessions. */
struct counters *session_worker_counters(struct session_worker *w);

/* ---- a session ----------------------------------------------------------------------------- */

/* The handshake is complete: `welcome` is queued. `peer` is for log lines. */
struct session *session_open(struct session_worker *w, struct transport *t, const char *peer);
/* One whole text message, at most limits.frame_bytes. May end the session (transport close). */
void session_text(struct session *s, struct span text);
/* Would that be looked at? Not any more once it closes. */
bool session_listens(const struct session *s);
/* A sign of life: any bytes, a pong. */
void session_alive(struct session *s);
/* A WebSocket ping, whose answer goes the way of everything else that is sent; and a pong. Both
 * count as messages do against limits.frames_per_second. */
void session_pong(struct session *s, struct span payload);
void session_ponged(struct session *s);
/* The transport takes data again after TRANSPORT_CHOKED. */
void session_writable(struct session *s);
/* Close with this code: the peer broke a rule that the edge sees (binary frame, too big). What
 * was accepted before is still answered. */
void session_fail(struct session *s, enum close_code code);
/* The same with CLOSE_LIMIT and the option's name (constant), and counts it. */
void session_exceeds(struct session *s, const char *option, enum counter which);
/* The connection is gone; the transport is not touched any more. The session frees itself. */
void session_gone(struct session *s);

#endif
