#include "session/budget.h"

void budget_rates_init(struct budget_rates *r, const struct config *config)
{
    r->cost[BUDGET_FRAMES] = bucket_cost(config->limits.frames_per_second);
    r->cost[BUDGET_BYTES] = bucket_cost(config->limits.bytes_per_second);
    r->cost[BUDGET_PUBLISHES] = bucket_cost(config->limits.publishes_per_second);
    r->cost[BUDGET_SUBSCRIBES] = bucket_cost(config->limits.subscribes_per_second);
}

uint64_t budget_wait(const struct budget *b, const struct budget_rates *r, enum budget_kind kind,
                     uint64_t n, uint64_t now_ms)
{
    uint64_t wait = bucket_wait(b->full_at[kind], r->cost[kind] * n, now_ms * BUCKET_MS);
    return wait / BUCKET_MS + 1;
}
