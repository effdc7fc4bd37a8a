/* What is followed: one consumer for the whole bus, with the partitions of all followed topics.
 *
 * SUBSCRIBE. The ends of all partitions are asked for, the feed is confirmed with them, and the
 * partitions are assigned to the consumer at exactly these offsets. A topic that is followed already
 * costs nothing: the new feed begins where the others stand. While the bus is down a subscription
 * waits; an unknown topic or a missing right is answered with Kafka's words. One to a topic that was
 * followed a moment ago waits until its partitions have been taken away, because what was fetched of
 * them belongs to another place.
 *
 * FOLLOWING. librdkafka goes on at the next offset after whatever happened to the connection. What it
 * delivers that is not after the last one is dropped. If the next offset is no longer there: it was
 * trimmed, then the feeds get a gap and go on with the oldest message; or the log is shorter than it
 * was, then the topic was created anew and its feeds end. Every config->refresh the brokers are asked
 * for new partitions (followed from their beginning) and for topics that are gone: those end with
 * Kafka's words, when it was said twice.
 *
 * Changes of the assignment are made by a helper thread, one after the other, many at a time, because
 * librdkafka's calls wait for one of its threads. Bus thread. */
#ifndef BUS_KAFKA_LIVE_H
#define BUS_KAFKA_LIVE_H

#include <wsbus/backend.h>

#include "bus/kafka_config.h"
#include "bus/kafka_crew.h"
#include "bus/kafka_meta.h"

struct kafka_live;

struct kafka_live_spec {
    const struct wsbus_host *host;
    const struct kafka_config *config;
    struct kafka_crew *crew;
    struct kafka_meta *meta;
};

/* NULL with one sentence in `err`. What `from` points to is lent until kafka_live_free(). */
struct kafka_live *kafka_live_new(const struct kafka_live_spec *from, char *err, size_t err_size);
void kafka_live_subscribe(struct kafka_live *l, uint64_t feed, const struct wsbus_topic *topic);
void kafka_live_unsubscribe(struct kafka_live *l, uint64_t feed); /* answered from inside */
/* No callback after it; what is not confirmed is not answered (the caller does). */
void kafka_live_stop(struct kafka_live *l);
void kafka_live_free(struct kafka_live *l); /* after kafka_live_stop() */

struct kafka_live_figures {
    size_t feeds, topics, partitions;
};
struct kafka_live_figures kafka_live_figures(const struct kafka_live *l);

#endif
