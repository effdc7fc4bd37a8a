/* The publisher of a fan-out: the same messages at the same times over one connection, whatever the server.
 *
 *     feed DIALECT PORT CHANNELS RATE SECONDS SIZE [CHANNEL]
 *
 * RATE messages a second, one after the other to the channels 0, 1, … CHANNELS-1 and again; with CHANNEL
 * only to that one. A message is {"c":CHANNEL,"s":NUMBER,"t":NS,"p":"xxx…"} of SIZE bytes (32 digits and
 * more are the least): NUMBER counts in its channel from 1, NS is when it was due. What is due at one
 * moment leaves in one write. DIALECT:
 *     wsbus   publish frames without id on /ws, to channel "b.N"
 *     floor   "N MESSAGE" on /feed
 *     http    POST /pub?id=N, pipelined (nchan)
 *     redis   PUBLISH b.N, pipelined
 *
 * Answers are read and thrown away. Prints one line of JSON: messages, seconds, and the greatest delay of
 * its own in ms. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"

enum { OUT = 1 << 18, SIZE_MAX_BYTES = 65536 };

enum dialect { WSBUS, FLOOR, HTTP, REDIS, DIALECTS };
static const char *const names[DIALECTS] = {"wsbus", "floor", "http", "redis"};

static enum dialect dialect;
static uint16_t port;
static int fd;
static size_t size;
static char filler[SIZE_MAX_BYTES];
static char out[OUT];
static size_t used;

static void swallow(void)
{
    static char in[65536];
    ssize_t n;
    while ((n = recv(fd, in, sizeof(in), MSG_DONTWAIT)) > 0) {
    }
    if (n == 0) {
        errno = ECONNRESET;
        wire_die("the server has closed the connection of the publisher");
    }
}

static void push(void)
{
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

static size_t message(char *to, size_t cap, unsigned channel, uint64_t n, uint64_t due)
{
    int len = snprintf(to, cap, "{\"c\":%u,\"s\":%" PRIu64 ",\"t\":%" PRIu64 ",\"p\":\"", channel,
                       n, due);
    size_t fill = size > (size_t)len + 2 ? size - (size_t)len - 2 : 0;
    memcpy(to + len, filler, fill);
    memcpy(to + (size_t)len + fill, "\"}", 2);
    return (size_t)len + fill + 2;
}

static void put(unsigned channel, uint64_t n, uint64_t due)
{
    static char text[SIZE_MAX_BYTES + 512];
    static char body[SIZE_MAX_BYTES + 256];
    size_t len = message(body, sizeof(body), channel, n, due);
    int head;
    if (used + len + 512 > sizeof(out)) push();
    switch (dialect) {
    case WSBUS:
        head = snprintf(text, sizeof(text),
                        "{\"type\":\"publish\",\"channel\":\"b.%u\",\"data\":%.*s}", channel,
                        (int)len, body);
        used += wire_masked(out + used, text, (size_t)head);
        return;
    case FLOOR:
        head = snprintf(text, sizeof(text), "%u %.*s", channel, (int)len, body);
        used += wire_masked(out + used, text, (size_t)head);
        return;
    case HTTP:
        used += (size_t)snprintf(
            out + used, sizeof(out) - used,
            "POST /pub?id=%u HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%.*s", channel, len,
            (int)len, body);
        return;
    case REDIS:
        head = snprintf(text, sizeof(text), "b.%u", channel);
        used += (size_t)snprintf(out + used, sizeof(out) - used,
                                 "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%zu\r\n%.*s\r\n", head, text,
                                 len, (int)len, body);
        return;
    case DIALECTS: break;
    }
}

static void join(void)
{
    fd = wire_connect(port);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    poll(&p, 1, -1);
    if (dialect == HTTP || dialect == REDIS) return;
    used = wire_request(out, sizeof(out), port, dialect == WSBUS ? "/ws" : "/feed");
    push();
    p.events = POLLIN; /* nothing may be sent before the answer */
    poll(&p, 1, -1);
    swallow();
}

static void sleep_until(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000U), .tv_nsec = (long)(ns % 1000000000U)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

int main(int argc, char **argv)
{
    dialect = DIALECTS;
    for (enum dialect d = WSBUS; argc >= 7 && d < DIALECTS; d++)
        if (strcmp(argv[1], names[d]) == 0) dialect = d;
    if (dialect == DIALECTS) {
        fprintf(stderr, "usage: feed DIALECT PORT CHANNELS RATE SECONDS SIZE [CHANNEL]\n");
        return 2;
    }
    port = (uint16_t)strtoul(argv[2], NULL, 10);
    unsigned channels = (unsigned)strtoul(argv[3], NULL, 10);
    double rate = strtod(argv[4], NULL), seconds = strtod(argv[5], NULL);
    size = strtoul(argv[6], NULL, 10);
    if (channels == 0 || rate <= 0 || size > SIZE_MAX_BYTES) return 2;
    unsigned only = argc > 7 ? (unsigned)strtoul(argv[7], NULL, 10) : 0;
    memset(filler, 'x', sizeof(filler));
    join();
    uint64_t begin = wire_ns() + 1000000, count = (uint64_t)(rate * seconds), late = 0;
    for (uint64_t i = 0; i < count;) {
        uint64_t due = begin + (uint64_t)((double)i * 1e9 / rate), now = wire_ns();
        if (due > now) {
            push();
            /* Not more often than each millisecond: so it comes in batches, as from a bus. */
            sleep_until(due > now + 1000000 ? due : now + 1000000);
            continue;
        }
        if (now - due > late) late = now - due;
        put(only + (unsigned)(i % channels), i / channels + 1, due);
        i++;
    }
    push();
    printf("{\"messages\":%" PRIu64 ",\"seconds\":%.3f,\"late\":%.2f}\n", count,
           (double)(wire_ns() - begin) / 1e9, (double)late / 1e6);
    return 0;
}
