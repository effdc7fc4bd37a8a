/* Which socket is written next, and the write itself. One for each worker.
 *
 * A session with something to say waits on the list of the fan-out group that gave it the first
 * of it, or on one of the worker's own lists (replies; replays). The lists take turns, one session
 * each, so that a channel with two subscribers is not stuck behind one with ten thousand; replays,
 * whose writes are the largest, have every eighth turn where somebody else waits too, and no more time
 * than hub/pace.h allows. A session is on one list at most, and on none while its transport is
 * choked.
 *
 * For those who want fewer packets (option flush_interval), lists of groups can be held: what comes for
 * their sessions gathers until they are let go. Those of the worker are never held, so a session with a
 * reply to send sends all it has. */
#ifndef SESSION_FLUSH_H
#define SESSION_FLUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/packer.h"
#include "hub/fanout.h"
#include "hub/pace.h"
#include "session/outq.h"
#include "session/transport.h"

#define FLUSH_GATHER 65536u /* bytes of whole frames that go into one write */

struct flush_node {
    struct list wait;
    struct fan_group *group; /* whose list; NULL: on none */
    bool choked;
};

/* What of it was in compressed form: likewise. */
struct flush_packed {
    uint64_t frames, bytes, plain; /* `plain`: the bytes of the same frames as they are */
};

struct flush {
    struct fanout *fanout;
    struct list turns;                 /* groups with waiting sessions */
    struct list held;                  /* the same, without a turn now */
    bool holds;                        /* groups that are to wait from now on are held */
    bool fresh;                        /* a group waits that was not held, since flush_hold() */
    struct fan_group control, replays; /* the worker's own lists; never in the fan-out table */
    unsigned passed;                   /* turns that replays have let others have */
    struct pace pace;                  /* of replays */
    uint64_t began;                    /* us; the replay whose turn it is. 0: it is none */
    bool hurry;                        /* replays do not stand back */
    unsigned char *gather;
    uint64_t bytes, frames; /* written; whoever counts them takes them away */
    struct packer *packer;  /* NULL: nobody gets compressed messages */
    struct flush_packed packed;
};

void flush_init(struct flush *f, struct fanout *fanout);
void flush_done(struct flush *f); /* nothing may wait */

void flush_node_init(struct flush_node *n);
/* It has something to say because of this group (NULL: a reply or the like; or f->replays). One
 * that waits already moves if the other list is less than half as long. */
void flush_mark(struct flush *f, struct flush_node *n, struct fan_group *group);
void flush_drop(struct flush *f, struct flush_node *n);
/* Groups that come to wait after this are held, and those that are held have their turns. */
void flush_hold(struct flush *f);
void flush_let_go(struct flush *f);
/* A turn of the loop; with `hurry` replays do not stand back in it. */
void flush_begin(struct flush *f, bool hurry);
/* The next one in rotation, taken off its list; NULL: nobody waits whose turn it may be. */
struct flush_node *flush_next(struct flush *f);
void flush_done_with(struct flush *f); /* what it had to say has been written, or a part of it */
enum flush_state {
    FLUSH_IDLE,   /* nobody waits */
    FLUSH_PAUSED, /* only replays wait, for credit: PACE_WAIT_MS */
    FLUSH_READY,
};
enum flush_state flush_state(struct flush *f);

/* Writes the frames at the head of the queue, up to FLUSH_GATHER bytes or one frame that is larger,
 * in one go, compressed where the transport takes that. The head of the queue must be a frame. */
enum transport_result flush_write(struct flush *f, struct outq *q, struct transport *t);

#endif
