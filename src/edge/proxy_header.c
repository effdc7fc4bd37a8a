#include "edge/proxy_header.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define V1_MAX 107 /* with CRLF */
#define V2_HEAD 16

static const unsigned char v1_mark[] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const unsigned char v2_mark[] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                        '\n', 'Q',  'U',  'I',  'T', '\n'};

static bool begins(const unsigned char *p, size_t n, const unsigned char *mark, size_t size)
{
    return memcmp(p, mark, n < size ? n : size) == 0;
}

/* ---- version 1: a line of text -------------------------------------------------------------- */

/* The next word; words are separated by exactly one space. */
static struct span word(struct span *line)
{
    const char *space = line->n ? memchr(line->p, ' ', line->n) : NULL;
    struct span w = space ? span_of(line->p, (size_t)(space - line->p)) : *line;
    *line = space ? span_of(space + 1, line->n - w.n - 1) : span_of(NULL, 0);
    return w;
}

static bool port_of(struct span w, uint16_t *ret)
{
    unsigned port = 0;
    if (w.n == 0 || w.n > 5 || (w.n > 1 && w.p[0] == '0')) return false;
    for (size_t i = 0; i < w.n; i++) {
        if (w.p[i] < '0' || w.p[i] > '9') return false;
        port = port * 10 + (unsigned)(w.p[i] - '0');
    }
    *ret = (uint16_t)port;
    return port <= 65535;
}

/* An address without a port, of the family that the line names. */
static bool ip_of(struct span w, bool six, struct address *ret)
{
    bool colon = w.n > 0 && memchr(w.p, ':', w.n);
    return w.n > 0 && w.p[0] != '[' && colon == six && address_parse(w, ret);
}

static enum proxy_verdict line_parse(struct span line, struct address *ret)
{
    struct address from, to;
    struct span kind = word(&line);
    if (span_eq(kind, SPAN("UNKNOWN"))) return PROXY_DONE; /* what follows is to be ignored */
    bool six = span_eq(kind, SPAN("TCP6"));
    if (!six && !span_eq(kind, SPAN("TCP4"))) return PROXY_BAD;
    if (!ip_of(word(&line), six, &from) || !ip_of(word(&line), six, &to)) return PROXY_BAD;
    if (!port_of(word(&line), &from.port) || !port_of(line, &to.port)) return PROXY_BAD;
    *ret = from;
    return PROXY_DONE;
}

static enum proxy_verdict v1_parse(const unsigned char *p, size_t n, struct proxy_header *ret)
{
    struct proxy_header h = {0};
    const unsigned char *end = memchr(p, '\r', n < V1_MAX ? n : V1_MAX);
    if (!end) return n < V1_MAX ? PROXY_MORE : PROXY_BAD;
    size_t at = (size_t)(end - p);
    if (at + 1 == n) return at + 2 <= V1_MAX ? PROXY_MORE : PROXY_BAD;
    if (end[1] != '\n' || at + 2 > V1_MAX) return PROXY_BAD;
    h.length = at + 2;
    enum proxy_verdict verdict =
        line_parse(span_of((const char *)p + sizeof v1_mark, at - sizeof v1_mark), &h.client);
    if (verdict == PROXY_DONE) *ret = h;
    return verdict;
}

/* ---- version 2: binary ---------------------------------------------------------------------- */

static const unsigned char four[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* The addresses behind the head; false: there is no room for them. */
static bool addresses_of(const unsigned char *p, size_t n, unsigned family, struct address *ret)
{
    *ret = (struct address){.kind = ADDRESS_IP};
    switch (family) {
    case 1: /* IPv4 */
        if (n < 12) return false;
        memcpy(ret->ip, four, sizeof four);
        memcpy(ret->ip + sizeof four, p, 4);
        ret->port = (uint16_t)(p[8] << 8 | p[9]);
        return true;
    case 2: /* IPv6 */
        if (n < 36) return false;
        memcpy(ret->ip, p, 16);
        ret->port = (uint16_t)(p[32] << 8 | p[33]);
        return true;
    case 3: /* unix */
        if (n < 216) return false;
        ret->kind = ADDRESS_UNIX;
        return true;
    default: ret->kind = ADDRESS_NONE; return true;
    }
}

static enum proxy_verdict v2_parse(const unsigned char *p, size_t n, struct proxy_header *ret)
{
    struct proxy_header h = {0};
    if (n < V2_HEAD) return PROXY_MORE;
    unsigned command = p[12] & 0x0f, family = p[13] >> 4, transport = p[13] & 0x0f;
    size_t rest = (size_t)p[14] << 8 | p[15];
    if (p[12] >> 4 != 2 || command > 1 || family > 3 || transport > 2) return PROXY_BAD;
    if (V2_HEAD + rest > PROXY_HEADER_MAX) return PROXY_BAD;
    if (n < V2_HEAD + rest) return PROXY_MORE;
    h.length = V2_HEAD + rest;
    /* LOCAL: the proxy for itself; a transport that is no stream says nothing about a client. */
    if (command == 1 && transport == 1 && !addresses_of(p + V2_HEAD, rest, family, &h.client))
        return PROXY_BAD;
    *ret = h;
    return PROXY_DONE;
}

enum proxy_verdict proxy_header_parse(const unsigned char *p, size_t n, struct proxy_header *ret)
{
    if (n == 0) return PROXY_MORE;
    if (begins(p, n, v1_mark, sizeof v1_mark))
        return n < sizeof v1_mark ? PROXY_MORE : v1_parse(p, n, ret);
    if (begins(p, n, v2_mark, sizeof v2_mark)) return v2_parse(p, n, ret);
    return PROXY_NONE;
}
