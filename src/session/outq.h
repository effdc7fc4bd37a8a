/* What waits for one socket: a first-in first-out queue of slips with a cap, and the verdict that
 * a client is too slow for it. Pure; one thread. An idle queue owns no memory.
 *
 * The cap is on what the client did not pace itself: live messages and replies. Chunks of a replay
 * and history pages are asked for when there is room, so they wait here without being held against
 * the client. An empty queue takes any one message. */
#ifndef SESSION_OUTQ_H
#define SESSION_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/frame.h"

enum outq_kind {
    OUTQ_CAPPED, /* live messages, replies */
    OUTQ_PACED,  /* asked for when there was room: never refused */
};

enum outq_verdict { OUTQ_OK, OUTQ_SLOW };

struct outq_limits {
    size_t bytes; /* of capped frames that wait */
    uint64_t ms;  /* age of the frame at the head; 0: any */
};

struct outq_entry {
    struct slip *slip;
    uint32_t at; /* ms, wraps around */
    uint32_t kind;
};

#define OUTQ_OWN 2u

struct outq {
    struct outq_entry *heap; /* NULL: the entries are in `own` */
    uint32_t size, head, count;
    size_t bytes;                    /* all that waits */
    size_t capped;                   /* the part of it that counts against the cap */
    struct outq_entry own[OUTQ_OWN]; /* the common case allocates nothing */
};

void outq_init(struct outq *q);
void outq_clear(struct outq *q); /* gives all references and memory back */

/* Takes a reference of its own. OUTQ_SLOW: over a limit, nothing was queued. */
enum outq_verdict outq_push(struct outq *q, struct slip *slip, enum outq_kind kind, uint64_t now,
                            struct outq_limits limits);
/* The frame at place i (0: the head), or NULL. */
const struct frame *outq_at(const struct outq *q, uint32_t i);
void outq_pop(struct outq *q); /* must not be empty */

static inline bool outq_empty(const struct outq *q)
{
    return q->count == 0;
}

#endif
