/* What has come for one channel while somebody on this worker stalls (session/stall.h): each frame
 * stands here once, however many will get it or lose it. A reader is a place: the number of the
 * entry that it goes on with; frames go when no reader stands before them. Worker thread. */
#ifndef SESSION_BACKLOG_H
#define SESSION_BACKLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/frame.h"
#include "base/heap.h"

struct backlog_entry {
    struct slip *slip;
    uint64_t turn;   /* in which order frames came to the worker, over all its channels */
    uint64_t before; /* bytes of all that came to this backlog before it, */
    uint32_t others; /* and how many of them are no messages (wraps around) */
    uint32_t at;     /* ms, wraps around */
    uint32_t here;   /* readers that go on with it */
    bool message;
};

struct backlog {
    struct backlog_entry *ring;
    uint32_t size;       /* a power of two */
    uint64_t first, end; /* entries that are kept */
    uint64_t bytes;      /* of all that has come */
    uint32_t others;
    uint32_t here;    /* readers that have taken all */
    uint32_t readers; /* of them all */
    /* When somebody is to look at a reader: by what `bytes` is then, and by the clock. */
    struct heap by_bytes, by_time;
};

struct backlog *backlog_new(void);
void backlog_free(struct backlog *b); /* no reader is left */

/* Takes a reference of its own. There is a reader. */
void backlog_append(struct backlog *b, struct slip *slip, bool message, uint64_t turn,
                    uint64_t now);
struct backlog_entry *backlog_at(struct backlog *b, uint64_t place); /* below `end` */
/* Of all that came before this place, which may be the end. */
uint64_t backlog_before(struct backlog *b, uint64_t place);
uint32_t backlog_others(struct backlog *b, uint64_t place);
/* The first place from `from` on whose turn is not before this one. */
uint64_t backlog_find(struct backlog *b, uint64_t from, uint64_t turn);

uint64_t backlog_enter(struct backlog *b); /* a reader, at the end */
void backlog_move(struct backlog *b, uint64_t from, uint64_t to);
void backlog_leave(struct backlog *b, uint64_t place);

#endif
