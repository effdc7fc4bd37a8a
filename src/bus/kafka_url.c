#include "bus/kafka_url.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/percent.h"
#include "base/span.h"

/* On the heap; NULL if an escape is broken, or nothing is there. */
static char *decode(struct span s)
{
    return s.n > 0 ? percent_decode(s) : NULL;
}

static const char *take_login(struct kafka_url *u, struct span s)
{
    const char *colon = memchr(s.p, ':', s.n);
    if (!colon) return "before the \"@\" of the URL stand a user, a \":\" and a password";
    u->user = decode(span_of(s.p, (size_t)(colon - s.p)));
    u->password = decode(span_of(colon + 1, s.n - (size_t)(colon + 1 - s.p)));
    if (u->user && u->password) return NULL;
    return "the user or the password in the URL is empty or has a \"%\" that begins no escape: "
           "write %25 for it";
}

static bool is_port(struct span s)
{
    unsigned port = 0;
    if (s.n == 0 || s.n > 5) return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!isdigit((unsigned char)s.p[i])) return false;
        port = port * 10 + (unsigned)(s.p[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

static bool is_host(struct span s)
{
    if (s.n == 0) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !strchr("-._:[]", s.p[i])) return false;
    return true;
}

/* One "host" or "host:port" to the list. */
static const char *take_broker(struct buf *list, struct span s)
{
    struct span host = s, port = {NULL, 0};
    const char *end = s.n > 0 && *s.p == '[' ? memchr(s.p, ']', s.n) : NULL;
    const char *from = end ? end : s.p;
    const char *colon = s.n > 0 ? memchr(from, ':', s.n - (size_t)(from - s.p)) : NULL;
    if (colon) {
        host.n = (size_t)(colon - s.p);
        port = span_of(colon + 1, s.n - host.n - 1);
        if (!is_port(port))
            return "the port of a broker in the URL must be a whole number from 1 to 65535; \"/\", "
                   "\"?\", \"#\" and \",\" in a password are written %2F, %3F, %23 and %2C, and an "
                   "IPv6 address stands in [ ]";
    }
    if (!is_host(host)) return "the URL names a broker without a host, or with one that is none";
    if (list->n > 0) buf_byte(list, ',');
    buf_span(list, host);
    buf_byte(list, ':');
    buf_span(list, colon ? port : SPAN("9092"));
    return NULL;
}

static const char *take_brokers(struct kafka_url *u, struct span s)
{
    struct buf list;
    const char *fault = NULL;
    buf_init(&list, 65536);
    for (bool more = true; more && !fault;) {
        const char *comma = s.n > 0 ? memchr(s.p, ',', s.n) : NULL;
        size_t n = comma ? (size_t)(comma - s.p) : s.n;
        fault = take_broker(&list, span_of(s.p, n));
        more = comma != NULL;
        if (more) s = span_of(comma + 1, s.n - n - 1);
    }
    if (!fault && list.failed) fault = "the URL names too many brokers";
    if (!fault) u->brokers = buf_steal(&list);
    buf_free(&list);
    return fault;
}

static const char *parse(const char *text, struct kafka_url *u)
{
    size_t scheme = strcspn(text, ":");
    const char *rest = text[scheme] ? text + scheme + 1 : "none";
    if (*rest && strncmp(rest, "//", 2) != 0)
        scheme = 0;
    else if (scheme == 6 && strncasecmp(text, "kafkas", 6) == 0)
        u->tls = true;
    else if (scheme != 5 || strncasecmp(text, "kafka", 5) != 0)
        scheme = 0;
    if (scheme == 0) return "the URL must begin with kafka:// or kafkas://";
    struct span s = span_str(*rest ? rest + 2 : "");
    const char *at = memrchr(s.p, '@', s.n);
    if (at) {
        const char *fault = take_login(u, span_of(s.p, (size_t)(at - s.p)));
        if (fault) return fault;
        s = span_of(at + 1, s.n - (size_t)(at + 1 - s.p));
    }
    if (s.n > 0 && s.p[s.n - 1] == '/') s.n--;
    if (s.n > 0 && (memchr(s.p, '/', s.n) || memchr(s.p, '?', s.n)))
        return "behind the brokers in the URL nothing may come; topics are named by rules, and "
               "settings are options";
    return take_brokers(u, s.n > 0 ? s : SPAN("localhost"));
}

int kafka_url_parse(const char *text, struct kafka_url *ret, char *err, size_t err_size)
{
    *ret = (struct kafka_url){0};
    const char *fault = parse(text, ret);
    if (fault) snprintf(err, err_size, "%s", fault);
    return fault ? -1 : 0;
}

void kafka_url_free(struct kafka_url *u)
{
    free(u->brokers);
    free(u->user);
    free(u->password);
    *u = (struct kafka_url){0};
}
