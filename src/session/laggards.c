#include "session/laggards.h"

#include <stdatomic.h>

static _Atomic uint8_t worst_of[LAGGARD_WORKERS];

void laggards_init(struct laggards *l, unsigned worker)
{
    for (unsigned i = 0; i < LAGGARD_LISTS; i++)
        list_init(&l->lists[i]);
    l->some = 0;
    l->worker = worker;
    l->told = 0;
}

void laggard_init(struct laggard *n)
{
    list_init(&n->node);
    n->weight = 0;
}

static uint8_t weight_of(size_t bytes)
{
    uint64_t times = bytes / LAGGARD_LEAST;
    unsigned bits = times ? 64 - (unsigned)__builtin_clzll(times) : 0;

    return (uint8_t)(bits < LAGGARD_LISTS ? bits : LAGGARD_LISTS);
}

void laggard_weigh(struct laggards *l, struct laggard *n, size_t bytes)
{
    uint8_t weight = weight_of(bytes);

    if (weight == n->weight) return;
    list_del(&n->node);
    n->weight = weight;
    if (weight == 0) return;
    list_append(&l->lists[weight - 1], &n->node);
    l->some |= 1U << (weight - 1);
}

size_t laggard_most(const struct laggard *n)
{
    return n->weight < LAGGARD_LISTS ? ((size_t)LAGGARD_LEAST << n->weight) - 1 : SIZE_MAX;
}

void laggard_drop(struct laggard *n)
{
    list_del(&n->node);
    n->weight = 0;
}

struct laggard *laggards_worst(struct laggards *l)
{
    while (l->some) {
        unsigned i = 31 - (unsigned)__builtin_clz(l->some);
        if (!list_empty(&l->lists[i])) return LIST_ITEM(l->lists[i].next, struct laggard, node);
        l->some &= ~(1U << i);
    }
    return NULL;
}

static uint8_t worst_weight(struct laggards *l)
{
    const struct laggard *worst = laggards_worst(l);

    return worst ? worst->weight : 0;
}

void laggards_tell(struct laggards *l)
{
    uint8_t weight = worst_weight(l);

    if (weight == l->told) return;
    l->told = weight;
    atomic_store_explicit(&worst_of[l->worker], weight, memory_order_relaxed);
}

bool laggards_yield(struct laggards *l)
{
    uint8_t weight = worst_weight(l);

    for (unsigned i = 0; i < LAGGARD_WORKERS; i++)
        if (atomic_load_explicit(&worst_of[i], memory_order_relaxed) > weight && i != l->worker)
            return true;
    return false;
}
