/* Connections. */
#include "edge/conn.h"

#include <libwebsockets.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/inflater.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "edge/acked.h"
#include "edge/http.h"
#include "edge/listen.h"
#include "edge/scrape.h"
#include "edge/tap.h"
#include "edge/wire.h"

#define CLOSE_REASON_MAX 123 /* RFC 6455 5.5 */
#define LINGER_MS 2000       /* in which an answer that refuses may be read */
#define CLOSE_MS 5000        /* what a close may take without a sign that the peer reads on */
#define HURRY_MS 1000        /* what a handshake may take while the process drains */

static struct conn *conn_of(struct transport *t)
{
    return CONTAINER_OF(t, struct conn, transport);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void refuse_exceeding(struct conn *c, const char *option, enum counter which);

static void count(const struct conn *c, enum counter which, uint64_t n)
{
    counter_add(session_worker_counters(c->edge->sessions), which, n);
}

static const char *awaited(const struct conn *c)
{
    if (c->state == CONN_HTTP) return "handshake";
    return c->state == CONN_SENDING ? "reader" : "close";
}

static bool close_moves(struct conn *c);

static void deadline_passed(struct timer *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, deadline);
    char peer[ADDRESS_TEXT_MAX];
    if (c->state == CONN_SENDING && response_moves(c)) {
        timer_set(&c->edge->wheel, t, clock_ticks() + c->edge->config->limits.queue_ms);
        return;
    }
    if (c->state == CONN_CLOSING && c->code != 0 && close_moves(c)) {
        timer_set(&c->edge->wheel, t, clock_ticks() + CLOSE_MS);
        return;
    }
    if (c->state == CONN_OPEN && (c->refused || c->peer_closed)) {
        session_fail(c->session, CLOSE_SERVER_ERROR); /* a publish was not answered */
        return;
    }
    if (c->state == CONN_OPEN) {
        refuse_exceeding(c, "limits.message_ms", COUNTER_LIMIT_MESSAGE_MS);
        return;
    }
    if (c->state == CONN_HTTP) count(c, COUNTER_LIMIT_HANDSHAKE_MS, 1);
    if (c->state == CONN_HTTP && guard_has_begun(c)) {
        http_refuse(c, &(struct http_answer){
                           408, NULL, "The request did not come in time (limits.handshake_ms)."});
        return;
    }
    log_debug(log_event("timeout"), log_s("peer", conn_peer(c, peer)),
              log_s("waiting_for", awaited(c)));
    conn_kill(c);
}

static void give_up(struct half_open *h)
{
    static const struct http_answer busy = {
        503, "Retry-After: 1\r\n",
        "Too many unfinished requests at this moment (limits.half_open)."};
    struct conn *c = CONTAINER_OF(h, struct conn_http, half_open)->conn;
    if (guard_has_begun(c))
        http_refuse(c, &busy);
    else
        conn_kill(c);
}

static enum transport_result conn_write(struct transport *t, const unsigned char *p, size_t n);
static uint32_t conn_waiting(struct transport *t);
static void conn_close(struct transport *t, enum close_code code, const char *reason);

static const struct transport_ops conn_ops = {
    .write = conn_write, .waiting = conn_waiting, .close = conn_close};

static struct conn_http *http_new(struct conn *c, const struct arrival *a)
{
    struct conn_http *h = mem_zero(sizeof(*h));
    h->conn = c;
    h->loopback = a->listener->loopback;
    h->proxied = a->proxied;
    h->refusal = a->refusal;
    response_init(&h->response);
    list_init(&h->half_open.node);
    h->half_open.give_up = give_up;
    return h;
}

static void http_over(struct conn *c)
{
    struct conn_http *h = c->http;
    if (!h) return;
    half_open_leave(c->edge, &h->half_open);
    guard_head_done(&h->head);
    response_done(&h->response);
    scrape_forget(h->scrape);
    raw_free(h->raw);
    free((char *)h->query.p);
    free(h);
    c->http = NULL;
}

struct conn *conn_new(struct edge *edge, const struct arrival *a)
{
    struct conn *c = mem_zero(sizeof(*c));
    c->transport.ops = &conn_ops;
    c->edge = edge;
    c->http = http_new(c, a);
    c->admin = a->listener->admin;
    c->refusing = a->refusal > ARRIVAL_FULL;
    c->entry = a->entry;
    c->address = a->peer;
    buf_init(&c->rx, edge->config->limits.frame_bytes);
    c->fd = a->fd;
    guard_init(c, a->fd);
    timer_init(&c->deadline, deadline_passed);
    timer_set(&edge->wheel, &c->deadline, clock_ticks() + edge->config->limits.handshake_ms);
    if (atomic_load(&edge->admission->draining)) conn_hurry(c);
    list_append(&edge->conns, &c->node);
    if (!c->admin) half_open_enter(edge, &c->http->half_open);
    atomic_fetch_add_explicit(&edge->count, 1, memory_order_relaxed);
    return c;
}

