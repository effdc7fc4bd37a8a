/* Connections that have not become anything yet: no WebSocket, and no request that is being
 * answered; with proxy_protocol those too whose first bytes are awaited (edge/gate.h). They are cheap to
 * make and each may take limits.handshake_ms, so their number in the process has a cap of its own
 * (limits.half_open), and where one comes too many the oldest of its worker goes: who means it is
 * done long before. Worker thread. */
#ifndef EDGE_HALF_OPEN_H
#define EDGE_HALF_OPEN_H

#include "base/list.h"

struct edge;

struct half_open {
    struct list node; /* edge->half_open; list_init() until it enters */
    /* It is the oldest of too many, and has left. */
    void (*give_up)(struct half_open *h);
};

void half_open_enter(struct edge *e, struct half_open *h); /* a new one */
/* It is something now, or gone; again is fine. */
void half_open_leave(struct edge *e, struct half_open *h);

#endif
