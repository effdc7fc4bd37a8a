/* All topics of a memory bus, and what they may take: so many topics, so many messages and bytes in each,
 * so many bytes in all.
 *
 * A new topic takes the place of the one that has been idle for longest; one with a feed is never idle.
 * Over the limits of a topic its oldest messages go, over that of all the oldest of the fullest topics.
 * One thread. */
#ifndef BUS_MEMORY_TOPICS_H
#define BUS_MEMORY_TOPICS_H

#include "bus/memory_topic.h"

#define MEMORY_WEIGHTS 64

struct memory_limits {
    uint64_t history;     /* messages of a topic */
    size_t history_bytes; /* of a topic */
    size_t topics;
    size_t bytes; /* of all */
};

struct memory_topics {
    struct memory_limits limits;
    size_t bytes;
    uint64_t messages;
    struct map by_name;
    struct list idle;                   /* topics without a feed, idle for longest first */
    struct list weight[MEMORY_WEIGHTS]; /* topics by the power of two of their bytes */
    uint64_t weights;                   /* a bit for each of these lists that has something in it */
};

void memory_topics_init(struct memory_topics *all, const struct memory_limits *limits);
void memory_topics_done(struct memory_topics *all); /* no topic has a feed any more */

/* Finds or makes a topic; NULL if there is no room and none is idle. */
struct memory_topic *memory_topics_use(struct memory_topics *all, struct span name);
/* Somebody used it, or a feed of it came or went: it is the last of the idle now, or not idle. */
void memory_topics_touch(struct memory_topics *all, struct memory_topic *t);
/* Appends, and trims what is too much now: the message itself too, if it is too large. */
void memory_topics_append(struct memory_topics *all, struct memory_topic *t,
                          struct wsbus_message *m);

/* Those who will use these names soon need not wait for memory then: the topics of those names that there
 * are, as found as a hint can be, in `ret`. Their number; at most MEMORY_FETCH of the names are looked
 * at. */
#define MEMORY_FETCH 16u
size_t memory_topics_fetch(const struct memory_topics *all, const struct span *names, size_t count,
                           struct memory_topic **ret);

#endif
