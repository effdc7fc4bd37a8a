/* Many clients that publish and wait for the acknowledgement of each message.
 *
 *     publish dialect=D port=N sockets=N rate=R seconds=S size=N channels=N
 *
 * RATE messages a second in all, one after the other over the sockets 0, 1, … and to the channels 0, 1, …
 * each when it is due, whether or not the last one is acknowledged. Dialects:
 *     wsbus        publish with id on /ws; acknowledged by "type":"published" and the id
 *     centrifugo   publish with id; acknowledged by "publish" and the id
 *     http         POST /pub?id=00012; acknowledged by the answer, in order
 *
 * Prints a line of JSON when all are connected, waits for a line of input, publishes, and prints when all
 * is acknowledged, or nothing has been for two seconds: published, acknowledged, refused, and the times from when
 * a message was due to its acknowledgement in ms. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "link.h"
#include "tally.h"
#include "text.h"
#include "wire.h"

enum { INPUT = 1 << 16, BATCH = 512, PATIENCE_US = 2000000 };
enum dialect { WSBUS, CENTRIFUGO, HTTP, DIALECTS };
static const char *const names[DIALECTS] = {"wsbus", "centrifugo", "http"};
static const char *const paths[DIALECTS] = {"/ws", "/connection/websocket", ""};

struct conn {
    struct link link;
    bool open;
    uint64_t answered; /* HTTP: answers so far */
    size_t kept;
    char rest[4096];
};

static enum dialect dialect;
static struct conn *conns;
static unsigned count, channels, opened;
static size_t size;
static uint64_t *due_us, total, published, acked, refused, last_us;
static int poll_fd;

static const char centrifugo_hello[] = "{\"id\":1,\"connect\":{}}";

static uint64_t now_us(void)
{
    return wire_ns() / 1000;
}

static void publish_one(uint64_t i, uint64_t due)
{
    static char body[TEXT_MAX + 256], text[TEXT_MAX + 512], out[TEXT_MAX + 600];
    struct conn *c = &conns[i % count];
    unsigned channel = (unsigned)(i % channels);
    size_t len = text_message(body, size, TEXT_PLAIN, (uint64_t[]){channel, i / channels + 1, due});
    int n = 0;
    due_us[i] = due;
    if (dialect == HTTP) {
        n = sprintf(out, "POST /pub?id=%05u HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%.*s",
                    channel, len, (int)len, body);
        link_write_all(&c->link, out, (size_t)n);
        return;
    }
    if (dialect == WSBUS)
        n = sprintf(
            text, "{\"type\":\"publish\",\"id\":%" PRIu64 ",\"channel\":\"b.%05u\",\"data\":%.*s}",
            i + 1, channel, (int)len, body);
    else
        n = sprintf(text, "{\"id\":%" PRIu64 ",\"publish\":{\"channel\":\"b.%05u\",\"data\":%.*s}}",
                    i + 2, channel, (int)len, body);
    link_write_all(&c->link, out, wire_masked(out, text, (size_t)n));
}

static void acknowledged(uint64_t i)
{
    if (i >= published || due_us[i] == 0) {
        fprintf(stderr, "publish: an acknowledgement of what was not published\n");
        exit(1);
    }
    tally_age(last_us - due_us[i]);
    due_us[i] = 0;
    acked++;
}

/* Several answers may be in one frame. */
static void take_text(const char *p, size_t n)
{
    const char *end = p + n;
    if (memmem(p, n, "\"error\"", 7)) {
        refused++;
        fprintf(stderr, "publish: %.*s\n", (int)n, p);
    }
    if (!memmem(p, n, dialect == WSBUS ? "\"published\"" : "\"publish\"",
                dialect == WSBUS ? 11 : 9))
        return;
    for (; (p = memmem(p, (size_t)(end - p), "\"id\":", 5)) != NULL; p += 5)
        acknowledged(strtoul(p + 5, NULL, 10) - (dialect == WSBUS ? 1 : 2));
}

static size_t take_answers(struct conn *c, char *in, size_t n)
{
    for (size_t at = 0;;) {
        char *end = memmem(in + at, n - at, "\r\n\r\n", 4);
        if (!end) return at;
        char *length = memmem(in + at, (size_t)(end - in) - at, "Content-Length: ", 16);
        size_t len = length ? strtoul(length + 16, NULL, 10) : 0;
        if ((size_t)(in + n - end - 4) < len) return at;
        if (in[at + 9] != '2') refused++;
        acknowledged((uint64_t)(c - conns) + c->answered++ * count);
        at = (size_t)(end + 4 - in) + len;
    }
}

