/* The log of one topic of the memory bus: a ring of references to messages with the ids
 * first..last without holes, chained by key.
 *
 * Pure data, one thread. Which topics exist and when something is trimmed is decided in
 * memory_topics.c, who listens in memory.c; the lists that they need for this are members here. */
#ifndef BUS_MEMORY_TOPIC_H
#define BUS_MEMORY_TOPIC_H

#include <stdbool.h>

#include <wsbus/backend.h>

#include "base/list.h"
#include "base/map.h"
#include "base/span.h"

struct memory_key; /* one key that has messages in the log */

struct memory_entry {
    struct wsbus_message *message;
    struct memory_key *key; /* NULL: no key */
    uint64_t before;        /* id of the previous message with this key, 0: none */
};

struct memory_topic {
    struct map_node node; /* memory_topics.c: by name */
    struct list idle;     /* memory_topics.c: while there is no feed */
    struct list weight;   /* memory_topics.c: among topics of about as many bytes */
    struct list feeds;    /* memory.c */
    struct list later;    /* memory.c: messages whose turn of delivery has not come */
    bool delivering;      /* memory.c */
    uint64_t epoch;       /* random, not 0 */
    uint64_t first;       /* oldest id that is kept; last + 1 if none is */
    uint64_t last;        /* newest id that was given, 0: none yet */
    int64_t ts;           /* of the newest */
    size_t bytes;         /* what the kept messages cost */
    struct memory_entry *ring;
    size_t size; /* entries allocated, a power of two or 0 */
    struct map keys;
    size_t name_len;
    char name[];
};

struct memory_topic *memory_topic_new(struct span name);
void memory_topic_free(struct memory_topic *t); /* on no list any more */

/* Gives the next id to the message and keeps a reference to it. */
void memory_topic_append(struct memory_topic *t, struct wsbus_message *m);
/* Forgets the oldest message; there must be one. */
void memory_topic_trim(struct memory_topic *t);

/* For an id in first..last. */
struct memory_entry *memory_topic_at(const struct memory_topic *t, uint64_t id);
/* NULL if no message in the log has this key. */
const struct memory_key *memory_topic_key(const struct memory_topic *t, struct span key);
/* The place (an id, or first - 1) before the first message with ts >= time; last if none. */
uint64_t memory_topic_before_time(const struct memory_topic *t, int64_t time);
/* The place before the last `count` messages (of `key`, if given) not after `until`, which is in
 * first - 1..last; with fewer of them first - 1 and *ret_more false. *ret_more: there are more. */
uint64_t memory_topic_back(const struct memory_topic *t, const struct span *key, uint64_t until,
                           uint64_t count, bool *ret_more);

/* What append() will look at, once the topic itself is in the processor's cache, is asked of memory. */
static inline void memory_topic_fetch(const struct memory_topic *t)
{
    if (t->size > 0) __builtin_prefetch(memory_topic_at(t, t->last + 1), 1);
}

static inline uint64_t memory_topic_kept(const struct memory_topic *t)
{
    return t->last + 1 - t->first;
}

#endif
