/* What waits for one socket: a first-in first-out queue of slips with a cap, and the verdict that
 * a client is too slow for it. Pure; one thread. An idle queue owns no memory.
 *
 * The cap is on what the client did not pace itself: live messages and replies. Chunks of a replay
 * and history pages are asked for when there is room, so they wait here without being held against
 * the client. A queue without bytes takes any one message.
 *
 * Lossy frames may be taken out again, oldest first, to make room. What is left in the place of one
 * is nothing, or the mark of a gap, which becomes a frame before it is written (session/lane.h).
 * Entries lie in blocks. A block is freed when nothing in it waits any more, in the middle of the
 * queue too: behind a frame that a client never takes, others may come and be dropped for ever. */
#ifndef SESSION_OUTQ_H
#define SESSION_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/frame.h"

/* What an entry is: a kind, and for the last two the number of a lane. */
enum outq_kind {
    OUTQ_CAPPED, /* live messages, replies */
    OUTQ_PACED,  /* asked for when there was room: never refused */
    OUTQ_LOSSY,  /* live messages that may be dropped */
    OUTQ_GAP,    /* not a frame yet */
};

#define OUTQ_LANES (UINT32_MAX >> 2) /* numbers of lanes are below */

static inline uint32_t outq_tag(enum outq_kind kind, uint32_t lane)
{
    return (uint32_t)kind | lane << 2;
}

static inline enum outq_kind outq_kind(uint32_t tag)
{
    return (enum outq_kind)(tag & 3);
}

static inline uint32_t outq_lane(uint32_t tag)
{
    return tag >> 2;
}

enum outq_verdict { OUTQ_OK, OUTQ_SLOW };

struct outq_limits {
    size_t bytes; /* of capped frames that wait */
    uint64_t ms;  /* age of the frame at the head; 0: any */
};

struct outq_entry {
    struct slip *slip; /* NULL: nothing, or a gap */
    uint32_t at;       /* ms, wraps around */
    uint32_t tag;
};

struct outq_block {
    struct outq_block *next, *prev;
    uint32_t size, live; /* entries; those that are not nothing */
    struct outq_entry entries[];
};

/* So many may come for one client before it is written to, without an allocation: of many clients with
 * many channels each, whose messages come in bursts, every one would take a block and give it back. */
#define OUTQ_OWN 4u

/* A place in the queue. */
struct outq_place {
    struct outq_block *block; /* NULL: in `own` */
    uint32_t i;
};

struct outq {
    struct outq_place head, tail; /* the oldest entry; behind the newest */
    struct outq_place lossy;      /* no lossy entry is older */
    uint32_t count;               /* entries that are not nothing */
    uint32_t lossy_count, gaps;
    size_t bytes;  /* all that waits */
    size_t capped; /* the part of it that counts against the cap */
    size_t memory; /* of the blocks */
    struct outq_entry own[OUTQ_OWN];
};

void outq_init(struct outq *q);
void outq_clear(struct outq *q); /* gives all references and memory back */

/* Would a capped frame of n bytes be over a limit? */
enum outq_verdict outq_judge(const struct outq *q, size_t n, uint64_t now,
                             struct outq_limits limits);
/* Takes a reference of its own, without any limit. */
void outq_push(struct outq *q, struct slip *slip, uint32_t tag, uint64_t now);
/* A gap at the end of the queue: where it is. */
struct outq_place outq_push_gap(struct outq *q, uint32_t lane, uint64_t now);
const struct outq_entry *outq_first(const struct outq *q); /* the oldest, or NULL */
/* The frame at the head; NULL: the queue is empty, or a gap is there. */
const struct frame *outq_head(const struct outq *q);
/* Is it one that the client has asked for when there was room? */
bool outq_paced(const struct outq *q);
/* Takes that frame out; the caller has the reference then. */
struct slip *outq_take(struct outq *q);

/* The oldest lossy entry and its place, or NULL. */
struct outq_entry *outq_oldest_lossy(struct outq *q, struct outq_place *ret);
/* Takes its slip out, for the caller; a gap of its lane is left. Places of gaps stay valid. */
struct slip *outq_drop(struct outq *q, struct outq_place p);
/* The gap at this place goes too. */
void outq_erase(struct outq *q, struct outq_place p);
/* Is no entry newer? */
static inline bool outq_is_last(const struct outq *q, struct outq_place p)
{
    return p.block == q->tail.block && p.i + 1 == q->tail.i;
}
/* Walks over all entries, oldest first: begin with {0}; NULL at the end. */
struct outq_walk {
    struct outq_place at;
    uint32_t seen;
    bool begun;
};
struct outq_entry *outq_next(struct outq *q, struct outq_walk *w);
/* A gap becomes a frame (takes a reference of its own); a lossy entry is one no longer. */
void outq_fill(struct outq *q, struct outq_entry *e, struct slip *slip);
void outq_keep(struct outq *q, struct outq_entry *e);

static inline bool outq_empty(const struct outq *q)
{
    return q->count == 0;
}

#endif
