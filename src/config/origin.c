#include "config/origin.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_scheme(char c)
{
    return is_alpha(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static void copy_lower(char *to, struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        to[i] = lower(s.p[i]);
    to[s.n] = '\0';
}

/* Takes "scheme://" off the front. */
static bool take_scheme(struct span *text, struct origin *o)
{
    size_t n = 0;
    while (n < text->n && is_scheme(text->p[n]))
        n++;
    if (n == 0 || n >= sizeof o->scheme || !is_alpha(text->p[0])) return false;
    if (text->n < n + 3 || memcmp(text->p + n, "://", 3) != 0) return false;
    copy_lower(o->scheme, span_of(text->p, n));
    *text = span_of(text->p + n + 3, text->n - n - 3);
    return true;
}

static bool take_ipv6(struct span *text, struct origin *o)
{
    const char *end = memchr(text->p, ']', text->n);
    char plain[INET6_ADDRSTRLEN + 1];
    struct in6_addr address;
    if (!end) return false;
    size_t n = (size_t)(end - text->p) - 1;
    if (n >= sizeof plain || memchr(text->p + 1, '\0', n)) return false;
    memcpy(plain, text->p + 1, n);
    plain[n] = '\0';
    if (inet_pton(AF_INET6, plain, &address) != 1) return false;
    char shortest[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &address, shortest, sizeof shortest);
    snprintf(o->host, sizeof o->host, "[%s]", shortest);
    *text = span_of(end + 1, text->n - n - 2);
    return true;
}

/* Labels of letters, digits, '-' and '_', none empty. */
static bool take_name(struct span *text, struct origin *o)
{
    size_t n = 0, label = 0;
    for (; n < text->n && text->p[n] != ':'; n++) {
        char c = text->p[n];
        if (c == '.' && label == 0) return false;
        if (c != '.' && !is_alpha(c) && !is_digit(c) && c != '-' && c != '_') return false;
        label = c == '.' ? 0 : label + 1;
        if (label > 63) return false;
    }
    if (label == 0 || n > 253) return false;
    copy_lower(o->host, span_of(text->p, n));
    *text = span_of(text->p + n, text->n - n);
    return true;
}

static bool take_host(struct span *text, struct origin *o)
{
    if (text->n == 0) return false;
    return *text->p == '[' ? take_ipv6(text, o) : take_name(text, o);
}

/* What is left is nothing, or a port. */
static bool take_port(struct span text, struct origin *o)
{
    if (text.n == 0) return true;
    if (text.p[0] != ':' || text.n < 2 || text.n > 6 || text.p[1] == '0') return false;
    unsigned port = 0;
    for (size_t i = 1; i < text.n; i++) {
        if (!is_digit(text.p[i])) return false;
        port = port * 10 + (unsigned)(text.p[i] - '0');
    }
    if (port > 65535) return false;
    o->port = (uint16_t)port;
    return true;
}

static uint16_t default_port(const char *scheme)
{
    if (strcmp(scheme, "https") == 0 || strcmp(scheme, "wss") == 0) return 443;
    if (strcmp(scheme, "http") == 0 || strcmp(scheme, "ws") == 0) return 80;
    return 0;
}

bool origin_parse(struct span text, struct origin *ret)
{
    struct origin o = {.port = 0};
    if (!take_scheme(&text, &o) || !take_host(&text, &o) || !take_port(text, &o)) return false;
    if (o.port == 0) o.port = default_port(o.scheme);
    *ret = o;
    return true;
}

bool origin_parse_host(struct span text, struct origin *ret)
{
    struct origin o = {.port = 0};
    if (!take_host(&text, &o) || !take_port(text, &o)) return false;
    *ret = o;
    return true;
}

static bool is_address(const char *host)
{
    struct in_addr address;
    return host[0] == '[' || inet_pton(AF_INET, host, &address) == 1;
}

static int refuse(char *err, size_t err_size, struct span text, const char *words)
{
    snprintf(err, err_size, "\"%.*s\" %s", (int)(text.n < 200 ? text.n : 200), text.p, words);
    return -1;
}

int origin_pattern(struct span text, struct origin *ret, char *err, size_t err_size)
{
    struct origin o = {.port = 0};
    struct span rest = text;
    if (span_eq(text, SPAN("*")))
        return refuse(err, err_size, text, "would let every page in; name the origins");
    if (span_eq(text, SPAN("null")))
        return refuse(err, err_size, text, "cannot be allowed: any sandboxed page has it");
    if (!take_scheme(&rest, &o))
        return refuse(err, err_size, text,
                      "is no origin; write it like \"https://app.example.com\"");
    if (rest.n > 2 && rest.p[0] == '*' && rest.p[1] == '.') {
        o.wildcard = true;
        rest = span_of(rest.p + 2, rest.n - 2);
    }
    if (rest.n && memchr(rest.p, '/', rest.n))
        return refuse(err, err_size, text,
                      "is no origin: it ends with host and port, without \"/\"");
    if (!take_host(&rest, &o) || !take_port(rest, &o) || (o.wildcard && is_address(o.host)))
        return refuse(err, err_size, text,
                      "is no origin; write it like \"https://app.example.com:8443\" or "
                      "\"https://*.example.com\"");
    if (o.port == 0) o.port = default_port(o.scheme);
    *ret = o;
    return 0;
}

bool origin_matches(const struct origin *pattern, const struct origin *origin)
{
    if (pattern->port != origin->port || strcmp(pattern->scheme, origin->scheme) != 0) return false;
    if (!pattern->wildcard) return strcmp(pattern->host, origin->host) == 0;
    size_t n = strlen(origin->host), m = strlen(pattern->host);
    return n > m + 1 && origin->host[n - m - 1] == '.' &&
           strcmp(origin->host + n - m, pattern->host) == 0;
}

bool origin_is_own(const struct origin *origin, const struct origin *host, bool tls)
{
    bool secure = strcmp(origin->scheme, "https") == 0;
    if (!secure && (tls || strcmp(origin->scheme, "http") != 0)) return false;
    uint16_t port = host->port ? host->port : default_port(origin->scheme);
    return origin->port == port && strcmp(origin->host, host->host) == 0;
}

bool origin_host_loopback(const struct origin *host)
{
    struct in_addr address;
    const char *name = host->host;
    size_t n = strlen(name);
    if (strcmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0) return true;
    if (n > 10 && strcmp(name + n - 10, ".localhost") == 0) return true;
    return inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}
