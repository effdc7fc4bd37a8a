/* The handshake of /raw: its query, and the refusals of section 6 of docs/protocol.md. Worker
 * thread. */
#ifndef EDGE_RAW_H
#define EDGE_RAW_H

#include "edge/conn.h"

/* An upgrade of /raw that is good in all else: 0, and c->raw says what it is for; otherwise it has
 * been answered and -1 closes it. */
int raw_check(struct conn *c);

#endif
