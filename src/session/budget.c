#include "session/budget.h"

#define NS_S 1000000000u
#define NS_MS 1000000u

static uint64_t cost_of(uint64_t per_second)
{
    if (per_second == 0) return 0;
    return per_second < NS_S ? NS_S / per_second : 1;
}

void budget_rates_init(struct budget_rates *r, const struct config *config)
{
    r->cost[BUDGET_FRAMES] = cost_of(config->limits.frames_per_second);
    r->cost[BUDGET_BYTES] = cost_of(config->limits.bytes_per_second);
    r->cost[BUDGET_PUBLISHES] = cost_of(config->limits.publishes_per_second);
    r->cost[BUDGET_SUBSCRIBES] = cost_of(config->limits.subscribes_per_second);
}

uint64_t budget_wait(const struct budget *b, const struct budget_rates *r, enum budget_kind kind,
                     uint64_t n, uint64_t now_ms)
{
    uint64_t now = now_ms * NS_MS, depth = (uint64_t)BUDGET_BURST_S * NS_S;
    uint64_t level = b->full_at[kind] > now ? b->full_at[kind] - now : 0;
    uint64_t cost = r->cost[kind] * n;
    uint64_t wait = level + cost > depth ? level + cost - depth : 0;
    if (wait > level) wait = level; /* a full bucket gives any amount */
    return wait / NS_MS + 1;
}
