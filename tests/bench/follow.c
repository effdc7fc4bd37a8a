/* Many clients that follow channels and come back when their connection ends, each from its own
 * cursor: the measuring end of the tests of restarts.
 *
 *     follow PORT CLIENTS CHANNELS PREFIX
 *
 * Client i subscribes to channel PREFIX<i modulo CHANNELS>, of one partition. The messages of a
 * channel must be {"n":1}, {"n":2}, …: each client counts what is missing and what comes twice. A
 * client obeys `goaway`; without one it waits up to a second. Lines on standard input, each
 * answered by one line of JSON:
 *
 *     subscribed    when all are, for the first time
 *     until N       when all have had N messages
 *     report        what happened so far; `peak`: connections that were made anew in the worst second,
 *                   `planned`: those that were to be made in it, had this machine the time
 *
 * Ends with its input. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { INPUT = 1 << 18, BATCH = 512, PLACE = 64, BEGIN_EACH = 100, LOOK_MS = 10 };
enum state { AWAY, HELLO, OPEN };

struct client {
    int fd;
    enum state state;
    unsigned number;
    uint64_t due;        /* AWAY: ms, when to connect */
    uint64_t planned;    /* the same, but for delays of this machine */
    uint64_t not_before; /* ms, of goaway */
    bool ever;           /* it has been subscribed */
    uint64_t had;        /* the newest message */
    char place[PLACE];   /* of it: "0/…", or "" */
    char *rest;          /* the beginning of what is not all there yet */
    size_t rest_len;
};

static struct {
    uint64_t received, missing, twice, gaps, lost, refused, ended;
    uint64_t codes[2]; /* connections that ended with 1012; otherwise */
} sum;

static struct client *clients;
static unsigned client_count, channel_count, ever_count;
static const char *prefix;
static uint16_t port;
static int poller;
/* Of each connection that was made anew: when it was, and when it was to be, in ms. */
static struct {
    uint64_t *at;
    size_t count, size;
} made, planned;

static void die(const char *what)
{
    fprintf(stderr, "follow: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- out ------------------------------------------------------------------------------------- */

static void send_frame(struct client *c, unsigned opcode, const char *text, size_t n)
{
    char out[512] = {(char)(0x80 | opcode), (char)(0x80 | (n < 126 ? n : 126))};
    size_t head = n < 126 ? 2 : 4;

    if (n + 8 > sizeof(out)) return;
    if (head == 4) {
        out[2] = (char)(n >> 8);
        out[3] = (char)n;
    }
    memcpy(out + head + 4, text, n); /* the mask is zero */
    /* Little, on an empty socket: it goes out whole, or the connection is at its end. */
    (void)!send(c->fd, out, head + 4 + n, MSG_NOSIGNAL);
}

static void subscribe(struct client *c)
{
    char text[256], from[PLACE + 20] = "\"now\"";
    int n;

    if (c->ever) snprintf(from, sizeof(from), "{\"after\":[\"%s\"]}", c->place);
    n = snprintf(text, sizeof(text),
                 "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"%s%u\",\"from\":%s}", prefix,
                 c->number % channel_count, from);
    send_frame(c, 1, text, (size_t)n);
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void note(uint64_t **list, size_t *count, size_t *size, uint64_t at)
{
    if (*count == *size) {
        *size = *size ? 2 * *size : 1024;
        *list = realloc(*list, *size * sizeof(**list));
        if (!*list) die("memory");
    }
    (*list)[(*count)++] = at;
}

/* The most within any one second. */
static uint64_t peak(uint64_t *list, size_t count)
{
    uint64_t most = 0;

    qsort(list, count, sizeof(*list), by_time);
    for (size_t i = 0, from = 0; i < count; i++) {
        while (list[i] - list[from] >= 1000)
            from++;
        if (i - from + 1 > most) most = i - from + 1;
    }
    return most;
}

static void come(struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    char head[512];
    int n;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0) die("connect");
    n = snprintf(head, sizeof(head),
                 "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wsbus.v1\r\n\r\n",
                 port);
    (void)!send(c->fd, head, (size_t)n, MSG_NOSIGNAL);
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e) != 0) die("epoll");
    c->state = HELLO;
    if (!c->ever) return;
    note(&made.at, &made.count, &made.size, now_ms());
    note(&planned.at, &planned.count, &planned.size, c->planned);
}

