#include "hub/reads.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/feed.h"
#include "protocol/cursor.h"

struct wanted {
    struct list node;
    struct hub_bus *bus;
    struct pending *pending;
    struct wsbus_read read;
    char *name, *key;
    struct wsbus_cursor *from, *until;
};

void reads_init(struct reads *r)
{
    *r = (struct reads){.running = false};
    list_init(&r->waiting);
}

static void wanted_free(struct wanted *w)
{
    cursor_free(w->from);
    cursor_free(w->until);
    free(w->name);
    free(w->key);
    free(w);
}

static void take_out(struct wanted *w)
{
    list_del(&w->node);
    w->bus->reads.count--;
}

void reads_drop(struct pending *p)
{
    if (!p->wanted) return;
    take_out(p->wanted);
    wanted_free(p->wanted);
    p->wanted = NULL;
}

/* Is somebody still there who wants it, and is it needed? */
static bool is_needed(struct pending *p)
{
    if (p->kind == PENDING_HISTORY) return p->history != NULL;
    return !replay_spared(p);
}

static void ask(struct wanted *w)
{
    struct hub_bus *b = w->bus;
    struct pending *p = w->pending;

    take_out(w);
    p->wanted = NULL;
    if (is_needed(p)) {
        p->counted = true;
        b->reads.open++;
        b->reads.total++;
        b->backend->read(bus_instance(b), p->token, &w->read);
    } else {
        pending_free(pending_take(b, p->token));
    }
    wanted_free(w); /* it was lent until here, also if the answer came from inside */
}

void reads_next(struct hub_bus *b)
{
    struct reads *r = &b->reads;

    if (r->running) return;
    r->running = true;
    while (bus_instance(b) && r->open < b->config->replay.readers && !list_empty(&r->waiting))
        ask(LIST_ITEM(r->waiting.next, struct wanted, node));
    r->running = false;
}

void reads_ask(struct hub_bus *b, struct pending *p, struct wsbus_read r)
{
    struct wanted *w = mem_zero(sizeof *w);

    w->bus = b;
    w->pending = p;
    w->name = mem_dup(r.topic.name, r.topic.name_len);
    w->key = r.key ? mem_dup(r.key, r.key_len) : NULL;
    w->from = cursor_copy(r.from);
    w->until = cursor_copy(r.until);
    w->read = r;
    w->read.topic.name = w->name;
    w->read.key = w->key;
    w->read.from = w->from;
    w->read.until = w->until;
    p->wanted = w;
    list_append(&b->reads.waiting, &w->node);
    b->reads.count++;
    reads_next(b);
}

void reads_answered(struct hub_bus *b, struct pending *p)
{
    if (!p->counted) return;
    p->counted = false;
    b->reads.open--;
}
