#include "bus/redis_wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES 3

void redis_wire_init(struct redis_wire *w)
{
    *w = (struct redis_wire){.fd = -1};
}

void redis_wire_close(struct redis_wire *w)
{
    tls_stream_free(w->tls);
    w->tls = NULL;
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
}

static enum wire_step fail(struct redis_wire *w, const char *words)
{
    snprintf(w->words, sizeof(w->words), "%s", words);
    return WIRE_FAILED;
}

/* Without these it works too, only worse: errors are of no interest. */
static void tune(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

enum wire_step redis_wire_open(struct redis_wire *w, const struct sockaddr *address, socklen_t size)
{
    w->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (w->fd < 0) return fail(w, strerror(errno));
    if (address->sa_family != AF_UNIX) tune(w->fd);
    int rc;
    do
        rc = connect(w->fd, address, size);
    while (rc < 0 && errno == EINTR);
    if (rc < 0 && errno != EINPROGRESS) return fail(w, strerror(errno));
    return WIRE_WANTS_WRITE;
}

enum wire_step redis_wire_connect(struct redis_wire *w)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
    if (error) return fail(w, strerror(error));
    struct sockaddr_storage peer;
    size = sizeof(peer);
    if (getpeername(w->fd, (struct sockaddr *)&peer, &size) == 0) return WIRE_OK;
    return errno == ENOTCONN ? WIRE_WANTS_WRITE : fail(w, strerror(errno));
}

static enum wire_step of_tls(struct redis_wire *w, enum tls_step step)
{
    switch (step) {
    case TLS_OK: return WIRE_OK;
    case TLS_WANTS_READ: return WIRE_WANTS_READ;
    case TLS_WANTS_WRITE: return WIRE_WANTS_WRITE;
    case TLS_FAILED: break;
    }
    return fail(w, tls_words(w->tls));
}

enum wire_step redis_wire_secure(struct redis_wire *w, const struct redis_tls *tls)
{
    if (!w->tls) w->tls = tls_stream_new(tls, w->fd);
    return of_tls(w, tls_handshake(w->tls));
}

enum wire_step redis_wire_read(struct redis_wire *w, char *p, size_t *n)
{
    if (w->tls) return of_tls(w, tls_read(w->tls, p, n));
    ssize_t got;
    do
        got = recv(w->fd, p, *n, 0);
    while (got < 0 && errno == EINTR);
    if (got == 0) return fail(w, "the server closed the connection");
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? WIRE_WANTS_READ : fail(w, strerror(errno));
    *n = (size_t)got;
    return WIRE_OK;
}

enum wire_step redis_wire_write(struct redis_wire *w, const char *p, size_t *n)
{
    if (w->tls) return of_tls(w, tls_write(w->tls, p, n));
    ssize_t put;
    do
        put = send(w->fd, p, *n, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? WIRE_WANTS_WRITE
                                                       : fail(w, strerror(errno));
    *n = (size_t)put;
    return WIRE_OK;
}
