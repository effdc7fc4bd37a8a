/* How much of a thread's time replays may have while live messages flow: a part of it, in short turns.
 *
 * A credit grows with the time that passes, by one part in `share`, and shrinks by what the turns
 * of replays take; while there is none, replays wait for it. What was not used is kept for a
 * while, so that few who replay hardly notice. The time of a turn is that on the clock, not the
 * processor's: it is what a live message may have to wait for, and where other programs want the
 * processors too, replays stand back by themselves. Without live messages there is no limit.
 * Beside them turns are shorter: what one turn wrote keeps whoever reads it busy at once, and on the same
 * machine that is in the way of live messages too.
 *
 * One for each bus thread (making chunks) and for each worker (writing them). Pure: the caller says
 * what the clock shows, in microseconds. */
#ifndef HUB_PACE_H
#define HUB_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_LIVE_US 100000u /* so long after a live message the next one is awaited */
#define PACE_SHARE_BUS \
    8u /* of a bus thread: where few share what is read, that is most of the work */
#define PACE_SHARE_WORKER \
    48u                   /* of a worker: it writes some gigabytes in a second, which others have to
                                  read, on the same machine in the worst case */
#define PACE_TURN_US 250u /* of replays in one turn of the thread's loop */
#define PACE_TURN_LIVE_US 100u /* the same beside live messages */
#define PACE_WAIT_MS 1u        /* after which those who wait for credit look again */

struct pace {
    unsigned share;   /* one part in so many */
    uint64_t live_at; /* the last live message; 0: there was none */
    uint64_t at;      /* the credit was last reckoned; 0: never */
    int64_t credit;   /* microseconds */
    int64_t left;     /* of this turn */
};

void pace_init(struct pace *p, unsigned share);
void pace_live(struct pace *p, uint64_t now);
bool pace_is_live(const struct pace *p, uint64_t now);
/* Replays wait until there is credit again. */
bool pace_waits(struct pace *p, uint64_t now);
void pace_turn(struct pace *p, uint64_t now); /* a turn begins */
bool pace_may(const struct pace *p);          /* one replay more in this turn */
void pace_spent(struct pace *p, uint64_t us); /* that one has taken */

#endif
