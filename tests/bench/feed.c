/* The publisher of a fan-out: the same messages at the same times over one connection, whatever the server.
 *
 *     feed to=DIALECT port=N channels=N rate=R seconds=S size=N [form=prices] [channel=N]
 *     feed to=kafka brokers=LIST topic=NAME …
 *
 * RATE messages a second, one after the other to the channels 0, 1, … CHANNELS-1 and again; with CHANNEL
 * only to that one. The message is that of text.h. What is due at one moment leaves in one write. Dialects:
 *     ws           publish frames without id on /ws, to channel "b.00012"
 *     http         POST /pub?id=00012, pipelined
 *     redis        PUBLISH b.00012, pipelined
 *     centrifugo   the same in the form of its Redis engine: PUBLISH centrifugo.client.b.00012 and a
 *                  protobuf message whose field 4 is the payload
 *     kafka        to one topic; the key is 00012
 *
 * Answers are read and thrown away, but for the count of those over HTTP that say no. Prints a line of JSON
 * before the first message: how many there will be; and one at the end: seconds, refused, and the greatest
 * delay of its own in ms. The connection stays until the standard input ends. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "feed.h"
#include "text.h"
#include "wire.h"

enum { OUT = 1 << 18 };
enum dialect { WS, HTTP, REDIS, CENTRIFUGO, KAFKA, DIALECTS };
static const char *const names[DIALECTS] = {"ws", "http", "redis", "centrifugo", "kafka"};

static enum dialect dialect;
static int fd = -1;
static size_t size;
static enum text_form form;
static char out[OUT];
static size_t used;
static uint64_t refused;
static bool heard; /* anything of the server */

/* An answer that is cut in two is not looked at: what goes wrong goes wrong often. */
static void count_refusals(const char *p, const char *end)
{
    static const char head[] = "HTTP/1.1 ";
    const size_t len = sizeof(head) - 1;
    for (; (p = memmem(p, (size_t)(end - p), head, len)) && p + len < end; p += len)
        if (p[len] != '2') refused++;
}

static void swallow(void)
{
    static char in[65536];
    ssize_t n;
    while ((n = recv(fd, in, sizeof(in), MSG_DONTWAIT)) > 0) {
        heard = true;
        if (dialect == HTTP) count_refusals(in, in + n);
    }
    if (n == 0) {
        errno = ECONNRESET;
        wire_die("the server has closed the connection of the publisher");
    }
}

static void push(void)
{
    if (dialect == KAFKA) {
        feed_kafka_poll();
        return;
    }
    for (size_t at = 0; at < used;) {
        ssize_t n = send(fd, out + at, used - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) wire_die("send");
        if (n > 0) at += (size_t)n;
        struct pollfd p = {.fd = fd, .events = POLLIN | (short)(at < used ? POLLOUT : 0)};
        if (at < used) poll(&p, 1, -1);
        swallow();
    }
    used = 0;
}

static size_t varint(char *to, size_t n)
{
    size_t len = 0;
    for (; n >= 128; n >>= 7)
        to[len++] = (char)(n | 128);
    to[len++] = (char)n;
    return len;
}

/* All of a PUBLISH but the payload. */
static size_t put_redis(const char *prefix, unsigned channel, size_t len)
{
    char name[64];
    int name_len = snprintf(name, sizeof(name), "%sb.%05u", prefix, channel);
    return (size_t)sprintf(out + used, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%zu\r\n", name_len,
                           name, len);
}

static void put_bytes(const void *p, size_t n)
{
    memcpy(out + used, p, n);
    used += n;
}

