/* Many WebSocket clients of the bridge that cost next to nothing: opens connections, subscribes,
 * counts what comes and how old it is. The measuring end of the scripts in this folder.
 *
 *     sink PORT CONNECTIONS SUBSCRIPTIONS FRAME [hold]
 *
 * On each connection it sends FRAME so many times, with the number of the subscription (0, 1, 2, …
 * over all connections) in place of each '#'; with `hold` only when it is told to. A payload that
 * holds `"t":<ns>` is dated by the monotonic clock, and where `,"n":<number>` follows (source.c), the
 * time of its arrival is kept. Lines on standard input, each answered by one line of JSON:
 *
 *     go            sends what was held; the start is now
 *     wait TYPE N   when N frames of that type have come since the start: seconds since then
 *     clear         forgets the ages and arrivals so far
 *     into SET      ages go to this set from now on (at first 0; there are four), or nowhere (-1)
 *     keep          sets 2 and 3 are added to 0 and 1, and begin anew
 *     drop          sets 2 and 3 are forgotten
 *     report [SET]  counts of frames by type, and the ages of a set (0) in ms
 *     arrivals      when the numbers 0, 1, 2, … came first, in ns; 0: never
 *     latest        and when to the last of the sockets
 *
 * Ends with its input. The server's pings are not answered: switch them off. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SLOT_US = 10, SLOTS = 1000000, INPUT = 65536, BATCH = 256, ARRIVALS = 100000, SETS = 4 };
enum type { MESSAGE, SUBSCRIBED, LIVE, GAP, ERROR, OTHER, TYPES };

static const char *const names[TYPES] = {"message", "subscribed", "live", "gap", "error", "other"};

struct conn {
    int fd;
    bool open; /* the handshake's answer has been read */
    size_t len, cap;
    char *in;
};

static struct ages {
    uint32_t slots[SLOTS]; /* in steps of SLOT_US */
    uint64_t dated, oldest_us;
} sets[SETS], *ages = &sets[0]; /* NULL: nowhere */

static uint64_t counts[TYPES];
static uint64_t arrivals[ARRIVALS], latest[ARRIVALS];
static size_t numbered; /* the highest number, and one */
static uint64_t began;
static struct conn *conns;
static unsigned conn_count, each;
static const char *frame;
static enum type wanted = TYPES;
static uint64_t wanted_count;

static void die(const char *what)
{
    fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done <= 0) die("write");
        p += done;
        n -= (size_t)done;
    }
}

/* A masked text frame; the mask of zeros is as good as any here. */
static size_t put_frame(char *out, const char *text, size_t n)
{
    size_t head = n < 126 ? 2 : 4;
    out[0] = (char)0x81;
    out[1] = (char)(0x80 | (n < 126 ? n : 126));
    if (n >= 126) {
        out[2] = (char)(n >> 8);
        out[3] = (char)n;
    }
    memset(out + head, 0, 4);
    memcpy(out + head + 4, text, n);
    return head + 4 + n;
}

static size_t fill_in(char *out, size_t cap, const char *text, unsigned number)
{
    size_t n = 0;
    for (; *text && n + 16 < cap; text++) {
        if (*text == '#')
            n += (size_t)snprintf(out + n, cap - n, "%u", number);
        else
            out[n++] = *text;
    }
    return n;
}

static void subscribe(struct conn *c, unsigned first, unsigned count)
{
    static char out[INPUT];
    char text[1024];
    size_t n = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t len = fill_in(text, sizeof(text), frame, first + i);
        if (n + len + 16 > sizeof(out)) {
            write_all(c->fd, out, n);
            n = 0;
        }
        n += put_frame(out + n, text, len);
    }
    write_all(c->fd, out, n);
}

static enum type type_of(const char *p, size_t n)
{
    static const char start[] = "{\"type\":\"";
    size_t skip = sizeof(start) - 1;
    if (n <= skip || memcmp(p, start, skip) != 0) return OTHER;
    for (enum type t = MESSAGE; t < OTHER; t++) {
        size_t len = strlen(names[t]);
        if (n > skip + len && memcmp(p + skip, names[t], len) == 0) return t;
    }
    return OTHER;
}

static uint64_t digits(const char **p, const char *end)
{
    uint64_t n = 0;
    for (; *p < end && **p >= '0' && **p <= '9'; ++*p)
        n = n * 10 + (uint64_t)(**p - '0');
    return n;
}