void conn_free(struct conn *c)
{
    conn_gone(c);
    timer_stop(&c->edge->wheel, &c->deadline);
    list_del(&c->node);
    http_over(c);
    buf_free(&c->rx);
    guard_done(c);
    addresses_leave(c->entry);
    if (c->refusing) admission_refused(c->edge->admission);
    admission_leave(c->edge->admission, c->admin);
    atomic_fetch_sub_explicit(&c->edge->count, 1, memory_order_relaxed);
    free(c->tls);
    free(c);
}

const char *conn_peer(const struct conn *c, char room[ADDRESS_TEXT_MAX])
{
    address_write(&c->address, room);
    return room;
}

void conn_forwarded(struct conn *c, const struct address *client)
{
    struct conn_http *h = c->http;
    c->address = *client;
    if (h->refusal == ARRIVAL_WELCOME && !c->entry && !trust_has(c->edge->trust, client))
        h->refusal = arrival_of_address(c->edge, &c->address, &c->entry);
}

void conn_kill(struct conn *c)
{
    if (c->state == CONN_DEAD) return;
    c->state = CONN_DEAD;
    if (c->http) half_open_leave(c->edge, &c->http->half_open);
    shutdown(c->fd, SHUT_RDWR);
}

void conn_hurry(struct conn *c)
{
    uint64_t due = clock_ticks() + HURRY_MS;
    if (c->state == CONN_HTTP && due < c->deadline.due)
        timer_set(&c->edge->wheel, &c->deadline, due);
}

/* A slow reader that reads is let read to the end, where the close frame is. */
static bool close_moves(struct conn *c)
{
    uint64_t now = acked_bytes(lws_get_socket_fd(c->wsi));
    bool moves = now != c->taken && clock_ticks() - c->left < c->edge->config->limits.queue_ms;
    c->taken = now;
    return moves;
}

static void leave_open(struct conn *c)
{
    c->state = CONN_CLOSING;
    c->left = clock_ticks();
    c->taken = acked_bytes(lws_get_socket_fd(c->wsi));
    if (c->http) half_open_leave(c->edge, &c->http->half_open);
    buf_free(&c->rx);
    timer_set(&c->edge->wheel, &c->deadline, clock_ticks() + CLOSE_MS);
}

void conn_established(struct conn *c)
{
    struct raw *raw = c->http->raw;
    char peer[ADDRESS_TEXT_MAX];
    address_write(&c->address, peer);
    c->http->raw = NULL;
    http_over(c);
    timer_stop(&c->edge->wheel, &c->deadline);
    c->state = CONN_OPEN;
    count(c, COUNTER_HANDSHAKES, 1);
    c->limit = c->edge->config->limits.frame_bytes;
    if (raw) c->limit = c->edge->config->limits.message_bytes;
    c->rx.max = guard_upgraded(c, c->limit);
    c->payloads = raw != NULL;
    if (raw)
        c->session = session_open_raw(c->edge->sessions, &c->transport, peer, raw);
    else
        c->session = session_open(c->edge->sessions, &c->transport, peer);
}

void conn_closing(struct conn *c)
{
    if (c->code != 0)
        conn_kill(c); /* not a second close frame behind ours */
    else if (c->state == CONN_OPEN)
        leave_open(c);
}

void conn_gone(struct conn *c)
{
    struct session *s = c->session;
    c->state = CONN_DEAD;
    if (!s) return;
    c->session = NULL;
    session_gone(s);
}

/* ---- in ------------------------------------------------------------------------------------- */

/* The session closes when what was accepted is answered. */
static void end_session(struct conn *c, enum close_code code)
{
    if (!c->payloads) {
        session_fail(c->session, code);
        return;
    }
    timer_set(&c->edge->wheel, &c->deadline, clock_ticks() + CLOSE_MS);
    session_leave_raw(c->session, code);
}

static int refuse_message(struct conn *c, enum close_code code)
{
    c->refused = true;
    buf_free(&c->rx);
    timer_stop(&c->edge->wheel, &c->deadline);
    end_session(c, code);
    return 0;
}

/* UTF-8 is checked here, and a text refused with the first byte that is wrong: libwebsockets would
 * close by itself, and what was asked before would stay unanswered. */
