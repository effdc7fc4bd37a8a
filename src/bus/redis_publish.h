/* Publishing to Redis: PUBLISH to channels, XADD to streams, pipelined on one connection in the
 * order in which they were given.
 *
 * A publish waits for at most publish_timeout, then it is answered: WSBUS_UNAVAILABLE if it was not
 * written (it is taken back then, nobody has seen it), WSBUS_OUTCOME_UNKNOWN if it was; a reply that
 * comes later is dropped. A connection that is lost answers what was written on it with
 * WSBUS_OUTCOME_UNKNOWN at once, and what was not written waits for the next one. Beyond
 * queue_bytes: WSBUS_BUSY. An error of the server is WSBUS_REFUSED with its words, or what
 * reply_status() says. READONLY also makes a new connection: the name may stand for another
 * server by now. Bus thread. */
#ifndef BUS_REDIS_PUBLISH_H
#define BUS_REDIS_PUBLISH_H

#include <stddef.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "bus/redis_config.h"
#include "bus/redis_link.h"

struct redis_publish;

/* `commands` is lent. */
struct redis_publish *publish_new(const struct wsbus_host *host, const struct redis_config *config,
                                  struct redis_link *commands);
void publish_send(struct redis_publish *p, uint64_t token, const struct wsbus_publish *message);
/* Gives what is pending at most so long (what was not written none at all if there is no connection),
 * then calls `done`: all is answered. From the loop or from inside. */
void publish_drain(struct redis_publish *p, uint64_t deadline_ms, void (*done)(void *arg),
                   void *arg);
size_t publish_pending(const struct redis_publish *p);
void publish_free(struct redis_publish *p); /* after link_stop() of the link */

#endif
