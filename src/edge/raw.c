/* In the query %xx is decoded once, and a "+" is a space, as forms have it; a name with a space is
 * none, so that this cannot mean another channel. */
#include "edge/raw.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/percent.h"
#include "edge/http.h"
#include "protocol/reply.h"
#include "session/raw.h"

static unsigned status_of(enum error_code code)
{
    switch (code) {
    case ERR_UNAUTHENTICATED:
    case ERR_TOKEN_EXPIRED: return 401;
    case ERR_FORBIDDEN: return 403;
    case ERR_UNKNOWN_CHANNEL: return 404;
    case ERR_RATE_LIMITED:
    case ERR_LIMIT: return 429;
    case ERR_UNSUPPORTED: return 501;
    default: return 400;
    }
}

static int refuse(struct conn *c, const struct raw_refusal *why)
{
    struct reply_error e = {
        .channel = why->channel, .code = why->code, .message = span_str(why->message)};
    struct buf body;
    int rc;

    buf_init(&body, 4096);
    reply_error(&body, &e);
    buf_byte(&body, '\0');
    struct http_answer a = {.status = status_of(why->code), .text = body.p};
    rc = http_send_as(c, &a, "application/json");
    buf_free(&body);
    return rc;
}

struct parameter {
    const char *name;
    struct span *value;
};

/* The value of this piece, if it is one of ours. False: it is there twice. */
static bool take(struct span piece, const struct parameter *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(list[i].name);
        if (piece.n <= n || piece.p[n] != '=' || memcmp(piece.p, list[i].name, n) != 0) continue;
        if (list[i].value->p) return false;
        n++;
        *list[i].value = span_of(mem_dup(piece.p + n, piece.n - n), piece.n - n);
    }
    return true;
}

static char *decode(struct span piece)
{
    char *text = mem_dup(piece.p, piece.n);
    for (size_t i = 0; i < piece.n; i++)
        if (text[i] == '+') text[i] = ' ';
    char *decoded = percent_decode(span_of(text, piece.n));
    free(text);
    return decoded; /* broken ones and NUL have been refused (edge/head.h) */
}

static bool read_query(struct conn *c, struct raw_query *q)
{
    const struct parameter list[] = {
        {"subscribe", &q->subscribe},
        {"publish", &q->publish},
        {"from", &q->from},
        {"form", &q->form},
    };
    struct span rest = c->http->query;
    bool good = true;

    while (good && rest.n > 0) {
        const char *end = memchr(rest.p, '&', rest.n);
        size_t n = end ? (size_t)(end - rest.p) : rest.n;
        char *piece = decode(span_of(rest.p, n));
        good = piece && take(span_str(piece), list, sizeof(list) / sizeof(list[0]));
        free(piece);
        rest = span_of(rest.p + n, rest.n - n);
        if (end) rest = span_of(rest.p + 1, rest.n - 1);
    }
    return good;
}

int raw_check(struct conn *c)
{
    struct raw_refusal why = {.code = ERR_BAD_REQUEST,
                              .message = "A parameter of the query is there twice."};
    struct raw_query q = {.subscribe = {NULL, 0}};
    const struct raw *raw = NULL;

    if (read_query(c, &q)) raw = c->http->raw = raw_new(c->edge->sessions, &q, &why);
    int rc = raw ? 0 : refuse(c, &why);
    free((char *)q.subscribe.p);
    free((char *)q.publish.p);
    free((char *)q.from.p);
    free((char *)q.form.p);
    return rc;
}
