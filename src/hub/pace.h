/* How much of the bus thread replays may have while live messages flow: half of its time.
 *
 * A credit grows with the time that passes and shrinks with the time that the thread has worked;
 * while there is none, replays wait. Without live messages there is no limit. Pure: the caller
 * says what the clocks show. Bus thread. */
#ifndef HUB_PACE_H
#define HUB_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_LIVE_MS 100u /* so long after a live message the next one is awaited */

struct pace {
    uint64_t live_at;    /* ticks of the last live message; 0: there was none */
    uint64_t wall, work; /* microseconds, when the credit was last reckoned; 0: never */
    int64_t credit;      /* microseconds */
};

void pace_live(struct pace *p, uint64_t ticks);
bool pace_is_live(const struct pace *p, uint64_t ticks);
/* Reckons with the clocks, both in microseconds. True: a replay may have its turn. */
bool pace_may(struct pace *p, uint64_t wall, uint64_t work);

#endif
