/* How a thread is woken that waits in its loop: a descriptor (eventfd(2)) that is readable from the
 * first ring until it is answered. Several rings before that are one.
 *
 * libuv has the same as uv_async_send(), but there the thread that was woken waits, turning on the
 * spot, until the one that woke it has come back from its call (libuv 1.44: up to 1000 rounds, then
 * sched_yield()). Where both are on one core that is every time the one that woke is interrupted by
 * what it did. Inboxes ring only when they were empty, so the rest of what libuv does is not needed.
 *
 * A thread that posts many items in one turn of its loop holds its rings back until the turn ends:
 * otherwise, on one core, the other may be given the core for each single item. */
#ifndef BASE_BELL_H
#define BASE_BELL_H

#include <stdbool.h>

#define BELL_POSTS \
    32u /* so many items at most are posted before bells_ring(): others have cores too */

struct bell {
    int fd; /* to be watched for reading */
    /* Any thread, instead of a ring: does what the one that sleeps would be woken for. False: it did
     * not, or not all. NULL: nobody else can. Set before there are others who ring. */
    bool (*visit)(void *arg);
    void *arg;
};

int bell_open(struct bell *b); /* 0, or -errno; `fd` is -1 then */
void bell_close(struct bell *b);
void bell_ring(const struct bell *b); /* any thread, from bell_open() to bell_close() */
/* The thread itself, before it looks at what it was woken for: nothing that comes later is missed. */
void bell_answer(const struct bell *b);

/* From now on what this thread rings waits for bells_ring(), which it calls at the end of each turn
 * of its loop, before it may block; until bells_free(), which rings what waits too. A bell must not
 * be closed in between. */
void bells_hold(void);
void bells_ring(void);
void bells_free(void);
/* The same as bells_ring(), but where somebody can be visited that is tried first. `own` is the thread's
 * own bell, which is not rung. True: it was to be, by what a visit brought. */
bool bells_visit(const struct bell *own);

#endif
