/* Connections that have not become anything yet: no WebSocket, and no request that is being
 * answered. They are cheap to make and each may take limits.handshake_ms, so their number in the
 * process has a cap of its own (limits.half_open), and where one comes too many the oldest of its
 * worker goes: who means it is done long before. Worker thread. */
#ifndef EDGE_HALF_OPEN_H
#define EDGE_HALF_OPEN_H

struct conn;

void half_open_enter(struct conn *c); /* a new one */
void half_open_leave(struct conn *c); /* it is something now, or gone; again is fine */

#endif