static void put(unsigned channel, uint64_t n, uint64_t due_us)
{
    static char body[TEXT_MAX + 256], text[TEXT_MAX + 512];
    size_t len = text_message(body, size, form, (uint64_t[]){channel, n, due_us}), head_len;
    char head[16];
    if (used + len + 512 > sizeof(out)) push();
    switch (dialect) {
    case WS:
        head_len = (size_t)snprintf(text, sizeof(text),
                                    "{\"type\":\"publish\",\"channel\":\"b.%05u\",\"data\":%.*s}",
                                    channel, (int)len, body);
        used += wire_masked(out + used, text, head_len);
        return;
    case HTTP:
        used += (size_t)sprintf(
            out + used, "POST /pub?id=%05u HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
            channel, len);
        put_bytes(body, len);
        return;
    case REDIS:
        used += put_redis("", channel, len);
        put_bytes(body, len);
        put_bytes("\r\n", 2);
        return;
    case CENTRIFUGO:
        head[0] = 4 << 3 | 2;
        head_len = 1 + varint(head + 1, len);
        used += put_redis("centrifugo.client.", channel, head_len + len);
        put_bytes(head, head_len);
        put_bytes(body, len);
        put_bytes("\r\n", 2);
        return;
    case KAFKA: feed_kafka_put(channel, body, len); return;
    case DIALECTS: break;
    }
}

static void join(char **argv)
{
    if (dialect == KAFKA) {
        feed_kafka_open(wire_arg(argv, "brokers", ""), wire_arg(argv, "topic", ""));
        return;
    }
    fd = wire_connect((uint16_t)wire_number(argv, "port", 0), 0);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    poll(&p, 1, -1);
    if (dialect != WS) return;
    used = wire_request(out, sizeof(out), "/ws", "");
    push();
    p.events =
        POLLIN; /* nothing may be sent before the answer, which push() may have met already */
    while (!heard) {
        poll(&p, 1, -1);
        swallow();
    }
}

/* An end with unread answers would be a reset, and the server would lose what it has not read yet. */
static void linger(void)
{
    struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    char byte;
    for (;;) {
        poll(p, 2, -1);
        if (p[0].revents && read(STDIN_FILENO, &byte, 1) <= 0) return;
        if (p[1].revents) swallow();
    }
}

static void sleep_until(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000U), .tv_nsec = (long)(ns % 1000000000U)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

int main(int argc, char **argv)
{
    dialect = DIALECTS;
    for (enum dialect d = WS; d < DIALECTS; d++)
        if (strcmp(wire_arg(argv, "to", ""), names[d]) == 0) dialect = d;
    unsigned channels = wire_number(argv, "channels", 1), only = wire_number(argv, "channel", 0);
    double rate = strtod(wire_arg(argv, "rate", "0"), NULL);
    double seconds = strtod(wire_arg(argv, "seconds", "0"), NULL);
    size = wire_number(argv, "size", 100);
    if (argc < 4 || dialect == DIALECTS || channels == 0 || rate <= 0 || size > TEXT_MAX) {
        fprintf(stderr, "usage: feed to=DIALECT port=N channels=N rate=R seconds=S size=N …\n");
        return 2;
    }
    form = strcmp(wire_arg(argv, "form", ""), "prices") == 0 ? TEXT_PRICES : TEXT_PLAIN;
    join(argv);
    uint64_t begin = wire_ns() + 1000000, count = (uint64_t)(rate * seconds), late = 0;
    printf("{\"messages\":%" PRIu64 "}\n", count);
    fflush(stdout);
    for (uint64_t i = 0; i < count;) {
        uint64_t due = begin + (uint64_t)((double)i * 1e9 / rate), now = wire_ns();
        if (due > now) {
            push();
            /* Not more often than each millisecond: so it comes in batches, as from a bus. */
            sleep_until(due > now + 1000000 ? due : now + 1000000);
            continue;
        }
        if (now - due > late) late = now - due;
        put(only + (unsigned)(i % channels), i / channels + 1, due / 1000);
        i++;
    }
    push();
    if (dialect == KAFKA) feed_kafka_end();
    printf("{\"seconds\":%.3f,\"refused\":%" PRIu64 ",\"late\":%.2f}\n",
           (double)(wire_ns() - begin) / 1e9, refused, (double)late / 1e6);
    fflush(stdout);
    linger();
    return 0;
}
