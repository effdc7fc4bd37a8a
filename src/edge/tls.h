/* TLS of the listening sockets: TLS 1.2 and 1.3, by OpenSSL beneath libwebsockets.
 *
 * Every listener with certificates is a site. A site's certificates are a set (edge/tls_set.h) that
 * never changes: a reload makes a new set and exchanges it, and handshakes that begin from then on
 * use it. A set that cannot be loaded is refused, told, and the old one serves on. Connections that
 * are open keep what they have.
 *
 * Each worker has a front (edge/tls_front.h): the SSL_CTX that libwebsockets makes of a virtual
 * host. All the workers' fronts share the sites and the keys of the session tickets.
 *
 * tls_open() and tls_close(): main thread, before the workers and after them; the rest: any. */
#ifndef EDGE_TLS_H
#define EDGE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

struct tls;
struct tls_keys;
struct tls_set;
struct tls_site;

/* Loads all certificates. *ret is NULL where no listener has any. 0, or -1 with one sentence in
 * `err`. The configuration must outlive it. */
int tls_open(const struct config *config, struct tls **ret, char *err, size_t err_size);
void tls_close(struct tls *t); /* NULL is fine */

/* Reads the files again. With `changed_only` a site whose files are as they were at the last try is
 * passed over. Logs what it did. */
void tls_reload(struct tls *t, bool changed_only);

/* When the first certificate of all ends: seconds since the Unix epoch. */
int64_t tls_first_end(struct tls *t);

/* Of the configuration's listener `i`; NULL: it speaks plain text. `t` may be NULL. */
struct tls_site *tls_site(struct tls *t, size_t i);
struct tls_keys *tls_site_keys(struct tls_site *site); /* one set for all sites */
/* The set that is in force, with a reference (tls_set_unref()). */
struct tls_set *tls_site_set(struct tls_site *site);

#endif
