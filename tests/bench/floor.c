/* The floor: what fan-out costs if a server does nothing else. One thread, epoll, no protocol but the
 * WebSocket frames, no limits, no accounting, nothing kept.
 *
 *     floor port=N [redis=PORT | kafka=BROKERS topic=NAME] [cert=FILE key=FILE]
 *
 * Doors of 127.0.0.1:
 *     /sub/FIRST/COUNT/TOTAL   receives the channels FIRST, FIRST+1, … (COUNT of them, modulo TOTAL)
 *     /ws                      each text message that holds "channel":"b.N" and "data":PAYLOAD} is one
 *                              for channel N; one that begins with "id":M after its type is answered
 *     POST /pub?id=N           the same over HTTP
 * With redis or kafka messages come from there.
 *
 * A message is put into a frame once. What one turn of the loop has for a socket leaves in one sendmsg().
 * Ends when its standard input ends. */
#include "floor.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "link.h"
#include "wire.h"

enum { CHANNELS = 1 << 17, INPUT = 1 << 18, ARENA = 1 << 22, GATHER = 512, BATCH = 512 };
enum state { NEW, SOCKET, HTTP };

struct conn {
    struct link link;
    enum state state;
    bool dirty, waits; /* for the kernel to take `rest` */
    char *kept;        /* what has come and is no whole message */
    size_t kept_len;
    char *rest; /* what the kernel has not taken, or TLS or an answer shall take */
    size_t rest_len, rest_cap;
    unsigned pieces;
    size_t out_cap;
    struct iovec *out; /* into the arena */
};

struct members {
    struct conn **list;
    size_t count, cap;
};

static struct members channels[CHANNELS];
static const struct floor_bus *bus;
static char arena[ARENA];
static size_t arena_used;
static struct conn **dirty;
static size_t dirty_count, dirty_cap;
static int poll_fd;

static void *grow(void *list, size_t count, size_t *cap, size_t size)
{
    if (count <= *cap && *cap > 0) return list;
    *cap = count < 8 ? 8 : count * 2;
    list = realloc(list, *cap * size);
    if (!list) wire_die("memory");
    return list;
}

static void watch(struct conn *c, int how, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(poll_fd, how, c->link.fd, &e) != 0) wire_die("epoll");
}

/* ---- out */

static void keep(struct conn *c, const char *p, size_t n)
{
    c->rest = grow(c->rest, c->rest_len + n, &c->rest_cap, 1);
    memcpy(c->rest + c->rest_len, p, n);
    c->rest_len += n;
}

static void keep_pieces(struct conn *c, unsigned n, size_t skip)
{
    for (unsigned i = 0; i < n; i++) {
        size_t from = skip < c->out[i].iov_len ? skip : c->out[i].iov_len;
        skip -= from;
        keep(c, (char *)c->out[i].iov_base + from, c->out[i].iov_len - from);
    }
}

static void wait(struct conn *c)
{
    if (c->waits == (c->rest_len > 0)) return;
    c->waits = !c->waits;
    watch(c, EPOLL_CTL_MOD, EPOLLIN | (c->waits ? EPOLLOUT : 0U));
}

static void go_on(struct conn *c)
{
    size_t done = 0;
    ssize_t sent = 0;
    while (done < c->rest_len &&
           (sent = link_write(&c->link, c->rest + done, c->rest_len - done)) > 0)
        done += (size_t)sent;
    if (sent < 0) {
        link_end(&c->link);
        return;
    }
    c->rest_len -= done;
    memmove(c->rest, c->rest + done, c->rest_len);
    wait(c);
}

