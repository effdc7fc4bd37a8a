#include "edge/gate.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timers.h"
#include "edge/edge.h"
#include "edge/half_open.h"
#include "edge/proxy_header.h"

#define LOOK_MS 20
#define TELL_MS 10000 /* from one refusal that is told to the next */

struct gate {
    uv_poll_t poll;
    struct timer deadline, pause;
    struct list node;
    struct half_open half_open;
    struct gates *gates;
    struct arrival arrival;
    size_t n; /* bytes that were taken off the socket */
    unsigned char header[PROXY_HEADER_MAX];
};

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

static struct edge *edge_of(const struct gate *g)
{
    return g->gates->wire->edge;
}

/* The descriptor is somebody else's from now on. */
static void leave(struct gate *g)
{
    timer_stop(&edge_of(g)->wheel, &g->deadline);
    timer_stop(&edge_of(g)->wheel, &g->pause);
    list_del(&g->node);
    half_open_leave(edge_of(g), &g->half_open);
    uv_close((uv_handle_t *)&g->poll, on_closed);
}

static void tell(struct gate *g, const char *why)
{
    struct gates *all = g->gates;
    uint64_t now = clock_ticks();
    char peer[ADDRESS_TEXT_MAX];
    address_write(&g->arrival.peer, peer);
    if (now < all->quiet_until) {
        all->untold++;
        log_debug(log_event("proxy_refused"), log_s("peer", peer), log_s("reason", why));
        return;
    }
    log_warn(log_event("proxy_refused"), log_s("peer", peer),
             log_s("listener", g->arrival.listener->address), log_s("reason", why),
             log_i("untold", all->untold));
    all->quiet_until = now + TELL_MS;
    all->untold = 0;
}

static void refuse(struct gate *g, const char *why)
{
    tell(g, why);
    leave(g);
    arrival_drop(edge_of(g), &g->arrival);
}

static void on_deadline(struct timer *t)
{
    struct gate *g = CONTAINER_OF(t, struct gate, deadline);
    counter_add(session_worker_counters(edge_of(g)->sessions), COUNTER_LIMIT_HANDSHAKE_MS, 1);
    refuse(g, g->arrival.proxied
                  ? "this trusted proxy sent no complete PROXY header in time (limits.handshake_ms)"
                  : "it sent nothing in time (limits.handshake_ms)");
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_pause(struct timer *t)
{
    struct gate *g = CONTAINER_OF(t, struct gate, pause);
    uv_poll_start(&g->poll, UV_READABLE, on_readable);
}

static void pass_on(struct gate *g)
{
    struct wire *w = g->gates->wire;
    struct arrival a = g->arrival;
    leave(g);
    arrival_take(w, &a);
}

/* Of somebody whose word does not count. The bytes stay where they are, so while there are too few
 * to tell, the socket is readable: it is looked at again a little later. */
static void stranger(struct gate *g, enum proxy_verdict verdict)
{
    switch (verdict) {
    case PROXY_NONE: pass_on(g); return;
    case PROXY_DONE:
    case PROXY_BAD: refuse(g, "it sent a PROXY header and is not one of trusted_proxies"); return;
    case PROXY_MORE: break;
    }
    uv_poll_stop(&g->poll);
    timer_set(&edge_of(g)->wheel, &g->pause, clock_ticks() + LOOK_MS);
}

static void pass(struct gate *g, const struct proxy_header *h)
{
    struct arrival *a = &g->arrival;
    /* What is left of the header; it was there a moment ago. */
    if (recv(a->fd, g->header + g->n, h->length - g->n, MSG_DONTWAIT) !=
        (ssize_t)(h->length - g->n)) {
        refuse(g, "its connection ended");
        return;
    }
    if (h->client.kind != ADDRESS_NONE) {
        a->peer = h->client;
        a->proxied = trust_has(edge_of(g)->trust, &a->peer);
    }
    pass_on(g);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct gate *g = poll->data;
    struct proxy_header h;
    (void)events;
    ssize_t n = status < 0 ? 0
                           : recv(g->arrival.fd, g->header + g->n, sizeof(g->header) - g->n,
                                  MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        refuse(g, "its connection ended before a PROXY header was complete");
        return;
    }
    enum proxy_verdict verdict = proxy_header_parse(g->header, g->n + (size_t)n, &h);
    if (!g->arrival.proxied) {
        stranger(g, verdict);
        return;
    }
    switch (verdict) {
    case PROXY_DONE: pass(g, &h); return;
    case PROXY_NONE:
        refuse(g, "this trusted proxy sent no PROXY header (proxy_protocol is on for this "
                  "listener)");
        return;
    case PROXY_BAD: refuse(g, "its PROXY header is broken or too long"); return;
    case PROXY_MORE: break;
    }
    /* All of it is the header's: take it, or the socket stays readable. */
    n = recv(g->arrival.fd, g->header + g->n, (size_t)n, MSG_DONTWAIT);
    if (n > 0) g->n += (size_t)n;
}

static void give_up(struct half_open *h)
{
    refuse(CONTAINER_OF(h, struct gate, half_open),
           "it is the oldest of too many that have sent nothing yet (limits.half_open)");
}

/* ---- life ----------------------------------------------------------------------------------- */

void gates_init(struct gates *g, struct wire *wire, uv_loop_t *loop)
{
    *g = (struct gates){.wire = wire, .loop = loop};
    list_init(&g->waiting);
}

void gate_enter(struct gates *gates, const struct arrival *a)
{
    struct edge *e = gates->wire->edge;
    struct gate *g = mem_zero(sizeof(*g));
    g->gates = gates;
    g->arrival = *a;
    g->poll.data = g;
    list_init(&g->node);
    list_init(&g->half_open.node);
    g->half_open.give_up = give_up;
    timer_init(&g->deadline, on_deadline);
    timer_init(&g->pause, on_pause);
    if (uv_poll_init(gates->loop, &g->poll, a->fd) < 0) {
        arrival_drop(e, &g->arrival);
        free(g);
        return;
    }
    list_append(&gates->waiting, &g->node);
    timer_set(&e->wheel, &g->deadline, clock_ticks() + e->config->limits.handshake_ms);
    uv_poll_start(&g->poll, UV_READABLE, on_readable);
    if (!a->listener->admin) half_open_enter(e, &g->half_open);
}

void gates_close(struct gates *all)
{
    while (!list_empty(&all->waiting)) {
        struct gate *g = LIST_ITEM(all->waiting.next, struct gate, node);
        leave(g);
        arrival_drop(edge_of(g), &g->arrival);
    }
}