static void note_arrival(const char *p, const char *end, uint64_t now)
{
    static const char mark[] = ",\"n\":";
    if (end - p < (ptrdiff_t)sizeof(mark) || memcmp(p, mark, sizeof(mark) - 1) != 0) return;
    p += sizeof(mark) - 1;
    uint64_t n = digits(&p, end);
    if (n >= ARRIVALS) return;
    if (!arrivals[n]) arrivals[n] = now;
    latest[n] = now;
    if (n >= numbered) numbered = n + 1;
}

static void date(const char *p, size_t n)
{
    static const char mark[] = "\"t\":";
    const char *found = memmem(p, n, mark, sizeof(mark) - 1);
    if (!found) return;
    const char *d = found + sizeof(mark) - 1;
    uint64_t then = digits(&d, p + n), now = now_ns();
    note_arrival(d, p + n, now);
    uint64_t us = now > then ? (now - then) / 1000 : 0;
    uint64_t slot = us / SLOT_US;
    ages->slots[slot < SLOTS ? slot : SLOTS - 1]++;
    if (us > ages->oldest_us) ages->oldest_us = us;
    ages->dated++;
}

static void check_wanted(void)
{
    if (wanted == TYPES || counts[wanted] < wanted_count) return;
    printf("{\"seconds\":%.4f}\n", (double)(now_ns() - began) / 1e9);
    fflush(stdout);
    wanted = TYPES;
}

static void take_frame(const char *p, size_t n)
{
    enum type t = type_of(p, n);
    counts[t]++;
    if (t == MESSAGE && ages) date(p, n);
    if (t == ERROR && counts[ERROR] <= 5) fprintf(stderr, "sink: %.*s\n", (int)n, p);
}

/* The length of the frame at `p` with its head, which is *ret_head; 0: not all of it is there. */
static size_t frame_size(const unsigned char *p, size_t n, size_t *ret_head)
{
    if (n < 2) return 0;
    size_t head = 2, len = p[1] & 0x7f;
    if (len >= 126) {
        head = len == 126 ? 4 : 10;
        if (n < head) return 0;
        len = 0;
        for (size_t i = 2; i < head; i++)
            len = len << 8 | p[i];
    }
    *ret_head = head;
    return n >= head + len ? head + len : 0;
}

static size_t take(struct conn *c)
{
    size_t at = 0;
    if (!c->open) {
        const char *end = memmem(c->in, c->len, "\r\n\r\n", 4);
        if (!end) return 0;
        if (memcmp(c->in, "HTTP/1.1 101", 12) != 0) {
            fprintf(stderr, "sink: no upgrade: %.*s\n", (int)c->len, c->in);
            exit(1);
        }
        c->open = true;
        at = (size_t)(end - c->in) + 4;
    }
    size_t head = 0, size;
    while ((size = frame_size((unsigned char *)c->in + at, c->len - at, &head)) > 0) {
        if ((c->in[at] & 0x0f) == 8) die("closed by the server");
        if ((c->in[at] & 0x0f) == 1) take_frame(c->in + at + head, size - head);
        at += size;
    }
    return at;
}

static void receive(struct conn *c, int flags)
{
    if (c->len == c->cap) {
        c->cap *= 2;
        c->in = realloc(c->in, c->cap);
        if (!c->in) die("memory");
    }
    ssize_t n = recv(c->fd, c->in + c->len, c->cap - c->len, flags);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) die("connection lost");
    c->len += (size_t)n;
    size_t done = take(c);
    c->len -= done;
    memmove(c->in, c->in + done, c->len);
}

static void open_conn(struct conn *c, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0) die("connect");
    char head[512];
    int n = snprintf(head, sizeof(head),
                     "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wsbus.v1\r\n\r\n",
                     port);
    write_all(c->fd, head, (size_t)n);
    c->cap = INPUT;
    c->in = malloc(c->cap);
    if (!c->in) die("memory");
    while (!c->open) /* nothing may be sent before */
        receive(c, 0);
}

static double age_ms(const struct ages *a, double share)
{
    uint64_t want = (uint64_t)((double)a->dated * share), seen = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        seen += a->slots[i];
        if (seen > want) return (double)(i + 1) * SLOT_US / 1000;
    }
    return (double)a->oldest_us / 1000;
}

