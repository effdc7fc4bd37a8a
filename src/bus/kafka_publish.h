/* Publishing to Kafka: one idempotent producer, acks=all, murmur2 partitioning as Java's.
 *
 * The first message to a topic asks for its partitions first, so that a topic that does not exist or a
 * partition that it does not have is answered at once and nothing creates a topic by accident; what
 * comes meanwhile waits behind it. Messages to one partition keep their order.
 *
 * A publish is answered within about publish_timeout: with its place; WSBUS_UNAVAILABLE if nothing was
 * stored; WSBUS_OUTCOME_UNKNOWN if that is not certain; or the broker's refusal in its own words.
 * Beyond queue_bytes: WSBUS_BUSY at once. What is answered with a place is in the log once: when a
 * message is due, the producer is given up with all that is not answered then, before librdkafka would
 * repeat any of it under a new identity, and the next one begins. Bus thread. */
#ifndef BUS_KAFKA_PUBLISH_H
#define BUS_KAFKA_PUBLISH_H

#include <wsbus/backend.h>

#include "bus/kafka_config.h"
#include "bus/kafka_crew.h"
#include "bus/kafka_meta.h"

struct kafka_publish;

/* All arguments are lent until kafka_publish_free(), `meta` until it was drained. The producer is made with the first message. */
struct kafka_publish *kafka_publish_new(const struct wsbus_host *host,
                                        const struct kafka_config *config, struct kafka_crew *crew,
                                        struct kafka_meta *meta);
void kafka_publish_send(struct kafka_publish *p, uint64_t token, const struct wsbus_publish *m);
/* Gives what is pending at most so long, then calls `done`: all is answered, and nothing is called any
 * more. From the loop or from inside. */
void kafka_publish_drain(struct kafka_publish *p, uint64_t deadline_ms, void (*done)(void *arg),
                         void *arg);
size_t kafka_publish_pending(const struct kafka_publish *p);
void kafka_publish_free(struct kafka_publish *p); /* after it was drained */

#endif
