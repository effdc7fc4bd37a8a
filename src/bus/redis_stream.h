/* Redis Streams: what is followed, and what is read of the past.
 *
 * TAIL. XREAD BLOCK of up to 256 streams on a connection (it sends all its ids at each wake-up), as
 * many connections as it takes up to the option `stream_connections`. Ids are always given, never
 * `$`, so nothing is lost over a reconnect, and a place moves on only with what was delivered. A
 * connection that waits is woken by CLIENT UNBLOCK, sent on the connection for commands, when a
 * stream is added to it; where the server forbids that, it waits for a shorter time.
 *
 * Streams are trimmed while one reads. Before anything is delivered that does not follow at once, the
 * reader makes sure that the entry before it is still there, in which case nothing between them was
 * trimmed; otherwise XINFO decides (redis_info.h), and the feeds get a gap with its places.
 *
 * A stream that was deleted and created anew with smaller ids ends its feeds. That is seen at once
 * after a reconnect, otherwise when it was quiet for some time (each reader looks at one of its
 * streams a second, so within about four minutes). A key that is gone is waited for.
 *
 * PAST. locate() and read() by XINFO STREAM, XRANGE and XREVRANGE, on a connection of its own, so
 * that a replay never stands before a publish or a live message; a bounded number of requests at a
 * time, in pieces of bounded size.
 *
 * Positions: partition 0, epoch 0, hi = milliseconds, lo = sequence of the entry's id. Bus thread. */
#ifndef BUS_REDIS_STREAM_H
#define BUS_REDIS_STREAM_H

#include <wsbus/backend.h>

#include "bus/redis_config.h"
#include "bus/redis_id.h" /* redis_pos_parse(), redis_pos_format() */
#include "bus/redis_link.h"

struct redis_tail;
struct redis_past;

/* Nothing is connected before the first request. */
struct redis_past *past_new(const struct wsbus_host *host, const struct redis_config *config);
/* Answered by host->located() and host->chunk(). A request that finds no connection waits for one as
 * long as config->timeout, then it is WSBUS_UNAVAILABLE. */
void past_locate(struct redis_past *p, uint64_t token, const struct wsbus_locate *l);
void past_read(struct redis_past *p, uint64_t token, const struct wsbus_read *r);
void past_stop(struct redis_past *p); /* answers everything (WSBUS_UNAVAILABLE) */
void past_free(struct redis_past *p); /* after past_stop() */

/* `commands` is lent: a link for short commands. */
struct redis_tail *tail_new(const struct wsbus_host *host, const struct redis_config *config,
                            struct redis_link *commands);
/* Answered by host->subscribed(), perhaps from inside. */
void tail_subscribe(struct redis_tail *t, uint64_t feed, const struct wsbus_topic *topic);
/* Answers host->unsubscribed() from inside and returns true; false: not one of its feeds, nothing
 * was answered. */
bool tail_unsubscribe(struct redis_tail *t, uint64_t feed);
/* No callback after it. What it gave to `commands` is settled by that link, before or later. */
void tail_stop(struct redis_tail *t);
void tail_free(struct redis_tail *t); /* after tail_stop() */

struct tail_figures {
    size_t feeds, streams, connections;
};
struct tail_figures tail_figures(const struct redis_tail *t);

#endif
