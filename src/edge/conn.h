/* A connection: from accept to the last sight of its socket. First it speaks HTTP, then, after
 * the upgrade, it is the transport of a session.
 *
 * libwebsockets owns the socket (struct lws) and tells a connection what happens to it through
 * the callbacks of edge/wire.c; a connection is freed when libwebsockets says that the socket is
 * gone for good, and never earlier. To be rid of a socket that does not do as it should,
 * conn_kill() shuts it down: libwebsockets then finds it closed on its ordinary way, so that this
 * may be called from anywhere. Worker thread. */
#ifndef EDGE_CONN_H
#define EDGE_CONN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/text.h"
#include "base/timers.h"
#include "edge/arrival.h"
#include "edge/edge.h"
#include "edge/guard.h"
#include "edge/half_open.h"
#include "edge/offer.h"
#include "edge/response.h"
#include "edge/tls_front.h"
#include "protocol/codes.h"
#include "session/raw.h"
#include "session/session.h"
#include "session/transport.h"

struct lws;

enum conn_state {
    CONN_HTTP,    /* no upgrade yet; the handshake's deadline runs */
    CONN_SENDING, /* an answer over HTTP is on its way */
    CONN_OPEN,    /* a WebSocket with a session */
    CONN_CLOSING, /* one side has said so: nothing but the close frame may be written any more */
    CONN_DEAD,    /* the socket is shut down or gone */
};

/* What a connection has only as long as it speaks HTTP: most of them are something else for most of
 * their life, and there are very many. */
struct conn_http {
    struct conn *conn;
    struct half_open half_open;
    struct guard_head head;
    struct response response;
    struct scrape *scrape;        /* whose answer is awaited; or NULL */
    struct span query;            /* of a handshake, undecoded; on the heap */
    struct raw *raw;              /* of a handshake for /raw, until the session has it */
    enum offer_verdict offered;   /* of the handshake: compressed messages; */
    struct offer offer;           /* OFFER_TAKEN */
    enum arrival_refusal refusal; /* of an upgrade */
    bool loopback;                /* came in on a loopback listener */
    bool proxied;                 /* from a proxy that is trusted */
};

/* What a write looks at comes first, together: of many thousand connections each is somewhere else in
 * memory. */
struct conn {
    struct transport transport;
    struct tls_arrival *tls; /* NULL: plain text */
    int fd;
    uint8_t state; /* enum conn_state */
    bool choked;
    bool clear; /* libwebsockets keeps nothing that is to be sent */
    struct lws *wsi;
    struct edge *edge;
    struct session *session; /* from the upgrade until session_gone() */
    struct conn_http *http;  /* NULL once it is upgraded */
    struct list node;        /* edge->conns */
    struct guard guard;      /* between the socket and libwebsockets */
    struct timer deadline;   /* of the handshake, the answer, a message in pieces, a /raw's last
                                publishes, the close */
    struct buf rx;           /* pieces of a message that is not complete yet */
    uint64_t limit;          /* bytes of a message */
    uint64_t fragments;      /* frames that these came in */
    uint32_t last;           /* bytes of the last write */
    uint64_t left;           /* ticks of the beginning of the close */
    uint64_t taken;          /* bytes that the peer had taken when that was last looked at */
    struct addresses_entry *entry;
    struct address address;
    enum close_code code; /* of our close frame; 0: there is none yet */
    struct utf8 utf8;     /* of the text in hand */
    bool within;          /* a part of a message has come */
    bool compressed;      /* and it is */
    bool undeflated;      /* one was that cannot be read */
    bool peer_closed;     /* its close frame has come */
    bool admin;           /* came in on the admin listener */
    bool refusing;        /* has a place of admission_refuse() */
    bool payloads;        /* one of /raw: messages are payloads, text or binary */
    bool refused;         /* the session has been told to fail: what comes in is forgotten */
};

struct conn *conn_new(struct edge *edge, const struct arrival *a);
/* Its address, for log lines; in `room`. */
const char *conn_peer(const struct conn *c, char room[ADDRESS_TEXT_MAX]);
/* Its request has said by which trusted proxy it came, and for whom. Sets the refusal if that
 * address has too many connections. */
void conn_forwarded(struct conn *c, const struct address *client);
void conn_free(struct conn *c);
void conn_kill(struct conn *c);
/* The process drains: one that has not finished its handshake does not keep it waiting. */
void conn_hurry(struct conn *c);

/* What happens to it. Those that return int return what libwebsockets wants to hear: 0, or -1 to
 * have the socket closed. */
void conn_established(struct conn *c);
int conn_receive(struct conn *c, const char *p, size_t n);
void conn_writable(struct conn *c);
void conn_closing(struct conn *c); /* libwebsockets has begun to close by itself */
void conn_gone(struct conn *c);    /* no more callbacks but the last */

/* What the guard finds. */
void conn_ping(struct conn *c, struct span payload);
void conn_pong(struct conn *c);
void conn_peer_closes(struct conn *c, enum close_code code);
void conn_broken(struct conn *c, enum close_code code);
/* What was written is the last of it: the peer may read that and then close. */
void conn_linger(struct conn *c);

#endif
