/* How much of something a client may do in a second: token buckets, four for each connection.
 *
 * A bucket is one number, the time at which it will be full again: taking from it moves that time
 * forward by what the thing costs, and what would move it further than the bucket is deep is
 * refused. Nothing runs while nobody takes. Pure; time is handed in. */
#ifndef SESSION_BUDGET_H
#define SESSION_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

#define BUDGET_BURST_S 5u /* so many seconds' worth may come at once */

enum budget_kind { BUDGET_FRAMES, BUDGET_BYTES, BUDGET_PUBLISHES, BUDGET_SUBSCRIBES, BUDGET_COUNT };

/* The same for all connections. */
struct budget_rates {
    uint64_t cost[BUDGET_COUNT]; /* ns of one; 0: no limit */
};

struct budget {
    uint64_t full_at[BUDGET_COUNT]; /* ns on the clock of `now_ms` */
};

void budget_rates_init(struct budget_rates *r, const struct config *config);

/* False: that is too much now, and nothing was taken. A full bucket gives any amount. */
static inline bool budget_take(struct budget *b, const struct budget_rates *r,
                               enum budget_kind kind, uint64_t n, uint64_t now_ms)
{
    uint64_t now = now_ms * 1000000u, full_at = b->full_at[kind], cost = r->cost[kind] * n;
    if (full_at <= now) {
        b->full_at[kind] = now + cost;
        return true;
    }
    if (full_at + cost - now > BUDGET_BURST_S * UINT64_C(1000000000)) return false;
    b->full_at[kind] = full_at + cost;
    return true;
}

/* After a refusal: ms until the same could be taken. At least 1. */
uint64_t budget_wait(const struct budget *b, const struct budget_rates *r, enum budget_kind kind,
                     uint64_t n, uint64_t now_ms);

#endif
