#include "bus/redis_url.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/percent.h"
#include "base/span.h"

#define DATABASE_MAX 1000000000

struct reader {
    struct redis_url *url;
    char *err;
    size_t err_size;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct reader *r, const char *fmt,
                                                        ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->err, r->err_size, fmt, args);
    va_end(args);
    return -1;
}

/* A whole number of decimal digits, at most `max`; -1 if it is none. */
static long number(struct span s, long max)
{
    long n = 0;
    if (s.n == 0 || s.n > 10) return -1;
    for (size_t i = 0; i < s.n; i++) {
        if (!isdigit((unsigned char)s.p[i])) return -1;
        n = n * 10 + (s.p[i] - '0');
    }
    return n <= max ? n : -1;
}

static int read_user(struct reader *r, struct span s)
{
    const char *colon = memchr(s.p, ':', s.n);
    if (!colon && s.n > 0)
        return refuse(r, "the URL has a user and no password: write user:password@ or :password@ "
                         "before the host, or use the option \"user\"");
    size_t user = colon ? (size_t)(colon - s.p) : 0;
    if (user > 0) r->url->user = percent_decode(span_of(s.p, user));
    if (colon) r->url->password = percent_decode(span_of(colon + 1, s.n - user - 1));
    if ((user > 0 && !r->url->user) || (colon && !r->url->password))
        return refuse(r, "the user or the password in the URL has a \"%%\" that begins no escape: "
                         "write %%25 for it");
    if (r->url->password && !*r->url->password) {
        if (r->url->user) return refuse(r, "the password in the URL is empty");
        free(r->url->password);
        r->url->password = NULL;
    }
    return 0;
}

static int read_host(struct reader *r, struct span s)
{
    struct redis_url *u = r->url;
    struct span host = s, port = {NULL, 0};
    if (s.n > 0 && s.p[0] == '[') {
        const char *end = memchr(s.p, ']', s.n);
        if (!end) return refuse(r, "the IPv6 address in the URL lacks its \"]\"");
        host = span_of(s.p + 1, (size_t)(end - s.p) - 1);
        port = span_of(end + 1, s.n - host.n - 2);
        if (port.n > 0 && *port.p != ':')
            return refuse(r, "after the \"]\" in the URL comes a \":\" and the port, or nothing");
    } else {
        const char *colon = memchr(s.p, ':', s.n);
        if (colon) host.n = (size_t)(colon - s.p);
        port = span_of(s.p + host.n, s.n - host.n);
    }
    u->port = 6379;
    if (port.n > 1) {
        long n = number(span_of(port.p + 1, port.n - 1), 65535);
        if (n <= 0)
            return refuse(r, "the port in the URL must be a whole number from 1 to 65535; a \"/\", "
                             "\"?\" or \"#\" in a password is written %%2F, %%3F, %%23, and an "
                             "IPv6 address in [ ]");
        u->port = (uint16_t)n;
    }
    for (size_t i = 0; i < host.n; i++)
        if (!isgraph((unsigned char)host.p[i]) || strchr("%\\\"<>{}|^`", host.p[i]))
            return refuse(r, "the URL names no host: a host name, an IPv4 address or an IPv6 "
                             "address in [ ] is one");
    u->host = host.n ? mem_dup(host.p, host.n) : mem_dup("localhost", 9);
    return 0;
}

static int read_database(struct reader *r, struct span s)
{
    long n = number(s, DATABASE_MAX);
    if (n < 0) return refuse(r, "the database in the URL must be a number, as in redis://host/0");
    r->url->database = (unsigned)n;
    return 0;
}

/* "db=1", redis-py's way; has_path: the path has named a database already. */
static int read_query(struct reader *r, struct span s, bool has_path)
{
    const char *end = s.p + s.n;
    if (memchr(s.p, '@', s.n))
        return refuse(r, "a \"?\" in the password of the URL must be written %%3F");
    for (const char *p = s.p; p < end;) {
        const char *stop = memchr(p, '&', (size_t)(end - p));
        if (!stop) stop = end;
        struct span piece = span_of(p, (size_t)(stop - p));
        p = stop < end ? stop + 1 : end;
        if (piece.n == 0) continue;
        if (piece.n < 3 || strncmp(piece.p, "db=", 3) != 0) {
            const char *equals = memchr(piece.p, '=', piece.n);
            int n = (int)(equals ? equals - piece.p : (ptrdiff_t)piece.n);
            return refuse(r, "unknown parameter \"%.*s\" in the URL; there is \"db\"", n, piece.p);
        }
        if (has_path) return refuse(r, "the URL names the database twice");
        if (read_database(r, span_of(piece.p + 3, piece.n - 3)) < 0) return -1;
    }
    return 0;
}

/* The forms that have a host. */
static int read_remote(struct reader *r, struct span authority, struct span path, struct span query)
{
    if (read_host(r, authority) < 0) return -1;
    bool named = path.n > 1;
    if (named && memchr(path.p, '@', path.n))
        return refuse(r, "a \"/\" in the password of the URL must be written %%2F");
    if (named && read_database(r, span_of(path.p + 1, path.n - 1)) < 0) return -1;
    return read_query(r, query, named);
}

static int read_socket(struct reader *r, struct span authority, struct span path, struct span query)
{
    if (authority.n > 0 || path.n < 2)
        return refuse(r, "the URL of a unix socket has no host and an absolute path, as in "
                         "redis+unix:///run/redis/redis.sock?db=0");
    r->url->path = percent_decode(path);
    if (!r->url->path) return refuse(r, "the path in the URL has a broken \"%%\" escape");
    if (strlen(r->url->path) > 107) /* sun_path */
        return refuse(r, "the path of a unix socket has at most 107 bytes");
    return read_query(r, query, false);
}

static int read_address(struct reader *r, const char *rest, bool local)
{
    if (*rest && strncmp(rest, "//", 2) != 0)
        return refuse(r, "after the \":\" of the URL comes \"//\"");
    rest += *rest ? 2 : 0;
    if (strchr(rest, '#'))
        return refuse(r, "the URL has no place for a \"#\"; in a password write "
                         "%%23 for it");
    struct span authority = span_of(rest, strcspn(rest, "/?"));
    const char *after = rest + authority.n;
    struct span path = span_of(after, strcspn(after, "?"));
    after += path.n;
    struct span query = span_str(*after ? after + 1 : after);
    const char *at = memrchr(authority.p, '@', authority.n);
    if (at) {
        size_t n = (size_t)(at - authority.p);
        if (read_user(r, span_of(authority.p, n)) < 0) return -1;
        authority = span_of(at + 1, authority.n - n - 1);
    }
    return local ? read_socket(r, authority, path, query) : read_remote(r, authority, path, query);
}

int redis_url_parse(const char *text, struct redis_url *ret, char *err, size_t err_size)
{
    static const struct {
        const char *scheme;
        bool tls, local;
    } forms[] = {
        {"redis:", false, false},
        {"rediss:", true, false},
        {"redis+unix:", false, true},
        {"unix:", false, true},
    };
    *ret = (struct redis_url){0};
    struct reader r = {.url = ret, .err = err, .err_size = err_size};
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        size_t n = strlen(forms[i].scheme);
        if (strncasecmp(text, forms[i].scheme, n) != 0) continue;
        ret->tls = forms[i].tls;
        return read_address(&r, text + n, forms[i].local);
    }
    return refuse(&r, "the URL must begin with redis://, rediss:// (for TLS) or redis+unix://");
}

void redis_url_free(struct redis_url *u)
{
    free(u->host);
    free(u->path);
    free(u->user);
    free(u->password);
    *u = (struct redis_url){0};
}
