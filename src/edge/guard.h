/* What a client sends, checked before libwebsockets sees it (edge/tap.h): the head of its request
 * (edge/head.h), then its frames (edge/frames.h).
 *
 * A head is held back until it is complete and passes as a whole or not at all. Of the frames,
 * libwebsockets gets those with data, unmasks them and puts messages together; control frames end
 * here. It reads in the middle of its own work, so nothing is done about what was found before the
 * turn of the loop ends: what stood in front of it has been delivered then. Behind a frame that is
 * broken, a close and every request that is not for a WebSocket, everything is thrown away. Worker
 * thread. */
#ifndef EDGE_GUARD_H
#define EDGE_GUARD_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/list.h"
#include "edge/frames.h"
#include "edge/head.h"

struct conn;
struct edge;

enum guard_state {
    GUARD_HEAD,    /* a request is awaited */
    GUARD_REQUEST, /* one for a WebSocket has passed */
    GUARD_FRAMES,
    GUARD_DEAF, /* everything is thrown away */
};

enum guard_finding {
    GUARD_NOTHING,
    GUARD_MORE,    /* there is more to read */
    GUARD_REFUSAL, /* an answer over HTTP is due */
    GUARD_CLOSE,   /* the client closes; `code` as in frames.h */
    GUARD_BROKEN,  /* `code` is to be told, and the connection to be ended */
};

/* Until it is upgraded. */
struct guard_head {
    struct head refusal;  /* GUARD_REFUSAL */
    struct buf beginning; /* of a head */
};

struct guard {
    enum guard_state state;
    enum guard_finding finding;
    unsigned code;
    struct ssl_st *ssl;   /* of the last read; NULL: without TLS */
    struct list found;    /* edge->found */
    struct frames frames; /* once it is upgraded */
};

void guard_init(struct conn *c, int fd);
void guard_done(struct conn *c);
void guard_head_done(struct guard_head *h);
/* Has a part of a request come? */
bool guard_has_begun(const struct conn *c);
/* Has the request in hand come through here? */
bool guard_saw_upgrade(const struct conn *c);
/* It has been upgraded: frames from here on, messages of so many bytes at most; compressed ones if
 * c->transport takes them. Returns how many bytes may come for one message. */
uint64_t guard_upgraded(struct conn *c, uint64_t limit);
/* Is the message compressed whose first bytes libwebsockets has just handed over? */
bool guard_compressed(struct conn *c);
/* Throws away from here on whatever comes. */
void guard_deafen(struct conn *c);
/* The end of the loop's turn: reads on where there is more, and does what is due about the findings. */
void guard_turn(struct edge *edge);

#endif
