/* The subscribers of a fan-out: many sockets on one core, which check every number and take the age of
 * every message.
 *
 *     load dialect=D port=N sockets=N [each=1] [channels=1] [window=500] [from=JSON] [tls=1] [deflate=1]
 *          [hold=1] [channel=N]
 *
 * Socket i receives the channels i*EACH, i*EACH+1, … (EACH of them, modulo CHANNELS), or with CHANNEL all
 * receive that one. The dialect says how
 * it asks for them:
 *     wsbus        a subscribe frame for each on /ws, with FROM if it is given
 *     floor        the path /sub/FIRST/EACH/CHANNELS (floor.c)
 *     bridge       the path /?channels=b.00001,b.00002,…
 *     nchan        the path /sub?id=00001,00002,…
 *     centrifugo   a connect and a subscribe command for each on /connection/websocket
 * At most WINDOW connections are in their handshake; with `hold` none subscribes before it is told to.
 * With `deflate` the server has to agree to permessage-deflate without context.
 *
 * Messages are those of text.h, wherever they stand in what the server sends. An age counts from when a
 * message was due, so nothing is left out while somebody holds everybody up. Lines on standard input, each
 * answered by one line of JSON:
 *     wait N     when N subscriptions are confirmed (`hold`: connections are open): seconds since the start
 *     go         (hold) sends what was held; answered when all have had their first message, or `live`
 *     clear      reports, and forgets the ages so far
 *     report     messages, lost (numbers left out), told (those of them with a `gap` frame between),
 *                again (not in order), closed (by the server, `silent`: without a close frame), ages in ms
 *     end N      the stream had N messages: when all have come, or nothing has for two seconds, counts what
 *                is missing at the end too, reports, and begins anew with number 1
 *     fill N     when N messages have come in all: seconds since `go`
 * Ends with its input. Pings are answered. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link.h"
#include "tally.h"
#include "text.h"
#include "unpack.h"
#include "wire.h"

enum { INPUT = 1 << 18, BATCH = 512, STARTS = 32, QUIET_MS = 2000 };
enum state { CONNECTING, UPGRADING, OPEN };

struct conn {
    struct link link;
    enum state state;
    bool said_why; /* a close frame came */
    unsigned confirmed;
    struct tally_line line;
    uint64_t began_us;
    size_t kept; /* bytes of `rest`: the beginning of a frame */
    char *rest;
};

struct dialect {
    const char *name, *path;
    const char *confirmed; /* text of the confirmation; NULL: the upgrade's answer is it */
    const char *ping;      /* a line of text that is a ping, and its answer */
};

static const struct dialect dialects[] = {
    {"wsbus", "/ws", "\"type\":\"subscribed\"", NULL},
    {"floor", "/sub/", NULL, NULL},
    {"bridge", "/?channels=", NULL, NULL},
    {"nchan", "/sub?id=", NULL, NULL},
    {"centrifugo", "/connection/websocket", "\"subscribe\":{", "{}"},
};

static const struct dialect *dialect;
static uint16_t port;
static unsigned count, each, total, window, started, opened;
static const char *from, *only;
static bool deflate, hold;
static struct conn *conns;
static int poll_fd;

static const char centrifugo_hello[] = "{\"id\":1,\"connect\":{}}";

static uint64_t began_us, confirmed, wanted, filling, ending = UINT64_MAX;
static uint64_t closed, silent, last_us, came_us; /* anything; a message */

static uint64_t now_us(void)
{
    return wire_ns() / 1000;
}

/* ---- asking */

static size_t path_of(const struct conn *c, char *out, size_t cap)
{
    unsigned first = c->line.first;
    size_t n = (size_t)snprintf(out, cap, "%s", dialect->path);
    if (strcmp(dialect->name, "floor") == 0)
        n += (size_t)snprintf(out + n, cap - n, "%u/%u/%u", first, each, total);
    else if (!dialect->confirmed)
        for (unsigned i = 0; i < each && n + 16 < cap; i++)
            n += (size_t)snprintf(out + n, cap - n, "%s%s%05u", i ? "," : "",
                                  strcmp(dialect->name, "bridge") == 0 ? "b." : "",
                                  (first + i) % total);
    return n;
}

