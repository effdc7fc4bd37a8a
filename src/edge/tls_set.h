/* The certificates of one listener, as they were read at one time. Immutable, with a count of
 * references: a reload puts another set in its place. Any thread. */
#ifndef EDGE_TLS_SET_H
#define EDGE_TLS_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/span.h"
#include "config/config.h"

struct tls_set;

/* Versions, suites, curves: what holds for every context that a handshake goes through. OpenSSL
 * takes some of it from the first, some from the one that was chosen in between. 0, or -1 if this
 * OpenSSL cannot do it. */
int tls_set_rules(SSL_CTX *ctx);

/* Reads the files of a listener. `site` is what tells it apart from other listeners: a session of
 * one is never resumed at another. NULL with one sentence in `err` that names the file. */
struct tls_set *tls_set_load(const struct config_listen *l, unsigned site, char *err,
                             size_t err_size);
void tls_set_unref(struct tls_set *s); /* NULL is fine */
struct tls_set *tls_set_ref(struct tls_set *s);

/* What serves a client that asks for this name (n 0: for none): the first certificate that is for
 * it, or else the first of all. "*" stands for one label. */
SSL_CTX *tls_set_find(const struct tls_set *s, struct span name);

/* When the first of them ends: seconds since the Unix epoch. */
int64_t tls_set_end(const struct tls_set *s);

#endif
