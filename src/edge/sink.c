#include "edge/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "base/mem.h"
#include "edge/conn.h"

#define TAKES 65536 /* bytes in all */

struct sink {
    uv_poll_t poll;
    struct conn *conn; /* NULL: closed */
    int fd;
    size_t taken;
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct sink *s = poll->data;
    char rest[4096];
    (void)events;
    if (!s->conn) return;
    ssize_t n = status < 0 ? 0 : recv(s->fd, rest, sizeof(rest), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0) s->taken += (size_t)n;
    if (n > 0 && s->taken <= TAKES) return;
    uv_poll_stop(&s->poll);
    conn_kill(s->conn);
}

static void on_closed(uv_handle_t *h)
{
    struct sink *s = h->data;
    close(s->fd);
    free(s);
}

struct sink *sink_open(struct conn *c)
{
    int fd = fcntl(lws_get_socket_fd(c->wsi), F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return NULL;
    struct sink *s = mem_zero(sizeof(*s));
    s->fd = fd;
    s->conn = c;
    s->poll.data = s;
    if (uv_poll_init(c->edge->loop, &s->poll, fd) < 0) {
        close(fd);
        free(s);
        return NULL;
    }
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
    return s;
}

void sink_close(struct sink *s)
{
    if (!s) return;
    s->conn = NULL;
    uv_close((uv_handle_t *)&s->poll, on_closed);
}