static void ask_upgrade(struct conn *c)
{
    char path[4096], head[8192], more[256];
    path_of(c, path, sizeof(path));
    snprintf(more, sizeof(more), "%s%s",
             strcmp(dialect->name, "wsbus") == 0 ? "Sec-WebSocket-Protocol: wsbus.v1\r\n" : "",
             deflate ? "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                       "client_no_context_takeover\r\n"
                     : "");
    link_write_all(&c->link, head, wire_request(head, sizeof(head), path, more));
    c->state = UPGRADING;
}

static int subscribe_text(char *out, size_t cap, unsigned channel, unsigned id)
{
    if (strcmp(dialect->name, "centrifugo") == 0)
        return snprintf(out, cap, "{\"id\":%u,\"subscribe\":{\"channel\":\"b.%05u\"}}", id,
                        channel);
    return snprintf(out, cap, "{\"type\":\"subscribe\",\"id\":%u,\"channel\":\"b.%05u\"%s%s}", id,
                    channel, from ? ",\"from\":" : "", from ? from : "");
}

static void subscribe(struct conn *c)
{
    static char out[INPUT];
    char text[512];
    size_t n = 0;
    if (!dialect->confirmed) return;
    if (strcmp(dialect->name, "centrifugo") == 0)
        n = wire_masked(out, centrifugo_hello, strlen(centrifugo_hello));
    for (unsigned i = 0; i < each; i++) {
        int len = subscribe_text(text, sizeof(text), (c->line.first + i) % total, i + 2);
        if (n + (size_t)len + 16 > sizeof(out)) {
            link_write_all(&c->link, out, n);
            n = 0;
        }
        n += wire_masked(out + n, text, (size_t)len);
    }
    link_write_all(&c->link, out, n);
}

static void start_one(void)
{
    struct conn *c = &conns[started];
    uint64_t first = only ? strtoul(only, NULL, 10) : (uint64_t)started * each;
    tally_begin(&c->line, (unsigned)(first % total));
    c->began_us = now_us();
    link_begin(&c->link, wire_connect(port, started));
    started++;
    struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->link.fd, &e) != 0) wire_die("epoll");
}

