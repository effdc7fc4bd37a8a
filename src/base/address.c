#include "base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const unsigned char four[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_four(const unsigned char ip[16])
{
    return memcmp(ip, four, sizeof four) == 0;
}

void address_of(const struct sockaddr *from, struct address *ret)
{
    *ret = (struct address){.kind = ADDRESS_NONE};
    if (!from) return;
    if (from->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof in);
        memcpy(ret->ip, four, sizeof four);
        memcpy(ret->ip + sizeof four, &in.sin_addr, 4);
        ret->port = ntohs(in.sin_port);
        ret->kind = ADDRESS_IP;
    } else if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, from, sizeof in);
        memcpy(ret->ip, &in.sin6_addr, 16);
        ret->port = ntohs(in.sin6_port);
        ret->kind = ADDRESS_IP;
    } else if (from->sa_family == AF_UNIX) {
        ret->kind = ADDRESS_UNIX;
    }
}

/* The address alone, without port and brackets. */
static bool parse_ip(struct span text, unsigned char ret[16])
{
    char room[INET6_ADDRSTRLEN];
    if (text.n == 0 || text.n >= sizeof room || memchr(text.p, '\0', text.n)) return false;
    memcpy(room, text.p, text.n);
    room[text.n] = '\0';
    if (inet_pton(AF_INET6, room, ret) == 1) return true;
    if (inet_pton(AF_INET, room, ret + sizeof four) != 1) return false;
    memcpy(ret, four, sizeof four);
    return true;
}

static bool parse_port(struct span text, uint16_t *ret)
{
    unsigned port = 0;
    if (text.n == 0 || text.n > 5) return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return false;
        port = port * 10 + (unsigned)(text.p[i] - '0');
    }
    if (port > 65535) return false;
    *ret = (uint16_t)port;
    return true;
}

bool address_parse(struct span text, struct address *ret)
{
    struct address a = {.kind = ADDRESS_IP};
    struct span ip = text, port = {NULL, 0};
    const char *colon = text.n ? memchr(text.p, ':', text.n) : NULL;
    if (text.n && text.p[0] == '[') {
        const char *end = memchr(text.p, ']', text.n);
        if (!end) return false;
        ip = span_of(text.p + 1, (size_t)(end - text.p) - 1);
        if (!memchr(ip.p, ':', ip.n)) return false;
        size_t used = (size_t)(end - text.p) + 1;
        if (used < text.n && text.p[used] != ':') return false;
        if (used < text.n) port = span_of(text.p + used + 1, text.n - used - 1);
        if (used < text.n && port.n == 0) return false;
    } else if (colon && !memchr(colon + 1, ':', text.n - (size_t)(colon - text.p) - 1)) {
        ip = span_of(text.p, (size_t)(colon - text.p));
        port = span_of(colon + 1, text.n - ip.n - 1);
        if (port.n == 0) return false;
    }
    if (!parse_ip(ip, a.ip)) return false;
    if (port.n && !parse_port(port, &a.port)) return false;
    *ret = a;
    return true;
}

void address_write(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (a->kind != ADDRESS_IP) {
        snprintf(out, ADDRESS_TEXT_MAX, "%s", a->kind == ADDRESS_UNIX ? "unix" : "gone");
        return;
    }
    bool old = is_four(a->ip);
    inet_ntop(old ? AF_INET : AF_INET6, old ? a->ip + sizeof four : a->ip, ip, sizeof ip);
    if (a->port == 0)
        snprintf(out, ADDRESS_TEXT_MAX, "%s", ip);
    else
        snprintf(out, ADDRESS_TEXT_MAX, old ? "%s:%u" : "[%s]:%u", ip, (unsigned)a->port);
}

bool address_loopback(const struct address *a)
{
    static const unsigned char one[16] = {[15] = 1};
    if (a->kind != ADDRESS_IP) return a->kind == ADDRESS_UNIX;
    return is_four(a->ip) ? a->ip[12] == 127 : memcmp(a->ip, one, sizeof one) == 0;
}

void address_group(const struct address *a, unsigned char ret[16])
{
    memcpy(ret, a->ip, 16);
    if (!is_four(a->ip)) memset(ret + 8, 0, 8);
}

/* ---- networks ------------------------------------------------------------------------------- */

static void keep_bits(unsigned char ip[16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned whole = bits >= (i + 1) * 8 ? 8 : bits > i * 8 ? bits - i * 8 : 0;
        ip[i] &= (unsigned char)(0xff00u >> whole);
    }
}

static int refuse(char *err, size_t size, const char *text, const char *words)
{
    snprintf(err, size, "\"%.80s\" %s", text, words);
    return -1;
}

int address_net_parse(const char *text, struct address_net *ret, char *err, size_t err_size)
{
    struct address_net net = {.kind = ADDRESS_IP, .bits = 128};
    uint16_t bits = 0;
    if (strcmp(text, "unix:") == 0) {
        *ret = (struct address_net){.kind = ADDRESS_UNIX};
        return 0;
    }
    const char *slash = strchr(text, '/');
    struct span ip = slash ? span_of(text, (size_t)(slash - text)) : span_str(text);
    if (!parse_ip(ip, net.ip))
        return refuse(err, err_size, text,
                      "is no numeric address and no network; write it like \"192.0.2.1\", "
                      "\"10.0.0.0/8\", \"2001:db8::/32\" or \"unix:\"");
    unsigned most = memchr(ip.p, ':', ip.n) ? 128 : 32;
    if (slash && (!parse_port(span_str(slash + 1), &bits) || bits > most))
        return refuse(err, err_size, text, "has no number of bits behind the slash that fits");
    if (slash) net.bits = 128 - most + bits;
    struct address_net cut = net;
    keep_bits(cut.ip, cut.bits);
    if (memcmp(cut.ip, net.ip, sizeof net.ip) != 0)
        return refuse(err, err_size, text, "has bits set behind those that the slash names");
    *ret = net;
    return 0;
}

bool address_in(const struct address *a, const struct address_net *net)
{
    unsigned char ip[16];
    if (a->kind != net->kind || a->kind == ADDRESS_NONE) return false;
    if (a->kind == ADDRESS_UNIX) return true;
    memcpy(ip, a->ip, sizeof ip);
    keep_bits(ip, net->bits);
    return memcmp(ip, net->ip, sizeof ip) == 0;
}
