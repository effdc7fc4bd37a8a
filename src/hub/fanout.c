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
    g->list = &g->only;
    g->size = 1;
    list_init(&g->waiting);
    list_init(&g->turn);
    map_insert(&f->groups, &g->node, hash_u64(channel));
    return g;
}

static void group_resize(struct fan_group *g, uint32_t size)
{
    struct fan_seat *own = g->list == &g->only ? NULL : g->list;

    g->list = mem_grow(own, size * sizeof(struct fan_seat));
    if (!own && g->count > 0) g->list[0] = g->only;
    g->size = size;
}

static void enlist(struct fan_seat seat)
{
    struct fan_group *g = seat.member->group;

    if (g->count == g->size) group_resize(g, g->size > 1 ? g->size * 2 : GROUP_SMALLEST);
    seat.member->index = g->count;
    g->list[g->count++] = seat;
}

static void delist(struct fan_member *m)
{
    struct fan_group *g = m->group;

    g->count--;
    g->list[m->index] = g->list[g->count];
    g->list[m->index].member->index = m->index;
    /* At a quarter, so that one who comes and goes at the border does not move the list. */
    if (g->size > GROUP_SMALLEST && g->count < g->size / 4) group_resize(g, g->size / 2);
}

void fanout_join(struct fanout *f, uint64_t channel, struct fan_seat seat)
{
    struct fan_group *g = fanout_group(f, channel);

    seat.member->group = g ? g : group_new(f, channel);
    enlist(seat);
    f->members++;
}

void fanout_leave(struct fanout *f, struct fan_member *m)
{
    struct fan_group *g = m->group;

    if (!g) return;
    if (m->index == FAN_ASIDE)
        g->aside--;
    else
        delist(m);
    m->group = NULL;
    f->members--;
    fanout_release(f, g);
}

void fanout_aside(struct fan_member *m)
{
    delist(m);
    m->index = FAN_ASIDE;
    m->group->aside++;
}

void fanout_back(struct fan_seat seat)
{
    seat.member->group->aside--;
    enlist(seat);
}

void fanout_release(struct fanout *f, struct fan_group *g)
{
    if (g->count > 0 || g->aside > 0 || g->waiting_count > 0 || g->busy) return;
    map_remove(&f->groups, &g->node);
    if (g->list != &g->only) free(g->list);
    free(g);
}