/* The connection is there, or its TLS handshake goes on. */
static void greet(struct conn *c)
{
    char byte;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->link.fd, &e) != 0) wire_die("epoll");
    if (link_ready(&c->link))
        ask_upgrade(c);
    else if (recv(c->link.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        wire_die("no TLS");
}

/* ---- taking */

static void confirm(struct conn *c, unsigned n)
{
    c->confirmed += n;
    confirmed += n;
    if (c->confirmed == each) tally_age(now_us() - c->began_us);
}

/* Under load a ping stands among messages, in a line of its own. */
static void answer_pings(struct conn *c, const char *p, size_t n)
{
    const char *end = p + n, *next;
    size_t len = strlen(dialect->ping);
    char pong[32];
    for (; p < end; p = next + 1) {
        next = memchr(p, '\n', (size_t)(end - p));
        if (!next) next = end;
        if ((size_t)(next - p) == len && memcmp(p, dialect->ping, len) == 0)
            link_write_all(&c->link, pong, wire_masked(pong, p, len));
    }
}

/* A frame that is no message: a confirmation, or something else about a channel. */
static void take_word(struct conn *c, const char *p, size_t n)
{
    const char *end = p + n, *b;
    if (memmem(p, n, "\"error\"", 7)) {
        fprintf(stderr, "load: %.*s\n", (int)(n > 500 ? 500 : n), p);
        exit(1);
    }
    if ((b = memmem(p, n, "\"type\":\"gap\"", 12)) && (b = memmem(p, n, "\"b.", 3)))
        tally_gap(&c->line, (unsigned)strtoul(b + 3, NULL, 10));
    if (!dialect->confirmed) return;
    size_t len = strlen(dialect->confirmed);
    for (; (p = memmem(p, (size_t)(end - p), dialect->confirmed, len)) != NULL; p += len)
        confirm(c, 1);
}

static void take_text(struct conn *c, const char *p, size_t n)
{
    static size_t usual; /* where the message stood in the last frame */
    const char *end = p + n, *at = p + usual;
    if (n < usual + TEXT_HEAD || memcmp(at, TEXT_MARK, TEXT_MARK_LEN) != 0) {
        at = memmem(p, n, TEXT_MARK, TEXT_MARK_LEN);
        if (!at || end - at < TEXT_HEAD) {
            take_word(c, p, n);
            return;
        }
        usual = (size_t)(at - p);
    }
    came_us = last_us;
    do {
        uint64_t due = text_digits(at + TEXT_DUE, 16);
        tally_message(&c->line, (unsigned)text_digits(at + TEXT_CHANNEL, 7),
                      (uint32_t)text_digits(at + TEXT_NUMBER, 8),
                      last_us > due ? last_us - due : 0);
        at += TEXT_HEAD;
        /* Only this one puts several into a frame. */
    } while (dialect->ping && (at = memmem(at, (size_t)(end - at), TEXT_MARK, TEXT_MARK_LEN)) &&
             end - at >= TEXT_HEAD);
}

static void take_frame(struct conn *c, const struct wire_frame *f)
{
    size_t len = f->len;
    if (f->opcode == 9) {
        char pong[WIRE_PONG_MAX];
        link_write_all(&c->link, pong, wire_pong(pong, f));
        return;
    }
    if (f->opcode == 8) c->said_why = true;
    if (f->opcode != 1) return;
    const char *p = f->packed ? unpack(f->payload, f->len, &len) : f->payload;
    if (dialect->ping) answer_pings(c, p, len);
    take_text(c, p, len);
}

static size_t take_answer(struct conn *c, const char *in, size_t n)
{
    const char *end = memmem(in, n, "\r\n\r\n", 4);
    if (!end) return 0;
    bool agreed = memmem(in, (size_t)(end - in), "permessage-deflate", 18) &&
                  memmem(in, (size_t)(end - in), "server_no_context_takeover", 26);
    if (memcmp(in, "HTTP/1.1 101", 12) != 0 || deflate != agreed) {
        fprintf(stderr, "load: no upgrade%s: %.*s\n", deflate ? " with permessage-deflate" : "",
                (int)n, in);
        exit(1);
    }
    c->state = OPEN;
    opened++;
    if (!dialect->confirmed) confirm(c, each);
    if (!hold) subscribe(c);
    return (size_t)(end - in) + 4;
}

static void gone(struct conn *c)
{
    link_end(&c->link);
    closed++;
    if (!c->said_why) silent++;
    if (c->state == OPEN) return;
    fprintf(stderr, "load: the server has closed a connection before it was open\n");
    exit(1);
}

static void take(struct conn *c, char *in, size_t len)
{
    size_t at = 0;
    struct wire_frame f;
    if (c->state == UPGRADING) at = take_answer(c, in, len);
    while (c->state == OPEN && !c->said_why && wire_frame(in + at, len - at, &f)) {
        take_frame(c, &f);
        at += f.size;
    }
    c->kept = len - at;
    free(c->rest);
    c->rest = c->kept > 0 ? malloc(c->kept) : NULL;
    if (c->rest) memcpy(c->rest, in + at, c->kept);
}

static void receive(struct conn *c)
{
    static char in[INPUT];
    ssize_t n;
    do {
        memcpy(in, c->rest, c->kept);
        n = link_read(&c->link, in + c->kept, sizeof(in) - c->kept);
        if (n <= 0) break;
        last_us = now_us();
        take(c, in, c->kept + (size_t)n);
        if (c->kept == sizeof(in)) wire_die("a frame is too long");
    } while (c->link.ssl && !c->said_why);
    /* After its close frame the server sends nothing more, and waits for the end of the connection. */
    if (n < 0 || c->said_why) gone(c);
}

/* ---- telling */

static void report(void)
{
    putchar('{');
    tally_print();
    printf(",\"closed\":%" PRIu64 ",\"silent\":%" PRIu64, closed, silent);
    if (deflate) unpack_print();
    puts("}");
    fflush(stdout);
}

static void seconds_since(uint64_t us)
{
    printf("{\"seconds\":%.4f}\n", (double)(now_us() - us) / 1e6);
    fflush(stdout);
}

/* False at the end of the input. */
static bool command(void)
{
    char line[256];
    if (!fgets(line, sizeof(line), stdin)) return false;
    came_us = last_us = now_us();
    if (sscanf(line, "wait %" SCNu64, &wanted) == 1) return true;
    if (sscanf(line, "fill %" SCNu64, &filling) == 1) return true;
    if (sscanf(line, "end %" SCNu64, &ending) == 1) return true;
    if (strncmp(line, "go", 2) == 0) {
        hold = false;
        began_us = now_us();
        for (unsigned i = 0; i < count; i++)
            subscribe(&conns[i]);
    }
    report();
    if (strncmp(line, "clear", 5) == 0) tally_clear_ages();
    return true;
}

static void end_stream(void)
{
    for (unsigned i = 0; i < count; i++) {
        struct conn *c = &conns[i];
        if (c->link.fd >= 0) tally_end(&c->line, ending);
        tally_anew(&c->line);
    }
    report();
    memset(&tally, 0, sizeof(tally));
    ending = UINT64_MAX;
}

static void check_wanted(void)
{
    if (wanted > 0 && (hold ? opened : confirmed) >= wanted) {
        seconds_since(began_us);
        wanted = 0;
    }
    if (filling > 0 && tally.messages >= filling) {
        seconds_since(began_us);
        filling = 0;
    }
    if (ending == UINT64_MAX) return;
    uint64_t all = ending * count * each / total;
    if ((closed == 0 && tally.messages >= all) || now_us() - came_us > QUIET_MS * 1000)
        end_stream();
}

static bool start(char **argv)
{
    const char *name = wire_arg(argv, "dialect", "");
    for (size_t i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++)
        if (strcmp(name, dialects[i].name) == 0) dialect = &dialects[i];
    port = (uint16_t)wire_number(argv, "port", 0);
    count = wire_number(argv, "sockets", 0);
    each = wire_number(argv, "each", 1);
    total = wire_number(argv, "channels", 1);
    window = wire_number(argv, "window", 500);
    from = wire_arg(argv, "from", NULL);
    only = wire_arg(argv, "channel", NULL);
    deflate = wire_number(argv, "deflate", 0) != 0;
    hold = wire_number(argv, "hold", 0) != 0;
    if (!dialect || port == 0 || total == 0 || each == 0 || each > total) return false;
    if (wire_number(argv, "tls", 0) != 0) link_use_tls();
    setvbuf(stdin, NULL, _IONBF, 0); /* what is buffered would not be seen by epoll */
    conns = calloc(count + 1, sizeof(*conns));
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN};
    if (!conns || poll_fd < 0) wire_die("start");
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0) wire_die("epoll");
    tally_open(each, total);
    began_us = now_us();
    return true;
}

static void handle(struct conn *c)
{
    if (c->state == CONNECTING)
        greet(c);
    else if (c->link.fd >= 0)
        receive(c);
}

int main(int argc, char **argv)
{
    if (argc < 4 || !start(argv)) {
        fprintf(stderr, "usage: load dialect=D port=N sockets=N [each=N] [channels=N] …\n");
        return 2;
    }
    for (;;) {
        struct epoll_event events[BATCH];
        for (unsigned i = 0; i < STARTS && started < count && started - opened < window; i++)
            start_one();
        bool more = started < count && started - opened < window;
        int n = epoll_wait(poll_fd, events, BATCH, more ? 0 : ending != UINT64_MAX ? 20 : -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c)
                handle(c);
            else if (!command())
                return 0;
        }
        check_wanted();
    }
}
