/* A hierarchical timer wheel: set, move and stop in constant time for any number of timers.
 *
 * For pings, idle and handshake deadlines of every connection of a worker, where libwebsockets'
 * sorted lists cost time linear in the number of sockets for each insertion (measured: 132 us at
 * 20 000). One thread; time is handed in, never read. Resolution is one millisecond, never early;
 * a timer that is far away is sorted finer at most three times on its way. All of a slot are sorted
 * in one go: so slots are narrow (what is due within a minute lies in slots of a quarter of a
 * second), and the pings of very many do not come into one. */
#ifndef BASE_TIMERS_H
#define BASE_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct timer {
    struct list node;
    uint64_t due; /* ms on the wheel's clock */
    void (*fn)(struct timer *t);
};

#define TIMERS_LEVELS 4
#define TIMERS_SLOTS 256
#define TIMERS_WORDS (TIMERS_SLOTS / 64)

/* A slot of level n is 256^n ms wide and begins at a multiple of that. A timer is in the slot of the
 * lowest level on which fewer than 256 slots lie between `now` and `due`. */
struct timers {
    uint64_t now;
    uint64_t count;
    struct list late; /* due when they were set: fire at the next run */
    struct list slot[TIMERS_LEVELS][TIMERS_SLOTS];
    uint64_t occupied[TIMERS_LEVELS][TIMERS_WORDS]; /* a bit for each slot with something in it */
};

void timers_init(struct timers *w, uint64_t now);
void timer_init(struct timer *t, void (*fn)(struct timer *t));
/* Sets or moves. A due time in the past fires at the next timers_run(). */
void timer_set(struct timers *w, struct timer *t, uint64_t due);
void timer_stop(struct timers *w, struct timer *t); /* not set: nothing happens */
bool timer_is_set(const struct timer *t);
/* Milliseconds from w->now until timers_run() has something to do (it may be only to sort timers
 * finer), UINT64_MAX if nothing is set. */
uint64_t timers_wait(const struct timers *w);
/* Fires all that are due at `now`, in the order of their times. A callback may set and stop any
 * timer, its own too, and free its own; what it sets fires at the next run at the earliest. */
void timers_run(struct timers *w, uint64_t now);

#endif
