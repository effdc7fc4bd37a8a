/* Redis channels: one SUBSCRIBE for each channel that is followed, on one connection.
 *
 * States of a channel: WANTED, ASKED, ON, LEAVING. After a loss all channels that are followed are
 * subscribed anew in batches; each feed that was confirmed before gets a gap when its channel is on
 * again. A SUBSCRIBE of several that the server refuses (NOPERM names no channel) is asked again one
 * by one; a feed whose channel alone is refused is answered or ended with the server's words.
 * Several feeds (rules) may follow one channel. Bus thread. */
#ifndef BUS_REDIS_PUBSUB_H
#define BUS_REDIS_PUBSUB_H

#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "bus/redis_config.h"

struct redis_pubsub;

struct redis_pubsub *pubsub_new(const struct wsbus_host *host, const struct redis_config *config);
void pubsub_subscribe(struct redis_pubsub *p, uint64_t feed, const struct wsbus_topic *topic);
bool pubsub_unsubscribe(struct redis_pubsub *p, uint64_t feed); /* false: not one of its feeds */
void pubsub_stop(struct redis_pubsub *p);                       /* no callback after it */
void pubsub_free(struct redis_pubsub *p);

#endif
