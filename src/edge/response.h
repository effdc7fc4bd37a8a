/* An answer over HTTP on its way: a head, and a body out of memory or out of a file.
 *
 * It is handed to the socket in small pieces, as fast as the socket takes them: a file is never
 * read into memory, and what waits inside libwebsockets is one piece at most. A client that takes
 * nothing at all for limits.queue_ms is given up. Meanwhile
 * what it sends is thrown away (edge/sink.h). Worker thread. */
#ifndef EDGE_RESPONSE_H
#define EDGE_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

struct admission;
struct conn;
struct sink;

struct response_body {
    const char *memory; /* NULL: a file */
    int fd;             /* -1: none */
    uint64_t size;
};

/* Of a connection that speaks HTTP. */
struct response {
    struct admission *counted; /* NULL: nothing is being sent */
    struct response_body body;
    bool awaited;
    char *owned;        /* the body, freed with the response; or NULL */
    struct sink *sink;  /* while it takes longer than one turn */
    uint64_t sent;      /* bytes of the body */
    uint64_t seen_sent; /* at the last look, */
    int seen_queue;     /* with what the peer had not confirmed then */
};

#define RESPONSE_HEAD_MAX 4096

void response_init(struct response *r);
/* Closes the file, if there is one, and gives its place back. */
void response_done(struct response *r);

/* Takes one of the places there are for answers (edge/admission.h), until response_done(). False:
 * there is none. */
bool response_reserve(struct conn *c);
/* After that. Both return what libwebsockets wants to hear: 0, or -1 to have the socket closed. The
 * body is the response's from now on. At most RESPONSE_HEAD_MAX bytes of head. */
int response_start(struct conn *c, struct span head, const struct response_body *body);
int response_writable(struct conn *c);
/* In place of response_start(), where the answer is not there yet: response_give() sends it, head
 * and all, from outside of a callback. */
int response_await(struct conn *c);
void response_give(struct conn *c, struct buf *whole); /* takes the bytes over */
/* Has the peer taken anything since the last call? */
bool response_moves(struct conn *c);

#endif
