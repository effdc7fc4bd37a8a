#include "floor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "wire.h"

enum { INPUT = 1 << 18 };

static int fd = -1;
static char in[INPUT];
static size_t len;

static int open_redis(char **argv)
{
    fd = wire_connect((uint16_t)wire_number(argv, "redis", 0), 0);
    return fd;
}

static void join(unsigned channel)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "*2\r\n$9\r\nSUBSCRIBE\r\n$7\r\nb.%05u\r\n", channel);
    /* A queue that is full is one that Redis will read. */
    for (int at = 0; at < n;) {
        ssize_t done = send(fd, text + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN) wire_die("Redis");
        if (done > 0) at += (int)done;
    }
}

/* The length after '$', '*' or ':' at `at`, and the place after its line; 0: not all there. */
static size_t line(size_t at, long *ret_number)
{
    char *end = memchr(in + at, '\n', len - at);
    if (!end) return 0;
    *ret_number = strtol(in + at + 1, NULL, 10);
    return (size_t)(end - in) + 1;
}

/* One push: three elements, of which the last may be a number. Returns where the next one begins, or 0. */
static size_t push(size_t at)
{
    char *part[3] = {0};
    long size[3] = {0}, count = 0;
    at = line(at, &count);
    for (int i = 0; at > 0 && i < 3; i++) {
        if (at >= len) return 0;
        bool number = in[at] == ':';
        at = line(at, &size[i]);
        if (number || at == 0) continue;
        if (at + (size_t)size[i] + 2 > len) return 0;
        part[i] = in + at;
        at += (size_t)size[i] + 2;
    }
    if (at > 0 && part[2] && memcmp(part[0], "message", 7) == 0)
        floor_deliver(part[2], (size_t)size[2], (unsigned)strtoul(part[1] + 2, NULL, 10));
    return at;
}

static void read_redis(void)
{
    ssize_t n = recv(fd, in + len, sizeof(in) - len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) wire_die("Redis has gone");
    len += (size_t)n;
    size_t at = 0, next;
    while (at < len && (next = push(at)) > 0)
        at = next;
    len -= at;
    memmove(in, in + at, len);
}

const struct floor_bus floor_redis = {"redis", open_redis, read_redis, join};
