#include "edge/half_open.h"

#include "edge/conn.h"
#include "edge/http.h"

static void drop_oldest(struct edge *e)
{
    static const struct http_answer busy = {
        503, "Retry-After: 1\r\n",
        "Too many unfinished requests at this moment (limits.half_open)."};
    struct conn *c = LIST_ITEM(e->half_open.next, struct conn, half_open);
    counter_add(session_worker_counters(e->sessions), COUNTER_LIMIT_HALF_OPEN, 1);
    half_open_leave(c);
    if (guard_has_begun(c))
        http_refuse(c, &busy);
    else
        conn_kill(c);
}

void half_open_enter(struct conn *c)
{
    struct edge *e = c->edge;
    list_init(&c->half_open);
    if (c->admin) return;
    uint64_t before = atomic_fetch_add_explicit(&e->admission->half_open, 1, memory_order_relaxed);
    bool others = !list_empty(&e->half_open);
    list_append(&e->half_open, &c->half_open);
    if (before >= e->config->limits.half_open && others) drop_oldest(e);
}

void half_open_leave(struct conn *c)
{
    if (list_empty(&c->half_open)) return;
    list_del(&c->half_open);
    atomic_fetch_sub_explicit(&c->edge->admission->half_open, 1, memory_order_relaxed);
}
