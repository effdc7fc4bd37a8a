/* The subscribers of a fan-out: many sockets on one core, which check every sequence number and take the
 * age of every message.
 *
 *     load DIALECT PORT CONNECTIONS EACH TOTAL
 *
 * Connection i receives the channels i*EACH, i*EACH+1, … (EACH of them, modulo TOTAL). DIALECT says how it
 * asks for them:
 *     wsbus        a subscribe frame for channel "b.N" on /ws
 *     floor        the path /sub/FIRST/EACH/TOTAL (floor.c)
 *     bridge       the path /?channels=b.1,b.2,…
 *     nchan        the path /sub?id=1,2,…
 *
 * A message is {"c":CHANNEL,"s":NUMBER,"t":NS,…} (feed.c), wherever it stands in what the server sends:
 * it is looked for by its first bytes, so a generator does not cost more than a server. NUMBER rises by
 * one in each channel; NS is when the message was due by the monotonic clock, whether or not the feeder
 * could send it then, so nothing is left out while a server holds everybody up.
 *
 * Lines on standard input, each answered by one line of JSON:
 *     wait N    when N subscriptions are confirmed: seconds since the first connect
 *     clear     forgets ages and counts so far
 *     report    messages, lost (numbers left out), told (those of them with a `gap` frame between),
 *               again (not in order), closed (connections that the server ended), ages in ms
 * Ends with its input. The servers' pings are not answered: switch them off. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

/* At most WINDOW connections are in their handshake: a listener's queue is short. */
enum { SLOT_US = 10, SLOTS = 1000000, INPUT = 1 << 18, KEEP = 8192, BATCH = 512, WINDOW = 500 };

static const char mark[] = "{\"c\":";
#define MARK (sizeof(mark) - 1)

struct conn {
    int fd;
    bool open; /* the handshake's answer has been read */
    unsigned first;
    uint32_t *last; /* number of the last message, by channel */
    size_t kept;    /* bytes of `rest`: the beginning of a message */
    char *rest;
};

struct dialect {
    const char *name, *path;
    const char *confirmed; /* text of the confirmation; NULL: the upgrade's answer is it */
};

static const struct dialect dialects[] = {
    {"wsbus", "/ws", "{\"type\":\"subscribed\""},
    {"floor", "/sub/", NULL},
    {"bridge", "/?channels=", NULL},
    {"nchan", "/sub?id=", NULL},
};

static const struct dialect *dialect;
static uint16_t port;
static unsigned count, each, total, started, opened;
static struct conn *conns;
static int poll_fd;

static uint64_t began, confirmed, wanted;
static uint64_t messages, lost, told, again, closed, oldest_us;
static uint32_t slots[SLOTS]; /* ages in steps of SLOT_US */

/* ---- asking */

static size_t request(const struct conn *c, char *out, size_t cap)
{
    char path[4096];
    size_t n = (size_t)snprintf(path, sizeof(path), "%s", dialect->path);
    if (strcmp(dialect->name, "floor") == 0)
        snprintf(path + n, sizeof(path) - n, "%u/%u/%u", c->first, each, total);
    else if (!dialect->confirmed)
        for (unsigned i = 0; i < each && n + 16 < sizeof(path); i++)
            n += (size_t)snprintf(path + n, sizeof(path) - n, "%s%s%u", i ? "," : "",
                                  strcmp(dialect->name, "bridge") == 0 ? "b." : "",
                                  (c->first + i) % total);
    return wire_request(out, cap, port, path);
}

static void send_all(const struct conn *c, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = send(c->fd, p, n, MSG_NOSIGNAL);
        if (done < 0 && errno == EAGAIN) continue; /* rare: the first bytes of a connection */
        if (done <= 0) wire_die("send");
        p += done;
        n -= (size_t)done;
    }
}

static void subscribe(const struct conn *c)
{
    static char out[INPUT];
    char text[128];
    size_t n = 0;
    if (!dialect->confirmed) return;
    for (unsigned i = 0; i < each; i++) {
        int len =
            snprintf(text, sizeof(text), "{\"type\":\"subscribe\",\"id\":0,\"channel\":\"b.%u\"}",
                     (c->first + i) % total);
        if (n + (size_t)len + 16 > sizeof(out)) {
            send_all(c, out, n);
            n = 0;
        }
        n += wire_masked(out + n, text, (size_t)len);
    }
    send_all(c, out, n);
}

static void start_one(void)
{
    struct conn *c = &conns[started];
    c->first = (unsigned)((uint64_t)started * each % total);
    c->last = calloc(each, sizeof(*c->last));
    c->rest = malloc(KEEP);
    if (!c->last || !c->rest) wire_die("memory");
    c->fd = wire_connect(port);
    started++;
    struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0) wire_die("epoll");
}

static void connected(struct conn *c)
{
    char head[4608];
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e) != 0) wire_die("epoll");
    send_all(c, head, request(c, head, sizeof(head)));
}

/* ---- taking */

static uint64_t number(const char **p, const char *end)
{
    uint64_t n = 0;
    while (*p < end && (**p < '0' || **p > '9'))
        ++*p;
    for (; *p < end && **p >= '0' && **p <= '9'; ++*p)
        n = n * 10 + (uint64_t)(**p - '0');
    return n;
}

static void order(struct conn *c, unsigned channel, uint32_t n, bool gap)
{
    unsigned at = (channel + total - c->first) % total;
    if (at >= each) {
        fprintf(stderr, "load: channel %u was not asked for\n", channel);
        exit(1);
    }
    uint32_t expected = c->last[at] + 1;
    if (c->last[at] != 0 && n > expected) {
        lost += n - expected;
        if (gap) told += n - expected;
    }
    if (n < expected)
        again++;
    else
        c->last[at] = n;
}

