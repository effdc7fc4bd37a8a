/* A connection of the programs of this folder, plain or TLS, never blocking. */
#ifndef BENCH_LINK_H
#define BENCH_LINK_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/types.h>

struct link {
    int fd;
    SSL *ssl; /* NULL: plain */
};

/* From now on new links speak TLS, as a client that checks nothing or as a server. */
void link_use_tls(void);
void link_serve_tls(const char *cert, const char *key);

void link_begin(struct link *l, int fd);
/* May it be written to: is the TLS handshake over? It goes on with each call. False also where it has
 * failed; the next read says so. */
bool link_ready(struct link *l);
/* Bytes; 0: none now; -1: the end. With TLS to be called until it says 0. */
ssize_t link_read(struct link *l, void *to, size_t n);
ssize_t link_write(struct link *l, const void *from, size_t n);
/* All of it; waits, busily, which only the first bytes of a connection may do. */
void link_write_all(struct link *l, const char *from, size_t n);
void link_end(struct link *l);

#endif
