/* A connection that was just accepted: what is known of it before the first byte of HTTP. */
#ifndef EDGE_ARRIVAL_H
#define EDGE_ARRIVAL_H

#include <stdbool.h>

#include "base/address.h"
#include "edge/addresses.h"
#include "edge/listen.h"

/* Why a connection is served only to be told no. */
enum arrival_refusal {
    ARRIVAL_WELCOME,
    ARRIVAL_FULL,                /* limits.connections */
    ARRIVAL_MEMORY,              /* limits.memory_bytes */
    ARRIVAL_RATE,                /* limits.handshakes_per_second */
    ARRIVAL_ADDRESS_CONNECTIONS, /* limits.address_connections */
    ARRIVAL_ADDRESS_RATE,        /* limits.address_handshakes_per_second */
};

struct arrival {
    int fd;
    const struct listener *listener;
    struct address peer; /* of the socket, or as a PROXY header says */
    bool proxied;        /* from a trusted proxy: its requests may name the client */
    enum arrival_refusal refusal;
    struct addresses_entry *entry; /* the connection's from now on; or NULL */
};

struct edge;
struct wire;

/* What remains to be asked of one that admission_enter() let in, then makes a connection of it.
 * Those who may not even be told no are closed. */
void arrival_take(struct wire *w, struct arrival *a);
void arrival_drop(const struct edge *e, struct arrival *a);
/* May this address have one more? This machine's own are not counted. */
enum arrival_refusal arrival_of_address(const struct edge *e, const struct address *from,
                                        struct addresses_entry **ret);

#endif
