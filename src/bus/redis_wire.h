/* A non-blocking stream to a server: TCP or a unix socket, with or without TLS.
 *
 * Every function returns at once. WIRE_WANTS_… says for what to wait before the same call is made
 * again; after WIRE_FAILED the words say why, and only redis_wire_close() is left. Bus thread. */
#ifndef BUS_REDIS_WIRE_H
#define BUS_REDIS_WIRE_H

#include <stddef.h>
#include <sys/socket.h>

#include "bus/redis_tls.h"

enum wire_step { WIRE_OK, WIRE_WANTS_READ, WIRE_WANTS_WRITE, WIRE_FAILED };

struct redis_wire {
    int fd; /* -1: closed */
    struct tls_stream *tls;
    char words[256];
};

void redis_wire_init(struct redis_wire *w); /* closed */
void redis_wire_close(struct redis_wire *w);
/* Begins to connect: WIRE_WANTS_WRITE or WIRE_FAILED. */
enum wire_step redis_wire_open(struct redis_wire *w, const struct sockaddr *address,
                               socklen_t size);
enum wire_step redis_wire_connect(struct redis_wire *w); /* WIRE_OK: connected */
/* The TLS handshake, from its beginning at the first call. */
enum wire_step redis_wire_secure(struct redis_wire *w, const struct redis_tls *tls);
/* With WIRE_OK *n is what was read or written, and more than 0. */
enum wire_step redis_wire_read(struct redis_wire *w, char *p, size_t *n);
enum wire_step redis_wire_write(struct redis_wire *w, const char *p, size_t *n);

#endif
