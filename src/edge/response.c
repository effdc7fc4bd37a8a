#include "edge/response.h"

#include <libwebsockets.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "edge/conn.h"
#include "edge/sink.h"

#define PIECE 16384 /* one read of a file, one write to the socket */
#define PIECES 16   /* before other connections have their turn */

_Static_assert(RESPONSE_HEAD_MAX < PIECE, "a head is in one piece");

void response_init(struct response *r)
{
    memset(r, 0, sizeof(*r));
    r->body.fd = -1;
}

void response_done(struct response *r)
{
    if (r->body.fd >= 0) close(r->body.fd);
    free(r->owned);
    sink_close(r->sink);
    if (r->counted) admission_answered(r->counted);
    response_init(r);
}

/* Adds the next bytes of the body to a piece of *n bytes. False: the file has become shorter than
 * was promised, or cannot be read. */
static bool fill(struct response *r, unsigned char *piece, size_t *n)
{
    uint64_t left = r->body.size - r->sent;
    size_t want = PIECE - *n;
    if (want > left) want = (size_t)left;
    if (want == 0) return true;
    if (r->body.memory) {
        memcpy(piece + *n, r->body.memory + r->sent, want);
    } else {
        ssize_t got = pread(r->body.fd, piece + *n, want, (off_t)r->sent);
        if (got <= 0) return false;
        want = (size_t)got;
    }
    *n += want;
    r->sent += want;
    return true;
}

/* What the peer has sent meanwhile (more requests, a body) is thrown away: to close a socket with
 * something unread in it resets the connection, and the peer may lose the end of the answer. */
static int finish(struct conn *c)
{
    char rest[4096];
    response_done(&c->http->response);
    for (int i = 0; i < PIECES; i++)
        if (recv(lws_get_socket_fd(c->wsi), rest, sizeof(rest), MSG_DONTWAIT) <= 0) break;
    return -1;
}

/* TLS says goodbye before it ends, in a few bytes of its own, for which libwebsockets does not wait:
 * after a body that may have filled the socket, the next time that there is room is waited for. */
static bool needs_room(const struct conn *c)
{
    return c->tls && c->http->response.body.size > PIECE;
}

static int broken(struct conn *c)
{
    char peer[ADDRESS_TEXT_MAX];
    log_warn(log_event("file_cut_short"), log_s("peer", conn_peer(c, peer)),
             log_i("promised", c->http->response.body.size), log_i("sent", c->http->response.sent));
    conn_kill(c);
    return -1;
}

/* The piece begins with the `n` bytes that are there already. */
static int send_on(struct conn *c, unsigned char *piece, size_t n)
{
    for (int i = 0; i < PIECES; i++) {
        if (!fill(&c->http->response, piece, &n)) return broken(c);
        if (n == 0 && (i == 0 || !needs_room(c))) return finish(c);
        if (n == 0) break;
        if (lws_write(c->wsi, piece, n, LWS_WRITE_RAW) < 0) return -1;
        if (lws_partial_buffered(c->wsi)) break;
        n = 0;
    }
    lws_callback_on_writable(c->wsi);
    return 0;
}

bool response_reserve(struct conn *c)
{
    if (!admission_answer(c->edge->admission)) return false;
    c->http->response.counted = c->edge->admission;
    return true;
}

/* It takes longer than this turn. */
static int stay(struct conn *c)
{
    char peer[ADDRESS_TEXT_MAX];
    (void)response_moves(c);
    timer_set(&c->edge->wheel, &c->deadline, clock_ticks() + c->edge->config->limits.queue_ms);
    c->http->response.sink = sink_open(c);
    if (c->http->response.sink) return 0;
    log_warn(log_event("answer_given_up"), log_s("peer", conn_peer(c, peer)),
             log_s("reason", "no descriptor was left"));
    conn_kill(c);
    return -1;
}

int response_start(struct conn *c, struct span head, const struct response_body *body)
{
    unsigned char piece[PIECE];
    counter_add(session_worker_counters(c->edge->sessions), COUNTER_HTTP_2XX, 1);
    c->http->response.body = *body;
    c->state = CONN_SENDING;
    half_open_leave(c->edge, &c->http->half_open);
    memcpy(piece, head.p, head.n);
    int rc = send_on(c, piece, head.n);
    if (rc != 0) return rc;
    return stay(c);
}

int response_await(struct conn *c)
{
    c->state = CONN_SENDING;
    half_open_leave(c->edge, &c->http->half_open);
    c->http->response.awaited = true;
    return stay(c);
}

void response_give(struct conn *c, struct buf *whole)
{
    struct response *r = &c->http->response;
    size_t size = whole->n;
    if (c->state != CONN_SENDING || !r->awaited) {
        buf_free(whole);
        return;
    }
    counter_add(session_worker_counters(c->edge->sessions), COUNTER_HTTP_2XX, 1);
    r->awaited = false;
    r->owned = buf_steal(whole);
    r->body.memory = r->owned;
    r->body.size = size;
    lws_callback_on_writable(c->wsi);
}

int response_writable(struct conn *c)
{
    unsigned char piece[PIECE];
    if (c->state != CONN_SENDING) return -1;
    if (c->http->response.awaited) return 0;
    return send_on(c, piece, 0);
}

bool response_moves(struct conn *c)
{
    struct response *r = &c->http->response;
    int queue = 0;
    (void)ioctl(lws_get_socket_fd(c->wsi), SIOCOUTQ, &queue);
    bool moves = r->sent != r->seen_sent || queue != r->seen_queue;
    r->seen_sent = r->sent;
    r->seen_queue = queue;
    return moves;
}
