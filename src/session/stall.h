/* Stalled subscriptions: whose sockets take nothing, so that a message costs nothing for them.
 *
 * When a socket has been choked for STALL_MS and something waits for it, a subscription that gets yet
 * another message is set aside (hub/fanout.h) when the worker's round ends. From then on it is a place in the
 * channel's backlog (session/backlog.h): what comes is kept there once for all who stall. What
 * lies behind that place belongs to the session's queue as if it stood there: it counts against
 * its limits, into its weight and the metrics, is dropped from with a gap, is the reason for 4000.
 * It is taken over into the queue, in the order in which it came,
 *
 *   when the socket takes data again: some, for each write. When nothing is left the subscription
 *   is on the list of the channel's members again;
 *   before anything else is queued (a reply, a message of another subscription): all.
 *
 * Nobody looks at a stalled session for each message. For each of its subscriptions the backlog
 * knows when somebody must (stalls_arm()): when so many bytes have come that the session may be over its
 * limit or one of the laggards that weigh more, or when its oldest frame is too old. */
#ifndef SESSION_STALL_H
#define SESSION_STALL_H

#include "session/backlog.h"
#include "session/subscription.h"

#define STALL_MS 100u /* not shorter than the time in which nobody is slow (session.c) */

struct stall {
    struct subscription *sub;
    struct backlog *log;
    struct list node;                   /* of the session */
    uint64_t place;                     /* in the backlog */
    uint64_t before;                    /* bytes of the backlog before that */
    struct heap_node by_bytes, by_time; /* of the backlog */
    struct heap_node turn;              /* while frames are taken over */
};

/* A message was queued for it while its socket was choked. */
void stall_consider(struct subscription *sub);
/* The round ends: those who are to be set aside are. */
void stalls_begin(struct session_worker *w);
/* A frame for the members of the channel. True: some of them stall, and stalls_judge() is to follow. */
bool stalls_append(struct session_worker *w, struct fan_group *g, struct slip *slip, bool message);
/* After a frame of so many bytes: looks at those who may be too slow now. */
void stalls_judge(struct session_worker *w, struct fan_group *g, size_t len);

static inline bool stalls_some(const struct session *s)
{
    return !list_empty(&s->stalls);
}

/* What waits for the session in backlogs. */
size_t stalls_bytes(const struct session *s);
/* Takes frames over until n bytes are in the queue, or all. */
void stalls_take(struct session *s, size_t n);
/* The socket took something, or refused to. */
void stalls_written(struct session *s);
/* The queue is another. */
void stalls_arm(struct session *s);
/* It is writable again: what it is to lose for the time before, it loses now. */
void stalls_woken(struct session *s);
/* Drops all that may be dropped. */
void stalls_drop(struct session *s);
/* Nothing of it waits any more. */
void stalls_forget(struct session *s);
/* The subscription ends: what waits for it is taken over. */
void stall_end(struct subscription *sub);

#endif