static bool text_good(struct conn *c, struct span piece, bool first, bool last)
{
    if (lws_frame_is_binary(c->wsi) || c->compressed) return true;
    if (first && last) return utf8_valid(piece);
    return utf8_more(&c->utf8, piece) && (!last || utf8_ends(&c->utf8));
}

static void refuse_exceeding(struct conn *c, const char *option, enum counter which)
{
    c->refused = true;
    buf_free(&c->rx);
    timer_stop(&c->edge->wheel, &c->deadline);
    session_exceeds(c->session, option, which);
}

/* A part of a message that is not its last. libwebsockets hands over parts of frames: this one may
 * have come to its end, or not. */
static int take_piece(struct conn *c)
{
    uint64_t most = c->edge->config->limits.fragments;
    uint64_t ms = c->edge->config->limits.message_ms;
    if (ms > 0 && !timer_is_set(&c->deadline))
        timer_set(&c->edge->wheel, &c->deadline, clock_ticks() + ms);
    if (lws_remaining_packet_payload(c->wsi) == 0 && ++c->fragments >= most && most > 0)
        refuse_exceeding(c, "limits.fragments", COUNTER_LIMIT_FRAGMENTS);
    return 0;
}

static int take_compressed(struct conn *c, struct span packed)
{
    const struct config *config = c->edge->config;
    const struct inflater_bounds bounds = {c->limit, config->limits.inflate_ratio};
    struct inflater *inflater = c->edge->inflater;
    struct span plain;
    if (!session_listens(c->session)) return 0;
    count(c, COUNTER_PACKED_FRAMES_IN, 1);
    count(c, COUNTER_PACKED_BYTES_IN, packed.n);
    switch (inflater_message(inflater, packed, &bounds, &plain)) {
    case INFLATER_OK: break;
    case INFLATER_BROKEN: c->undeflated = true; return refuse_message(c, CLOSE_NOT_UTF8);
    case INFLATER_TOO_LARGE: conn_broken(c, CLOSE_TOO_BIG); return 0;
    case INFLATER_TOO_DENSE:
        refuse_exceeding(c, "limits.inflate_ratio", COUNTER_LIMIT_INFLATE_RATIO);
        return 0;
    }
    count(c, COUNTER_PACKED_PLAIN_IN, plain.n);
    if (!lws_frame_is_binary(c->wsi) && !utf8_valid(plain))
        (void)refuse_message(c, CLOSE_NOT_UTF8);
    else
        session_text(c->session, plain);
    inflater_rest(inflater);
    return 0;
}

static int take_message(struct conn *c, struct span message)
{
    if (c->compressed) return take_compressed(c, message);
    session_text(c->session, message);
    return 0;
}

int conn_receive(struct conn *c, const char *p, size_t n)
{
    if (c->state != CONN_OPEN || c->refused) return 0; /* read and forgotten */
    session_alive(c->session);
    bool first = !c->within;
    bool last = lws_is_final_fragment(c->wsi) != 0;
    if (first) c->compressed = guard_compressed(c);
    if (lws_frame_is_binary(c->wsi) && !c->payloads)
        return refuse_message(c, CLOSE_UNSUPPORTED_DATA);
    c->within = !last;
    if (first) c->utf8 = (struct utf8){.left = 0};
    if (!text_good(c, span_of(p, n), first, last)) return refuse_message(c, CLOSE_NOT_UTF8);
    if (first && last) return take_message(c, span_of(p, n));
    buf_append(&c->rx, p, n);
    if (!last) return take_piece(c);
    c->fragments = 0;
    timer_stop(&c->edge->wheel, &c->deadline);
    struct buf whole = c->rx;
    buf_init(&c->rx, whole.max);
    int rc = take_message(c, buf_view(&whole));
    buf_free(&whole);
    return rc;
}

void conn_ping(struct conn *c, struct span payload)
{
    if (c->state == CONN_OPEN) session_pong(c->session, payload);
}

void conn_pong(struct conn *c)
{
    if (c->state == CONN_OPEN) session_ponged(c->session);
}

/* ---- out ------------------------------------------------------------------------------------ */

/* Past libwebsockets, where it keeps nothing for this socket: on its own way it looks at so much of
 * each connection, which of many thousand is not in the processor's cache, that it costs more than our
 * whole share of a delivery. What the socket does not take, and every error, it is to see by itself.
 * How much went out. */
static size_t send_past(struct conn *c, const unsigned char *p, size_t n)
{
    if (c->tls) return 0;
    if (!c->clear && lws_partial_buffered(c->wsi)) return 0;
    c->clear = true;
    ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent > 0 ? (size_t)sent : 0;
}

