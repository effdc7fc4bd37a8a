#include "hub/fanout.h"

#include <stdlib.h>

#include "base/mem.h"

#define GROUP_SMALLEST 4u

void fanout_init(struct fanout *f)
{
    map_init(&f->groups);
    f->members = 0;
}

void fanout_done(struct fanout *f)
{
    map_done(&f->groups);
}

struct fan_group *fanout_group(struct fanout *f, uint64_t channel)
{
    struct map_node *n = map_find(&f->groups, hash_u64(channel));

    for (; n; n = map_again(n)) {
        struct fan_group *g = CONTAINER_OF(n, struct fan_group, node);
        if (g->channel == channel) return g;
    }
    return NULL;
}

static struct fan_group *group_new(struct fanout *f, uint64_t channel)
{
    struct fan_group *g = mem_zero(sizeof *g);

    g->channel = channel;
    list_init(&g->waiting);
    list_init(&g->turn);
    map_insert(&f->groups, &g->node, hash_u64(channel));
    return g;
}

static void group_resize(struct fan_group *g, uint32_t size)
{
    g->list = mem_grow(g->list, size * sizeof(struct fan_member *));
    g->size = size;
}

void fanout_join(struct fanout *f, uint64_t channel, struct fan_member *m)
{
    struct fan_group *g = fanout_group(f, channel);

    if (!g) g = group_new(f, channel);
    if (g->count == g->size) group_resize(g, g->size ? g->size * 2 : GROUP_SMALLEST);
    m->group = g;
    m->index = g->count;
    g->list[g->count++] = m;
    f->members++;
}

void fanout_leave(struct fanout *f, struct fan_member *m)
{
    struct fan_group *g = m->group;

    if (!g) return;
    g->count--;
    g->list[m->index] = g->list[g->count];
    g->list[m->index]->index = m->index;
    m->group = NULL;
    f->members--;
    /* At a quarter, so that one who comes and goes at the border does not move the list. */
    if (g->size > GROUP_SMALLEST && g->count < g->size / 4) group_resize(g, g->size / 2);
    fanout_release(f, g);
}

void fanout_release(struct fanout *f, struct fan_group *g)
{
    if (g->count > 0 || g->waiting_count > 0 || g->busy) return;
    map_remove(&f->groups, &g->node);
    free(g->list);
    free(g);
}
