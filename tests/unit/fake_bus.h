/* A bus for the tests of hub/: a log with three partitions and holes in the numbering, whose
 * answers can be held back, refused or be late. Everything here is called from the test's thread;
 * what touches the instance is brought onto the bus thread and waited for. */
#ifndef FAKE_BUS_H
#define FAKE_BUS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

#define FAKE_PARTITIONS 3

extern const struct wsbus_backend fake_backend;

struct fake_control {
    atomic_bool log;             /* has WSBUS_CAP_LOG and friends */
    atomic_bool hold_subscribe;  /* subscribe() is not answered before fake_release() */
    atomic_bool hold_live;       /* what is published is in the log, but does not reach the feed */
    atomic_bool down;            /* reads and locates find no bus */
    atomic_int refuse_subscribe; /* enum wsbus_status */
    atomic_int subscribes, unsubscribes, reads; /* calls so far */
    atomic_bool hold_unsubscribe;
    atomic_bool late;   /* reads and locates are not answered before fake_answer() */
    atomic_int deepest; /* reads inside of reads */
    atomic_int lates;   /* so many wait */
    atomic_bool
        hide_partition; /* the last partition is not known to the feed before fake_release() */
};
extern struct fake_control fake;

void fake_reset(void);
/* Publishes `count` messages to the partitions in turn, keys "k0".."k6" by number. Returns when
 * they have been handed to the feed. Payload: the number of the message. */
void fake_publish(unsigned count);
/* The log moves on to just before the next message, without a message. */
void fake_progress(void);
void fake_answer(unsigned count); /* the oldest of those that wait */
void fake_release(void);          /* hold_*, late are off; what was held back happens now */
void fake_gap(void);
void fake_end(const char *words);
/* Forgets all messages of the log up to this number. */
void fake_trim(uint64_t number);
/* The same, and the feed, which has not had them all (hold_live), goes on behind them. */
void fake_hole(uint64_t number);

#endif
