/* Accepting. */
#include "edge/accept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/edge.h"

#define BATCH 64 /* connections of one listener in one turn of the loop */
#define PAUSE_MS 250
#define COMPLAIN_MS 10000

struct accept_door {
    uv_poll_t poll;
    struct acceptor *acceptor;
    const struct listener *listener;
    bool open;
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void resume(struct timer *t)
{
    struct acceptor *a = CONTAINER_OF(t, struct acceptor, pause);
    for (size_t i = 0; i < a->count; i++)
        if (a->doors[i].open) uv_poll_start(&a->doors[i].poll, UV_READABLE, on_ready);
}

/* No descriptors or no memory: the socket stays readable, so looking again at once would spin. */
static void pause_all(struct acceptor *a, int why)
{
    uint64_t now = clock_ticks();
    if (now >= a->quiet_until) {
        a->quiet_until = now + COMPLAIN_MS;
        log_warn(log_event("accept_paused"), log_s("reason", strerror(why)),
                 log_i("connections", atomic_load(&a->wire->edge->admission->open)));
    }
    for (size_t i = 0; i < a->count; i++)
        uv_poll_stop(&a->doors[i].poll);
    timer_set(&a->wire->edge->wheel, &a->pause, now + PAUSE_MS);
}

static void take_in(struct accept_door *d, int fd, const struct sockaddr *from)
{
    const struct edge *e = d->acceptor->wire->edge;
    struct counters *counters = session_worker_counters(e->sessions);
    struct arrival a = {.fd = fd, .listener = d->listener};
    enum admission_verdict verdict = admission_enter(e->admission, d->listener->admin);
    counter_add(counters, COUNTER_ACCEPTED, 1);
    if (verdict != ADMISSION_YES && !d->listener->admin)
        counter_add(counters, COUNTER_LIMIT_CONNECTIONS, 1);
    if (verdict == ADMISSION_NO) {
        counter_add(counters, COUNTER_DROPPED_CONNECTIONS, 1);
        close(fd);
        return;
    }
    if (verdict == ADMISSION_FULL) a.refusal = ARRIVAL_FULL;
    address_of(from, &a.peer);
    a.proxied = trust_has(e->trust, &a.peer);
    if (d->listener->proxy_protocol)
        gate_enter(&d->acceptor->gates, &a);
    else
        arrival_take(d->acceptor->wire, &a);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct accept_door *d = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof(from);
        int fd =
            accept4(d->listener->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            /* Of a unix socket that is bound to no name there may be nothing but the family. */
            if (d->listener->shared) from.ss_family = AF_UNIX;
            take_in(d, fd, (const struct sockaddr *)&from);
            continue;
        }
        switch (errno) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM: pause_all(d->acceptor, errno); return;
        case EAGAIN: return;
        default: break; /* a connection that died in the queue: the next one */
        }
    }
}

int acceptor_open(struct acceptor *a, struct wire *wire, uv_loop_t *loop,
                  const struct listener *list, size_t count)
{
    memset(a, 0, sizeof(*a));
    a->wire = wire;
    gates_init(&a->gates, wire, loop);
    timer_init(&a->pause, resume);
    a->doors = mem_zero((count ? count : 1) * sizeof(*a->doors));
    for (size_t i = 0; i < count; i++) {
        struct accept_door *d = &a->doors[i];
        int rc = uv_poll_init(loop, &d->poll, list[i].fd);
        if (rc < 0) return rc;
        a->count++;
        d->poll.data = d;
        d->acceptor = a;
        d->listener = &list[i];
        d->open = true;
        uv_poll_start(&d->poll, UV_READABLE, on_ready);
    }
    return 0;
}

void acceptor_close(struct acceptor *a)
{
    if (!a->doors) return;
    timer_stop(&a->wire->edge->wheel, &a->pause);
    gates_close(&a->gates);
    for (size_t i = 0; i < a->count; i++) {
        if (!a->doors[i].open) continue;
        a->doors[i].open = false;
        uv_close((uv_handle_t *)&a->doors[i].poll, NULL);
    }
}

void acceptor_free(struct acceptor *a)
{
    free(a->doors);
    a->doors = NULL;
}