static void flush_one(struct conn *c)
{
    unsigned n = c->pieces;
    c->dirty = false;
    c->pieces = 0;
    if (c->link.fd < 0) return;
    if (c->rest_len > 0 || c->link.ssl) {
        keep_pieces(c, n, 0);
        if (!c->waits) go_on(c);
        return;
    }
    if (n == 0) return;
    struct msghdr m = {.msg_iov = c->out, .msg_iovlen = n};
    ssize_t sent = sendmsg(c->link.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    size_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += c->out[i].iov_len;
    if (sent < 0 && errno != EAGAIN) {
        link_end(&c->link);
    } else if (sent < (ssize_t)total) {
        keep_pieces(c, n, sent < 0 ? 0 : (size_t)sent);
        wait(c);
    }
}

static void flush(void)
{
    for (size_t i = 0; i < dirty_count; i++)
        flush_one(dirty[i]);
    dirty_count = arena_used = 0;
}

static void mark_dirty(struct conn *c)
{
    if (c->dirty) return;
    c->dirty = true;
    dirty = grow(dirty, dirty_count + 1, &dirty_cap, sizeof(struct conn *));
    dirty[dirty_count++] = c;
}

void floor_deliver(const char *payload, size_t len, unsigned channel)
{
    if (arena_used + len + 16 > sizeof(arena)) flush();
    char *frame = arena + arena_used;
    size_t head = wire_head(frame, 1, len);
    memcpy(frame + head, payload, len);
    arena_used += head + len;
    const struct members *m = &channels[channel % CHANNELS];
    for (size_t i = 0; i < m->count; i++) {
        struct conn *c = m->list[i];
        mark_dirty(c);
        /* What follows on the last piece makes it longer. */
        struct iovec *last = c->pieces ? &c->out[c->pieces - 1] : NULL;
        if (last && (char *)last->iov_base + last->iov_len == frame) {
            last->iov_len += head + len;
            continue;
        }
        if (c->pieces == GATHER) {
            flush_one(c);
            mark_dirty(c);
        }
        c->out = grow(c->out, c->pieces + 1, &c->out_cap, sizeof(*c->out));
        c->out[c->pieces++] = (struct iovec){frame, head + len};
    }
}

/* ---- in */

static void subscribe(struct conn *c, const char *path)
{
    unsigned first = 0, count = 0, total = 0;
    if (sscanf(path, "/sub/%u/%u/%u", &first, &count, &total) != 3 || total == 0) return;
    for (unsigned i = 0; i < count; i++) {
        unsigned channel = (first + i) % total % CHANNELS;
        struct members *m = &channels[channel];
        m->list = grow(m->list, m->count + 1, &m->cap, sizeof(struct conn *));
        m->list[m->count++] = c;
        if (m->count == 1 && bus) bus->join(channel);
    }
}

static size_t upgrade(struct conn *c, char *in, size_t n)
{
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: BACScCJPNqyz+UBoqMH89VmURoA=\r\n\r\n";
    char *end = memmem(in, n, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = '\0';
    subscribe(c, in + 4);
    link_write_all(&c->link, answer, sizeof(answer) - 1);
    c->state = SOCKET;
    return (size_t)(end - in) + 4;
}

/* A publish frame as feed.c and publish.c write it. */
static void take_frame(struct conn *c, char *p, size_t n)
{
    char *channel = memmem(p, n, "\"b.", 3), *data = memmem(p, n, "\"data\":", 7);
    if (!channel || !data) return;
    data += 7;
    floor_deliver(data, (size_t)(p + n - 1 - data), (unsigned)strtoul(channel + 3, NULL, 10));
    char *id = memmem(p, (size_t)(channel - p), "\"id\":", 5);
    if (!id) return;
    char text[64];
    int len = snprintf(text + 2, sizeof(text) - 2, "{\"type\":\"published\",\"id\":%lu}",
                       strtoul(id + 5, NULL, 10));
    wire_head(text, 1, (size_t)len);
    keep(c, text, (size_t)len + 2);
    mark_dirty(c);
}

static size_t take_frames(struct conn *c, char *in, size_t n)
{
    struct wire_frame f;
    size_t at = 0;
    for (; wire_frame(in + at, n - at, &f); at += f.size) {
        const char *mask = f.payload - 4;
        for (size_t i = 0; f.masked && i < f.len; i++)
            f.payload[i] = (char)(f.payload[i] ^ mask[i & 3]);
        if (f.opcode == 1) take_frame(c, f.payload, f.len);
    }
    return at;
}

static size_t take_posts(struct conn *c, char *in, size_t n)
{
    static const char answer[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    for (size_t at = 0;;) {
        char *p = in + at, *end = memmem(p, n - at, "\r\n\r\n", 4);
        if (!end) return at;
        char *id = memmem(p, (size_t)(end - p), "?id=", 4);
        char *length = memmem(p, (size_t)(end - p), "Content-Length: ", 16);
        size_t len = length ? strtoul(length + 16, NULL, 10) : 0;
        if (!id || (size_t)(in + n - end - 4) < len) return at;
        floor_deliver(end + 4, len, (unsigned)strtoul(id + 4, NULL, 10));
        keep(c, answer, sizeof(answer) - 1);
        mark_dirty(c);
        at = (size_t)(end + 4 - in) + len;
    }
}

static void receive(struct conn *c)
{
    static char in[INPUT + 1];
    ssize_t n;
    do {
        memcpy(in, c->kept, c->kept_len);
        n = link_read(&c->link, in + c->kept_len, INPUT - c->kept_len);
        if (n <= 0) break;
        size_t len = c->kept_len + (size_t)n, at = 0;
        if (c->state == NEW) {
            if (in[0] == 'P')
                c->state = HTTP;
            else
                at = upgrade(c, in, len);
        }
        if (c->state == SOCKET) at += take_frames(c, in + at, len - at);
        if (c->state == HTTP) at = take_posts(c, in, len);
        free(c->kept);
        c->kept_len = len - at;
        c->kept = c->kept_len > 0 ? malloc(c->kept_len) : NULL;
        if (c->kept) memcpy(c->kept, in + at, c->kept_len);
    } while (c->link.ssl);
    if (n < 0) link_end(&c->link); /* its memory stays: channels point to it */
}

static void welcome(int listener)
{
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct conn *c = calloc(1, sizeof(*c));
        if (!c) wire_die("memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        link_begin(&c->link, fd);
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

/* What stands for the listener, the input and the bus beside connections. */
static struct conn listener, input, source;

static void start(char **argv)
{
    const char *cert = wire_arg(argv, "cert", NULL);
    if (cert) link_serve_tls(cert, wire_arg(argv, "key", ""));
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0) wire_die("epoll");
    listener.link.fd = listen_on((uint16_t)wire_number(argv, "port", 0));
    input.link.fd = 0;
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
    watch(&input, EPOLL_CTL_ADD, EPOLLIN);
    if (wire_arg(argv, "redis", NULL)) bus = &floor_redis;
    if (wire_arg(argv, "kafka", NULL)) bus = &floor_kafka;
    if (!bus) return;
    source.link.fd = bus->open(argv);
    watch(&source, EPOLL_CTL_ADD, EPOLLIN);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(
            stderr,
            "usage: floor port=N [redis=PORT | kafka=BROKERS topic=NAME] [cert=FILE key=FILE]\n");
        return 2;
    }
    start(argv);
    for (;;) {
        struct epoll_event events[BATCH];
        int n = epoll_wait(poll_fd, events, BATCH, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c == &input) return 0;
            if (c == &listener) {
                welcome(listener.link.fd);
            } else if (c == &source) {
                bus->read();
            } else if (c->link.fd >= 0) {
                if ((events[i].events & EPOLLOUT) && c->rest_len > 0) go_on(c);
                if (c->link.fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT)) receive(c);
            }
        }
        flush();
    }
}