static enum transport_result conn_write(struct transport *t, const unsigned char *p, size_t n)
{
    struct conn *c = conn_of(t);
    if (c->state != CONN_OPEN) return TRANSPORT_DEAD;
    size_t sent = send_past(c, p, n);
    if (sent == n) return TRANSPORT_OK;
    p += sent;
    n -= sent;
    c->last = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    /* In pieces of what libwebsockets sends at a time: it would copy all beyond that, even where
     * the socket would take it. After a choke it gets the rest in one and keeps that. OpenSSL sends a
     * record at a time, and of more in one piece libwebsockets would keep what is out already. */
    size_t most = c->tls ? WIRE_TLS_RECORD : WIRE_TX_PACKET;
    while (n > 0) {
        size_t piece = n > most && !lws_partial_buffered(c->wsi) ? most : n;
        if (lws_write(c->wsi, (unsigned char *)p, piece, LWS_WRITE_RAW) < 0) {
            conn_kill(c);
            return TRANSPORT_DEAD;
        }
        p += piece;
        n -= piece;
    }
    /* What is left over is buffered by libwebsockets, which calls back when it is out. */
    c->choked = lws_partial_buffered(c->wsi) != 0;
    c->clear = !c->choked;
    return c->choked ? TRANSPORT_CHOKED : TRANSPORT_OK;
}

/* How much of the last write libwebsockets keeps it does not say: all of it, at most. */
static uint32_t conn_waiting(struct transport *t)
{
    struct conn *c = conn_of(t);
    int unsent = 0;
    if (ioctl(lws_get_socket_fd(c->wsi), SIOCOUTQNSD, &unsent) < 0 || unsent < 0) unsent = 0;
    uint64_t sum = (uint64_t)unsent + (c->choked ? c->last : 0);
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

/* If what was written last is with the kernel: who has said goodbye needs nothing more; who cannot be
 * understood any more is shown the end and may read up to it; the others are to answer. */
static void last_is_out(struct conn *c)
{
    if (lws_partial_buffered(c->wsi)) return; /* conn_writable() comes */
    bool deaf = c->guard.state == GUARD_DEAF;
    if (!deaf && !c->peer_closed) return;
    tap_goodbye(c->guard.ssl);
    if (c->peer_closed)
        conn_kill(c);
    else
        shutdown(c->fd, SHUT_WR);
}

/* The close frame is written by ourselves. The libwebsockets of Debian is built for debugging and
 * under libuv closes a second time what it was asked to close, which kills the connection before
 * its own close frame is out. */
static void conn_close(struct transport *t, enum close_code code, const char *reason)
{
    struct conn *c = conn_of(t);
    if (c->state != CONN_OPEN) return;
    unsigned char frame[4 + CLOSE_REASON_MAX];
    if (c->undeflated && code == CLOSE_NOT_UTF8) reason = "a compressed message is broken";
    size_t n = reason ? strnlen(reason, CLOSE_REASON_MAX) : 0;
    size_t size = code == CLOSE_NO_CODE ? 0 : 2 + n;
    frame[0] = 0x88; /* FIN, close */
    frame[1] = (unsigned char)size;
    frame[2] = (unsigned char)(code >> 8);
    frame[3] = (unsigned char)(code & 0xff);
    if (n > 0) memcpy(frame + 4, reason, n);
    leave_open(c);
    c->code = code;
    if (lws_write(c->wsi, frame, 2 + size, LWS_WRITE_RAW) < 0)
        conn_kill(c);
    else
        last_is_out(c);
}

void conn_peer_closes(struct conn *c, enum close_code code)
{
    if (c->state != CONN_OPEN && c->state != CONN_CLOSING) return;
    c->peer_closed = true;
    if (c->state == CONN_CLOSING) { /* the answer to our own close frame */
        last_is_out(c);
        return;
    }
    if (c->payloads)
        end_session(c, code);
    else
        conn_close(&c->transport, code, NULL);
}

void conn_broken(struct conn *c, enum close_code code)
{
    if (c->state == CONN_OPEN && code == CLOSE_TOO_BIG)
        count(c, c->payloads ? COUNTER_LIMIT_MESSAGE_BYTES : COUNTER_LIMIT_FRAME_BYTES, 1);
    if (c->state == CONN_OPEN)
        (void)refuse_message(c, code);
    else if (c->state == CONN_CLOSING)
        conn_kill(c);
}

void conn_linger(struct conn *c)
{
    leave_open(c);
    timer_set(&c->edge->wheel, &c->deadline, clock_ticks() + LINGER_MS);
    guard_deafen(c);
    last_is_out(c);
}

void conn_writable(struct conn *c)
{
    if (c->state == CONN_CLOSING) last_is_out(c);
    if (c->state != CONN_OPEN || !c->choked) return;
    c->choked = false;
    session_writable(c->session);
}
