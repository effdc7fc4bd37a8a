#include "edge/half_open.h"

#include "edge/edge.h"

static void drop_oldest(struct edge *e)
{
    struct half_open *h = LIST_ITEM(e->half_open.next, struct half_open, node);
    counter_add(session_worker_counters(e->sessions), COUNTER_LIMIT_HALF_OPEN, 1);
    half_open_leave(e, h);
    h->give_up(h);
}

void half_open_enter(struct edge *e, struct half_open *h)
{
    uint64_t before = atomic_fetch_add_explicit(&e->admission->half_open, 1, memory_order_relaxed);
    bool others = !list_empty(&e->half_open);
    list_append(&e->half_open, &h->node);
    if (before >= e->config->limits.half_open && others) drop_oldest(e);
}

void half_open_leave(struct edge *e, struct half_open *h)
{
    if (list_empty(&h->node)) return;
    list_del(&h->node);
    atomic_fetch_sub_explicit(&e->admission->half_open, 1, memory_order_relaxed);
}
