#include "hub/reads.h"

#include "base/clock.h"
#include "hub/feed.h"

void reads_init(struct reads *r)
{
    *r = (struct reads){.running = false};
    list_init(&r->waiting);
}

bool reads_waits(const struct pending *p)
{
    return !list_empty(&p->line);
}

void reads_drop(struct hub_bus *b, struct pending *p)
{
    if (!reads_waits(p)) return;
    list_del(&p->line);
    b->reads.count--;
}

/* Whoever wanted it may be gone, or have it already: then nothing is asked. */
static void ask(struct hub_bus *b, struct pending *p)
{
    uint64_t token = p->token;

    reads_drop(b, p);
    p->counted = true;
    b->reads.open++;
    b->reads.total++;
    if (p->kind == PENDING_HISTORY ? history_read(p) : replay_read(p)) return;
    b->reads.total--;
    reads_answered(b, p);
    pending_free(b, pending_take(b, token));
}

void reads_next(struct hub_bus *b)
{
    struct reads *r = &b->reads;

    if (r->running) return;
    r->running = true;
    while (bus_instance(b) && r->open < b->config->replay.readers && !list_empty(&r->waiting)) {
        if (pace_waits(&b->pace, clock_us())) {
            bus_pause(b);
            break;
        }
        ask(b, LIST_ITEM(r->waiting.next, struct pending, line));
    }
    r->running = false;
}

void reads_ask(struct hub_bus *b, struct pending *p)
{
    list_append(&b->reads.waiting, &p->line);
    b->reads.count++;
    reads_next(b);
}

void reads_answered(struct hub_bus *b, struct pending *p)
{
    if (!p->counted) return;
    p->counted = false;
    b->reads.open--;
}
