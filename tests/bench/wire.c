#include "wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

bool wire_frame(char *p, size_t n, struct wire_frame *ret_frame)
{
    const unsigned char *u = (const unsigned char *)p;
    if (n < 2) return false;
    size_t head = 2, len = u[1] & 0x7f;
    if (len >= 126) {
        head = len == 126 ? 4 : 10;
        if (n < head) return false;
        len = 0;
        for (size_t i = 2; i < head; i++)
            len = len << 8 | u[i];
    }
    bool masked = (u[1] & 0x80) != 0;
    if (masked) head += 4;
    if (n < head || n - head < len) return false;
    *ret_frame = (struct wire_frame){.opcode = u[0] & 0x0f,
                                     .masked = masked,
                                     .packed = (u[0] & 0x40) != 0,
                                     .payload = p + head,
                                     .len = len,
                                     .size = head + len};
    return true;
}

size_t wire_head(char *out, unsigned opcode, size_t len)
{
    out[0] = (char)(0x80 | opcode);
    if (len < 126) {
        out[1] = (char)len;
        return 2;
    }
    size_t bytes = len < 65536 ? 2 : 8;
    out[1] = bytes == 2 ? 126 : 127;
    for (size_t i = 0; i < bytes; i++)
        out[2 + i] = (char)((uint64_t)len >> (8 * (bytes - 1 - i)));
    return 2 + bytes;
}

size_t wire_pong(char *out, const struct wire_frame *ping)
{
    size_t n = ping->len < 126 ? ping->len : 0;
    memcpy(out, (char[6]){(char)0x8a, (char)(0x80 | n)}, 6); /* masked with zeros */
    memcpy(out + 6, ping->payload, n);
    return 6 + n;
}

size_t wire_masked(char *out, const char *text, size_t len)
{
    size_t head = wire_head(out, 1, len);
    out[1] = (char)(out[1] | 0x80);
    memset(out + head, 0, 4);
    memcpy(out + head + 4, text, len);
    return head + 4 + len;
}

int wire_connect(uint16_t port, unsigned number)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sockaddr_in own = {.sin_family = AF_INET};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % 16);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;
    if (fd < 0) wire_die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    /* Thousands that have just ended, and wait for what is late, would be in the way of the next. */
    struct linger none = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
    if (bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0) wire_die("bind");
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
        wire_die("connect");
    return fd;
}

size_t wire_request(char *out, size_t cap, const char *path, const char *more)
{
    int n = snprintf(out, cap,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
                     "Sec-WebSocket-Version: 13\r\n%s\r\n",
                     path, more);
    if (n < 0 || (size_t)n >= cap) wire_die("request");
    return (size_t)n;
}

const char *wire_arg(char **argv, const char *name, const char *otherwise)
{
    size_t len = strlen(name);
    for (; *argv; argv++)
        if (strncmp(*argv, name, len) == 0 && (*argv)[len] == '=') return *argv + len + 1;
    return otherwise;
}

unsigned wire_number(char **argv, const char *name, unsigned otherwise)
{
    const char *text = wire_arg(argv, name, NULL);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

uint64_t wire_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

void wire_die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}