static void report(const struct ages *a)
{
    printf("{");
    for (enum type t = MESSAGE; t < TYPES; t++)
        printf("\"%s\":%" PRIu64 ",", names[t], counts[t]);
    printf("\"dated\":%" PRIu64 ",\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f}\n",
           a->dated, age_ms(a, 0.5), age_ms(a, 0.99), age_ms(a, 0.999),
           (double)a->oldest_us / 1000);
}

static void add(struct ages *to, const struct ages *a)
{
    for (size_t i = 0; i < SLOTS; i++)
        to->slots[i] += a->slots[i];
    to->dated += a->dated;
    if (a->oldest_us > to->oldest_us) to->oldest_us = a->oldest_us;
}

static void go(void)
{
    began = now_ns();
    for (unsigned i = 0; i < conn_count; i++)
        subscribe(&conns[i], i * each, each);
}

static void print_times(const char *name, const uint64_t *times)
{
    printf("{\"%s\":[", name);
    for (size_t i = 0; i < numbered; i++)
        printf("%s%" PRIu64, i ? "," : "", times[i]);
    puts("]}");
}

/* False at the end of the input. */
static bool command(void)
{
    char line[256], name[32];
    int set = 0;
    if (!fgets(line, sizeof(line), stdin)) return false;
    if (sscanf(line, "wait %31s %" SCNu64, name, &wanted_count) == 2) {
        for (wanted = MESSAGE; wanted < OTHER && strcmp(names[wanted], name) != 0; wanted++) {
        }
    } else if (strncmp(line, "clear", 5) == 0) {
        memset(sets, 0, sizeof(sets));
        memset(arrivals, 0, numbered * sizeof(*arrivals));
        memset(latest, 0, numbered * sizeof(*latest));
        numbered = 0;
        puts("{}");
    } else if (sscanf(line, "into %d", &set) == 1) {
        ages = set < 0 || set >= SETS ? NULL : &sets[set];
        puts("{}");
    } else if (strncmp(line, "keep", 4) == 0 || strncmp(line, "drop", 4) == 0) {
        for (int i = 0; i < 2; i++) {
            if (line[0] == 'k') add(&sets[i], &sets[i + 2]);
            memset(&sets[i + 2], 0, sizeof(sets[0]));
        }
        puts("{}");
    } else if (strncmp(line, "go", 2) == 0) {
        go();
        puts("{}");
    } else if (strncmp(line, "arrivals", 8) == 0) {
        print_times("arrivals", arrivals);
    } else if (strncmp(line, "latest", 6) == 0) {
        print_times("latest", latest);
    } else {
        (void)sscanf(line, "report %d", &set);
        report(&sets[set < 0 || set >= SETS ? 0 : set]);
    }
    fflush(stdout);
    return true;
}

static void loop(int poll)
{
    for (;;) {
        struct epoll_event events[BATCH];
        int n = epoll_wait(poll, events, BATCH, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                receive(events[i].data.ptr, MSG_DONTWAIT);
            else if (!command())
                return;
        }
        check_wanted();
    }
}

static void watch(int poll, int fd, struct conn *c)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) != 0) die("epoll");
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: sink PORT CONNECTIONS SUBSCRIPTIONS FRAME [hold]\n");
        return 2;
    }
    setvbuf(stdin, NULL, _IONBF, 0); /* what is buffered would not be seen by epoll */
    uint16_t port = (uint16_t)strtoul(argv[1], NULL, 10);
    conn_count = (unsigned)strtoul(argv[2], NULL, 10);
    each = (unsigned)strtoul(argv[3], NULL, 10);
    frame = argv[4];
    conns = calloc(conn_count + 1, sizeof(*conns));
    int poll = epoll_create1(EPOLL_CLOEXEC);
    if (!conns || poll < 0) die("start");
    for (unsigned i = 0; i < conn_count; i++)
        open_conn(&conns[i], port);
    for (unsigned i = 0; i < conn_count; i++)
        watch(poll, conns[i].fd, &conns[i]);
    if (argc < 6) go();
    watch(poll, STDIN_FILENO, NULL);
    loop(poll);
    for (unsigned i = 0; i < conn_count; i++) {
        close(conns[i].fd);
        free(conns[i].in);
    }
    free(conns);
    return 0;
}
