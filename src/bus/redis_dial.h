/* From the configuration to a connected stream: name look-up (off the thread), TCP or unix socket,
 * TLS. All addresses of a name are tried in turn, each for at most connect_timeout.
 *
 * Bus thread. `done` comes once for each dial_start() that dial_stop() did not end, perhaps from
 * inside it; it may call dial_start() and dial_stop(), but not dial_free(). */
#ifndef BUS_REDIS_DIAL_H
#define BUS_REDIS_DIAL_H

#include <wsbus/backend.h>

#include "bus/redis_config.h"
#include "bus/redis_wire.h"

struct redis_dial;

struct dial_spec {
    const struct wsbus_host *host;
    const struct redis_config *config;
    /* `wire` is the callee's to copy and to close; or NULL, with one sentence. */
    void (*done)(void *arg, const struct redis_wire *wire, const char *words);
    void *arg;
};

struct redis_dial *dial_new(const struct dial_spec *spec);
void dial_free(struct redis_dial *d); /* after dial_stop() */
void dial_start(struct redis_dial *d);
void dial_stop(struct redis_dial *d); /* gives up in silence; nothing under way: fine */

#endif
