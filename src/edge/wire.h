/* The way into libwebsockets: one context for each worker, on the worker's own loop, and the
 * callback through which it says what happens to connections (edge/conn.h). Of libwebsockets we
 * use the HTTP parser, the WebSocket framing and the close handshake; listening, timers, queues
 * and threads are our own, and extensions are off: that for compression corrupts data as soon as
 * there are two connections, and through the interface for others a server can only repeat the
 * client's own parameters. Compressed messages go past libwebsockets (edge/frames.h for what comes
 * in, base/packer.h for what goes out), and edge/handshake.c agrees on them. */
#ifndef EDGE_WIRE_H
#define EDGE_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "edge/arrival.h"
#include "edge/edge.h"
#include "edge/tls_front.h"

#define WIRE_TX_PACKET 65536u  /* what libwebsockets gives to one send() */
#define WIRE_TLS_RECORD 16384u /* at most in one record of TLS */

struct lws_context;
struct lws_vhost;

struct wire {
    struct lws_context *context; /* NULL again when it is gone */
    struct lws_vhost *vhost;
    struct edge *edge;
    struct tls_front front;
    bool adopted; /* the last socket handed over has become a struct lws */
    void *log;    /* libwebsockets' log context of this worker, where it has such a thing */
};

/* 0, or -1 with a sentence in `err`; wire_close() is due either way. `w` must not move. */
int wire_open(struct wire *w, uv_loop_t *loop, struct edge *edge, char *err, size_t err_size);
/* Begins to close the context and what is left of its sockets. The loop must run on until
 * nothing of it is left, then wire_close() is called again; true: it is all gone. */
bool wire_close(struct wire *w);
/* Makes a connection of an accepted socket, or closes it. */
void wire_adopt(struct wire *w, const struct arrival *a);

#endif
