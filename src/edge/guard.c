#include "edge/guard.h"

#include <errno.h>
#include <libwebsockets.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "edge/conn.h"
#include "edge/http.h"
#include "edge/tap.h"

#define READS 64    /* of bytes that are thrown away, in one go */
#define READS_ON 64 /* in one turn, of connections that have more */

static void find(struct conn *c, enum guard_finding finding, unsigned code)
{
    c->guard.finding = finding;
    c->guard.code = code;
    c->guard.state = GUARD_DEAF;
    if (list_empty(&c->guard.found)) list_append(&c->edge->found, &c->guard.found);
}

/* libwebsockets is told that there is nothing to read now. Under TLS only SSL_read() itself can say
 * so: libwebsockets asks OpenSSL what became of the last call. There, who sends without a pause what
 * is thrown away has to be given up. */
static ssize_t throw_away(struct conn *c, const struct tap_source *from)
{
    char rest[16384];
    for (int i = 0; i < READS; i++) {
        ssize_t got = tap_read(from, rest, sizeof(rest));
        if (got <= 0) return got;
    }
    if (from->ssl) {
        conn_kill(c);
        return 0;
    }
    errno = EAGAIN;
    return -1;
}

static ssize_t nothing(struct conn *c, const struct tap_source *from)
{
    if (from->ssl) return throw_away(c, from);
    errno = EAGAIN;
    return -1;
}

/* ---- the head -------------------------------------------------------------------------------- */

/* Is it worth looking at again? Only a line that has become whole can change what is known, and the
 * first bytes, so that a client cannot have the same bytes read for each new one. */
static bool worth_reading(struct span all, size_t new, size_t most)
{
    return all.n - new <= 64 || all.n >= most || memchr(all.p + all.n - new, '\n', new);
}

/* Extensions are none of libwebsockets' business, which hangs up on a list of 255 bytes: what is
 * offered is read here, and head_strip() leaves it out. Of all such headers the first offer counts that
 * can be taken. */
static void take_offers(struct conn_http *http, const char *p, size_t n)
{
    struct head_field field;
    size_t at = 0;
    while (head_next(span_of(p, n), "sec-websocket-extensions", &at, &field)) {
        struct offer offer;
        enum offer_verdict verdict = offer_read(field.value, &offer);
        if (verdict == OFFER_TAKEN && http->offered == OFFER_NONE) http->offer = offer;
        if (verdict == OFFER_MALFORMED || http->offered == OFFER_NONE) http->offered = verdict;
    }
}

/* Of the target in the first line. libwebsockets cuts it at each ";" as well, which may stand in the
 * name of a channel. */
static void take_query(struct conn_http *http, struct span head)
{
    size_t n = (size_t)((const char *)memchr(head.p, '\r', head.n) - head.p);
    const char *at = memchr(head.p, '?', n);
    if (!at) return;
    const char *end = memchr(at, ' ', n - (size_t)(at - head.p));
    http->query = span_of(mem_dup(at + 1, (size_t)(end - at - 1)), (size_t)(end - at - 1));
}

/* All of a head has come, or nothing that can become one. Every answer but that to a handshake ends
 * its connection: what comes behind such a request is nobody's (libwebsockets 4.3 would end the
 * connection for it while the answer is still being made). */
static bool pass_head(struct conn *c, const struct head *h, const char *p)
{
    struct guard *g = &c->guard;
    if (h->status != 0) {
        c->http->head.refusal = *h;
        find(c, GUARD_REFUSAL, 0);
        return false;
    }
    guard_head_done(&c->http->head);
    if (h->upgrade) {
        take_offers(c->http, p, h->size);
        take_query(c->http, span_of(p, h->size));
    }
    g->state = h->upgrade ? GUARD_REQUEST : GUARD_DEAF;
    return true;
}

/* What stands behind the head of a handshake is left where it is: it is to be read as frames. Under
 * TLS nobody would look there again before more comes; RFC 6455 4.1 forbids to send it anyhow. */
static size_t take_how_much(const struct tap_source *from, struct head *h, size_t before,
                            size_t got)
{
    size_t rest = before + got - h->size;
    if (h->status != 0 || !h->upgrade || rest == 0) return got;
    if (!from->ssl) return got - rest;
    *h = (struct head){.status = 400, .text = "Nothing may be sent before the answer."};
    return got;
}

static ssize_t read_head(struct conn *c, const struct tap_source *from, char *p, size_t n)
{
    struct buf *beginning = &c->http->head.beginning;
    size_t most = beginning->max;
    for (;;) {
        struct head h = {.size = 0};
        size_t before = beginning->n;
        if (n <= before) return throw_away(c, from);
        if (before > 0) memcpy(p, beginning->p, before);
        ssize_t got = tap_peek(from, p + before, n - before);
        if (got <= 0) return got;
        struct span all = {p, before + (size_t)got};
        if (worth_reading(all, (size_t)got, most)) head_read(all, most, &h);
        got = tap_read(from, p + before, take_how_much(from, &h, before, (size_t)got));
        if (got <= 0) return got;
        if (h.size > 0 || h.status != 0)
            return pass_head(c, &h, p) ? (ssize_t)head_strip(p, &h) : nothing(c, from);
        buf_append(beginning, p + before, (size_t)got);
    }
}

