/* What a worker's TLS handshakes go through: the SSL_CTX that libwebsockets made, set up as we want
 * it. It has no certificate of its own; when the client has said hello, the one for the name that
 * it asked for is taken from the listener's set (edge/tls_set.h). Worker thread, but for
 * tls_front_init().
 *
 * libwebsockets makes an SSL out of this context when a socket is handed to it. Which listener the
 * socket came from stands in the struct tls_arrival that is announced around that call. */
#ifndef EDGE_TLS_FRONT_H
#define EDGE_TLS_FRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/counters.h"
#include "edge/tls.h"

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

/* In each worker. Handshakes that fail are told at most once in a while: who scans the internet
 * must not fill the disk. All else is zero at first. */
struct tls_front {
    struct counters *counters; /* of the worker */
    struct ssl_ctx_st *client; /* see tls_front_client() */
    uint64_t quiet_until;
    uint64_t untold;
};

struct tls_arrival {
    struct tls_site *site;
    bool whole;       /* its handshake is over */
    uint64_t rekeyed; /* a bucket of what the client may ask for after that */
    struct tls_front *front;
    const struct address *peer; /* for the log; the connection's */
};

/* Once in the process, before the first context. 0 or -1. */
int tls_front_init(void);
/* 0, or -1 if this OpenSSL cannot do what we need. */
int tls_front_set_up(struct ssl_ctx_st *ctx);
/* libwebsockets wants a context for its clients as well, though we have none. Of those that it makes
 * itself, 4.1 loses all but the last worker's. NULL: there is no memory. */
struct ssl_ctx_st *tls_front_client(struct tls_front *front);
void tls_front_done(struct tls_front *front); /* after the virtual host */
/* For free(), when the SSL is gone. */
struct tls_arrival *tls_arrival_new(struct tls_front *front, struct tls_site *site,
                                    const struct address *peer);
/* This thread's next SSL is for this arrival, which must live as long as it; NULL: for none. */
void tls_front_announce(struct tls_arrival *a);

#endif