static void go(struct client *c)
{
    uint64_t now = now_ms();

    close(c->fd);
    free(c->rest);
    c->rest = NULL;
    c->rest_len = 0;
    if (c->state == OPEN)
        sum.ended++;
    else
        sum.refused++;
    c->state = AWAY;
    c->due = c->not_before > now ? c->not_before : now;
    if (c->not_before == 0) c->due = now + (uint64_t)(random() % 1000);
    c->planned = c->not_before ? c->not_before : c->due;
    c->not_before = 0;
}

/* ---- in -------------------------------------------------------------------------------------- */

/* The text behind `name` in a frame that this program's server has written, up to a quote. */
static bool text_of(const char *p, size_t n, const char *name, char *ret)
{
    const char *at = memmem(p, n, name, strlen(name)), *end;

    if (!at) return false;
    at += strlen(name);
    end = memchr(at, '"', n - (size_t)(at - p));
    if (!end || end - at >= PLACE) return false;
    memcpy(ret, at, (size_t)(end - at));
    ret[end - at] = '\0';
    return true;
}

static uint64_t number_of(const char *p, size_t n, const char *name)
{
    const char *at = memmem(p, n, name, strlen(name)), *end = p + n;
    uint64_t v = 0;

    if (!at) return 0;
    for (at += strlen(name); at < end && *at >= '0' && *at <= '9'; at++)
        v = v * 10 + (uint64_t)(*at - '0');
    return v;
}

static bool is_type(const char *p, size_t n, const char *type)
{
    static const char start[] = "{\"type\":\"";
    size_t skip = sizeof(start) - 1, len = strlen(type);

    return n > skip + len && memcmp(p + skip, type, len) == 0 && p[skip + len] == '"';
}

static void take_message(struct client *c, const char *p, size_t n)
{
    uint64_t k = number_of(p, n, "\"n\":");

    sum.received++;
    if (!text_of(p, n, "\"pos\":\"", c->place)) die("a message without a position");
    if (k <= c->had)
        sum.twice++;
    else
        sum.missing += k - c->had - 1;
    if (k > c->had) c->had = k;
}

static void take_text(struct client *c, const char *p, size_t n)
{
    if (is_type(p, n, "message")) {
        take_message(c, p, n);
    } else if (is_type(p, n, "welcome")) {
        subscribe(c);
    } else if (is_type(p, n, "subscribed")) {
        if (memmem(p, n, "\"recovered\":false", 17)) sum.lost++;
        if (c->ever) return;
        if (!text_of(p, n, "\"cursor\":[\"", c->place)) die("no cursor");
        c->ever = true;
        ever_count++;
    } else if (is_type(p, n, "goaway")) {
        c->not_before = now_ms() + number_of(p, n, "\"retry_after\":");
    } else if (is_type(p, n, "gap")) {
        sum.gaps++;
    } else if (is_type(p, n, "error")) {
        fprintf(stderr, "follow: %.*s\n", (int)n, p);
        shutdown(c->fd, SHUT_RDWR); /* again, after a while */
    }
}

/* The length of the frame at `p` with its head, which is *ret_head; 0: not all of it is there. */
static size_t frame_size(const unsigned char *p, size_t n, size_t *ret_head)
{
    size_t head, len;

    if (n < 2) return 0;
    len = p[1] & 0x7f;
    head = len < 126 ? 2 : len == 126 ? 4 : 10;
    if (n < head) return 0;
    if (len >= 126) len = 0;
    for (size_t i = 2; i < head; i++)
        len = len << 8 | p[i];
    *ret_head = head;
    return n >= head + len ? head + len : 0;
}

/* False: the server says that it is over. */
static bool take_frame(struct client *c, const char *p, size_t head, size_t n)
{
    unsigned code;

    switch (p[0] & 0x0f) {
    case 1: take_text(c, p + head, n - head); return true;
    case 9: send_frame(c, 10, p + head, n - head); return true;
    case 8:
        code =
            n >= head + 2 ? (unsigned)(unsigned char)p[head] << 8 | (unsigned char)p[head + 1] : 0;
        sum.codes[code == 1012 ? 0 : 1]++;
        send_frame(c, 8, p + head, n - head < 2 ? 0 : 2);
        return false;
    default: return true;
    }
}

/* How much of it is done with; SIZE_MAX: it is over. */
static size_t take(struct client *c, const char *p, size_t n)
{
    size_t at = 0, head = 0, size;

    if (c->state == HELLO) {
        const char *end = memmem(p, n, "\r\n\r\n", 4);
        if (!end) return 0;
        if (memcmp(p, "HTTP/1.1 101", 12) != 0) {
            if (sum.refused < 3) fprintf(stderr, "follow: refused: %.*s\n", 12, p);
            return SIZE_MAX;
        }
        c->state = OPEN;
        at = (size_t)(end - p) + 4;
    }
    while ((size = frame_size((const unsigned char *)p + at, n - at, &head)) > 0) {
        if (!take_frame(c, p + at, head, size)) return SIZE_MAX;
        at += size;
    }
    return at;
}

