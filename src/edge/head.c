#include "edge/head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/percent.h"
#include "base/text.h"

#define METHOD_MAX 32

/* Headers that go on. Of those in front a request has one at most. */
static const char *const fields[] = {
    "host",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "origin",
    "content-length",
    "authorization",
    "transfer-encoding",
    "connection",
    "sec-websocket-protocol",
    "x-forwarded-for",
    "accept-encoding",
    "if-none-match",
};
enum { HOST, UPGRADE, KEY, VERSION, ORIGIN, LENGTH, AUTHORIZATION, SINGLES };
enum { CODING = SINGLES, CONNECTION, PROTOCOL, KNOWN = sizeof(fields) / sizeof(fields[0]) };

struct reading {
    struct head *head;
    const char *begin;
    struct span host, authority; /* of Host, and of a target in absolute form */
    unsigned seen;               /* of those that may be there once, a bit for each */
    unsigned pieces;             /* see HEAD_PIECES */
    bool old;                    /* HTTP/1.0 */
    bool chunked;
    bool websocket;
};

static bool refuse(struct head *h, unsigned status, const char *text)
{
    h->status = status;
    h->text = text;
    return false;
}

static bool bad(struct head *h, const char *text)
{
    return refuse(h, 400, text);
}

static bool is_token(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!token_char(s.p[i])) return false;
    return s.n > 0;
}

static bool is(struct span s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

static bool same(struct span a, struct span b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static struct span trim(struct span s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = span_of(s.p + 1, s.n - 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* What stands before the first `c`, which is taken off as well. False: there is none. */
static bool cut(struct span *rest, char c, struct span *ret)
{
    const char *at = rest->n > 0 ? memchr(rest->p, c, rest->n) : NULL;
    if (!at) return false;
    *ret = span_of(rest->p, (size_t)(at - rest->p));
    *rest = span_of(at + 1, rest->n - ret->n - 1);
    return true;
}

/* Has this list the word in it? An empty element is none (RFC 9110 5.6.1). */
static bool lists(struct span list, const char *word, bool any_case)
{
    struct span element;
    for (bool more = true; more;) {
        more = cut(&list, ',', &element);
        element = trim(more ? element : list);
        if (any_case ? is(element, word) : span_eq(element, span_str(word))) return true;
    }
    return false;
}

/* ---- the request line ------------------------------------------------------------------------ */

/* CONNECT would make libwebsockets change to raw bytes, and what it does not know garbage. "*" is
 * for OPTIONS alone. */
static bool method_good(struct head *h, struct span method, struct span target)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (span_eq(method, span_str(known[i])) &&
            !(span_eq(method, SPAN("OPTIONS")) && span_eq(target, SPAN("*"))))
            return true;
    h->headers = "Allow: GET, HEAD\r\n";
    return refuse(h, 405, "Only GET and HEAD are possible here.");
}

/* What stands behind scheme and host of a target in absolute form, which servers have to take (RFC
 * 9112 3.2.2, RFC 6455 4.2.1). */
static struct span path_of(struct reading *r, struct span target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t n = strlen(schemes[i]), end = n;
        if (target.n <= n || strncasecmp(target.p, schemes[i], n) != 0) continue;
        while (end < target.n && !strchr("/?#", target.p[end]))
            end++;
        r->authority = span_of(target.p + n, end - n);
        r->head->target = (size_t)(target.p - r->begin);
        r->head->path = r->head->target + end;
        return span_of(target.p + end, target.n - end);
    }
    return target;
}

static bool target_good(struct reading *r, struct span whole)
{
    struct head *h = r->head;
    struct span target = path_of(r, whole);
    if (h->path == 0 && (target.n == 0 || target.p[0] != '/'))
        return bad(h, "The target of the request must be a path that begins with a slash.");
    for (size_t i = 0; i < target.n; i++) {
        unsigned char c = (unsigned char)target.p[i];
        if (c <= ' ' || c >= 0x7f || c == '#')
            return bad(h, "The path of the request has a character that must be percent-encoded.");
        if (c == '%' && percent_byte(span_of(target.p + i, target.n - i)) <= 0)
            return bad(h, "The path of the request has a % that is no escape, or stands for NUL.");
    }
    return true;
}

/* libwebsockets begins a new piece with each of these, as long as they stand there undecoded. */
static bool parameters_good(struct reading *r, struct span target)
{
    for (size_t i = 0; i < target.n; i++)
        if (strchr("?&;", target.p[i])) r->pieces++;
    if (r->pieces <= HEAD_PIECES) return true;
    return bad(r->head, "The query has too many parameters.");
}

/* A proxy's configuration is the usual reason for what looks like its header, of either version. */
static bool no_request(struct head *h, struct span in)
{
    const struct span v1 = SPAN("PROXY"), v2 = SPAN("\r\n\r\n");
    struct span begin = span_of(in.p, in.n < v1.n ? in.n : v1.n);
    if (span_eq(begin, v1) || span_eq(span_of(begin.p, begin.n < v2.n ? begin.n : v2.n), v2))
        return bad(h, "A PROXY header is not taken on this listener: its proxy_protocol is off.");
    return bad(h, "This is not the first line of an HTTP request.");
}

static bool first_line(struct reading *r, struct span line)
{
    struct span method, target, all = line;
    if (!cut(&line, ' ', &method) || !cut(&line, ' ', &target) || !is_token(method) ||
        span_eq(method, SPAN("PROXY")))
        return no_request(r->head, all);
    r->old = span_eq(line, SPAN("HTTP/1.0"));
    if (!r->old && !span_eq(line, SPAN("HTTP/1.1")))
        return bad(r->head, "HTTP/1.1 is spoken here.");
    return method_good(r->head, method, target) && target_good(r, target) &&
           parameters_good(r, target);
}

/* ---- header lines ---------------------------------------------------------------------------- */

static bool value_good(struct span value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

/* Digits, and few enough to be a size. */
static bool length_good(struct span value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < '0' || value.p[i] > '9') return false;
    return value.n > 0 && value.n <= 18;
}

/* What a host and its port can consist of (RFC 3986 3.2.2). Whether it is the right one is for others
 * to say. */
static bool host_good(struct span value)
{
    static const char others[] = "-._~%!$&'()*+,;=:[]";
    for (size_t i = 0; i < value.n; i++)
        if (!isalnum((unsigned char)value.p[i]) && !strchr(others, value.p[i])) return false;
    return true;
}

static bool is_zero(struct span value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] != '0') return false;
    return true;
}

