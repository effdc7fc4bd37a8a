#include "edge/arrival.h"

#include <unistd.h>

#include "base/ceiling.h"
#include "base/clock.h"
#include "edge/edge.h"
#include "edge/wire.h"

static void count(const struct edge *e, enum counter which)
{
    counter_add(session_worker_counters(e->sessions), which, 1);
}

enum arrival_refusal arrival_of_address(const struct edge *e, const struct address *from,
                                        struct addresses_entry **ret)
{
    *ret = NULL;
    if (from->kind != ADDRESS_IP || address_loopback(from)) return ARRIVAL_WELCOME;
    switch (addresses_enter(e->addresses, from, clock_ticks(), ret)) {
    case ADDRESSES_OK: return ARRIVAL_WELCOME;
    case ADDRESSES_CONNECTIONS:
        count(e, COUNTER_LIMIT_ADDRESS_CONNECTIONS);
        return ARRIVAL_ADDRESS_CONNECTIONS;
    case ADDRESSES_RATE: count(e, COUNTER_LIMIT_ADDRESS_HANDSHAKES); return ARRIVAL_ADDRESS_RATE;
    }
    return ARRIVAL_WELCOME;
}

void arrival_drop(const struct edge *e, struct arrival *a)
{
    count(e, COUNTER_DROPPED_CONNECTIONS);
    close(a->fd);
    addresses_leave(a->entry);
    admission_leave(e->admission, a->listener->admin);
}

void arrival_take(struct wire *w, struct arrival *a)
{
    const struct edge *e = w->edge;
    if (a->listener->admin) {
        wire_adopt(w, a);
        return;
    }
    if (a->refusal == ARRIVAL_WELCOME && ceiling_crowded()) {
        count(e, COUNTER_LIMIT_MEMORY);
        a->refusal = ARRIVAL_MEMORY;
    }
    /* The address first: what is refused to one takes nothing away from the others. */
    if (a->refusal == ARRIVAL_WELCOME && !a->proxied)
        a->refusal = arrival_of_address(e, &a->peer, &a->entry);
    if (a->refusal == ARRIVAL_WELCOME && !admission_pace(e->admission, clock_ticks())) {
        count(e, COUNTER_LIMIT_HANDSHAKES);
        a->refusal = ARRIVAL_RATE;
    }
    /* Over TLS to be told no would cost more than what is refused. */
    if (a->refusal > ARRIVAL_FULL && (a->listener->tls || !admission_refuse(e->admission)))
        arrival_drop(e, a);
    else
        wire_adopt(w, a);
}
