/* How much of something a client may do in a second: four buckets (base/bucket.h) for each
 * connection. Pure. */
#ifndef SESSION_BUDGET_H
#define SESSION_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bucket.h"
#include "config/config.h"

enum budget_kind { BUDGET_FRAMES, BUDGET_BYTES, BUDGET_PUBLISHES, BUDGET_SUBSCRIBES, BUDGET_COUNT };

/* The same for all connections. */
struct budget_rates {
    uint64_t cost[BUDGET_COUNT]; /* ns of one; 0: no limit */
};

struct budget {
    uint64_t full_at[BUDGET_COUNT];
};

void budget_rates_init(struct budget_rates *r, const struct config *config);

/* False: that is too much now, and nothing was taken. */
static inline bool budget_take(struct budget *b, const struct budget_rates *r,
                               enum budget_kind kind, uint64_t n, uint64_t now_ms)
{
    return bucket_take(&b->full_at[kind], r->cost[kind] * n, now_ms * BUCKET_MS);
}

/* After a refusal: ms until the same could be taken. At least 1. */
uint64_t budget_wait(const struct budget *b, const struct budget_rates *r, enum budget_kind kind,
                     uint64_t n, uint64_t now_ms);

#endif