static bool note(struct reading *r, unsigned which, struct span value)
{
    if (r->seen & 1U << which) return bad(r->head, "A header is there twice that may be once.");
    r->seen |= 1U << which;
    if (which == UPGRADE) r->websocket = is(value, "websocket");
    if (which == HOST && !host_good(value)) return bad(r->head, "Host is not a host and port.");
    if (which == HOST) r->host = value;
    if (which == ORIGIN && value.n == 0)
        return refuse(r->head, 403, "An empty Origin is foreign (see access.origins).");
    if (which == LENGTH && !length_good(value))
        return bad(r->head, "Content-Length is not a number.");
    if (which == LENGTH && !is_zero(value)) r->head->body = true;
    return true;
}

/* Its place in `fields`; KNOWN: it is none of them. */
static unsigned place_of(struct span name)
{
    unsigned i = 0;
    while (i < KNOWN && !is(name, fields[i]))
        i++;
    return i;
}

static bool too_many(struct head *h)
{
    return refuse(h, 431, "There are too many headers.");
}

static bool field(struct reading *r, struct span line)
{
    struct span name, value;
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return bad(r->head, "A header that goes on in a second line is not taken.");
    if (!cut(&line, ':', &name) || !is_token(name))
        return bad(r->head, "A header line is not NAME: VALUE.");
    value = trim(line);
    if (!value_good(value)) return bad(r->head, "A header has a control character.");
    unsigned which = place_of(name);
    if (which < KNOWN && ++r->pieces > HEAD_PIECES) return too_many(r->head);
    if (which == CODING) r->chunked = r->head->body = true;
    if (which == PROTOCOL && lists(value, HEAD_SUBPROTOCOL, false)) r->head->speaks = true;
    return which < SINGLES ? note(r, which, value) : true;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool whole_good(struct reading *r)
{
    struct head *h = r->head;
    if (!r->old && !(r->seen & 1U << HOST)) return bad(h, "The Host header is missing.");
    if (h->path > 0 && (r->host.n == 0 || !same(r->authority, r->host)))
        return bad(h, "The target of the request is on another host than Host says.");
    if (r->chunked && (r->old || r->seen & 1U << LENGTH))
        return bad(h, "Transfer-Encoding and Content-Length exclude each other.");
    if (!(r->seen & 1U << UPGRADE)) return true;
    if (!r->websocket) {
        h->headers = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        return refuse(h, 426, "Only an upgrade to websocket is possible.");
    }
    h->upgrade = true;
    if (h->body) return bad(h, "A request for a WebSocket has no body.");
    return true;
}

/* Each line ends with CR LF: a bare LF would end it for some and not for others. */
static bool next_line(struct head *h, struct span *rest, struct span *ret)
{
    if (!cut(rest, '\n', ret)) return false;
    if (ret->n > 0 && ret->p[ret->n - 1] == '\r') {
        ret->n--;
        if (!memchr(ret->p, '\r', ret->n)) return true;
    }
    return bad(h, "A line of the request must end with CR LF.");
}

static bool early_good(struct head *h, struct span in)
{
    size_t n = 0;
    while (n < in.n && n <= METHOD_MAX && in.p[n] != ' ')
        n++;
    if (n > METHOD_MAX || (in.n > 0 && !is_token(span_of(in.p, n)))) return no_request(h, in);
    return true;
}

void head_read(struct span in, size_t most, struct head *ret)
{
    struct reading r = {.head = ret, .begin = in.p};
    struct span rest = in, line;
    *ret = (struct head){.size = 0};
    if (!early_good(ret, in)) return;
    if (rest.n > most) rest.n = most;
    for (unsigned count = 0; next_line(ret, &rest, &line); count++) {
        if (count > 0 && line.n == 0) {
            ret->size = (size_t)(rest.p - in.p);
            (void)whole_good(&r);
            return;
        }
        if (count > HEAD_FIELDS) {
            (void)too_many(ret);
            return;
        }
        if (!(count == 0 ? first_line(&r, line) : field(&r, line))) return;
    }
    if (ret->status == 0 && in.n >= most)
        (void)refuse(ret, 431, "The head of the request is too large (limits.header_bytes).");
}

static size_t put(char *p, size_t at, struct span s)
{
    if (s.n > 0) memmove(p + at, s.p, s.n);
    return at + s.n;
}

/* Of the request line, as much as is to stay. */
static size_t strip_target(char *p, const struct head *h, struct span line)
{
    size_t kept = h->path > 0 ? h->target : line.n + 1;
    if (h->path == 0) return kept;
    if (p[h->path] != '/') p[kept++] = '/'; /* there was a scheme, so there is room */
    return put(p, kept, span_of(p + h->path, line.n + 1 - h->path));
}

/* What of a value is to stay; p NULL: not even the line. `given` is of those lists that are there. */
static struct span strip_value(const struct head *h, unsigned which, struct span value,
                               unsigned *given)
{
    bool connection = which == CONNECTION;
    if (!connection && (which != PROTOCOL || !h->speaks)) return value;
    struct span word = span_str(connection ? "upgrade" : HEAD_SUBPROTOCOL);
    if (*given & 1U << which || !lists(value, word.p, connection)) return span_of(NULL, 0);
    *given |= 1U << which;
    return word;
}

/* What is written is never longer than what it stands for, so it stays in front of what is read. */
size_t head_strip(char *p, const struct head *h)
{
    struct span rest = {p, h->size}, line, name;
    unsigned given = 0;
    size_t kept = cut(&rest, '\n', &line) ? strip_target(p, h, line) : 0;
    while (cut(&rest, '\n', &line)) {
        unsigned which = cut(&line, ':', &name) ? place_of(name) : KNOWN;
        if (which == KNOWN) continue;
        struct span value = strip_value(h, which, trim(span_of(line.p, line.n - 1)), &given);
        if (!value.p) continue;
        kept = put(p, kept, name);
        kept = put(p, kept, SPAN(":"));
        kept = put(p, kept, value);
        kept = put(p, kept, SPAN("\r\n"));
    }
    return put(p, kept, SPAN("\r\n"));
}

bool head_next(struct span head, const char *name, size_t *at, struct head_field *ret)
{
    struct span rest = span_of(head.p + *at, head.n - *at), line;
    while (cut(&rest, '\n', &line)) {
        *at = (size_t)(rest.p - head.p);
        if (!cut(&line, ':', &ret->name) || !is(ret->name, name)) continue;
        line.n--; /* CR */
        ret->value = trim(line);
        return true;
    }
    return false;
}