static void receive(struct client *c)
{
    static char in[INPUT];
    size_t n = c->rest_len, done;
    ssize_t more;

    if (n) memcpy(in, c->rest, n);
    more = recv(c->fd, in + n, sizeof(in) - n, 0);
    if (more < 0 && (errno == EAGAIN || errno == EINTR)) return;
    done = more > 0 ? take(c, in, n + (size_t)more) : SIZE_MAX;
    if (done == SIZE_MAX) {
        go(c);
        return;
    }
    n = n + (size_t)more - done;
    free(c->rest);
    c->rest = n ? malloc(n) : NULL;
    if (n && !c->rest) die("memory");
    if (n) memcpy(c->rest, in + done, n);
    c->rest_len = n;
}

/* ---- commands -------------------------------------------------------------------------------- */

static enum { NOTHING, SUBSCRIBED, UNTIL } wanted;
static uint64_t wanted_count;

static void check_wanted(void)
{
    bool good = wanted != NOTHING;

    if (wanted == SUBSCRIBED) good = ever_count == client_count;
    for (unsigned i = 0; good && wanted == UNTIL && i < client_count; i++)
        good = clients[i].had >= wanted_count;
    if (!good) return;
    wanted = NOTHING;
    puts("{}");
    fflush(stdout);
}

static void report(void)
{
    unsigned open = 0;
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < client_count; i++) {
        open += clients[i].state == OPEN;
        if (clients[i].had < least) least = clients[i].had;
    }
    printf("{\"open\":%u,\"received\":%" PRIu64 ",\"least\":%" PRIu64 ",\"missing\":%" PRIu64
           ",\"twice\":%" PRIu64 ",\"gaps\":%" PRIu64 ",\"unrecovered\":%" PRIu64
           ",\"refused\":%" PRIu64 ",\"ended\":%" PRIu64 ",\"restart\":%" PRIu64
           ",\"other\":%" PRIu64 ",\"again\":%zu,\"peak\":%" PRIu64 ",\"planned\":%" PRIu64 "}\n",
           open, sum.received, least, sum.missing, sum.twice, sum.gaps, sum.lost, sum.refused,
           sum.ended, sum.codes[0], sum.codes[1], made.count, peak(made.at, made.count),
           peak(planned.at, planned.count));
    fflush(stdout);
}

/* False at the end of the input. */
static bool command(void)
{
    char line[256];

    if (!fgets(line, sizeof(line), stdin)) return false;
    if (strncmp(line, "subscribed", 10) == 0)
        wanted = SUBSCRIBED;
    else if (sscanf(line, "until %" SCNu64, &wanted_count) == 1)
        wanted = UNTIL;
    else
        report();
    return true;
}

/* Those whose time has come; at most so many in a row, so that the others are read. */
static void come_back(void)
{
    uint64_t now = now_ms();
    unsigned begun = 0;

    for (unsigned i = 0; i < client_count && begun < BEGIN_EACH; i++) {
        if (clients[i].state != AWAY || clients[i].due > now) continue;
        come(&clients[i]);
        begun++;
    }
}

static void run(void)
{
    struct epoll_event events[BATCH];
    uint64_t looked = 0;

    for (;;) {
        int n = epoll_wait(poller, events, BATCH, LOOK_MS);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!c && !command()) return;
            if (c && c->state != AWAY) receive(c);
        }
        if (now_ms() - looked < LOOK_MS) continue;
        looked = now_ms();
        come_back();
        check_wanted();
    }
}

int main(int argc, char **argv)
{
    struct epoll_event input = {.events = EPOLLIN};

    if (argc != 5) {
        fputs("follow PORT CLIENTS CHANNELS PREFIX\n", stderr);
        return 2;
    }
    port = (uint16_t)atoi(argv[1]);
    client_count = (unsigned)atoi(argv[2]);
    channel_count = (unsigned)atoi(argv[3]);
    prefix = argv[4];
    setvbuf(stdin, NULL, _IONBF, 0); /* a line that is read ahead would not wake the poller */
    clients = calloc(client_count, sizeof(*clients));
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input) != 0) die("start");
    for (unsigned i = 0; i < client_count; i++)
        clients[i].number = i;
    run();
    return 0;
}
