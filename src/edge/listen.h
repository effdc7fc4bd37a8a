/* Listening sockets. One for each worker and address (SO_REUSEPORT), so that the kernel spreads
 * connections; a unix socket is one, shared by all workers. What every connection shall have
 * (no delay, keep-alive, size of the send buffer) is set here once: accepted sockets inherit it.
 * Main thread. */
#ifndef EDGE_LISTEN_H
#define EDGE_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

struct tls_site;

struct listener {
    int fd;
    struct tls_site *tls; /* NULL: plain text (tls_site(), set by whoever opens it) */
    bool loopback;
    bool proxy_protocol;
    bool admin;        /* /metrics, and no WebSockets */
    bool shared;       /* unix socket: the same descriptor in every worker */
    char address[128]; /* as bound: "127.0.0.1:8080", "[::1]:8080", "unix:/path" */
};

/* Opens all addresses of the configuration for `workers` workers: ret[worker * listen_count + i].
 * The first socket of a port is bound without SO_REUSEPORT, which would hide that another program
 * has it. Port 0 picks one port for all workers. A unix socket that nobody serves is removed
 * first. 0, or -1 with one sentence in `err` that says what and where. */
int listen_open(const struct config *config, unsigned workers, struct listener **ret, char *err,
                size_t err_size);
/* The one of config.admin, likewise; of one worker. *ret NULL: none is configured. */
int listen_open_admin(const struct config *config, struct listener **ret, char *err,
                      size_t err_size);
void listen_close(struct listener *list, size_t count); /* closes, removes unix sockets, frees */

#endif
