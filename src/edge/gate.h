/* Where connections of listeners with proxy_protocol wait for their first bytes: before TLS and
 * HTTP.
 *
 * One of a trusted proxy must begin with a PROXY header, which is taken off the socket, and not a
 * byte behind it. One of anybody else must not, and nothing is taken off. Who does otherwise, or
 * sends nothing in time, is refused, and the log says so, though not of each: that would be a way to
 * fill the disk. Those who wait are half open (edge/half_open.h). Worker thread. */
#ifndef EDGE_GATE_H
#define EDGE_GATE_H

#include <stdint.h>

#include <uv.h>

#include "base/list.h"
#include "edge/arrival.h"
#include "edge/wire.h"

/* Of one acceptor. */
struct gates {
    struct wire *wire;
    uv_loop_t *loop;
    struct list waiting;
    uint64_t quiet_until; /* no refusal is told before that, */
    uint64_t untold;      /* but so many were */
};

void gates_init(struct gates *g, struct wire *wire, uv_loop_t *loop);
/* Takes the arrival over: it goes on to arrival_take(), or is dropped. */
void gate_enter(struct gates *gates, const struct arrival *a);
/* Drops all that wait. The loop must run on for the closing callbacks. */
void gates_close(struct gates *g);

#endif