/* ---- frames ---------------------------------------------------------------------------------- */

static bool take_frames(struct conn *c, struct frames_piece *piece)
{
    struct frames_found found;
    for (;;) {
        switch (frames_next(&c->guard.frames, piece, &found)) {
        case FRAMES_END: return true;
        case FRAMES_PING: conn_ping(c, found.payload); break;
        case FRAMES_PONG: conn_pong(c); break;
        case FRAMES_CLOSE: find(c, GUARD_CLOSE, found.code); return false;
        case FRAMES_BROKEN: find(c, GUARD_BROKEN, found.code); return false;
        }
    }
}

/* There may be more, but others have their turn. Under TLS libwebsockets cannot be told so (see
 * throw_away()): it gets a pong of nothing, about which nobody is told. It stands between frames, or
 * control frames could not have come. */
static ssize_t take_turns(struct conn *c, const struct tap_source *from, unsigned char *p, size_t n)
{
    static const unsigned char pong[] = {0x8a, 0x80, 0, 0, 0, 0};
    if (!from->ssl || n < sizeof(pong)) return nothing(c, from);
    memcpy(p, pong, sizeof(pong));
    return sizeof(pong);
}

/* libwebsockets reads so little at a time (edge/wire.c) that what a publisher has sent in one go would
 * take many turns of the loop: it is made to read on before the turn ends. */
static void want_more(struct conn *c)
{
    if (!list_empty(&c->guard.found)) return;
    c->guard.finding = GUARD_MORE;
    list_append(&c->edge->found, &c->guard.found);
}

static void read_on(const struct conn *c)
{
    struct lws_pollfd ready = {.fd = c->fd, .events = LWS_POLLIN, .revents = LWS_POLLIN};
    (void)lws_service_fd(lws_get_context(c->wsi), &ready);
}

static ssize_t read_frames(struct conn *c, const struct tap_source *from, unsigned char *p,
                           size_t n)
{
    for (int i = 0; i < READS; i++) {
        ssize_t got = tap_read(from, p, n);
        if (got <= 0) return got;
        if ((size_t)got == n && !from->ssl) want_more(c);
        struct frames_piece piece = {.p = p, .n = (size_t)got};
        bool more = take_frames(c, &piece);
        if (piece.out > 0) return (ssize_t)piece.out;
        if (!more || !from->ssl) return nothing(c, from);
    }
    return take_turns(c, from, p, n);
}

static ssize_t read_checked(void *who, const struct tap_source *from, void *p, size_t n)
{
    struct conn *c = who;
    c->guard.ssl = from->ssl;
    switch (c->guard.state) {
    case GUARD_HEAD: return read_head(c, from, p, n);
    case GUARD_FRAMES: return read_frames(c, from, p, n);
    case GUARD_DEAF: return throw_away(c, from);
    case GUARD_REQUEST: break;
    }
    return tap_read(from, p, n);
}

/* ---- life ------------------------------------------------------------------------------------ */

void guard_init(struct conn *c, int fd)
{
    buf_init(&c->http->head.beginning, (size_t)c->edge->config->limits.header_bytes);
    list_init(&c->guard.found);
    tap_watch(fd, read_checked, c);
}

void guard_done(struct conn *c)
{
    tap_forget(c->fd, c);
    list_del(&c->guard.found);
    frames_done(&c->guard.frames);
}

void guard_head_done(struct guard_head *h)
{
    buf_free(&h->beginning);
}

bool guard_has_begun(const struct conn *c)
{
    return c->guard.state == GUARD_HEAD && c->http->head.beginning.n > 0;
}

bool guard_saw_upgrade(const struct conn *c)
{
    return c->guard.state == GUARD_REQUEST;
}

uint64_t guard_upgraded(struct conn *c, uint64_t limit)
{
    frames_init(&c->guard.frames, limit);
    c->guard.state = GUARD_FRAMES;
    return c->transport.window_bits ? frames_allow_compressed(&c->guard.frames) : limit;
}

bool guard_compressed(struct conn *c)
{
    return frames_compressed(&c->guard.frames);
}

void guard_deafen(struct conn *c)
{
    c->guard.state = GUARD_DEAF;
}

static void refuse(struct conn *c, const struct head *h)
{
    http_refuse(c, &(struct http_answer){h->status, h->headers, h->text});
}

/* Those that have more take turns; when there were many reads the loop looks at the other sockets, and
 * finds these again. */
void guard_turn(struct edge *edge)
{
    unsigned reads = 0;
    while (!list_empty(&edge->found)) {
        struct conn *c = LIST_ITEM(list_pop(&edge->found), struct conn, guard.found);
        enum guard_finding finding = c->guard.finding;
        c->guard.finding = GUARD_NOTHING;
        switch (finding) {
        case GUARD_NOTHING: break;
        case GUARD_MORE:
            if (reads++ < READS_ON) read_on(c);
            break;
        case GUARD_CLOSE: conn_peer_closes(c, c->guard.code); break;
        case GUARD_BROKEN: conn_broken(c, c->guard.code); break;
        case GUARD_REFUSAL: refuse(c, &c->http->head.refusal); break;
        }
    }
}
