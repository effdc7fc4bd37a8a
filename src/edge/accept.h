/* Accepting: takes connections off the listening sockets of one worker and hands them to
 * libwebsockets. When there are no descriptors left it pauses instead of spinning. Worker
 * thread. */
#ifndef EDGE_ACCEPT_H
#define EDGE_ACCEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/timers.h"
#include "edge/gate.h"
#include "edge/listen.h"
#include "edge/wire.h"

struct accept_door;

struct acceptor {
    struct wire *wire;
    struct accept_door *doors; /* one for each listener */
    size_t count;
    struct gates gates;
    struct timer pause;
    uint64_t quiet_until; /* no new complaint about a lack of descriptors before that */
};

/* 0 or an error of libuv; acceptor_close() is due either way. */
int acceptor_open(struct acceptor *a, struct wire *wire, uv_loop_t *loop,
                  const struct listener *list, size_t count);
/* Accepts no more. The descriptors are the listeners' and stay open. */
void acceptor_close(struct acceptor *a);
void acceptor_free(struct acceptor *a); /* after the loop has run the closing callbacks */

#endif