static size_t take_frames(struct conn *c, char *in, size_t n)
{
    size_t at = 0;
    struct wire_frame f;
    if (!c->open) {
        char *end = memmem(in, n, "\r\n\r\n", 4);
        if (!end) return 0;
        at = (size_t)(end - in) + 4;
        c->open = true;
        opened++;
        char hello[64];
        if (dialect == CENTRIFUGO)
            link_write_all(&c->link, hello,
                           wire_masked(hello, centrifugo_hello, strlen(centrifugo_hello)));
    }
    for (; wire_frame(in + at, n - at, &f); at += f.size) {
        char pong[WIRE_PONG_MAX];
        if (f.opcode == 9) link_write_all(&c->link, pong, wire_pong(pong, &f));
        if (f.opcode == 1) take_text(f.payload, f.len);
    }
    return at;
}

static void receive(struct conn *c)
{
    static char in[INPUT];
    memcpy(in, c->rest, c->kept);
    ssize_t n = link_read(&c->link, in + c->kept, sizeof(in) - c->kept);
    if (n == 0) return;
    if (n < 0) wire_die("the server has closed a connection");
    last_us = now_us();
    size_t len = c->kept + (size_t)n;
    size_t at = dialect == HTTP ? take_answers(c, in, len) : take_frames(c, in, len);
    c->kept = len - at;
    if (c->kept > sizeof(c->rest)) wire_die("an answer is too long");
    memcpy(c->rest, in + at, c->kept);
}

static void turn(int wait_ms)
{
    struct epoll_event events[BATCH];
    int n = epoll_wait(poll_fd, events, BATCH, wait_ms);
    for (int i = 0; i < n; i++)
        receive(events[i].data.ptr);
}

static void open_all(uint16_t port)
{
    for (unsigned i = 0; i < count; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &conns[i]};
        link_begin(&conns[i].link, wire_connect(port, i));
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, conns[i].link.fd, &e) != 0) wire_die("epoll");
        if (dialect == HTTP) continue;
        char head[1024];
        link_write_all(&conns[i].link, head, wire_request(head, sizeof(head), paths[dialect], ""));
        while (opened <= i)
            turn(-1);
    }
}

static void publish_all(double rate)
{
    uint64_t begin = now_us() + 1000;
    last_us = begin;
    for (uint64_t i = 0; i < total;) {
        uint64_t due = begin + (uint64_t)((double)i * 1e6 / rate), now = now_us();
        for (; i < total && due <= now; due = begin + (uint64_t)((double)i * 1e6 / rate)) {
            published = i + 1;
            publish_one(i++, due);
        }
        turn(1);
    }
    while (acked < total && now_us() - last_us < PATIENCE_US)
        turn(100);
}

int main(int argc, char **argv)
{
    dialect = DIALECTS;
    for (enum dialect d = WSBUS; d < DIALECTS; d++)
        if (strcmp(wire_arg(argv, "dialect", ""), names[d]) == 0) dialect = d;
    count = wire_number(argv, "sockets", 0);
    channels = wire_number(argv, "channels", 1);
    size = wire_number(argv, "size", 100);
    double rate = strtod(wire_arg(argv, "rate", "0"), NULL);
    total = (uint64_t)(rate * strtod(wire_arg(argv, "seconds", "0"), NULL));
    if (argc < 4 || dialect == DIALECTS || count == 0 || channels == 0 || size > TEXT_MAX ||
        total == 0) {
        fprintf(stderr,
                "usage: publish dialect=D port=N sockets=N rate=R seconds=S size=N channels=N\n");
        return 2;
    }
    conns = calloc(count, sizeof(*conns));
    due_us = calloc(total, sizeof(*due_us));
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!conns || !due_us || poll_fd < 0) wire_die("start");
    open_all((uint16_t)wire_number(argv, "port", 0));
    puts("{}");
    fflush(stdout);
    if (getchar() == EOF) return 0;
    publish_all(rate);
    printf("{\"published\":%" PRIu64 ",\"acknowledged\":%" PRIu64 ",\"refused\":%" PRIu64 ",",
           total, acked, refused);
    tally_print();
    puts("}");
    return 0;
}
