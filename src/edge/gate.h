/* Where connections of listeners with proxy_protocol wait for their first bytes: before TLS and
 * HTTP.
 *
 * One of a trusted proxy must begin with a PROXY header, which is taken off the socket, and not a
 * byte behind it. One of anybody else must not, and nothing is taken off. Who does otherwise, or
 * sends nothing in time, is refused, and the log says so. Worker thread. */
#ifndef EDGE_GATE_H
#define EDGE_GATE_H

#include <uv.h>

#include "base/list.h"
#include "edge/arrival.h"
#include "edge/wire.h"

/* Takes the arrival over: it goes on to arrival_take(), or is dropped. `waiting` is the list of
 * those at the gate. */
void gate_enter(struct wire *w, uv_loop_t *loop, struct list *waiting, const struct arrival *a);
/* Drops all that wait. The loop must run on for the closing callbacks. */
void gate_close(struct list *waiting);

#endif
