/* Accepting. */
#include "edge/accept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ceiling.h"
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

static void take_in(struct accept_door *d, int fd)
{
    struct acceptor *a = d->acceptor;
    switch (admission_enter(a->wire->edge->admission)) {
    case ADMISSION_YES: wire_adopt(a->wire, fd, d->listener->loopback, ceiling_crowded()); break;
    case ADMISSION_FULL: wire_adopt(a->wire, fd, d->listener->loopback, true); break;
    case ADMISSION_NO: close(fd); break;
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct accept_door *d = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < BATCH; i++) {
        int fd = accept4(d->listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_in(d, fd);
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