static void age(uint64_t due, uint64_t now)
{
    uint64_t us = now > due ? (now - due) / 1000 : 0;
    uint64_t slot = us / SLOT_US;
    slots[slot < SLOTS ? slot : SLOTS - 1]++;
    if (us > oldest_us) oldest_us = us;
}

/* Where the next call has to begin: at a message whose end is not there. */
static size_t take_messages(struct conn *c, const char *in, size_t n)
{
    const char *end = in + n, *p = in, *before = in;
    uint64_t now = wire_ns();
    while ((p = memmem(p, (size_t)(end - p), mark, MARK)) != NULL) {
        if (!memchr(p, '}', (size_t)(end - p))) return (size_t)(p - in);
        bool gap = memmem(before, (size_t)(p - before), "\"type\":\"gap\"", 12) != NULL;
        const char *at = p;
        unsigned channel = (unsigned)number(&at, end);
        order(c, channel, (uint32_t)number(&at, end), gap);
        age(number(&at, end), now);
        messages++;
        before = p = at;
    }
    /* What may be the beginning of the mark. */
    return n > MARK ? n - MARK : 0;
}

static size_t take_confirmations(struct conn *c, const char *in, size_t n)
{
    const char *p = in, *end = in + n;
    if (!c->open) {
        p = memmem(in, n, "\r\n\r\n", 4);
        if (!p) return 0;
        if (memcmp(in, "HTTP/1.1 101", 12) != 0) {
            fprintf(stderr, "load: no upgrade: %.*s\n", (int)n, in);
            exit(1);
        }
        p += 4;
        c->open = true;
        opened++;
        if (!dialect->confirmed) confirmed += each;
        subscribe(c);
    }
    if (!dialect->confirmed) return (size_t)(p - in);
    const char *seen = p;
    size_t len = strlen(dialect->confirmed);
    while ((p = memmem(p, (size_t)(end - p), dialect->confirmed, len)) != NULL) {
        confirmed++;
        p += len;
        seen = p;
    }
    size_t rest = (size_t)(end - seen);
    return n - (rest < len ? rest : len);
}

static void receive(struct conn *c)
{
    static char in[INPUT];
    memcpy(in, c->rest, c->kept);
    ssize_t n = recv(c->fd, in + c->kept, sizeof(in) - c->kept, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        close(c->fd);
        c->fd = -1;
        closed++;
        return;
    }
    size_t len = c->kept + (size_t)n;
    size_t done = confirmed < (uint64_t)count * each ? take_confirmations(c, in, len)
                                                     : take_messages(c, in, len);
    c->kept = len - done;
    if (c->kept > KEEP) {
        fprintf(stderr, "load: a message without an end: %.80s\n", in + done);
        exit(1);
    }
    memcpy(c->rest, in + done, c->kept);
}

/* ---- telling */

static double age_ms(double share)
{
    uint64_t want = (uint64_t)((double)messages * share), seen = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        seen += slots[i];
        if (seen > want) return (double)(i + 1) * SLOT_US / 1000;
    }
    return (double)oldest_us / 1000;
}

static void report(void)
{
    printf("{\"messages\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"told\":%" PRIu64 ",\"again\":%" PRIu64
           ",\"closed\":%" PRIu64 ",\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f}\n",
           messages, lost, told, again, closed, age_ms(0.5), age_ms(0.99), age_ms(0.999),
           (double)oldest_us / 1000);
}

/* False at the end of the input. */
static bool command(void)
{
    char line[256];
    if (!fgets(line, sizeof(line), stdin)) return false;
    if (sscanf(line, "wait %" SCNu64, &wanted) == 1) return true;
    if (strncmp(line, "clear", 5) == 0) {
        memset(slots, 0, sizeof(slots));
        messages = lost = told = again = oldest_us = 0;
        puts("{}");
    } else {
        report();
    }
    fflush(stdout);
    return true;
}

static void check_wanted(void)
{
    if (wanted == 0 || confirmed < wanted) return;
    printf("{\"seconds\":%.4f}\n", (double)(wire_ns() - began) / 1e9);
    fflush(stdout);
    wanted = 0;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 6 && i < sizeof(dialects) / sizeof(dialects[0]); i++)
        if (strcmp(argv[1], dialects[i].name) == 0) dialect = &dialects[i];
    if (!dialect) {
        fprintf(stderr, "usage: load DIALECT PORT CONNECTIONS EACH TOTAL\n");
        return 2;
    }
    setvbuf(stdin, NULL, _IONBF, 0); /* what is buffered would not be seen by epoll */
    port = (uint16_t)strtoul(argv[2], NULL, 10);
    count = (unsigned)strtoul(argv[3], NULL, 10);
    each = (unsigned)strtoul(argv[4], NULL, 10);
    total = (unsigned)strtoul(argv[5], NULL, 10);
    conns = calloc(count + 1, sizeof(*conns));
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN};
    if (!conns || total == 0 || poll_fd < 0) wire_die("start");
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0) wire_die("epoll");
    began = wire_ns();
    for (;;) {
        struct epoll_event events[BATCH];
        while (started < count && started - opened < WINDOW)
            start_one();
        int n = epoll_wait(poll_fd, events, BATCH, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c && !command()) return 0;
            if (!c) continue;
            if (events[i].events & EPOLLOUT)
                connected(c);
            else if (c->fd >= 0)
                receive(c);
        }
        check_wanted();
    }
}
