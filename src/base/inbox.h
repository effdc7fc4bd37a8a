/* The way from one thread to another: a multi-producer, single-consumer queue.
 *
 * FIFO for each producer, and in one order for all: what a producer posted before it saw another
 * producer's effect comes first. A post wakes the consumer only if the inbox was empty. Bounded in
 * bytes: posts of data are refused beyond the cap, while inbox_force() (replies, which are bounded
 * by the requests that were accepted, and withdrawals) always finds room.
 *
 * Items are embedded in the poster's structs; the inbox never allocates. The consumer takes all
 * that waits in one step and settles the bytes when it has dealt with them, so that the cap covers
 * what is being worked on too. */
#ifndef BASE_INBOX_H
#define BASE_INBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inbox_item {
    struct inbox_item *next;
    uint32_t bytes; /* what it counts against the cap */
    uint32_t kind;  /* the poster's */
};

struct inbox {
    _Atomic(struct inbox_item *) head; /* newest first */
    atomic_size_t bytes;
    atomic_bool refused; /* a post was refused since the last time inbox_settle() said so */
    size_t cap;
    void (*wake)(void *arg); /* called on the poster's thread */
    void *arg;
};

void inbox_init(struct inbox *in, size_t cap, void (*wake)(void *arg), void *arg);

/* Any thread. False: over the cap, the item is still the caller's. An empty inbox takes any one
 * item. */
bool inbox_post(struct inbox *in, struct inbox_item *item) __attribute__((warn_unused_result));
void inbox_force(struct inbox *in, struct inbox_item *item);

/* Consumer. All that waits, oldest first, or NULL. */
struct inbox_item *inbox_take(struct inbox *in);
/* Consumer. These bytes have been dealt with. True, once, if posts had been refused and there is
 * room for half the cap again: tell the posters. */
bool inbox_settle(struct inbox *in, size_t bytes);

#endif
