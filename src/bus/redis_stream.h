/* Redis Streams: what is followed, and what is read of the past.
 *
 * redis_tail: XREAD BLOCK of up to 256 streams on a connection, as many connections as it takes;
 * CLIENT UNBLOCK (on the connection for commands) wakes one whose set has changed.
 * redis_past: locate() and read() by XINFO STREAM, XRANGE, XREVRANGE on a connection of its own, so
 * that replay never stands before a publish or a live message.
 * Positions: partition 0, epoch 0, hi = milliseconds, lo = sequence of the entry's id. Bus thread. */
#ifndef BUS_REDIS_STREAM_H
#define BUS_REDIS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "bus/redis_config.h"
#include "bus/redis_link.h"

struct redis_tail;
struct redis_past;

struct redis_past *past_new(const struct wsbus_host *host, const struct redis_config *config);
void past_locate(struct redis_past *p, uint64_t token, const struct wsbus_locate *l);
void past_read(struct redis_past *p, uint64_t token, const struct wsbus_read *r);
void past_stop(struct redis_past *p); /* answers everything (WSBUS_UNAVAILABLE) */
void past_free(struct redis_past *p);

/* `commands` is lent: the link for short commands, also for publishing. */
struct redis_tail *tail_new(const struct wsbus_host *host, const struct redis_config *config,
                            struct redis_link *commands);
void tail_subscribe(struct redis_tail *t, uint64_t feed, const struct wsbus_topic *topic);
bool tail_unsubscribe(struct redis_tail *t, uint64_t feed); /* false: not one of its feeds */
void tail_stop(struct redis_tail *t);
void tail_free(struct redis_tail *t);

/* Pure. */
int redis_pos_parse(const char *text, size_t len, struct wsbus_pos *ret);
size_t redis_pos_format(const struct wsbus_pos *pos, char *buf);

#endif
