#include "edge/gate.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timers.h"
#include "edge/edge.h"
#include "edge/proxy_header.h"

#define LOOK_MS 20

struct gate {
    uv_poll_t poll;
    struct timer deadline, pause;
    struct list node;
    struct wire *wire;
    struct arrival arrival;
    size_t n; /* bytes that were taken off the socket */
    unsigned char header[PROXY_HEADER_MAX];
};

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

/* The descriptor is somebody else's from now on. */
static void leave(struct gate *g)
{
    timer_stop(&g->wire->edge->wheel, &g->deadline);
    timer_stop(&g->wire->edge->wheel, &g->pause);
    list_del(&g->node);
    uv_close((uv_handle_t *)&g->poll, on_closed);
}

static void refuse(struct gate *g, const char *why)
{
    char peer[ADDRESS_TEXT_MAX];
    address_write(&g->arrival.peer, peer);
    log_warn(log_event("proxy_refused"), log_s("peer", peer),
             log_s("listener", g->arrival.listener->address), log_s("reason", why));
    leave(g);
    arrival_drop(g->wire->edge, &g->arrival);
}

static void on_deadline(struct timer *t)
{
    struct gate *g = CONTAINER_OF(t, struct gate, deadline);
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
    struct wire *w = g->wire;
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
    timer_set(&g->wire->edge->wheel, &g->pause, clock_ticks() + LOOK_MS);
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
        a->proxied = trust_has(g->wire->edge->trust, &a->peer);
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

void gate_enter(struct wire *w, uv_loop_t *loop, struct list *waiting, const struct arrival *a)
{
    struct gate *g = mem_zero(sizeof(*g));
    g->wire = w;
    g->arrival = *a;
    g->poll.data = g;
    list_init(&g->node);
    timer_init(&g->deadline, on_deadline);
    timer_init(&g->pause, on_pause);
    if (uv_poll_init(loop, &g->poll, a->fd) < 0) {
        arrival_drop(w->edge, &g->arrival);
        free(g);
        return;
    }
    list_append(waiting, &g->node);
    timer_set(&w->edge->wheel, &g->deadline, clock_ticks() + w->edge->config->limits.handshake_ms);
    uv_poll_start(&g->poll, UV_READABLE, on_readable);
}

void gate_close(struct list *waiting)
{
    while (!list_empty(waiting)) {
        struct gate *g = LIST_ITEM(waiting->next, struct gate, node);
        leave(g);
        arrival_drop(g->wire->edge, &g->arrival);
    }
}
