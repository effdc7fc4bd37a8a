/* The floor: what fan-out costs if a server does nothing else. One thread, epoll, no protocol but the
 * WebSocket frames, no limits, no accounting, nothing kept.
 *
 *     floor PORT
 *
 * Doors of 127.0.0.1:PORT, all by upgrade:
 *     /sub/FIRST/COUNT/TOTAL   receives the channels FIRST, FIRST+1, … (COUNT of them, modulo TOTAL)
 *     /feed                    each text message "N PAYLOAD" goes to all who receive channel N
 *
 * A message is put into a frame once. What one turn of the loop has for a socket leaves in one sendmsg();
 * a socket that does not take it loses it and is closed. Ends when its standard input ends. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "wire.h"

enum { CHANNELS = 1 << 20, INPUT = 1 << 18, ARENA = 1 << 22, GATHER = 512, BATCH = 512 };

struct conn {
    int fd;
    bool open, dirty;
    size_t len; /* of what has come and is not a whole frame */
    char *in;   /* INPUT bytes */
    char *rest; /* what the kernel has not taken */
    size_t rest_len;
    unsigned pieces;
    struct iovec *out; /* into the arena */
};

struct members {
    struct conn **list;
    size_t count, cap;
};

static struct members channels[CHANNELS];
static char arena[ARENA];
static size_t arena_used;
static struct conn **dirty;
static size_t dirty_count, dirty_cap;
static int poll_fd;

static void *grow(void *list, size_t count, size_t *cap, size_t size)
{
    if (count < *cap) return list;
    *cap = *cap ? *cap * 2 : 8;
    list = realloc(list, *cap * size);
    if (!list) wire_die("memory");
    return list;
}

static void end(struct conn *c)
{
    if (c->fd < 0) return;
    close(c->fd);
    c->fd = -1; /* its memory stays: channels point to it */
}

static void watch(struct conn *c, int how, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(poll_fd, how, c->fd, &e) != 0) wire_die("epoll");
}

/* ---- out */

static void keep(struct conn *c, const struct iovec *v, unsigned n, size_t skip)
{
    size_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += v[i].iov_len;
    c->rest = malloc(total - skip);
    if (!c->rest) wire_die("memory");
    for (unsigned i = 0; i < n; i++) {
        size_t from = skip < v[i].iov_len ? skip : v[i].iov_len;
        skip -= from;
        memcpy(c->rest + c->rest_len, (char *)v[i].iov_base + from, v[i].iov_len - from);
        c->rest_len += v[i].iov_len - from;
    }
    watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void flush_one(struct conn *c)
{
    unsigned n = c->pieces;
    c->dirty = false;
    c->pieces = 0;
    if (c->fd < 0 || n == 0) return;
    if (c->rest) { /* it is too slow: the floor has no queues */
        end(c);
        return;
    }
    struct msghdr m = {.msg_iov = c->out, .msg_iovlen = n};
    ssize_t sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    size_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += c->out[i].iov_len;
    if (sent < 0 && errno != EAGAIN)
        end(c);
    else if (sent < (ssize_t)total)
        keep(c, c->out, n, sent < 0 ? 0 : (size_t)sent);
}

static void flush(void)
{
    for (size_t i = 0; i < dirty_count; i++)
        flush_one(dirty[i]);
    dirty_count = arena_used = 0;
}

static void go_on(struct conn *c)
{
    ssize_t sent = send(c->fd, c->rest, c->rest_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return;
    c->rest_len -= (size_t)sent;
    memmove(c->rest, c->rest + sent, c->rest_len);
    if (c->rest_len > 0) return;
    free(c->rest);
    c->rest = NULL;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void fan_out(const char *payload, size_t len, unsigned channel)
{
    if (arena_used + len + 16 > sizeof(arena)) flush();
    char *frame = arena + arena_used;
    size_t head = wire_head(frame, 1, len);
    memcpy(frame + head, payload, len);
    arena_used += head + len;
    const struct members *m = &channels[channel % CHANNELS];
    for (size_t i = 0; i < m->count; i++) {
        struct conn *c = m->list[i];
        if (!c->dirty) {
            c->dirty = true;
            dirty = grow(dirty, dirty_count, &dirty_cap, sizeof(struct conn *));
            dirty[dirty_count++] = c;
        }
        /* What follows on the last piece makes it longer. */
        struct iovec *last = c->pieces ? &c->out[c->pieces - 1] : NULL;
        if (last && (char *)last->iov_base + last->iov_len == frame) {
            last->iov_len += head + len;
            continue;
        }
        if (c->pieces == GATHER) flush_one(c);
        c->out[c->pieces++] = (struct iovec){frame, head + len};
    }
}

/* ---- in */

static void subscribe(struct conn *c, const char *path)
{
    unsigned first = 0, count = 0, total = 0;
    if (sscanf(path, "/sub/%u/%u/%u", &first, &count, &total) != 3 || total == 0) return;
    c->out = calloc(count < 4 ? 4 : GATHER, sizeof(*c->out));
    if (!c->out) wire_die("memory");
    for (unsigned i = 0; i < count; i++) {
        struct members *m = &channels[(first + i) % total % CHANNELS];
        m->list = grow(m->list, m->count, &m->cap, sizeof(struct conn *));
        m->list[m->count++] = c;
    }
}

static size_t upgrade(struct conn *c)
{
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: BACScCJPNqyz+UBoqMH89VmURoA=\r\n\r\n";
    const char *last = memmem(c->in, c->len, "\r\n\r\n", 4);
    if (!last) return 0;
    if (strncmp(c->in, "GET ", 4) == 0) subscribe(c, c->in + 4);
    if (send(c->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0) wire_die("send");
    c->open = true;
    return (size_t)(last - c->in) + 4;
}

static void take_message(char *p, size_t n)
{
    char *space = memchr(p, ' ', n);
    if (!space) return;
    fan_out(space + 1, n - (size_t)(space + 1 - p), (unsigned)strtoul(p, NULL, 10));
}

static void receive(struct conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->len, INPUT - c->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        end(c);
        return;
    }
    c->len += (size_t)n;
    size_t at = c->open ? 0 : upgrade(c);
    struct wire_frame f;
    while (c->open && wire_frame(c->in + at, c->len - at, &f)) {
        const char *mask = f.payload - 4;
        for (size_t i = 0; f.masked && i < f.len; i++)
            f.payload[i] = (char)(f.payload[i] ^ mask[i & 3]);
        if (f.opcode == 1) take_message(f.payload, f.len);
        at += f.size;
    }
    c->len -= at;
    memmove(c->in, c->in + at, c->len);
}

static void welcome(int listener)
{
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct conn *c = calloc(1, sizeof(*c));
        char *in = malloc(INPUT);
        if (!c || !in) wire_die("memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        c->fd = fd;
        c->in = in;
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;
    if (fd < 0) wire_die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 4096) != 0)
        wire_die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: floor PORT\n");
        return 2;
    }
    struct conn listener = {.fd = listen_on((uint16_t)strtoul(argv[1], NULL, 10))};
    struct conn input = {.fd = STDIN_FILENO};
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0) wire_die("epoll");
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
    watch(&input, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        struct epoll_event events[BATCH];
        int n = epoll_wait(poll_fd, events, BATCH, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c == &input) return 0;
            if (c == &listener) {
                welcome(listener.fd);
            } else if (c->fd >= 0) {
                if ((events[i].events & EPOLLOUT) && c->rest) go_on(c);
                if (events[i].events & ~(uint32_t)EPOLLOUT) receive(c);
            }
        }
        flush();
    }
}
